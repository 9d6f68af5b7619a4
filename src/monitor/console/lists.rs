//! show tasks, show users, show sessions and show statistics.

use super::grammar::CommandError;
use crate::monitor::format::{elapsed, minutes, plain, plural, seconds, size};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::{ConnectionInfo, HandlerState, SessionSnapshot, WorkerSnapshot};
use crate::monitor::statistics::{self, Statistic, StatisticValue};
use crate::monitor::text_page::{Left, Right, TextPage};
use std::cmp::Reverse;

/// Lists the server's threads and what they do.
pub(super) fn tasks(monitor: &ServerMonitor) -> String {
    let (snapshot, workers) = (monitor.control().snapshot(), monitor.control().workers());
    let mut rows = Vec::new();
    let mut add = |task: &str, description: String| rows.push([task.to_owned(), description]);
    for port in &snapshot.ports {
        let listens = if port.open { "Listens for connect requests" } else { "Stopped" };
        add("Listener", format!("{listens} on {} at {}", port.name, port.address));
        for worker in workers.iter().filter(|worker| worker.port == port.name) {
            if let Some(task) = task(worker) {
                add(&format!("Worker {}-{}", port.name, worker.worker), task);
            }
        }
        let idle = usize::try_from(port.workers.idle).unwrap_or(usize::MAX);
        add(
            "Thread pool",
            format!("{} of {} on {}, idle", plural(idle, "member"), port.workers.total(), port.name),
        );
    }
    add("Sampler", "Takes a snapshot of the server each second".to_owned());
    add("Admin server", "Performs console commands".to_owned());
    let mut page = TextPage::default();
    page.table([("Task", Left), ("Description", Left)], rows.into_iter());
    page.0
}

fn task(worker: &WorkerSnapshot) -> Option<String> {
    let task = worker.task.as_ref()?;
    let does = match task.state {
        HandlerState::Running => "Runs",
        HandlerState::Blocked => "Waits in",
        HandlerState::Returning => "Waits for a permit in",
    };
    let method = plain(&task.method);
    Some(format!("{does} {method} for {}, {} s", task.peer, seconds(task.ran)))
}

pub(super) fn users(monitor: &ServerMonitor) -> String {
    let mut connections = monitor.control().connections();
    connections.sort_by_key(|connection| {
        (Reverse((connection.in_flight, connection.bytes, connection.calls)), connection.id)
    });
    let row = |connection: &ConnectionInfo| {
        [
            format!("{}/{}", connection.port, connection.id),
            connection.peer.to_string(),
            connection.in_flight.to_string(),
            connection.calls.to_string(),
            size(connection.bytes),
            connection.sessions.to_string(),
            elapsed(connection.age),
            minutes(connection.idle),
        ]
    };
    let mut page = TextPage::default();
    page.table(
        [
            ("Connection", Left),
            ("Address", Left),
            ("Out", Right),
            ("Calls", Right),
            ("Memory", Right),
            ("Sessions", Right),
            ("Age", Right),
            ("Minutes Since Last Used", Right),
        ],
        connections.iter().map(row),
    );
    page.line(plural(connections.len(), "connection"));
    page.0
}

pub(super) fn sessions(monitor: &ServerMonitor) -> String {
    let mut sessions = monitor.control().sessions();
    sessions.sort_by_key(|session| session.idle);
    let row = |session: &SessionSnapshot| {
        [
            session.id.to_string(),
            plain(&session.client),
            session.peer.to_string(),
            if session.attached { "Open" } else { "Away" }.to_owned(),
            session.calls.to_string(),
            elapsed(session.age),
            minutes(session.idle),
        ]
    };
    let mut page = TextPage::default();
    page.table(
        [
            ("Session", Right),
            ("User Name", Left),
            ("Address", Left),
            ("State", Left),
            ("Calls", Right),
            ("Age", Right),
            ("Minutes Since Last Used", Right),
        ],
        sessions.iter().map(row),
    );
    page.line(plural(sessions.len(), "session"));
    page.0
}

/// Shows the statistics that match a pattern.
pub(super) fn statistics(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let pattern = arguments.first().map_or("*", String::as_str);
    let found = statistics::text(&monitor.statistics(), pattern);
    found.ok_or_else(|| CommandError::NotFound(format!("Statistic not found: {pattern}")))
}

/// Returns the names of all statistics; of a distribution, which has several, a pattern for them.
pub(super) fn statistic_names(monitor: &ServerMonitor) -> Vec<String> {
    let name = |statistic: Statistic| match statistic.value {
        StatisticValue::Times(_) => statistic.name + ".*",
        _ => statistic.name,
    };
    monitor.statistics().into_iter().map(name).collect()
}
