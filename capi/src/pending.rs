//! Pending calls: sent by one function, awaited by another.
//!
//! Invariant: one thread at a time waits for a call, guarded by the call's lock. The outcome is returned once, which
//! frees the handle.

use crate::bytes::boneyard_bytes;
use crate::client::{boneyard_client, boneyard_times, client_of, deliver, method_of};
use crate::error::FfiError;
use crate::guard::{bytes, guard, optional_out, out};
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

/// The object of its handle.
pub struct PendingCall {
    /// `None` once its outcome was returned.
    call: Mutex<Option<Pending<Vec<u8>>>>,
    canceller: Canceller,
}

/// Sends a call and returns without its answer, so that many are out at once. It is sent once and never retried. The
/// deadline counts from here. The rest is as with `boneyard_call`.
///
/// The handle is freed by the `boneyard_wait` that returns the outcome, or by `boneyard_pending_free`. Many threads may
/// start calls with one client at once. Blocks while the connection is made, and while more than 1 MiB of other calls
/// waits to be written.
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
    guard(|| {
        // SAFETY: the caller's promises, one by one.
        let (pending, method, arguments) = unsafe {
            let pending = out(pending, "pending")?;
            pending.put(0);
            (pending, method_of(method, flags)?, bytes(arguments, length, "arguments")?)
        };
        let call = client_of(client, deadline_ms)?.start_bytes(method, arguments)?;
        let (canceller, call) = (call.canceller(), Mutex::new(Some(call)));
        // Without a handle the call is dropped, and so cancelled; it may have been started by then.
        let pending_call = Object::Pending(Arc::new(PendingCall { call, canceller }));
        pending.put(handles::insert(pending_call).map_err(FfiError::after_sending)?);
        Ok(())
    })
}

/// Waits for a call's outcome, at most `timeout_ms`: 0 only polls, BONEYARD_FOREVER waits as long as the call's
/// deadline.
///
/// BONEYARD_NOT_YET, BONEYARD_BUSY, BONEYARD_INVALID_ARGUMENT and BONEYARD_INVALID_HANDLE leave the call as it was.
/// Any other status is the call's outcome, and the handle is freed. `result` and `times` are as with `boneyard_call`.
///
/// One thread may wait for a call at a time, another gets BONEYARD_BUSY. Blocks for `timeout_ms`.
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
    guard(|| {
        let (to, outcome) = {
            let waited = || {
                // SAFETY: the caller says that they are writable.
                let to = unsafe { (out(result, "result")?, optional_out(times, "times")?) };
                to.0.put(boneyard_bytes::NONE);
                let outcome = get(pending)?.wait(time(timeout_ms).unwrap_or(Duration::MAX))?;
                Ok((to, outcome))
            };
            // An error of the waiting says nothing about the call.
            waited().map_err(FfiError::after_sending)?
        };
        // Another thread may have freed it meanwhile, which is allowed.
        remove(pending).ok();
        deliver(outcome?, to)
    })
}

/// Cancels a call: the server does not start it. `boneyard_wait` still has to be called, and returns
/// BONEYARD_CANCELLED, or the call's outcome if it had been started. Any thread, also while another waits for the call;
/// blocks for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE: the outcome was returned already.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_cancel(pending: boneyard_pending) -> boneyard_status {
    guard(|| {
        get(pending)?.canceller.cancel();
        Ok(())
    })
}

/// Frees a call: it is cancelled, and its outcome is discarded, unless a thread waits for it now. 0 is ignored. Any
/// thread; blocks for 20 ms at most.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_pending_free(pending: boneyard_pending) -> boneyard_status {
    guard(|| match pending {
        0 => Ok(()),
        pending => {
            let call = remove(pending)?;
            // A waiting thread gets its outcome soon; without one this drops the call, which cancels it at the server.
            if Arc::strong_count(&call) > 1 {
                call.canceller.cancel();
            }
            Ok(())
        }
    })
}

const WANTED: &str = "a call that is out";

fn get(pending: boneyard_pending) -> Result<Arc<PendingCall>, FfiError> {
    handles::get(pending, WANTED, |object| match object {
        Object::Pending(call) => Some(Arc::clone(call)),
        _ => None,
    })
}

fn remove(pending: boneyard_pending) -> Result<Arc<PendingCall>, FfiError> {
    handles::remove(pending, WANTED, |object| match object {
        Object::Pending(call) => Ok(call),
        other => Err(other),
    })
}

/// Outcome of a call.
type Outcome = Result<rpc::client::Reply<Vec<u8>>, FfiError>;

impl PendingCall {
    /// The outcome; an error leaves the call as it was.
    fn wait(&self, timeout: Duration) -> Result<Outcome, FfiError> {
        let mut call = match self.call.try_lock() {
            Ok(call) => call,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(FfiError::misuse(BONEYARD_BUSY, "another thread waits for this call"));
            }
        };
        let Some(waited) = call.as_mut() else {
            return Err(FfiError::misuse(
                BONEYARD_INVALID_HANDLE,
                "the outcome of this call was returned already",
            ));
        };
        let outcome = waited.wait_for(timeout).ok_or_else(|| FfiError::not_yet("the call is still out"))?;
        *call = None;
        Ok(outcome.map_err(FfiError::from))
    }
}
