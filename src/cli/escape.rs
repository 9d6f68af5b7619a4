//! Foreign text for a terminal: control characters are escaped.
//!
//! A server's texts, names and errors are foreign; everything that the command line prints passes [`plain`]. Escapes
//! are those of JSON, so that JSON stays the same JSON. Invariant: the result has no control characters except line
//! feeds and tabs, and none that changes the direction of writing.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes text of several lines.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |char| is_control(char) && !matches!(char, '\n' | '\t'))
}

/// Escapes text that is one line, or a part of one.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// Returns valid JSON as the same JSON on one line; only between its tokens can it have line ends.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let white = |char| matches!(char, '\n' | '\r' | '\t');
    match text.contains(white) {
        true => Cow::Owned(one_line(&text.replace(white, " ")).into_owned()),
        false => one_line(text),
    }
}

/// Returns whether this is C0, DEL, C1, or a mark that changes the direction of writing.
pub(super) fn is_control(char: char) -> bool {
    char.is_control() || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match is_escaped(char) {
            true => {
                write!(out, "\\u{:04x}", u32::from(char)).expect("a String takes all that is written to it")
            }
            false => out.push(char),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_remains() {
        let all: String = (0..=0x10FFFF).filter_map(char::from_u32).collect();
        let controls = |text: &str| text.chars().filter(|char| is_control(*char)).collect::<String>();
        assert_eq!(controls(&plain(&all)), "\t\n");
        assert_eq!(controls(&one_line(&all)), "");
        assert_eq!(controls(&json(&all)), "");
        assert_eq!(plain("\u{1b}[2J\r\u{9b}\u{7f}\u{202e}\n"), "\\u001b[2J\\u000d\\u009b\\u007f\\u202e\n");
        assert_eq!(one_line("a\nb"), "a\\u000ab");
        assert!(matches!(plain("grün ok\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\"a\u{7f}\u{9b}\u{202e}\":\r\n\t[1,\"\u{2066}x\"]}";
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&json(text)), read(text));
        assert_eq!(read(&plain(&json(text))), read(text));
    }
}
