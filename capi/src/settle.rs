//! The end of the library's threads, which is a moment after that of their clients.
//!
//! Knows that there are threads; the client knows which.

use crate::entry::entry;
use crate::error::Failure;
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

/// Waits until the threads of clients that were freed have ended and given back all they had, at most `timeout_ms`: 0
/// does not wait for one that still runs, BONEYARD_FOREVER waits without end.
///
/// A connection's thread ends a moment after the client is freed. A program that returns from main right then is
/// perhaps told of it by a leak checker; one that forks has a thread where it thinks it has none. Either calls this
/// when it has freed what it had. No thread should still be inside of a function that was given a client which is
/// freed by now: it may start others.
///
/// Any thread, also several at once; blocks for `timeout_ms`. In the child of a fork whose parent has ever had a client
/// it gives BONEYARD_NOT_YET at once: there it knows of no threads.
///
/// BONEYARD_IN_USE: clients, sessions or calls that are out are left, of whatever part of the program; their threads do
/// not end before those are freed, so this function has not waited. Results may be left. BONEYARD_NOT_YET: threads
/// still run.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_settle(timeout_ms: u64) -> boneyard_status {
    entry(|| {
        if handles::any(|object| !matches!(object, Object::Bytes(_))) {
            let what = "clients, sessions or calls that are out are left, and have threads";
            return Err(Failure::misuse(BONEYARD_IN_USE, what));
        }
        match join_background_threads(time(timeout_ms).unwrap_or(Duration::MAX)) {
            true => Ok(()),
            false => Err(Failure::not_yet("threads of clients that were freed still run")),
        }
    })
}

/// Sees to it that a program which ends without [`boneyard_settle`] leaves no thread that has ended and that nobody
/// has joined: checkers call that a leak. Waits for none that runs.
pub fn at_exit() {
    static ONCE: Once = Once::new();
    // SAFETY: the function takes and returns nothing, does not unwind, and is there until the library is unloaded,
    // before which the C library runs it. Where there is no room for it, it is not run.
    ONCE.call_once(|| _ = unsafe { atexit(join_the_ended) });
}

extern "C" fn join_the_ended() {
    entry(|| {
        join_background_threads(Duration::ZERO);
        Ok(())
    });
}
