//! Slot of a worker that it shares with the listener: the call it runs, the calls behind it, and the replies before it.
//!
//! A worker keeps both back only while it expects to finish all of them at once. If a handler turns out to be slow, the
//! listener takes both: the rest goes back to the queue for another worker, the replies to their client. So a wrong
//! guess costs a millisecond or two, not the handler's time. A handler that says that it waits costs the others
//! nothing: its worker gives both away before.
//!
//! Does not know the queue, the throttle or sockets: what has to be given away is returned.

use super::buffered_replies::{BufferedReplies, WorkerReply};
use super::burst::{Burst, ReplySink, Work};
use super::method_limits::MethodLimits;
use crate::admission::{ReceivedChain, TURN_NS_MAX};
use crate::metrics::{LocalStats, MethodsStats, ServiceTimes};
use crate::proto::Call;
use crate::sync::{Arc, Mutex};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A call that runs longer than this counts as slow: nothing waits behind it any longer. Under a model checker, whose
/// clock stands still, every call does that still runs when the listener looks.
const SLOW_AFTER: Duration = if cfg!(any(loom, shuttle)) { Duration::ZERO } else { Duration::from_millis(1) };

/// A worker's turn with one connection ends after this when others wait for this port's workers or for a permit.
const TURN_MAX: Duration = Duration::from_nanos(TURN_NS_MAX);

/// Locked by its worker, call by call, and by the listener, rarely. Aligned, so that no two workers write to one cache
/// line (of which processors fetch two at once).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WorkerSlot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    burst: Option<Burst>,
    replies: BufferedReplies,
    running: Option<Running>,
    /// The thread that runs it: [`Turn::thread`].
    thread: u32,
    /// When the turn ends if others wait.
    turn_end: Option<Instant>,
    stats: LocalStats,
}

/// The call that a worker runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    /// Its index in the work.
    call: usize,
    started: Instant,
    activity: Activity,
    /// When this activity began.
    since: Instant,
    /// It was reported as long.
    reported: bool,
    /// Its worker counts as engaged.
    engaged: bool,
    /// The listener counted it, since the call turned out to be slow.
    found_slow: bool,
    counted: Counted,
}

/// Whether a running call counts against a limit of its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    No,
    /// Its method was limited when it was taken: its worker asks for a place.
    FromStart,
    /// The limit was set while it ran.
    Adopted,
}

impl Running {
    /// The listener counted its worker as engaged.
    pub(super) fn is_found_slow(&self) -> bool {
        self.found_slow
    }

    /// It counts against a limit that was set while it ran.
    pub(super) fn is_adopted(&self) -> bool {
        self.counted == Counted::Adopted
    }
}

/// State of a running handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Runs, with a permit.
    Running,
    /// Waits, without one.
    Blocked,
    /// Waits for a permit after it has blocked.
    Returning,
}

/// The thread that runs a call, and when the call began: two that are equal are of the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallThread {
    /// The system's number of the thread; 0 where it is not known.
    pub(crate) thread: u32,
    started: Instant,
}

/// A transaction that runs.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) call: Call,
    /// The peer of its connection.
    pub(crate) peer: SocketAddr,
    /// How long it has run.
    pub(crate) ran: Duration,
    pub(crate) activity: Activity,
    /// How long this activity has lasted.
    pub(crate) since: Duration,
    /// The calls it was made for, if a handler made it.
    pub(crate) chain: Option<Arc<ReceivedChain>>,
}

/// The next call of a turn.
pub(super) struct Step {
    /// Its index in the work.
    pub(super) call: usize,
    /// It is not known to be short.
    pub(super) slow: bool,
    /// Its method is limited: it needs a place.
    pub(super) limited: bool,
    /// Replies have to be sent before it runs.
    pub(super) due: bool,
    /// The calls behind it if they do not wait for it: to be given back to the queue.
    pub(super) rest: Option<Burst>,
}

/// Calls and replies that were kept back around a call, to be given away.
pub(super) struct Released {
    /// The calls behind it, for the queue.
    pub(super) rest: Option<Burst>,
    /// The replies before it, and where they go.
    pub(super) replies: BufferedReplies,
    pub(super) sink: Option<Arc<dyn ReplySink>>,
}

/// Context of a worker's turn.
pub(super) struct Turn<'a> {
    /// The system's number of the thread whose turn it is; 0 where it is not known.
    pub(super) thread: u32,
    pub(super) work: &'a Work,
    pub(super) service_times: &'a ServiceTimes,
    pub(super) methods: &'a MethodsStats,
    pub(super) limits: &'a MethodLimits,
}

impl State {
    /// Takes the next call, and the calls behind it if they do not wait for it.
    #[inline]
    fn next(&mut self, turn: &Turn<'_>, now: Instant, others_wait: impl FnOnce() -> bool) -> Option<Step> {
        let burst = self.burst.as_mut()?;
        let call = burst.pop()?;
        let method = turn.work.calls[call].method;
        let slow = !turn.service_times.is_short(method);
        let limited = turn.limits.is_limited(method);
        let over = self.turn_end.is_some_and(|end| now > end) && others_wait();
        let rest = if slow || over { burst.split() } else { None };
        self.running = Some(Running {
            call,
            started: now,
            activity: Activity::Running,
            since: now,
            reported: false,
            engaged: slow,
            found_slow: false,
            counted: if limited { Counted::FromStart } else { Counted::No },
        });
        let due = !self.replies.is_empty() && (slow || self.replies.is_due(now));
        Some(Step { call, slow, limited, due, rest })
    }

    fn progress(&self, now: Instant) -> Option<Progress> {
        let (running, work) = (self.running?, self.burst.as_ref()?.work());
        let call = work.calls[running.call];
        Some(Progress {
            call,
            peer: work.sink.as_ref()?.peer(),
            ran: now.saturating_duration_since(running.started),
            activity: running.activity,
            since: now.saturating_duration_since(running.since),
            chain: work.chain(&call).map(Arc::clone),
        })
    }
}

impl WorkerSlot {
    /// Begins a turn with a burst and returns its first call.
    pub(super) fn begin(&self, burst: Burst, turn: &Turn<'_>, now: Instant) -> Option<Step> {
        let mut state = self.0.lock();
        (state.burst, state.turn_end, state.thread) = (Some(burst), Some(now + TURN_MAX), turn.thread);
        // The turn has just begun, so its time is not over.
        state.next(turn, now, || false)
    }

    /// Adds the reply to the last call and returns the next call of the turn. `None` at the end of the burst, or when
    /// its rest was taken away: the turn has ended, and the replies not yet sent are in `unsent`.
    ///
    /// A call not known to be short makes due what waits around it: the replies before it, and the calls behind it.
    /// `end` is called with the last call, under the slot's lock.
    pub(super) fn step(
        &self,
        turn: &Turn<'_>,
        reply: &mut WorkerReply,
        unsent: &mut BufferedReplies,
        now: Instant,
        others_wait: impl FnOnce() -> bool,
        end: impl FnOnce(&Running),
    ) -> Option<Step> {
        let mut state = self.0.lock();
        if let Some(running) = &state.running {
            end(running);
        }
        if !reply.bytes.is_empty() {
            state.stats.add(&reply.record, turn.methods);
            state.replies.add(reply, now);
        }
        let step = state.next(turn, now, others_wait);
        if step.is_none() {
            debug_assert!(unsent.is_empty(), "replies were not sent before the end of the turn");
            std::mem::swap(&mut state.replies, unsent);
            (state.running, state.burst) = (None, None);
        }
        step
    }

    /// Lets the running call count against a limit of its method that was set while it ran. Returns whether there is
    /// such a call.
    pub(super) fn adopt(&self, method: u16) -> bool {
        let mut state = self.0.lock();
        let State { burst: Some(burst), running: Some(running), .. } = &mut *state else { return false };
        let adopted = running.counted == Counted::No && burst.work().calls[running.call].method == method;
        if adopted {
            running.counted = Counted::Adopted;
        }
        adopted
    }

    /// Takes the replies made so far, leaving `spare` in their place.
    pub(super) fn take_replies(&self, spare: &mut BufferedReplies) {
        debug_assert!(spare.is_empty(), "these replies were not sent");
        std::mem::swap(&mut self.0.lock().replies, spare);
    }

    /// Adds what was measured of the calls answered so far to the methods' counters, and returns the running call's
    /// method and how long it has run: under one lock, so no call is in both or in neither.
    pub(super) fn flush_stats(&self, methods: &MethodsStats) -> Option<(u16, Duration)> {
        let mut state = self.0.lock();
        state.stats.flush(methods);
        let (running, burst) = (state.running?, state.burst.as_ref()?);
        Some((burst.work().calls[running.call].method, running.started.elapsed()))
    }

    /// Records what the running handler does from now on.
    pub(super) fn set_activity(&self, activity: Activity, now: Instant) {
        if let Some(running) = &mut self.0.lock().running {
            (running.activity, running.since) = (activity, now);
        }
    }

    pub(super) fn progress(&self, now: Instant) -> Option<Progress> {
        self.0.lock().progress(now)
    }

    /// The thread of the running call.
    pub(super) fn call_thread(&self) -> Option<CallThread> {
        let state = self.0.lock();
        state.running.map(|running| CallThread { thread: state.thread, started: running.started })
    }

    /// The running call if it has run longer than `limit`, once for each call.
    pub(super) fn take_long(&self, limit: Duration, now: Instant) -> Option<Progress> {
        let mut state = self.0.lock();
        let long = state.progress(now).filter(|progress| progress.ran > limit)?;
        let running = state.running.as_mut().filter(|running| !running.reported)?;
        running.reported = true;
        Some(long)
    }

    /// Called by the listener: takes what is kept back behind a call that turned out to be slow. Calls `engage` once
    /// for each such call that was taken for short, under the slot's lock: its worker is not free soon.
    pub(super) fn release_slow(&self, now: Instant, engage: impl FnOnce()) -> Option<Released> {
        self.release_if(|running| {
            let slow = now.saturating_duration_since(running.started) >= SLOW_AFTER;
            if slow && !running.engaged {
                (running.engaged, running.found_slow) = (true, true);
                engage();
            }
            slow
        })
    }

    /// Called by the worker whose handler is about to wait: takes what is kept back behind it. Calls `disengage` if
    /// the listener counted the worker as engaged, under the slot's lock.
    pub(super) fn release_blocked(&self, now: Instant, disengage: impl FnOnce()) -> Option<Released> {
        self.release_if(|running| {
            if std::mem::take(&mut running.found_slow) {
                disengage();
            }
            // From its return on the worker counts itself.
            (running.activity, running.since, running.engaged) = (Activity::Blocked, now, true);
            true
        })
    }

    /// `None` if nothing is kept back: the usual case by far, which copies nothing.
    fn release_if(&self, due: impl FnOnce(&mut Running) -> bool) -> Option<Released> {
        let mut state = self.0.lock();
        if !state.running.as_mut().is_some_and(due) {
            return None;
        }
        let rest = state.burst.as_mut().and_then(Burst::split);
        if rest.is_none() && state.replies.is_empty() {
            return None;
        }
        let sink = state.burst.as_ref().and_then(|burst| burst.work().sink.clone());
        Some(Released { rest, replies: std::mem::take(&mut state.replies), sink })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ServiceTimeBatch;
    use crate::pool::buffers::Buffers;
    use crate::pool::null_sink::NullSink;
    use crate::wire::Codec;
    use std::cell::Cell;

    /// A slot whose worker runs a call of a method that was always short.
    fn with_short_call(now: Instant) -> (WorkerSlot, Arc<Work>, ServiceTimes, MethodsStats) {
        let times = ServiceTimes::new(1);
        let mut batch = ServiceTimeBatch::default();
        for _ in 0..1000 {
            batch.add(0, 1000, &times);
        }
        assert!(times.is_short(0));
        let mut work = Work::new(&Buffers::unbounded(), now);
        work.calls.push(Call::new(1, 0, Codec::Bincode, 0, None));
        work.sink = Some(Arc::new(NullSink::default()));
        (WorkerSlot::default(), Arc::new(work), times, MethodsStats::new(1))
    }

    #[test]
    fn a_call_wrongly_taken_for_short_engages_its_worker_until_it_ends_or_blocks() {
        for blocks in [false, true] {
            let now = Instant::now();
            let (slot, work, service_times, methods) = with_short_call(now);
            let limits = MethodLimits::new(1);
            let (work, service_times, methods) = (&work, &service_times, &methods);
            let turn = Turn { thread: 7, work, service_times, methods, limits: &limits };
            let burst = Burst::split_work(Arc::clone(work)).next().unwrap();
            assert!(!slot.begin(burst, &turn, now).unwrap().slow);
            assert_eq!(slot.call_thread(), Some(CallThread { thread: 7, started: now }));
            let engaged = Cell::new(0);
            let engage = || engaged.set(engaged.get() + 1);
            let disengage = || engaged.set(engaged.get() - 1);
            assert!(slot.release_slow(now, engage).is_none());
            assert_eq!(engaged.get(), 0, "it may still be short");
            for _ in 0..2 {
                assert!(slot.release_slow(now + SLOW_AFTER, engage).is_none());
                assert_eq!(engaged.get(), 1, "once for each call");
            }
            if blocks {
                assert!(slot.release_blocked(now, disengage).is_none());
                assert_eq!(engaged.get(), 0);
                slot.release_slow(now + SLOW_AFTER, engage);
                assert_eq!(engaged.get(), 0, "it counts itself when it returns");
            }
            let end = |running: &Running| {
                if running.is_found_slow() {
                    disengage();
                }
            };
            let (mut reply, mut unsent) = (WorkerReply::none(), BufferedReplies::default());
            assert!(slot.step(&turn, &mut reply, &mut unsent, now, || false, end).is_none());
            assert_eq!((engaged.get(), slot.call_thread()), (0, None));
        }
    }

    #[test]
    fn a_call_counts_against_the_limit_of_its_method_whatever_other_limits_are_set_while_it_runs() {
        let now = Instant::now();
        let (slot, work, service_times, methods) = with_short_call(now);
        let limits = MethodLimits::new(2);
        let turn = Turn {
            thread: 7,
            work: &work,
            service_times: &service_times,
            methods: &methods,
            limits: &limits,
        };
        slot.begin(Burst::split_work(Arc::clone(&work)).next().unwrap(), &turn, now);
        assert!(slot.adopt(0), "it is of this method");
        assert!(!slot.adopt(1), "and of no other");
        let (mut reply, mut unsent) = (WorkerReply::none(), BufferedReplies::default());
        let adopted = Cell::new(false);
        let end = |running: &Running| adopted.set(running.is_adopted());
        slot.step(&turn, &mut reply, &mut unsent, now, || false, end);
        assert!(adopted.get());
    }
}
