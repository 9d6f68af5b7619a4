//! Connections whose bursts wait for a worker, in the order of their turns; before them, calls that are recalled from
//! the lines of their methods (see `method_limits.rs`).
//!
//! Invariant: what is added is seen by [`WaitList::is_empty`] of every thread that looks later.

use super::burst::{Burst, ReplySink};
use super::connection_queue::QueuedBurst;
use crate::sync::{Arc, Mutex, Ordering, Receiver, Sender, bounded, sequential, unordered};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct WaitList {
    sender: Sender<Arc<dyn ReplySink>>,
    receiver: Receiver<Arc<dyn ReplySink>>,
    /// Recalled calls. Not in the queues of their connections: they are not displaced.
    recalled: Mutex<VecDeque<QueuedBurst<Burst>>>,
    /// Number of them, to be read without the lock.
    recalled_count: unordered::AtomicUsize,
    /// Connections: one load where the channel takes thirty instructions. Counted after they have been added, and
    /// uncounted before they are taken: who has uncounted one finds one.
    count: sequential::AtomicUsize,
}

impl WaitList {
    pub(super) fn new(places: usize) -> WaitList {
        let (sender, receiver) = bounded(places);
        WaitList {
            sender,
            receiver,
            recalled: Mutex::default(),
            recalled_count: unordered::AtomicUsize::new(0),
            count: sequential::AtomicUsize::new(0),
        }
    }

    pub(super) fn join(&self, sink: Arc<dyn ReplySink>) {
        // The channel has a place for each connection in it. A connection has a call that was admitted against
        // `calls_max`, or one that a worker gave back (each worker gives back one), or it is one of the emptied ones,
        // which are no more than `calls_max`.
        self.sender.try_send(sink).expect("the channel has a place for every connection");
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn next(&self) -> Option<Arc<dyn ReplySink>> {
        let mut count = self.count.load(Ordering::SeqCst);
        loop {
            let less = count.checked_sub(1)?;
            match self.count.compare_exchange(count, less, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => count = now,
            }
        }
        Some(self.receiver.try_recv().expect("what is counted was added before"))
    }

    /// Adds a recalled call.
    pub(super) fn recall(&self, burst: QueuedBurst<Burst>) {
        let mut recalled = self.recalled.lock();
        recalled.push_back(burst);
        self.recalled_count.store(recalled.len(), Ordering::SeqCst);
    }

    /// Takes the first recalled call.
    #[inline]
    pub(super) fn next_recalled(&self) -> Option<QueuedBurst<Burst>> {
        if self.recalled_count.load(Ordering::SeqCst) == 0 { None } else { self.take_recalled() }
    }

    #[cold]
    fn take_recalled(&self) -> Option<QueuedBurst<Burst>> {
        let mut recalled = self.recalled.lock();
        let first = recalled.pop_front();
        self.recalled_count.store(recalled.len(), Ordering::SeqCst);
        first
    }

    /// Connections that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.recalled_count.load(Ordering::SeqCst) == 0
    }
}
