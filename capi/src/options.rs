//! What a client can be told, as C writes it.
//!
//! The structure begins with its size, which grows when fields are added at its end: an older program goes on working
//! with a newer library. Knows values; the client knows their ranges.

use crate::entry::{check, entry, text};
use crate::error::Failure;
use crate::status::boneyard_status;
use rpc::client::{ClientOptions, NAME_BYTES_MAX};
use rpc::wire::limits::BODY_BYTES_MAX;
use std::ffi::c_char;
use std::ptr;
use std::time::Duration;

/// A time without end, in milliseconds.
pub const BONEYARD_FOREVER: u64 = u64::MAX;

/// As `deadline_ms` of one call: the deadline that the client has.
pub const BONEYARD_CLIENT_DEADLINE: u64 = u64::MAX - 1;

/// What a client can be told. Fill it with `boneyard_options_init`, then change what is to be different.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct boneyard_options {
    /// Its bytes, as the program was compiled.
    pub size: usize,
    /// How long each call waits for its answer, connecting included; default 10,000. 0 has passed already,
    /// BONEYARD_FOREVER waits without end.
    pub deadline_ms: u64,
    /// How long one attempt to connect may take, over all addresses; default 5,000, not 0.
    pub connect_timeout_ms: u64,
    /// After so long without an answer an idempotent `boneyard_call` is made a second time at once; default
    /// BONEYARD_FOREVER, which is never.
    pub hedge_after_ms: u64,
    /// Largest body of a reply in bytes, 12 to 67,108,864, the default.
    pub reply_bytes_max: u64,
    /// How many times `boneyard_call` is made again at most where it certainly was not started; default 2.
    pub retries: u32,
    /// Are calls held back while the server refuses most of them? 1, the default, or 0.
    pub throttle: u32,
    /// What the client tells the server it is called, at most 256 bytes, read while it connects only; NULL, the
    /// default, for the library's own name.
    pub name: *const c_char,
}

const DEFAULTS: boneyard_options = boneyard_options {
    size: size_of::<boneyard_options>(),
    deadline_ms: 10_000,
    connect_timeout_ms: 5_000,
    hedge_after_ms: BONEYARD_FOREVER,
    reply_bytes_max: BODY_BYTES_MAX as u64,
    retries: 2,
    throttle: 1,
    name: ptr::null(),
};

impl boneyard_options {
    /// # Safety
    /// The caller of `boneyard_connect` has promised that `name` is null or text.
    pub unsafe fn read(&self) -> Result<ClientOptions, Failure> {
        if self.throttle > 1 {
            return Err(Failure::invalid("throttle is neither 0 nor 1"));
        }
        let reply_bytes_max = usize::try_from(self.reply_bytes_max).unwrap_or(usize::MAX);
        let options = ClientOptions::default()
            .deadline(time(self.deadline_ms))
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .hedge_after(time(self.hedge_after_ms))
            .reply_bytes_max(reply_bytes_max)
            .retries(self.retries)
            .throttle(self.throttle == 1);
        if self.name.is_null() {
            return Ok(options);
        }
        // SAFETY: the caller's promise.
        let name = unsafe { text(self.name, NAME_BYTES_MAX, "name") }?;
        Ok(options.name(name))
    }

    /// Options as C has them, or the defaults for null.
    ///
    /// # Safety
    /// `options` is null or was filled by `boneyard_options_init`.
    pub unsafe fn of(options: *const boneyard_options) -> Result<boneyard_options, Failure> {
        if options.is_null() {
            return Ok(DEFAULTS);
        }
        check(options, "options")?;
        // SAFETY: not null, aligned, and filled. The size is looked at before the rest.
        let size = unsafe { (&raw const (*options).size).read() };
        if size != DEFAULTS.size {
            return Err(Failure::invalid(
                "options have another size: boneyard_options_init has not filled them",
            ));
        }
        // SAFETY: as many bytes as the size says.
        Ok(unsafe { options.read() })
    }
}

/// `None` without end.
pub fn time(ms: u64) -> Option<Duration> {
    (ms != BONEYARD_FOREVER).then(|| Duration::from_millis(ms))
}

/// Fills options with the defaults. `size` is `sizeof(boneyard_options)`. Any thread; never blocks.
///
/// BONEYARD_INVALID_ARGUMENT: `options` is NULL, or of a size that this library does not know.
///
/// # Safety
/// `size` bytes at `options` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_options_init(
    options: *mut boneyard_options,
    size: usize,
) -> boneyard_status {
    entry(|| {
        check(options, "options")?;
        if size != DEFAULTS.size {
            return Err(Failure::invalid(format!("options of {size} bytes, not {}", DEFAULTS.size)));
        }
        // SAFETY: not null, aligned, and the caller says that so many bytes are writable.
        unsafe { options.write(DEFAULTS) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_client() {
        // SAFETY: the name is null.
        let ours = unsafe { DEFAULTS.read() }.unwrap();
        assert_eq!(format!("{ours:?}"), format!("{:?}", ClientOptions::default()));
    }
}
