//! An outlet without a connection, for what tries the pool alone: the models and the benches.

use super::{Lane, Outlet};
use crate::service::Caller;
use crate::sync::Ordering;
use crate::sync::unordered::AtomicUsize;
use std::net::SocketAddr;

/// Counts its answers and throws them away.
#[derive(Debug, Default)]
pub(crate) struct StandIn {
    lane: Lane,
    answers: AtomicUsize,
}

impl StandIn {
    /// How many calls were answered.
    #[cfg(any(loom, shuttle))]
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Caller for StandIn {
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

impl Outlet for StandIn {
    fn lane(&self) -> &Lane {
        &self.lane
    }
    fn send(&self, replies: &mut Vec<u8>, answers: usize) {
        replies.clear();
        self.answers.fetch_add(answers, Ordering::Relaxed);
    }
}
