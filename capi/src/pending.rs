//! Calls that are out: sent by one function, waited for by another.
//!
//! Invariant: a call is waited for by one thread at a time, and its lock is what says so. The outcome is told once,
//! and takes the handle with it.

use crate::bytes::boneyard_bytes;
use crate::client::{boneyard_client, boneyard_times, client_of, deliver, method_of};
use crate::entry::{bytes, entry, out, wanted};
use crate::error::Failure;
use crate::handles::{self, Object};
use crate::options::time;
use crate::status::boneyard_status::{self, BONEYARD_BUSY, BONEYARD_INVALID_HANDLE};
use rpc::Pending;
use rpc::client::Canceller;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

/// A call that is out, as a handle; 0 is none.
pub type boneyard_pending = u64;

/// What its handle stands for.
pub struct Out {
    /// `None` once its outcome was told.
    call: Mutex<Option<Pending<Vec<u8>>>>,
    canceller: Canceller,
}

/// Sends a call and returns without its answer, so that many are out at once. It is sent once and never made again by
/// itself. The deadline counts from here. The rest is as with `boneyard_call`.
///
/// The handle is taken by the `boneyard_wait` that tells the outcome, or freed by `boneyard_pending_free`. Many
/// threads may start calls with one client at once. Blocks while the connection is made, and while more than 1 MiB of
/// other calls waits to be written.
///
/// As `boneyard_call`, of which nothing was sent.
///
/// # Safety
/// `method` ends with a NUL; `length` bytes at `arguments` are readable until this function returns; `pending` is
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_start(
    client: boneyard_client,
    method: *const c_char,
    flags: u32,
    arguments: *const u8,
    length: usize,
    deadline_ms: u64,
    pending: *mut boneyard_pending,
) -> boneyard_status {
    entry(|| {
        // SAFETY: the caller's promises, one by one.
        let (pending, method, arguments) = unsafe {
            let pending = out(pending, "pending")?;
            pending.put(0);
            (pending, method_of(method, flags)?, bytes(arguments, length, "arguments")?)
        };
        let call = client_of(client, deadline_ms)?.start_bytes(method, arguments)?;
        let (canceller, call) = (call.canceller(), Mutex::new(Some(call)));
        // Without a handle the call is dropped, and so cancelled; it may have been started by then.
        let out = Object::Pending(Arc::new(Out { call, canceller }));
        pending.put(handles::insert(out).map_err(Failure::after_sending)?);
        Ok(())
    })
}

/// Waits for a call's outcome, at most `timeout_ms`: 0 only looks, BONEYARD_FOREVER waits as long as the call's
/// deadline.
///
/// BONEYARD_NOT_YET, BONEYARD_BUSY, BONEYARD_INVALID_ARGUMENT and BONEYARD_INVALID_HANDLE leave the call as it was.
/// Any other status is the call's outcome, and the handle is gone. `result` and `times` are as with `boneyard_call`.
///
/// One thread may wait for a call at a time, another is told BONEYARD_BUSY. Blocks for `timeout_ms`.
///
/// # Safety
/// `result` and `times` are writable, and what `result` held before is no longer needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_wait(
    pending: boneyard_pending,
    timeout_ms: u64,
    result: *mut boneyard_bytes,
    times: *mut boneyard_times,
) -> boneyard_status {
    entry(|| {
        let (to, outcome) = {
            let waited = || {
                // SAFETY: the caller says that they are writable.
                let to = unsafe { (out(result, "result")?, wanted(times, "times")?) };
                to.0.put(boneyard_bytes::NONE);
                let outcome = get(pending)?.wait(time(timeout_ms).unwrap_or(Duration::MAX))?;
                Ok((to, outcome))
            };
            // What is wrong with the waiting says nothing of the call.
            waited().map_err(Failure::after_sending)?
        };
        // Another thread may have freed it meanwhile, which is as well.
        remove(pending).ok();
        deliver(outcome?, to)
    })
}

/// Asks the server not to start a call. `boneyard_wait` still has to be called, and tells what became of it:
/// BONEYARD_CANCELLED, or its outcome where it had been started. Any thread, also while another waits for the call;
/// blocks for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE: the outcome was told already.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_cancel(pending: boneyard_pending) -> boneyard_status {
    entry(|| {
        get(pending)?.canceller.cancel();
        Ok(())
    })
}

/// Throws a call away: it is cancelled, and nobody hears of its outcome, save a thread that waits for it now. 0 is
/// left alone. Any thread; blocks for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_pending_free(pending: boneyard_pending) -> boneyard_status {
    entry(|| match pending {
        0 => Ok(()),
        pending => {
            let call = remove(pending)?;
            // Whoever waits for it hears of it soon; if nobody does, this drops the call, which tells the server.
            if Arc::strong_count(&call) > 1 {
                call.canceller.cancel();
            }
            Ok(())
        }
    })
}

const WANTED: &str = "a call that is out";

fn get(pending: boneyard_pending) -> Result<Arc<Out>, Failure> {
    handles::get(pending, WANTED, |object| match object {
        Object::Pending(call) => Some(Arc::clone(call)),
        _ => None,
    })
}

fn remove(pending: boneyard_pending) -> Result<Arc<Out>, Failure> {
    handles::remove(pending, WANTED, |object| match object {
        Object::Pending(call) => Ok(call),
        other => Err(other),
    })
}

/// What became of a call.
type Outcome = Result<rpc::client::Reply<Vec<u8>>, Failure>;

impl Out {
    /// The outcome; an error where the call is as it was.
    fn wait(&self, patience: Duration) -> Result<Outcome, Failure> {
        let mut call = match self.call.try_lock() {
            Ok(call) => call,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::misuse(BONEYARD_BUSY, "another thread waits for this call"));
            }
        };
        let Some(waited) = call.as_mut() else {
            return Err(Failure::misuse(
                BONEYARD_INVALID_HANDLE,
                "the outcome of this call was told already",
            ));
        };
        let outcome = waited.wait_for(patience).ok_or_else(|| Failure::not_yet("the call is still out"))?;
        *call = None;
        Ok(outcome.map_err(Failure::from))
    }
}
