//! Slot in which the thread that reads leaves the outcome of one call for its caller.
//!
//! Invariants: a slot is filled at most once and emptied at most once. No foreign code (a waker's clone, wake or drop)
//! runs while the slot's lock is held.

use crate::proto::Answer;
use crate::service::ClientError;
use crate::service::worker_hooks::OutgoingCall;
use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Condvar, Mutex, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

/// Outcome of a call on a connection: its answer, or why there is none.
pub(in crate::client) type CallOutcome = Result<Answer, ClientError>;

/// End of a thread's sleep.
#[derive(Debug)]
pub(super) enum Slept {
    /// The outcome is there.
    Filled(CallOutcome),
    /// The thread is to look whether it reads now.
    Woken,
    TimedOut,
}

/// Outcome of one call, once it has one.
#[derive(Debug, Default)]
pub(in crate::client) struct CallSlot {
    content: Mutex<SlotContent>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct SlotContent {
    outcome: Option<(CallOutcome, Option<Unclaimed>)>,
    waker: Option<Waker>,
    /// Whether its thread was woken without an outcome.
    woken: bool,
    /// Registration of a call made by a handler, until its outcome is there or it is abandoned.
    outgoing: Option<OutgoingCall>,
}

impl CallSlot {
    /// `outgoing` is the registration of a call made by a handler.
    pub(in crate::client) fn new(outgoing: Option<OutgoingCall>) -> CallSlot {
        let content = SlotContent { outgoing, ..SlotContent::default() };
        CallSlot { content: Mutex::new(content), filled: Condvar::new() }
    }

    /// Ends the registration of a call made by a handler: calls that come back to this server through it are like any
    /// other from now on.
    pub(in crate::client) fn unregister(&self) {
        let outgoing = self.content.lock().outgoing.take();
        drop(outgoing);
    }

    /// Stores the outcome and wakes a thread that waits. Returns the waker of a task that polls, for the caller to
    /// wake.
    fn fill(&self, outcome: CallOutcome, unclaimed: Option<Unclaimed>) -> Option<Waker> {
        let mut content = self.content.lock();
        if let Some(outgoing) = content.outgoing.take() {
            drop(content);
            drop(outgoing);
            content = self.content.lock();
        }
        let waker = content.waker.take();
        // Only a task that is woken now is about to take it.
        content.outcome = Some((outcome, unclaimed.filter(|_| waker.is_some())));
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
    pub(in crate::client) fn take(&self) -> Option<CallOutcome> {
        self.content.lock().take()
    }

    /// Blocks until the outcome is there, the thread is woken, or `until` passes.
    pub(super) fn sleep(&self, until: Option<Instant>) -> Slept {
        let mut content = self.content.lock();
        loop {
            if let Some(outcome) = content.take() {
                return Slept::Filled(outcome);
            }
            if std::mem::take(&mut content.woken) {
                return Slept::Woken;
            }
            match until {
                None => self.filled.wait(&mut content),
                Some(until) if self.filled.wait_until(&mut content, until).timed_out() => {
                    return content.take().map_or(Slept::TimedOut, Slept::Filled);
                }
                Some(_) => {}
            }
        }
    }

    /// Wakes the thread that sleeps, to read.
    pub(super) fn wake_thread(&self) {
        self.content.lock().woken = true;
        self.filled.notify_one();
    }

    /// Takes the outcome; while there is none, keeps the waker.
    pub(in crate::client) fn poll(&self, waker: &Waker) -> Option<CallOutcome> {
        let waker = waker.clone();
        let mut content = self.content.lock();
        let outcome = content.take();
        let old = if outcome.is_none() { content.waker.replace(waker) } else { None };
        drop(content);
        drop(old);
        outcome
    }
}

impl SlotContent {
    fn take(&mut self) -> Option<CallOutcome> {
        self.outcome.take().map(|(outcome, _)| outcome)
    }
}

/// Outcomes of one connection that tasks have not taken yet.
#[derive(Debug, Default)]
pub(super) struct UnclaimedCount(Arc<AtomicUsize>);

/// One of them; ends when dropped.
#[derive(Debug)]
pub(super) struct Unclaimed(Arc<AtomicUsize>);

impl UnclaimedCount {
    pub(super) fn add(&self) -> Unclaimed {
        // Relaxed here and below: a hint that more calls are about to be sent.
        self.0.fetch_add(1, Ordering::Relaxed);
        Unclaimed(Arc::clone(&self.0))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An outcome on its way to a slot.
pub(super) type Filling = (Arc<CallSlot>, CallOutcome, Option<Unclaimed>);

/// Fills all slots, then wakes all tasks: a waker is foreign code, which must not delay the other outcomes.
pub(super) fn fill_all(outcomes: Vec<Filling>) {
    let fill = |(slot, outcome, unclaimed): Filling| slot.fill(outcome, unclaimed);
    let wakers: Vec<_> = outcomes.into_iter().filter_map(fill).collect();
    wakers.into_iter().for_each(wake);
}

/// Wakes a task. A panic of its waker ends here.
fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        log::error!("waker of a pending call panicked");
    }
}
