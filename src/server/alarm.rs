//! Runs `Alarm_Command`: a program that is given each alarm on its standard input.
//!
//! Invariants: only a thread of its own waits for the program, so one that hangs, or a disk that does, stops nothing.
//! One program runs at a time, for [`Limits::run`] at most; then it is killed with its process group. Alarms are given
//! at least [`Limits::every`] apart, and the end of one at once. Of alarms that come meanwhile the newest is given; the
//! end of one that was never given is not given either. The program is run without a shell and without arguments, and
//! its output is discarded.
//!
//! Does not know the meaning of the text.

use crate::metrics::Counter;
use crate::monitor::{Alarm, AlarmCounts};
use crate::sync::{Arc, Condvar, Mutex};
use rustix::fs::{Access, MemfdFlags, access, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{Error, Result as IoResult, Seek, Write};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the end of a server waits for a program that runs; then it is killed.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Time between two looks whether the program has ended.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// Limits on the program.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Least time from one alarm given to the next.
    every: Duration,
    /// Longest run.
    run: Duration,
}

const LIMITS: Limits = Limits { every: Duration::from_secs(60), run: Duration::from_secs(30) };

/// The program of a server, and the alarm that waits for it.
#[derive(Debug)]
pub(super) struct AlarmCommand {
    /// `None` where the settings name none.
    program: Option<PathBuf>,
    pending: Arc<PendingAlarm>,
}

#[derive(Debug, Default)]
struct PendingAlarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
    runs: Counter,
    failed: Counter,
}

#[derive(Debug, Default)]
struct AlarmState {
    newest: Option<Alarm>,
    /// No more alarms will come.
    ended: bool,
    /// The thread has ended.
    done: bool,
}

/// The thread that runs the program. Dropping it ends it.
#[derive(Debug)]
pub(super) struct AlarmThread {
    pending: Arc<PendingAlarm>,
    thread: Option<JoinHandle<()>>,
}

impl AlarmCommand {
    pub(super) fn new(program: Option<&Path>) -> AlarmCommand {
        AlarmCommand { program: program.map(in_full), pending: Arc::default() }
    }

    /// Queues an alarm. Does not wait for the program.
    pub(super) fn give(&self, alarm: Alarm) {
        self.pending.state.lock().newest = Some(alarm);
        self.pending.changed.notify_all();
    }

    pub(super) fn counts(&self) -> AlarmCounts {
        AlarmCounts { runs: self.pending.runs.get(), failed: self.pending.failed.get() }
    }

    /// Starts the thread that runs the program; `None` where there is none.
    pub(super) fn start(&self) -> IoResult<Option<AlarmThread>> {
        let Some(program) = self.program.clone() else { return Ok(None) };
        if let Some(problem) = problem(&program) {
            log::warn!("alarm command cannot be run, path={} error={problem}", program.display());
        }
        let (pending, alarms) = (Arc::clone(&self.pending), Arc::clone(&self.pending));
        let run = move || alarms.run_all(LIMITS, |alarm| alarms.run(&program, &alarm.text, LIMITS.run));
        let thread = thread::Builder::new().name("alarm".to_owned()).spawn(run)?;
        Ok(Some(AlarmThread { pending, thread: Some(thread) }))
    }
}

/// The path from the root: one without a slash would be looked up in PATH, and the working directory may change.
fn in_full(program: &Path) -> PathBuf {
    absolute(program).unwrap_or_else(|_| program.to_path_buf())
}

/// Returns why the program cannot be run, if it cannot.
pub(super) fn problem(program: &Path) -> Option<Error> {
    let program = in_full(program);
    match std::fs::metadata(&program) {
        Err(error) => Some(error),
        Ok(found) if !found.is_file() => Some(Error::other("it is not a plain file")),
        Ok(_) => access(&program, Access::EXEC_OK).err().map(|_| Error::other("it is not executable")),
    }
}

impl PendingAlarm {
    /// Gives alarms until no more come.
    fn run_all(&self, limits: Limits, mut give: impl FnMut(&Alarm)) {
        let (mut given, mut is_given) = (None, false);
        while let Some(alarm) = self.next(given.map(|at| at + limits.every)) {
            if !alarm.over {
                given = Some(Instant::now());
            } else if !is_given {
                continue;
            }
            is_given = !alarm.over;
            // A panic must not end the alarms; the process's hook logs it.
            if catch_unwind(AssertUnwindSafe(|| give(&alarm))).is_err() {
                self.failed.add(1);
            }
        }
        self.state.lock().done = true;
        self.changed.notify_all();
    }

    /// Waits for an alarm, not before `due` unless it is the end of one.
    fn next(&self, due: Option<Instant>) -> Option<Alarm> {
        let mut state = self.state.lock();
        loop {
            let early = due.filter(|due| Instant::now() < *due);
            match (&state.newest, early) {
                _ if state.ended => return None,
                (Some(alarm), Some(due)) if !alarm.over => _ = self.changed.wait_until(&mut state, due),
                (Some(_), _) => return state.newest.take(),
                (None, _) => self.changed.wait(&mut state),
            }
        }
    }

    /// Runs the program and waits for it.
    fn run(&self, program: &Path, text: &str, run_max: Duration) {
        self.runs.add(1);
        let problem = match start(program, text) {
            Err(error) => Some(format!("not started, error={error}")),
            Ok(mut child) => match self.wait(&mut child, run_max) {
                Ok(Some(status)) => (!status.success()).then(|| format!("failed, {status}")),
                Ok(None) => Some("killed: it had not ended in time".to_owned()),
                Err(error) => Some(format!("lost, error={error}")),
            },
        };
        if let Some(problem) = problem {
            self.failed.add(1);
            log::error!("alarm command {problem}, path={}", program.display());
        }
    }

    /// Waits until the program has ended, and kills it when its time is over, or soon after the server's end.
    fn wait(&self, child: &mut Child, run_max: Duration) -> IoResult<Option<ExitStatus>> {
        let (mut deadline, mut is_ending) = (Instant::now() + run_max, false);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            let mut state = self.state.lock();
            if state.ended && !std::mem::replace(&mut is_ending, true) {
                deadline = deadline.min(Instant::now() + END_TIMEOUT);
            }
            if Instant::now() >= deadline {
                break;
            }
            self.changed.wait_until(&mut state, (Instant::now() + WAIT_STEP).min(deadline));
        }
        kill_process_group(Pid::from_child(child), Signal::KILL)?;
        child.wait().map(|_| None)
    }
}

/// Starts the program with this text on its standard input.
fn start(program: &Path, text: &str) -> IoResult<Child> {
    // A file in memory: writing to a pipe would wait for a program that does not read.
    let mut input = File::from(memfd_create("alarm", MemfdFlags::CLOEXEC)?);
    input.write_all(text.as_bytes())?;
    input.rewind()?;
    let mut command = Command::new(program);
    // A group of its own, so that what a script started is killed with it.
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn()
}

impl Drop for AlarmThread {
    fn drop(&mut self) {
        let deadline = Instant::now() + 2 * END_TIMEOUT;
        let mut state = self.pending.state.lock();
        state.ended = true;
        self.pending.changed.notify_all();
        while !state.done && !self.pending.changed.wait_until(&mut state, deadline).timed_out() {}
        let is_done = state.done;
        drop(state);
        match self.thread.take() {
            Some(thread) if is_done => _ = thread.join(),
            _ => log::error!("alarm command does not end; not waited for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("boneyard-alarm-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn script(folder: &Path, name: &str, lines: &str) -> PathBuf {
        let path = folder.join(name);
        // By another process: a program that is open for writing, be it in a child of another test, cannot be run.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 700 "$0""#;
        let mut shell = Command::new("sh");
        assert!(shell.args(["-c", write]).arg(&path).arg(lines).status().unwrap().success());
        path
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_gets_the_text_and_its_failures_are_counted() {
        let folder = folder("runs");
        let out = folder.join("out");
        let pending = PendingAlarm::default();
        let long = "x".repeat(1 << 20);
        let takes = script(&folder, "takes", &format!("cat > {}", out.display()));
        pending.run(&takes, &long, LIMITS.run);
        let taken = fs::read_to_string(&out).unwrap();
        let mut counts = vec![(pending.runs.get(), pending.failed.get())];
        let ignores = script(&folder, "ignores", "exit 0");
        let fails = script(&folder, "fails", "exit 3");
        for program in [ignores, fails, folder.join("none"), folder.clone()] {
            pending.run(&program, &long, LIMITS.run);
            counts.push((pending.runs.get(), pending.failed.get()));
        }
        let plain = folder.join("plain");
        fs::write(&plain, "").unwrap();
        let problems = [&takes, &folder, &plain, &folder.join("none")].map(|path| problem(path).is_some());
        fs::remove_dir_all(&folder).unwrap();
        assert!(taken == long, "{} bytes", taken.len());
        assert_eq!(counts, [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3)]);
        assert_eq!(problems, [false, true, true, true]);
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_all_that_it_started() {
        let folder = folder("hangs");
        let child = folder.join("child");
        let hangs = script(&folder, "hangs", &format!("sleep 3600 &\necho $! > {}\nwait", child.display()));
        let pending = PendingAlarm::default();
        let mut process = start(&hangs, "").unwrap();
        let number = || fs::read_to_string(&child).unwrap_or_default().trim().parse::<i32>().ok();
        until("it has started another", || number().is_some());
        assert_eq!(pending.wait(&mut process, Duration::ZERO).unwrap(), None);
        let other = number().unwrap();
        // A zombie until its new parent sees to it.
        let state = || fs::read_to_string(format!("/proc/{other}/stat")).ok();
        until("the other is gone", || state().is_none_or(|state| state.contains(") Z ")));
        // A server that ends waits no longer than a moment.
        let mut process = start(&hangs, "").unwrap();
        pending.state.lock().ended = true;
        assert_eq!(pending.wait(&mut process, Duration::from_secs(3600)).unwrap(), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn alarms_are_apart_and_their_ends_come_at_once() {
        let command = AlarmCommand::new(None);
        let given = Arc::new(Mutex::new(Vec::new()));
        let (pending, taken) = (Arc::clone(&command.pending), Arc::clone(&given));
        let limits = Limits { every: Duration::from_secs(3600), ..LIMITS };
        let give = move |alarm: &Alarm| {
            taken.lock().push(alarm.text.clone());
            assert!(alarm.text != "panics", "on purpose");
        };
        let thread = thread::spawn(move || pending.run_all(limits, give));
        let thread = AlarmThread { pending: Arc::clone(&command.pending), thread: Some(thread) };
        let alarm = |text: &str, over| command.give(Alarm { over, text: text.to_owned() });
        let taken = || command.pending.state.lock().newest.is_none();
        alarm("the end of none", true);
        until("it is dropped", taken);
        alarm("panics", false);
        until("it is given", taken);
        alarm("too soon", false);
        alarm("its end", true);
        until("it is given", taken);
        alarm("again too soon", false);
        alarm("the end of what was not given", true);
        until("it is dropped", taken);
        alarm("too soon before the end", false);
        drop(thread);
        assert_eq!(*given.lock(), ["panics", "its end"]);
        assert_eq!(command.counts().failed, 1);
        assert!(command.start().unwrap().is_none(), "there is no program");
    }
}
