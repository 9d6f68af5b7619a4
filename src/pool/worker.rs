//! One thread of a pool: steps 5 to 7 of a transaction's way (see docs/ARCHITECTURE.md).
//!
//! Awake it holds a permit; asleep it holds nothing.

use super::blocking::BlockingContext;
use super::throttle::Next;
use super::worker_slot::{BufferedReplies, Step, WorkerReply, WorkerSlot};
use super::{Burst, PortShared, ReplySink, Shared, SlowCall, Work, WorkerCounts};
use crate::metrics::{CallRecord, Parts, ServiceTimeBatch};
use crate::proto::{Call, reply};
use crate::service::{Refusal, Session, Status, Transaction, WorkerHooks, worker_hooks};
use crate::sync::{Arc, Ordering, Parker, now, yield_now};
use crate::wire::ReplyPrelude;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    id: usize,
    station: Rc<BlockingContext>,
    /// The reply being made.
    reply: WorkerReply,
    /// The replies being sent.
    held: BufferedReplies,
    /// How long its last calls ran.
    samples: ServiceTimeBatch,
    /// The burst in hand waited longer than CoDel allows.
    late: bool,
}

impl Worker {
    /// To be made on its own thread.
    pub(super) fn new(shared: Arc<Shared>, port: Arc<PortShared>, id: usize, parker: Arc<Parker>) -> Worker {
        let station = Rc::new(BlockingContext::new(Arc::clone(&shared), Arc::clone(&port), id, parker));
        Worker {
            shared,
            port,
            id,
            station,
            reply: WorkerReply::none(),
            held: BufferedReplies::default(),
            samples: ServiceTimeBatch::default(),
            late: false,
        }
    }

    /// Sleeps and works until the throttle closes.
    pub(super) fn run(mut self) {
        worker_hooks::set(Some(Rc::clone(&self.station) as Rc<dyn WorkerHooks>));
        while self.station.await_permit() {
            if self.work() == Next::Exit {
                break;
            }
        }
        worker_hooks::set(None);
        self.shared.exits.add();
    }

    /// Takes bursts until there are none or another port is due.
    fn work(&mut self) -> Next {
        let (port, shared) = (Arc::clone(&self.port), Arc::clone(&self.shared));
        let (mut searching, mut yielded) = (true, false);
        loop {
            let burst = port.queue.take();
            if std::mem::take(&mut searching) {
                port.queue.searching(-1);
            }
            let next = match burst {
                Some(burst) => {
                    port.queue.announce(&shared.throttle, port.index);
                    let nested = burst.is_nested();
                    self.serve(burst);
                    port.queue.done(nested);
                    yielded = false;
                    if shared.throttle.others_starve(port.index) {
                        shared.throttle.pass_on(port.index, self.id)
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
                None => shared.throttle.retire(port.index, self.id),
            };
            if next != Next::Go {
                return next;
            }
        }
    }

    /// Runs a burst's calls, or as many of them as its turn has time for.
    fn serve(&mut self, burst: Burst) {
        let (port, work) = (Arc::clone(&self.port), Arc::clone(burst.work()));
        if let Some(outlet) = &work.outlet {
            self.serve_for(&work, outlet.as_ref(), &port.turns[self.id], burst);
        }
        port.recycle(work);
    }

    fn serve_for(&mut self, work: &Work, outlet: &dyn ReplySink, turn: &WorkerSlot, burst: Burst) {
        let (port, calls) = (Arc::clone(&self.port), burst.len());
        let mut now = now();
        let crew = || port.crew_in_words(&self.shared);
        self.late = port.codel.is_late(now.saturating_duration_since(work.received), now, crew);
        let mut step = turn.begin(burst, work, now, &port, &self.shared);
        while let Some(Step { call, slow, due }) = step {
            if due {
                self.flush(outlet);
            }
            // A call not known to be short is announced, so that others do not wait for it.
            if slow {
                self.station.engage();
            }
            now = self.answer(work, &work.calls[call], outlet, now);
            self.station.disengage();
            step = turn.step(work, (&mut self.reply, &mut self.held), now, &port, &self.shared);
        }
        self.held.send(outlet, &port);
        if calls > 1 {
            port.queue.exposed(-1);
        }
    }

    fn flush(&mut self, outlet: &dyn ReplySink) {
        self.port.turns[self.id].take_held(&mut self.held);
        self.held.send(outlet, &self.port);
    }

    /// The status of a call of the burst in hand if it is refused for having waited too long.
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

    /// Makes the one reply to a call, by running its handler unless there is a reason not to. None at all if the call
    /// was in a deadlock and is answered already.
    fn answer(&mut self, work: &Work, call: &Call, outlet: &dyn ReplySink, start: Instant) -> Instant {
        let shared = &*self.shared;
        if !shared.nested.claims(work, call) {
            return start;
        }
        let session = match not_to_run(shared, call, outlet, start).or_else(|| self.late()) {
            Some(status) => Err(status),
            None => session(call, outlet),
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
                    self.port.refusal(status, shared, outlet).encode(call.codec, out);
                    status
                }
                Ok(session) => {
                    self.station.begin(call, work.chain(call));
                    if let Some(session) = &session {
                        session.begin(start);
                    }
                    let status = run(shared, work, call, outlet, session.as_ref(), out);
                    self.station.end();
                    end = now();
                    if let Some(session) = &session {
                        session.end(end);
                    }
                    let ran = end.saturating_duration_since(start);
                    let waits = self.station.take_waits();
                    if !self.samples.add(call.method, ran.as_nanos() as u64, &shared.paces) {
                        self.port.queue.holding.learn(ran, ran.saturating_sub(waits.permitless));
                    }
                    let run = ran.saturating_sub(waits.in_line);
                    times.permit_wait_us = times.permit_wait_us.saturating_add(micros(waits.in_line));
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
            let total_ns = times_ns.whole();
            self.port.slow.offer(call.method, total_ns, || SlowCall {
                answered: end,
                times: times_ns.map(|ns| Duration::from_nanos(*ns)),
                peer: outlet.peer(),
                call: call.id,
                status,
                chain: work.chain(call).map(Arc::clone),
            });
        }
        end
    }
}

fn run(
    shared: &Shared,
    work: &Work,
    call: &Call,
    outlet: &dyn ReplySink,
    session: Option<&Arc<Session>>,
    out: &mut Vec<u8>,
) -> Status {
    let transaction = Transaction {
        caller: outlet,
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
        work.arguments(call),
        shared.result_bytes_max,
        out,
    )
}

/// The session that a call names; none for 0, which every connection has.
fn session(call: &Call, outlet: &dyn ReplySink) -> Result<Option<Arc<Session>>, Status> {
    if call.session == 0 {
        return Ok(None);
    }
    let found = outlet.carried().and_then(|carried| carried.find(call.session));
    found.map(Some).ok_or(Status::UnknownSession)
}

/// Why a call is answered without being run, if so.
fn not_to_run(shared: &Shared, call: &Call, outlet: &dyn ReplySink, now: Instant) -> Option<Status> {
    if shared.abandoned.load(Ordering::Relaxed) {
        Some(Status::Draining)
    } else if outlet.is_cancelled(call.id) {
        Some(Status::Cancelled)
    } else if call.deadline.is_some_and(|deadline| deadline <= now) {
        Some(Status::DeadlineExceeded)
    } else {
        None
    }
}

impl PortShared {
    /// The answer to a call that is not run.
    fn refusal(&self, status: Status, shared: &Shared, outlet: &dyn ReplySink) -> Refusal {
        let refusal = Refusal::new(status, status.text());
        if status != Status::Overloaded {
            return refusal;
        }
        refusal.retry_after(self.forecast(shared, outlet, false).wait(0))
    }

    /// What the workers do while calls wait too long. Where some are idle, the words say what keeps them from working.
    fn crew_in_words(&self, shared: &Shared) -> String {
        let WorkerCounts { idle, .. } = shared.throttle.crews()[self.index];
        let workers = shared.throttle.pools()[self.index];
        let (out, _) = shared.throttle.permits();
        let why = match shared.throttle.limit() {
            _ if idle == 0 => return format!("none of {workers} workers is idle"),
            Some(limit) if out >= limit => "all permits are out (Server_Max_Concurrent_Trans)",
            _ if idle <= self.queue.kept() => "they are kept for nested calls (Server_Nested_Reserve)",
            _ => "calls as short as these wait for the processors, and more workers would only share them",
        };
        format!("{idle} of {workers} workers are idle: {why}")
    }

    /// Answers what is queued without running it, for a server that stops while its workers are stuck.
    pub(crate) fn refuse_queued(&self, shared: &Shared) {
        const STATUS: Status = Status::Draining;
        let mut held = BufferedReplies::default();
        while let Some(mut burst) = self.queue.take_to_refuse() {
            if burst.len() > 1 {
                self.queue.exposed(-1);
            }
            let (work, now) = (Arc::clone(burst.work()), now());
            while let Some(call) = burst.pop().map(|call| &work.calls[call]) {
                if !shared.nested.claims(&work, call) {
                    continue;
                }
                let mut answer = WorkerReply::refusal(call.method, STATUS);
                self.methods.refused(call.method, STATUS);
                reply(call.id, call.codec, &mut answer.bytes, |out| {
                    Refusal::new(STATUS, STATUS.text()).encode(call.codec, out);
                    (STATUS, self.waits(&work, now))
                });
                held.add(&mut answer, now);
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(outlet) = &work.outlet {
                held.send(outlet.as_ref(), self);
            }
        }
    }

    /// Where a call's time went before its start.
    pub(super) fn waits(&self, work: &Work, start: Instant) -> ReplyPrelude {
        let waited = micros(start.saturating_duration_since(work.received));
        let clock = self.queue.permit_clock().read_us(start).saturating_sub(work.permit_clock_us);
        let permit_wait_us = waited.min(u32::try_from(clock).unwrap_or(u32::MAX));
        ReplyPrelude { queue_wait_us: waited - permit_wait_us, permit_wait_us, run_us: 0 }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
