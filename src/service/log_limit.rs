//! The bound of all lines of the log that clients cause, by client and over all: a log must not grow as fast as
//! somebody can connect.
//!
//! Whoever logs what a client did asks first; what is left out is counted, and told of in one line now and then. What
//! the server and its administrator do is not asked for here. Half of the bound is kept for warnings and errors, so
//! that no crowd of sessions hides what is wrong. Time comes in as a value.
//!
//! Invariants: within [`PERIOD`] no client causes more than [`CLIENT_LINES`] lines and all together no more than
//! [`ALL_LINES`]; every line is written or counted; a client has an entry for a line that was written, so there are
//! never more entries than lines.

use super::ClientId;
use crate::sync::unordered::AtomicU64;
use crate::sync::{Mutex, Ordering};
use log::Level;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Over how long lines are counted, and between two lines that tell of what was left out.
const PERIOD: Duration = Duration::from_secs(10);

/// Lines that one client may cause in a period, half of them below a warning: a gateway that opens ten sessions a
/// second, with two lines for each, is told of in full.
const CLIENT_LINES: u32 = 500;

/// Lines that all clients may cause in a period, half of them below a warning. With 200 bytes each that is 30 kB/s.
const ALL_LINES: u32 = 1500;

/// Characters that are shown of a name that a client gave.
const NAME_CHARS_MAX: usize = 64;

/// Characters that are logged of the message of a panic.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Lines of the log about clients, counted.
#[derive(Debug, Default)]
pub struct LogLimiter {
    lines: Mutex<Lines>,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    /// When the period began.
    since: Option<Instant>,
    written: u32,
    clients: HashMap<ClientId, Client>,
    /// Left out since that was told last.
    left_out: u64,
    /// About whom most were left out in a period, and how many.
    most: Option<(ClientId, u64)>,
    /// When the first of them was left out.
    untold_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Client {
    written: u32,
    left_out: u64,
}

impl LogLimiter {
    /// May a line be written that a client caused? If not, it is counted. A line that nobody wants to see is neither.
    pub(crate) fn lets(&self, level: Level, client: ClientId, now: Instant) -> bool {
        level <= log::max_level() && self.has_room(level, client, now)
    }

    fn has_room(&self, level: Level, client: ClientId, now: Instant) -> bool {
        let half = if level <= Level::Warn { 1 } else { 2 };
        let mut lines = self.lines.lock();
        let lines = &mut *lines;
        if lines.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (lines.since, lines.written) = (Some(now), 0);
            lines.clients.clear();
        }
        let all = lines.written < ALL_LINES / half;
        if all {
            let of_client = lines.clients.entry(client).or_default();
            if of_client.written < CLIENT_LINES / half {
                of_client.written += 1;
                lines.written += 1;
                return true;
            }
        }
        if let Some(of_client) = lines.clients.get_mut(&client) {
            of_client.left_out += 1;
            if lines.most.is_none_or(|(_, most)| of_client.left_out > most) {
                lines.most = Some((client, of_client.left_out));
            }
        }
        lines.left_out += 1;
        lines.untold_since.get_or_insert(now);
        self.left_out.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Lines left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// What is to be told of lines left out: once in a period, or `reloadable`.
    pub(crate) fn news(&self, now: Instant, reloadable: bool) -> Option<SuppressedLines> {
        let mut lines = self.lines.lock();
        let since = lines.untold_since?;
        if !reloadable && now.saturating_duration_since(since) < PERIOD {
            return None;
        }
        lines.untold_since = None;
        Some(SuppressedLines { lines: std::mem::take(&mut lines.left_out), most: lines.most.take() })
    }
}

/// Lines that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SuppressedLines {
    pub(crate) lines: u64,
    /// About whom most were left out in a period, and how many.
    most: Option<(ClientId, u64)>,
}

impl fmt::Display for SuppressedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines;
        write!(f, "lines about clients left out here, which came faster than the log takes them: {lines}")?;
        match self.most {
            Some((client, most)) => write!(f, "; most of them, {most} in a period, about {client}"),
            None => Ok(()),
        }
    }
}

/// A name that a client gave, as much of it as is kept and shown.
pub(crate) fn cut_name(name: &str) -> &str {
    cut(name, NAME_CHARS_MAX)
}

/// The same as it is logged: what does not print is escaped, so that no name passes for more than it is.
pub(crate) fn name_in_line(name: &str) -> String {
    cut_name(&name.escape_debug().to_string()).to_owned()
}

/// What a handler said when it panicked, perhaps with what its client had sent, as much of it as is logged.
pub(crate) fn cut_message(message: &str) -> &str {
    cut(message, MESSAGE_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> ClientId {
        ClientId::of(Ipv4Addr::from(number).into())
    }

    /// How many of so many lines are written.
    fn written(bound: &LogLimiter, level: Level, number: u32, lines: u32, now: Instant) -> u32 {
        (0..lines).filter(|_| bound.has_room(level, client(number), now)).count() as u32
    }

    #[test]
    fn each_client_has_its_lines_and_all_together_have_theirs() {
        let (bound, start) = (LogLimiter::default(), Instant::now());
        assert_eq!(written(&bound, Level::Info, 1, 1000, start), CLIENT_LINES / 2);
        assert_eq!(written(&bound, Level::Warn, 1, 1000, start), CLIENT_LINES / 2, "kept for warnings");
        assert_eq!(written(&bound, Level::Info, 2, 10, start), 10, "another has its own");
        let all: u32 = (3..1000).map(|n| written(&bound, Level::Info, n, 3, start)).sum();
        assert_eq!(all, ALL_LINES / 2 - CLIENT_LINES - 10);
        assert!(bound.lines.lock().clients.len() <= ALL_LINES as usize);
        let warnings: u32 = (1000..9000).map(|n| written(&bound, Level::Error, n, 1, start)).sum();
        assert_eq!(warnings, ALL_LINES / 2);
        assert!(bound.lines.lock().clients.len() <= ALL_LINES as usize);
        assert_eq!(bound.left_out(), 2010 + 3 * 997 + 8000 - u64::from(ALL_LINES));
        assert_eq!(written(&bound, Level::Info, 1, 1000, start + PERIOD), CLIENT_LINES / 2, "a new period");
    }

    #[test]
    fn what_was_left_out_is_told_once_in_a_period() {
        let (bound, start) = (LogLimiter::default(), Instant::now());
        assert!(bound.news(start, true).is_none());
        written(&bound, Level::Warn, 1, CLIENT_LINES, start);
        assert!(bound.news(start + PERIOD, true).is_none(), "nothing was left out");
        written(&bound, Level::Warn, 1, 7, start);
        written(&bound, Level::Info, 2, CLIENT_LINES, start);
        assert!(bound.news(start + PERIOD / 2, false).is_none());
        let told = bound.news(start + PERIOD, false).unwrap().to_string();
        assert!(told.ends_with(": 257; most of them, 250 in a period, about 0.0.0.2"), "{told}");
        assert!(bound.news(start + 9 * PERIOD, true).is_none());
        written(&bound, Level::Warn, 1, CLIENT_LINES + 1, start + PERIOD);
        assert!(bound.news(start + PERIOD, true).is_some_and(|told| told.lines == 1));
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!((cut_name("boneyard-client 1"), cut_name("")), ("boneyard-client 1", ""));
        assert_eq!(cut_name(&"ä".repeat(70)), "ä".repeat(NAME_CHARS_MAX));
        assert_eq!(name_in_line(&"\u{202e}".repeat(70)), "\\u{202e}".repeat(NAME_CHARS_MAX / 8));
        assert_eq!(cut_message(&"x".repeat(5000)).len(), MESSAGE_CHARS_MAX);
    }
}
