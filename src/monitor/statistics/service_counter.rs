//! [`ServiceCounter`]: a counter of the program that is shown with the server's own statistics.

use super::statistic::StatisticFamily;
use crate::metrics::Counter;

/// Ending of a counter's name in the text format of Prometheus.
const ENDING: &str = "_total";

/// A count of the program's own that only grows, for `Server::counter`.
#[derive(Debug)]
pub struct ServiceCounter {
    pub(in crate::monitor) family: StatisticFamily,
    count: Counter,
}

impl ServiceCounter {
    /// Makes a counter of 0. `name` is that of the metric, `help` its meaning in a sentence.
    ///
    /// # Panics
    /// At compile time when used in a static: the name is not of ASCII letters, digits and `_` with a letter first,
    /// does not end in `_total`, or begins with `boneyard_` as those of the server; or the help has line breaks or
    /// backslashes.
    pub const fn new(name: &'static str, help: &'static str) -> ServiceCounter {
        assert!(is_metric(name), "a counter is named like tickets_created_total, and not boneyard_...");
        let (metric, _) = name.split_at(name.len() - ENDING.len());
        let (mut at, bytes) = (0, help.as_bytes());
        while at < bytes.len() {
            assert!(
                bytes[at] != b'\n' && bytes[at] != b'\\',
                "the help of a counter is one line of plain text"
            );
            at += 1;
        }
        ServiceCounter { family: StatisticFamily::counter(metric, help), count: Counter::new() }
    }

    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.count.add(more);
    }

    /// Returns the count since the program started.
    pub fn get(&self) -> u64 {
        self.count.get()
    }

    /// Returns the name of its metric, with `_total`.
    pub fn name(&self) -> String {
        format!("{}{ENDING}", self.family.metric)
    }
}

/// Returns whether a name is `word_total`, and not one of the server's.
const fn is_metric(name: &str) -> bool {
    let (bytes, ending, own) = (name.as_bytes(), ENDING.as_bytes(), b"boneyard_");
    if bytes.len() <= ending.len() || !bytes[0].is_ascii_alphabetic() {
        return false;
    }
    let (mut at, mut is_own) = (0, true);
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'_' {
            return false;
        }
        is_own = is_own && (at >= own.len() || bytes[at] == own[at]);
        at += 1;
    }
    let (mut at, start) = (0, bytes.len() - ending.len());
    while at < ending.len() {
        if bytes[start + at] != ending[at] {
            return false;
        }
        at += 1;
    }
    !is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_counters() {
        for good in ["a_total", "tickets_created_total", "Tickets2_total", "boneyar_total"] {
            assert!(is_metric(good), "{good}");
        }
        for bad in [
            "",
            "_total",
            "total",
            "tickets",
            "1_total",
            "a-b_total",
            "a_totals",
            "boneyard_x_total",
            "é_total",
        ] {
            assert!(!is_metric(bad), "{bad}");
        }
        let counter = ServiceCounter::new("a_total", "A.");
        counter.add(2);
        assert_eq!((counter.name(), counter.get()), ("a_total".to_owned(), 2));
    }
}
