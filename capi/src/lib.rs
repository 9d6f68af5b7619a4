//! The Boneyard client as a C library; `include/boneyard.h` is generated from these files, docs/C.md describes its
//! use.
//!
//! ```text
//! client.rs  pending.rs  session.rs  bytes.rs   the C functions, by subject
//! options.rs                                    options of a client
//! settle.rs                                     the end of threads
//! guard.rs  cancel_guard.rs                     the guard of each call: panics, pointers, pthread_cancel
//! handles.rs                                    numbers for C, objects for Rust
//! error.rs  status.rs                           errors as C sees them
//! ```
//! The only package with unsafe code. What is unsafe is that C's pointers are trusted to be what they are said to be,
//! once they are not null, aligned and of a possible length; each such place names the promise that it relies on.
//! Invariants: no panic leaves this library. C never has a pointer to an object of Rust's, only numbers, so that a
//! handle that was freed is an error and not a crash. The bytes that C reads belong to a handle as well.

mod bytes;
#[cfg(target_os = "linux")]
mod cancel_guard;
mod client;
mod error;
mod guard;
mod handles;
mod options;
mod pending;
mod session;
mod settle;
mod status;

use std::ffi::c_char;

/// Version of this interface: a program compiled against another number must not be linked with this library.
/// Functions and statuses may be added without a new number, and fields at the end of `boneyard_options`.
pub const BONEYARD_ABI_VERSION: u32 = 1;

/// The library's `BONEYARD_ABI_VERSION`: a program compares it with the header's. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_abi_version() -> u32 {
    BONEYARD_ABI_VERSION
}

/// Version of the software, as text that lives for ever: "0.1.0". Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a version has no NUL inside"),
        };
    VERSION.as_ptr()
}
