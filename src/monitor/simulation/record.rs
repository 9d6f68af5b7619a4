//! Counts and times of about a second, as the recorder keeps them.

use super::workload::MethodPlaces;
use crate::metrics::Distribution;
use crate::monitor::looks::ThreadShares;
use crate::sync::Arc;

/// A port and one of its methods.
pub(super) type MethodKey = (Arc<str>, Arc<str>);

/// One step, about a second.
#[derive(Debug)]
pub(super) struct RecordedStep {
    pub(super) length_s: f64,
    pub(super) cores: f64,
    pub(super) used: f64,
    /// Processors of the machine that were idle, and that its host took away.
    pub(super) idle_and_stolen: Option<(f64, f64)>,
    /// Threads that were ready to run and had no processor.
    pub(super) wanted: f64,
    pub(super) permits: Option<u32>,
    pub(super) ports: Vec<RecordedPort>,
}

#[derive(Debug)]
pub(super) struct RecordedPort {
    pub(super) name: Arc<str>,
    pub(super) workers: u32,
    pub(super) queue_limit: u64,
    pub(super) connections: u64,
    pub(super) arrived: u64,
    /// Workers that ran a handler when it began; `None` for the first step.
    pub(super) busy_at_start: Option<f64>,
    /// Calls that waited at its end, and workers that ran a handler, of which some waited without a permit or for one.
    pub(super) waiting: f64,
    pub(super) busy_at_end: f64,
    pub(super) blocked: f64,
    pub(super) returning: f64,
    pub(super) methods: Vec<RecordedMethod>,
}

#[derive(Debug, Clone)]
pub(super) struct RecordedMethod {
    pub(super) name: Arc<str>,
    pub(super) ended: u64,
    pub(super) refused: u64,
    pub(super) run_s: f64,
    pub(super) wait_s: f64,
    /// Time that its calls ran in the step, added up, those included that have not ended.
    pub(super) ran_s: f64,
    pub(super) shares: Option<ThreadShares>,
    pub(super) limit: Option<MethodPlaces>,
    /// Run times in a step in which the number that ran rose from next to none.
    pub(super) rise: Option<Distribution>,
}

impl RecordedPort {
    /// Returns whether as many calls ran at both ends of the step as in it, but for chance: of a step in which a load
    /// began or ended the means say nothing of a number that ran.
    pub(super) fn is_steady(&self, length_s: f64) -> bool {
        let mean = self.methods.iter().map(|method| method.ran_s).sum::<f64>() / length_s.max(1e-9);
        let near = |busy: f64| (busy - mean).abs() <= 0.25 * mean + 1.2 * mean.sqrt();
        self.busy_at_start.is_some_and(near) && near(self.busy_at_end)
    }
}

impl RecordedMethod {
    /// Adds what was recorded later of the same method; thread shares are those of the later one.
    pub(super) fn add(&mut self, later: &RecordedMethod) {
        self.ended += later.ended;
        self.refused += later.refused;
        self.run_s += later.run_s;
        self.wait_s += later.wait_s;
        self.ran_s += later.ran_s;
        self.shares = later.shares.or(self.shares);
        self.limit = later.limit;
        self.rise = None;
    }
}
