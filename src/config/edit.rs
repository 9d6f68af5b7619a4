//! Changes one line in the text of a settings file.
//!
//! The file keeps every byte but those of the one line. If it has no such line, a line disabled with `;` is enabled, or
//! one is added at the end of its section.
//!
//! Invariant: the new text is returned only if it reads as the old one did, except for the changed line and for values
//! that rules derive from it. Does not know disks: text in, text out.

use super::error::ConfigErrors;
use super::keys::EffectiveSetting;
use super::method_limits;
use super::program::ProgramSection;
use super::scan::SECTIONS;
use super::setting_line::SettingLine;
use super::settings::Config;
use thiserror::Error;

/// Error of a change; the text stays as it is.
#[derive(Debug, Error)]
pub(crate) enum EditError {
    /// The text has errors before the change.
    #[error("the file already has errors: {}", one_line(.0))]
    Before(ConfigErrors),
    /// The text would have errors with the line.
    #[error("{}", one_line(.0))]
    After(ConfigErrors),
    /// The line would change other settings, too, or have no effect.
    #[error("the changed file would not have the intended meaning; edit it by hand")]
    OtherMeaning,
}

/// A file's text with one line changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The whole text.
    pub(crate) text: String,
    /// The line that was changed or added, from 1.
    pub(crate) line: u32,
}

/// Changes a line in the text of a settings file, on a machine with `cpus` CPUs, of a server whose program may have a
/// section.
///
/// # Errors
/// The text has errors, or would have with this line.
pub(crate) fn edit(
    bytes: &[u8],
    line: &SettingLine,
    cpus: u32,
    program: Option<&ProgramSection>,
) -> Result<Edited, EditError> {
    let read = |bytes| Config::from_file(bytes, None, cpus, program.cloned());
    let before = read(bytes).map_err(EditError::Before)?;
    let text = std::str::from_utf8(bytes).expect("text without errors is UTF-8");
    let edited = replace(text, line);
    let after = read(edited.text.as_bytes()).map_err(EditError::After)?;
    let (mut before, mut after) = (given(&before), given(&after));
    let same = |name: &String| name.eq_ignore_ascii_case(&line.name);
    let present = after.iter().any(|given| same(&given.name) && given.line == Some(edited.line));
    before.retain(|given| !same(&given.name));
    after.retain(|given| !same(&given.name));
    let values =
        |all: &[Given]| all.iter().map(|given| (given.name.clone(), given.value.clone())).collect::<Vec<_>>();
    if !present || values(&before) != values(&after) {
        return Err(EditError::OtherMeaning);
    }
    Ok(edited)
}

fn one_line(errors: &ConfigErrors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A setting that a line gives.
struct Given {
    /// In lower case.
    name: String,
    value: String,
    line: Option<u32>,
}

/// All settings that lines give. A line of the server that applies to each port counts once: in the table its key comes
/// before those of the ports.
fn given(config: &Config) -> Vec<Given> {
    let mut all: Vec<Given> = Vec::new();
    for EffectiveSetting { key, value, source } in config.effective() {
        let line = source.line();
        if source.is_given() && !all.iter().any(|given| given.line == line) {
            all.push(Given { name: key.to_ascii_lowercase(), value, line });
        }
    }
    all.sort_by(|one, two| one.name.cmp(&two.name));
    all
}

/// Puts the line in place of the one that gives its key, or else of a disabled one, or at the end of its section.
fn replace(text: &str, line: &SettingLine) -> Edited {
    let sections = sections(text);
    let gives = |(key, _): (&str, &str)| key.trim().eq_ignore_ascii_case(&line.name);
    let find = |read: fn(&str) -> Option<(&str, &str)>| {
        let lines = text.split_inclusive('\n').zip(&sections);
        let found =
            |(old, section): (&str, &Section)| *section == Section::of(line) && read(old).is_some_and(gives);
        lines.map(found).position(|found| found).map(|place| (place, read))
    };
    let Some((place, read)) = find(enabled).or_else(|| find(disabled)) else {
        return insert(text, line, &sections);
    };
    let mut edited = String::with_capacity(text.len() + line.value.len());
    for (number, old) in text.split_inclusive('\n').enumerate() {
        match read(old).filter(|_| number == place) {
            Some((key, value)) => {
                let mark = if old.starts_with(MARK) { MARK } else { "" };
                let lead = &value[..value.len() - value.trim_start().len()];
                let rest = &value[value.trim_end().len()..];
                // The white space of an empty value goes behind the new value.
                let lead = if value.trim().is_empty() { "" } else { lead };
                edited.extend([mark, key, "=", lead, &line.value, rest]);
            }
            None => edited.push_str(old),
        }
    }
    Edited { text: edited, line: place as u32 + 1 }
}

/// Section of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before any header, or below `[Server]` or `[Notes]`.
    Server,
    Limits,
    Program,
}

impl Section {
    fn of(line: &SettingLine) -> Section {
        if line.is_limit() { Section::Limits } else { Section::Server }
    }

    fn named(name: &str) -> Section {
        let is_known = SECTIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
        match name.eq_ignore_ascii_case(method_limits::SECTION) {
            true => Section::Limits,
            false if is_known => Section::Server,
            false => Section::Program,
        }
    }
}

/// Returns the section of each line, its header included.
fn sections(text: &str) -> Vec<Section> {
    let mut section = Section::Server;
    let line = |line: &str| {
        let line = line.strip_prefix(MARK).unwrap_or(line).trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Section::named(name.trim());
        }
        section
    };
    text.split_inclusive('\n').map(line).collect()
}

/// Byte order mark, which is not part of the first line.
const MARK: &str = "\u{feff}";

/// Splits the line of a setting at the `=`.
fn enabled(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix(MARK).unwrap_or(line);
    if line.trim_start().starts_with([';', '#', '[']) { None } else { line.split_once('=') }
}

/// Splits the line of a disabled setting. A value of several words is probably a sentence.
fn disabled(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix(MARK).unwrap_or(line);
    let (key, value) = line.trim_start().strip_prefix(';')?.split_once('=')?;
    (!value.trim().contains(char::is_whitespace)).then_some((key, value))
}

/// Adds the line at the end of its section: before a later section of another kind and the empty lines there, or at
/// the end of the text.
fn insert(text: &str, line: &SettingLine, sections: &[Section]) -> Edited {
    let end = if text.lines().next().is_some_and(|first| text[first.len()..].starts_with("\r\n")) {
        "\r\n"
    } else {
        "\n"
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_own = |section: &Section| *section == Section::of(line);
    let header = if line.is_limit() && !sections.iter().any(is_own) {
        format!("[Limits]{end}")
    } else {
        String::new()
    };
    let mut place = lines.len();
    if header.is_empty() && !sections.last().is_none_or(is_own) {
        place = sections.iter().rposition(is_own).map_or(0, |last| last + 1);
        while place > 0 && lines[place - 1].trim().is_empty() {
            place -= 1;
        }
    }
    let (before, behind) = (lines[..place].concat(), lines[place..].concat());
    let begin = if before.is_empty() || before.ends_with('\n') { "" } else { end };
    let upto = format!("{before}{begin}{header}{}={}{end}", line.name, line.value);
    let number = upto.split_inclusive('\n').count();
    Edited { text: upto + &behind, line: number as u32 }
}

#[cfg(test)]
mod tests;
