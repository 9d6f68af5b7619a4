//! How other threads reach a listener: they leave a note and wake its poll.

use super::command::ListenerCommand;
use super::slots::Id;
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};
use mio::Waker;
use std::time::Instant;

/// Orders that may wait for a listener; it takes them within milliseconds, or not at all.
const ORDERS_MAX: usize = 64;

/// How far an orderly stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(super) enum Stage {
    #[default]
    Serving,
    /// No new connections, and no calls but those nested in what is in flight.
    Draining,
    /// No calls at all.
    Refusing,
}

/// One listener's mailbox.
#[derive(Debug)]
pub(super) struct ListenerHandle {
    waker: Waker,
    notes: Mutex<Mailbox>,
    /// The listener has given its address up, for as long as the administrator wants.
    stopped: AtomicBool,
    stage: Mutex<Stage>,
    /// Nothing is in flight any more: when to close what is open then, and end.
    closing: Mutex<Option<Instant>>,
    /// The stage that the listener has come to.
    reached: (Mutex<Stage>, Condvar),
}

/// What was left for a listener.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Connections to be looked at: there is room in their window, or their socket failed.
    pub(super) ids: Vec<Id>,
    /// What the administrator wants.
    pub(super) orders: Vec<ListenerCommand>,
}

impl ListenerHandle {
    pub(super) fn new(waker: Waker) -> ListenerHandle {
        let (notes, stage, closing, reached) = Default::default();
        ListenerHandle { waker, notes, stopped: AtomicBool::new(false), stage, closing, reached }
    }

    /// Asks the listener to look at a connection.
    pub(super) fn ring(&self, id: Id) {
        let mut notes = self.notes.lock();
        notes.ids.push(id);
        let first = notes.ids.len() == 1;
        drop(notes);
        if first {
            self.wake();
        }
    }

    /// Gives the listener an order; `false` if too many wait already.
    pub(super) fn order(&self, order: ListenerCommand) -> bool {
        let mut notes = self.notes.lock();
        let room = notes.orders.len() < ORDERS_MAX;
        if room {
            notes.orders.push(order);
        }
        drop(notes);
        self.wake();
        room
    }

    /// For the listener: it has given its address up, or has it again.
    pub(super) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::SeqCst);
    }

    /// Has the listener given its address up?
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The server stops: what the listener admits from now on.
    pub(super) fn advance(&self, stage: Stage) {
        *self.stage.lock() = stage;
        self.wake();
    }

    /// For the listener: it admits no more than this.
    pub(super) fn reach(&self, stage: Stage) {
        *self.reached.0.lock() = stage;
        self.reached.1.notify_all();
    }

    /// Waits until the listener admits no more than this, or until `deadline`.
    pub(super) fn await_stage(&self, stage: Stage, deadline: Instant) {
        let mut reached = self.reached.0.lock();
        while *reached < stage && !self.reached.1.wait_until(&mut reached, deadline).timed_out() {}
    }

    /// Ends the listener: once its peers have closed, or at this time.
    pub(super) fn close_at(&self, time: Instant) {
        *self.closing.lock() = Some(time);
        self.wake();
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock()
    }

    pub(super) fn closing(&self) -> Option<Instant> {
        *self.closing.lock()
    }

    /// For the listener: the notes left since it last looked.
    pub(super) fn take_notes(&self) -> Mailbox {
        std::mem::take(&mut *self.notes.lock())
    }

    /// Has the listener look around.
    pub(super) fn wake(&self) {
        // Writing to an eventfd fails only when its counter is full, and then the listener is awake anyway.
        self.waker.wake().ok();
    }
}
