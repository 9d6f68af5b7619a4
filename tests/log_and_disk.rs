//! Files where an administrator puts them, and a log that cannot be written: the server serves, says so, and counts what
//! is missing. Real processes, real files, real pipes.

mod common;
mod process;

use common::{Raw, reset, wait_until};
use process::{Directory, Running, command, command_within, own_address};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// Logs a line for each connection that ends.
const TALKATIVE: (&str, &str) = ("RUST_LOG", "boneyard=debug");

/// Settings of a server on this port of the test's own address.
fn on_port(port: u16, log: Option<&Path>) -> String {
    let log = log.map_or(String::new(), |path| format!("Log_File={}\n", path.display()));
    format!("TCPIP_TCPIPAddress=0,{}:{port}\nServer_Pool_Tasks=2\n{log}", own_address(0))
}

/// That address, once the server serves.
fn served(port: u16) -> SocketAddr {
    let address = format!("{}:{port}", own_address(0)).parse().unwrap();
    wait_until("it listens", || TcpStream::connect(address).is_ok());
    address
}

/// Makes so many connections that are lost again; all have come in when this returns, and a call is answered.
fn come_and_go(address: SocketAddr, count: usize) {
    for _ in 0..count {
        reset(common::connect(address));
    }
    answers(address);
}

fn answers(address: SocketAddr) {
    assert_eq!(Raw::connect(address).call::<_, ()>("server.ping", &()), Ok(()));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Lines of a log, those that it says were lost included.
fn lines(log: &str) -> u64 {
    let count = |line: &str| match line.split_once(" lines of the log were lost here: ") {
        Some((count, _)) => count.parse().expect("a count"),
        None => u64::from(!line.is_empty()),
    };
    log.lines().map(count).sum()
}

#[test]
fn settings_and_log_may_be_links() {
    let directory = Directory::new();
    let at = |name: &str| directory.path().join(name);
    for disk in ["disk1", "disk2"] {
        fs::create_dir(at(disk)).unwrap();
    }
    // A directory that was moved to another disk, and in it a link to a file that is not there yet.
    symlink("disk1", at("logs")).unwrap();
    symlink(at("disk1/today.log"), at("disk1/server.log")).unwrap();
    directory.file("disk2/real.ini", &on_port(1352, Some(&at("logs/server.log"))));
    symlink("disk2/real.ini", at("server.ini")).unwrap();

    let serve =
        || Running::start(command(BONEYARD).arg("serve").arg(at("server.ini")).env(TALKATIVE.0, TALKATIVE.1));
    let mut server = serve();
    let address = served(1352);
    wait_until("it logs where the links lead", || read(&at("disk1/today.log")).contains("Throttle: "));
    let lost = || read(&at("disk1/today.log")).matches("connection closed, peer=").count();
    wait_until("the connection of the look has ended", || lost() == 1);

    // The directory is moved while the server serves.
    fs::remove_file(at("logs")).unwrap();
    symlink("disk2", at("logs")).unwrap();
    come_and_go(address, 1);
    wait_until("it writes on where it wrote", || lost() >= 2);
    assert_eq!((server.stop(), server.lines()), (Some(0), vec![]));
    let old = read(&at("disk1/today.log"));
    assert!(old.ends_with("Stopped, 0 lost\n") && !at("disk2/server.log").exists());

    let mut server = serve();
    wait_until("a restart follows the link", || read(&at("disk2/server.log")).contains("Throttle: "));
    assert_eq!((server.stop(), server.lines()), (Some(0), vec![]));
    assert_eq!(read(&at("disk1/today.log")), old);
}

#[test]
fn a_log_that_cannot_be_opened_is_replaced_by_standard_error() {
    let directory = Directory::new();
    let at = |name: &str| directory.path().join(name);
    symlink(at("none/server.log"), at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let mut cases = vec![
        (at("none/server.log"), "No such file or directory"),
        (at("dangling"), "No such file or directory"),
        (at("loop"), "Too many levels of symbolic links"),
        (directory.path().to_owned(), "Is a directory"),
    ];
    // A file that not even the superuser may write.
    if cfg!(target_os = "linux") {
        cases.push(("/proc/sys/kernel/osrelease".into(), "Permission denied"));
    }
    for (log, reason) in cases {
        let lines = process::on_free_port(&format!("Log_File={}", log.display()));
        let file = directory.file("server.ini", &lines);
        let mut server = Running::start(command(BONEYARD).arg("serve").arg(file));
        answers(server.address().parse().unwrap());
        assert_eq!(server.stop(), Some(0));
        server.line("Stopped, 0 lost");
        let said = server.lines();
        let expected = format!("cannot open the log file {}: {reason}", log.display());
        assert!(
            said[0].starts_with(&expected) && said[0].ends_with("; logging to standard error"),
            "{said:?}"
        );
        assert_eq!(said.iter().filter(|line| line.contains("cannot ")).count(), 1, "{said:?}");
    }
}

#[test]
fn a_full_disk_is_reported_and_stops_nothing() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let directory = Directory::new();
    let log = directory.path().join("server.log");
    symlink("/dev/full", &log).unwrap();
    let file = directory.file("server.ini", &on_port(1353, Some(&log)));
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(file).env(TALKATIVE.0, TALKATIVE.1));
    server.line(&format!("cannot write the log file {}: No space left on device", log.display()));
    come_and_go(served(1353), 100);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(server.lines().len(), 1, "said once");
}

/// A server whose log file has the size that the file may have.
fn serve_with_full_file(directory: &Directory, port: u16) -> (Command, std::path::PathBuf) {
    let log = directory.file("server.log", &"x".repeat(1 << 20));
    let file = directory.file("server.ini", &on_port(port, Some(&log)));
    // Of 512 or 1,024 bytes each.
    let mut command = command_within("-f 200", BONEYARD);
    command.arg("serve").arg(file).env(TALKATIVE.0, TALKATIVE.1);
    (command, log)
}

/// There is room again.
fn empty(log: &Path) {
    fs::write(log, "").unwrap();
}

#[test]
fn what_a_full_disk_lost_is_counted_and_told_when_there_is_room() {
    const LOST: usize = 20;
    let directory = Directory::new();
    let (mut full, log) = serve_with_full_file(&directory, 1354);
    let mut served_with = |is_full: bool| {
        if !is_full {
            empty(&log);
        }
        let mut server = Running::start(&mut full);
        let address = served(1354);
        if is_full {
            let text = format!("cannot write the log file {}: File too large", log.display());
            server.line(&text);
        }
        come_and_go(address, LOST);
        if is_full {
            empty(&log);
        }
        assert_eq!(server.stop(), Some(0));
        (read(&log), server.lines())
    };
    let (lossy, said) = served_with(true);
    assert_eq!(said.len(), 1, "said once: {said:?}");
    let (complete, said) = served_with(false);
    assert_eq!(said, [""; 0]);
    let (_, reason) = lossy.split_once(" lines of the log were lost here: ").expect("the loss is told");
    assert!(reason.starts_with("File too large"), "{lossy}");
    assert!(lossy.ends_with("Stopped, 0 lost\n"), "{lossy}");
    assert_eq!(lines(&lossy), lines(&complete), "each line was written or counted");
}

#[test]
fn a_log_whose_directory_was_removed_is_made_anew() {
    const LOST: usize = 20;
    let directory = Directory::new();
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let log = logs.join("server.log");
    let file = directory.file("server.ini", &on_port(1355, Some(&log)));
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(file).env(TALKATIVE.0, TALKATIVE.1));
    let address = served(1355);
    wait_until("it logs", || read(&log).contains("Throttle: "));
    fs::remove_dir_all(&logs).unwrap();
    come_and_go(address, LOST);
    server.line(&format!("cannot write the log file {}: No such file or directory", log.display()));
    fs::create_dir(&logs).unwrap();
    come_and_go(address, 1);
    wait_until("the new file has or counts all lines", || lines(&read(&log)) > LOST as u64);
    assert!(read(&log).contains(" lines of the log were lost here: No such file or directory"));
    assert_eq!(server.stop(), Some(0));
    assert_eq!(server.lines().len(), 1, "said once");
}

/// A server process whose standard error the test looks after; killed when the test ends.
struct Silent(Child);

impl Silent {
    fn start(command: &mut Command, error: Stdio) -> Silent {
        Silent(command.stdout(Stdio::null()).stderr(error).spawn().expect("the program is built"))
    }

    fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("the process is there");
        let mut ended = None;
        wait_until("it ends", || {
            ended = self.0.try_wait().expect("it is our child");
            ended.is_some()
        });
        ended.and_then(|status| status.code())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_no_call() {
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_port(1356, None));
    let mut command = command(BONEYARD);
    // A line or two of the poll for each connection; those of the server about clients are bounded.
    command.arg("serve").arg(file).env("RUST_LOG", "trace");
    let mut server = Silent::start(&mut command, Stdio::piped());
    let address = served(1356);
    let mut client = Raw::connect(address);
    // More lines than the pipe (64 KiB) and the channel (4,096) hold.
    for _ in 0..60 {
        come_and_go(address, 150);
        assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()));
    }
    let error = server.0.stderr.take().expect("it is piped");
    let read = std::thread::spawn(move || {
        let mut found = None;
        for line in BufReader::new(error).lines().map_while(Result::ok) {
            found = found.or_else(|| {
                line.strip_suffix(
                    " lines of the log were dropped here: they came faster than they could be written",
                )
                .map(str::to_owned)
            });
        }
        found
    });
    come_and_go(address, 1);
    assert_eq!(server.stop(), Some(0));
    let dropped = read.join().unwrap().expect("the log says what is missing");
    assert!(dropped.parse::<u64>().unwrap() > 0, "{dropped}");
}

#[test]
fn a_standard_error_that_is_closed_stops_nothing() {
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_port(1357, None));
    let mut command = command(BONEYARD);
    command.arg("serve").arg(file).env(TALKATIVE.0, TALKATIVE.1);
    let mut server = Silent::start(&mut command, Stdio::piped());
    drop(server.0.stderr.take());
    come_and_go(served(1357), 100);
    assert_eq!(server.stop(), Some(0));
}

/// A pipe into which nothing goes any more.
fn stuff(pipe: &PipeWriter) {
    let mut end = pipe.try_clone().unwrap();
    // Ends when the reading end is dropped.
    std::thread::spawn(move || while end.write_all(&[b'x'; 4096]).is_ok() {});
    let is_full = || poll(&mut [PollFd::new(pipe, PollFlags::OUT)], Some(&Timespec::default())) == Ok(0);
    wait_until("the pipe is full", is_full);
}

#[test]
fn a_full_disk_is_got_over_though_nobody_reads_the_complaint() {
    let directory = Directory::new();
    let (mut full, log) = serve_with_full_file(&directory, 1358);
    let (reader, writer) = std::io::pipe().unwrap();
    stuff(&writer);
    let mut server = Silent::start(&mut full, writer.into());
    let address = served(1358);
    come_and_go(address, 10);
    empty(&log);
    come_and_go(address, 1);
    wait_until("it logs again", || read(&log).contains(" lines of the log were lost here: File too large"));
    assert_eq!(server.stop(), Some(0));
    drop(reader);
}

/// As logrotate does it, again and again under load: no line is lost, no call is, and each file ends where the next
/// begins.
#[test]
fn a_renamed_log_goes_on_in_a_new_file_after_sighup() {
    const ROUNDS: usize = 5;
    let directory = Directory::new();
    let log = directory.path().join("server.log");
    let file = directory.file("server.ini", &on_port(1360, Some(&log)));
    let (name, value) = TALKATIVE;
    let mut server = Running::start(command(BONEYARD).arg("serve").arg(file).env(name, value));
    let address = served(1360);
    let mut client = Raw::connect(address);
    let old = |round: usize| directory.path().join(format!("server.log.{round}"));
    for round in 0..ROUNDS {
        fs::rename(&log, old(round)).unwrap();
        come_and_go(address, 20);
        assert!(!log.exists(), "a renamed file is written on");
        let mut calls: HashSet<u64> = (0..10).map(|_| client.send("server.ping", &())).collect();
        server.signal(Signal::HUP);
        wait_until("it is told in the new file", || read(&log).contains("SIGHUP: log file reopened"));
        while !calls.is_empty() {
            let frame = client.read().expect("an answer");
            assert!(calls.remove(&frame.header.call), "each once, in any order: two workers may run them");
        }
        wait_until("lines go to it", || {
            come_and_go(address, 1);
            read(&log).contains("connection closed, peer=")
        });
    }
    // What cannot be opened anew is written on.
    fs::rename(&log, old(ROUNDS)).unwrap();
    fs::create_dir(&log).unwrap();
    server.signal(Signal::HUP);
    wait_until("it is told in the old file", || read(&old(ROUNDS)).contains("SIGHUP: log file not reopened"));
    answers(address);
    assert_eq!(server.stop(), Some(0));
    assert!(read(&old(ROUNDS)).contains("Stopped, 0 lost"));
    let told: usize = (0..=ROUNDS).map(|n| read(&old(n)).matches("connection closed, peer=").count()).sum();
    assert!(told >= ROUNDS * 20, "{told} lines of {} connections at least", ROUNDS * 20);
}
