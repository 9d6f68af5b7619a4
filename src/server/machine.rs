//! Reads the limits of this machine and process.
//!
//! The only place that asks the system for them, and raises the one that a server can raise; what they mean for the
//! settings is `config::advice`. A limit that cannot be read is left out (`None`), never guessed and never an error:
//! advice is then silent on it.

use crate::config::{Machine, MachineLimit};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The limits as they are now. Reads a few files under `/proc` and `/sys`; does not block otherwise.
pub fn read() -> Machine {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let memory = read_to_string("/proc/meminfo").ok().and_then(|text| memory_available(&text));
    let share = lowest(&limit_files(&groups, "memory", "memory.limit_in_bytes", "memory.max"));
    let pids = lowest(&limit_files(&groups, "pids", "pids.max", "pids.max"));
    // The superuser is exempt from the limit on processes, but not from the others.
    let processes = if getuid().is_root() { None } else { getrlimit(Resource::Nproc).current };
    Machine {
        cpus: cpus(),
        memory: least([(memory, "free memory of the machine"), (share, "memory.max of the cgroup")]),
        address_space: least([(getrlimit(Resource::As).current, "ulimit -v")]),
        descriptors: descriptors_reachable(),
        threads: least([
            (processes, "ulimit -u"),
            (pids, "pids.max of the cgroup"),
            (system("kernel/threads-max"), "sysctl kernel.threads-max"),
            (system("kernel/pid_max"), "sysctl kernel.pid_max"),
        ]),
        mappings: least([(system("vm/max_map_count"), "sysctl vm.max_map_count")]),
        heaps: std::env::var("MALLOC_ARENA_MAX").ok().and_then(|text| heaps(&text)),
    }
}

/// The lowest of those that are known, under its name.
fn least<const N: usize>(limits: [(Option<u64>, &'static str); N]) -> Option<MachineLimit> {
    let known = limits.into_iter().filter_map(|(most, set_by)| Some(MachineLimit { most: most?, set_by }));
    known.min_by_key(|limit| limit.most)
}

/// Heaps beside the first that `MALLOC_ARENA_MAX` allows; 0 there means the C library's own number.
fn heaps(arenas: &str) -> Option<u64> {
    arenas.parse::<u64>().ok()?.checked_sub(1)
}

/// A number under `/proc/sys`.
fn system(name: &str) -> Option<u64> {
    lowest(&[Path::new("/proc/sys").join(name)])
}

/// CPUs this process may use, affinity and CPU quota considered; 1 when the system does not say.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// CPU time that this process has used.
pub(super) fn cpu_used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

/// CPU time that the calling thread has used.
pub(super) fn thread_cpu_used() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

/// Time that all processors of the machine together had nothing to do, and time that its host took away.
pub(super) fn cpu_idle_and_stolen() -> Option<(Duration, Duration)> {
    let stat = read_to_string("/proc/stat").ok()?;
    let mut fields = stat.lines().next()?.split_ascii_whitespace();
    // cpu user nice system idle iowait irq softirq steal, in ticks.
    let ticks: Vec<u64> = fields.by_ref().skip(1).map_while(|field| field.parse().ok()).collect();
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Some((time(ticks.get(3)? + ticks.get(4)?), time(*ticks.get(7)?)))
}

/// Threads whose waits for a processor are read: a look must stay short.
const WATCHED_THREADS: usize = 256;

/// Time that threads of this process were ready to run and had no processor, added up over the first 256 of them.
pub(super) fn cpu_wanted() -> Option<Duration> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?.take(WATCHED_THREADS).flatten();
    // Time on a processor, time in the line for one, in nanoseconds; a thread that has just ended has none.
    let waited = |text: String| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let each = threads.filter_map(|thread| waited(read_to_string(thread.path().join("schedstat")).ok()?));
    each.reduce(u64::saturating_add).map(Duration::from_nanos)
}

/// Raises the soft limit of descriptors as far as it goes. Returns the limit in force then; `None` is no limit.
///
/// The limit is of the whole process, and of the processes it starts from then on.
pub(super) fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let reachable = descriptors_reachable();
    if reachable != current {
        // Not allowed to, or not by this system: then what is in force stays.
        setrlimit(Resource::Nofile, Rlimit { current: reachable, maximum }).ok();
    }
    getrlimit(Resource::Nofile).current
}

fn descriptors_reachable() -> Option<u64> {
    let number = |path: &str| read_to_string(path).ok()?.trim().parse().ok();
    let hard = getrlimit(Resource::Nofile).maximum;
    below_the_systems(hard, number("/proc/sys/fs/nr_open"), number("/proc/sys/fs/file-max"))
}

/// The hard limit, or what one process may have; but a twentieth less than the whole system has, so that it is not this
/// process that leaves the others none.
fn below_the_systems(hard: Option<u64>, process: Option<u64>, system: Option<u64>) -> Option<u64> {
    let most = [hard, process].into_iter().flatten().min();
    let polite = system.map(|system| system - system / 20);
    [most, polite].into_iter().flatten().min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn memory_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Files that may hold a limit of the groups of processes named in `/proc/self/cgroup`, for version 1 and version 2.
///
/// The limit of any group above counts too. In a container the path is often that of the host and its files
/// are missing; the root of the mount then shows the container's own group, so it is always in the list.
fn limit_files(groups: &str, controller: &str, v1_file: &str, v2_file: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = if controllers.is_empty() {
            (PathBuf::from("/sys/fs/cgroup"), v2_file)
        } else if controllers.split(',').any(|name| name == controller) {
            (Path::new("/sys/fs/cgroup").join(controller), v1_file)
        } else {
            continue;
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            files.push(mount.join(group).join(file));
        }
    }
    files
}

/// The lowest number in those of the files that exist and hold one; `max` is no limit.
fn lowest(files: &[PathBuf]) -> Option<u64> {
    files.iter().filter_map(|file| read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       24682416 kB\nMemAvailable:   24357412 kB\n";
        assert_eq!(memory_available(text), Some(24_357_412 * 1024));
        assert_eq!(memory_available("MemTotal: 1 kB\n"), None);
        assert_eq!(memory_available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn groups_of_both_versions_give_their_files_up_to_the_root() {
        let files = limit_files("4:cpu,memory:/a/b\n0::/c\nbad\n", "memory", "v1", "v2");
        let expected = ["memory/a/b/v1", "memory/a/v1", "memory/v1", "c/v2", "v2"];
        assert_eq!(files, expected.map(|file| Path::new("/sys/fs/cgroup").join(file)));
        assert!(limit_files("8:pids:/\n", "memory", "v1", "v2").is_empty());
    }

    #[test]
    fn descriptors_go_as_far_as_the_hard_limit_and_leave_the_system_some() {
        assert_eq!(below_the_systems(Some(4096), Some(1 << 20), Some(1 << 40)), Some(4096));
        assert_eq!(below_the_systems(None, Some(1 << 20), Some(1 << 40)), Some(1 << 20));
        assert_eq!(below_the_systems(Some(1000), Some(1 << 20), Some(1000)), Some(950));
        assert_eq!(below_the_systems(Some(7), None, None), Some(7));
        assert_eq!(below_the_systems(None, None, None), None);
    }

    #[test]
    fn this_machine_has_limits_that_make_sense() {
        let machine = read();
        assert!(machine.cpus >= 1);
        assert!(machine.descriptors.is_none_or(|count| count > 3), "{machine:?}");
        assert!(machine.memory.is_none_or(|memory| memory.most > 1 << 20), "{machine:?}");
        assert!(machine.threads.is_none_or(|threads| threads.most > 1), "{machine:?}");
        if cfg!(target_os = "linux") {
            let mappings = machine.mappings.expect("every Linux has the limit");
            assert!(mappings.most > 100 && mappings.set_by == "sysctl vm.max_map_count", "{machine:?}");
        }
    }

    #[test]
    fn a_file_without_a_number_is_no_limit() {
        let directory = std::env::temp_dir().join(format!("boneyard-machine-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let group = write("group", "max\n");
        let above = write("above", "4096\n");
        let unlimited = write("v1", "9223372036854771712\n");
        let found = [
            lowest(std::slice::from_ref(&group)),
            lowest(&[group, directory.join("none"), unlimited, above]),
            lowest(&[directory.join("none")]),
        ];
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, [None, Some(4096), None]);
    }

    #[test]
    fn the_least_limit_counts_and_keeps_its_name() {
        assert_eq!(least([(None, "a"), (None, "b")]), None);
        assert_eq!(
            least([(None, "a"), (Some(7), "b"), (Some(3), "c")]),
            Some(MachineLimit { most: 3, set_by: "c" })
        );
    }
}
