//! The server at a glance, for the status page and `boneyard top`: what `/status.json` carries.

use super::diagnose::Verdict;
use super::format::milliseconds;
use super::history::{History, SecondSample};
use super::interval::{Interval, MethodInterval, PortInterval};
use super::snapshot::{AnswerCounts, MethodLimitSnapshot, WorkerSnapshot, Workers};
use crate::metrics::{Distribution, Parts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Methods shown: those that take most of the workers' time.
const METHODS_MAX: usize = 20;

/// Time that the plots cover.
const PLOTTED: Duration = Duration::from_secs(300);

/// A whole server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overview {
    /// Its program and version.
    pub server: String,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// It is shutting down and admits no more calls.
    pub draining: bool,
    /// Why `/health/ready` fails, if it does.
    pub not_ready: Option<String>,
    /// Its limit, as diagnosed.
    pub verdict: Verdict,
    /// Processors that it may use.
    pub cores: u32,
    /// Processors that it uses.
    pub cores_used: f64,
    /// Permits out.
    pub permits_out: u32,
    /// `Server_Max_Concurrent_Trans`; `null` where it is unlimited.
    pub permits_max: Option<u32>,
    /// Connections open, and the limit.
    pub connections: (u64, Option<u64>),
    /// Sessions open.
    pub sessions: u64,
    /// Bytes of all buffers, and the limit.
    pub buffer_bytes: (u64, u64),
    /// The ports.
    pub ports: Vec<PortOverview>,
    /// The limited methods.
    #[serde(default)]
    pub limits: Vec<MethodLimitSnapshot>,
    /// The methods that take most of the workers' time, in the last ten seconds or now.
    pub methods: Vec<MethodOverview>,
    /// A sample of each of the last 300 seconds, the oldest first.
    pub seconds: Vec<SecondSample>,
}

/// A port, its rates and times over the last ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortOverview {
    /// Its name.
    pub name: String,
    /// The address on which it listens.
    pub address: String,
    /// It admits calls.
    pub open: bool,
    /// Its workers, by what they do.
    pub workers: Workers,
    /// Calls that wait.
    pub waiting: u64,
    /// `Server_Queue_Limit`.
    pub queue_limit: u64,
    /// Connections open.
    pub connections: u64,
    /// Rates and times.
    #[serde(flatten)]
    pub throughput: Throughput,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodOverview {
    /// Its port.
    pub port: String,
    /// Its name.
    pub name: String,
    /// Workers that run it, on average.
    pub workers_busy: f64,
    /// Rates and times.
    #[serde(flatten)]
    pub throughput: Throughput,
}

/// Rates and times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Throughput {
    /// Answers per second.
    pub answers_per_s: f64,
    /// Of them those that are not a result.
    pub errors_per_s: f64,
    /// Of them those for calls that were not started.
    pub refused_per_s: f64,
    /// The median of each part of a call's time, in milliseconds.
    pub p50_ms: Parts<f64>,
    /// The 99th percentile of each part, in milliseconds.
    pub p99_ms: Parts<f64>,
}

impl Overview {
    /// Made of the history: everything but [`Overview::not_ready`]. `None` before the first snapshot.
    pub fn of(
        server: &str,
        history: &History,
        verdict: Verdict,
        workers: &[WorkerSnapshot],
    ) -> Option<Overview> {
        let (now, interval) = (history.last()?, history.interval());
        let ports = now.ports.iter().enumerate().map(|(index, port)| PortOverview {
            name: port.name.to_string(),
            address: port.address.to_string(),
            open: port.open,
            workers: port.workers,
            waiting: port.waiting,
            queue_limit: port.queue_limit,
            connections: port.connections,
            throughput: interval.as_ref().map_or_else(Throughput::default, |interval| {
                let PortInterval { answers, times, .. } = &interval.ports[index];
                throughput(interval, answers, times)
            }),
        });
        Some(Overview {
            server: server.to_owned(),
            uptime_s: now.uptime.as_secs_f64(),
            draining: now.draining,
            not_ready: None,
            verdict,
            cores: now.cpu.cores,
            cores_used: interval.as_ref().map_or(0.0, |interval| interval.cores_used),
            permits_out: now.permits.out,
            permits_max: now.permits.limit,
            connections: now.connections,
            sessions: now.sessions.open,
            buffer_bytes: now.buffer_bytes,
            ports: ports.collect(),
            limits: now.limits.clone(),
            methods: methods(interval.as_ref(), workers),
            seconds: history.seconds(PLOTTED).cloned().collect(),
        })
    }
}

fn throughput(interval: &Interval, answers: &AnswerCounts, times: &Parts<Distribution>) -> Throughput {
    Throughput {
        answers_per_s: interval.per_second(answers.all()),
        errors_per_s: interval.per_second(answers.errors()),
        refused_per_s: interval.per_second(answers.refused()),
        p50_ms: times.map(|times| milliseconds(times.quantile(0.5))),
        p99_ms: times.map(|times| milliseconds(times.quantile(0.99))),
    }
}

/// The methods that were answered in the interval, and those that run now: of a method whose calls are all stuck none
/// is answered.
fn methods(interval: Option<&Interval>, workers: &[WorkerSnapshot]) -> Vec<MethodOverview> {
    let of_port = |interval: &Interval, port: &PortInterval| -> Vec<MethodOverview> {
        let method = |method: &MethodInterval| MethodOverview {
            port: port.name.to_string(),
            name: method.name.to_string(),
            workers_busy: method.times.run.sum().as_secs_f64() / interval.length.as_secs_f64(),
            throughput: throughput(interval, &method.answers, &method.times),
        };
        port.methods.iter().map(method).collect()
    };
    let answered = interval
        .into_iter()
        .flat_map(|interval| interval.ports.iter().flat_map(move |port| of_port(interval, port)));
    let mut methods: Vec<_> = answered.collect();
    let mut running = BTreeMap::<(&str, &str), f64>::new();
    for (port, task) in workers.iter().filter_map(|worker| Some((&worker.port, worker.task.as_ref()?))) {
        *running.entry((port, &task.method)).or_default() += 1.0;
    }
    for ((port, name), running) in running {
        match methods.iter_mut().find(|method| method.port == port && method.name == name) {
            // Calls that have not ended are in no measured time: workers that run it now count, if they are many more.
            Some(method) if running > 1.5 * method.workers_busy + 1.0 => method.workers_busy = running,
            Some(_) => {}
            None => methods.push(MethodOverview {
                port: port.to_owned(),
                name: name.to_owned(),
                workers_busy: running,
                throughput: Throughput::default(),
            }),
        }
    }
    methods.sort_by(|one, two| two.workers_busy.total_cmp(&one.workers_busy));
    methods.truncate(METHODS_MAX);
    methods
}
