//! The server at a glance, for the status page and `boneyard top`: what `/status.json` carries.

use super::history::{History, SecondSample, milliseconds};
use super::interval::{Interval, MethodInterval, PortInterval};
use super::snapshot::{WorkerSnapshot, Workers};
use super::verdict::Verdict;
use crate::metrics::{Distribution, Parts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Methods shown, those first that take most of the workers' time.
const METHODS_MAX: usize = 20;

/// What the plots show.
const PLOTTED: Duration = Duration::from_secs(300);

/// A whole server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Its program and version.
    pub server: String,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// It takes no more calls.
    pub draining: bool,
    /// Why `/health/ready` says no, if it does.
    pub not_ready: Option<String>,
    /// What limits it.
    pub verdict: Verdict,
    /// Processors it may use, and those it uses.
    pub cores: u32,
    /// Processors that it uses.
    pub cores_used: f64,
    /// Permits out, at most and ever; the limit is `null` where there is none.
    pub permits_out: u32,
    /// `Server_Max_Concurrent_Trans`.
    pub permits_max: Option<u32>,
    /// Connections open, and those that there can be.
    pub connections: (u64, Option<u64>),
    /// Sessions open.
    pub sessions: u64,
    /// Bytes of all buffers, and the most there may be.
    pub buffer_bytes: (u64, u64),
    /// The ports.
    pub ports: Vec<PortOverview>,
    /// The methods that take most of the workers' time, in the last ten seconds or now.
    pub methods: Vec<MethodOverview>,
    /// A row for each of the last 300 seconds, the oldest first.
    pub seconds: Vec<SecondSample>,
}

/// A port, its rates and times over the last ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortOverview {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// It takes calls.
    pub open: bool,
    /// What its workers do.
    pub workers: Workers,
    /// Calls that wait.
    pub waiting: u64,
    /// `Server_Queue_Limit`.
    pub queue_limit: u64,
    /// Connections open.
    pub connections: u64,
    /// Rates and times.
    #[serde(flatten)]
    pub pace: Throughput,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodOverview {
    /// Its port.
    pub port: String,
    /// Its name.
    pub name: String,
    /// Workers that run it, on average.
    pub workers_busy: f64,
    /// Rates and times.
    #[serde(flatten)]
    pub pace: Throughput,
}

/// How much is done, and how long it takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Answers in a second.
    pub answers_per_s: f64,
    /// Of them those that are no result.
    pub errors_per_s: f64,
    /// Of them those for calls that were not begun.
    pub refused_per_s: f64,
    /// What half of the calls take longer than, in milliseconds.
    pub p50_ms: Parts<f64>,
    /// What one of a hundred calls takes longer than.
    pub p99_ms: Parts<f64>,
}

impl Overview {
    /// Of what the history knows, so all but [`Overview::not_ready`]; `None` before the first snapshot.
    pub fn of(
        server: &str,
        history: &History,
        verdict: Verdict,
        workers: &[WorkerSnapshot],
    ) -> Option<Overview> {
        let (now, period) = (history.last()?, history.period());
        let ports = now.ports.iter().enumerate().map(|(index, port)| PortOverview {
            name: port.name.to_string(),
            address: port.address.to_string(),
            open: port.open,
            workers: port.workers,
            waiting: port.waiting,
            queue_limit: port.queue_limit,
            connections: port.connections,
            pace: period
                .as_ref()
                .map_or_else(Throughput::default, |period| port_pace(period, &period.ports[index])),
        });
        Some(Overview {
            server: server.to_owned(),
            uptime_s: now.uptime.as_secs_f64(),
            draining: now.draining,
            not_ready: None,
            verdict,
            cores: now.cpu.cores,
            cores_used: period.as_ref().map_or(0.0, |period| period.cores_used),
            permits_out: now.permits.out,
            permits_max: now.permits.limit,
            connections: now.connections,
            sessions: now.sessions.open,
            buffer_bytes: now.buffer_bytes,
            ports: ports.collect(),
            methods: methods(period.as_ref(), workers),
            seconds: history.rows(PLOTTED).cloned().collect(),
        })
    }
}

fn port_pace(period: &Interval, port: &PortInterval) -> Throughput {
    pace(period, &port.answers, &port.times)
}

fn pace(
    period: &Interval,
    answers: &super::snapshot::AnswerCounts,
    times: &Parts<Distribution>,
) -> Throughput {
    Throughput {
        answers_per_s: period.per_second(answers.all()),
        errors_per_s: period.per_second(answers.errors()),
        refused_per_s: period.per_second(answers.refused()),
        p50_ms: times.map(|times| milliseconds(times.quantile(0.5))),
        p99_ms: times.map(|times| milliseconds(times.quantile(0.99))),
    }
}

/// Those that were answered of late, and those that run now: of a method whose calls are all stuck none is answered.
fn methods(period: Option<&Interval>, workers: &[WorkerSnapshot]) -> Vec<MethodOverview> {
    let of_port = |period: &Interval, port: &PortInterval| -> Vec<MethodOverview> {
        let method = |method: &MethodInterval| MethodOverview {
            port: port.name.to_string(),
            name: method.name.to_string(),
            workers_busy: method.times.run.sum().as_secs_f64() / period.length.as_secs_f64(),
            pace: pace(period, &method.answers, &method.times),
        };
        port.methods.iter().map(method).collect()
    };
    let answered =
        period.into_iter().flat_map(|period| period.ports.iter().flat_map(move |port| of_port(period, port)));
    let mut methods: Vec<_> = answered.collect();
    let mut running = BTreeMap::<(&str, &str), f64>::new();
    for (port, task) in workers.iter().filter_map(|worker| Some((&worker.port, worker.task.as_ref()?))) {
        *running.entry((port, &task.method)).or_default() += 1.0;
    }
    for ((port, name), running) in running {
        match methods.iter_mut().find(|method| method.port == port && method.name == name) {
            // What has not ended yet is in no time: the workers that are seen at it count, if they are many more.
            Some(method) if running > 1.5 * method.workers_busy + 1.0 => method.workers_busy = running,
            Some(_) => {}
            None => methods.push(MethodOverview {
                port: port.to_owned(),
                name: name.to_owned(),
                workers_busy: running,
                pace: Throughput::default(),
            }),
        }
    }
    methods.sort_by(|one, two| two.workers_busy.total_cmp(&one.workers_busy));
    methods.truncate(METHODS_MAX);
    methods
}
