//! The pool without sockets, for the benches alone (`benches/throttle.rs`): no part of the stable interface.
//!
//! What is timed is the pool's own code. A [`BenchPool`] is a port with its threads and a caller in the listener's
//! place; a [`BenchThrottle`] is the throttle alone, whose caller plays the workers, so that no thread sleeps or wakes
//! in it.

use super::null_sink::NullSink;
use super::throttle::{Next, PERMIT};
use super::{
    Buffers, Burst, CodelRules, PoolSizes, PortShared, PortWorkers, Queue, QueueReadings, ReplySink, Shared,
    Throttle, Work, start_workers,
};
use crate::metrics::ServiceTimes;
use crate::proto::Call;
use crate::service::ServicesBuilder;
use crate::sync::{Arc, Parker, now};
use crate::wire::Codec;
use std::num::NonZeroU32;
use std::time::Duration;

const STACK_BYTES: usize = 256 << 10;

/// What the method `bench.nothing` is numbered.
const METHOD: u16 = 1;

/// Ports of so many workers each, with what stands for their threads.
fn seats(ports: usize, workers: usize, calls_max: usize) -> Vec<PortWorkers> {
    let seat = |_| PortWorkers {
        queue: Arc::new(Queue::new(QueueReadings { calls_max, workers, reserve: 0, cores: 2 }, now())),
        parkers: (0..workers).map(|_| Arc::new(Parker::default())).collect(),
    };
    (0..ports).map(seat).collect()
}

/// One port with its workers, and one method that does nothing.
#[derive(Debug)]
pub struct BenchPool {
    shared: Arc<Shared>,
    port: Arc<PortShared>,
    outlet: Arc<NullSink>,
}

impl BenchPool {
    /// Starts `workers` threads under so many permits, `None` for no throttle.
    ///
    /// # Errors
    /// The system would not make a thread.
    pub fn start(workers: usize, permits: Option<NonZeroU32>) -> std::io::Result<BenchPool> {
        let mut services = ServicesBuilder::default();
        services.add_raw("bench.nothing", Box::new(|_, _, _, _| Ok(())));
        let services = services.build().expect("one name cannot be given twice");
        let seats = seats(1, workers, 1 << 16);
        let (queue, parkers) = (Arc::clone(&seats[0].queue), seats[0].parkers.clone());
        let shared = Arc::new(Shared::new(services, Throttle::new(permits, seats), 1024));
        let port = PortShared::new(
            0,
            "bench".to_owned(),
            queue,
            PoolSizes { workers, methods: METHOD.into(), slow_calls: 10 },
            CodelRules::OFF,
            Buffers::unbounded(),
            now(),
        );
        let rig = BenchPool { shared, port: Arc::new(port), outlet: Arc::default() };
        match start_workers(&rig.shared, &rig.port, &parkers, STACK_BYTES) {
            Ok(()) => Ok(rig),
            Err((_, error)) => Err(error),
        }
    }

    /// What a listener does with a read of so many calls.
    pub fn push(&self, calls: usize) {
        let now = now();
        let mut shelf = self.port.spare_work(now);
        let work = Arc::get_mut(&mut shelf).expect("spare buffers have one owner");
        work.calls.extend((0..calls as u64).map(|id| Call::new(id, METHOD, Codec::Bincode, 0, None)));
        work.outlet = Some(Arc::clone(&self.outlet) as Arc<dyn ReplySink>);
        work.received = now;
        for burst in Burst::split_work(shelf) {
            self.port.queue.admit(burst, &self.shared.paces);
            self.port.queue.announce(&self.shared.throttle, 0);
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
    parkers: Vec<Arc<Parker>>,
}

impl BenchThrottle {
    /// All workers asleep and all permits home.
    pub fn new(ports: usize, permits: Option<NonZeroU32>) -> BenchThrottle {
        let seats = seats(ports, 1, 8);
        let queues = seats.iter().map(|seat| Arc::clone(&seat.queue)).collect();
        let parkers = seats.iter().map(|seat| Arc::clone(&seat.parkers[0])).collect();
        BenchThrottle { throttle: Throttle::new(permits, seats), queues, parkers }
    }

    /// Wakes a port's worker with a permit; false when there is none. Each port by one thread alone.
    pub fn take(&self, port: usize) -> bool {
        let woken = self.throttle.wake_one(port);
        if woken {
            self.woken(port);
        }
        woken
    }

    /// The worker finds no work: it gives its permit back.
    pub fn give(&self, port: usize) {
        let next = self.throttle.retire(port, 0);
        debug_assert_eq!(next, Next::Park, "there is no work");
    }

    /// From now on there is work at every port, so whoever has no permit waits for one.
    pub fn fill(&self) {
        let paces = ServiceTimes::new(1);
        for queue in &self.queues {
            let mut work = Work::new(&Buffers::unbounded(), now());
            work.calls.push(Call::new(0, METHOD, Codec::Bincode, 0, None));
            work.outlet = Some(Arc::new(NullSink::default()));
            Burst::split_work(Arc::new(work)).for_each(|burst| queue.admit(burst, &paces));
        }
    }

    /// A worker's permit goes to the port that waits, whose worker takes it.
    pub fn hand_over(&self, from: usize, to: usize) {
        // The first time it may be the port's own turn.
        while self.throttle.pass_on(from, 0) == Next::Go {}
        self.woken(to);
    }

    /// The worker's first steps. The word is there already, so it does not sleep.
    fn woken(&self, port: usize) {
        let word = self.parkers[port].park();
        debug_assert_eq!(word, PERMIT);
        self.queues[port].searching(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turnstile_turns() {
        let turnstile = BenchThrottle::new(2, NonZeroU32::new(1));
        for _ in 0..3 {
            assert!(turnstile.take(0));
            assert!(!turnstile.take(1), "one permit");
            turnstile.give(0);
        }
        turnstile.fill();
        assert!(turnstile.take(0) && !turnstile.take(1));
        for _ in 0..3 {
            turnstile.hand_over(0, 1);
            turnstile.hand_over(1, 0);
        }
        assert_eq!(turnstile.throttle.permits(), (1, 1));
    }

    #[test]
    fn a_rig_answers() {
        let rig = BenchPool::start(2, NonZeroU32::new(1)).unwrap();
        for calls in [1, 3, 100] {
            rig.push(calls);
            rig.await_answers();
            assert_eq!(rig.in_flight(), 0);
        }
    }
}
