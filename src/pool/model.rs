//! Models of the hand-over between listener, queue, workers and throttle, for loom and shuttle: the code itself, with
//! the checker's primitives in place of those of `sync.rs`.
//!
//! A lost wake-up shows as a deadlock: the threads of a model end only when every call was answered.
//! `benches/models.sh` runs the models, and again with each bug of [`crate::sync::Planted`], which must be found.

use super::buffers::Buffers;
use super::burst::{Burst, ReplySink, Work};
use super::null_sink::NullSink;
use super::queue::{Queue, QueueSizes};
use super::shared::{PoolSizes, PortShared, Shared};
use super::throttle::{PortWorkers, Throttle};
use super::worker::Worker;
use crate::admission::ReceivedChain;
use crate::proto::Call;
use crate::service::{Services, ServicesBuilder, Transaction};
use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Condvar, Mutex, Ordering, check, now};
use crate::wire::Codec;
use std::num::NonZeroU32;

mod method_limits;
mod run_where_read;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

/// Counts of the handlers: how many of them run at once, and the calls they make.
#[derive(Debug, Default)]
struct Witness {
    running: Mutex<usize>,
    peak: AtomicUsize,
    /// Handlers that have come to the meeting.
    met: Mutex<usize>,
    all_met: Condvar,
    /// Calls made by handlers, and those of them that were answered.
    calls: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Witness {
    fn run(&self) {
        let running = {
            let mut running = self.running.lock();
            *running += 1;
            *running
        };
        self.peak.fetch_max(running, Ordering::Relaxed);
        *self.running.lock() -= 1;
    }

    /// Waits until `handlers` handlers are here at once.
    fn meet(&self, handlers: usize) {
        let mut met = self.met.lock();
        *met += 1;
        self.all_met.notify_all();
        while *met < handlers {
            self.all_met.wait(&mut met);
        }
    }

    /// A handler makes a call and waits for a reply; which call it answers does not matter.
    fn call(&self) {
        let mut calls = self.calls.lock();
        calls.0 += 1;
        let own = calls.0;
        self.changed.notify_all();
        while calls.1 < own {
            self.changed.wait(&mut calls);
        }
    }

    fn note(&self) {
        self.calls.lock().0 += 1;
        self.changed.notify_all();
    }

    fn answer(&self) {
        self.calls.lock().1 += 1;
        self.changed.notify_all();
    }

    /// Waits until handlers have made `wanted` calls.
    fn await_calls(&self, wanted: usize) {
        let mut calls = self.calls.lock();
        while calls.0 < wanted {
            self.changed.wait(&mut calls);
        }
    }
}

/// A server without sockets: `ports` ports of `workers` workers each.
struct Model {
    shared: Arc<Shared>,
    ports: Vec<Arc<PortShared>>,
    threads: Vec<thread::JoinHandle<()>>,
    /// One connection of each port.
    connections: Vec<Arc<NullSink>>,
    witness: Arc<Witness>,
}

impl Model {
    fn start(ports: usize, workers: usize, permits: u32) -> Model {
        Model::start_with(0, ports, workers, permits)
    }

    /// As [`Model::start`], with `reserve` workers of each port kept for nested calls.
    fn start_with(reserve: usize, ports: usize, workers: usize, permits: u32) -> Model {
        let start = now();
        let queues: Vec<_> = (0..ports)
            .map(|_| Arc::new(Queue::new(QueueSizes { calls_max: 8, workers, reserve, cores: 2 }, start)))
            .collect();
        let port_workers = |queue: &Arc<Queue>| PortWorkers::new(Arc::clone(queue), workers);
        let throttle = Throttle::new(NonZeroU32::new(permits), queues.iter().map(port_workers).collect());
        let witness = Arc::<Witness>::default();
        let shared = Arc::new(Shared::new(services(&witness), throttle, 1024));
        let sizes = PoolSizes { workers, methods: WAIT.into(), slow_calls: 0 };
        let port = |(index, queue)| Arc::new(PortShared::unlimited(index, queue, sizes, start));
        let ports: Vec<_> = queues.into_iter().enumerate().map(port).collect();
        let mut threads = Vec::new();
        for port in &ports {
            for id in 0..workers {
                let (shared, port) = (Arc::clone(&shared), Arc::clone(port));
                threads.push(thread::spawn(move || Worker::new(shared, port, id).run(None)));
            }
        }
        let connections = ports.iter().map(|_| Arc::default()).collect();
        Model { shared, ports, threads, connections, witness }
    }

    /// Queues a read of `calls` calls, as a listener does.
    fn push(&self, port: usize, calls: usize) {
        self.push_for(RUN, port, calls);
    }

    fn push_for(&self, method: u16, port: usize, calls: usize) {
        self.push_all((0..calls).map(|id| Call::new(id as u64, method, Codec::Bincode, 0, None)), port);
    }

    /// Queues a call that a handler of this server made, as a listener does.
    fn push_nested(&self, method: u16, port: usize) {
        self.push_all([Call::new(0, method, Codec::Bincode, 0, None).chained(0, true)], port);
    }

    fn push_all(&self, calls: impl IntoIterator<Item = Call>, port: usize) {
        let work = work(&self.shared, &self.ports[port], &self.connections[port], calls);
        for burst in Burst::split_work(Arc::new(work)) {
            self.ports[port].queue.admit(burst, &self.shared.service_times);
        }
        self.shared.throttle.announce(port);
    }

    /// Displaces a call, as a listener does whose queue is full, if no worker has taken it.
    fn displace(&self, port: usize) {
        let (port, sink) = (&self.ports[port], &*self.connections[port]);
        let displaced = port.queue.displace(sink, 0, &self.shared.service_times);
        port.refuse_displaced(&self.shared, sink, displaced);
    }

    /// Waits until nothing is in flight, closes the throttle, and checks that everything was returned.
    fn finish(self, calls: usize) {
        for port in &self.ports {
            assert_eq!(port.queue.await_drained(now()), 0);
        }
        self.shared.throttle.close();
        self.join(calls);
    }

    /// Waits for the ends of all workers.
    fn join(self, calls: usize) {
        for thread in self.threads {
            thread.join().expect("no worker panics");
        }
        let answers: usize = self.connections.iter().map(|connection| connection.answers()).sum();
        assert_eq!(answers, calls, "each call has one reply");
        let (out, _) = self.shared.throttle.permits();
        assert_eq!(out, 0, "all permits are returned");
        assert!(!self.shared.nested.any_queued(), "nested calls that were answered wait no more");
        assert!(self.witness.peak.load(Ordering::Relaxed) <= 1, "no handler runs without a permit");
    }
}

/// The calls of one read.
fn work(
    shared: &Shared,
    port: &PortShared,
    connection: &Arc<NullSink>,
    calls: impl IntoIterator<Item = Call>,
) -> Work {
    let mut work = Work::new(&Buffers::unbounded(), now());
    work.calls = calls.into_iter().collect();
    let chained = work.calls.iter().filter_map(|call| call.chain());
    work.chains = chained.map(|_| Arc::<ReceivedChain>::default()).collect();
    let sink = Arc::clone(connection) as Arc<dyn ReplySink>;
    port.register_nested(&mut work, &sink, &shared.nested);
    work.sink = Some(sink);
    work
}

/// Numbers of the methods, in the order of their names.
const ANSWER: u16 = 1;
const CALL: u16 = 2;
const HOLD: u16 = 3;
const MEET: u16 = 4;
const NOTE: u16 = 5;
const PAIR: u16 = 6;
const RUN: u16 = 7;
const WAIT: u16 = 8;

/// `model.run` does nothing, `model.note` counts as a call made. The others wait: `model.wait` for nothing,
/// `model.meet` for another handler, `model.pair` for another and `model.hold` for two others without returning its
/// permit, `model.call` for one `model.answer`.
fn services(witness: &Arc<Witness>) -> Services {
    let methods: [(&str, fn(&Witness, &Transaction<'_>)); 8] = [
        ("model.answer", |witness, _| witness.answer()),
        ("model.call", |witness, transaction| transaction.blocking(|| witness.call())),
        ("model.hold", |witness, _| witness.meet(3)),
        ("model.meet", |witness, transaction| transaction.blocking(|| witness.meet(2))),
        ("model.note", |witness, _| witness.note()),
        ("model.pair", |witness, _| witness.meet(2)),
        ("model.run", |_, _| ()),
        ("model.wait", |witness, transaction| {
            witness.run();
            transaction.blocking(|| ());
            witness.run();
        }),
    ];
    let mut builder = ServicesBuilder::default();
    for (name, run) in methods {
        let witness = Arc::clone(witness);
        let run = move |transaction: &Transaction<'_>| {
            run(&witness, transaction);
            Ok(())
        };
        builder.add_raw(name, Box::new(move |transaction, _, _, _| run(transaction)));
    }
    builder.build().expect("the names are no duplicates")
}

#[test]
fn model_one_worker_misses_no_burst() {
    check(4, || {
        let model = Model::start(1, 1, 1);
        model.push(0, 1);
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_burst_comes_as_its_worker_retires() {
    check(4, || {
        let model = Model::start(1, 1, 1);
        model.push(0, 1);
        model.ports[0].queue.await_drained(now());
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_two_workers_share_one_permit() {
    check(3, || {
        let model = Model::start(1, 2, 1);
        model.push(0, 1);
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_freed_permit_goes_round_the_ports() {
    check(3, || {
        let model = Model::start(2, 1, 1);
        model.push(0, 1);
        model.push(1, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_split_burst_is_answered_whole() {
    check(3, || {
        let model = Model::start(1, 2, 2);
        // The method is not known to be short, so its first worker gives the rest away.
        model.push(0, 3);
        model.finish(3);
    });
}

#[test]
fn model_a_call_is_displaced_as_its_worker_takes_it() {
    check(3, || {
        let model = Model::start(1, 1, 1);
        model.push(0, 2);
        (0..2).for_each(|_| model.displace(0));
        model.push(0, 1);
        model.finish(3);
    });
}

#[test]
fn model_two_listeners_press_two_ports() {
    check(2, || {
        // Five threads are the most that loom takes.
        let model = Arc::new(Model::start(2, 1, 1));
        let other = Arc::clone(&model);
        let listener = thread::spawn(move || {
            other.push(1, 2);
            other.push(1, 1);
        });
        model.push(0, 2);
        listener.join().expect("a listener does not panic");
        Arc::into_inner(model).expect("the other listener has ended").finish(5);
    });
}

#[test]
fn model_two_handlers_that_wait_share_one_permit() {
    check(2, || {
        let model = Model::start(1, 2, 1);
        model.push_for(WAIT, 0, 1);
        model.push_for(WAIT, 0, 1);
        model.finish(2);
    });
}

#[test]
fn model_handlers_of_two_ports_wait_and_come_back() {
    check(2, || {
        let model = Model::start(2, 1, 1);
        model.push_for(WAIT, 0, 1);
        model.push_for(WAIT, 1, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_handler_that_waits_holds_back_no_call() {
    check(2, || {
        let model = Model::start(1, 2, 1);
        // Taken for short, so that the second call is left to the worker that runs the first.
        model.shared.service_times.add(MEET, 1, 0);
        model.push_for(MEET, 0, 1);
        model.push_for(MEET, 0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_handler_that_waits_holds_back_no_call_of_its_burst() {
    check(2, || {
        let model = Model::start(1, 2, 1);
        model.shared.service_times.add(MEET, 1, 0);
        model.push_for(MEET, 0, 2);
        model.finish(2);
    });
}

#[test]
fn model_a_raised_limit_wakes_all_that_starve() {
    check(1, || {
        let model = Model::start(3, 1, 1);
        (0..3).for_each(|port| model.push_for(HOLD, port, 1));
        // Each waits for the other two, with its permit.
        model.shared.throttle.set_limit(NonZeroU32::new(3));
        model.finish(3);
    });
}

#[test]
fn model_a_limit_is_lowered_while_calls_come() {
    check(2, || {
        let model = Model::start(2, 1, 2);
        model.push(0, 1);
        model.shared.throttle.set_limit(NonZeroU32::new(1));
        model.push(1, 1);
        model.push(0, 1);
        model.finish(3);
    });
}

#[test]
fn model_a_limit_is_lowered_and_raised_while_handlers_wait() {
    check(2, || {
        let model = Model::start(1, 2, 2);
        model.push(0, 1);
        model.push_for(MEET, 0, 1);
        model.shared.throttle.set_limit(NonZeroU32::new(1));
        model.push_for(MEET, 0, 1);
        model.shared.throttle.set_limit(NonZeroU32::new(2));
        model.finish(3);
    });
}

#[test]
fn model_nobody_runs_above_a_lowered_limit() {
    check(2, || {
        let model = Model::start(2, 1, 2);
        model.shared.throttle.set_limit(NonZeroU32::new(1));
        model.push_for(WAIT, 0, 1);
        model.push_for(WAIT, 1, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_kept_worker_runs_what_the_others_wait_for() {
    check(2, || {
        let model = Model::start_with(1, 1, 2, 1);
        // Each would have the worker that the other's call needs.
        model.push_for(CALL, 0, 1);
        model.push_for(CALL, 0, 1);
        for calls in 1..=2 {
            model.witness.await_calls(calls);
            model.push_nested(ANSWER, 0);
        }
        model.finish(4);
    });
}

#[test]
fn model_a_worker_is_kept_and_no_call_is_left() {
    check(2, || {
        let model = Model::start_with(1, 1, 2, 2);
        model.push(0, 1);
        model.push_nested(RUN, 0);
        model.push(0, 1);
        model.finish(3);
    });
}

#[test]
fn model_a_close_comes_while_handlers_wait() {
    check(2, || {
        let model = Model::start(1, 2, 1);
        model.push_for(WAIT, 0, 1);
        model.push_for(WAIT, 0, 1);
        model.shared.throttle.close();
        model.join(2);
    });
}
