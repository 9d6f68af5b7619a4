//! [`Pending`]: a call in flight, for its caller to wait for, poll or drop.
//!
//! Turns a reply into a result or an error; knows no frames and no sockets.
//!
//! Invariants: a [`Pending`] dropped before its outcome was taken cancels its call. A handler's call stays registered
//! as outgoing until its outcome is there or it is abandoned.

use super::call_spec::DecodeResult;
use super::canceller::Canceller;
use super::connection::{CallOutcome, CallSlot, ClientConnection};
use super::reply::Reply;
use super::shared_state::SharedState;
use crate::proto::Answer;
use crate::service::worker_hooks::awaiting;
use crate::service::{ClientError, Status};
use crate::sync::Arc;
use crate::wire::EntryId;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A call that was sent, once, and is not repeated by itself.
///
/// Wait for it by [`Pending::wait`], or poll it: it is a `Future` that any executor can run, without a runtime of its
/// own. Its deadline holds either way. Dropped before its reply came, it cancels the call: the server does not start
/// it if it has not, and the reply is dropped. It may be sent to another thread.
///
/// ```no_run
/// # use boneyard::{Client, Method, Pending};
/// # const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// # fn main() -> Result<(), boneyard::ClientError> {
/// # let client = Client::connect("localhost:1352")?;
/// let calls: Vec<Pending<u64>> = (1..=3).map(|n| client.start(DOUBLE, &n)).collect::<Result<_, _>>()?;
/// for call in calls {
///     println!("{}", call.wait()?); // all three are in flight at once
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a call that is dropped is cancelled at once"]
pub struct Pending<Response> {
    sent: SentCall,
    decode: DecodeResult<Response>,
    /// Whether the outcome was taken.
    done: bool,
}

/// A call that was sent on a connection.
pub(super) struct SentCall {
    pub(super) shared: Arc<SharedState>,
    pub(super) connection: Arc<ClientConnection>,
    pub(super) slot: Arc<CallSlot>,
    pub(super) call: u64,
    pub(super) method: u16,
    /// Its registration as outgoing, if a handler made it.
    pub(super) outgoing: Option<EntryId>,
    pub(super) deadline: Option<Instant>,
}

impl<Response> Pending<Response> {
    pub(super) fn new(sent: SentCall, decode: DecodeResult<Response>) -> Self {
        Pending { sent, decode, done: false }
    }

    /// The connection it was sent on.
    pub(super) fn connection(&self) -> &Arc<ClientConnection> {
        &self.sent.connection
    }

    /// A handle that cancels the call from another thread, while this one waits for what becomes of it. To cancel it
    /// and drop its reply, drop the `Pending`.
    pub fn canceller(&self) -> Canceller {
        Canceller::new(Arc::downgrade(&self.sent.connection), self.sent.call)
    }

    /// Blocks until the response is there, the call failed, or its deadline passed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn wait(self) -> Result<Response, ClientError> {
        self.wait_timed().map(|reply| reply.response)
    }

    /// As [`Pending::wait`], with the times of the transaction.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn wait_timed(mut self) -> Result<Reply<Response>, ClientError> {
        match self.wait_until(self.sent.deadline) {
            Some(outcome) => self.finish(outcome),
            None => Err(self.late()),
        }
    }

    /// As [`Pending::wait_timed`] for at most `timeout`; zero does not block. Returns `None` if the call is still in
    /// flight then; it can be waited for again.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// If its outcome was returned before.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<Reply<Response>, ClientError>> {
        assert!(!self.done, "a call is not waited for after its outcome was returned");
        let limit = Instant::now().checked_add(timeout);
        let deadline = self.sent.deadline;
        let until = [limit, deadline].into_iter().flatten().min();
        match self.wait_until(until) {
            Some(outcome) => Some(self.finish(outcome)),
            None if until == deadline => Some(Err(self.late())),
            None => None,
        }
    }

    /// As [`Future::poll`], with the times of the transaction.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// If it was polled after it was ready.
    pub fn poll_timed(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply<Response>, ClientError>> {
        assert!(!self.done, "a future is not polled after it was ready");
        if let Some(outcome) = self.poll_outcome(context.waker()) {
            return Poll::Ready(outcome);
        }
        // At the deadline the reactor wakes the task.
        if self.sent.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Poll::Ready(Err(self.late()));
        }
        Poll::Pending
    }

    /// Returns the outcome if it is there; otherwise keeps the waker. Ignores the deadline.
    pub(super) fn poll_outcome(&mut self, waker: &Waker) -> Option<Result<Reply<Response>, ClientError>> {
        let outcome = self.sent.slot.poll(waker)?;
        Some(self.finish(outcome))
    }

    /// Blocks until the outcome is there or `until` passes.
    fn wait_until(&self, until: Option<Instant>) -> Option<CallOutcome> {
        let SentCall { connection, slot, call, outgoing, .. } = &self.sent;
        slot.take().or_else(|| awaiting(*outgoing, || connection.wait(*call, slot, until)))
    }

    fn finish(&mut self, outcome: CallOutcome) -> Result<Reply<Response>, ClientError> {
        self.done = true;
        self.sent.connection.claimed();
        let result = outcome.and_then(|answer| {
            let result = self.read(&answer);
            if let Some(buffer) = answer.body.into_buffer() {
                self.sent.connection.give_buffer(buffer);
            }
            result
        });
        self.sent.shared.retry.record(&result);
        result
    }

    fn read(&self, answer: &Answer) -> Result<Reply<Response>, ClientError> {
        let response = match Status::from_code(answer.status) {
            None => return Err(ClientError::UnknownStatus(answer.status)),
            Some(Status::Ok) => (self.decode)(answer.codec, &answer.body)
                .map_err(|error| ClientError::BadResponse(error.to_string()))?,
            Some(status) => {
                let fault = answer.codec.decode(&answer.body);
                let fault =
                    fault.map_err(|error| ClientError::BadResponse(format!("{status:?}: {error}")))?;
                let method = self.sent.connection.method_name(self.sent.method);
                return Err(ClientError::refused(status, fault, method));
            }
        };
        Ok(Reply { response, times: answer.times.into() })
    }

    fn late(&mut self) -> ClientError {
        self.abandon(true);
        ClientError::late(true)
    }

    fn abandon(&mut self, late: bool) {
        self.done = true;
        self.sent.connection.abandon(self.sent.call, late);
        if self.sent.outgoing.is_some() {
            self.sent.slot.unregister();
        }
    }
}

impl<Response> Future for Pending<Response> {
    type Output = Result<Response, ClientError>;

    /// # Panics
    /// If it was polled after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_timed(context).map_ok(|reply| reply.response)
    }
}

impl<Response> Drop for Pending<Response> {
    fn drop(&mut self) {
        if !self.done {
            self.abandon(false);
        }
    }
}

impl<Response> std::fmt::Debug for Pending<Response> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("call", &self.sent.call)
            .field("deadline", &self.sent.deadline)
            .finish_non_exhaustive()
    }
}
