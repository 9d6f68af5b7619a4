//! The loop over the attempts of one blocking call: repeated when it was refused, made when its server is there.
//!
//! Knows calls before they are sent and while they are in flight; knows no sockets. Invariant: where any attempt may
//! have run, the error returned says so.

use super::policy::is_transient;
use super::wait::{KeepWaiting, sleep_while};
use crate::client::call_spec::CallSpec;
use crate::client::client::Client;
use crate::client::options::DEADLINE;
use crate::client::reply::Reply;
use crate::service::ClientError;
use crate::service::blocking;
use std::time::Instant;

impl Client {
    /// Makes a call until it has an outcome that counts. Blocks.
    pub(in crate::client) fn call_with_retries<Response>(
        &self,
        call: &CallSpec<'_, Response>,
    ) -> Result<Reply<Response>, ClientError> {
        self.repeat(call, &mut || true, |_| self.attempt(call))
    }

    /// Makes a call by the attempts given, for as long as `keep_waiting` returns true.
    pub(in crate::client) fn repeat<Response, Outcome>(
        &self,
        call: &CallSpec<'_, Response>,
        keep_waiting: &mut KeepWaiting<'_>,
        mut attempt: impl FnMut(&mut KeepWaiting<'_>) -> Result<Outcome, ClientError>,
    ) -> Result<Outcome, ClientError> {
        let (mut repetition, mut before) = (0, None);
        loop {
            let mut error = match attempt(keep_waiting) {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            if call.unconnected.get() && self.waits_after(&error) {
                match self.await_server(error.clone(), call.deadline, keep_waiting) {
                    Ok(()) => {
                        before = Some(error.or_earlier(before));
                        continue;
                    }
                    Err(last) if self.waits_after(&last) => return Err(last.or_earlier(before)),
                    Err(last) => error = last,
                }
            }
            repetition += 1;
            let wait =
                self.shared.retry.wait_before_repetition(&error, repetition, call.idempotent, call.deadline);
            let error = error.or_earlier(before);
            let Some(wait) = wait else { return Err(error) };
            log::debug!("call of {} repeated in {wait:?}, error={error}", call.method);
            if !blocking(|| sleep_while(wait, keep_waiting)) {
                return Err(error);
            }
            before = Some(error);
        }
    }

    /// Returns whether a call waits for its server after this error of an attempt to connect.
    pub(in crate::client) fn waits_after(&self, error: &ClientError) -> bool {
        self.shared.retry.waits_for_server() && is_transient(error)
    }

    /// Blocks until there is a connection, after an attempt to make one that failed with `error`.
    ///
    /// # Errors
    /// That of the last attempt.
    pub(in crate::client) fn await_server(
        &self,
        error: ClientError,
        deadline: Option<Instant>,
        keep_waiting: &mut KeepWaiting<'_>,
    ) -> Result<(), ClientError> {
        log::debug!("waiting for the server, error={error}");
        // A call without a deadline waits for its reply without end, but not for a server that may never come back.
        let deadline = deadline.unwrap_or_else(|| Instant::now() + DEADLINE);
        blocking(|| self.shared.dialer.await_server(error, deadline, keep_waiting))
    }
}
