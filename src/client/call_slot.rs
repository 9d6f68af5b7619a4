//! Slot in which the reader thread leaves the outcome of one call for its caller.
//!
//! Invariants: a slot is filled at most once and emptied at most once. No foreign code (a waker's clone, wake or drop)
//! runs while the slot's lock is held.

use super::error::ClientError;
use crate::proto::client::Answer;
use crate::service::worker_hooks::OutgoingCall;
use crate::sync::{Arc, Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

/// Outcome of a call on a connection: its answer, or why there is none.
pub(super) type CallOutcome = Result<Answer, ClientError>;

/// Outcome of one call, once it has one.
#[derive(Debug, Default)]
pub(super) struct CallSlot {
    content: Mutex<SlotContent>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct SlotContent {
    outcome: Option<CallOutcome>,
    waker: Option<Waker>,
    /// Registration of a call made by a handler, until its outcome is there or it is abandoned.
    outgoing: Option<OutgoingCall>,
}

impl CallSlot {
    /// `outgoing` is the registration of a call made by a handler.
    pub(super) fn new(outgoing: Option<OutgoingCall>) -> CallSlot {
        let content = SlotContent { outgoing, ..SlotContent::default() };
        CallSlot { content: Mutex::new(content), filled: Condvar::new() }
    }

    /// Ends the registration of a call made by a handler: calls that come back to this server through it are like any
    /// other from now on.
    pub(super) fn unregister(&self) {
        let outgoing = self.content.lock().outgoing.take();
        drop(outgoing);
    }

    /// Stores the outcome and wakes a thread that waits. Returns the waker of a task that polls, for the caller to
    /// wake.
    fn fill(&self, outcome: CallOutcome) -> Option<Waker> {
        let mut content = self.content.lock();
        if let Some(outgoing) = content.outgoing.take() {
            drop(content);
            drop(outgoing);
            content = self.content.lock();
        }
        content.outcome = Some(outcome);
        let waker = content.waker.take();
        drop(content);
        self.filled.notify_one();
        waker
    }

    /// Wakes the task that polls, if any, to tell it that its deadline passed.
    pub(super) fn wake_task(&self) {
        let waker = self.content.lock().waker.take();
        waker.into_iter().for_each(wake);
    }

    /// Takes the outcome, if it is there.
    pub(super) fn take(&self) -> Option<CallOutcome> {
        self.content.lock().outcome.take()
    }

    /// Blocks until the outcome is there or `deadline` passes.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Option<CallOutcome> {
        let mut content = self.content.lock();
        loop {
            if let Some(outcome) = content.outcome.take() {
                return Some(outcome);
            }
            match deadline {
                None => self.filled.wait(&mut content),
                Some(deadline) if self.filled.wait_until(&mut content, deadline).timed_out() => {
                    return content.outcome.take();
                }
                Some(_) => {}
            }
        }
    }

    /// Takes the outcome; while there is none, keeps the waker.
    pub(super) fn poll(&self, waker: &Waker) -> Option<CallOutcome> {
        let waker = waker.clone();
        let mut content = self.content.lock();
        let outcome = content.outcome.take();
        let old = if outcome.is_none() { content.waker.replace(waker) } else { None };
        drop(content);
        drop(old);
        outcome
    }
}

/// Fills all slots, then wakes all tasks: a waker is foreign code, which must not delay the other outcomes.
pub(super) fn fill_all(outcomes: Vec<(Arc<CallSlot>, CallOutcome)>) {
    let wakers: Vec<_> = outcomes.into_iter().filter_map(|(slot, outcome)| slot.fill(outcome)).collect();
    wakers.into_iter().for_each(wake);
}

/// Wakes a task. A panic of its waker ends here.
fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        log::error!("waker of a pending call panicked");
    }
}
