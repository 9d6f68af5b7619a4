//! States of this process's threads, as the system tells them: on a processor, ready without one, or in a wait.
//!
//! Reads files under `/proc/self/task`, for no longer than the caller's budget. Invariants: whatever cannot be read is
//! left out (`None`), never an error; no lock is held while files are read; what is kept of a thread is forgotten after
//! [`KEPT`]. Does not know workers and calls.
//!
//! `syscall` alone tells a thread that waits from one that does not, and what it waits in. Where a thread is ready or
//! runs, `schedstat` tells in which proportion it had a processor since the last look: a thread counts as ready without
//! one in that part of the looks.

use super::machine::thread_cpu_used;
use crate::monitor::ThreadState;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::fs::{File, read_link};
use std::io::Read;
use std::time::{Duration, Instant};

/// Age from which the times of a thread's last look are no longer compared with.
const KEPT: Duration = Duration::from_secs(2);

/// Wall time of a look, as a multiple of its processor time: a look that gets no processor must end too.
const WALL_TIMES: u32 = 10;

/// System calls that wait: number on x86-64, number on the newer architectures (-1: it has none), name, and the wait.
#[rustfmt::skip]
const SYSTEM_CALLS: [(i64, i64, &str, Wait); 44] = [
    (202, 98, "futex", Wait::Lock), (455, 455, "futex_wait", Wait::Lock),
    (45, 207, "recvfrom", Wait::Socket), (47, 212, "recvmsg", Wait::Socket), (299, 243, "recvmmsg", Wait::Socket),
    (44, 206, "sendto", Wait::Socket), (46, 211, "sendmsg", Wait::Socket), (307, 269, "sendmmsg", Wait::Socket),
    (42, 203, "connect", Wait::Socket), (43, 202, "accept", Wait::Socket), (288, 242, "accept4", Wait::Socket),
    (232, -1, "epoll_wait", Wait::Socket), (281, 22, "epoll_pwait", Wait::Socket),
    (441, 441, "epoll_pwait2", Wait::Socket),
    (7, -1, "poll", Wait::Poll { count: 1 }), (271, 73, "ppoll", Wait::Poll { count: 1 }),
    (23, -1, "select", Wait::Poll { count: 0 }), (270, 72, "pselect6", Wait::Poll { count: 0 }),
    (0, 63, "read", Wait::Descriptor), (1, 64, "write", Wait::Descriptor), (19, 65, "readv", Wait::Descriptor),
    (20, 66, "writev", Wait::Descriptor), (40, 71, "sendfile", Wait::Descriptor),
    (17, 67, "pread64", Wait::Disk), (18, 68, "pwrite64", Wait::Disk), (295, 69, "preadv", Wait::Disk),
    (296, 70, "pwritev", Wait::Disk), (74, 82, "fsync", Wait::Disk), (75, 83, "fdatasync", Wait::Disk),
    (277, 84, "sync_file_range", Wait::Disk), (162, 81, "sync", Wait::Disk), (306, 267, "syncfs", Wait::Disk),
    (26, 227, "msync", Wait::Disk), (285, 47, "fallocate", Wait::Disk), (77, 46, "ftruncate", Wait::Disk),
    (326, 285, "copy_file_range", Wait::Disk), (217, 61, "getdents64", Wait::Disk), (2, -1, "open", Wait::Disk),
    (257, 56, "openat", Wait::Disk), (262, 79, "newfstatat", Wait::Disk), (332, 291, "statx", Wait::Disk),
    (87, -1, "unlink", Wait::Disk),
    (35, 101, "nanosleep", Wait::Sleep), (230, 115, "clock_nanosleep", Wait::Sleep),
];

/// A wait, as far as the system call tells.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// For a lock or a condition, at the address in the first argument.
    Lock,
    Socket,
    /// For descriptors, as many as this argument says; for none it is a sleep.
    Poll {
        count: usize,
    },
    /// For the descriptor in the first argument.
    Descriptor,
    Disk,
    Sleep,
}

/// The number of a row of [`SYSTEM_CALLS`] on this architecture.
fn number(row: &(i64, i64, &str, Wait)) -> i64 {
    match std::env::consts::ARCH {
        "x86_64" => row.0,
        "aarch64" | "riscv64" => row.1,
        _ => -1,
    }
}

/// The states of threads, from look to look.
#[derive(Debug, Default)]
pub(super) struct ThreadStates(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    times: HashMap<u32, ThreadTimes>,
    /// Where the next look begins.
    first: usize,
}

/// Scheduling of a thread up to a look.
#[derive(Debug, Clone, Copy)]
struct ThreadTimes {
    at: Instant,
    /// Nanoseconds on a processor, and ready without one.
    ran: u64,
    waited: u64,
    /// Part of a look in which it is to count as ready without one, not yet counted.
    owed: f64,
}

/// A look under way. Two at once know nothing of each other.
#[derive(Debug)]
pub(super) struct Look {
    kept: Kept,
    began: Instant,
    cpu_began: Duration,
    budget: Duration,
    looked: usize,
    is_over: bool,
}

impl ThreadStates {
    /// Begins a look with a budget of processor time.
    pub(super) fn begin(&self, budget: Duration) -> Look {
        Look {
            kept: std::mem::take(&mut self.0.lock()),
            began: Instant::now(),
            cpu_began: thread_cpu_used(),
            budget,
            looked: 0,
            is_over: false,
        }
    }

    /// Ends a look. The next one begins at `first`.
    pub(super) fn end(&self, look: Look, first: usize) {
        let mut kept = look.kept;
        kept.first = first;
        kept.times.retain(|_, times| look.began.saturating_duration_since(times.at) < KEPT);
        *self.0.lock() = kept;
    }
}

impl Look {
    /// Where the look begins.
    pub(super) fn first(&self) -> usize {
        self.kept.first
    }

    /// Returns whether the budget has room for another thread. It has room for one in any case.
    pub(super) fn has_time(&mut self) -> bool {
        let spent = || {
            thread_cpu_used().saturating_sub(self.cpu_began) >= self.budget
                || self.began.elapsed() >= self.budget * WALL_TIMES
        };
        self.is_over = self.is_over || self.looked > 0 && spent();
        !self.is_over
    }

    /// The state of the thread with this number; 0 is none.
    pub(super) fn state_of(&mut self, thread: u32) -> Option<ThreadState> {
        self.looked += 1;
        if thread == 0 {
            return None;
        }
        let Some(text) = read(thread, "syscall") else {
            return match run_state(thread)? {
                'R' => Some(self.scheduled(thread)),
                'D' => Some(ThreadState::Disk),
                _ => None,
            };
        };
        let Some(call) = SystemCall::read(&text) else { return Some(self.scheduled(thread)) };
        let by_run_state = || match run_state(thread) {
            Some('D') => ThreadState::Disk,
            _ => ThreadState::Other,
        };
        Some(call.state().unwrap_or_else(by_run_state))
    }

    /// The state of a thread that runs or is ready to.
    fn scheduled(&mut self, thread: u32) -> ThreadState {
        let Some((ran, waited)) = read(thread, "schedstat").and_then(|text| ran_and_waited(&text)) else {
            return ThreadState::Processor;
        };
        let at = Instant::now();
        let before = self.kept.times.get(&thread);
        let before = before.filter(|before| at.saturating_duration_since(before.at) < KEPT);
        let mut owed = before.map_or(0.5, |before| before.owed + before.part_ready(ran, waited));
        let is_ready = owed >= 1.0;
        owed -= f64::from(u8::from(is_ready));
        self.kept.times.insert(thread, ThreadTimes { at, ran, waited, owed });
        if is_ready { ThreadState::Runnable } else { ThreadState::Processor }
    }
}

impl ThreadTimes {
    /// In which part of the time since then the thread was ready without a processor, of that in which it was ready.
    fn part_ready(&self, ran: u64, waited: u64) -> f64 {
        let (ran, waited) = (ran.saturating_sub(self.ran), waited.saturating_sub(self.waited));
        if waited == 0 { 0.0 } else { waited as f64 / ran.saturating_add(waited) as f64 }
    }
}

/// The system call that a thread is in.
#[derive(Debug, PartialEq, Eq)]
struct SystemCall {
    /// -1 where a thread waits outside of one: for a page of memory.
    number: i64,
    arguments: [u64; 3],
}

impl SystemCall {
    /// Reads `NUMBER ARGUMENT...`; `None` for a thread that runs.
    fn read(text: &str) -> Option<SystemCall> {
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let argument = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let arguments = [(); 3].map(|()| words.next().and_then(argument).unwrap_or(0));
        Some(SystemCall { number, arguments })
    }

    /// The wait that it is; `None` for a call that is not in the table.
    fn state(&self) -> Option<ThreadState> {
        let row = SYSTEM_CALLS.iter().find(|row| self.number >= 0 && number(row) == self.number)?;
        let [first, ..] = self.arguments;
        Some(match row.3 {
            Wait::Lock => ThreadState::Lock { address: first },
            Wait::Poll { count } if self.arguments[count] == 0 => ThreadState::Sleep,
            Wait::Socket | Wait::Poll { .. } => ThreadState::Socket,
            Wait::Descriptor => of_descriptor(first),
            Wait::Disk => ThreadState::Disk,
            Wait::Sleep => ThreadState::Sleep,
        })
    }
}

/// The wait for a descriptor, by what it is.
fn of_descriptor(descriptor: u64) -> ThreadState {
    let target = read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
    match target.to_str() {
        Some(name) if name.starts_with("socket:") => ThreadState::Socket,
        // A pipe, a terminal, an event counter: whatever is at its other end.
        Some(name) if name.starts_with('/') && !name.starts_with("/dev/") => ThreadState::Disk,
        _ => ThreadState::Other,
    }
}

/// The letter after the name in `stat`, where a name may hold anything.
fn run_state(thread: u32) -> Option<char> {
    read(thread, "stat")?.rsplit_once(") ")?.1.chars().next()
}

/// Time on a processor, and ready without one, in nanoseconds.
fn ran_and_waited(schedstat: &str) -> Option<(u64, u64)> {
    let mut numbers = schedstat.split_ascii_whitespace().map_while(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// The beginning of a file about a thread, as much of it as is looked at.
fn read(thread: u32, file: &str) -> Option<String> {
    let mut bytes = [0; 256];
    let mut file = File::open(format!("/proc/self/task/{thread}/{file}")).ok()?;
    let length = file.read(&mut bytes).ok()?;
    String::from_utf8(bytes[..length].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Arc, AtomicBool, Ordering, bounded};
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    const BUDGET: Duration = Duration::from_secs(10);

    /// The state of a thread once it is as `expected`.
    fn state_until(thread: u32, expected: impl Fn(ThreadState) -> bool) -> ThreadState {
        let states = ThreadStates::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut look = states.begin(BUDGET);
            let state = look.state_of(thread);
            states.end(look, 0);
            if let Some(state) = state.filter(|state| expected(*state)) {
                return state;
            }
            assert!(Instant::now() < deadline, "it is {state:?}");
            thread::yield_now();
        }
    }

    /// A thread that runs this. Returns its number; it is not waited for.
    fn running(run: impl FnOnce() + Send + 'static) -> u32 {
        let (sender, receiver) = bounded(1);
        thread::spawn(move || {
            let link = read_link("/proc/thread-self").unwrap();
            sender.send(link.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap()).unwrap();
            run();
        });
        receiver.recv().unwrap()
    }

    #[test]
    fn a_thread_is_seen_in_each_kind_of_wait() {
        let (runs, running_on) = (Arc::new(AtomicBool::new(true)), |state| {
            matches!(state, ThreadState::Processor | ThreadState::Runnable)
        });
        let on = Arc::clone(&runs);
        let busy = running(move || while on.load(Ordering::Relaxed) {});
        state_until(busy, running_on);
        runs.store(false, Ordering::Relaxed);
        let sleeper = running(|| thread::sleep(Duration::from_secs(3600)));
        state_until(sleeper, |state| state == ThreadState::Sleep);
        let accepts = running(|| drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()));
        state_until(accepts, |state| state == ThreadState::Socket);
        let (mut reads, _writes) = std::os::unix::net::UnixStream::pair().unwrap();
        let reader = running(move || drop(reads.read(&mut [0])));
        state_until(reader, |state| state == ThreadState::Socket);
        let receives = running(|| drop(UdpSocket::bind("127.0.0.1:0").unwrap().recv(&mut [0])));
        state_until(receives, |state| state == ThreadState::Socket);
        let (mut pipe, _far_end) = std::io::pipe().unwrap();
        let piped = running(move || drop(pipe.read(&mut [0])));
        state_until(piped, |state| state == ThreadState::Other);
    }

    #[test]
    fn threads_that_wait_for_one_lock_are_at_one_address() {
        let lock = Arc::new(std::sync::Mutex::new(()));
        let held = lock.lock().unwrap();
        let addresses = [(); 2].map(|()| {
            let lock = Arc::clone(&lock);
            state_until(running(move || drop(lock.lock())), |state| matches!(state, ThreadState::Lock { .. }))
        });
        let parked = running(thread::park);
        let alone = state_until(parked, |state| matches!(state, ThreadState::Lock { .. }));
        drop(held);
        assert_eq!(addresses[0], addresses[1]);
        assert_ne!(addresses[0], alone);
    }

    #[test]
    fn a_thread_is_ready_without_a_processor_in_that_part_of_the_looks() {
        let before = ThreadTimes { at: Instant::now(), ran: 100, waited: 1000, owed: 0.5 };
        assert_eq!(before.part_ready(200, 1300), 0.75);
        assert_eq!((before.part_ready(100, 1000), before.part_ready(90, 900)), (0.0, 0.0));
        assert_eq!(ran_and_waited("7 8 9\n"), Some((7, 8)));
        assert_eq!(ran_and_waited("7"), None);
    }

    #[test]
    fn a_look_keeps_its_budget_and_reads_one_thread_at_least() {
        let states = ThreadStates::default();
        let mut look = states.begin(Duration::ZERO);
        assert!(look.has_time());
        assert_eq!((look.state_of(0), look.state_of(u32::MAX)), (None, None));
        assert!(!look.has_time() && !look.has_time());
        states.end(look, 5);
        let look = states.begin(BUDGET);
        assert_eq!(
            (look.first(), states.begin(BUDGET).first()),
            (5, 0),
            "two at once know nothing of each other"
        );
    }

    #[test]
    fn system_calls_are_read_by_their_numbers() {
        assert_eq!(SystemCall::read("running\n"), None);
        let fault = SystemCall::read("-1 0x7ffc 0x55d0\n").unwrap();
        assert_eq!((fault.number, fault.state()), (-1, None));
        let row = |name| SYSTEM_CALLS.iter().find(|row| row.2 == name).map_or(-1, number);
        if row("ppoll") > 0 {
            let state = |name, arguments: &str| {
                SystemCall::read(&format!("{} {arguments} 0x1 0x1\n", row(name))).unwrap().state()
            };
            assert_eq!(state("ppoll", "0x0 0x0 0x7ff0"), Some(ThreadState::Sleep));
            assert_eq!(state("ppoll", "0x7f00 0x1 0x0"), Some(ThreadState::Socket));
            assert_eq!(
                state("futex", "0x7f00dead 0x80 0x2"),
                Some(ThreadState::Lock { address: 0x7f00_dead })
            );
            assert_eq!(state("read", "0xffff 0x0 0x0"), Some(ThreadState::Other), "closed meanwhile");
        }
        for (index, (_, _, name, _)) in SYSTEM_CALLS.iter().enumerate() {
            assert!(!SYSTEM_CALLS[..index].iter().any(|other| other.2 == *name), "{name} is there twice");
        }
    }
}
