//! The clock of a port that goes on while the port is without a permit.

use crate::sync::{Ordering, unordered};
use std::time::{Duration, Instant};

/// How long a port has been without a permit while it had both work and an idle worker. A transaction's permit
/// wait is how far this clock went on while it was queued; so no transaction needs stamps of its own.
#[derive(Debug)]
pub(crate) struct PermitClock {
    epoch: Instant,
    total_us: unordered::AtomicU64,
    /// When it was started, from the epoch, plus one; 0 while it stands.
    since_us: unordered::AtomicU64,
}

impl PermitClock {
    pub(super) fn new(epoch: Instant) -> PermitClock {
        PermitClock { epoch, total_us: unordered::AtomicU64::new(0), since_us: unordered::AtomicU64::new(0) }
    }

    pub(super) fn start(&self, now: Instant) {
        self.since_us.store(self.micros(now) + 1, Ordering::Relaxed);
    }

    pub(super) fn stop(&self, now: Instant) {
        let since = self.since_us.swap(0, Ordering::Relaxed);
        self.total_us.fetch_add((self.micros(now) + 1).saturating_sub(since), Ordering::Relaxed);
    }

    /// The clock's time. Between `start` and `stop` by another thread it may be off by what passes between two
    /// of its instructions: good for a statistic.
    pub(crate) fn read_us(&self, now: Instant) -> u64 {
        let since = self.since_us.load(Ordering::Relaxed);
        let running = if since == 0 { 0 } else { (self.micros(now) + 1).saturating_sub(since) };
        self.total_us.load(Ordering::Relaxed) + running
    }

    fn micros(&self, now: Instant) -> u64 {
        let elapsed: Duration = now.saturating_duration_since(self.epoch);
        elapsed.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permit_clock_runs_only_while_started() {
        let epoch = Instant::now();
        let at = |ms| epoch + Duration::from_millis(ms);
        let clock = PermitClock::new(epoch);
        assert_eq!(clock.read_us(at(5)), 0);
        clock.start(at(5));
        assert_eq!(clock.read_us(at(7)), 2000);
        clock.stop(at(10));
        assert_eq!(clock.read_us(at(50)), 5000);
        clock.start(at(60));
        assert_eq!(clock.read_us(at(61)), 6000);
    }
}
