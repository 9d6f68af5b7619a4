//! A port's bounded queue, and the gauges that decide whether another worker is woken.
//!
//! The channel holds each connection with waiting calls once; its bursts wait in its [`ConnectionQueue`]: connections
//! take turns.

use super::burst::{Burst, ReplySink, Work};
use super::connection_queue::{ConnectionQueue, QueuedBurst, TakenBursts};
use super::permit_clock::PermitClock;
use super::wait_list::WaitList;
use crate::admission::{Forecast, WINDOW_CALLS_MAX};
use crate::metrics::{PermitUsage, ServiceTimes};
use crate::proto::Call;
use crate::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering, Planted, planted, unordered};
use std::time::Instant;

/// Another worker is woken when each of those awake has more work than this before it, in nanoseconds: a few times
/// what a wake costs. Measured from 5 to 100 us: at 100 a second core stands idle while calls wait.
const BACKLOG_NS_MAX: u64 = 25_000;

/// Cost of a burst beside its handlers, in nanoseconds: taking it, and the system call that answers it.
const BURST_NS: u64 = 5_000;

/// Calls that wait, and what they are likely to cost.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Connections with calls that clients made.
    fresh: WaitList,
    /// Connections with calls that handlers of this server made; they come first.
    nested: WaitList,
    /// Connections in `fresh` that have no calls there any more: all were displaced.
    emptied: AtomicUsize,
    /// Calls that may wait; no more than the channels have places for.
    calls_max: unordered::AtomicUsize,
    calls_max_at_start: usize,
    /// Workers that fresh calls may have at once; the others are kept for nested calls.
    fresh_max: usize,
    workers: usize,
    /// Workers that can run at once. For short calls no more than these are woken: others would take the processor
    /// from those awake.
    cores: usize,
    gauges: QueueGauges,
    worker_gauges: WorkerGauges,
    /// How much of their time the port's transactions hold a permit.
    pub(super) permit_usage: PermitUsage,
    /// Whether a thread waits until nothing is in flight.
    drained: (Mutex<bool>, Condvar),
    pub(crate) permit_clock: PermitClock,
}

/// Gauges that listener and workers change with each burst. Aligned to its own cache lines to avoid false sharing, and
/// so that one transfer between processors brings all of it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct QueueGauges {
    /// Calls that wait.
    calls: unordered::AtomicUsize,
    /// Bursts that wait.
    bursts: unordered::AtomicUsize,
    /// Bursts taken since the start.
    taken: unordered::AtomicU64,
    /// Likely cost of the calls that wait.
    cost_ns: unordered::AtomicU64,
    /// The part of `calls` that handlers of this server made, and their likely cost.
    nested_calls: unordered::AtomicUsize,
    nested_ns: unordered::AtomicU64,
    /// Calls admitted and not yet answered.
    in_flight: AtomicUsize,
    /// Worker slots with calls or replies kept back behind a running call: see `worker_slot.rs`.
    exposed: AtomicUsize,
}

/// Gauges of the port's workers: read with each burst, changed seldom.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerGauges {
    /// Workers that hold a permit.
    awake: AtomicUsize,
    /// Awake workers that were woken and have not found work yet.
    searching: AtomicUsize,
    /// Awake workers that run a call not known to be short, or found to be slow.
    engaged: AtomicUsize,
    /// Fresh bursts in progress; counted only where workers are kept for nested calls.
    begun: AtomicUsize,
}

/// Sizes of a queue and of the pool it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueSizes {
    /// Calls that may wait. Workers may give the rest of a burst back besides.
    pub(crate) calls_max: usize,
    pub(crate) workers: usize,
    /// Workers kept for nested calls; at least one is left for the others.
    pub(crate) reserve: usize,
    /// Workers that can run at once.
    pub(crate) cores: usize,
}

/// A call that waited in a full queue and was taken out to make room.
#[derive(Debug)]
pub(crate) struct Displaced {
    pub(crate) work: Arc<Work>,
    pub(crate) call: Call,
}

#[cfg(test)]
impl Displaced {
    /// A call that was in no queue.
    pub(crate) fn none() -> Displaced {
        let work = Work::new(&super::buffers::Buffers::unbounded(), Instant::now());
        Displaced { work: Arc::new(work), call: Call::new(1, 1, crate::wire::Codec::Bincode, 0, None) }
    }
}

impl Queue {
    pub(crate) fn new(sizes: QueueSizes, now: Instant) -> Queue {
        let QueueSizes { calls_max, workers, reserve, cores } = sizes;
        Queue {
            fresh: WaitList::new(2 * calls_max + workers),
            nested: WaitList::new(calls_max + workers),
            emptied: AtomicUsize::new(0),
            calls_max: unordered::AtomicUsize::new(calls_max),
            calls_max_at_start: calls_max,
            fresh_max: workers.saturating_sub(reserve).max(1),
            workers,
            cores,
            gauges: QueueGauges::default(),
            worker_gauges: WorkerGauges::default(),
            permit_usage: PermitUsage::default(),
            drained: (Mutex::new(false), Condvar::new()),
            permit_clock: PermitClock::new(now),
        }
    }

    /// Calls that may still be admitted. Only the listener admits, so the answer holds until it pushes.
    pub(crate) fn room(&self) -> usize {
        self.calls_max.load(Ordering::Relaxed).saturating_sub(self.gauges.calls.load(Ordering::Relaxed))
    }

    /// Returns whether one more read may fill the queue. Not while less than half of it is taken: a connection that
    /// fills the rest with one read has more than half of the queue alone.
    pub(crate) fn is_tight(&self) -> bool {
        let most = self.calls_max.load(Ordering::Relaxed);
        let waiting = self.gauges.calls.load(Ordering::Relaxed);
        waiting > most / 2 && most.saturating_sub(waiting) < WINDOW_CALLS_MAX
    }

    /// Changes how many calls may wait, if that is no more than the queue was made for, and returns whether it did.
    /// Calls that wait already stay.
    pub(crate) fn set_calls_max(&self, calls_max: usize) -> bool {
        let fits = calls_max <= self.calls_max_at_start;
        if fits {
            self.calls_max.store(calls_max, Ordering::Relaxed);
        }
        fits
    }

    /// Likely cost of the calls that wait, in nanoseconds.
    pub(super) fn cost_ns(&self) -> u64 {
        self.gauges.cost_ns.load(Ordering::Relaxed)
    }

    /// Calls that wait.
    pub(crate) fn len(&self) -> usize {
        self.gauges.calls.load(Ordering::Relaxed)
    }

    /// Forecast for a connection's next call: of a call that a client made, or of a `nested` one, which comes
    /// first. `workers` may run at once.
    pub(super) fn forecast(&self, sink: &dyn ReplySink, workers: usize, nested: bool) -> Forecast {
        let gauges = &self.gauges;
        let workers = if nested { workers } else { workers.min(self.fresh_max) } as u64;
        let calls = if nested { &gauges.nested_calls } else { &gauges.calls }.load(Ordering::Relaxed) as u64;
        if calls == 0 {
            return Forecast { workers, ..Forecast::NONE };
        }
        let own_ns = sink.queue(nested).cost_ns();
        if nested {
            let (queue_ns, connections) =
                (gauges.nested_ns.load(Ordering::Relaxed), self.nested.len() as u64);
            return Forecast { queue_ns, calls, bursts: calls, connections, own_ns, workers };
        }
        let (queue_ns, bursts) =
            (gauges.cost_ns.load(Ordering::Relaxed), gauges.bursts.load(Ordering::Relaxed));
        let connections = self.fresh.len() + self.nested.len();
        Forecast { queue_ns, calls, bursts: bursts as u64, connections: connections as u64, own_ns, workers }
    }

    /// Returns whether other connections wait. Includes those that only this worker may take next, because the other
    /// workers are kept for nested calls.
    pub(super) fn others_wait(&self) -> bool {
        !(self.nested.is_empty() && self.fresh.is_empty())
    }

    /// Returns whether there is no burst that a worker might take.
    pub(crate) fn is_empty(&self) -> bool {
        self.nested.is_empty() && (self.fresh.is_empty() || self.keeps_workers() && self.fresh_are_full())
    }

    /// Number of workers that are kept for nested calls.
    pub(super) fn kept(&self) -> usize {
        self.workers - self.fresh_max
    }

    fn keeps_workers(&self) -> bool {
        self.fresh_max < self.workers
    }

    fn fresh_are_full(&self) -> bool {
        self.worker_gauges.begun.load(Ordering::SeqCst) >= self.fresh_max
    }

    /// Admits a burst: its calls are in flight until [`Queue::answered`].
    pub(crate) fn admit(&self, burst: Burst, service_times: &ServiceTimes) {
        self.gauges.in_flight.fetch_add(burst.len(), Ordering::SeqCst);
        self.put(burst, service_times, ConnectionQueue::push);
    }

    /// Gives the rest of a burst back: before those bursts of its connection that have not been taken yet, since it has
    /// had its turn.
    pub(super) fn give_back(&self, rest: Burst, service_times: &ServiceTimes) {
        self.put(rest, service_times, ConnectionQueue::push_front);
    }

    /// Queues a call that waited in the line of its method: before all others, since it has had its turn.
    pub(super) fn recall(&self, burst: Burst, service_times: &ServiceTimes) {
        let nested = burst.is_nested();
        let queued = self.count(burst, service_times);
        self.wait_list(nested).recall(queued);
    }

    fn put(
        &self,
        burst: Burst,
        service_times: &ServiceTimes,
        push: impl FnOnce(&ConnectionQueue<Burst>, QueuedBurst<Burst>) -> bool,
    ) {
        let (nested, sink) = (burst.is_nested(), Arc::clone(burst.work().sink()));
        let queued = self.count(burst, service_times);
        if push(sink.queue(nested), queued) {
            self.wait_list(nested).join(sink);
        }
    }

    /// Adds a burst to the gauges.
    #[inline]
    fn count(&self, burst: Burst, service_times: &ServiceTimes) -> QueuedBurst<Burst> {
        let calls = burst.len();
        let cost_ns = BURST_NS
            + burst.calls().iter().map(|call| u64::from(service_times.mean_ns(call.method))).sum::<u64>();
        self.gauges.calls.fetch_add(calls, Ordering::Relaxed);
        self.gauges.bursts.fetch_add(1, Ordering::Relaxed);
        self.gauges.cost_ns.fetch_add(cost_ns, Ordering::Relaxed);
        if burst.is_nested() {
            self.gauges.nested_calls.fetch_add(calls, Ordering::Relaxed);
            self.gauges.nested_ns.fetch_add(cost_ns, Ordering::Relaxed);
        }
        QueuedBurst { burst, calls, cost_ns }
    }

    /// Takes the youngest fresh call of a connection out again, if it has more than `most` waiting: the queue is full,
    /// and others have fewer. For the listener alone. The last call of a connection stays while many connections have
    /// lost theirs, since such a connection keeps its place in the queue.
    pub(crate) fn displace(
        &self,
        sink: &dyn ReplySink,
        most: usize,
        service_times: &ServiceTimes,
    ) -> Option<Displaced> {
        let may_empty = || {
            let may = self.emptied.load(Ordering::SeqCst) < self.calls_max_at_start;
            self.emptied.fetch_add(usize::from(may), Ordering::SeqCst);
            may
        };
        let pop_back = |burst: &mut Burst| {
            let call = burst.pop_back()?;
            let cost_ns = u64::from(service_times.mean_ns(call.method));
            Some((Displaced { work: Arc::clone(burst.work()), call }, cost_ns))
        };
        let taken = sink.queue(false).take_back(most, may_empty, pop_back)?;
        self.gauges.calls.fetch_sub(1, Ordering::SeqCst);
        self.gauges.bursts.fetch_sub(usize::from(taken.ends_burst), Ordering::Relaxed);
        self.gauges.cost_ns.fetch_sub(taken.cost_ns, Ordering::Relaxed);
        Some(taken.call)
    }

    fn wait_list(&self, nested: bool) -> &WaitList {
        if nested { &self.nested } else { &self.fresh }
    }

    /// Takes a burst of the first connection, which goes to the end if it has more. A burst of several calls counts as
    /// exposed from here on. To be followed by [`Queue::done`].
    #[inline]
    pub(super) fn take(&self) -> Option<Burst> {
        self.take_with(Queue::next_fresh)
    }

    /// As [`Queue::take`], for bursts that are refused instead of served: keeps no workers.
    pub(super) fn take_to_refuse(&self) -> Option<Burst> {
        self.take_with(Queue::first_fresh)
    }

    #[inline]
    fn take_with(&self, next_fresh: impl FnOnce(&Queue) -> Option<Burst>) -> Option<Burst> {
        if let Some(burst) = self.nested.next_recalled() {
            return Some(self.taken(burst, true));
        }
        // Checked first: a try in vain costs more, and there are seldom any.
        let nested = if self.nested.is_empty() { None } else { self.nested.next() };
        match nested {
            Some(sink) => self.take_from(sink, true),
            None => next_fresh(self),
        }
    }

    #[inline]
    fn first_fresh(&self) -> Option<Burst> {
        if let Some(burst) = self.fresh.next_recalled() {
            return Some(self.taken(burst, false));
        }
        loop {
            let burst = self.take_from(self.fresh.next()?, false);
            if burst.is_some() {
                return burst;
            }
        }
    }

    /// Takes the first burst of a connection that was taken from its list; `None` of an emptied one.
    fn take_from(&self, sink: Arc<dyn ReplySink>, nested: bool) -> Option<Burst> {
        let TakenBursts { first, again, was_emptied } = sink.queue(nested).take();
        if was_emptied {
            self.emptied.fetch_sub(1, Ordering::SeqCst);
        }
        if again {
            // Between the two the queue may look empty to others; this worker is awake and looks again.
            self.wait_list(nested).join(sink);
        }
        first.map(|first| self.taken(first, nested))
    }

    fn taken(&self, QueuedBurst { burst, calls, cost_ns }: QueuedBurst<Burst>, nested: bool) -> Burst {
        if calls > 1 {
            self.change_exposed(1);
        }
        // After the line above, and SeqCst: the listener must see one of the two, or it would sleep without end while
        // calls wait behind a slow one.
        self.gauges.calls.fetch_sub(calls, Ordering::SeqCst);
        self.gauges.bursts.fetch_sub(1, Ordering::Relaxed);
        self.gauges.cost_ns.fetch_sub(cost_ns, Ordering::Relaxed);
        if nested {
            self.gauges.nested_calls.fetch_sub(calls, Ordering::Relaxed);
            self.gauges.nested_ns.fetch_sub(cost_ns, Ordering::Relaxed);
        }
        self.gauges.taken.fetch_add(1, Ordering::Relaxed);
        burst
    }

    fn next_fresh(&self) -> Option<Burst> {
        if !self.keeps_workers() {
            return self.first_fresh();
        }
        // Counted first: of two workers that see the last place one gets it.
        let free = self.worker_gauges.begun.fetch_add(1, Ordering::SeqCst) < self.fresh_max;
        let burst = if free || planted(Planted::NoReserve) { self.first_fresh() } else { None };
        if burst.is_none() && !planted(Planted::KeptPlace) {
            self.done(false);
        }
        burst
    }

    /// A burst that was taken is served. Its worker looks for more before it sleeps, so a place that comes free here
    /// is not lost.
    pub(super) fn done(&self, nested: bool) {
        if self.keeps_workers() && !nested {
            self.worker_gauges.begun.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Returns whether the workers awake are too few for what waits; always if none is awake.
    pub(super) fn needs_worker(&self) -> bool {
        // SeqCst, like the counts of the wait lists and the worker's decrement: see the proof in docs/ARCHITECTURE.md.
        let awake = self.worker_gauges.awake.load(Ordering::SeqCst);
        if awake == 0 {
            return true;
        }
        if self.worker_gauges.searching.load(Ordering::Relaxed) > 0 || self.is_empty() {
            return false;
        }
        let free = awake.saturating_sub(self.worker_gauges.engaged.load(Ordering::Relaxed));
        let behind = self.gauges.cost_ns.load(Ordering::Relaxed) > free as u64 * BACKLOG_NS_MAX;
        free == 0 || behind && free < self.cores
    }

    pub(crate) fn bursts_taken(&self) -> u64 {
        self.gauges.taken.load(Ordering::Relaxed)
    }

    /// Returns whether the listener has to look again within a millisecond or so: something may have to be rescued.
    pub(crate) fn needs_watch(&self) -> bool {
        self.gauges.calls.load(Ordering::SeqCst) > 0 || self.gauges.exposed.load(Ordering::SeqCst) > 0
    }

    /// Calls admitted and not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.gauges.in_flight.load(Ordering::SeqCst)
    }

    /// Counts calls as answered, or as dropped with their connection.
    pub(super) fn answered(&self, calls: usize) {
        if self.gauges.in_flight.fetch_sub(calls, Ordering::SeqCst) == calls && *self.drained.0.lock() {
            self.drained.1.notify_all();
        }
    }

    /// Waits until nothing is in flight, or until `deadline`. Returns how many calls are.
    pub(crate) fn await_drained(&self, deadline: Instant) -> usize {
        let mut waiting = self.drained.0.lock();
        *waiting = true;
        while self.in_flight() > 0 && !self.drained.1.wait_until(&mut waiting, deadline).timed_out() {}
        *waiting = false;
        self.in_flight()
    }

    /// Workers that hold a permit. Exact under the throttle's lock.
    pub(super) fn workers_awake(&self) -> usize {
        self.worker_gauges.awake.load(Ordering::SeqCst)
    }

    /// Changes the number of workers that hold a permit.
    pub(super) fn change_awake(&self, change: isize) {
        step(&self.worker_gauges.awake, change);
    }

    /// Changes the number of woken workers that look for work.
    pub(super) fn change_searching(&self, change: isize) {
        step(&self.worker_gauges.searching, change);
    }

    /// Changes the number of workers that run a call not known to be short.
    pub(super) fn change_engaged(&self, change: isize) {
        step(&self.worker_gauges.engaged, change);
    }

    /// Changes the number of worker slots that keep something back.
    pub(super) fn change_exposed(&self, change: isize) {
        step(&self.gauges.exposed, change);
    }
}

fn step(gauge: &AtomicUsize, change: isize) {
    let before = gauge.fetch_add(change as usize, Ordering::SeqCst);
    debug_assert!(before.checked_add_signed(change).is_some(), "a gauge below zero");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::buffers::Buffers;
    use crate::pool::null_sink::NullSink;
    use crate::wire::Codec;

    /// Queues a call of another connection.
    fn queue_one(queue: &Queue) {
        let mut work = Work::new(&Buffers::unbounded(), Instant::now());
        work.calls.push(Call::new(1, 1, Codec::Bincode, 0, None));
        work.sink = Some(Arc::new(NullSink::default()));
        Burst::split_work(Arc::new(work)).for_each(|burst| queue.admit(burst, &ServiceTimes::new(1)));
    }

    #[test]
    fn a_worker_sees_that_others_wait_while_workers_are_kept_for_nested_calls() {
        let queue = Queue::new(QueueSizes { calls_max: 8, workers: 2, reserve: 1, cores: 2 }, Instant::now());
        queue_one(&queue);
        let burst = queue.take().unwrap();
        assert!(!queue.others_wait());
        queue_one(&queue);
        assert!(queue.is_empty() && queue.take().is_none(), "the other worker is kept");
        assert!(queue.others_wait(), "for the end of this worker's turn");
        queue.done(burst.is_nested());
        assert!(!queue.is_empty());
    }
}
