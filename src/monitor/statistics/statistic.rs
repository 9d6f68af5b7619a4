//! A statistic: a name for people, unique in the list, and a [`StatisticFamily`] with labels for programs. As
//! text it is a line `Name = value`, as Domino writes it.

use crate::metrics::Distribution;
use crate::monitor::format::{decimals, elapsed, matches_pattern, thousands, utc};
use std::time::{Duration, SystemTime};

/// One statistic.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistic {
    /// `Server.Trans.Total`. It may contain the names of ports and methods.
    pub name: String,
    /// The family that it is a member of.
    pub family: &'static StatisticFamily,
    /// Labels that distinguish it within its family.
    pub labels: Vec<(&'static str, String)>,
    /// Its present value.
    pub value: StatisticValue,
}

/// Statistics of one meaning.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatisticFamily {
    /// Name of the metric, without the `_total` of counters.
    pub metric: &'static str,
    /// How it behaves.
    pub kind: StatisticKind,
    /// `seconds`, `bytes`, `percent`; empty for a plain number.
    pub unit: &'static str,
    /// Its meaning, in a sentence.
    pub help: &'static str,
}

/// How a statistic behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatisticKind {
    /// It only grows while the server runs.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution of times.
    Histogram,
    /// Always 1: its labels are the value.
    Info,
}

/// The value of a statistic.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StatisticValue {
    /// A whole number.
    Count(u64),
    /// Any number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// A time that has passed.
    Elapsed(Duration),
    /// A time of day; `None` for never.
    Moment(Option<SystemTime>),
    /// A distribution of times.
    Times(Distribution),
}

impl StatisticFamily {
    const fn new(kind: StatisticKind, metric: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily { metric, kind, unit: "", help }
    }

    pub(super) const fn counter(metric: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Counter, metric, help)
    }

    pub(super) const fn gauge(metric: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Gauge, metric, help)
    }

    pub(super) const fn histogram(metric: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Histogram, metric, help)
    }

    pub(super) const fn info(metric: &'static str, help: &'static str) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Info, metric, help)
    }

    /// Returns the family with the unit of its values.
    pub(super) const fn in_unit(self, unit: &'static str) -> StatisticFamily {
        StatisticFamily { unit, ..self }
    }
}

/// Returns a line for each statistic whose name matches `pattern`, in any case and with `*` for anything; `None` if
/// there is none.
pub fn text(statistics: &[Statistic], pattern: &str) -> Option<String> {
    let mut text = String::new();
    for (name, value) in statistics.iter().flat_map(lines) {
        if matches_pattern(&name, pattern) {
            text.push_str(&format!("{} = {value}\n", name.escape_debug()));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A name and a value for each line of a statistic: a distribution has several.
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

#[cfg(test)]
mod tests {
    use super::*;

    static CALLS: StatisticFamily = StatisticFamily::counter("calls", "Calls.");
    static TIME: StatisticFamily = StatisticFamily::gauge("time", "Time.").in_unit("seconds");

    fn statistic(name: &str, family: &'static StatisticFamily, value: StatisticValue) -> Statistic {
        Statistic { name: name.to_owned(), family, labels: Vec::new(), value }
    }

    #[test]
    fn matching_statistics_are_written_as_by_domino() {
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
        assert_eq!(text(&list, "Server"), None, "the whole name must match");
        assert_eq!(text(&list, ""), None);
    }
}
