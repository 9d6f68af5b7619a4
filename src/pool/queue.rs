//! A port's bounded queue, and the gauges that decide whether to wake another worker.
//!
//! The channel holds each connection once that has calls waiting; its bursts wait in its [`ConnectionQueue`]:
//! connections take turns.

use super::connection_queue::{ConnectionQueue, Displaced, QueuedBurst, TakenBursts};
use super::permit_clock::PermitClock;
use super::throttle::Throttle;
use super::{Burst, ReplySink};
use crate::admission::{Forecast, WINDOW_CALLS_MAX};
use crate::metrics::{PermitUsage, ServiceTimes};
use crate::proto::Call;
use crate::sync::{
    Arc, AtomicUsize, Condvar, Mutex, Ordering, Planted, Receiver, Sender, bounded, planted, unordered,
};
use std::time::Instant;

/// A worker is woken beside those awake when each of them has more than this before it, in nanoseconds: a few times
/// what a wake costs. Measured from 5 to 100 us: at 100 a second core stands idle while calls wait.
const BACKLOG_NS_MAX: u64 = 25_000;

/// What a burst costs beside its handlers: taking it, and the system call that answers it. In nanoseconds.
const BURST_NS: u64 = 5_000;

/// Calls that wait, and what they are likely to cost.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Connections with calls that clients made.
    fresh: WaitList,
    /// Connections with calls that handlers of this server made; they come first.
    nested: WaitList,
    /// Connections in the line of fresh calls that have none there any more: all were displaced.
    hollow: AtomicUsize,
    /// Calls that may wait; no more than the channels have places for.
    calls_max: unordered::AtomicUsize,
    calls_max_at_start: usize,
    /// Workers that fresh calls may have at once; the others are kept for nested calls.
    fresh_max: usize,
    workers: usize,
    /// Workers that can run at once. More of them are not woken for calls that are short: they would take the
    /// processor from those awake.
    cores: usize,
    flow: QueueGauges,
    crew: WorkerGauges,
    /// How much of their time the port's transactions hold a permit.
    pub(super) holding: PermitUsage,
    /// Somebody waits until nothing is in flight.
    drained: (Mutex<bool>, Condvar),
    permit_clock: PermitClock,
}

/// What listener and workers change with each burst. Alone on its lines of memory, so that one transfer between
/// processors brings it all.
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
    /// Of them, those that handlers of this server made, and their likely cost.
    nested_calls: unordered::AtomicUsize,
    nested_ns: unordered::AtomicU64,
    /// Calls admitted and not yet answered.
    in_flight: AtomicUsize,
    /// Turns with something kept back behind a running call: see [`super::WorkerSlot`].
    exposed: AtomicUsize,
}

/// What the port's workers do: asked with each burst, changed seldom.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerGauges {
    /// Those that hold a permit.
    awake: AtomicUsize,
    /// Those of them that were woken and have not found work yet.
    searching: AtomicUsize,
    /// Those of them that run a call not known to be short.
    engaged: AtomicUsize,
    /// Fresh bursts in progress; counted only where workers are kept.
    begun: AtomicUsize,
}

/// Connections whose bursts wait.
#[derive(Debug)]
struct WaitList(Sender<Arc<dyn ReplySink>>, Receiver<Arc<dyn ReplySink>>);

impl WaitList {
    fn new(places: usize) -> WaitList {
        let (sender, receiver) = bounded(places);
        WaitList(sender, receiver)
    }

    fn join(&self, outlet: Arc<dyn ReplySink>) {
        // Each connection in the channel has a call that was admitted against `calls_max` or was given back by a
        // worker, of which each gives back one, or is one of the hollow ones, which are no more than `calls_max`: the
        // channel has a place for all of them.
        self.0.try_send(outlet).expect("the channel has a place for every connection");
    }

    fn next(&self) -> Option<Arc<dyn ReplySink>> {
        self.1.try_recv().ok()
    }

    fn len(&self) -> usize {
        self.1.len()
    }

    fn is_empty(&self) -> bool {
        self.1.is_empty()
    }
}

/// How large a queue is, and whom it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueReadings {
    /// Calls that may wait. Workers may give the rest of a burst back besides.
    pub(crate) calls_max: usize,
    pub(crate) workers: usize,
    /// Workers kept for nested calls; one at least is left for the others.
    pub(crate) reserve: usize,
    /// Workers that can run at once.
    pub(crate) cores: usize,
}

impl Queue {
    pub(crate) fn new(measures: QueueReadings, now: Instant) -> Queue {
        let QueueReadings { calls_max, workers, reserve, cores } = measures;
        Queue {
            fresh: WaitList::new(2 * calls_max + workers),
            nested: WaitList::new(calls_max + workers),
            hollow: AtomicUsize::new(0),
            calls_max: unordered::AtomicUsize::new(calls_max),
            calls_max_at_start: calls_max,
            fresh_max: workers.saturating_sub(reserve).max(1),
            workers,
            cores,
            flow: QueueGauges::default(),
            crew: WorkerGauges::default(),
            holding: PermitUsage::default(),
            drained: (Mutex::new(false), Condvar::new()),
            permit_clock: PermitClock::new(now),
        }
    }

    /// Calls that may still be admitted. Only the listener admits, so what it is told stays true until it pushes.
    pub(crate) fn room(&self) -> usize {
        self.calls_max.load(Ordering::Relaxed).saturating_sub(self.flow.calls.load(Ordering::Relaxed))
    }

    /// May a read more fill the queue? Not while less than half of it is taken: who fills that with one read has more
    /// than half of it alone.
    pub(crate) fn is_tight(&self) -> bool {
        let most = self.calls_max.load(Ordering::Relaxed);
        let waiting = self.flow.calls.load(Ordering::Relaxed);
        waiting > most / 2 && most.saturating_sub(waiting) < WINDOW_CALLS_MAX
    }

    /// From now on so many calls may wait, if that is no more than the queue was made for; else nothing changes. Those
    /// that wait go on waiting.
    pub(crate) fn set_calls_max(&self, calls_max: usize) -> bool {
        let fits = calls_max <= self.calls_max_at_start;
        if fits {
            self.calls_max.store(calls_max, Ordering::Relaxed);
        }
        fits
    }

    /// Calls that wait.
    pub(crate) fn len(&self) -> usize {
        self.flow.calls.load(Ordering::Relaxed)
    }

    /// What is ahead of a connection's next call, of those that clients made or of the `nested` ones, which come first.
    /// `workers` may run at once.
    pub(super) fn forecast(&self, outlet: &dyn ReplySink, workers: usize, nested: bool) -> Forecast {
        let flow = &self.flow;
        let workers = if nested { workers } else { workers.min(self.fresh_max) } as u64;
        let calls = if nested { &flow.nested_calls } else { &flow.calls }.load(Ordering::Relaxed) as u64;
        if calls == 0 {
            return Forecast { workers, ..Forecast::NONE };
        }
        let lane_ns = outlet.lane(nested).cost_ns();
        if nested {
            let (queue_ns, lanes) = (flow.nested_ns.load(Ordering::Relaxed), self.nested.len() as u64);
            return Forecast { queue_ns, calls, bursts: calls, lanes, lane_ns, workers };
        }
        let (queue_ns, bursts) = (flow.cost_ns.load(Ordering::Relaxed), flow.bursts.load(Ordering::Relaxed));
        let lanes = self.fresh.len() + self.nested.len();
        Forecast { queue_ns, calls, bursts: bursts as u64, lanes: lanes as u64, lane_ns, workers }
    }

    /// Do other connections wait for their turn? Those too that only this worker may take next, because the others are
    /// kept for nested calls.
    pub(super) fn others_wait(&self) -> bool {
        !(self.nested.is_empty() && self.fresh.is_empty())
    }

    /// Is there no burst that a worker might take?
    pub(crate) fn is_empty(&self) -> bool {
        self.nested.is_empty() && (self.fresh.is_empty() || self.keeps_workers() && self.fresh_are_full())
    }

    /// How many workers are kept for nested calls.
    pub(super) fn kept(&self) -> usize {
        self.workers - self.fresh_max
    }

    /// Are some workers kept for nested calls?
    fn keeps_workers(&self) -> bool {
        self.fresh_max < self.workers
    }

    fn fresh_are_full(&self) -> bool {
        self.crew.begun.load(Ordering::SeqCst) >= self.fresh_max
    }

    /// Admits a burst: its calls are in flight until [`Queue::answered`].
    pub(crate) fn admit(&self, burst: Burst, paces: &ServiceTimes) {
        self.flow.in_flight.fetch_add(burst.len(), Ordering::SeqCst);
        self.push(burst, paces);
    }

    /// Puts a burst behind the others of its connection.
    fn push(&self, burst: Burst, paces: &ServiceTimes) {
        self.put(burst, paces, ConnectionQueue::push);
    }

    /// Gives the rest of a burst back: before the others of its connection that have not come into the line yet, for
    /// it has had its turn.
    pub(super) fn give_back(&self, rest: Burst, paces: &ServiceTimes) {
        self.put(rest, paces, ConnectionQueue::push_front);
    }

    fn put(
        &self,
        burst: Burst,
        paces: &ServiceTimes,
        push: impl FnOnce(&ConnectionQueue, QueuedBurst) -> bool,
    ) {
        let calls = burst.len();
        let cost_ns =
            BURST_NS + burst.calls().iter().map(|call| u64::from(paces.mean_ns(call.method))).sum::<u64>();
        self.flow.calls.fetch_add(calls, Ordering::Relaxed);
        self.flow.bursts.fetch_add(1, Ordering::Relaxed);
        self.flow.cost_ns.fetch_add(cost_ns, Ordering::Relaxed);
        let nested = burst.is_nested();
        if nested {
            self.flow.nested_calls.fetch_add(calls, Ordering::Relaxed);
            self.flow.nested_ns.fetch_add(cost_ns, Ordering::Relaxed);
        }
        let outlet = Arc::clone(burst.work().outlet());
        if push(outlet.lane(nested), QueuedBurst { burst, cost_ns }) {
            self.line(nested).join(outlet);
        }
    }

    /// Takes the youngest of the fresh calls of a connection out again, if it has more than `most` waiting: the queue
    /// is full, and others have fewer. For the listener alone. Not its last call while many connections have lost
    /// theirs: such a connection still has its place in the line.
    pub(super) fn displace(
        &self,
        outlet: &dyn ReplySink,
        most: usize,
        paces: &ServiceTimes,
    ) -> Option<Displaced> {
        let may_end = || {
            let may = self.hollow.load(Ordering::SeqCst) < self.calls_max_at_start;
            self.hollow.fetch_add(usize::from(may), Ordering::SeqCst);
            may
        };
        let cost_ns = |call: &Call| u64::from(paces.mean_ns(call.method));
        let displaced = outlet.lane(false).displace(most, may_end, cost_ns)?;
        self.flow.calls.fetch_sub(1, Ordering::SeqCst);
        self.flow.bursts.fetch_sub(usize::from(displaced.ends_burst), Ordering::Relaxed);
        self.flow.cost_ns.fetch_sub(displaced.cost_ns, Ordering::Relaxed);
        Some(displaced)
    }

    fn line(&self, nested: bool) -> &WaitList {
        if nested { &self.nested } else { &self.fresh }
    }

    /// Takes a burst of the first connection in line, which goes to the end if it has more. One of several calls
    /// counts as exposed from here on. To be followed by [`Queue::done`].
    pub(super) fn take(&self) -> Option<Burst> {
        self.take_with(Queue::next_fresh)
    }

    /// As [`Queue::take`], for bursts that are not going to be served: keeps no workers.
    pub(super) fn take_to_refuse(&self) -> Option<Burst> {
        self.take_with(Queue::first_fresh)
    }

    fn take_with(&self, next_fresh: impl FnOnce(&Queue) -> Option<Burst>) -> Option<Burst> {
        // Asked first: to try in vain costs more, and there are seldom any.
        let nested = if self.nested.is_empty() { None } else { self.nested.next() };
        match nested {
            Some(outlet) => self.take_from(outlet, true),
            None => next_fresh(self),
        }
    }

    fn first_fresh(&self) -> Option<Burst> {
        loop {
            let burst = self.take_from(self.fresh.next()?, false);
            if burst.is_some() {
                return burst;
            }
        }
    }

    /// Takes the first burst of a connection that was taken from its line; `None` of a hollow one.
    fn take_from(&self, outlet: Arc<dyn ReplySink>, nested: bool) -> Option<Burst> {
        let TakenBursts { first, again, was_hollow } = outlet.lane(nested).take();
        if was_hollow {
            self.hollow.fetch_sub(1, Ordering::SeqCst);
        }
        if again {
            // Between the two the queue may look empty to others; this worker is awake and looks again.
            self.line(nested).join(outlet);
        }
        first.map(|first| self.taken(first, nested))
    }

    fn taken(&self, QueuedBurst { burst, cost_ns }: QueuedBurst, nested: bool) -> Burst {
        if burst.len() > 1 {
            self.exposed(1);
        }
        // After the line above, and SeqCst: the listener must see one of the two, or it would sleep without end while
        // calls wait behind a slow one.
        self.flow.calls.fetch_sub(burst.len(), Ordering::SeqCst);
        self.flow.bursts.fetch_sub(1, Ordering::Relaxed);
        self.flow.cost_ns.fetch_sub(cost_ns, Ordering::Relaxed);
        if nested {
            self.flow.nested_calls.fetch_sub(burst.len(), Ordering::Relaxed);
            self.flow.nested_ns.fetch_sub(cost_ns, Ordering::Relaxed);
        }
        self.flow.taken.fetch_add(1, Ordering::Relaxed);
        burst
    }

    fn next_fresh(&self) -> Option<Burst> {
        if !self.keeps_workers() {
            return self.first_fresh();
        }
        // Counted first: of two workers that see the last place one gets it.
        let free = self.crew.begun.fetch_add(1, Ordering::SeqCst) < self.fresh_max;
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
            self.crew.begun.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// To be called when work was queued or taken: wakes one more worker if those awake are too few for what
    /// waits. One at a time: a worker that was woken asks again when it has found work.
    pub(crate) fn announce(&self, throttle: &Throttle, port: usize) {
        // SeqCst, like the channel's own operations and the worker's decrement: see the proof in docs/ARCHITECTURE.md.
        let awake = self.crew.awake.load(Ordering::SeqCst);
        if awake == 0 {
            throttle.wake_one(port);
            return;
        }
        if self.crew.searching.load(Ordering::Relaxed) > 0 || self.is_empty() {
            return;
        }
        let free = awake.saturating_sub(self.crew.engaged.load(Ordering::Relaxed));
        let behind = self.flow.cost_ns.load(Ordering::Relaxed) > free as u64 * BACKLOG_NS_MAX;
        if free == 0 || behind && free < self.cores {
            throttle.wake_one(port);
        }
    }

    /// Bursts taken since the start.
    pub(crate) fn bursts_taken(&self) -> u64 {
        self.flow.taken.load(Ordering::Relaxed)
    }

    /// May something have to be rescued soon? Then the listener looks again within a millisecond or so.
    pub(crate) fn needs_watch(&self) -> bool {
        self.flow.calls.load(Ordering::SeqCst) > 0 || self.flow.exposed.load(Ordering::SeqCst) > 0
    }

    /// Calls admitted and not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.flow.in_flight.load(Ordering::SeqCst)
    }

    /// So many calls were answered or dropped.
    pub(super) fn answered(&self, calls: usize) {
        if self.flow.in_flight.fetch_sub(calls, Ordering::SeqCst) == calls && *self.drained.0.lock() {
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

    pub(crate) fn permit_clock(&self) -> &PermitClock {
        &self.permit_clock
    }

    /// Workers that hold a permit. Exact with the throttle's lock.
    pub(super) fn workers_awake(&self) -> usize {
        self.crew.awake.load(Ordering::SeqCst)
    }

    /// One worker more or less holds a permit.
    pub(super) fn awake(&self, change: isize) {
        step(&self.crew.awake, change);
    }

    /// One worker more or less looks for work.
    pub(super) fn searching(&self, change: isize) {
        step(&self.crew.searching, change);
    }

    /// One worker more or less runs a call not known to be short.
    pub(super) fn engaged(&self, change: isize) {
        step(&self.crew.engaged, change);
    }

    /// One turn more or less has something kept back.
    pub(super) fn exposed(&self, change: isize) {
        step(&self.flow.exposed, change);
    }
}

fn step(gauge: &AtomicUsize, change: isize) {
    let before = gauge.fetch_add(change as usize, Ordering::SeqCst);
    debug_assert!(before.checked_add_signed(change).is_some(), "a gauge below zero");
}

#[cfg(test)]
mod tests {
    use super::super::null_sink::NullSink;
    use super::super::{Buffers, Work};
    use super::*;
    use crate::proto::Call;
    use crate::wire::Codec;

    /// A call of another connection is queued.
    fn queue_one(queue: &Queue) {
        let mut work = Work::new(&Buffers::unbounded(), Instant::now());
        work.calls.push(Call::new(1, 1, Codec::Bincode, 0, None));
        work.outlet = Some(Arc::new(NullSink::default()));
        Burst::split_work(Arc::new(work)).for_each(|burst| queue.admit(burst, &ServiceTimes::new(1)));
    }

    #[test]
    fn who_serves_while_workers_are_kept_sees_others_wait() {
        let queue =
            Queue::new(QueueReadings { calls_max: 8, workers: 2, reserve: 1, cores: 2 }, Instant::now());
        queue_one(&queue);
        let burst = queue.take().unwrap();
        assert!(!queue.others_wait());
        queue_one(&queue);
        assert!(queue.is_empty() && queue.take().is_none(), "the other worker is kept");
        assert!(queue.others_wait(), "for this one to end its turn");
        queue.done(burst.is_nested());
        assert!(!queue.is_empty());
    }
}
