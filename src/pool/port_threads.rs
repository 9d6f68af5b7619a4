//! Threads of a port: which of them is which worker, and where the port's listener is while the listening thread runs
//! calls (see `run_where_read.rs`). Kept under the throttle's lock; knows neither permits nor the queue.
//!
//! Invariant: a listener is in the hands of one thread, or lent, or passed and on its way to the thread that was woken
//! for it.

use crate::sync::{Planted, planted};

/// Outcome of a listener's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnOutcome {
    /// Nothing is left to do.
    Continue,
    /// Calls were queued that no worker was told of.
    CallsLeft,
    /// The listener has ended.
    Ended,
}

/// A port's listener, as the threads see it that share it.
pub(crate) trait PortListener: std::fmt::Debug + Send {
    /// Waits for events, and handles them. Blocks nowhere else.
    fn turn(&mut self) -> TurnOutcome;
}

/// Where a port's listener is.
#[derive(Debug)]
enum Listening {
    /// Its thread has it, or it has ended.
    Held,
    /// Its thread runs calls in this worker's place.
    Lent { listener: Box<dyn PortListener>, worker: usize },
    /// It is on its way to the thread that was woken for it.
    Passed(Box<dyn PortListener>),
}

/// The threads of a port: which of them is which worker, and which listens.
#[derive(Debug)]
pub(super) struct PortThreads {
    of_workers: Vec<usize>,
    listens: usize,
    listening: Listening,
    /// Times that the listener was lent.
    lent: u64,
    /// `lent` when that was last asked.
    seen: u64,
}

impl PortThreads {
    /// Thread w is worker w at first, the thread after them listens.
    pub(super) fn new(workers: usize) -> PortThreads {
        let (of_workers, listening) = ((0..workers).collect(), Listening::Held);
        PortThreads { of_workers, listens: workers, listening, lent: 0, seen: 0 }
    }

    /// The thread that is this worker, or sleeps while its place is lent.
    pub(super) fn of_worker(&self, worker: usize) -> usize {
        self.of_workers[worker]
    }

    /// The listening thread runs calls in this worker's place meanwhile.
    pub(super) fn lend(&mut self, listener: Box<dyn PortListener>, worker: usize) {
        self.listening = Listening::Lent { listener, worker };
        self.lent += 1;
    }

    /// Ends the loan, unless the listener was passed on.
    pub(super) fn take_back(&mut self, worker: usize) -> Option<Box<dyn PortListener>> {
        self.take_lent(Some(worker)).map(|(listener, _)| listener)
    }

    /// If the listener is lent (for this worker's place), its thread stays the worker, and the listener is passed to
    /// the worker's own thread, which is returned, to be woken.
    pub(super) fn pass_listening(&mut self, worker: Option<usize>) -> Option<usize> {
        let (listener, worker) = self.take_lent(worker)?;
        self.listening = Listening::Passed(listener);
        let follower = self.of_workers[worker];
        if !planted(Planted::OldThread) {
            self.of_workers[worker] = std::mem::replace(&mut self.listens, follower);
        }
        Some(follower)
    }

    fn take_lent(&mut self, of: Option<usize>) -> Option<(Box<dyn PortListener>, usize)> {
        match std::mem::replace(&mut self.listening, Listening::Held) {
            Listening::Lent { listener, worker } if of.is_none_or(|of| of == worker) => {
                Some((listener, worker))
            }
            other => {
                self.listening = other;
                None
            }
        }
    }

    /// The listener that was passed to the thread that asks.
    pub(super) fn take_passed(&mut self) -> Option<Box<dyn PortListener>> {
        match std::mem::replace(&mut self.listening, Listening::Held) {
            Listening::Passed(listener) => Some(listener),
            other => {
                self.listening = other;
                None
            }
        }
    }

    /// Returns whether the listener was lent since the last time this was asked.
    pub(super) fn is_lent_anew(&mut self) -> bool {
        std::mem::replace(&mut self.seen, self.lent) != self.lent
    }
}
