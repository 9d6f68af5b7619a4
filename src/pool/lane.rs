//! The bursts of one connection that wait behind another of it.
//!
//! A port's queue holds one burst of each connection that has any waiting; the others wait here. Whoever takes a burst
//! from the front of the queue puts the next of its connection at the end. So connections take turns, however many
//! calls each of them has out.
//!
//! Knows no channel and no thread. Invariant: while a burst waits here, one of its connection is in the queue or in
//! the hands of whoever is about to call [`Lane::next`].

use super::Burst;
use crate::sync::Mutex;
use std::collections::VecDeque;

/// Room for so many bursts is kept while none waits.
const KEPT_BURSTS: usize = 8;

/// One connection's place in a queue.
#[derive(Debug, Default)]
pub(crate) struct Lane(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Those behind the one in the queue.
    behind: VecDeque<Waiting>,
    /// Likely cost of them and of that one.
    cost_ns: u64,
    /// Is there one in the queue?
    queued: bool,
}

/// A burst that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) burst: Burst,
    /// What it is likely to cost, in nanoseconds.
    pub(crate) cost_ns: u64,
}

impl Lane {
    /// Lets a burst wait behind the others. It is given back if it has to go into the queue: there is no other.
    #[must_use]
    pub(crate) fn push(&self, waiting: Waiting) -> Option<Waiting> {
        self.add(waiting, VecDeque::push_back)
    }

    /// Lets a burst wait before the others that are here: what is left of one that was taken. Otherwise as
    /// [`Lane::push`].
    #[must_use]
    pub(crate) fn push_front(&self, waiting: Waiting) -> Option<Waiting> {
        self.add(waiting, VecDeque::push_front)
    }

    fn add(&self, waiting: Waiting, push: impl FnOnce(&mut VecDeque<Waiting>, Waiting)) -> Option<Waiting> {
        let mut state = self.0.lock();
        state.cost_ns += waiting.cost_ns;
        if std::mem::replace(&mut state.queued, true) {
            push(&mut state.behind, waiting);
            return None;
        }
        Some(waiting)
    }

    /// To be called once for each burst taken from the queue, with its cost: the next, which has to go there.
    #[must_use]
    pub(crate) fn next(&self, cost_ns: u64) -> Option<Waiting> {
        let mut state = self.0.lock();
        state.cost_ns -= cost_ns;
        let next = state.behind.pop_front();
        state.queued = next.is_some();
        if state.behind.is_empty() {
            state.behind.shrink_to(KEPT_BURSTS);
        }
        next
    }

    /// Likely cost of all that waits of this connection, in nanoseconds.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.0.lock().cost_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Buffers, Work};
    use crate::port::Call;
    use crate::sync::Arc;
    use crate::wire::Codec;
    use std::time::Instant;

    fn waiting(id: u64, cost_ns: u64) -> Waiting {
        let mut work = Work::new(&Buffers::unbounded(), Instant::now());
        work.calls.push(Call::new(id, 1, Codec::Bincode, 0, None));
        Waiting { burst: Burst::split_work(Arc::new(work)).next().unwrap(), cost_ns }
    }

    fn id(waiting: Option<Waiting>) -> Option<u64> {
        waiting.map(|waiting| waiting.burst.calls()[0].id)
    }

    #[test]
    fn a_connection_has_one_burst_in_the_queue_and_keeps_the_order_of_the_others() {
        let lane = Lane::default();
        assert_eq!(id(lane.push(waiting(1, 10))), Some(1), "into the queue");
        assert_eq!(id(lane.push(waiting(2, 20))), None, "there is one");
        assert_eq!(id(lane.push(waiting(3, 30))), None);
        assert_eq!(lane.cost_ns(), 60);
        assert_eq!(id(lane.next(10)), Some(2), "the first was taken");
        assert_eq!(id(lane.push_front(waiting(1, 5))), None, "what is left of it");
        assert_eq!(lane.cost_ns(), 55);
        assert_eq!((id(lane.next(20)), id(lane.next(5)), id(lane.next(30))), (Some(1), Some(3), None));
        assert_eq!(lane.cost_ns(), 0);
        assert_eq!(id(lane.push_front(waiting(4, 1))), Some(4), "into the queue: there is none");
    }

    #[test]
    fn an_empty_lane_keeps_little_room() {
        let lane = Lane::default();
        let added = (0..1000).filter(|id| lane.push(waiting(*id, 1)).is_some()).count();
        let taken = std::iter::from_fn(|| lane.next(1)).count();
        assert_eq!((added, taken), (1, 999));
        assert!(lane.0.lock().behind.capacity() <= 2 * KEPT_BURSTS);
    }
}
