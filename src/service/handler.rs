//! From a closure over typed values to bytes in, bytes out.

use super::{Fault, Status, Transaction};
use crate::wire::limits::FAULT_MESSAGE_BYTES_MAX;
use crate::wire::{Codec, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A handler's "no": reaches the client with its code and message.
///
/// Any error becomes one through `?` (code 0, its text as the message), so say in your own errors only what a
/// client may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationError {
    /// The application's own number; 0 when it has none.
    pub code: u32,
    /// For people.
    pub message: String,
}

impl ApplicationError {
    /// An error with the application's own number.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        ApplicationError { code, message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for ApplicationError {
    fn from(error: E) -> Self {
        ApplicationError::new(0, error.to_string())
    }
}

/// Why there is no result: what the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose fault, and which.
    pub status: Status,
    /// The details that travel with it.
    pub fault: Fault,
}

impl Refusal {
    /// A refusal with a message.
    pub fn new(status: Status, message: impl Into<String>) -> Refusal {
        Refusal { status, fault: Fault { code: 0, retry_after_ms: 0, message: message.into() } }
    }

    /// The same with a hint when the call may be tried again, in whole milliseconds and at least one.
    pub fn retry_after(mut self, after: Duration) -> Refusal {
        self.fault.retry_after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1);
        self
    }

    /// Appends the details as the call's codec writes them, the message cut to its bound: a decoder's message may
    /// hold all of what it could not decode, and a handler's whatever it likes.
    pub(crate) fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        let message = &self.fault.message;
        let within = |end: &usize| message.is_char_boundary(*end);
        let end = (0..=message.len().min(FAULT_MESSAGE_BYTES_MAX)).rev().find(within).unwrap_or(0);
        let encoded = if end == message.len() {
            codec.encode(&self.fault, out)
        } else {
            codec.encode(&Fault { message: message[..end].to_owned(), ..self.fault }, out)
        };
        debug_assert!(encoded.is_ok(), "numbers and text always encode");
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        let status = match error {
            WireError::UnsupportedVersion { .. } => Status::UnsupportedVersion,
            WireError::TooLarge { .. } => Status::TooLarge,
            WireError::Undecodable(_) | WireError::LeftOver(_) => Status::BadRequest,
            WireError::Unencodable(_) => Status::BadResponse,
            _ => Status::ProtocolError,
        };
        Refusal::new(status, error.to_string())
    }
}

impl From<ApplicationError> for Refusal {
    fn from(error: ApplicationError) -> Self {
        let fault = Fault { code: error.code, retry_after_ms: 0, message: error.message };
        Refusal { status: Status::Application, fault }
    }
}

/// A method's code, its types forgotten: arguments in, result appended to the last parameter.
pub(crate) type Handler =
    Box<dyn Fn(&Transaction<'_>, Codec, &[u8], &mut Vec<u8>) -> Result<(), Refusal> + Send + Sync>;

/// Wraps a closure over typed values. Handlers say no by an [`ApplicationError`], built-in methods by any refusal.
pub(crate) fn typed<Request, Response, No, F>(run: F) -> Handler
where
    Request: DeserializeOwned,
    Response: Serialize,
    No: Into<Refusal>,
    F: Fn(&Transaction<'_>, Request) -> Result<Response, No> + Send + Sync + 'static,
{
    Box::new(move |transaction, codec, arguments, result| {
        let response = run(transaction, codec.decode(arguments)?).map_err(Into::into)?;
        Ok(codec.encode(&response, result)?)
    })
}
