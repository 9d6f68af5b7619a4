//! A worker as the handler it runs meets it: takes the permit from the handler that waits, and brings it back.
//!
//! Before a pause nothing may be kept back behind the handler, which may wait for long: the replies before it go to
//! their client, the calls behind it to the queue. Knows the worker's turn, gauges and place at the throttle; knows
//! neither what a handler does nor why it waits. For the worker's own thread alone.
//!
//! Invariants: `engaged` is in the port's gauge exactly while it is set here, and never while the permit is given
//! back: who is not awake cannot be counted out of those awake.

use super::throttle::PERMIT;
use super::worker_slot::Activity;
use super::{BufferLease, PortShared, Shared};
use crate::admission::ReceivedChain;
use crate::proto::Call;
use crate::service::worker_hooks::{Origin, OutgoingCall, OutgoingCallTable, WorkerHooks};
use crate::sync::{Arc, Parker, Planted, Weak, now, planted};
use crate::wire::{Chain, LinkId, Shortage};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct BlockingContext {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    id: usize,
    parker: Arc<Parker>,
    /// Is this worker counted among those that run a call not known to be short?
    engaged: Cell<bool>,
    /// Of the running call.
    waits: Cell<Option<Waits>>,
    paused: Cell<Option<Instant>>,
    running: RefCell<Running>,
    /// Memory of the running call's arguments, besides its bytes.
    lent: RefCell<BufferLease>,
}

/// The time of a transaction in which it had no permit.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Waits {
    /// For a permit, after its handler had waited.
    pub(super) in_line: Duration,
    /// All of it.
    pub(super) permitless: Duration,
}

/// The transaction whose handler runs.
#[derive(Debug, Default)]
struct Running {
    method: u16,
    deadline: Option<Instant>,
    /// What it was called with, if another handler called it.
    chain: Option<Arc<ReceivedChain>>,
    /// Calls it has made.
    calls: u32,
}

impl BlockingContext {
    pub(super) fn new(
        shared: Arc<Shared>,
        port: Arc<PortShared>,
        id: usize,
        parker: Arc<Parker>,
    ) -> BlockingContext {
        let lent = RefCell::new(BufferLease::new(&port.buffers));
        BlockingContext {
            shared,
            port,
            id,
            parker,
            engaged: Cell::default(),
            waits: Cell::default(),
            paused: Cell::default(),
            running: RefCell::default(),
            lent,
        }
    }

    /// Sleeps until this worker is woken. Returns whether with a permit; otherwise it is to end.
    pub(super) fn await_permit(&self) -> bool {
        self.parker.park() == PERMIT
    }

    /// A transaction begins.
    pub(super) fn begin(&self, call: &Call, chain: Option<&Arc<ReceivedChain>>) {
        let mut running = self.running.borrow_mut();
        let (method, deadline) = (call.method, call.deadline);
        *running = Running { method, deadline, chain: chain.map(Arc::clone), calls: 0 };
    }

    /// The running call is not known to be short: others must not wait for it.
    pub(super) fn engage(&self) {
        self.engaged.set(true);
        self.port.queue.engaged(1);
        self.port.queue.announce(&self.shared.throttle, self.port.index);
    }

    /// The transaction has ended.
    pub(super) fn end(&self) {
        if self.running.borrow().calls > 0 {
            self.shared.nested.links.close_all(self.port.index, self.id);
        }
        self.lent.borrow_mut().set(0);
    }

    /// The call has ended, or waits.
    pub(super) fn disengage(&self) {
        if self.engaged.take() {
            self.port.queue.engaged(-1);
        }
    }

    /// The call's waits; none from here on, for the next call.
    pub(super) fn take_waits(&self) -> Waits {
        self.waits.take().unwrap_or_default()
    }
}

impl WorkerHooks for BlockingContext {
    fn pause(&self) {
        let (shared, port) = (&*self.shared, &*self.port);
        port.turns[self.id].let_go(port, shared, now());
        self.disengage();
        let seen_early = planted(Planted::LatePause).then(|| port.queue.is_empty());
        // First no longer awake, then the look at the queue: see the proof in docs/ARCHITECTURE.md.
        shared.throttle.pause(port.index);
        self.paused.set(Some(now()));
        if !seen_early.unwrap_or_else(|| port.queue.is_empty()) {
            port.queue.announce(&shared.throttle, port.index);
        }
    }

    fn resume(&self) {
        let (mut waits, turn) = (self.take_waits(), &self.port.turns[self.id]);
        if !self.shared.throttle.resume(self.port.index, self.id) {
            let start = now();
            turn.set_doing(Activity::Returning, start);
            // No other word can come: only workers on the stack of idle ones are told to end.
            let permitted = self.await_permit();
            debug_assert!(permitted, "who stands in line gets a permit in its turn");
            waits.in_line += now().saturating_duration_since(start);
        }
        let back = now();
        turn.set_doing(Activity::Running, back);
        if let Some(paused) = self.paused.take() {
            waits.permitless += back.saturating_duration_since(paused);
        }
        self.waits.set(Some(waits));
        // However short the method was taken to be: this call is not.
        self.engage();
    }

    fn origin(&self) -> Origin {
        let mut running = self.running.borrow_mut();
        running.calls += 1;
        let name = format!("{} {}", self.port.name, self.shared.services.name(running.method));
        let place = (self.port.index, self.id);
        let (link, is_open) = self.shared.nested.links.open(place, running.calls, name);
        if !is_open {
            self.port.stats.nested_over.add(1);
        }
        let links: Weak<dyn OutgoingCallTable> = Arc::downgrade(&self.shared) as Weak<dyn OutgoingCallTable>;
        let open = OutgoingCall { links, id: link.id() };
        let outer = running.chain.as_ref().map_or(&[][..], |chain| &chain.links);
        let chain = Chain { links: outer.iter().cloned().chain([link]).collect() };
        Origin { chain, open }
    }

    fn deadline(&self) -> Option<Instant> {
        self.running.borrow().deadline
    }

    fn awaits(&self, call: Option<LinkId>) {
        let (nested, port) = (&self.shared.nested, self.port.index);
        match call {
            Some(call) => nested.wait(port, self.id, call),
            None => nested.go_on(port, self.id),
        }
    }

    fn lend(&self, bytes: usize) -> Result<(), Shortage> {
        let (buffers, mut lent) = (&self.port.buffers, self.lent.borrow_mut());
        if lent.bytes().saturating_add(bytes) > buffers.part_of_a_call() {
            return Err(Shortage::Ever);
        }
        // The last eighth is left to what tells peers that there is no room.
        let has = !buffers.are_full() && lent.try_add(bytes);
        if has { Ok(()) } else { Err(Shortage::Now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Buffers, CodelRules, PoolSizes, PortWorkers, Queue, QueueReadings, Throttle};
    use crate::service::ServicesBuilder;
    use std::num::NonZeroU32;

    #[test]
    fn the_time_in_line_is_that_of_one_call() {
        let queue =
            Arc::new(Queue::new(QueueReadings { calls_max: 8, workers: 2, reserve: 0, cores: 2 }, now()));
        let parkers: Vec<_> = (0..2).map(|_| Arc::<Parker>::default()).collect();
        let seat = PortWorkers { queue: Arc::clone(&queue), parkers: parkers.clone() };
        let throttle = Throttle::new(NonZeroU32::new(1), vec![seat]);
        let services = ServicesBuilder::default().build().unwrap();
        let shared = Arc::new(Shared::new(services, throttle, 1024));
        let port = PortShared::new(
            0,
            "P".to_owned(),
            queue,
            PoolSizes { workers: 2, ..PoolSizes::default() },
            CodelRules::OFF,
            Buffers::unbounded(),
            now(),
        );
        let station = BlockingContext::new(Arc::clone(&shared), Arc::new(port), 0, Arc::clone(&parkers[0]));
        let throttle = &shared.throttle;

        assert!(throttle.wake_one(0) && station.await_permit());
        station.pause();
        station.resume();
        assert_eq!(station.take_waits().in_line, Duration::ZERO, "there was a permit");
        station.pause();
        assert!(throttle.wake_one(0), "the permit goes to the other worker");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !throttle.others_starve(0) {
                    std::thread::yield_now();
                }
                throttle.retire(0, 1);
            });
            station.resume();
        });
        assert!(station.take_waits().in_line > Duration::ZERO);
        assert_eq!(station.take_waits().permitless, Duration::ZERO, "taken");
        station.disengage();
        assert_eq!(throttle.permits(), (1, 1));
    }
}
