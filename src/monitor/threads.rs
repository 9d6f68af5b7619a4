//! Activity of every worker, as text: for the console, and for the log of a server that does not answer.
//!
//! Made of a snapshot and a look at the workers, which wait for none of them: so it works when all workers of all ports
//! are stuck.

use super::format::{call_chain, elapsed, plural, seconds};
use super::looks::{Looks, ThreadShares};
use super::snapshot::{HandlerState, PortSnapshot, Snapshot, Task, ThreadState, WorkerSnapshot};
use super::text_page::Table;
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::time::Duration;

/// Workers of a port that are listed, the longest running first.
const LISTED_MAX: usize = 200;

/// Returns the server in a line, then for each port how many workers do what, which methods they run, and a line for
/// each that is not idle, the longest running first. With what was seen of the methods in the last ten seconds.
pub(super) fn text(snapshot: &Snapshot, workers: &[WorkerSnapshot], looks: &Looks) -> String {
    let (permits, mut locks) = (snapshot.permits, Vec::new());
    let mut of_port = |port: &PortSnapshot| {
        let own = workers.iter().filter(|worker| worker.port == port.name);
        format!("{}{}", head(port), body(own, looks, &mut locks))
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
        snapshot.ports.iter().map(&mut of_port).collect::<String>(),
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

/// `locks` are the addresses of the locks listed so far: each is shown by its place there.
fn body<'a>(
    workers: impl Iterator<Item = &'a WorkerSnapshot>,
    looks: &Looks,
    locks: &mut Vec<u64>,
) -> String {
    let busy = |worker: &'a WorkerSnapshot| Some((worker, worker.task.as_ref()?));
    let mut busy: Vec<(&WorkerSnapshot, &Task)> = workers.filter_map(busy).collect();
    if busy.is_empty() {
        return String::new();
    }
    busy.sort_by_key(|(_, task)| std::cmp::Reverse(task.ran));
    let listed = &busy[..busy.len().min(LISTED_MAX)];
    for (_, task) in listed {
        if let Some(ThreadState::Lock { address }) =
            task.thread.filter(|state| lock_number(*state, locks).is_none())
        {
            locks.push(address);
        }
    }
    let table = Table::of(listed)
        .left("Thread", |(worker, _)| format!("{}-{}", worker.port, worker.worker))
        .left("State", |(_, task)| state(task).to_owned())
        .left("Thread is", |(_, task)| thread_state(task.thread, locks))
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
    let mut text = by_method(&busy, looks) + &table.text();
    if busy.len() > LISTED_MAX {
        text += &format!("  and {} more that have run for less time\n", busy.len() - LISTED_MAX);
    }
    text
}

fn lock_number(state: ThreadState, locks: &[u64]) -> Option<usize> {
    let ThreadState::Lock { address } = state else { return None };
    locks.iter().position(|lock| *lock == address).map(|at| at + 1)
}

fn thread_state(state: Option<ThreadState>, locks: &[u64]) -> String {
    let Some(state) = state else { return "-".to_owned() };
    lock_number(state, locks).map_or_else(|| state.to_string(), |number| format!("{state} {number}"))
}

/// The methods that they run, the most common first.
fn by_method(busy: &[(&WorkerSnapshot, &Task)], looks: &Looks) -> String {
    let Some((WorkerSnapshot { port, .. }, _)) = busy.first() else { return String::new() };
    let mut methods = BTreeMap::<&Arc<str>, (usize, Duration)>::new();
    for (_, task) in busy {
        let (count, longest) = methods.entry(&task.method).or_default();
        (*count, *longest) = (*count + 1, task.ran.max(*longest));
    }
    let mut methods: Vec<_> = methods.into_iter().collect();
    methods.sort_by_key(|(_, (count, longest))| std::cmp::Reverse((*count, *longest)));
    let line = |(method, (count, longest)): (&Arc<str>, (usize, Duration))| {
        let seen = looks.of(port, method).map(|seen| shares(&seen)).unwrap_or_default();
        format!("  {count} run {method}, the longest for {} s\n{seen}", seconds(longest))
    };
    methods.into_iter().map(line).collect()
}

/// Shares of a method in the last ten seconds, in a line.
fn shares(seen: &ThreadShares) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut states = vec![
        ("processor", seen.on_processor),
        ("runnable", seen.runnable),
        ("lock", seen.lock),
        ("socket", seen.socket),
        ("disk", seen.disk),
        ("sleep", seen.sleep),
        ("other", seen.other),
    ];
    states.retain(|(_, share)| *share > 0.0);
    states.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let state = |(name, share): (&str, f64)| match name {
        "lock" if seen.one_lock > 0.0 => {
            format!("{} lock ({} at one)", percent(share), percent(seen.one_lock))
        }
        _ => format!("{} {name}", percent(share)),
    };
    let states: Vec<String> = states.into_iter().map(state).collect();
    format!(
        "    in {} of the last 10 s: {:.1} on average, {} blocked, {} returning; {}: {}\n",
        plural(seen.looks, "look"),
        seen.running,
        percent(seen.blocked),
        percent(seen.returning),
        plural(seen.observed, "thread state"),
        states.join(", "),
    )
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
    use std::time::Instant;

    fn worker(worker: usize, ran_ms: u64, state: HandlerState, left_ms: Option<i64>) -> WorkerSnapshot {
        let task = Task {
            state,
            thread: match worker {
                1 => Some(ThreadState::Lock { address: 0x7f3a_0010 }),
                3 => Some(ThreadState::Socket),
                _ => None,
            },
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
        let mut looks = Looks::default();
        looks.add(Instant::now(), &workers);
        let text = body(workers.iter(), &looks, &mut vec![7]);
        let expected = "  2 run load.sleep, the longest for 0.200 s
    in 1 look of the last 10 s: 2.0 on average, 0 % blocked, 50 % returning; 1 thread state: 100 % lock
  1 run notes.get, the longest for 12.345 s
    in 1 look of the last 10 s: 1.0 on average, 100 % blocked, 0 % returning; 1 thread state: 100 % socket
  Thread  State      Thread is  For s   Ran s  Left s  Method      Caller          Call  Session  Made for
  P-3     blocked    socket     6.172  12.345  -2.100  notes.get   127.0.0.1:4000    17        0  P a.b -> Q\\tc.d
  P-4     returning  -          0.100   0.200   1.500  load.sleep  127.0.0.1:4000    17        0
  P-1     running    lock 2     0.050   0.100       -  load.sleep  127.0.0.1:4000    17        0
";
        assert_eq!(text, expected);
        assert_eq!(body(workers[1..2].iter(), &looks, &mut Vec::new()), "");
    }

    #[test]
    fn of_very_many_the_longest_running_are_listed() {
        let workers: Vec<_> = (10..1010).map(|n| worker(n, n as u64, HandlerState::Running, None)).collect();
        let text = body(workers.iter(), &Looks::default(), &mut Vec::new());
        assert_eq!(text.lines().count(), 1 + 1 + LISTED_MAX + 1);
        assert!(text.contains("  P-1009 ") && !text.contains("  P-10 "));
        assert!(text.ends_with("  and 800 more that have run for less time\n"), "{text}");
    }
}
