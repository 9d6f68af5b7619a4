//! The one semaphore over all ports, and the stacks of idle workers that it wakes from.
//!
//! A permit means "is awake and may run a handler". Invariants, true whenever the lock is free:
//! - permits out = workers awake, over all ports; none is given while as many are out as the limit then in force, so
//!   there are never more than the limit, save those that were out when it was lowered, until they come home;
//! - each worker is on its port's stack, or awake, or paused while its handler waits, or returning, or ended;
//! - while a worker is returning no permit is free;
//! - a port whose queue is not empty and whose stack is not empty has an awake worker, or its starving bit is set
//!   and no permit is free.
//!
//! A freed permit goes to the worker that has been returning longest, since what is begun is finished first; then
//! round the ports whose starving bit is set, so that no port's flood can keep another waiting. While more are out than
//! a lowered limit allows, each worker gives its permit back when its turn ends, as if others starved; where the limit
//! is raised, what that frees is handed out at once, as many times as there is somebody to have it.

use super::queue::Queue;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Parker, Planted, now, planted, unordered};
use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Word for a worker that is woken with a permit.
pub(super) const PERMIT: u32 = 1;
/// Word for a worker that is woken to end.
const CLOSED: u32 = 2;

/// One port's place at the throttle.
#[derive(Debug)]
pub(crate) struct PortWorkers {
    /// What its workers take from.
    pub(crate) queue: Arc<Queue>,
    /// One for each worker.
    pub(crate) parkers: Vec<Arc<Parker>>,
}

/// How many of a port's workers do what. Of a closed throttle, those that have ended count as blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerCounts {
    pub(crate) idle: usize,
    /// With a permit.
    pub(crate) running: usize,
    /// In a handler that waits without one.
    pub(crate) blocked: usize,
    /// In line for one.
    pub(crate) returning: usize,
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Goes on, permit in hand.
    Go,
    /// Sleeps; its permit is gone and it is on the stack, or will find a word already there.
    Park,
    /// Ends; its permit is home.
    Exit,
}

#[derive(Debug)]
pub(crate) struct Throttle {
    seats: Vec<PortWorkers>,
    /// The limit, 0 for none: for estimates. What decides is in `state`.
    limit: unordered::AtomicU64,
    state: Mutex<State>,
    /// Bit p: port p has queued work and an idle worker but got no permit. Written under the lock.
    starving: AtomicU64,
    /// Is any worker returning? Written under the lock.
    crowded: AtomicBool,
    /// Are more permits out than the limit, since it was lowered? Written under the lock.
    over: AtomicBool,
}

#[derive(Debug)]
struct State {
    limit: Option<NonZeroU32>,
    out: u32,
    peak: u32,
    /// Idle workers of each port, the last to come on top.
    idle: Vec<Vec<usize>>,
    /// Workers whose handlers have waited and stand in line for a permit, with their ports; the first to come in front.
    returning: VecDeque<(usize, usize)>,
    /// The port whose turn it is when a permit comes free.
    turn: usize,
    closed: bool,
}

impl Throttle {
    /// `limit` permits, `None` for as many as there are workers. All workers are idle at first.
    pub(crate) fn new(limit: Option<NonZeroU32>, seats: Vec<PortWorkers>) -> Throttle {
        assert!(seats.len() <= 64, "one bit for each port");
        // Reversed, so that worker 0 is the first to be woken.
        let idle = seats.iter().map(|seat| (0..seat.parkers.len()).rev().collect()).collect();
        let returning = VecDeque::new();
        let state = State { limit, out: 0, peak: 0, idle, returning, turn: 0, closed: false };
        let (starving, crowded, over) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let limit = unordered::AtomicU64::new(number(limit));
        Throttle { seats, limit, state: Mutex::new(state), starving, crowded, over }
    }

    /// Permits out now, and the most that ever were.
    pub(crate) fn permits(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.out, state.peak)
    }

    /// How many there may be; `None` without end.
    pub(crate) fn limit(&self) -> Option<u32> {
        let limit = self.limit.load(Ordering::Relaxed) as u32;
        (limit > 0).then_some(limit)
    }

    /// From now on so many permits are given, `None` for as many as there are workers. What is more is taken back as
    /// the workers come to the ends of their turns; whoever waits for one more has it at once.
    pub(crate) fn set_limit(&self, limit: Option<NonZeroU32>) {
        let mut state = self.state.lock();
        state.limit = limit;
        self.limit.store(number(limit), Ordering::Relaxed);
        self.over.store(state.is_over(), Ordering::Relaxed);
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

    /// What the workers of each port do.
    pub(crate) fn crews(&self) -> Vec<WorkerCounts> {
        let state = self.state.lock();
        let count = |(port, seat): (usize, &PortWorkers)| {
            let (idle, running) = (state.idle[port].len(), seat.queue.workers_awake());
            let returning = state.returning.iter().filter(|(of, _)| *of == port).count();
            let blocked = seat.parkers.len().saturating_sub(idle + running + returning);
            WorkerCounts { idle, running, blocked, returning }
        };
        self.seats.iter().enumerate().map(count).collect()
    }

    /// Workers of a port that sleep.
    pub(crate) fn idle(&self, port: usize) -> usize {
        self.state.lock().idle[port].len()
    }

    /// Sizes of the ports' pools.
    pub(super) fn pools(&self) -> Vec<usize> {
        self.seats.iter().map(|seat| seat.parkers.len()).collect()
    }

    /// How many workers of a port may be busy at once: its pool, or as many as its permits keep busy, of which it has a
    /// share while other ports want theirs.
    pub(crate) fn may_run(&self, port: usize) -> usize {
        let (workers, queue) = (self.seats[port].parkers.len(), &self.seats[port].queue);
        let wanting = 1 + (self.starving.load(Ordering::Relaxed) & !(1 << port)).count_ones();
        let share = |limit: u32| queue.holding.workers((limit / wanting).max(1) as usize);
        self.limit().map_or(workers, |limit| share(limit).min(workers))
    }

    /// Wakes a port's most recently idle worker with a permit, if there are both. Without a permit the port is
    /// remembered as starving.
    pub(crate) fn wake_one(&self, port: usize) -> bool {
        let woken = self.grant(&mut self.state.lock(), port);
        self.wake(woken)
    }

    /// Does another port than this wait for a permit, or any worker that is returning, or are too many out?
    pub(super) fn others_starve(&self, port: usize) -> bool {
        self.starving.load(Ordering::Relaxed) & !(1 << port) != 0
            || self.crowded.load(Ordering::Relaxed)
            || self.over.load(Ordering::Relaxed)
    }

    /// A worker ends its turn while others starve: its permit goes to the one whose turn it is, or home if too many are
    /// out.
    pub(super) fn pass_on(&self, port: usize, worker: usize) -> Next {
        let mut state = self.state.lock();
        // Once closed nobody goes to sleep any more: nobody would be woken. Its permit comes home when it ends.
        let keep = state.closed
            || !state.is_over()
                && state.returning.is_empty()
                && self.next_in_turn(&mut state, Some(port)).is_none_or(|next| next == port);
        if keep {
            return Next::Go;
        }
        self.leave(&mut state, port);
        state.idle[port].push(worker);
        let woken = self.hand_over(&mut state);
        // What it leaves behind needs another of its workers, now or when its port's turn comes.
        let own = if self.seats[port].queue.is_empty() { None } else { self.grant(&mut state, port) };
        drop(state);
        self.wake(woken);
        self.wake(own);
        Next::Park
    }

    /// A worker found no work: it gives its permit back and goes to sleep, unless work has come meanwhile.
    pub(super) fn retire(&self, port: usize, worker: usize) -> Next {
        let mut state = self.state.lock();
        let seen_early = planted(Planted::LateLeave).then(|| self.seats[port].queue.is_empty());
        // First no longer awake, then the look at the queue: see the proof in docs/ARCHITECTURE.md.
        self.leave(&mut state, port);
        if !seen_early.unwrap_or_else(|| self.seats[port].queue.is_empty()) {
            // Once closed nobody goes to sleep any more.
            if state.has_permit() || state.closed {
                self.enter(&mut state, port);
                return Next::Go;
            }
            // The limit was lowered: the port's turn comes when a permit is free.
            state.idle[port].push(worker);
            self.starve(port);
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

    /// A worker's handler begins to wait: its permit goes to whoever is next. What its port's queue holds is to be
    /// announced after this, not before: see the proof in docs/ARCHITECTURE.md.
    pub(super) fn pause(&self, port: usize) {
        let mut state = self.state.lock();
        self.leave(&mut state, port);
        let woken = self.hand_over(&mut state);
        drop(state);
        self.wake(woken);
    }

    /// A worker's handler has waited: it goes on with a permit, if one is free. Otherwise it stands in line from now
    /// on, and gets one with the word [`PERMIT`], even if the throttle is closed meanwhile.
    pub(super) fn resume(&self, port: usize, worker: usize) -> bool {
        let mut state = self.state.lock();
        let free = state.has_permit() || planted(Planted::FreeReturn);
        if free {
            self.enter(&mut state, port);
        } else {
            state.returning.push_back((port, worker));
            self.crowded.store(true, Ordering::Relaxed);
        }
        free
    }

    /// Ends idle workers now and the others when they find no more work.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let idle: Vec<Vec<usize>> = state.idle.iter_mut().map(std::mem::take).collect();
        drop(state);
        for (seat, workers) in self.seats.iter().zip(idle) {
            for worker in workers {
                seat.parkers[worker].unpark(CLOSED);
            }
        }
    }

    /// Gives a permit, if one is free, to the first of those returning, or else to the next starving port.
    fn hand_over(&self, state: &mut State) -> Option<(usize, usize)> {
        if planted(Planted::KeptPermit) || !state.has_permit() && !planted(Planted::LoweredInVain) {
            return None;
        }
        if let Some((port, worker)) = state.returning.pop_front() {
            self.crowded.store(!state.returning.is_empty(), Ordering::Relaxed);
            self.enter(state, port);
            return Some((port, worker));
        }
        let port = self.next_in_turn(state, None)?;
        state.turn = (port + 1) % self.seats.len();
        self.grant(state, port)
    }

    /// The next port in turn that can use a permit; `own` can even without a starving bit if it has work.
    fn next_in_turn(&self, state: &mut State, own: Option<usize>) -> Option<usize> {
        let ports = self.seats.len();
        for port in (0..ports).map(|step| (state.turn + step) % ports) {
            let waits = !self.seats[port].queue.is_empty();
            if own == Some(port) {
                if waits {
                    state.turn = (port + 1) % ports;
                    return Some(port);
                }
            } else if self.starving.load(Ordering::Relaxed) & (1 << port) != 0 {
                if waits && !state.idle[port].is_empty() {
                    return Some(port);
                }
                self.sated(port);
            }
        }
        None
    }

    fn grant(&self, state: &mut State, port: usize) -> Option<(usize, usize)> {
        if state.idle[port].is_empty() {
            return None;
        }
        if !state.has_permit() && !planted(Planted::LoweredInVain) {
            self.starve(port);
            return None;
        }
        self.enter(state, port);
        self.seats[port].queue.searching(1);
        let worker = state.idle[port].pop().expect("checked above, under the lock");
        self.sated(port);
        Some((port, worker))
    }

    fn enter(&self, state: &mut State, port: usize) {
        state.out += 1;
        state.peak = state.peak.max(state.out);
        self.seats[port].queue.awake(1);
    }

    fn leave(&self, state: &mut State, port: usize) {
        state.out -= 1;
        if self.over.load(Ordering::Relaxed) {
            self.over.store(state.is_over(), Ordering::Relaxed);
        }
        self.seats[port].queue.awake(-1);
    }

    fn starve(&self, port: usize) {
        if self.starving.fetch_or(1 << port, Ordering::Relaxed) & (1 << port) == 0 {
            self.seats[port].queue.permit_clock().start(now());
        }
    }

    fn sated(&self, port: usize) {
        if self.starving.fetch_and(!(1 << port), Ordering::Relaxed) & (1 << port) != 0 {
            self.seats[port].queue.permit_clock().stop(now());
        }
    }

    /// Outside the lock: waking is a system call.
    fn wake(&self, woken: Option<(usize, usize)>) -> bool {
        woken.map(|(port, worker)| self.seats[port].parkers[worker].unpark(PERMIT)).is_some()
    }
}

impl State {
    /// Is a permit free?
    fn has_permit(&self) -> bool {
        self.limit.is_none_or(|limit| self.out < limit.get())
    }

    /// Are more out than the limit?
    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.out > limit.get())
    }
}

/// 0 for no limit.
fn number(limit: Option<NonZeroU32>) -> u64 {
    limit.map_or(0, |limit| limit.get().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports of two workers each, without work and without threads: the words for the workers stay in their parkers.
    fn throttle(ports: usize, permits: u32) -> Throttle {
        let seat = |_| PortWorkers {
            queue: Arc::new(Queue::new(
                crate::pool::QueueReadings { calls_max: 8, workers: 2, reserve: 0, cores: 2 },
                now(),
            )),
            parkers: (0..2).map(|_| Arc::default()).collect(),
        };
        Throttle::new(NonZeroU32::new(permits), (0..ports).map(seat).collect())
    }

    /// The word that was handed to a worker. Without one this would wait for ever.
    fn word(throttle: &Throttle, port: usize, worker: usize) -> u32 {
        throttle.seats[port].parkers[worker].park()
    }

    #[test]
    fn those_returning_go_on_in_the_order_of_their_coming_and_before_others() {
        let throttle = throttle(2, 1);
        for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
            assert!(throttle.wake_one(port), "the one before has given its permit back");
            assert_eq!(word(&throttle, port, worker), PERMIT);
            throttle.pause(port);
        }
        assert_eq!(throttle.permits(), (0, 1));
        assert!(throttle.resume(0, 1), "a permit is free");
        assert!(!throttle.resume(1, 0) && !throttle.resume(0, 0));
        assert!(!throttle.wake_one(1), "nobody is woken past them");
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
    fn a_close_leaves_those_returning_in_line() {
        let throttle = throttle(1, 1);
        assert!(throttle.wake_one(0));
        assert_eq!(word(&throttle, 0, 0), PERMIT);
        throttle.pause(0);
        assert!(throttle.wake_one(0));
        assert_eq!(word(&throttle, 0, 1), PERMIT);
        assert!(!throttle.resume(0, 0));
        throttle.close();
        assert_eq!(throttle.pass_on(0, 1), Next::Go, "nobody goes to sleep any more");
        assert_eq!(throttle.retire(0, 1), Next::Exit);
        assert_eq!(word(&throttle, 0, 0), PERMIT);
        assert_eq!(throttle.retire(0, 0), Next::Exit);
        assert_eq!(throttle.permits(), (0, 1));
    }

    #[test]
    fn a_lowered_limit_takes_permits_home_and_a_raised_one_gives_them_to_who_waits() {
        let throttle = throttle(2, 3);
        for (port, worker) in [(0, 0), (0, 1), (1, 0)] {
            assert!(throttle.wake_one(port));
            assert_eq!(word(&throttle, port, worker), PERMIT);
        }
        throttle.set_limit(NonZeroU32::new(1));
        assert_eq!((throttle.limit(), throttle.permits()), (Some(1), (3, 3)), "those out are not torn away");
        assert!(!throttle.wake_one(1) && throttle.others_starve(0), "nobody has one above the limit");
        assert_eq!(throttle.pass_on(0, 0), Next::Park, "though nobody else waits");
        throttle.pause(0);
        assert!(!throttle.resume(0, 1), "one is out, and that is all there may be");
        assert_eq!(throttle.permits().0, 1);
        throttle.set_limit(NonZeroU32::new(3));
        assert_eq!(word(&throttle, 0, 1), PERMIT, "who waited has one at once");
        assert_eq!(throttle.permits().0, 2);
        throttle.set_limit(None);
        assert_eq!(throttle.limit(), None);
        for (port, worker) in [(0, 1), (1, 0)] {
            assert_eq!(throttle.retire(port, worker), Next::Park);
        }
        assert_eq!(throttle.permits(), (0, 3));
    }

    #[test]
    fn without_a_limit_nobody_stands_in_line() {
        let throttle = throttle(1, 0);
        assert!(throttle.wake_one(0) && throttle.wake_one(0));
        throttle.pause(0);
        assert!(throttle.resume(0, 0));
        assert_eq!(throttle.permits(), (2, 2));
    }
}
