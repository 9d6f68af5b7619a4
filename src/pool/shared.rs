//! State that listeners and workers share: [`PortShared`] of one port, with what runs in it, and [`Shared`] of all.

use super::buffered_replies::BufferedReplies;
use super::buffers::Buffers;
use super::burst::{ReplySink, Work};
use super::codel::{Codel, CodelRules};
use super::method_limits::MethodLimits;
use super::nested::Nested;
use super::queue::Queue;
use super::slow_calls::SlowCalls;
use super::throttle::Throttle;
use super::worker_slot::{CallThread, Progress, Released, WorkerSlot};
use crate::admission::Forecast;
use crate::metrics::{MethodsStats, PortStats, ServiceTimes};
use crate::service::{Services, worker_hooks};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Condvar, Mutex};
use crate::wire::{EntryId, ReplyPrelude};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Spare buffers kept for each port. More would only keep memory after a peak.
const SPARE_MAX: usize = 64;

/// Largest buffer that is kept for use again, in bytes.
const SPARE_BYTES_MAX: usize = 128 << 10;

/// State of all ports of a server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) throttle: Throttle,
    pub(crate) services: Services,
    pub(crate) service_times: ServiceTimes,
    pub(crate) nested: Nested,
    pub(crate) limits: MethodLimits,
    /// Largest result, in bytes.
    pub(crate) result_bytes_max: usize,
    /// Set when the time for an orderly stop is over: calls that have not started are refused.
    pub(crate) abandoned: AtomicBool,
    /// Calls that were admitted and then refused because of it.
    pub(crate) refused: AtomicUsize,
    /// Worker threads that have ended.
    ended: Mutex<usize>,
    ended_changed: Condvar,
}

impl Shared {
    pub(crate) fn new(services: Services, throttle: Throttle, result_bytes_max: usize) -> Shared {
        let service_times = ServiceTimes::new(services.len());
        let (nested, limits) = (Nested::new(&throttle.pools()), MethodLimits::new(services.len()));
        Shared {
            throttle,
            services,
            service_times,
            nested,
            limits,
            result_bytes_max,
            abandoned: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            ended: Mutex::new(0),
            ended_changed: Condvar::new(),
        }
    }

    pub(super) fn worker_ended(&self) {
        *self.ended.lock() += 1;
        self.ended_changed.notify_all();
    }

    /// Waits until all `workers` of all pools have ended, or until `deadline`. Returns how many have not.
    pub(crate) fn await_exits(&self, workers: usize, deadline: Instant) -> usize {
        let mut ended = self.ended.lock();
        while *ended < workers && !self.ended_changed.wait_until(&mut ended, deadline).timed_out() {}
        workers - *ended
    }
}

impl worker_hooks::OutgoingCallTable for Shared {
    fn close(&self, id: EntryId) {
        self.nested.outgoing.close(id);
    }
}

/// Sizes of a port's shared parts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PoolSizes {
    /// Threads of its pool.
    pub(crate) workers: usize,
    /// Methods of the server.
    pub(crate) methods: usize,
    /// Slowest calls kept of each.
    pub(crate) slow_calls: usize,
}

/// A running transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningCall {
    /// Name of its port.
    pub port: String,
    /// `service.method`.
    pub method: String,
    /// Address of the client.
    pub peer: SocketAddr,
    /// The client's number for the call.
    pub call: u64,
    /// Number of its worker, from 1.
    pub worker: usize,
    /// How long it has run, its waits included.
    pub ran: Duration,
}

impl std::fmt::Display for RunningCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RunningCall { port, method, peer, call, worker, ran } = self;
        let seconds = ran.as_secs_f64();
        write!(
            f,
            "port {port}: {method} of {peer} (call {call}) has run for {seconds:.1} s on worker {worker}"
        )
    }
}

#[derive(Debug)]
pub(crate) struct PortShared {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stats: PortStats,
    /// Counters of the methods, without what the workers have not added yet: see [`PortShared::method_stats`].
    pub(crate) methods: MethodsStats,
    pub(crate) slow: SlowCalls,
    pub(crate) codel: Codel,
    pub(crate) buffers: Arc<Buffers>,
    pub(super) slots: Vec<WorkerSlot>,
    /// The last to be returned is the first to be used again: its memory is warm.
    spare: Mutex<Vec<Arc<Work>>>,
}

impl PortShared {
    pub(crate) fn new(
        index: usize,
        name: String,
        queue: Arc<Queue>,
        sizes: PoolSizes,
        rules: CodelRules,
        buffers: Arc<Buffers>,
        now: Instant,
    ) -> PortShared {
        let slots = (0..sizes.workers).map(|_| WorkerSlot::default()).collect();
        let codel = Codel::new(rules, name.clone(), now);
        PortShared {
            index,
            name,
            queue,
            stats: PortStats::default(),
            methods: MethodsStats::new(sizes.methods),
            slow: SlowCalls::new(sizes.methods, sizes.slow_calls),
            codel,
            buffers,
            slots,
            spare: Mutex::default(),
        }
    }

    /// Without CoDel and without a limit on its buffers, for tests and benches.
    #[cfg(any(not(any(loom, shuttle)), test))]
    pub(super) fn unlimited(index: usize, queue: Arc<Queue>, sizes: PoolSizes, now: Instant) -> PortShared {
        let rules = CodelRules { target: Duration::ZERO, interval: Duration::ZERO, refuse: false };
        PortShared::new(index, "P".to_owned(), queue, sizes, rules, Buffers::unbounded(), now)
    }

    /// Forecast for a connection's next call: of a call that a client makes, or of one that a handler of this
    /// server makes.
    pub(crate) fn forecast(&self, shared: &Shared, sink: &dyn ReplySink, nested: bool) -> Forecast {
        self.queue.forecast(sink, shared.throttle.may_run(self.index), nested)
    }

    /// Takes empty buffers, spare ones if there are any.
    pub(crate) fn take_buffer(&self, now: Instant) -> Arc<Work> {
        self.spare.lock().pop().unwrap_or_else(|| Arc::new(Work::new(&self.buffers, now)))
    }

    /// Returns buffers for use again if nothing else uses them any more.
    pub(crate) fn recycle(&self, mut work: Arc<Work>) {
        if let Some(unique) = Arc::get_mut(&mut work) {
            unique.clear(SPARE_BYTES_MAX);
            let mut spare = self.spare.lock();
            if spare.len() < SPARE_MAX {
                spare.push(work);
            }
        }
    }

    /// Counters of the methods, with all calls answered so far.
    ///
    /// Also returns, of each method that workers run now, how many run it and for how long so far, added up.
    pub(crate) fn method_stats(&self) -> (&MethodsStats, BTreeMap<u16, (u32, Duration)>) {
        let mut running = BTreeMap::<u16, (u32, Duration)>::new();
        for (method, ran) in self.slots.iter().filter_map(|slot| slot.flush_stats(&self.methods)) {
            let (count, time) = running.entry(method).or_default();
            (*count, *time) = (*count + 1, *time + ran);
            self.methods.add_called(method);
        }
        (&self.methods, running)
    }

    /// Workers of the port.
    pub(crate) fn workers(&self) -> usize {
        self.slots.len()
    }

    /// The running call of a worker, by its index.
    pub(crate) fn progress_of(&self, worker: usize, now: Instant) -> Option<Progress> {
        self.slots[worker].progress(now)
    }

    /// The thread of a worker's running call.
    pub(crate) fn call_thread(&self, worker: usize) -> Option<CallThread> {
        self.slots[worker].call_thread()
    }

    pub(crate) fn running_calls(&self, shared: &Shared, now: Instant) -> Vec<RunningCall> {
        self.running_calls_by(shared, |slot| slot.progress(now)).collect()
    }

    /// The transactions that `progress` returns of the worker slots.
    pub(super) fn running_calls_by(
        &self,
        shared: &Shared,
        progress: impl Fn(&WorkerSlot) -> Option<Progress>,
    ) -> impl Iterator<Item = RunningCall> {
        self.slots.iter().zip(1..).filter_map(move |(slot, worker)| {
            let Progress { call, peer, ran, .. } = progress(slot)?;
            let (port, method) = (self.name.clone(), shared.services.name(call.method).to_owned());
            Some(RunningCall { port, method, peer, call: call.id, worker, ran })
        })
    }

    /// Where a call's time went before its start.
    pub(super) fn waits(&self, work: &Work, start: Instant) -> ReplyPrelude {
        let waited = micros(start.saturating_duration_since(work.received));
        let clock = self.queue.permit_clock.read_us(start).saturating_sub(work.permit_clock_us);
        let permit_wait_us = waited.min(u32::try_from(clock).unwrap_or(u32::MAX));
        ReplyPrelude { queue_wait_us: waited - permit_wait_us, permit_wait_us, run_us: 0 }
    }

    /// Sends replies to one connection, if there are any.
    pub(super) fn send(&self, replies: &mut BufferedReplies, sink: &dyn ReplySink) {
        replies.send(sink, &self.stats.answers, &self.queue);
    }

    /// Gives away what was kept back behind a call: the calls to the queue, the replies to their client.
    pub(super) fn give_away(&self, shared: &Shared, released: Released) {
        let Released { rest, mut replies, sink } = released;
        if let Some(rest) = rest {
            self.queue.give_back(rest, &shared.service_times);
        }
        if let Some(sink) = sink {
            self.send(&mut replies, sink.as_ref());
        }
    }
}

/// A time of a [`ReplyPrelude`], in microseconds.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
