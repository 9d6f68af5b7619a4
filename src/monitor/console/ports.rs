//! show ports and show port.

use super::Failure;
use super::act::port_name;
use super::layout::{Left, Page, Right, plain};
use super::server::say_times;
use crate::metrics::{CloseReason, PORT_COUNTERS};
use crate::monitor::{Insight, PortSnapshot};
use crate::service::Status;

/// All ports, the disabled ones too.
pub(super) fn all(insight: &Insight) -> String {
    let (snapshot, config) = (insight.control().snapshot(), insight.control().config());
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
    let mut page = Page::default();
    page.say("Enabled Ports:");
    page.table(
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
        page.say("Disabled Ports:");
    }
    for port in &config.disabled_ports {
        page.say(plain(&format!("  {}  {}", port.name, port.address)));
    }
    page.0
}

fn state(port: &PortSnapshot) -> &'static str {
    if port.open { "open" } else { "stopped" }
}

/// All that is counted of one.
pub(super) fn one(insight: &Insight, name: &str) -> Result<String, Failure> {
    let name = port_name(insight, name)?;
    let snapshot = insight.control().snapshot();
    let found = snapshot.ports.iter().find(|port| *port.name == name);
    let port = found.ok_or_else(|| Failure::NoSuch(format!("Unable to find port {name}")))?;
    let mut page = Page::default();
    page.say(format_args!("Port {} at {}, {}\n", port.name, port.address, state(port)));
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
    page.label("Lacked a permit", format_args!("{:.3} s", port.without_permit.as_secs_f64()));
    let period = insight.history.lock().period();
    let last =
        period.as_ref().and_then(|period| Some((period, period.ports.iter().find(|p| *p.name == name)?)));
    if let Some((period, port)) = last {
        page.say(format_args!("\nLast {:.0} seconds:", period.length.as_secs_f64()));
        page.label("Transactions/second", format_args!("{:.1}", period.per_second(port.answers.all())));
        page.label(
            "Busy workers",
            format_args!("{:.1}, of them blocked: {:.1}", port.workers_busy, port.workers_blocked),
        );
        page.label("Waiting Tasks", format_args!("{:.1}; at least: {}", port.waiting, port.waiting_min));
        page.label("Lacked a permit", format_args!("{:.1} % of the time", port.without_permit * 100.0));
        say_times(&mut page, &port.times);
    }
    page.say("\nSince the start:");
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

/// What is not zero, on one line.
fn counts(page: &mut Page, label: &str, counts: impl Iterator<Item = (String, u64)>) {
    let all: Vec<_> = counts.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}: {n}")).collect();
    page.label(label, if all.is_empty() { "none".to_owned() } else { all.join("; ") });
}
