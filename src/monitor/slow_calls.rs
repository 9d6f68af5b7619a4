//! The slowest calls of the last hour, as text.

use super::ServerMonitor;
use super::format::{Side, elapsed, is_like, made_for, table};
use super::history::milliseconds;
use super::snapshot::SlowCallInfo;
use std::time::Duration;

impl ServerMonitor {
    /// The slowest calls of the last hour of each method whose name is like `pattern`, in which `*` stands for
    /// anything; empty is all. The slowest first, with the parts of their time.
    pub fn slow(&self, pattern: &str) -> String {
        let mut calls = self.control().slow_calls();
        calls.retain(|call| pattern.is_empty() || is_like(&call.method, pattern));
        let kept = self.control().config().slow_calls.value;
        match (calls.len(), kept) {
            (_, 0) => "No calls are kept (Server_Slow_Calls=0)\n".to_owned(),
            (0, _) if pattern.is_empty() => "No call in the last hour\n".to_owned(),
            (0, _) => format!("No call of a method like {} in the last hour\n", pattern.escape_debug()),
            _ => format!("The slowest calls of the last hour, {kept} of each method\n{}", slow(&calls)),
        }
    }
}

fn slow(calls: &[SlowCallInfo]) -> String {
    let headings = [
        ("Total ms", Side::Right),
        ("Queue ms", Side::Right),
        ("Permit ms", Side::Right),
        ("Run ms", Side::Right),
        ("Ago", Side::Right),
        ("Method", Side::Left),
        ("Port", Side::Left),
        ("Status", Side::Left),
        ("Caller", Side::Left),
        ("Call", Side::Right),
        ("Made for", Side::Left),
    ];
    table(headings, &calls.iter().map(row).collect::<Vec<_>>())
}

fn row(call: &SlowCallInfo) -> [String; 11] {
    let shown = |time: Duration| format!("{:.3}", milliseconds(time));
    [
        shown(call.total()),
        shown(call.times.queue_wait),
        shown(call.times.permit_wait),
        shown(call.times.run),
        elapsed(call.ago),
        call.method.to_string(),
        call.port.to_string(),
        format!("{:?}", call.status),
        call.peer.to_string(),
        call.call.to_string(),
        made_for(&call.chain),
    ]
}
