//! A finding: what a few samples say limits the server. The verdict is what several findings agree on.

use super::advice::Advice;
use super::verdict::Cause;

/// Finding of a few samples.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    /// How far from the thresholds the figures are, 0 to 1.
    pub(super) clarity: f64,
    /// Calls wait, and for long.
    pub(super) backlog: bool,
    pub(super) headline: String,
    pub(super) because: Vec<String>,
    pub(super) advice: Advice,
}

impl Finding {
    /// Adds another finding to the reasons of this one.
    pub(super) fn besides(mut self, other: Finding) -> Finding {
        self.because.push(format!("Besides: {}", other.headline));
        self.because.extend(other.because.into_iter().next());
        self
    }
}

/// How clearly a value is beyond a threshold, if `sure` is far beyond: 0 to 1.
pub(super) fn clarity(value: f64, threshold: f64, sure: f64) -> f64 {
    ((value - threshold) / (sure - threshold)).clamp(0.0, 1.0)
}
