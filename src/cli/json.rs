//! JSON as text: indentation for people, and a pointer to a place in it.
//!
//! Works on the text instead of values, so that numbers and the order of fields stay as written.

use std::io::{self, Write};

/// Elements nested deeper than this stay on their line: indentation grows with depth, and the output would grow with
/// its square.
const LEVELS_MAX: usize = 32;

/// Writes the same JSON with each element on a line of its own. `text` is valid JSON. Buffers nothing.
pub(super) fn pretty(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut chars = text.chars().filter(|char| !char.is_ascii_control()).peekable();
    while let Some(char) = chars.next() {
        if quoted {
            put(out, char)?;
            quoted = escaped || char != '"';
            escaped = char == '\\' && !escaped;
            continue;
        }
        match char {
            ' ' => {}
            '[' | '{' => {
                put(out, char)?;
                while chars.next_if_eq(&' ').is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, ']' | '}')) {
                    put(out, end)?;
                } else {
                    depth += 1;
                    new_line(out, depth, "")?;
                }
            }
            ']' | '}' => {
                // If the element before it is on a line of its own, so is the bracket.
                if depth <= LEVELS_MAX {
                    new_line(out, depth.saturating_sub(1), "")?;
                }
                depth = depth.saturating_sub(1);
                put(out, char)?;
            }
            ',' => {
                put(out, char)?;
                new_line(out, depth, " ")?;
            }
            ':' => out.write_all(b": ")?,
            char => {
                quoted = char == '"';
                put(out, char)?;
            }
        }
    }
    Ok(())
}

fn put(out: &mut dyn Write, char: char) -> io::Result<()> {
    out.write_all(char.encode_utf8(&mut [0; 4]).as_bytes())
}

/// Writes a line break at this depth, or `instead` if it is too deep.
fn new_line(out: &mut dyn Write, depth: usize, instead: &str) -> io::Result<()> {
    if depth > LEVELS_MAX {
        return out.write_all(instead.as_bytes());
    }
    const SPACES: [u8; 2 * LEVELS_MAX] = [b' '; 2 * LEVELS_MAX];
    out.write_all(b"\n")?;
    out.write_all(&SPACES[..2 * depth])
}

/// Longest line that is printed to point at a place in it.
const POINT_CHARS_MAX: usize = 100;

/// Returns the line of `json` that a message ending in `at line L column C` refers to, and a caret under the column.
pub(super) fn point_at(json: &str, message: &str) -> Option<String> {
    let (_, place) = message.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    let line = json.lines().nth(line.parse::<usize>().ok()?.checked_sub(1)?)?;
    // The column counts bytes, and is 0 before the first.
    let before = line.get(..column.parse::<usize>().ok()?.saturating_sub(1))?;
    let shown = line.chars().count() <= POINT_CHARS_MAX && !line.chars().any(char::is_control);
    shown.then(|| format!("  {line}\n  {}^", " ".repeat(before.chars().count())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretty(text: &str) -> String {
        let mut out = Vec::new();
        super::pretty(text, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_output_grows_with_the_text_but_not_with_its_depth() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[0,", "]"), ("[[],", ",[]]")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let read = |text: &str| text.split_ascii_whitespace().collect::<String>();
            for depth in [1, LEVELS_MAX - 1, LEVELS_MAX, LEVELS_MAX + 1, 2 * LEVELS_MAX] {
                let (text, laid_out) = (nested(depth), pretty(&nested(depth)));
                assert_eq!(read(&laid_out), read(&text), "depth {depth}");
                assert_eq!(pretty(&laid_out), laid_out, "depth {depth}");
            }
            let [few, many] = [4_000, 40_000].map(|depth| pretty(&nested(depth)).len());
            assert!(many < 11 * few, "{few} {many}");
        }
        let flat = format!("[{}0]", "0,".repeat(100_000));
        assert!(pretty(&flat).len() < 3 * flat.len());
    }

    #[test]
    fn indentation_changes_nothing_else() {
        let text = r#"{"b":[1.50,{}, [ ],"a\\\"{,: "],"a":{"x":null}}"#;
        let laid_out = pretty(text);
        let expected = "{\n  \"b\": [\n    1.50,\n    {},\n    [],\n    \"a\\\\\\\"{,: \"\n  ],\n  \"a\": {\n    \"x\": null\n  }\n}";
        assert_eq!(laid_out, expected);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&laid_out), read(text));
        assert_eq!(pretty(&laid_out), laid_out);
        for scalar in ["null", "-1e9", r#""[""#] {
            assert_eq!(pretty(scalar), scalar);
        }
    }

    #[test]
    fn a_caret_marks_the_error() {
        let json = "{\"a\": tru}";
        let error = serde_json::from_str::<serde_json::Value>(json).unwrap_err().to_string();
        assert_eq!(error, "expected ident at line 1 column 10");
        assert_eq!(point_at(json, &error).unwrap(), "  {\"a\": tru}\n           ^");
        assert_eq!(point_at("", "EOF while parsing a value at line 1 column 0"), None);
        assert_eq!(point_at("ä", "x at line 1 column 2"), None, "inside a character");
        assert_eq!(point_at("1", "no place"), None);
        assert_eq!(point_at("1", "x at line 9 column 1"), None);
    }
}
