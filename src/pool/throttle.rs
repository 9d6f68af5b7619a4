//! The one semaphore over all ports, and the stacks of idle workers that it wakes from.
//!
//! A permit means "is awake and may run a handler". Invariants, true whenever the lock is free:
//! - permits out = workers awake, over all ports; none is granted while as many are out as the limit then in force, so
//!   there are never more than the limit, save those that were out when it was lowered, until they are returned;
//! - each worker is on its port's stack, or awake, or paused while its handler waits, or returning, or ended; its
//!   thread is its own, or the listening one (see `run_where_read.rs`);
//! - while a worker is returning no permit is free;
//! - a port whose queue is not empty and whose stack is not empty has an awake worker, or its starving bit is set
//!   and no permit is free.
//!
//! A freed permit goes to the worker that has been returning longest, since what is begun is finished first; then
//! round robin to the ports whose starving bit is set, so that no port's flood can keep another waiting. While more
//! are out than a lowered limit allows, each worker returns its permit when its turn ends, as if others starved; when
//! the limit is raised, the freed permits are granted at once, one for each worker that waits.

use super::port_threads::PortThreads;
use super::queue::Queue;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Parker, Planted, now, planted, unordered};
use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Word for a parked worker: woken with a permit.
pub(super) const PERMIT: u32 = 1;
/// Word for a parked thread: woken to end.
pub(super) const CLOSED: u32 = 2;
/// Word for a parked thread: woken to listen; for the deputy, to look.
pub(super) const LISTEN: u32 = 3;

/// One port's workers, as the throttle sees them.
#[derive(Debug)]
pub(crate) struct PortWorkers {
    /// The queue they take from.
    pub(super) queue: Arc<Queue>,
    /// One for each worker's thread, and behind them one for the thread that listens first.
    pub(super) parkers: Vec<Arc<Parker>>,
}

impl PortWorkers {
    pub(crate) fn new(queue: Arc<Queue>, workers: usize) -> PortWorkers {
        PortWorkers { queue, parkers: (0..=workers).map(|_| Arc::default()).collect() }
    }

    fn workers(&self) -> usize {
        self.parkers.len() - 1
    }
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
    pub(super) ports: Vec<PortWorkers>,
    /// The limit, 0 for none: for estimates. The one that decides is in `state`.
    limit: unordered::AtomicU64,
    pub(super) state: Mutex<ThrottleState>,
    /// Bit p: port p has queued work and an idle worker but got no permit. Written under the lock.
    starving: AtomicU64,
    /// Whether any worker is returning. Written under the lock.
    any_returning: AtomicBool,
    /// Whether more permits are out than the limit, since it was lowered. Written under the lock.
    over_limit: AtomicBool,
    pub(super) deputy: Parker,
}

#[derive(Debug)]
pub(super) struct ThrottleState {
    limit: Option<NonZeroU32>,
    out: u32,
    peak: u32,
    /// Idle workers of each port, the last to become idle on top.
    pub(super) idle: Vec<Vec<usize>>,
    /// The threads of each port.
    pub(super) threads: Vec<PortThreads>,
    /// The deputy has a word, or looks each tick.
    pub(super) deputy_awake: bool,
    /// Workers whose handlers have waited and that wait for a permit, in the order of their return.
    returning: VecDeque<ThreadId>,
    /// The first port in the round when a permit comes free.
    next_port: usize,
    pub(super) closed: bool,
}

/// The thread of a port's worker, both by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreadId {
    pub(super) port: usize,
    pub(super) thread: usize,
}

impl Throttle {
    /// A throttle with `limit` permits, `None` for as many as there are workers. All workers are idle at first.
    pub(crate) fn new(limit: Option<NonZeroU32>, ports: Vec<PortWorkers>) -> Throttle {
        assert!(ports.len() <= 64, "one bit for each port");
        // Reversed, so that worker 0 is the first to be woken.
        let idle = ports.iter().map(|port| (0..port.workers()).rev().collect()).collect();
        let threads = ports.iter().map(|port| PortThreads::new(port.workers())).collect();
        let state = ThrottleState {
            limit,
            out: 0,
            peak: 0,
            idle,
            threads,
            deputy_awake: false,
            returning: VecDeque::new(),
            next_port: 0,
            closed: false,
        };
        let (starving, any_returning, over_limit) =
            (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let limit = unordered::AtomicU64::new(limit_word(limit));
        let (state, deputy) = (Mutex::new(state), Parker::default());
        Throttle { ports, limit, state, starving, any_returning, over_limit, deputy }
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
            let blocked = port.workers().saturating_sub(idle + running + returning);
            WorkerCounts { idle, running, blocked, returning }
        };
        self.ports.iter().enumerate().map(count).collect()
    }

    pub(crate) fn idle(&self, port: usize) -> usize {
        self.state.lock().idle[port].len()
    }

    /// The parker of one of a port's threads: those of the workers have the workers' numbers, the thread that listens
    /// first has the next one.
    pub(super) fn parker(&self, port: usize, thread: usize) -> &Arc<Parker> {
        &self.ports[port].parkers[thread]
    }

    /// Number of a port's workers.
    pub(crate) fn workers(&self, port: usize) -> usize {
        self.ports[port].workers()
    }

    pub(super) fn pools(&self) -> Vec<usize> {
        self.ports.iter().map(PortWorkers::workers).collect()
    }

    /// How many workers of a port may be busy at once: its pool, or, if that is fewer, as many as its share of the
    /// permits keeps busy. Ports share the permits while they starve.
    pub(crate) fn may_run(&self, port: usize) -> usize {
        let (workers, queue) = (self.workers(port), &self.ports[port].queue);
        let wanting = 1 + (self.starving.load(Ordering::Relaxed) & !(1 << port)).count_ones();
        let share = |limit: u32| queue.permit_usage.workers((limit / wanting).max(1) as usize);
        self.limit().map_or(workers, |limit| share(limit).min(workers))
    }

    /// To be called when work was queued at a port or taken from its queue: wakes one more worker if those awake are
    /// too few for what waits. One at a time: a worker that was woken calls this again when it has found work.
    #[inline]
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

    /// A worker's handler begins to wait: its permit goes to the next in the round, and the listening, if its thread
    /// has that, to the worker's own thread. Calls in its port's queue are to be announced after this, not before: see
    /// the proof in docs/ARCHITECTURE.md.
    pub(super) fn pause(&self, port: usize, worker: usize) {
        let mut state = self.state.lock();
        let follower =
            state.threads[port].pass_listening(Some(worker)).map(|thread| ThreadId { port, thread });
        self.return_permit(&mut state, port);
        let woken = self.hand_over(&mut state);
        drop(state);
        follower.into_iter().for_each(|follower| self.wake_to_listen(follower));
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
            let thread = state.threads[port].of_worker(worker);
            state.returning.push_back(ThreadId { port, thread });
            self.any_returning.store(true, Ordering::Relaxed);
        }
        free
    }

    /// Ends idle workers now and the others when they find no more work.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let ThrottleState { idle, threads, deputy_awake, .. } = &mut *state;
        let of = |(workers, threads): (&mut Vec<usize>, &PortThreads)| -> Vec<usize> {
            workers.drain(..).map(|worker| threads.of_worker(worker)).collect()
        };
        let idle: Vec<Vec<usize>> = idle.iter_mut().zip(threads.iter()).map(of).collect();
        let deputy_slept = !std::mem::replace(deputy_awake, true);
        drop(state);
        for (port, threads) in self.ports.iter().zip(idle) {
            threads.into_iter().for_each(|thread| port.parkers[thread].unpark(CLOSED));
        }
        if deputy_slept {
            self.deputy.unpark(CLOSED);
        }
    }

    /// Grants a permit, if one is free, to the first returning worker, or else to the next starving port. Returns the
    /// worker to be woken.
    pub(super) fn hand_over(&self, state: &mut ThrottleState) -> Option<ThreadId> {
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
    fn next_starving(&self, state: &mut ThrottleState, own: Option<usize>) -> Option<usize> {
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

    /// Grants a permit to an idle worker of a port, and marks the port as starving if there is none. Returns the thread
    /// to be woken.
    pub(super) fn grant(&self, state: &mut ThrottleState, port: usize) -> Option<ThreadId> {
        let worker = self.take_worker(state, port)?;
        self.ports[port].queue.change_searching(1);
        Some(ThreadId { port, thread: state.threads[port].of_worker(worker) })
    }

    /// Takes an idle worker from its port's stack, and a permit for it; marks the port as starving if there is none.
    pub(super) fn take_worker(&self, state: &mut ThrottleState, port: usize) -> Option<usize> {
        if state.idle[port].is_empty() {
            return None;
        }
        if !state.has_permit() && !planted(Planted::LoweredInVain) {
            self.set_starving(port);
            return None;
        }
        self.take_permit(state, port);
        self.clear_starving(port);
        state.idle[port].pop()
    }

    pub(super) fn take_permit(&self, state: &mut ThrottleState, port: usize) {
        state.out += 1;
        state.peak = state.peak.max(state.out);
        self.ports[port].queue.change_awake(1);
    }

    pub(super) fn return_permit(&self, state: &mut ThrottleState, port: usize) {
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
    pub(super) fn wake(&self, woken: Option<ThreadId>) -> bool {
        woken.map(|id| self.ports[id.port].parkers[id.thread].unpark(PERMIT)).is_some()
    }
}

impl ThrottleState {
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
mod tests;
