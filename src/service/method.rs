//! `Method<Request, Response, Error>`: a constant that server and client share, so that the compiler checks both.

#[cfg(feature = "client")]
use super::client_error::ClientError;
use super::error_list::{ErrorList, listed};
use crate::schema::{Describe, Schema};
use crate::wire::limits::METHOD_NAME_BYTES_MAX;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use thiserror::Error;

/// A method's name with the types of its request and response, and of the application errors that callers can tell
/// apart by name ([`application_errors!`](crate::application_errors); `()` if there are none).
///
/// Request and response are frozen once published, except for what `docs/TYPES.md` lists: a client whose types differ
/// from the server's gets an error before it sends anything. Types must not be recursive.
///
/// ```
/// use boneyard::Method;
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// assert_eq!(DOUBLE.name(), "math.double");
/// ```
#[derive(Debug)]
pub struct Method<Request, Response, Error = ()> {
    name: &'static str,
    idempotent: bool,
    describe: Option<Describe>,
    types: PhantomData<fn(Request) -> (Response, Error)>,
}

impl<Request: DeserializeOwned, Response: DeserializeOwned, Error: ErrorList>
    Method<Request, Response, Error>
{
    /// Makes a method named `service.method`.
    ///
    /// # Panics
    /// At compile time when used in a constant: the name breaks the rules of [`check_method_name`].
    pub const fn new(name: &'static str) -> Self {
        Method { describe: Some(describe::<Request, Response, Error>), ..Method::undescribed(name) }
    }
}

impl<Request, Response, Error> Method<Request, Response, Error> {
    /// Makes a method whose types are not compared: for a type that one side only writes and cannot read, as `&'static
    /// str`. The other side may know the same method by [`Method::new`].
    ///
    /// # Panics
    /// As [`Method::new`].
    pub const fn undescribed(name: &'static str) -> Self {
        assert!(
            check_method_name(name).is_ok(),
            "a method's name is service.method, of letters, digits, _ and -"
        );
        Method { name, idempotent: false, describe: None, types: PhantomData }
    }

    /// Marks the method as one that may run twice without harm: to read is idempotent, to add is not. A client then
    /// repeats a call also where it may have run, and may hedge it. It changes nothing on the server.
    ///
    /// ```
    /// # use boneyard::Method;
    /// const READ: Method<u64, String> = Method::new("notes.read").idempotent();
    /// ```
    pub const fn idempotent(self) -> Self {
        Method { idempotent: true, ..self }
    }

    /// Returns whether it may run twice without harm.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Returns the shapes of its types; traced anew at each call. A test of yours can pin the fingerprint.
    ///
    /// ```
    /// # use boneyard::Method;
    /// const DOUBLE: Method<u32, u64> = Method::new("math.double");
    /// assert_eq!(DOUBLE.schema().bincode.unwrap().response.to_string(), "u64");
    /// ```
    pub fn schema(&self) -> Schema {
        self.describe
            .map_or_else(|| Schema::unknown("it was declared without a description"), |describe| describe())
    }

    /// Returns the function that makes the schema, if there is one.
    #[cfg(feature = "client")]
    pub(crate) const fn describe(&self) -> Option<Describe> {
        self.describe
    }

    /// Returns `service.method`.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<Request, Response, Error: ErrorList> Method<Request, Response, Error> {
    /// Returns the listed error that a call of this method ended with; `None` for any other error, and for a number
    /// that is not in this program's list.
    ///
    /// ```no_run
    /// # use boneyard::{Client, ClientError, Method};
    /// boneyard::application_errors! {
    ///     pub enum TicketError { NotFound = 1 => "no such ticket", Closed = 2 => "the ticket is closed" }
    /// }
    /// const CLOSE: Method<u64, (), TicketError> = Method::new("tickets.close");
    ///
    /// # fn close(client: Client) -> Result<(), ClientError> {
    /// match client.call(CLOSE, &7) {
    ///     Err(error) if CLOSE.error_of(&error) == Some(TicketError::Closed) => Ok(()), // by another
    ///     other => other,
    /// }
    /// # }
    /// ```
    #[cfg(feature = "client")]
    pub fn error_of(&self, error: &ClientError) -> Option<Error> {
        match error {
            ClientError::Application { code, .. } => Error::from_code(*code),
            _ => None,
        }
    }
}

fn describe<Request: DeserializeOwned, Response: DeserializeOwned, Error: ErrorList>() -> Schema {
    Schema { errors: listed::<Error>(), ..Schema::of::<Request, Response>() }
}

// Not derived: a derive would require the same of the three types.
impl<Request, Response, Error> Clone for Method<Request, Response, Error> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Request, Response, Error> Copy for Method<Request, Response, Error> {}

/// The name is not `service.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a method's name is service.method, of letters, digits, _ and -, at most {METHOD_NAME_BYTES_MAX} bytes"
)]
#[non_exhaustive]
pub struct InvalidMethodName;

/// Checks that a name is two or more words of ASCII letters, digits, `_` and `-`, joined by dots, of at most 128 bytes.
///
/// # Errors
/// [`InvalidMethodName`].
pub const fn check_method_name(name: &str) -> Result<(), InvalidMethodName> {
    let bytes = name.as_bytes();
    if bytes.len() > METHOD_NAME_BYTES_MAX {
        return Err(InvalidMethodName);
    }
    let (mut at, mut dots, mut word) = (0, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'.' if word > 0 => (dots, word) = (dots + 1, 0),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => word += 1,
            _ => return Err(InvalidMethodName),
        }
        at += 1;
    }
    if dots > 0 && word > 0 { Ok(()) } else { Err(InvalidMethodName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_joined_by_dots() {
        for good in ["a.b", "notes.read", "a.b.c", "Load_1.x-y"] {
            assert_eq!(check_method_name(good), Ok(()), "{good}");
        }
        let long = format!("a.{}", "b".repeat(METHOD_NAME_BYTES_MAX));
        for bad in ["", "a", ".", "a.", ".a", "a..b", "a b.c", "ä.b", &long] {
            assert_eq!(check_method_name(bad), Err(InvalidMethodName), "{bad}");
        }
    }
}
