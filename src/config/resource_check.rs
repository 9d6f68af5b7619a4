//! What the threads and the messages of these settings may take, against what the machine gives: sentences for
//! `advice`.
//!
//! Knows a [`Config`] and a [`Machine`]. Must not know how the machine's limits are read. Each sentence names the
//! limit, where it is set, and what would put it right. Said is what is certain; what only may be says "may". Nobody is
//! told of a default that he did not choose: `Server_Buffer_Memory_MB` bounds what could be, and small machines live
//! with less.

use super::advice::{Machine, MachineLimit, Warning, bytes_in_words, workers_in_words};
use super::remedy::{self, appended};
use super::{Config, plural};

/// Threads of a process beside workers and listeners: main, stop, log, observer, note, seven of the admin server, some
/// to spare.
pub(crate) const THREADS_BASE: u64 = 14;

/// Those of them that are to spare: a server starts without them.
pub(crate) const THREADS_SPARE: u64 = 2;

/// Mappings of each thread: its stack and the guard page below.
const MAPPINGS_PER_THREAD: u64 = 2;

/// Mappings of a process beside its stacks: program, libraries, heaps.
const MAPPINGS_BASE: u64 = 200;

/// What glibc's allocator reserves for one of its heaps, and how many it makes for each CPU when threads want them. It
/// takes them before the last stacks are made, and does without them where it gets none.
const HEAP_BYTES: u64 = 64 << 20;
const HEAPS_PER_CPU: u64 = 8;

/// Least `Server_Buffer_Memory_MB`.
pub(super) const BUFFERS_MIN_MB: u64 = 16;

/// What a message takes beside its own bytes while it is kept.
const MESSAGE_SLACK_BYTES: u64 = 256 << 10;

/// Codes: `stack_memory`, `buffer_memory`, `buffer_room`, `threads_limit`, `mappings_limit`; each at most once, in this
/// order.
pub fn advise(config: &Config, machine: &Machine) -> Vec<Warning> {
    let said = [
        ("stack_memory", stack_memory(config, machine)),
        ("buffer_memory", buffer_memory(config, machine)),
        ("buffer_room", buffer_room(config, machine)),
        ("threads_limit", threads_limit(config, machine)),
        ("mappings_limit", mappings_limit(config, machine)),
    ];
    let warning = |(code, message): (_, Option<_>)| message.map(|message| Warning { code, message });
    said.into_iter().filter_map(warning).collect()
}

/// Stacks of all workers, in bytes of virtual memory.
pub(super) fn stack_bytes(config: &Config) -> u64 {
    u64::from(config.total_workers()).saturating_mul(config.thread_stack_bytes.value as u64)
}

/// About so many threads.
fn threads(config: &Config) -> u64 {
    u64::from(config.total_workers()) + config.ports.len() as u64 + THREADS_BASE
}

/// Most workers for which stacks, threads and mappings are enough; `None` where no limit is known.
pub(super) fn workers_max(config: &Config, machine: &Machine) -> Option<u64> {
    let stack = config.thread_stack_bytes.value as u64;
    let others = config.ports.len() as u64 + THREADS_BASE;
    let threads = |most: u64| most.saturating_sub(others);
    let rooms = [
        machine.address_space.map(|space| space.most / stack),
        machine.memory.map(|memory| memory_for_stacks(config, memory.most) / stack),
        machine.threads.map(|limit| threads(limit.most)),
        machine.mappings.map(|limit| threads(limit.most.saturating_sub(MAPPINGS_BASE) / MAPPINGS_PER_THREAD)),
    ];
    rooms.into_iter().flatten().min()
}

/// What of the memory is left beside the messages that somebody chose, or beside the least there can be of them; all of
/// it where that is not enough for a worker of each port.
fn memory_for_stacks(config: &Config, most: u64) -> u64 {
    let chosen =
        config.buffer_memory_bytes.source.is_given().then_some(config.buffer_memory_bytes.value as u64);
    let rooms = [chosen, chosen.map(|_| BUFFERS_MIN_MB << 20)].into_iter().flatten();
    let least = config.ports.len() as u64 * config.thread_stack_bytes.value as u64;
    rooms.filter_map(|taken| most.checked_sub(taken)).find(|left| *left >= least).unwrap_or(most)
}

/// Most bytes of messages beside the stacks of so many workers; `None` where that is not known, or the stacks alone do
/// not fit.
pub(super) fn buffer_ceiling(config: &Config, machine: &Machine, workers: u32) -> Option<u64> {
    let stacks = u64::from(workers).saturating_mul(config.thread_stack_bytes.value as u64);
    machine.memory?.most.checked_sub(stacks)
}

/// Least `Server_Buffer_Memory_MB` with which each port has room for one message of `Server_Max_Frame_KB`.
pub(super) fn buffers_needed_mb(config: &Config) -> u64 {
    let message = u64::from(config.max_frame_bytes.value) + MESSAGE_SLACK_BYTES;
    (2 * config.ports.len() as u64 * message).div_ceil(1 << 20)
}

/// Largest `Server_Max_Frame_KB` for which so much `Server_Buffer_Memory_MB` is enough.
pub(super) fn frame_max_kb(config: &Config, buffers_mb: u64) -> u64 {
    let room = (buffers_mb << 20) / 2 / config.ports.len().max(1) as u64;
    room.saturating_sub(MESSAGE_SLACK_BYTES) >> 10
}

/// What the C library may reserve for its heaps beside the stacks of so many threads.
fn heap_bytes(machine: &Machine, threads: u64) -> u64 {
    let heaps = machine.heaps.unwrap_or(u64::from(machine.cpus.max(1)) * HEAPS_PER_CPU);
    heaps.min(threads) * HEAP_BYTES
}

fn stacks_in_words(config: &Config) -> String {
    let each = bytes_in_words(config.thread_stack_bytes.value as u64);
    let (workers, all) = (plural(config.total_workers(), "worker"), bytes_in_words(stack_bytes(config)));
    format!("{workers} with {each} of stack each may use {all}")
}

fn stack_memory(config: &Config, machine: &Machine) -> Option<String> {
    let stacks = stack_bytes(config);
    let heaps = heap_bytes(machine, threads(config));
    let words = stacks_in_words(config);
    let remedy = remedy::sizes(config, machine);
    if let Some(MachineLimit { most, set_by }) = machine.address_space.filter(|space| stacks > space.most) {
        let left = u64::from(remedy.workers).saturating_mul(config.thread_stack_bytes.value as u64);
        let mut lines = remedy.lines;
        if left.saturating_add(heaps) > most && heaps > 0 {
            lines.push("MALLOC_ARENA_MAX=1 in the environment".to_owned());
        }
        let most = bytes_in_words(most);
        return Some(format!(
            "{words}, more than the {most} of virtual memory that this process may map ({set_by}): not all can start; \
             raise that, or lower Server_Thread_Stack_KB or the pools{}",
            appended(&lines)
        ));
    }
    if let Some(MachineLimit { most, set_by }) = machine.memory.filter(|memory| stacks > memory.most) {
        let most = bytes_in_words(most);
        return Some(format!(
            "{words}, more than the {most} of memory there is ({set_by}): deep calls in all of them would not fit; lower \
             Server_Thread_Stack_KB or the pools{}",
            appended(&remedy.lines)
        ));
    }
    let MachineLimit { most, set_by } =
        machine.address_space.filter(|space| stacks.saturating_add(heaps) > space.most)?;
    let (heaps, most) = (bytes_in_words(heaps), bytes_in_words(most));
    Some(format!(
        "{words} and the C library may reserve {heaps} for its heaps, together more than the {most} of virtual memory that \
         this process may map ({set_by}): perhaps not all can start; raise that, or set MALLOC_ARENA_MAX=1 in the \
         environment"
    ))
}

/// Of half-read messages and unread replies a port may hold its part of half the memory: less than one message, and
/// such a message is refused, or its reply lost, though nothing else is going on.
fn buffer_room(config: &Config, machine: &Machine) -> Option<String> {
    let (buffers, ports) = (config.buffer_memory_bytes.value as u64, config.ports.len() as u64);
    let room = buffers / 2 / ports.max(1);
    (buffers_needed_mb(config) > buffers >> 20).then(|| {
        format!(
            "Server_Buffer_Memory_MB={} leaves a port {} for half-read messages and unread replies, too little for one of {} \
             (Server_Max_Frame_KB), whose connection is closed{}",
            buffers >> 20,
            bytes_in_words(room),
            bytes_in_words(config.max_frame_bytes.value.into()),
            appended(&remedy::buffers(config, machine)),
        )
    })
}

/// Said only to who chose the size of the buffers, and not beside a sentence that the stacks alone do not fit.
fn buffer_memory(config: &Config, machine: &Machine) -> Option<String> {
    let MachineLimit { most, set_by } = machine.memory?;
    let (stacks, buffers) = (stack_bytes(config), config.buffer_memory_bytes.value as u64);
    let both = stacks.saturating_add(buffers);
    (config.buffer_memory_bytes.source.is_given() && stacks <= most && both > most).then(|| {
        format!(
            "messages may take {} (Server_Buffer_Memory_MB) and the stacks of {} {}, together more than the {} of memory there \
             is ({set_by}); lower one of them{}",
            bytes_in_words(buffers),
            plural(config.total_workers(), "worker"),
            bytes_in_words(stacks),
            bytes_in_words(most),
            appended(&remedy::buffers(config, machine)),
        )
    })
}

fn threads_limit(config: &Config, machine: &Machine) -> Option<String> {
    let MachineLimit { most, set_by } = machine.threads?;
    let needed = threads(config);
    (needed > most).then(|| {
        format!(
            "the server needs about {needed} threads ({}, a listener for each port, {THREADS_BASE} others) and there may be \
             {most} ({set_by}): not all can start; raise that or lower the pools{}",
            workers_in_words(config),
            appended(&remedy::sizes(config, machine).lines),
        )
    })
}

fn mappings_limit(config: &Config, machine: &Machine) -> Option<String> {
    let MachineLimit { most, set_by } = machine.mappings?;
    let needed = threads(config) * MAPPINGS_PER_THREAD + MAPPINGS_BASE;
    (needed > most).then(|| {
        format!(
            "the server needs about {needed} mappings of memory ({MAPPINGS_PER_THREAD} for the stack of each of {} threads) and \
             may have {most} ({set_by}): not all can start; raise that or lower the pools{}",
            threads(config),
            appended(&remedy::sizes(config, machine).lines),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_most(most: u64, set_by: &'static str) -> Option<MachineLimit> {
        Some(MachineLimit { most, set_by })
    }

    fn read(text: &str) -> Config {
        Config::from_text(text, None, 2).unwrap_or_else(|errors| panic!("{text:?}: {errors}"))
    }

    #[test]
    fn each_sentence_names_its_limit_and_where_that_is_set() {
        let machine = Machine { cpus: 2, ..Machine::default() };
        for (text, machine, code, expected) in [
            (
                "",
                Machine { address_space: at_most(32 << 20, "ulimit -v"), ..machine },
                "stack_memory",
                "40 workers with 1 MiB of stack each may use 40 MiB, more than the 32 MiB of virtual memory that this process \
                 may map (ulimit -v): not all can start; raise that, or lower Server_Thread_Stack_KB or the pools; set \
                 Server_Max_Concurrent_Trans=32, Server_Pool_Tasks=32 and MALLOC_ARENA_MAX=1 in the environment",
            ),
            (
                "",
                Machine { address_space: at_most(1 << 30, "ulimit -v"), ..machine },
                "stack_memory",
                "40 workers with 1 MiB of stack each may use 40 MiB and the C library may reserve 1 GiB for its heaps, \
                 together more than the 1 GiB of virtual memory that this process may map (ulimit -v): perhaps not all can \
                 start; raise that, or set MALLOC_ARENA_MAX=1 in the environment",
            ),
            (
                "",
                Machine { memory: at_most(39 << 20, "memory.max of the cgroup"), ..machine },
                "stack_memory",
                "40 workers with 1 MiB of stack each may use 40 MiB, more than the 39 MiB of memory there is (memory.max of \
                 the cgroup): deep calls in all of them would not fit; lower Server_Thread_Stack_KB or the pools; set \
                 Server_Max_Concurrent_Trans=39 and Server_Pool_Tasks=39",
            ),
            (
                "Server_Buffer_Memory_MB=1000",
                Machine { memory: at_most(1000 << 20, "free memory of the machine"), ..machine },
                "buffer_memory",
                "messages may take 1000 MiB (Server_Buffer_Memory_MB) and the stacks of 40 workers 40 MiB, together more than \
                 the 1000 MiB of memory there is (free memory of the machine); lower one of them; set Server_Buffer_Memory_MB=960",
            ),
            (
                "Server_Buffer_Memory_MB=16\nServer_Max_Frame_KB=10240",
                machine,
                "buffer_room",
                "Server_Buffer_Memory_MB=16 leaves a port 8 MiB for half-read messages and unread replies, too little for one \
                 of 10 MiB (Server_Max_Frame_KB), whose connection is closed; set Server_Buffer_Memory_MB=21",
            ),
            (
                "",
                Machine { threads: at_most(54, "ulimit -u"), ..machine },
                "threads_limit",
                "the server needs about 55 threads (1 port x 40 = 40 workers, a listener for each port, 14 others) and there \
                 may be 54 (ulimit -u): not all can start; raise that or lower the pools; set Server_Max_Concurrent_Trans=39 and \
                 Server_Pool_Tasks=39",
            ),
            (
                "",
                Machine { mappings: at_most(309, "vm.max_map_count"), ..machine },
                "mappings_limit",
                "the server needs about 310 mappings of memory (2 for the stack of each of 55 threads) and may have 309 \
                 (vm.max_map_count): not all can start; raise that or lower the pools; set Server_Max_Concurrent_Trans=39 and \
                 Server_Pool_Tasks=39",
            ),
        ] {
            let said = advise(&read(text), &machine);
            assert_eq!(said, [Warning { code, message: expected.to_owned() }], "{text}");
        }
    }

    #[test]
    fn what_just_fits_is_not_spoken_of() {
        let machine = Machine {
            cpus: 2,
            memory: at_most(40 << 20, ""),
            address_space: at_most((1 << 30) + (40 << 20), ""),
            threads: at_most(55, ""),
            mappings: at_most(310, ""),
            descriptors: None,
            heaps: None,
        };
        assert_eq!(advise(&read(""), &machine), [], "nor are the default buffers, which nobody chose");
        let tight = Machine { memory: at_most(39 << 20, ""), ..machine };
        let codes: Vec<_> =
            advise(&read("Server_Buffer_Memory_MB=16"), &tight).iter().map(|said| said.code).collect();
        assert_eq!(codes, ["stack_memory"], "once is enough");
        assert_eq!(advise(&read(""), &Machine::default()), [], "limits that are not known");
    }
}
