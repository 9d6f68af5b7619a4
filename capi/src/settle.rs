//! The end of the library's threads, which comes shortly after that of their clients.
//!
//! Knows that there are threads; the client knows which.

use crate::error::FfiError;
use crate::guard::guard;
use crate::handles::{self, Object};
use crate::options::time;
use crate::status::boneyard_status::{self, BONEYARD_IN_USE};
use rpc::client::join_background_threads;
use std::ffi::c_int;
use std::sync::Once;
use std::time::Duration;

unsafe extern "C" {
    fn atexit(run: extern "C" fn()) -> c_int;
}

/// Waits until the threads of freed clients have ended and released everything, at most `timeout_ms`: 0 does not wait
/// for one that still runs, BONEYARD_FOREVER waits without limit.
///
/// The library's thread ends after the last client is freed. A leak checker may report it in a program that returns
/// from main right then; a program that forks has a thread where it expects none. Either calls this when it has freed
/// its handles. No thread should still be in a function with a client that is freed by now: it may start others.
///
/// Any thread, also several at once; blocks for `timeout_ms`. In the child of a fork whose parent has ever had a client
/// it returns BONEYARD_NOT_YET at once: the threads are unknown there.
///
/// BONEYARD_IN_USE: clients, sessions or pending calls are left, in any part of the program; their threads do not end
/// before those are freed, so this function has not waited. Results may be left. BONEYARD_NOT_YET: threads still run.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_settle(timeout_ms: u64) -> boneyard_status {
    guard(|| {
        if handles::any(|object| !matches!(object, Object::Bytes(_))) {
            let what = "clients, sessions or calls that are out are left, and have threads";
            return Err(FfiError::misuse(BONEYARD_IN_USE, what));
        }
        match join_background_threads(time(timeout_ms).unwrap_or(Duration::MAX)) {
            true => Ok(()),
            false => Err(FfiError::not_yet("threads of clients that were freed still run")),
        }
    })
}

/// Joins ended threads at exit, for programs that end without [`boneyard_settle`]: checkers report an unjoined one as a
/// leak. Waits for none that runs.
pub fn at_exit() {
    static ONCE: Once = Once::new();
    // SAFETY: the function takes and returns nothing, does not unwind, and is there until the library is unloaded,
    // before which the C library runs it. Where there is no room for it, it is not run.
    ONCE.call_once(|| _ = unsafe { atexit(join_ended_threads) });
}

extern "C" fn join_ended_threads() {
    guard(|| {
        join_background_threads(Duration::ZERO);
        Ok(())
    });
}
