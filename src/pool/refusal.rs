//! Replies to admitted calls that are refused without being run: displaced in a full queue, in a deadlock of nested
//! calls, or still queued when a server stops while its workers are stuck.
//!
//! Displacement: only the listener admits and displaces calls, so a queue that it found full stays full until it has
//! made room. Which connection loses a call is the listener's decision; whether the listener or a worker answers that
//! call is decided under the lock of the connection's queue.

use super::buffered_replies::{BufferedReplies, WorkerReply};
use super::burst::ReplySink;
use super::port::{PortShared, micros};
use super::queue::Displaced;
use super::shared::Shared;
use crate::proto::{Call, reply};
use crate::service::{Refusal, Status};
use crate::sync::{Arc, Ordering, now};
use crate::wire::ReplyPrelude;
use std::time::Instant;

impl PortShared {
    /// Takes the youngest waiting call of a connection out of the queue if it has more than `most` there.
    pub(crate) fn displace(&self, shared: &Shared, sink: &dyn ReplySink, most: usize) -> Option<Displaced> {
        self.queue.displace(sink, most, &shared.service_times)
    }

    /// Refuses displaced calls of one connection.
    pub(crate) fn refuse_displaced(
        &self,
        shared: &Shared,
        sink: &dyn ReplySink,
        displaced: impl IntoIterator<Item = Displaced>,
    ) {
        const STATUS: Status = Status::QueueFull;
        let (now, mut replies) = (now(), BufferedReplies::default());
        let wait = self.forecast(shared, sink, false).wait(0);
        let refusal = Refusal::new(STATUS, STATUS.text()).retry_after(wait);
        for Displaced { work, call } in displaced {
            self.stats.displaced.add(1);
            self.refuse(&call, &refusal, self.waits(&work, now), &mut replies, now);
            self.recycle(work);
        }
        self.send(&mut replies, sink);
    }

    /// Refuses all queued calls, for a server that stops while its workers are stuck.
    pub(crate) fn refuse_queued(&self, shared: &Shared) {
        let refusal = Refusal::new(Status::Draining, Status::Draining.text());
        let mut replies = BufferedReplies::default();
        while let Some(mut burst) = self.queue.take_to_refuse() {
            if burst.len() > 1 {
                self.queue.change_exposed(-1);
            }
            let (work, now) = (Arc::clone(burst.work()), now());
            while let Some(call) = burst.pop().map(|call| &work.calls[call]) {
                if shared.nested.claims(&work, call) {
                    self.refuse(call, &refusal, self.waits(&work, now), &mut replies, now);
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            if let Some(sink) = &work.sink {
                self.send(&mut replies, sink.as_ref());
            }
        }
    }

    /// Refuses one call of a deadlock, which waited since `received`.
    pub(super) fn refuse_deadlocked(
        &self,
        call: &Call,
        sink: &dyn ReplySink,
        message: String,
        received: Instant,
        now: Instant,
    ) {
        let queue_wait_us = micros(now.saturating_duration_since(received));
        let times = ReplyPrelude { queue_wait_us, ..ReplyPrelude::default() };
        let mut replies = BufferedReplies::default();
        self.refuse(call, &Refusal::new(Status::NestedDeadlock, message), times, &mut replies, now);
        self.send(&mut replies, sink);
    }

    /// Counts a call as refused and adds its reply.
    fn refuse(
        &self,
        call: &Call,
        refusal: &Refusal,
        times: ReplyPrelude,
        replies: &mut BufferedReplies,
        now: Instant,
    ) {
        let mut answer = WorkerReply::unrun(call.method, refusal.status);
        self.methods.refused(call.method, refusal.status);
        reply(call.id, call.codec, &mut answer.bytes, |out| {
            refusal.encode(call.codec, out);
            (refusal.status, times)
        });
        replies.add(&mut answer, now);
    }

    /// The refusal of a call that its worker does not run.
    pub(super) fn worker_refusal(&self, status: Status, shared: &Shared, sink: &dyn ReplySink) -> Refusal {
        let refusal = Refusal::new(status, status.text());
        if status != Status::Overloaded {
            return refusal;
        }
        refusal.retry_after(self.forecast(shared, sink, false).wait(0))
    }
}
