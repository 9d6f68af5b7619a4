//! show ports and show port.

use super::actions::port_name;
use super::grammar::CommandError;
use super::server::add_times;
use crate::metrics::{CloseReason, PORT_COUNTERS};
use crate::monitor::format::{plain, seconds};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::PortSnapshot;
use crate::monitor::text_page::{Table, TextPage};
use crate::service::Status;

/// Lists all ports, the disabled ones too.
pub(super) fn all(monitor: &ServerMonitor) -> String {
    let (snapshot, config) = (monitor.control().snapshot(), monitor.control().config());
    let mut page = TextPage::default();
    page.line("Enabled Ports:");
    page.table(
        &Table::of(&snapshot.ports)
            .left("Port", |port| port.name.to_string())
            .left("Address", |port| port.address.to_string())
            .left("State", |port| state(port).to_owned())
            .right("Workers", |port| port.workers.total().to_string())
            .right("Busy", |port| (port.workers.total() - port.workers.idle).to_string())
            .right("Waiting", |port| port.waiting.to_string())
            .right("Connections", |port| port.connections.to_string())
            .right("Transactions", |port| port.calls.to_string()),
    );
    if !config.disabled_ports.is_empty() {
        page.line("Disabled Ports:");
    }
    for port in &config.disabled_ports {
        page.line(plain(&format!("  {}  {}", port.name, port.address)));
    }
    page.0
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
    let mut page = TextPage::default();
    page.line(format_args!("Port {} at {}, {}\n", port.name, port.address, state(port)));
    let workers = port.workers;
    page.label(
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
    page.label("Waiting Tasks", format_args!("{}; Limit: {}", port.waiting, port.queue_limit));
    page.label("In flight", port.in_flight);
    page.label("Connections", port.connections);
    page.label("Transactions", port.calls);
    page.label("Lacked a permit", format_args!("{} s", seconds(port.without_permit)));
    let interval = monitor.history.lock().interval();
    let last = interval
        .as_ref()
        .and_then(|interval| Some((interval, interval.ports.iter().find(|p| *p.name == name)?)));
    if let Some((interval, port)) = last {
        page.line(format_args!("\nLast {:.0} seconds:", interval.length.as_secs_f64()));
        page.label("Transactions/second", format_args!("{:.1}", interval.per_second(port.answers.all())));
        page.label(
            "Busy workers",
            format_args!("{:.1}, of them blocked: {:.1}", port.workers_busy, port.workers_blocked),
        );
        page.label("Waiting Tasks", format_args!("{:.1}; at least: {}", port.waiting, port.waiting_min));
        page.label("Lacked a permit", format_args!("{:.1} % of the time", port.without_permit * 100.0));
        add_times(&mut page, &port.times);
    }
    page.line("\nSince the start:");
    counts(
        &mut page,
        "Answers",
        Status::ALL.iter().map(|&status| (format!("{status:?}"), port.answers.with(status))),
    );
    let reasons = CloseReason::ALL.iter().map(|&reason| (format!("{reason:?}"), port.closed[reason.index()]));
    counts(&mut page, "Connections closed", reasons);
    let others = PORT_COUNTERS.iter().map(|row| (row.field.to_owned(), (row.of)(&port.counters)));
    counts(&mut page, "Counters", others);
    Ok(page.0)
}

/// Adds the counts that are not zero, on one line.
fn counts(page: &mut TextPage, label: &str, counts: impl Iterator<Item = (String, u64)>) {
    let all: Vec<_> = counts.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}: {n}")).collect();
    page.label(label, if all.is_empty() { "none".to_owned() } else { all.join("; ") });
}
