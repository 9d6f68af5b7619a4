//! States of calls, sources and ports in a simulation.

use super::workload::{CallSource, MethodWorkload};
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CallPhase {
    Background,
    Queued,
    Processor,
    Held,
    Blocked,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SimulatedCall {
    pub(super) port: usize,
    pub(super) method: usize,
    pub(super) source: usize,
    pub(super) phase: CallPhase,
    /// Its times as multiples of the mean ones; 0 is not yet known.
    pub(super) factor: f64,
    pub(super) arrived: f64,
    pub(super) started: f64,
}

#[derive(Debug)]
pub(super) struct SourceState<'a> {
    pub(super) source: &'a CallSource,
    pub(super) port: usize,
    pub(super) in_flight: u32,
    /// Calls a second, and the time of the next one.
    pub(super) rate: f64,
    pub(super) next: f64,
    /// Its calls are refused; since when refusals are not yet counted.
    pub(super) refused: bool,
    pub(super) at: f64,
}

#[derive(Debug)]
pub(super) struct PortState<'a> {
    pub(super) methods: &'a [MethodWorkload],
    pub(super) queue_limit: usize,
    pub(super) idle: u32,
    pub(super) queue: VecDeque<u32>,
    pub(super) waiting: u32,
    pub(super) running: Vec<u32>,
    /// Calls over their method's limit.
    pub(super) aside: Vec<VecDeque<u32>>,
    /// The place of each method's own station.
    pub(super) stations: Vec<Option<usize>>,
}

impl PortState<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.queue_limit
    }

    /// Returns whether a call of this method would be refused.
    pub(super) fn is_refused(&self, method: usize) -> bool {
        let over = self.methods[method].limit.is_some_and(|limit| {
            self.running[method] >= limit.run && self.aside[method].len() >= limit.wait as usize
        });
        over || self.is_full()
    }
}
