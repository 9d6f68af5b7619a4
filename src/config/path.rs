//! Paths in a settings file: reports what a shell would expand or remove, because here it would be part of the name.
//!
//! The disk is not accessed.

use std::path::Path;

/// Returns what is wrong with a path, or `None`.
pub(super) fn problem(text: &str) -> Option<String> {
    let literal = |what: &str| format!("{what} is not expanded; write the full path");
    let quoted = |mark: char| text.starts_with(mark) || text.ends_with(mark);
    let variable = text.match_indices('$').any(|(at, _)| {
        text[at + 1..].starts_with(|next: char| next.is_ascii_alphabetic() || "_{(".contains(next))
    });
    if ['"', '\'', '`'].into_iter().any(quoted) {
        Some("quotation marks would be part of the name; omit them".to_owned())
    } else if text.starts_with('~') {
        Some(literal("~"))
    } else if variable {
        Some(literal("a variable with $"))
    } else if is_percent_variable(text) {
        Some(literal("a variable between two %"))
    } else if text.contains(['*', '?', '\\']) {
        Some(literal("*, ? or a backslash"))
    } else if text.starts_with(['|', '>', '<', '&']) {
        Some("commands and redirections are not supported; write a path".to_owned())
    } else if text.contains("://") {
        Some("it is a URL, not a path".to_owned())
    } else if text.ends_with('/') || Path::new(text).file_name().is_none() {
        Some("it is a directory, not a file".to_owned())
    } else {
        None
    }
}

/// Returns whether the text contains a variable like `%HOME%`, as on Windows.
fn is_percent_variable(text: &str) -> bool {
    let parts: Vec<_> = text.split('%').collect();
    let name = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    parts.len() > 2 && parts[1..parts.len() - 1].iter().any(name)
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn what_a_shell_would_expand_is_reported() {
        for (text, says) in [
            ("\"/var/log/x\"", "quotation marks"),
            ("'x'", "quotation marks"),
            ("x\"", "quotation marks"),
            ("`pwd`", "quotation marks"),
            ("~", "~ is not expanded"),
            ("~/x", "~ is not expanded"),
            ("~root/x", "~ is not expanded"),
            ("$HOME/x", "variable with $"),
            ("/var/${NAME}.log", "variable with $"),
            ("/var/$(hostname)", "variable with $"),
            ("%HOME%/x", "between two %"),
            ("/var/log/*.log", "*, ? or a backslash"),
            ("my\\ log", "*, ? or a backslash"),
            ("|rotatelogs x", "commands and"),
            (">>x", "commands and"),
            ("file:///var/x", "a URL"),
            ("/var/log/", "a directory"),
            ("/", "a directory"),
            (".", "a directory"),
            ("..", "a directory"),
        ] {
            assert!(problem(text).is_some_and(|found| found.contains(says)), "{text}: {:?}", problem(text));
        }
        for text in [
            "x",
            "/var/log/a b.txt",
            "a=b",
            "two words",
            "a~",
            "it's",
            "5%",
            "100%.%",
            "cost$",
            "$5",
            "/a/../b",
            "./x",
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
    }
}
