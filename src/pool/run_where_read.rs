//! Running calls where they were read (`Server_Run_Where_Read`): the thread that listens to a port runs short calls
//! itself when no worker is awake, which saves the thread switch to a worker.
//!
//! The threads of a port are its workers' and one more. To run calls, the listening thread takes the place of an idle
//! worker, with a permit: pool and throttle count it like any worker, while that worker's thread sleeps on. The
//! listener lies in the throttle's state meanwhile (`Listening::Lent`). Normally its thread takes it back after some
//! microseconds. If a call turns out to be slow, or waits, the listener is passed to the sleeping thread, which listens
//! from then on; the thread that ran the call stays that worker. So there is always one listener and one thread for
//! each worker.
//!
//! Who finds out that a call is slow is the deputy: one thread for all ports that looks at each tick, and only while
//! there are such runs. Invariants, true whenever the throttle's lock is free:
//! - the deputy is awake while a listener is lent;
//! - the thread of a worker whose place is lent sleeps, and no word is on its way to it.

use super::burst::Burst;
use super::port_threads::{PortListener, TurnOutcome};
use super::shared::{PortShared, Shared};
use super::throttle::{CLOSED, LISTEN, PERMIT, ThreadId, Throttle};
use super::worker::{Worker, start_thread};
use crate::metrics::ServiceTimes;
use crate::sync::{Arc, Planted, now, planted, sleep};
use std::time::Duration;

/// Time between two looks of the deputy. A listener that lay in one place from one look to the next is passed.
const TICK: Duration = Duration::from_millis(1);

/// Longest time in which a thread runs calls before it listens again: twice what is left to it at most, since estimates
/// are rough. A call that has begun is not interrupted. None under a model checker, whose clock stands still: there it
/// listens again after each burst.
const RUN_MAX: Duration = if cfg!(any(loom, shuttle)) { Duration::ZERO } else { Duration::from_micros(250) };

/// Largest burst that runs where it was read. Longer ones are worth a worker's wake: it runs them on another core.
const BURST_CALLS_MAX: usize = 4;

/// Likely cost of the waiting calls up to which more are left to the listening thread, in nanoseconds: a few times
/// that of waking a worker.
const LEFT_NS_MAX: u64 = 120_000;

/// Stack of the deputy, which runs no handlers.
const DEPUTY_STACK_BYTES: usize = 128 << 10;

/// Next step of the deputy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It looks again after a tick.
    Again,
    /// It sleeps until a listener is lent.
    Sleep,
    /// It ends.
    End,
}

impl Throttle {
    /// Takes an idle worker's place with a permit for the thread that listens, and keeps its listener meanwhile.
    /// Returns the worker; or the listener again if a worker is awake, none is idle, or no permit is free.
    fn lend(&self, port: usize, listener: Box<dyn PortListener>) -> Result<usize, Box<dyn PortListener>> {
        let mut state = self.state.lock();
        let may = !state.closed && self.ports[port].queue.workers_awake() == 0;
        let worker = if may { self.take_worker(&mut state, port) } else { None };
        let Some(worker) = worker else { return Err(listener) };
        state.threads[port].lend(listener, worker);
        let deputy_slept = !std::mem::replace(&mut state.deputy_awake, true);
        drop(state);
        if deputy_slept && !planted(Planted::NoDeputy) {
            self.deputy.unpark(LISTEN);
        }
        Ok(worker)
    }

    /// Takes the listener back and returns the permit and the worker's place. `None` if it was passed on: the thread is
    /// that worker from now on, with its permit.
    fn take_back(&self, port: usize, worker: usize) -> Option<Box<dyn PortListener>> {
        let mut state = self.state.lock();
        let listener = state.threads[port].take_back(worker)?;
        let queue = &self.ports[port].queue;
        // First no longer awake, then the look at the queue: see the proof in docs/ARCHITECTURE.md.
        self.return_permit(&mut state, port);
        let is_empty = queue.is_empty() || planted(Planted::UnseenQueue);
        let thread = state.threads[port].of_worker(worker);
        if state.closed {
            // No worker goes to sleep any more: its thread ends, or does what is left.
            let word = if is_empty { CLOSED } else { PERMIT };
            if !is_empty {
                self.take_permit(&mut state, port);
                queue.change_searching(1);
            }
            let woken = self.hand_over(&mut state);
            drop(state);
            self.parker(port, thread).unpark(word);
            self.wake(woken);
            return Some(listener);
        }
        if !planted(Planted::KeptWorker) {
            state.idle[port].push(worker);
        }
        let woken = self.hand_over(&mut state);
        let own = if is_empty { None } else { self.grant(&mut state, port) };
        drop(state);
        self.wake(woken);
        self.wake(own);
        Some(listener)
    }

    /// A look of the deputy: passes on each listener that is lent for the same run as at its last look.
    fn look(&self) -> Look {
        let mut state = self.state.lock();
        let (mut passed, mut any_new) = (Vec::new(), false);
        for (port, threads) in state.threads.iter_mut().enumerate() {
            let is_new = threads.is_lent_anew();
            any_new |= is_new;
            if !is_new && let Some(thread) = threads.pass_listening(None) {
                passed.push(ThreadId { port, thread });
            }
        }
        state.deputy_awake = any_new || state.closed;
        let next = match (any_new, state.closed) {
            (true, _) => Look::Again,
            (false, false) => Look::Sleep,
            (false, true) => Look::End,
        };
        drop(state);
        passed.into_iter().for_each(|follower| self.wake_to_listen(follower));
        next
    }

    /// Wakes the thread that a listener was passed to. To be called without the lock.
    pub(super) fn wake_to_listen(&self, follower: ThreadId) {
        self.parker(follower.port, follower.thread).unpark(LISTEN);
    }
}

impl Worker {
    /// Listens, and runs the calls that are left to it, until another thread listens: then it returns true, and this
    /// thread is a worker that is awake. Returns false once the listener has ended.
    pub(super) fn listen(&mut self, mut listener: Box<dyn PortListener>) -> bool {
        let (shared, port) = (Arc::clone(&self.shared), Arc::clone(&self.port));
        loop {
            match listener.turn() {
                TurnOutcome::Continue => continue,
                TurnOutcome::Ended => return false,
                TurnOutcome::CallsLeft => {}
            }
            listener = match shared.throttle.lend(port.index, listener) {
                Ok(worker) => {
                    self.blocking.set_worker(worker);
                    self.set_hooks(true);
                    self.run_left(&port, &shared);
                    let Some(listener) = shared.throttle.take_back(port.index, worker) else { return true };
                    self.set_hooks(false);
                    listener
                }
                Err(listener) => {
                    shared.throttle.announce(port.index);
                    listener
                }
            };
        }
    }

    /// Runs what waits in the queue, for a while.
    fn run_left(&mut self, port: &PortShared, shared: &Shared) {
        let end = now() + RUN_MAX;
        while let Some(burst) = port.queue.take() {
            port.stats.ran_where_read.add(burst.len() as u64);
            if self.serve(burst, port, shared) >= end || shared.throttle.others_starve(port.index) {
                break;
            }
        }
    }

    /// Takes the listener that was passed to this thread, and does for the calls of the thread before what a listener
    /// does for slow calls.
    pub(super) fn take_over(&self) -> Option<Box<dyn PortListener>> {
        let listener = self.shared.throttle.state.lock().threads[self.port.index].take_passed();
        self.port.stats.listener_passed.add(1);
        if !planted(Planted::NoRescue) {
            self.port.rescue_stalled(&self.shared, false, now());
        }
        listener
    }
}

impl PortShared {
    /// Returns whether a burst may be queued without telling a worker: the listening thread will run it, or tell one,
    /// at the end of its turn.
    pub(crate) fn may_leave(&self, burst: &Burst, service_times: &ServiceTimes) -> bool {
        burst.len() <= BURST_CALLS_MAX
            && !burst.is_nested()
            && self.queue.workers_awake() == 0
            && self.queue.cost_ns() <= LEFT_NS_MAX
            && burst.calls().iter().all(|call| service_times.is_short(call.method))
    }
}

/// Listens on this thread, which runs calls too, until the listener ends or another thread has it; then this thread is
/// a worker.
pub(crate) fn listen_and_work(shared: Arc<Shared>, port: Arc<PortShared>, listener: Box<dyn PortListener>) {
    let thread = shared.throttle.workers(port.index);
    Worker::new(shared, port, thread).run(Some(listener));
}

/// Runs the deputy, which sleeps until a listener is lent, and ends once the throttle is closed.
pub(super) fn run_deputy(throttle: &Throttle) {
    while throttle.deputy.park() == LISTEN {
        loop {
            sleep(TICK);
            match throttle.look() {
                Look::Again => {}
                Look::Sleep => break,
                Look::End => return,
            }
        }
    }
}

/// Starts the deputy's thread.
///
/// # Errors
/// The system made no thread.
pub(crate) fn start_deputy(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    start_thread("deputy".to_owned(), DEPUTY_STACK_BYTES, move || run_deputy(&shared.throttle))
}
