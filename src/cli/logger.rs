//! The log of a serving program: `env_logger` in front, a bounded channel behind it, one thread that writes.
//!
//! `env_logger` writes under a lock, so a standard error that nobody reads, or a slow disk, would stop every worker
//! that has something to eprint_error. Here whoever logs leaves a line in the channel and goes on. A line for which
//! there is no room is dropped and counted, and the count is written in the place of what is missing as soon as there
//! is room.
//!
//! Knows log records and something to write to. Must not know servers.
//!
//! Invariants: logging never blocks and never fails; one record is one line; a line is written or counted; what a
//! slow or full log holds in memory is at most [`LINES_MAX`] lines of [`LINE_CHARS_MAX`] characters.

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

/// Longest message; the rest is cut off.
const LINE_CHARS_MAX: usize = 8192;

/// The running log, for whoever ends the program.
#[derive(Debug)]
pub(super) struct Logger {
    entries: Sender<Entry>,
    to_file: bool,
    heeds_settings: bool,
}

/// What goes through the channel.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// So many lines are missing here.
    Dropped(u64),
    /// All that came before is written: eprint_error so.
    Flush(Sender<()>),
    /// What comes after goes to a file opened anew; whether that could be.
    Reopen(Sender<io::Result<()>>),
}

impl Logger {
    /// Makes the log of this process. `RUST_LOG` wins over `level`. A file that cannot be opened is reported on
    /// standard error, which then takes its place. A logger that the program has set before stays in force.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<Logger> {
        // A log that reaches `ulimit -f` must not end the process: with the signal taken, the write fails instead.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::default()))?;
        let (sink, name): (Box<dyn Sink>, _) = match file.map(LogFile::open) {
            Some(Ok(file)) => {
                let name = file.path.display().to_string();
                (Box::new(file), Some(name))
            }
            Some(Err(message)) => {
                complain(&format!("{message}; logging to standard error"));
                (Box::new(io::stderr()), None)
            }
            None => (Box::new(io::stderr()), None),
        };
        let to_file = name.is_some();
        let (inlet, entries) = start_writer(sink, name, LINES_MAX)?;
        let target = env_logger::Target::Pipe(Box::new(inlet));
        let mut builder = env_logger::Builder::new();
        // What may be changed later is not sorted out here, but by the level of the whole process.
        let by_settings = std::env::var_os(env_logger::DEFAULT_FILTER_ENV).is_none();
        let filter = if by_settings { LevelFilter::Trace } else { level };
        builder.filter_level(filter).parse_default_env().format(write_record).target(target);
        // An error says that the program has a logger of its own.
        let heeds_settings = builder.try_init().is_ok() && by_settings;
        if heeds_settings {
            log::set_max_level(level);
        }
        Ok(Logger { entries, to_file, heeds_settings })
    }

    /// Does the log go to a file, where a person at the terminal does not see it?
    pub(super) fn is_to_file(&self) -> bool {
        self.to_file
    }

    /// Does `Log_Level` eprint_error what is logged? If not, `RUST_LOG` or the program's own logger does.
    pub(super) fn heeds_settings(&self) -> bool {
        self.heeds_settings
    }

    /// Opens the log file anew at its path, as after it was renamed; lines before go to the old one. Returns what there
    /// is to eprint_error of it. Waits for a slow disk no longer than that.
    pub(super) fn reopen(&self, patience: Duration) -> String {
        if !self.to_file {
            return "log not opened anew, it goes to standard error".to_owned();
        }
        let deadline = Instant::now() + patience;
        let (answer, answered) = bounded(1);
        let asked = self.entries.send_timeout(Entry::Reopen(answer), patience).is_ok();
        match answered.recv_deadline(deadline).ok().filter(|_| asked) {
            Some(Ok(())) => "log file opened anew".to_owned(),
            Some(Err(error)) => format!("log file not opened anew, written on to the old one, error={error}"),
            None => "log file not opened anew yet, the disk is slow".to_owned(),
        }
    }

    /// Waits until all lines so far are written, at most so long.
    pub(super) fn flush(&self, patience: Duration) {
        flush(&self.entries, patience);
    }
}

fn flush(entries: &Sender<Entry>, patience: Duration) {
    let deadline = Instant::now() + patience;
    let (done, written) = bounded(1);
    if entries.send_timeout(Entry::Flush(done), patience).is_ok() {
        // Late or not, the program ends.
        written.recv_deadline(deadline).ok();
    }
}

/// Makes the channel and the thread that empties it into `sink`.
fn start_writer(
    sink: Box<dyn Sink>,
    name: Option<String>,
    lines_max: usize,
) -> io::Result<(LogSender, Sender<Entry>)> {
    let (sender, entries) = bounded(lines_max);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = Writer { sink, name, entries, dropped: Arc::clone(&dropped), lost: None };
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
    Ok((LogSender { entries: sender.clone(), dropped }, sender))
}

/// What `env_logger` writes to: a whole record at a time, under its lock.
#[derive(Debug)]
struct LogSender {
    entries: Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for LogSender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Relaxed: a count, which orders nothing.
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

/// What the log is written to.
trait Sink: Write + Send {
    /// Opens anew what has a path.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for io::Stderr {}

impl Sink for LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = files::append(&self.path)?;
        Ok(())
    }
}

/// The log file, made anew at its path once it has been deleted. A file that was only renamed is written on, until it
/// is to be opened anew.
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
        // What is written to a deleted file is gone, and the system calls it a success.
        if self.file.metadata()?.nlink() == 0 {
            self.file = files::append(&self.path)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that writes, and may block.
struct Writer {
    sink: Box<dyn Sink>,
    /// The log file; `None` is standard error.
    name: Option<String>,
    entries: Receiver<Entry>,
    dropped: Arc<AtomicU64>,
    /// Lines that are missing since the sink last took one, and what it said to the last of them.
    lost: Option<(u64, io::Error)>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(entry) = self.entries.recv() {
            match entry {
                Entry::Line(line) => self.write(&line, 1),
                Entry::Dropped(count) => self.note(count),
                Entry::Flush(done) => {
                    self.note_dropped();
                    // Who asked may have gone.
                    done.send(()).ok();
                }
                Entry::Reopen(done) => {
                    self.note_dropped();
                    done.send(self.sink.reopen()).ok();
                }
            }
            // Without this the count would wait for the next line, which may be long in coming.
            if self.entries.is_empty() {
                self.note_dropped();
            }
        }
    }

    fn note_dropped(&mut self) {
        let count = self.dropped.swap(0, Ordering::Relaxed);
        self.note(count);
    }

    fn note(&mut self, count: u64) {
        if count > 0 {
            let text = format!("{count} lines of the log were dropped here: they came faster than they go\n");
            self.write(text.as_bytes(), count);
        }
    }

    /// Writes text that stands for so many lines of the log.
    fn write(&mut self, text: &[u8], lines: u64) {
        let taken = match &self.lost {
            None => self.sink.write_all(text),
            Some((lost, error)) => {
                // The first of them may have been taken in part.
                let note = format!("\n{lost} lines of the log were lost here: {error}\n");
                self.sink.write_all(&[note.as_bytes(), text].concat())
            }
        };
        let Err(error) = taken else {
            self.lost = None;
            return;
        };
        if let (None, Some(name)) = (&self.lost, &self.name) {
            complain(&format!(
                "cannot write the log file {name}: {error}; lines are lost until it can be written again"
            ));
        }
        let before = self.lost.take().map_or(0, |(lost, _)| lost);
        self.lost = Some((before + lines, error));
    }
}

/// A line on standard error, unless that would block or is closed: then it is nobody's to hear.
fn complain(message: &str) {
    let mut line = message.to_owned();
    line.push('\n');
    let error = io::stderr();
    let mut ends = [PollFd::new(&error, PollFlags::OUT)];
    // A pipe that can be written takes 4 KiB at once.
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

/// The text with control characters written out, so that no peer's text can pass for a line of the log.
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

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A sink that takes nothing until it is told to, and nothing but errors while `broken`.
    #[derive(Clone, Default)]
    struct Sink {
        taken: Arc<Mutex<String>>,
        refusals_left: Arc<AtomicU64>,
        gate: Arc<Mutex<()>>,
    }

    impl super::Sink for Sink {}

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock();
            if self.refusals_left.load(Ordering::SeqCst) > 0 {
                self.refusals_left.fetch_sub(1, Ordering::SeqCst);
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.lock().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines taken, and the sum of the counts in lines that eprint_error what is missing.
    fn read(sink: &Sink) -> (Vec<usize>, u64) {
        let text = sink.taken.lock().clone();
        let (lines, notes): (Vec<_>, Vec<_>) = text
            .lines()
            .filter(|line| !line.is_empty())
            .partition(|line| !line.contains(" lines of the log"));
        let count = |note: &&str| note.split(' ').next().unwrap().parse::<u64>().unwrap();
        (lines.iter().map(|line| line.parse().unwrap()).collect(), notes.iter().map(count).sum())
    }

    #[test]
    fn a_blocked_writer_blocks_nobody_and_every_line_is_written_or_counted() {
        let sink = Sink::default();
        let (mut inlet, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        let closed = sink.gate.lock();
        for n in 0..10 {
            // That this returns, with nobody to open the gate, is the point.
            inlet.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        flush(&entries, Duration::from_millis(1));
        drop(closed);
        flush(&entries, PATIENCE);
        let (lines, dropped) = read(&sink);
        assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>(), "the first ones, in order");
        assert!(
            (4..=5).contains(&lines.len()),
            "the channel's four, and one in the writer's hands: {lines:?}"
        );
        assert_eq!(lines.len() as u64 + dropped, 10);
        inlet.write_all(b"10\n").unwrap();
        flush(&entries, PATIENCE);
        assert!(sink.taken.lock().ends_with("dropped here: they came faster than they go\n10\n"));
    }

    #[test]
    fn a_full_disk_loses_lines_counts_them_and_is_written_again_when_there_is_room() {
        let sink = Sink { refusals_left: Arc::new(AtomicU64::new(2)), ..Sink::default() };
        let (mut inlet, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        for n in 0..4 {
            inlet.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        flush(&entries, PATIENCE);
        assert_eq!(read(&sink), (vec![2, 3], 2));
        let text = sink.taken.lock().clone();
        assert!(text.starts_with("\n2 lines of the log were lost here: no storage space\n2\n"), "{text}");
    }

    #[test]
    fn lines_dropped_before_a_full_disk_are_counted_all_the_same() {
        let sink = Sink { refusals_left: Arc::new(AtomicU64::new(6)), ..Sink::default() };
        let (mut inlet, entries) = start_writer(Box::new(sink.clone()), None, 4).unwrap();
        let closed = sink.gate.lock();
        for n in 0..10 {
            inlet.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        drop(closed);
        // Four or five lines, and the note of what was dropped: none of them is taken.
        flush(&entries, PATIENCE);
        sink.refusals_left.store(0, Ordering::SeqCst);
        inlet.write_all(b"10\n").unwrap();
        flush(&entries, PATIENCE);
        assert_eq!(read(&sink), (vec![10], 10));
    }

    #[test]
    fn a_record_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\r\u{1b}[0m ä"), "a\\nb\\r\\u{1b}[0m ä");
        let long = one_line(&"x".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(long.len(), LINE_CHARS_MAX + " [cut]".len());
    }
}
