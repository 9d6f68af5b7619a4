//! Settings of a program: the keys of a section of its own in the settings file, and their values.
//!
//! Invariant: every value was accepted by its key, defaults included.

use super::scan::{SECTIONS, is_key_byte};
use super::source::{Setting, Source};
use std::fmt::Display;
use std::str::FromStr;

/// One setting of a program.
#[derive(Debug, Clone, Copy)]
pub struct ProgramKey {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) value: &'static str,
    pub(super) doc: &'static str,
    check: fn(&str) -> Result<(), String>,
}

impl ProgramKey {
    /// Makes a setting whose values are those that `T` parses. `default` is a value, `value` the accepted ones in words
    /// (`a whole number from 1 to 100`), which complete "expected ..."; `doc` explains it in sentences.
    pub const fn new<T: FromStr<Err: Display>>(
        name: &'static str,
        default: &'static str,
        value: &'static str,
        doc: &'static str,
    ) -> ProgramKey {
        ProgramKey { name, default, value, doc, check: |text| parse::<T>(text).map(drop) }
    }
}

impl PartialEq for ProgramKey {
    /// By the name, which is unique in a program.
    fn eq(&self, other: &ProgramKey) -> bool {
        self.name == other.name
    }
}

impl Eq for ProgramKey {}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// Settings of a program, read from a section of its own in the settings file.
///
/// ```
/// use boneyard::config::{ProgramKey, ProgramSettings, ProgramValues};
/// use std::path::PathBuf;
///
/// struct Tickets {
///     database: PathBuf,
///     page: u8,
/// }
///
/// impl ProgramSettings for Tickets {
///     const KEYS: &'static [ProgramKey] = &[
///         ProgramKey::new::<PathBuf>("Tickets_Database", "tickets.db", "a path", "File of the database."),
///         ProgramKey::new::<u8>("Tickets_Page", "20", "a whole number up to 255", "Tickets on a page."),
///     ];
///
///     fn read(values: &ProgramValues<'_>) -> Tickets {
///         Tickets { database: values.get("Tickets_Database"), page: values.get("Tickets_Page") }
///     }
/// }
/// ```
pub trait ProgramSettings: Sized {
    /// All keys, in the order in which they are shown.
    const KEYS: &'static [ProgramKey];

    /// Makes the settings of the values in force.
    fn read(values: &ProgramValues<'_>) -> Self;
}

/// A program without settings.
impl ProgramSettings for () {
    const KEYS: &'static [ProgramKey] = &[];

    fn read(_: &ProgramValues<'_>) {}
}

/// The values of a program's settings.
#[derive(Debug, Clone, Copy)]
pub struct ProgramValues<'a>(pub(crate) Option<&'a ProgramSection>);

impl ProgramValues<'_> {
    /// Returns the value of a key.
    ///
    /// # Panics
    /// The key is not declared, or with another type whose values differ.
    pub fn get<T: FromStr<Err: Display>>(&self, key: &str) -> T {
        let text = self.0.and_then(|section| section.value(key));
        let text = text.unwrap_or_else(|| panic!("the program has no setting {key}"));
        parse(text).unwrap_or_else(|error| panic!("{key}={text} was accepted for another type: {error}"))
    }
}

/// The section of a program: its keys, and the value of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramSection {
    name: &'static str,
    keys: &'static [ProgramKey],
    values: Vec<Setting<String>>,
}

impl ProgramSection {
    /// Makes a section with the defaults.
    ///
    /// # Panics
    /// The name or a key cannot be used, or a default is no value of its key.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command line alone makes sections"))]
    pub(super) fn new(name: &'static str, keys: &'static [ProgramKey]) -> ProgramSection {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_key_byte);
        let is_taken = SECTIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
        assert!(is_word(name) && !is_taken, "a program cannot have the section [{name}]");
        for (number, ProgramKey { name: key, default, check, .. }) in keys.iter().enumerate() {
            let same = |other: &&ProgramKey| other.name.eq_ignore_ascii_case(key);
            let twice = keys[..number].iter().any(|other| same(&other));
            assert!(is_word(key) && !twice, "a program cannot have the key {key}");
            let default = check(default);
            assert!(default.is_ok(), "the default of {key} is no value of its type: {default:?}");
        }
        ProgramSection { name, keys, values: Vec::new() }.with_defaults()
    }

    /// Returns the section with all values at their defaults.
    pub(crate) fn with_defaults(mut self) -> ProgramSection {
        let default = |key: &ProgramKey| Setting { value: key.default.to_owned(), source: Source::Default };
        self.values = self.keys.iter().map(default).collect();
        self
    }

    /// Its name as written in a header.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether a line of this section is one of the program's.
    pub(super) fn has(&self, section: Option<&str>) -> bool {
        section.is_some_and(|section| section.eq_ignore_ascii_case(self.name))
    }

    pub(super) fn keys(&self) -> &'static [ProgramKey] {
        self.keys
    }

    /// Returns the number of a key.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|known| known.name.eq_ignore_ascii_case(key))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.find(key).map(|number| self.values[number].value.as_str())
    }

    /// Stores a value that its key accepts. The error is what is wrong with it.
    pub(super) fn set(&mut self, number: usize, value: &str, source: Source) -> Result<(), String> {
        (self.keys[number].check)(value)?;
        self.values[number] = Setting { value: value.to_owned(), source };
        Ok(())
    }

    /// The values in force, in the order of the keys.
    pub(super) fn effective(&self) -> impl Iterator<Item = (&'static str, &Setting<String>)> {
        self.keys.iter().map(|key| key.name).zip(&self.values)
    }
}
