//! Rules on methods: calls of one that wait for one another, one that holds the workers, and limits of methods.

use super::evidence::{Bottleneck, Evidence};
use super::loads::{Load, WORTH, round_up};
use super::processors::{describe_bottleneck, describe_refusals, permit_held_while_waiting};
use super::refusal_window::{refused_again, time_covered};
use super::rule::{Advice, Held, Rule};
use super::sizing;
use super::verdict::Cause;
use crate::metrics::Distribution;
use crate::monitor::format::{factor, percent, plural, rounded, short_time};
use crate::monitor::interval::MethodInterval;
use crate::monitor::looks::ThreadShares;
use crate::monitor::simulation::{Contention, Expectation, MethodPlaces, MethodWorkload, Workload};
use crate::monitor::snapshot::MethodLimitSnapshot;
use std::time::Duration;

/// A method's share of the workers' time from which on it holds the others up.
const MOST: f64 = 0.7;

/// Calls that wait at one lock, on average, from which on somebody nearly always does.
const LINE: f64 = 2.0;

/// How many of its calls wait for one another, where nothing waits for the server, and their share of those that run.
pub(super) const INSIDE: f64 = 4.0;
const INSIDE_SHARE: f64 = 0.5;

/// Largest limits of a method.
const RUN_MAX: u32 = 1_000_000;
const WAIT_MAX: u32 = 100_000;

/// Share of its threads that wait for other threads of the program from which on that is what it waits for.
const THREADS_SHARE: f64 = 0.6;

pub(super) const METHOD_WAITS: Rule = Rule {
    kind: "method",
    settings: "a limit of the method under `[Limits]`, if other methods wait behind it",
    when: "calls of a method wait at one lock, or no more of them are done when more run",
    holds: |evidence| {
        let (port, method, _) = waiting_method(evidence)?;
        Some(held(evidence, port, method))
    },
    sentence: |_, held| match &held.cause {
        Cause::Method { method, .. } => {
            format!("Calls of the method {method} wait for one another, not for the server.")
        }
        _ => String::new(),
    },
    because: |evidence, held| {
        let Some((port, method, why)) = waiting_method(evidence) else { return Vec::new() };
        let mut because = vec![describe_runs(evidence, port, method), why.in_words(evidence, port, method)];
        because.extend(evidence.bottleneck().map(|full| describe_bottleneck(evidence, full)));
        because.extend(describe_refusals(evidence));
        debug_assert_eq!(held.ports, [port], "the method that the cause names");
        because
    },
    advice: |evidence, _| {
        let Some((port, method, why)) = waiting_method(evidence) else { return Advice::default() };
        line_for_waiting(evidence, port, method, &why)
    },
    unless: "more of its calls are done when more of them run",
};

pub(super) const METHOD_HEAVY: Rule = Rule {
    kind: "method",
    settings: "a limit of the method under `[Limits]`, or what `pool` and `throttle` would get where that brings more",
    when: "calls wait, and a method takes most of the workers' time with calls that are long beside the others",
    holds: |evidence| {
        let full = evidence.bottleneck().filter(|_| evidence.has_backlog())?;
        let at = evidence.port_of(full);
        heavy_method(&evidence.loads[at]).map(|method| held(evidence, at, method))
    },
    sentence: |_, held| match &held.cause {
        Cause::Method { method, .. } => format!("The method {method} takes most of the workers' time."),
        _ => String::new(),
    },
    because: |evidence, held| {
        let load = &evidence.loads[held.port()];
        let Some(method) = heavy_method(load) else { return Vec::new() };
        let (count, all) = (method.times.run.count(), load.port.times.run.count().max(1));
        let calls = percent(count as f64 / all as f64);
        let others_run = short_time(others_run(load, method));
        let mut because = vec![
            describe_runs(evidence, held.port(), method),
            format!("Its calls are {calls} of all; the others run {others_run}."),
        ];
        because.extend(permit_held_while_waiting(evidence, load));
        because.extend(evidence.bottleneck().map(|full| describe_bottleneck(evidence, full)));
        because.extend(describe_refusals(evidence));
        because
    },
    advice: line_for_heavy,
    unless: "its calls are what the server is for: then they need workers of their own, on a port of their own",
};

pub(super) const METHOD_LIMIT: Rule = Rule {
    kind: "method_limit",
    settings: "the limit under `[Limits]`",
    when: "calls of a method wait for its limit, or are refused by it again and again, while workers are idle",
    holds: |evidence| {
        let limit = reached_limit(evidence)?;
        let refused = refused_by(evidence, limit);
        // A limit that was advised is to hold the method back.
        let advised = evidence.experiment.is_some_and(|change| change.has_advised_limit(&limit.method));
        let idle = evidence.bottleneck().is_none() && !evidence.processors_full();
        let holds = idle && !advised && (refused.is_some() || limit.waiting > 0);
        let cause = Cause::MethodLimit { method: limit.method.clone() };
        holds.then(|| Held::of(cause).counted(refused.unwrap_or(0)))
    },
    sentence: |_, held| match &held.cause {
        Cause::MethodLimit { method } => {
            format!(
                "The limit of the method {method} keeps its calls waiting, or refuses them, and workers are idle."
            )
        }
        _ => String::new(),
    },
    because: |evidence, held| {
        let Some(limit) = reached_limit(evidence) else { return Vec::new() };
        let (running, run, waiting, wait) = (limit.running, limit.run, limit.waiting, limit.wait);
        let mut because = vec![format!("{running} of {run} run, {waiting} of {wait} wait.")];
        if held.count > 0 {
            let refused = plural(rounded(held.count as f64), "call");
            because.push(format!("{refused} refused (MethodLimit) {}.", time_covered(evidence.refusals)));
        }
        because
    },
    advice: |evidence, _| {
        let Some(limit) = reached_limit(evidence) else { return Advice::default() };
        let places = |times: u64| MethodPlaces {
            run: u32::try_from(times * limit.run).unwrap_or(u32::MAX).clamp(1, RUN_MAX),
            wait: u32::try_from(limit.wait).unwrap_or(u32::MAX),
        };
        let Some(present) = evidence.present() else {
            let lines = limit_lines(&limit.method, places(2));
            return Advice { lines, ..Advice::without_lines("Twice as many of its calls run at once.") };
        };
        let raised =
            |times: u64| (times, present.with(|changed| set_limit(changed, &limit.method, places(times))));
        // As far as that may bring more: places that nobody takes cost nothing.
        let more = |best: (u64, Expectation), next: (u64, Expectation)| {
            if next.1.high >= 1.05 * best.1.high { next } else { best }
        };
        let (times, expected) = [4, 8].into_iter().map(raised).fold(raised(2), more);
        let lines = limit_lines(&limit.method, places(times));
        sizing::advice(evidence, lines, &expected, "Then measure again.".to_owned())
    },
    unless: "the limit is meant to hold it back: then it does what it is for",
};

/// The limit of those of which as many run as may that refused most, again and again; or else for which most wait.
fn reached_limit<'e>(evidence: &'e Evidence<'_>) -> Option<&'e MethodLimitSnapshot> {
    let reached = evidence.interval.limits.iter().filter(|limit| limit.running >= limit.run);
    reached.max_by_key(|limit| (refused_by(evidence, limit), limit.waiting))
}

/// Calls that a limit refused, if it did so again and again.
fn refused_by(evidence: &Evidence<'_>, limit: &MethodLimitSnapshot) -> Option<u64> {
    refused_again(evidence.refusals, |refusals| {
        refusals.method_limits.get(&limit.method).copied().unwrap_or(0)
    })
}

fn held(evidence: &Evidence<'_>, port: usize, method: &MethodInterval) -> Held {
    let name = evidence.loads[port].port.name.to_string();
    Held::of(Cause::Method { port: name, method: method.name.to_string() }).at(vec![port])
}

/// Proof that calls of a method wait for one another.
enum WaitsBy {
    /// Threads stand at one lock.
    OneLock(ThreadShares),
    /// Threads wait for other threads of the program, each at an address of its own.
    Threads(ThreadShares),
    /// The throughput did not grow with the number that run, as far as it was seen to vary.
    Throughput(f64),
    /// As many times as they run at once, they take what one alone takes.
    Shortest(Duration),
}

impl WaitsBy {
    fn in_words(&self, evidence: &Evidence<'_>, at: usize, method: &MethodInterval) -> String {
        match self {
            WaitsBy::OneLock(shares) => format!(
                "Of its {} that ran at once, {} waited at one lock, in each of {} looks at their threads ({} in sockets, {} \
                 on a processor).",
                rounded(shares.running),
                rounded(shares.one_lock * shares.running),
                shares.looks,
                percent(shares.socket),
                percent(shares.on_processor),
            ),
            WaitsBy::Threads(shares) => format!(
                "{} of its threads, at a look, wait for another thread of this program: at a lock, or for its work.",
                percent(shares.lock)
            ),
            WaitsBy::Throughput(elasticity) => {
                let seen = match evidence.threads(at, &method.name) {
                    Some(shares) if shares.socket >= 0.5 => {
                        " They wait in sockets, for something they share."
                    }
                    Some(shares) if shares.lock >= 0.5 => " They wait for other threads of the program.",
                    _ => "",
                };
                let grew = percent(elasticity.clamp(0.0, 1.0));
                format!("When more of them ran, {grew} of that was won: they took longer instead.{seen}")
            }
            WaitsBy::Shortest(shortest) => format!(
                "The shortest ran {}: so long, times those that run at once, is what they take now. They seem to wait for one \
                 another: a lock, or a single slow dependency.",
                short_time(shortest.as_secs_f64())
            ),
        }
    }
}

/// The method whose calls wait for one another, if there is one: that of the bottleneck, or one whose calls are stuck
/// inside although nothing waits for the server.
fn waiting_method<'e>(evidence: &'e Evidence<'_>) -> Option<(usize, &'e MethodInterval, WaitsBy)> {
    let full = evidence.bottleneck().filter(|_| evidence.has_backlog());
    let ports: Vec<usize> = match full {
        Some(full) => vec![evidence.port_of(full)],
        None => (0..evidence.loads.len()).collect(),
    };
    let longest = |port: usize| {
        let methods = &evidence.loads[port].port.methods;
        Some((port, methods.iter().max_by(|one, two| one.busy.total_cmp(&two.busy))?))
    };
    let candidates = ports.into_iter().filter_map(longest);
    let (port, method) = candidates.max_by(|(_, one), (_, two)| one.busy.total_cmp(&two.busy))?;
    let load = &evidence.loads[port];
    if method.busy < LINE || method.busy < 0.5 * load.busy {
        return None;
    }
    let why = waits_by(evidence, port, method, full)?;
    Some((port, method, why))
}

fn waits_by(
    evidence: &Evidence<'_>,
    port: usize,
    method: &MethodInterval,
    full: Option<Bottleneck>,
) -> Option<WaitsBy> {
    let threads = evidence.threads(port, &method.name);
    if let Some(shares) = threads.filter(|shares| shares.one_lock * shares.running >= LINE) {
        let waiting = shares.one_lock * shares.running;
        let inside = waiting >= INSIDE && shares.one_lock >= INSIDE_SHARE;
        if inside || full.is_some() && shares.one_lock >= 0.1 && !evidence.processors_full() {
            return Some(WaitsBy::OneLock(shares));
        }
    }
    // On full processors runs take longer the more of them there are.
    if evidence.processors_full() {
        return None;
    }
    let known = evidence.workload.and_then(|workload| of_workload(workload, port, &method.name));
    if let Some(Contention::Damped { from, elasticity, floor }) = known.map(|method| method.contention) {
        let many_times = method.busy >= 2.0 * from.max(1.0) || floor <= 0.5;
        let reached = elasticity < 0.5 && method.busy >= 0.9 * from;
        if reached && (full.is_some() || many_times && method.busy >= INSIDE) {
            let for_threads = threads.filter(|shares| shares.lock >= THREADS_SHARE && shares.blocked < 0.2);
            return Some(for_threads.map_or(WaitsBy::Throughput(elasticity), WaitsBy::Threads));
        }
    }
    let elasticity = since_change(evidence, method).filter(|elasticity| *elasticity < 0.5);
    if let Some(elasticity) = elasticity.filter(|_| full.is_some() || method.busy >= INSIDE) {
        return Some(WaitsBy::Throughput(elasticity));
    }
    let shortest = evidence.shortest(port, method);
    let waiting = threads.is_none_or(|shares| shares.sleep + shares.on_processor < 0.5);
    (full.is_some() && waiting && are_serialized(&method.times.run, shortest, method.busy))
        .then_some(WaitsBy::Shortest(shortest))
}

/// How the throughput of a method has grown with the number of its calls that run since pools or permits were changed:
/// the power of one to the other; `None` where no more run than before.
fn since_change(evidence: &Evidence<'_>, method: &MethodInterval) -> Option<f64> {
    let (name, busy, per_s) = evidence.experiment?.before()?.method.as_ref()?;
    if *name != *method.name || *busy <= 0.0 || *per_s <= 0.0 {
        return None;
    }
    let now = evidence.interval.per_second(method.times.run.count());
    let (more, done) = (method.busy / busy, now / per_s);
    (more >= 1.4 && done > 0.0).then(|| done.ln() / more.ln())
}

fn of_workload<'w>(workload: &'w Workload, port: usize, method: &str) -> Option<&'w MethodWorkload> {
    workload.ports.get(port)?.methods.iter().find(|known| known.name == method)
}

/// Returns whether calls run one after the other: of `at_once` that run at once, each takes that many times what one
/// alone takes.
fn are_serialized(runs: &Distribution, shortest: Duration, at_once: f64) -> bool {
    let (alone, mean) = (shortest.as_secs_f64(), runs.mean().as_secs_f64());
    let [p10, p50] = [0.1, 0.5].map(|share| runs.quantile(share).as_secs_f64());
    // Where most are long and some are not, the short ones are calls of another kind, and the shortest is one of them.
    let of_two_kinds = p10 < 0.5 * mean && p50 >= 0.5 * mean;
    at_once >= 8.0 && alone >= 0.000_1 && !of_two_kinds && (0.75..=1.1).contains(&(mean / (alone * at_once)))
}

/// The method that holds the workers of all others with calls that are long beside theirs.
fn heavy_method<'l>(load: &'l Load<'_>) -> Option<&'l MethodInterval> {
    let most = load.port.methods.iter().max_by(|one, two| one.busy.total_cmp(&two.busy))?;
    let (count, all) = (most.times.run.count(), load.port.times.run.count());
    // Of calls that have not ended the time so far counts.
    let mean = most.busy * load.length / count.max(1) as f64;
    let others = all - count;
    let heavy = most.busy >= MOST * load.port.busy && others >= count.max(5);
    (heavy && mean >= 4.0 * others_run(load, most)).then_some(most)
}

/// Mean run time of the calls of other methods.
fn others_run(load: &Load<'_>, method: &MethodInterval) -> f64 {
    let (all, own) = (&load.port.times.run, &method.times.run);
    let others = all.count() - own.count();
    all.sum().saturating_sub(own.sum()).as_secs_f64() / others.max(1) as f64
}

fn describe_runs(evidence: &Evidence<'_>, at: usize, method: &MethodInterval) -> String {
    let load = &evidence.loads[at];
    let (share, runs) = (percent(method.busy / load.port.busy.max(1e-9)), &method.times.run);
    let port = &load.port.name;
    if runs.count() == 0 {
        let running = rounded(method.busy);
        return format!(
            "{share} of the time of port {port}'s workers: {running} of its calls run, and none has ended."
        );
    }
    let [p50, p99] = [0.5, 0.99].map(|share| short_time(runs.quantile(share).as_secs_f64()));
    format!("{share} of the time of port {port}'s workers; a run takes {p50} (p50), {p99} (p99).")
}

/// Lines for a limit of a method.
fn limit_lines(method: &str, limit: MethodPlaces) -> Vec<String> {
    vec!["[Limits]".to_owned(), format!("{method}={},{}", limit.run, limit.wait)]
}

fn set_limit(workload: &mut Workload, method: &str, limit: MethodPlaces) {
    let methods = workload.ports.iter_mut().flat_map(|port| &mut port.methods);
    methods.filter(|known| known.name == method).for_each(|known| known.limit = Some(limit));
}

/// A limit that leaves the workers to the others, and what it brings; `None` if no call of another method waits.
fn limited(
    evidence: &Evidence<'_>,
    at: usize,
    method: &MethodInterval,
    run: f64,
) -> Option<(Vec<String>, Expectation)> {
    let load = &evidence.loads[at];
    let others =
        load.port.methods.iter().any(|other| other.name != method.name && other.times.run.count() > 0);
    let present = evidence.present().filter(|_| others)?;
    let wait = round_up(20.0 + 2.0 * (load.waiting + method.busy)).min(WAIT_MAX);
    let limit = MethodPlaces { run: (run.ceil() as u32).max(1), wait };
    let expected = present.with(|changed| set_limit(changed, &method.name, limit));
    Some((limit_lines(&method.name, limit), expected))
}

/// Lines for a method whose calls wait for one another: as many of them as get on, so that the others find workers.
fn line_for_waiting(evidence: &Evidence<'_>, at: usize, method: &MethodInterval, why: &WaitsBy) -> Advice {
    let name = &method.name;
    let longer = format!(
        "More workers or permits would only make the line in {name} longer. Shorten what it does under its lock, or add what \
         it waits for."
    );
    let enough = match why {
        WaitsBy::OneLock(shares) => method.busy * (1.0 - shares.one_lock) + 1.0,
        WaitsBy::Threads(shares) => method.busy * (1.0 - shares.lock) + 1.0,
        WaitsBy::Throughput(_) | WaitsBy::Shortest(_) => 0.5 * method.busy,
    };
    let limited = limited(evidence, at, method, enough).filter(|(_, expected)| expected.factor >= WORTH);
    if let Some((lines, expected)) = limited {
        let others = format!(
            "{longer} With the limit the others find workers: about {} the throughput in all.",
            factor(expected.factor)
        );
        return Advice { lines, expected: others, gain: Some(expected.factor) };
    }
    Advice { gain: Some(1.0), ..Advice::without_lines(longer) }
}

/// Lines for a method that holds the workers: more workers if they bring more, or else a limit of the method.
fn line_for_heavy(evidence: &Evidence<'_>, held: &Held) -> Advice {
    let load = &evidence.loads[held.port()];
    let Some(method) = heavy_method(load) else { return Advice::default() };
    let name = &method.name;
    let sized = match evidence.bottleneck() {
        Some(full) => sizing::of(evidence, full),
        None => Advice::default(),
    };
    let waits = match load.port.workers_blocked < 1.0 {
        true => format!("Make {name} faster, or let it wait in tx.blocking, which returns its permit"),
        false => format!("Make {name} faster"),
    };
    let limited = limited(evidence, held.port(), method, 0.5 * load.workers);
    let sized_gain = if sized.lines.is_empty() { 1.0 } else { sized.gain.unwrap_or(1.0) };
    match limited.filter(|(_, expected)| expected.factor >= WORTH.max(sized_gain)) {
        Some((lines, expected)) => Advice {
            expected: format!(
                "{waits}. With the limit, half of the workers are the others': about {} the throughput in all, and calls of \
                 {name} wait for one another instead of keeping workers.",
                factor(expected.factor)
            ),
            lines,
            gain: Some(expected.factor),
        },
        None => Advice {
            expected: format!(
                "{waits}; a port of its own keeps its calls from the others' workers. {}",
                sized.expected
            ),
            ..sized
        },
    }
}
