//! The one file that names locks, channels, atomics and what puts a thread to sleep, so that a model checker can take
//! their place.
//!
//! With `--cfg loom` or `--cfg shuttle` the same names stand for the checker's, and `pool/` and `client/connection/`
//! run unchanged under it (see their `model.rs`). The channel is then a plain queue under a lock: what is checked is
//! our protocol on top of a channel, not crossbeam's channel.
//!
//! Rules for its users: no lock is held across a call out of its file, and at most one is held at a time, so
//! there is no lock order to keep (docs/ARCHITECTURE.md names the exceptions).

#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(unused_imports, reason = "a list of primitives, of which one side alone needs only some")
)]

#[cfg(any(loom, shuttle))]
mod modelled;
#[cfg(any(loom, shuttle))]
use modelled as primitives;
#[cfg(not(any(loom, shuttle)))]
mod primitives {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    #[cfg(feature = "server")]
    pub(crate) use std::thread::sleep;
    pub(crate) use std::thread::{Thread, current, park, yield_now};
    pub(crate) use std::thread_local;
    #[cfg(feature = "server")]
    use std::time::Instant;

    /// The clock. Stands still under a checker, which must come to the same decisions in every run.
    #[cfg(feature = "server")]
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}

pub(crate) use primitives::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use primitives::{Condvar, Mutex, MutexGuard, Receiver, Sender, bounded, thread_local, yield_now};
#[cfg(feature = "server")]
use primitives::{Thread, current, park};
#[cfg(feature = "server")]
pub(crate) use primitives::{now, sleep};
#[cfg(feature = "server")]
use std::sync::OnceLock;
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

/// Atomics for counts and estimates that order nothing: the checkers do not look at them, which keeps the number of
/// schedules small.
pub(crate) mod unordered {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
}

/// Atomics whose operations are all `SeqCst`, also under loom.
#[cfg(feature = "server")]
pub(crate) mod sequential {
    #[cfg(any(loom, shuttle))]
    pub(crate) use super::modelled::SequentialUsize as AtomicUsize;
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) use std::sync::atomic::AtomicUsize;
}

/// Lets one thread sleep until another hands it a word.
///
/// A word handed over before the sleep is not lost. At most one word is ever on its way: the thread that hands over
/// must know that the other waits for it.
#[cfg(feature = "server")]
#[derive(Debug, Default)]
pub(crate) struct Parker {
    word: AtomicU32,
    thread: OnceLock<Thread>,
}

#[cfg(feature = "server")]
impl Parker {
    /// Sleeps until a word other than 0 was handed over, and takes it. For the owning thread alone.
    pub(crate) fn park(&self) -> u32 {
        self.thread.get_or_init(current);
        loop {
            // SeqCst: pairs with the swap in `unpark`; either the word is seen here or the thread there.
            match self.word.swap(0, Ordering::SeqCst) {
                0 => park(),
                word => return word,
            }
        }
    }

    /// Hands `word` (not 0) to the thread and wakes it.
    pub(crate) fn unpark(&self, word: u32) {
        let before = self.word.swap(word, Ordering::SeqCst);
        debug_assert_eq!(before, 0, "two words at once");
        // A thread that has not come to its first park finds the word there.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Bugs that can be switched on in a model, which must then find them: a model that finds nothing proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(dead_code, reason = "one side alone has not the bugs of the other")
)]
pub(crate) enum Planted {
    /// A worker that retires looks at the queue before it counts itself no longer awake.
    LateLeave,
    /// A freed permit is not handed to a port that starves.
    KeptPermit,
    /// A worker whose handler has waited goes on without a look at the limit.
    FreeReturn,
    /// A worker whose handler begins to wait looks at the queue before it counts itself no longer awake.
    LatePause,
    /// A raised limit wakes one worker, however many it has room for.
    OneRaised,
    /// A permit that comes home is handed on although more are out than a lowered limit.
    LoweredInVain,
    /// A worker that is kept for nested calls takes others, too.
    NoReserve,
    /// A worker that looks for a call in vain, since it is kept for nested ones, counts as having one.
    KeptPlace,
    /// A call finds no place among those of its method, and is put into the line without another look.
    LateLine,
    /// A call of a limited method ends, and its place goes to none that waits.
    UnpassedPlace,
    /// A thread that has run calls where they were read goes back to listening without a look at the queue.
    UnseenQueue,
    /// A thread that has run calls where they were read keeps the worker's place.
    KeptWorker,
    /// A listener is lent while the deputy sleeps.
    NoDeputy,
    /// A thread that a listener was passed to does not look for calls stuck behind the slow one.
    NoRescue,
    /// A listener is passed on, and its worker's words still go to the thread that listens now.
    OldThread,
    /// A client's thread whose time is over keeps the right to read that it was appointed to.
    KeptAppointment,
    /// A client's reader leaves the right to nobody though a task polls.
    UnreadTask,
    /// A client's reader waits for more without a look at what was queued meanwhile.
    UnwrittenCall,
    /// A client's reader leaves without waking a thread that sleeps.
    LeftAsleep,
}

/// Returns whether a bug is planted: never, outside a model.
#[cfg(all(any(feature = "client", feature = "server"), not(any(loom, shuttle))))]
pub(crate) const fn planted(_: Planted) -> bool {
    false
}

/// Returns whether the environment variable `PLANTED` names the bug.
#[cfg(any(loom, shuttle))]
pub(crate) fn planted(bug: Planted) -> bool {
    std::env::var("PLANTED").is_ok_and(|name| name == format!("{bug:?}"))
}

#[cfg(all(test, any(loom, shuttle)))]
pub(crate) use primitives::check;
