//! Report of a run.

use crate::service::Status;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Longest latency that is measured, in nanoseconds: 10 minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Results of a run, without its warm-up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// Connections the plan asked for.
    pub connections: usize,
    /// Time that was counted, in seconds.
    pub seconds: f64,
    /// Calls answered with Ok.
    pub ok: u64,
    /// Calls answered otherwise, by status.
    pub errors: BTreeMap<String, u64>,
    /// Calls that were due in an open loop.
    pub due: u64,
    /// Calls still in flight at the end.
    pub unanswered: u64,
    /// Connections lost during the run.
    pub connections_lost: u64,
    /// Calls answered with Ok, in each whole second.
    pub ok_by_second: Vec<u64>,
    /// Calls answered with Ok, each second.
    pub calls_per_second: f64,
    /// Megabytes (1,000,000 bytes) of arguments of calls answered with Ok, each second.
    pub megabytes_per_second: f64,
    /// Latency of calls answered with Ok.
    pub latency: Latency,
    /// Latency of calls that were refused.
    pub refused_latency: Latency,
    /// CPU time of this process for each answered call, in microseconds.
    pub own_cpu_us_per_call: f64,
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}

/// Returns the name of a status, or its number if this build does not know it.
pub(super) fn status_name(code: u16) -> String {
    Status::from_code(code).map_or_else(|| format!("status {code}"), |status| format!("{status:?}"))
}

/// Counts of a run in progress.
#[derive(Debug)]
pub(super) struct RunCounts {
    begin: Instant,
    ok: Histogram<u64>,
    ok_by_second: Vec<u64>,
    refused: Histogram<u64>,
    errors: BTreeMap<u16, u64>,
    pub(super) due: u64,
    pub(super) lost: u64,
}

impl RunCounts {
    /// Counts answers from `begin` on.
    pub(super) fn new(begin: Instant) -> RunCounts {
        let histogram =
            || Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("the bounds are constants that fit");
        let (ok, refused, ok_by_second) = (histogram(), histogram(), Vec::new());
        RunCounts { begin, ok, ok_by_second, refused, errors: BTreeMap::new(), due: 0, lost: 0 }
    }

    /// Counts the answer, at `now`, to a call that was due at `due`.
    pub(super) fn reply(&mut self, code: u16, due: Instant, now: Instant) {
        let ns = now.saturating_duration_since(due).as_nanos() as u64;
        if code == Status::Ok.code() {
            self.ok.saturating_record(ns);
            let second = now.saturating_duration_since(self.begin).as_secs() as usize;
            if second >= self.ok_by_second.len() {
                self.ok_by_second.resize(second + 1, 0);
            }
            self.ok_by_second[second] += 1;
        } else {
            self.refused.saturating_record(ns);
            *self.errors.entry(code).or_default() += 1;
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.ok.len() + self.refused.len()
    }

    pub(super) fn finish(
        mut self,
        seconds: f64,
        connections: usize,
        bytes: usize,
        unanswered: u64,
        cpu_us: f64,
    ) -> BenchReport {
        let (ok, answered) = (self.ok.len(), self.answered());
        self.ok_by_second.resize(seconds as usize, 0);
        BenchReport {
            connections,
            seconds,
            ok,
            errors: self.errors.iter().map(|(code, count)| (status_name(*code), *count)).collect(),
            due: self.due,
            unanswered,
            connections_lost: self.lost,
            ok_by_second: self.ok_by_second,
            calls_per_second: ok as f64 / seconds,
            megabytes_per_second: ok as f64 * bytes as f64 / seconds / 1e6,
            latency: Latency::of(&self.ok),
            refused_latency: Latency::of(&self.refused),
            own_cpu_us_per_call: if answered == 0 { 0.0 } else { cpu_us / answered as f64 },
        }
    }
}

impl std::fmt::Display for BenchReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:>12.0} calls/s  {:>10.1} MB/s  ({} ok in {:.2} s, {} connections)",
            self.calls_per_second, self.megabytes_per_second, self.ok, self.seconds, self.connections
        )?;
        writeln!(
            f,
            "latency us   p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
            self.latency.p50_us,
            self.latency.p90_us,
            self.latency.p99_us,
            self.latency.p999_us,
            self.latency.max_us
        )?;
        for (status, count) in &self.errors {
            writeln!(f, "{count:>12} {status}")?;
        }
        if !self.errors.is_empty() {
            writeln!(
                f,
                "refused us   p50 {:.1}  p99 {:.1}  max {:.1}",
                self.refused_latency.p50_us, self.refused_latency.p99_us, self.refused_latency.max_us
            )?;
        }
        if self.due > 0 {
            writeln!(f, "{:>12} due, {} unanswered at the end", self.due, self.unanswered)?;
        }
        if self.connections_lost > 0 {
            writeln!(f, "{:>12} connections lost", self.connections_lost)?;
        }
        write!(f, "own CPU      {:.2} us a call", self.own_cpu_us_per_call)
    }
}
