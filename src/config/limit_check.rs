//! Check of `[Limits]` against the methods that a program has. Does not know services: names are handed in.

use super::error::{ConfigError, ConfigErrors, Problem};
use super::method_limits::LimitLine;
use super::names::{nearest, suggestion};
use std::path::Path;

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
        let error = ConfigError::at(0, Problem::UnknownKey, "a method of the program that serves");
        let error = error.key(&line.method).found(&line.value()).wrong("unknown method");
        let error = error.hint(suggestion(nearest(&line.method, known.to_vec())));
        ConfigError { line: line.limit.source.line(), ..error }
    };
    ConfigErrors::check(lines.into_iter().filter(is_unknown).map(error).collect(), file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

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
