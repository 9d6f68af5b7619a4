//! Memory, threads and mappings that the settings need, the limits of a machine, and the largest settings for which
//! those suffice.
//!
//! Pure arithmetic. Does not know how the machine's limits are read, nor any text.

use super::settings::Config;

/// Threads of a process in addition to workers and listeners: main, stop, log, sampler, verdict writer, seven of the
/// admin server, some spare.
pub(crate) const THREADS_BASE: u64 = 14;

/// The spare ones of [`THREADS_BASE`]: a server starts without them.
pub(crate) const THREADS_SPARE: u64 = 2;

/// Mappings of each thread: its stack and the guard page below.
pub(super) const MAPPINGS_PER_THREAD: u64 = 2;

/// Mappings of a process in addition to its stacks: program, libraries, heaps.
const MAPPINGS_BASE: u64 = 200;

/// Address space that glibc's allocator reserves for one heap. It reserves heaps before the last stacks are mapped, and
/// works without them if it gets none.
const HEAP_BYTES: u64 = 64 << 20;

/// Heaps that it creates for each CPU when threads need them.
const HEAPS_PER_CPU: u64 = 8;

/// Least `Server_Buffer_Memory_MB`.
pub(super) const BUFFERS_MIN_MB: u64 = 16;

/// Memory that a stored message takes in addition to its own bytes.
const MESSAGE_SLACK_BYTES: u64 = 256 << 10;

/// Stacks of all threads that run handlers, in bytes of virtual memory.
pub(super) fn stack_bytes(config: &Config) -> u64 {
    stack_bytes_of(config, config.total_workers())
}

fn stack_bytes_of(config: &Config, workers: u32) -> u64 {
    let threads = u64::from(workers) + listeners_with_stacks(config);
    threads.saturating_mul(config.thread_stack_bytes.value as u64)
}

/// Listening threads that have a worker's stack.
fn listeners_with_stacks(config: &Config) -> u64 {
    if config.run_where_read.value { config.ports.len() as u64 } else { 0 }
}

/// Approximate number of threads.
pub(super) fn threads(config: &Config) -> u64 {
    u64::from(config.total_workers()) + threads_beside_workers(config)
}

fn threads_beside_workers(config: &Config) -> u64 {
    config.ports.len() as u64 + THREADS_BASE + alarm_threads(config)
}

/// Threads that run `Alarm_Command`.
pub(crate) fn alarm_threads(config: &Config) -> u64 {
    u64::from(config.alarm_command.value.is_some())
}

/// Approximate number of memory mappings.
pub(super) fn mappings(config: &Config) -> u64 {
    threads(config) * MAPPINGS_PER_THREAD + MAPPINGS_BASE
}

/// Most workers for which stacks, threads and mappings suffice; `None` if no limit is known.
pub(super) fn workers_max(config: &Config, machine: &Machine) -> Option<u64> {
    let stack = config.thread_stack_bytes.value as u64;
    let others = threads_beside_workers(config);
    let without_others = |most: u64| most.saturating_sub(others);
    let without_listeners = |most: u64| most.saturating_sub(listeners_with_stacks(config));
    let limits = [
        machine.address_space.map(|space| without_listeners(space.most / stack)),
        machine.memory.map(|memory| without_listeners(memory_for_stacks(config, memory.most) / stack)),
        machine.threads.map(|limit| without_others(limit.most)),
        machine
            .mappings
            .map(|limit| without_others(limit.most.saturating_sub(MAPPINGS_BASE) / MAPPINGS_PER_THREAD)),
    ];
    limits.into_iter().flatten().min()
}

/// Memory left for stacks after the given size of the buffers, or after their smallest size; all of it if that is not
/// enough for one worker of each port.
fn memory_for_stacks(config: &Config, most: u64) -> u64 {
    let chosen =
        config.buffer_memory_bytes.source.is_given().then_some(config.buffer_memory_bytes.value as u64);
    let rooms = [chosen, chosen.map(|_| BUFFERS_MIN_MB << 20)].into_iter().flatten();
    let least = config.ports.len() as u64 * config.thread_stack_bytes.value as u64;
    rooms.filter_map(|taken| most.checked_sub(taken)).find(|left| *left >= least).unwrap_or(most)
}

/// Most bytes of messages in addition to the stacks of so many workers; `None` if unknown or if the stacks alone do not
/// fit.
pub(super) fn buffer_ceiling(config: &Config, machine: &Machine, workers: u32) -> Option<u64> {
    machine.memory?.most.checked_sub(stack_bytes_of(config, workers))
}

/// Smallest `Server_Buffer_Memory_MB` with which each port has room for one message of `Server_Max_Frame_KB`.
pub(super) fn buffers_needed_mb(config: &Config) -> u64 {
    let message = u64::from(config.max_frame_bytes.value) + MESSAGE_SLACK_BYTES;
    (2 * config.ports.len() as u64 * message).div_ceil(1 << 20)
}

/// Largest `Server_Max_Frame_KB` for which this `Server_Buffer_Memory_MB` suffices.
pub(super) fn frame_max_kb(config: &Config, buffers_mb: u64) -> u64 {
    let room = (buffers_mb << 20) / 2 / config.ports.len().max(1) as u64;
    room.saturating_sub(MESSAGE_SLACK_BYTES) >> 10
}

/// Address space that the C library may reserve for heaps of so many threads.
pub(super) fn heap_bytes(machine: &Machine, threads: u64) -> u64 {
    let heaps = machine.heaps.unwrap_or(u64::from(machine.cpus.max(1)) * HEAPS_PER_CPU);
    heaps.min(threads) * HEAP_BYTES
}

/// Limits of the machine and of this process; `None` is unlimited or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// CPUs this process may use. 0 counts as 1.
    pub cpus: u32,
    /// Available memory in bytes: the machine's, or this process's share of it where that is less.
    pub memory: Option<MachineLimit>,
    /// Virtual memory this process may map, in bytes.
    pub address_space: Option<MachineLimit>,
    /// File descriptors a server in this process can have; it raises its own limit to the maximum.
    pub descriptors: Option<u64>,
    /// Threads allowed: the least of the limits of this user, this control group and the machine.
    pub threads: Option<MachineLimit>,
    /// Memory mappings this process may have.
    pub mappings: Option<MachineLimit>,
    /// Heaps the C library may create in addition to its first, if the environment limits them.
    pub heaps: Option<u64>,
}

/// A limit that is set outside of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineLimit {
    /// Largest allowed value.
    pub most: u64,
    /// Name of the setting that imposes it, as administrators know it: `ulimit -u`.
    pub set_by: &'static str,
}
