//! The one file that names locks, channels, atomics and what puts a thread to sleep, so that a model checker can take
//! their place.
//!
//! With `--cfg loom` or `--cfg shuttle` the same names stand for the checker's, and `pool/` runs unchanged under
//! it (see `pool/model.rs`). The channel is then a plain queue under a lock: what is checked is our protocol on top
//! of a channel, not crossbeam's channel.
//!
//! Rules for its users: no lock is held across a call out of its file, and at most one is held at a time, so
//! there is no lock order to keep (docs/ARCHITECTURE.md names the one exception).

#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(unused_imports, reason = "a list of primitives, of which one side alone needs only some")
)]

#[cfg(any(loom, shuttle))]
mod modelled;
#[cfg(feature = "server")]
mod parker;
#[cfg(feature = "server")]
mod planted;
#[cfg(any(loom, shuttle))]
use modelled as primitives;
#[cfg(not(any(loom, shuttle)))]
mod primitives {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(crate) use parking_lot::{Condvar, Mutex};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
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

#[cfg(feature = "server")]
pub(crate) use parker::Parker;
#[cfg(feature = "server")]
pub(crate) use planted::Planted;
#[cfg(feature = "server")]
pub(crate) use primitives::now;
pub(crate) use primitives::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use primitives::{Condvar, Mutex, Receiver, Sender, bounded, thread_local, yield_now};
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

/// Atomics for counts and estimates that order nothing: the checkers do not look at them, which keeps the number of
/// schedules small.
pub(crate) mod unordered {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
}

/// Returns whether a bug is planted: never, outside a model.
#[cfg(all(feature = "server", not(any(loom, shuttle))))]
pub(crate) const fn planted(_: Planted) -> bool {
    false
}
#[cfg(any(loom, shuttle))]
pub(crate) use primitives::planted;
