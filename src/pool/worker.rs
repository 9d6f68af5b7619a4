//! Worker: one thread of a pool, which runs steps 5 to 7 of a transaction (see docs/ARCHITECTURE.md). The thread that
//! listens may be one for a while (see `run_where_read.rs`).
//!
//! Invariant: a worker that is awake holds a permit, one that sleeps holds nothing.

use super::blocking::BlockingContext;
use super::buffered_replies::{BufferedReplies, WorkerReply};
use super::burst::{Burst, BurstOrigin, ReplySink, Work};
use super::method_limits::Entry;
use super::port_threads::PortListener;
use super::shared::{PortShared, Shared, micros};
use super::slow_calls::SlowCall;
use super::throttle::{LISTEN, Next, PERMIT, Throttle, WorkerCounts};
use super::worker_slot::{Running, Step, Turn};
use crate::metrics::{CallRecord, Parts, ServiceTimeBatch};
use crate::proto::{Call, reply};
use crate::service::{SessionState, Status, Transaction, WorkerHooks, worker_hooks};
use crate::sync::{Arc, Ordering, now, yield_now};
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) port: Arc<PortShared>,
    pub(super) blocking: Rc<BlockingContext>,
    /// The system's number of this thread.
    thread_id: u32,
    /// The reply being made.
    reply: WorkerReply,
    /// The replies being sent.
    unsent: BufferedReplies,
    /// Run times of its last calls.
    service_times: ServiceTimeBatch,
    /// The current burst waited longer than CoDel allows.
    late: bool,
}

/// A call of a limited method that a worker has taken.
pub(super) struct LimitedCall<'a> {
    pub(super) work: &'a Arc<Work>,
    /// Its index in the work.
    pub(super) call: usize,
    pub(super) origin: BurstOrigin,
}

impl Worker {
    /// For one of the port's threads (see [`Throttle::parker`]). To be called on that thread.
    pub(super) fn new(shared: Arc<Shared>, port: Arc<PortShared>, thread: usize) -> Worker {
        let blocking = Rc::new(BlockingContext::new(Arc::clone(&shared), Arc::clone(&port), thread));
        Worker {
            shared,
            port,
            blocking,
            thread_id: thread_id(),
            reply: WorkerReply::none(),
            unsent: BufferedReplies::default(),
            service_times: ServiceTimeBatch::default(),
            late: false,
        }
    }

    /// Listens, if there is a `listener`; sleeps and works until the throttle closes, or the listener that it has ends.
    pub(super) fn run(mut self, mut listener: Option<Box<dyn PortListener>>) {
        self.set_hooks(listener.is_none());
        let ends_as_worker = loop {
            let next = match listener.take() {
                Some(listener) => {
                    if !self.listen(listener) {
                        break false;
                    }
                    self.work(false)
                }
                None => match self.blocking.sleep() {
                    PERMIT => self.work(true),
                    LISTEN => {
                        self.set_hooks(false);
                        listener = self.take_over();
                        Next::Park
                    }
                    _ => Next::Exit,
                },
            };
            if next == Next::Exit {
                break true;
            }
        };
        self.set_hooks(false);
        if ends_as_worker {
            self.shared.worker_ended();
        }
    }

    /// Lets the code on this thread find the worker, or none while the thread listens.
    pub(super) fn set_hooks(&self, is_worker: bool) {
        worker_hooks::set(is_worker.then(|| Rc::clone(&self.blocking) as Rc<dyn WorkerHooks>));
    }

    /// Serves bursts until there are none or another port is due. `searching` after a wake: the worker counts among
    /// those that look for work.
    fn work(&mut self, mut searching: bool) -> Next {
        let (port, shared) = (Arc::clone(&self.port), Arc::clone(&self.shared));
        let (worker, mut yielded) = (self.blocking.worker(), false);
        loop {
            let burst = port.queue.take();
            if std::mem::take(&mut searching) {
                port.queue.change_searching(-1);
            }
            let next = match burst {
                Some(burst) => {
                    shared.throttle.announce(port.index);
                    self.serve(burst, &port, &shared);
                    yielded = false;
                    if shared.throttle.others_starve(port.index) {
                        shared.throttle.pass_on(port.index, worker)
                    } else {
                        Next::Go
                    }
                }
                // Work often comes within the time of a sleep and a wake: let the listener run before sleeping.
                None if !yielded => {
                    yielded = true;
                    yield_now();
                    Next::Go
                }
                None => shared.throttle.retire(port.index, worker),
            };
            if next != Next::Go {
                return next;
            }
        }
    }

    /// Runs a burst's calls, or as many of them as its turn has time for. Returns the time at its end.
    pub(super) fn serve(&mut self, burst: Burst, port: &PortShared, shared: &Shared) -> Instant {
        let (work, nested, origin) = (Arc::clone(burst.work()), burst.is_nested(), burst.origin());
        let sink = work.sink().as_ref();
        let (slot, calls, mut now) = (&port.slots[self.blocking.worker()], burst.len(), now());
        let workers = || describe_workers(port, &shared.throttle);
        self.late = origin == BurstOrigin::Read
            && port.codel.is_late(now.saturating_duration_since(work.received), now, workers);
        let (thread, service_times, limits) = (self.thread_id, &shared.service_times, &shared.limits);
        let turn = Turn { thread, work: &work, service_times, methods: &port.methods, limits };
        let others_wait = || port.queue.others_wait() || shared.throttle.others_starve(port.index);
        let mut step = slot.begin(burst, &turn, now);
        while let Some(Step { call, slow, limited, due, rest }) = step {
            if let Some(rest) = rest {
                port.queue.give_back(rest, &shared.service_times);
            }
            if due {
                slot.take_replies(&mut self.unsent);
                port.send(&mut self.unsent, sink);
            }
            let entry = match limited {
                true => self.enter_line(&LimitedCall { work: &work, call, origin }, sink, now),
                false => Entry::Unlimited,
            };
            if entry != Entry::Waits {
                // A call not known to be short is announced, so that others do not wait for it.
                if slow {
                    self.blocking.engage();
                }
                now = self.answer(&work, &work.calls[call], entry, sink, now);
                self.blocking.disengage();
            }
            if entry == Entry::Runs {
                shared.leave_line(work.calls[call].method, port.index);
            }
            let mut adopted = false;
            let end = |running: &Running| {
                if running.is_found_slow() {
                    port.queue.change_engaged(-1);
                }
                adopted = running.is_adopted();
            };
            step = slot.step(&turn, &mut self.reply, &mut self.unsent, now, others_wait, end);
            if adopted {
                shared.leave_line(work.calls[call].method, port.index);
            }
        }
        port.send(&mut self.unsent, sink);
        if calls > 1 {
            port.queue.change_exposed(-1);
        }
        port.recycle(work);
        port.queue.done(nested);
        now
    }

    /// The status of a call of the current burst if it is refused for having waited too long.
    fn late(&self) -> Option<Status> {
        if !self.late {
            return None;
        }
        if self.port.codel.refuses_late() {
            return Some(Status::Overloaded);
        }
        self.port.stats.would_refuse.add(1);
        None
    }

    /// Returns whether a call is answered without being run, whatever its method's limit.
    pub(super) fn is_not_run(&self, call: &Call, sink: &dyn ReplySink, now: Instant) -> bool {
        not_to_run(&self.shared, call, sink, now).is_some() || self.late && self.port.codel.refuses_late()
    }

    /// Makes the reply to a call, by running its handler unless there is a reason not to. Makes none if the call was in
    /// a deadlock and is answered already. Returns the time at its end.
    ///
    /// With a second caller it would not be inlined, which costs a hundred instructions.
    fn answer(
        &mut self,
        work: &Work,
        call: &Call,
        entry: Entry,
        sink: &dyn ReplySink,
        start: Instant,
    ) -> Instant {
        let shared = &*self.shared;
        if !shared.nested.claims(work, call) {
            return start;
        }
        // A call that its limit refuses is not counted as late besides.
        let limit_or_late = || if entry == Entry::Refused { Some(Status::MethodLimit) } else { self.late() };
        let session = match not_to_run(shared, call, sink, start).or_else(limit_or_late) {
            Some(status) => Err(status),
            None => session(call, sink),
        };
        let mut end = start;
        let mut status = Status::Ok;
        let (mut has_run, mut times_ns) = (false, Parts::default());
        reply(call.id, call.codec, &mut self.reply.bytes, |out| {
            let mut times = self.port.waits(work, start);
            status = match session {
                Err(status) => {
                    if status == Status::Draining {
                        shared.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    self.port.worker_refusal(status, call.method, shared, sink).encode(call.codec, out);
                    status
                }
                Ok(session) => {
                    self.blocking.begin(call, work.chain(call));
                    if let Some(session) = &session {
                        session.begin(start);
                    }
                    let status = run(shared, work, call, sink, session.as_ref(), out);
                    self.blocking.end();
                    end = now();
                    if let Some(session) = &session {
                        session.end(end);
                    }
                    let ran = end.saturating_duration_since(start);
                    let waits = self.blocking.take_waits();
                    if !self.service_times.add(call.method, ran.as_nanos() as u64, &shared.service_times) {
                        self.port.queue.permit_usage.add(ran, ran.saturating_sub(waits.permitless));
                    }
                    let run = ran.saturating_sub(waits.for_permit);
                    times.permit_wait_us = times.permit_wait_us.saturating_add(micros(waits.for_permit));
                    times.run_us = micros(run);
                    times_ns = Parts {
                        queue_wait: u64::from(times.queue_wait_us) * 1000,
                        permit_wait: u64::from(times.permit_wait_us) * 1000,
                        run: run.as_nanos() as u64,
                    };
                    has_run = true;
                    status
                }
            };
            (status, times)
        });
        self.reply.record = CallRecord { method: call.method, status, ran: has_run, times_ns };
        if has_run {
            self.offer_slow(work, call, sink, end);
        }
        end
    }

    /// Keeps the call just answered if it is among the slowest of its method.
    fn offer_slow(&self, work: &Work, call: &Call, sink: &dyn ReplySink, answered: Instant) {
        let CallRecord { status, times_ns, .. } = self.reply.record;
        self.port.slow.offer(call.method, times_ns.whole(), || SlowCall {
            answered,
            times: times_ns.map(|ns| Duration::from_nanos(*ns)),
            peer: sink.peer(),
            call: call.id,
            status,
            chain: work.chain(call).map(Arc::clone),
        });
    }
}

fn run(
    shared: &Shared,
    work: &Work,
    call: &Call,
    sink: &dyn ReplySink,
    session: Option<&Arc<SessionState>>,
    out: &mut Vec<u8>,
) -> Status {
    let transaction = Transaction {
        caller: sink,
        method: shared.services.name(call.method),
        call: call.id,
        session: call.session,
        opened: session.map(Arc::as_ref),
        deadline: call.deadline,
    };
    shared.services.run(
        call.method,
        &transaction,
        call.codec,
        call.arguments_in(&work.bytes),
        shared.result_bytes_max,
        out,
    )
}

/// The session that a call names; none for 0, the session that every connection has.
fn session(call: &Call, sink: &dyn ReplySink) -> Result<Option<Arc<SessionState>>, Status> {
    if call.session == 0 {
        return Ok(None);
    }
    let found = sink.carried_sessions().and_then(|carried| carried.find(call.session));
    found.map(Some).ok_or(Status::UnknownSession)
}

/// The status of a call that is answered without being run.
fn not_to_run(shared: &Shared, call: &Call, sink: &dyn ReplySink, now: Instant) -> Option<Status> {
    if shared.abandoned.load(Ordering::Relaxed) {
        Some(Status::Draining)
    } else if sink.is_cancelled(call.id) {
        Some(Status::Cancelled)
    } else if call.deadline.is_some_and(|deadline| deadline <= now) {
        Some(Status::DeadlineExceeded)
    } else {
        None
    }
}

/// The system's number of the calling thread, as in `/proc/self/task`; 0 where it is not known. The link names it
/// without unsafe code: `PID/task/NUMBER`.
fn thread_id() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").ok();
    link.and_then(|link| link.file_name()?.to_str()?.parse().ok()).unwrap_or(0)
}

/// Describes for the log what the workers do while calls wait too long. Where some are idle, says why they do not run.
fn describe_workers(port: &PortShared, throttle: &Throttle) -> String {
    let WorkerCounts { idle, .. } = throttle.worker_counts()[port.index];
    let workers = throttle.pools()[port.index];
    let (out, _) = throttle.permits();
    let why = match throttle.limit() {
        _ if idle == 0 => return format!("none of {workers} workers is idle"),
        Some(limit) if out >= limit => "all permits are out (Server_Max_Concurrent_Trans)",
        _ if idle <= port.queue.kept() => "they are kept for nested calls (Server_Nested_Reserve)",
        _ => "calls as short as these wait for the processors, and more workers would only share them",
    };
    format!("{idle} of {workers} workers are idle: {why}")
}

/// Additional stack for the decoder's deepest nest in a debug build, whose frames are several times as large.
const UNOPTIMIZED_STACK_BYTES: usize = if cfg!(debug_assertions) { 64 << 10 } else { 0 };

/// A pool that could not start all its threads; those made end when the throttle closes.
#[derive(Debug)]
pub(crate) struct PoolStartError {
    /// Threads that were made.
    pub(crate) started: usize,
    /// Why the system made no more.
    pub(crate) error: std::io::Error,
}

/// Starts a port's workers; they sleep until work comes.
pub(crate) fn start_workers(
    shared: &Arc<Shared>,
    port: &Arc<PortShared>,
    stack_bytes: usize,
) -> Result<(), PoolStartError> {
    for id in 0..shared.throttle.workers(port.index) {
        let (its_shared, its_port) = (Arc::clone(shared), Arc::clone(port));
        let run = move || Worker::new(its_shared, its_port, id).run(None);
        start_thread(format!("{}-{}", port.name, id + 1), stack_bytes, run)
            .map_err(|error| PoolStartError { started: id, error })?;
    }
    Ok(())
}

/// Starts a thread that can run handlers.
///
/// # Errors
/// The system made no thread.
pub(crate) fn start_thread(
    name: String,
    stack_bytes: usize,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let stack_bytes = stack_bytes + UNOPTIMIZED_STACK_BYTES;
    // The handle is dropped: a handler that never returns must not delay the server's end.
    std::thread::Builder::new().name(name).stack_size(stack_bytes).spawn(run).map(drop)
}
