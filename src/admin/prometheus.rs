//! Statistics in the text format of Prometheus, or in OpenMetrics on request.
//!
//! Knows the formats, not the statistics. Each family is contiguous, below its help text, in the order of the list.

use crate::monitor::Statistic;
use crate::monitor::statistics::{StatisticFamily, StatisticKind, StatisticValue};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

/// Upper bounds of the buckets of a histogram are two to the power of these, in microseconds: 4 us to 268 s.
const BOUNDS: std::ops::RangeInclusive<u32> = 2..=28;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// Returns OpenMetrics if the `Accept` headers name it.
    pub(super) fn accepted<'a>(mut accept: impl Iterator<Item = &'a str>) -> Format {
        let open = accept.any(|accept| accept.contains("application/openmetrics-text"));
        if open { Format::OpenMetrics } else { Format::Prometheus }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn text(statistics: &[Statistic], format: Format) -> String {
    // In the order of each family's first member.
    let mut order = BTreeMap::new();
    let mut families: Vec<(&StatisticFamily, Vec<&Statistic>)> = Vec::new();
    for statistic in statistics {
        let place = *order.entry(statistic.family.metric).or_insert(families.len());
        if place == families.len() {
            families.push((statistic.family, Vec::new()));
        }
        families[place].1.push(statistic);
    }
    let mut text = String::new();
    for (family, members) in families {
        head(&mut text, family, format);
        members.into_iter().for_each(|statistic| sample(&mut text, statistic));
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, family: &StatisticFamily, format: Format) {
    let StatisticFamily { metric, help, .. } = family;
    let (kind, name) = match (family.kind, format) {
        (StatisticKind::Counter, Format::Prometheus) => ("counter", format!("{metric}_total")),
        (StatisticKind::Counter, Format::OpenMetrics) => ("counter", (*metric).to_owned()),
        (StatisticKind::Info, Format::OpenMetrics) => ("info", metric.trim_end_matches("_info").to_owned()),
        (StatisticKind::Gauge, _) | (StatisticKind::Info, _) => ("gauge", (*metric).to_owned()),
        (StatisticKind::Histogram, _) => ("histogram", (*metric).to_owned()),
    };
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn sample(text: &mut String, statistic: &Statistic) {
    let Statistic { family, labels, value, .. } = statistic;
    let metric = match family.kind {
        StatisticKind::Counter => format!("{}_total", family.metric),
        _ => family.metric.to_owned(),
    };
    let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
    let labels = labels.collect::<Vec<_>>().join(",");
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let number = match value {
        StatisticValue::Count(count) => count.to_string(),
        StatisticValue::Real(number) => number.to_string(),
        StatisticValue::Flag(flag) => u8::from(*flag).to_string(),
        StatisticValue::Text(_) => "1".to_owned(),
        StatisticValue::Elapsed(time) => time.as_secs_f64().to_string(),
        StatisticValue::Moment(None) => return,
        StatisticValue::Moment(Some(moment)) => {
            moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
        }
        StatisticValue::Times(times) => {
            let bucket = |text: &mut String, bound: &str, count: u64| {
                writeln!(text, "{metric}_bucket{{{labels},le=\"{bound}\"}} {count}").ok();
            };
            for power in BOUNDS {
                let us = 1u64 << power;
                bucket(text, &(us as f64 / 1e6).to_string(), times.below_us(us));
            }
            let count = times.count();
            bucket(text, "+Inf", count);
            let sum = times.sum().as_secs_f64();
            text.push_str(&format!("{metric}_sum{braced} {sum}\n{metric}_count{braced} {count}\n"));
            return;
        }
    };
    text.push_str(&format!("{metric}{braced} {number}\n"));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
    }

    #[test]
    fn openmetrics_is_chosen_by_the_accept_header() {
        let asked = ["application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"];
        assert_eq!(Format::accepted(asked.into_iter()), Format::OpenMetrics);
        assert_eq!(Format::accepted(["text/plain"].into_iter()), Format::Prometheus);
        assert_eq!(Format::accepted([].into_iter()), Format::Prometheus);
    }
}
