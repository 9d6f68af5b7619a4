//! Rules on refusals for lack of a resource, and on calls that wait for each other.

use super::evidence::Evidence;
use super::loads::round_up;
use super::refusal_window::{RefusalWindow, refused_again, time_covered};
use super::rule::{Advice, Held, Rule};
use super::verdict::Cause;
use crate::config::sizing::POOL_TASKS_MAX;
use crate::monitor::format::{plural, rounded};
use crate::monitor::snapshot::MethodLimitSnapshot;
use crate::service::{Status, kept};

/// Largest `Server_Buffer_Memory_MB`.
const BUFFERS_MAX_MB: u64 = 1_048_576;

/// Largest growth of it in one step, and what is added to what was measured.
const BUFFERS_STEP: f64 = 8.0;
const MARGIN: f64 = 1.25;

/// Largest `Server_MaxUsers`.
const USERS_MAX: u64 = 10_000_000;

/// Smallest `Server_Descriptor_Reserve` that is advised: its default.
const RESERVE: u32 = 64;

pub(super) const DESCRIPTORS: Rule = Rule {
    kind: "descriptors",
    settings: "`Server_Descriptor_Reserve`, or `ulimit -H -n`",
    when: "connections are refused again and again for lack of descriptors",
    holds: |evidence| {
        let count = refused_again(evidence.refusals, |refusals| refusals.descriptors)?;
        Some(Held::of(Cause::Descriptors).counted(count))
    },
    sentence: |_, _| "There are no descriptors for further connections: clients are refused.".to_owned(),
    because: |evidence, held| {
        let (open, max) = evidence.interval.connections;
        let refused = plural(rounded(held.count as f64), "connection");
        let room = max.map(|max| match max.saturating_sub(open) {
            0 => format!("{open} of {max} connections are open: the descriptors allow no more."),
            _ => format!("{open} of {max} connections that the descriptors allow are open{}.", kept_of(max)),
        });
        let within = time_covered(evidence.refusals);
        [format!("{refused} refused (NoDescriptors) {within}.")].into_iter().chain(room).collect()
    },
    advice: descriptor_lines,
    unless: "connections that nobody uses any more hold the descriptors (show sessions)",
};

pub(super) const USERS: Rule = Rule {
    kind: "users",
    settings: "`Server_MaxUsers`, for as many more as were refused, and twice as many at most",
    when: "clients are refused again and again, and as many sessions are open as Server_MaxUsers allows",
    holds: |evidence| {
        let count = refused_again(evidence.refusals, |refusals| refusals.users)?;
        let sessions = evidence.interval.sessions;
        // One connection has a limit of its own, with the same status.
        sessions.max.filter(|max| sessions.fullest() + count + kept_places(*max) >= *max)?;
        Some(Held::of(Cause::Users).counted(count))
    },
    sentence: |evidence, _| {
        let max = evidence.interval.sessions.max.unwrap_or(0);
        format!("There are as many sessions as Server_MaxUsers={max} allows: clients are refused.")
    },
    because: |evidence, held| {
        let sessions = evidence.interval.sessions;
        let (max, within) = (sessions.max.unwrap_or(0), time_covered(evidence.refusals));
        let kept = if sessions.fullest() < max { kept_of(max) } else { String::new() };
        let refused = plural(rounded(held.count as f64), "time");
        let [open, most] = [sessions.fullest(), max].map(|count| rounded(count as f64));
        vec![
            format!("Clients were refused {refused} (MaxUsers) {within}."),
            format!("{open} of {most} sessions are open{kept}."),
        ]
    },
    advice: user_lines,
    unless: "the sessions belong to clients that are gone (show sessions)",
};

pub(super) const BUFFERS: Rule = Rule {
    kind: "buffers",
    settings: "`Server_Buffer_Memory_MB`",
    when: "calls are refused, or connections closed, again and again because the memory for messages is full",
    holds: |evidence| {
        let count =
            refused_again(evidence.refusals, |refusals| refusals.buffers + refusals.closed_for_buffers)?;
        Some(Held::of(Cause::Buffers).counted(count))
    },
    sentence: |evidence, _| {
        let all = |of: fn(&RefusalWindow) -> u64| evidence.refusals.iter().map(of).sum::<u64>();
        let what = match (all(|refusals| refusals.buffers), all(|refusals| refusals.closed_for_buffers)) {
            (0, _) => "connections are closed",
            (_, 0) => "calls are refused",
            _ => "calls are refused and connections closed",
        };
        format!("The memory for messages is full: {what}.")
    },
    because: |evidence, _| {
        let all = |of: fn(&RefusalWindow) -> u64| evidence.refusals.iter().map(of).sum::<u64>();
        let within = time_covered(evidence.refusals);
        let counts = [
            (all(|refusals| refusals.buffers), "call", "refused"),
            (all(|refusals| refusals.closed_for_buffers), "connection", "closed"),
        ];
        let some = counts.into_iter().filter(|(count, ..)| *count > 0);
        some.map(|(count, what, done)| {
            format!("{} {done} (BuffersFull) {within}.", plural(rounded(count as f64), what))
        })
        .collect()
    },
    advice: |evidence, _| {
        let now = (evidence.config.buffer_memory_bytes.value >> 20) as u64;
        let more = (now as f64 * buffers_needed(evidence)).ceil() as u64;
        let more = more.min(BUFFERS_MAX_MB);
        Advice::with_line(
            format!("Server_Buffer_Memory_MB={more}"),
            format!(
                "Calls are refused from {} MiB of messages on instead of {}, if the machine has that memory. A lower \
                 Server_Queue_Limit or Server_Max_Frame_KB would need less.",
                more * 7 / 8,
                now * 7 / 8
            ),
        )
    },
    unless: "a few clients send large messages and do not read their replies (show connections)",
};

pub(super) const NESTED: Rule = Rule {
    kind: "nested",
    settings: "`Server_Nested_Reserve`, or `<Port>_Pool_Tasks`",
    when: "calls that handlers make are answered NestedDeadlock again and again",
    holds: |evidence| {
        let (port, _) = RefusalWindow::most(evidence.refusals, |refusals| &refusals.nested)?;
        let count = refused_again(evidence.refusals, |refusals| refusals.nested[port])?;
        let name = evidence.loads[port].port.name.to_string();
        Some(Held::of(Cause::Nested { port: name }).at(vec![port]).counted(count))
    },
    sentence: |evidence, held| {
        let port = &evidence.loads[held.port()].port.name;
        match nested_limit(evidence) {
            Some(limit) => {
                format!("Handlers of {0} wait for calls that wait for the limit of {0}.", limit.method)
            }
            None => format!("Handlers of port {port} wait for calls that wait for workers of the same pool."),
        }
    },
    because: |evidence, held| {
        let refused = plural(rounded(held.count as f64), "call");
        vec![format!("{refused} answered NestedDeadlock {}.", time_covered(evidence.refusals))]
    },
    advice: nested_lines,
    unless: "the calls are meant to be refused: a handler that calls itself without end",
};

pub(super) const DEADLOCK: Rule = Rule {
    kind: "deadlock",
    settings: "none",
    when: "no call of a port ends for ten seconds while calls wait and the handlers of all its workers wait for calls that they made",
    holds: |evidence| {
        let stuck = |port: &usize| {
            let load = &evidence.loads[*port];
            let none_ended =
                |refusals: &RefusalWindow| refusals.served.get(*port).is_none_or(|ran| *ran == 0);
            let for_long = evidence.refusals.is_full() && evidence.refusals.iter().all(none_ended);
            for_long && load.limited() && load.port.in_calls >= 0.9 * load.busy
        };
        let port = (0..evidence.loads.len()).find(stuck)?;
        let name = evidence.loads[port].port.name.to_string();
        Some(Held::of(Cause::Deadlock { port: name }).at(vec![port]))
    },
    sentence: |evidence, held| {
        let port = &evidence.loads[held.port()].port.name;
        format!(
            "No call of port {port} ends: all its handlers wait for other servers, perhaps for one whose handlers wait \
             for this one."
        )
    },
    because: |evidence, held| {
        let load = &evidence.loads[held.port()];
        vec![format!(
            "The handlers of {} of {} workers wait for calls that they made, and {} wait here; no call ended within {:.0} s.",
            rounded(load.port.in_calls),
            load.workers,
            plural(rounded(load.waiting), "call"),
            evidence.interval.length.as_secs_f64().max(1.0)
        )]
    },
    advice: |_, _| {
        Advice::without_lines(
            "More workers may only wait as well. Look at the other servers' show threads: if their workers are all busy too, \
             and with calls for this one, the handlers wait for each other. Then give the calls between the servers a \
             port of their own on one of them, a deadline, or a limit of the method under [Limits] below the size of its \
             pool.",
        )
    },
    unless: "the calls are meant to take that long",
};

/// The limit for which calls of handlers wait that hold its places, if it is one.
fn nested_limit<'e>(evidence: &'e Evidence<'_>) -> Option<&'e MethodLimitSnapshot> {
    let methods = || evidence.interval.ports.iter().flat_map(|port| &port.methods);
    let refused = |limit: &&MethodLimitSnapshot| {
        methods().any(|known| *known.name == *limit.method && known.answers.with(Status::NestedDeadlock) > 0)
    };
    evidence.interval.limits.iter().find(refused)
}

/// How many times the memory for messages is needed: twice where calls are refused, which come again at once. Where
/// connections are closed, the full memory holds the calls in progress, and as much is needed for each client beside
/// them: it was closed, or is one of the open connections.
fn buffers_needed(evidence: &Evidence<'_>) -> f64 {
    let closed: u64 = evidence.refusals.iter().map(|refusals| refusals.closed_for_buffers).sum();
    let held = evidence.sum(|load| load.in_flight()).max(1.0);
    let clients = (held + closed as f64).min((evidence.interval.connections.0 as f64).max(held));
    (MARGIN * clients / held).clamp(2.0, BUFFERS_STEP)
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

fn descriptor_lines(evidence: &Evidence<'_>, _: &Held) -> Advice {
    let config = evidence.config;
    let (open, max) = (evidence.interval.connections.0, evidence.interval.connections.1.unwrap_or(0));
    let (reserve, each) = (config.descriptor_reserve.value, config.descriptors_per_session.value.max(1));
    let raise = "raise the hard limit of the process (ulimit -H -n) before it starts";
    if reserve > RESERVE {
        let more = u64::from((reserve - RESERVE) / each);
        return Advice::with_line(
            format!("Server_Descriptor_Reserve={RESERVE}"),
            format!(
                "Room for {} connections instead of {max}, if handlers hold no more than {RESERVE} descriptors; for more, {raise}.",
                max + more
            ),
        );
    }
    if each > 1 {
        return Advice::with_line(
            "Server_Descriptors_Per_Session=1".to_owned(),
            format!(
                "Room for {} connections instead of {max}, if handlers open nothing for each; otherwise {raise}.",
                max * u64::from(each)
            ),
        );
    }
    Advice::without_lines(format!(
        "No setting helps: {raise}, to {} for twice the present {open} connections.",
        2 * open.max(max) + u64::from(reserve) + 64
    ))
}

fn user_lines(evidence: &Evidence<'_>, held: &Held) -> Advice {
    let (max, refused) = (evidence.interval.sessions.max.unwrap_or(0), held.count);
    // A client that tries again is counted again, so no more than twice as many in one step.
    let more = u64::from(round_up((max + refused) as f64)).min(2 * max).min(USERS_MAX);
    if more <= max {
        return Advice::without_lines(
            "There cannot be more: clients must share connections, or use another server.",
        );
    }
    let mut expected = match refused > max {
        true => format!(
            "Room for {} more; a client that tries again counts again, so measure anew then.",
            more - max
        ),
        false => {
            format!(
                "Room for {} more, and {refused} were refused; a client that tries again counts again.",
                more - max
            )
        }
    };
    if let Some(connections) = evidence.interval.connections.1.filter(|connections| *connections < more) {
        expected.push_str(&format!(" The descriptors allow {connections} connections."));
    }
    if evidence.config.max_sessions.value.is_none() {
        expected.push_str(" Server_MaxSessions instead closes those that are idle and refuses none.");
    }
    Advice::with_line(format!("Server_MaxUsers={more}"), expected)
}

fn nested_lines(evidence: &Evidence<'_>, _: &Held) -> Advice {
    if let Some(limit) = nested_limit(evidence) {
        return Advice::without_lines(format!(
            "More places only make it rarer. Let {} call itself in no handler, or raise its limit, under [Limits], above \
             the deepest chain of its own calls times those that begin one.",
            limit.method
        ));
    }
    let now = evidence.config.nested_reserve.value;
    let least = evidence.config.ports.iter().map(|port| port.pool_tasks.value).min().unwrap_or(1);
    if now + 1 >= least {
        let port = evidence.config.ports.iter().find(|port| port.pool_tasks.value == least);
        let lines = port.map(|port| format!("{}_Pool_Tasks={}", port.name, (now + 4).min(POOL_TASKS_MAX)));
        return Advice {
            lines: lines.into_iter().collect(),
            expected: "A worker stays free for calls that handlers make; then a reserve is possible."
                .to_owned(),
            gain: None,
        };
    }
    Advice {
        lines: vec![format!("Server_Nested_Reserve={}", now + 1)],
        expected:
            "Calls that handlers make find a worker of their own, one level deeper than now: no such call is \
                   answered NestedDeadlock."
                .to_owned(),
        gain: None,
    }
}
