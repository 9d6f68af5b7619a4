//! The name a mistyped name was probably meant to be.
//!
//! Pure; knows text only. Names are ASCII and short (see [`crate::service::check_method_name`]); a longer question
//! gets no suggestion, so the work for one is bounded by the number of candidates.

use crate::wire::limits::METHOD_NAME_BYTES_MAX;

/// The candidate most like `name`, if one is like it: a third of its letters may differ, upper and lower case are the
/// same, and a lone last word stands for its whole name.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > METHOD_NAME_BYTES_MAX {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let below = best.map_or((name.len() / 3).max(2) + 1, |(distance, _)| distance);
        let distance = match candidate.rsplit_once('.') {
            Some((_, word)) if word.eq_ignore_ascii_case(name) => 1,
            _ => distance(name.as_bytes(), candidate.as_bytes()),
        };
        if distance < below {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Letters to insert, delete or replace to get from one to the other; swapping two neighbours counts once.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let same = x.eq_ignore_ascii_case(y);
            let mut least = (above[j] + usize::from(!same)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x.eq_ignore_ascii_case(&b[j - 1]) && a[i - 1].eq_ignore_ascii_case(y) {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
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

    #[test]
    fn swapped_neighbours_are_one_slip() {
        assert_eq!(distance(b"raed", b"read"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
