//! One rule of the diagnosis: what must hold, and what is said then.
//!
//! Invariant: `holds` is cheap and is asked each second; the rest is made only for the verdict that is shown.

use super::evidence::Evidence;
use super::verdict::Cause;

/// A row of the table of rules. Its place in the table is its rank.
pub(super) struct Rule {
    /// Kind of the cause, as in JSON.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table in the docs"))]
    pub(super) kind: &'static str,
    /// Condition that must hold.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table in the docs"))]
    pub(super) when: &'static str,
    /// The settings that its lines are for.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table in the docs"))]
    pub(super) settings: &'static str,
    pub(super) holds: fn(&Evidence<'_>) -> Option<Held>,
    /// The cause in a sentence.
    pub(super) sentence: fn(&Evidence<'_>, &Held) -> String,
    /// The measurements behind it, a sentence each.
    pub(super) because: fn(&Evidence<'_>, &Held) -> Vec<String>,
    pub(super) advice: fn(&Evidence<'_>, &Held) -> Advice,
    /// Proof that it is wrong, if it holds.
    pub(super) unless: &'static str,
}

/// A rule that holds: its cause and subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) cause: Cause,
    /// The ports it is about, the first most.
    pub(super) ports: Vec<usize>,
    /// Refusals, or calls, that were counted.
    pub(super) count: u64,
}

impl Held {
    pub(super) fn of(cause: Cause) -> Held {
        Held { cause, ports: Vec::new(), count: 0 }
    }

    pub(super) fn at(self, ports: Vec<usize>) -> Held {
        Held { ports, ..self }
    }

    pub(super) fn counted(self, count: u64) -> Held {
        Held { count, ..self }
    }

    /// The port that it is about most; the first of all if it is about none.
    pub(super) fn port(&self) -> usize {
        self.ports.first().copied().unwrap_or(0)
    }
}

/// Lines to paste, and what they should bring; where no setting helps there is no line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Advice {
    /// The settings parser accepts them.
    pub(super) lines: Vec<String>,
    pub(super) expected: String,
    /// How many times the throughput, where that should grow.
    pub(super) gain: Option<f64>,
}

impl Advice {
    pub(super) fn without_lines(expected: impl Into<String>) -> Advice {
        Advice { expected: expected.into(), ..Advice::default() }
    }

    pub(super) fn with_line(line: String, expected: impl Into<String>) -> Advice {
        Advice { lines: vec![line], ..Advice::without_lines(expected) }
    }

    /// Lines and expectation in one sentence.
    pub(super) fn in_words(&self) -> String {
        match self.lines.is_empty() {
            true => self.expected.clone(),
            false => format!("{}. {}", self.lines.join(", "), self.expected),
        }
    }
}

/// Finding of a few samples, in words.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    pub(super) headline: String,
    pub(super) because: Vec<String>,
    pub(super) advice: Advice,
    pub(super) unless: String,
}
