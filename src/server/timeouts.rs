//! How long a listener waits for its peers: for a Hello, for the rest of a frame, for replies to be taken.
//!
//! Only those are here that are waited for, one entry for each kind of wait; an idle connection has none. When a wait
//! ends its entry stays, is looked at when it is due, and put back with a new time if there is a new wait: so nothing
//! is searched for. Times are rounded up a little, so that a thousand peers who came together wake their listener once.
//! Time in which the listener did not run (the process or the machine was suspended, or starved) is nobody's: while
//! somebody is waited for it looks each [`TICK`], and if a look comes much later than that, all waits are longer by the
//! time since the look before. Knows ids and times handed in; what became of a wait knows the connection.

use super::slots::Id;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Room for so many entries is kept after a crowd.
const KEPT_ENTRIES: usize = 1024;

/// A wait may last longer than its limit by this part of it.
const GRAIN: u128 = 16;

/// Between two looks while somebody is waited for, at most.
const TICK: Duration = Duration::from_secs(1);

/// A look may come so late because the listener has much to do. That is not taken out of the waits.
const LATE: Duration = Duration::from_secs(1);

/// What a peer is waited for to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimeoutKind {
    /// To say Hello.
    Hello,
    /// To finish the frame it has begun.
    Frame,
    /// To take replies, of which it had taken so many bytes.
    Replies { taken: u64 },
}

/// How long each may take; `None` is without end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimeoutLimits {
    pub(super) hello: Option<Duration>,
    pub(super) frame: Option<Duration>,
    pub(super) send: Option<Duration>,
}

impl TimeoutLimits {
    fn of(&self, wait: TimeoutKind) -> Option<Duration> {
        match wait {
            TimeoutKind::Hello => self.hello,
            TimeoutKind::Frame => self.frame,
            TimeoutKind::Replies { .. } => self.send,
        }
    }
}

#[derive(Debug)]
pub(super) struct Timeouts {
    limits: TimeoutLimits,
    start: Instant,
    /// While anybody is waited for: when to look at the latest.
    tick: Instant,
    /// The first to be due on top.
    waits: BinaryHeap<Reverse<(Instant, Id, TimeoutKind)>>,
}

impl Timeouts {
    pub(super) fn new(limits: TimeoutLimits, start: Instant) -> Timeouts {
        Timeouts { limits, start, tick: start, waits: BinaryHeap::new() }
    }

    /// When to look at what began then: not before its limit, and at a time that others share.
    fn due(&self, since: Instant, limit: Duration) -> Instant {
        let (due, grain) = (since + limit, (limit.as_nanos() / GRAIN).max(1));
        let after = due.saturating_duration_since(self.start).as_nanos() % grain;
        due + Duration::from_nanos(((grain - after) % grain) as u64)
    }

    /// Waits for a peer since then. Returns whether there is a limit to that.
    pub(super) fn begin(&mut self, id: Id, wait: TimeoutKind, since: Instant) -> bool {
        let limit = self.limits.of(wait);
        if let Some(limit) = limit {
            if self.waits.is_empty() {
                self.tick = self.tick.max(since + TICK);
            }
            self.waits.push(Reverse((self.due(since, limit), id, wait)));
        }
        limit.is_some()
    }

    /// Is anybody waited for?
    pub(super) fn is_any(&self) -> bool {
        !self.waits.is_empty()
    }

    /// When to look.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due_first().map(|due| due.min(self.tick))
    }

    /// When something is due.
    fn due_first(&self) -> Option<Instant> {
        self.waits.peek().map(|Reverse((at, ..))| *at)
    }

    /// To be called when the listener begins a turn while somebody is waited for. If it has not run for some time, no
    /// wait counts that; how long it was.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        if now < self.tick {
            return None;
        }
        let lost = now.saturating_duration_since(std::mem::replace(&mut self.tick, now + TICK));
        if lost < LATE {
            return None;
        }
        // When it ceased to run nobody knows: at the last look, in favour of the peers.
        let lost = lost + TICK;
        let waits = std::mem::take(&mut self.waits).into_iter();
        self.waits = waits.map(|Reverse((at, id, wait))| Reverse((at + lost, id, wait))).collect();
        Some(lost)
    }

    /// Puts back what was taken, to be taken again at once.
    pub(super) fn put_back(&mut self, id: Id, wait: TimeoutKind, now: Instant) {
        self.waits.push(Reverse((now, id, wait)));
    }

    /// Takes the first wait that has lasted its time, if it has not ended meanwhile.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Id, TimeoutKind)> {
        if self.due_first()? > now {
            return None;
        }
        let Reverse((_, id, wait)) = self.waits.pop()?;
        if self.waits.is_empty() {
            self.waits.shrink_to(KEPT_ENTRIES);
        }
        Some((id, wait))
    }

    /// Has what began then lasted too long?
    pub(super) fn is_over(&self, wait: TimeoutKind, since: Instant, now: Instant) -> bool {
        self.limits.of(wait).is_some_and(|limit| now.saturating_duration_since(since) >= limit)
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
        let mut patience = Timeouts::new(limits, start);
        assert!(patience.next().is_none() && patience.take_due(start + 99 * S).is_none());
        assert!(patience.begin(id(1), TimeoutKind::Hello, start));
        assert!(patience.begin(id(1), TimeoutKind::Frame, start + S));
        assert!(patience.begin(id(2), TimeoutKind::Frame, start));
        assert!(!patience.begin(id(3), TimeoutKind::Replies { taken: 0 }, start), "without end");
        assert_eq!((patience.due_first(), patience.next()), (Some(start + 2 * S), Some(start + S)));
        assert_eq!(patience.take_due(start + S), None);
        assert_eq!(patience.take_due(start + 2 * S), Some((id(2), TimeoutKind::Frame)));
        assert_eq!(patience.take_due(start + 2 * S), None);
        assert_eq!(patience.take_due(start + 20 * S), Some((id(1), TimeoutKind::Frame)));
        assert_eq!(patience.take_due(start + 20 * S), Some((id(1), TimeoutKind::Hello)));
        assert_eq!((patience.next(), patience.take_due(start + 99 * S)), (None, None));
    }

    #[test]
    fn a_wait_that_began_anew_is_not_over() {
        let limits = TimeoutLimits { frame: Some(2 * S), ..TimeoutLimits::default() };
        let start = Instant::now();
        let mut patience = Timeouts::new(limits, start);
        patience.begin(id(1), TimeoutKind::Frame, start);
        let now = start + 2 * S;
        let (first, wait) = patience.take_due(now).unwrap();
        assert!(patience.is_over(wait, start, now) && !patience.is_over(wait, start + S, now));
        patience.begin(first, wait, start + S);
        assert_eq!(patience.due_first(), Some(start + 3 * S));
        assert!(!patience.is_over(TimeoutKind::Hello, start, start + 99 * S), "without end");
    }

    #[test]
    fn time_in_which_nobody_looked_is_not_counted() {
        let limits = TimeoutLimits { hello: Some(10 * S), frame: Some(2 * S), send: None };
        let start = Instant::now();
        let mut patience = Timeouts::new(limits, start);
        // Nobody was waited for: that nobody looked says nothing.
        patience.begin(id(1), TimeoutKind::Hello, start + 100 * S);
        assert_eq!(patience.look(start + 101 * S), None);
        patience.begin(id(2), TimeoutKind::Frame, start + 101 * S);
        assert_eq!(patience.look(start + 102 * S), None);
        assert_eq!(patience.look(start + 103 * S + S / 2), None, "a little late");
        // A minute in which the process stood still.
        let now = start + 163 * S + S / 2;
        assert_eq!(patience.look(now), Some(60 * S));
        assert_eq!(
            patience.take_due(now),
            Some((id(2), TimeoutKind::Frame)),
            "its two seconds were over before"
        );
        assert_eq!(patience.take_due(now), None);
        patience.put_back(id(2), TimeoutKind::Frame, now);
        assert_eq!(patience.take_due(now), Some((id(2), TimeoutKind::Frame)));
        assert_eq!(patience.due_first(), Some(start + 110 * S + 60 * S));
    }

    #[test]
    fn a_crowd_is_looked_at_together_and_leaves_little_room() {
        let start = Instant::now();
        let mut patience = Timeouts::new(TimeoutLimits { hello: Some(S), ..TimeoutLimits::default() }, start);
        (0..100_000)
            .for_each(|n| assert!(patience.begin(id(n), TimeoutKind::Hello, start + S / 100_000 * n as u32)));
        let (mut looks, mut taken) = (0, 0);
        while let Some(now) = patience.due_first() {
            looks += 1;
            while let Some((id, _)) = patience.take_due(now) {
                let late = now.saturating_duration_since(start + S / 100_000 * id.token().0 as u32 + S);
                assert!(late <= S / GRAIN as u32);
                taken += 1;
            }
        }
        assert!(taken == 100_000 && looks <= GRAIN + 1, "{looks} looks");
        assert!(patience.waits.capacity() <= 2 * KEPT_ENTRIES);
    }
}
