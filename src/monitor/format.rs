//! Text in columns, and what stands in them: times, numbers, and names that others chose; and the patterns that choose
//! among names.

use std::fmt::Display;
use std::time::Duration;

/// Characters of a foreign name that are shown.
const NAME_CHARS_MAX: usize = 80;

/// `1 connection`, `2 connections`.
pub(super) fn plural(count: impl Display, what: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// On which side of a column its cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows below their headings, two blanks before each column.
pub(super) fn table<const N: usize>(headings: [(&str, Side); N], rows: &[[String; N]]) -> String {
    let heads = headings.map(|(heading, _)| heading.to_owned());
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = rows.iter().chain([&heads]).map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cell = |column: usize| match headings[column].1 {
            Side::Left => format!("  {:<1$}", row[column], widths[column]),
            Side::Right => format!("  {:>1$}", row[column], widths[column]),
        };
        let cells: String = (0..N).map(cell).collect();
        format!("{}\n", cells.trim_end())
    };
    [&heads].into_iter().chain(rows).map(line).collect()
}

/// The calls that a call is made for. Those that this server does not know itself come quoted; what would spoil a line
/// is escaped.
pub(super) fn made_for(chain: &[String]) -> String {
    // Quotes and backslashes stay: another's name comes quoted.
    let stays = |char: char| matches!(char, '"' | '\'' | '\\');
    let shown = |char: char| {
        let escaped = (!stays(char)).then(|| char.escape_debug());
        escaped.into_iter().flatten().chain(stays(char).then_some(char))
    };
    let name = |name: &String| {
        let mut chars = name.chars().flat_map(shown);
        let beginning: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
        let more = if chars.next().is_some() { "..." } else { "" };
        beginning + more
    };
    chain.iter().map(name).collect::<Vec<_>>().join(" -> ")
}

/// `2 days 03:04:05`.
pub fn elapsed(time: Duration) -> String {
    let s = time.as_secs();
    let days = match s / 86_400 {
        0 => String::new(),
        1 => "1 day ".to_owned(),
        days => format!("{days} days "),
    };
    format!("{days}{:02}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// `1,234,567`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Is a text like a pattern, in which `*` stands for anything, be it nothing? In any letter case. In time proportional
/// to the product of both lengths.
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let pieces: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = &pieces[..] else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    middle.iter().all(|piece| {
        let found = rest.find(piece);
        rest = found.map_or(rest, |at| &rest[at + piece.len()..]);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let row = |name: &str, count: &str| [name.to_owned(), count.to_owned()];
        let text =
            table([("Name", Side::Left), ("Calls", Side::Right)], &[row("a", "12"), row("longer", "3")]);
        assert_eq!(text, "  Name    Calls\n  a          12\n  longer      3\n");
    }

    #[test]
    fn a_name_spoils_no_line() {
        let names = ["P a.b".to_owned(), "evil\n\u{1b}[2J".to_owned(), "x".repeat(100)];
        let shown = made_for(&names);
        assert_eq!(shown, format!("P a.b -> evil\\n\\u{{1b}}[2J -> {}...", "x".repeat(80)));
    }

    #[test]
    fn patterns() {
        for (text, pattern) in [
            ("", ""),
            ("A.b", "a.B"),
            ("a.b", "*"),
            ("a.b", "a.b"),
            ("a.b", "a*"),
            ("a.b", "*.b"),
            ("abcbd", "a*b*d"),
            ("", "**"),
        ] {
            assert!(is_like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("a.b", ""),
            ("a.b", "a"),
            ("a.b", "b*"),
            ("aba", "ab*ba"),
            ("a.b", "a*c*b"),
            ("", "a"),
            ("ab", "a?"),
        ] {
            assert!(!is_like(text, pattern), "{text} {pattern}");
        }
        assert!(!is_like(&"a".repeat(4000), &("*a".repeat(2000) + "b")), "and soon");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let shown = [59, 3_661, 90_000, 200_000].map(|s| elapsed(Duration::from_secs(s)));
        assert_eq!(shown, ["00:00:59", "01:01:01", "1 day 01:00:00", "2 days 07:33:20"]);
    }
}
