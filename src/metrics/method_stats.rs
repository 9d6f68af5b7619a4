//! What is counted of each method of a port: answers by status, and the time of those that ran, in its three parts and
//! as a whole.
//! Workers gather what they measure ([`LocalStats`](super::Records)) before it is counted here.
//!
//! A method that was never called costs a word.

use super::{Distribution, EnumCounters, Histogram};
use crate::service::Status;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The three parts of a transaction's time, or three of whatever there is one of for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts<T> {
    /// Waited for a worker.
    pub queue_wait: T,
    /// Waited for a permit.
    pub permit_wait: T,
    /// Ran.
    pub run: T,
}

impl<T> Parts<T> {
    /// The same of something else.
    pub fn map<U>(&self, f: impl Fn(&T) -> U) -> Parts<U> {
        Parts { queue_wait: f(&self.queue_wait), permit_wait: f(&self.permit_wait), run: f(&self.run) }
    }

    /// The same of two, part by part.
    pub fn zip<'a, U>(&'a self, other: &'a Parts<U>) -> Parts<(&'a T, &'a U)> {
        Parts {
            queue_wait: (&self.queue_wait, &other.queue_wait),
            permit_wait: (&self.permit_wait, &other.permit_wait),
            run: (&self.run, &other.run),
        }
    }
}

impl Parts<u64> {
    /// All three together.
    pub(crate) fn whole(&self) -> u64 {
        self.queue_wait + self.permit_wait + self.run
    }
}

/// What is counted of one method.
#[derive(Debug, Default)]
pub struct MethodStats {
    /// Answers made, by [`Status::index`].
    pub answers: EnumCounters<{ Status::ALL.len() }>,
    /// Of those that ran.
    pub times: Parts<Histogram>,
    /// The three parts of each together.
    pub whole: Histogram,
}

/// What is counted of each method of one port.
#[derive(Debug)]
pub struct MethodsStats(Vec<OnceLock<Box<MethodStats>>>);

impl MethodsStats {
    /// For methods 1 to `methods`.
    pub fn new(methods: usize) -> MethodsStats {
        MethodsStats((0..methods).map(|_| OnceLock::new()).collect())
    }

    /// Of a method that is being called; `None` for a number that is none's.
    pub(super) fn of(&self, method: u16) -> Option<&MethodStats> {
        self.0.get(usize::from(method).wrapping_sub(1)).map(|stats| &**stats.get_or_init(Box::default))
    }

    /// A call was answered without being run.
    pub(crate) fn refused(&self, method: u16, status: Status) {
        if let Some(stats) = self.of(method) {
            stats.answers.add(status.index());
        }
    }

    /// Those that were called, with their numbers.
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
