//! One setting changed: in the settings in force, and in the text of a file.
//!
//! The file keeps every byte but those of the one line. Where it has no such line, a line that is switched off with `;`
//! is switched on, or one is added at the end. Must not know disks: text in, text out.
//!
//! Invariant: the new text is handed out only if it reads as the old one did, save for the line that was to be changed
//! and for what rules make of it.

use super::keys::{self, Accessor, Key};
use super::{Config, Source, parse};

/// A key and a value that it takes.
#[allow(missing_debug_implementations, reason = "a key is a table of functions, which has nothing to print")]
pub struct Line {
    key: &'static Key,
    name: String,
    value: String,
}

impl Line {
    /// Reads what somebody wants a setting to be, by the rules for a line of a file with the settings of `config`.
    ///
    /// # Errors
    /// In words: no such key, and which may have been meant; a wrong value, and what it may be.
    pub fn read(config: &Config, key: &str, value: &str) -> Result<Line, String> {
        match parse::line(config, key, value) {
            Ok((key, name, value)) => Ok(Line { key, name, value }),
            Err(errors) => Err(errors.iter().map(super::ConfigError::message).collect::<Vec<_>>().join("; ")),
        }
    }

    /// Its key.
    pub fn key(&self) -> &'static Key {
        self.key
    }

    /// Its key as it is written in a file: with the name of a port in place of the mark.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value as it is written in a file.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Puts the value into `config`, as from this line of a file or, with `None`, from the program. Of a setting of one
    /// port, and of the lists of ports, nothing is put anywhere: these change with a restart alone.
    pub fn put(&self, config: &mut Config, line: Option<u32>) {
        let source = line.map_or(Source::Program, |line| Source::File { line });
        if let Accessor::Server { kind, .. } = &self.key.slot {
            kind.apply(&self.value, source, config).expect("it was read by this very key");
        }
    }
}

/// A file's text with one line changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole text.
    pub text: String,
    /// The line that was changed or added, from 1.
    pub line: u32,
}

/// Changes a line in the text of a settings file, on a machine with `cpus` CPUs.
///
/// # Errors
/// In words: the text has errors, or would have with this line.
pub fn edit(bytes: &[u8], line: &Line, cpus: u32) -> Result<Edited, String> {
    let before = Config::from_bytes(bytes, None, cpus)
        .map_err(|errors| format!("the file has errors as it is: {}", in_words(&errors)))?;
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let edited = replace(text, line);
    let after = Config::from_text(&edited.text, None, cpus).map_err(|errors| in_words(&errors))?;
    let (mut before, mut after) = (given(&before), given(&after));
    let same = |name: &String| name.eq_ignore_ascii_case(&line.name);
    let there = after.iter().any(|given| same(&given.name) && given.line == Some(edited.line));
    before.retain(|given| !same(&given.name));
    after.retain(|given| !same(&given.name));
    let values =
        |all: &[Given]| all.iter().map(|given| (given.name.clone(), given.value.clone())).collect::<Vec<_>>();
    if !there || values(&before) != values(&after) {
        return Err("the file would not mean what it should; change it by hand".to_owned());
    }
    Ok(edited)
}

fn in_words(errors: &super::ConfigErrors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A setting that a line gives.
struct Given {
    /// In small letters.
    name: String,
    value: String,
    line: Option<u32>,
}

/// All that lines give. Where a line of the server stands for each port, it counts once.
fn given(config: &Config) -> Vec<Given> {
    let mut all: Vec<Given> = Vec::new();
    let mut add = |name: String, shown: keys::Shown| {
        let line = shown.source.line();
        if shown.source.is_given() && !all.iter().any(|given| given.line == line) {
            all.push(Given { name: name.to_ascii_lowercase(), value: shown.value, line });
        }
    };
    for key in keys::all() {
        if let Accessor::Server { show, .. } = &key.slot {
            add(key.name().to_owned(), show(config));
        }
    }
    for port in config.ports.iter().chain(&config.disabled_ports) {
        for key in keys::all() {
            if let Accessor::Port { show, .. } = &key.slot {
                add(key.name_for(&port.name), show(port));
            }
        }
    }
    all.sort_by(|one, two| one.name.cmp(&two.name));
    all
}

/// The text with the line in place of the one that gives its key, or else of one that is switched off, or at the end.
fn replace(text: &str, line: &Line) -> Edited {
    let gives = |(key, _): (&str, &str)| key.trim().eq_ignore_ascii_case(&line.name);
    let find = |read: fn(&str) -> Option<(&str, &str)>| {
        let found = text.split_inclusive('\n').position(|old| read(old).is_some_and(gives));
        found.map(|place| (place, read))
    };
    let Some((place, read)) = find(effective).or_else(|| find(switched_off)) else {
        return append(text, line);
    };
    let mut edited = String::with_capacity(text.len() + line.value.len());
    for (number, old) in text.split_inclusive('\n').enumerate() {
        match read(old).filter(|_| number == place) {
            Some((key, value)) => {
                let mark = if old.starts_with(MARK) { MARK } else { "" };
                let lead = &value[..value.len() - value.trim_start().len()];
                let rest = &value[value.trim_end().len()..];
                // Of a value of white space alone, what is there goes behind the new one.
                let lead = if value.trim().is_empty() { "" } else { lead };
                edited.extend([mark, key, "=", lead, &line.value, rest]);
            }
            None => edited.push_str(old),
        }
    }
    Edited { text: edited, line: place as u32 + 1 }
}

/// The byte order mark, which is no part of the first line.
const MARK: &str = "\u{feff}";

/// What stands before and behind the `=` of a setting's line.
fn effective(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix(MARK).unwrap_or(line);
    if line.trim_start().starts_with([';', '#', '[']) { None } else { line.split_once('=') }
}

/// The same of a setting that is switched off. A value of several words is rather a sentence.
fn switched_off(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix(MARK).unwrap_or(line);
    let (key, value) = line.trim_start().strip_prefix(';')?.split_once('=')?;
    (!value.trim().contains(char::is_whitespace)).then_some((key, value))
}

fn append(text: &str, line: &Line) -> Edited {
    let end = if text.lines().next().is_some_and(|first| text[first.len()..].starts_with("\r\n")) {
        "\r\n"
    } else {
        "\n"
    };
    let begin = if text.is_empty() || text.ends_with('\n') { "" } else { end };
    let edited = format!("{text}{begin}{}={}{end}", line.name, line.value);
    let number = edited.split_inclusive('\n').count();
    Edited { text: edited, line: number as u32 }
}

#[cfg(test)]
mod tests;
