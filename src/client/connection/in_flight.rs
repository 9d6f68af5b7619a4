//! The calls in flight on one connection, and whose turn it is to read their replies. Pure state; knows no sockets and
//! no threads. Its user holds one lock around each method.
//!
//! A thread that blocks for its reply reads the socket itself, for the others too (leader and follower), so that a lone
//! call is woken by the system and by nothing else. Calls that a task polls are read for by the reactor's thread. The
//! right to read passes on: to a thread that sleeps for a reply, to the reactor while there are polled calls, else to
//! no thread.
//!
//! Invariants (docs/ARCHITECTURE.md has the argument):
//! 1. A call that is polled, or whose thread sleeps, has a reader: [`Reader::Nobody`] only while there is neither.
//! 2. [`Reader::Appointed`] names a call whose thread sleeps or is about to look; that thread reads or hands on, also
//!    when its time is over.
//! 3. While `awake` is true its reader will take the queued bytes before it waits for more, so others need not write.

use super::call_slot::CallSlot;
use crate::sync::{Arc, Planted, planted};
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::time::Instant;

/// A call in flight.
#[derive(Debug)]
pub(super) struct InFlightCall {
    pub(super) slot: Arc<CallSlot>,
    /// Position of its frame's last byte in the send queue.
    pub(super) last_byte: u64,
    /// Time at which a task that polls is woken; `None` once it was.
    pub(super) deadline: Option<Instant>,
    pub(super) waiter: Waiter,
}

/// The waiter for a call's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Waiter {
    /// A task that polls, or nothing yet.
    Task,
    /// A thread that blocks for it, or is about to.
    Thread,
    /// A thread that sleeps until its slot is filled, or until it is appointed to read.
    Asleep,
}

/// The thread whose turn it is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The reactor's thread.
    Background,
    /// A thread that waits for its reply.
    Caller,
    /// The thread that waits for this call; it was woken for that.
    Appointed(u64),
    /// No thread: what comes is read with the next call, or by the reactor a little later.
    Nobody,
}

/// The next step of a thread that waits for its reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WaitStep {
    /// Read, for all calls.
    Read,
    /// Sleep on its slot.
    Sleep,
}

/// The calls in flight on one connection.
#[derive(Debug)]
pub(super) struct InFlight {
    calls: HashMap<u64, InFlightCall, FxBuildHasher>,
    reader: Reader,
    /// The reader handles what it has read, and looks at the send queue before it waits again.
    awake: bool,
    /// Calls whose waiter is a task.
    polled: usize,
    /// Calls whose waiter is asleep.
    sleeping: usize,
    /// No call has an earlier deadline.
    earliest: Option<Instant>,
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        InFlight {
            calls: HashMap::default(),
            reader: Reader::Nobody,
            awake: false,
            polled: 0,
            sleeping: 0,
            earliest: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.calls.contains_key(&number)
    }

    /// Whether the reactor's thread is the one to read, so that the socket has to be registered for bytes.
    pub(super) fn is_background(&self) -> bool {
        self.reader == Reader::Background
    }

    /// Whether no thread reads and the last one has left the right to nobody.
    pub(super) fn is_unread(&self) -> bool {
        self.reader == Reader::Nobody
    }

    /// Whether a frame can be left to the reader, which will look at the send queue: a caller before it waits, the
    /// reactor's thread within a millisecond; it is not left to that unless tasks are about to come with more.
    pub(super) fn reader_writes(&self, tasks_follow: bool) -> bool {
        self.awake && (self.reader == Reader::Caller || tasks_follow)
    }

    /// Adds a call. Returns whether its deadline is the earliest.
    pub(super) fn insert(&mut self, number: u64, call: InFlightCall) -> bool {
        if call.waiter == Waiter::Task {
            self.polled += 1;
            if self.reader == Reader::Nobody {
                self.reader = Reader::Background;
            }
        }
        let earliest =
            call.deadline.is_some_and(|deadline| self.earliest.is_none_or(|first| deadline < first));
        if earliest {
            self.earliest = call.deadline;
        }
        self.calls.insert(number, call);
        earliest
    }

    /// Removes a call that was answered or is abandoned.
    pub(super) fn remove(&mut self, number: u64) -> Option<InFlightCall> {
        let call = self.calls.remove(&number)?;
        match call.waiter {
            Waiter::Task => self.polled -= 1,
            Waiter::Thread => {}
            Waiter::Asleep => self.sleeping -= 1,
        }
        Some(call)
    }

    /// Removes all calls; no thread is to read any more.
    pub(super) fn clear(&mut self) -> Vec<InFlightCall> {
        (self.reader, self.awake, self.polled, self.sleeping) = (Reader::Nobody, false, 0, 0);
        self.earliest = None;
        self.calls.drain().map(|(_, call)| call).collect()
    }

    /// The thread of a call begins to wait, or goes on after its sleep.
    pub(super) fn begin_wait(&mut self, number: u64) -> WaitStep {
        // A call that is gone has its outcome, or will have it as soon as the thread that removed it comes to that.
        let Some(call) = self.calls.get_mut(&number) else { return WaitStep::Sleep };
        match std::mem::replace(&mut call.waiter, Waiter::Asleep) {
            Waiter::Task => (self.polled, self.sleeping) = (self.polled - 1, self.sleeping + 1),
            Waiter::Thread => self.sleeping += 1,
            Waiter::Asleep => {}
        }
        let reads = match self.reader {
            Reader::Nobody => true,
            // Where tasks poll too, the reactor's thread stays: it would only be needed again.
            Reader::Background => self.polled == 0 && !self.awake,
            Reader::Appointed(appointed) => appointed == number,
            Reader::Caller => false,
        };
        if !reads {
            return WaitStep::Sleep;
        }
        call.waiter = Waiter::Thread;
        self.sleeping -= 1;
        self.reader = Reader::Caller;
        WaitStep::Read
    }

    /// The thread of a call ceases to wait without its outcome; `reads` if it was the reader. Returns the slot of the
    /// thread to wake, which is to read now.
    #[must_use]
    pub(super) fn end_wait(&mut self, number: u64, reads: bool) -> Option<Arc<CallSlot>> {
        if let Some(call) = self.calls.get_mut(&number) {
            match std::mem::replace(&mut call.waiter, Waiter::Task) {
                Waiter::Task => {}
                Waiter::Thread => self.polled += 1,
                Waiter::Asleep => (self.polled, self.sleeping) = (self.polled + 1, self.sleeping - 1),
            }
        }
        let appointed = self.reader == Reader::Appointed(number) && !planted(Planted::KeptAppointment);
        if reads || appointed { self.hand_on() } else { None }
    }

    /// The reader leaves. Returns the slot of the thread to wake, which is to read now.
    #[must_use]
    pub(super) fn hand_on(&mut self) -> Option<Arc<CallSlot>> {
        self.awake = false;
        if self.polled > 0 && !planted(Planted::UnreadTask) {
            self.reader = Reader::Background;
            return None;
        }
        self.appoint()
    }

    /// Gives the right to read to a thread that sleeps, if there is one.
    fn appoint(&mut self) -> Option<Arc<CallSlot>> {
        self.reader = Reader::Nobody;
        if self.sleeping == 0 || planted(Planted::LeftAsleep) {
            return None;
        }
        let (number, call) = self.calls.iter().find(|(_, call)| call.waiter == Waiter::Asleep)?;
        self.reader = Reader::Appointed(*number);
        Some(Arc::clone(&call.slot))
    }

    /// The reactor's thread begins to read. Returns false if that is not its turn.
    pub(super) fn begin_background(&mut self) -> bool {
        let turn = matches!(self.reader, Reader::Background | Reader::Nobody);
        if turn {
            (self.reader, self.awake) = (Reader::Background, true);
        }
        turn
    }

    /// The reader that is a caller has read something, and handles it.
    pub(super) fn begin_handling(&mut self) {
        self.awake = true;
    }

    /// The reader that is a caller waits for more from now on.
    pub(super) fn end_handling(&mut self) {
        self.awake = false;
    }

    /// The reactor's thread has read. Returns the slot of the thread to wake, which is to read now.
    #[must_use]
    pub(super) fn end_background(&mut self) -> Option<Arc<CallSlot>> {
        self.awake = false;
        if self.reader == Reader::Background && self.polled == 0 && self.sleeping > 0 {
            return self.appoint();
        }
        None
    }

    /// Gives the right to read to the reactor's thread if no thread has it.
    pub(super) fn rest(&mut self) {
        if self.reader == Reader::Nobody {
            self.reader = Reader::Background;
        }
    }

    /// The earliest deadline of all calls, or an earlier time.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Returns the slots of tasks whose deadline has passed; each once.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Arc<CallSlot>> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let mut late = Vec::new();
        for call in self.calls.values_mut() {
            if call.deadline.is_some_and(|deadline| deadline <= now) {
                call.deadline = None;
                late.push(Arc::clone(&call.slot));
            }
        }
        self.earliest = self.calls.values().filter_map(|call| call.deadline).min();
        late
    }
}
