//! Results: bytes that C reads.
//!
//! They belong to a handle, so that freeing them twice, or with a changed length, is an error or has no effect, and is
//! never a crash. Invariant: a NUL follows the last byte, so that a result in JSON is text for C; `data` is never
//! null.

use crate::error::FfiError;
use crate::guard::{check, guard};
use crate::handles::{self, Object};
use crate::status::boneyard_status;
use std::ptr;

/// Bytes that the library owns until `boneyard_bytes_free`. A NUL follows the last of them, not counted.
#[repr(C)]
#[derive(Debug)]
pub struct boneyard_bytes {
    /// The first byte; never NULL in a result. Valid until they are freed.
    pub data: *const u8,
    /// Number of bytes, without the NUL.
    pub length: usize,
    /// The library's own: the handle to free.
    pub handle: u64,
}

impl boneyard_bytes {
    /// No bytes, nothing to free: the result of a failed call.
    pub const NONE: boneyard_bytes = boneyard_bytes { data: ptr::null(), length: 0, handle: 0 };

    /// Hands bytes over to C.
    pub fn of(mut bytes: Vec<u8>) -> Result<boneyard_bytes, FfiError> {
        bytes.reserve_exact(1);
        bytes.push(0);
        // The heap's block, which does not move with the Vec.
        let (data, length) = (bytes.as_ptr(), bytes.len() - 1);
        Ok(boneyard_bytes { data, length, handle: handles::insert(Object::Bytes(bytes))? })
    }
}

/// Frees a result and makes it empty. An empty one, as a failed call leaves it, and NULL are ignored. Any thread may
/// free the result of another. Never blocks.
///
/// BONEYARD_INVALID_HANDLE: they were freed already, through a copy of the structure.
///
/// # Safety
/// `bytes` is NULL or leads to a structure that this library has filled; the bytes are no longer read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_bytes_free(bytes: *mut boneyard_bytes) -> boneyard_status {
    guard(|| {
        if bytes.is_null() {
            return Ok(());
        }
        check(bytes, "bytes")?;
        // SAFETY: not null, aligned, and the caller says that the library has filled it.
        let boneyard_bytes { handle, .. } = unsafe { bytes.replace(boneyard_bytes::NONE) };
        if handle == 0 {
            return Ok(());
        }
        handles::remove(handle, "bytes", |object| match object {
            Object::Bytes(bytes) => Ok(bytes),
            other => Err(other),
        })
        .map(drop)
    })
}
