//! A call that is out, for its caller: wait for it, poll it, or drop it.
//!
//! Knows how an answer becomes a result or an error; knows no bytes and no sockets.
//!
//! Invariants: a slot is filled at most once, and emptied at most once. Nothing foreign (a waker's clone, wake or
//! drop) is called with the slot's lock held. A [`Pending`] that goes before its answer came cancels its call. A
//! handler's call has its link until then, or until its outcome is there.

use super::Shared;
use super::connection::{Canceller, ClientConnection};
use super::error::ClientError;
use crate::proto::client::Answer;
use crate::service::Status;
use crate::service::worker_hooks::{OutgoingCall, awaiting};
use crate::sync::{Arc, Condvar, Mutex};
use crate::wire::{Codec, LinkId, ReplyPrelude, WireError};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Where a transaction's time went on the server. The three do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Times {
    /// From the read of the call's last byte to its start, less what of that is permit wait.
    pub queue_wait: Duration,
    /// While a worker was idle for it and no permit was free; and after its handler's waits inside `blocking`, until
    /// there was a permit to go on with.
    pub permit_wait: Duration,
    /// In decoding, handler and encoding, less what of that is permit wait.
    pub run: Duration,
}

/// A response with the times of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply<Response> {
    /// What the handler returned.
    pub response: Response,
    /// Where the time went.
    pub times: Times,
}

/// How a result's bytes become a response.
pub(super) type Decode<Response> = fn(Codec, &[u8]) -> Result<Response, WireError>;

/// A call that was sent and not yet waited for. It is sent once, and never made again by itself.
///
/// Wait for it by [`Pending::wait`], or poll it: it is a `Future` that any executor can run, without a runtime of
/// its own. Its deadline holds either way. Dropped before the answer came, it cancels the call: the server is told,
/// does not start it if it has not, and its answer is thrown away.
#[must_use = "a call that nobody waits for is cancelled at once"]
pub struct Pending<Response> {
    shared: Arc<Shared>,
    link: Arc<ClientConnection>,
    slot: Arc<CallSlot>,
    call: u64,
    method: u16,
    /// Its link, if a handler made it.
    open: Option<LinkId>,
    deadline: Option<Instant>,
    decode: Decode<Response>,
    /// Does the timer know of the deadline?
    timed: bool,
    /// Was the outcome taken?
    done: bool,
}

impl<Response> Pending<Response> {
    pub(super) fn new(
        (shared, link, slot): (Arc<Shared>, Arc<ClientConnection>, Arc<CallSlot>),
        (call, method): (u64, u16),
        open: Option<LinkId>,
        deadline: Option<Instant>,
        decode: Decode<Response>,
    ) -> Self {
        Pending { shared, link, slot, call, method, open, deadline, decode, timed: false, done: false }
    }

    /// The connection it was sent on.
    pub(super) fn link(&self) -> &Arc<ClientConnection> {
        &self.link
    }

    /// What takes the call back from another thread, while this one waits. To throw the answer away, drop the call.
    pub fn canceller(&self) -> Canceller {
        Canceller::new(Arc::downgrade(&self.link), self.call)
    }

    /// Blocks until the response is there, or the call failed, or its deadline passed.
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
        let waited = || awaiting(self.open, || self.slot.wait(self.deadline));
        match self.slot.take().or_else(waited) {
            Some(outcome) => self.finish(outcome),
            None => Err(self.late()),
        }
    }

    /// As [`Pending::wait_timed`] for at most `patience`; zero does not block. `None` when it is not over by then: it
    /// is still out, and can be waited for again.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// Waited for again after its outcome was told.
    pub fn wait_for(&mut self, patience: Duration) -> Option<Result<Reply<Response>, ClientError>> {
        assert!(!self.done, "a call is not waited for after its outcome was told");
        if let Some(outcome) = self.slot.take() {
            return Some(self.finish(outcome));
        }
        let patience = Instant::now().checked_add(patience);
        let until = [patience, self.deadline].into_iter().flatten().min();
        match awaiting(self.open, || self.slot.wait(until)) {
            Some(outcome) => Some(self.finish(outcome)),
            None if until == self.deadline => Some(Err(self.late())),
            None => None,
        }
    }

    /// The outcome if it is there; if not, keeps the waker. Does not look at the deadline.
    pub(super) fn poll_outcome(&mut self, waker: &Waker) -> Option<Result<Reply<Response>, ClientError>> {
        let outcome = self.slot.poll(waker)?;
        Some(self.finish(outcome))
    }

    fn finish(&mut self, outcome: Result<Answer, ClientError>) -> Result<Reply<Response>, ClientError> {
        self.done = true;
        let result = self.read(outcome?);
        self.shared.retry.heard(&result);
        result
    }

    fn read(&self, answer: Answer) -> Result<Reply<Response>, ClientError> {
        let response = match Status::from_code(answer.status) {
            None => return Err(ClientError::UnknownStatus(answer.status)),
            Some(Status::Ok) => (self.decode)(answer.codec, &answer.body)
                .map_err(|error| ClientError::BadResponse(error.to_string()))?,
            Some(status) => {
                let fault = answer.codec.decode(&answer.body);
                let fault =
                    fault.map_err(|error| ClientError::BadResponse(format!("{status:?}: {error}")))?;
                return Err(ClientError::refused(status, fault, self.link.method_name(self.method)));
            }
        };
        Ok(Reply { response, times: answer.times.into() })
    }

    fn late(&mut self) -> ClientError {
        self.give_up(true);
        ClientError::late(true)
    }

    /// Nobody waits for it any more.
    fn give_up(&mut self, late: bool) {
        self.done = true;
        self.link.forget(self.call, late);
        if self.open.is_some() {
            self.slot.close_link();
        }
    }
}

impl<Response> Pending<Response> {
    /// As [`Future::poll`], with the times of the transaction.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// Polled again after it was ready.
    pub fn poll_timed(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply<Response>, ClientError>> {
        assert!(!self.done, "a future is not polled after it was ready");
        if let Some(outcome) = self.poll_outcome(context.waker()) {
            return Poll::Ready(outcome);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if Instant::now() >= deadline {
            return Poll::Ready(Err(self.late()));
        }
        if !self.timed {
            // Without a timer nothing would wake the executor at the deadline, so the call is given up.
            if let Err(error) = self.shared.timer.add(deadline, self.call, &self.slot) {
                self.give_up(false);
                let reason = error.to_string();
                return Poll::Ready(Err(ClientError::Disconnected { may_have_run: true, reason }));
            }
            self.timed = true;
        }
        Poll::Pending
    }
}

impl<Response> Future for Pending<Response> {
    type Output = Result<Response, ClientError>;

    /// # Panics
    /// Polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_timed(context).map_ok(|reply| reply.response)
    }
}

impl<Response> Drop for Pending<Response> {
    fn drop(&mut self) {
        if self.timed
            && let Some(deadline) = self.deadline
        {
            self.shared.timer.remove(deadline, self.call);
        }
        if !self.done {
            self.give_up(false);
        }
    }
}

impl<Response> std::fmt::Debug for Pending<Response> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("call", &self.call)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl From<ReplyPrelude> for Times {
    fn from(prelude: ReplyPrelude) -> Times {
        let us = |us: u32| Duration::from_micros(us.into());
        Times {
            queue_wait: us(prelude.queue_wait_us),
            permit_wait: us(prelude.permit_wait_us),
            run: us(prelude.run_us),
        }
    }
}

/// Where the reader thread puts a call's outcome.
#[derive(Debug, Default)]
pub(super) struct CallSlot {
    cell: Mutex<Cell>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Cell {
    outcome: Option<Result<Answer, ClientError>>,
    waker: Option<Waker>,
    /// Of a call that a handler makes, until its outcome is there or it is given up.
    open: Option<OutgoingCall>,
}

impl CallSlot {
    /// Of a call with this link.
    pub(super) fn of(open: Option<OutgoingCall>) -> CallSlot {
        CallSlot { cell: Mutex::new(Cell { open, ..Cell::default() }), arrived: Condvar::new() }
    }

    /// What comes back over the call's link is like any other call from now on.
    fn close_link(&self) {
        let open = self.cell.lock().open.take();
        drop(open);
    }

    /// Puts the outcome in and wakes a thread that waits. A task that polls is for the caller to wake.
    pub(super) fn fill(&self, outcome: Result<Answer, ClientError>) -> Option<Waker> {
        let mut cell = self.cell.lock();
        if let Some(open) = cell.open.take() {
            drop(cell);
            drop(open);
            cell = self.cell.lock();
        }
        cell.outcome = Some(outcome);
        let waker = cell.waker.take();
        drop(cell);
        self.arrived.notify_one();
        waker
    }

    /// The waker of the task that polls, to tell it that its deadline passed.
    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.cell.lock().waker.take()
    }

    /// The outcome, if it is there.
    fn take(&self) -> Option<Result<Answer, ClientError>> {
        self.cell.lock().outcome.take()
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Result<Answer, ClientError>> {
        let mut cell = self.cell.lock();
        loop {
            if let Some(outcome) = cell.outcome.take() {
                return Some(outcome);
            }
            match deadline {
                None => self.arrived.wait(&mut cell),
                Some(deadline) if self.arrived.wait_until(&mut cell, deadline).timed_out() => {
                    return cell.outcome.take();
                }
                Some(_) => {}
            }
        }
    }

    /// The outcome; while there is none, keeps the waker.
    fn poll(&self, waker: &Waker) -> Option<Result<Answer, ClientError>> {
        let waker = waker.clone();
        let mut cell = self.cell.lock();
        let outcome = cell.outcome.take();
        let old = if outcome.is_none() { cell.waker.replace(waker) } else { None };
        drop(cell);
        drop(old);
        outcome
    }
}
