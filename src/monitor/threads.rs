//! Activity of every worker, as text: for the console, and for the log of a server that does not answer.
//!
//! Made of a snapshot and the states of the workers, which wait for nothing: so it works when all workers of all ports
//! are stuck.

use super::format::{call_chain, elapsed, plural, seconds};
use super::snapshot::{HandlerState, PortSnapshot, Snapshot, Task, WorkerSnapshot};
use super::text_page::Table;
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::time::Duration;

/// Workers of a port that are listed, the longest running first.
const LISTED_MAX: usize = 200;

/// Returns the server in a line, then for each port how many workers do what, which methods they run, and a line for
/// each that is not idle, the longest running first.
pub(super) fn text(snapshot: &Snapshot, workers: &[WorkerSnapshot]) -> String {
    let permits = snapshot.permits;
    let of_port = |port: &PortSnapshot| {
        let own = workers.iter().filter(|worker| worker.port == port.name);
        format!("{}{}", head(port), body(own))
    };
    format!(
        "Threads after {}{}: {} of {} permits out, peak {}; {}, {}\n{}",
        elapsed(snapshot.uptime),
        if snapshot.draining { ", shutting down" } else { "" },
        permits.out,
        permits.limit.map_or("unlimited".to_owned(), |limit| limit.to_string()),
        permits.peak,
        plural(snapshot.ports.len(), "port"),
        plural(workers.len(), "worker"),
        snapshot.ports.iter().map(of_port).collect::<String>(),
    )
}

fn head(port: &PortSnapshot) -> String {
    let PortSnapshot { name, address, workers, waiting, queue_limit, in_flight, connections, .. } = port;
    format!(
        "Port {name} at {address}: {waiting} of {queue_limit} calls wait, {in_flight} in flight, \
         {}\n  {}: {} idle, {} running, {} blocked, {} returning\n",
        plural(connections, "connection"),
        plural(workers.total(), "worker"),
        workers.idle,
        workers.running,
        workers.blocked,
        workers.returning,
    )
}

fn body<'a>(workers: impl Iterator<Item = &'a WorkerSnapshot>) -> String {
    let busy = |worker: &'a WorkerSnapshot| Some((worker, worker.task.as_ref()?));
    let mut busy: Vec<(&WorkerSnapshot, &Task)> = workers.filter_map(busy).collect();
    if busy.is_empty() {
        return String::new();
    }
    busy.sort_by_key(|(_, task)| std::cmp::Reverse(task.ran));
    let table = Table::of(&busy[..busy.len().min(LISTED_MAX)])
        .left("Thread", |(worker, _)| format!("{}-{}", worker.port, worker.worker))
        .left("State", |(_, task)| state(task).to_owned())
        .right("For s", |(_, task)| seconds(task.since))
        .right("Ran s", |(_, task)| seconds(task.ran))
        .right("Left s", |(_, task)| {
            task.left_ms.map_or("-".to_owned(), |ms| format!("{:.3}", ms as f64 / 1e3))
        })
        .left("Method", |(_, task)| task.method.to_string())
        .left("Caller", |(_, task)| task.peer.to_string())
        .right("Call", |(_, task)| task.call.to_string())
        .right("Session", |(_, task)| task.session.to_string())
        .left("Made for", |(_, task)| call_chain(&task.chain));
    let mut text = by_method(&busy) + &table.text();
    if busy.len() > LISTED_MAX {
        text += &format!("  and {} more that have run for less time\n", busy.len() - LISTED_MAX);
    }
    text
}

/// The methods that they run, the most common first.
fn by_method(busy: &[(&WorkerSnapshot, &Task)]) -> String {
    let mut methods = BTreeMap::<&Arc<str>, (usize, Duration)>::new();
    for (_, task) in busy {
        let (count, longest) = methods.entry(&task.method).or_default();
        (*count, *longest) = (*count + 1, task.ran.max(*longest));
    }
    let mut methods: Vec<_> = methods.into_iter().collect();
    methods.sort_by_key(|(_, (count, longest))| std::cmp::Reverse((*count, *longest)));
    let line = |(method, (count, longest)): (&Arc<str>, (usize, Duration))| {
        format!("  {count} run {method}, the longest for {} s\n", seconds(longest))
    };
    methods.into_iter().map(line).collect()
}

fn state(task: &Task) -> &'static str {
    match task.state {
        HandlerState::Running => "running",
        HandlerState::Blocked => "blocked",
        HandlerState::Returning => "returning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(worker: usize, ran_ms: u64, state: HandlerState, left_ms: Option<i64>) -> WorkerSnapshot {
        let task = Task {
            state,
            since: Duration::from_millis(ran_ms / 2),
            method: if worker == 3 { "notes.get".into() } else { "load.sleep".into() },
            peer: ([127, 0, 0, 1], 4000).into(),
            call: 17,
            session: 0,
            ran: Duration::from_millis(ran_ms),
            left_ms,
            chain: if worker == 3 { vec!["P a.b".to_owned(), "Q\tc.d".to_owned()] } else { Vec::new() },
        };
        WorkerSnapshot { port: "P".into(), worker, task: (worker != 2).then_some(task) }
    }

    #[test]
    fn the_longest_running_come_first() {
        let workers = [
            worker(1, 100, HandlerState::Running, None),
            worker(2, 0, HandlerState::Running, None),
            worker(3, 12_345, HandlerState::Blocked, Some(-2_100)),
            worker(4, 200, HandlerState::Returning, Some(1_500)),
        ];
        let text = body(workers.iter());
        let expected = "  2 run load.sleep, the longest for 0.200 s
  1 run notes.get, the longest for 12.345 s
  Thread  State      For s   Ran s  Left s  Method      Caller          Call  Session  Made for
  P-3     blocked    6.172  12.345  -2.100  notes.get   127.0.0.1:4000    17        0  P a.b -> Q\\tc.d
  P-4     returning  0.100   0.200   1.500  load.sleep  127.0.0.1:4000    17        0
  P-1     running    0.050   0.100       -  load.sleep  127.0.0.1:4000    17        0
";
        assert_eq!(text, expected);
        assert_eq!(body(workers[1..2].iter()), "");
    }

    #[test]
    fn of_very_many_the_longest_running_are_listed() {
        let workers: Vec<_> = (10..1010).map(|n| worker(n, n as u64, HandlerState::Running, None)).collect();
        let text = body(workers.iter());
        assert_eq!(text.lines().count(), 1 + 1 + LISTED_MAX + 1);
        assert!(text.contains("  P-1009 ") && !text.contains("  P-10 "));
        assert!(text.ends_with("  and 800 more that have run for less time\n"), "{text}");
    }
}
