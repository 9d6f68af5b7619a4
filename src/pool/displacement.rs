//! Calls that make room in a full queue: of who has the most there, for who has less.
//!
//! The listener alone lets calls in and displaces them, so what it found to be full stays so until it has. Whom it
//! takes a call from it alone decides; who answers a call, its worker or this, the connection's lane decides, under its
//! lock.

use super::worker_slot::{BufferedReplies, WorkerReply};
use super::{Displaced, PortShared, ReplySink, Shared};
use crate::proto::reply;
use crate::service::{Refusal, Status};
use crate::sync::now;

impl PortShared {
    /// Takes the youngest call of a connection out of the queue if it has more than `most` there.
    pub(crate) fn displace(&self, shared: &Shared, outlet: &dyn ReplySink, most: usize) -> Option<Displaced> {
        self.queue.displace(outlet, most, &shared.paces)
    }

    /// Answers calls of one connection that were displaced.
    pub(crate) fn answer_displaced(
        &self,
        shared: &Shared,
        outlet: &dyn ReplySink,
        displaced: impl IntoIterator<Item = Displaced>,
    ) {
        const STATUS: Status = Status::QueueFull;
        let (now, mut held) = (now(), BufferedReplies::default());
        let wait = self.forecast(shared, outlet, false).wait(0);
        let refusal = Refusal::new(STATUS, STATUS.text()).retry_after(wait);
        for Displaced { work, call, .. } in displaced {
            let mut answer = WorkerReply::refusal(call.method, STATUS);
            self.methods.refused(call.method, STATUS);
            self.stats.displaced.add(1);
            reply(call.id, call.codec, &mut answer.bytes, |out| {
                refusal.encode(call.codec, out);
                (STATUS, self.waits(&work, now))
            });
            held.add(&mut answer, now);
            self.recycle(work);
        }
        held.send(outlet, self);
    }
}
