//! What a line means: words, and which of several each one begins.
//!
//! Pure text. Invariant: no line panics, and what is said of a wrong one shows it without control characters.

use super::layout::plain;
use crate::config::nearest;

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// No word of the table begins so; one is near perhaps.
    Unknown(String, Option<String>),
    /// Several do.
    Ambiguous(String, Vec<&'static str>),
    /// More is needed.
    TooFew,
    /// Less is.
    TooMany,
    /// A quotation mark has no second.
    Quote,
}

impl Wrong {
    /// For people, as Domino says it; `syntax` is the command's where it is known.
    pub(super) fn text(&self, syntax: Option<&str>) -> String {
        let arguments = |what: &str| {
            let syntax = syntax.map(|syntax| format!("Syntax: {syntax}\n")).unwrap_or_default();
            format!("{what} arguments.  Enter 'HELP' for the correct syntax.\n{syntax}")
        };
        match self {
            Wrong::Unknown(word, near) => {
                let near = near.as_ref().map_or(String::new(), |near| format!("; did you mean {near}?"));
                format!("Command or option is not recognized: {}{near}\n", plain(word))
            }
            Wrong::Ambiguous(word, all) => {
                format!("Command or option is ambiguous: {} could be {}\n", plain(word), all.join(", "))
            }
            Wrong::TooFew => arguments("Insufficient"),
            Wrong::TooMany => arguments("Too many"),
            Wrong::Quote => "A quotation mark is not closed.\n".to_owned(),
        }
    }
}

/// The words of a line; what stands between quotation marks is part of one.
pub(super) fn words(line: &str) -> Result<Vec<String>, Wrong> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for char in line.chars() {
        if char == '"' {
            quoted = !quoted;
            // Nothing in quotation marks is a word too.
            word.get_or_insert_default();
        } else if char.is_whitespace() && !quoted {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(char);
        }
    }
    if quoted {
        return Err(Wrong::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// The one of `all` that `word` is, or that alone begins with it; letter case is the same.
pub(super) fn one_of(
    word: &str,
    all: impl Iterator<Item = &'static str> + Clone,
) -> Result<&'static str, Wrong> {
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
        [] => Err(Wrong::Unknown(word.to_owned(), nearest(word, all.map(str::to_owned).collect()))),
        [one] => Ok(one),
        _ => Err(Wrong::Ambiguous(word.to_owned(), found)),
    }
}

/// Does `text` begin with `start`, in any letter case?
pub(super) fn begins(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
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
        assert_eq!(super::words("tell x \"y"), Err(Wrong::Quote));
    }

    #[test]
    fn a_unique_beginning_is_enough_and_a_whole_word_is_never_ambiguous() {
        let of = |word| one_of(word, ["port", "ports", "performance", "tasks"].into_iter());
        assert_eq!(of("TA"), Ok("tasks"));
        assert_eq!(of("Port"), Ok("port"));
        assert_eq!(of("po"), Err(Wrong::Ambiguous("po".to_owned(), vec!["port", "ports"])));
        assert_eq!(of("x"), Err(Wrong::Unknown("x".to_owned(), None)));
        let slip = of("taks").unwrap_err().text(None);
        assert_eq!(slip, "Command or option is not recognized: taks; did you mean tasks?\n");
        assert!(!begins("é", "e") && !begins("aé", "ab"));
    }
}
