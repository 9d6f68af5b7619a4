//! The hand-over between listener, queue, workers and throttle, under loom and shuttle: the code itself, with the
//! checker's primitives in the place of `sync.rs`'s.
//!
//! A lost wake-up shows as a deadlock: the threads of a model end only when every call was answered.
//! `benches/models.sh` runs them, and runs them again with each bug of [`crate::sync::Planted`], which must be found.

use super::stand_in::StandIn;
use super::{Burst, CodelRules, Outlet, PortShared, Queue, Seat, Shared, Throttle, Work, Worker};
use crate::port::Call;
use crate::service::{Services, ServicesBuilder};
use crate::sync::{Arc, Parker, now};
use crate::wire::Codec;
use std::num::NonZeroU32;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

/// Runs a model in every order of its threads with at most so many preemptions (loom), or in many random orders
/// (shuttle).
fn check(preemptions: usize, schedules: usize, model: impl Fn() + Send + Sync + 'static) {
    #[cfg(loom)]
    {
        let _ = schedules;
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        builder.check(model);
    }
    #[cfg(shuttle)]
    {
        let _ = preemptions;
        let model = Arc::new(model);
        let again = Arc::clone(&model);
        shuttle::check_random(move || model(), schedules);
        // Random orders seldom hold one thread back for long; PCT does.
        shuttle::check_pct(move || again(), schedules / 5, 3);
    }
}

/// A server without sockets: `ports` ports of `workers` workers each.
struct Model {
    shared: Arc<Shared>,
    ports: Vec<Arc<PortShared>>,
    threads: Vec<thread::JoinHandle<()>>,
    answers: Arc<StandIn>,
}

impl Model {
    fn start(ports: usize, workers: usize, permits: u32) -> Model {
        let start = now();
        let queues: Vec<_> = (0..ports).map(|_| Arc::new(Queue::new(8, workers, 2, start))).collect();
        let parkers: Vec<Vec<_>> =
            (0..ports).map(|_| (0..workers).map(|_| Arc::new(Parker::default())).collect()).collect();
        let seat = |(queue, parkers): (&Arc<Queue>, &Vec<Arc<Parker>>)| Seat {
            queue: Arc::clone(queue),
            parkers: parkers.clone(),
        };
        let throttle =
            Throttle::new(NonZeroU32::new(permits), queues.iter().zip(&parkers).map(seat).collect());
        let shared = Arc::new(Shared::new(services(), throttle, 1024));
        let ports: Vec<_> = queues
            .into_iter()
            .enumerate()
            .map(|(index, queue)| {
                Arc::new(PortShared::new(index, "P".into(), queue, workers, CodelRules::OFF, start))
            })
            .collect();
        let mut threads = Vec::new();
        for (port, parkers) in ports.iter().zip(&parkers) {
            for (id, parker) in parkers.iter().enumerate() {
                let worker = Worker::new(Arc::clone(&shared), Arc::clone(port), id, Arc::clone(parker));
                threads.push(thread::spawn(move || worker.run()));
            }
        }
        Model { shared, ports, threads, answers: Arc::default() }
    }

    /// What a listener does with a read of `calls` calls.
    fn push(&self, port: usize, calls: usize) {
        let mut work = Work::new(now());
        work.calls = (0..calls).map(|id| Call::new(id as u64, 1, Codec::Bincode, 0, None)).collect();
        work.outlet = Some(Arc::clone(&self.answers) as Arc<dyn Outlet>);
        let burst = Burst::new(Arc::new(work)).expect("at least one call");
        self.ports[port].queue.admit(burst, &self.shared.paces);
        self.ports[port].queue.announce(&self.shared.throttle, port);
    }

    /// Waits for all answers, closes, and checks that everything is home.
    fn finish(self, calls: usize) {
        for port in &self.ports {
            assert_eq!(port.queue.await_drained(now()), 0);
        }
        assert_eq!(self.answers.answers(), calls, "each call has one answer");
        self.shared.throttle.close();
        for thread in self.threads {
            thread.join().expect("no worker panics");
        }
        let (out, _) = self.shared.throttle.permits();
        assert_eq!(out, 0, "all permits are home");
    }
}

/// One method, which checks what a permit promises.
fn services() -> Services {
    let mut builder = ServicesBuilder::default();
    builder.add_raw("model.run", Box::new(|_, _, _, _| Ok(())));
    builder.build().expect("one name cannot be a duplicate")
}

#[test]
fn model_one_worker_misses_no_burst() {
    check(4, 100_000, || {
        let model = Model::start(1, 1, 1);
        model.push(0, 1);
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_burst_comes_as_its_worker_retires() {
    check(4, 100_000, || {
        let model = Model::start(1, 1, 1);
        model.push(0, 1);
        model.ports[0].queue.await_drained(now());
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_two_workers_share_one_permit() {
    check(3, 100_000, || {
        let model = Model::start(1, 2, 1);
        model.push(0, 1);
        model.push(0, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_freed_permit_goes_round_the_ports() {
    check(3, 100_000, || {
        let model = Model::start(2, 1, 1);
        model.push(0, 1);
        model.push(1, 1);
        model.finish(2);
    });
}

#[test]
fn model_a_split_burst_is_answered_whole() {
    check(3, 100_000, || {
        let model = Model::start(1, 2, 2);
        // The method is not known to be short, so its first worker gives the rest away.
        model.push(0, 3);
        model.finish(3);
    });
}

#[test]
fn model_two_listeners_press_two_ports() {
    check(2, 100_000, || {
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
