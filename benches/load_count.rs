//! The plan of a load generator and its counts: shared by `client_load.rs` and by the other libraries' in `peers/`, so
//! that all are counted alike.
//!
//! A generator runs for a warm-up and a counted time; calls that end within the latter count. The outcome is JSON under
//! the names of `boneyard bench --json`, as far as it has them.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The method that is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    Echo,
    Sleep,
}

/// The load.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Calls out on each connection. In an open loop: calls a second over all of them.
    pub(crate) out: usize,
    pub(crate) method: Method,
    /// Bytes of a call's payload. Of Boneyard's sleep, which has none: its milliseconds.
    pub(crate) payload: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

impl Plan {
    /// From `ADDRESS CONNECTIONS OUT echo|sleep PAYLOAD WARM_UP SECONDS`.
    pub(crate) fn parse(words: &[&str; 7]) -> Result<Plan, Failure> {
        let [address, connections, out, method, payload, warm_up, seconds] = words;
        Ok(Plan {
            address: address.parse()?,
            connections: connections.parse()?,
            out: out.parse()?,
            method: if *method == "sleep" { Method::Sleep } else { Method::Echo },
            payload: payload.parse()?,
            warm_up: Duration::from_secs_f64(warm_up.parse()?),
            duration: Duration::from_secs_f64(seconds.parse()?),
        })
    }
}

/// The counted time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Span {
    pub(crate) fn from_now(plan: &Plan) -> Span {
        let begin = Instant::now() + plan.warm_up;
        Span { begin, end: begin + plan.duration }
    }
}

/// Names of errors that a client finds without a reply.
pub(crate) const OF_THE_CLIENT: [&str; 3] = ["Throttled", "OutOfTime", "OfTheClient"];

/// Calls that ended within the counted time.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// Latencies of the calls that were answered, in nanoseconds.
    latencies: Vec<u32>,
    /// The same of those that the server refused.
    failed: Vec<u32>,
    /// Calls that failed, by the name of the error.
    errors: BTreeMap<String, u64>,
    /// Calls that were answered, in each second.
    by_second: Vec<u64>,
    /// Connections on which no call was ever answered.
    starved: usize,
    /// Of an open loop: calls that were due, and those without an outcome at its end.
    pub(crate) due: u64,
    pub(crate) unanswered: u64,
    seconds: f64,
}

impl Count {
    /// A call has ended: it was answered, or failed with an error of this name. False when the time is over.
    pub(crate) fn add(&mut self, span: &Span, start: Instant, outcome: Result<(), String>) -> bool {
        let now = Instant::now();
        if now >= span.begin && now < span.end {
            let ns = u32::try_from((now - start).as_nanos()).unwrap_or(u32::MAX);
            match outcome {
                Ok(()) => {
                    self.latencies.push(ns);
                    let second = (now - span.begin).as_secs() as usize;
                    self.by_second.resize(self.by_second.len().max(second + 1), 0);
                    self.by_second[second] += 1;
                }
                Err(name) => {
                    // What the client alone decides has no time of a reply.
                    if !OF_THE_CLIENT.contains(&name.as_str()) {
                        self.failed.push(ns);
                    }
                    *self.errors.entry(name).or_default() += 1;
                }
            }
        }
        now < span.end
    }

    pub(crate) fn merge(parts: Vec<Count>, starved: usize, plan: &Plan) -> Count {
        let mut all = Count { starved, seconds: plan.duration.as_secs_f64(), ..Count::default() };
        all.by_second = vec![0; plan.duration.as_secs() as usize];
        for mut part in parts {
            all.latencies.append(&mut part.latencies);
            all.failed.append(&mut part.failed);
            all.due += part.due;
            all.unanswered += part.unanswered;
            for (name, count) in part.errors {
                *all.errors.entry(name).or_default() += count;
            }
            // The last second counts only if it is a whole one.
            for (sum, count) in all.by_second.iter_mut().zip(part.by_second) {
                *sum += count;
            }
        }
        all.latencies.sort_unstable();
        all.failed.sort_unstable();
        all
    }

    pub(crate) fn json(&self) -> String {
        let ok = self.latencies.len();
        let errors: Vec<String> =
            self.errors.iter().map(|(name, count)| format!(r#""{name}":{count}"#)).collect();
        format!(
            concat!(
                r#"{{"ok":{},"errors":{{{}}},"starved":{},"due":{},"unanswered":{},"calls_per_second":{:.1},"#,
                r#""ok_by_second":{:?},"latency":{},"refused_latency":{}}}"#
            ),
            ok,
            errors.join(","),
            self.starved,
            self.due,
            self.unanswered,
            ok as f64 / self.seconds,
            self.by_second,
            quantiles(&self.latencies),
            quantiles(&self.failed)
        )
    }
}

/// JSON of the quantiles of sorted nanoseconds.
fn quantiles(sorted: &[u32]) -> String {
    let at = |quantile: f64| {
        let rank = ((sorted.len() as f64 * quantile).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(rank).map_or(0.0, |ns| f64::from(*ns) / 1000.0)
    };
    format!(r#"{{"p50_us":{:.1},"p99_us":{:.1},"max_us":{:.1}}}"#, at(0.5), at(0.99), at(1.0))
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
