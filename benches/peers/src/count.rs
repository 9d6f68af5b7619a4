//! Counts of a load generator.

use crate::{Failure, Method};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The load.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) out: usize,
    pub(crate) method: Method,
    /// Bytes of a call's payload.
    pub(crate) payload: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// The counted time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    begin: Instant,
    pub(crate) end: Instant,
}

impl Span {
    pub(crate) fn from_now(plan: &Plan) -> Span {
        let begin = Instant::now() + plan.warm_up;
        Span { begin, end: begin + plan.duration }
    }
}

/// Latencies of the calls that ended within the counted time, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Count {
    latencies: Vec<u32>,
    errors: u64,
    /// Connections on which no call was ever answered.
    starved: usize,
    seconds: f64,
}

impl Count {
    /// A call has ended. False when the time is over.
    pub(crate) fn add(&mut self, span: &Span, start: Instant, good: bool) -> bool {
        let now = Instant::now();
        if now >= span.begin && now < span.end {
            if good {
                self.latencies.push(u32::try_from((now - start).as_nanos()).unwrap_or(u32::MAX));
            } else {
                self.errors += 1;
            }
        }
        now < span.end
    }

    pub(crate) fn merge(parts: Vec<Count>, starved: usize, plan: &Plan) -> Count {
        let mut all = Count { starved, seconds: plan.duration.as_secs_f64(), ..Count::default() };
        for mut part in parts {
            all.latencies.append(&mut part.latencies);
            all.errors += part.errors;
        }
        all.latencies.sort_unstable();
        all
    }

    /// JSON under the names of `boneyard bench --json`.
    pub(crate) fn json(&self) -> String {
        let ok = self.latencies.len();
        let at = |quantile: f64| {
            let rank = ((ok as f64 * quantile).ceil() as usize).clamp(1, ok.max(1)) - 1;
            self.latencies.get(rank).map_or(0.0, |ns| f64::from(*ns) / 1000.0)
        };
        let errors = if self.errors > 0 { format!(r#""failed":{}"#, self.errors) } else { String::new() };
        format!(
            concat!(
                r#"{{"ok":{},"errors":{{{}}},"starved":{},"calls_per_second":{:.1},"#,
                r#""latency":{{"p50_us":{:.1},"p99_us":{:.1},"max_us":{:.1}}}}}"#
            ),
            ok,
            errors,
            self.starved,
            ok as f64 / self.seconds,
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}

/// Counts connections that were answered at least once.
#[derive(Debug, Default)]
pub(crate) struct Answered(AtomicU64);

impl Answered {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }
}

/// Gathers what the tasks of an asynchronous load generator counted.
pub(crate) async fn gather(
    tasks: Vec<tokio::task::JoinHandle<Count>>,
    plan: &Plan,
) -> Result<Count, Failure> {
    let mut parts = Vec::new();
    for task in tasks {
        parts.push(task.await?);
    }
    Ok(Count::merge(parts, 0, plan))
}
