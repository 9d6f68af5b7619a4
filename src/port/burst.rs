//! What travels from a listener to a worker: all calls of one read together, in a recycled buffer.
//!
//! No allocation per call: the buffer and the list go round. A burst can be split: whoever holds the front may
//! give the rest away, both sharing the bytes.

use crate::service::Caller;
use crate::sync::Arc;
use crate::wire::Codec;
use std::ops::Range;
use std::time::Instant;

/// Where replies go: a connection as the pool sees it.
pub trait Outlet: Caller {
    /// Sends `replies`, which answer `answers` calls, and leaves the buffer empty. Does not block: what the
    /// socket does not take stays with the connection.
    fn send(&self, replies: &mut Vec<u8>, answers: usize);
}

/// One call as admitted: everything but its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Chosen by the caller.
    pub id: u64,
    /// The caller waits no longer than this.
    pub deadline: Option<Instant>,
    /// Session on its connection.
    pub session: u32,
    /// Number of the method; known to exist.
    pub method: u16,
    /// How arguments and result are written.
    pub codec: Codec,
    arguments: (u32, u32),
}

impl Call {
    pub(crate) fn new(id: u64, method: u16, codec: Codec, session: u32, deadline: Option<Instant>) -> Call {
        Call { id, deadline, session, method, codec, arguments: (0, 0) }
    }

    /// Its arguments in the bytes it was cut from.
    pub fn arguments_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.arguments.0 as usize..self.arguments.1 as usize]
    }

    /// Where its arguments end in the bytes it was cut from.
    pub fn arguments_end(&self) -> usize {
        self.arguments.1 as usize
    }

    pub(super) fn at(self, arguments: Range<usize>) -> Call {
        let offset = |at: usize| u32::try_from(at).expect("a buffer is far smaller than 4 GiB");
        Call { arguments: (offset(arguments.start), offset(arguments.end)), ..self }
    }
}

/// Calls of one read, their bytes, and where their replies go. Shared by the parts of a split burst.
pub struct Work {
    /// What the calls point into; with bytes of earlier use behind it.
    pub bytes: Vec<u8>,
    /// The calls, in the order of their arrival.
    pub calls: Vec<Call>,
    /// The connection; `None` while the buffers wait to be used again.
    pub outlet: Option<Arc<dyn Outlet>>,
    /// When the last byte of the calls was read.
    pub received: Instant,
    /// The port's permit-wait clock at that time, in microseconds.
    pub permit_clock_us: u64,
}

impl Work {
    /// Empty buffers.
    pub fn new(now: Instant) -> Work {
        Work { bytes: Vec::new(), calls: Vec::new(), outlet: None, received: now, permit_clock_us: 0 }
    }

    /// The arguments of a call of this work.
    pub fn arguments(&self, call: &Call) -> &[u8] {
        call.arguments_in(&self.bytes)
    }

    /// Ready to be used again: keeps no connection alive and no buffer above `bytes_kept`. The bytes stay, so that
    /// the buffer can be read into without being filled with zeros first.
    pub fn clear(&mut self, bytes_kept: usize) {
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
pub struct Burst {
    work: Arc<Work>,
    calls: Range<usize>,
}

impl Burst {
    /// All calls of `work`; `None` when there are none.
    pub fn new(work: Arc<Work>) -> Option<Burst> {
        let calls = 0..work.calls.len();
        (!calls.is_empty()).then_some(Burst { work, calls })
    }

    /// The shared part.
    pub fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// How many calls are left.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Is no call left?
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes the first call.
    pub fn pop(&mut self) -> Option<Call> {
        self.calls.next().map(|at| self.work.calls[at])
    }

    /// The calls left.
    pub fn calls(&self) -> &[Call] {
        &self.work.calls[self.calls.clone()]
    }

    /// Gives all calls left away; this burst is empty then.
    pub fn split(&mut self) -> Option<Burst> {
        let rest = std::mem::replace(&mut self.calls, 0..0);
        (!rest.is_empty()).then(|| Burst { work: Arc::clone(&self.work), calls: rest })
    }

    /// The shared part, of which this may have been the last user.
    pub fn into_work(self) -> Arc<Work> {
        self.work
    }
}
