//! Detection of rapid-reset abuse: floods of calls that are cancelled at once.
//!
//! A client in need looks similar: in an overload its calls pass their deadlines and it cancels all of them, thousands
//! a second, and while the server does not read, call and cancel wait in the socket together. So a cancel is a rapid
//! reset only if its call came after the socket was last found empty, and if less time than the shortest deadline of
//! such calls has passed since: then it cannot be a time-out. A socket found empty just after the server had put off
//! reading proves nothing: more of that time may be on its way. Calls without a deadline cannot time out. A client that
//! hedges cancels calls at once too, but few of all it makes. So abuse is more than [`RESETS_MAX`] in [`PERIOD`], and
//! half of all calls.
//!
//! Guards against waste, not against harm: a cancelled call keeps its place in the window until it is answered.
//!
//! Pure: works on ids, deadlines and times passed in. Expects ascending ids, as clients choose them; resets with other
//! ids are not counted.

use std::time::{Duration, Instant};

/// Rapid resets allowed in one period.
const RESETS_MAX: u32 = 1_000;

const PERIOD: Duration = Duration::from_secs(10);

/// Time after reading resumes in which frames may have waited at the peer.
const BACKLOG: Duration = Duration::from_secs(1);

/// Calls and rapid resets of one connection in the period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CancelAbuse {
    /// Id of the latest call.
    last: u64,
    /// Id of the latest call when the socket was last found empty, and when that was.
    before: u64,
    emptied: Option<Instant>,
    /// Time until which an empty socket proves nothing.
    backlog_until: Option<Instant>,
    /// Shortest deadline of the calls since then, in milliseconds; `u32::MAX` if none has one.
    shortest_ms: u32,
    calls: u32,
    resets: u32,
    since: Option<Instant>,
}

impl Default for CancelAbuse {
    fn default() -> Self {
        CancelAbuse {
            last: 0,
            before: 0,
            emptied: None,
            backlog_until: None,
            shortest_ms: u32::MAX,
            calls: 0,
            resets: 0,
            since: None,
        }
    }
}

impl CancelAbuse {
    /// Records a call; a deadline of 0 is none.
    pub(crate) fn called(&mut self, call: u64, deadline_ms: u32) {
        self.last = call;
        self.shortest_ms = self.shortest_ms.min(if deadline_ms == 0 { u32::MAX } else { deadline_ms });
        self.calls = self.calls.saturating_add(1);
    }

    /// Records that the socket was empty.
    pub(crate) fn socket_emptied(&mut self, at: Instant) {
        if self.backlog_until.is_some_and(|until| at < until) {
            return;
        }
        (self.before, self.emptied, self.shortest_ms) = (self.last, Some(at), u32::MAX);
    }

    /// Records that reading was put off until then and continues.
    pub(crate) fn reading_resumed(&mut self, until: Instant) {
        self.backlog_until = Some(until + BACKLOG);
    }

    /// Records a cancel. Returns whether the connection is abusive.
    #[must_use]
    pub(crate) fn cancelled(&mut self, call: u64, now: Instant) -> bool {
        let is_new = self.before < call && call <= self.last;
        if !is_new || self.may_be_a_time_out(now) {
            return false;
        }
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > PERIOD) {
            // The call of this cancel belongs to the new period.
            (self.calls, self.resets, self.since) = (1, 0, Some(now));
        }
        self.resets += 1;
        self.resets > RESETS_MAX && self.resets > self.calls / 2
    }

    fn may_be_a_time_out(&self, now: Instant) -> bool {
        let shortest = Duration::from_millis(self.shortest_ms.into());
        let most = self.emptied.map(|at| now.saturating_duration_since(at));
        self.shortest_ms < u32::MAX && most.is_none_or(|most| most >= shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Number of reads, of 3,000, after which the connection is abusive. Each read has a call with this deadline and
    /// the cancel that `cancels` returns. A read comes each `every`, and finds the socket empty after it if it
    /// `keeps_up`.
    fn abusive_after(
        deadline_ms: u32,
        every: Duration,
        keeps_up: bool,
        cancels: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let (mut abuse, mut now) = (CancelAbuse::default(), Instant::now());
        abuse.socket_emptied(now);
        (1..=3_000).find(|&call| {
            now += every;
            abuse.called(call, deadline_ms);
            let abusive = cancels(call).is_some_and(|id| abuse.cancelled(id, now));
            if keeps_up {
                abuse.socket_emptied(now);
            }
            abusive
        })
    }

    #[test]
    fn a_flood_of_calls_cancelled_at_once_is_abuse() {
        let at_once = |call| Some(call);
        let limit = Some(u64::from(RESETS_MAX) + 1);
        assert_eq!(abusive_after(0, MS / 100, true, at_once), limit);
        assert_eq!(abusive_after(0, MS / 100, false, at_once), limit, "though the server does not keep up");
        assert_eq!(
            abusive_after(5_000, MS / 100, true, at_once),
            limit,
            "it cannot have waited for five seconds"
        );
        assert_eq!(abusive_after(0, 11 * MS, true, at_once), None, "fewer than that in ten seconds");
    }

    #[test]
    fn cancels_that_waited_at_the_peer_do_not_count() {
        let (mut abuse, start) = (CancelAbuse::default(), Instant::now());
        abuse.socket_emptied(start);
        // For a second the server did not read; callers have waited for 100 ms meanwhile, each several times.
        let mut now = start + 1000 * MS;
        abuse.reading_resumed(now);
        for call in 1..=3_000 {
            now += MS / 10;
            abuse.called(call, 100);
            assert!(!abuse.cancelled(call, now));
            abuse.socket_emptied(now);
        }
        // Long after that they count.
        now += BACKLOG;
        abuse.socket_emptied(now);
        let abusive_after = (3_001..).find(|&call| {
            abuse.called(call, 100);
            abuse.cancelled(call, now)
        });
        assert!(abusive_after.is_some_and(|call| call > 3_000 + u64::from(RESETS_MAX)));
    }

    #[test]
    fn time_outs_and_hedges_do_not_count() {
        // All calls pass their deadline of 100 ms: the cancel comes that many calls later.
        assert_eq!(abusive_after(100, MS / 2, true, |call| call.checked_sub(200)), None);
        // The same while the server does not read: both are found in the socket together.
        assert_eq!(abusive_after(100, MS / 2, false, |call| Some(call.saturating_sub(200))), None);
        // One caller that waits a millisecond for each call, while the server does not read.
        assert_eq!(abusive_after(1, MS, false, Some), None);
        // A hedge of every third call.
        assert_eq!(abusive_after(5_000, MS / 100, true, |call| (call % 3 == 0).then_some(call)), None);
        assert_eq!(abusive_after(0, MS / 100, true, |_| Some(7)), None, "of a call long ago");
    }
}
