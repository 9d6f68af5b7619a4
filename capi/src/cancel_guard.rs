//! Keeps a C thread from being cancelled while it is in this library.
//!
//! pthread_cancel ends a thread by unwinding it, wherever it waits for the system, and what does not come from Rust
//! must not unwind through Rust: the process would be aborted. Linux only; elsewhere such threads must not be
//! cancelled.

use std::ffi::c_int;

/// Disables cancellation of its thread. A cancel that arrives meanwhile takes effect after the function.
pub struct CancelGuard(c_int);

impl CancelGuard {
    pub fn begin() -> CancelGuard {
        CancelGuard(set(PTHREAD_CANCEL_DISABLE))
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        set(self.0);
    }
}

/// The same number in glibc and in musl.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// Sets this thread's state; returns the one before.
fn set(state: c_int) -> c_int {
    let mut old = 0;
    // SAFETY: it writes `old` and nothing else, and refuses a state that there is not.
    unsafe { pthread_setcancelstate(state, &mut old) };
    old
}
