//! An outlet without a connection, for what tries the pool alone: the models and the benches.

use super::{ConnectionQueue, ReplySink};
use crate::service::Peer;
use crate::sync::Ordering;
use crate::sync::unordered::AtomicUsize;
use std::net::SocketAddr;

/// Counts its answers and throws them away.
#[derive(Debug, Default)]
pub(crate) struct NullSink {
    lanes: [ConnectionQueue; 2],
    answers: AtomicUsize,
}

impl NullSink {
    /// How many calls were answered.
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
    fn lane(&self, nested: bool) -> &ConnectionQueue {
        &self.lanes[usize::from(nested)]
    }
    fn send(&self, replies: &mut Vec<u8>, answers: usize) {
        replies.clear();
        self.answers.fetch_add(answers, Ordering::Relaxed);
    }
}
