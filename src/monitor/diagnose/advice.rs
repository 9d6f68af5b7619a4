//! The settings to change, as lines to paste, and what they should bring.
//!
//! Invariant: the settings parser accepts each line; where no setting helps there is none.

use super::clients::Noisy;
use super::inputs::Inputs;
use super::sizing::{FULL, Gain, round_up};
use crate::config::remedy::throttle_lines;
use crate::config::sizing::{POOL_TASKS_MAX, WORKERS_ADVISED_MAX};
use crate::monitor::format::{factor, rounded, short_time};

/// Largest growth of a pool in one step; then it is measured again.
const POOL_STEP: f64 = 4.0;

/// Longest `Server_Queue_Limit`.
const QUEUE_MAX: u64 = 1_000_000;

/// Largest `Server_Buffer_Memory_MB`.
const BUFFERS_MAX_MB: u64 = 1_048_576;

/// Largest `Server_MaxUsers`, `Server_Max_Connects_Per_Minute` and `Server_Session_Calls`.
const USERS_MAX: u64 = 10_000_000;
const CONNECTS_MAX: u32 = 1_000_000;
const SESSION_CALLS_MAX: u64 = 511;

/// Added to what was measured: the next burst may be a little larger.
const MARGIN: f64 = 1.25;

/// Smallest `Server_Descriptor_Reserve` that is advised: its default.
const RESERVE: u32 = 64;

/// Lines to paste, and what they should bring.
#[derive(Debug, Clone, Default)]
pub(super) struct Advice {
    pub(super) lines: Vec<String>,
    pub(super) expected: String,
    /// Gain of throughput, where that should grow.
    pub(super) gain: Option<Gain>,
}

fn without_lines(expected: impl Into<String>) -> Advice {
    Advice { expected: expected.into(), ..Advice::default() }
}

fn with_line(line: String, expected: impl Into<String>) -> Advice {
    Advice { lines: vec![line], ..without_lines(expected) }
}

/// All permits are out.
pub(super) fn permits(inputs: &Inputs<'_>) -> Advice {
    let limit = inputs.interval.limit.unwrap_or(0);
    let total = inputs.config.total_workers();
    let out = inputs.interval.permits_out.max(1.0);
    let blocked = inputs.sum(|load| load.port.workers_blocked);
    // Calls that could run at once: where there are more workers than calls, the clients limit it.
    let wanted = inputs.sum(|load| load.asked_for().min(load.workers)) - blocked;
    let places = wanted.min(total.into()) / out;
    let gain = Gain::of(places, &inputs.processors);
    if !gain.is_worth_it() {
        return no_gain(inputs, gain, places);
    }
    // Fewer than the workers only where the processors limit it long before, and handlers do more than wait.
    let working = (inputs.processors.used + inputs.processors.wanted) / out;
    let limit = match gain.likely < places / 2.0 && working > 0.05 {
        true => round_up(f64::from(limit) * gain.likely).min(total),
        false => total.max(limit),
    };
    let lines = throttle_lines(inputs.config, limit, None);
    if inputs.per_s() <= 0.0 {
        return stuck(&lines);
    }
    let end = match gain.by_processors {
        true => "Then the processors limit.",
        false if wanted >= f64::from(total) * FULL => "Then the workers limit.",
        false => "More than that is not asked for.",
    };
    Advice { lines, expected: throughput(inputs, gain, end), gain: Some(gain) }
}

/// All workers of a port are busy.
pub(super) fn workers(inputs: &Inputs<'_>, at: usize) -> Advice {
    let load = &inputs.loads[at];
    let (now, busy) = (load.workers.max(1.0), load.busy.max(1.0));
    if now >= POOL_TASKS_MAX.into() {
        return without_lines(
            "The pool is as large as it can be. Shorter calls, or another port or server, help.",
        );
    }
    let most = (POOL_STEP * now).min(POOL_TASKS_MAX.into());
    let places = load.asked_for().min(most) / busy;
    // This port's share of the throughput grows; the rest stays.
    let part = if load.per_s > 0.0 { load.per_s / inputs.per_s() } else { 1.0 };
    let gain = Gain::of(1.0 + (places - 1.0) * part, &inputs.processors);
    if !gain.is_worth_it() && part > 0.5 {
        return no_gain(inputs, gain, places);
    }
    let grows = if gain.by_processors { 1.0 + (gain.likely - 1.0) / part.max(1e-9) } else { places };
    let pool = round_up(busy * grows).clamp(now as u32 + 1, POOL_TASKS_MAX);
    let mut lines = vec![format!("{}_Pool_Tasks={pool}", load.port.name)];
    let total = inputs.config.total_workers() - (now as u32).min(inputs.config.total_workers()) + pool;
    let needed = inputs.interval.permits_out + (load.busy - load.port.workers_blocked) * (grows - 1.0);
    if inputs.interval.limit.is_some_and(|limit| needed > FULL * f64::from(limit)) {
        lines.extend(throttle_lines(inputs.config, total, Some(&load.port.name)));
    }
    if load.per_s <= 0.0 {
        return stuck(&lines);
    }
    let end = match (gain.by_processors, load.asked_for() > most) {
        (true, _) => "Then the processors limit.".to_owned(),
        (_, true) => "More may be worth it then; this is a step to measure.".to_owned(),
        _ if total > WORKERS_ADVISED_MAX => {
            format!("{total} workers in all are many: keep them if it is measured.")
        }
        _ => "More than that is not asked for.".to_owned(),
    };
    Advice { lines, expected: throughput(inputs, gain, &end), gain: Some(gain) }
}

fn no_gain(inputs: &Inputs<'_>, gain: Gain, places: f64) -> Advice {
    let why = match gain.by_processors {
        true => "the processors have no room for more".to_owned(),
        false => format!("only {} could run at once instead of now", factor(places)),
    };
    let now = rounded(inputs.per_s());
    let expected = format!("Raising it would do nothing ({now} calls/s, as now): {why}.");
    Advice { gain: Some(gain), ..without_lines(expected) }
}

/// No call ended: those that run may be long, or stuck.
fn stuck(lines: &[String]) -> Advice {
    without_lines(format!(
        "No call ended, so what more would bring is not known: it may wait for the same. What runs, and for how long, is in \
         show threads. If calls are meant to take so long: {}.",
        lines.join(", ")
    ))
}

/// The sentence on throughput and time per call.
fn throughput(inputs: &Inputs<'_>, gain: Gain, end: &str) -> String {
    let per_s = inputs.per_s();
    let Gain { likely, low, high, .. } = gain;
    let [range_low, range_high] = [low.min(likely), high.max(likely)].map(factor);
    let text = format!("About {} the throughput ({range_low} to {range_high})", factor(likely));
    if per_s <= 0.0 {
        return format!("{text}. {end}");
    }
    // With as many calls in progress, each takes that many times less, but never less than its run.
    let took = inputs.sum(|load| load.in_flight()) / per_s;
    let run = inputs.sum(|load| load.run * load.per_s) / per_s;
    let takes = (took / likely).max(run);
    format!(
        "{text}: {} calls/s instead of {}, and a call takes {} instead of {} on average. {end}",
        rounded(per_s * likely),
        rounded(per_s),
        short_time(takes),
        short_time(took),
    )
}

/// The processors are full.
pub(super) fn processors(inputs: &Inputs<'_>) -> Advice {
    let per_s = inputs.per_s();
    if inputs.refuses_mostly() {
        return without_lines(format!(
            "{} calls are run a second, and refusing the others takes the processors: clients should wait as long as a refusal \
             asks. Until they do, what a setting would bring is not known.",
            rounded(per_s),
        ));
    }
    if per_s <= 0.0 {
        return without_lines("Raising a setting would do nothing: there is no processor for more.");
    }
    let help = match inputs.processors.others >= 0.5 * inputs.processors.cores {
        true => "It helps if other programs leave it more of them.",
        false => "Faster handlers or more processors help.",
    };
    let each = inputs.processors.used / per_s;
    without_lines(format!(
        "Raising a setting would do nothing: a call costs {} of processor time, so {} processors do {} calls/s at most, and \
         {} are done now. {help}",
        short_time(each),
        inputs.processors.cores,
        rounded(inputs.processors.cores / each.max(1e-9)),
        rounded(per_s),
    ))
}

/// One method holds the workers.
pub(super) fn method(inputs: &Inputs<'_>, name: &str, serial: bool, sized: &Advice) -> Advice {
    let blocked = inputs.sum(|load| load.port.workers_blocked);
    let expected = match serial {
        true => format!(
            "More workers or permits would only make the line in {name} longer. Shorten what it does under its lock, or add \
             what it waits for. If it is no lock: {}",
            or_else(sized)
        ),
        false if blocked < 1.0 => format!(
            "Make {name} faster, or let it wait in tx.blocking, which returns its permit; a port of its own keeps its \
             calls from the others' workers. Without that: {}",
            or_else(sized)
        ),
        false => format!(
            "Make {name} faster; a port of its own keeps its calls from the others' workers. Without that: {}",
            or_else(sized)
        ),
    };
    without_lines(expected)
}

fn or_else(sized: &Advice) -> String {
    match sized.lines.is_empty() {
        true => sized.expected.clone(),
        false => format!("{}. {}", sized.lines.join(", "), sized.expected),
    }
}

/// The queue is too short for bursts.
pub(super) fn queue(inputs: &Inputs<'_>, at: usize) -> Advice {
    let load = &inputs.loads[at];
    let limit = load.port.queue_limit;
    // A full queue, and what it refused before it could have been emptied.
    let more = u64::from(round_up(limit as f64 + MARGIN * refused_at_once(inputs, at))).min(QUEUE_MAX);
    if more <= limit {
        return without_lines("The queue is as long as it can be: clients must spread their calls.");
    }
    let last = match load.run > 0.0 {
        true => {
            let wait = more as f64 * load.run / load.workers.max(1.0);
            format!(" The last call of such a burst waits {} at most.", short_time(wait))
        }
        false => String::new(),
    };
    with_line(
        format!("Server_Queue_Limit={more}"),
        format!("No call of such bursts is refused.{last} Throughput between them does not change."),
    )
}

/// The most that a port refused at once, from when its queue was full until that could have been emptied: a mean where
/// that happened more than once between two samples.
fn refused_at_once(inputs: &Inputs<'_>, at: usize) -> f64 {
    let (mut most, mut refused, mut times) = (0.0_f64, 0, 1);
    let of = |port: &Vec<u64>| port.get(at).copied().unwrap_or(0);
    for refusals in inputs.refusals.iter() {
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

/// There are too many sessions.
pub(super) fn users(inputs: &Inputs<'_>, max: u64, refused: u64) -> Advice {
    // A client that tries again is counted again, so no more than twice as many in one step.
    let more = u64::from(round_up((max + refused) as f64)).min(2 * max).min(USERS_MAX);
    if more <= max {
        return without_lines("There cannot be more: clients must share connections, or use another server.");
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
    if let Some(connections) = inputs.interval.connections.1.filter(|connections| *connections < more) {
        expected.push_str(&format!(" The descriptors allow {connections} connections."));
    }
    if inputs.config.max_sessions.value.is_none() {
        expected.push_str(" Server_MaxSessions instead closes those that are idle and refuses none.");
    }
    with_line(format!("Server_MaxUsers={more}"), expected)
}

/// New sessions are refused on purpose.
pub(super) fn restricted(inputs: &Inputs<'_>) -> Advice {
    let by_program = match inputs.config.restricted.value {
        0 => " The program has asked for it, not the settings file.",
        _ => "",
    };
    with_line(
        "Server_Restricted=0".to_owned(),
        format!(
            "That admits them, with set config at once; raising a limit does not.{by_program} Leave it as long as it is intended."
        ),
    )
}

/// An address connects too often.
pub(super) fn connects(limit: u32, most: u32) -> Advice {
    let remedy = "A client should keep one connection open and make all its calls on it";
    let more = round_up(MARGIN * f64::from(most)).min(CONNECTS_MAX);
    if more <= limit {
        return without_lines(format!("The limit is as high as it can be. {remedy}."));
    }
    with_line(
        format!("Server_Max_Connects_Per_Minute={more}"),
        format!(
            "That allows an address to connect so often. {remedy}; then no line is needed. Where many clients are behind the \
             address, it is."
        ),
    )
}

/// Connections have too many calls out.
pub(super) fn session_calls(inputs: &Inputs<'_>, limit: usize) -> Advice {
    let most = inputs.refusals.iter().map(|refusals| refusals.session_calls).max().unwrap_or(0);
    let more = u64::from(round_up((limit as u64 + most) as f64));
    let (line, room) = match more <= SESSION_CALLS_MAX {
        true => (
            more,
            format!(
                "Room for the {most} calls more that were refused within a second, if one connection made them"
            ),
        ),
        false => (0, "None is refused then: calls over 512 wait in the connection's socket".to_owned()),
    };
    with_line(
        format!("Server_Session_Calls={line}"),
        format!("{room}. The limit keeps one client from taking the others' places: some are free now."),
    )
}

/// One client has most of the calls.
pub(super) fn client(inputs: &Inputs<'_>, noisy: &Noisy, sized: Option<&Advice>) -> Advice {
    let Noisy { peer, client, others, .. } = noisy;
    let workers = inputs.config.effective_concurrency().max(1);
    let each = client.in_flight / client.connections.max(1);
    // Half of what can run, for all its connections together.
    let fair = (u64::from(workers) / 2 / client.connections.max(1)).clamp(1, 511);
    if each > fair && fair.saturating_mul(client.connections) * 2 <= client.in_flight {
        let left = fair * client.connections;
        let wait = inputs.loads[inputs.worst()].wait;
        let shorter = (left + others.1) as f64 / (client.in_flight + others.1) as f64;
        return with_line(
            format!("Server_Session_Calls={fair}"),
            format!(
                "At most {left} of its calls are in progress instead of {}; those over it are refused (SessionLimit). The others \
                 wait about {} instead of {}. It holds for every connection.",
                client.in_flight,
                short_time(wait * shorter),
                short_time(wait),
            ),
        );
    }
    if client.young >= 60 && client.young * 2 > client.connections {
        let often = (client.young / 2).max(10);
        return with_line(
            format!("Server_Max_Connects_Per_Minute={often}"),
            format!(
                "It makes {} connections a minute; half of them is refused (ConnectLimit), as of any address that connects so \
                 often.",
                client.young
            ),
        );
    }
    // Many connections with few calls each are probably many users behind one address.
    let serve = sized.map(|sized| format!(" If it stands for many users: {}", or_else(sized)));
    without_lines(format!(
        "No setting distinguishes it from the others: it has many connections with few calls each. Ask its owner, or drop \
         {peer}.{}",
        serve.unwrap_or_default()
    ))
}

/// There is no descriptor for another connection.
pub(super) fn descriptors(inputs: &Inputs<'_>) -> Advice {
    let config = inputs.config;
    let (open, max) = (inputs.interval.connections.0, inputs.interval.connections.1.unwrap_or(0));
    let (reserve, each) = (config.descriptor_reserve.value, config.descriptors_per_session.value.max(1));
    let raise = "raise the hard limit of the process (ulimit -H -n) before it starts";
    if reserve > RESERVE {
        let more = u64::from((reserve - RESERVE) / each);
        return with_line(
            format!("Server_Descriptor_Reserve={RESERVE}"),
            format!(
                "Room for {} connections instead of {max}, if handlers hold no more than {RESERVE} descriptors; for more, {raise}.",
                max + more
            ),
        );
    }
    if each > 1 {
        return with_line(
            "Server_Descriptors_Per_Session=1".to_owned(),
            format!(
                "Room for {} connections instead of {max}, if handlers open nothing for each; otherwise {raise}.",
                max * u64::from(each)
            ),
        );
    }
    without_lines(format!(
        "No setting helps: {raise}, to {} for twice the present {open} connections.",
        2 * open.max(max) + u64::from(reserve) + 64
    ))
}

/// The memory for messages is full.
pub(super) fn buffers(inputs: &Inputs<'_>) -> Advice {
    let now = (inputs.config.buffer_memory_bytes.value >> 20) as u64;
    let more = (2 * now).min(BUFFERS_MAX_MB);
    with_line(
        format!("Server_Buffer_Memory_MB={more}"),
        format!(
            "Calls are refused from {} MiB of messages on instead of {}, if the machine has that memory. A lower \
             Server_Queue_Limit or Server_Max_Frame_KB would need less.",
            more * 7 / 8,
            now * 7 / 8
        ),
    )
}

/// Handlers wait for calls that wait for their own pool.
pub(super) fn nested(inputs: &Inputs<'_>) -> Advice {
    let now = inputs.config.nested_reserve.value;
    let least = inputs.config.ports.iter().map(|port| port.pool_tasks.value).min().unwrap_or(1);
    if now + 1 >= least {
        let port = inputs.config.ports.iter().find(|port| port.pool_tasks.value == least);
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
