//! Input and output of [`ServerProtocol::receive`](super::ServerProtocol::receive).

use super::call::Call;
use super::frames;
use crate::admission::{ANSWERS_MAX, Admission, Answered, Forecast, ReceivedChain};
use crate::metrics::{Batch, CloseReason, MethodsStats, PortStats};
use crate::service::{Refusal, Status};
use crate::sync::Arc;
use crate::wire::{Codec, Header};
use std::time::{Duration, Instant};

/// State of the port when bytes arrive, and its limits.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveContext<'a> {
    /// The Welcome as bytes.
    pub welcome: &'a [u8],
    /// Largest body of a Call, in bytes.
    pub body_bytes_max: usize,
    /// Decides which clients and calls are accepted.
    pub admission: Admission<'a>,
    /// Calls that this connection may still have in flight. At 0 nothing more is consumed.
    pub window_room: usize,
    /// When the bytes were read: deadlines count from here.
    pub arrived: Instant,
    /// The time now; later than `arrived` if the bytes had to wait for the window.
    pub now: Instant,
    /// Counters of calls and refusals.
    pub stats: &'a PortStats,
    /// Counters of refusals by method.
    pub methods: &'a MethodsStats,
}

/// Results of one [`ServerProtocol::receive`](super::ServerProtocol::receive). Reused, so that calls need no
/// allocation.
#[derive(Debug, Default)]
pub struct Received {
    /// Admitted calls; their arguments are ranges of the received bytes.
    pub calls: Vec<Call>,
    /// Frames to send at once.
    pub replies: Vec<u8>,
    /// Ids of calls that the peer cancelled.
    pub cancels: Vec<u64>,
    /// Chains of the admitted calls that have one.
    pub chains: Vec<Arc<ReceivedChain>>,
    /// Frames of this read that were answered or executed here, not by a worker.
    pub answered: u32,
    /// Of these, calls refused for the server's load, not for an error in them.
    by_load: u32,
    /// Time for which the connection must not be read.
    pub put_off: Option<Duration>,
    /// Likely cost of the admitted calls, in nanoseconds.
    pub(super) cost_ns: u64,
    /// When the queue was last found full, and until when it is not likely to have been emptied.
    found_full: Option<(Instant, Instant)>,
    /// Counts that are not yet in the port's counters.
    counts: ReceivedCounts,
}

/// Calls that arrived complete, and refusals of them: added to the shared counters once for each read.
#[derive(Debug, Default)]
struct ReceivedCounts {
    calls: u64,
    refusals: Batch<{ Status::ALL.len() }>,
}

impl Received {
    /// Returns whether the read has reached the limit on frames answered here. The rest is for a later turn.
    pub fn is_turn_over(&self) -> bool {
        self.answered >= ANSWERS_MAX || self.put_off.is_some()
    }

    /// Prepares for the next read.
    pub(super) fn begin(&mut self) {
        (self.cost_ns, self.answered, self.by_load, self.put_off) = (0, 0, 0, None);
    }

    /// Counts a complete call.
    pub(super) fn count_call(&mut self) {
        self.counts.calls += 1;
    }

    /// Adds what this read counted to the port's counters, calls first: no reader sees more answers than calls.
    pub(super) fn flush_counts(&mut self, stats: &PortStats) {
        if self.counts.calls > 0 {
            stats.calls.add(std::mem::take(&mut self.counts.calls));
            stats.answers.add_all(&mut self.counts.refusals);
        }
    }

    /// Frames to charge to the connection's allowance. A client whose calls are refused for load may well cancel as
    /// many that have timed out: those are excused.
    pub(super) fn answered(&self) -> Answered {
        let excused = self.by_load.min(self.cancels.len() as u32);
        Answered { all: self.answered, by_load: (self.by_load + excused).min(self.answered) }
    }

    /// Refuses a call with a Reply, and counts it.
    pub(super) fn refuse(&mut self, header: &Header, refusal: &Refusal, context: &ReceiveContext<'_>) {
        context.methods.refused(header.code, refusal.status);
        self.counts.refusals.add(refusal.status.index());
        self.answered += 1;
        self.by_load += u32::from(is_by_load(refusal.status));
        if refusal.status == Status::QueueFull {
            self.found_full(context);
        }
        frames::refusal(header.call, Codec::of(header.flags), refusal, &mut self.replies);
    }

    /// Counts that a call found the queue full. Calls that find it full before it can have been emptied belong to one
    /// event: with so many places more, none of them would have been refused.
    pub(super) fn found_full(&mut self, context: &ReceiveContext<'_>) {
        let Forecast { queue_ns, workers, calls, .. } = context.admission.view.forecast(false);
        // Calls of earlier reads may have left the queue sooner than was likely.
        let anew = |(found, until)| context.now != found && (calls == 0 || context.now > until);
        if self.found_full.is_none_or(anew) {
            context.stats.queue_filled.add(1);
        }
        let turn = Duration::from_nanos((queue_ns + self.cost_ns) / workers.max(1));
        self.found_full = Some((context.now, context.now + turn));
    }
}

/// Returns whether the status means that the server cannot run the call now.
fn is_by_load(status: Status) -> bool {
    use Status::{
        BuffersFull, ClientLimit, DeadlineExceeded, Draining, MethodLimit, Overloaded, QueueFull,
        SessionClosed, WouldBeLate,
    };
    matches!(
        status,
        QueueFull
            | BuffersFull
            | WouldBeLate
            | Overloaded
            | MethodLimit
            | ClientLimit
            | DeadlineExceeded
            | Draining
            | SessionClosed
    )
}

/// The connection must be closed for this reason, after the replies in the [`Received`] were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolClose(pub CloseReason);
