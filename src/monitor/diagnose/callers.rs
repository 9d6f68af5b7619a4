//! Rules on callers: a client or a connection that takes the others' share, and refusals that a setting asks for.

use super::clients::{self, Noisy};
use super::evidence::Evidence;
use super::refusal_window::{refused_again, time_covered};
use super::rule::{Advice, Held, Rule};
use super::verdict::Cause;
use crate::monitor::format::{percent, plural, rounded, short_time};

/// Largest `Server_Max_Connects_Per_Minute` and `Server_Session_Calls`, and the next number of calls that is advised.
const CONNECTS_MAX: u32 = 1_000_000;
const SESSION_CALLS_MAX: u64 = 511;

/// Added to what was measured.
const MARGIN: f64 = 1.25;

pub(super) const CLIENT: Rule = Rule {
    kind: "client",
    settings: "`Server_Client_Calls`, `Server_Session_Calls`, `Server_Max_Connects_Per_Minute`, or none that fits",
    when: "calls wait, and three quarters of the calls in progress are one client's or one connection's",
    holds: |evidence| {
        let limited = evidence.bottleneck().is_some() || evidence.processors_full();
        let noisy =
            (evidence.has_backlog() && limited).then(|| clients::noisy(evidence.connections)).flatten()?;
        Some(Held::of(Cause::Client { peer: noisy.peer }))
    },
    sentence: |_, held| match &held.cause {
        Cause::Client { peer } => {
            format!("Most calls are those of one client, {peer}; the others wait behind them.")
        }
        _ => String::new(),
    },
    because: |evidence, _| {
        let Some(noisy) = clients::noisy(evidence.connections) else { return Vec::new() };
        let connections = plural(rounded(noisy.client.connections as f64), "connection");
        let others = match (noisy.others.0, noisy.one_connection) {
            (1, false) => "another client".to_owned(),
            (1, true) => "another connection".to_owned(),
            (others, false) => format!("{others} other clients"),
            (others, true) => format!("{others} other connections"),
        };
        vec![
            format!(
                "{} of all calls in progress ({}) are its own, on {connections}.",
                percent(noisy.share),
                noisy.client.in_flight
            ),
            format!(
                "{} of {others} besides; a call waits {}.",
                noisy.others.1,
                short_time(evidence.loads[evidence.worst()].wait)
            ),
        ]
    },
    advice: client_lines,
    unless: "it stands for many users, as a gateway does",
};

pub(super) const CLIENT_CALLS: Rule = Rule {
    kind: "client_calls",
    settings: "`Server_Client_Calls`",
    when: "calls over Server_Client_Calls are refused again and again while workers are idle",
    holds: |evidence| {
        evidence.config.client_calls.value?;
        let count = refused_again(evidence.refusals, |refusals| refusals.client_calls)?;
        has_idle_workers(evidence).then(|| Held::of(Cause::ClientCalls).counted(count))
    },
    sentence: |evidence, _| {
        let limit = evidence.config.client_calls.value.unwrap_or(0);
        format!(
            "Server_Client_Calls={limit} refuses calls of clients that have as many in progress, and workers are idle."
        )
    },
    because: |evidence, held| refused_while_idle(evidence, held, "ClientLimit"),
    advice: |evidence, _| {
        let limit = u64::from(evidence.config.client_calls.value.unwrap_or(0));
        let most = evidence.refusals.iter().map(|refusals| refusals.client_calls).max().unwrap_or(0);
        let more = super::loads::round_up((limit + most).min(4 * limit) as f64);
        Advice::with_line(
            format!("Server_Client_Calls={more}"),
            format!(
                "Room for as many calls more, of one client, as were refused within a second ({most}), up to four times \
                 the limit. It keeps one client from taking the others' places: some are free now."
            ),
        )
    },
    unless: "the limit is meant to hold a client back also where there is room",
};

pub(super) const RESTRICTED: Rule = Rule {
    kind: "restricted",
    settings: "`Server_Restricted=0`, if it is no longer meant",
    when: "new sessions are refused again and again by Server_Restricted",
    holds: |evidence| {
        let count = refused_again(evidence.refusals, |refusals| refusals.restricted)?;
        evidence.interval.sessions.restricted.then(|| Held::of(Cause::Restricted).counted(count))
    },
    sentence: |_, _| "New sessions are refused on purpose (Server_Restricted).".to_owned(),
    because: |evidence, held| {
        let refused = plural(rounded(held.count as f64), "time");
        let open = plural(rounded(evidence.interval.sessions.open as f64), "session");
        vec![
            format!("Clients were refused {refused} (Restricted) {}.", time_covered(evidence.refusals)),
            format!("{open} go on."),
        ]
    },
    advice: |evidence, _| {
        let by_program = match evidence.config.restricted.value {
            0 => " The program has asked for it, not the settings file.",
            _ => "",
        };
        Advice::with_line(
            "Server_Restricted=0".to_owned(),
            format!(
                "That admits them, with set config at once; raising a limit does not.{by_program} Leave it as long as it is intended."
            ),
        )
    },
    unless: "nobody but a probe asks for sessions",
};

pub(super) const CONNECTS: Rule = Rule {
    kind: "connects",
    settings: "`Server_Max_Connects_Per_Minute`, for what the busiest address does; better is a client that keeps its connection",
    when: "connections of an address are refused again and again by Server_Max_Connects_Per_Minute",
    holds: |evidence| {
        evidence.config.max_connects.value.zip(evidence.interval.connects_most)?;
        let count = refused_again(evidence.refusals, |refusals| refusals.connects)?;
        Some(Held::of(Cause::Connects).counted(count))
    },
    sentence: |evidence, _| {
        let limit = evidence.config.max_connects.value.unwrap_or(0);
        let peer = evidence.interval.connects_most.map_or(String::new(), |(peer, _)| peer.to_string());
        format!("{peer} connects more often than Server_Max_Connects_Per_Minute={limit} allows.")
    },
    because: |evidence, held| {
        let refused = plural(rounded(held.count as f64), "connection");
        let most = evidence.interval.connects_most;
        let made =
            |(peer, most): (_, u32)| format!("{peer} has made {} within its minute.", rounded(most.into()));
        let within = time_covered(evidence.refusals);
        [format!("{refused} refused (ConnectLimit) {within}.")].into_iter().chain(most.map(made)).collect()
    },
    advice: |evidence, _| {
        let limit = evidence.config.max_connects.value.unwrap_or(0);
        let most = evidence.interval.connects_most.map_or(0, |(_, most)| most);
        let remedy = "A client should keep one connection open and make all its calls on it";
        let more = super::loads::round_up(MARGIN * f64::from(most)).min(CONNECTS_MAX);
        if more <= limit {
            return Advice::without_lines(format!("The limit is as high as it can be. {remedy}."));
        }
        Advice::with_line(
            format!("Server_Max_Connects_Per_Minute={more}"),
            format!(
                "That allows an address to connect so often. {remedy}; then no line is needed. Where many clients are behind the \
                 address, it is."
            ),
        )
    },
    unless: "it is an attack: then the limit does what it is for",
};

pub(super) const SESSION_CALLS: Rule = Rule {
    kind: "session_calls",
    settings: "`Server_Session_Calls`, for the most refused in a second",
    when: "calls over Server_Session_Calls are refused again and again while workers are idle",
    holds: |evidence| {
        evidence.config.session_calls.value?;
        let count = refused_again(evidence.refusals, |refusals| refusals.session_calls)?;
        has_idle_workers(evidence).then(|| Held::of(Cause::SessionCalls).counted(count))
    },
    sentence: |evidence, _| {
        let limit = evidence.config.session_calls.value.unwrap_or(0);
        format!(
            "Server_Session_Calls={limit} refuses calls of connections that have as many out, and workers are idle."
        )
    },
    because: |evidence, held| refused_while_idle(evidence, held, "SessionLimit"),
    advice: |evidence, _| {
        let limit = evidence.config.session_calls.value.unwrap_or(0);
        let most = evidence.refusals.iter().map(|refusals| refusals.session_calls).max().unwrap_or(0);
        let more = u64::from(super::loads::round_up((limit as u64 + most) as f64));
        let (line, room) = match more <= SESSION_CALLS_MAX {
            true => (
                more,
                format!(
                    "Room for the {most} calls more that were refused within a second, if one connection made them"
                ),
            ),
            false => (0, "None is refused then: calls over 512 wait in the connection's socket".to_owned()),
        };
        Advice::with_line(
            format!("Server_Session_Calls={line}"),
            format!("{room}. The limit keeps one client from taking the others' places: some are free now."),
        )
    },
    unless: "the limit is meant to hold a connection back also where there is room",
};

fn has_idle_workers(evidence: &Evidence<'_>) -> bool {
    !evidence.has_backlog() && !evidence.loads.iter().any(|load| load.full())
}

fn refused_while_idle(evidence: &Evidence<'_>, held: &Held, status: &str) -> Vec<String> {
    let busiest = evidence.loads.iter().map(|load| load.busy / load.workers.max(1.0)).fold(0.0, f64::max);
    let refused = plural(rounded(held.count as f64), "call");
    vec![
        format!("{refused} refused ({status}) {}.", time_covered(evidence.refusals)),
        format!("No port's workers were busy for more than {} of the time.", percent(busiest)),
    ]
}

/// A limit for what one client, or one connection, may have in progress: half of what can run.
fn client_lines(evidence: &Evidence<'_>, _: &Held) -> Advice {
    let Some(noisy) = clients::noisy(evidence.connections) else { return Advice::default() };
    let Noisy { client, others, .. } = &noisy;
    let workers = evidence.config.effective_concurrency().max(1);
    let half = (u64::from(workers) / 2).max(1);
    let each = client.in_flight / client.connections.max(1);
    if each > (half / client.connections.max(1)).max(1) && 2 * half <= client.in_flight {
        let wait = evidence.loads[evidence.worst()].wait;
        let shorter = (half + others.1) as f64 / (client.in_flight + others.1) as f64;
        let (key, status, scope) = match noisy.one_connection {
            true => ("Server_Session_Calls", "SessionLimit", "connection"),
            false => ("Server_Client_Calls", "ClientLimit", "client"),
        };
        return Advice::with_line(
            format!("{key}={half}"),
            format!(
                "At most {half} of its calls are in progress instead of {}; those over it are refused ({status}). The others \
                 wait about {} instead of {}. It holds for every {scope}.",
                client.in_flight,
                short_time(wait * shorter),
                short_time(wait),
            ),
        );
    }
    let connects = client.young * 60 / clients::YOUNG.as_secs();
    if connects >= 60 && client.young * 2 > client.connections {
        let often = (connects / 2).max(10);
        return Advice::with_line(
            format!("Server_Max_Connects_Per_Minute={often}"),
            format!(
                "It makes {connects} connections a minute or more; half of them is refused (ConnectLimit), as of any address \
                 that connects so often.",
            ),
        );
    }
    // Many connections with few calls each are probably many users behind one address.
    let serve = match evidence.bottleneck().filter(|_| !evidence.processors_full()) {
        Some(full) => {
            let sized = super::sizing::of(evidence, full);
            format!(" If it stands for many users: {}", sized.in_words())
        }
        None => String::new(),
    };
    Advice::without_lines(format!(
        "No setting distinguishes it from the others: it has many connections with few calls each. Ask its owner, or drop \
         {}.{serve}",
        noisy.peer
    ))
}
