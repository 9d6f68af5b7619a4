//! Replies to admitted calls that are refused without being run: displaced in a full queue, in a deadlock of nested
//! calls, or still queued when a server stops while its workers are stuck.
//!
//! Displacement: only the listener admits and displaces calls, so a queue that it found full stays full until it has
//! made room. Which connection loses a call is the listener's decision; whether the listener or a worker answers that
//! call is decided under the lock of the connection's queue.

use super::buffered_replies::{BufferedReplies, WorkerReply};
use super::burst::{BurstOrigin, ReplySink};
use super::nested::{DeadlockedPool, FullMethod, QueuedNested, describe_line};
use super::queue::Displaced;
use super::shared::{PortShared, Shared, micros};
use crate::proto::{Call, reply};
use crate::service::{ClientId, Refusal, Status};
use crate::sync::{Arc, Ordering, now};
use crate::wire::ReplyPrelude;
use log::Level;
use std::time::Instant;

impl PortShared {
    /// Refuses displaced calls of one connection.
    pub(crate) fn refuse_displaced(
        &self,
        shared: &Shared,
        sink: &dyn ReplySink,
        displaced: impl IntoIterator<Item = Displaced>,
    ) {
        let (now, mut replies) = (now(), BufferedReplies::default());
        let wait = self.forecast(shared, sink, false).wait(0);
        let refusal = Refusal::from(Status::QueueFull).retry_after(wait);
        for Displaced { work, call } in displaced {
            self.stats.displaced.add(1);
            self.refuse(&call, &refusal, self.waits(&work, now), &mut replies, now);
            self.recycle(work);
        }
        self.send(&mut replies, sink);
    }

    /// Refuses all queued calls, for a server that stops while its workers are stuck.
    pub(crate) fn refuse_queued(&self, shared: &Shared) {
        shared.empty_lines();
        let refusal = Refusal::from(Status::Draining);
        let mut replies = BufferedReplies::default();
        while let Some(mut burst) = self.queue.take_to_refuse() {
            if burst.len() > 1 {
                self.queue.change_exposed(-1);
            }
            let (work, now, recalled) =
                (Arc::clone(burst.work()), now(), burst.origin() == BurstOrigin::Recalled);
            while let Some(call) = burst.pop().map(|call| &work.calls[call]) {
                if recalled {
                    shared.limits.renounce(call.method);
                }
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

    /// While nested calls wait: if this port is in a deadlock, refuses its innermost call, which frees the worker that
    /// waits for it.
    pub(crate) fn abort_deadlock(&self, shared: &Shared, now: Instant) {
        let pools = shared.throttle.pools();
        let lines = shared.limits.lines().into_iter().filter(|line| line.running >= line.limit.run);
        let full: Vec<_> =
            lines.map(|line| FullMethod { method: line.method, running: line.running }).collect();
        let Some(QueuedNested { line, call, chain, sink, received, .. }) =
            shared.nested.take_deadlocked(self.index, &pools, &full)
        else {
            return;
        };
        let pool = DeadlockedPool { port: &self.name, workers: pools[self.index], kept: self.queue.kept() };
        let method = shared.services.name(call.method);
        let describe = |path: &str| match line {
            Some(_) => describe_line(path, method),
            None => pool.describe(path, chain.depth()),
        };
        let last = format!("{} {method}", self.name);
        // The client gets the names of other servers' entries as it sent them; the log marks them as the client's word.
        if shared.services.log_limiter().allows(Level::Error, ClientId::of(sink.peer().ip()), now) {
            let path = [chain.names(), vec![last.clone()]].concat().join(" -> ");
            log::error!("nested deadlock: {}", describe(&path));
        }
        let message = describe(&chain.path(&last));
        let queue_wait_us = micros(now.saturating_duration_since(received));
        let times = ReplyPrelude { queue_wait_us, ..ReplyPrelude::default() };
        let mut replies = BufferedReplies::default();
        self.refuse(&call, &Refusal::new(Status::NestedDeadlock, message), times, &mut replies, now);
        self.send(&mut replies, sink.as_ref());
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
    pub(super) fn worker_refusal(
        &self,
        status: Status,
        method: u16,
        shared: &Shared,
        sink: &dyn ReplySink,
    ) -> Refusal {
        let refusal = Refusal::from(status);
        match status {
            Status::Overloaded => refusal.retry_after(self.forecast(shared, sink, false).wait(0)),
            Status::MethodLimit => refusal.retry_after(shared.line_forecast(method, false).wait),
            _ => refusal,
        }
    }
}
