//! CoDel: tells a queue that stands from one that is only a burst, and what to do with the calls of the first kind.
//!
//! After Nichols and Jacobson, "Controlling Queue Delay" (2012), as adapted to servers by Maurer, "Fail at Scale"
//! (2015) and folly's `Codel`: if even the call that waited least within an interval waited longer than the target,
//! the port is overloaded, and calls that waited more than twice the target are refused. A wait counts from the read of
//! the call's last byte and contains the wait for a permit.
//!
//! Observing only, it says in the log and in a counter what it would have refused.

use crate::sync::unordered::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, Ordering};
use std::time::{Duration, Instant};

/// The log tells of no more than one overload within this time; the counters know them all.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// How a port's queue is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodelRules {
    /// A call may well wait so long. Zero: nobody watches.
    pub(crate) target: Duration,
    /// How long the queue may stand.
    pub(crate) interval: Duration,
    /// Refuse, or only say so?
    pub(crate) refuse: bool,
}

impl CodelRules {
    /// Nobody watches.
    pub(crate) const OFF: CodelRules =
        CodelRules { target: Duration::ZERO, interval: Duration::ZERO, refuse: false };
}

/// [`CodelRules`] that can be changed. Whoever reads two of them while they change sees an old and a new one.
#[derive(Debug)]
struct Rules {
    target_ns: AtomicU64,
    interval_ns: AtomicU64,
    refuse: AtomicBool,
}

impl Rules {
    fn new(rules: CodelRules) -> Rules {
        Rules {
            target_ns: AtomicU64::new(nanos(rules.target)),
            interval_ns: AtomicU64::new(nanos(rules.interval)),
            refuse: AtomicBool::new(rules.refuse),
        }
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

/// Watches the waits of one port's calls.
///
/// Workers ask with each burst, so what they look at is seldom written to: the least wait, and what changes with the
/// interval.
#[derive(Debug)]
pub(crate) struct Codel {
    rules: Rules,
    port: String,
    epoch: Instant,
    /// When the present interval ends, in nanoseconds from the epoch. Written under the lock.
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
    /// Since when the port is overloaded.
    since: Option<Instant>,
    /// When the log may tell of the next overload.
    log_from: Instant,
    /// The log has told of this one.
    logged: bool,
}

impl Codel {
    pub(crate) fn new(rules: CodelRules, port: String, now: Instant) -> Codel {
        let state = State { since: None, log_from: now, logged: false };
        let zero = || AtomicU64::new(0);
        Codel {
            rules: Rules::new(rules),
            port,
            epoch: now,
            end_ns: zero(),
            least_ns: zero(),
            overloaded: AtomicBool::new(false),
            late: zero(),
            state: Mutex::new(state),
        }
    }

    /// From now on these count. An interval that has begun ends when it would have.
    pub(crate) fn set_rules(&self, rules: CodelRules) {
        self.rules.target_ns.store(nanos(rules.target), Ordering::Relaxed);
        self.rules.interval_ns.store(nanos(rules.interval), Ordering::Relaxed);
        self.rules.refuse.store(rules.refuse, Ordering::Relaxed);
        if rules.target.is_zero() {
            // Nobody looks any more, so nobody would end an overload.
            let mut state = self.state.lock();
            let ended = self.end(&mut state, self.last_seen(crate::sync::now()));
            drop(state);
            self.tell(ended);
        }
    }

    /// For who looks now and then: an overload is over, too, when no call has come for an interval.
    pub(crate) fn look(&self, now: Instant) {
        if self.overloaded.load(Ordering::Relaxed) {
            self.tell(self.end_if_quiet(now));
        }
    }

    fn end_if_quiet(&self, now: Instant) -> Option<String> {
        let mut state = self.state.lock();
        let seen = self.last_seen(now);
        if seen == now { None } else { self.end(&mut state, seen) }
    }

    /// When calls were last seen to wait: the end of the last interval that had any, if another has passed since; else
    /// now.
    fn last_seen(&self, now: Instant) -> Instant {
        let end = self.epoch + Duration::from_nanos(self.end_ns.load(Ordering::Relaxed));
        if now < end + self.rules.interval() { now } else { end }
    }

    fn tell(&self, news: Option<String>) {
        if let Some(news) = news {
            log::warn!("port {}: {news}", self.port);
        }
    }

    /// Calls were taken together after such a wait. Did they wait too long? `crew` says what the workers do, for the
    /// log.
    pub(super) fn is_late(&self, wait: Duration, now: Instant, crew: impl FnOnce() -> String) -> bool {
        let target_ns = self.rules.target_ns.load(Ordering::Relaxed);
        if target_ns == 0 {
            return false;
        }
        let wait_ns = nanos(wait);
        if nanos(now.saturating_duration_since(self.epoch)) >= self.end_ns.load(Ordering::Relaxed) {
            self.begin_interval(wait_ns, now, crew);
            // The first of an interval always runs: one call alone is no queue.
            return false;
        }
        if wait_ns < self.least_ns.load(Ordering::Relaxed) {
            self.least_ns.fetch_min(wait_ns, Ordering::Relaxed);
        }
        self.overloaded.load(Ordering::Relaxed) && wait_ns > 2 * target_ns
    }

    fn begin_interval(&self, wait_ns: u64, now: Instant, crew: impl FnOnce() -> String) {
        let mut state = self.state.lock();
        let (at, end) =
            (nanos(now.saturating_duration_since(self.epoch)), self.end_ns.load(Ordering::Relaxed));
        if at < end {
            // Another worker was quicker.
            return;
        }
        let least = Duration::from_nanos(self.least_ns.load(Ordering::Relaxed));
        // An interval without a call says nothing about this one.
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
        self.tell(ended.or_else(|| Some(format!("{}; {}", begun?, crew()))));
    }

    /// One of the late calls is about to be run. Is it refused?
    pub(super) fn refuses_late(&self) -> bool {
        self.late.fetch_add(1, Ordering::Relaxed);
        self.rules.refuse()
    }

    /// While the port is overloaded and refuses: the longest wait that a call is let in for.
    pub(crate) fn wait_max(&self) -> Option<Duration> {
        (self.overloaded.load(Ordering::Relaxed) && self.rules.refuse()).then(|| 2 * self.rules.target())
    }

    /// The port is overloaded. Returns what the log is to be told, without the lock, if that is new.
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
        state.log_from = now + LOG_PAUSE;
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

    /// It was overloaded until then, if at all. As [`Codel::begin`].
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

    /// A queue watched from `begin` on; takes one call each millisecond after the wait given.
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

        /// Calls found late among `calls`.
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
    fn a_queue_that_stands_is_found_after_an_interval() {
        let mut port = Port::new(5, true);
        assert_eq!(port.take(100, 20), 0, "the first interval only looks");
        assert_eq!(port.codel.wait_max(), None);
        assert_eq!(port.take(100, 20), 99, "and the first call of the next always runs");
        assert_eq!(port.codel.wait_max(), Some(ms(10)));
        assert_eq!(port.take(50, 10), 0, "not over twice the target");
        assert_eq!(port.take(1, 5), 0, "one that waited no longer than the target ends it");
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
    fn an_old_interval_says_nothing() {
        let mut port = Port::new(5, true);
        port.take(150, 50);
        port.now += ms(1000);
        assert_eq!(port.take(100, 50), 0, "it begins anew");
    }

    #[test]
    fn an_overload_ends_when_no_more_calls_come() {
        let mut port = Port::new(5, true);
        assert_eq!(port.take(300, 20), 198);
        assert_eq!(port.codel.end_if_quiet(port.now + ms(50)), None, "an interval is not over");
        let ended = port.codel.end_if_quiet(port.now + ms(5000));
        assert_eq!(ended.as_deref(), Some("the overload ended after 0.2 s; 0 calls were refused by workers"));
        assert_eq!((port.codel.wait_max(), port.codel.end_if_quiet(port.now + ms(6000))), (None, None));
        // So it is if nobody has looked before the next call comes.
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
