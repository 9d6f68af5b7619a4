//! The slowest calls of the last hour, as text.

use super::format::{call_chain, elapsed, matches_pattern, ms};
use super::snapshot::SlowCallInfo;
use super::text_page::Table;

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
    let table = Table::of(calls)
        .right("Total ms", |call| ms(call.total()))
        .right("Queue ms", |call| ms(call.times.queue_wait))
        .right("Permit ms", |call| ms(call.times.permit_wait))
        .right("Run ms", |call| ms(call.times.run))
        .right("Ago", |call| elapsed(call.ago))
        .left("Method", |call| call.method.to_string())
        .left("Port", |call| call.port.to_string())
        .left("Status", |call| format!("{:?}", call.status))
        .left("Caller", |call| call.peer.to_string())
        .right("Call", |call| call.call.to_string())
        .left("Made for", |call| call_chain(&call.chain));
    table.text()
}
