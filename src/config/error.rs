//! Errors of a settings file: the place, what was found, what was expected.
//!
//! Invariant: each error is one line, so that a list of them can be printed, searched and compared; what was found is
//! shortened, never omitted. Does not know the keys.

#[cfg(feature = "admin")]
use super::settings::Config;
#[cfg(feature = "admin")]
use super::source::Source;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most characters of the file's own text that an error quotes.
const FOUND_CHARS_MAX: usize = 80;

/// One error in a settings file.
///
/// Displays as `file:line: key=found: what is wrong, expected this; hint`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file; `None` for text from elsewhere.
    pub file: Option<PathBuf>,
    /// Line number, from 1; `None` for an error of the file as a whole.
    pub line: Option<u32>,
    /// Key as written; `None` if the line has none.
    pub key: Option<String>,
    /// Text found: the value, or the line if it has no key.
    pub found: String,
    /// Kind of the error.
    pub problem: Problem,
    /// Description of the error, if it does not follow from `expected`; may be empty.
    pub wrong: String,
    /// Text expected instead.
    pub expected: String,
    /// Hint for the correction; may be empty.
    pub hint: String,
}

/// Kinds of errors, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be opened or read.
    Unreadable,
    /// The file is larger than 256 KiB.
    TooLarge,
    /// Bytes that are not UTF-8, or a control character.
    BadText,
    /// A line that is not a comment, section or `key=value`.
    BadLine,
    /// A section other than `[Server]`, `[Notes]` and `[Limits]`.
    UnknownSection,
    /// A value with `;` or `#`, which the `ini` crate would cut there.
    CommentInValue,
    /// A key given twice.
    DuplicateKey,
    /// A key that does not exist.
    UnknownKey,
    /// A key of a port that is in neither list.
    UnknownPort,
    /// A value that its key does not accept.
    BadValue,
    /// A port name that cannot be used, or is used twice.
    BadPortName,
    /// Two enabled ports that cannot both listen.
    AddressTaken,
    /// A file that a setting names cannot be used.
    BadFile,
    /// The scanner and the `ini` crate read the file differently.
    Disagreement,
}

/// Every error of one file: never empty, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigError {
    /// Returns an error in a line; the methods below add the other parts.
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

    /// Text of the error without file and line: `key=found: what is wrong, expected this; hint`.
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
    /// Fails if there are errors: sorted by line, with the file's name in each.
    pub(super) fn check(mut errors: Vec<ConfigError>, file: Option<&Path>) -> Result<(), ConfigErrors> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| error.line);
        for error in &mut errors {
            error.file = file.map(Path::to_path_buf);
        }
        Err(ConfigErrors { errors })
    }

    /// Returns the one error of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> ConfigErrors {
        let error = ConfigError {
            file: Some(path.to_path_buf()),
            line: None,
            ..ConfigError::at(0, Problem::Unreadable, "a readable text file")
                .wrong(format!("cannot be read ({cause})"))
        };
        ConfigErrors { errors: vec![error] }
    }

    /// Returns the one error of a valid file in which this setting names something unusable.
    #[cfg(feature = "admin")]
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

    /// Returns the errors of settings that are no lines of a file.
    pub(super) fn without_lines(mut self) -> ConfigErrors {
        self.errors.iter_mut().for_each(|error| error.line = None);
        self
    }

    /// The errors in the order of their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// Texts of all errors in one line, without file and line numbers.
    pub(crate) fn messages(&self) -> String {
        self.errors.iter().map(ConfigError::message).collect::<Vec<_>>().join("; ")
    }

    /// The file that has the errors.
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

/// One error per line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns the first characters of a text from the file, with a mark where it is cut. Invisible characters, such as a
/// byte order mark, are escaped.
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
