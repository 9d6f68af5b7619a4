//! show server and show verdict.

use crate::metrics::{Distribution, Parts};
use crate::monitor::diagnose;
use crate::monitor::format::{elapsed, ms, or_none, plain, plain_lines, size};
use crate::monitor::interval::Interval;
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::Snapshot;
use crate::monitor::text_page::TextPage;

pub(super) fn show(monitor: &ServerMonitor) -> String {
    let snapshot = monitor.control().snapshot();
    let config = monitor.control().config();
    let availability = monitor.availability.lock().current();
    let (interval, last_hour) = {
        let history = monitor.history.lock();
        (history.interval(), history.answers_per_hour())
    };
    let mut page = TextPage::default();
    page.line(format_args!("{}\n", plain(monitor.server())));
    let file = config.file.as_ref().map(|file| plain(&file.display().to_string()));
    page.label("Settings file", or_none(file));
    page.label("Elapsed time", elapsed(snapshot.uptime));
    page.label(
        "Transactions/minute",
        format_args!(
            "Last minute: {}; Last hour: {last_hour}; Peak: {}",
            availability.per_minute, availability.per_minute_peak
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
    page.line(format_args!(
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
    if let Some(interval) = &interval {
        add_interval(&mut page, interval);
    }
    let (index, state) = (availability.index(), state(&snapshot, monitor));
    page.label("Availability Index", format_args!("{index} (state: {state})"));
    page.label("Verdict", plain(&monitor.verdict().headline));
    page.0
}

fn add_interval(page: &mut TextPage, interval: &Interval) {
    page.label("Processors", format_args!("{:.1} of {} used", interval.cores_used, interval.cores));
    let (refused, errors) = interval.ports.iter().fold((0, 0), |(refused, errors), port| {
        (refused + port.answers.refused(), errors + port.answers.errors())
    });
    page.label(
        "Transactions/second",
        format_args!(
            "{:.1}; Errors: {:.1}, of them refused: {:.1}",
            interval.answers_per_second(),
            interval.per_second(errors),
            interval.per_second(refused)
        ),
    );
    add_times(page, &interval.times());
}

/// Adds three labels: percentiles and averages of each part of a call's time.
pub(super) fn add_times(page: &mut TextPage, times: &Parts<Distribution>) {
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

/// The state of the server, in Domino's words where it has one.
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

pub(super) fn verdict(monitor: &ServerMonitor) -> String {
    plain_lines(&diagnose::text(&monitor.verdict()))
}
