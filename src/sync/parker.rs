//! A thread's sleep until another thread hands it a word.

use super::primitives::{AtomicU32, Thread, current, park};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// Lets one thread sleep until another hands it a word.
///
/// A word handed over before the sleep is not lost. At most one word is ever on its way: the thread that
/// hands over must know that the other waits for it.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    word: AtomicU32,
    thread: OnceLock<Thread>,
}

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
