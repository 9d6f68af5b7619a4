//! How the console writes: labels, columns, times, sizes, and foreign text made harmless.
//!
//! Knows text alone.

pub(super) use crate::monitor::format::Side::{Left, Right};
pub(super) use crate::monitor::format::{elapsed, plural};

use crate::monitor::format::{Side, table};
use std::fmt::{Display, Write};
use std::time::Duration;

/// Columns of a label, as in Domino.
const LABEL: usize = 24;

/// Rows of a list that are shown. What is over it is counted.
const ROWS_MAX: usize = 1000;

/// Text in the making.
#[derive(Debug, Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    /// A line as it is.
    pub(super) fn say(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        writeln!(self.0, "{line}").ok();
    }

    /// A label in its columns, and what it says.
    pub(super) fn label(&mut self, label: &str, value: impl Display) {
        writeln!(self.0, "{:LABEL$}{value}", format!("{label}:")).ok();
    }

    /// Rows under headings, no more than [`ROWS_MAX`].
    pub(super) fn table<const N: usize>(
        &mut self,
        headings: [(&str, Side); N],
        rows: impl ExactSizeIterator<Item = [String; N]>,
    ) {
        let more = rows.len().saturating_sub(ROWS_MAX);
        self.0 += &table(headings, &rows.take(ROWS_MAX).collect::<Vec<_>>());
        if more > 0 {
            self.say(format_args!("  ... and {more} more"));
        }
    }
}

/// Milliseconds to the microsecond.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

/// Minutes to the tenth.
pub(super) fn minutes(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

/// A size with a unit that leaves it short.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * power) > 0);
    match unit {
        Some((power @ 1.., unit)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << (10 * power)) as f64),
        _ => format!("{bytes} B"),
    }
}

/// A bound that may be absent.
pub(super) fn or_none(limit: Option<impl Display>) -> String {
    limit.map_or("none".to_owned(), |limit| limit.to_string())
}

/// Foreign text on one line, with nothing in it that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => plain.push(char),
            // Escapes whatever does not print.
            _ => plain.extend(char.escape_debug()),
        }
    }
    plain
}

/// The same of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(&line.replace('\t', "    ")) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!(
            [0, 1023, 1024, 1 << 30, u64::MAX].map(size).join(", "),
            "0 B, 1023 B, 1.0 KiB, 1.0 GiB, 16777216.0 TiB"
        );
        assert_eq!(ms(Duration::from_nanos(1_234_567)), "1.235");
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(plain("a\u{1b}[2J\"ä\"\r\n\u{202e}"), "a\\u{1b}[2J\"ä\"\\r\\n\\u{202e}");
        assert_eq!(plain_lines("a\tb\n\u{7}"), "a    b\n\\u{7}\n");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let mut page = Page::default();
        page.table(
            [("Name", Left), ("N", Right)],
            (0..ROWS_MAX + 2).map(|n| ["x".to_owned(), n.to_string()]),
        );
        assert!(page.0.starts_with("  Name    N\n  x       0\n"), "{}", &page.0[..40]);
        assert!(page.0.ends_with("  x     999\n  ... and 2 more\n"));
    }
}
