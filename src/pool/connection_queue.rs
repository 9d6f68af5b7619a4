//! The bursts of one connection that wait.
//!
//! A port's queue holds each connection once that has any waiting; the bursts wait here. Whoever takes a connection
//! from the front of the queue takes its first burst, and puts it at the end if it has another. So connections take
//! turns, however many calls each of them has out. What waits can be taken back by the call, the youngest first: where
//! the queue is full, a connection with many calls makes room for one with few.
//!
//! Knows no channel and no thread. Invariant: while a burst waits here, the connection is in the queue or in the hands
//! of whoever is about to call [`ConnectionQueue::take`]. It can be there without a burst, if all were taken back.

use super::Burst;
use crate::proto::Call;
use crate::sync::{Arc, Mutex};
use std::collections::VecDeque;

/// Room for so many bursts is kept while none waits.
const KEPT_BURSTS: usize = 8;

/// One connection's place in a queue.
#[derive(Debug, Default)]
pub(crate) struct ConnectionQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The next to be taken. By itself, since most connections never have a second.
    front: Option<QueuedBurst>,
    /// Those behind it; none without it.
    behind: VecDeque<QueuedBurst>,
    /// Likely cost of them all.
    cost_ns: u64,
    /// Their calls.
    calls: usize,
    /// Is the connection in the queue?
    queued: bool,
    /// All were displaced since it came there.
    hollow: bool,
}

/// A burst that waits.
#[derive(Debug)]
pub(crate) struct QueuedBurst {
    pub(crate) burst: Burst,
    /// What it is likely to cost, in nanoseconds.
    pub(crate) cost_ns: u64,
}

/// A call that waited and was taken back.
#[derive(Debug)]
pub(crate) struct Displaced {
    pub(crate) work: Arc<super::Work>,
    pub(crate) call: Call,
    /// What it was likely to cost; of the last of its burst, what was left of that.
    pub(super) cost_ns: u64,
    /// Was it the last of its burst?
    pub(super) ends_burst: bool,
}

#[cfg(test)]
impl Displaced {
    /// Of no queue.
    pub(crate) fn none() -> Displaced {
        let work = super::Work::new(&super::Buffers::unbounded(), std::time::Instant::now());
        let call = Call::new(1, 1, crate::wire::Codec::Bincode, 0, None);
        Displaced { work: Arc::new(work), call, cost_ns: 0, ends_burst: true }
    }
}

/// What a connection had that was taken from the queue.
#[derive(Debug)]
pub(crate) struct TakenBursts {
    /// Its first burst. None at all if its calls were displaced.
    pub(super) first: Option<QueuedBurst>,
    /// The connection has to go into the queue again.
    pub(super) again: bool,
    /// It had lost all its calls at some time since it came there.
    pub(super) was_hollow: bool,
}

impl ConnectionQueue {
    /// Lets a burst wait behind the others. Returns whether the connection has to go into the queue: it is not there.
    #[must_use]
    pub(crate) fn push(&self, waiting: QueuedBurst) -> bool {
        self.add(waiting, |state, waiting| match state.front {
            None => state.front = Some(waiting),
            Some(_) => state.behind.push_back(waiting),
        })
    }

    /// Lets a burst wait before the others: what is left of one that was taken. Otherwise as [`ConnectionQueue::push`].
    #[must_use]
    pub(crate) fn push_front(&self, waiting: QueuedBurst) -> bool {
        self.add(waiting, |state, waiting| {
            if let Some(second) = state.front.replace(waiting) {
                state.behind.push_front(second);
            }
        })
    }

    fn add(&self, waiting: QueuedBurst, push: impl FnOnce(&mut State, QueuedBurst)) -> bool {
        let mut state = self.0.lock();
        state.cost_ns += waiting.cost_ns;
        state.calls += waiting.burst.len();
        push(&mut state, waiting);
        !std::mem::replace(&mut state.queued, true)
    }

    /// To be called once for each time that the connection is taken from the queue.
    #[must_use]
    pub(crate) fn take(&self) -> TakenBursts {
        let mut state = self.0.lock();
        let first = state.front.take();
        if let Some(QueuedBurst { burst, cost_ns }) = &first {
            state.cost_ns -= cost_ns;
            state.calls -= burst.len();
        }
        state.front = state.behind.pop_front();
        state.queued = state.front.is_some();
        if state.behind.is_empty() {
            state.behind.shrink_to(KEPT_BURSTS);
        }
        let (again, was_hollow) = (state.queued, std::mem::take(&mut state.hollow));
        TakenBursts { first, again, was_hollow }
    }

    /// Takes the youngest call back if more than `most` wait; the last one only if the connection `may_end` so, which
    /// is asked once for each time in the queue. `cost_ns` knows what a call is likely to cost.
    pub(super) fn displace(
        &self,
        most: usize,
        may_end: impl FnOnce() -> bool,
        cost_ns: impl FnOnce(&Call) -> u64,
    ) -> Option<Displaced> {
        let mut state = self.0.lock();
        if state.calls <= most {
            return None;
        }
        if state.calls == 1 && !state.hollow {
            state.hollow = may_end();
            if !state.hollow {
                return None;
            }
        }
        let State { front, behind, .. } = &mut *state;
        let QueuedBurst { burst, cost_ns: left_ns } = behind.back_mut().or(front.as_mut())?;
        let (work, call) = burst.pop_back()?;
        let ends_burst = burst.len() == 0;
        let cost_ns = if ends_burst { *left_ns } else { cost_ns(&call).min(*left_ns) };
        *left_ns -= cost_ns;
        if ends_burst && behind.pop_back().is_none() {
            *front = None;
        }
        state.cost_ns -= cost_ns;
        state.calls -= 1;
        Some(Displaced { work, call, cost_ns, ends_burst })
    }

    /// Likely cost of all that waits of this connection, in nanoseconds.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.0.lock().cost_ns
    }

    /// Calls of this connection that wait.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Buffers, Work};
    use crate::wire::Codec;
    use std::time::Instant;

    /// A burst of calls with these numbers.
    fn waiting(ids: impl IntoIterator<Item = u64>, cost_ns: u64) -> QueuedBurst {
        let mut work = Work::new(&Buffers::unbounded(), Instant::now());
        work.calls.extend(ids.into_iter().map(|id| Call::new(id, 1, Codec::Bincode, 0, None)));
        QueuedBurst { burst: Burst::split_work(Arc::new(work)).next().unwrap(), cost_ns }
    }

    /// The number of the first call taken, and whether the connection goes into the queue again.
    fn take(lane: &ConnectionQueue) -> (Option<u64>, bool) {
        let TakenBursts { first, again, .. } = lane.take();
        (first.map(|waiting| waiting.burst.calls()[0].id), again)
    }

    #[test]
    fn a_connection_is_in_the_queue_once_and_keeps_the_order_of_its_bursts() {
        let lane = ConnectionQueue::default();
        assert!(lane.push(waiting([1], 10)), "into the queue");
        assert!(!lane.push(waiting([2], 20)), "it is there");
        assert!(!lane.push(waiting([3], 30)));
        assert_eq!((lane.cost_ns(), lane.calls()), (60, 3));
        assert_eq!(take(&lane), (Some(1), true));
        assert!(!lane.push_front(waiting([1], 5)), "what is left of it");
        assert_eq!((lane.cost_ns(), lane.calls()), (55, 3));
        assert_eq!([take(&lane), take(&lane)], [(Some(1), true), (Some(2), true)]);
        assert_eq!([take(&lane), take(&lane)], [(Some(3), false), (None, false)]);
        assert_eq!((lane.cost_ns(), lane.calls()), (0, 0));
        assert!(lane.push_front(waiting([4], 1)), "into the queue: it is not there");
    }

    #[test]
    fn an_empty_lane_keeps_little_room() {
        let lane = ConnectionQueue::default();
        let joined = (0..1000).filter(|id| lane.push(waiting([*id], 1))).count();
        let taken = std::iter::from_fn(|| lane.take().first).count();
        assert_eq!((joined, taken), (1, 1000));
        assert!(lane.0.lock().behind.capacity() <= 2 * KEPT_BURSTS);
    }

    #[test]
    fn the_youngest_is_taken_back_first_and_all_is_counted() {
        let lane = ConnectionQueue::default();
        let displace = |most, may_end| {
            let back = lane.displace(most, || may_end, |_| 4)?;
            Some((back.call.id, back.cost_ns, back.ends_burst))
        };
        assert_eq!(displace(0, true), None, "there is none");
        assert!(lane.push(waiting([1, 2], 10)) && !lane.push(waiting([3, 4, 5], 10)));
        assert_eq!(displace(5, true), None, "no more than that");
        assert_eq!(displace(4, true), Some((5, 4, false)));
        assert_eq!(displace(0, true), Some((4, 4, false)));
        assert_eq!(displace(0, true), Some((3, 2, true)), "what the burst is left to cost");
        assert_eq!(displace(0, true), Some((2, 4, false)), "of the burst in front");
        assert_eq!((lane.cost_ns(), lane.calls()), (6, 1));
        assert_eq!(displace(0, false), None, "it is the last");
        assert_eq!(displace(0, true), Some((1, 6, true)));
        assert_eq!((lane.cost_ns(), lane.calls()), (0, 0));
        assert!(!lane.push(waiting([6], 1)), "it is in the queue still");
        assert_eq!(displace(0, false), Some((6, 1, true)), "it was hollow before, and counts once");
        assert!(!lane.push(waiting([7], 1)));
        let TakenBursts { first, again, was_hollow } = lane.take();
        assert!(first.is_some() && !again && was_hollow);
        assert!(lane.push(waiting([8], 1)) && !lane.take().was_hollow);
    }
}
