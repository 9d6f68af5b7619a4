//! An effective value together with its source: a line, a rule, a default or the program.

use std::fmt;

/// An effective value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The effective value.
    pub value: T,
    /// Its source.
    pub source: Source,
}

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The fixed default of the key.
    Default,
    /// Computed by a rule.
    Rule {
        /// The rule in words.
        text: String,
        /// Line of the file that contributes to the result; `None` if the default rule used defaults only.
        line: Option<u32>,
    },
    /// A line of the file gives this very value.
    File {
        /// Line number, from 1.
        line: u32,
    },
    /// Set by the program that embeds the server.
    Program,
}

impl<T> Setting<T> {
    /// Returns a value set by the program that embeds the server.
    pub fn program(value: T) -> Setting<T> {
        Setting { value, source: Source::Program }
    }

    /// Returns the same source with another value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), source: self.source }
    }
}

impl Source {
    /// Returns whether this very value was chosen, by a line of the file or by the program.
    pub fn is_given(&self) -> bool {
        matches!(self, Source::File { .. } | Source::Program)
    }

    /// Line of the file that gives the value or contributes to it.
    pub fn line(&self) -> Option<u32> {
        match self {
            Source::File { line } => Some(*line),
            Source::Rule { line, .. } => *line,
            Source::Default | Source::Program => None,
        }
    }

    /// Word for programs: `default`, `rule`, `file` or `program`. A rule that used defaults only is `default`.
    pub fn word(&self) -> &'static str {
        match self {
            Source::Default | Source::Rule { line: None, .. } => "default",
            Source::Rule { line: Some(_), .. } => "rule",
            Source::File { .. } => "file",
            Source::Program => "program",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Rule { text, line: None } => write!(f, "default, {text}"),
            Source::Rule { text, line: Some(line) } => write!(f, "line {line}, {text}"),
            Source::File { line } => write!(f, "line {line}"),
            Source::Program => f.write_str("set by the program"),
        }
    }
}
