//! Every statistic of a server in one list, with Domino's names where Domino has them: what `show stat` prints and
//! `/metrics` exports.
//!
//! A statistic has a name for people, unique in the list, and a [`StatisticFamily`] with labels for programs.

mod list;

pub(super) use list::list;

use super::format::{elapsed, is_like, thousands};
use crate::metrics::Distribution;
use std::time::{Duration, SystemTime};

/// One statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistic {
    /// `Server.Trans.Total`. Parts of it may come from elsewhere: names of ports and methods.
    pub name: String,
    /// What it is a member of.
    pub family: &'static StatisticFamily,
    /// What tells it from the others of its family.
    pub labels: Vec<(&'static str, String)>,
    /// What it is now.
    pub value: StatisticValue,
}

/// Statistics of one meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct StatisticFamily {
    /// Name of the metric, without the `_total` of counters.
    pub metric: &'static str,
    /// What may be made of it.
    pub kind: StatisticKind,
    /// `seconds`, `bytes`, `percent`; empty for a plain number.
    pub unit: &'static str,
    /// A sentence.
    pub help: &'static str,
}

/// What may be made of a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticKind {
    /// Only grows while the server runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times, by how long they are.
    Histogram,
    /// Always 1: its labels say it.
    Info,
}

/// What a statistic is.
#[derive(Debug, Clone, PartialEq)]
pub enum StatisticValue {
    /// A whole number.
    Count(u64),
    /// Any number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// Words.
    Text(String),
    /// How long it has been.
    Elapsed(Duration),
    /// When it was; `None` for never.
    Moment(Option<SystemTime>),
    /// Times.
    Times(Distribution),
}

impl StatisticFamily {
    const fn new(
        kind: StatisticKind,
        metric: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> StatisticFamily {
        StatisticFamily { metric, kind, unit, help }
    }

    const fn counter(metric: &'static str, unit: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Counter, metric, unit, help)
    }

    const fn gauge(metric: &'static str, unit: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Gauge, metric, unit, help)
    }
}

/// Lines of the form `Name = value`, of the statistics whose names match `pattern`: any case, `*` for any letters.
/// `None` if there is none.
pub fn text(statistics: &[Statistic], pattern: &str) -> Option<String> {
    let mut text = String::new();
    for (name, value) in statistics.iter().flat_map(lines) {
        if is_like(&name, pattern) {
            text.push_str(&format!("{} = {value}\n", name.escape_debug()));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A name and a value for each line of a statistic: times have several.
fn lines(statistic: &Statistic) -> Vec<(String, String)> {
    let Statistic { name, family, value, .. } = statistic;
    let with_unit = |number: String| match family.unit {
        "" => number,
        unit => format!("{number} {unit}"),
    };
    let shown = match value {
        StatisticValue::Count(count) => with_unit(thousands(*count)),
        StatisticValue::Real(number) => with_unit(decimals(*number)),
        StatisticValue::Flag(flag) => u8::from(*flag).to_string(),
        StatisticValue::Text(text) => text.escape_debug().to_string(),
        StatisticValue::Elapsed(time) => elapsed(*time),
        StatisticValue::Moment(moment) => moment.map_or("never".to_owned(), utc),
        StatisticValue::Times(times) => {
            let ms = |time: Duration| format!("{} ms", decimals(time.as_secs_f64() * 1e3));
            let figures = [
                ("Count", thousands(times.count())),
                ("Total", ms(times.sum())),
                ("Average", ms(times.mean())),
                ("Min", ms(times.min())),
                ("P50", ms(times.quantile(0.5))),
                ("P99", ms(times.quantile(0.99))),
                ("Max", ms(times.max())),
            ];
            return figures.map(|(figure, shown)| (format!("{name}.{figure}"), shown)).into();
        }
    };
    vec![(name.clone(), shown)]
}

/// `1,234.568`, of a number that is not negative.
fn decimals(number: f64) -> String {
    let thousandths = (number * 1e3).round() as u64;
    format!("{}.{:03}", thousands(thousandths / 1000), thousandths % 1000)
}

/// `2025-11-22 12:04:59 UTC`.
fn utc(moment: SystemTime) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    static CALLS: StatisticFamily = StatisticFamily::counter("calls", "", "Calls.");
    static TIME: StatisticFamily = StatisticFamily::gauge("time", "seconds", "Time.");

    fn statistic(name: &str, family: &'static StatisticFamily, value: StatisticValue) -> Statistic {
        Statistic { name: name.to_owned(), family, labels: Vec::new(), value }
    }

    #[test]
    fn what_matches_is_printed_as_domino_does() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_582_934_400 + 3661);
        let list = [
            statistic("Server.Trans.Total", &CALLS, StatisticValue::Count(1_234_567)),
            statistic("Server.Time", &TIME, StatisticValue::Real(1234.5678)),
            statistic(
                "Server.ElapsedTime",
                &TIME,
                StatisticValue::Elapsed(Duration::from_secs(86_400 + 7384)),
            ),
            statistic("Server.Peak.Time", &TIME, StatisticValue::Moment(Some(moment))),
            statistic("NET.TCPIP.Calls", &CALLS, StatisticValue::Count(0)),
        ];
        let server = "Server.Trans.Total = 1,234,567\nServer.Time = 1,234.568 seconds\n\
                      Server.ElapsedTime = 1 day 02:03:04\nServer.Peak.Time = 2020-02-29 01:01:01 UTC\n";
        assert_eq!(text(&list, "server.*").as_deref(), Some(server));
        assert_eq!(text(&list, "*tcpip*ls").as_deref(), Some("NET.TCPIP.Calls = 0\n"));
        assert_eq!(text(&list, "*").map(|all| all.lines().count()), Some(5));
        assert_eq!(text(&list, "Server"), None, "the whole name is meant");
        assert_eq!(text(&list, ""), None);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |s| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_763_813_099), "2025-11-22 12:04:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
