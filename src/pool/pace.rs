//! How long each method usually runs: what decides whether calls may wait for one another.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU32;

/// A method that usually runs no longer than this is short: calls behind it may wait for it, and its reply for
/// theirs. In nanoseconds.
const SHORT_NS: u32 = 50_000;

/// What a method is taken for until it has run once, in nanoseconds.
const UNKNOWN_NS: u32 = 1_000_000;

/// A call is taken to last at least so long, in nanoseconds: about what the work around a handler costs. Finer
/// averages would only change with every call, and their memory be handed from thread to thread.
const RESOLUTION_NS: u32 = 250;

/// Running averages by method number, quick to rise and slow to fall, so that a method that is slow now and then
/// is not taken for short.
///
/// Workers write without agreeing on an order: a lost sample changes nothing that matters.
#[derive(Debug)]
pub(crate) struct Paces(Vec<AtomicU32>);

impl Paces {
    /// For methods 1 to `methods`.
    pub(crate) fn new(methods: usize) -> Paces {
        Paces((0..=methods).map(|_| AtomicU32::new(UNKNOWN_NS)).collect())
    }

    /// What a call of this method is likely to cost, in nanoseconds.
    pub(crate) fn ns(&self, method: u16) -> u32 {
        self.0[usize::from(method)].load(Ordering::Relaxed)
    }

    /// Is the method usually short?
    pub(crate) fn is_short(&self, method: u16) -> bool {
        self.ns(method) <= SHORT_NS
    }

    /// A call of this method ran so long, in nanoseconds.
    pub(crate) fn learn(&self, method: u16, ns: u64) {
        let pace = &self.0[usize::from(method)];
        let (old, new) =
            (pace.load(Ordering::Relaxed), u32::try_from(ns).unwrap_or(u32::MAX).max(RESOLUTION_NS));
        let next = match old {
            UNKNOWN_NS => new,
            _ if new > old => old + (new - old) / 4,
            // At least one step down, or a fall of less than 16 ns would never end.
            _ => old - ((old - new) / 16).max(u32::from(old > new)),
        };
        if next != old {
            pace.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_short_once_it_has_been_seen_to_be() {
        let paces = Paces::new(2);
        assert!(!paces.is_short(1), "unknown");
        paces.learn(1, 400);
        assert!(paces.is_short(1));
        paces.learn(1, 100_000_000);
        assert!(!paces.is_short(1), "one slow call is enough");
        for _ in 0..200 {
            paces.learn(1, 400);
        }
        assert!(paces.is_short(1), "and is forgotten");
        assert_eq!(paces.ns(2), UNKNOWN_NS, "each method has its own");
    }

    #[test]
    fn averages_settle_at_a_steady_cost() {
        let paces = Paces::new(1);
        for _ in 0..2000 {
            paces.learn(1, 700);
        }
        assert_eq!(paces.ns(1), 700);
        for _ in 0..2000 {
            paces.learn(1, 90);
        }
        assert_eq!(paces.ns(1), RESOLUTION_NS, "and no lower");
    }
}
