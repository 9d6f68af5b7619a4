//! Bytes that C reads: results.
//!
//! They belong to a handle, so that freeing them twice, or with a length that was changed, is an error or nothing,
//! and never a crash. Invariant: a NUL follows the last byte, so that a result in JSON is text for C; `data` is never
//! null.

use crate::entry::{check, entry};
use crate::error::Failure;
use crate::handles::{self, Object};
use crate::status::boneyard_status;
use std::ptr;

/// Bytes that the library owns until `boneyard_bytes_free`. A NUL follows the last of them, not counted.
#[repr(C)]
#[derive(Debug)]
pub struct boneyard_bytes {
    /// The first byte; never NULL in a result. Good until they are freed.
    pub data: *const u8,
    /// How many, the NUL not counted.
    pub length: usize,
    /// The library's own: what is freed.
    pub handle: u64,
}

impl boneyard_bytes {
    /// No bytes, nothing to free: what a call that failed leaves.
    pub const NONE: boneyard_bytes = boneyard_bytes { data: ptr::null(), length: 0, handle: 0 };

    /// Hands bytes over to C.
    pub fn of(mut bytes: Vec<u8>) -> Result<boneyard_bytes, Failure> {
        bytes.reserve_exact(1);
        bytes.push(0);
        // The heap's block, which does not move with the Vec.
        let (data, length) = (bytes.as_ptr(), bytes.len() - 1);
        Ok(boneyard_bytes { data, length, handle: handles::insert(Object::Bytes(bytes))? })
    }
}

/// Frees a result and makes it empty. One that is empty, as a call that failed leaves it, and NULL are left alone.
/// Every thread may free what another was given. Never blocks.
///
/// BONEYARD_INVALID_HANDLE: they were freed already, through a copy of the structure.
///
/// # Safety
/// `bytes` is NULL or leads to a structure that this library has filled; nobody reads the bytes any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_bytes_free(bytes: *mut boneyard_bytes) -> boneyard_status {
    entry(|| {
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
