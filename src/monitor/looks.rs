//! Looks at the workers' threads over the last ten seconds, added up for each method of each port.
//!
//! Invariants: pure, the time comes in as a value; memory is bounded by [`SECONDS`] times [`METHODS_MAX`] sums,
//! whatever the number of workers and looks. Does not know when a look is taken, nor how.

use super::snapshot::{HandlerState, Task, ThreadState, WorkerSnapshot};
use crate::sync::Arc;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Seconds that are kept, the one under way included.
const SECONDS: usize = 10;

/// Methods that are counted in a second, by port; those that run when it is reached.
const METHODS_MAX: usize = 256;

/// Findings on the calls of a method in the looks of the last ten seconds.
///
/// Shares are 0 to 1: of the threads observed; `blocked` and `returning` of the calls that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::monitor) struct ThreadShares {
    /// Threads looked at. Those of handlers in line for a permit are not.
    pub(in crate::monitor) observed: u64,
    /// Looks in which the method ran.
    pub(in crate::monitor) looks: u32,
    /// Mean number of its calls in progress on workers, over all looks.
    pub(in crate::monitor) running: f64,
    pub(in crate::monitor) on_processor: f64,
    pub(in crate::monitor) runnable: f64,
    pub(in crate::monitor) lock: f64,
    /// At the address where most of the method's threads waited in their look, if at least two threads of the server
    /// did: of this method or others.
    pub(in crate::monitor) one_lock: f64,
    pub(in crate::monitor) socket: f64,
    pub(in crate::monitor) disk: f64,
    pub(in crate::monitor) sleep: f64,
    pub(in crate::monitor) other: f64,
    /// In `tx.blocking`, without a permit.
    pub(in crate::monitor) blocked: f64,
    /// In line for a permit.
    pub(in crate::monitor) returning: f64,
}

/// The looks of the last ten seconds.
#[derive(Debug, Clone, Default)]
pub(in crate::monitor) struct Looks(VecDeque<LookSecond>);

#[derive(Debug, Clone)]
struct LookSecond {
    began: Instant,
    looks: u32,
    /// By port and method.
    ports: HashMap<Arc<str>, HashMap<Arc<str>, Sums>>,
}

/// Sums over the looks of a second.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    looks: u32,
    calls: u64,
    observed: u64,
    on_processor: u64,
    runnable: u64,
    lock: u64,
    one_lock: u64,
    socket: u64,
    disk: u64,
    sleep: u64,
    other: u64,
    blocked: u64,
    returning: u64,
}

impl LookSecond {
    fn of(&self, port: &str, method: &str) -> Option<&Sums> {
        self.ports.get(port)?.get(method)
    }
}

impl Sums {
    fn add_task(&mut self, task: &Task) {
        self.calls += 1;
        match task.state {
            HandlerState::Running => {}
            HandlerState::Blocked => self.blocked += 1,
            HandlerState::Returning => self.returning += 1,
        }
        let Some(thread) = task.thread else { return };
        self.observed += 1;
        *match thread {
            ThreadState::Processor => &mut self.on_processor,
            ThreadState::Runnable => &mut self.runnable,
            ThreadState::Lock { .. } => &mut self.lock,
            ThreadState::Socket => &mut self.socket,
            ThreadState::Disk => &mut self.disk,
            ThreadState::Sleep => &mut self.sleep,
            ThreadState::Other => &mut self.other,
        } += 1;
    }

    fn add(&mut self, more: &Sums) {
        self.looks += more.looks;
        self.calls += more.calls;
        self.observed += more.observed;
        self.on_processor += more.on_processor;
        self.runnable += more.runnable;
        self.lock += more.lock;
        self.one_lock += more.one_lock;
        self.socket += more.socket;
        self.disk += more.disk;
        self.sleep += more.sleep;
        self.other += more.other;
        self.blocked += more.blocked;
        self.returning += more.returning;
    }

    fn shares(&self, all_looks: u32) -> ThreadShares {
        let of_observed = |part: u64| part as f64 / self.observed.max(1) as f64;
        let of_calls = |part: u64| part as f64 / self.calls.max(1) as f64;
        ThreadShares {
            observed: self.observed,
            looks: self.looks,
            running: self.calls as f64 / f64::from(all_looks.max(1)),
            on_processor: of_observed(self.on_processor),
            runnable: of_observed(self.runnable),
            lock: of_observed(self.lock),
            one_lock: of_observed(self.one_lock),
            socket: of_observed(self.socket),
            disk: of_observed(self.disk),
            sleep: of_observed(self.sleep),
            other: of_observed(self.other),
            blocked: of_calls(self.blocked),
            returning: of_calls(self.returning),
        }
    }
}

impl Looks {
    /// Adds a look.
    pub(in crate::monitor) fn add(&mut self, now: Instant, workers: &[WorkerSnapshot]) {
        self.expire(now);
        let is_new = |second: &LookSecond| now.saturating_duration_since(second.began).as_secs() > 0;
        if self.0.back().is_none_or(is_new) {
            self.0.push_back(LookSecond { began: now, looks: 0, ports: HashMap::new() });
        }
        let Some(second) = self.0.back_mut() else { return };
        second.looks += 1;
        let mut count: usize = second.ports.values().map(HashMap::len).sum();
        for ((port, method), sums) in sums_of(workers) {
            let known = second.of(&port, &method).is_some();
            if known || count < METHODS_MAX {
                second.ports.entry(port).or_default().entry(method).or_default().add(&sums);
                count += usize::from(!known);
            }
        }
    }

    /// Drops what is older than ten seconds.
    pub(in crate::monitor) fn expire(&mut self, now: Instant) {
        let kept = Duration::from_secs(SECONDS as u64);
        self.0.retain(|second| now.saturating_duration_since(second.began) < kept);
    }

    /// Shares of a method at a port; `None` where it ran in no look.
    pub(in crate::monitor) fn of(&self, port: &str, method: &str) -> Option<ThreadShares> {
        let (mut sums, mut looks) = (Sums::default(), 0);
        for second in &self.0 {
            looks += second.looks;
            if let Some(more) = second.of(port, method) {
                sums.add(more);
            }
        }
        (sums.looks > 0).then(|| sums.shares(looks))
    }

    /// Drops all looks: for settings that make the earlier ones those of another server.
    pub(in crate::monitor) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The sums of one look, by port and method.
fn sums_of(workers: &[WorkerSnapshot]) -> HashMap<(Arc<str>, Arc<str>), Sums> {
    let busy = || workers.iter().filter_map(|worker| Some((&worker.port, worker.task.as_ref()?)));
    let address = |task: &Task| match task.thread? {
        ThreadState::Lock { address } => Some(address),
        _ => None,
    };
    let mut waiters = HashMap::<u64, u64>::new();
    for address in busy().filter_map(|(_, task)| address(task)) {
        *waiters.entry(address).or_default() += 1;
    }
    let mut sums = HashMap::<(Arc<str>, Arc<str>), Sums>::new();
    let mut own = HashMap::<(&Arc<str>, &Arc<str>, u64), u64>::new();
    for (port, task) in busy() {
        let sums = sums.entry((Arc::clone(port), Arc::clone(&task.method))).or_default();
        sums.looks = 1;
        sums.add_task(task);
        if let Some(address) = address(task).filter(|address| waiters[address] >= 2) {
            let own = own.entry((port, &task.method, address)).or_default();
            *own += 1;
            sums.one_lock = sums.one_lock.max(*own);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(method: &str, state: HandlerState, thread: Option<ThreadState>) -> WorkerSnapshot {
        let task = Task {
            state,
            thread,
            since: Duration::ZERO,
            method: method.into(),
            peer: ([127, 0, 0, 1], 4000).into(),
            call: 1,
            session: 0,
            ran: Duration::ZERO,
            left_ms: None,
            chain: Vec::new(),
        };
        WorkerSnapshot { port: "P".into(), worker: 1, task: Some(task) }
    }

    fn running(method: &str, thread: ThreadState) -> WorkerSnapshot {
        worker(method, HandlerState::Running, Some(thread))
    }

    fn lock(address: u64) -> ThreadState {
        ThreadState::Lock { address }
    }

    #[test]
    fn shares_are_those_of_the_threads_observed() {
        let mut looks = Looks::default();
        let start = Instant::now();
        let blocked = worker("a.b", HandlerState::Blocked, Some(ThreadState::Socket));
        let returning = worker("a.b", HandlerState::Returning, None);
        looks.add(start, &[running("a.b", lock(7)), blocked, returning, running("c.d", ThreadState::Disk)]);
        looks.add(start, &[WorkerSnapshot { port: "P".into(), worker: 1, task: None }]);
        let seen = looks.of("P", "a.b").expect("it ran");
        let expected = ThreadShares {
            observed: 2,
            looks: 1,
            running: 1.5,
            lock: 0.5,
            socket: 0.5,
            blocked: 1.0 / 3.0,
            returning: 1.0 / 3.0,
            ..ThreadShares::default()
        };
        assert_eq!(seen, expected);
        assert_eq!(looks.of("P", "c.d").map(|seen| (seen.disk, seen.running)), Some((1.0, 0.5)));
        assert_eq!((looks.of("Q", "a.b"), looks.of("P", "x.y")), (None, None));
        looks.clear();
        assert_eq!(looks.of("P", "a.b"), None);
    }

    #[test]
    fn threads_at_one_address_wait_for_one_lock_whatever_their_methods() {
        let mut looks = Looks::default();
        let start = Instant::now();
        let look = |addresses: &[(&str, u64)]| -> Vec<WorkerSnapshot> {
            addresses.iter().map(|(method, address)| running(method, lock(*address))).collect()
        };
        looks.add(start, &look(&[("a.b", 1), ("a.b", 1), ("a.b", 1), ("a.b", 2), ("c.d", 2), ("e.f", 9)]));
        // Another lock at the next look is one lock as well.
        looks.add(start, &look(&[("a.b", 5), ("a.b", 5), ("c.d", 6)]));
        let shares = |method: &str| looks.of("P", method).map(|seen| (seen.lock, seen.one_lock));
        assert_eq!(shares("a.b"), Some((1.0, 5.0 / 6.0)));
        assert_eq!(shares("c.d"), Some((1.0, 0.5)), "another method has the lock it waits for");
        assert_eq!(
            shares("e.f"),
            Some((1.0, 0.0)),
            "a thread alone at an address may just wait for its turn"
        );
    }

    #[test]
    fn what_is_old_goes_and_methods_are_bounded() {
        let mut looks = Looks::default();
        let start = Instant::now();
        for tenth in 0..300 {
            let method = format!("a.m{}", tenth / 100);
            looks.add(start + Duration::from_millis(tenth * 100), &[running(&method, ThreadState::Sleep)]);
        }
        assert!(looks.0.len() <= SECONDS);
        let seen = ["a.m0", "a.m1", "a.m2"].map(|method| looks.of("P", method).map_or(0, |seen| seen.looks));
        assert_eq!(seen, [0, 0, 100]);
        let many: Vec<_> = (0..1000).map(|n| running(&format!("x.m{n}"), ThreadState::Other)).collect();
        looks.add(start + Duration::from_secs(40), &many);
        let counts: Vec<usize> = looks.0.iter().map(|second| second.ports["P"].len()).collect();
        assert_eq!(counts, [METHODS_MAX]);
        looks.expire(start + Duration::from_secs(50));
        assert!(looks.0.is_empty());
    }
}
