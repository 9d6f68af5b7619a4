//! Warnings, and the lines that correct settings: those that the warnings of `advice` and `resource_check` recommend.
//!
//! All warnings on one subject name the same lines, so that following one is following all. Invariants: a file with the
//! lines has none of the warnings that named them, and no new one; it has no more workers than before. If no such lines
//! exist, none are named.

use super::requirements::{self, BUFFERS_MIN_MB, Machine, buffer_ceiling, buffers_needed_mb};
use super::settings::{Config, PortConfig};
use super::sizing::{POOL_TASKS_MAX, WORKERS_ADVISED_MAX, total_workers};

/// Lines for a file, each `key=value`, and the number of workers with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remedy {
    pub(super) lines: Vec<String>,
    pub(super) workers: u32,
}

/// Returns `set A=1, B=2 and C=3`, or `None` without lines.
pub(super) fn in_words(lines: &[String]) -> Option<String> {
    let (last, before) = lines.split_last()?;
    let and = if before.is_empty() { "" } else { " and " };
    Some(format!("set {}{and}{last}", before.join(", ")))
}

/// Returns the same as the end of a warning: `; set A=1`, or nothing.
pub(super) fn appended(lines: &[String]) -> String {
    in_words(lines).map_or(String::new(), |words| format!("; {words}"))
}

/// Throttle and pools that fit each other and the machine: no pool larger than now, and as many permits as workers.
pub(super) fn sizes(config: &Config, machine: &Machine) -> Remedy {
    let total = config.total_workers();
    let none = Remedy { lines: Vec::new(), workers: total };
    let Some(most) = workers_max(config, machine) else { return none };
    let largest = cap(config, most);
    let pool = |port: &PortConfig| port.pool_tasks.value.min(largest);
    let workers = total_workers(config.ports.iter().map(pool));
    let mut lines = Vec::new();
    let limit = config.max_concurrent_trans.value.count();
    let throttle = limit.is_some_and(|limit| limit != workers).then_some(workers);
    lines.extend(throttle.map(|workers| format!("Server_Max_Concurrent_Trans={workers}")));
    // Ports without a size of their own, and the others.
    let (shared, own): (Vec<_>, Vec<_>) =
        config.ports.iter().partition(|port| port.pool_tasks == config.pool_tasks);
    let pinned = throttle.is_some() && rule_would_move(config, None);
    if !shared.is_empty() && (pinned || config.pool_tasks.value > largest) {
        lines.push(format!("Server_Pool_Tasks={}", config.pool_tasks.value.min(largest)));
    }
    let lowered = own.iter().filter(|port| port.pool_tasks.value > largest);
    lines.extend(lowered.map(|port| format!("{}_Pool_Tasks={largest}", port.name)));
    // A pool that could keep the reserve before must still be able to.
    let reserve = config.nested_reserve.value;
    let short = |port: &&PortConfig| reserve > 0 && reserve < port.pool_tasks.value && reserve >= pool(port);
    let reserves = config.ports.iter().filter(short).map(|port| pool(port) - 1).min();
    lines.extend(reserves.map(|least| format!("Server_Nested_Reserve={least}")));
    let mut remedy = Remedy { lines, workers };
    if workers < total && buffers_exceed(config, machine, workers) && !buffers_exceed(config, machine, total)
    {
        remedy.lines.extend(buffers_beside(config, machine, workers));
    }
    remedy
}

/// The line of a throttle, and the line that keeps the size of pools that a rule would change with it. The port
/// `changed` gets a line of its own in addition.
pub(crate) fn throttle_lines(config: &Config, limit: u32, changed: Option<&str>) -> Vec<String> {
    let throttle = format!("Server_Max_Concurrent_Trans={limit}");
    std::iter::once(throttle).chain(pools_kept_but(config, changed)).collect()
}

/// The line that keeps the size of the pools when the throttle changes; `None` if they keep it without.
pub(crate) fn pools_kept(config: &Config) -> Option<String> {
    pools_kept_but(config, None)
}

fn pools_kept_but(config: &Config, changed: Option<&str>) -> Option<String> {
    rule_would_move(config, changed).then(|| format!("Server_Pool_Tasks={}", config.pool_tasks.value))
}

/// Returns whether another throttle would change the size of pools other than that of `changed`.
fn rule_would_move(config: &Config, changed: Option<&str>) -> bool {
    let mut others = config.ports.iter().filter(|port| changed != Some(port.name.as_str()));
    config.pool_rule.value.pool_follows_throttle()
        && !config.pool_tasks.source.is_given()
        && others.any(|port| !port.pool_tasks.source.is_given())
}

/// The line for the shortest queue with which no call is refused while a worker is idle.
pub(super) fn queue_line(config: &Config) -> String {
    let largest = config.ports.iter().map(|port| port.pool_tasks.value).max().unwrap_or(1);
    format!("Server_Queue_Limit={largest}")
}

/// Lines for the memory of all messages and, if there is too little of it, for the size of one.
pub(super) fn buffers(config: &Config, machine: &Machine) -> Vec<String> {
    // If the stacks of all workers leave no memory, another line lowers their number.
    let total = config.total_workers();
    let fits = buffer_ceiling(config, machine, total).is_some();
    buffers_beside(config, machine, if fits { total } else { sizes(config, machine).workers })
}

fn buffers_beside(config: &Config, machine: &Machine, workers: u32) -> Vec<String> {
    let needed = buffers_needed_mb(config);
    let ceiling = buffer_ceiling(config, machine, workers).map(|most| most >> 20);
    let now = config.buffer_memory_bytes.value as u64 >> 20;
    let size = match ceiling {
        Some(most) if most < needed => {
            let frame = requirements::frame_max_kb(config, most);
            let fits = most >= BUFFERS_MIN_MB && frame >= 1;
            let lines = [format!("Server_Buffer_Memory_MB={most}"), format!("Server_Max_Frame_KB={frame}")];
            return if fits { lines.to_vec() } else { Vec::new() };
        }
        Some(most) => now.min(most).max(needed),
        None => now.max(needed),
    };
    if ceiling.is_some_and(|most| size > most) || size < BUFFERS_MIN_MB {
        return Vec::new();
    }
    vec![format!("Server_Buffer_Memory_MB={size}")]
}

fn buffers_exceed(config: &Config, machine: &Machine, workers: u32) -> bool {
    let most = buffer_ceiling(config, machine, workers);
    config.buffer_memory_bytes.source.is_given()
        && most.is_some_and(|most| config.buffer_memory_bytes.value as u64 > most)
}

/// Most workers that all limits allow; `None` if that is not one for each port.
fn workers_max(config: &Config, machine: &Machine) -> Option<u32> {
    let advised = config.total_workers().min(WORKERS_ADVISED_MAX);
    let room = requirements::workers_max(config, machine);
    let connections = machine.descriptors.map(|limit| config.connections_max(limit));
    let most = [Some(advised.into()), room, connections].into_iter().flatten().min()?;
    let most = u32::try_from(most).ok()?;
    (most as usize >= config.ports.len()).then_some(most)
}

/// The largest pool with which there are at most `most` workers, at least one for each port.
fn cap(config: &Config, most: u32) -> u32 {
    let (mut least, mut beyond) = (1, POOL_TASKS_MAX + 1);
    while beyond - least > 1 {
        let middle = (least + beyond) / 2;
        let total = total_workers(config.ports.iter().map(|port| port.pool_tasks.value.min(middle)));
        *(if total <= most { &mut least } else { &mut beyond }) = middle;
    }
    least
}

/// A warning about the settings; the server starts in spite of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// Stable name of this kind of warning, in snake_case.
    pub code: &'static str,
    /// Text of the warning.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::super::{MachineLimit, PoolRule, Warning, advise};
    use super::*;

    /// Lines that a warning recommends.
    fn recommended(message: &str) -> Vec<&str> {
        let Some((_, list)) = message.rsplit_once("set ") else { return Vec::new() };
        let words = list.split([' ', ',', ';']);
        words.filter(|word| word.contains('=')).collect()
    }

    /// A file as lines, and the machine, with these lines set.
    fn follow<'a>(
        file: &[String],
        machine: &Machine,
        lines: impl Iterator<Item = &'a str>,
    ) -> (Vec<String>, Machine) {
        let (mut file, mut machine) = (file.to_vec(), *machine);
        for line in lines {
            let (key, value) = line.split_once('=').expect("a line");
            if key == "MALLOC_ARENA_MAX" {
                machine.heaps = Some(value.parse::<u64>().unwrap() - 1);
                continue;
            }
            file.retain(|kept| kept.split('=').next() != Some(key));
            file.push(line.to_owned());
        }
        (file, machine)
    }

    fn read(file: &[String], machine: &Machine) -> Config {
        let text = file.join("\n");
        Config::from_text(&text, None, machine.cpus).unwrap_or_else(|errors| panic!("{text}: {errors}"))
    }

    /// Sets all recommended lines: then no line is recommended any more, no warning is new, no worker is new. Each
    /// warning that names lines is gone when only its own lines are set.
    fn one_round(file: &[String], machine: &Machine) {
        let config = read(file, machine);
        let before = advise(&config, machine);
        let all = before.iter().flat_map(|warning| recommended(&warning.message));
        let (after, machine_after) = follow(file, machine, all);
        let then = read(&after, &machine_after);
        let remaining = advise(&then, &machine_after);
        let context = || format!("{file:?} {machine:?}\n{before:#?}\n{after:?}\n{remaining:#?}");
        assert!(then.total_workers() <= config.total_workers(), "{}", context());
        for Warning { code, message } in &remaining {
            assert!(recommended(message).is_empty(), "recommended again: {}", context());
            assert!(before.iter().any(|old| old.code == *code), "new warning: {}", context());
        }
        for Warning { code, message } in &before {
            let lines = recommended(message);
            let (after, machine_after) = follow(file, machine, lines.iter().copied());
            let remaining = advise(&read(&after, &machine_after), &machine_after);
            let gone = remaining.iter().all(|warning| warning.code != *code);
            assert!(lines.is_empty() || gone, "{code} is not gone: {}\n{remaining:#?}", context());
        }
    }

    #[test]
    fn followed_advice_leaves_nothing_to_advise() {
        let at_most = |most| Some(MachineLimit { most, set_by: "a test" });
        let roomy = Machine { cpus: 4, ..Machine::default() };
        let machines = [
            roomy,
            Machine { descriptors: Some(200), ..roomy },
            Machine { threads: at_most(70), mappings: at_most(700), ..roomy },
            Machine { memory: at_most(90 << 20), ..roomy },
            Machine { address_space: at_most(80 << 20), ..roomy },
            Machine { address_space: at_most(3 << 30), memory: at_most(1 << 30), ..roomy },
        ];
        let choices: [&[&str]; 5] = [
            &[
                "",
                "Server_Max_Concurrent_Trans=1",
                "Server_Max_Concurrent_Trans=60",
                "Server_Max_Concurrent_Trans=500",
                "Server_Max_Concurrent_Trans=-1",
            ],
            &["", "Server_Pool_Tasks=1", "Server_Pool_Tasks=40", "Server_Pool_Tasks=400"],
            &["", "P1_Pool_Tasks=3", "P1_Pool_Tasks=300"],
            &["", "Server_Queue_Limit=10", "Server_Nested_Reserve=30"],
            &["", "Server_Buffer_Memory_MB=64", "Server_Max_Frame_KB=65536"],
        ];
        let lines_count: usize = choices.iter().map(|of| of.len()).product();
        let mut files = 0;
        for ports in [1, 2, 3, 5, 8, 16] {
            let names: Vec<_> = (1..=ports).map(|n| format!("P{n}")).collect();
            let mut base = vec![format!("Ports={}", names.join(","))];
            base.extend(names.iter().map(|name| format!("{name}_TCPIPAddress=h:{}", &name[1..])));
            // Every 29th, each on another machine: covers all pairs of lines in limited time.
            for index in (0..5 * lines_count).step_by(29) {
                let rule = PoolRule::ALL[index % 5];
                let mut file = base.clone();
                file.push(format!("Server_Pool_Rule={rule}"));
                let mut rest = index / 5;
                for lines in choices {
                    let line = lines[rest % lines.len()];
                    rest /= lines.len();
                    file.extend((!line.is_empty()).then(|| line.to_owned()));
                }
                let machine = machines[(ports + index) % machines.len()];
                one_round(&file, &Machine { cpus: [1, 4][files % 2], ..machine });
                files += 1;
            }
        }
        assert!(files > 500, "{files}");
    }

    #[test]
    fn advice_avoids_the_trap_of_the_technote() {
        let lines = [
            "Ports=A,B,C",
            "A_TCPIPAddress=h:1",
            "B_TCPIPAddress=h:2",
            "C_TCPIPAddress=h:3",
            "Server_Pool_Rule=R5",
        ];
        let config = Config::from_text(&lines.join("\n"), None, 2).unwrap();
        let remaining = advise(&config, &Machine::default());
        assert_eq!(remaining.len(), 1, "{remaining:?}");
        assert_eq!(
            remaining[0].message,
            "3 ports x 40 = 120 workers, 20 may run at once: 100 can only wait; set Server_Max_Concurrent_Trans=120 and \
             Server_Pool_Tasks=40"
        );
    }
}
