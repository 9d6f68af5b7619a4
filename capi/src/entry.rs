//! The door between C and Rust: panics end here, and C's pointers are checked here or refused.
//!
//! Invariants: a pointer is looked at only when it is not null, aligned, and of a length that the client takes. What is
//! read becomes a reference; to what is only written, which C need not have initialized, there is never one.

use crate::error::Failure;
use crate::status::boneyard_status;
use rpc::internal::wire::limits::BODY_BYTES_MAX;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what a function of C's does.
pub fn entry(run: impl FnOnce() -> Result<(), Failure>) -> boneyard_status {
    #[cfg(target_os = "linux")]
    let _kept = crate::kept::Kept::begin();
    // Unwind safety: what was half done is behind locks that are not held over calls, or belongs to this call alone.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => boneyard_status::BONEYARD_OK,
        Ok(Err(failure)) => failure.keep(),
        Err(panic) => {
            // Its drop could panic as well.
            std::mem::forget(panic);
            Failure::defect().keep()
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
) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL")));
    }
    // SAFETY: no byte is looked at behind the NUL, and none behind `bytes_max`.
    let end = (0..=bytes_max).find(|at| unsafe { *pointer.add(*at) } == 0);
    let end = end.ok_or_else(|| Failure::invalid(format!("{what} is over {bytes_max} bytes")))?;
    // SAFETY: these bytes were just looked at.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), end) };
    std::str::from_utf8(bytes).map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
}

/// `length` bytes; null is good for none.
///
/// # Safety
/// `pointer` is null or leads to `length` bytes, which live as long as `'a` and are not written meanwhile.
pub unsafe fn bytes<'a>(pointer: *const u8, length: usize, what: &'static str) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL and its length {length}")));
    }
    if length > BODY_BYTES_MAX {
        return Err(Failure::invalid(format!("the length of {what} is {length}, over 64 MiB")));
    }
    // SAFETY: not null, of a length under isize::MAX, and the caller says that it is readable.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Where a result goes. What is there before is never read, and need not be a value of the type.
pub struct Output<T>(*mut T);

impl<T> Output<T> {
    /// Writes the result; what was there is not dropped.
    pub fn put(&self, value: T) {
        // SAFETY: as `out` has it, not null, aligned and writable.
        unsafe { self.0.write(value) }
    }
}

/// Where a result goes.
///
/// # Safety
/// `pointer` is null or writable for as long as the [`Output`] is there, and nobody else uses it meanwhile.
pub unsafe fn out<T>(pointer: *mut T, what: &'static str) -> Result<Output<T>, Failure> {
    check(pointer, what)?;
    Ok(Output(pointer))
}

/// As [`out`], where null says that the result is not wanted.
///
/// # Safety
/// As [`out`].
pub unsafe fn wanted<T>(pointer: *mut T, what: &'static str) -> Result<Option<Output<T>>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is the same.
    unsafe { out(pointer, what) }.map(Some)
}

/// Refuses a pointer that is null or misaligned.
pub fn check<T>(pointer: *const T, what: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid(format!("{what} is misaligned")));
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
        let status = entry(|| panic!("a defect"));
        std::panic::set_hook(quiet);
        assert_eq!(status, boneyard_status::BONEYARD_DEFECT);
    }

    #[test]
    fn what_cannot_be_right_is_refused_unread() {
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
