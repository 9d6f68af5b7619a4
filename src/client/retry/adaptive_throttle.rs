//! Adaptive throttling: calls that are not sent because the server refused so many, as in "Site Reliability
//! Engineering" (Google, 2016), chapter 21.
//!
//! Pure: time and chance come in as values. A refusal costs a server less than a call but not nothing, and a client
//! that sends everything again and again can keep it busy with refusing.
//!
//! Invariant: `total` is the sum of `slots`, which hold the last two minutes.

use std::time::{Duration, Instant};

/// Ratio of calls sent to calls accepted: enough to notice when the server accepts more again.
const K: u64 = 2;

/// With fewer calls in two minutes none is throttled: a handful of refusals says little.
const REQUESTS_MIN: u64 = 20;

/// A tenth of the calls is sent whatever the formula says. By the formula alone, a client that makes a hundred calls a
/// second and was refused all of them for two minutes sends one in the next two minutes, and all are sent again ten
/// minutes after the server's recovery; with this bound it takes less than four, as a test shows.
const PROBABILITY_MAX: f64 = 0.9;

const SLOTS: usize = 12;
const SLOT: Duration = Duration::from_secs(10);

/// Calls of one client in the last two minutes.
#[derive(Debug)]
pub(super) struct AdaptiveThrottle {
    begin: Instant,
    /// Number of the newest slot since `begin`; it is in `slots` at this modulo [`SLOTS`].
    newest: u64,
    slots: [RequestCounts; SLOTS],
    total: RequestCounts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RequestCounts {
    /// Calls that were accepted, refused or throttled.
    requests: u64,
    /// Calls that were accepted.
    accepts: u64,
}

impl AdaptiveThrottle {
    pub(super) fn new(now: Instant) -> AdaptiveThrottle {
        AdaptiveThrottle { begin: now, newest: 0, slots: Default::default(), total: RequestCounts::default() }
    }

    /// Decides whether a call is throttled, and counts it if so. `chance` is from 0 up to 1.
    pub(super) fn rejects(&mut self, now: Instant, chance: f64) -> bool {
        self.expire(now);
        let rejected = chance < self.probability();
        if rejected {
            self.add(RequestCounts { requests: 1, accepts: 0 });
        }
        rejected
    }

    /// Counts a call that the server accepted or refused.
    pub(super) fn record(&mut self, now: Instant, accepted: bool) {
        self.expire(now);
        self.add(RequestCounts { requests: 1, accepts: accepted.into() });
    }

    fn probability(&self) -> f64 {
        let RequestCounts { requests, accepts } = self.total;
        if requests < REQUESTS_MIN {
            return 0.0;
        }
        (requests.saturating_sub(K * accepts) as f64 / (requests + 1) as f64).min(PROBABILITY_MAX)
    }

    fn add(&mut self, counts: RequestCounts) {
        for sum in [&mut self.slots[self.newest as usize % SLOTS], &mut self.total] {
            sum.requests += counts.requests;
            sum.accepts += counts.accepts;
        }
    }

    /// Empties the slots that are too old. A time before the newest slot, as threads may pass it, counts for that
    /// slot.
    fn expire(&mut self, now: Instant) {
        let slot = now.saturating_duration_since(self.begin).as_secs() / SLOT.as_secs();
        for passed in (self.newest + 1..=slot).take(SLOTS) {
            let old = std::mem::take(&mut self.slots[passed as usize % SLOTS]);
            self.total.requests -= old.requests;
            self.total.accepts -= old.accepts;
        }
        self.newest = self.newest.max(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(counts: RequestCounts) -> AdaptiveThrottle {
        let mut throttle = AdaptiveThrottle::new(Instant::now());
        throttle.add(counts);
        throttle
    }

    #[test]
    fn the_probability_is_that_of_the_book() {
        for (requests, accepts, expected) in [
            (0, 0, 0.0),
            (19, 0, 0.0),
            (100, 100, 0.0),
            (100, 50, 0.0),
            (100, 40, 20.0 / 101.0),
            (1000, 100, 800.0 / 1001.0),
            (20, 0, PROBABILITY_MAX),
            (1_000_000, 0, PROBABILITY_MAX),
        ] {
            assert_eq!(
                after(RequestCounts { requests, accepts }).probability(),
                expected,
                "{accepts} of {requests}"
            );
        }
    }

    #[test]
    fn a_throttled_call_counts_at_once_and_a_sent_one_with_its_outcome() {
        let now = Instant::now();
        let mut throttle = after(RequestCounts { requests: 100, accepts: 40 });
        assert!(!throttle.rejects(now, 0.9));
        assert_eq!(throttle.total, RequestCounts { requests: 100, accepts: 40 });
        assert!(throttle.rejects(now, 0.1));
        assert_eq!(throttle.total, RequestCounts { requests: 101, accepts: 40 });
        throttle.record(now, true);
        throttle.record(now, false);
        assert_eq!(throttle.total, RequestCounts { requests: 103, accepts: 41 });
    }

    #[test]
    fn only_the_last_two_minutes_count() {
        let begin = Instant::now();
        let mut throttle = AdaptiveThrottle::new(begin);
        for second in 0..120 {
            throttle.record(begin + second * SECOND, second % 2 == 0);
        }
        assert_eq!(throttle.total, RequestCounts { requests: 120, accepts: 60 });
        throttle.record(begin + 120 * SECOND, true);
        assert_eq!(
            throttle.total,
            RequestCounts { requests: 111, accepts: 56 },
            "the first ten seconds are gone"
        );
        throttle.record(begin, true);
        assert_eq!(
            throttle.total,
            RequestCounts { requests: 112, accepts: 57 },
            "an earlier time counts as now"
        );
        throttle.expire(begin + 3600 * SECOND);
        assert_eq!(throttle.total, RequestCounts::default());
        assert_eq!(throttle.slots, [RequestCounts::default(); SLOTS]);
    }

    /// Makes a hundred calls a second, of which the server accepts `accepts`; returns the calls sent in each second.
    fn load(
        throttle: &mut AdaptiveThrottle,
        chance: &mut fastrand::Rng,
        begin: Instant,
        accepts: u32,
    ) -> Vec<u32> {
        let seconds = (0..300).map(|second| {
            let now = begin + second * SECOND;
            let mut sent = 0;
            for _ in 0..100 {
                if !throttle.rejects(now, chance.f64()) {
                    sent += 1;
                    throttle.record(now, sent <= accepts);
                }
            }
            sent
        });
        seconds.collect()
    }

    #[test]
    fn an_overloaded_server_is_sent_twice_what_it_accepts_and_a_recovered_one_all() {
        let begin = Instant::now();
        let (mut throttle, mut chance) = (AdaptiveThrottle::new(begin), fastrand::Rng::with_seed(7));
        let mean = |sent: &[u32]| sent.iter().sum::<u32>() / sent.len() as u32;
        let well = load(&mut throttle, &mut chance, begin, 100);
        assert_eq!(mean(&well), 100);
        let busy = load(&mut throttle, &mut chance, begin + 300 * SECOND, 20);
        assert!((38..=42).contains(&mean(&busy[150..])), "{busy:?}");
        let down = load(&mut throttle, &mut chance, begin + 600 * SECOND, 0);
        assert!((8..=12).contains(&mean(&down[150..])), "{down:?}");
        let again = load(&mut throttle, &mut chance, begin + 900 * SECOND, 100);
        assert_eq!(mean(&again[210..]), 100, "{again:?}");
    }
}
