//! One blocking call, made as often as [`super`] allow: again when it was refused, twice at once when it is
//! slow.
//!
//! Knows calls before they are sent and while they are out; knows no sockets. Invariants: two attempts of a call are
//! out at once only where its method is idempotent. Where any attempt may have run, the error told says so.

use super::may_repeat;
use crate::client::dial::passes;
use crate::client::error::ClientError;
use crate::client::options::DEADLINE;
use crate::client::pending::{Decode, Pending, Reply};
use crate::client::{Client, Write};
use crate::schema::Describe;
use crate::service::blocking;
use crate::sync::{Arc, Condvar, Mutex};
use crate::wire::Codec;
use std::cell::Cell;
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// How long a wait goes on before it is asked whether it still should.
pub(in crate::client) const SLICE: Duration = Duration::from_millis(100);

/// Is the call still wanted? Asked on the caller's thread while it waits.
pub(in crate::client) type GoOn<'a> = dyn FnMut() -> bool + 'a;

/// What to call, and until when: all that an attempt needs to be made again.
pub(in crate::client) struct Call<'a, Response> {
    pub(in crate::client) method: &'a str,
    pub(in crate::client) idempotent: bool,
    /// Describes its types, where they are to be compared.
    pub(in crate::client) describe: Option<Describe>,
    pub(in crate::client) codec: Codec,
    /// Appends the arguments.
    pub(in crate::client) write: &'a Write<'a>,
    pub(in crate::client) decode: Decode<Response>,
    pub(in crate::client) deadline: Option<Instant>,
    /// Did its last attempt end before there was a connection? A server that stops says Draining there, too, and to
    /// calls of connections that it has.
    pub(in crate::client) unconnected: Cell<bool>,
}

impl Client {
    /// Makes a call until it has an answer that counts.
    pub(in crate::client) fn make<Response>(
        &self,
        call: &Call<'_, Response>,
    ) -> Result<Reply<Response>, ClientError> {
        self.make_by(call, &mut || true, |_| self.attempt(call))
    }

    /// Makes a call by other attempts than [`Client::attempt`], for as long as `go_on` says so.
    pub(in crate::client) fn make_by<Response, Outcome>(
        &self,
        call: &Call<'_, Response>,
        go_on: &mut GoOn<'_>,
        mut attempt: impl FnMut(&mut GoOn<'_>) -> Result<Outcome, ClientError>,
    ) -> Result<Outcome, ClientError> {
        let (mut number, mut before) = (0, None);
        loop {
            let mut error = match attempt(go_on) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if call.unconnected.get() && self.is_waited_out(&error) {
                match self.await_server(error.clone(), call.deadline, go_on) {
                    Ok(()) => {
                        before = Some(graver(before, error));
                        continue;
                    }
                    Err(last) if self.is_waited_out(&last) => return Err(graver(before, last)),
                    Err(last) => error = last,
                }
            }
            number += 1;
            let wait = self.shared.retry.wait(&error, number, call.idempotent, call.deadline);
            let error = graver(before, error);
            let Some(wait) = wait else { return Err(error) };
            log::debug!("{} is called again in {wait:?}: {error}", call.method);
            if !blocking(|| rest(wait, go_on)) {
                return Err(error);
            }
            before = Some(error);
        }
    }

    /// Does this error of an attempt to connect say that the server may soon be there, and is that waited out?
    pub(in crate::client) fn is_waited_out(&self, error: &ClientError) -> bool {
        self.shared.retry.waits() && passes(error)
    }

    /// Waits until there is a connection again, after an attempt to make one that failed with `error`.
    ///
    /// # Errors
    /// That of the last attempt.
    pub(in crate::client) fn await_server(
        &self,
        error: ClientError,
        deadline: Option<Instant>,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), ClientError> {
        log::debug!("the server is waited for: {error}");
        // A call without a deadline waits for its answer without end, and not for what may never come back.
        let deadline = deadline.unwrap_or_else(|| Instant::now() + DEADLINE);
        blocking(|| self.shared.dialer.await_server(error, deadline, go_on))
    }

    /// Makes it once, or twice at once.
    fn attempt<Response>(&self, call: &Call<'_, Response>) -> Result<Reply<Response>, ClientError> {
        let mut first = self.send(call)?;
        let Some(patience) = self.shared.retry.hedge_after(call.idempotent) else {
            return first.wait_timed();
        };
        if let Some(outcome) = first.wait_for(patience) {
            return outcome;
        }
        match self.hedge(call) {
            Some(second) => race(first, second, call.deadline),
            None => first.wait_timed(),
        }
    }

    /// A second call of the same, if one can be sent at once.
    fn hedge<Response>(&self, call: &Call<'_, Response>) -> Option<Pending<Response>> {
        let link = self.shared.dialer.in_use()?;
        if !self.shared.retry.spend() {
            return None;
        }
        self.shared.retry.admit().ok()?;
        self.send_on(&link, call, Some(Instant::now())).ok()?
    }
}

/// Sleeps, and asks before it ends whether the call is still wanted. False when it is not.
fn rest(wait: Duration, go_on: &mut GoOn<'_>) -> bool {
    let end = Instant::now() + wait;
    loop {
        thread::sleep(end.saturating_duration_since(Instant::now()).min(SLICE));
        if !go_on() {
            return false;
        }
        if Instant::now() >= end {
            return true;
        }
    }
}

/// The first outcome that counts; the other call is then dropped, which cancels it. An outcome after which the call
/// could be made again does not count while the other is out.
fn race<Response>(
    mut first: Pending<Response>,
    mut second: Pending<Response>,
    deadline: Option<Instant>,
) -> Result<Reply<Response>, ClientError> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        let (outcome, other) = match first.poll_outcome(&waker) {
            Some(outcome) => (outcome, second),
            None => match second.poll_outcome(&waker) {
                Some(outcome) => (outcome, first),
                None if blocking(|| bell.wait(deadline)) => continue,
                // Both are late.
                None => return first.wait_timed(),
            },
        };
        return match outcome {
            Err(error) if may_repeat(&error, true) => {
                other.wait_timed().map_err(|last| graver(Some(error), last))
            }
            counts => counts,
        };
    }
}

/// The error that tells the truth about all attempts so far: the last, unless only one before it may have run.
fn graver(before: Option<ClientError>, last: ClientError) -> ClientError {
    before.filter(|before| last.never_started() && !before.never_started()).unwrap_or(last)
}

/// The outcome of a call that another one needs first, as the other is told it, which has not been sent. `None` where
/// the connection is gone: on another one it can be.
pub(in crate::client) fn before_the_call<T>(
    outcome: Result<T, ClientError>,
) -> Result<Option<T>, ClientError> {
    match outcome {
        Ok(outcome) => Ok(Some(outcome)),
        Err(ClientError::Disconnected { .. } | ClientError::Protocol(_)) => Ok(None),
        Err(ClientError::DeadlineExceeded { .. }) => Err(ClientError::late(false)),
        Err(error) if error.never_started() => Err(error),
        Err(error) => Err(ClientError::Disconnected { may_have_run: false, reason: error.to_string() }),
    }
}

/// Wakes a thread that waits for either of two calls.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }
}

impl Bell {
    /// False when nobody rang until the deadline.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut rung = self.rung.lock();
        while !*rung {
            match deadline {
                None => self.changed.wait(&mut rung),
                Some(deadline) if self.changed.wait_until(&mut rung, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        std::mem::take(&mut rung)
    }
}
