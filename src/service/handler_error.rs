//! [`HandlerError`]: the error of a handler, and how much of it its caller is told.
//!
//! Invariant: the text of an error that is neither an application error nor a refusal goes into the server's log, and
//! never to a caller.

#[cfg(feature = "client")]
use super::client_error::ClientError;
use super::refusal::{ApplicationError, Refusal};
#[cfg(feature = "client")]
use super::status::Blame;
use super::status::{Repeat, Status};
use std::error::Error;

/// Limit on the causes of an error that are looked at: a `source` may lead in a circle.
#[cfg(any(feature = "client", feature = "server"))]
const CAUSES_MAX: usize = 16;

/// The reason why a handler gives no result.
///
/// `?` converts into it: an [`ApplicationError`] and a [`Refusal`], which the caller gets as they are; and any
/// [`std::error::Error`], which becomes [`HandlerError::Internal`], unless it is, or has among its sources, the error
/// of a call of the client library that was refused (see [`HandlerError::internal`]). An error type of your own that is
/// no `std::error::Error` can have conversions of its own:
///
/// ```
/// use boneyard::{ApplicationError, HandlerError};
///
/// enum NoteError { Missing(u64), Disk(std::io::Error) }
///
/// impl From<std::io::Error> for NoteError {
///     fn from(error: std::io::Error) -> NoteError {
///         NoteError::Disk(error)
///     }
/// }
///
/// impl From<NoteError> for HandlerError {
///     fn from(error: NoteError) -> HandlerError {
///         match error {
///             NoteError::Missing(id) => ApplicationError::new(1, format!("there is no note {id}")).into(),
///             NoteError::Disk(error) => error.into(), // for the log only
///         }
///     }
/// }
/// ```
///
/// It is no [`std::error::Error`] itself: that conversion excludes it, as in `anyhow`.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandlerError {
    /// The service's own word: its code and message are the caller's.
    Application(ApplicationError),
    /// A refusal: the caller gets its status, message and hint.
    Refusal(Refusal),
    /// A failure: its text and that of its sources go into the log, with the method, the caller's address and the
    /// call's number. The caller gets [`Status::Internal`]; or, where a call of the handler was late and the caller's
    /// own deadline has passed, that it has.
    Internal(Box<dyn Error + Send + Sync>),
}

impl HandlerError {
    /// Makes the error for a cause, or for a text, that is not for callers.
    ///
    /// If the cause or one of its 16 nearest sources is the [`ClientError`](crate::client::ClientError) of a call that
    /// was refused for load or because a server stops, the caller gets [`Status::NestedRefused`] with that refusal's
    /// status, message and hint, and its client repeats a call of an idempotent method.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> HandlerError {
        let cause = cause.into();
        match refused_within(cause.as_ref()) {
            Some(refusal) => HandlerError::Refusal(refusal),
            None => HandlerError::Internal(cause),
        }
    }

    /// Says that the handler had done nothing when the error occurred: if that is a refused call of its own which may
    /// be made again, it becomes a refusal with [`Status::ServiceBusy`], which the caller's client repeats, whatever
    /// the method. Other errors stay.
    ///
    /// ```
    /// # use boneyard::{Client, HandlerError, Method};
    /// # const NEXT: Method<u32, u32> = Method::new("test.next");
    /// fn handler(next: &Client, n: u32) -> Result<u32, HandlerError> {
    ///     let more = next.call(NEXT, &n).map_err(HandlerError::nothing_done)?;
    ///     Ok(more + 1)
    /// }
    /// ```
    pub fn nothing_done(error: impl Into<HandlerError>) -> HandlerError {
        match error.into() {
            HandlerError::Refusal(mut refusal) if is_repeatable(&refusal) => {
                (refusal.status, refusal.fault.code) = (Status::ServiceBusy, 0);
                HandlerError::Refusal(refusal)
            }
            other => other,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> HandlerError {
        HandlerError::internal(error)
    }
}

impl From<ApplicationError> for HandlerError {
    fn from(error: ApplicationError) -> HandlerError {
        HandlerError::Application(error)
    }
}

impl From<Refusal> for HandlerError {
    fn from(refusal: Refusal) -> HandlerError {
        HandlerError::Refusal(refusal)
    }
}

/// Returns an error and its sources, the error first.
#[cfg(any(feature = "client", feature = "server"))]
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source()).take(CAUSES_MAX)
}

/// Returns whether a refusal is that of a handler's call, and the call may be made again as it is.
fn is_repeatable(refusal: &Refusal) -> bool {
    let refused = u16::try_from(refusal.fault.code).ok().and_then(Status::from_code);
    refusal.status == Status::NestedRefused
        && refused.is_some_and(|status| matches!(status.repeat(), Repeat::ByClient(_)))
}

/// Returns the refusal of a handler whose own call was refused.
#[cfg(feature = "client")]
fn refused_within(cause: &(dyn Error + 'static)) -> Option<Refusal> {
    let error = causes(cause).find_map(|cause| cause.downcast_ref::<ClientError>())?;
    let status = match error {
        ClientError::NestedRefused { status, .. } => *status,
        ClientError::Throttled => Status::Overloaded,
        error if error.blame() == Blame::Overload => error.status()?,
        _ => return None,
    };
    let message = match error {
        ClientError::NestedRefused { message, .. }
        | ClientError::NestedDeadlock(message)
        | ClientError::Unavailable { message, .. } => message.clone(),
        _ => status.text().to_owned(),
    };
    let mut refusal = Refusal::new(Status::NestedRefused, message);
    refusal.fault.code = status.code().into();
    Some(match error.retry_after() {
        Some(after) => refusal.retry_after(after),
        None => refusal,
    })
}

/// A handler without the client library makes no calls.
#[cfg(not(feature = "client"))]
fn refused_within(_: &(dyn Error + 'static)) -> Option<Refusal> {
    None
}

/// Returns whether the cause is, or has among its sources, that a call of the handler was late.
#[cfg(all(feature = "client", feature = "server"))]
pub(super) fn is_late(cause: &(dyn Error + 'static)) -> bool {
    causes(cause).any(|cause| matches!(cause.downcast_ref(), Some(ClientError::DeadlineExceeded { .. })))
}

/// A handler without the client library makes no calls.
#[cfg(all(feature = "server", not(feature = "client")))]
pub(super) fn is_late(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_of_another_library_is_internal() {
        let read = || -> Result<(), HandlerError> { Err(io::Error::other("/secret"))? };
        assert!(matches!(read(), Err(HandlerError::Internal(cause)) if cause.to_string() == "/secret"));
        assert!(matches!(HandlerError::internal("a text"), HandlerError::Internal(_)));
    }

    #[cfg(feature = "client")]
    mod nested {
        use super::*;
        use std::time::Duration;

        #[derive(Debug, thiserror::Error)]
        #[error("the next service fails")]
        struct Wrapped(#[source] ClientError);

        /// The caller's refusal for a handler whose call failed so: its status, the refused one's and its hint.
        fn refusal(error: impl Into<HandlerError>) -> Option<(Status, u32, u32)> {
            match error.into() {
                HandlerError::Refusal(Refusal { status, fault }) => {
                    Some((status, fault.code, fault.retry_after_ms))
                }
                _ => None,
            }
        }

        fn full() -> ClientError {
            ClientError::QueueFull { retry_after: Some(Duration::from_millis(250)) }
        }

        #[test]
        fn a_refused_call_stays_a_refusal_with_its_hint() {
            assert_eq!(refusal(full()), Some((Status::NestedRefused, 20, 250)));
            assert_eq!(refusal(Wrapped(full())), Some((Status::NestedRefused, 20, 250)), "wrapped");
            assert_eq!(refusal(ClientError::Throttled), Some((Status::NestedRefused, 23, 0)));
            let deadlock = ClientError::NestedDeadlock(String::new());
            assert_eq!(refusal(deadlock), Some((Status::NestedRefused, 25, 0)));
            let inner = ClientError::NestedRefused {
                status: Status::Draining,
                message: String::new(),
                retry_after: Some(Duration::from_secs(1)),
            };
            assert_eq!(refusal(inner), Some((Status::NestedRefused, 21, 1000)), "over two servers");
            assert_eq!(refusal(ClientError::Panicked(String::new())), None);
            let application = ClientError::Application { code: 1, message: String::new() };
            assert_eq!(refusal(application), None, "another service's words are not this one's");
            assert_eq!(refusal(ClientError::late(true)), None, "it may be its own deadline");
        }

        #[test]
        fn a_handler_that_did_nothing_is_busy() {
            assert_eq!(refusal(HandlerError::nothing_done(full())), Some((Status::ServiceBusy, 0, 250)));
            let deadlock = HandlerError::nothing_done(ClientError::NestedDeadlock(String::new()));
            assert_eq!(refusal(deadlock), Some((Status::NestedRefused, 25, 0)), "it would wait again");
            assert!(matches!(HandlerError::nothing_done(io::Error::other("x")), HandlerError::Internal(_)));
        }
    }
}
