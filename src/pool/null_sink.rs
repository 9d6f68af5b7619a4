//! A [`ReplySink`] without a connection, for the tests, models and benches of the pool alone.

use super::burst::{Burst, ReplySink};
use super::connection_queue::ConnectionQueue;
use crate::service::Peer;
use crate::sync::Ordering;
use crate::sync::unordered::AtomicUsize;
use std::net::SocketAddr;

/// Counts its replies and discards them.
#[derive(Debug, Default)]
pub(crate) struct NullSink {
    queues: [ConnectionQueue<Burst>; 2],
    answers: AtomicUsize,
}

impl NullSink {
    #[cfg(any(loom, shuttle))]
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Peer for NullSink {
    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    fn is_gone(&self) -> bool {
        false
    }
    fn is_cancelled(&self, _: u64) -> bool {
        false
    }
}

impl ReplySink for NullSink {
    fn queue(&self, nested: bool) -> &ConnectionQueue<Burst> {
        &self.queues[usize::from(nested)]
    }
    fn send(&self, replies: &mut Vec<u8>, answers: usize) {
        replies.clear();
        self.answers.fetch_add(answers, Ordering::Relaxed);
    }
}
