//! What a worker has before it while it runs one call of a burst: the calls behind it and the replies before it.
//!
//! A worker keeps both back only while it expects to be done with all of them at once. Should a handler turn out
//! slow, the listener comes and takes both: the rest for another worker, the replies for their client. So a wrong
//! guess costs a millisecond or two, not the handler's time. A handler that says that it waits costs nobody anything:
//! its worker gives both away before.

use super::{Burst, PortShared, ReplySink, Shared, Work};
use crate::admission::{ReceivedChain, TURN_NS_MAX};
use crate::metrics::{Batch, CallRecord, LocalStats, MethodsStats, Parts};
use crate::proto::Call;
use crate::service::Status;
use crate::sync::{Arc, Mutex};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A call that runs longer than this is no longer waited for.
const SLOW_AFTER: Duration = Duration::from_millis(1);

/// Replies are sent when they are this many bytes together, though more calls are at hand.
const HELD_BYTES_MAX: usize = 64 << 10;

/// A buffer above this is given back once its replies are sent: a worker has three of them for good.
const HELD_BYTES_KEPT: usize = 128 << 10;

/// Replies are sent when the first of them is this old, though more calls are at hand.
const HELD_AGE_MAX: Duration = Duration::from_micros(50);

/// A turn ends after this when others wait: for this port's workers, or for a permit.
const TURN_MAX: Duration = Duration::from_nanos(TURN_NS_MAX);

/// Shared between its worker, call by call, and the listener, rarely. Aligned, so that no two workers write to one line
/// of memory (of which processors fetch two at once).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WorkerSlot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    burst: Option<Burst>,
    held: BufferedReplies,
    running: Option<Running>,
    /// When others have their turn.
    end: Option<Instant>,
    records: LocalStats,
}

/// The call that a worker runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    /// Which of its work's.
    call: usize,
    started: Instant,
    doing: Activity,
    /// Since when it has done so.
    since: Instant,
    /// It was told of as long.
    told: bool,
}

/// What a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Runs, with a permit.
    Running,
    /// Waits, without one.
    Blocked,
    /// Has waited, and stands in line for one.
    Returning,
}

/// A transaction that runs.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Which call of its connection.
    pub(crate) call: Call,
    /// Whose.
    pub(crate) peer: SocketAddr,
    /// For how long.
    pub(crate) ran: Duration,
    /// What its handler does.
    pub(crate) doing: Activity,
    /// For how long it has done so.
    pub(crate) since: Duration,
    /// What it was called for, if a handler made it.
    pub(crate) chain: Option<Arc<ReceivedChain>>,
}

impl State {
    /// The next call, and the calls behind it if they are not to wait for it.
    #[inline]
    fn next(
        &mut self,
        work: &Work,
        now: Instant,
        port: &PortShared,
        shared: &Shared,
    ) -> Option<(Step, Option<Burst>)> {
        let burst = self.burst.as_mut()?;
        let call = burst.pop()?;
        let slow = !shared.paces.is_short(work.calls[call].method);
        let over = self.end.is_some_and(|end| now > end)
            && (port.queue.others_wait() || shared.throttle.others_starve(port.index));
        let rest = if slow || over { burst.split() } else { None };
        self.running =
            Some(Running { call, started: now, doing: Activity::Running, since: now, told: false });
        let due = self.held.answers > 0 && (slow || self.held.is_due(now));
        Some((Step { call, slow, due }, rest))
    }

    fn progress(&self, now: Instant) -> Option<Progress> {
        let (running, work) = (self.running?, self.burst.as_ref()?.work());
        let call = work.calls[running.call];
        Some(Progress {
            call,
            peer: work.outlet.as_ref()?.peer(),
            ran: now.saturating_duration_since(running.started),
            doing: running.doing,
            since: now.saturating_duration_since(running.since),
            chain: work.chain(&call).map(Arc::clone),
        })
    }
}

/// The reply to one call; empty when there is none.
#[derive(Debug)]
pub(super) struct WorkerReply {
    pub(super) bytes: Vec<u8>,
    pub(super) record: CallRecord,
}

impl WorkerReply {
    /// None.
    pub(super) fn none() -> WorkerReply {
        WorkerReply::refusal(0, Status::Ok)
    }

    /// Still to be written, of a call that is not run.
    pub(super) fn refusal(method: u16, status: Status) -> WorkerReply {
        WorkerReply {
            bytes: Vec::new(),
            record: CallRecord { method, status, ran: false, times_ns: Parts::default() },
        }
    }
}

/// Replies not yet sent, nor counted.
#[derive(Debug, Default)]
pub(super) struct BufferedReplies {
    bytes: Vec<u8>,
    answers: usize,
    statuses: Batch<{ Status::ALL.len() }>,
    /// When they must leave; `None` while there are none.
    due: Option<Instant>,
}

impl BufferedReplies {
    /// Sends what is held, if anything. Counted first: who has an answer finds it in the counts.
    pub(super) fn send(&mut self, outlet: &dyn ReplySink, port: &PortShared) {
        if self.answers > 0 {
            port.stats.answers.add_all(&mut self.statuses);
            outlet.send(&mut self.bytes, self.answers);
            port.queue.answered(self.answers);
            self.bytes.shrink_to(HELD_BYTES_KEPT);
            (self.answers, self.due) = (0, None);
        }
    }

    /// Takes a reply in, leaving `reply` empty.
    pub(super) fn add(&mut self, reply: &mut WorkerReply, now: Instant) {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, &mut reply.bytes);
        } else {
            self.bytes.append(&mut reply.bytes);
        }
        self.answers += 1;
        self.statuses.add(reply.record.status.index());
        self.due.get_or_insert_with(|| now + HELD_AGE_MAX);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now > due) || self.bytes.len() > HELD_BYTES_MAX
    }
}

/// The next call of a turn.
pub(super) struct Step {
    /// Which of its work's.
    pub(super) call: usize,
    /// It is not known to be short.
    pub(super) slow: bool,
    /// Replies to be sent before it is run.
    pub(super) due: bool,
}

impl WorkerSlot {
    /// Begins with a burst of `work`, whose first call it gives.
    pub(super) fn begin(
        &self,
        burst: Burst,
        work: &Work,
        now: Instant,
        port: &PortShared,
        shared: &Shared,
    ) -> Option<Step> {
        let mut state = self.0.lock();
        (state.burst, state.end) = (Some(burst), Some(now + TURN_MAX));
        let (step, rest) = state.next(work, now, port, shared)?;
        drop(state);
        give_back(rest, port, shared);
        Some(step)
    }

    /// Takes in the reply to the call before and gives the next one of `work`, which this turn began with. `None` at
    /// the end of the burst or when the rest was taken away: the turn has ended, and all replies not yet sent are in
    /// `last`.
    ///
    /// A call not known to be short makes what waits around it due: the replies before it, and the calls behind
    /// it, which are given back to the queue.
    pub(super) fn step(
        &self,
        work: &Work,
        (reply, last): (&mut WorkerReply, &mut BufferedReplies),
        now: Instant,
        port: &PortShared,
        shared: &Shared,
    ) -> Option<Step> {
        let mut state = self.0.lock();
        if !reply.bytes.is_empty() {
            state.records.add(&reply.record, &port.methods);
            state.held.add(reply, now);
        }
        let Some((step, rest)) = state.next(work, now, port, shared) else {
            debug_assert!(last.answers == 0 && last.bytes.is_empty());
            std::mem::swap(&mut state.held, last);
            (state.running, state.burst) = (None, None);
            return None;
        };
        drop(state);
        give_back(rest, port, shared);
        Some(step)
    }

    /// Takes the held replies, leaving `spare` in their place.
    pub(super) fn take_held(&self, spare: &mut BufferedReplies) {
        debug_assert!(spare.answers == 0 && spare.bytes.is_empty());
        std::mem::swap(&mut self.0.lock().held, spare);
    }

    /// Adds what was gathered of the calls answered so far to the methods' counters.
    pub(super) fn gather(&self, stats: &MethodsStats) {
        self.0.lock().records.hand_over(stats);
    }

    /// The running call's handler does something else from now on.
    pub(super) fn set_doing(&self, doing: Activity, now: Instant) {
        if let Some(running) = &mut self.0.lock().running {
            (running.doing, running.since) = (doing, now);
        }
    }

    /// The running call.
    pub(super) fn progress(&self, now: Instant) -> Option<Progress> {
        self.0.lock().progress(now)
    }

    /// The running call if it has run longer than `limit` and was not told of yet.
    pub(super) fn long(&self, limit: Duration, now: Instant) -> Option<Progress> {
        let mut state = self.0.lock();
        let long = state.progress(now).filter(|progress| progress.ran > limit)?;
        let running = state.running.as_mut().filter(|running| !running.told)?;
        running.told = true;
        Some(long)
    }

    /// Called by the listener. See the head of this file.
    pub(super) fn rescue(&self, port: &PortShared, shared: &Shared, now: Instant) -> bool {
        self.let_go_if(port, shared, |running| now.saturating_duration_since(running.started) >= SLOW_AFTER)
    }

    /// Called by the worker whose handler is about to wait: nothing is to wait with it.
    pub(super) fn let_go(&self, port: &PortShared, shared: &Shared, now: Instant) {
        self.let_go_if(port, shared, |running| {
            (running.doing, running.since) = (Activity::Blocked, now);
            true
        });
    }

    /// Gives both away if such a call runs. Returns whether there was anything.
    fn let_go_if(&self, port: &PortShared, shared: &Shared, due: impl FnOnce(&mut Running) -> bool) -> bool {
        let mut state = self.0.lock();
        if !state.running.as_mut().is_some_and(due) {
            return false;
        }
        let rest = state.burst.as_mut().and_then(Burst::split);
        let mut held = std::mem::take(&mut state.held);
        let outlet = state.burst.as_ref().and_then(|burst| burst.work().outlet.clone());
        drop(state);
        let found = rest.is_some() || held.answers > 0;
        give_back(rest, port, shared);
        if let Some(outlet) = outlet {
            held.send(outlet.as_ref(), port);
        }
        found
    }
}

fn give_back(rest: Option<Burst>, port: &PortShared, shared: &Shared) {
    if let Some(rest) = rest {
        port.queue.give_back(rest, &shared.paces);
    }
}
