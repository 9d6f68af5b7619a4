//! Warnings about settings that need more memory, threads or mappings than the machine has.
//!
//! Each warning names the limit, the place where it is set, and the correction. "may" marks what is possible but not
//! certain. Invariant: no warning is caused by a default: `Server_Buffer_Memory_MB` is an upper limit, and small
//! machines work with less. Does not know how the machine's limits are read.

use super::format::{bytes_in_words, plural, workers_in_words};
use super::remedy::{self, Warning, appended};
use super::requirements::{
    MAPPINGS_PER_THREAD, Machine, MachineLimit, THREADS_BASE, buffers_needed_mb, heap_bytes, mappings,
    stack_bytes, threads,
};
use super::settings::Config;

/// Codes: `stack_memory`, `buffer_memory`, `buffer_room`, `threads_limit`, `mappings_limit`; each at most once, in this
/// order.
pub(crate) fn advise(config: &Config, machine: &Machine) -> Vec<Warning> {
    let found = [
        ("stack_memory", stack_memory(config, machine)),
        ("buffer_memory", buffer_memory(config, machine)),
        ("buffer_room", buffer_room(config, machine)),
        ("threads_limit", threads_limit(config, machine)),
        ("mappings_limit", mappings_limit(config, machine)),
    ];
    let warning = |(code, message): (_, Option<_>)| message.map(|message| Warning { code, message });
    found.into_iter().filter_map(warning).collect()
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
            "{words}, more than the {most} of memory there is ({set_by}): deep calls in all of them at once would not fit; lower \
             Server_Thread_Stack_KB or the pools{}",
            appended(&remedy.lines)
        ));
    }
    let MachineLimit { most, set_by } =
        machine.address_space.filter(|space| stacks.saturating_add(heaps) > space.most)?;
    let (heaps, most) = (bytes_in_words(heaps), bytes_in_words(most));
    Some(format!(
        "{words} and the C library may reserve {heaps} for its heaps, together more than the {most} of virtual memory that \
         this process may map ({set_by}): possibly not all can start; raise that, or set MALLOC_ARENA_MAX=1 in the \
         environment"
    ))
}

/// Half-read messages and unread replies of a port may use its part of half the memory. If that is less than one
/// message, such a message is refused, or its reply lost, even on an idle server.
fn buffer_room(config: &Config, machine: &Machine) -> Option<String> {
    let (buffers, ports) = (config.buffer_memory_bytes.value as u64, config.ports.len() as u64);
    let room = buffers / 2 / ports.max(1);
    (buffers_needed_mb(config) > buffers >> 20).then(|| {
        format!(
            "Server_Buffer_Memory_MB={} leaves a port {} for half-read messages and unread replies, too little for one message of {} \
             (Server_Max_Frame_KB): its connection would be closed{}",
            buffers >> 20,
            bytes_in_words(room),
            bytes_in_words(config.max_frame_bytes.value.into()),
            appended(&remedy::buffers(config, machine)),
        )
    })
}

/// Only for a given size of the buffers, and not in addition to the warning that the stacks alone do not fit.
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
    let needed = mappings(config);
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
    fn each_warning_names_its_limit_and_its_origin() {
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
                 together more than the 1 GiB of virtual memory that this process may map (ulimit -v): possibly not all can \
                 start; raise that, or set MALLOC_ARENA_MAX=1 in the environment",
            ),
            (
                "",
                Machine { memory: at_most(39 << 20, "memory.max of the cgroup"), ..machine },
                "stack_memory",
                "40 workers with 1 MiB of stack each may use 40 MiB, more than the 39 MiB of memory there is (memory.max of \
                 the cgroup): deep calls in all of them at once would not fit; lower Server_Thread_Stack_KB or the pools; set \
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
                 message of 10 MiB (Server_Max_Frame_KB): its connection would be closed; set Server_Buffer_Memory_MB=21",
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
    fn settings_that_just_fit_give_no_warning() {
        let machine = Machine {
            cpus: 2,
            memory: at_most(40 << 20, ""),
            address_space: at_most((1 << 30) + (40 << 20), ""),
            threads: at_most(55, ""),
            mappings: at_most(310, ""),
            descriptors: None,
            heaps: None,
        };
        assert_eq!(advise(&read(""), &machine), [], "the default buffers give none either");
        let tight = Machine { memory: at_most(39 << 20, ""), ..machine };
        let codes: Vec<_> =
            advise(&read("Server_Buffer_Memory_MB=16"), &tight).iter().map(|said| said.code).collect();
        assert_eq!(codes, ["stack_memory"], "no second warning about the same");
        assert_eq!(advise(&read(""), &Machine::default()), [], "unknown limits");
    }
}
