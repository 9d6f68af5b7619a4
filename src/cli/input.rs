//! Values of options, and JSON arguments from the command line or standard input.

use super::json;
use super::output::{Exit, eprint_error};
use crate::wire::limits::BODY_BYTES_MAX;
use serde::de::IgnoredAny;
use std::io::{self, Read};
use std::time::Duration;

/// Settings file if none is named.
pub(super) const DEFAULT_FILE: &str = "server.ini";

/// Longest time that is accepted: a year. Clocks have an end.
const SECONDS_MAX: f64 = 365.0 * 24.0 * 3600.0;

/// Reads a number of seconds, possibly with a fraction, more than 0 and at most a year.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a number of seconds, more than 0 and at most {SECONDS_MAX}");
    let number = text.parse().ok().filter(|number| (0.0..=SECONDS_MAX).contains(number));
    let duration = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

/// Returns the text without the byte order mark that editors and shells of Windows write before it.
pub(super) fn without_byte_order_mark(mut text: String) -> String {
    const MARK: char = '\u{FEFF}';
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

/// Returns the arguments of a call as valid JSON; `-` reads them from standard input. Text that is not JSON is an error
/// here, without a request to the server.
pub(super) fn json_arguments(given: String) -> Result<String, Exit> {
    let text = if given == "-" { without_byte_order_mark(read_standard_input()?) } else { given };
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => {
            let error = error.to_string();
            eprint_error(&format!("the arguments are not JSON: {error}"));
            point_at_error(&text, &error);
            Err(Exit::Input)
        }
    }
}

fn read_standard_input() -> Result<String, Exit> {
    let mut text = String::new();
    // One byte more than any server accepts: no more is needed to detect that it is too much.
    match io::stdin().lock().take(BODY_BYTES_MAX as u64 + 1).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => {
            Err(Exit::Environment
                .with_error(&format!("cannot read the arguments from standard input: {error}")))
        }
    }
}

/// Prints the line of the JSON with a mark at the place that the message names.
pub(super) fn point_at_error(json: &str, message: &str) {
    if let Some(lines) = json::point_at(json, message) {
        eprint_error(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_more_than_none() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("31536000"), Ok(Duration::from_secs(31_536_000)));
        for wrong in ["", "0", "-0", "-1", "1e-300", "ten", "inf", "nan", "31536001", "1e19", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
