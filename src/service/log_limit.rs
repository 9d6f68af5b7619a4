//! Rate limit on log lines that clients cause, for each client and over all: a log must not grow as fast as a client
//! can connect.
//!
//! Code that logs an action of a client checks here first. Suppressed lines are counted and reported in one line now
//! and then. Half of the limit is kept for warnings and errors, so that many sessions do not hide a fault. Time comes
//! in as a value.
//!
//! Invariants: within [`PERIOD`] no client causes more than [`CLIENT_LINES`] lines and all together no more than
//! [`ALL_LINES`]; every line is written or counted; a client has an entry for a line that was written, so there are
//! never more entries than lines.
//!
//! Does not limit lines about the server itself or its administrator.

use super::client_id::ClientId;
use crate::sync::unordered::AtomicU64;
use crate::sync::{Mutex, Ordering};
use log::Level;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Period over which lines are counted, and between two reports of suppressed lines.
const PERIOD: Duration = Duration::from_secs(10);

/// Limit on the lines of one client in a period, half of them below a warning: a gateway that opens ten sessions a
/// second, with two lines for each, is logged in full.
const CLIENT_LINES: u32 = 500;

/// Limit on the lines of all clients in a period, half of them below a warning. With 200 bytes each that is 30 kB/s.
const ALL_LINES: u32 = 1500;

/// Limit on the characters shown of a client's name for itself.
const NAME_CHARS_MAX: usize = 64;

/// Limit on the characters logged of a panic's message.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Limits the log lines about clients.
#[derive(Debug, Default)]
pub struct LogLimiter {
    lines: Mutex<Lines>,
    suppressed: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    /// Start of the period.
    since: Option<Instant>,
    written: u32,
    clients: HashMap<ClientId, ClientLines>,
    /// Lines suppressed since the last report.
    suppressed: u64,
    /// The client with the most lines suppressed in a period, and their number.
    most: Option<(ClientId, u64)>,
    /// Time when the first of them was suppressed.
    unreported_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct ClientLines {
    written: u32,
    suppressed: u64,
}

impl LogLimiter {
    /// Returns whether a line about a client may be written; if not, it is counted. A line below the log's level is
    /// neither written nor counted.
    pub(crate) fn allows(&self, level: Level, client: ClientId, now: Instant) -> bool {
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
            of_client.suppressed += 1;
            if lines.most.is_none_or(|(_, most)| of_client.suppressed > most) {
                lines.most = Some((client, of_client.suppressed));
            }
        }
        lines.suppressed += 1;
        lines.unreported_since.get_or_insert(now);
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Returns the number of lines suppressed since the start.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Takes the report on suppressed lines, if there are any: once in a period, or `at_once`.
    pub(crate) fn take_report(&self, now: Instant, at_once: bool) -> Option<SuppressedLines> {
        let mut lines = self.lines.lock();
        let since = lines.unreported_since?;
        if !at_once && now.saturating_duration_since(since) < PERIOD {
            return None;
        }
        lines.unreported_since = None;
        Some(SuppressedLines { lines: std::mem::take(&mut lines.suppressed), most: lines.most.take() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SuppressedLines {
    pub(crate) lines: u64,
    /// The client with the most lines suppressed in a period, and their number.
    most: Option<(ClientId, u64)>,
}

impl fmt::Display for SuppressedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lines about clients suppressed (rate limit of the log), lines={}", self.lines)?;
        match self.most {
            Some((client, most)) => write!(f, " most={most} client={client}"),
            None => Ok(()),
        }
    }
}

/// Cuts a client's name for itself to the part that is kept and shown.
pub(crate) fn cut_name(name: &str) -> &str {
    cut(name, NAME_CHARS_MAX)
}

/// Cuts a client's name for the log and escapes what does not print, so that it cannot spoil the line.
pub(crate) fn name_in_line(name: &str) -> String {
    cut_name(&name.escape_debug().to_string()).to_owned()
}

/// Cuts a panic's message, which may hold what a client sent, to the part that is logged.
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

    /// Returns how many of `lines` lines are written.
    fn written(limiter: &LogLimiter, level: Level, number: u32, lines: u32, now: Instant) -> u32 {
        (0..lines).filter(|_| limiter.has_room(level, client(number), now)).count() as u32
    }

    #[test]
    fn each_client_has_its_lines_and_all_together_have_theirs() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        assert_eq!(written(&limiter, Level::Info, 1, 1000, start), CLIENT_LINES / 2);
        assert_eq!(written(&limiter, Level::Warn, 1, 1000, start), CLIENT_LINES / 2, "kept for warnings");
        assert_eq!(written(&limiter, Level::Info, 2, 10, start), 10, "another has its own");
        let all: u32 = (3..1000).map(|n| written(&limiter, Level::Info, n, 3, start)).sum();
        assert_eq!(all, ALL_LINES / 2 - CLIENT_LINES - 10);
        assert!(limiter.lines.lock().clients.len() <= ALL_LINES as usize);
        let warnings: u32 = (1000..9000).map(|n| written(&limiter, Level::Error, n, 1, start)).sum();
        assert_eq!(warnings, ALL_LINES / 2);
        assert!(limiter.lines.lock().clients.len() <= ALL_LINES as usize);
        assert_eq!(limiter.suppressed(), 2010 + 3 * 997 + 8000 - u64::from(ALL_LINES));
        assert_eq!(written(&limiter, Level::Info, 1, 1000, start + PERIOD), CLIENT_LINES / 2, "a new period");
    }

    #[test]
    fn suppressed_lines_are_reported_once_in_a_period() {
        let (limiter, start) = (LogLimiter::default(), Instant::now());
        assert!(limiter.take_report(start, true).is_none());
        written(&limiter, Level::Warn, 1, CLIENT_LINES, start);
        assert!(limiter.take_report(start + PERIOD, true).is_none(), "nothing was suppressed");
        written(&limiter, Level::Warn, 1, 7, start);
        written(&limiter, Level::Info, 2, CLIENT_LINES, start);
        assert!(limiter.take_report(start + PERIOD / 2, false).is_none());
        let report = limiter.take_report(start + PERIOD, false).unwrap().to_string();
        assert!(report.ends_with(", lines=257 most=250 client=0.0.0.2"), "{report}");
        assert!(limiter.take_report(start + 9 * PERIOD, true).is_none());
        written(&limiter, Level::Warn, 1, CLIENT_LINES + 1, start + PERIOD);
        assert!(limiter.take_report(start + PERIOD, true).is_some_and(|report| report.lines == 1));
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!((cut_name("boneyard-client 1"), cut_name("")), ("boneyard-client 1", ""));
        assert_eq!(cut_name(&"ä".repeat(70)), "ä".repeat(NAME_CHARS_MAX));
        assert_eq!(name_in_line(&"\u{202e}".repeat(70)), "\\u{202e}".repeat(NAME_CHARS_MAX / 8));
        assert_eq!(cut_message(&"x".repeat(5000)).len(), MESSAGE_CHARS_MAX);
    }
}
