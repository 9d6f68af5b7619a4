//! The bursts of one connection that wait for a worker.
//!
//! A port's queue holds connections, not bursts: each that has something waiting, once. Whoever takes a connection
//! from the front of the queue takes one burst of it and puts it back at the end. So connections take turns, however
//! many calls each of them has out.
//!
//! Knows no channel and no thread. Invariant: while a burst waits here, the connection is in the queue or in the
//! hands of whoever is about to call [`Lane::pop`].

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
    /// With what each is likely to cost, in nanoseconds.
    bursts: VecDeque<(Burst, u64)>,
    cost_ns: u64,
    queued: bool,
}

/// What [`Lane::pop`] gives.
#[derive(Debug)]
pub(crate) struct Popped {
    pub(crate) burst: Burst,
    pub(crate) cost_ns: u64,
    /// More wait: the connection has to go back into the queue.
    pub(crate) more: bool,
}

impl Lane {
    /// Adds a burst behind the others. True when the connection has to go into the queue.
    #[must_use]
    pub(crate) fn push(&self, burst: Burst, cost_ns: u64) -> bool {
        self.add(cost_ns, |bursts| bursts.push_back((burst, cost_ns)))
    }

    /// Adds a burst before the others: what is left of one that was taken. True when the connection has to go into
    /// the queue.
    #[must_use]
    pub(crate) fn push_front(&self, burst: Burst, cost_ns: u64) -> bool {
        self.add(cost_ns, |bursts| bursts.push_front((burst, cost_ns)))
    }

    fn add(&self, cost_ns: u64, push: impl FnOnce(&mut VecDeque<(Burst, u64)>)) -> bool {
        let mut state = self.0.lock();
        push(&mut state.bursts);
        state.cost_ns += cost_ns;
        !std::mem::replace(&mut state.queued, true)
    }

    /// Takes the first burst. Only for whoever took the connection from the queue, once for each time.
    pub(crate) fn pop(&self) -> Option<Popped> {
        let mut state = self.0.lock();
        let popped = state.bursts.pop_front();
        state.queued = !state.bursts.is_empty();
        if !state.queued {
            state.bursts.shrink_to(KEPT_BURSTS);
        }
        let (burst, cost_ns) = popped?;
        state.cost_ns -= cost_ns;
        Some(Popped { burst, cost_ns, more: state.queued })
    }

    /// Likely cost of all that waits here, in nanoseconds.
    pub(crate) fn cost_ns(&self) -> u64 {
        self.0.lock().cost_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Work;
    use crate::port::Call;
    use crate::sync::Arc;
    use crate::wire::Codec;
    use std::time::Instant;

    fn burst(id: u64) -> Burst {
        let mut work = Work::new(Instant::now());
        work.calls.push(Call::new(id, 1, Codec::Bincode, 0, None));
        Burst::new(Arc::new(work)).unwrap()
    }

    #[test]
    fn a_lane_is_queued_once_and_keeps_its_order() {
        let lane = Lane::default();
        assert!(lane.push(burst(1), 10), "into the queue");
        assert!(!lane.push(burst(2), 20), "it is there already");
        let first = lane.pop().unwrap();
        assert_eq!((first.burst.calls()[0].id, first.cost_ns, first.more), (1, 10, true));
        assert!(!lane.push_front(first.burst, 5), "it went back into the queue for the second burst");
        assert_eq!(lane.cost_ns(), 25);
        let ids: Vec<_> =
            std::iter::from_fn(|| lane.pop()).map(|popped| popped.burst.calls()[0].id).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(lane.cost_ns(), 0);
        assert!(lane.push_front(burst(3), 1), "it is no longer in the queue");
    }

    #[test]
    fn an_empty_lane_keeps_little_room() {
        let lane = Lane::default();
        for id in 0..1000 {
            let _ = lane.push(burst(id), 1);
        }
        while lane.pop().is_some() {}
        assert!(lane.0.lock().bursts.capacity() <= 2 * KEPT_BURSTS);
    }
}
