//! Maintenance of a port, done by its listener now and then while calls wait or run: gives away what is kept back
//! behind slow handlers, reports long transactions, and registers nested calls.

use super::burst::{ReplySink, Work};
use super::nested::{Nested, QueuedNested};
use super::shared::{PortShared, Shared};
use crate::proto::Call;
use crate::service::ClientId;
use crate::sync::Arc;
use log::Level;
use std::time::{Duration, Instant};

impl PortShared {
    /// Before the listener queues the calls of one read: puts the calls that handlers of this server made behind the
    /// others, and registers them for the detection of deadlocks.
    pub(crate) fn register_nested(&self, work: &mut Work, sink: &Arc<dyn ReplySink>, nested: &Nested) {
        let Work { calls, chains, nested_from, received, .. } = work;
        calls.sort_by_key(Call::is_nested);
        *nested_from = calls.partition_point(|call| !call.is_nested());
        for call in &calls[*nested_from..] {
            if let Some(chain) = call.chain().and_then(|at| chains.get(at)) {
                let (port, call, received) = (self.index, *call, *received);
                let (chain, sink) = (Arc::clone(chain), Arc::clone(sink));
                nested.queue(QueuedNested { port, line: None, call, chain, sink, received });
            }
        }
    }

    /// While calls run: logs and counts, once each, those that have run longer than `limit`.
    pub(crate) fn report_long_calls(&self, shared: &Shared, limit: Duration, now: Instant) {
        for long in self.running_calls_by(shared, |slot| slot.take_long(limit, now)) {
            if shared.services.log_limiter().allows(Level::Warn, ClientId::of(long.peer.ip()), now) {
                log::warn!("{long} (Server_Long_Transaction={})", limit.as_secs());
            }
            // Counted afterwards, so that a reader of the count finds the line in the log.
            self.stats.long_transactions.add(1);
        }
    }

    /// While calls wait: takes what is kept back behind a handler that turned out to be slow, counts its worker as
    /// engaged so that the next calls do not wait for it, and wakes a worker for what was taken, and for what is in a
    /// queue that has not `moved` meanwhile. Returns whether it found anything to do.
    pub(crate) fn rescue_stalled(&self, shared: &Shared, moved: bool, now: Instant) -> bool {
        let mut found = false;
        for slot in &self.slots {
            let engage = || {
                self.queue.change_engaged(1);
                found = true;
            };
            if let Some(released) = slot.release_slow(now, engage) {
                self.give_away(shared, released);
                found = true;
            }
        }
        if (found || !moved) && !self.queue.is_empty() {
            found |= shared.throttle.wake_one(self.index);
        }
        found
    }
}
