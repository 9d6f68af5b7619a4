//! Refusals that do not come from load: for lack of a resource, or because a setting asks for them.
//!
//! Invariant: refusals by a setting that is off by default are kept apart from those for lack of a resource.

use super::advice::{self, Advice};
use super::inputs::{Inputs, REFUSING_SAMPLES, RefusalWindow, refused, time_covered};
use super::verdict::{Cause, Finding, clarity};
use crate::monitor::format::{percent, plural, rounded};
use crate::service::kept;

/// A finding on what was refused, if it was again and again.
fn finding(
    inputs: &Inputs<'_>,
    of: impl Fn(&RefusalWindow) -> u64,
    make: impl FnOnce(u64) -> Option<(Cause, String, Vec<String>, Advice)>,
) -> Option<Finding> {
    let (samples, count) = refused(inputs.refusals, of);
    let (cause, headline, because, advice) = (samples >= REFUSING_SAMPLES).then(|| make(count)).flatten()?;
    let clarity = clarity(samples as f64, 1.0, 5.0).max(0.5);
    Some(Finding { cause, clarity, backlog: inputs.has_backlog(), headline, because, advice })
}

/// Refusals for lack of a resource.
pub(super) fn by_shortage(inputs: &Inputs<'_>) -> Option<Finding> {
    let within = time_covered(inputs.refusals);
    let descriptors = |count: u64| {
        let (open, max) = inputs.interval.connections;
        let refused = plural(rounded(count as f64), "connection");
        let room = max.map(|max| match max.saturating_sub(open) {
            0 => format!("{open} of {max} connections are open: the descriptors allow no more."),
            _ => format!("{open} of {max} connections that the descriptors allow are open{}.", kept_of(max)),
        });
        let because = [format!("{refused} refused (NoDescriptors) {within}.")].into_iter().chain(room);
        let headline = "There are no descriptors for further connections: clients are refused.".to_owned();
        Some((Cause::Descriptors, headline, because.collect(), advice::descriptors(inputs)))
    };
    let buffers = |count: u64| {
        let refused = plural(rounded(count as f64), "call");
        let because = vec![format!("{refused} refused (BuffersFull) {within}.")];
        let headline = "The memory for messages is full: calls are refused.".to_owned();
        Some((Cause::Buffers, headline, because, advice::buffers(inputs)))
    };
    let users = |count| users(inputs, count, &within);
    finding(inputs, |refusals| refusals.descriptors, descriptors)
        .or_else(|| finding(inputs, |refusals| refusals.users, users))
        .or_else(|| finding(inputs, |refusals| refusals.buffers, buffers))
        .or_else(|| nested(inputs))
}

/// Of `max` places the last ones, which a client that holds as many does not get.
fn kept_places(max: u64) -> u64 {
    kept(usize::try_from(max).unwrap_or(usize::MAX)) as u64
}

/// The same as text.
fn kept_of(max: u64) -> String {
    match kept_places(max) {
        0 => String::new(),
        1 => "; the last one is kept for a client that holds none".to_owned(),
        last => format!("; the last {} are kept for clients that hold fewer", rounded(last as f64)),
    }
}

fn users(inputs: &Inputs<'_>, count: u64, within: &str) -> Option<(Cause, String, Vec<String>, Advice)> {
    let sessions = inputs.interval.sessions;
    // One connection has a limit of its own, with the same status.
    let max = sessions.max.filter(|max| sessions.fullest() + count + kept_places(*max) >= *max)?;
    let kept = if sessions.fullest() < max { kept_of(max) } else { String::new() };
    let because = vec![
        format!("Clients were refused {} (MaxUsers) {within}.", plural(rounded(count as f64), "time")),
        format!("{} of {} sessions are open{kept}.", rounded(sessions.fullest() as f64), rounded(max as f64)),
    ];
    let headline =
        format!("There are as many sessions as Server_MaxUsers={max} allows: clients are refused.");
    Some((Cause::Users, headline, because, advice::users(inputs, max, count)))
}

fn nested(inputs: &Inputs<'_>) -> Option<Finding> {
    let (port, _) = RefusalWindow::most(inputs.refusals, |refusals| &refusals.nested)?;
    let make = |count: u64| {
        let port = inputs.loads[port].port.name.to_string();
        let refused = plural(rounded(count as f64), "call");
        let headline =
            format!("Handlers of port {port} wait for calls that wait for workers of the same pool.");
        let because = vec![format!("{refused} answered NestedDeadlock {}.", time_covered(inputs.refusals))];
        Some((Cause::Nested { port }, headline, because, advice::nested(inputs)))
    };
    finding(inputs, |refusals| refusals.nested[port], make)
}

/// Refusals that a setting asks for.
pub(super) fn by_setting(inputs: &Inputs<'_>) -> Option<Finding> {
    let within = time_covered(inputs.refusals);
    let restricted = |count: u64| {
        let because = vec![
            format!("Clients were refused {} (Restricted) {within}.", plural(rounded(count as f64), "time")),
            format!("{} go on.", plural(rounded(inputs.interval.sessions.open as f64), "session")),
        ];
        let headline = "New sessions are refused on purpose (Server_Restricted).".to_owned();
        let restricted = inputs.interval.sessions.restricted;
        restricted.then(|| (Cause::Restricted, headline, because, advice::restricted(inputs)))
    };
    let connects = |count: u64| {
        let (limit, (peer, most)) = (inputs.config.max_connects.value?, inputs.interval.connects_most?);
        let because = vec![
            format!("{} refused (ConnectLimit) {within}.", plural(rounded(count as f64), "connection")),
            format!("{peer} has made {} within its minute.", rounded(most.into())),
        ];
        let headline =
            format!("{peer} connects more often than Server_Max_Connects_Per_Minute={limit} allows.");
        Some((Cause::Connects, headline, because, advice::connects(limit, most)))
    };
    let session_calls = |count: u64| {
        let limit = inputs.config.session_calls.value?;
        let busiest = inputs.loads.iter().map(|load| load.busy / load.workers.max(1.0)).fold(0.0, f64::max);
        let because = vec![
            format!("{} refused (SessionLimit) {within}.", plural(rounded(count as f64), "call")),
            format!("No port's workers were busy for more than {} of the time.", percent(busiest)),
        ];
        let headline = format!(
            "Server_Session_Calls={limit} refuses calls of connections that have as many out, and workers are idle."
        );
        let idle = !inputs.has_backlog() && !inputs.loads.iter().any(|load| load.full());
        idle.then(|| (Cause::SessionCalls, headline, because, advice::session_calls(inputs, limit)))
    };
    finding(inputs, |refusals| refusals.restricted, restricted)
        .or_else(|| finding(inputs, |refusals| refusals.connects, connects))
        .or_else(|| finding(inputs, |refusals| refusals.session_calls, session_calls))
}
