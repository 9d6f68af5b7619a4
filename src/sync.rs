//! The one file that names locks, channels, atomics and threads, so that a model checker can take their place.
//!
//! Rules for its users: no lock is held across a call out of its file, and at most one is held at a time, so
//! there is no lock order to keep.

pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
pub(crate) use parking_lot::{Condvar, Mutex};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Weak};
pub(crate) use std::thread::yield_now;

use std::sync::OnceLock;
use std::thread::Thread;

/// Lets one thread sleep until another hands it a word.
///
/// A word handed over before the sleep is not lost. At most one word is ever on its way: who hands over must
/// know that the thread waits for it.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    word: AtomicU32,
    thread: OnceLock<Thread>,
}

impl Parker {
    /// Sleeps until a word other than 0 was handed over, and takes it. For the owning thread alone.
    pub(crate) fn park(&self) -> u32 {
        self.thread.get_or_init(std::thread::current);
        loop {
            // SeqCst: pairs with the swap in `unpark`; either the word is seen here or the thread there.
            match self.word.swap(0, Ordering::SeqCst) {
                0 => std::thread::park(),
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
