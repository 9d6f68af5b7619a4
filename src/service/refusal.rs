//! Refusals: the answer to a call that has no result, and the application errors among them.

use super::status::{Fault, Status};
use crate::wire::WireError;
#[cfg(feature = "server")]
use crate::wire::limits::FAULT_MESSAGE_BYTES_MAX;
#[cfg(feature = "server")]
use crate::wire::{Codec, beginning};
use std::time::Duration;

/// Time after which a call that found the buffers full may be repeated.
pub(crate) const BUFFERS_AFTER: Duration = Duration::from_millis(100);

/// An error of the application: reaches the caller with its code and message, as
/// [`ClientError::Application`](crate::client::ClientError::Application).
///
/// Nothing converts into it by itself: a type of yours has what callers may read in its own `From`. A list of errors
/// that callers can tell apart by name is made by [`application_errors!`](crate::application_errors). It is no
/// [`std::error::Error`], because any of those becomes an internal error of the handler through `?`.
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

/// The reason why a call has no result, as its caller gets it. A handler returns one to refuse by itself:
///
/// ```
/// # use boneyard::{HandlerError, Refusal};
/// # use std::time::Duration;
/// fn handler(is_free: bool) -> Result<(), HandlerError> {
///     if !is_free {
///         return Err(Refusal::busy().retry_after(Duration::from_millis(200)).into());
///     }
///     Ok(())
/// }
/// ```
///
/// A status from 10 to 39 says that nothing was done: clients make such a call again.
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
    /// Makes the refusal of a handler that is busy and has done nothing: with [`Status::ServiceBusy`], upon which a
    /// client makes the call again, whatever the method, within its deadline and its budget.
    pub fn busy() -> Refusal {
        Refusal::from(Status::ServiceBusy)
    }

    /// Makes a refusal with a message. One with [`Status::Ok`] is answered as a bad response.
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
