//! Counts the worker threads that have ended, so that a stopping server can wait for them with a deadline.

use crate::sync::{Condvar, Mutex};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Exits {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Exits {
    /// A worker has ended.
    pub(super) fn add(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until `workers` have ended, or until `deadline`. Returns how many have not.
    pub(super) fn wait(&self, workers: usize, deadline: Instant) -> usize {
        let mut count = self.count.lock();
        while *count < workers && !self.changed.wait_until(&mut count, deadline).timed_out() {}
        workers - *count
    }
}
