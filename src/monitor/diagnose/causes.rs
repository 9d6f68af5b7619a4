//! From measurements to a finding: which part limits the server in these few samples.
//!
//! Where two things hold, the one is named whose change helps first: refusals for lack of a resource; a client that
//! takes the others' share; the processors, which no setting helps; a method that holds the rest up; permits; workers;
//! refusals that a setting asks for. The first and the last do not hide the rest, which is then among the reasons.
//!
//! Knows no clock and no earlier finding: the diagnoser compares findings.

use super::advice::{self, Advice};
use super::clients::{self, Noisy};
use super::inputs::{Bottleneck, Inputs, RefusalWindow, time_covered};
use super::refusals::{by_setting, by_shortage};
use super::sizing::{FULL, Load, Processors, REFUSED};
use super::verdict::{Cause, Finding, clarity};
use crate::metrics::Distribution;
use crate::monitor::format::{percent, plural, rounded, short_time};
use crate::monitor::interval::MethodInterval;
use std::time::Duration;

/// A method's share of the workers' time from which on it holds the others up.
const MOST: f64 = 0.7;

/// Finds what limits the server in these samples.
pub(super) fn find(inputs: &Inputs<'_>) -> Finding {
    let waiting = inputs.has_backlog().then(|| backlog(inputs)).flatten();
    let limited = waiting.or_else(|| oversubscribed(inputs)).or_else(|| bursts(inputs));
    let all = [by_shortage(inputs), limited, by_setting(inputs)].into_iter().flatten();
    all.reduce(Finding::besides).unwrap_or_else(|| nothing(inputs))
}

fn nothing(inputs: &Inputs<'_>) -> Finding {
    Finding {
        cause: Cause::Nothing,
        clarity: 1.0,
        backlog: inputs.has_backlog(),
        headline: "Nothing limits the server.".to_owned(),
        because: Vec::new(),
        advice: Advice::default(),
    }
}

/// Calls wait: finds what they wait for.
fn backlog(inputs: &Inputs<'_>) -> Option<Finding> {
    let full = inputs.bottleneck();
    if full.is_none() && !inputs.processors_full() {
        return None;
    }
    let sized = full.filter(|_| !inputs.processors_full()).map(|full| match full {
        Bottleneck::Permits => (full, advice::permits(inputs)),
        Bottleneck::Workers(port) => (full, advice::workers(inputs, port)),
    });
    if let Some(noisy) = clients::noisy(inputs.connections) {
        return Some(client(inputs, &noisy, sized.as_ref().map(|(_, sized)| sized)));
    }
    let Some((full, sized)) = sized else { return Some(processors(inputs, full)) };
    if sized.gain.is_some_and(|gain| gain.by_processors && !gain.is_worth_it()) {
        return Some(processors(inputs, Some(full)));
    }
    Some(method(inputs, full, &sized).unwrap_or_else(|| setting(inputs, full, sized)))
}

/// Nothing waits in a queue, but more handlers run than there are processors, and these are full.
fn oversubscribed(inputs: &Inputs<'_>) -> Option<Finding> {
    (inputs.processors_full() && inputs.running() > 1.5 * inputs.processors.cores + 1.0)
        .then(|| processors(inputs, None))
}

/// Calls are refused although there are workers: they come in bursts, and the queue is too short for these.
fn bursts(inputs: &Inputs<'_>) -> Option<Finding> {
    let (index, refused) = RefusalWindow::most(inputs.refusals, |refusals| &refusals.queue_full)?;
    let load = &inputs.loads[index];
    if load.full() {
        return None;
    }
    let (port, limit) = (load.port.name.to_string(), load.port.queue_limit);
    Some(Finding {
        clarity: clarity(1.0 - load.busy / load.workers.max(1.0), 1.0 - FULL, 0.5),
        cause: Cause::QueueBound { port: port.clone() },
        backlog: inputs.has_backlog(),
        headline: format!(
            "Server_Queue_Limit={limit} refuses calls of port {port} that its workers could run soon."
        ),
        because: vec![
            format!(
                "{} refused (QueueFull) {}.",
                plural(rounded(refused as f64), "call"),
                time_covered(inputs.refusals)
            ),
            format!("Its workers were busy for {} of the time.", percent(load.busy / load.workers.max(1.0))),
        ],
        advice: advice::queue(inputs, index),
    })
}

fn client(inputs: &Inputs<'_>, noisy: &Noisy, sized: Option<&Advice>) -> Finding {
    let Noisy { peer, client, share, others } = noisy;
    let connections = plural(rounded(client.connections as f64), "connection");
    let wait = inputs.loads[inputs.worst()].wait;
    Finding {
        cause: Cause::Client { peer: peer.to_string() },
        clarity: clarity(*share, 0.75, 0.9),
        backlog: true,
        headline: format!("Most calls are those of one client, {peer}; the others wait behind them."),
        because: vec![
            format!(
                "{} of all calls in progress ({}) are its own, on {connections}.",
                percent(*share),
                client.in_flight
            ),
            format!(
                "{} of {} besides; a call waits {}.",
                others.1,
                other_clients(others.0),
                short_time(wait)
            ),
        ],
        advice: advice::client(inputs, noisy, sized),
    }
}

fn other_clients(others: usize) -> String {
    if others == 1 { "another client".to_owned() } else { format!("{others} other clients") }
}

fn processors(inputs: &Inputs<'_>, full: Option<Bottleneck>) -> Finding {
    let cpu = &inputs.processors;
    let mut because = vec![describe_processors(inputs)];
    if cpu.stolen >= 0.1 * cpu.cores {
        because.push(format!("The host of this machine takes {} of them away.", rounded(cpu.stolen)));
    }
    if cpu.others >= 0.1 * cpu.cores {
        because.push(format!("Other programs on this machine use {} of them.", rounded(cpu.others)));
    }
    if cpu.wanted >= 1.0 {
        because.push(format!("{} ready to run had none.", plural(rounded(cpu.wanted), "thread")));
    }
    let running = inputs.running();
    because.push(format!("{} run at once on {} processors.", plural(rounded(running), "call"), cpu.cores));
    because.extend(describe_refusals(inputs));
    let (headline, raising) = match inputs.refuses_mostly() {
        true => ("The processors are busy with refusing calls.", ""),
        false => {
            ("The processors are busy: no setting makes this server faster.", " Raising that would not help.")
        }
    };
    because.extend(full.map(|full| format!("{}{raising}", describe_bottleneck(inputs, full))));
    Finding {
        cause: Cause::Cpu,
        clarity: clarity((cpu.used + cpu.wanted).min(cpu.cores), 0.4 * cpu.cores, 0.85 * cpu.cores),
        backlog: inputs.has_backlog(),
        headline: headline.to_owned(),
        because,
        advice: advice::processors(inputs),
    }
}

/// One method holds the workers of all others, or its calls wait for one another.
fn method(inputs: &Inputs<'_>, full: Bottleneck, sized: &Advice) -> Option<Finding> {
    let at = match full {
        Bottleneck::Permits => inputs.worst(),
        Bottleneck::Workers(port) => port,
    };
    let load = &inputs.loads[at];
    let time = |method: &MethodInterval| method.times.run.sum().as_secs_f64();
    let most = load.port.methods.iter().max_by(|one, two| time(one).total_cmp(&time(two)))?;
    let all = &load.port.times.run;
    let share = time(most) / all.sum().as_secs_f64().max(1e-9);
    let runs = &most.times.run;
    let (count, others) = (runs.count(), all.count() - runs.count());
    if share < MOST || count < 5 {
        return None;
    }
    let others_run = (all.sum().as_secs_f64() - time(most)) / others.max(1) as f64;
    let mean = runs.mean().as_secs_f64();
    let heavy = others >= count && mean >= 4.0 * others_run;
    let shortest = inputs.shortest(at, most);
    let serial = are_serialized(runs, shortest, time(most) / inputs.interval.length.as_secs_f64().max(1e-9));
    if !heavy && !serial {
        return None;
    }
    let (name, port) = (most.name.to_string(), load.port.name.to_string());
    let [p50, p99] = [0.5, 0.99].map(|share| short_time(runs.quantile(share).as_secs_f64()));
    let mut because = vec![format!(
        "{} of the time of port {port}'s workers; a run takes {p50} (p50), {p99} (p99).",
        percent(share)
    )];
    if serial {
        let shortest = short_time(shortest.as_secs_f64());
        because.push(format!(
            "The shortest ran {shortest}: so long, times those that run at once, is what they take now. They seem to wait \
             for one another: a lock, or a single slow dependency."
        ));
    } else {
        let calls = percent(count as f64 / all.count().max(1) as f64);
        because.push(format!("Its calls are {calls} of all; the others run {}.", short_time(others_run)));
    }
    because.extend(permit_held_while_waiting(inputs, load));
    because.push(describe_bottleneck(inputs, full));
    because.extend(describe_refusals(inputs));
    Some(Finding {
        cause: Cause::Method { port, method: name.clone() },
        clarity: if serial { 0.2 } else { clarity(share, MOST, 0.9) },
        backlog: true,
        headline: format!("The method {name} takes most of the workers' time."),
        because,
        advice: advice::method(inputs, &name, serial, sized),
    })
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

/// A setting limits the server: permits or workers.
fn setting(inputs: &Inputs<'_>, full: Bottleneck, advice: Advice) -> Finding {
    let worst = match full {
        Bottleneck::Permits => inputs.worst(),
        Bottleneck::Workers(port) => port,
    };
    let load = &inputs.loads[worst];
    let mut because = vec![describe_bottleneck(inputs, full)];
    let idle = inputs.sum(|load| load.workers - load.busy);
    let (cause, headline, margin) = match full {
        Bottleneck::Permits => {
            because.push(format!(
                "{} idle while {}; for {} of the time calls had a worker and no permit.",
                plural(rounded(idle), "worker"),
                waits(inputs.sum(|load| load.waiting)),
                percent(inputs.without_permit()),
            ));
            let limit = inputs.interval.limit.unwrap_or(0);
            let headline = format!("The throttle limits the server: Server_Max_Concurrent_Trans={limit}.");
            (Cause::Throttle, headline, clarity(inputs.without_permit(), 0.5, 0.9))
        }
        Bottleneck::Workers(_) => {
            let port = load.port.name.to_string();
            because.push(format!("{} at port {port}.", capitalised(&waits(load.waiting))));
            if load.port.workers_blocked >= 0.5 * load.workers {
                because.push(format!(
                    "{} of them wait in tx.blocking, without a permit.",
                    rounded(load.port.workers_blocked)
                ));
            }
            let limited =
                inputs.loads.iter().filter(|other| other.limited() && other.port.name != load.port.name);
            let others: Vec<_> = limited.map(|other| &*other.port.name).collect();
            if !others.is_empty() {
                because.push(format!(
                    "Also full, each with workers of its own: port {}.",
                    others.join(", port ")
                ));
            }
            let headline = format!("The workers of port {port} limit it: all {} are busy.", load.workers);
            (Cause::Pool { port }, headline, clarity(load.busy / load.workers, FULL, 0.98))
        }
    };
    because.extend(describe_refusals(inputs));
    because.push(match load.per_s > 0.0 {
        true => format!("A call waits {} and runs {}.", short_time(load.wait), short_time(load.run)),
        false => "No call ended meanwhile.".to_owned(),
    });
    because.push(describe_processors(inputs));
    if full == Bottleneck::Permits {
        because.extend(permit_held_while_waiting(inputs, load));
    }
    let left_over = clarity(load.left_over(), 1.0, 5.0);
    Finding { cause, clarity: 0.5 * margin + 0.5 * left_over, backlog: true, headline, because, advice }
}

fn waits(calls: f64) -> String {
    format!("{} wait", plural(rounded(calls), "call"))
}

/// Sentence on calls refused for lack of a place, if many are.
fn describe_refusals(inputs: &Inputs<'_>) -> Option<String> {
    if !inputs.loads.iter().any(Load::refuses) {
        return None;
    }
    let of = |status| inputs.interval.ports.iter().map(|port| port.answers.with(status)).sum::<u64>();
    let given = REFUSED.into_iter().filter(|status| of(*status) > 0);
    let names: Vec<_> = given.map(|status| format!("{status:?}")).collect();
    let per_s = plural(rounded(inputs.sum(|load| load.refused_per_s)), "call");
    Some(format!("{per_s} a second refused ({}).", names.join(", ")))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn describe_bottleneck(inputs: &Inputs<'_>, full: Bottleneck) -> String {
    match full {
        Bottleneck::Permits => format!(
            "{} of {} permits were out, on average over {:.0} s.",
            rounded(inputs.interval.permits_out),
            inputs.interval.limit.unwrap_or(0),
            inputs.interval.length.as_secs_f64().max(1.0),
        ),
        Bottleneck::Workers(port) => {
            let load = &inputs.loads[port];
            let name = &load.port.name;
            format!("{} of {} workers of port {name} were busy.", rounded(load.busy), load.workers)
        }
    }
}

fn describe_processors(inputs: &Inputs<'_>) -> String {
    let Processors { cores, used, idle, .. } = inputs.processors;
    let idle = idle.map(|idle| format!("; {} of the machine's idle", rounded(idle)));
    format!("{} of {cores} processors used{}.", rounded(used), idle.unwrap_or_default())
}

/// Handlers that wait and keep their permits, where the use of the processors shows it.
fn permit_held_while_waiting(inputs: &Inputs<'_>, load: &Load<'_>) -> Option<String> {
    let running = inputs.running();
    let waits = 1.0 - (inputs.processors.used + inputs.processors.wanted) / running.max(1e-9);
    (load.port.workers_blocked < 0.1 * load.busy && waits >= 0.5 && load.run >= 0.001).then(|| {
        format!(
            "Handlers wait for at least {} of their time and keep their permits: in tx.blocking they would give them back.",
            percent(waits.min(0.99))
        )
    })
}
