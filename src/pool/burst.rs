//! Burst of calls on its way from a listener to a worker: all calls of one read together, in a recycled buffer.
//!
//! No allocation per call: buffer and list are reused. A burst can be split: the worker that holds it can give the rest
//! away, and both parts share the bytes.

use super::buffers::{BufferLease, Buffers};
use super::connection_queue::ConnectionQueue;
use crate::admission::ReceivedChain;
use crate::proto::Call;
use crate::service::Peer;
use crate::sync::Arc;
use std::ops::Range;
use std::time::Instant;

/// Where replies go: a connection as the pool sees it.
pub(crate) trait ReplySink: Peer {
    /// Its waiting bursts: those of the calls that handlers of this server made, or of the others.
    fn queue(&self, nested: bool) -> &ConnectionQueue<Burst>;

    /// Sends `replies`, which answer `answers` calls, and leaves the buffer empty. Does not block: what the
    /// socket does not take stays with the connection.
    fn send(&self, replies: &mut Vec<u8>, answers: usize);
}

/// Calls of one read, their bytes, and where their replies go. Shared by the parts of a split burst.
pub(crate) struct Work {
    /// The bytes that the calls point into; behind them may be bytes of earlier use.
    pub(crate) bytes: Vec<u8>,
    /// The calls, in the order of their arrival.
    pub(crate) calls: Vec<Call>,
    /// Chains of those calls that have one.
    pub(crate) chains: Vec<Arc<ReceivedChain>>,
    /// Index of the first call that a handler of this server made; those before it were made by clients.
    pub(crate) nested_from: usize,
    /// The connection; `None` while the buffers are spare.
    pub(crate) sink: Option<Arc<dyn ReplySink>>,
    /// When the last byte of the calls was read.
    pub(crate) received: Instant,
    /// The port's permit-wait clock at that time, in microseconds.
    pub(crate) permit_clock_us: u64,
    /// Counts the bytes while calls point into them.
    pub(crate) lease: BufferLease,
}

impl Work {
    /// Empty buffers, whose bytes will be counted in `buffers`.
    pub(crate) fn new(buffers: &Arc<Buffers>, now: Instant) -> Work {
        Work {
            bytes: Vec::new(),
            calls: Vec::new(),
            chains: Vec::new(),
            nested_from: usize::MAX,
            sink: None,
            received: now,
            permit_clock_us: 0,
            lease: BufferLease::new(buffers),
        }
    }

    /// The chain of a call of this work, if a handler made it.
    pub(crate) fn chain(&self, call: &Call) -> Option<&Arc<ReceivedChain>> {
        self.chains.get(call.chain()?)
    }

    /// Its connection. Not for spare buffers.
    pub(super) fn sink(&self) -> &Arc<dyn ReplySink> {
        self.sink.as_ref().expect("the calls of a burst have a connection")
    }

    /// Makes the buffers spare: keeps no connection alive and no buffer above `bytes_kept`. The bytes stay, so that
    /// the buffer can be read into without being filled with zeros first.
    pub(crate) fn clear(&mut self, bytes_kept: usize) {
        self.sink = None;
        self.calls.clear();
        self.chains.clear();
        self.nested_from = usize::MAX;
        if self.bytes.capacity() > bytes_kept {
            self.bytes = Vec::new();
        }
        self.lease.set(0);
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

/// Calls of a [`Work`] that are still to be run. Never empty while it waits in a queue.
#[derive(Debug)]
pub(crate) struct Burst {
    work: Arc<Work>,
    /// Indices; a window has few, and a small burst is copied with each call.
    calls: Range<u32>,
    origin: BurstOrigin,
}

/// Where a burst comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BurstOrigin {
    /// The listener.
    Read,
    /// The line of its method: the time since it was read says nothing about the queue.
    Line,
    /// The same, and a place is kept for it.
    Recalled,
}

impl Burst {
    /// All calls of `work`: those that clients made, and those that handlers of this server made.
    pub(crate) fn split_work(work: Arc<Work>) -> impl Iterator<Item = Burst> {
        let (all, middle) = (index(work.calls.len()), index(work.nested_from.min(work.calls.len())));
        let parts = [0..middle, middle..all].into_iter().filter(|calls| !calls.is_empty());
        parts.map(move |calls| Burst { work: Arc::clone(&work), calls, origin: BurstOrigin::Read })
    }

    /// One call of `work` alone, for the line of its method.
    pub(super) fn for_line(work: Arc<Work>, call: usize) -> Burst {
        Burst { work, calls: index(call)..index(call + 1), origin: BurstOrigin::Line }
    }

    pub(super) fn origin(&self) -> BurstOrigin {
        self.origin
    }

    pub(super) fn set_origin(&mut self, origin: BurstOrigin) {
        self.origin = origin;
    }

    /// Returns whether its calls were made by handlers of this server.
    pub(crate) fn is_nested(&self) -> bool {
        self.first() >= self.work.nested_from
    }

    /// The shared part.
    pub(crate) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// Number of calls left.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Index of the first call in the [`Work`].
    pub(super) fn first(&self) -> usize {
        self.calls.start as usize
    }

    /// Takes the first call and returns its index in the [`Work`].
    pub(crate) fn pop(&mut self) -> Option<usize> {
        self.calls.next().map(|call| call as usize)
    }

    /// Takes the last call.
    pub(super) fn pop_back(&mut self) -> Option<Call> {
        let last = self.calls.next_back()?;
        Some(self.work.calls[last as usize])
    }

    /// The calls left.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.work.calls[self.calls.start as usize..self.calls.end as usize]
    }

    /// Gives all calls left away; this burst is empty then.
    pub(crate) fn split(&mut self) -> Option<Burst> {
        let rest = std::mem::replace(&mut self.calls, 0..0);
        (!rest.is_empty()).then(|| Burst {
            work: Arc::clone(&self.work),
            calls: rest,
            origin: BurstOrigin::Read,
        })
    }
}

fn index(call: usize) -> u32 {
    u32::try_from(call).expect("a work has few calls")
}
