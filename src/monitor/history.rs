//! The last minutes of a server: one row a second, and the last snapshots whole.

use super::interval::Interval;
use super::minute_rates::MinuteRates;
use super::snapshot::Snapshot;
use crate::metrics::Parts;
use crate::sync::Arc;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Rows kept: a quarter of an hour, at one a second.
const ROWS_MAX: usize = 900;

/// Pictures kept: what a verdict is judged by lies between the first and the last of them.
const PICTURES_MAX: usize = 11;

/// What happened in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondSample {
    /// When it ended, in seconds since the server started.
    pub at_s: f64,
    /// Its true length, in seconds.
    pub length_s: f64,
    /// Answers, over all ports.
    pub answers: u64,
    /// Of them those that are no result.
    pub errors: u64,
    /// Of them those for calls that were not begun.
    pub refused: u64,
    /// What one of a hundred calls took longer than, in milliseconds.
    pub p99_ms: Parts<f64>,
    /// Permits out, calls waiting and sessions at its end.
    pub permits_out: u64,
    /// Calls that wait, over all ports.
    pub waiting: u64,
    /// Sessions open.
    pub sessions: u64,
    /// Processors used, on average.
    pub cores_used: f64,
}

/// Rows and snapshots, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    rows: VecDeque<SecondSample>,
    snapshots: VecDeque<Arc<Snapshot>>,
    minutes: MinuteRates,
}

impl History {
    /// Takes a snapshot in, about a second after the one before it. One that is no newer is left out. Once a minute,
    /// returns what was answered in it.
    pub fn add(&mut self, snapshot: Arc<Snapshot>) -> Option<u64> {
        if let Some(before) = self.snapshots.back() {
            if snapshot.taken <= before.taken {
                return None;
            }
            self.rows.extend(SecondSample::between(before, &snapshot));
            let surplus = self.rows.len().saturating_sub(ROWS_MAX);
            self.rows.drain(..surplus);
        }
        let answers = snapshot.ports.iter().map(|port| port.answers.all()).sum();
        let minute = self.minutes.add(snapshot.uptime, answers);
        self.snapshots.push_back(snapshot);
        let surplus = self.snapshots.len().saturating_sub(PICTURES_MAX);
        self.snapshots.drain(..surplus);
        minute
    }

    /// The last snapshot.
    pub fn last(&self) -> Option<&Arc<Snapshot>> {
        self.snapshots.back()
    }

    /// The last snapshots, the oldest first.
    pub(super) fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.snapshots.iter().map(Arc::clone).collect()
    }

    /// The last ten seconds, or as many as there were; `None` within the first.
    pub fn period(&self) -> Option<Interval> {
        Interval::of(&self.snapshots())
    }

    /// Rows of so long before now, the oldest first.
    pub fn rows(&self, time: Duration) -> impl Iterator<Item = &SecondSample> {
        let since = self.rows.back().map_or(0.0, |row| row.at_s - time.as_secs_f64());
        self.rows.iter().filter(move |row| row.at_s > since)
    }

    /// Answers in the last hour, or up to a minute more.
    pub fn answers_per_hour(&self) -> u64 {
        self.minutes.in_last_hour()
    }

    /// Answers in the last minute.
    pub fn answers_per_minute(&self) -> u64 {
        self.rows(Duration::from_secs(60)).map(|row| row.answers).sum()
    }
}

impl SecondSample {
    fn between(before: &Arc<Snapshot>, after: &Arc<Snapshot>) -> Option<SecondSample> {
        let period = Interval::of(&[Arc::clone(before), Arc::clone(after)])?;
        let answers = |of: fn(&super::snapshot::AnswerCounts) -> u64| -> u64 {
            period.ports.iter().map(|port| of(&port.answers)).sum()
        };
        Some(SecondSample {
            at_s: after.uptime.as_secs_f64(),
            length_s: period.length.as_secs_f64(),
            answers: answers(|answers| answers.all()),
            errors: answers(|answers| answers.errors()),
            refused: answers(|answers| answers.refused()),
            p99_ms: period.times().map(|times| milliseconds(times.quantile(0.99))),
            permits_out: after.permits.out.into(),
            waiting: after.ports.iter().map(|port| port.waiting).sum(),
            sessions: after.sessions.open,
            cores_used: period.cores_used,
        })
    }
}

/// A time in milliseconds.
pub(super) fn milliseconds(time: Duration) -> f64 {
    // Divided once: a product would end in 000000000002.
    time.as_nanos() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_digits_that_it_has() {
        let text = |us| milliseconds(Duration::from_micros(us)).to_string();
        assert_eq!([0, 1, 18_432, 2_000].map(text), ["0", "0.001", "18.432", "2"]);
        assert!((0..2_000_000).step_by(7).all(|us| text(us).len() <= 8), "four digits, a point and three");
    }
}
