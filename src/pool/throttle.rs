//! The one semaphore over all ports, and the stacks of idle workers that it wakes from.
//!
//! A permit means "is awake and may run a handler". Invariants, true whenever the lock is free:
//! - permits out = workers awake, over all ports; none is granted while as many are out as the limit then in force, so
//!   there are never more than the limit, save those that were out when it was lowered, until they are returned;
//! - each worker is on its port's stack, or awake, or paused while its handler waits, or returning, or ended;
//! - while a worker is returning no permit is free;
//! - a port whose queue is not empty and whose stack is not empty has an awake worker, or its starving bit is set
//!   and no permit is free.
//!
//! A freed permit goes to the worker that has been returning longest, since what is begun is finished first; then
//! round robin to the ports whose starving bit is set, so that no port's flood can keep another waiting. While more
//! are out than a lowered limit allows, each worker returns its permit when its turn ends, as if others starved; when
//! the limit is raised, the freed permits are granted at once, one for each worker that waits.

use super::queue::Queue;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Parker, Planted, now, planted, unordered};
use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Word for a parked worker: woken with a permit.
pub(super) const PERMIT: u32 = 1;
/// Word for a parked worker: woken to end.
const CLOSED: u32 = 2;

/// One port's workers, as the throttle sees them.
#[derive(Debug)]
pub(crate) struct PortWorkers {
    /// The queue they take from.
    pub(crate) queue: Arc<Queue>,
    /// One for each worker.
    pub(crate) parkers: Vec<Arc<Parker>>,
}

/// Number of a port's workers in each state. Once the throttle is closed, ended workers count as blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerCounts {
    pub(crate) idle: usize,
    /// With a permit.
    pub(crate) running: usize,
    /// In a handler that waits, without a permit.
    pub(crate) blocked: usize,
    /// Waiting for a permit after their handler has waited.
    pub(crate) returning: usize,
}

/// Next step of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Goes on, permit in hand.
    Go,
    /// Sleeps; its permit is returned and it is on the stack, or will find a word already there.
    Park,
    /// Ends; its permit is returned.
    Exit,
}

#[derive(Debug)]
pub(crate) struct Throttle {
    ports: Vec<PortWorkers>,
    /// The limit, 0 for none: for estimates. The one that decides is in `state`.
    limit: unordered::AtomicU64,
    state: Mutex<State>,
    /// Bit p: port p has queued work and an idle worker but got no permit. Written under the lock.
    starving: AtomicU64,
    /// Whether any worker is returning. Written under the lock.
    any_returning: AtomicBool,
    /// Whether more permits are out than the limit, since it was lowered. Written under the lock.
    over_limit: AtomicBool,
}

#[derive(Debug)]
struct State {
    limit: Option<NonZeroU32>,
    out: u32,
    peak: u32,
    /// Idle workers of each port, the last to become idle on top.
    idle: Vec<Vec<usize>>,
    /// Workers whose handlers have waited and that wait for a permit, in the order of their return.
    returning: VecDeque<WorkerId>,
    /// The first port in the round when a permit comes free.
    next_port: usize,
    closed: bool,
}

/// A worker of a port, both by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorkerId {
    port: usize,
    worker: usize,
}

impl Throttle {
    /// A throttle with `limit` permits, `None` for as many as there are workers. All workers are idle at first.
    pub(crate) fn new(limit: Option<NonZeroU32>, ports: Vec<PortWorkers>) -> Throttle {
        assert!(ports.len() <= 64, "one bit for each port");
        // Reversed, so that worker 0 is the first to be woken.
        let idle = ports.iter().map(|port| (0..port.parkers.len()).rev().collect()).collect();
        let returning = VecDeque::new();
        let state = State { limit, out: 0, peak: 0, idle, returning, next_port: 0, closed: false };
        let (starving, any_returning, over_limit) =
            (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let limit = unordered::AtomicU64::new(limit_word(limit));
        Throttle { ports, limit, state: Mutex::new(state), starving, any_returning, over_limit }
    }

    /// Permits out now, and the most that were ever out.
    pub(crate) fn permits(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.out, state.peak)
    }

    /// Most permits that may be out; `None` without a limit.
    pub(crate) fn limit(&self) -> Option<u32> {
        let limit = self.limit.load(Ordering::Relaxed) as u32;
        (limit > 0).then_some(limit)
    }

    /// Changes the limit, `None` for as many as there are workers. Permits above a lowered limit are returned as the
    /// workers come to the ends of their turns; those that a raised limit frees are granted at once.
    pub(crate) fn set_limit(&self, limit: Option<NonZeroU32>) {
        let mut state = self.state.lock();
        state.limit = limit;
        self.limit.store(limit_word(limit), Ordering::Relaxed);
        self.over_limit.store(state.is_over(), Ordering::Relaxed);
        let mut woken = Vec::new();
        while let Some(next) = self.hand_over(&mut state) {
            woken.push(next);
            if planted(Planted::OneRaised) {
                break;
            }
        }
        drop(state);
        for next in woken {
            self.wake(Some(next));
        }
    }

    pub(crate) fn worker_counts(&self) -> Vec<WorkerCounts> {
        let state = self.state.lock();
        let count = |(index, port): (usize, &PortWorkers)| {
            let (idle, running) = (state.idle[index].len(), port.queue.workers_awake());
            let returning = state.returning.iter().filter(|id| id.port == index).count();
            let blocked = port.parkers.len().saturating_sub(idle + running + returning);
            WorkerCounts { idle, running, blocked, returning }
        };
        self.ports.iter().enumerate().map(count).collect()
    }

    pub(crate) fn idle(&self, port: usize) -> usize {
        self.state.lock().idle[port].len()
    }

    /// The parkers of a port's workers, in the order of their numbers.
    pub(crate) fn parkers(&self, port: usize) -> &[Arc<Parker>] {
        &self.ports[port].parkers
    }

    pub(super) fn pools(&self) -> Vec<usize> {
        self.ports.iter().map(|port| port.parkers.len()).collect()
    }

    /// How many workers of a port may be busy at once: its pool, or, if that is fewer, as many as its share of the
    /// permits keeps busy. Ports share the permits while they starve.
    pub(crate) fn may_run(&self, port: usize) -> usize {
        let (workers, queue) = (self.ports[port].parkers.len(), &self.ports[port].queue);
        let wanting = 1 + (self.starving.load(Ordering::Relaxed) & !(1 << port)).count_ones();
        let share = |limit: u32| queue.permit_usage.workers((limit / wanting).max(1) as usize);
        self.limit().map_or(workers, |limit| share(limit).min(workers))
    }

    /// To be called when work was queued at a port or taken from its queue: wakes one more worker if those awake are
    /// too few for what waits. One at a time: a worker that was woken calls this again when it has found work.
    pub(crate) fn announce(&self, port: usize) {
        if self.ports[port].queue.needs_worker() {
            self.wake_one(port);
        }
    }

    /// Wakes a port's most recently idle worker with a permit, if there are both. Without a permit the port is marked
    /// as starving. Returns whether it woke one.
    pub(crate) fn wake_one(&self, port: usize) -> bool {
        let woken = self.grant(&mut self.state.lock(), port);
        self.wake(woken)
    }

    /// Returns whether another port or a returning worker waits for a permit, or more are out than the limit.
    pub(super) fn others_starve(&self, port: usize) -> bool {
        self.starving.load(Ordering::Relaxed) & !(1 << port) != 0
            || self.any_returning.load(Ordering::Relaxed)
            || self.over_limit.load(Ordering::Relaxed)
    }

    /// A worker ends its turn while others starve: its permit goes to the next in the round, or is returned if too many
    /// are out.
    pub(super) fn pass_on(&self, port: usize, worker: usize) -> Next {
        let mut state = self.state.lock();
        // Once closed no worker goes to sleep any more: none would be woken. The permit is returned when it ends.
        let keep = state.closed
            || !state.is_over()
                && state.returning.is_empty()
                && self.next_starving(&mut state, Some(port)).is_none_or(|next| next == port);
        if keep {
            return Next::Go;
        }
        self.return_permit(&mut state, port);
        state.idle[port].push(worker);
        let woken = self.hand_over(&mut state);
        // Work that still waits at its own port needs another of its workers, now or in the port's turn.
        let own = if self.ports[port].queue.is_empty() { None } else { self.grant(&mut state, port) };
        drop(state);
        self.wake(woken);
        self.wake(own);
        Next::Park
    }

    /// A worker found no work: it returns its permit and goes to sleep, unless work has come meanwhile.
    pub(super) fn retire(&self, port: usize, worker: usize) -> Next {
        let mut state = self.state.lock();
        let seen_early = planted(Planted::LateLeave).then(|| self.ports[port].queue.is_empty());
        // First no longer awake, then the look at the queue: see the proof in docs/ARCHITECTURE.md.
        self.return_permit(&mut state, port);
        if !seen_early.unwrap_or_else(|| self.ports[port].queue.is_empty()) {
            // Once closed no worker goes to sleep any more.
            if state.has_permit() || state.closed {
                self.take_permit(&mut state, port);
                return Next::Go;
            }
            // The limit was lowered: the port's turn comes when a permit is free.
            state.idle[port].push(worker);
            self.set_starving(port);
            return Next::Park;
        }
        let next = if state.closed { Next::Exit } else { Next::Park };
        if next == Next::Park {
            state.idle[port].push(worker);
        }
        let woken = self.hand_over(&mut state);
        drop(state);
        self.wake(woken);
        next
    }

    /// A worker's handler begins to wait: its permit goes to the next in the round. Calls in its port's queue are to
    /// be announced after this, not before: see the proof in docs/ARCHITECTURE.md.
    pub(super) fn pause(&self, port: usize) {
        let mut state = self.state.lock();
        self.return_permit(&mut state, port);
        let woken = self.hand_over(&mut state);
        drop(state);
        self.wake(woken);
    }

    /// A worker's handler has waited. Returns whether it has a permit again. If none was free, the worker is in line
    /// for one from now on, and gets it with the word [`PERMIT`], even if the throttle is closed meanwhile.
    pub(super) fn resume(&self, port: usize, worker: usize) -> bool {
        let mut state = self.state.lock();
        let free = state.has_permit() || planted(Planted::FreeReturn);
        if free {
            self.take_permit(&mut state, port);
        } else {
            state.returning.push_back(WorkerId { port, worker });
            self.any_returning.store(true, Ordering::Relaxed);
        }
        free
    }

    /// Ends idle workers now and the others when they find no more work.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let idle: Vec<Vec<usize>> = state.idle.iter_mut().map(std::mem::take).collect();
        drop(state);
        for (port, workers) in self.ports.iter().zip(idle) {
            for worker in workers {
                port.parkers[worker].unpark(CLOSED);
            }
        }
    }

    /// Grants a permit, if one is free, to the first returning worker, or else to the next starving port. Returns the
    /// worker to be woken.
    fn hand_over(&self, state: &mut State) -> Option<WorkerId> {
        if planted(Planted::KeptPermit) || !state.has_permit() && !planted(Planted::LoweredInVain) {
            return None;
        }
        if let Some(returning) = state.returning.pop_front() {
            self.any_returning.store(!state.returning.is_empty(), Ordering::Relaxed);
            self.take_permit(state, returning.port);
            return Some(returning);
        }
        let port = self.next_starving(state, None)?;
        state.next_port = (port + 1) % self.ports.len();
        self.grant(state, port)
    }

    /// The next port in the round that can use a permit. `own` can use one without a starving bit if it has work.
    fn next_starving(&self, state: &mut State, own: Option<usize>) -> Option<usize> {
        let ports = self.ports.len();
        for port in (0..ports).map(|step| (state.next_port + step) % ports) {
            let waits = !self.ports[port].queue.is_empty();
            if own == Some(port) {
                if waits {
                    state.next_port = (port + 1) % ports;
                    return Some(port);
                }
            } else if self.starving.load(Ordering::Relaxed) & (1 << port) != 0 {
                if waits && !state.idle[port].is_empty() {
                    return Some(port);
                }
                self.clear_starving(port);
            }
        }
        None
    }

    /// Grants a permit to an idle worker of a port, and marks the port as starving if there is none. Returns the worker
    /// to be woken.
    fn grant(&self, state: &mut State, port: usize) -> Option<WorkerId> {
        if state.idle[port].is_empty() {
            return None;
        }
        if !state.has_permit() && !planted(Planted::LoweredInVain) {
            self.set_starving(port);
            return None;
        }
        self.take_permit(state, port);
        self.ports[port].queue.change_searching(1);
        let worker = state.idle[port].pop().expect("checked above, under the lock");
        self.clear_starving(port);
        Some(WorkerId { port, worker })
    }

    fn take_permit(&self, state: &mut State, port: usize) {
        state.out += 1;
        state.peak = state.peak.max(state.out);
        self.ports[port].queue.change_awake(1);
    }

    fn return_permit(&self, state: &mut State, port: usize) {
        state.out -= 1;
        if self.over_limit.load(Ordering::Relaxed) {
            self.over_limit.store(state.is_over(), Ordering::Relaxed);
        }
        self.ports[port].queue.change_awake(-1);
    }

    fn set_starving(&self, port: usize) {
        if self.starving.fetch_or(1 << port, Ordering::Relaxed) & (1 << port) == 0 {
            self.ports[port].queue.permit_clock.start(now());
        }
    }

    fn clear_starving(&self, port: usize) {
        if self.starving.fetch_and(!(1 << port), Ordering::Relaxed) & (1 << port) != 0 {
            self.ports[port].queue.permit_clock.stop(now());
        }
    }

    /// Wakes a worker, if any, with its permit. To be called without the lock: waking is a system call.
    fn wake(&self, woken: Option<WorkerId>) -> bool {
        woken.map(|id| self.ports[id.port].parkers[id.worker].unpark(PERMIT)).is_some()
    }
}

impl State {
    fn has_permit(&self) -> bool {
        self.limit.is_none_or(|limit| self.out < limit.get())
    }

    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.out > limit.get())
    }
}

/// The limit as a number, 0 for none.
fn limit_word(limit: Option<NonZeroU32>) -> u64 {
    limit.map_or(0, |limit| limit.get().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::queue::QueueSizes;

    /// Ports of two workers each, without work and threads: the words for the workers stay in their parkers.
    fn throttle(ports: usize, permits: u32) -> Throttle {
        let sizes = QueueSizes { calls_max: 8, workers: 2, reserve: 0, cores: 2 };
        let workers = |_| PortWorkers {
            queue: Arc::new(Queue::new(sizes, now())),
            parkers: (0..2).map(|_| Arc::default()).collect(),
        };
        Throttle::new(NonZeroU32::new(permits), (0..ports).map(workers).collect())
    }

    /// The word that was handed to a worker. Waits for ever if there is none.
    fn word(throttle: &Throttle, port: usize, worker: usize) -> u32 {
        throttle.ports[port].parkers[worker].park()
    }

    /// Wakes a worker, which is the next of its port.
    fn wake(throttle: &Throttle, port: usize, worker: usize) {
        assert!(throttle.wake_one(port));
        assert_eq!(word(throttle, port, worker), PERMIT);
    }

    #[test]
    fn returning_workers_get_permits_in_order_and_before_idle_ones() {
        let throttle = throttle(2, 1);
        for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
            assert!(throttle.wake_one(port), "the worker before has returned its permit");
            assert_eq!(word(&throttle, port, worker), PERMIT);
            throttle.pause(port);
        }
        assert_eq!(throttle.permits(), (0, 1));
        assert!(throttle.resume(0, 1), "a permit is free");
        assert!(!throttle.resume(1, 0) && !throttle.resume(0, 0));
        assert!(!throttle.wake_one(1), "no idle worker is woken before them");
        assert!(throttle.others_starve(0) && throttle.others_starve(1), "of their own port too");
        assert_eq!(throttle.pass_on(0, 1), Next::Park);
        assert_eq!(word(&throttle, 1, 0), PERMIT);
        throttle.pause(1);
        assert_eq!(word(&throttle, 0, 0), PERMIT);
        assert!(!throttle.others_starve(1));
        assert_eq!(throttle.retire(0, 0), Next::Park);
        assert_eq!(throttle.permits(), (0, 1));
    }

    #[test]
    fn a_close_leaves_returning_workers_in_line() {
        let throttle = throttle(1, 1);
        wake(&throttle, 0, 0);
        throttle.pause(0);
        wake(&throttle, 0, 1);
        assert!(!throttle.resume(0, 0));
        throttle.close();
        assert_eq!(throttle.pass_on(0, 1), Next::Go, "no worker goes to sleep any more");
        assert_eq!(throttle.retire(0, 1), Next::Exit);
        assert_eq!(word(&throttle, 0, 0), PERMIT);
        assert_eq!(throttle.retire(0, 0), Next::Exit);
        assert_eq!(throttle.permits(), (0, 1));
    }

    #[test]
    fn permits_above_a_lowered_limit_are_returned_and_a_raised_limit_grants_them_to_waiters() {
        let throttle = throttle(2, 3);
        for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
            wake(&throttle, port, worker);
        }
        throttle.set_limit(NonZeroU32::new(1));
        assert_eq!(
            (throttle.limit(), throttle.permits()),
            (Some(1), (3, 3)),
            "permits that are out stay out"
        );
        assert!(!throttle.wake_one(1) && throttle.others_starve(0), "none is granted above the limit");
        assert_eq!(throttle.pass_on(0, 0), Next::Park, "though no other worker waits");
        throttle.pause(0);
        assert!(!throttle.resume(0, 1), "one is out, which is the limit");
        assert_eq!(throttle.permits().0, 1);
        throttle.set_limit(NonZeroU32::new(3));
        assert_eq!(word(&throttle, 0, 1), PERMIT, "the waiting worker has one at once");
        assert_eq!(throttle.permits().0, 2);
        throttle.set_limit(None);
        assert_eq!(throttle.limit(), None);
        for (port, worker) in [(0, 1), (1, 0)] {
            assert_eq!(throttle.retire(port, worker), Next::Park);
        }
        assert_eq!(throttle.permits(), (0, 3));
    }

    #[test]
    fn without_a_limit_no_worker_waits_for_a_permit() {
        let throttle = throttle(1, 0);
        assert!(throttle.wake_one(0) && throttle.wake_one(0));
        throttle.pause(0);
        assert!(throttle.resume(0, 0));
        assert_eq!(throttle.permits(), (2, 2));
    }
}
