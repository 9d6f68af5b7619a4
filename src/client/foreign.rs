//! What a client needs that lives in another language's runtime: calls sent without ever waiting, for an event loop,
//! and calls whose wait can be given up, for a program that gets a signal meanwhile.
//!
//! Knows calls before they are sent; knows nothing of those languages.

use super::error::ClientError;
use super::pending::{Pending, Reply};
use super::{Client, write_text};
use std::time::{Duration, Instant};

/// How long a wait goes on before it is asked whether it still should.
const SLICE: Duration = Duration::from_millis(100);

impl Client {
    /// As [`Client::start_json`], where that can be done at once. `None`, and nothing was sent, where it would have to
    /// wait: there is no connection yet, the session is not on it, or too much waits to be written. Then call
    /// [`Client::start_json`] on a thread that may block. The socket may take 20 ms of this thread's time at most.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn try_start_json(&self, method: &str, json: &str) -> Result<Option<Pending<String>>, ClientError> {
        let Some(link) = self.shared.dialer.in_use() else { return Ok(None) };
        if self.session.as_ref().is_some_and(|session| session.number_on(&link).is_none()) {
            return Ok(None);
        }
        let write = write_text(json);
        let call = self.json(method, &write)?;
        self.shared.manners.admit()?;
        match self.send_on(&link, &call, Some(Instant::now())) {
            Err(ClientError::DeadlineExceeded { may_have_run: false, .. }) => Ok(None),
            sent => sent,
        }
    }

    /// As [`Client::call_json_timed`], for as long as `go_on` says so. It is asked ten times a second, on this thread;
    /// once it says no, the call is cancelled.
    ///
    /// # Errors
    /// See [`Client::call`]; [`ClientError::Disconnected`] of a call that was given up.
    pub fn call_json_while(
        &self,
        method: &str,
        json: &str,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Reply<String>, ClientError> {
        let write = write_text(json);
        let call = self.json(method, &write)?;
        self.make_by(&call, || {
            let mut pending = self.send(&call)?;
            loop {
                if let Some(outcome) = pending.wait_for(SLICE) {
                    return outcome;
                }
                if !go_on() {
                    return Err(given_up());
                }
            }
        })
    }
}

fn given_up() -> ClientError {
    ClientError::Disconnected { may_have_run: true, reason: "nobody waits any more".to_owned() }
}
