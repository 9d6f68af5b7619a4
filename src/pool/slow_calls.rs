//! The slowest calls of each method of a port within the last hour, by total time: where the time went, the peer, and
//! the chain of calls they were made for.
//!
//! A call that is not among them costs its worker one relaxed load and a comparison. [`SlowCalls::expire`] must be
//! called now and then: it removes old calls, and only then can others take their places.
//!
//! Bound: the configured number of calls for each method; each holds its chain, at most 16 entries out of 4 KiB.

use crate::admission::ReceivedChain;
use crate::metrics::Parts;
use crate::service::Status;
use crate::sync::unordered::AtomicU64;
use crate::sync::{Arc, Mutex, Ordering};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Older calls are removed.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// A threshold that no time exceeds, for methods whose calls are not kept.
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
    /// The calls it was made for, if a handler made it.
    pub(crate) chain: Option<Arc<ReceivedChain>>,
}

/// The slowest calls of all methods of a port.
#[derive(Debug)]
pub(crate) struct SlowCalls {
    /// Number kept of each method.
    kept: usize,
    methods: Vec<MethodSlowCalls>,
}

#[derive(Debug)]
struct MethodSlowCalls {
    /// A call must have taken longer than this, in nanoseconds, to be among them. An estimate: the lock decides.
    threshold_ns: AtomicU64,
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
        let threshold_ns = if kept == 0 { NEVER } else { 0 };
        let none =
            |_| MethodSlowCalls { threshold_ns: AtomicU64::new(threshold_ns), calls: Mutex::default() };
        SlowCalls { kept, methods: (0..methods).map(none).collect() }
    }

    /// Records a call that took `total_ns` if it is among the slowest of its method; only then `call` is evaluated.
    pub(super) fn offer(&self, method: u16, total_ns: u64, call: impl FnOnce() -> SlowCall) {
        let Some(method) = self.methods.get(usize::from(method).wrapping_sub(1)) else { return };
        // Relaxed: it only decides whether the lock is taken.
        if total_ns > method.threshold_ns.load(Ordering::Relaxed) {
            method.insert(call(), self.kept);
        }
    }

    /// Removes calls older than an hour, so that newer ones find room.
    pub(crate) fn expire(&self, now: Instant) {
        self.methods.iter().for_each(|method| method.expire(now, self.kept));
    }

    /// All of them, with the numbers of their methods.
    pub(crate) fn all(&self) -> Vec<(u16, SlowCall)> {
        let of = |(method, number): (&MethodSlowCalls, u16)| -> Vec<(u16, SlowCall)> {
            method.calls.lock().iter().map(|call| (number, call.clone())).collect()
        };
        self.methods.iter().zip(1u16..).flat_map(of).collect()
    }
}

impl MethodSlowCalls {
    #[cold]
    fn insert(&self, call: SlowCall, kept: usize) {
        let mut calls = self.calls.lock();
        if calls.len() < kept {
            calls.push(call);
        } else {
            let fastest = calls.iter_mut().min_by_key(|kept| kept.total_ns());
            match fastest.filter(|fastest| fastest.total_ns() < call.total_ns()) {
                Some(fastest) => *fastest = call,
                None => return,
            }
        }
        self.set_threshold(&calls, kept);
    }

    fn expire(&self, now: Instant, kept: usize) {
        let mut calls = self.calls.lock();
        let before = calls.len();
        calls.retain(|call| now.saturating_duration_since(call.answered) <= AGE_MAX);
        if calls.len() < before {
            self.set_threshold(&calls, kept);
        }
    }

    /// Sets how long a call must have taken to be recorded.
    fn set_threshold(&self, calls: &[SlowCall], kept: usize) {
        let fastest = calls.iter().map(SlowCall::total_ns).min().unwrap_or(0);
        self.threshold_ns.store(if calls.len() < kept { 0 } else { fastest }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::now;

    /// Offers a call of method 1 that took `ms`, and returns whether it was evaluated.
    fn offer(slow: &SlowCalls, ms: u64, answered: Instant) -> bool {
        let mut evaluated = false;
        let run = Duration::from_millis(ms - 2);
        let times = Parts { queue_wait: Duration::from_millis(2), permit_wait: Duration::ZERO, run };
        slow.offer(1, ms * 1_000_000, || {
            evaluated = true;
            let (peer, status) = (([127, 0, 0, 1], 7).into(), Status::Ok);
            SlowCall { answered, times, peer, call: ms, status, chain: None }
        });
        evaluated
    }

    fn kept(slow: &SlowCalls) -> Vec<u64> {
        let mut kept: Vec<u64> = slow.all().iter().map(|(_, call)| call.call).collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn the_slowest_are_kept_and_the_others_are_not_evaluated() {
        let (slow, start) = (SlowCalls::new(2, 3), now());
        assert!([50, 10, 30, 20].into_iter().all(|ms| offer(&slow, ms, start)));
        assert_eq!(kept(&slow), [20, 30, 50]);
        assert!(!offer(&slow, 20, start) && !offer(&slow, 7, start), "not slower than the fastest kept");
        assert!(offer(&slow, 21, start));
        assert_eq!(kept(&slow), [21, 30, 50]);
        assert!(slow.all().iter().all(|(method, _)| *method == 1));
    }

    #[test]
    fn calls_older_than_an_hour_make_room() {
        let (slow, start) = (SlowCalls::new(1, 2), now());
        let later = start + AGE_MAX / 2;
        assert!(offer(&slow, 50, start) && offer(&slow, 40, later));
        slow.expire(later);
        assert!(!offer(&slow, 10, later));
        slow.expire(start + AGE_MAX + Duration::from_secs(1));
        assert!(offer(&slow, 10, later));
        assert_eq!(kept(&slow), [10, 40]);
    }

    #[test]
    fn with_a_limit_of_zero_nothing_is_kept() {
        let slow = SlowCalls::new(1, 0);
        assert!(!offer(&slow, 1_000_000, now()));
        slow.offer(0, 1, || unreachable!("method 0 is none"));
        slow.expire(now());
        assert!(slow.all().is_empty());
    }
}
