//! Forecast of the queue wait of a call that arrives now, and the rule for calls that would be late.
//!
//! Pure arithmetic over numbers of the queue: `queue length x mean run time / workers that may run`. Connections take
//! turns, so a connection waits only for the turns of the others before its own.

use std::time::Duration;

/// Longest turn of one connection while others wait, in nanoseconds of work; a turn has at least one call.
pub(crate) const TURN_NS_MAX: u64 = 500_000;

/// Work ahead of the next call of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Likely cost of all calls in the port's queue, in nanoseconds.
    pub queue_ns: u64,
    /// Calls in the queue.
    pub calls: u64,
    /// Bursts in which they came.
    pub bursts: u64,
    /// Connections to which they belong.
    pub connections: u64,
    /// Likely cost of this connection's own calls among them, in nanoseconds.
    pub own_ns: u64,
    /// Workers that may run at once; 0 counts as 1.
    pub workers: u64,
}

impl Forecast {
    /// An empty queue.
    pub const NONE: Forecast =
        Forecast { queue_ns: 0, calls: 0, bursts: 0, connections: 0, own_ns: 0, workers: 1 };

    /// The likely wait of a call that its connection sends after `ahead_ns` worth of other calls in the same read.
    pub fn wait(&self, ahead_ns: u64) -> Duration {
        if self.queue_ns + ahead_ns == 0 {
            return Duration::ZERO;
        }
        let own_ns = self.own_ns + ahead_ns;
        let connections = self.connections.max(1) + u64::from(self.own_ns == 0 && self.connections > 0);
        let fair_ns = (own_ns + self.turn_ns()).saturating_mul(connections);
        Duration::from_nanos(fair_ns.min(self.queue_ns + ahead_ns) / self.workers.max(1))
    }

    /// Cost of one connection's turn: a burst, or less if bursts are long.
    fn turn_ns(&self) -> u64 {
        let (burst_ns, call_ns) = (self.queue_ns / self.bursts.max(1), self.queue_ns / self.calls.max(1));
        burst_ns.min(call_ns.max(TURN_NS_MAX))
    }
}

/// State of the line of a limited method, for a call that arrives now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineForecast {
    /// As many calls run and wait as may.
    pub is_full: bool,
    /// The likely wait in the line.
    pub wait: Duration,
}

/// Returns whether a call with this wait and run time would miss a deadline in `left`. A quarter of the time that
/// remains for waiting is kept for the way back and for errors of the forecast: with a standing queue the admitted
/// calls are those that would only just be in time. A call that need not wait is never late by this rule.
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
        let flood = Forecast {
            queue_ns: 200 * MS,
            calls: 100,
            bursts: 100,
            connections: 100,
            own_ns: 0,
            workers: 20,
        };
        assert_eq!(flood.wait(0), ms(10));
        assert_eq!(Forecast { workers: 0, ..flood }.wait(0), ms(200), "no worker may run: as if one could");
        assert_eq!(
            Forecast { queue_ns: 0, calls: 0, bursts: 0, connections: 0, ..flood }.wait(40 * MS),
            ms(2),
            "its own calls"
        );
    }

    #[test]
    fn a_connection_waits_for_turns_of_the_others_not_for_all_they_have() {
        // One connection has a thousand calls of 2 ms, in ten bursts.
        let flood =
            Forecast { queue_ns: 2000 * MS, calls: 1000, bursts: 10, connections: 1, own_ns: 0, workers: 2 };
        assert_eq!(flood.wait(0), ms(2), "a turn of the other's and the turn it shares");
        assert_eq!(Forecast { own_ns: 2000 * MS, ..flood }.wait(0), ms(1000), "the thousand are its own");
        // Short calls: a turn is as much as a turn may be.
        let short =
            Forecast { queue_ns: 10 * MS, calls: 10_000, bursts: 10, connections: 1, own_ns: 0, workers: 1 };
        assert_eq!(short.wait(0), ms(1));
    }

    #[test]
    fn a_quarter_of_the_time_for_waiting_is_kept() {
        assert!(!would_be_late(ms(73), ms(2), ms(100)));
        assert!(would_be_late(ms(74), ms(2), ms(100)));
        assert!(would_be_late(ms(1), ms(200), ms(100)), "it runs too long to wait at all");
        assert!(!would_be_late(ms(0), ms(200), ms(100)), "and is run at once where no call waits");
    }
}
