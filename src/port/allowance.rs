//! The allowance of a connection for what its listener answers itself: refused and malformed calls, Pings, Cancels.
//!
//! Such a frame costs no worker and so waits for none: without a bound one connection has the listener for itself. So a
//! read takes [`ANSWERS_MAX`] of them and leaves the rest for a later turn, and each costs one of the connection's
//! tokens. Tokens come with time, and with each call that is let in: in an overload nine of ten calls may be refused,
//! and are to be refused at once. Without tokens the connection is not read until some have come. A connection that
//! goes on so for [`ABUSE`], and of which no call was let in meanwhile, makes no use of the server.
//!
//! Knows numbers and times handed in.

use std::time::{Duration, Instant};

/// Frames that one read has answered by the listener.
pub(super) const ANSWERS_MAX: u32 = 64;

/// Tokens that come each second.
const RATE: u64 = 128;

/// Tokens that come with time, at most; a new connection has them.
const BURST: i32 = 1024;

/// Tokens that come with a call that is let in.
const CREDIT: i32 = 16;

/// Tokens that a connection may have: those of a window of calls.
const TOKENS_MAX: i32 = super::WINDOW_CALLS_MAX as i32 * CREDIT;

/// A connection without tokens is not read until it has so many again.
const ENOUGH: i32 = 8;

/// For so long a connection may be without tokens again and again.
const ABUSE: Duration = Duration::from_secs(10);

/// What is to be done with a connection after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    /// It is not to be read for so long.
    PutOff(Duration),
    /// It has done nothing else for too long.
    Abusive,
}

/// One connection's tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    tokens: i32,
    /// Until then tokens have come.
    filled: Option<Instant>,
    /// Since when it has been without tokens again and again.
    over_since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { tokens: BURST, filled: None, over_since: None }
    }
}

impl Allowance {
    /// Of a read so many calls were let in, and so many frames were answered.
    #[must_use]
    pub(super) fn settle(&mut self, let_in: usize, answered: u32, now: Instant) -> Verdict {
        if let_in > 0 {
            let credit = (let_in as i32).saturating_mul(CREDIT);
            self.tokens = self.tokens.saturating_add(credit).min(TOKENS_MAX);
            self.over_since = None;
        }
        if answered == 0 { Verdict::GoOn } else { self.spend(answered, now) }
    }

    fn spend(&mut self, answered: u32, now: Instant) -> Verdict {
        self.fill(now);
        self.tokens = self.tokens.saturating_sub_unsigned(answered);
        if self.tokens > 0 {
            return Verdict::GoOn;
        }
        let since = *self.over_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= ABUSE {
            return Verdict::Abusive;
        }
        let wanted = u64::from(ENOUGH.saturating_sub(self.tokens).unsigned_abs());
        Verdict::PutOff(Duration::from_millis(wanted * 1000 / RATE))
    }

    /// Adds the tokens of the time that has passed.
    fn fill(&mut self, now: Instant) {
        let filled = *self.filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled);
        let come = i32::try_from(passed.as_millis() * u128::from(RATE) / 1000).unwrap_or(i32::MAX);
        if come == 0 {
            return;
        }
        if self.tokens < BURST {
            self.tokens = self.tokens.saturating_add(come).min(BURST);
        }
        if self.tokens >= BURST {
            self.over_since = None;
        }
        // What is less than a token is not lost.
        let counted = Duration::from_millis(u64::try_from(come).unwrap_or(0) * 1000 / RATE);
        self.filled = Some(if self.tokens == BURST { now } else { filled + counted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What becomes of a connection that reads like this make for so long, each after so many milliseconds: how often
    /// it was put off, how many frames were answered, and when it was told off.
    fn reads(let_in: usize, answered: u32, every_ms: u64, for_ms: u64) -> (u32, u64, Option<u64>) {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let (mut put_off, mut answers, mut now_ms) = (0, 0, 0);
        while now_ms < for_ms {
            match allowance.settle(let_in, answered, start + MS * now_ms as u32) {
                Verdict::GoOn => now_ms += every_ms,
                Verdict::PutOff(time) => (put_off, now_ms) = (put_off + 1, now_ms + time.as_millis() as u64),
                Verdict::Abusive => return (put_off, answers, Some(now_ms)),
            }
            answers += u64::from(answered);
        }
        (put_off, answers, None)
    }

    #[test]
    fn who_does_nothing_else_has_a_burst_then_a_rate_and_then_an_end() {
        let (put_off, answers, end) = reads(0, 1, 0, 60_000);
        assert!(put_off > 100, "{put_off}");
        assert!((10_000..10_200).contains(&end.unwrap()), "{end:?}");
        let most = BURST as u64 + RATE * 10;
        assert!((most - 50..=most + 50).contains(&answers), "{answers}");
        // In full reads it goes into debt, and is told off all the same.
        let (_, answers, end) = reads(0, ANSWERS_MAX, 0, 60_000);
        assert!(end.is_some() && answers < most + 2 * u64::from(ANSWERS_MAX), "{answers} {end:?}");
    }

    #[test]
    fn who_stays_below_the_rate_is_never_put_off() {
        assert_eq!(reads(0, 1, 10, 600_000).0, 0);
        assert_eq!(reads(0, 64, 600, 600_000).0, 0);
    }

    #[test]
    fn nine_refusals_of_ten_are_within_the_allowance() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert!((0..10_000).all(|_| allowance.settle(1, 9, now) == Verdict::GoOn));
        assert!((0..10_000).all(|_| allowance.settle(10, 64, now) == Verdict::GoOn));
        // A call that is let in now and then excuses nothing but its share: put off, never told off.
        let (put_off, _, end) = reads(1, ANSWERS_MAX, 0, 60_000);
        assert!(put_off > 100 && end.is_none(), "{put_off} {end:?}");
    }

    #[test]
    fn a_pause_forgives() {
        let (mut allowance, mut now) = (Allowance::default(), Instant::now());
        for _ in 0..5 {
            while allowance.settle(0, ANSWERS_MAX, now) == Verdict::GoOn {}
            now += 9_000 * MS;
            assert_eq!(allowance.settle(0, 1, now), Verdict::GoOn);
            now += 1_000 * MS;
        }
    }
}
