//! Token bucket of a connection for frames that the listener answers itself: refused and malformed calls, Pings,
//! Cancels.
//!
//! Such a frame needs no worker, so without a limit one connection could occupy the listener. One read answers at most
//! [`ANSWERS_MAX`] of them and leaves the rest for a later turn, and each costs one of the connection's tokens. Tokens
//! are added with time and with each admitted call: in an overload nine of ten calls may be refused, and must be
//! refused at once. A connection without tokens is not read until some were added. A connection that stays so for
//! [`ABUSE`], with no call admitted meanwhile, is abusive and closed.
//!
//! A call refused for the server's load costs a token of another kind, added eight times as fast: such calls cost the
//! listener time too, so a client that calls as fast as it can is put off. It is never closed for them, since the load
//! is the server's.
//!
//! Pure: works on numbers and times passed in.

use super::call_admission::WINDOW_CALLS_MAX;
use std::time::{Duration, Instant};

/// Most frames of one read that the listener answers.
pub(crate) const ANSWERS_MAX: u32 = 64;

/// Tokens added each second.
const RATE: u64 = 128;

/// Most tokens added by time; a new connection has as many.
const BURST: i32 = 1024;

/// Tokens added with an admitted call.
const CREDIT: i32 = 16;

/// Most tokens of a connection: those of a window of calls.
const TOKENS_MAX: i32 = WINDOW_CALLS_MAX as i32 * CREDIT;

/// Tokens at which a connection that was put off is read again.
const ENOUGH: i32 = 8;

/// Tokens for refusals by load, for each of the others.
const BY_LOAD: i32 = 8;

/// Time that a connection may keep running out of tokens before it is abusive.
const ABUSE: Duration = Duration::from_secs(10);

/// Decision about a connection after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllowanceDecision {
    GoOn,
    /// Do not read it for this time.
    PutOff(Duration),
    /// Close it: it has sent nothing else for too long.
    Abusive,
}

/// Frames of a read that the listener answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answered {
    /// All of them.
    pub(crate) all: u32,
    /// Of these, refusals for the server's load.
    pub(crate) by_load: u32,
}

/// Tokens of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    tokens: i32,
    /// Tokens for refusals by load.
    refusals: i32,
    /// Admitted calls whose tokens are not yet added.
    admitted: u32,
    /// Time up to which tokens were added.
    filled: Option<Instant>,
    /// Since when it has kept running out of tokens.
    over_since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { tokens: BURST, refusals: BURST * BY_LOAD, admitted: 0, filled: None, over_since: None }
    }
}

impl Allowance {
    /// Charges the frames that a read had answered, and credits the calls it had admitted.
    #[must_use]
    #[inline]
    pub(crate) fn settle(&mut self, admitted: usize, answered: Answered, now: Instant) -> AllowanceDecision {
        self.admitted = self.admitted.saturating_add(admitted as u32);
        if answered.all == 0 { AllowanceDecision::GoOn } else { self.spend(answered, now) }
    }

    fn spend(&mut self, Answered { all, by_load }: Answered, now: Instant) -> AllowanceDecision {
        self.add_credit();
        self.fill(now);
        self.tokens = self.tokens.saturating_sub_unsigned(all - by_load);
        self.refusals = self.refusals.saturating_sub_unsigned(by_load);
        let own = self.tokens <= 0 && all > by_load;
        if !own && (self.refusals > 0 || by_load == 0) {
            return AllowanceDecision::GoOn;
        }
        if own {
            let since = *self.over_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= ABUSE {
                return AllowanceDecision::Abusive;
            }
        }
        let least = self.tokens.min(self.refusals.div_euclid(BY_LOAD));
        let wanted = u64::from(ENOUGH.saturating_sub(least).unsigned_abs());
        AllowanceDecision::PutOff(Duration::from_millis(wanted * 1000 / RATE))
    }

    /// Adds the tokens of admitted calls.
    fn add_credit(&mut self) {
        let admitted = i32::try_from(std::mem::take(&mut self.admitted)).unwrap_or(i32::MAX);
        if admitted > 0 {
            let credit = admitted.saturating_mul(CREDIT);
            self.tokens = self.tokens.saturating_add(credit).min(TOKENS_MAX);
            self.refusals = self.refusals.saturating_add(credit).min(TOKENS_MAX.max(BURST * BY_LOAD));
            self.over_since = None;
        }
    }

    /// Adds the tokens of the time passed.
    fn fill(&mut self, now: Instant) {
        let filled = *self.filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled);
        let come = i32::try_from(passed.as_micros() * u128::from(RATE) / 1_000_000).unwrap_or(i32::MAX);
        if come == 0 {
            return;
        }
        if self.tokens < BURST {
            self.tokens = self.tokens.saturating_add(come).min(BURST);
        }
        if self.refusals < BURST * BY_LOAD {
            self.refusals = self.refusals.saturating_add(come.saturating_mul(BY_LOAD)).min(BURST * BY_LOAD);
        }
        if self.tokens >= BURST {
            self.over_since = None;
        }
        // A fraction of a token is kept for later.
        self.filled =
            Some(filled + Duration::from_micros(u64::try_from(come).unwrap_or(0) * 1_000_000 / RATE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Frames that are not due to load.
    fn own(all: u32) -> Answered {
        Answered { all, by_load: 0 }
    }

    /// Calls refused for load.
    fn by_load(all: u32) -> Answered {
        Answered { all, by_load: all }
    }

    /// Simulates equal reads, one each `every_ms`, for `for_ms`. Returns how often the connection was put off, how many
    /// frames were answered, and when it was found abusive.
    fn reads(admitted: usize, answered: Answered, every_ms: u64, for_ms: u64) -> (u32, u64, Option<u64>) {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let (mut put_off, mut answers, mut now_ms) = (0, 0, 0);
        while now_ms < for_ms {
            match allowance.settle(admitted, answered, start + MS * now_ms as u32) {
                AllowanceDecision::GoOn => now_ms += every_ms,
                AllowanceDecision::PutOff(time) => {
                    (put_off, now_ms) = (put_off + 1, now_ms + time.as_millis() as u64)
                }
                AllowanceDecision::Abusive => return (put_off, answers, Some(now_ms)),
            }
            answers += u64::from(answered.all);
        }
        (put_off, answers, None)
    }

    #[test]
    fn a_connection_of_answers_alone_has_a_burst_then_a_rate_and_is_then_abusive() {
        let (put_off, answers, end) = reads(0, own(1), 0, 60_000);
        assert!(put_off > 100, "{put_off}");
        assert!((10_000..10_200).contains(&end.unwrap()), "{end:?}");
        let most = BURST as u64 + RATE * 10;
        assert!((most - 50..=most + 50).contains(&answers), "{answers}");
        // In full reads it goes into debt, and is abusive all the same.
        let (_, answers, end) = reads(0, own(ANSWERS_MAX), 0, 60_000);
        assert!(end.is_some() && answers < most + 2 * u64::from(ANSWERS_MAX), "{answers} {end:?}");
    }

    #[test]
    fn a_connection_below_the_rate_is_never_put_off() {
        assert_eq!(reads(0, own(1), 10, 600_000).0, 0);
        assert_eq!(reads(0, own(64), 600, 600_000).0, 0);
    }

    #[test]
    fn nine_refusals_of_ten_are_within_the_allowance() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert!((0..10_000).all(|_| allowance.settle(1, own(9), now) == AllowanceDecision::GoOn));
        assert!((0..10_000).all(|_| allowance.settle(10, own(64), now) == AllowanceDecision::GoOn));
        // A call admitted now and then excuses no more than its share: put off, never abusive.
        let (put_off, _, end) = reads(1, own(ANSWERS_MAX), 0, 60_000);
        assert!(put_off > 100 && end.is_none(), "{put_off} {end:?}");
    }

    #[test]
    fn refusals_for_load_are_put_off_in_a_flood_and_are_never_abusive() {
        let rate = RATE * BY_LOAD as u64;
        assert_eq!(reads(0, by_load(1), 2, 600_000), (0, 300_000, None), "500 a second");
        assert_eq!(reads(0, by_load(9), 10, 600_000), (0, 540_000, None), "900 a second");
        let (put_off, answers, end) = reads(0, by_load(ANSWERS_MAX), 0, 60_000);
        let most = BURST as u64 * BY_LOAD as u64 + rate * 60;
        assert!(put_off > 100 && end.is_none(), "{put_off} {end:?}");
        assert!((most - 500..=most + 500).contains(&answers), "{answers}");
        // With a Ping each second besides: none counts as abuse.
        let (mut allowance, mut now, mut put_off) = (Allowance::default(), Instant::now(), 0);
        for _ in 0..60 {
            let with_ping = Answered { all: 2, by_load: 1 };
            for read in [with_ping, by_load(64), by_load(64), by_load(64)].into_iter().cycle().take(64) {
                match allowance.settle(0, read, now) {
                    AllowanceDecision::GoOn => now += MS,
                    AllowanceDecision::PutOff(time) => (put_off, now) = (put_off + 1, now + time),
                    AllowanceDecision::Abusive => panic!("abusive"),
                }
            }
        }
        assert!(put_off > 100, "{put_off}");
    }

    #[test]
    fn a_pause_forgives() {
        let (mut allowance, mut now) = (Allowance::default(), Instant::now());
        for _ in 0..5 {
            while allowance.settle(0, own(ANSWERS_MAX), now) == AllowanceDecision::GoOn {}
            now += 9_000 * MS;
            assert_eq!(allowance.settle(0, own(1), now), AllowanceDecision::GoOn);
            now += 1_000 * MS;
        }
    }
}
