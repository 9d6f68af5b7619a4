//! Line scanner: bytes of a settings file into keys with line numbers.
//!
//! A file is UTF-8, with or without byte order mark; lines end in LF or CRLF; a line is blank, a comment (`;` or `#`
//! first), `[Server]` or `[Notes]` (both mean the same), `[Limits]`, the section of a program, or `key=value`. Spaces
//! around keys and values are ignored.
//!
//! It runs before the `ini` crate because that crate has no line numbers, keeps the last of two equal keys, reads any
//! line as a key, cuts a value at `;` or `#`, and reads a byte order mark as part of the first key; here each of these
//! is an error with its line, or handled. Both read accepted text in the same way: `ini_crosscheck` compares them at
//! every start.
//!
//! Invariant: keys of the result are unique, ignoring case, and consist of ASCII letters, digits, `-` and `_` only;
//! those below `[Limits]`, and no others, have dots between.
//! It does not know which keys exist or what their values mean.

use super::error::{ConfigError, Problem};
use super::method_limits;
use std::collections::HashMap;

/// Largest settings file, in bytes. A file with every key of 64 ports is a tenth of this.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024;

/// Sections that may contain settings, in addition to the part before any section, and the one for limits of methods.
pub(super) const SECTIONS: [&str; 3] = ["Server", "Notes", "Limits"];

/// One `key=value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IniEntry {
    /// Section of the line, in lower case; `None` before the first.
    pub(super) section: Option<String>,
    /// Key as written.
    pub(super) key: String,
    /// Value without the spaces around it.
    pub(super) value: String,
    /// Line number, from 1.
    pub(super) line: u32,
}

/// Lines of a file, and the errors in them.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The valid lines, in order, without repeated keys.
    pub(super) entries: Vec<IniEntry>,
    /// Errors of the other lines.
    pub(super) errors: Vec<ConfigError>,
    /// The text without byte order mark; complete only when there are no errors.
    pub(super) text: String,
}

/// Reads all lines; continues after an error, so that one pass finds all of them.
///
/// `program` is the section of a program's own settings, if it has one.
pub(super) fn scan(bytes: &[u8], program: Option<&str>) -> Scan {
    let mut scan = Scan::default();
    if bytes.len() > FILE_BYTES_MAX {
        let expected = format!("at most {} bytes", FILE_BYTES_MAX);
        scan.errors.push(ConfigError::at(1, Problem::TooLarge, expected).wrong("the file is too large"));
        return scan;
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let error = ConfigError::at(1, Problem::BadText, "UTF-8 text").wrong("the file is UTF-16");
        scan.errors.push(error.hint("save it as UTF-8"));
        return scan;
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut section = None;
    let mut first_lines = HashMap::new();
    for (number, raw) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let line = match clean(raw) {
            Ok(line) => line,
            Err((wrong, expected)) => {
                scan.errors.push(ConfigError::at(number, Problem::BadText, expected).wrong(wrong));
                continue;
            }
        };
        scan.text.push_str(line);
        scan.text.push('\n');
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if line.starts_with('[') {
            section = scan.section(line, number, program);
        } else {
            scan.entry(line, number, section.clone(), &mut first_lines);
        }
    }
    scan
}

/// Reads settings that a program makes as the lines of a file, each below the section that its key belongs to. The
/// line numbers count the settings.
pub(super) fn of_program(settings: &[(String, String)]) -> Scan {
    let (mut scan, mut first) = (Scan::default(), HashMap::new());
    for (number, (key, value)) in (1..).zip(settings) {
        let line = format!("{key}={value}");
        match clean(line.as_bytes()) {
            Ok(line) => {
                let section = method_limits::is_method(key).then(|| method_limits::SECTION.to_owned());
                scan.entry(line.trim(), number, section, &mut first);
            }
            Err((wrong, expected)) => {
                scan.errors.push(ConfigError::at(number, Problem::BadText, expected).key(key).wrong(wrong));
            }
        }
    }
    scan
}

impl Scan {
    /// Name of the section that a header begins. Lines below a wrong header are read like any others, because they will
    /// count once the header is corrected.
    fn section(&mut self, line: &str, number: u32, program: Option<&str>) -> Option<String> {
        let expected = match program {
            Some(program) => format!("[Server], [Notes], [Limits] or [{program}]"),
            None => "[Server], [Notes] or [Limits]".to_owned(),
        };
        let error = |problem| ConfigError::at(number, problem, expected.as_str()).found(line);
        let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            self.errors.push(error(Problem::BadLine).wrong("not a section"));
            return None;
        };
        let name = name.trim();
        if SECTIONS.iter().copied().chain(program).any(|known| known.eq_ignore_ascii_case(name)) {
            return Some(name.to_ascii_lowercase());
        }
        self.errors.push(error(Problem::UnknownSection).wrong("unknown section"));
        None
    }

    fn entry(
        &mut self,
        line: &str,
        number: u32,
        section: Option<String>,
        first_lines: &mut HashMap<String, u32>,
    ) {
        let Some((key, value)) = line.split_once('=') else {
            let error = ConfigError::at(number, Problem::BadLine, "key=value");
            self.errors.push(error.found(line).wrong("not a setting"));
            return;
        };
        let (key, value) = (key.trim(), value.trim());
        let is_limit = section.as_deref() == Some(method_limits::SECTION);
        let is_key = match is_limit {
            true => method_limits::is_method(key) && key.split('.').flat_map(str::bytes).all(is_key_byte),
            false => !key.is_empty() && key.bytes().all(is_key_byte),
        };
        if !is_key {
            let (expected, wrong) = match is_limit {
                true => ("service.method=RUN,WAIT", "not a limit of a method"),
                false => ("key=value, the key of letters, digits, hyphens and underscores", "not a setting"),
            };
            let error = ConfigError::at(number, Problem::BadLine, expected).found(line).wrong(wrong);
            let hint =
                if is_limit || !key.contains('.') { "" } else { "limits of methods stand below [Limits]" };
            self.errors.push(error.hint(hint));
            return;
        }
        let first = *first_lines.entry(key.to_ascii_lowercase()).or_insert(number);
        if first != number {
            let error = ConfigError::at(number, Problem::DuplicateKey, "each key once").key(key).found(value);
            self.errors.push(error.wrong(format!("already given in line {first}")));
            return;
        }
        if let Some(mark) = value.chars().find(|mark| matches!(mark, ';' | '#')) {
            let expected = "a value without ; and #";
            let error = ConfigError::at(number, Problem::CommentInValue, expected).key(key).found(value);
            let error = error.wrong(format!("{mark} begins a comment only at the start of a line"));
            self.errors.push(error.hint("put the comment on a line of its own"));
            return;
        }
        self.entries.push(IniEntry { section, key: key.to_owned(), value: value.to_owned(), line: number });
    }
}

pub(super) fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Returns the line as text, or what is wrong and what was expected. Columns count characters, from 1.
fn clean(raw: &[u8]) -> Result<&str, (String, &'static str)> {
    let line = std::str::from_utf8(raw).map_err(|error| {
        let good = &raw[..error.valid_up_to()];
        let column = String::from_utf8_lossy(good).chars().count() + 1;
        (format!("byte 0x{:02X} in column {column} is not UTF-8", raw[good.len()]), "UTF-8 text")
    })?;
    // A tab is white space; any other control character is invisible, and some would control the terminal on which an
    // error is printed.
    match line.chars().enumerate().find(|(_, char)| char.is_control() && *char != '\t') {
        Some((index, char)) => {
            let code = u32::from(char);
            let wrong = format!("control character 0x{code:02X} in column {}", index + 1);
            Err((wrong, "text without control characters"))
        }
        None => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u32, String, String)> {
        let scan = scan(bytes, None);
        assert_eq!(scan.errors, []);
        scan.entries.into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect()
    }

    fn errors(bytes: &[u8]) -> Vec<String> {
        scan(bytes, None).errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn byte_order_mark_line_ends_comments_sections_and_spaces_are_ignored() {
        let text = b"\xEF\xBB\xBFa=1\r\n; note\r\n\t# note\n\n[Server]\r\n  b = 2 \n[ notes ]\nc=\nd-e_9=x,y = z : \\new";
        let expected = [(1, "a", "1"), (6, "b", "2"), (8, "c", ""), (9, "d-e_9", "x,y = z : \\new")]
            .map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(lines(text), expected);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\xEF\xBB\xBF"), []);
    }

    #[test]
    fn hostile_lines_are_reported_with_line_and_column() {
        let text = b"[Ser\nx=1\n[Server]\njunk\n=5\nkey:5\nna me=1\nok=1\nOK=2\nv=a;b\nw=pa#ss\nn=a\0b\nu=\xC3\xA9\xFF\nq=\x1b[1m\r\r\n[Other]\ny=1\n[Server] ; x\n\xEF\xBB\xBFz=1";
        let expected = [
            "line 1: [Ser: not a section, expected [Server], [Notes] or [Limits]",
            "line 4: junk: not a setting, expected key=value",
            "line 5: =5: not a setting, expected key=value, the key of letters, digits, hyphens and underscores",
            "line 6: key:5: not a setting, expected key=value",
            "line 7: na me=1: not a setting, expected key=value, the key of letters, digits, hyphens and underscores",
            "line 9: OK=2: already given in line 8, expected each key once",
            "line 10: v=a;b: ; begins a comment only at the start of a line, expected a value without ; and #; put the comment on a line of its own",
            "line 11: w=pa#ss: # begins a comment only at the start of a line, expected a value without ; and #; put the comment on a line of its own",
            "line 12: control character 0x00 in column 4, expected text without control characters",
            "line 13: byte 0xFF in column 4 is not UTF-8, expected UTF-8 text",
            "line 14: control character 0x1B in column 3, expected text without control characters",
            "line 15: [Other]: unknown section, expected [Server], [Notes] or [Limits]",
            "line 17: [Server] ; x: not a section, expected [Server], [Notes] or [Limits]",
            "line 18: \\u{feff}z=1: not a setting, expected key=value, the key of letters, digits, hyphens and underscores",
        ];
        assert_eq!(errors(text), expected);
    }

    #[test]
    fn a_lone_carriage_return_is_not_a_line_end() {
        assert_eq!(
            errors(b"a=1\rb=2"),
            ["line 1: control character 0x0D in column 4, expected text without control characters"]
        );
    }

    #[test]
    fn other_encodings_and_sizes_are_one_error() {
        assert_eq!(
            errors(b"\xFF\xFEa\0"),
            ["line 1: the file is UTF-16, expected UTF-8 text; save it as UTF-8"]
        );
        assert_eq!(errors(&vec![b'\n'; FILE_BYTES_MAX]), [""; 0]);
        assert_eq!(
            errors(&vec![b'\n'; FILE_BYTES_MAX + 1]),
            ["line 1: the file is too large, expected at most 262144 bytes"]
        );
    }

    #[test]
    fn long_text_is_cut_in_the_error() {
        let error = errors(format!("{}\n", "é".repeat(5000)).as_bytes()).remove(0);
        assert!(error.starts_with("line 1: éééé") && error.len() < 300, "{error}");
    }
}
