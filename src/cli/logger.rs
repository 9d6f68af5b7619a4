//! Log of a serving program: `env_logger`, a bounded channel behind it, and one thread that writes.
//!
//! `env_logger` writes under a lock, so a standard error that is not read, or a slow disk, would block every worker
//! that logs. Here a line is put into the channel instead. A line for which the channel has no room is dropped and
//! counted, and the count is written in place of the missing lines as soon as there is room.
//!
//! Invariants: logging never blocks and never fails; one record is one line; a line is written or counted; a slow or
//! full log holds at most [`LINES_MAX`] lines of [`LINE_CHARS_MAX`] characters in memory. Does not know servers.

use crate::files;
use crate::sync::unordered::{AtomicBool, AtomicU64};
use crate::sync::{Arc, Ordering, Receiver, Sender, bounded};
use env_logger::fmt::Formatter;
use log::{LevelFilter, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{consts::SIGXFSZ, flag};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait to be written.
const LINES_MAX: usize = 4096;

/// Longest message, in characters; the rest is cut off.
const LINE_CHARS_MAX: usize = 8192;

/// Handle of the running log.
#[derive(Debug)]
pub(super) struct Logger {
    entries: Sender<Entry>,
    to_file: bool,
    is_set_by_settings: bool,
}

/// Entry of the channel.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// This many lines are missing here.
    Dropped(u64),
    /// Notify the sender: all earlier entries are written.
    Flush(Sender<()>),
    /// Reopen the file before the next entry, and send the result.
    Reopen(Sender<io::Result<()>>),
}

impl Logger {
    /// Starts the log of this process. `RUST_LOG` overrides `level`. A file that cannot be opened is reported on
    /// standard error, which is then used instead. A logger that the program has set before stays in use.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub(super) fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<Logger> {
        // A log that reaches `ulimit -f` must not end the process: with the signal handled, the write fails instead.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::default()))?;
        let (sink, name): (Box<dyn LogSink>, _) = match file.map(LogFile::open) {
            Some(Ok(file)) => {
                let name = file.path.display().to_string();
                (Box::new(file), Some(name))
            }
            Some(Err(message)) => {
                report(&format!("{message}; logging to standard error"));
                (Box::new(io::stderr()), None)
            }
            None => (Box::new(io::stderr()), None),
        };
        let to_file = name.is_some();
        let (sender, entries) = start_writer(sink, name, LINES_MAX)?;
        let target = env_logger::Target::Pipe(Box::new(sender));
        let mut builder = env_logger::Builder::new();
        // A level that may change later is applied by the maximum level of the process, not by this filter.
        let by_settings = std::env::var_os(env_logger::DEFAULT_FILTER_ENV).is_none();
        let filter = if by_settings { LevelFilter::Trace } else { level };
        builder.filter_level(filter).parse_default_env().format(write_record).target(target);
        // An error means that the program has a logger of its own.
        let is_set_by_settings = builder.try_init().is_ok() && by_settings;
        if is_set_by_settings {
            log::set_max_level(level);
        }
        Ok(Logger { entries, to_file, is_set_by_settings })
    }

    /// Returns whether the log goes to a file, and is therefore not visible on the terminal.
    pub(super) fn is_to_file(&self) -> bool {
        self.to_file
    }

    /// Returns whether `Log_Level` decides what is logged. Otherwise `RUST_LOG` or the program's own logger does.
    pub(super) fn is_set_by_settings(&self) -> bool {
        self.is_set_by_settings
    }

    /// Reopens the log file at its path, as after a rename; earlier lines go to the old file. Returns the result in
    /// words. Waits at most `timeout` for a slow disk.
    pub(super) fn reopen(&self, timeout: Duration) -> String {
        if !self.to_file {
            return "log not reopened, it goes to standard error".to_owned();
        }
        let deadline = Instant::now() + timeout;
        let (sender, result) = bounded(1);
        let sent = self.entries.send_timeout(Entry::Reopen(sender), timeout).is_ok();
        match result.recv_deadline(deadline).ok().filter(|_| sent) {
            Some(Ok(())) => "log file reopened".to_owned(),
            Some(Err(error)) => format!("log file not reopened, still writing to the old one, error={error}"),
            None => "log file not reopened yet, the disk is slow".to_owned(),
        }
    }

    /// Waits until all lines so far are written, at most `timeout`.
    pub(super) fn flush(&self, timeout: Duration) {
        flush(&self.entries, timeout);
    }
}

fn flush(entries: &Sender<Entry>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let (done, written) = bounded(1);
    if entries.send_timeout(Entry::Flush(done), timeout).is_ok() {
        // The program ends even if the lines are not written in time.
        written.recv_deadline(deadline).ok();
    }
}

/// Creates the channel and the thread that writes its entries to `sink`.
fn start_writer(
    sink: Box<dyn LogSink>,
    name: Option<String>,
    lines_max: usize,
) -> io::Result<(LogSender, Sender<Entry>)> {
    let (sender, entries) = bounded(lines_max);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = Writer { sink, name, entries, dropped: Arc::clone(&dropped), lost: None };
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
    Ok((LogSender { entries: sender.clone(), dropped }, sender))
}

/// Target of `env_logger`, which writes one whole record at a time, under its lock.
#[derive(Debug)]
struct LogSender {
    entries: Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for LogSender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Relaxed: a count, which orders no other access.
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 && self.entries.try_send(Entry::Dropped(dropped)).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        } else if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Destination of the log.
trait LogSink: Write + Send {
    /// Reopens a destination that has a path.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogSink for io::Stderr {}

impl LogSink for LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = files::append(&self.path)?;
        Ok(())
    }
}

/// The log file, created again at its path after it was deleted. A file that was only renamed stays in use until it is
/// reopened.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: &Path) -> Result<LogFile, String> {
        let opened = files::append(path);
        opened
            .map(|file| LogFile { path: path.to_owned(), file })
            .map_err(|error| format!("cannot open the log file {}: {error}", path.display()))
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Writing to a deleted file succeeds, but the text is lost.
        if self.file.metadata()?.nlink() == 0 {
            self.file = files::append(&self.path)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing thread, which may block.
struct Writer {
    sink: Box<dyn LogSink>,
    /// Name of the log file; `None` is standard error.
    name: Option<String>,
    entries: Receiver<Entry>,
    dropped: Arc<AtomicU64>,
    /// Lines lost since the last successful write, and the error of the last of them.
    lost: Option<(u64, io::Error)>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(entry) = self.entries.recv() {
            match entry {
                Entry::Line(line) => self.write(&line, 1),
                Entry::Dropped(count) => self.write_dropped(count),
                Entry::Flush(done) => {
                    self.write_all_dropped();
                    // The receiver may have timed out.
                    done.send(()).ok();
                }
                Entry::Reopen(done) => {
                    self.write_all_dropped();
                    done.send(self.sink.reopen()).ok();
                }
            }
            // Otherwise the count would wait for the next line, possibly for a long time.
            if self.entries.is_empty() {
                self.write_all_dropped();
            }
        }
    }

    fn write_all_dropped(&mut self) {
        let count = self.dropped.swap(0, Ordering::Relaxed);
        self.write_dropped(count);
    }

    fn write_dropped(&mut self, count: u64) {
        if count > 0 {
            let text = format!(
                "{count} lines of the log were dropped here: they came faster than they could be written\n"
            );
            self.write(text.as_bytes(), count);
        }
    }

    /// Writes text that represents `lines` lines of the log.
    fn write(&mut self, text: &[u8], lines: u64) {
        let written = match &self.lost {
            None => self.sink.write_all(text),
            Some((lost, error)) => {
                // The first of them may have been written in part.
                let loss = format!("\n{lost} lines of the log were lost here: {error}\n");
                self.sink.write_all(&[loss.as_bytes(), text].concat())
            }
        };
        let Err(error) = written else {
            self.lost = None;
            return;
        };
        if let (None, Some(name)) = (&self.lost, &self.name) {
            report(&format!(
                "cannot write the log file {name}: {error}; lines are lost until it can be written again"
            ));
        }
        let before = self.lost.take().map_or(0, |(lost, _)| lost);
        self.lost = Some((before + lines, error));
    }
}

/// Prints a line to standard error, unless that would block or fail.
fn report(message: &str) {
    let mut line = message.to_owned();
    line.push('\n');
    let error = io::stderr();
    let mut ends = [PollFd::new(&error, PollFlags::OUT)];
    // A writable pipe accepts 4 KiB at once.
    if line.len() <= 4096 && poll(&mut ends, Some(&Timespec::default())) == Ok(1) {
        error.lock().write_all(line.as_bytes()).ok();
    }
}

/// `2026-01-31T12:00:00.000Z INFO  target: message`.
fn write_record(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
    let message = one_line(&record.args().to_string());
    writeln!(out, "{time} {level:5} {target}: {message}")
}

/// Returns the text with control characters escaped, so that no peer's text can pass for a line of the log.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LINE_CHARS_MAX));
    for (index, char) in text.chars().enumerate() {
        if index == LINE_CHARS_MAX {
            line.push_str(" [cut]");
            break;
        }
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A sink that blocks while `gate` is locked, and fails for the next `failures_left` writes.
    #[derive(Clone, Default)]
    struct TestSink {
        written: Arc<Mutex<String>>,
        failures_left: Arc<AtomicU64>,
        gate: Arc<Mutex<()>>,
    }

    impl LogSink for TestSink {}

    impl Write for TestSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock();
            if self.failures_left.load(Ordering::SeqCst) > 0 {
                self.failures_left.fetch_sub(1, Ordering::SeqCst);
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines written, and the sum of the counts of missing lines.
    fn read(sink: &TestSink) -> (Vec<usize>, u64) {
        let text = sink.written.lock().clone();
        let (lines, losses): (Vec<_>, Vec<_>) = text
            .lines()
            .filter(|line| !line.is_empty())
            .partition(|line| !line.contains(" lines of the log"));
        let count = |loss: &&str| loss.split(' ').next().unwrap().parse::<u64>().unwrap();
        (lines.iter().map(|line| line.parse().unwrap()).collect(), losses.iter().map(count).sum())
    }

    #[test]
    fn a_blocked_writer_blocks_no_logging_and_every_line_is_written_or_counted() {
        let sink = TestSink::default();
        let (mut sender, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        let closed = sink.gate.lock();
        for n in 0..10 {
            // Returns although the gate is closed.
            sender.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        flush(&entries, Duration::from_millis(1));
        drop(closed);
        flush(&entries, TIMEOUT);
        let (lines, dropped) = read(&sink);
        assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>(), "the first ones, in order");
        assert!((4..=5).contains(&lines.len()), "four in the channel, and one in the writer: {lines:?}");
        assert_eq!(lines.len() as u64 + dropped, 10);
        sender.write_all(b"10\n").unwrap();
        flush(&entries, TIMEOUT);
        assert!(
            sink.written.lock().ends_with("dropped here: they came faster than they could be written\n10\n")
        );
    }

    #[test]
    fn a_full_disk_loses_and_counts_lines_until_it_has_room_again() {
        let sink = TestSink { failures_left: Arc::new(AtomicU64::new(2)), ..TestSink::default() };
        let (mut sender, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        for n in 0..4 {
            sender.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        flush(&entries, TIMEOUT);
        assert_eq!(read(&sink), (vec![2, 3], 2));
        let text = sink.written.lock().clone();
        assert!(text.starts_with("\n2 lines of the log were lost here: no storage space\n2\n"), "{text}");
    }

    #[test]
    fn lines_dropped_before_a_full_disk_are_counted_too() {
        let sink = TestSink { failures_left: Arc::new(AtomicU64::new(6)), ..TestSink::default() };
        let (mut sender, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        let closed = sink.gate.lock();
        for n in 0..10 {
            sender.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        drop(closed);
        // Four or five lines, and the line with the count: none of them is written.
        flush(&entries, TIMEOUT);
        sink.failures_left.store(0, Ordering::SeqCst);
        sender.write_all(b"10\n").unwrap();
        flush(&entries, TIMEOUT);
        assert_eq!(read(&sink), (vec![10], 10));
    }

    #[test]
    fn a_record_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\r\u{1b}[0m ä"), "a\\nb\\r\\u{1b}[0m ä");
        let long = one_line(&"x".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(long.len(), LINE_CHARS_MAX + " [cut]".len());
    }
}
