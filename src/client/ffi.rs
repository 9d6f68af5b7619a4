//! What a client needs that lives in another language's runtime: calls sent without ever waiting, for an event loop,
//! and calls whose wait can be given up, for a program that gets a signal meanwhile.
//!
//! Knows calls before they are sent; knows nothing of those languages.

use super::error::ClientError;
use super::pending::{Pending, Reply};
use super::retry::call::{Call, SLICE};
use super::{Client, json_call, write_text};
use std::time::Instant;

/// What became of a call that was to be sent at once.
#[derive(Debug)]
pub enum TrySend {
    /// It is out.
    Sent(Pending<String>),
    /// That would have had to wait.
    Unsent(UnsentCall),
}

/// A call that has begun, and its time with it, and is not sent yet. Dropped, it never is.
#[derive(Debug)]
#[must_use = "a call that nobody sends is not made"]
pub struct UnsentCall {
    client: Client,
    method: String,
    json: String,
    deadline: Option<Instant>,
}

impl UnsentCall {
    /// Sends it, once, and returns without its answer. Blocks as [`Client::start`] does.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn send(self) -> Result<Pending<String>, ClientError> {
        // The budget and the throttle have seen this call already.
        self.client.send_admitted(&json_call(&self.method, &write_text(&self.json), self.deadline))
    }
}

impl Client {
    /// As [`Client::start_json`], where that can be done at once. Nothing was sent where it would have to wait: there
    /// is no connection yet, the session is not on it, or too much waits to be written. [`UnsentCall::send`] then does
    /// it, on a thread that may block. The socket may take 20 ms of this thread's time at most.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    #[doc(hidden)]
    pub fn try_start_json(&self, method: &str, json: &str) -> Result<TrySend, ClientError> {
        let write = write_text(json);
        let call = self.json(method, &write)?;
        self.shared.retry.admit()?;
        Ok(match self.send_at_once(&call)? {
            Some(pending) => TrySend::Sent(pending),
            None => {
                let (method, json) = (method.to_owned(), json.to_owned());
                TrySend::Unsent(UnsentCall { client: self.clone(), method, json, deadline: call.deadline })
            }
        })
    }

    fn send_at_once(&self, call: &Call<'_, String>) -> Result<Option<Pending<String>>, ClientError> {
        let Some(link) = self.shared.dialer.in_use() else { return Ok(None) };
        if self.session.as_ref().is_some_and(|session| session.number_on(&link).is_none()) {
            return Ok(None);
        }
        match self.send_on(&link, call, Some(Instant::now())) {
            Err(ClientError::DeadlineExceeded { may_have_run: false, .. }) => Ok(None),
            sent => sent,
        }
    }

    /// As [`Client::call_json_timed`], for as long as `go_on` says so. It is asked ten times a second, on this thread,
    /// save while the call is being sent, for which a connection may have to be made first; once it says no, the call
    /// is cancelled, or not made again.
    ///
    /// # Errors
    /// See [`Client::call`]. Of a call that was given up [`ClientError::Disconnected`] while it was out; while it
    /// waited to be made again, why it was not answered before.
    #[doc(hidden)]
    pub fn call_json_while(
        &self,
        method: &str,
        json: &str,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Reply<String>, ClientError> {
        let write = write_text(json);
        let call = self.json(method, &write)?;
        self.make_by(&call, &mut go_on, |go_on| {
            let mut pending = self.send(&call)?;
            loop {
                if let Some(outcome) = pending.wait_for(SLICE) {
                    return outcome;
                }
                if !go_on() {
                    return Err(close_log());
                }
            }
        })
    }
}

fn close_log() -> ClientError {
    ClientError::Disconnected { may_have_run: true, reason: "nobody waits any more".to_owned() }
}
