//! A clock for each port that runs while the port lacks a permit.

use crate::sync::{Ordering, unordered};
use std::time::{Duration, Instant};

/// Total time in which a port had queued work and an idle worker but no permit. The permit wait of a transaction is how
/// far this clock advanced while the transaction was queued, so transactions need no time stamps of their own.
#[derive(Debug)]
pub(crate) struct PermitClock {
    epoch: Instant,
    total_us: unordered::AtomicU64,
    /// When it was started, from the epoch, plus one; 0 while it is stopped.
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

    /// The clock's time. During a concurrent `start` or `stop` it may be off by the time between two instructions,
    /// which is accurate enough for a statistic.
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
