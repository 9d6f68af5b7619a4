//! How long a call that arrives now is likely to wait, and whether that is too long.
//!
//! Pure arithmetic over what the queue knows: `queue length x running average / workers that may run`, where a
//! connection waits for no more of the others' calls than their turns before its own.

use std::time::Duration;

/// A turn of one connection ends after this much work when others wait, or after one call, in nanoseconds.
pub(crate) const TURN_NS_MAX: u64 = 500_000;

/// What is ahead of the next call of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Likely cost of all calls of the port's queue, in nanoseconds.
    pub queue_ns: u64,
    /// Calls of the queue.
    pub calls: u64,
    /// Bursts they came in.
    pub bursts: u64,
    /// Connections they belong to.
    pub lanes: u64,
    /// Likely cost of this connection's own among them.
    pub lane_ns: u64,
    /// Workers that may run at once; 0 counts as 1.
    pub workers: u64,
}

impl Forecast {
    /// Nothing is ahead.
    pub const NONE: Forecast =
        Forecast { queue_ns: 0, calls: 0, bursts: 0, lanes: 0, lane_ns: 0, workers: 1 };

    /// The likely wait of a call before which its connection sends `ahead_ns` worth of others just now.
    pub fn wait(&self, ahead_ns: u64) -> Duration {
        if self.queue_ns + ahead_ns == 0 {
            return Duration::ZERO;
        }
        let own_ns = self.lane_ns + ahead_ns;
        let lanes = self.lanes.max(1) + u64::from(self.lane_ns == 0 && self.lanes > 0);
        let fair_ns = (own_ns + self.turn_ns()).saturating_mul(lanes);
        Duration::from_nanos(fair_ns.min(self.queue_ns + ahead_ns) / self.workers.max(1))
    }

    /// What a connection's turn costs: a burst, or less where the bursts are long.
    fn turn_ns(&self) -> u64 {
        let (burst_ns, call_ns) = (self.queue_ns / self.bursts.max(1), self.queue_ns / self.calls.max(1));
        burst_ns.min(call_ns.max(TURN_NS_MAX))
    }
}

/// Would a call that waits so long and runs so long miss a deadline in `left`? A quarter of the time that remains
/// for waiting is kept for the way back and for estimates that are off: at a standing queue the calls that are let in
/// are those that would just make it. Who need not wait is never late by this rule.
pub(crate) fn would_be_late(wait: Duration, run: Duration, left: Duration) -> bool {
    !wait.is_zero() && wait > left.saturating_sub(run) * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_wait_is_the_queue_over_the_workers() {
        assert_eq!(Forecast::default().wait(0), Duration::ZERO);
        // A hundred connections with one call of 2 ms each, 20 workers.
        let flood =
            Forecast { queue_ns: 200 * MS, calls: 100, bursts: 100, lanes: 100, lane_ns: 0, workers: 20 };
        assert_eq!(flood.wait(0), ms(10));
        assert_eq!(Forecast { workers: 0, ..flood }.wait(0), ms(200), "nobody may run: as if one could");
        assert_eq!(
            Forecast { queue_ns: 0, calls: 0, bursts: 0, lanes: 0, ..flood }.wait(40 * MS),
            ms(2),
            "its own calls"
        );
    }

    #[test]
    fn a_connection_waits_for_turns_of_the_others_not_for_all_they_have() {
        // One connection has a thousand calls of 2 ms, in ten bursts.
        let flood =
            Forecast { queue_ns: 2000 * MS, calls: 1000, bursts: 10, lanes: 1, lane_ns: 0, workers: 2 };
        assert_eq!(flood.wait(0), ms(2), "a turn of the other's and the turn it shares");
        assert_eq!(Forecast { lane_ns: 2000 * MS, ..flood }.wait(0), ms(1000), "the thousand are its own");
        // Short calls: a turn is as much as a turn may be.
        let short =
            Forecast { queue_ns: 10 * MS, calls: 10_000, bursts: 10, lanes: 1, lane_ns: 0, workers: 1 };
        assert_eq!(short.wait(0), ms(1));
    }

    #[test]
    fn a_quarter_of_the_time_for_waiting_is_kept() {
        assert!(!would_be_late(ms(73), ms(2), ms(100)));
        assert!(would_be_late(ms(74), ms(2), ms(100)));
        assert!(would_be_late(ms(1), ms(200), ms(100)), "it runs too long to wait at all");
        assert!(!would_be_late(ms(0), ms(200), ms(100)), "and is run at once where nobody waits");
    }
}
