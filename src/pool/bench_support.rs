//! The pool without sockets, for the benches alone (`benches/throttle.rs`); not part of the stable interface.
//!
//! Timed is the pool's own code. A [`BenchPool`] is a port with its threads, and the caller takes the listener's part;
//! a [`BenchThrottle`] is the throttle alone, and the caller takes the workers' part, so that no thread sleeps or
//! wakes.

use super::buffers::Buffers;
use super::burst::{Burst, ReplySink, Work};
use super::null_sink::NullSink;
use super::queue::{Queue, QueueSizes};
use super::shared::{PoolSizes, PortShared, Shared};
use super::throttle::{Next, PERMIT, PortWorkers, Throttle};
use super::worker::start_workers;
use crate::metrics::ServiceTimes;
use crate::proto::Call;
use crate::service::ServicesBuilder;
use crate::sync::{Arc, now};
use crate::wire::Codec;
use std::num::NonZeroU32;
use std::time::Duration;

const STACK_BYTES: usize = 256 << 10;

/// Number of the method `bench.nothing`.
const METHOD: u16 = 1;

/// Ports of `workers` workers each.
fn port_workers(ports: usize, workers: usize, calls_max: usize) -> Vec<PortWorkers> {
    let sizes = QueueSizes { calls_max, workers, reserve: 0, cores: 2 };
    let port = |_| PortWorkers::new(Arc::new(Queue::new(sizes, now())), workers);
    (0..ports).map(port).collect()
}

/// One port with its workers, and one method that does nothing.
#[derive(Debug)]
pub struct BenchPool {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    sink: Arc<NullSink>,
}

impl BenchPool {
    /// Starts `workers` threads under this many permits, `None` for no throttle.
    ///
    /// # Errors
    /// The system did not make a thread.
    pub fn start(workers: usize, permits: Option<NonZeroU32>) -> std::io::Result<BenchPool> {
        let mut services = ServicesBuilder::default();
        services.add_raw("bench.nothing", Box::new(|_, _, _, _| Ok(())));
        let services = services.build().expect("one name cannot be given twice");
        let ports = port_workers(1, workers, 1 << 16);
        let queue = Arc::clone(&ports[0].queue);
        let shared = Arc::new(Shared::new(services, Throttle::new(permits, ports), 1024));
        let sizes = PoolSizes { workers, methods: METHOD.into(), slow_calls: 10 };
        let port = PortShared::unlimited(0, queue, sizes, now());
        let pool = BenchPool { shared, port: Arc::new(port), sink: Arc::default() };
        start_workers(&pool.shared, &pool.port, STACK_BYTES).map_err(|failed| failed.error)?;
        Ok(pool)
    }

    /// Queues `calls` calls, as a listener does after one read.
    pub fn push(&self, calls: usize) {
        let now = now();
        let mut buffer = self.port.take_buffer(now);
        let work = Arc::get_mut(&mut buffer).expect("spare buffers have one owner");
        work.calls.extend((0..calls as u64).map(|id| Call::new(id, METHOD, Codec::Bincode, 0, None)));
        work.sink = Some(Arc::clone(&self.sink) as Arc<dyn ReplySink>);
        work.received = now;
        for burst in Burst::split_work(buffer) {
            self.port.queue.admit(burst, &self.shared.service_times);
            self.shared.throttle.announce(0);
        }
    }

    /// Sleeps until every call is answered.
    pub fn await_answers(&self) {
        self.port.queue.await_drained(now() + Duration::from_secs(10));
    }

    /// Calls not yet answered.
    pub fn in_flight(&self) -> usize {
        self.port.queue.in_flight()
    }
}

impl Drop for BenchPool {
    fn drop(&mut self) {
        self.shared.throttle.close();
    }
}

/// The throttle over ports of one worker each, without threads.
#[derive(Debug)]
pub struct BenchThrottle {
    throttle: Throttle,
    queues: Vec<Arc<Queue>>,
}

impl BenchThrottle {
    /// All workers asleep and no permit out.
    pub fn new(ports: usize, permits: Option<NonZeroU32>) -> BenchThrottle {
        let ports = port_workers(ports, 1, 8);
        let queues = ports.iter().map(|port| Arc::clone(&port.queue)).collect();
        BenchThrottle { throttle: Throttle::new(permits, ports), queues }
    }

    /// Wakes a port's worker with a permit; returns false if there is none. Each port is for one thread alone.
    pub fn take(&self, port: usize) -> bool {
        let woken = self.throttle.wake_one(port);
        if woken {
            self.woken(port);
        }
        woken
    }

    /// The worker finds no work and returns its permit.
    pub fn give(&self, port: usize) {
        let next = self.throttle.retire(port, 0);
        debug_assert_eq!(next, Next::Park, "there is no work");
    }

    /// Queues work at every port, so that each port without a permit waits for one.
    pub fn fill(&self) {
        let service_times = ServiceTimes::new(1);
        for queue in &self.queues {
            let mut work = Work::new(&Buffers::unbounded(), now());
            work.calls.push(Call::new(0, METHOD, Codec::Bincode, 0, None));
            work.sink = Some(Arc::new(NullSink::default()));
            Burst::split_work(Arc::new(work)).for_each(|burst| queue.admit(burst, &service_times));
        }
    }

    /// Passes a worker's permit to the port that waits, whose worker takes it.
    pub fn hand_over(&self, from: usize, to: usize) {
        // The first time the round may be at the port itself.
        while self.throttle.pass_on(from, 0) == Next::Go {}
        self.woken(to);
    }

    /// Takes the worker's word, which is there already, so that no thread sleeps.
    fn woken(&self, port: usize) {
        let word = self.throttle.parker(port, 0).park();
        debug_assert_eq!(word, PERMIT);
        self.queues[port].change_searching(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_taken_given_back_and_handed_over() {
        let throttle = BenchThrottle::new(2, NonZeroU32::new(1));
        for _ in 0..3 {
            assert!(throttle.take(0));
            assert!(!throttle.take(1), "one permit");
            throttle.give(0);
        }
        throttle.fill();
        assert!(throttle.take(0) && !throttle.take(1));
        for _ in 0..3 {
            throttle.hand_over(0, 1);
            throttle.hand_over(1, 0);
        }
        assert_eq!(throttle.throttle.permits(), (1, 1));
    }

    #[test]
    fn a_bench_pool_answers_every_call() {
        let pool = BenchPool::start(2, NonZeroU32::new(1)).unwrap();
        for calls in [1, 3, 100] {
            pool.push(calls);
            pool.await_answers();
            assert_eq!(pool.in_flight(), 0);
        }
    }
}
