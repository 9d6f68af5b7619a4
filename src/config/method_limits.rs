//! Lines of the section `[Limits]`: a method's name, the calls of it that may run at once, and those that may wait for
//! that: `notes.search=8,200`.
//!
//! Names are compared without case. Does not know which methods a program has: [`check_methods`] is told.

use super::error::{ConfigError, ConfigErrors, Problem};
use super::keys::EffectiveSetting;
use super::names::{nearest, suggestion};
use super::settings::Config;
use super::source::Setting;
use std::path::Path;

/// Name of the section, in lower case.
pub(super) const SECTION: &str = "limits";

/// Accepted values, in words.
pub(super) const EXPECTED: &str =
    "RUN,WAIT: calls that run at once, 1 to 1000000, and calls that wait, 0 to 100000; or 0 for no limit";

const RUN_MAX: u32 = 1_000_000;
const WAIT_MAX: u32 = 100_000;

/// One line of `[Limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitLine {
    /// `service.method` as written.
    pub method: String,
    /// Calls that may run at once in the whole server, and calls that may wait for that; `None` is no limit.
    pub limit: Setting<Option<(u32, u32)>>,
}

impl LimitLine {
    /// Returns whether it is for this method.
    pub fn is_for(&self, method: &str) -> bool {
        self.method.eq_ignore_ascii_case(method)
    }

    pub(super) fn effective(&self) -> EffectiveSetting {
        let value = self.limit.value.map_or("0".to_owned(), |(run, wait)| format!("{run},{wait}"));
        EffectiveSetting { key: self.method.clone(), value, source: self.limit.source.clone() }
    }
}

impl Config {
    /// Puts a line in place of the one for the same method, or adds it.
    pub(crate) fn set_method_limit(&mut self, line: LimitLine) {
        match self.method_limits.iter_mut().find(|old| old.is_for(&line.method)) {
            Some(old) => old.limit = line.limit,
            None => self.method_limits.push(line),
        }
    }
}

/// Returns whether a key is one of `[Limits]`: that of a method, which has a dot as no other key has.
pub(super) fn is_method(key: &str) -> bool {
    let words = || key.split('.');
    words().count() > 1 && words().all(|word| !word.is_empty())
}

/// Reads a value.
pub(super) fn read(text: &str) -> Option<Option<(u32, u32)>> {
    if text.is_empty() || text == "0" {
        return Some(None);
    }
    let number = |text: &str| {
        let text = text.trim();
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten()
    };
    let (run, wait) = text.split_once(',')?;
    let (run, wait) = (number(run)?, number(wait)?);
    ((1..=RUN_MAX).contains(&run) && wait <= WAIT_MAX).then_some(Some((run, wait)))
}

/// Checks that all lines of `[Limits]` are for methods that the program has.
///
/// # Errors
/// Those that are not, with the nearest names.
pub(crate) fn check_methods<'a>(
    lines: impl IntoIterator<Item = &'a LimitLine>,
    file: Option<&Path>,
    known: &[String],
) -> Result<(), ConfigErrors> {
    let is_unknown = |line: &&'a LimitLine| !known.iter().any(|method| line.is_for(method));
    let error = |line: &LimitLine| {
        let EffectiveSetting { key, value, source } = line.effective();
        let error = ConfigError::at(0, Problem::UnknownKey, "a method of the program that serves");
        let error = error.key(&key).found(&value).wrong("unknown method");
        let error = error.hint(suggestion(nearest(&key, known.to_vec())));
        ConfigError { line: source.line(), ..error }
    };
    ConfigErrors::check(lines.into_iter().filter(is_unknown).map(error).collect(), file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, Vec<String>> {
        let read = Config::from_text(text, None, 2);
        read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn limits_are_read_with_their_lines() {
        let config =
            config("[Server]\nPorts=A\n[limits]\nnotes.search=8,200\nNotes.Read = 1 , 0 \na.b=0\nc.d=\n")
                .unwrap();
        let effective = config.effective();
        let shown: Vec<_> = effective.iter().filter(|setting| setting.key.contains('.')).collect();
        let shown: Vec<_> =
            shown.iter().map(|one| format!("{}={} {}", one.key, one.value, one.source)).collect();
        assert_eq!(
            shown,
            ["notes.search=8,200 line 4", "Notes.Read=1,0 line 5", "a.b=0 line 6", "c.d=0 line 7"]
        );
        let known = ["notes.Search", "notes.read", "A.B", "c.d"].map(str::to_owned);
        assert_eq!(check_methods(&config.method_limits, None, &known), Ok(()));
        let unknown = check_methods(&config.method_limits, None, &known[1..]).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "line 4: notes.search=8,200: unknown method, expected a method of the program that serves"
        );
    }

    #[test]
    fn wrong_lines_are_errors() {
        let errors = config(
            "a.b=1,2\n[Limits]\na.b=8\nc.d=0,1\nPorts=A\na.c=1,100001\nA.B=1,1\n.x=1,1\nx.=1,1\ne.f=1,2,3\ng.h=-1,2\n",
        )
        .unwrap_err();
        let found: Vec<_> = errors
            .iter()
            .map(|error| error.split(" expected").next().unwrap().trim_end_matches([',', ':']))
            .collect();
        assert_eq!(
            found,
            [
                "line 1: a.b=1,2: not a setting",
                "line 3: a.b=8",
                "line 4: c.d=0,1",
                "line 5: Ports=A: not a limit of a method",
                "line 6: a.c=1,100001",
                "line 7: A.B=1,1: already given in line 3",
                "line 8: .x=1,1: not a limit of a method",
                "line 9: x.=1,1: not a limit of a method",
                "line 10: e.f=1,2,3",
                "line 11: g.h=-1,2",
            ]
        );
    }
}
