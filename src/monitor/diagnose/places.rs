//! Rules on permits, workers and queues: the places that a setting sizes.

use super::evidence::{Bottleneck, Evidence};
use super::loads::{Load, WORTH, round_up};
use super::processors::{
    describe_bottleneck, describe_processors, describe_refusals, permit_held_while_waiting,
};
use super::refusal_window::{RefusalWindow, time_covered};
use super::rule::{Advice, Held, Rule};
use super::verdict::Cause;
use crate::monitor::format::{percent, plural, rounded, short_time};

/// Longest `Server_Queue_Limit`.
const QUEUE_MAX: u64 = 1_000_000;

/// Added to what was measured: the next burst may be a little larger.
const MARGIN: f64 = 1.25;

pub(super) const PERMITS: Rule = Rule {
    kind: "throttle",
    settings: "`Server_Max_Concurrent_Trans`",
    when: "calls wait, all permits are out, and calls have a worker and no permit for half of the time",
    holds: |evidence| {
        let room = !evidence.processors_full() && evidence.processors.room() >= WORTH;
        let permits = evidence.has_backlog() && evidence.bottleneck() == Some(Bottleneck::Permits);
        (permits && room).then(|| Held::of(Cause::Throttle).at(vec![evidence.worst()]))
    },
    sentence: |evidence, _| {
        let limit = evidence.interval.limit.unwrap_or(0);
        format!("The throttle limits the server: Server_Max_Concurrent_Trans={limit}.")
    },
    because: |evidence, held| {
        let load = &evidence.loads[held.port()];
        let idle = evidence.sum(|load| load.workers - load.busy);
        let mut because = vec![
            describe_bottleneck(evidence, Bottleneck::Permits),
            format!(
                "{} idle while {}; for {} of the time calls had a worker and no permit.",
                plural(rounded(idle), "worker"),
                waits(evidence.sum(|load| load.waiting)),
                percent(evidence.without_permit()),
            ),
        ];
        because.extend(times_and_processors(evidence, load));
        because.extend(permit_held_while_waiting(evidence, load));
        because
    },
    advice: |evidence, _| super::sizing::permits(evidence),
    unless: "the calls take longer, and no more are done, when more run at once",
};

pub(super) const WORKERS: Rule = Rule {
    kind: "pool",
    settings: "`<Port>_Pool_Tasks` of each port that is full, with the throttle where that limits next",
    when: "calls wait and all workers of a port are busy",
    holds: |evidence| {
        let ports = evidence.limited_ports();
        let room = !evidence.processors_full() && evidence.processors.room() >= WORTH;
        let workers = evidence.has_backlog() && evidence.bottleneck() != Some(Bottleneck::Permits);
        let first = ports.first().filter(|_| workers && room)?;
        let port = evidence.loads[*first].port.name.to_string();
        Some(Held::of(Cause::Pool { port }).at(ports))
    },
    sentence: |evidence, held| {
        let load = &evidence.loads[held.port()];
        format!("The workers of port {} limit it: all {} are busy.", load.port.name, load.workers)
    },
    because: |evidence, held| {
        let load = &evidence.loads[held.port()];
        let mut because = vec![
            describe_bottleneck(evidence, Bottleneck::Workers(held.port())),
            format!("{} at port {}.", capitalised(&waits(load.waiting)), load.port.name),
        ];
        if load.port.workers_blocked >= 0.5 * load.workers {
            because.push(format!(
                "{} of them wait in tx.blocking, without a permit.",
                rounded(load.port.workers_blocked)
            ));
        }
        let others: Vec<_> = held.ports[1..].iter().map(|port| &*evidence.loads[*port].port.name).collect();
        if !others.is_empty() {
            because
                .push(format!("Also full, each with workers of its own: port {}.", others.join(", port ")));
        }
        because.extend(times_and_processors(evidence, load));
        because
    },
    advice: |evidence, held| super::sizing::workers(evidence, &held.ports),
    unless: "the calls take longer, and no more are done, when more run at once",
};

pub(super) const BURSTS: Rule = Rule {
    kind: "queue_bound",
    settings: "`Server_Queue_Limit`, for the most refused at once and a quarter more",
    when: "calls are refused again and again by a full queue although its port has idle workers most of the time",
    holds: |evidence| {
        let (port, refused) = RefusalWindow::most(evidence.refusals, |refusals| &refusals.queue_full)?;
        let load = &evidence.loads[port];
        let name = load.port.name.to_string();
        (!load.full()).then(|| Held::of(Cause::QueueBound { port: name }).at(vec![port]).counted(refused))
    },
    sentence: |evidence, held| {
        let load = &evidence.loads[held.port()];
        let (port, limit) = (&load.port.name, load.port.queue_limit);
        format!("Server_Queue_Limit={limit} refuses calls of port {port} that its workers could run soon.")
    },
    because: |evidence, held| {
        let load = &evidence.loads[held.port()];
        let refused = plural(rounded(held.count as f64), "call");
        vec![
            format!("{refused} refused (QueueFull) {}.", time_covered(evidence.refusals)),
            format!("Its workers were busy for {} of the time.", percent(load.busy / load.workers.max(1.0))),
        ]
    },
    advice: queue_line,
    unless: "clients send on until they are refused, however long the queue is",
};

fn times_and_processors(evidence: &Evidence<'_>, load: &Load<'_>) -> Vec<String> {
    let mut because: Vec<String> = describe_refusals(evidence).into_iter().collect();
    because.push(match load.per_s > 0.0 {
        true => format!("A call waits {} and runs {}.", short_time(load.wait), short_time(load.run)),
        false => "No call ended meanwhile.".to_owned(),
    });
    because.push(describe_processors(evidence));
    because
}

fn waits(calls: f64) -> String {
    format!("{} wait", plural(rounded(calls), "call"))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn queue_line(evidence: &Evidence<'_>, held: &Held) -> Advice {
    let load = &evidence.loads[held.port()];
    let limit = load.port.queue_limit;
    // A full queue, and what it refused before it could have been emptied.
    let more = limit as f64 + MARGIN * refused_at_once(evidence, held.port());
    let more = u64::from(round_up(more)).min(QUEUE_MAX);
    if more <= limit {
        return Advice::without_lines("The queue is as long as it can be: clients must spread their calls.");
    }
    let last = match load.run > 0.0 {
        true => {
            let wait = more as f64 * load.run / load.workers.max(1.0);
            format!(" The last call of such a burst waits {} at most.", short_time(wait))
        }
        false => String::new(),
    };
    Advice::with_line(
        format!("Server_Queue_Limit={more}"),
        format!("No call of such bursts is refused.{last} Throughput between them does not change."),
    )
}

/// The most that a port refused at once, from when its queue was full until that could have been emptied: a mean where
/// that happened more than once between two samples.
fn refused_at_once(evidence: &Evidence<'_>, at: usize) -> f64 {
    let (mut most, mut refused, mut times) = (0.0_f64, 0, 1);
    let of = |port: &Vec<u64>| port.get(at).copied().unwrap_or(0);
    for refusals in evidence.refusals.iter() {
        let filled = of(&refusals.queue_filled);
        // Refusals before the queue was emptied belong to the burst before.
        if filled > 0 {
            (refused, times) = (0, filled);
        }
        refused += of(&refusals.queue_full);
        most = most.max(refused as f64 / times as f64);
    }
    most
}
