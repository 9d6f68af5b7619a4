//! The grammar of a line: words, each of which may be cut where it stays unique; and why a command is not carried out.
//!
//! Invariants: pure text; no line panics, and an error shows its line without control characters.

use crate::config::nearest;
use crate::monitor::control::ControlError;
use crate::monitor::format::plain;

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// No word of the table begins so; with one that is similar, if there is one.
    Unknown(String, Option<String>),
    /// Several words of the table begin so.
    Ambiguous(String, Vec<&'static str>),
    /// Arguments are missing.
    TooFew,
    /// There are too many arguments.
    TooMany,
    /// A quotation mark is not closed.
    Quote,
}

impl SyntaxError {
    /// Returns the text, as Domino has it; `syntax` is the command's where it is known.
    pub(super) fn text(&self, syntax: Option<&str>) -> String {
        let arguments = |what: &str| {
            let syntax = syntax.map(|syntax| format!("Syntax: {syntax}\n")).unwrap_or_default();
            format!("{what} arguments.  Enter 'HELP' for the correct syntax.\n{syntax}")
        };
        match self {
            SyntaxError::Unknown(word, near) => {
                let near = near.as_ref().map_or(String::new(), |near| format!("; did you mean {near}?"));
                format!("Command or option is not recognized: {}{near}\n", plain(word))
            }
            SyntaxError::Ambiguous(word, all) => {
                format!("Command or option is ambiguous: {} could be {}\n", plain(word), all.join(", "))
            }
            SyntaxError::TooFew => arguments("Insufficient"),
            SyntaxError::TooMany => arguments("Too many"),
            SyntaxError::Quote => "A quotation mark is not closed.\n".to_owned(),
        }
    }
}

/// Returns the words of a line; what is between quotation marks is part of one.
pub(super) fn words(line: &str) -> Result<Vec<String>, SyntaxError> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for char in line.chars() {
        if char == '"' {
            quoted = !quoted;
            // Empty quotation marks are a word too.
            word.get_or_insert_default();
        } else if char.is_whitespace() && !quoted {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(char);
        }
    }
    if quoted {
        return Err(SyntaxError::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// Returns the one of `all` that `word` is, or the only one that begins with it, in any letter case.
pub(super) fn one_of(
    word: &str,
    all: impl Iterator<Item = &'static str> + Clone,
) -> Result<&'static str, SyntaxError> {
    let mut found: Vec<&'static str> = Vec::new();
    for candidate in all.clone().filter(|candidate| begins(candidate, word)) {
        if candidate.len() == word.len() {
            return Ok(candidate);
        }
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    match found[..] {
        [] => Err(SyntaxError::Unknown(word.to_owned(), nearest(word, all.map(str::to_owned).collect()))),
        [one] => Ok(one),
        _ => Err(SyntaxError::Ambiguous(word.to_owned(), found)),
    }
}

/// Returns whether `text` begins with `start`, in any letter case.
pub(super) fn begins(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The line is not a command.
    Syntax(SyntaxError),
    /// It names something that does not exist.
    NotFound(String),
    /// The server refused it, or failed.
    Refused(ControlError),
    /// It changes something, and its source may only look.
    Forbidden,
}

impl From<SyntaxError> for CommandError {
    fn from(error: SyntaxError) -> CommandError {
        CommandError::Syntax(error)
    }
}

impl From<ControlError> for CommandError {
    fn from(error: ControlError) -> CommandError {
        CommandError::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_spaces_and_not_in_quotation_marks() {
        let words = |line| words(line).unwrap();
        assert_eq!(words("  show\tserver "), ["show", "server"]);
        assert_eq!(words(r#"set config "Log_File=a b""#), ["set", "config", "Log_File=a b"]);
        assert_eq!(words(r#"a"b c"d """#), ["ab cd", ""]);
        assert!(words(" ").is_empty());
        assert_eq!(super::words("tell x \"y"), Err(SyntaxError::Quote));
    }

    #[test]
    fn a_unique_beginning_is_enough_and_a_whole_word_is_never_ambiguous() {
        let of = |word| one_of(word, ["port", "ports", "performance", "tasks"].into_iter());
        assert_eq!(of("TA"), Ok("tasks"));
        assert_eq!(of("Port"), Ok("port"));
        assert_eq!(of("po"), Err(SyntaxError::Ambiguous("po".to_owned(), vec!["port", "ports"])));
        assert_eq!(of("x"), Err(SyntaxError::Unknown("x".to_owned(), None)));
        let slip = of("taks").unwrap_err().text(None);
        assert_eq!(slip, "Command or option is not recognized: taks; did you mean tasks?\n");
        assert!(!begins("é", "e") && !begins("aé", "ab"));
    }
}
