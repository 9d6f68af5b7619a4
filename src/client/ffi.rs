//! Calls for runtimes of other languages: sent without blocking, for an event loop, and waited for with a check that
//! can stop the wait, for a program that gets a signal meanwhile.
//!
//! Knows calls; knows nothing of those languages.

use super::call_spec::{CallSpec, copy};
use super::client::Client;
use super::connection::Waiter;
use super::pending::Pending;
use super::reply::Reply;
use super::retry::CHECK_INTERVAL;
use crate::service::ClientError;
use std::time::Instant;

/// Outcome of an attempt to send a call without blocking.
#[derive(Debug)]
pub enum TrySend {
    /// The call is in flight.
    Sent(Pending<String>),
    /// Sending it would have blocked.
    Unsent(UnsentCall),
}

/// A call that is not sent yet. Its deadline counts already. Dropped, it is never sent.
#[derive(Debug)]
#[must_use = "a call that is dropped is not made"]
pub struct UnsentCall {
    client: Client,
    method: String,
    json: String,
    deadline: Option<Instant>,
}

impl UnsentCall {
    /// Sends it, once, and returns without its reply. Blocks as [`Client::start`] does.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn send(self) -> Result<Pending<String>, ClientError> {
        // The retry budget and the throttle have counted this call already.
        let encode = copy(self.json.as_bytes());
        self.client.send_admitted(&CallSpec::json(&self.method, &encode, self.deadline), Waiter::Task)
    }
}

impl Client {
    /// As [`Client::start_json`], if the call can be sent at once. Nothing was sent if it would have had to wait:
    /// there is no connection yet, the session is not attached to it, or too much waits to be written.
    /// [`UnsentCall::send`] then sends it, on a thread that may block. The socket may take 20 ms of this thread's time
    /// at most.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    #[doc(hidden)]
    pub fn try_start_json(&self, method: &str, json: &str) -> Result<TrySend, ClientError> {
        let encode = copy(json.as_bytes());
        let call = self.json(method, &encode)?;
        self.shared.retry.admit()?;
        Ok(match self.send_at_once(&call)? {
            Some(pending) => TrySend::Sent(pending),
            None => TrySend::Unsent(UnsentCall {
                client: self.clone(),
                method: method.to_owned(),
                json: json.to_owned(),
                deadline: call.deadline,
            }),
        })
    }

    fn send_at_once(&self, call: &CallSpec<'_, String>) -> Result<Option<Pending<String>>, ClientError> {
        let Some(connection) = self.shared.dialer.open_connection() else { return Ok(None) };
        if self.session.as_ref().is_some_and(|session| session.number_on(&connection).is_none()) {
            return Ok(None);
        }
        match self.send_on(&connection, call, Waiter::Task, Some(Instant::now())) {
            Err(ClientError::DeadlineExceeded { may_have_run: false, .. }) => Ok(None),
            sent => sent,
        }
    }

    /// As [`Client::call_json_timed`], for as long as `keep_waiting` returns true. It is called ten times a second, on
    /// this thread, except while the call is being sent, for which a connection may have to be made first; once it
    /// returns false, the call is cancelled, or not repeated.
    ///
    /// # Errors
    /// See [`Client::call`]. If the wait was stopped, [`ClientError::Disconnected`] for a call in flight; for one that
    /// waited to be repeated, the error of its last attempt.
    #[doc(hidden)]
    pub fn call_json_while(
        &self,
        method: &str,
        json: &str,
        mut keep_waiting: impl FnMut() -> bool,
    ) -> Result<Reply<String>, ClientError> {
        let encode = copy(json.as_bytes());
        let call = self.json(method, &encode)?;
        self.repeat(&call, &mut keep_waiting, |keep_waiting| {
            let mut pending = self.send(&call, Waiter::Thread)?;
            loop {
                if let Some(outcome) = pending.wait_for(CHECK_INTERVAL) {
                    return outcome;
                }
                if !keep_waiting() {
                    return Err(ClientError::disconnected("pending call was dropped"));
                }
            }
        })
    }
}
