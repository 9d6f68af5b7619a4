//! When a listener looks whether calls are stuck behind a slow handler: only while something waits, first after a
//! millisecond, then less often while there is nothing it could do.

use crate::pool::{PortShared, Shared};
use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

#[derive(Debug)]
pub(super) struct Watch {
    /// When to look; `None` while nothing waits.
    next: Option<Instant>,
    pause: Duration,
    /// Bursts taken from the queue when it looked last: if it grows, the queue is not stuck.
    taken: u64,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { next: None, pause: PAUSE_MIN, taken: 0 }
    }

    /// When the listener must not sleep on.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, if it is time to. To be called before the listener sleeps.
    pub(super) fn look(&mut self, port: &PortShared, shared: &Shared) {
        if !port.queue.needs_watch() {
            (self.next, self.pause) = (None, PAUSE_MIN);
            return;
        }
        let now = Instant::now();
        match self.next {
            None => self.taken = port.queue.taken(),
            Some(next) if now < next => return,
            Some(_) => {
                let moved = self.taken != port.queue.taken();
                let found = port.rescue(shared, moved, now);
                self.taken = port.queue.taken();
                self.pause = if found || moved { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
            }
        }
        self.next = Some(now + self.pause);
    }
}
