//! Sizes of pools and of the throttle, and what they should bring by the simulation.
//!
//! Invariant: what the simulation cannot know is not promised: there is no line then, and the text says what to look
//! at.

use super::evidence::{Bottleneck, Evidence};
use super::loads::{FULL, Load, WORTH, round_up};
use super::rule::Advice;
use crate::config::remedy::throttle_lines;
use crate::config::sizing::{POOL_TASKS_MAX, WORKERS_ADVISED_MAX};
use crate::monitor::format::{factor, percent, rounded, short_time};
use crate::monitor::simulation::{Expectation, LimitedBy, Workload};

/// Largest growth of a pool in one step; then it is measured again. The smaller one where calls wait for something
/// outside the server, of which nothing is known beyond what was seen; and the share of such waits from which on.
const POOL_STEP: u32 = 4;
const POOL_STEP_OUTSIDE: u32 = 2;
const OUTSIDE: f64 = 0.2;

/// Added to the mean number of busy workers, where more were tried than are needed: they vary.
const SPARE: f64 = 1.1;

/// More of what calls wait for.
pub(super) fn of(evidence: &Evidence<'_>, full: Bottleneck) -> Advice {
    match full {
        Bottleneck::Permits => permits(evidence),
        Bottleneck::Workers(_) => workers(evidence, &evidence.limited_ports()),
    }
}

/// More permits.
pub(super) fn permits(evidence: &Evidence<'_>) -> Advice {
    let limit = evidence.interval.limit.unwrap_or(0);
    let total = evidence.config.total_workers().max(limit);
    let lines = |limit| throttle_lines(evidence.config, limit, None);
    let Some(present) = evidence.present() else { return unknown(&lines(total)) };
    if evidence.per_s() <= 0.0 {
        return stuck(&lines(total));
    }
    let expected = present.with(|changed| changed.permits = Some(total));
    // Fewer than the workers only where the processors limit it long before, and handlers do more than wait: what
    // other programs leave of the processors changes from minute to minute.
    let out = evidence.interval.permits_out.max(1.0);
    let working = evidence.processors.used / out > 0.1;
    let long_before = 2.0 * expected.factor < f64::from(total) / f64::from(limit.max(1));
    let few = working && long_before && expected.limited_by == LimitedBy::Processors;
    let limit = if few { round_up(f64::from(limit) * expected.factor).min(total) } else { total };
    let expected = if few { present.with(|changed| changed.permits = Some(limit)) } else { expected };
    advice(evidence, lines(limit), &expected, end(&expected, false))
}

/// More workers for these ports.
pub(super) fn workers(evidence: &Evidence<'_>, ports: &[usize]) -> Advice {
    let now = |port: usize| evidence.loads[port].workers as u32;
    let most = |port: usize| now(port).saturating_mul(step(evidence, port)).min(POOL_TASKS_MAX);
    let ports: Vec<usize> = ports.iter().copied().filter(|port| now(*port) < POOL_TASKS_MAX).collect();
    if ports.is_empty() {
        return Advice::without_lines(
            "The pool is as large as it can be. Shorter calls, or another port or server, help.",
        );
    }
    let lines = |pools: &[(usize, u32)], permits: Option<u32>| {
        let name = |port: usize| &evidence.loads[port].port.name;
        let mut lines: Vec<String> =
            pools.iter().map(|(port, workers)| format!("{}_Pool_Tasks={workers}", name(*port))).collect();
        let changed = Some(pools).filter(|pools| pools.len() == 1).map(|pools| &**name(pools[0].0));
        lines.extend(permits.into_iter().flat_map(|limit| throttle_lines(evidence.config, limit, changed)));
        lines
    };
    let largest: Vec<(usize, u32)> = ports.iter().map(|port| (*port, most(*port))).collect();
    let unsized_lines = || {
        lines(&largest, Some(total_with(evidence, &largest)).filter(|_| evidence.interval.limit.is_some()))
    };
    let Some(present) = evidence.present() else { return unknown(&unsized_lines()) };
    if evidence.per_s() <= 0.0 {
        return stuck(&unsized_lines());
    }
    let free = present.with(|changed| resize(changed, &largest, None));
    let pools: Vec<(usize, u32)> = largest
        .iter()
        .map(|(port, most)| {
            let busy = busy(&free, *port);
            let enough = if busy >= FULL * f64::from(*most) { *most } else { round_up(SPARE * busy) };
            (*port, enough.clamp(now(*port) + 1, *most))
        })
        .collect();
    let limit = evidence.interval.limit;
    let permits = limit.filter(|limit| permits_needed(evidence, &free) > FULL * f64::from(*limit));
    let permits =
        permits.map(|limit| total_with(evidence, &pools).max(limit)).filter(|more| Some(*more) != limit);
    let expected = present.with(|changed| resize(changed, &pools, Some(permits.or(limit))));
    let at_most =
        pools.iter().zip(&largest).any(|(pool, most)| pool.1 == most.1 && is_full(&expected, *pool));
    let total = total_with(evidence, &pools);
    let end = match at_most && total > WORKERS_ADVISED_MAX {
        true => format!("{total} workers in all are many: keep them if it is measured."),
        false => end(&expected, at_most),
    };
    advice(evidence, lines(&pools, permits), &expected, end)
}

/// How many times as large a pool may become.
fn step(evidence: &Evidence<'_>, port: usize) -> u32 {
    let methods = &evidence.loads[port].port.methods;
    let most = methods.iter().max_by(|one, two| one.busy.total_cmp(&two.busy));
    let threads = most.and_then(|method| evidence.threads(port, &method.name));
    let outside = threads.map_or(0.0, |shares| shares.lock + shares.socket + shares.disk + shares.other);
    if outside >= OUTSIDE { POOL_STEP_OUTSIDE } else { POOL_STEP }
}

fn is_full(expected: &Expectation, (port, workers): (usize, u32)) -> bool {
    busy(expected, port) >= FULL * f64::from(workers)
}

/// Workers of a port that are busy then.
fn busy(expected: &Expectation, port: usize) -> f64 {
    let port = &expected.ports[port];
    port.per_s * port.run_s
}

/// Permits that are out then: handlers that wait without one do so for as much of their time as now.
fn permits_needed(evidence: &Evidence<'_>, expected: &Expectation) -> f64 {
    let with_permit = |(at, load): (usize, &Load<'_>)| {
        busy(expected, at) * (1.0 - load.port.workers_blocked / load.busy.max(1.0)).max(0.0)
    };
    evidence.loads.iter().enumerate().map(with_permit).sum()
}

/// Other pools, and other permits where those are given; without, there are as many as are wanted.
fn resize(changed: &mut Workload, pools: &[(usize, u32)], permits: Option<Option<u32>>) {
    pools.iter().for_each(|(port, workers)| changed.ports[*port].workers = *workers);
    changed.permits = permits.flatten();
}

/// All workers with these pools.
fn total_with(evidence: &Evidence<'_>, pools: &[(usize, u32)]) -> u32 {
    let now: u32 = pools.iter().map(|(port, _)| evidence.loads[*port].workers as u32).sum();
    let then: u32 = pools.iter().map(|(_, workers)| workers).sum();
    evidence.config.total_workers().saturating_sub(now) + then
}

/// The lines, if they bring something that can be known.
pub(super) fn advice(
    evidence: &Evidence<'_>,
    lines: Vec<String>,
    expected: &Expectation,
    end: String,
) -> Advice {
    if expected.factor < WORTH {
        let now = rounded(evidence.per_s());
        let why = limited_by(&expected.limited_by);
        let expected = format!("Raising it would do nothing ({now} calls/s, as now): {why}.");
        return Advice { gain: Some(1.0), ..Advice::without_lines(expected) };
    }
    if !expected.certain {
        return Advice::without_lines(format!(
            "Whether more helps cannot be told from here: the calls wait for something outside the server, and no other \
             number of them was seen to run. Look at what they wait for (show threads): if it has room for more, {} brings \
             up to {} the throughput; if it has not, they only wait there.",
            lines.join(", "),
            factor(expected.factor)
        ));
    }
    Advice { lines, expected: throughput(evidence, expected, &end), gain: Some(expected.factor) }
}

/// The sentence on throughput and time per call.
fn throughput(evidence: &Evidence<'_>, expected: &Expectation, end: &str) -> String {
    let per_s = evidence.per_s();
    let [low, high] = [expected.low, expected.high].map(|end| factor(end / expected.now_per_s.max(1e-9)));
    let took = evidence.sum(|load| load.in_flight()) / per_s;
    let in_flight: f64 = expected.ports.iter().map(|port| (port.wait_s + port.run_s) * port.per_s).sum();
    let calls: f64 = expected.ports.iter().map(|port| port.per_s).sum();
    format!(
        "About {} the throughput ({low} to {high}): {} calls/s instead of {}, and a call takes {} instead of {} \
         on average. {end} The simulation is off by {} under the settings in force.",
        factor(expected.factor),
        rounded(expected.per_s),
        rounded(per_s),
        short_time(in_flight / calls.max(1e-9)),
        short_time(took),
        percent(expected.model_error.abs()),
    )
}

/// The sentence on what limits the server then.
fn end(expected: &Expectation, step: bool) -> String {
    match (&expected.limited_by, step) {
        (LimitedBy::Workers { .. }, true) => {
            "More may be worth it then; this is a step to measure.".to_owned()
        }
        (LimitedBy::Demand, _) => "More than that is not asked for.".to_owned(),
        (LimitedBy::Workers { .. }, false) => "Then the workers limit.".to_owned(),
        (LimitedBy::Permits, _) => "Then the permits limit.".to_owned(),
        (LimitedBy::Processors, _) => "Then the processors limit.".to_owned(),
        (LimitedBy::Contention { method }, _) => format!("Then calls of {method} wait for one another."),
        (LimitedBy::MethodLimit { method }, _) => format!("Then the limit of {method} limits."),
    }
}

fn limited_by(limited_by: &LimitedBy) -> String {
    match limited_by {
        LimitedBy::Demand => "more is not asked for".to_owned(),
        LimitedBy::Workers { port } => format!("the workers of port {port} limit it all the same"),
        LimitedBy::Permits => "the permits limit it all the same".to_owned(),
        LimitedBy::Processors => "the processors have no room for more".to_owned(),
        LimitedBy::Contention { method } => {
            format!("calls of {method} would only wait longer for one another")
        }
        LimitedBy::MethodLimit { method } => format!("the limit of {method} limits it"),
    }
}

/// No call ended: those that run may be long, or stuck.
fn stuck(lines: &[String]) -> Advice {
    Advice::without_lines(format!(
        "No call ended, so what more would bring is not known: it may wait for the same. What runs, and for how long, is in \
         show threads. If calls are meant to take so long: {}.",
        lines.join(", ")
    ))
}

/// Too little was recorded.
fn unknown(lines: &[String]) -> Advice {
    Advice::without_lines(format!(
        "What more would bring is not known yet: too little was recorded. It would be {}.",
        lines.join(", ")
    ))
}
