//! Middleware: code of the program around the calls of its methods.
//!
//! Invariant: only a call whose handler returned a result is [`Handled`], so middleware cannot make a result up. A
//! panic in the handler or in inner middleware is a refusal for what is around it.

use super::handler::Handler;
use super::log_limit::LogLimiter;
use super::refusal::Refusal;
use super::refusal_of_error::refusal_of_error;
use super::refusal_of_panic::refusal_of_panic;
use super::status::Status;
use super::transaction::Transaction;
use crate::sync::Arc;
use crate::wire::Codec;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Code around a call.
pub(crate) type Middleware =
    Box<dyn Fn(&Transaction<'_>, RestOfCall<'_>) -> Result<Handled, Refusal> + Send + Sync>;

/// The rest of a call, as its middleware sees it: the middleware within, and the handler.
pub struct RestOfCall<'a> {
    within: &'a [Middleware],
    handler: &'a Handler,
    codec: Codec,
    arguments: &'a [u8],
    result: &'a mut Vec<u8>,
    log_limiter: &'a LogLimiter,
}

/// A call has its result.
#[derive(Debug)]
pub struct Handled(());

impl RestOfCall<'_> {
    /// Runs the rest of the call on this thread.
    ///
    /// # Errors
    /// The refusal that its caller gets, whatever its reason: its status is the handler's outcome. A panic has become
    /// one ([`Status::Panicked`]).
    pub fn run(self, tx: &Transaction<'_>) -> Result<Handled, Refusal> {
        let ran = catch_unwind(AssertUnwindSafe(|| match self.within.split_first() {
            Some((middleware, within)) => middleware(tx, RestOfCall { within, ..self }),
            None => (self.handler)(tx, self.codec, self.arguments, self.result)
                .map(|()| Handled(()))
                .map_err(|error| refusal_of_error(error, tx, self.log_limiter)),
        }));
        let outcome = ran.unwrap_or_else(|panic| Err(refusal_of_panic(panic, tx, self.log_limiter)));
        match outcome {
            Err(Refusal { status: Status::Ok, .. }) => {
                Err(Refusal::new(Status::BadResponse, "a refusal with the status Ok"))
            }
            outcome => outcome,
        }
    }
}

impl fmt::Debug for RestOfCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestOfCall").field("within", &self.within.len()).finish_non_exhaustive()
    }
}

/// Returns a handler with middleware around it, the first outermost.
pub(super) fn surrounded(
    handler: Handler,
    middleware: Arc<Vec<Middleware>>,
    log_limiter: Arc<LogLimiter>,
) -> Handler {
    Box::new(move |tx, codec, arguments, result| {
        let next = RestOfCall {
            within: &middleware,
            handler: &handler,
            codec,
            arguments,
            result,
            log_limiter: &log_limiter,
        };
        Ok(next.run(tx).map(|Handled(())| ())?)
    })
}
