//! What a listener does while the server's buffers are full: which connections wait to be read, and which are closed.
//!
//! Queued calls go away by themselves; half-read frames and unread replies need not. So a port that holds more of those
//! than its part closes the connections that hold the most, until the buffers are no longer full. Knows ids, sizes and
//! times handed in.

use super::slots::Id;
use std::time::{Duration, Instant};

/// Between two looks while the buffers are full.
const LOOK: Duration = Duration::from_millis(10);

/// Between two looks while this port holds more than its part: those who fill the rest may belong to other listeners.
pub(super) const HEAVY_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct MemoryPressure {
    /// Guests that are not read until there is room.
    pub(super) waiting: Vec<Id>,
    next: Option<Instant>,
}

impl MemoryPressure {
    /// When the listener must not sleep on.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The buffers are full: is it time to look? To be called before each sleep.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + LOOK);
        true
    }

    /// The buffers are not full: who waited may go on.
    pub(super) fn end(&mut self) -> Vec<Id> {
        self.next = None;
        std::mem::take(&mut self.waiting)
    }
}

/// Which of those that hold so many bytes have to go: those that hold the most, until `excess` is gone or no more than
/// the port's part is left.
pub(super) fn too_heavy(mut holders: Vec<(usize, Id)>, excess: usize, part: usize) -> Vec<Id> {
    holders.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.0));
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
    fn those_that_hold_the_most_go_and_no_more_than_must() {
        let holders = || vec![(10, id(1)), (500, id(2)), (90, id(3)), (400, id(4))];
        assert_eq!(too_heavy(holders(), 1, 100), [id(2)]);
        assert_eq!(too_heavy(holders(), 501, 100), [id(2), id(4)]);
        assert_eq!(too_heavy(holders(), 9_999, 100), [id(2), id(4)], "the port has its part then");
        assert_eq!(too_heavy(holders(), 9_999, 0), [id(2), id(4), id(3), id(1)]);
        assert_eq!(too_heavy(holders(), 9_999, 1_000), [], "it is others that hold too much");
        assert_eq!(too_heavy(holders(), 0, 0), []);
    }

    #[test]
    fn it_looks_now_and_then_while_the_buffers_are_full() {
        let (mut ration, start) = (MemoryPressure::default(), Instant::now());
        assert!(ration.is_due(start) && !ration.is_due(start + LOOK / 2) && ration.is_due(start + LOOK));
        ration.waiting.push(id(1));
        assert_eq!((ration.end(), ration.next()), (vec![id(1)], None));
        assert!(ration.end().is_empty() && ration.is_due(start));
    }
}
