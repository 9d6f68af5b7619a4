//! Replies that a worker has made and not yet sent: kept together while more calls of the burst are at hand, so that
//! one system call sends many.

use super::burst::ReplySink;
use super::queue::Queue;
use crate::metrics::{Batch, CallRecord, EnumCounters, Parts};
use crate::service::Status;
use std::time::{Duration, Instant};

/// Replies are sent when they are this many bytes together, though more calls are at hand.
const BYTES_MAX: usize = 64 << 10;

/// Capacity kept for the next replies once these are sent: a worker has three such buffers for good.
const BYTES_KEPT: usize = 128 << 10;

/// Replies are sent when the first of them is this old, though more calls are at hand.
const AGE_MAX: Duration = Duration::from_micros(50);

/// The reply to one call; empty when there is none.
#[derive(Debug)]
pub(super) struct WorkerReply {
    pub(super) bytes: Vec<u8>,
    pub(super) record: CallRecord,
}

impl WorkerReply {
    /// No reply.
    pub(super) fn none() -> WorkerReply {
        WorkerReply::unrun(0, Status::Ok)
    }

    /// The reply, still to be written, to a call that is not run.
    pub(super) fn unrun(method: u16, status: Status) -> WorkerReply {
        WorkerReply {
            bytes: Vec::new(),
            record: CallRecord { method, status, ran: false, times_ns: Parts::default() },
        }
    }
}

/// Counters of a port's answers, by [`Status::index`].
type AnswerCounters = EnumCounters<{ Status::ALL.len() }>;

/// Replies not yet sent, nor counted.
#[derive(Debug, Default)]
pub(super) struct BufferedReplies {
    bytes: Vec<u8>,
    answers: usize,
    statuses: Batch<{ Status::ALL.len() }>,
    /// When they must be sent; `None` while there are none.
    due: Option<Instant>,
}

impl BufferedReplies {
    pub(super) fn is_empty(&self) -> bool {
        self.answers == 0
    }

    /// Sends the replies, if any. Counts them first, so that a client with an answer finds it counted.
    pub(super) fn send(&mut self, sink: &dyn ReplySink, counters: &AnswerCounters, queue: &Queue) {
        if self.answers > 0 {
            counters.add_all(&mut self.statuses);
            sink.send(&mut self.bytes, self.answers);
            queue.answered(self.answers);
            self.bytes.shrink_to(BYTES_KEPT);
            (self.answers, self.due) = (0, None);
        }
    }

    /// Adds a reply, leaving `reply` empty.
    pub(super) fn add(&mut self, reply: &mut WorkerReply, now: Instant) {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, &mut reply.bytes);
        } else {
            self.bytes.append(&mut reply.bytes);
        }
        self.answers += 1;
        self.statuses.add(reply.record.status.index());
        self.due.get_or_insert_with(|| now + AGE_MAX);
    }

    /// Returns whether they must be sent now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now > due) || self.bytes.len() > BYTES_MAX
    }
}
