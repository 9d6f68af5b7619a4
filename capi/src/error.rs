//! The last error of each thread of C's.
//!
//! Knows the client's errors; each becomes one status. Invariant: a call that may have run is never reported as not
//! started.

use crate::status::boneyard_blame::{self, *};
use crate::status::boneyard_status::{self, *};
use rpc::ClientError;
use rpc::client::Blame;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::c_char;
use std::time::Duration;

/// The last failure of a thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct boneyard_error {
    /// The status that the function returned.
    pub status: boneyard_status,
    /// Whose fault it is.
    pub blame: boneyard_blame,
    /// The application's own number if the status is BONEYARD_APPLICATION, the status of the refused call if it is
    /// BONEYARD_NESTED_REFUSED, else 0.
    pub code: u32,
    /// 1 if it is certain that no handler saw the call, or its handler says that it did nothing, so that a repeated call
    /// does nothing twice; else 0.
    pub never_started: u32,
    /// Milliseconds to wait before a retry; 0 if the server does not say.
    pub retry_after_ms: u64,
}

/// The error of a C function.
#[derive(Debug)]
pub struct FfiError {
    told: boneyard_error,
    message: Cow<'static, str>,
}

thread_local! {
    static LAST: RefCell<Option<FfiError>> = const { RefCell::new(None) };
}

impl FfiError {
    /// A mistake of the caller, detected before anything was done.
    pub fn misuse(status: boneyard_status, message: impl Into<Cow<'static, str>>) -> FfiError {
        FfiError::new(status, BONEYARD_BLAME_CALLER, true, message)
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> FfiError {
        FfiError::misuse(BONEYARD_INVALID_ARGUMENT, message)
    }

    /// The same error after the call was sent: a handler may have seen it.
    pub fn after_sending(mut self) -> FfiError {
        self.told.never_started = 0;
        self
    }

    /// The awaited outcome is not there yet.
    pub fn not_yet(message: &'static str) -> FfiError {
        FfiError::new(BONEYARD_NOT_YET, BONEYARD_BLAME_NOBODY, false, message)
    }

    pub fn defect() -> FfiError {
        FfiError::new(BONEYARD_DEFECT, BONEYARD_BLAME_CALLER, false, "the library has a defect: a panic")
    }

    fn new(
        status: boneyard_status,
        blame: boneyard_blame,
        never_started: bool,
        message: impl Into<Cow<'static, str>>,
    ) -> FfiError {
        let told =
            boneyard_error { status, blame, code: 0, never_started: never_started.into(), retry_after_ms: 0 };
        FfiError { told, message: message.into() }
    }

    /// Keeps it for [`boneyard_last_error`].
    pub fn keep(self) -> boneyard_status {
        let status = self.told.status;
        // A thread that is ending may have no storage for it any more; the status says enough.
        LAST.try_with(|last| last.replace(Some(self))).ok();
        status
    }
}

impl From<ClientError> for FfiError {
    fn from(error: ClientError) -> FfiError {
        let blame = match error.blame() {
            Blame::Caller => BONEYARD_BLAME_CALLER,
            Blame::Server => BONEYARD_BLAME_SERVER,
            Blame::Environment => BONEYARD_BLAME_ENVIRONMENT,
            Blame::Application => BONEYARD_BLAME_APPLICATION,
            Blame::Overload => BONEYARD_BLAME_OVERLOAD,
            // A kind of a later library.
            _ => BONEYARD_BLAME_ENVIRONMENT,
        };
        let retry_after_ms = error.retry_after().unwrap_or(Duration::ZERO).as_millis();
        let mut failure = FfiError::new(status(&error), blame, error.never_started(), String::new());
        failure.told.retry_after_ms = u64::try_from(retry_after_ms).unwrap_or(u64::MAX);
        failure.message = match error {
            ClientError::Application { code, message } => {
                failure.told.code = code;
                message
            }
            ClientError::NestedRefused { status, .. } => {
                failure.told.code = status.code().into();
                error.to_string()
            }
            other => other.to_string(),
        }
        .into();
        failure
    }
}

fn status(error: &ClientError) -> boneyard_status {
    if let Some(status) = error.status() {
        return boneyard_status::of(status.code().into()).unwrap_or(BONEYARD_OTHER);
    }
    match error {
        ClientError::InvalidAddress { .. } => BONEYARD_INVALID_ADDRESS,
        ClientError::InvalidOption(_) => BONEYARD_INVALID_OPTION,
        ClientError::SchemaMismatch { .. } => BONEYARD_SCHEMA_MISMATCH,
        ClientError::Unencodable(_) => BONEYARD_UNENCODABLE,
        ClientError::ReplyTooLarge { .. } => BONEYARD_REPLY_TOO_LARGE,
        ClientError::Connect { .. } => BONEYARD_CONNECT,
        ClientError::Disconnected { .. } => BONEYARD_DISCONNECTED,
        ClientError::DeadlineExceeded { .. } => BONEYARD_DEADLINE_EXCEEDED,
        ClientError::NoThread(_) => BONEYARD_NO_THREAD,
        ClientError::UnknownStatus(_) => BONEYARD_UNKNOWN_STATUS,
        ClientError::Protocol(_) => BONEYARD_BAD_PROTOCOL,
        ClientError::Throttled => BONEYARD_THROTTLED,
        _ => BONEYARD_OTHER,
    }
}

/// Returns the last failure on this thread: fills `error`, and writes its message into `message` with a NUL at the end,
/// cut to `size` bytes at the end of a character. Returns the length of the message, uncut and without the NUL.
///
/// Either pointer may be NULL (then with `size` 0). Before the first failure the status is BONEYARD_OK and the message
/// empty; so it is in a thread that is ending and has no storage for it, as in a destructor of a thread's data or after
/// main. A success changes nothing, nor does this function. Any thread; never blocks.
///
/// # Safety
/// `error` is writable, as are `size` bytes at `message`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_last_error(
    error: *mut boneyard_error,
    message: *mut c_char,
    size: usize,
) -> usize {
    let show = |last: Option<&FfiError>| {
        let told = last.map(|failure| failure.told);
        let words = last.map_or("", |failure| &failure.message);
        if !error.is_null() && error.is_aligned() {
            // SAFETY: the caller says that it is writable; it is not null and aligned.
            unsafe { error.write(told.unwrap_or(NO_ERROR)) };
        }
        if !message.is_null() && size > 0 {
            let most = words.len().min(size - 1);
            let bytes = (0..=most).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
            // SAFETY: the caller says that `size` bytes are writable there, and `bytes` is less than that.
            unsafe {
                message.cast::<u8>().copy_from_nonoverlapping(words.as_ptr(), bytes);
                message.add(bytes).write(0);
            }
        }
        words.len()
    };
    // The caller reads the results in any case, so they are always written.
    LAST.try_with(|last| show(last.borrow().as_ref())).unwrap_or_else(|_| show(None))
}

const NO_ERROR: boneyard_error = boneyard_error {
    status: BONEYARD_OK,
    blame: BONEYARD_BLAME_NOBODY,
    code: 0,
    never_started: 0,
    retry_after_ms: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::service::Status;

    #[test]
    fn an_error_keeps_its_code_its_wait_and_whether_it_may_be_repeated() {
        let message = "böse".to_owned();
        FfiError::from(ClientError::Application { code: 7, message }).keep();
        let (mut told, mut words) = (NO_ERROR, [1; 3]);
        // SAFETY: both are ours, of these sizes.
        let bytes = unsafe { boneyard_last_error(&mut told, words.as_mut_ptr(), words.len()) };
        assert_eq!((told.status, told.code, told.never_started), (BONEYARD_APPLICATION, 7, 0));
        assert_eq!((bytes, words), (5, [b'b' as c_char, 0, 1]), "cut at a character");

        let retry_after = Some(Duration::from_millis(250));
        FfiError::from(ClientError::QueueFull { retry_after }).keep();
        // SAFETY: as above.
        unsafe { boneyard_last_error(&mut told, std::ptr::null_mut(), 0) };
        assert_eq!((told.blame, told.never_started, told.retry_after_ms), (BONEYARD_BLAME_OVERLOAD, 1, 250));
    }

    #[test]
    fn a_nested_refusal_has_the_status_of_the_refused_call() {
        let retry_after = Some(Duration::from_millis(250));
        let refused =
            ClientError::NestedRefused { status: Status::QueueFull, message: String::new(), retry_after };
        let told = FfiError::from(refused).told;
        assert_eq!((told.status, told.code), (BONEYARD_NESTED_REFUSED, BONEYARD_QUEUE_FULL as u32));
        assert_eq!((told.blame, told.never_started, told.retry_after_ms), (BONEYARD_BLAME_OVERLOAD, 0, 250));
    }

    #[test]
    fn types_that_differ_have_a_number_of_their_own() {
        let (method, difference) =
            ("notes.read".to_owned(), "request: u32 here, u64 at the server".to_owned());
        let error = ClientError::SchemaMismatch { method, difference };
        assert_eq!(status(&error), BONEYARD_SCHEMA_MISMATCH);
    }

    #[test]
    fn a_refusal_has_the_number_that_the_protocol_has() {
        let message = String::new();
        let error = ClientError::Unavailable { status: Status::MaxUsers, message, retry_after: None };
        assert_eq!(status(&error), BONEYARD_MAX_USERS);
        let error = ClientError::Rejected { status: Status::TooSlow, message: String::new() };
        assert_eq!(status(&error), BONEYARD_TOO_SLOW);
    }
}
