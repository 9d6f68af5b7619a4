//! Counters of each method of a port: answers by status, and the times of those that ran, in three parts and as a
//! whole.
//!
//! Workers count in `LocalStats` of their own first. A method that was never called costs one word.

use super::counter::EnumCounters;
use super::histogram::{Distribution, Histogram};
use crate::service::Status;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The three parts of a transaction's time, or one value for each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts<T> {
    /// Waiting for a worker.
    pub queue_wait: T,
    /// Waiting for a permit.
    pub permit_wait: T,
    /// Running.
    pub run: T,
}

impl<T> Parts<T> {
    /// Applies `f` to each part.
    pub fn map<U>(&self, f: impl Fn(&T) -> U) -> Parts<U> {
        Parts { queue_wait: f(&self.queue_wait), permit_wait: f(&self.permit_wait), run: f(&self.run) }
    }
}

impl Parts<Distribution> {
    /// Adds the times of another, part by part.
    pub fn add(&mut self, other: &Parts<Distribution>) {
        self.queue_wait.add(&other.queue_wait);
        self.permit_wait.add(&other.permit_wait);
        self.run.add(&other.run);
    }

    /// The times counted since `earlier`, part by part.
    pub fn since(&self, earlier: &Parts<Distribution>) -> Parts<Distribution> {
        Parts {
            queue_wait: self.queue_wait.since(&earlier.queue_wait),
            permit_wait: self.permit_wait.since(&earlier.permit_wait),
            run: self.run.since(&earlier.run),
        }
    }
}

impl Parts<u64> {
    /// The sum of the three parts.
    pub(crate) fn whole(&self) -> u64 {
        self.queue_wait + self.permit_wait + self.run
    }
}

/// Counters of one method.
#[derive(Debug, Default)]
pub struct MethodStats {
    /// Answers made, by [`Status::index`].
    pub answers: EnumCounters<{ Status::ALL.len() }>,
    /// Times of the calls that ran.
    pub times: Parts<Histogram>,
    /// The three parts of each call together.
    pub whole: Histogram,
}

/// Counters of all methods of one port.
#[derive(Debug)]
pub struct MethodsStats(Vec<OnceLock<Box<MethodStats>>>);

impl MethodsStats {
    /// For methods 1 to `methods`.
    pub fn new(methods: usize) -> MethodsStats {
        MethodsStats((0..methods).map(|_| OnceLock::new()).collect())
    }

    /// The counters of a method that was called; `None` for a number that no method has.
    pub(super) fn of(&self, method: u16) -> Option<&MethodStats> {
        self.0.get(usize::from(method).wrapping_sub(1)).map(|stats| &**stats.get_or_init(Box::default))
    }

    /// Adds a method to those that were called: a call of it runs and is not yet counted.
    pub(crate) fn add_called(&self, method: u16) {
        self.of(method);
    }

    /// Counts a call that was answered without being run.
    pub(crate) fn refused(&self, method: u16, status: Status) {
        if let Some(stats) = self.of(method) {
            stats.answers.add(status.index());
        }
    }

    /// The methods that were called, with their numbers.
    pub fn called(&self) -> impl Iterator<Item = (u16, &MethodStats)> {
        let numbered = self.0.iter().zip(1u16..);
        numbered.filter_map(|(stats, number)| stats.get().map(|stats| (number, &**stats)))
    }
}

impl MethodStats {
    /// The times so far.
    pub fn distributions(&self) -> Parts<Distribution> {
        self.times.map(Histogram::distribution)
    }
}
