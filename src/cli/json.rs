//! JSON as text: laying it out for people, and pointing at a place in it.
//!
//! Works on the text and not on values, so that numbers and the order of fields stay as they were written.

/// The same JSON with each element on a line of its own. `text` is valid JSON.
pub(super) fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut chars = text.chars().filter(|char| !char.is_ascii_control()).peekable();
    while let Some(char) = chars.next() {
        if quoted {
            out.push(char);
            quoted = escaped || char != '"';
            escaped = char == '\\' && !escaped;
            continue;
        }
        match char {
            ' ' => {}
            '[' | '{' => {
                out.push(char);
                while chars.next_if_eq(&' ').is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, ']' | '}')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            ']' | '}' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char => {
                quoted = char == '"';
                out.push(char);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Longest line that is shown to point at a place in it.
const POINT_CHARS_MAX: usize = 100;

/// The line of `json` that a message ending in `at line L column C` speaks of, and a caret under the column.
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

    #[test]
    fn the_layout_changes_nothing_but_the_layout() {
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
    fn a_caret_stands_under_what_is_wrong() {
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
