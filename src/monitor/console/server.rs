//! show server and show verdict.

use super::layout::{Page, elapsed, ms, or_none, plain, plain_lines, size};
use crate::metrics::{Distribution, Parts};
use crate::monitor::verdict::text;
use crate::monitor::{Interval, ServerMonitor, Snapshot};

/// The server at a glance.
pub(super) fn show(monitor: &ServerMonitor) -> String {
    let snapshot = monitor.control().snapshot();
    let config = monitor.control().config();
    let figures = monitor.trends.lock().figures();
    let (period, last_hour) = {
        let history = monitor.history.lock();
        (history.period(), history.answers_per_hour())
    };
    let mut page = Page::default();
    page.say(format_args!("{}\n", plain(monitor.server)));
    let file = config.file.as_ref().map(|file| plain(&file.display().to_string()));
    page.label("Settings file", or_none(file));
    page.label("Elapsed time", elapsed(snapshot.uptime));
    page.label(
        "Transactions/minute",
        format_args!(
            "Last minute: {}; Last hour: {last_hour}; Peak: {}",
            figures.per_minute, figures.per_minute_peak
        ),
    );
    let sessions = &snapshot.sessions;
    page.label(
        "Sessions",
        format_args!("{}; Peak: {}; Limit: {}", sessions.open, sessions.peak, or_none(sessions.max)),
    );
    let (open, most) = snapshot.connections;
    page.label("Connections", format_args!("{open}; Limit: {}", or_none(most)));
    let answers: u64 = snapshot.ports.iter().map(|port| port.answers.all()).sum();
    let permits = &snapshot.permits;
    page.say(format_args!(
        "{:24}Max. concurrent: {}",
        format!("Transactions: {answers}"),
        or_none(permits.limit)
    ));
    page.label("Running", format_args!("{}; Peak: {}", permits.out, permits.peak));
    for port in &snapshot.ports {
        let closed = if port.open { "" } else { ", stopped" };
        page.label(
            "ThreadPool Threads",
            format_args!("{}  ({} Port{closed})", port.workers.total(), port.name),
        );
    }
    page.label("Waiting Tasks", snapshot.ports.iter().map(|port| port.waiting).sum::<u64>());
    let (held, bound) = snapshot.buffer_bytes;
    page.label("Buffers", format_args!("{} of {}", size(held), size(bound)));
    if let Some(period) = &period {
        say_period(&mut page, period);
    }
    let (index, state) = (figures.availability_index(), state(&snapshot, monitor));
    page.label("Availability Index", format_args!("{index} (state: {state})"));
    page.label("Verdict", plain(&monitor.verdict().headline));
    page.0
}

fn say_period(page: &mut Page, period: &Interval) {
    page.label("Processors", format_args!("{:.1} of {} used", period.cores_used, period.cores));
    let (refused, errors) = period.ports.iter().fold((0, 0), |(refused, errors), port| {
        (refused + port.answers.refused(), errors + port.answers.errors())
    });
    page.label(
        "Transactions/second",
        format_args!(
            "{:.1}; Errors: {:.1}, of them refused: {:.1}",
            period.answers_per_second(),
            period.per_second(errors),
            period.per_second(refused)
        ),
    );
    say_times(page, &period.times());
}

/// Three labels: what half of the calls, and one of a hundred, took longer than.
pub(super) fn say_times(page: &mut Page, times: &Parts<Distribution>) {
    let parts =
        [("Queue wait", &times.queue_wait), ("Permit wait", &times.permit_wait), ("Run time", &times.run)];
    for (name, part) in parts {
        page.label(
            name,
            format_args!(
                "p50 {} ms, p99 {} ms, average {} ms",
                ms(part.quantile(0.5)),
                ms(part.quantile(0.99)),
                ms(part.mean())
            ),
        );
    }
}

/// In Domino's words where it has one.
fn state(snapshot: &Snapshot, monitor: &ServerMonitor) -> &'static str {
    let sessions = &snapshot.sessions;
    if snapshot.draining {
        "STOPPING"
    } else if sessions.restricted {
        "RESTRICTED"
    } else if sessions.max.is_some_and(|max| sessions.fullest() >= max) {
        "MAXUSERS"
    } else if monitor.ready().is_err() {
        "BUSY"
    } else {
        "AVAILABLE"
    }
}

/// What limits the server.
pub(super) fn verdict(monitor: &ServerMonitor) -> String {
    plain_lines(&text(&monitor.verdict()))
}
