//! Context of a worker for the handler it runs: returns the permit while the handler blocks, and takes one again after.
//!
//! Before a pause nothing may be kept back behind the handler, which may block for long: the replies before it go to
//! their client, the calls behind it to the queue. Knows the worker's slot, gauges and place at the throttle; knows
//! neither what a handler does nor why it blocks. For the worker's own thread alone.
//!
//! Invariants: `engaged` is in the port's gauge exactly while it is set here, or in the worker's slot by the listener,
//! and never while the permit is returned: a worker that is not awake cannot be subtracted from those awake.

use super::buffers::BufferLease;
use super::shared::{PortShared, Shared};
use super::throttle::PERMIT;
use super::worker_slot::Activity;
use crate::admission::ReceivedChain;
use crate::proto::Call;
use crate::service::PlaceValues;
use crate::service::worker_hooks::{Origin, OutgoingCall, OutgoingCallTable, WorkerHooks};
use crate::sync::{Arc, Parker, Planted, Weak, now, planted};
use crate::wire::{Chain, EntryId, Shortage};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct BlockingContext {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    /// Which worker this thread is.
    worker: Cell<usize>,
    parker: Arc<Parker>,
    /// Whether this worker is counted among those that run a call not known to be short.
    engaged: Cell<bool>,
    /// Time without a permit of the running call.
    waits: Cell<Option<Waits>>,
    paused: Cell<Option<Instant>>,
    running: RefCell<Running>,
    /// Memory of the running call's arguments, besides its bytes.
    arguments: RefCell<BufferLease>,
}

/// The time of a transaction in which it had no permit.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Waits {
    /// Waited for a permit, after its handler had blocked.
    pub(super) for_permit: Duration,
    /// All of that time.
    pub(super) permitless: Duration,
}

/// The transaction whose handler runs.
#[derive(Debug, Default)]
struct Running {
    method: u16,
    deadline: Option<Instant>,
    /// The calls it was made for, if another handler called it.
    chain: Option<Arc<ReceivedChain>>,
    /// Number of calls it has made.
    calls: u32,
}

impl BlockingContext {
    /// For one of the port's threads: see [`Throttle::parker`](super::throttle::Throttle::parker).
    pub(super) fn new(shared: Arc<Shared>, port: Arc<PortShared>, thread: usize) -> BlockingContext {
        let arguments = RefCell::new(BufferLease::new(&port.buffers));
        let parker = Arc::clone(shared.throttle.parker(port.index, thread));
        BlockingContext {
            shared,
            port,
            worker: Cell::new(thread),
            parker,
            engaged: Cell::default(),
            waits: Cell::default(),
            paused: Cell::default(),
            running: RefCell::default(),
            arguments,
        }
    }

    /// Sleeps until this thread is woken, and returns the word for it.
    pub(super) fn sleep(&self) -> u32 {
        self.parker.park()
    }

    /// Which worker this thread is.
    pub(super) fn worker(&self) -> usize {
        self.worker.get()
    }

    /// This thread is another worker from now on. Not while it runs a call.
    pub(super) fn set_worker(&self, worker: usize) {
        self.worker.set(worker);
    }

    /// A transaction begins.
    pub(super) fn begin(&self, call: &Call, chain: Option<&Arc<ReceivedChain>>) {
        let mut running = self.running.borrow_mut();
        let (method, deadline) = (call.method, call.deadline);
        *running = Running { method, deadline, chain: chain.map(Arc::clone), calls: 0 };
    }

    /// Announces that the running call is not known to be short, so that other calls do not wait for it.
    pub(super) fn engage(&self) {
        self.engaged.set(true);
        self.port.queue.change_engaged(1);
        self.shared.throttle.announce(self.port.index);
    }

    /// The transaction has ended.
    pub(super) fn end(&self) {
        if self.running.borrow().calls > 0 {
            self.shared.nested.outgoing.close_all(self.port.index, self.worker());
        }
        self.arguments.borrow_mut().set(0);
    }

    /// The call has ended, or blocks.
    pub(super) fn disengage(&self) {
        if self.engaged.take() {
            self.port.queue.change_engaged(-1);
        }
    }

    /// Takes the call's time without a permit, leaving none for the next call.
    pub(super) fn take_waits(&self) -> Waits {
        self.waits.take().unwrap_or_default()
    }
}

impl WorkerHooks for BlockingContext {
    fn pause(&self) {
        let (shared, port) = (&*self.shared, &*self.port);
        let disengage = || port.queue.change_engaged(-1);
        if let Some(released) = port.slots[self.worker()].release_blocked(now(), disengage) {
            port.give_away(shared, released);
        }
        self.disengage();
        let seen_early = planted(Planted::LatePause).then(|| port.queue.is_empty());
        // First no longer awake, then the look at the queue: see the proof in docs/ARCHITECTURE.md.
        shared.throttle.pause(port.index, self.worker());
        self.paused.set(Some(now()));
        if !seen_early.unwrap_or_else(|| port.queue.is_empty()) {
            shared.throttle.announce(port.index);
        }
    }

    fn resume(&self) {
        let (mut waits, slot) = (self.take_waits(), &self.port.slots[self.worker()]);
        if !self.shared.throttle.resume(self.port.index, self.worker()) {
            let start = now();
            slot.set_activity(Activity::Returning, start);
            // No other word can come: the others are for threads of idle workers.
            let word = self.sleep();
            debug_assert_eq!(word, PERMIT, "a worker in line gets a permit");
            waits.for_permit += now().saturating_duration_since(start);
        }
        let back = now();
        slot.set_activity(Activity::Running, back);
        if let Some(paused) = self.paused.take() {
            waits.permitless += back.saturating_duration_since(paused);
        }
        self.waits.set(Some(waits));
        // However short the method was estimated to be: this call is not.
        self.engage();
    }

    fn origin(&self) -> Origin {
        let mut running = self.running.borrow_mut();
        running.calls += 1;
        let name = format!("{} {}", self.port.name, self.shared.services.name(running.method));
        let outgoing = &self.shared.nested.outgoing;
        let (entry, is_open) = outgoing.open(self.port.index, self.worker(), running.calls, name);
        if !is_open {
            self.port.stats.nested_over.add(1);
        }
        let table: Weak<dyn OutgoingCallTable> = Arc::downgrade(&self.shared) as Weak<dyn OutgoingCallTable>;
        let open = OutgoingCall { table, id: entry.id() };
        let outer = running.chain.as_ref().map_or(&[][..], |chain| &chain.entries);
        let chain = Chain { entries: outer.iter().cloned().chain([entry]).collect() };
        Origin { chain, open }
    }

    fn deadline(&self) -> Option<Instant> {
        self.running.borrow().deadline
    }

    fn awaits(&self, call: Option<EntryId>) {
        let (nested, port) = (&self.shared.nested, self.port.index);
        match call {
            Some(call) => nested.begin_wait(port, self.worker(), self.running.borrow().method, call),
            None => nested.end_wait(port, self.worker()),
        }
    }

    fn reserve(&self, bytes: usize) -> Result<(), Shortage> {
        let (buffers, mut arguments) = (&self.port.buffers, self.arguments.borrow_mut());
        if arguments.bytes().saturating_add(bytes) > buffers.argument_bytes_max() {
            return Err(Shortage::Ever);
        }
        // The last eighth is left to small reads, so that calls can be refused, and to replies.
        let has_room = !buffers.are_full() && arguments.try_add(bytes);
        if has_room { Ok(()) } else { Err(Shortage::Now) }
    }

    fn place_values(&self) -> Option<Arc<PlaceValues>> {
        self.shared.services.worker_values().of(self.port.index, self.worker())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{PoolSizes, PortWorkers, Queue, QueueSizes, Throttle};
    use crate::service::ServicesBuilder;
    use std::num::NonZeroU32;

    #[test]
    fn the_wait_for_a_permit_is_counted_for_one_call() {
        let queue =
            Arc::new(Queue::new(QueueSizes { calls_max: 8, workers: 2, reserve: 0, cores: 2 }, now()));
        let workers = PortWorkers::new(Arc::clone(&queue), 2);
        let throttle = Throttle::new(NonZeroU32::new(1), vec![workers]);
        let services = ServicesBuilder::default().build().unwrap();
        let shared = Arc::new(Shared::new(services, throttle, 1024));
        let sizes = PoolSizes { workers: 2, ..PoolSizes::default() };
        let port = PortShared::unlimited(0, queue, sizes, now());
        let context = BlockingContext::new(Arc::clone(&shared), Arc::new(port), 0);
        let throttle = &shared.throttle;

        assert!(throttle.wake_one(0) && context.sleep() == PERMIT);
        context.pause();
        context.resume();
        assert_eq!(context.take_waits().for_permit, Duration::ZERO, "there was a permit");
        context.pause();
        assert!(throttle.wake_one(0), "the permit goes to the other worker");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !throttle.others_starve(0) {
                    std::thread::yield_now();
                }
                throttle.retire(0, 1);
            });
            context.resume();
        });
        assert!(context.take_waits().for_permit > Duration::ZERO);
        assert_eq!(context.take_waits().permitless, Duration::ZERO, "taken");
        context.disengage();
        assert_eq!(throttle.permits(), (1, 1));
    }
}
