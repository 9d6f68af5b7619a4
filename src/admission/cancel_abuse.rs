//! Calls that are taken back before their caller can have waited for them: a flood of them is no use of a server.
//!
//! What tells a flood from a client in need: in an overload a client's calls pass their deadlines and it cancels all of
//! them, thousands a second, and while the server does not read, call and cancel wait in the socket together. So a
//! cancel counts as a whim only if its call came after the socket was last seen empty, and if less time than the
//! shortest deadline of such calls has passed since: then it cannot be a time-out. A socket that is empty just after
//! the server had put its reading off says nothing: more of that time may be on its way. Who sets no deadline has no
//! time-out to excuse it. A client that hedges takes calls back at once too, but few of all it makes. So it must be
//! [`WHIMS_MAX`] in [`PERIOD`], and half of all calls.
//!
//! A guard against waste and not against harm: a cancelled call keeps its place in the window until it is answered.
//!
//! Knows ids, deadlines and times handed in. Takes ids to be ascending, as clients choose them; who chooses others only
//! goes uncounted.

use std::time::{Duration, Instant};

/// Whims that are let pass in one period.
const WHIMS_MAX: u32 = 1_000;

const PERIOD: Duration = Duration::from_secs(10);

/// For so long after the server reads on, what comes may have waited at the peer meanwhile.
const WAKE: Duration = Duration::from_secs(1);

/// One connection's calls and whims of the period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CancelAbuse {
    /// The latest call.
    last: u64,
    /// The latest call when the socket was last seen empty, and when that was.
    before: u64,
    emptied: Option<Instant>,
    /// Until then an empty socket says nothing.
    in_wake_until: Option<Instant>,
    /// Shortest deadline of the calls since then, in milliseconds; `u32::MAX` if none has one.
    shortest_ms: u32,
    calls: u32,
    whims: u32,
    since: Option<Instant>,
}

impl Default for CancelAbuse {
    fn default() -> Self {
        CancelAbuse {
            last: 0,
            before: 0,
            emptied: None,
            in_wake_until: None,
            shortest_ms: u32::MAX,
            calls: 0,
            whims: 0,
            since: None,
        }
    }
}

impl CancelAbuse {
    /// A call came; a deadline of 0 is none.
    pub(crate) fn called(&mut self, call: u64, deadline_ms: u32) {
        self.last = call;
        self.shortest_ms = self.shortest_ms.min(if deadline_ms == 0 { u32::MAX } else { deadline_ms });
        self.calls = self.calls.saturating_add(1);
    }

    /// The socket was empty.
    pub(crate) fn emptied(&mut self, at: Instant) {
        if self.in_wake_until.is_some_and(|until| at < until) {
            return;
        }
        (self.before, self.emptied, self.shortest_ms) = (self.last, Some(at), u32::MAX);
    }

    /// The server had put its reading off, and reads on from here.
    pub(crate) fn held_up(&mut self, until: Instant) {
        self.in_wake_until = Some(until + WAKE);
    }

    /// A cancel came. Is it one too many?
    #[must_use]
    pub(crate) fn cancelled(&mut self, call: u64, now: Instant) -> bool {
        let is_new = self.before < call && call <= self.last;
        if !is_new || self.may_be_a_time_out(now) {
            return false;
        }
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > PERIOD) {
            // The call of this cancel is one of the new period.
            (self.calls, self.whims, self.since) = (1, 0, Some(now));
        }
        self.whims += 1;
        self.whims > WHIMS_MAX && self.whims > self.calls / 2
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

    /// After how many of 3,000 reads, each with a call of such a deadline and what `cancels` says, it is too many. A
    /// read comes each `every`, and finds the socket empty after it if it `keeps_up`.
    fn told_off(
        deadline_ms: u32,
        every: Duration,
        keeps_up: bool,
        cancels: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let (mut whims, mut now) = (CancelAbuse::default(), Instant::now());
        whims.emptied(now);
        (1..=3_000).find(|&call| {
            now += every;
            whims.called(call, deadline_ms);
            let too_many = cancels(call).is_some_and(|id| whims.cancelled(id, now));
            if keeps_up {
                whims.emptied(now);
            }
            too_many
        })
    }

    #[test]
    fn a_flood_of_calls_taken_back_is_too_much() {
        let at_once = |call| Some(call);
        let limit = Some(u64::from(WHIMS_MAX) + 1);
        assert_eq!(told_off(0, MS / 100, true, at_once), limit);
        assert_eq!(told_off(0, MS / 100, false, at_once), limit, "though it is not kept up with");
        assert_eq!(told_off(5_000, MS / 100, true, at_once), limit, "it cannot have waited for five seconds");
        assert_eq!(told_off(0, 11 * MS, true, at_once), None, "fewer than that in ten seconds");
    }

    #[test]
    fn what_waited_at_the_peer_is_none() {
        let (mut whims, start) = (CancelAbuse::default(), Instant::now());
        whims.emptied(start);
        // For a second the server did not read; callers have waited for 100 ms meanwhile, each several times.
        let mut now = start + 1000 * MS;
        whims.held_up(now);
        for call in 1..=3_000 {
            now += MS / 10;
            whims.called(call, 100);
            assert!(!whims.cancelled(call, now));
            whims.emptied(now);
        }
        // Long after that it is another matter.
        now += WAKE;
        whims.emptied(now);
        let told_off = (3_001..).find(|&call| {
            whims.called(call, 100);
            whims.cancelled(call, now)
        });
        assert!(told_off.is_some_and(|call| call > 3_000 + u64::from(WHIMS_MAX)));
    }

    #[test]
    fn time_outs_and_hedges_are_none() {
        // Everything passes its deadline of 100 ms: the cancel comes so many calls later.
        assert_eq!(told_off(100, MS / 2, true, |call| call.checked_sub(200)), None);
        // The same while the server does not read: both are found in the socket together.
        assert_eq!(told_off(100, MS / 2, false, |call| Some(call.saturating_sub(200))), None);
        // One caller that waits a millisecond for each of its calls, and is not read for long.
        assert_eq!(told_off(1, MS, false, Some), None);
        // A hedge of every third call.
        assert_eq!(told_off(5_000, MS / 100, true, |call| (call % 3 == 0).then_some(call)), None);
        assert_eq!(told_off(0, MS / 100, true, |_| Some(7)), None, "of a call long ago");
    }
}
