//! Suggestion for a misspelled key or port.

/// Returns "did you mean ...?", or nothing.
pub(super) fn suggestion(near: Option<String>) -> String {
    near.map_or(String::new(), |name| format!("did you mean {name}?"))
}

/// Returns the nearest known name, if a typing error explains the difference.
pub(crate) fn nearest(found: &str, known: Vec<String>) -> Option<String> {
    let (steps, name) = known.into_iter().map(|name| (distance(found, &name), name)).min()?;
    (steps <= 1 + name.len() / 5 && steps < name.len()).then_some(name)
}

/// Edit distance, ignoring case: letters to add, remove, replace, or swap with their neighbour.
fn distance(one: &str, two: &str) -> usize {
    // A key longer than any name is near none; this also limits the work that a hostile file can cause.
    const LONGEST: usize = 64;
    if one.len() > LONGEST {
        return usize::MAX;
    }
    strsim::osa_distance(&one.to_ascii_lowercase(), &two.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        for (one, two, steps) in [
            ("", "", 0),
            ("abc", "ABC", 0),
            ("abc", "ab", 1),
            ("abc", "abcd", 1),
            ("abc", "axc", 1),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(one, two), steps, "{one} {two}");
            assert_eq!(distance(two, one), steps, "{two} {one}");
        }
        assert_eq!(distance(&"x".repeat(65), "x"), usize::MAX);
    }

    #[test]
    fn distant_names_are_not_suggested() {
        for (found, expected) in
            [("Port", Some("Ports")), ("Log_Flie", Some("Log_File")), ("ServerTasks", None), ("B", None)]
        {
            let known = ["Ports", "Log_File", "A"].map(str::to_owned).to_vec();
            assert_eq!(nearest(found, known).as_deref(), expected, "{found}");
        }
    }
}
