//! What travels from a listener to a worker: all calls of one read together, in a recycled buffer.
//!
//! No allocation per call: the buffer and the list go round. A burst can be split: whoever holds the front may
//! give the rest away, both sharing the bytes.

use super::Lane;
use crate::port::Call;
use crate::service::Caller;
use crate::sync::Arc;
use std::ops::Range;
use std::time::Instant;

/// Where replies go: a connection as the pool sees it.
pub(crate) trait Outlet: Caller {
    /// Its place in the port's queue.
    fn lane(&self) -> &Lane;

    /// Sends `replies`, which answer `answers` calls, and leaves the buffer empty. Does not block: what the
    /// socket does not take stays with the connection.
    fn send(&self, replies: &mut Vec<u8>, answers: usize);
}

/// Calls of one read, their bytes, and where their replies go. Shared by the parts of a split burst.
pub(crate) struct Work {
    /// What the calls point into; with bytes of earlier use behind it.
    pub(crate) bytes: Vec<u8>,
    /// The calls, in the order of their arrival.
    pub(crate) calls: Vec<Call>,
    /// The connection; `None` while the buffers wait to be used again.
    pub(crate) outlet: Option<Arc<dyn Outlet>>,
    /// When the last byte of the calls was read.
    pub(crate) received: Instant,
    /// The port's permit-wait clock at that time, in microseconds.
    pub(crate) permit_clock_us: u64,
}

impl Work {
    /// Empty buffers.
    pub(crate) fn new(now: Instant) -> Work {
        Work { bytes: Vec::new(), calls: Vec::new(), outlet: None, received: now, permit_clock_us: 0 }
    }

    /// The arguments of a call of this work.
    pub(crate) fn arguments(&self, call: &Call) -> &[u8] {
        call.arguments_in(&self.bytes)
    }

    /// Ready to be used again: keeps no connection alive and no buffer above `bytes_kept`. The bytes stay, so that
    /// the buffer can be read into without being filled with zeros first.
    pub(crate) fn clear(&mut self, bytes_kept: usize) {
        self.outlet = None;
        self.calls.clear();
        if self.bytes.capacity() > bytes_kept {
            self.bytes = Vec::new();
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("calls", &self.calls.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Calls still to be run of a [`Work`]. Never empty while it waits in a queue.
#[derive(Debug)]
pub(crate) struct Burst {
    work: Arc<Work>,
    calls: Range<usize>,
}

impl Burst {
    /// All calls of `work`; `None` when there are none.
    pub(crate) fn new(work: Arc<Work>) -> Option<Burst> {
        let calls = 0..work.calls.len();
        (!calls.is_empty()).then_some(Burst { work, calls })
    }

    /// The shared part.
    pub(crate) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// How many calls are left.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Takes the first call.
    pub(crate) fn pop(&mut self) -> Option<Call> {
        self.calls.next().map(|at| self.work.calls[at])
    }

    /// The calls left.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.work.calls[self.calls.clone()]
    }

    /// Gives all calls left away; this burst is empty then.
    pub(crate) fn split(&mut self) -> Option<Burst> {
        let rest = std::mem::replace(&mut self.calls, 0..0);
        (!rest.is_empty()).then(|| Burst { work: Arc::clone(&self.work), calls: rest })
    }

    /// The shared part, of which this may have been the last user.
    pub(crate) fn into_work(self) -> Arc<Work> {
        self.work
    }
}
