//! Execution: fixed threads, no sockets.
//!
//! A port's pool is its workers and their queue; the [`Throttle`] says over all ports how many workers may be awake.
//! Idle workers stand on a last-in-first-out stack; whoever wakes one takes a permit and hands it over with the
//! wake, so no thread wakes to find none, and a transaction that waits holds neither a thread nor a permit.
//!
//! ```text
//! listener --Queue::push--> [bounded channel] --Worker::work--> Services::run --Turn::held--> Outlet::send
//!      \__ Queue::announce __ Throttle::wake_one __/ permit
//! ```
//!
//! Why no wake-up is lost is proved in docs/ARCHITECTURE.md and checked in `model.rs`.

#[cfg(not(any(loom, shuttle)))]
mod bench_support;
mod blocking;
mod buffers;
mod burst;
mod codel;
mod connection_queue;
mod displacement;
#[cfg(all(test, any(loom, shuttle)))]
mod model;
mod nested;
#[cfg(any(not(any(loom, shuttle)), test))]
mod null_sink;
mod outgoing_calls;
mod permit_clock;
mod queue;
mod slow_calls;
mod throttle;
mod worker;
mod worker_slot;

#[cfg(not(any(loom, shuttle)))]
pub use bench_support::{BenchPool, BenchThrottle};
pub(crate) use buffers::{AllBuffers, BufferLease, Buffers};
pub(crate) use burst::{Burst, ReplySink, Work};
pub(crate) use codel::{Codel, CodelRules};
pub(crate) use connection_queue::{ConnectionQueue, Displaced};
pub(crate) use nested::{Nested, QueuedNested};
pub(crate) use queue::{Queue, QueueReadings};
pub(crate) use slow_calls::{SlowCall, SlowCalls};
pub(crate) use throttle::{PortWorkers, Throttle, WorkerCounts};
pub(crate) use worker_slot::{Activity, Progress};

use crate::admission::Forecast;
use crate::metrics::{MethodsStats, PortStats, ServiceTimes};
use crate::proto::{Call, reply};
use crate::service::{ClientId, Refusal, Services, Status, worker_hooks};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Condvar, Mutex, Parker};
use crate::wire::{LinkId, ReplyPrelude};
use log::Level;
use nested::deadlock_in_words;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use worker::Worker;
use worker_slot::{BufferedReplies, WorkerReply, WorkerSlot};

/// Buffers that wait to be used again, for each port. More would only keep memory after a peak.
const SPARE_WORKS: usize = 64;

/// Largest buffer that is kept for use again, in bytes.
const SPARE_BYTES_MAX: usize = 128 << 10;

/// What all pools of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) throttle: Throttle,
    pub(crate) services: Services,
    pub(crate) paces: ServiceTimes,
    pub(crate) nested: Nested,
    /// Largest result, in bytes.
    pub(crate) result_bytes_max: usize,
    /// Set when the time for an orderly stop is over: what has not started never will.
    pub(crate) abandoned: AtomicBool,
    /// Calls that were admitted and then refused because of it.
    pub(crate) refused: AtomicUsize,
    exits: Exits,
}

impl Shared {
    pub(crate) fn new(services: Services, throttle: Throttle, result_bytes_max: usize) -> Shared {
        let paces = ServiceTimes::new(services.len());
        let (abandoned, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
        let nested = Nested::new(&throttle.pools());
        Shared {
            throttle,
            services,
            paces,
            nested,
            result_bytes_max,
            abandoned,
            refused,
            exits: Exits::default(),
        }
    }

    /// Waits until all `workers` of all pools have ended, or until `deadline`. Returns how many have not.
    pub(crate) fn await_exits(&self, workers: usize, deadline: Instant) -> usize {
        self.exits.wait(workers, deadline)
    }
}

impl worker_hooks::OutgoingCallTable for Shared {
    fn close(&self, id: LinkId) {
        self.nested.links.close(id);
    }
}

/// Counts worker threads that have ended.
#[derive(Debug, Default)]
struct Exits {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Exits {
    fn add(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    fn wait(&self, of: usize, deadline: Instant) -> usize {
        let mut count = self.count.lock();
        while *count < of && !self.changed.wait_until(&mut count, deadline).timed_out() {}
        of - *count
    }
}

/// A transaction that runs: what a log and a stopped server say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCall {
    /// Name of its port.
    pub port: String,
    /// `service.method`.
    pub method: String,
    /// Whose call it is.
    pub peer: SocketAddr,
    /// The caller's number for it.
    pub call: u64,
    /// Number of its worker, from 1.
    pub worker: usize,
    /// For how long it has run, its waits included.
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

/// How large a port's shared parts are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PoolSizes {
    /// Threads of its pool.
    pub(crate) workers: usize,
    /// Methods there are.
    pub(crate) methods: usize,
    /// Slowest calls kept of each.
    pub(crate) slow_calls: usize,
}

/// What a port's listener and workers share.
#[derive(Debug)]
pub(crate) struct PortShared {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stats: PortStats,
    /// Of the methods, save for what the workers have still gathered.
    pub(crate) methods: MethodsStats,
    pub(crate) slow: SlowCalls,
    pub(crate) codel: Codel,
    pub(crate) buffers: Arc<Buffers>,
    turns: Vec<WorkerSlot>,
    /// The last to be given back is the first to be used again: its memory is warm.
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
        let turns = (0..sizes.workers).map(|_| WorkerSlot::default()).collect();
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
            turns,
            spare: Mutex::default(),
        }
    }

    /// What is ahead of a connection's next call: of one that a client makes, or of one that a handler of this server
    /// makes.
    pub(crate) fn forecast(&self, shared: &Shared, outlet: &dyn ReplySink, nested: bool) -> Forecast {
        self.queue.forecast(outlet, shared.throttle.may_run(self.index), nested)
    }

    /// Empty buffers, used before if there are any.
    pub(crate) fn spare_work(&self, now: Instant) -> Arc<Work> {
        self.spare.lock().pop().unwrap_or_else(|| Arc::new(Work::new(&self.buffers, now)))
    }

    /// Takes buffers back if nobody else uses them any more.
    pub(crate) fn recycle(&self, mut work: Arc<Work>) {
        if let Some(unique) = Arc::get_mut(&mut work) {
            unique.clear(SPARE_BYTES_MAX);
            let mut spare = self.spare.lock();
            if spare.len() < SPARE_WORKS {
                spare.push(work);
            }
        }
    }

    /// For the listener, before it queues the calls of one read: puts those that handlers of this server made behind
    /// the others, and has them watched for deadlocks.
    pub(crate) fn sort_out_nested(&self, work: &mut Work, outlet: &Arc<dyn ReplySink>, nested: &Nested) {
        let Work { calls, chains, nested_from, received, .. } = work;
        calls.sort_by_key(Call::is_nested);
        *nested_from = calls.partition_point(|call| !call.is_nested());
        for call in &calls[*nested_from..] {
            if let Some(chain) = call.chain().and_then(|at| chains.get(at)) {
                let (port, call, since) = (self.index, *call, *received);
                let (chain, outlet) = (Arc::clone(chain), Arc::clone(outlet));
                nested.queue(QueuedNested { port, call, chain, outlet, since });
            }
        }
    }

    /// For the listener, now and then while nested calls wait: if this port is in a deadlock, its innermost call is
    /// answered, and so the worker that waits for it is free.
    pub(crate) fn break_deadlock(&self, shared: &Shared, now: Instant) {
        let pools = shared.throttle.pools();
        let Some(QueuedNested { call, chain, outlet, since, .. }) =
            shared.nested.break_deadlock(self.index, &pools)
        else {
            return;
        };
        let last = format!("{} {}", self.name, shared.services.name(call.method));
        let in_words = |path: &str| {
            let pool = (&*self.name, pools[self.index], self.queue.kept());
            deadlock_in_words(path, pool, chain.depth())
        };
        // The caller is told the names of others' links as it gave them; the log's reader, whose word they are.
        if shared.services.log_bound().lets(Level::Error, ClientId::of(outlet.peer().ip()), now) {
            log::error!(
                "nested deadlock: {}",
                in_words(&[chain.names(), vec![last.clone()]].concat().join(" -> "))
            );
        }
        let message = in_words(&chain.path(&last));
        let refusal = Refusal::new(Status::NestedDeadlock, message);
        let queue_wait_us =
            u32::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u32::MAX);
        let mut answer = WorkerReply::refusal(call.method, refusal.status);
        self.methods.refused(call.method, refusal.status);
        reply(call.id, call.codec, &mut answer.bytes, |out| {
            refusal.encode(call.codec, out);
            (refusal.status, ReplyPrelude { queue_wait_us, ..ReplyPrelude::default() })
        });
        let mut held = BufferedReplies::default();
        held.add(&mut answer, now);
        held.send(outlet.as_ref(), self);
    }

    /// For the listener, now and then while calls run: tells the log, once each, of those that have run longer than
    /// `limit`.
    pub(crate) fn tell_of_the_long(&self, shared: &Shared, limit: Duration, now: Instant) {
        for long in self.progress(shared, |turn| turn.long(limit, now)) {
            if shared.services.log_bound().lets(Level::Warn, ClientId::of(long.peer.ip()), now) {
                log::warn!("{long} (Server_Long_Transaction={})", limit.as_secs());
            }
            // Counted afterwards, so that the line is there for whoever sees the count.
            self.stats.long_transactions.add(1);
        }
    }

    /// The counters of the methods, with all that was answered so far.
    pub(crate) fn gather(&self) -> &MethodsStats {
        self.turns.iter().for_each(|turn| turn.gather(&self.methods));
        &self.methods
    }

    /// What each worker does now; `None` for one that runs nothing.
    pub(crate) fn workers(&self, now: Instant) -> impl Iterator<Item = Option<Progress>> {
        self.turns.iter().map(move |turn| turn.progress(now))
    }

    /// What runs now.
    pub(crate) fn unfinished(&self, shared: &Shared, now: Instant) -> Vec<RunningCall> {
        self.progress(shared, |turn| turn.progress(now)).collect()
    }

    fn progress(
        &self,
        shared: &Shared,
        of: impl Fn(&WorkerSlot) -> Option<Progress>,
    ) -> impl Iterator<Item = RunningCall> {
        self.turns.iter().zip(1..).filter_map(move |(turn, worker)| {
            let Progress { call, peer, ran, .. } = of(turn)?;
            let (port, method) = (self.name.clone(), shared.services.name(call.method).to_owned());
            Some(RunningCall { port, method, peer, call: call.id, worker, ran })
        })
    }

    /// For the listener, now and then while calls wait: takes what is kept back behind a handler that turned out
    /// slow, and wakes a worker for it, and for what stands in a queue that has not `moved` meanwhile. Returns
    /// whether it found anything to do.
    pub(crate) fn rescue(&self, shared: &Shared, moved: bool, now: Instant) -> bool {
        let mut found = false;
        for turn in &self.turns {
            found |= turn.rescue(self, shared, now);
        }
        if (found || !moved) && !self.queue.is_empty() {
            found |= shared.throttle.wake_one(self.index);
        }
        found
    }
}

/// What the decoder's deepest nest takes more in a debug build, whose frames are several times as large.
const UNOPTIMIZED_STACK_BYTES: usize = if cfg!(debug_assertions) { 64 << 10 } else { 0 };

/// Starts a port's workers; they sleep until work comes.
///
/// # Errors
/// The system would not make a thread: how many were made, and why. Those end when the throttle closes.
pub(crate) fn start_workers(
    shared: &Arc<Shared>,
    port: &Arc<PortShared>,
    parkers: &[Arc<Parker>],
    stack_bytes: usize,
) -> Result<(), (usize, std::io::Error)> {
    for (id, parker) in parkers.iter().enumerate() {
        let name = format!("{}-{}", port.name, id + 1);
        let (shared, port, parker) = (Arc::clone(shared), Arc::clone(port), Arc::clone(parker));
        let run = move || Worker::new(shared, port, id, parker).run();
        let stack_bytes = stack_bytes + UNOPTIMIZED_STACK_BYTES;
        let spawned = std::thread::Builder::new().name(name).stack_size(stack_bytes).spawn(run);
        // The handle is let go: a handler that never returns must not hold up the server's end.
        spawned.map(drop).map_err(|error| (id, error))?;
    }
    Ok(())
}
