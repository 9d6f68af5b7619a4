//! The name a mistyped name was probably meant to be.
//!
//! Pure; knows text only. Names are ASCII and short (see [`super::check_method_name`]); a longer question
//! gets no suggestion, so the work for one is bounded by the number of candidates.

use crate::wire::limits::METHOD_NAME_BYTES_MAX;

/// What an error says of the name that was probably meant.
pub(crate) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?"))
}

/// The candidate most like `name`, if one is like it: a third of its letters may differ, upper and lower case are the
/// same, and a lone last word stands for its whole name.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > METHOD_NAME_BYTES_MAX {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let below = best.map_or((name.len() / 3).max(2) + 1, |(distance, _)| distance);
        let distance = match candidate.rsplit_once('.') {
            Some((_, word)) if word.eq_ignore_ascii_case(name) => 1,
            _ => strsim::osa_distance(&lower, &candidate.to_ascii_lowercase()),
        };
        if distance < below {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["notes.read", "notes.reread", "notes.write", "server.echo", "server.ping"];

    fn ask(name: &str) -> Option<&'static str> {
        nearest(name, NAMES.into_iter())
    }

    #[test]
    fn a_slip_of_the_fingers_finds_its_name() {
        assert_eq!(ask("notes.raed"), Some("notes.read"));
        assert_eq!(ask("Notes.Read"), Some("notes.read"));
        assert_eq!(ask("note.write"), Some("notes.write"));
        assert_eq!(ask("server.pong"), Some("server.ping"));
        assert_eq!(ask("echo"), Some("server.echo"));
    }

    #[test]
    fn what_is_like_nothing_gets_no_suggestion() {
        assert_eq!(ask("completely.different"), None);
        assert_eq!(ask(""), None);
        assert_eq!(ask(&"notes.read".repeat(50)), None);
    }
}
