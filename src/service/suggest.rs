//! Spelling suggestions for mistyped names.
//!
//! Pure; knows text only. Names are ASCII and short (see [`super::check_method_name`]); a longer name gets no
//! suggestion, so the work for one is bounded by the number of candidates.

use crate::wire::limits::METHOD_NAME_BYTES_MAX;

/// Returns the words that an error adds about the nearest name.
pub(crate) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest:?}?"))
}

/// Returns the candidate nearest to `name`, if one is near: a third of its letters may differ, upper and lower case are
/// the same, and a lone last word stands for its whole name.
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

    fn nearest_of_names(name: &str) -> Option<&'static str> {
        nearest(name, NAMES.into_iter())
    }

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest_of_names("notes.raed"), Some("notes.read"));
        assert_eq!(nearest_of_names("Notes.Read"), Some("notes.read"));
        assert_eq!(nearest_of_names("note.write"), Some("notes.write"));
        assert_eq!(nearest_of_names("server.pong"), Some("server.ping"));
        assert_eq!(nearest_of_names("echo"), Some("server.echo"));
    }

    #[test]
    fn a_name_that_is_near_none_gets_no_suggestion() {
        assert_eq!(nearest_of_names("completely.different"), None);
        assert_eq!(nearest_of_names(""), None);
        assert_eq!(nearest_of_names(&"notes.read".repeat(50)), None);
    }
}
