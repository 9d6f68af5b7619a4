//! What is wrong with a settings file: where, what was found, what was expected.
//!
//! Knows how an error reads. Must not know the keys. Each error stands alone on one line, so that a list of them can be
//! printed, searched and compared; what was found is shortened, never left out.

use super::{Config, Source};
use std::fmt;
use std::path::{Path, PathBuf};

/// Most characters of a file's own text that an error repeats.
const FOUND_CHARS_MAX: usize = 80;

/// One thing wrong with a settings file.
///
/// Displays as `file:line: key=found: what is wrong, expected this; hint`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file; `None` when the text came from elsewhere.
    pub file: Option<PathBuf>,
    /// Line number, from 1; `None` when the error is of the file as a whole.
    pub line: Option<u32>,
    /// Key as written; `None` when the line has none.
    pub key: Option<String>,
    /// What stands there: the value, or the line where there is no key.
    pub found: String,
    /// Which sort of error it is.
    pub problem: Problem,
    /// What is wrong, where that does not follow from `expected`; may be empty.
    pub wrong: String,
    /// What should stand there instead.
    pub expected: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// Sorts of error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be opened or read.
    Unreadable,
    /// The file is larger than [`super::FILE_BYTES_MAX`].
    TooLarge,
    /// Bytes that are not UTF-8, or a control character.
    BadText,
    /// A line that is no comment, section or `key=value`.
    BadLine,
    /// A section other than `[Server]` and `[Notes]`.
    UnknownSection,
    /// A value with `;` or `#`, which the `ini` crate would cut there.
    CommentInValue,
    /// A key given twice.
    DuplicateKey,
    /// A key that is in no table.
    UnknownKey,
    /// A key of a port that is in neither list.
    UnknownPort,
    /// A value outside what its key takes.
    BadValue,
    /// A port name that cannot be used, or is used twice.
    BadPortName,
    /// Two enabled ports that cannot both listen.
    AddressTaken,
    /// A file that a setting names cannot be used.
    BadFile,
    /// The scanner and the `ini` crate read different things.
    Disagreement,
}

/// Every error of one file: never empty, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigError {
    /// An error in a line; the other parts are added with the methods below.
    pub(super) fn at(line: u32, problem: Problem, expected: impl Into<String>) -> ConfigError {
        ConfigError {
            file: None,
            line: Some(line),
            key: None,
            found: String::new(),
            problem,
            wrong: String::new(),
            expected: expected.into(),
            hint: String::new(),
        }
    }

    pub(super) fn key(mut self, key: &str) -> ConfigError {
        self.key = Some(shorten(key));
        self
    }

    pub(super) fn found(mut self, found: &str) -> ConfigError {
        self.found = shorten(found);
        self
    }

    pub(super) fn wrong(mut self, wrong: impl Into<String>) -> ConfigError {
        self.wrong = wrong.into();
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> ConfigError {
        self.hint = hint.into();
        self
    }

    /// The error without file and line: `key=found: what is wrong, expected this; hint`.
    pub fn message(&self) -> String {
        let mut text = match &self.key {
            Some(key) => format!("{key}={}: ", self.found),
            None if self.found.is_empty() => String::new(),
            None => format!("{}: ", self.found),
        };
        if !self.wrong.is_empty() {
            text.push_str(&self.wrong);
            text.push_str(", ");
        }
        text.push_str("expected ");
        text.push_str(&self.expected);
        if !self.hint.is_empty() {
            text.push_str("; ");
            text.push_str(&self.hint);
        }
        text
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message())
    }
}

impl std::error::Error for ConfigError {}

impl ConfigErrors {
    /// Sorts the errors by line and writes the file's name into each; `None` when there are none.
    pub(super) fn collect(mut errors: Vec<ConfigError>, file: Option<&Path>) -> Option<ConfigErrors> {
        if errors.is_empty() {
            return None;
        }
        errors.sort_by_key(|error| error.line);
        for error in &mut errors {
            error.file = file.map(Path::to_path_buf);
        }
        Some(ConfigErrors { errors })
    }

    /// The one error of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> ConfigErrors {
        let error = ConfigError {
            file: Some(path.to_path_buf()),
            line: None,
            ..ConfigError::at(0, Problem::Unreadable, "a readable text file")
                .wrong(format!("cannot be read ({cause})"))
        };
        ConfigErrors { errors: vec![error] }
    }

    /// The one error of a file whose text is right but for what this setting leads to.
    pub(crate) fn of_setting(
        config: &Config,
        (key, value): (&str, &str),
        source: &Source,
        (wrong, expected): (String, &str),
    ) -> ConfigErrors {
        let error = ConfigError::at(0, Problem::BadFile, expected).key(key).found(value).wrong(wrong);
        let error = ConfigError { file: config.file.clone(), line: source.line(), ..error };
        ConfigErrors { errors: vec![error] }
    }

    /// The errors in the order of their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// The file they are in.
    pub fn file(&self) -> Option<&Path> {
        self.errors.first().and_then(|error| error.file.as_deref())
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One error a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The first characters of a text from the file, the cut marked. What cannot be seen (a byte order mark, say)
/// is escaped.
pub(super) fn shorten(text: &str) -> String {
    let mut short = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == FOUND_CHARS_MAX {
            short.push_str("...");
            break;
        }
        match char {
            '"' | '\'' | '\\' => short.push(char),
            _ => short.extend(char.escape_debug()),
        }
    }
    short
}
