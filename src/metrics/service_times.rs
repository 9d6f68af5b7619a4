//! Service times: how long each method usually runs. They decide whether calls may wait for one another, and they are
//! the cost of a queue in forecasts.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;
use std::time::Duration;

/// A method that usually runs no longer than this, in nanoseconds, is short: calls behind it may wait for it, and its
/// reply for theirs.
const SHORT_NS: u32 = 50_000;

/// Cautious estimate of a method that has not run yet, in nanoseconds.
const UNKNOWN_NS: u32 = 1_000_000;

/// Lower limit of a call's estimate, in nanoseconds: about what the work around a handler costs.
const RESOLUTION_NS: u32 = 250;

/// Calls of a short method that are added to the averages together.
const BATCH_MAX: u32 = 16;

/// One call moves the mean as if it had lasted at most this many times the mean: the one slow call of a thousand must
/// not make a queue of the others look long.
const OUTLIER: u32 = 8;

/// Running averages of service times, by method number.
///
/// Workers write without agreeing on an order: a lost sample changes nothing that matters.
#[derive(Debug)]
pub struct ServiceTimes(Vec<AtomicU64>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ewma {
    /// Rises fast and falls slowly, so that a method that is slow now and then does not count as short.
    cautious_ns: u32,
    /// Moves equally fast in both directions; 0 until the method has run once.
    mean_ns: u32,
}

impl Ewma {
    fn of(word: u64) -> Ewma {
        Ewma { cautious_ns: (word >> 32) as u32, mean_ns: word as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.cautious_ns) << 32 | u64::from(self.mean_ns)
    }

    fn after(self, ns: u32) -> Ewma {
        if self.mean_ns == 0 {
            return Ewma { cautious_ns: ns, mean_ns: ns };
        }
        let cautious = self.cautious_ns;
        // At least one step down, or a fall of less than 16 ns would never end.
        let fall = |old: u32, new: u32| old - ((old - new) / 16).max(u32::from(old > new));
        let cautious_ns = if ns > cautious { cautious + (ns - cautious) / 4 } else { fall(cautious, ns) };
        let (mean, ns) = (self.mean_ns, ns.min(self.mean_ns.saturating_mul(OUTLIER)));
        let mean_ns = if ns > mean { mean + (ns - mean) / 16 } else { fall(mean, ns) };
        Ewma { cautious_ns, mean_ns }
    }
}

impl ServiceTimes {
    /// For methods 1 to `methods`.
    pub fn new(methods: usize) -> ServiceTimes {
        let unknown = Ewma { cautious_ns: UNKNOWN_NS, mean_ns: 0 };
        ServiceTimes((0..=methods).map(|_| AtomicU64::new(unknown.word())).collect())
    }

    fn average(&self, method: u16) -> Ewma {
        Ewma::of(self.0[usize::from(method)].load(Ordering::Relaxed))
    }

    /// Mean run time of a method, in nanoseconds; 0 until it has run once.
    pub fn mean_ns(&self, method: u16) -> u32 {
        self.average(method).mean_ns
    }

    /// Returns whether the method is usually short.
    pub(crate) fn is_short(&self, method: u16) -> bool {
        self.average(method).cautious_ns <= SHORT_NS
    }

    /// Adds `calls` calls of a method that ran `ns` each.
    pub(crate) fn add(&self, method: u16, calls: u32, ns: u64) {
        let (old, ns) = (self.average(method), u32::try_from(ns).unwrap_or(u32::MAX).max(RESOLUTION_NS));
        let new = (0..calls).fold(old, |average, _| average.after(ns));
        if new != old {
            self.0[usize::from(method)].store(new.word(), Ordering::Relaxed);
        }
    }
}

/// Short calls of one method that a worker has measured and not yet added to [`ServiceTimes`]: workers that write to
/// one word with every call would bounce the cache line between cores.
#[derive(Debug, Default)]
pub(crate) struct ServiceTimeBatch {
    method: u16,
    calls: u32,
    sum_ns: u64,
}

impl ServiceTimeBatch {
    /// Adds a call that ran `ns`. A call that is not short is added to `times` at once. Returns whether it was short.
    pub(crate) fn add(&mut self, method: u16, ns: u64, times: &ServiceTimes) -> bool {
        if ns > SHORT_NS.into() || !times.is_short(method) {
            times.add(method, 1, ns);
            return false;
        }
        if method != self.method || self.calls == BATCH_MAX {
            self.flush(times);
        }
        *self = ServiceTimeBatch { method, calls: self.calls + 1, sum_ns: self.sum_ns + ns };
        true
    }

    fn flush(&mut self, times: &ServiceTimes) {
        let ServiceTimeBatch { method, calls, sum_ns } = std::mem::take(self);
        if calls > 0 {
            times.add(method, calls, sum_ns / u64::from(calls));
        }
    }
}

/// How much of their time a port's transactions hold a permit: running averages over those that are not short.
#[derive(Debug, Default)]
pub(crate) struct PermitUsage(AtomicU64);

impl PermitUsage {
    /// Adds a transaction that ran for `ran` and held a permit for `held` of it.
    pub(crate) fn add(&self, ran: Duration, held: Duration) {
        let word = self.0.load(Ordering::Relaxed);
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let mean = |old: u32, new: u32| {
            if old == 0 { new } else { (old as i64 + (new as i64 - old as i64) / 16) as u32 }
        };
        let new = (mean((word >> 32) as u32, us(ran)), mean(word as u32, us(held)));
        self.0.store(u64::from(new.0) << 32 | u64::from(new.1), Ordering::Relaxed);
    }

    /// How many workers `permits` keep busy, given that transactions return theirs while they block.
    pub(crate) fn workers(&self, permits: usize) -> usize {
        let word = self.0.load(Ordering::Relaxed);
        let (ran, held) = (word >> 32, u64::from(word as u32).max(1));
        (permits as u64 * ran.max(held) / held) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_keep_more_workers_busy_where_transactions_block_without_them() {
        let (usage, ms) = (PermitUsage::default(), Duration::from_millis);
        assert_eq!(usage.workers(4), 4, "nothing is known");
        usage.add(ms(5), ms(5));
        assert_eq!(usage.workers(4), 4);
        (0..200).for_each(|_| usage.add(ms(5), ms(1)));
        assert!((18..=20).contains(&usage.workers(4)), "{}", usage.workers(4));
    }

    #[test]
    fn a_method_is_short_once_it_has_been_seen_to_be() {
        let times = ServiceTimes::new(2);
        assert!(!times.is_short(1), "unknown");
        times.add(1, 1, 400);
        assert!(times.is_short(1));
        times.add(1, 1, 100_000_000);
        assert!(!times.is_short(1), "one slow call is enough");
        for _ in 0..200 {
            times.add(1, 1, 400);
        }
        assert!(times.is_short(1), "and is forgotten");
        assert_eq!(times.mean_ns(2), 0, "each method has its own");
    }

    #[test]
    fn averages_settle_at_a_steady_cost() {
        let times = ServiceTimes::new(1);
        let after = |ns: u64| {
            (0..2000).for_each(|_| times.add(1, 1, ns));
            times.mean_ns(1)
        };
        assert_eq!(after(700), 700);
        assert_eq!(after(90), RESOLUTION_NS, "and no lower");
        // A rise stops where a sixteenth of what is missing is less than a nanosecond.
        assert!((2_000_000 - 16..=2_000_000).contains(&after(2_000_000)));
    }

    #[test]
    fn short_calls_are_added_together_and_slow_ones_at_once() {
        let (times, mut batch) = (ServiceTimes::new(2), ServiceTimeBatch::default());
        assert!(!batch.add(1, 1_000, &times), "of an unknown method");
        assert_eq!(times.mean_ns(1), 1_000);
        assert!((0..BATCH_MAX).all(|_| batch.add(1, 5_000, &times)));
        assert_eq!(times.mean_ns(1), 1_000);
        assert!(batch.add(1, 5_000, &times));
        assert!(times.mean_ns(1) > 3_000, "as many calls as there were");
        let before = times.mean_ns(1);
        assert!(!batch.add(2, 700, &times) && batch.add(2, 700, &times));
        assert!(times.mean_ns(1) > before, "the rest, with the first call of another method");
        assert!(!batch.add(2, 1_000_000, &times));
        assert!(!times.is_short(2));
    }

    #[test]
    fn one_slow_call_does_not_make_the_others_look_slow() {
        let times = ServiceTimes::new(1);
        (0..100).for_each(|_| times.add(1, 1, 1_000_000));
        times.add(1, 1, 4_000_000_000);
        assert!(times.mean_ns(1) < 1_500_000);
        (0..100).for_each(|_| times.add(1, 1, 50_000_000));
        assert!(times.mean_ns(1) > 40_000_000, "many do");
    }
}
