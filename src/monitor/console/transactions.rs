//! show transactions: times of each method since the start or the last reset.
//!
//! A distribution has exact extremes only since the start; after a reset they come from its buckets.

use super::grammar::{self, CommandError};
use crate::metrics::{Distribution, Parts};
use crate::monitor::format::{elapsed, ms, plain};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::Snapshot;
use crate::monitor::text_page::{Table, TextPage};
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shows the times, or with `RESET` starts them anew.
pub(super) fn show(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let snapshot = monitor.control().snapshot();
    if let Some(word) = arguments.first() {
        grammar::one_of(word, ["reset"].into_iter())?;
        *monitor.console.reset.lock() = Some(Arc::new(snapshot));
        return Ok("Transaction times are reset.\n".to_owned());
    }
    let reset = monitor.console.reset.lock().clone();
    let mut page = TextPage::default();
    let functions = functions(&snapshot, reset.as_deref());
    let whole = reset.is_none();
    let extreme =
        |run: &Distribution, exact: Duration, share| if whole { exact } else { run.quantile(share) };
    // As wide as Domino's; a longer name or number widens a column.
    page.table(
        &Table::of(&functions)
            .left("Function                    ", |(name, _)| plain(name))
            .right(" Count", |(_, times)| times.run.count().to_string())
            .right("   Min", |(_, times)| ms(extreme(&times.run, times.run.min(), 0.0)))
            .right("   Max", |(_, times)| ms(extreme(&times.run, times.run.max(), 1.0)))
            .right("    Total", |(_, times)| ms(times.run.sum()))
            .right("Average", |(_, times)| ms(times.run.mean()))
            .right("Queue", |(_, times)| ms(times.queue_wait.mean()))
            .right("Permit", |(_, times)| ms(times.permit_wait.mean())),
    );
    page.line("Milliseconds of run time; Queue and Permit are average waits.");
    if let Some(reset) = reset.as_ref() {
        let ago = snapshot.uptime.saturating_sub(reset.uptime);
        page.line(format_args!(
            "Since the reset {} ago; Min and Max may be an eighth too long.",
            elapsed(ago)
        ));
    } else {
        page.line(format_args!("Since the start {} ago.", elapsed(snapshot.uptime)));
    }
    Ok(page.0)
}

/// The methods that ran, over all ports, by the time they took.
fn functions(now: &Snapshot, reset: Option<&Snapshot>) -> Vec<(Arc<str>, Parts<Distribution>)> {
    let mut sums: BTreeMap<&str, (Arc<str>, Parts<Distribution>)> = BTreeMap::new();
    for port in &now.ports {
        let before = reset.and_then(|reset| reset.ports.iter().find(|before| before.name == port.name));
        for method in &port.methods {
            let before =
                before.and_then(|port| port.methods.iter().find(|before| before.name == method.name));
            let times =
                before.map_or_else(|| method.times.clone(), |before| method.times.since(&before.times));
            let (_, sum) =
                sums.entry(&method.name).or_insert_with(|| (Arc::clone(&method.name), Parts::default()));
            sum.add(&times);
        }
    }
    let mut functions: Vec<_> = sums.into_values().filter(|(_, times)| times.run.count() > 0).collect();
    functions.sort_by_key(|(_, times)| std::cmp::Reverse(times.run.sum()));
    functions
}
