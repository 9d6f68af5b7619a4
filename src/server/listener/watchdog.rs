//! Schedules the checks of a port's calls: for calls stuck behind a slow handler, for deadlocks of nested calls and for
//! overdue calls in the lines of methods, which are resolved, and for long transactions, which are logged. The listener
//! of the first port also checks the sessions of all ports, at the times that the registry gives.
//!
//! Invariant: nothing is due while nothing waits or runs; so an idle listener sleeps without end. The check for stuck
//! calls is due after a millisecond, then less often while there is nothing to resolve; that for long transactions each
//! second or more often. The checks themselves are the pool's.

use crate::pool::{PortShared, Shared};
use crate::server::sessions::Registry;
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two checks for stuck calls.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Time between two checks for deadlocks: one is found within twice this.
const NESTED_PAUSE: Duration = Duration::from_millis(40);

/// Time between two checks for calls in the lines of limited methods that are cancelled or late.
const OVERDUE_PAUSE: Duration = Duration::from_millis(250);

/// Time between two checks for long transactions; a report is late by at most this, or 1/8 of the limit.
const LONG_PAUSE_MIN: Duration = Duration::from_millis(125);
const LONG_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The times of a listener's next checks.
#[derive(Debug)]
pub(in crate::server) struct Watchdog {
    /// Next check for stuck calls; `None` while nothing waits.
    next_stuck: Option<Instant>,
    pause: Duration,
    /// Bursts taken from the queue until the last check: while that grows, the queue is not stuck.
    taken: u64,
    /// Run time from which on a transaction counts as long; `None` if none is reported.
    long: Option<Duration>,
    /// Next check for long transactions; `None` while nothing runs.
    next_long: Option<Instant>,
    /// Next check for deadlocks; `None` while no nested call waits.
    next_nested: Option<Instant>,
    /// Next check for overdue calls in lines; `None` while no method is limited.
    next_overdue: Option<Instant>,
    /// All sessions, if this listener checks them.
    sessions: Option<Arc<Registry>>,
}

impl Watchdog {
    pub(in crate::server) fn new(long: Option<Duration>, sessions: Option<Arc<Registry>>) -> Watchdog {
        Watchdog {
            next_stuck: None,
            pause: PAUSE_MIN,
            taken: 0,
            long,
            next_long: None,
            next_nested: None,
            next_overdue: None,
            sessions,
        }
    }

    /// Changes the run time from which on a transaction counts as long.
    pub(super) fn set_long_transaction(&mut self, long: Option<Duration>) {
        (self.long, self.next_long) = (long, None);
    }

    /// Returns the time of the next check.
    pub(super) fn next(&self) -> Option<Instant> {
        let sessions = self.sessions.as_ref().and_then(|sessions| sessions.next());
        let times = [self.next_stuck, self.next_long, self.next_nested, self.next_overdue, sessions];
        times.into_iter().flatten().min()
    }

    /// Makes the checks that are due. To be called before each poll.
    pub(super) fn check(&mut self, port: &PortShared, shared: &Shared) {
        self.check_sessions();
        if port.queue.in_flight() == 0 {
            (self.next_stuck, self.pause, self.next_long) = (None, PAUSE_MIN, None);
            (self.next_nested, self.next_overdue) = (None, None);
            return;
        }
        let now = Instant::now();
        self.check_long(port, shared, now);
        self.check_stuck(port, shared, now);
        self.check_deadlock(port, shared, now);
        self.check_overdue(shared, now);
    }

    /// The check is due even while no line has a call: a worker may be about to put one there.
    fn check_overdue(&mut self, shared: &Shared, now: Instant) {
        if !shared.limits.any() {
            self.next_overdue = None;
        } else if self.next_overdue.is_none_or(|next| now >= next) {
            if shared.limits.any_waiting() {
                shared.answer_overdue(now);
            }
            self.next_overdue = Some(now + OVERDUE_PAUSE);
        }
    }

    fn check_sessions(&self) {
        let Some((sessions, next)) = self.sessions.as_ref().and_then(|s| Some((s, s.next()?))) else {
            return;
        };
        let now = Instant::now();
        if now >= next {
            sessions.look(now);
        }
    }

    fn check_deadlock(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        if !shared.nested.any_queued() {
            self.next_nested = None;
        } else if self.next_nested.is_none_or(|next| now >= next) {
            port.abort_deadlock(shared, now);
            self.next_nested = Some(now + NESTED_PAUSE);
        }
    }

    fn check_long(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        let Some(limit) = self.long else { return };
        match self.next_long {
            Some(next) if now < next => return,
            Some(_) => port.report_long_calls(shared, limit, now),
            None => {}
        }
        self.next_long = Some(now + (limit / 8).clamp(LONG_PAUSE_MIN, LONG_PAUSE_MAX));
    }

    fn check_stuck(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        if !port.queue.needs_watch() {
            (self.next_stuck, self.pause) = (None, PAUSE_MIN);
            return;
        }
        match self.next_stuck {
            None => self.taken = port.queue.bursts_taken(),
            Some(next) if now < next => return,
            Some(_) => {
                let moved = self.taken != port.queue.bursts_taken();
                let found = port.rescue_stalled(shared, moved, now);
                self.taken = port.queue.bursts_taken();
                self.pause = if found || moved { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
            }
        }
        self.next_stuck = Some(now + self.pause);
    }
}
