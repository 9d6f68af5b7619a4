//! Warnings about settings that do not fit each other or the machine, each with a stable code.
//!
//! Each warning names the numbers that it follows from and, if lines correct it, those lines (`remedy`). A server
//! starts in spite of all of them. Invariants: an unknown limit gives no warning, and the defaults on a machine with
//! room give none. Does not know how the limits of the machine are read.

use super::format::{plural, workers_in_words};
use super::remedy::{self, Warning, appended};
use super::requirements::Machine;
use super::resource_check;
use super::settings::{Config, PortConfig};
use super::sizing::{self, WORKERS_ADVISED_MAX};

/// Returns all warnings about `config` on `machine`, in a fixed order.
///
/// Codes: `workers_wait`, `throttle_no_effect`, `throttle_alone`, `pool_alone`, `unlimited`, `many_workers`,
/// `stack_memory`, `buffer_memory`, `buffer_room`, `threads_limit`, `mappings_limit`, `queue_limit`, `nested_reserve`,
/// `descriptors`, `restricted_once`.
pub fn advise(config: &Config, machine: &Machine) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, message: Option<String>| {
        warnings.extend(message.map(|message| Warning { code, message }));
    };
    let sizes = appended(&remedy::sizes(config, machine).lines);
    warn("workers_wait", workers_wait(config, &sizes));
    warn("throttle_no_effect", throttle_no_effect(config, &sizes));
    warn("throttle_alone", throttle_alone(config, machine, &sizes));
    warn("pool_alone", pool_alone(config, &sizes));
    warn("unlimited", unlimited(config));
    warn("many_workers", many_workers(config, &sizes));
    for Warning { code, message } in resource_check::advise(config, machine) {
        warn(code, Some(message));
    }
    for (index, _) in config.ports.iter().enumerate() {
        warn("queue_limit", queue_limit(config, index));
        warn("nested_reserve", nested_reserve(config, index));
    }
    warn("descriptors", descriptors(config, machine));
    warn("restricted_once", restricted_once(config));
    warnings
}

fn workers_wait(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (config.max_concurrent_trans.value.count()?, config.total_workers());
    (throttle < total).then(|| {
        let (words, wait) = (workers_in_words(config), total - throttle);
        format!("{words}, {throttle} may run at once: {wait} can only wait{sizes}")
    })
}

fn throttle_no_effect(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (config.max_concurrent_trans.value.count()?, config.total_workers());
    (throttle > total).then(|| {
        let words = workers_in_words(config);
        format!(
            "{words}, {throttle} may run at once: the throttle has no effect, {total} at most can run{sizes}"
        )
    })
}

/// The throttle was raised, the pools are sized by a rule, and the rule did not follow.
fn throttle_alone(config: &Config, machine: &Machine, sizes: &str) -> Option<String> {
    let (throttle, total) = (config.max_concurrent_trans.value.count()?, config.total_workers());
    let by_rule = sizing::max_concurrent_trans(config.pool_rule.value, machine.cpus);
    let raised = config.max_concurrent_trans.source.is_given()
        && by_rule.count().is_some_and(|count| throttle > count);
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

/// A pool was raised above the rule's size, and the throttle is still the rule's, below the number of workers.
fn pool_alone(config: &Config, sizes: &str) -> Option<String> {
    let (throttle, total) = (config.max_concurrent_trans.value.count()?, config.total_workers());
    let by_rule = sizing::pool_tasks(config.pool_rule.value, config.max_concurrent_trans.value);
    let given = |port: &&PortConfig| port.pool_tasks.source.is_given() && port.pool_tasks.value > by_rule;
    let raised = config.ports.iter().find(given)?;
    (throttle < total && !config.max_concurrent_trans.source.is_given()).then(|| {
        format!(
            "the pool of port {} was raised to {} without Server_Max_Concurrent_Trans: rule {} allows {throttle} transactions over all \
             ports{sizes}",
            raised.name,
            plural(raised.pool_tasks.value, "worker"),
            config.pool_rule.value,
        )
    })
}

fn unlimited(config: &Config) -> Option<String> {
    config.max_concurrent_trans.value.count().is_none().then(|| {
        let words = workers_in_words(config);
        format!("{words} and no throttle (Server_Max_Concurrent_Trans=-1): all of them can run at once")
    })
}

fn many_workers(config: &Config, sizes: &str) -> Option<String> {
    (config.total_workers() > WORKERS_ADVISED_MAX).then(|| {
        let words = workers_in_words(config);
        format!(
            "{words}: more than the {WORKERS_ADVISED_MAX} in total that Domino's documentation recommends{sizes}, or measure before keeping it"
        )
    })
}

fn nested_reserve(config: &Config, port: usize) -> Option<String> {
    let (reserve, port) = (config.nested_reserve.value, &config.ports[port]);
    let workers = port.pool_tasks.value;
    (reserve > 0 && reserve >= workers).then(|| {
        let most = workers - 1;
        format!(
            "{}: at most {most} of {workers} workers can be reserved for nested calls, not {reserve}",
            port.name
        )
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
            "this process may have {limit} descriptors, which allow {connections} connections, fewer than the {} that \
             may run at once; raise the limit (ulimit -n -H){or}",
            plural(config.effective_concurrency(), "transaction"),
        )
    })
}

fn restricted_once(config: &Config) -> Option<String> {
    (config.restricted.value == 1).then(|| {
        "Server_Restricted=1 restricts until the next start, so in a file it has no effect; set \
         Server_Restricted=2"
            .to_owned()
    })
}
