//! Time-outs of a listener's connections: for a Hello, for the rest of a frame, for replies to be taken.
//!
//! A heap with one entry for each kind of wait; an idle connection has none. When a wait ends its entry stays, is
//! checked when it is due, and put back with a new time if there is a new wait: so nothing is searched for. Times are
//! rounded up a little, so that a thousand peers that came together wake their listener once. Time in which the
//! listener did not run (the process or the machine was suspended, or starved) does not count: while any peer is waited
//! for the clock is checked each [`TICK`], and if a check comes much later than that, all waits are longer by the time
//! since the check before. Knows ids and times handed in; the connection knows what became of a wait.

use super::slots::Id;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Capacity kept after a burst.
const KEPT_ENTRIES: usize = 1024;

/// A wait may exceed its limit by one part in this many.
const GRAIN: u128 = 16;

/// Longest time between two checks of the clock while any peer is waited for.
const TICK: Duration = Duration::from_secs(1);

/// A check may come this late because the listener is busy; that counts as waiting time.
const LATE: Duration = Duration::from_secs(1);

/// The act that a peer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimeoutKind {
    /// Its Hello.
    Hello,
    /// The rest of a frame.
    Frame,
    /// That it takes replies.
    Replies {
        /// Bytes it had taken when the wait began.
        taken: u64,
    },
}

/// The longest wait of each kind; `None` is without end.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::server) struct TimeoutLimits {
    pub(in crate::server) hello: Option<Duration>,
    pub(in crate::server) frame: Option<Duration>,
    pub(in crate::server) send: Option<Duration>,
}

impl TimeoutLimits {
    fn of(&self, kind: TimeoutKind) -> Option<Duration> {
        match kind {
            TimeoutKind::Hello => self.hello,
            TimeoutKind::Frame => self.frame,
            TimeoutKind::Replies { .. } => self.send,
        }
    }
}

/// The waits of one listener.
#[derive(Debug)]
pub(in crate::server) struct Timeouts {
    limits: TimeoutLimits,
    start: Instant,
    /// While any peer is waited for: the latest time of the next check of the clock.
    tick: Instant,
    /// The earliest on top.
    waits: BinaryHeap<Reverse<(Instant, Id, TimeoutKind)>>,
}

impl Timeouts {
    pub(in crate::server) fn new(limits: TimeoutLimits, start: Instant) -> Timeouts {
        Timeouts { limits, start, tick: start, waits: BinaryHeap::new() }
    }

    /// Returns when a wait is due: not before its limit, and at a time that others share.
    fn due(&self, since: Instant, limit: Duration) -> Instant {
        let (due, grain) = (since + limit, (limit.as_nanos() / GRAIN).max(1));
        let after = due.saturating_duration_since(self.start).as_nanos() % grain;
        due + Duration::from_nanos(((grain - after) % grain) as u64)
    }

    /// Begins a wait. Returns whether it has a limit.
    pub(super) fn begin(&mut self, id: Id, kind: TimeoutKind, since: Instant) -> bool {
        let limit = self.limits.of(kind);
        if let Some(limit) = limit {
            if self.waits.is_empty() {
                self.tick = self.tick.max(since + TICK);
            }
            self.waits.push(Reverse((self.due(since, limit), id, kind)));
        }
        limit.is_some()
    }

    /// Returns whether any peer is waited for.
    pub(super) fn is_any(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Returns the time of the next check.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due_first().map(|due| due.min(self.tick))
    }

    fn due_first(&self) -> Option<Instant> {
        self.waits.peek().map(|Reverse((at, ..))| *at)
    }

    /// Checks the clock; to be called when the listener begins a turn while any peer is waited for. If it has not run
    /// for some time, lengthens all waits by that and returns it.
    pub(super) fn check_clock(&mut self, now: Instant) -> Option<Duration> {
        if now < self.tick {
            return None;
        }
        let lost = now.saturating_duration_since(std::mem::replace(&mut self.tick, now + TICK));
        if lost < LATE {
            return None;
        }
        // The listener may have ceased to run at any time since the last check: count all of it, in favour of the
        // peers.
        let lost = lost + TICK;
        let waits = std::mem::take(&mut self.waits).into_iter();
        self.waits = waits.map(|Reverse((at, id, kind))| Reverse((at + lost, id, kind))).collect();
        Some(lost)
    }

    /// Puts back a wait that was taken, to be taken again at once.
    pub(super) fn put_back(&mut self, id: Id, kind: TimeoutKind, now: Instant) {
        self.waits.push(Reverse((now, id, kind)));
    }

    /// Takes the first wait that is due. It may have ended meanwhile.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Id, TimeoutKind)> {
        if self.due_first()? > now {
            return None;
        }
        let Reverse((_, id, kind)) = self.waits.pop()?;
        if self.waits.is_empty() {
            self.waits.shrink_to(KEPT_ENTRIES);
        }
        Some((id, kind))
    }

    /// Returns whether a wait has exceeded its limit.
    pub(super) fn is_over(&self, kind: TimeoutKind, since: Instant, now: Instant) -> bool {
        self.limits.of(kind).is_some_and(|limit| now.saturating_duration_since(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Token;

    const S: Duration = Duration::from_secs(1);

    fn id(n: usize) -> Id {
        Id::of(Token(n))
    }

    #[test]
    fn each_wait_is_due_at_its_own_time_in_order() {
        let limits = TimeoutLimits { hello: Some(10 * S), frame: Some(2 * S), send: None };
        let start = Instant::now();
        let mut timeouts = Timeouts::new(limits, start);
        assert!(timeouts.next().is_none() && timeouts.take_due(start + 99 * S).is_none());
        assert!(timeouts.begin(id(1), TimeoutKind::Hello, start));
        assert!(timeouts.begin(id(1), TimeoutKind::Frame, start + S));
        assert!(timeouts.begin(id(2), TimeoutKind::Frame, start));
        assert!(!timeouts.begin(id(3), TimeoutKind::Replies { taken: 0 }, start), "without end");
        assert_eq!((timeouts.due_first(), timeouts.next()), (Some(start + 2 * S), Some(start + S)));
        assert_eq!(timeouts.take_due(start + S), None);
        assert_eq!(timeouts.take_due(start + 2 * S), Some((id(2), TimeoutKind::Frame)));
        assert_eq!(timeouts.take_due(start + 2 * S), None);
        assert_eq!(timeouts.take_due(start + 20 * S), Some((id(1), TimeoutKind::Frame)));
        assert_eq!(timeouts.take_due(start + 20 * S), Some((id(1), TimeoutKind::Hello)));
        assert_eq!((timeouts.next(), timeouts.take_due(start + 99 * S)), (None, None));
    }

    #[test]
    fn a_wait_that_began_anew_is_not_over() {
        let limits = TimeoutLimits { frame: Some(2 * S), ..TimeoutLimits::default() };
        let start = Instant::now();
        let mut timeouts = Timeouts::new(limits, start);
        timeouts.begin(id(1), TimeoutKind::Frame, start);
        let now = start + 2 * S;
        let (first, wait) = timeouts.take_due(now).unwrap();
        assert!(timeouts.is_over(wait, start, now) && !timeouts.is_over(wait, start + S, now));
        timeouts.begin(first, wait, start + S);
        assert_eq!(timeouts.due_first(), Some(start + 3 * S));
        assert!(!timeouts.is_over(TimeoutKind::Hello, start, start + 99 * S), "without end");
    }

    #[test]
    fn time_in_which_the_listener_did_not_run_is_not_counted() {
        let limits = TimeoutLimits { hello: Some(10 * S), frame: Some(2 * S), send: None };
        let start = Instant::now();
        let mut timeouts = Timeouts::new(limits, start);
        // No peer was waited for: that no check came means nothing.
        timeouts.begin(id(1), TimeoutKind::Hello, start + 100 * S);
        assert_eq!(timeouts.check_clock(start + 101 * S), None);
        timeouts.begin(id(2), TimeoutKind::Frame, start + 101 * S);
        assert_eq!(timeouts.check_clock(start + 102 * S), None);
        assert_eq!(timeouts.check_clock(start + 103 * S + S / 2), None, "a little late");
        // A minute in which the process stood still.
        let now = start + 163 * S + S / 2;
        assert_eq!(timeouts.check_clock(now), Some(60 * S));
        assert_eq!(
            timeouts.take_due(now),
            Some((id(2), TimeoutKind::Frame)),
            "its two seconds were over before"
        );
        assert_eq!(timeouts.take_due(now), None);
        timeouts.put_back(id(2), TimeoutKind::Frame, now);
        assert_eq!(timeouts.take_due(now), Some((id(2), TimeoutKind::Frame)));
        assert_eq!(timeouts.due_first(), Some(start + 110 * S + 60 * S));
    }

    #[test]
    fn a_crowd_is_checked_together_and_leaves_little_capacity() {
        let start = Instant::now();
        let mut timeouts = Timeouts::new(TimeoutLimits { hello: Some(S), ..TimeoutLimits::default() }, start);
        (0..100_000)
            .for_each(|n| assert!(timeouts.begin(id(n), TimeoutKind::Hello, start + S / 100_000 * n as u32)));
        let (mut checks, mut taken) = (0, 0);
        while let Some(now) = timeouts.due_first() {
            checks += 1;
            while let Some((id, _)) = timeouts.take_due(now) {
                let late = now.saturating_duration_since(start + S / 100_000 * id.token().0 as u32 + S);
                assert!(late <= S / GRAIN as u32);
                taken += 1;
            }
        }
        assert!(taken == 100_000 && checks <= GRAIN + 1, "{checks} checks");
        assert!(timeouts.waits.capacity() <= 2 * KEPT_ENTRIES);
    }
}
