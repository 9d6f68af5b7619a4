//! What the settings mean together: sentences for whoever wrote them, each with a stable code.
//!
//! Knows a [`Config`] and the limits of a [`Machine`] as plain numbers. Must not know how those limits are
//! read. Each sentence names the numbers it follows from and, where one thing would put it right, that thing.
//! A server starts in spite of all of them. Nothing is said that is not so: a limit that is not known gives
//! no sentence, and the defaults on a machine with room give none at all.

use super::sizing::{self, WORKERS_ADVISED_MAX};
use super::{Config, Limit, plural};

/// Descriptors a process holds whatever its settings: the standard streams, the log, signals, some to spare.
const DESCRIPTORS_BASE: u64 = 32;

/// Descriptors of one port beside its connections: socket, poll, waker, one in reserve.
const DESCRIPTORS_PER_PORT: u64 = 4;

/// Threads of a process beside workers and listeners: main, signals, log, some to spare.
const THREADS_BASE: u64 = 8;

/// Limits of the machine and of this process; `None` is unlimited or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// CPUs this process may use. 0 counts as 1.
    pub cpus: u32,
    /// Memory that can still be had, in bytes: the machine's, or this process's share of it where that is less.
    pub memory_available_bytes: Option<u64>,
    /// Virtual memory this process may map, in bytes.
    pub address_space_bytes: Option<u64>,
    /// Descriptors this process may hold open.
    pub descriptors: Option<u64>,
    /// Threads this user or group of processes may have.
    pub threads: Option<u64>,
}

/// A sentence about the settings.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// Stable name of this sort of sentence, in snake_case.
    pub code: &'static str,
    /// The sentence.
    pub message: String,
}

/// Everything there is to say about `config` on `machine`, in a fixed order.
///
/// Codes: `workers_wait`, `throttle_no_effect`, `throttle_alone`, `pool_alone`, `unlimited`, `many_workers`,
/// `stack_memory`, `threads_limit`, `queue_limit`, `nested_reserve`, `queue_memory`, `descriptors`,
/// `restricted_once`.
pub fn advise(config: &Config, machine: &Machine) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut say = |code, message: Option<String>| {
        warnings.extend(message.map(|message| Warning { code, message }));
    };
    say("workers_wait", workers_wait(config));
    say("throttle_no_effect", throttle_no_effect(config));
    say("throttle_alone", throttle_alone(config, machine));
    say("pool_alone", pool_alone(config));
    say("unlimited", unlimited(config));
    say("many_workers", many_workers(config));
    say("stack_memory", stack_memory(config, machine));
    say("threads_limit", threads_limit(config, machine));
    for (index, _) in config.ports.iter().enumerate() {
        say("queue_limit", queue_limit(config, index));
        say("nested_reserve", nested_reserve(config, index));
    }
    say("queue_memory", queue_memory(config, machine));
    say("descriptors", descriptors(config, machine));
    say("restricted_once", restricted_once(config));
    warnings
}

/// `3 ports x 40 = 120 workers`, or the sum where the pools differ.
pub(super) fn workers_in_words(config: &Config) -> String {
    let total = plural(config.total_workers(), "worker");
    let ports = &config.ports;
    let Some(first) = ports.first().map(|port| port.pool_tasks.value) else { return total };
    if ports.iter().all(|port| port.pool_tasks.value == first) {
        return format!("{} x {first} = {total}", plural(ports.len() as u32, "port"));
    }
    let parts: Vec<_> = ports.iter().map(|port| format!("{} {}", port.name, port.pool_tasks.value)).collect();
    format!("{} = {total}", parts.join(" + "))
}

/// The throttle as a number, when there is one.
fn throttle(config: &Config) -> Option<u32> {
    match config.max_concurrent_trans.value {
        Limit::AtMost(count) => Some(count.get()),
        Limit::Unlimited => None,
    }
}

fn workers_wait(config: &Config) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    (throttle < total).then(|| {
        let (words, wait) = (workers_in_words(config), total - throttle);
        format!("{words}, {throttle} may run at once: {wait} can only wait; set Server_Max_Concurrent_Trans={total}")
    })
}

fn throttle_no_effect(config: &Config) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    (throttle > total).then(|| {
        let words = workers_in_words(config);
        format!("{words}, {throttle} may run at once: the throttle has no effect, {total} at most can run")
    })
}

/// The throttle was raised, the pools were left to a rule, and the rule did not follow.
fn throttle_alone(config: &Config, machine: &Machine) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    let by_rule = sizing::max_concurrent_trans(config.pool_rule.value, machine.cpus);
    let raised = config.max_concurrent_trans.source.is_given()
        && matches!(by_rule, Limit::AtMost(count) if throttle > count.get());
    let pools_given = config.ports.iter().any(|port| port.pool_tasks.source.is_given());
    (raised && !pools_given && total < throttle).then(|| {
        format!(
            "Server_Max_Concurrent_Trans was raised to {throttle} without Server_Pool_Tasks: rule {} stops at {} a port, so \
             only {total} can run; set both",
            config.pool_rule.value,
            plural(config.pool_tasks.value, "worker"),
        )
    })
}

/// A pool was raised above what the rule gives, and the throttle was left to the rule, below the workers there are now.
fn pool_alone(config: &Config) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    let by_rule = sizing::pool_tasks(config.pool_rule.value, config.max_concurrent_trans.value);
    let given =
        |port: &&super::PortConfig| port.pool_tasks.source.is_given() && port.pool_tasks.value > by_rule;
    let raised = config.ports.iter().find(given)?;
    (throttle < total && !config.max_concurrent_trans.source.is_given()).then(|| {
        format!(
            "the pool of port {} was raised to {} without Server_Max_Concurrent_Trans: rule {} lets {throttle} run over all \
             ports; set both",
            raised.name,
            plural(raised.pool_tasks.value, "worker"),
            config.pool_rule.value,
        )
    })
}

fn unlimited(config: &Config) -> Option<String> {
    throttle(config).is_none().then(|| {
        let words = workers_in_words(config);
        format!("{words} and no throttle (Server_Max_Concurrent_Trans=-1): all of them may run at once")
    })
}

fn many_workers(config: &Config) -> Option<String> {
    (config.total_workers() > WORKERS_ADVISED_MAX).then(|| {
        let words = workers_in_words(config);
        format!("{words}: more than the {WORKERS_ADVISED_MAX} in all that Domino's makers advise; measure before keeping it")
    })
}

/// Stacks of all workers, in bytes of virtual memory.
pub(super) fn stack_bytes(config: &Config) -> u64 {
    u64::from(config.total_workers()).saturating_mul(config.thread_stack_bytes.value as u64)
}

fn stack_memory(config: &Config, machine: &Machine) -> Option<String> {
    let needed = stack_bytes(config);
    let (limit, what) = match (machine.address_space_bytes, machine.memory_available_bytes) {
        (Some(limit), _) if needed > limit => {
            (limit, "the virtual memory this process may map: not all can start")
        }
        (_, Some(limit)) if needed > limit => {
            (limit, "the memory there is: deep calls in all of them would not fit")
        }
        _ => return None,
    };
    Some(format!(
        "{} with {} of stack each may use {}, more than the {} of {what}; lower Server_Thread_Stack_KB or the pools",
        plural(config.total_workers(), "worker"),
        bytes_in_words(config.thread_stack_bytes.value as u64),
        bytes_in_words(needed),
        bytes_in_words(limit),
    ))
}

fn threads_limit(config: &Config, machine: &Machine) -> Option<String> {
    let limit = machine.threads?;
    let needed = u64::from(config.total_workers()) + config.ports.len() as u64 + THREADS_BASE;
    (needed > limit).then(|| {
        format!(
            "the server needs about {needed} threads ({}, a listener for each port, {THREADS_BASE} others) and may have \
             {limit}: not all can start; raise the limit or lower the pools",
            workers_in_words(config),
        )
    })
}

fn nested_reserve(config: &Config, port: usize) -> Option<String> {
    let (reserve, port) = (config.nested_reserve.value, &config.ports[port]);
    let workers = port.pool_tasks.value;
    (reserve > 0 && reserve >= workers).then(|| {
        let most = workers - 1;
        format!("{}: {most} of {workers} workers can be kept for nested calls, not {reserve}", port.name)
    })
}

fn queue_limit(config: &Config, port: usize) -> Option<String> {
    let (limit, port) = (config.queue_limit.value, &config.ports[port]);
    (limit < port.pool_tasks.value).then(|| {
        format!(
            "Server_Queue_Limit={limit} is below the {} of port {}: calls are refused while workers are idle; raise it",
            plural(port.pool_tasks.value, "worker"),
            port.name,
        )
    })
}

/// Most that the queues of all ports may hold, in bytes, every waiting message being of the largest size.
pub(super) fn queue_bytes(config: &Config) -> u64 {
    (config.ports.len() as u64)
        .saturating_mul(config.queue_limit.value.into())
        .saturating_mul(config.max_frame_bytes.value.into())
}

/// Said only to who chose one of the two settings: the defaults bound a number of calls, not the memory of giants.
fn queue_memory(config: &Config, machine: &Machine) -> Option<String> {
    let (memory, needed) = (machine.memory_available_bytes?, queue_bytes(config));
    let chosen = config.queue_limit.source.is_given() || config.max_frame_bytes.source.is_given();
    (chosen && needed > memory).then(|| {
        format!(
            "{} x {} waiting transactions x {} = {} if every message were of the largest size, more than the {} of memory \
             there is; lower Server_Queue_Limit or Server_Max_Frame_KB",
            plural(config.ports.len() as u32, "port"),
            config.queue_limit.value,
            bytes_in_words(config.max_frame_bytes.value.into()),
            bytes_in_words(needed),
            bytes_in_words(memory),
        )
    })
}

fn descriptors(config: &Config, machine: &Machine) -> Option<String> {
    let limit = machine.descriptors?;
    let own = DESCRIPTORS_BASE + DESCRIPTORS_PER_PORT * config.ports.len() as u64;
    let connections = limit.saturating_sub(own);
    (connections < u64::from(config.effective_concurrency())).then(|| {
        format!(
            "this process may hold {limit} descriptors, which leaves room for about {connections} connections, fewer than the \
             {} that may run at once; raise the limit (ulimit -n)",
            plural(config.effective_concurrency(), "transaction"),
        )
    })
}

fn restricted_once(config: &Config) -> Option<String> {
    (config.restricted.value == 1).then(|| {
        "Server_Restricted=1 restricts until the server is started again, so in a file it restricts nothing; set \
         Server_Restricted=2"
            .to_owned()
    })
}

/// `40 MiB`: a whole number of the largest unit that leaves at least 10, rounded down, so that a limit is not
/// overstated.
pub(super) fn bytes_in_words(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    let round = units.iter().find(|(size, _)| bytes / size >= 10);
    match exact.into_iter().chain(round).max_by_key(|(size, _)| *size) {
        Some((size, name)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} bytes"),
    }
}
