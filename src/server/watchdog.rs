//! When a listener looks after the calls of its port: whether some are stuck behind a slow handler or in a deadlock
//! of nested calls, which it can mend, and whether one runs for very long, which it can tell. The listener of the first
//! port also looks after the sessions of all ports, at the times that they give.
//!
//! Only while something waits or runs; so an idle listener sleeps without end. For the stuck it looks first after a
//! millisecond, then less often while there is nothing it could do; for the long each second or less often.

use super::sessions::Registry;
use crate::pool::{PortShared, Shared};
use crate::sync::Arc;
use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Between two looks for deadlocks: one is found within twice this.
const NESTED_PAUSE: Duration = Duration::from_millis(40);

/// Between two looks for long transactions. One is told of so late at most, or after an eighth of the limit more.
const LONG_PAUSE_MIN: Duration = Duration::from_millis(125);
const LONG_PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Watchdog {
    /// When to look; `None` while nothing waits.
    next: Option<Instant>,
    pause: Duration,
    /// Bursts taken from the queue when it looked last: if it grows, the queue is not stuck.
    taken: u64,
    /// What is long; `None` for nobody to be told.
    long: Option<Duration>,
    /// When to look for long transactions; `None` while nothing runs.
    next_long: Option<Instant>,
    /// When to look for deadlocks; `None` while no nested call waits.
    next_nested: Option<Instant>,
    /// All sessions, if this is the listener that looks after them.
    sessions: Option<Arc<Registry>>,
}

impl Watchdog {
    pub(super) fn new(long: Option<Duration>, sessions: Option<Arc<Registry>>) -> Watchdog {
        Watchdog {
            next: None,
            pause: PAUSE_MIN,
            taken: 0,
            long,
            next_long: None,
            next_nested: None,
            sessions,
        }
    }

    /// From now on these are long.
    pub(super) fn set_long(&mut self, long: Option<Duration>) {
        (self.long, self.next_long) = (long, None);
    }

    /// When the listener must not sleep on.
    pub(super) fn next(&self) -> Option<Instant> {
        let sessions = self.sessions.as_ref().and_then(|sessions| sessions.next());
        [self.next, self.next_long, self.next_nested, sessions].into_iter().flatten().min()
    }

    /// Looks, if it is time to. To be called before the listener sleeps.
    pub(super) fn look(&mut self, port: &PortShared, shared: &Shared) {
        self.look_after_sessions();
        if port.queue.in_flight() == 0 {
            (self.next, self.pause, self.next_long, self.next_nested) = (None, PAUSE_MIN, None, None);
            return;
        }
        let now = Instant::now();
        self.look_for_long(port, shared, now);
        self.look_for_stuck(port, shared, now);
        self.look_for_deadlock(port, shared, now);
    }

    fn look_after_sessions(&self) {
        let Some((sessions, next)) = self.sessions.as_ref().and_then(|s| Some((s, s.next()?))) else {
            return;
        };
        let now = Instant::now();
        if now >= next {
            sessions.look(now);
        }
    }

    fn look_for_deadlock(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        if !shared.nested.any_queued() {
            self.next_nested = None;
        } else if self.next_nested.is_none_or(|next| now >= next) {
            port.abort_deadlock(shared, now);
            self.next_nested = Some(now + NESTED_PAUSE);
        }
    }

    fn look_for_long(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        let Some(limit) = self.long else { return };
        match self.next_long {
            Some(next) if now < next => return,
            Some(_) => port.report_long_calls(shared, limit, now),
            None => {}
        }
        self.next_long = Some(now + (limit / 8).clamp(LONG_PAUSE_MIN, LONG_PAUSE_MAX));
    }

    fn look_for_stuck(&mut self, port: &PortShared, shared: &Shared, now: Instant) {
        if !port.queue.needs_watch() {
            (self.next, self.pause) = (None, PAUSE_MIN);
            return;
        }
        match self.next {
            None => self.taken = port.queue.bursts_taken(),
            Some(next) if now < next => return,
            Some(_) => {
                let moved = self.taken != port.queue.bursts_taken();
                let found = port.rescue_stalled(shared, moved, now);
                self.taken = port.queue.bursts_taken();
                self.pause = if found || moved { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
            }
        }
        self.next = Some(now + self.pause);
    }
}
