//! The refusal of a call whose handler panicked, or whose worker has no value; the reason goes into the log.

use super::client_id::ClientId;
use super::log_limit::{LogLimiter, cut_message};
use super::panic_text::panic_text;
use super::refusal::Refusal;
use super::status::Status;
use super::transaction::Transaction;
use super::worker_values::Unmade;
use log::Level;
use std::any::Any;

/// Makes the refusal, and logs the reason within the limit on lines that clients cause.
#[cold]
pub(super) fn refusal_of_panic(
    payload: Box<dyn Any + Send>,
    tx: &Transaction<'_>,
    log_limiter: &LogLimiter,
) -> Refusal {
    let (status, says, text) = match payload.downcast::<Unmade>() {
        Ok(unmade) => (Status::Internal, "the server's log says why", unmade.0),
        Err(payload) => {
            let text = format!("handler panicked: {}", panic_text(payload));
            (Status::Panicked, "the server's log says where", text)
        }
    };
    if log_limiter.allows(Level::Error, ClientId::of(tx.peer().ip()), tx.now()) {
        log::error!("{}: {}", tx.method, cut_message(&text));
    }
    Refusal::new(status, says)
}
