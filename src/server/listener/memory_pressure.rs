//! Memory pressure: while the server's buffers are full, which connections wait to be read, and which are closed.
//!
//! Queued calls go away by themselves; half-read frames and unread replies need not. So a port that holds more of those
//! than its part closes the connections that hold the most, until the buffers are no longer full. Knows ids, sizes and
//! times handed in.

use super::slots::Id;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Time between two checks while the buffers are full.
const PAUSE: Duration = Duration::from_millis(10);

/// Time between two checks while this port holds more than its part: the rest may be filled at other ports.
pub(super) const PART_EXCEEDED_PAUSE: Duration = Duration::from_secs(1);

/// The connections that wait for room, and the time of the next check.
#[derive(Debug, Default)]
pub(super) struct MemoryPressure {
    /// Connections that are not read until there is room.
    pub(super) waiting: Vec<Id>,
    next: Option<Instant>,
}

impl MemoryPressure {
    /// Returns the time of the next check.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// While the buffers are full, returns whether it is time for a check. To be called before each poll.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + PAUSE);
        true
    }

    /// The buffers are not full: returns the connections that waited.
    pub(super) fn end(&mut self) -> Vec<Id> {
        self.next = None;
        std::mem::take(&mut self.waiting)
    }
}

/// Picks the largest holders until `excess` bytes are reclaimed or no more than the port's part is left.
pub(super) fn largest_until(mut holders: Vec<(usize, Id)>, excess: usize, part: usize) -> Vec<Id> {
    holders.sort_unstable_by_key(|holder| Reverse(holder.0));
    let (mut held, mut gone) = (holders.iter().map(|holder| holder.0).sum::<usize>(), 0);
    let goes = |&(bytes, _): &(usize, Id)| {
        let goes = gone < excess && held > part;
        (gone, held) = (gone + bytes, held - bytes);
        goes
    };
    holders.into_iter().take_while(goes).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Token;

    fn id(n: usize) -> Id {
        Id::of(Token(n))
    }

    #[test]
    fn the_largest_holders_are_picked_and_no_more_than_needed() {
        let holders = || vec![(10, id(1)), (500, id(2)), (90, id(3)), (400, id(4))];
        assert_eq!(largest_until(holders(), 1, 100), [id(2)]);
        assert_eq!(largest_until(holders(), 501, 100), [id(2), id(4)]);
        assert_eq!(largest_until(holders(), 9_999, 100), [id(2), id(4)], "the port has its part then");
        assert_eq!(largest_until(holders(), 9_999, 0), [id(2), id(4), id(3), id(1)]);
        assert_eq!(largest_until(holders(), 9_999, 1_000), [], "other ports hold too much");
        assert_eq!(largest_until(holders(), 0, 0), []);
    }

    #[test]
    fn checks_have_a_pause_while_the_buffers_are_full() {
        let (mut pressure, start) = (MemoryPressure::default(), Instant::now());
        assert!(
            pressure.is_due(start) && !pressure.is_due(start + PAUSE / 2) && pressure.is_due(start + PAUSE)
        );
        pressure.waiting.push(id(1));
        assert_eq!((pressure.end(), pressure.next()), (vec![id(1)], None));
        assert!(pressure.end().is_empty() && pressure.is_due(start));
    }
}
