//! The rule on the processors: where they are full, no setting makes the server faster.

use super::evidence::{Bottleneck, Evidence};
use super::loads::{Load, Processors, REFUSED, WORTH};
use super::rule::{Advice, Held, Rule};
use super::verdict::Cause;
use crate::monitor::format::{percent, plural, rounded, short_time};

pub(super) const PROCESSORS: Rule = Rule {
    kind: "cpu",
    settings: "none",
    when: "calls wait, or more run than there are processors, and there is no processor for more",
    holds: |evidence| {
        let full = evidence.processors_full();
        // The limit that calls wait for can be raised, but the processors have no room for more.
        let next = || evidence.bottleneck().is_some() && evidence.processors.room() < WORTH;
        let waiting = evidence.has_backlog() && (full || next());
        let crowded = full && evidence.running() > 1.5 * evidence.processors.cores + 1.0;
        (waiting || crowded).then(|| Held::of(Cause::Cpu))
    },
    sentence: |evidence, _| match evidence.refuses_mostly() {
        true => "The processors are busy with refusing calls.".to_owned(),
        false => "The processors are busy: no setting makes this server faster.".to_owned(),
    },
    because,
    advice,
    unless: "handlers spin while they wait (show threads, perf)",
};

fn because(evidence: &Evidence<'_>, _: &Held) -> Vec<String> {
    let cpu = &evidence.processors;
    let mut because = vec![describe_processors(evidence)];
    if cpu.stolen >= 0.1 * cpu.cores {
        because.push(format!("The host of this machine takes {} of them away.", rounded(cpu.stolen)));
    }
    if cpu.others >= 0.1 * cpu.cores {
        because.push(format!("Other programs on this machine use {} of them.", rounded(cpu.others)));
    }
    if cpu.wanted >= 1.0 {
        because.push(format!("{} ready to run had none.", plural(rounded(cpu.wanted), "thread")));
    }
    let running = evidence.running();
    because.push(format!("{} run at once on {} processors.", plural(rounded(running), "call"), cpu.cores));
    because.extend(describe_refusals(evidence));
    let raising = if evidence.refuses_mostly() { "" } else { " Raising that would not help." };
    because.extend(
        evidence.bottleneck().map(|full| format!("{}{raising}", describe_bottleneck(evidence, full))),
    );
    because
}

fn advice(evidence: &Evidence<'_>, _: &Held) -> Advice {
    let per_s = evidence.per_s();
    if evidence.refuses_mostly() {
        return Advice::without_lines(format!(
            "{} calls are run a second, and refusing the others takes the processors: clients should wait as long as a refusal \
             asks. Until they do, what a setting would bring is not known.",
            rounded(per_s),
        ));
    }
    if per_s <= 0.0 {
        return Advice::without_lines("Raising a setting would do nothing: there is no processor for more.");
    }
    let help = match evidence.processors.others >= 0.5 * evidence.processors.cores {
        true => "It helps if other programs leave it more of them.",
        false => "Faster handlers or more processors help.",
    };
    let each = evidence.processors.used / per_s;
    Advice::without_lines(format!(
        "Raising a setting would do nothing: a call costs {} of processor time, so {} processors do {} calls/s at most, and \
         {} are done now. {help}",
        short_time(each),
        evidence.processors.cores,
        rounded(evidence.processors.cores / each.max(1e-9)),
        rounded(per_s),
    ))
}

/// Sentence on the processors.
pub(super) fn describe_processors(evidence: &Evidence<'_>) -> String {
    let Processors { cores, used, idle, .. } = evidence.processors;
    let idle = idle.map(|idle| format!("; {} of the machine's idle", rounded(idle)));
    format!("{} of {cores} processors used{}.", rounded(used), idle.unwrap_or_default())
}

/// Sentence on calls refused for lack of a place, if many are.
pub(super) fn describe_refusals(evidence: &Evidence<'_>) -> Option<String> {
    if !evidence.loads.iter().any(Load::refuses) {
        return None;
    }
    let of = |status| evidence.interval.ports.iter().map(|port| port.answers.with(status)).sum::<u64>();
    let given = REFUSED.into_iter().filter(|status| of(*status) > 0);
    let names: Vec<_> = given.map(|status| format!("{status:?}")).collect();
    let per_s = plural(rounded(evidence.sum(|load| load.refused_per_s)), "call");
    Some(format!("{per_s} a second refused ({}).", names.join(", ")))
}

/// Sentence on how full the bottleneck is.
pub(super) fn describe_bottleneck(evidence: &Evidence<'_>, full: Bottleneck) -> String {
    match full {
        Bottleneck::Permits => format!(
            "{} of {} permits were out, on average over {:.0} s.",
            rounded(evidence.interval.permits_out),
            evidence.interval.limit.unwrap_or(0),
            evidence.interval.length.as_secs_f64().max(1.0),
        ),
        Bottleneck::Workers(port) => {
            let load = &evidence.loads[port];
            let name = &load.port.name;
            format!("{} of {} workers of port {name} were busy.", rounded(load.busy), load.workers)
        }
    }
}

/// Handlers that wait and keep their permits, where the use of the processors shows it.
pub(super) fn permit_held_while_waiting(evidence: &Evidence<'_>, load: &Load<'_>) -> Option<String> {
    let running = evidence.running();
    let waits = 1.0 - (evidence.processors.used + evidence.processors.wanted) / running.max(1e-9);
    (load.port.workers_blocked < 0.1 * load.busy && waits >= 0.5 && load.run >= 0.001).then(|| {
        format!(
            "Handlers wait for at least {} of their time and keep their permits: in tx.blocking they would give them back.",
            percent(waits.min(0.99))
        )
    })
}
