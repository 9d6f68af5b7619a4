//! The guard of every FFI call: catches panics, and checks C's pointers.
//!
//! Invariants: a pointer is dereferenced only if it is not null, aligned, and of a length that the client accepts.
//! Memory that is read becomes a reference; memory that is only written, which C need not have initialized, never does.

use crate::error::FfiError;
use crate::status::boneyard_status;
use rpc::internal::wire::limits::BODY_BYTES_MAX;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of a C function; a panic becomes a status.
pub fn guard(run: impl FnOnce() -> Result<(), FfiError>) -> boneyard_status {
    #[cfg(target_os = "linux")]
    let _cancel_guard = crate::cancel_guard::CancelGuard::begin();
    // Unwind safety: what was half done is behind locks that are not held over calls, or belongs to this call alone.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => boneyard_status::BONEYARD_OK,
        Ok(Err(failure)) => failure.keep(),
        Err(panic) => {
            // Its drop could panic as well.
            std::mem::forget(panic);
            FfiError::defect().keep()
        }
    }
}

/// Text that ends with a NUL, of `bytes_max` bytes at most.
///
/// # Safety
/// `pointer` is null or leads to bytes with a NUL among them, or to more than `bytes_max`; they live as long as `'a`.
pub unsafe fn text<'a>(
    pointer: *const c_char,
    bytes_max: usize,
    what: &'static str,
) -> Result<&'a str, FfiError> {
    if pointer.is_null() {
        return Err(FfiError::invalid(format!("{what} is NULL")));
    }
    // SAFETY: no byte is looked at behind the NUL, and none behind `bytes_max`.
    let end = (0..=bytes_max).find(|at| unsafe { *pointer.add(*at) } == 0);
    let end = end.ok_or_else(|| FfiError::invalid(format!("{what} is over {bytes_max} bytes")))?;
    // SAFETY: these bytes were just looked at.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), end) };
    std::str::from_utf8(bytes).map_err(|_| FfiError::invalid(format!("{what} is not UTF-8")))
}

/// `length` bytes; null is allowed for none.
///
/// # Safety
/// `pointer` is null or leads to `length` bytes, which live as long as `'a` and are not written meanwhile.
pub unsafe fn bytes<'a>(pointer: *const u8, length: usize, what: &'static str) -> Result<&'a [u8], FfiError> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(FfiError::invalid(format!("{what} is NULL and its length {length}")));
    }
    if length > BODY_BYTES_MAX {
        return Err(FfiError::invalid(format!("the length of {what} is {length}, over 64 MiB")));
    }
    // SAFETY: not null, of a length under isize::MAX, and the caller says that it is readable.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Destination of a result. Its former content is never read, and need not be a value of the type.
pub struct Output<T>(*mut T);

impl<T> Output<T> {
    /// Writes the result; the former content is not dropped.
    pub fn put(&self, value: T) {
        // SAFETY: as `out` has it, not null, aligned and writable.
        unsafe { self.0.write(value) }
    }
}

/// Destination of a result.
///
/// # Safety
/// `pointer` is null or writable for as long as the [`Output`] exists, and nothing else uses it meanwhile.
pub unsafe fn out<T>(pointer: *mut T, what: &'static str) -> Result<Output<T>, FfiError> {
    check(pointer, what)?;
    Ok(Output(pointer))
}

/// As [`out`]; null means that the result is not wanted.
///
/// # Safety
/// As [`out`].
pub unsafe fn optional_out<T>(pointer: *mut T, what: &'static str) -> Result<Option<Output<T>>, FfiError> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is the same.
    unsafe { out(pointer, what) }.map(Some)
}

/// Refuses a pointer that is null or misaligned.
pub fn check<T>(pointer: *const T, what: &'static str) -> Result<(), FfiError> {
    if pointer.is_null() {
        return Err(FfiError::invalid(format!("{what} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(FfiError::invalid(format!("{what} is misaligned")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let status = guard(|| panic!("a defect"));
        std::panic::set_hook(quiet);
        assert_eq!(status, boneyard_status::BONEYARD_DEFECT);
    }

    #[test]
    fn invalid_pointers_are_refused_unread() {
        let four = [b'a' as c_char; 4];
        // SAFETY: none of these is looked at beyond its first four bytes.
        unsafe {
            assert!(text(std::ptr::null(), 3, "t").is_err());
            assert!(text(four.as_ptr(), 3, "t").is_err(), "no end within the bound");
            assert!(text([-1 as c_char, 0].as_ptr(), 3, "t").is_err(), "not UTF-8");
            assert_eq!(text(c"abc".as_ptr(), 3, "t").ok(), Some("abc"));
            assert!(bytes(std::ptr::null(), 1, "b").is_err());
            assert!(bytes(four.as_ptr().cast(), usize::MAX, "b").is_err());
            assert_eq!(bytes(std::ptr::null(), 0, "b").ok(), Some(&[][..]));
            assert!(out(std::ptr::without_provenance_mut::<u64>(9), "o").is_err(), "misaligned");
        }
    }
}
