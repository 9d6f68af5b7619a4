//! Decoding of JSON with a limit on depth, and with the path to a wrong field in errors.
//!
//! Invariants: a body nests at most [`DEPTH_MAX`] deep, whatever its type, so that the smallest stack of a worker holds
//! it. The search for the path costs time only for bodies that are wrong.

use super::budgeted_decoder::BudgetedDecoder;
use super::decode_budget::{DecodeBudget, DecodeError, beginning};
use super::error::WireError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

/// Deepest nesting of lists and objects. A debug build takes up to 3 KiB of stack for each level.
pub const DEPTH_MAX: usize = 32;

/// Deepest nesting for which the path to a wrong field is searched, which takes twice the stack.
const PATH_DEPTH_MAX: usize = DEPTH_MAX / 2;

/// Longest path to a field in a message, in bytes: a peer may have chosen its names.
const PATH_BYTES_MAX: usize = 200;

/// Reads one value that fills `bytes`, white space aside.
///
/// # Errors
/// [`WireError::Undecodable`].
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], budget: &DecodeBudget<'_>) -> Result<T, WireError> {
    let text = utf8(bytes)?;
    if let Some(place) = deeper_than(DEPTH_MAX, bytes) {
        return Err(WireError::Undecodable(format!("nested more than {DEPTH_MAX} deep at {place}")));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(BudgetedDecoder::new(&mut reader, budget));
    let error = match value.map(|value| (value, reader.end())) {
        Ok((value, Ok(()))) => return Ok(value),
        Ok((_, Err(error))) => error.to_string(),
        Err(_) if budget.refusal().is_some() => String::new(),
        Err(error) => with_path::<T>(text, error.into_text()),
    };
    Err(WireError::Undecodable(error))
}

/// The bytes as text. Checked first, since text that the type ignores is not checked later.
fn utf8(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|error| WireError::Undecodable(error.to_string()))
}

/// Returns the text if it is exactly one JSON value. Keeps nothing of it, so depth is not limited.
///
/// # Errors
/// [`WireError::Undecodable`].
pub fn check(bytes: &[u8]) -> Result<&str, WireError> {
    let text = utf8(bytes)?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(WireError::Undecodable(error.to_string())),
    }
}

/// The place where nesting exceeds `most`. Exact for JSON; other text is refused by the reader anyway.
fn deeper_than(most: usize, bytes: &[u8]) -> Option<String> {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_text(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return Some(place(&bytes[..=at]));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Offset of the quote that ends the text which begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Line and column of the last byte, counted as serde_json does.
fn place(bytes: &[u8]) -> String {
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = bytes.iter().rev().take_while(|byte| **byte != b'\n').count();
    format!("line {line} column {column}")
}

/// The error with the path to its field: `notes[3].title: invalid type: ...`. Reads once more to find the path.
#[cold]
fn with_path<T: DeserializeOwned>(text: &str, error: String) -> String {
    if deeper_than(PATH_DEPTH_MAX, text.as_bytes()).is_some() {
        return error;
    }
    let mut again = serde_json::Deserializer::from_str(text);
    // The first attempt has released its memory.
    let budget = DecodeBudget::new(text.len(), true, &());
    let path = match serde_path_to_error::deserialize::<_, T>(BudgetedDecoder::new(&mut again, &budget)) {
        // A syntax error between two fields.
        Err(found) if matches!(found.path().iter().next_back(), Some(Segment::Unknown)) => ".".to_owned(),
        Err(found) => DecodeError::new(format_args!("{}", found.path())).into_text(),
        Ok(_) => ".".to_owned(),
    };
    let shown = beginning(&path, PATH_BYTES_MAX);
    let cut = if shown.len() < path.len() { "..." } else { "" };
    if path == "." { error } else { format!("{shown}{cut}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_only() {
        let nest = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(deeper_than(DEPTH_MAX, &nest(DEPTH_MAX)), None);
        assert_eq!(deeper_than(DEPTH_MAX, &nest(DEPTH_MAX + 1)).as_deref(), Some("line 1 column 33"));
        let many = [&b"["[..], &nest(DEPTH_MAX - 1).repeat(100), b"]"].concat();
        assert_eq!(deeper_than(DEPTH_MAX, &many), None, "beside one another they are not deep");
        let text = format!("\"\\\"{}\\\\\"", "[".repeat(100));
        assert_eq!(deeper_than(DEPTH_MAX, text.as_bytes()), None);
        let behind = [text.as_bytes(), b"\n ", &nest(40)].concat();
        assert_eq!(deeper_than(DEPTH_MAX, &behind).as_deref(), Some("line 2 column 34"));
        for cut in ["\"", "\"\\", "\"a", "]]]", ""] {
            assert_eq!(deeper_than(DEPTH_MAX, cut.as_bytes()), None);
        }
    }

    #[test]
    fn a_check_does_not_limit_depth() {
        let deep = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
        assert_eq!(check(&deep).map(str::len), Ok(2 << 20));
        assert!(check(b"[] 1").is_err() && check(b"[").is_err() && check(b"\"\xff\"").is_err());
    }
}
