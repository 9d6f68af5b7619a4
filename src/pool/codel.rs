//! CoDel: distinguishes a standing queue from a burst, and decides which calls of a standing queue are refused.
//!
//! After Nichols and Jacobson, "Controlling Queue Delay" (2012), as adapted to servers by Maurer, "Fail at Scale"
//! (2015) and folly's `Codel`: if even the call that waited least within an interval waited longer than the target,
//! the port is overloaded, and calls that waited more than twice the target are refused. A wait counts from the read of
//! the call's last byte and contains the wait for a permit.
//!
//! In observe mode nothing is refused; the log and a counter say what would have been.

use crate::sync::unordered::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, Ordering};
use std::time::{Duration, Instant};

/// At most one overload is logged within this time; the counters have all of them.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// CoDel settings of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodelRules {
    /// Target wait. Zero switches CoDel off.
    pub(crate) target: Duration,
    /// How long the queue may stand before the port counts as overloaded.
    pub(crate) interval: Duration,
    /// Whether late calls are refused; otherwise they are only counted.
    pub(crate) refuse: bool,
}

/// [`CodelRules`] that can be changed. A reader of two of them during a change may see one old and one new.
#[derive(Debug, Default)]
struct AtomicRules {
    target_ns: AtomicU64,
    interval_ns: AtomicU64,
    refuse: AtomicBool,
}

impl AtomicRules {
    fn new(rules: CodelRules) -> AtomicRules {
        let atomic = AtomicRules::default();
        atomic.store(rules);
        atomic
    }

    fn store(&self, rules: CodelRules) {
        self.target_ns.store(nanos(rules.target), Ordering::Relaxed);
        self.interval_ns.store(nanos(rules.interval), Ordering::Relaxed);
        self.refuse.store(rules.refuse, Ordering::Relaxed);
    }

    fn target(&self) -> Duration {
        Duration::from_nanos(self.target_ns.load(Ordering::Relaxed))
    }

    fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns.load(Ordering::Relaxed))
    }

    fn refuse(&self) -> bool {
        self.refuse.load(Ordering::Relaxed)
    }
}

/// CoDel state of one port.
///
/// Workers read it with each burst, so the fields they read are seldom written: the least wait, and what changes once
/// an interval.
#[derive(Debug)]
pub(crate) struct Codel {
    rules: AtomicRules,
    port: String,
    epoch: Instant,
    /// When the current interval ends, in nanoseconds from the epoch. Written under the lock.
    end_ns: AtomicU64,
    /// Least wait within it.
    least_ns: AtomicU64,
    /// Written under the lock.
    overloaded: AtomicBool,
    /// Late calls of this overload.
    late: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Start of the overload, if the port is overloaded.
    since: Option<Instant>,
    /// The next overload is logged if it begins at this time or later.
    log_from: Instant,
    /// The current overload was logged.
    logged: bool,
}

impl Codel {
    pub(crate) fn new(rules: CodelRules, port: String, now: Instant) -> Codel {
        let state = Mutex::new(State { since: None, log_from: now, logged: false });
        let (end_ns, least_ns, overloaded, late) = Default::default();
        let rules = AtomicRules::new(rules);
        Codel { rules, port, epoch: now, end_ns, least_ns, overloaded, late, state }
    }

    /// Replaces the settings. The current interval ends when it would have ended.
    pub(crate) fn set_rules(&self, rules: CodelRules) {
        self.rules.store(rules);
        if rules.target.is_zero() {
            // Workers stop checking, so nothing else would end an overload.
            let mut state = self.state.lock();
            let ended = self.end(&mut state, self.last_seen(crate::sync::now()));
            drop(state);
            self.log(ended);
        }
    }

    /// Called now and then: ends an overload also when no call has come for an interval.
    pub(crate) fn check_idle(&self, now: Instant) {
        if self.overloaded.load(Ordering::Relaxed) {
            self.log(self.end_if_quiet(now));
        }
    }

    fn end_if_quiet(&self, now: Instant) -> Option<String> {
        let mut state = self.state.lock();
        let seen = self.last_seen(now);
        if seen == now { None } else { self.end(&mut state, seen) }
    }

    /// When calls were last seen waiting: the end of the last interval that had calls, if another interval has passed
    /// since; otherwise now.
    fn last_seen(&self, now: Instant) -> Instant {
        let end = self.epoch + Duration::from_nanos(self.end_ns.load(Ordering::Relaxed));
        if now < end + self.rules.interval() { now } else { end }
    }

    fn log(&self, message: Option<String>) {
        if let Some(message) = message {
            log::warn!("port {}: {message}", self.port);
        }
    }

    /// Records the wait of calls that were taken together, and returns whether they waited too long. `workers`
    /// describes for the log what the workers do.
    pub(super) fn is_late(&self, wait: Duration, now: Instant, workers: impl FnOnce() -> String) -> bool {
        let target_ns = self.rules.target_ns.load(Ordering::Relaxed);
        if target_ns == 0 {
            return false;
        }
        let wait_ns = nanos(wait);
        if nanos(now.saturating_duration_since(self.epoch)) >= self.end_ns.load(Ordering::Relaxed) {
            self.begin_interval(wait_ns, now, workers);
            // The first call of an interval always runs: one call alone is no queue.
            return false;
        }
        if wait_ns < self.least_ns.load(Ordering::Relaxed) {
            self.least_ns.fetch_min(wait_ns, Ordering::Relaxed);
        }
        self.overloaded.load(Ordering::Relaxed) && wait_ns > 2 * target_ns
    }

    fn begin_interval(&self, wait_ns: u64, now: Instant, workers: impl FnOnce() -> String) {
        let mut state = self.state.lock();
        let (at, end) =
            (nanos(now.saturating_duration_since(self.epoch)), self.end_ns.load(Ordering::Relaxed));
        if at < end {
            // Another worker has begun it.
            return;
        }
        let least = Duration::from_nanos(self.least_ns.load(Ordering::Relaxed));
        // After an interval without a call the least wait says nothing about this one.
        let (target, interval_ns) = (self.rules.target(), nanos(self.rules.interval()));
        let stands = !target.is_zero() && least > target && at < end + interval_ns;
        let (mut begun, mut ended) = (None, None);
        if stands {
            begun = self.begin(&mut state, least, now);
        } else {
            ended = self.end(&mut state, self.last_seen(now));
        }
        self.least_ns.store(wait_ns, Ordering::Relaxed);
        self.end_ns.store(at + interval_ns, Ordering::Relaxed);
        drop(state);
        self.log(ended.or_else(|| Some(format!("{}; {}", begun?, workers()))));
    }

    /// Counts a late call, and returns whether it is refused.
    pub(super) fn refuses_late(&self) -> bool {
        self.late.fetch_add(1, Ordering::Relaxed);
        self.rules.refuse()
    }

    /// While the port is overloaded and refuses: the longest forecast wait for which a call is admitted.
    pub(crate) fn wait_max(&self) -> Option<Duration> {
        (self.overloaded.load(Ordering::Relaxed) && self.rules.refuse()).then(|| 2 * self.rules.target())
    }

    /// Marks the port as overloaded. Returns the message for the log, if any, to be logged without the lock.
    fn begin(&self, state: &mut State, least: Duration, now: Instant) -> Option<String> {
        self.overloaded.store(true, Ordering::Relaxed);
        if state.since.is_some() {
            return None;
        }
        self.late.store(0, Ordering::Relaxed);
        (state.since, state.logged) = (Some(now), now >= state.log_from);
        if !state.logged {
            return None;
        }
        state.log_from = now + LOG_INTERVAL;
        let (target, interval) = (self.rules.target(), self.rules.interval());
        let what = if self.rules.refuse() {
            "calls that wait over twice that are refused"
        } else {
            "nothing is refused"
        };
        Some(format!(
            "overloaded: for {} ms no call waited less than {} ms, above {} ms (Server_CoDel_Target); {what}",
            interval.as_millis(),
            least.as_millis(),
            target.as_millis(),
        ))
    }

    /// Ends the overload, if there is one, as of `until`. Returns as [`Codel::begin`].
    fn end(&self, state: &mut State, until: Instant) -> Option<String> {
        self.overloaded.store(false, Ordering::Relaxed);
        let lasted = until.saturating_duration_since(state.since.take()?);
        let (verb, hint) = if self.rules.refuse() {
            ("were refused by workers", "")
        } else {
            ("would have been refused", " (Server_CoDel_Mode=refuse does it)")
        };
        state.logged.then(|| {
            format!(
                "the overload ended after {:.1} s; {} calls {verb}{hint}",
                lasted.as_secs_f64(),
                self.late.load(Ordering::Relaxed),
            )
        })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A port that takes one call each millisecond, after a given wait.
    struct Port {
        codel: Codel,
        now: Instant,
    }

    impl Port {
        fn new(target: u64, refuse: bool) -> Port {
            let now = Instant::now();
            let rules = CodelRules { target: ms(target), interval: ms(100), refuse };
            Port { codel: Codel::new(rules, "P".to_owned(), now), now }
        }

        /// Takes `calls` calls and returns how many of them were late.
        fn take(&mut self, calls: u64, wait: u64) -> u64 {
            let mut late = 0;
            for _ in 0..calls {
                self.now += ms(1);
                late += u64::from(self.codel.is_late(ms(wait), self.now, String::new));
            }
            late
        }
    }

    #[test]
    fn a_standing_queue_is_found_after_an_interval() {
        let mut port = Port::new(5, true);
        assert_eq!(port.take(100, 20), 0, "the first interval only observes");
        assert_eq!(port.codel.wait_max(), None);
        assert_eq!(port.take(100, 20), 99, "and the first call of the next always runs");
        assert_eq!(port.codel.wait_max(), Some(ms(10)));
        assert_eq!(port.take(50, 10), 0, "not over twice the target");
        assert_eq!(port.take(1, 5), 0, "a wait within the target ends the overload");
        port.take(100, 5);
        assert_eq!(port.take(100, 20), 0);
        assert_eq!(port.codel.wait_max(), None);
    }

    #[test]
    fn a_burst_is_no_overload() {
        let mut port = Port::new(5, true);
        for _ in 0..10 {
            assert_eq!(port.take(90, 50), 0);
            assert_eq!(port.take(10, 1), 0);
        }
    }

    #[test]
    fn an_interval_without_calls_is_ignored() {
        let mut port = Port::new(5, true);
        port.take(150, 50);
        port.now += ms(1000);
        assert_eq!(port.take(100, 50), 0, "observation starts over");
    }

    #[test]
    fn an_overload_ends_when_no_more_calls_come() {
        let mut port = Port::new(5, true);
        assert_eq!(port.take(300, 20), 198);
        assert_eq!(port.codel.end_if_quiet(port.now + ms(50)), None, "the interval is not over");
        let ended = port.codel.end_if_quiet(port.now + ms(5000));
        assert_eq!(ended.as_deref(), Some("the overload ended after 0.2 s; 0 calls were refused by workers"));
        assert_eq!((port.codel.wait_max(), port.codel.end_if_quiet(port.now + ms(6000))), (None, None));
        // The same holds if nothing checked before the next call.
        let mut port = Port::new(5, true);
        port.take(300, 20);
        port.now += ms(20_000);
        let mut state = port.codel.state.lock();
        let until = port.codel.last_seen(port.now);
        let ended = port.codel.end(&mut state, until);
        assert_eq!(ended.as_deref(), Some("the overload ended after 0.2 s; 0 calls were refused by workers"));
    }

    #[test]
    fn observing_counts_and_refuses_nothing_and_zero_is_off() {
        let mut port = Port::new(5, false);
        port.take(100, 20);
        assert_eq!(port.take(100, 20), 99);
        assert!(!port.codel.refuses_late() && port.codel.wait_max().is_none());
        assert_eq!(Port::new(0, true).take(1000, 500), 0);
    }
}
