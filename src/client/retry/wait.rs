//! Waits that a caller can stop.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two checks of whether to keep waiting.
pub(in crate::client) const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Returns whether the call is still wanted. Called on the caller's thread while it waits.
pub(in crate::client) type KeepWaiting<'a> = dyn FnMut() -> bool + 'a;

/// Sleeps for `wait`. Returns false if `keep_waiting` did, at the next check.
pub(super) fn sleep_while(wait: Duration, keep_waiting: &mut KeepWaiting<'_>) -> bool {
    let end = Instant::now() + wait;
    loop {
        thread::sleep(end.saturating_duration_since(Instant::now()).min(CHECK_INTERVAL));
        if !keep_waiting() {
            return false;
        }
        if Instant::now() >= end {
            return true;
        }
    }
}
