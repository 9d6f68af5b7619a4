//! What the settings mean together: sentences for whoever wrote them, each with a stable code.
//!
//! Knows a [`Config`] and the limits of a [`Machine`] as plain numbers. Must not know how those limits are
//! read. Each sentence names the numbers it follows from and, where lines would put it right, those lines (`remedy`).
//! A server starts in spite of all of them. Nothing is said that is not so: a limit that is not known gives
//! no sentence, and the defaults on a machine with room give none at all.

use super::remedy::{self, appended};
use super::sizing::{self, WORKERS_ADVISED_MAX};
use super::{Config, Limit, plural, resource_check};

/// Limits of the machine and of this process; `None` is unlimited or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// CPUs this process may use. 0 counts as 1.
    pub cpus: u32,
    /// Memory that can still be had, in bytes: the machine's, or this process's share of it where that is less.
    pub memory: Option<MachineLimit>,
    /// Virtual memory this process may map, in bytes.
    pub address_space: Option<MachineLimit>,
    /// Descriptors a server in this process can have: it raises its own limit as far as it goes.
    pub descriptors: Option<u64>,
    /// Threads there may be: the least of what this user, this group of processes and the machine may have.
    pub threads: Option<MachineLimit>,
    /// Mappings of memory this process may have.
    pub mappings: Option<MachineLimit>,
    /// Heaps that the C library may make beside its first, where the environment says how many.
    pub heaps: Option<u64>,
}

/// A limit that is set outside of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineLimit {
    /// No more than this.
    pub most: u64,
    /// What sets it, in the words of those who do: `ulimit -u`.
    pub set_by: &'static str,
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
/// those of [`footprint::advise`], `queue_limit`, `nested_reserve`, `descriptors`, `restricted_once`.
pub fn advise(config: &Config, machine: &Machine) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut say = |code, message: Option<String>| {
        warnings.extend(message.map(|message| Warning { code, message }));
    };
    let sizes = appended(&remedy::sizes(config, machine).lines);
    say("workers_wait", workers_wait(config, &sizes));
    say("throttle_no_effect", throttle_no_effect(config, &sizes));
    say("throttle_alone", throttle_alone(config, machine, &sizes));
    say("pool_alone", pool_alone(config, &sizes));
    say("unlimited", unlimited(config));
    say("many_workers", many_workers(config, &sizes));
    for Warning { code, message } in resource_check::advise(config, machine) {
        say(code, Some(message));
    }
    for (index, _) in config.ports.iter().enumerate() {
        say("queue_limit", queue_limit(config, index));
        say("nested_reserve", nested_reserve(config, index));
    }
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

fn workers_wait(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    (throttle < total).then(|| {
        let (words, wait) = (workers_in_words(config), total - throttle);
        format!("{words}, {throttle} may run at once: {wait} can only wait{sizes}")
    })
}

fn throttle_no_effect(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    (throttle > total).then(|| {
        let words = workers_in_words(config);
        format!(
            "{words}, {throttle} may run at once: the throttle has no effect, {total} at most can run{sizes}"
        )
    })
}

/// The throttle was raised, the pools were left to a rule, and the rule did not follow.
fn throttle_alone(config: &Config, machine: &Machine, sizes: &str) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    let by_rule = sizing::max_concurrent_trans(config.pool_rule.value, machine.cpus);
    let raised = config.max_concurrent_trans.source.is_given()
        && matches!(by_rule, Limit::AtMost(count) if throttle > count.get());
    let pools_given = config.ports.iter().any(|port| port.pool_tasks.source.is_given());
    (raised && !pools_given && total < throttle).then(|| {
        format!(
            "Server_Max_Concurrent_Trans was raised to {throttle} without Server_Pool_Tasks: rule {} stops at {} a port, so \
             only {total} can run{sizes}",
            config.pool_rule.value,
            plural(config.pool_tasks.value, "worker"),
        )
    })
}

/// A pool was raised above what the rule gives, and the throttle was left to the rule, below the workers there are now.
fn pool_alone(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (throttle(config)?, config.total_workers());
    let by_rule = sizing::pool_tasks(config.pool_rule.value, config.max_concurrent_trans.value);
    let given =
        |port: &&super::PortConfig| port.pool_tasks.source.is_given() && port.pool_tasks.value > by_rule;
    let raised = config.ports.iter().find(given)?;
    (throttle < total && !config.max_concurrent_trans.source.is_given()).then(|| {
        format!(
            "the pool of port {} was raised to {} without Server_Max_Concurrent_Trans: rule {} lets {throttle} run over all \
             ports{sizes}",
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

fn many_workers(config: &Config, sizes: &str) -> Option<String> {
    (config.total_workers() > WORKERS_ADVISED_MAX).then(|| {
        let words = workers_in_words(config);
        format!(
            "{words}: more than the {WORKERS_ADVISED_MAX} in all that Domino's makers advise{sizes}, or measure before keeping it"
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
            "Server_Queue_Limit={limit} is below the {} of port {}: calls are refused while workers are idle; set {}",
            plural(port.pool_tasks.value, "worker"),
            port.name,
            remedy::queue_line(config),
        )
    })
}

fn descriptors(config: &Config, machine: &Machine) -> Option<String> {
    let limit = machine.descriptors?;
    let connections = config.connections_max(limit);
    let words = remedy::in_words(&remedy::sizes(config, machine).lines);
    let or = words.map_or(String::new(), |words| format!(", or {words}"));
    (connections < u64::from(config.effective_concurrency())).then(|| {
        format!(
            "this process may hold {limit} descriptors, which leaves room for {connections} connections, fewer than the {} that \
             may run at once; raise the limit (ulimit -n -H){or}",
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
