//! Patterns by which the console chooses among names: `*` stands for anything.

/// Returns whether a text matches a pattern, in which `*` stands for anything, also for nothing, in any letter case.
/// Takes time proportional to the product of both lengths at most.
pub(super) fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let pieces: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = &pieces[..] else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    middle.iter().all(|piece| {
        let found = rest.find(piece);
        rest = found.map_or(rest, |at| &rest[at + piece.len()..]);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern) in [
            ("", ""),
            ("A.b", "a.B"),
            ("a.b", "*"),
            ("a.b", "a.b"),
            ("a.b", "a*"),
            ("a.b", "*.b"),
            ("abcbd", "a*b*d"),
            ("", "**"),
        ] {
            assert!(matches(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("a.b", ""),
            ("a.b", "a"),
            ("a.b", "b*"),
            ("aba", "ab*ba"),
            ("a.b", "a*c*b"),
            ("", "a"),
            ("ab", "a?"),
        ] {
            assert!(!matches(text, pattern), "{text} {pattern}");
        }
        assert!(!matches(&"a".repeat(4000), &("*a".repeat(2000) + "b")), "within a moment");
    }
}
