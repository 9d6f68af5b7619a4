//! The last minutes of a server: a sample of each second, the last snapshots whole, and the answers of each minute of
//! the last hour.

use super::format::milliseconds;
use super::interval::Interval;
use super::snapshot::{AnswerCounts, Snapshot};
use super::window::Window;
use crate::metrics::Parts;
use crate::sync::Arc;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Samples kept: a quarter of an hour, at one a second.
const SECONDS_KEPT: usize = 900;

/// Snapshots kept: what a verdict is found by lies between the first and the last of them.
const SNAPSHOTS_KEPT: usize = 11;

/// Distance of the snapshots that recent times are compared with, and how many are kept: the oldest is then up to five
/// quarters of a minute old.
const QUARTER: Duration = Duration::from_secs(15);
const QUARTERS_KEPT: usize = 5;

const MINUTE: Duration = Duration::from_secs(60);

/// Beginnings of minutes that are kept: those of an hour, and of the minute that has begun.
const MINUTES_KEPT: usize = 61;

/// Readings of one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecondSample {
    /// When it ended, in seconds since the server started.
    pub at_s: f64,
    /// Its true length, in seconds.
    pub length_s: f64,
    /// Answers, over all ports.
    pub answers: u64,
    /// Of them those that are not a result.
    pub errors: u64,
    /// Of them those for calls that were not started.
    pub refused: u64,
    /// The 99th percentile of each part of a call's time, in milliseconds.
    pub p99_ms: Parts<f64>,
    /// Permits out at its end.
    pub permits_out: u64,
    /// Calls waiting at its end, over all ports.
    pub waiting: u64,
    /// Sessions open at its end.
    pub sessions: u64,
    /// Processors used, on average.
    pub cores_used: f64,
}

/// Samples and snapshots, the oldest first.
#[derive(Debug)]
pub struct History {
    seconds: Window<SecondSample>,
    snapshots: Window<Arc<Snapshot>>,
    quarters: Window<Arc<Snapshot>>,
    /// Answers counted at the beginning of each minute.
    minutes: Window<u64>,
    answers: u64,
}

impl Default for History {
    fn default() -> History {
        let mut minutes = Window::spaced(MINUTE, MINUTES_KEPT);
        minutes.add(Duration::ZERO, 0);
        History {
            seconds: Window::of(SECONDS_KEPT),
            snapshots: Window::of(SNAPSHOTS_KEPT),
            quarters: Window::spaced(QUARTER, QUARTERS_KEPT),
            minutes,
            answers: 0,
        }
    }
}

impl History {
    /// Adds a snapshot, about a second after the one before it. One that is no newer is left out. Once a minute,
    /// returns what was answered in it.
    pub fn add(&mut self, snapshot: Arc<Snapshot>) -> Option<u64> {
        let uptime = snapshot.uptime;
        if let Some(before) = self.snapshots.newest() {
            if snapshot.taken <= before.taken {
                return None;
            }
            if let Some(sample) = SecondSample::between(before, &snapshot) {
                self.seconds.add(uptime, sample);
            }
        }
        let minute = self.add_answers(uptime, snapshot.ports.iter().map(|port| port.answers.all()).sum());
        self.quarters.add(uptime, Arc::clone(&snapshot));
        self.snapshots.add(uptime, snapshot);
        minute
    }

    /// Notes what has been answered since the start. Returns what was answered in a minute that ends with this.
    fn add_answers(&mut self, uptime: Duration, answers: u64) -> Option<u64> {
        self.answers = answers;
        let began = self.minutes.newest().copied().unwrap_or(0);
        self.minutes.add(uptime, answers).then(|| answers.saturating_sub(began))
    }

    /// The last snapshot.
    pub fn last(&self) -> Option<&Arc<Snapshot>> {
        self.snapshots.newest()
    }

    /// The last snapshots, the oldest first.
    pub(super) fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.snapshots.iter().map(Arc::clone).collect()
    }

    /// The snapshot of about a minute ago, or the first one.
    pub(super) fn minute_ago(&self) -> Option<Arc<Snapshot>> {
        self.quarters.oldest().map(Arc::clone)
    }

    /// The last ten seconds, or as many as there were; `None` within the first.
    pub fn interval(&self) -> Option<Interval> {
        Interval::of(&self.snapshots())
    }

    /// The samples of the last `time`, the oldest first.
    pub fn seconds(&self, time: Duration) -> impl Iterator<Item = &SecondSample> {
        let since = self.seconds.newest().map_or(0.0, |sample| sample.at_s - time.as_secs_f64());
        self.seconds.iter().filter(move |sample| sample.at_s > since)
    }

    /// Answers in the last hour, or up to a minute more.
    pub fn answers_per_hour(&self) -> u64 {
        self.answers.saturating_sub(self.minutes.oldest().copied().unwrap_or(0))
    }

    /// Answers in the last minute.
    pub fn answers_per_minute(&self) -> u64 {
        self.seconds(MINUTE).map(|sample| sample.answers).sum()
    }
}

impl SecondSample {
    fn between(before: &Arc<Snapshot>, after: &Arc<Snapshot>) -> Option<SecondSample> {
        let interval = Interval::of(&[Arc::clone(before), Arc::clone(after)])?;
        let answers = |of: fn(&AnswerCounts) -> u64| -> u64 {
            interval.ports.iter().map(|port| of(&port.answers)).sum()
        };
        Some(SecondSample {
            at_s: after.uptime.as_secs_f64(),
            length_s: interval.length.as_secs_f64(),
            answers: answers(AnswerCounts::all),
            errors: answers(AnswerCounts::errors),
            refused: answers(AnswerCounts::refused),
            p99_ms: interval.times().map(|times| milliseconds(times.quantile(0.99))),
            permits_out: after.permits.out.into(),
            waiting: after.ports.iter().map(|port| port.waiting).sum(),
            sessions: after.sessions.open,
            cores_used: interval.cores_used,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_minutes_is_kept() {
        let mut history = History::default();
        let over: Vec<_> =
            (1..=180).filter_map(|n| history.add_answers(n * Duration::from_secs(30), n.into())).collect();
        assert_eq!(over, [2; 90]);
        assert_eq!(history.answers_per_hour(), 120);
        assert_eq!(history.add_answers(Duration::from_secs(5410), 185), None);
        assert_eq!(history.answers_per_hour(), 125);
    }
}
