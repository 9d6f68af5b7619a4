//! Which calls are not even sent, because the server refused so many: adaptive throttling as in "Site Reliability
//! Engineering" (Google, 2016), chapter 21.
//!
//! Pure: time and chance come in as values. A refusal costs a server less than a call but not nothing, and a client
//! that sends everything again and again can keep it busy with refusing.
//!
//! Invariant: `total` is the sum of `slots`, which hold the last two minutes.

use std::time::{Duration, Instant};

/// How many times as many calls as the server takes are sent to it: enough to notice when it takes more again.
const K: u64 = 2;

/// With fewer calls in two minutes none is held back: a handful of refusals says little.
const LEAST: u64 = 20;

/// A tenth of the calls is sent whatever the formula says. By it alone, a client that makes a hundred calls a second
/// and was refused all of them for two minutes sends one in the next two, and ten minutes pass from the server's
/// recovery until all are sent again; so it is less than four, as a test shows.
const HELD_BACK_MAX: f64 = 0.9;

const SLOTS: usize = 12;
const SLOT: Duration = Duration::from_secs(10);

/// What a client remembers of its calls.
#[derive(Debug)]
pub(super) struct AdaptiveThrottle {
    begin: Instant,
    /// Number of the newest slot since `begin`; it is in `slots` at this modulo [`SLOTS`].
    newest: u64,
    slots: [Counts; SLOTS],
    total: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Calls that were taken, refused or held back.
    requests: u64,
    /// Calls that were taken.
    accepts: u64,
}

impl AdaptiveThrottle {
    pub(super) fn new(now: Instant) -> AdaptiveThrottle {
        AdaptiveThrottle { begin: now, newest: 0, slots: Default::default(), total: Counts::default() }
    }

    /// Must this call be held back? `chance` is from 0 up to 1.
    pub(super) fn holds_back(&mut self, now: Instant, chance: f64) -> bool {
        self.forget(now);
        let held_back = chance < self.probability();
        if held_back {
            self.add(Counts { requests: 1, accepts: 0 });
        }
        held_back
    }

    /// The server took a call, or refused it.
    pub(super) fn heard(&mut self, now: Instant, accepted: bool) {
        self.forget(now);
        self.add(Counts { requests: 1, accepts: accepted.into() });
    }

    fn probability(&self) -> f64 {
        let Counts { requests, accepts } = self.total;
        if requests < LEAST {
            return 0.0;
        }
        (requests.saturating_sub(K * accepts) as f64 / (requests + 1) as f64).min(HELD_BACK_MAX)
    }

    fn add(&mut self, counts: Counts) {
        for sum in [&mut self.slots[self.newest as usize % SLOTS], &mut self.total] {
            sum.requests += counts.requests;
            sum.accepts += counts.accepts;
        }
    }

    /// Empties the slots that are too old. A time before the newest slot, as threads may bring it, belongs to that.
    fn forget(&mut self, now: Instant) {
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

    fn after(counts: Counts) -> AdaptiveThrottle {
        let mut throttle = AdaptiveThrottle::new(Instant::now());
        throttle.add(counts);
        throttle
    }

    #[test]
    fn the_probability_is_the_books() {
        for (requests, accepts, expected) in [
            (0, 0, 0.0),
            (19, 0, 0.0),
            (100, 100, 0.0),
            (100, 50, 0.0),
            (100, 40, 20.0 / 101.0),
            (1000, 100, 800.0 / 1001.0),
            (20, 0, HELD_BACK_MAX),
            (1_000_000, 0, HELD_BACK_MAX),
        ] {
            assert_eq!(
                after(Counts { requests, accepts }).probability(),
                expected,
                "{accepts} of {requests}"
            );
        }
    }

    #[test]
    fn what_is_held_back_counts_as_a_request_and_what_is_let_go_not_before_its_answer() {
        let now = Instant::now();
        let mut throttle = after(Counts { requests: 100, accepts: 40 });
        assert!(!throttle.holds_back(now, 0.9));
        assert_eq!(throttle.total, Counts { requests: 100, accepts: 40 });
        assert!(throttle.holds_back(now, 0.1));
        assert_eq!(throttle.total, Counts { requests: 101, accepts: 40 });
        throttle.heard(now, true);
        throttle.heard(now, false);
        assert_eq!(throttle.total, Counts { requests: 103, accepts: 41 });
    }

    #[test]
    fn two_minutes_are_remembered_and_no_more() {
        let begin = Instant::now();
        let mut throttle = AdaptiveThrottle::new(begin);
        for second in 0..120 {
            throttle.heard(begin + second * SECOND, second % 2 == 0);
        }
        assert_eq!(throttle.total, Counts { requests: 120, accepts: 60 });
        throttle.heard(begin + 120 * SECOND, true);
        assert_eq!(throttle.total, Counts { requests: 111, accepts: 56 }, "the first ten seconds are gone");
        throttle.heard(begin, true);
        assert_eq!(throttle.total, Counts { requests: 112, accepts: 57 }, "a late comer counts as of now");
        throttle.forget(begin + 3600 * SECOND);
        assert_eq!(throttle.total, Counts::default());
        assert_eq!(throttle.slots, [Counts::default(); SLOTS]);
    }

    /// A hundred calls a second to a server that takes so many of them; how many it is sent, in each of the seconds.
    fn load(
        throttle: &mut AdaptiveThrottle,
        chance: &mut fastrand::Rng,
        begin: Instant,
        takes: u32,
    ) -> Vec<u32> {
        let seconds = (0..300).map(|second| {
            let now = begin + second * SECOND;
            let mut sent = 0;
            for _ in 0..100 {
                if !throttle.holds_back(now, chance.f64()) {
                    sent += 1;
                    throttle.heard(now, sent <= takes);
                }
            }
            sent
        });
        seconds.collect()
    }

    #[test]
    fn an_overloaded_server_is_sent_twice_what_it_takes_and_one_that_recovers_all_again() {
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
