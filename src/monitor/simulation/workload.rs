//! The load of a server as it was measured, as plain data: what a simulation starts from.
//!
//! Times are seconds, rates are per second. A call's run is three parts in this order: on a processor, then held up
//! elsewhere with its permit, then in `tx.blocking` without it. The measured wait for a processor is in none of them:
//! the simulation makes its own.

use serde::{Deserialize, Serialize};

/// The load and the limits of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct Workload {
    pub(in crate::monitor) ports: Vec<PortWorkload>,
    /// `Server_Max_Concurrent_Trans`; `None` is unlimited.
    pub(in crate::monitor) permits: Option<u32>,
    pub(in crate::monitor) processors: ProcessorWorkload,
}

/// The load and the limits of one port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct PortWorkload {
    pub(in crate::monitor) name: String,
    pub(in crate::monitor) workers: u32,
    pub(in crate::monitor) queue_limit: u64,
    pub(in crate::monitor) connections: u64,
    pub(in crate::monitor) methods: Vec<MethodWorkload>,
    /// The sources of its calls, as the measurements are read.
    pub(in crate::monitor) sources: Vec<CallSource>,
    /// Other readings that the same measurements allow.
    pub(in crate::monitor) alternatives: Vec<Vec<CallSource>>,
    pub(in crate::monitor) measured: PortMeasured,
}

/// Measurements of a port, to compare a simulation with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct PortMeasured {
    /// Calls run.
    pub(in crate::monitor) per_s: f64,
    pub(in crate::monitor) refused_per_s: f64,
    /// Mean wait and run of a call.
    pub(in crate::monitor) wait: f64,
    pub(in crate::monitor) run: f64,
    /// Mean number of calls that run, and that wait.
    pub(in crate::monitor) busy: f64,
    pub(in crate::monitor) waiting: f64,
}

/// The calls of one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct MethodWorkload {
    pub(in crate::monitor) name: String,
    /// Calls run, and mean number of them that run.
    pub(in crate::monitor) per_s: f64,
    pub(in crate::monitor) busy: f64,
    /// Times of equally many calls each, as multiples of the mean.
    pub(in crate::monitor) spread: Vec<f64>,
    /// Mean time on a processor.
    pub(in crate::monitor) processor_s: f64,
    /// Mean time held up elsewhere, with the permit.
    pub(in crate::monitor) held_s: f64,
    /// Mean time in `tx.blocking`, without the permit.
    pub(in crate::monitor) blocked_s: f64,
    pub(in crate::monitor) contention: Contention,
    pub(in crate::monitor) limit: Option<MethodPlaces>,
}

/// Calls of a method that may run at once, and that may wait without a worker or a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::monitor) struct MethodPlaces {
    pub(in crate::monitor) run: u32,
    pub(in crate::monitor) wait: u32,
}

/// Calls that come independently of those of other sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct CallSource {
    pub(in crate::monitor) kind: SourceKind,
    /// Methods, by their place in [`PortWorkload::methods`], each with its share of the calls.
    pub(in crate::monitor) methods: Vec<(usize, f64)>,
    /// Mean number of its calls that run or wait.
    pub(in crate::monitor) in_flight: f64,
}

/// When the next call of a source comes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) enum SourceKind {
    /// So many callers, each of which has at most one call in progress, and makes the next one when so much time has
    /// passed since the answer or the refusal of the last one.
    Callers { count: u32, think_s: f64 },
    /// Calls arrive at this rate, whatever becomes of them.
    Arrivals { per_s: f64 },
}

/// How the time of a method's calls depends on how many of them run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) enum Contention {
    /// Not at all.
    None,
    /// The throughput grows as a power of the number that run: with 0 not at all, and the time grows in proportion.
    Damped {
        /// The number that run from which on that holds; time is as measured here.
        from: f64,
        /// The power, 0 to 1.
        elasticity: f64,
        /// Shortest time, as a share of the measured one, where fewer run.
        floor: f64,
    },
    /// Something outside the server may limit it, and no other number that run was ever seen.
    Unknown,
}

/// Processors, and the uses of them that are not a handler's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct ProcessorWorkload {
    pub(in crate::monitor) cores: f64,
    /// Most that this process gets beside other programs.
    pub(in crate::monitor) ours: f64,
    /// Use by this process, as measured.
    pub(in crate::monitor) used: f64,
    /// Threads of other programs that always want to run, each with as much right as one of this process.
    pub(in crate::monitor) others: f64,
    /// Time per call outside handlers: listeners, writing replies, the kernel's work for it.
    pub(in crate::monitor) background_s: f64,
    /// Use by other programs, per call: they may be the clients.
    pub(in crate::monitor) others_s: f64,
}

impl Workload {
    /// Calls run per second, as measured, over all ports.
    pub(in crate::monitor) fn measured_per_s(&self) -> f64 {
        self.ports.iter().map(|port| port.measured.per_s).sum()
    }
}

impl MethodWorkload {
    /// Mean run time, without a wait for a processor.
    pub(super) fn run_s(&self) -> f64 {
        self.processor_s + self.held_s + self.blocked_s
    }
}

impl CallSource {
    /// Takes what is simulated apart out of the time between an answer and the next call.
    pub(super) fn think_less(&mut self, time_s: f64) {
        if let SourceKind::Callers { think_s, .. } = &mut self.kind {
            *think_s = (*think_s - time_s).max(0.0);
        }
    }

    /// Calls per second that it makes while `in_flight` are in progress.
    pub(super) fn rate(&self, in_flight: u32) -> f64 {
        match self.kind {
            SourceKind::Callers { count, think_s } => {
                f64::from(count.saturating_sub(in_flight)) / think_s.max(THINK_MIN_S)
            }
            SourceKind::Arrivals { per_s } => per_s,
        }
    }
}

/// Shortest time between an answer and the next call that is simulated.
const THINK_MIN_S: f64 = 1e-7;

impl Contention {
    /// The time of a call while `running` run, as a multiple of the measured one.
    pub(super) fn stretch(&self, running: u32) -> f64 {
        match *self {
            Contention::Damped { from, elasticity, floor } => {
                (f64::from(running) / from.max(1.0)).powf(1.0 - elasticity).max(floor)
            }
            Contention::None | Contention::Unknown => 1.0,
        }
    }
}

impl ProcessorWorkload {
    /// The share of a processor that each of `threads` gets.
    pub(super) fn share(&self, threads: usize) -> f64 {
        let threads = threads as f64;
        let fair = self.cores / (threads + self.others).max(1e-9);
        fair.min(self.ours / threads.max(1e-9)).min(1.0)
    }
}
