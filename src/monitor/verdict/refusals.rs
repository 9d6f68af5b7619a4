//! Who is refused whatever the load is: for want of something, or because somebody asked for it.
//!
//! Knows what was refused in the last looks, for refusals come in bursts; and the limits. Invariant: what somebody
//! asked for, by a setting that is off by default, is told apart from what nobody did.

use super::advice::{self, Advice};
use super::causes::{Finding, Inputs, clear};
use super::sizing::most;
use super::{Cause, words};
use crate::metrics::CloseReason;
use crate::monitor::Interval;
use crate::service::{Status, kept};
use std::collections::VecDeque;
use std::time::Duration;

/// Looks of which refusals are remembered.
pub(super) const TROUBLES_KEPT: usize = 10;

/// In how many of these something must be refused before it is more than an accident.
const TROUBLED_LOOKS: usize = 2;

/// What was refused between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalWindow {
    length: Duration,
    descriptors: u64,
    buffers: u64,
    /// Connections and sessions that there was no place for, and that somebody wanted none of.
    users: u64,
    restricted: u64,
    connects: u64,
    pub(super) session_calls: u64,
    /// By port.
    pub(super) queue_full: Vec<u64>,
    /// How often each queue was full, counted once until it could have been emptied.
    pub(super) queue_filled: Vec<u64>,
    nested: Vec<u64>,
}

impl RefusalWindow {
    pub(super) fn of(period: &Interval) -> RefusalWindow {
        let each =
            |status| -> Vec<u64> { period.ports.iter().map(|port| port.answers.with(status)).collect() };
        let all = |status| -> u64 { each(status).iter().sum() };
        let closed =
            |why: CloseReason| -> u64 { period.ports.iter().map(|port| port.closed[why.index()]).sum() };
        RefusalWindow {
            length: period.length,
            descriptors: period.refused_descriptors,
            buffers: all(Status::BuffersFull),
            users: closed(CloseReason::MaxUsers) + all(Status::MaxUsers),
            restricted: closed(CloseReason::Restricted) + all(Status::Restricted),
            connects: period.refused_connects,
            session_calls: all(Status::SessionLimit),
            queue_full: each(Status::QueueFull),
            queue_filled: period.ports.iter().map(|port| port.queue_filled).collect(),
            nested: each(Status::NestedDeadlock),
        }
    }

    /// The port that refused the most, if it did so again and again.
    pub(super) fn most(
        all: &VecDeque<RefusalWindow>,
        of: impl Fn(&RefusalWindow) -> &Vec<u64>,
    ) -> Option<(usize, u64)> {
        let at = |port: usize| refused(all, |troubles| of(troubles).get(port).copied().unwrap_or(0));
        let ports = (0..all.back()?.queue_full.len()).map(|port| (port, at(port)));
        let troubled = ports.filter(|(_, (looks, _))| *looks >= TROUBLED_LOOKS);
        let port = most(troubled.map(|(port, (_, count))| (port, count as f64)))?;
        Some((port, at(port).1))
    }
}

/// In how many of these looks something was refused, and how much in all.
fn refused(all: &VecDeque<RefusalWindow>, of: impl Fn(&RefusalWindow) -> u64) -> (usize, u64) {
    let troubled = all.iter().map(of).filter(|count| *count > 0);
    troubled.fold((0, 0), |(looks, sum), count| (looks + 1, sum + count))
}

/// The time in which refusals were counted, in words.
pub(super) fn within(scene: &Inputs<'_>) -> String {
    let time: Duration = scene.troubles.iter().map(|troubles| troubles.length).sum();
    format!("within {:.0} s", time.as_secs_f64().max(1.0))
}

/// An opinion on what was refused so often, if it was again and again.
fn opinion(
    scene: &Inputs<'_>,
    of: impl Fn(&RefusalWindow) -> u64,
    make: impl FnOnce(u64) -> Option<(Cause, String, Vec<String>, Advice)>,
) -> Option<Finding> {
    let (looks, count) = refused(scene.troubles, of);
    let (cause, headline, because, advice) = (looks >= TROUBLED_LOOKS).then(|| make(count)).flatten()?;
    let clear = clear(looks as f64, 1.0, 5.0).max(0.5);
    Some(Finding { cause, clear, pressed: scene.pressed(), headline, because, advice })
}

/// For want of something.
pub(super) fn unmeant(scene: &Inputs<'_>) -> Option<Finding> {
    let within = within(scene);
    let descriptors = |count: u64| {
        let (open, max) = scene.period.connections;
        let refused = words::plural(count as f64, "connection");
        let room = max.map(|max| match max.saturating_sub(open) {
            0 => format!("{open} of {max} connections are open: the descriptors allow no more."),
            _ => format!("{open} of {max} connections that the descriptors allow are open{}.", kept_of(max)),
        });
        let because = [format!("{refused} refused (NoDescriptors) {within}.")].into_iter().chain(room);
        let headline = "There are no descriptors for further connections: clients are refused.".to_owned();
        Some((Cause::Descriptors, headline, because.collect(), advice::descriptors(scene)))
    };
    let buffers = |count: u64| {
        let refused = words::plural(count as f64, "call");
        let because = vec![format!("{refused} refused (BuffersFull) {within}.")];
        let headline = "The memory for messages is full: calls are refused.".to_owned();
        Some((Cause::Buffers, headline, because, advice::buffers(scene)))
    };
    let users = |count| users(scene, count, &within);
    opinion(scene, |troubles| troubles.descriptors, descriptors)
        .or_else(|| opinion(scene, |troubles| troubles.users, users))
        .or_else(|| opinion(scene, |troubles| troubles.buffers, buffers))
        .or_else(|| nested(scene))
}

/// Of so many places those that a client does not get which holds as many.
fn kept_places(max: u64) -> u64 {
    kept(usize::try_from(max).unwrap_or(usize::MAX)) as u64
}

/// The same in words.
fn kept_of(max: u64) -> String {
    match kept_places(max) {
        0 => String::new(),
        1 => "; the last one is kept for a client that holds none".to_owned(),
        last => format!("; the last {} are kept for clients that hold fewer", words::count(last as f64)),
    }
}

fn users(scene: &Inputs<'_>, count: u64, within: &str) -> Option<(Cause, String, Vec<String>, Advice)> {
    let sessions = scene.period.sessions;
    // One connection has a limit of its own, and its word is the same.
    let max = sessions.max.filter(|max| sessions.fullest() + count + kept_places(*max) >= *max)?;
    let kept = if sessions.fullest() < max { kept_of(max) } else { String::new() };
    let because = vec![
        format!("Clients were refused {} (MaxUsers) {within}.", words::plural(count as f64, "time")),
        format!(
            "{} of {} sessions are open{kept}.",
            words::count(sessions.fullest() as f64),
            words::count(max as f64)
        ),
    ];
    let headline =
        format!("There are as many sessions as Server_MaxUsers={max} allows: clients are refused.");
    Some((Cause::Users, headline, because, advice::users(scene, max, count)))
}

fn nested(scene: &Inputs<'_>) -> Option<Finding> {
    let (port, _) = RefusalWindow::most(scene.troubles, |troubles| &troubles.nested)?;
    let make = |count: u64| {
        let port = scene.loads[port].port.name.to_string();
        let refused = words::plural(count as f64, "call");
        let headline =
            format!("Handlers of port {port} wait for calls that wait for workers of the same pool.");
        let because = vec![format!("{refused} answered NestedDeadlock {}.", within(scene))];
        Some((Cause::Nested { port }, headline, because, advice::nested(scene)))
    };
    opinion(scene, |troubles| troubles.nested[port], make)
}

/// Because somebody asked for it.
pub(super) fn meant(scene: &Inputs<'_>) -> Option<Finding> {
    let within = within(scene);
    let restricted = |count: u64| {
        let because = vec![
            format!("Clients were refused {} (Restricted) {within}.", words::plural(count as f64, "time")),
            format!("{} go on.", words::plural(scene.period.sessions.open as f64, "session")),
        ];
        let headline =
            "New sessions are refused because somebody asked for that (Server_Restricted).".to_owned();
        let asked = scene.period.sessions.restricted;
        asked.then(|| (Cause::Restricted, headline, because, advice::restricted(scene)))
    };
    let connects = |count: u64| {
        let (limit, (peer, most)) = (scene.config.max_connects.value?, scene.period.connects_most?);
        let because = vec![
            format!("{} refused (ConnectLimit) {within}.", words::plural(count as f64, "connection")),
            format!("{peer} has made {} within its minute.", words::count(most.into())),
        ];
        let headline =
            format!("{peer} connects more often than Server_Max_Connects_Per_Minute={limit} lets it.");
        Some((Cause::Connects, headline, because, advice::connects(limit, most)))
    };
    let session_calls = |count: u64| {
        let limit = scene.config.session_calls.value?;
        let busiest = scene.loads.iter().map(|load| load.busy / load.workers.max(1.0)).fold(0.0, f64::max);
        let because = vec![
            format!("{} refused (SessionLimit) {within}.", words::plural(count as f64, "call")),
            format!("No port's workers were busy for more than {} of the time.", words::share(busiest)),
        ];
        let headline = format!(
            "Server_Session_Calls={limit} refuses calls of connections that have as many out, and workers are idle."
        );
        let idle = !scene.pressed() && !scene.loads.iter().any(|load| load.full());
        idle.then(|| (Cause::SessionCalls, headline, because, advice::session_calls(scene, limit)))
    };
    opinion(scene, |troubles| troubles.restricted, restricted)
        .or_else(|| opinion(scene, |troubles| troubles.connects, connects))
        .or_else(|| opinion(scene, |troubles| troubles.session_calls, session_calls))
}
