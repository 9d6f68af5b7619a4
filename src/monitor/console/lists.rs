//! show tasks, show limits, show users, show sessions and show statistics.

use super::grammar::CommandError;
use crate::monitor::format::{elapsed, minutes, plain, plural, seconds, size};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::snapshot::{HandlerState, WorkerSnapshot};
use crate::monitor::statistics::{self, Statistic, StatisticValue};
use crate::monitor::text_page::{Table, TextPage};
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
    page.table(
        &Table::of(&rows).left("Task", |row| row[0].clone()).left("Description", |row| row[1].clone()),
    );
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

/// Lists the limited methods.
pub(super) fn limits(monitor: &ServerMonitor) -> String {
    let limits = monitor.control().snapshot().limits;
    let mut page = TextPage::default();
    page.table(
        &Table::of(&limits)
            .left("Method", |limit| plain(&limit.method))
            .right("Running", |limit| limit.running.to_string())
            .right("May run", |limit| limit.run.to_string())
            .right("Waiting", |limit| limit.waiting.to_string())
            .right("May wait", |limit| limit.wait.to_string())
            .right("Refused", |limit| limit.refused.to_string()),
    );
    page.line(plural(limits.len(), "limited method"));
    page.0
}

pub(super) fn users(monitor: &ServerMonitor) -> String {
    let mut connections = monitor.control().connections();
    connections.sort_by_key(|connection| {
        (Reverse((connection.in_flight, connection.bytes, connection.calls)), connection.id)
    });
    let mut page = TextPage::default();
    page.table(
        &Table::of(&connections)
            .left("Connection", |connection| format!("{}/{}", connection.port, connection.id))
            .left("Address", |connection| connection.peer.to_string())
            .right("Out", |connection| connection.in_flight.to_string())
            .right("Calls", |connection| connection.calls.to_string())
            .right("Memory", |connection| size(connection.bytes))
            .right("Sessions", |connection| connection.sessions.to_string())
            .right("Age", |connection| elapsed(connection.age))
            .right("Minutes Since Last Used", |connection| minutes(connection.idle)),
    );
    page.line(plural(connections.len(), "connection"));
    page.0
}

pub(super) fn sessions(monitor: &ServerMonitor) -> String {
    let mut sessions = monitor.control().sessions();
    sessions.sort_by_key(|session| session.idle);
    let mut page = TextPage::default();
    page.table(
        &Table::of(&sessions)
            .right("Session", |session| session.id.to_string())
            .left("User Name", |session| plain(&session.client))
            .left("Address", |session| session.peer.to_string())
            .left("State", |session| if session.attached { "Open" } else { "Away" }.to_owned())
            .right("Calls", |session| session.calls.to_string())
            .right("Age", |session| elapsed(session.age))
            .right("Minutes Since Last Used", |session| minutes(session.idle)),
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
