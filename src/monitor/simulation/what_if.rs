//! The effect of other settings: the load under them against the load under those in force, simulated alike, so that
//! what the model gets wrong in both is divided out.
//!
//! The model's own error is the simulation of the settings in force against what was measured. The range covers it, the
//! chance of the simulation, and everything else that the measurements allow: other sources, clients that share the
//! processors, and limits outside the server.

use super::engine::simulate;
use super::outcome::{Outcome, PortOutcome};
use super::workload::{Contention, MethodPlaces, PortWorkload, SourceKind, Workload};
use crate::config::Config;
use serde::{Deserialize, Serialize};

/// Seeds of the simulations of one load.
const SEEDS: [u64; 2] = [1, 2];

/// Least half of the range, and most of what the model's error adds, as shares.
const MARGIN_MIN: f64 = 0.02;
const MARGIN_MAX: f64 = 0.5;

/// Share from which on something is full, and share of a port's calls from which on a wait or a refusal counts.
const FULL: f64 = 0.95;
const COUNTS: f64 = 0.02;

/// Least use of the processors by other programs, as a share, that matters.
const OTHERS_MIN: f64 = 0.05;

/// Threads ready to run without a processor, for each call that runs, from which on the processors limit.
const READY: f64 = 0.25;

/// Growth of the number that run up to which nothing unknown matters, and least share of the busy workers.
const AS_NOW: f64 = 1.1;
const BUSY_MIN: f64 = 0.05;

/// The throughput of a load under other settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct Expectation {
    /// Calls run per second now, as measured.
    pub(in crate::monitor) now_per_s: f64,
    /// Calls run per second, likely, at least and at most.
    pub(in crate::monitor) per_s: f64,
    pub(in crate::monitor) low: f64,
    pub(in crate::monitor) high: f64,
    /// How many times the present throughput that is.
    pub(in crate::monitor) factor: f64,
    /// The limit then.
    pub(in crate::monitor) limited_by: LimitedBy,
    /// The simulation of the settings in force against what was measured, as a share.
    pub(in crate::monitor) model_error: f64,
    /// Nothing that is unknown may keep it from that.
    pub(in crate::monitor) certain: bool,
    pub(in crate::monitor) ports: Vec<PortExpectation>,
}

/// A port under other settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::monitor) struct PortExpectation {
    pub(in crate::monitor) name: String,
    pub(in crate::monitor) per_s: f64,
    /// Mean wait and run of a call.
    pub(in crate::monitor) wait_s: f64,
    pub(in crate::monitor) run_s: f64,
    pub(in crate::monitor) refused_per_s: f64,
}

/// The limit of the throughput.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(in crate::monitor) enum LimitedBy {
    /// No more is asked for.
    Demand,
    /// The workers of a port.
    Workers {
        port: String,
    },
    /// `Server_Max_Concurrent_Trans`.
    Permits,
    Processors,
    /// Something that the calls of a method share.
    Contention {
        method: String,
    },
    /// The limit of a method.
    MethodLimit {
        method: String,
    },
}

/// The load under the settings `after`, where it was measured under `before`.
pub(in crate::monitor) fn change(load: &Workload, before: &Config, after: &Config) -> Workload {
    let mut changed = load.clone();
    if before.max_concurrent_trans.value != after.max_concurrent_trans.value {
        changed.permits = after.max_concurrent_trans.value.count();
    }
    for port in &mut changed.ports {
        let pool = |config: &Config| {
            config.ports.iter().find(|of| of.name == port.name).map(|of| of.pool_tasks.value)
        };
        if let Some(workers) = pool(after).filter(|workers| pool(before) != Some(*workers)) {
            port.workers = workers;
        }
        if before.method_limits != after.method_limits {
            port.methods.iter_mut().for_each(|method| method.limit = places(after, &method.name));
        }
        if before.queue_limit.value != after.queue_limit.value {
            port.queue_limit = after.queue_limit.value.into();
        }
        if let Some(calls) =
            after.session_calls.value.filter(|_| before.session_calls.value != after.session_calls.value)
        {
            limit_callers(port, calls);
        }
    }
    changed
}

/// The limit of a method by these settings.
fn places(config: &Config, method: &str) -> Option<MethodPlaces> {
    let limit = config.method_limits.iter().find(|line| line.is_for(method))?;
    limit.limit.value.map(|(run, wait)| MethodPlaces { run, wait })
}

/// Lets each connection have so many calls in progress.
fn limit_callers(port: &mut PortWorkload, calls: usize) {
    let most = (port.connections.max(1) as f64) * calls as f64;
    let all = port.alternatives.iter_mut().chain([&mut port.sources]);
    for sources in all {
        let count = |kind: &SourceKind| match kind {
            SourceKind::Callers { count, .. } => f64::from(*count),
            SourceKind::Arrivals { .. } => 0.0,
        };
        let sum: f64 = sources.iter().map(|source| count(&source.kind)).sum();
        for source in sources.iter_mut().filter(|_| sum > most) {
            if let SourceKind::Callers { count, .. } = &mut source.kind {
                *count = (f64::from(*count) * most / sum).round().max(1.0) as u32;
            }
        }
    }
}

/// A load with its simulation as it is, which every expectation is compared with.
#[derive(Debug)]
pub(in crate::monitor) struct PresentLoad<'a> {
    load: &'a Workload,
    /// By seed.
    outcomes: Vec<Outcome>,
}

impl PresentLoad<'_> {
    /// Simulates a load as it is.
    pub(in crate::monitor) fn of(load: &Workload) -> PresentLoad<'_> {
        PresentLoad { load, outcomes: simulate_all(load) }
    }

    /// Expects the throughput under a change of settings.
    pub(in crate::monitor) fn with(&self, change: impl FnOnce(&mut Workload)) -> Expectation {
        let mut changed = self.load.clone();
        change(&mut changed);
        self.under(&changed)
    }

    /// Expects the throughput of `changed`, which is this load under other settings.
    pub(in crate::monitor) fn under(&self, changed: &Workload) -> Expectation {
        let (load, now) = (self.load, &self.outcomes);
        let then = if load == changed { now.clone() } else { simulate_all(changed) };
        let ratios: Vec<f64> = now.iter().zip(&then).map(|(now, then)| ratio(now, then)).collect();
        let factor = mean(ratios.iter().copied());
        let chance = ratios.iter().map(|ratio| (ratio / factor.max(1e-9) - 1.0).abs()).fold(0.0, f64::max);
        let measured = load.measured_per_s();
        let simulated = mean(now.iter().map(|outcome| outcome.per_s));
        let model_error = if measured > 0.0 { (simulated / measured - 1.0).abs() } else { 1.0 };
        let unknown = unknown_matters(changed, now, &then);
        let mut range = (factor, factor);
        for (load, changed) in readings(load, changed, unknown) {
            let now = simulate(&load, SEEDS[0]);
            let other = ratio(&now, &simulate(&changed, SEEDS[0]));
            range = (range.0.min(other), range.1.max(other));
        }
        let margin = match load == changed {
            true => 0.0,
            false => (MARGIN_MIN + chance + model_error).min(MARGIN_MAX),
        };
        // Where nothing ended there is nothing to compare with.
        let base = if measured > 0.0 { measured } else { simulated };
        Expectation {
            now_per_s: measured,
            per_s: base * factor,
            low: base * range.0 * (1.0 - margin),
            high: base * range.1 * (1.0 + margin),
            factor,
            limited_by: limited_by(changed, &then[0]),
            model_error,
            certain: !unknown && measured > 0.0,
            ports: ports(changed, &then),
        }
    }
}

/// Expects the throughput of `changed`, which is `load` under other settings. For several of them, a [`PresentLoad`]
/// simulates `load` once.
pub(in crate::monitor) fn expect(load: &Workload, changed: &Workload) -> Expectation {
    PresentLoad::of(load).under(changed)
}

fn simulate_all(load: &Workload) -> Vec<Outcome> {
    SEEDS.iter().map(|seed| simulate(load, *seed)).collect()
}

fn ratio(now: &Outcome, then: &Outcome) -> f64 {
    if now.per_s > 0.0 { then.per_s / now.per_s } else { 1.0 }
}

fn mean(all: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = all.len().max(1) as f64;
    all.sum::<f64>() / count
}

fn ports(load: &Workload, outcomes: &[Outcome]) -> Vec<PortExpectation> {
    let port = |(place, port): (usize, &PortWorkload)| {
        let of =
            |get: fn(&PortOutcome) -> f64| mean(outcomes.iter().map(|outcome| get(&outcome.ports[place])));
        PortExpectation {
            name: port.name.clone(),
            per_s: of(|port| port.per_s),
            wait_s: of(|port| port.wait),
            run_s: of(|port| port.run),
            refused_per_s: of(|port| port.refused_per_s),
        }
    };
    load.ports.iter().enumerate().map(port).collect()
}

/// Whether more calls would run of a method of which it is unknown what they share.
fn unknown_matters(load: &Workload, now: &[Outcome], then: &[Outcome]) -> bool {
    let all: f64 = mean(now.iter().map(|outcome| outcome.ports.iter().map(|port| port.busy).sum()));
    let busy = |outcomes: &[Outcome], port: usize, method: usize| {
        mean(outcomes.iter().map(|outcome| outcome.ports[port].methods[method].busy))
    };
    load.ports.iter().enumerate().any(|(port, of)| {
        of.methods.iter().enumerate().any(|(method, of)| {
            let (now, then) = (busy(now, port, method), busy(then, port, method));
            of.contention == Contention::Unknown && then > AS_NOW * now && then >= BUSY_MIN * all
        })
    })
}

/// Other readings of the same measurements, each before and after the change.
fn readings(load: &Workload, changed: &Workload, unknown: bool) -> Vec<(Workload, Workload)> {
    if load == changed {
        return Vec::new();
    }
    let mut readings = Vec::new();
    let mut add = |read: &dyn Fn(&mut Workload)| {
        let (mut load, mut changed) = (load.clone(), changed.clone());
        read(&mut load);
        read(&mut changed);
        readings.push((load, changed));
    };
    let most = load.ports.iter().map(|port| port.alternatives.len()).max().unwrap_or(0);
    for place in 0..most {
        add(&|load| {
            for port in &mut load.ports {
                if let Some(sources) = port.alternatives.get(place) {
                    port.sources = sources.clone();
                }
            }
        });
    }
    let ProcessorShare { others, cores } = ProcessorShare::of(load);
    if others >= OTHERS_MIN * cores {
        add(&|load| load.processors.ours = load.processors.cores);
        add(&|load| {
            load.processors.background_s += load.processors.others_s;
            (load.processors.others, load.processors.ours) = (0.0, load.processors.cores);
        });
    }
    if unknown {
        add(&|load| {
            for method in load.ports.iter_mut().flat_map(|port| &mut port.methods) {
                if method.contention == Contention::Unknown {
                    let floor = method.spread.first().copied().unwrap_or(1.0).clamp(0.01, 1.0);
                    method.contention = Contention::Damped { from: method.busy, elasticity: 0.0, floor };
                }
            }
        });
    }
    readings
}

/// Processors, and the use of them by other programs.
struct ProcessorShare {
    others: f64,
    cores: f64,
}

impl ProcessorShare {
    fn of(load: &Workload) -> ProcessorShare {
        let processors = &load.processors;
        ProcessorShare { others: processors.others.min(processors.cores), cores: processors.cores }
    }
}

/// The limit of the throughput of a simulated load.
fn limited_by(load: &Workload, outcome: &Outcome) -> LimitedBy {
    let waits = |port: &PortOutcome| {
        port.waiting >= (COUNTS * port.busy).max(0.5) || port.refused_per_s > COUNTS * port.per_s
    };
    let processors = ProcessorShare::of(load);
    let used = outcome.processors_used + processors.others.min(processors.cores - outcome.processors_used);
    let busy: f64 = outcome.ports.iter().map(|port| port.busy).sum();
    let ready = outcome.processors_wanted - outcome.processors_used;
    let full = used >= 0.9 * processors.cores || outcome.processors_used >= 0.9 * load.processors.ours;
    if full && ready >= (READY * busy).max(0.5) {
        return LimitedBy::Processors;
    }
    if let Some(method) = contended(load, outcome) {
        return LimitedBy::Contention { method };
    }
    let all = || load.ports.iter().zip(&outcome.ports);
    let aside = all().flat_map(|(of, port)| of.methods.iter().zip(&port.methods));
    let aside = aside.filter(|(_, method)| method.set_aside >= 0.5);
    if let Some((method, _)) = aside.max_by(|(_, one), (_, two)| one.set_aside.total_cmp(&two.set_aside)) {
        return LimitedBy::MethodLimit { method: method.name.clone() };
    }
    let waiting: Vec<_> = all().filter(|(_, port)| waits(port)).collect();
    let full = |of: &PortWorkload, port: &PortOutcome| port.busy >= FULL * f64::from(of.workers);
    let permits = load.permits.is_some_and(|most| outcome.permits_out >= FULL * f64::from(most));
    if permits && waiting.iter().any(|(of, port)| !full(of, port)) {
        return LimitedBy::Permits;
    }
    let left_over = |port: &PortOutcome| port.waiting + port.refused_per_s * port.run;
    let pool = waiting.iter().filter(|(of, port)| full(of, port));
    match pool.max_by(|(_, one), (_, two)| left_over(one).total_cmp(&left_over(two))) {
        Some((of, _)) => LimitedBy::Workers { port: of.name.clone() },
        None if permits && !waiting.is_empty() => LimitedBy::Permits,
        None => LimitedBy::Demand,
    }
}

/// The method with the most calls among those of which as many run as the one thing lets through that they share.
fn contended(load: &Workload, outcome: &Outcome) -> Option<String> {
    let methods = load.ports.iter().zip(&outcome.ports).flat_map(|(of, port)| {
        let all = port.busy;
        of.methods.iter().zip(&port.methods).map(move |(of, method)| (of, method.busy, all))
    });
    let limits = methods.filter(|(of, busy, all)| match of.contention {
        Contention::Damped { from, elasticity, .. } => {
            elasticity < 0.5 && *busy >= 0.9 * from && *busy >= 0.5 * all
        }
        Contention::None | Contention::Unknown => false,
    });
    limits.max_by(|(_, one, _), (_, two, _)| one.total_cmp(two)).map(|(of, ..)| of.name.clone())
}
