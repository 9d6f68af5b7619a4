//! How long each method usually runs: what decides whether calls may wait for one another, and how long a queue is.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;
use std::time::Duration;

/// A method that usually runs no longer than this is short: calls behind it may wait for it, and its reply for
/// theirs. In nanoseconds.
const SHORT_NS: u32 = 50_000;

/// What a method is warily taken for until it has run once, in nanoseconds.
const UNKNOWN_NS: u32 = 1_000_000;

/// A call is taken to last at least so long, in nanoseconds: about what the work around a handler costs.
const RESOLUTION_NS: u32 = 250;

/// So many calls of a short method are learned from together.
const SAMPLES_MAX: u32 = 16;

/// One call moves the mean as if it had lasted at most so many times as long: the one slow call of a thousand must not
/// make a queue of the others look long.
const OUTLIER: u32 = 8;

/// Running averages by method number.
///
/// Workers write without agreeing on an order: a lost sample changes nothing that matters.
#[derive(Debug)]
pub struct ServiceTimes(Vec<AtomicU64>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ewma {
    /// Quick to rise and slow to fall, so that a method that is slow now and then is not taken for short.
    wary_ns: u32,
    /// As quick in both directions; 0 until the method has run once.
    mean_ns: u32,
}

impl Ewma {
    fn of(word: u64) -> Ewma {
        Ewma { wary_ns: (word >> 32) as u32, mean_ns: word as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.wary_ns) << 32 | u64::from(self.mean_ns)
    }

    fn after(self, ns: u32) -> Ewma {
        if self.mean_ns == 0 {
            return Ewma { wary_ns: ns, mean_ns: ns };
        }
        let wary = self.wary_ns;
        // At least one step down, or a fall of less than 16 ns would never end.
        let fall = |old: u32, new: u32| old - ((old - new) / 16).max(u32::from(old > new));
        let wary_ns = if ns > wary { wary + (ns - wary) / 4 } else { fall(wary, ns) };
        let (mean, ns) = (self.mean_ns, ns.min(self.mean_ns.saturating_mul(OUTLIER)));
        let mean_ns = if ns > mean { mean + (ns - mean) / 16 } else { fall(mean, ns) };
        Ewma { wary_ns, mean_ns }
    }
}

impl ServiceTimes {
    /// For methods 1 to `methods`.
    pub fn new(methods: usize) -> ServiceTimes {
        let unknown = Ewma { wary_ns: UNKNOWN_NS, mean_ns: 0 };
        ServiceTimes((0..=methods).map(|_| AtomicU64::new(unknown.word())).collect())
    }

    fn pace(&self, method: u16) -> Ewma {
        Ewma::of(self.0[usize::from(method)].load(Ordering::Relaxed))
    }

    /// What a call of this method costs on average, in nanoseconds; 0 while nothing is known.
    pub fn mean_ns(&self, method: u16) -> u32 {
        self.pace(method).mean_ns
    }

    /// Is the method usually short?
    pub(crate) fn is_short(&self, method: u16) -> bool {
        self.pace(method).wary_ns <= SHORT_NS
    }

    /// So many calls of this method ran so long each, in nanoseconds.
    pub(crate) fn learn(&self, method: u16, calls: u32, ns: u64) {
        let (old, ns) = (self.pace(method), u32::try_from(ns).unwrap_or(u32::MAX).max(RESOLUTION_NS));
        let new = (0..calls).fold(old, |pace, _| pace.after(ns));
        if new != old {
            self.0[usize::from(method)].store(new.word(), Ordering::Relaxed);
        }
    }
}

/// What one worker has measured and not yet handed to [`ServiceTimes`]: several short calls of one method. Workers that
/// write to one word with every call would hand its memory to and fro.
#[derive(Debug, Default)]
pub(crate) struct ServiceTimeBatch {
    method: u16,
    calls: u32,
    sum_ns: u64,
}

impl ServiceTimeBatch {
    /// A call of this method ran so long, in nanoseconds. Whatever is not short is handed on at once. Returns whether
    /// it was short.
    pub(crate) fn add(&mut self, method: u16, ns: u64, paces: &ServiceTimes) -> bool {
        if ns > SHORT_NS.into() || !paces.is_short(method) {
            paces.learn(method, 1, ns);
            return false;
        }
        if method != self.method || self.calls == SAMPLES_MAX {
            self.hand_over(paces);
        }
        *self = ServiceTimeBatch { method, calls: self.calls + 1, sum_ns: self.sum_ns + ns };
        true
    }

    fn hand_over(&mut self, paces: &ServiceTimes) {
        let ServiceTimeBatch { method, calls, sum_ns } = std::mem::take(self);
        if calls > 0 {
            paces.learn(method, calls, sum_ns / u64::from(calls));
        }
    }
}

/// How much of their time a port's transactions hold a permit: running averages over those that are not short.
#[derive(Debug, Default)]
pub(crate) struct PermitUsage(AtomicU64);

impl PermitUsage {
    /// A transaction ran so long, and held a permit for `held` of it.
    pub(crate) fn learn(&self, ran: Duration, held: Duration) {
        let word = self.0.load(Ordering::Relaxed);
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let mean = |old: u32, new: u32| {
            if old == 0 { new } else { (old as i64 + (new as i64 - old as i64) / 16) as u32 }
        };
        let new = (mean((word >> 32) as u32, us(ran)), mean(word as u32, us(held)));
        self.0.store(u64::from(new.0) << 32 | u64::from(new.1), Ordering::Relaxed);
    }

    /// How many workers so many permits keep busy, where transactions give theirs back while they wait.
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
    fn permits_go_further_where_transactions_wait_without_them() {
        let (holding, ms) = (PermitUsage::default(), Duration::from_millis);
        assert_eq!(holding.workers(4), 4, "nothing is known");
        holding.learn(ms(5), ms(5));
        assert_eq!(holding.workers(4), 4);
        (0..200).for_each(|_| holding.learn(ms(5), ms(1)));
        assert!((18..=20).contains(&holding.workers(4)), "{}", holding.workers(4));
    }

    #[test]
    fn a_method_is_short_once_it_has_been_seen_to_be() {
        let paces = ServiceTimes::new(2);
        assert!(!paces.is_short(1), "unknown");
        paces.learn(1, 1, 400);
        assert!(paces.is_short(1));
        paces.learn(1, 1, 100_000_000);
        assert!(!paces.is_short(1), "one slow call is enough");
        for _ in 0..200 {
            paces.learn(1, 1, 400);
        }
        assert!(paces.is_short(1), "and is forgotten");
        assert_eq!(paces.mean_ns(2), 0, "each method has its own");
    }

    #[test]
    fn averages_settle_at_a_steady_cost() {
        let paces = ServiceTimes::new(1);
        let after = |ns: u64| {
            (0..2000).for_each(|_| paces.learn(1, 1, ns));
            paces.mean_ns(1)
        };
        assert_eq!(after(700), 700);
        assert_eq!(after(90), RESOLUTION_NS, "and no lower");
        // A rise stops where a sixteenth of what is missing is less than a nanosecond.
        assert!((2_000_000 - 16..=2_000_000).contains(&after(2_000_000)));
    }

    #[test]
    fn short_calls_are_learned_from_together_and_slow_ones_at_once() {
        let (paces, mut samples) = (ServiceTimes::new(2), ServiceTimeBatch::default());
        assert!(!samples.add(1, 1_000, &paces), "of an unknown method");
        assert_eq!(paces.mean_ns(1), 1_000);
        assert!((0..SAMPLES_MAX).all(|_| samples.add(1, 5_000, &paces)));
        assert_eq!(paces.mean_ns(1), 1_000);
        assert!(samples.add(1, 5_000, &paces));
        assert!(paces.mean_ns(1) > 3_000, "as many calls as there were");
        let before = paces.mean_ns(1);
        assert!(!samples.add(2, 700, &paces) && samples.add(2, 700, &paces));
        assert!(paces.mean_ns(1) > before, "the rest, when another method's turn comes");
        assert!(!samples.add(2, 1_000_000, &paces));
        assert!(!paces.is_short(2));
    }

    #[test]
    fn one_slow_call_does_not_make_the_others_look_slow() {
        let paces = ServiceTimes::new(1);
        (0..100).for_each(|_| paces.learn(1, 1, 1_000_000));
        paces.learn(1, 1, 4_000_000_000);
        assert!(paces.mean_ns(1) < 1_500_000);
        (0..100).for_each(|_| paces.learn(1, 1, 50_000_000));
        assert!(paces.mean_ns(1) > 40_000_000, "many do");
    }
}
