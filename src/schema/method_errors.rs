//! [`MethodErrors`]: the application errors that a method lists, by number and name.
//!
//! Invariant: two lists differ only where a number has two names or a name two numbers; either side may know more.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// The application errors of a method.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodErrors {
    /// Name of the type that lists them; empty where the method lists none.
    pub name: String,
    /// The errors, by number.
    pub codes: Vec<ErrorCode>,
}

/// One of the application errors of a method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorCode {
    /// Number, as in a Fault.
    pub code: u32,
    /// Name, which programs use.
    pub name: String,
    /// Text for people, which may change.
    pub text: String,
}

impl MethodErrors {
    /// Makes the list of a type with this name, from number, name and text of each error.
    pub fn new(name: &str, errors: &[(u32, &str, &str)]) -> MethodErrors {
        let code = |(code, name, text): &(u32, &str, &str)| ErrorCode {
            code: *code,
            name: (*name).into(),
            text: (*text).into(),
        };
        let mut codes: Vec<ErrorCode> = errors.iter().map(code).collect();
        codes.sort_by_key(|error| error.code);
        MethodErrors { name: name.to_owned(), codes }
    }

    /// Returns whether the method lists no errors.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The errors as the fingerprint has them: `NotFound = 1 | Closed = 2`.
    pub(super) fn nameless(&self) -> String {
        let each: Vec<String> =
            self.codes.iter().map(|ErrorCode { code, name, .. }| format!("{name} = {code}")).collect();
        each.join(" | ")
    }

    /// Returns the first error of this list that the server has with another number or name.
    pub fn first_difference(&self, server: &MethodErrors) -> Option<String> {
        let shown = |error: &ErrorCode| format!("{} = {}", error.name, error.code);
        self.codes.iter().find_map(|own| {
            let differs = |other: &&ErrorCode| (other.code == own.code) != (other.name == own.name);
            let other = server.codes.iter().find(differs)?;
            Some(format!("errors: {} here, {} at the server", shown(own), shown(other)))
        })
    }
}

impl Display for MethodErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.nameless())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_differs_where_a_number_or_a_name_means_something_else() {
        let own = MethodErrors::new("A", &[(2, "Closed", "closed"), (1, "NotFound", "not found")]);
        assert_eq!(own.to_string(), "A <NotFound = 1 | Closed = 2>");
        let difference = |errors: &[(u32, &str, &str)]| own.first_difference(&MethodErrors::new("B", errors));
        assert_eq!(difference(&[(1, "NotFound", "another text"), (2, "Closed", ""), (3, "New", "")]), None);
        assert_eq!(difference(&[]), None);
        let renamed = difference(&[(1, "NotFound", ""), (2, "Shut", "")]);
        assert_eq!(renamed.as_deref(), Some("errors: Closed = 2 here, Shut = 2 at the server"));
        let renumbered = difference(&[(7, "NotFound", "")]);
        assert_eq!(renumbered.as_deref(), Some("errors: NotFound = 1 here, NotFound = 7 at the server"));
    }
}
