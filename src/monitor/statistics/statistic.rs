//! A statistic: a name for people, unique in the list, and a [`StatisticFamily`] with labels for programs.

use crate::metrics::Distribution;
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
    pub(super) const fn new(
        kind: StatisticKind,
        metric: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> StatisticFamily {
        StatisticFamily { metric, kind, unit, help }
    }

    pub(super) const fn counter(
        metric: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Counter, metric, unit, help)
    }

    pub(super) const fn gauge(
        metric: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> StatisticFamily {
        StatisticFamily::new(StatisticKind::Gauge, metric, unit, help)
    }
}
