//! Times, numbers, sizes and foreign text as the console, the diagnosis and the log show them, and
//! the patterns by which the console chooses among names: `*` stands for anything.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

pub(super) use crate::config::plural;

/// Characters of a foreign name that are shown.
const NAME_CHARS_MAX: usize = 80;

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

/// `1,234.568`, of a number that is not negative.
pub(super) fn decimals(number: f64) -> String {
    let thousandths = (number * 1e3).round() as u64;
    format!("{}.{:03}", thousands(thousandths / 1000), thousandths % 1000)
}

/// `3,870`; with one decimal below ten.
pub(super) fn rounded(number: f64) -> String {
    if number < 9.95 && (number - number.round()).abs() >= 0.05 {
        return format!("{number:.1}");
    }
    thousands(number.max(0.0).round() as u64)
}

/// `5.9x`.
pub(super) fn factor(ratio: f64) -> String {
    if ratio < 99.5 { format!("{ratio:.1}x") } else { format!("{ratio:.0}x") }
}

/// A share (0 to 1) as `98 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
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

/// A time in seconds, as `0.12 ms`, `4.5 ms`, `51 ms` or `2.3 s`.
pub(super) fn short_time(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        _ => format!("{seconds:.1} s"),
    }
}

/// A time in milliseconds.
pub(super) fn milliseconds(time: Duration) -> f64 {
    // Divided once: a product would end in 000000000002.
    time.as_nanos() as f64 / 1e6
}

/// Milliseconds with three decimals, without the unit.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.3}", milliseconds(time))
}

/// Seconds with three decimals, without the unit.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// Minutes with one decimal, without the unit.
pub(super) fn minutes(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

/// `2025-11-22 12:04:59 UTC`.
pub(super) fn utc(moment: SystemTime) -> String {
    let s = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // Days to a date by the calendar that begins with March, so that a leap day ends a year.
    let day = s / 86_400 + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// A size in bytes, with a unit that keeps it short.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * power) > 0);
    match unit {
        Some((power @ 1.., unit)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << (10 * power)) as f64),
        _ => format!("{bytes} B"),
    }
}

/// A limit that may be absent.
pub(super) fn or_none(limit: Option<impl Display>) -> String {
    limit.map_or("none".to_owned(), |limit| limit.to_string())
}

/// Foreign text on one line, with control characters escaped.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => plain.push(char),
            // Escapes everything that does not print.
            _ => plain.extend(char.escape_debug()),
        }
    }
    plain
}

/// The same of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(&line.replace('\t', "    ")) + "\n").collect()
}

/// The methods for which a call is made, the outermost first. Names that come from other servers are quoted; control
/// characters are escaped.
pub(super) fn call_chain(methods: &[String]) -> String {
    let name = |name: &String| {
        let name = plain(name);
        let mut chars = name.chars();
        let beginning: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
        let more = if chars.next().is_some() { "..." } else { "" };
        beginning + more
    };
    methods.iter().map(name).collect::<Vec<_>>().join(" -> ")
}

/// Returns whether a text matches a pattern, in which `*` stands for anything, also for nothing, in any letter case.
/// Takes time proportional to the product of both lengths at most.
pub(super) fn matches_pattern(text: &str, pattern: &str) -> bool {
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
    fn a_foreign_name_cannot_spoil_a_line() {
        let names = ["P a.b".to_owned(), "evil\n\u{1b}[2J".to_owned(), "x".repeat(100)];
        let shown = call_chain(&names);
        assert_eq!(shown, format!("P a.b -> evil\\n\\u{{1b}}[2J -> {}...", "x".repeat(80)));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[2J\"ä\"\r\n\u{202e}"), "a\\u{1b}[2J\"ä\"\\r\\n\\u{202e}");
        assert_eq!(plain_lines("a\tb\n\u{7}"), "a    b\n\\u{7}\n");
    }

    #[test]
    fn numbers_have_separators_and_times_their_units() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let shown = [59, 3_661, 90_000, 200_000].map(|s| elapsed(Duration::from_secs(s)));
        assert_eq!(shown, ["00:00:59", "01:01:01", "1 day 01:00:00", "2 days 07:33:20"]);
    }

    #[test]
    fn numbers_in_sentences_are_short() {
        assert_eq!(
            [0.0, 2.0, 2.54, 12.7, 3870.2, 1_234_567.0].map(rounded),
            ["0", "2", "2.5", "13", "3,870", "1,234,567"]
        );
        let times = [0.000_12, 0.0045, 0.051, 2.34].map(short_time);
        assert_eq!(times, ["0.12 ms", "4.5 ms", "51 ms", "2.3 s"]);
        assert_eq!([1.0, 5.94, 120.2].map(factor), ["1.0x", "5.9x", "120x"]);
        assert_eq!((percent(0.984).as_str(), plural(rounded(1.0), "call").as_str()), ("98 %", "1 call"));
    }

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!(
            [0, 1023, 1024, 1 << 30, u64::MAX].map(size).join(", "),
            "0 B, 1023 B, 1.0 KiB, 1.0 GiB, 16777216.0 TiB"
        );
        assert_eq!(ms(Duration::from_nanos(1_234_567)), "1.235");
    }

    #[test]
    fn milliseconds_have_no_digits_of_noise() {
        let text = |us| milliseconds(Duration::from_micros(us)).to_string();
        assert_eq!([0, 1, 18_432, 2_000].map(text), ["0", "0.001", "18.432", "2"]);
        assert!((0..2_000_000).step_by(7).all(|us| text(us).len() <= 8), "four digits, a point and three");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |s| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_763_813_099), "2025-11-22 12:04:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn a_star_stands_for_anything() {
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
            assert!(matches_pattern(text, pattern), "{text} {pattern}");
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
            assert!(!matches_pattern(text, pattern), "{text} {pattern}");
        }
        assert!(!matches_pattern(&"a".repeat(4000), &("*a".repeat(2000) + "b")), "within a moment");
    }
}
