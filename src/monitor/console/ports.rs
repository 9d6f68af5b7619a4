//! show ports and show port.

use super::actions::port_name;
use super::error::CommandError;
use super::server::add_times;
use crate::metrics::{CloseReason, PORT_COUNTERS};
use crate::monitor::format::{plain, seconds};
use crate::monitor::report::{Left, Report, Right};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::PortSnapshot;
use crate::service::Status;

/// Lists all ports, the disabled ones too.
pub(super) fn all(monitor: &ServerMonitor) -> String {
    let (snapshot, config) = (monitor.control().snapshot(), monitor.control().config());
    let row = |port: &PortSnapshot| {
        let busy = port.workers.total() - port.workers.idle;
        [
            port.name.to_string(),
            port.address.to_string(),
            state(port).to_owned(),
            port.workers.total().to_string(),
            busy.to_string(),
            port.waiting.to_string(),
            port.connections.to_string(),
            port.calls.to_string(),
        ]
    };
    let mut report = Report::default();
    report.line("Enabled Ports:");
    report.table(
        [
            ("Port", Left),
            ("Address", Left),
            ("State", Left),
            ("Workers", Right),
            ("Busy", Right),
            ("Waiting", Right),
            ("Connections", Right),
            ("Transactions", Right),
        ],
        snapshot.ports.iter().map(row),
    );
    if !config.disabled_ports.is_empty() {
        report.line("Disabled Ports:");
    }
    for port in &config.disabled_ports {
        report.line(plain(&format!("  {}  {}", port.name, port.address)));
    }
    report.0
}

fn state(port: &PortSnapshot) -> &'static str {
    if port.open { "open" } else { "stopped" }
}

/// Shows everything that is counted of one port.
pub(super) fn one(monitor: &ServerMonitor, name: &str) -> Result<String, CommandError> {
    let name = port_name(monitor, name)?;
    let snapshot = monitor.control().snapshot();
    let found = snapshot.ports.iter().find(|port| *port.name == name);
    let port = found.ok_or_else(|| CommandError::NotFound(format!("Unable to find port {name}")))?;
    let mut report = Report::default();
    report.line(format_args!("Port {} at {}, {}\n", port.name, port.address, state(port)));
    let workers = port.workers;
    report.label(
        "Workers",
        format_args!(
            "{}; Idle: {}; Running: {}; Blocked: {}; Returning: {}",
            workers.total(),
            workers.idle,
            workers.running,
            workers.blocked,
            workers.returning
        ),
    );
    report.label("Waiting Tasks", format_args!("{}; Limit: {}", port.waiting, port.queue_limit));
    report.label("In flight", port.in_flight);
    report.label("Connections", port.connections);
    report.label("Transactions", port.calls);
    report.label("Lacked a permit", format_args!("{} s", seconds(port.without_permit)));
    let interval = monitor.history.lock().interval();
    let last = interval
        .as_ref()
        .and_then(|interval| Some((interval, interval.ports.iter().find(|p| *p.name == name)?)));
    if let Some((interval, port)) = last {
        report.line(format_args!("\nLast {:.0} seconds:", interval.length.as_secs_f64()));
        report.label("Transactions/second", format_args!("{:.1}", interval.per_second(port.answers.all())));
        report.label(
            "Busy workers",
            format_args!("{:.1}, of them blocked: {:.1}", port.workers_busy, port.workers_blocked),
        );
        report.label("Waiting Tasks", format_args!("{:.1}; at least: {}", port.waiting, port.waiting_min));
        report.label("Lacked a permit", format_args!("{:.1} % of the time", port.without_permit * 100.0));
        add_times(&mut report, &port.times);
    }
    report.line("\nSince the start:");
    counts(
        &mut report,
        "Answers",
        Status::ALL.iter().map(|&status| (format!("{status:?}"), port.answers.with(status))),
    );
    let reasons = CloseReason::ALL.iter().map(|&reason| (format!("{reason:?}"), port.closed[reason.index()]));
    counts(&mut report, "Connections closed", reasons);
    let others = PORT_COUNTERS.iter().map(|row| (row.field.to_owned(), (row.of)(&port.counters)));
    counts(&mut report, "Counters", others);
    Ok(report.0)
}

/// Adds the counts that are not zero, on one line.
fn counts(report: &mut Report, label: &str, counts: impl Iterator<Item = (String, u64)>) {
    let all: Vec<_> = counts.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}: {n}")).collect();
    report.label(label, if all.is_empty() { "none".to_owned() } else { all.join("; ") });
}
