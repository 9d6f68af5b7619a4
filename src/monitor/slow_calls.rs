//! The slowest calls of the last hour, as text.

use super::format::{call_chain, elapsed, matches_pattern, ms};
use super::snapshot::SlowCallInfo;
use super::text_page::{Left, Right, table};

/// Returns those of `calls`, the slowest first, whose methods match `pattern`, with the parts of their time; an empty
/// pattern is all. `kept` is the number of calls that are kept of each method.
pub(super) fn text(mut calls: Vec<SlowCallInfo>, kept: usize, pattern: &str) -> String {
    calls.retain(|call| pattern.is_empty() || matches_pattern(&call.method, pattern));
    match (calls.len(), kept) {
        (_, 0) => "No calls are kept (Server_Slow_Calls=0)\n".to_owned(),
        (0, _) if pattern.is_empty() => "No call in the last hour\n".to_owned(),
        (0, _) => format!("No call of a method like {} in the last hour\n", pattern.escape_debug()),
        _ => format!("The slowest calls of the last hour, {kept} of each method\n{}", rows(&calls)),
    }
}

fn rows(calls: &[SlowCallInfo]) -> String {
    let headings = [
        ("Total ms", Right),
        ("Queue ms", Right),
        ("Permit ms", Right),
        ("Run ms", Right),
        ("Ago", Right),
        ("Method", Left),
        ("Port", Left),
        ("Status", Left),
        ("Caller", Left),
        ("Call", Right),
        ("Made for", Left),
    ];
    table(headings, &calls.iter().map(row).collect::<Vec<_>>())
}

fn row(call: &SlowCallInfo) -> [String; 11] {
    [
        ms(call.total()),
        ms(call.times.queue_wait),
        ms(call.times.permit_wait),
        ms(call.times.run),
        elapsed(call.ago),
        call.method.to_string(),
        call.port.to_string(),
        format!("{:?}", call.status),
        call.peer.to_string(),
        call.call.to_string(),
        call_chain(&call.chain),
    ]
}
