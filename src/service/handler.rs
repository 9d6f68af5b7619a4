//! From a closure over typed values to bytes in, bytes out.

use super::{Fault, Status, Transaction, worker_hooks};
use crate::wire::limits::FAULT_MESSAGE_BYTES_MAX;
use crate::wire::{Codec, WireError, beginning};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// When a caller may come again at the earliest whose call found the buffers full.
pub(crate) const BUFFERS_AFTER: Duration = Duration::from_millis(100);

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

    /// Appends the details as the call's codec writes them, the message cut to its bound: a handler's may hold
    /// whatever it likes.
    pub(crate) fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        let message = beginning(&self.fault.message, FAULT_MESSAGE_BYTES_MAX);
        let encoded = if message.len() == self.fault.message.len() {
            codec.encode(&self.fault, out)
        } else {
            codec.encode(&Fault { message: message.to_owned(), ..self.fault }, out)
        };
        debug_assert!(encoded.is_ok(), "numbers and text always encode");
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        let status = match error {
            WireError::UnsupportedVersion { .. } => Status::UnsupportedVersion,
            WireError::TooLarge { .. } => Status::TooLarge,
            WireError::Undecodable(_) | WireError::LeftOver(_) | WireError::Grows { .. } => {
                Status::BadRequest
            }
            WireError::NoRoom => Status::BuffersFull,
            WireError::Unencodable(_) => Status::BadResponse,
            _ => Status::ProtocolError,
        };
        let refusal = Refusal::new(status, error.to_string());
        if status == Status::BuffersFull { refusal.retry_after(BUFFERS_AFTER) } else { refusal }
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
        let request = codec.decode_in(arguments, &worker_hooks::Lender)?;
        let response = run(transaction, request).map_err(Into::into)?;
        Ok(codec.encode(&response, result)?)
    })
}
