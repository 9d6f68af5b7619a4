//! The slowest calls of each method of a port within the last hour, by all of their time: where it went, whose they
//! were, what they were made for.
//!
//! A call that is not among them costs its worker one relaxed load and a comparison. Somebody must see to it now and
//! then that calls are forgotten in time ([`SlowCalls::forget`]): only then others take their places.
//!
//! Bound: so many calls of each method as are kept; one of them holds its chain, at most 16 links out of 4 KiB.

use crate::admission::ReceivedChain;
use crate::metrics::Parts;
use crate::service::Status;
use crate::sync::unordered::AtomicU64;
use crate::sync::{Arc, Mutex, Ordering};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Older calls are forgotten.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// What no time exceeds: of a method whose calls are not kept.
const NEVER: u64 = u64::MAX;

/// A call that was slow.
#[derive(Debug, Clone)]
pub(crate) struct SlowCall {
    pub(crate) answered: Instant,
    /// Where its time went.
    pub(crate) times: Parts<Duration>,
    pub(crate) peer: SocketAddr,
    /// The caller's number for it.
    pub(crate) call: u64,
    pub(crate) status: Status,
    /// What it was made for, if a handler made it.
    pub(crate) chain: Option<Arc<ReceivedChain>>,
}

/// Of all methods of a port.
#[derive(Debug)]
pub(crate) struct SlowCalls {
    /// So many of each.
    kept: usize,
    methods: Vec<OfMethod>,
}

#[derive(Debug)]
struct OfMethod {
    /// A call must have taken longer than this, in nanoseconds, to be among them. An estimate: the lock decides.
    over_ns: AtomicU64,
    calls: Mutex<Vec<SlowCall>>,
}

impl SlowCall {
    fn total_ns(&self) -> u64 {
        let Parts { queue_wait, permit_wait, run } = self.times;
        (queue_wait + permit_wait + run).as_nanos() as u64
    }
}

impl SlowCalls {
    /// For methods 1 to `methods`, `kept` calls of each.
    pub(crate) fn new(methods: usize, kept: usize) -> SlowCalls {
        let over_ns = if kept == 0 { NEVER } else { 0 };
        let method = |_| OfMethod { over_ns: AtomicU64::new(over_ns), calls: Mutex::default() };
        SlowCalls { kept, methods: (0..methods).map(method).collect() }
    }

    /// A call of this method took so many nanoseconds: `call` says more of it, if it is among the slowest.
    pub(super) fn offer(&self, method: u16, total_ns: u64, call: impl FnOnce() -> SlowCall) {
        let Some(of_method) = self.methods.get(usize::from(method).wrapping_sub(1)) else { return };
        // Relaxed: nothing hangs on it but whether the lock is taken.
        if total_ns > of_method.over_ns.load(Ordering::Relaxed) {
            of_method.take_in(call(), self.kept);
        }
    }

    /// Forgets those of over an hour ago, so that there is room.
    pub(crate) fn forget(&self, now: Instant) {
        self.methods.iter().for_each(|of_method| of_method.forget(now, self.kept));
    }

    /// All of them, with the numbers of their methods.
    pub(crate) fn all(&self) -> Vec<(u16, SlowCall)> {
        let of = |(of_method, number): (&OfMethod, u16)| -> Vec<(u16, SlowCall)> {
            of_method.calls.lock().iter().map(|call| (number, call.clone())).collect()
        };
        self.methods.iter().zip(1u16..).flat_map(of).collect()
    }
}

impl OfMethod {
    #[cold]
    fn take_in(&self, call: SlowCall, kept: usize) {
        let mut calls = self.calls.lock();
        if calls.len() < kept {
            calls.push(call);
        } else {
            let quickest = calls.iter_mut().min_by_key(|kept| kept.total_ns());
            match quickest.filter(|quickest| quickest.total_ns() < call.total_ns()) {
                Some(quickest) => *quickest = call,
                None => return,
            }
        }
        self.raise(&calls, kept);
    }

    fn forget(&self, now: Instant, kept: usize) {
        let mut calls = self.calls.lock();
        let before = calls.len();
        calls.retain(|call| now.saturating_duration_since(call.answered) <= AGE_MAX);
        if calls.len() < before {
            self.raise(&calls, kept);
        }
    }

    /// Sets how long a call must have taken.
    fn raise(&self, calls: &[SlowCall], kept: usize) {
        let quickest = calls.iter().map(SlowCall::total_ns).min().unwrap_or(0);
        self.over_ns.store(if calls.len() < kept { 0 } else { quickest }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::now;

    /// Offers a call of method 1 that took so many milliseconds, and says whether more was asked of it.
    fn offer(slow: &SlowCalls, ms: u64, answered: Instant) -> bool {
        let mut asked = false;
        let run = Duration::from_millis(ms - 2);
        let times = Parts { queue_wait: Duration::from_millis(2), permit_wait: Duration::ZERO, run };
        slow.offer(1, ms * 1_000_000, || {
            asked = true;
            let (peer, status) = (([127, 0, 0, 1], 7).into(), Status::Ok);
            SlowCall { answered, times, peer, call: ms, status, chain: None }
        });
        asked
    }

    fn kept(slow: &SlowCalls) -> Vec<u64> {
        let mut kept: Vec<u64> = slow.all().iter().map(|(_, call)| call.call).collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn the_slowest_are_kept_and_the_others_not_looked_at() {
        let (slow, start) = (SlowCalls::new(2, 3), now());
        assert!([50, 10, 30, 20].into_iter().all(|ms| offer(&slow, ms, start)));
        assert_eq!(kept(&slow), [20, 30, 50]);
        assert!(!offer(&slow, 20, start) && !offer(&slow, 7, start), "not slower than the quickest of them");
        assert!(offer(&slow, 21, start));
        assert_eq!(kept(&slow), [21, 30, 50]);
        assert!(slow.all().iter().all(|(method, _)| *method == 1));
    }

    #[test]
    fn after_an_hour_others_take_their_places() {
        let (slow, start) = (SlowCalls::new(1, 2), now());
        let later = start + AGE_MAX / 2;
        assert!(offer(&slow, 50, start) && offer(&slow, 40, later));
        slow.forget(later);
        assert!(!offer(&slow, 10, later));
        slow.forget(start + AGE_MAX + Duration::from_secs(1));
        assert!(offer(&slow, 10, later));
        assert_eq!(kept(&slow), [10, 40]);
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let slow = SlowCalls::new(1, 0);
        assert!(!offer(&slow, 1_000_000, now()));
        slow.offer(0, 1, || unreachable!("method 0 is none"));
        slow.forget(now());
        assert!(slow.all().is_empty());
    }
}
