//! Names of ports, and the suggestion for a misspelled key or port.
//!
//! Invariant: a name that passes [`name_problem`] cannot be confused with a setting, alone or followed by any per-port
//! suffix. Does not know addresses or sizes.

use super::keys;

const NAME_CHARS_MAX: usize = 32;

/// Returns the names of a list as written; an empty list has none.
pub(super) fn names(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// Returns why a port cannot have this name, or `None` if it can.
pub(super) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name is empty".to_owned());
    }
    if name.len() > NAME_CHARS_MAX {
        return Some(format!("{name} is longer than {NAME_CHARS_MAX} characters"));
    }
    if let Some(bad) = name.chars().find(|char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_')) {
        return Some(format!("{name:?} contains the character {bad:?}"));
    }
    // `Server` would make Server_Pool_Tasks ambiguous, `A_Pool_Tasks` beside `A` likewise.
    let clash = keys::all().find(|key| match key.suffix() {
        Some(suffix) => !suffix.is_empty() && keys::strip_suffix_ignoring_case(name, suffix).is_some(),
        None => {
            keys::port_suffixes().any(|suffix| format!("{name}{suffix}").eq_ignore_ascii_case(key.name()))
        }
    });
    clash.map(|key| format!("{name} is ambiguous with the setting {}", key.name()))
}

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
    fn ambiguous_names_are_rejected() {
        for name in ["TCPIP", "LAN2", "TCPIP-LOCAL", "a_b", "9", "Serverx"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for (name, expected) in [
            ("", "a name is empty"),
            ("LAN 2", "\"LAN 2\" contains the character ' '"),
            ("LAN.2", "\"LAN.2\" contains the character '.'"),
            ("Büro", "\"Büro\" contains the character 'ü'"),
            ("server", "server is ambiguous with the setting Server_Pool_Tasks"),
            ("Ports", "Ports is ambiguous with the setting Ports"),
            ("log_file", "log_file is ambiguous with the setting Log_File"),
            ("A_pool_tasks", "A_pool_tasks is ambiguous with the setting <Port>_Pool_Tasks"),
            (
                "a23456789012345678901234567890123",
                "a23456789012345678901234567890123 is longer than 32 characters",
            ),
        ] {
            assert_eq!(name_problem(name).as_deref(), Some(expected), "{name}");
        }
    }

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
