//! Lists of what there is: tasks, users, sessions, statistics.

use super::Failure;
use super::layout::{Left, Page, Right, elapsed, minutes, plain, plural, size};
use crate::insight::statistics::{self, Statistic, Value};
use crate::insight::{Guest, Insight, SessionPicture, TaskState, WorkerPicture};
use std::cmp::Reverse;

/// What the server's threads are for.
pub(super) fn tasks(insight: &Insight) -> String {
    let (picture, workers) = (insight.house().picture(), insight.house().workers());
    let mut rows = Vec::new();
    let mut add = |task: &str, description: String| rows.push([task.to_owned(), description]);
    for port in &picture.ports {
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
    add("Observer", "Takes a picture of the server each second".to_owned());
    add("Admin server", "Performs console commands".to_owned());
    let mut page = Page::default();
    page.table([("Task", Left), ("Description", Left)], rows.into_iter());
    page.0
}

fn task(worker: &WorkerPicture) -> Option<String> {
    let task = worker.task.as_ref()?;
    let does = match task.state {
        TaskState::Running => "Runs",
        TaskState::Blocked => "Waits in",
        TaskState::Returning => "Waits for a permit in",
    };
    let method = plain(&task.method);
    Some(format!("{does} {method} for {}, {:.3} s", task.peer, task.ran.as_secs_f64()))
}

/// Connections.
pub(super) fn users(insight: &Insight) -> String {
    let mut guests = insight.house().guests();
    guests.sort_by_key(|guest| (Reverse((guest.in_flight, guest.bytes, guest.calls)), guest.id));
    let row = |guest: &Guest| {
        [
            format!("{}/{}", guest.port, guest.id),
            guest.peer.to_string(),
            guest.in_flight.to_string(),
            guest.calls.to_string(),
            size(guest.bytes),
            guest.sessions.to_string(),
            elapsed(guest.age),
            minutes(guest.idle),
        ]
    };
    let mut page = Page::default();
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
        guests.iter().map(row),
    );
    page.say(plural(guests.len(), "connection"));
    page.0
}

/// Sessions.
pub(super) fn sessions(insight: &Insight) -> String {
    let mut sessions = insight.house().sessions();
    sessions.sort_by_key(|session| session.idle);
    let row = |session: &SessionPicture| {
        [
            session.id.to_string(),
            plain(&session.client),
            session.peer.to_string(),
            if session.carried { "Open" } else { "Away" }.to_owned(),
            session.calls.to_string(),
            elapsed(session.age),
            minutes(session.idle),
        ]
    };
    let mut page = Page::default();
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
    page.say(plural(sessions.len(), "session"));
    page.0
}

/// Statistics like the pattern.
pub(super) fn statistics(insight: &Insight, arguments: &[String]) -> Result<String, Failure> {
    let pattern = arguments.first().map_or("*", String::as_str);
    let found = statistics::text(&insight.statistics(), pattern);
    found.ok_or_else(|| Failure::NoSuch(format!("Statistic not found: {pattern}")))
}

/// Names of all statistics; of times, which are several, a pattern for them.
pub(super) fn statistic_names(insight: &Insight) -> Vec<String> {
    let name = |statistic: Statistic| match statistic.value {
        Value::Times(_) => statistic.name + ".*",
        _ => statistic.name,
    };
    insight.statistics().into_iter().map(name).collect()
}
