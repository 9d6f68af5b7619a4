//! State that all clones of a client share.

use super::dialer::Dialer;
use super::retry::RetryPolicy;
use crate::sync::{AtomicU64, Ordering};

/// State that all clones of a client share.
#[derive(Debug)]
pub(super) struct SharedState {
    pub(super) dialer: Dialer,
    pub(super) retry: RetryPolicy,
    last_call: AtomicU64,
}

impl SharedState {
    pub(super) fn new(dialer: Dialer, retry: RetryPolicy) -> SharedState {
        SharedState { dialer, retry, last_call: AtomicU64::new(0) }
    }

    /// Returns a number that no call has had.
    pub(super) fn next_call(&self) -> u64 {
        // Relaxed: only the number's uniqueness matters.
        self.last_call.fetch_add(1, Ordering::Relaxed) + 1
    }
}
