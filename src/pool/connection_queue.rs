//! FIFO of one connection behind a port's queue: what makes the queue fair between connections.
//!
//! A connection stands in the port's queue once, however many bursts it has waiting here. The worker that takes a
//! connection from the front of that queue takes its first burst, and puts the connection at the end if it has another.
//! So connections take turns, however many calls each of them has out. A waiting call can be taken back, the youngest
//! first: where the queue is full, a connection with many calls makes room for one with few.
//!
//! Invariant: while a burst waits here, the connection is in the port's queue, or a worker holds it and is about to
//! call [`ConnectionQueue::take`]. The connection can be in the queue without a burst, if all its calls were displaced.
//!
//! Does not know what a burst is (the type `B`), nor channels and threads.

use crate::sync::Mutex;
use std::collections::VecDeque;

/// Capacity, in bursts, that is kept while none waits.
const KEPT_BURSTS: usize = 8;

/// Waiting bursts of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionQueue<B>(Mutex<State<B>>);

#[derive(Debug)]
struct State<B> {
    /// The next to be taken. A field of its own, since most connections never have a second.
    front: Option<QueuedBurst<B>>,
    /// The bursts behind it; empty without it.
    behind: VecDeque<QueuedBurst<B>>,
    /// Likely cost of all of them.
    cost_ns: u64,
    /// Calls in all of them.
    calls: usize,
    /// Whether the connection is in the port's queue.
    queued: bool,
    /// Whether all its calls were displaced at some time since it entered the port's queue.
    emptied: bool,
}

/// A burst that waits.
#[derive(Debug)]
pub(crate) struct QueuedBurst<B> {
    pub(crate) burst: B,
    pub(crate) calls: usize,
    /// Likely cost, in nanoseconds.
    pub(crate) cost_ns: u64,
}

/// A call that was taken back out of a burst.
#[derive(Debug)]
pub(super) struct TakenBack<C> {
    pub(super) call: C,
    /// Its likely cost; for the last call of its burst, the rest of the burst's cost.
    pub(super) cost_ns: u64,
    /// Whether it was the last of its burst.
    pub(super) ends_burst: bool,
}

/// Result of [`ConnectionQueue::take`].
#[derive(Debug)]
pub(crate) struct TakenBursts<B> {
    /// The first burst; `None` if all calls were displaced.
    pub(super) first: Option<QueuedBurst<B>>,
    /// Whether the connection has to enter the port's queue again.
    pub(super) again: bool,
    /// Whether all its calls were displaced at some time since it entered the port's queue.
    pub(super) was_emptied: bool,
}

impl<B> Default for ConnectionQueue<B> {
    fn default() -> Self {
        let (front, behind) = (None, VecDeque::new());
        ConnectionQueue(Mutex::new(State {
            front,
            behind,
            cost_ns: 0,
            calls: 0,
            queued: false,
            emptied: false,
        }))
    }
}

impl<B> ConnectionQueue<B> {
    /// Adds a burst behind the others. Returns whether the connection has to enter the port's queue.
    #[must_use]
    pub(crate) fn push(&self, added: QueuedBurst<B>) -> bool {
        self.add(added, |state, added| match state.front {
            None => state.front = Some(added),
            Some(_) => state.behind.push_back(added),
        })
    }

    /// Adds a burst before the others: the rest of one that was taken. Returns as [`ConnectionQueue::push`].
    #[must_use]
    pub(crate) fn push_front(&self, added: QueuedBurst<B>) -> bool {
        self.add(added, |state, added| {
            if let Some(second) = state.front.replace(added) {
                state.behind.push_front(second);
            }
        })
    }

    fn add(&self, added: QueuedBurst<B>, push: impl FnOnce(&mut State<B>, QueuedBurst<B>)) -> bool {
        let mut state = self.0.lock();
        state.cost_ns += added.cost_ns;
        state.calls += added.calls;
        push(&mut state, added);
        !std::mem::replace(&mut state.queued, true)
    }

    /// Takes the first burst. To be called once for each time that the connection is taken from the port's queue.
    #[must_use]
    pub(crate) fn take(&self) -> TakenBursts<B> {
        let mut state = self.0.lock();
        let first = state.front.take();
        if let Some(QueuedBurst { calls, cost_ns, .. }) = &first {
            state.cost_ns -= cost_ns;
            state.calls -= calls;
        }
        state.front = state.behind.pop_front();
        state.queued = state.front.is_some();
        if state.behind.is_empty() {
            state.behind.shrink_to(KEPT_BURSTS);
        }
        let (again, was_emptied) = (state.queued, std::mem::take(&mut state.emptied));
        TakenBursts { first, again, was_emptied }
    }

    /// Takes the youngest call back if more than `most` wait. Takes the last one only if `may_empty` agrees, which is
    /// asked once for each time in the port's queue. `pop_back` takes the last call of a burst and returns it with what
    /// it is likely to cost, in nanoseconds.
    pub(super) fn take_back<C>(
        &self,
        most: usize,
        may_empty: impl FnOnce() -> bool,
        pop_back: impl FnOnce(&mut B) -> Option<(C, u64)>,
    ) -> Option<TakenBack<C>> {
        let mut state = self.0.lock();
        if state.calls <= most {
            return None;
        }
        if state.calls == 1 && !state.emptied {
            state.emptied = may_empty();
            if !state.emptied {
                return None;
            }
        }
        let State { front, behind, .. } = &mut *state;
        let youngest = behind.back_mut().or(front.as_mut())?;
        let (call, cost_ns) = pop_back(&mut youngest.burst)?;
        youngest.calls -= 1;
        let ends_burst = youngest.calls == 0;
        let cost_ns = if ends_burst { youngest.cost_ns } else { cost_ns.min(youngest.cost_ns) };
        youngest.cost_ns -= cost_ns;
        if ends_burst && behind.pop_back().is_none() {
            *front = None;
        }
        state.cost_ns -= cost_ns;
        state.calls -= 1;
        Some(TakenBack { call, cost_ns, ends_burst })
    }

    /// Likely cost of all waiting calls of this connection, in nanoseconds.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.0.lock().cost_ns
    }

    /// Waiting calls of this connection.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A burst of calls with these numbers.
    fn burst(ids: impl IntoIterator<Item = u64>, cost_ns: u64) -> QueuedBurst<Vec<u64>> {
        let burst: Vec<u64> = ids.into_iter().collect();
        QueuedBurst { calls: burst.len(), burst, cost_ns }
    }

    /// The number of the first call taken, and whether the connection enters the queue again.
    fn take(queue: &ConnectionQueue<Vec<u64>>) -> (Option<u64>, bool) {
        let TakenBursts { first, again, .. } = queue.take();
        (first.map(|first| first.burst[0]), again)
    }

    #[test]
    fn a_connection_is_in_the_queue_once_and_keeps_the_order_of_its_bursts() {
        let queue = ConnectionQueue::default();
        assert!(queue.push(burst([1], 10)), "it enters the queue");
        assert!(!queue.push(burst([2], 20)), "it is there");
        assert!(!queue.push(burst([3], 30)));
        assert_eq!((queue.cost_ns(), queue.calls()), (60, 3));
        assert_eq!(take(&queue), (Some(1), true));
        assert!(!queue.push_front(burst([1], 5)), "the rest of that burst");
        assert_eq!((queue.cost_ns(), queue.calls()), (55, 3));
        assert_eq!([take(&queue), take(&queue)], [(Some(1), true), (Some(2), true)]);
        assert_eq!([take(&queue), take(&queue)], [(Some(3), false), (None, false)]);
        assert_eq!((queue.cost_ns(), queue.calls()), (0, 0));
        assert!(queue.push_front(burst([4], 1)), "it enters the queue: it is not there");
    }

    #[test]
    fn an_empty_queue_keeps_little_capacity() {
        let queue = ConnectionQueue::default();
        let entered = (0..1000).filter(|id| queue.push(burst([*id], 1))).count();
        let taken = std::iter::from_fn(|| queue.take().first).count();
        assert_eq!((entered, taken), (1, 1000));
        assert!(queue.0.lock().behind.capacity() <= 2 * KEPT_BURSTS);
    }

    #[test]
    fn the_youngest_call_is_taken_back_first_and_all_is_counted() {
        let queue = ConnectionQueue::default();
        let take_back = |most, may_empty| {
            let back = queue.take_back(most, || may_empty, |burst: &mut Vec<u64>| Some((burst.pop()?, 4)))?;
            Some((back.call, back.cost_ns, back.ends_burst))
        };
        assert_eq!(take_back(0, true), None, "none waits");
        assert!(queue.push(burst([1, 2], 10)) && !queue.push(burst([3, 4, 5], 10)));
        assert_eq!(take_back(5, true), None, "no more than that wait");
        assert_eq!(take_back(4, true), Some((5, 4, false)));
        assert_eq!(take_back(0, true), Some((4, 4, false)));
        assert_eq!(take_back(0, true), Some((3, 2, true)), "what is left of the burst's cost");
        assert_eq!(take_back(0, true), Some((2, 4, false)), "of the burst in front");
        assert_eq!((queue.cost_ns(), queue.calls()), (6, 1));
        assert_eq!(take_back(0, false), None, "it is the last call");
        assert_eq!(take_back(0, true), Some((1, 6, true)));
        assert_eq!((queue.cost_ns(), queue.calls()), (0, 0));
        assert!(!queue.push(burst([6], 1)), "it is still in the queue");
        assert_eq!(take_back(0, false), Some((6, 1, true)), "it was emptied before, which counts once");
        assert!(!queue.push(burst([7], 1)));
        let TakenBursts { first, again, was_emptied } = queue.take();
        assert!(first.is_some() && !again && was_emptied);
        assert!(queue.push(burst([8], 1)) && !queue.take().was_emptied);
    }
}
