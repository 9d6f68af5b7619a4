//! States of calls, sources and ports in a simulation.

use super::workload::{CallSource, MethodPlaces, MethodWorkload, PortWorkload, Workload};
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
    /// It has a place under the limit of its method.
    pub(super) has_place: bool,
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

impl<'a> SourceState<'a> {
    pub(super) fn new(source: &'a CallSource, port: usize) -> SourceState<'a> {
        SourceState { source, port, in_flight: 0, rate: 0.0, next: f64::INFINITY, refused: false, at: 0.0 }
    }
}

#[derive(Debug)]
pub(super) struct PortState<'a> {
    pub(super) methods: &'a [MethodWorkload],
    pub(super) queue_limit: usize,
    pub(super) idle: u32,
    pub(super) queue: VecDeque<u32>,
    pub(super) waiting: u32,
    pub(super) running: Vec<u32>,
    /// Calls of each method that are set aside.
    pub(super) aside: Vec<u32>,
    /// The place of each method's limit in the table of limits.
    pub(super) lines: Vec<Option<usize>>,
    /// The place of each method's own station.
    pub(super) stations: Vec<Option<usize>>,
}

impl<'a> PortState<'a> {
    pub(super) fn new(
        port: &'a PortWorkload,
        lines: Vec<Option<usize>>,
        stations: Vec<Option<usize>>,
    ) -> PortState<'a> {
        PortState {
            methods: &port.methods,
            queue_limit: usize::try_from(port.queue_limit.max(1)).unwrap_or(usize::MAX),
            idle: port.workers,
            queue: VecDeque::new(),
            waiting: 0,
            running: vec![0; port.methods.len()],
            aside: vec![0; port.methods.len()],
            lines,
            stations,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.queue_limit
    }
}

/// A limited method, over all ports.
#[derive(Debug)]
pub(super) struct MethodLine {
    pub(super) limit: MethodPlaces,
    /// Places given to calls.
    pub(super) taken: u32,
    /// Calls that wait for a place.
    pub(super) aside: VecDeque<u32>,
}

impl MethodLine {
    /// Returns the limited methods of a load, and for each port the place in them of each of its methods.
    pub(super) fn all<'a>(load: &'a Workload) -> (Vec<MethodLine>, Vec<Vec<Option<usize>>>) {
        let (mut names, mut lines) = (Vec::<&str>::new(), Vec::new());
        let mut places = Vec::new();
        for port in &load.ports {
            let mut line = |method: &'a MethodWorkload| {
                let limit = method.limit?;
                let known = names.iter().position(|known| *known == method.name);
                Some(known.unwrap_or_else(|| {
                    names.push(&method.name);
                    lines.push(MethodLine { limit, taken: 0, aside: VecDeque::new() });
                    lines.len() - 1
                }))
            };
            places.push(port.methods.iter().map(&mut line).collect());
        }
        (lines, places)
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken < self.limit.run
    }

    /// Returns whether another call would be refused.
    pub(super) fn is_full(&self) -> bool {
        !self.has_room() && self.aside.len() >= self.limit.wait as usize
    }
}
