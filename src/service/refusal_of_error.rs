//! The refusal of a call whose handler returned an error; the reason of an internal one goes into the log.

use super::client_id::ClientId;
use super::handler_error::{HandlerError, causes, is_late};
use super::log_limit::{LogLimiter, cut_message};
use super::refusal::Refusal;
use super::refusal_of_panic::refusal_of_panic;
use super::status::Status;
use super::transaction::Transaction;
use log::Level;
use std::error::Error;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Time before the caller's deadline at which a handler's late call was late for that deadline: another server counts
/// in whole milliseconds.
const DEADLINE_TOLERANCE: Duration = Duration::from_millis(5);

/// Makes the refusal, and logs the reason of an internal error within the limit on lines that clients cause.
#[cold]
pub(super) fn refusal_of_error(
    error: HandlerError,
    transaction: &Transaction<'_>,
    log_limiter: &LogLimiter,
) -> Refusal {
    let cause = match error {
        HandlerError::Application(error) => return error.into(),
        HandlerError::Refusal(refusal) if refusal.status == Status::Ok => {
            return Refusal::new(Status::BadResponse, "the handler refused with the status Ok");
        }
        HandlerError::Refusal(refusal) => return refusal,
        HandlerError::Internal(cause) => cause,
    };
    // Its Display, its source and its Drop are foreign code.
    let read = catch_unwind(AssertUnwindSafe(|| (is_late(cause.as_ref()), text_of(cause.as_ref()))));
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(cause)));
    let (late, text) = match (read, dropped) {
        (Ok(read), Ok(())) => read,
        (Ok(_), Err(panic)) | (Err(panic), Ok(())) => {
            return refusal_of_panic(panic, transaction, log_limiter);
        }
        (Err(panic), Err(another)) => {
            std::mem::forget(another);
            return refusal_of_panic(panic, transaction, log_limiter);
        }
    };
    if late && transaction.time_left().is_some_and(|left| left <= DEADLINE_TOLERANCE) {
        let mut refusal = Refusal::new(Status::NestedRefused, "the deadline passed");
        refusal.fault.code = Status::DeadlineExceeded.code().into();
        return refusal;
    }
    let peer = transaction.peer();
    if log_limiter.allows(Level::Error, ClientId::of(peer.ip()), transaction.now()) {
        let (method, call) = (transaction.method, transaction.call);
        log::error!("{method}: handler failed: {}, peer={peer} call={call}", cut_message(&text));
    }
    Refusal::new(Status::Internal, "the server's log says why")
}

/// Returns the text of an error and of its sources.
fn text_of(cause: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(cause) {
        let separator = if text.is_empty() { "" } else { ": " };
        if write!(text, "{separator}{cause}").is_err() {
            text.push_str("(an error without a text)");
        }
    }
    text
}
