//! Paths as they are written in a file: what a shell or another program would replace or take away stays in the name
//! here, so that whoever has written it means another file.
//!
//! Must not know disks.

use std::path::Path;

/// What is wrong with a path, in words.
pub(super) fn wrong(text: &str) -> Option<String> {
    let replaced =
        |what: &str| format!("{what} is not replaced here but part of the name; write the whole path");
    let quoted = |mark: char| text.starts_with(mark) || text.ends_with(mark);
    let variable = text.match_indices('$').any(|(at, _)| {
        text[at + 1..].starts_with(|next: char| next.is_ascii_alphabetic() || "_{(".contains(next))
    });
    if ['"', '\'', '`'].into_iter().any(quoted) {
        Some("quotation marks are part of the name here; leave them out".to_owned())
    } else if text.starts_with('~') {
        Some(replaced("~"))
    } else if variable {
        Some(replaced("what begins with $"))
    } else if is_percent_variable(text) {
        Some(replaced("what stands between two %"))
    } else if text.contains(['*', '?', '\\']) {
        Some(replaced("*, ? or a backslash"))
    } else if text.starts_with(['|', '>', '<', '&']) {
        Some("no program is started and nothing redirected here; write a path".to_owned())
    } else if text.contains("://") {
        Some("it is a URL, not a path".to_owned())
    } else if text.ends_with('/') || Path::new(text).file_name().is_none() {
        Some("it is a directory, not a file".to_owned())
    } else {
        None
    }
}

/// `%HOME%`, as on Windows.
fn is_percent_variable(text: &str) -> bool {
    let parts: Vec<_> = text.split('%').collect();
    let name = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    parts.len() > 2 && parts[1..parts.len() - 1].iter().any(name)
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn what_a_shell_would_replace_is_told() {
        for (text, says) in [
            ("\"/var/log/x\"", "quotation marks"),
            ("'x'", "quotation marks"),
            ("x\"", "quotation marks"),
            ("`pwd`", "quotation marks"),
            ("~", "~ is not replaced"),
            ("~/x", "~ is not replaced"),
            ("~root/x", "~ is not replaced"),
            ("$HOME/x", "begins with $"),
            ("/var/${NAME}.log", "begins with $"),
            ("/var/$(hostname)", "begins with $"),
            ("%HOME%/x", "between two %"),
            ("/var/log/*.log", "*, ? or a backslash"),
            ("my\\ log", "*, ? or a backslash"),
            ("|rotatelogs x", "no program"),
            (">>x", "no program"),
            ("file:///var/x", "a URL"),
            ("/var/log/", "a directory"),
            ("/", "a directory"),
            (".", "a directory"),
            ("..", "a directory"),
        ] {
            assert!(wrong(text).is_some_and(|wrong| wrong.contains(says)), "{text}: {:?}", wrong(text));
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
            assert_eq!(wrong(text), None, "{text}");
        }
    }
}
