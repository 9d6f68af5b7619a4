//! State that the pools of all ports of a server share.

use super::nested::Nested;
use super::throttle::Throttle;
use crate::metrics::ServiceTimes;
use crate::service::{Services, worker_hooks};
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex};
use crate::wire::EntryId;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) throttle: Throttle,
    pub(crate) services: Services,
    pub(crate) service_times: ServiceTimes,
    pub(crate) nested: Nested,
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
        let nested = Nested::new(&throttle.pools());
        Shared {
            throttle,
            services,
            service_times,
            nested,
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
