//! The table of rules, by rank: where several hold, the first names the cause, and the others are among its reasons.
//!
//! The order is by what helps first: refusals for lack of a resource; handlers that wait for each other; a client that
//! takes the others' share; calls of a method that wait for one another; the processors, which no setting helps; a
//! method that holds the rest up; permits; workers; refusals that a setting asks for.
//!
//! Knows no clock and no earlier finding but the verdict that stands: the diagnoser compares findings.

use super::callers::{CLIENT, CLIENT_CALLS, CONNECTS, RESTRICTED, SESSION_CALLS};
use super::evidence::Evidence;
use super::methods::{METHOD_HEAVY, METHOD_LIMIT, METHOD_WAITS};
use super::places::{BURSTS, PERMITS, WORKERS};
use super::processors::PROCESSORS;
use super::rule::{Finding, Held, Rule};
use super::shortage::{BUFFERS, DEADLOCK, DESCRIPTORS, NESTED, USERS};
use super::verdict::Cause;

/// The rules, the first that holds first.
pub(super) const RULES: [&Rule; 17] = [
    &DESCRIPTORS,
    &USERS,
    &BUFFERS,
    &NESTED,
    &DEADLOCK,
    &CLIENT,
    &METHOD_WAITS,
    &PROCESSORS,
    &METHOD_HEAVY,
    &PERMITS,
    &WORKERS,
    &BURSTS,
    &METHOD_LIMIT,
    &CLIENT_CALLS,
    &RESTRICTED,
    &CONNECTS,
    &SESSION_CALLS,
];

/// A rule that holds.
pub(super) type Holding = (&'static Rule, Held);

/// The rules that hold, by rank.
pub(super) fn holding(evidence: &Evidence<'_>) -> Vec<Holding> {
    RULES.into_iter().filter_map(|rule| Some((rule, (rule.holds)(evidence)?))).collect()
}

/// The cause that these rules name.
pub(super) fn cause(holding: &[Holding]) -> Cause {
    holding.first().map_or(Cause::Nothing, |(_, held)| held.cause.clone())
}

/// The finding of these rules, in words; `None` if none holds.
pub(super) fn finding(evidence: &Evidence<'_>, holding: &[Holding]) -> Option<Finding> {
    let ((rule, held), others) = holding.split_first()?;
    let mut because = (rule.because)(evidence, held);
    for (other, besides) in others.iter().filter(|(_, other)| !explains(held, other)) {
        because.push(format!("Besides: {}", (other.sentence)(evidence, besides)));
        because.extend((other.because)(evidence, besides).into_iter().next());
    }
    Some(Finding {
        cause: held.cause.clone(),
        headline: (rule.sentence)(evidence, held),
        because,
        advice: (rule.advice)(evidence, held),
        unless: rule.unless.to_owned(),
    })
}

/// Returns whether a cause explains another: that calls wait at a port whose workers a method, the processors or a
/// client hold is no second cause.
fn explains(held: &Held, other: &Held) -> bool {
    let place =
        |cause: &Cause| matches!(cause, Cause::Throttle | Cause::Pool { .. } | Cause::QueueBound { .. });
    let load = |cause: &Cause| {
        place(cause)
            || matches!(
                cause,
                Cause::Cpu | Cause::Method { .. } | Cause::Client { .. } | Cause::Deadlock { .. }
            )
    };
    load(&held.cause) && load(&other.cause) && (place(&other.cause) || held.ports == other.ports)
}
