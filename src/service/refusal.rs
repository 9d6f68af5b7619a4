//! Refusals: the answer to a call that has no result, and the error that a handler returns.

use super::status::{Fault, Status};
use crate::wire::WireError;
#[cfg(feature = "server")]
use crate::wire::limits::FAULT_MESSAGE_BYTES_MAX;
#[cfg(feature = "server")]
use crate::wire::{Codec, beginning};
use std::time::Duration;

/// Time after which a call that found the buffers full may be repeated.
pub(crate) const BUFFERS_AFTER: Duration = Duration::from_millis(100);

/// A handler's refusal: reaches the client with its code and message.
///
/// Any error becomes one through `?` (code 0, its text as the message), so put into your own errors only what a client
/// may read. It is no [`std::error::Error`] itself: that conversion excludes it, as in `anyhow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationError {
    /// The application's own number; 0 when it has none.
    pub code: u32,
    /// Text for people.
    pub message: String,
}

impl ApplicationError {
    /// Makes an error with the application's own number.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        ApplicationError { code, message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for ApplicationError {
    fn from(error: E) -> Self {
        ApplicationError::new(0, error.to_string())
    }
}

/// The reason why a call has no result, as its caller gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// The details that travel with it.
    pub fault: Fault,
}

impl From<Status> for Refusal {
    /// Makes a refusal with the text of its status.
    fn from(status: Status) -> Refusal {
        Refusal::new(status, status.text())
    }
}

impl Refusal {
    /// Makes a refusal with a message.
    pub fn new(status: Status, message: impl Into<String>) -> Refusal {
        Refusal { status, fault: Fault { code: 0, retry_after_ms: 0, message: message.into() } }
    }

    /// Adds a hint when the call may be repeated, in whole milliseconds and at least one.
    pub fn retry_after(mut self, after: Duration) -> Refusal {
        self.fault.retry_after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1);
        self
    }

    /// Appends the details as the call's codec writes them. The message is cut to its bound: that of a handler may be
    /// of any length.
    #[cfg(feature = "server")]
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
