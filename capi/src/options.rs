//! Options of a client, as C writes them.
//!
//! The structure begins with its size, which grows when fields are added at its end. An older program's is shorter: the
//! missing fields have their defaults. A newer program's is longer: it is accepted if all unknown bytes are 0. Knows
//! values; the client knows their ranges.
//!
//! Invariant: in an added field 0 means the behaviour before the field existed.

use crate::error::FfiError;
use crate::guard::{check, guard, text};
use crate::status::boneyard_status;
use rpc::client::ClientOptions;
use rpc::internal::client::NAME_BYTES_MAX;
use rpc::internal::wire::limits::BODY_BYTES_MAX;
use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr;
use std::time::Duration;

/// No limit, as a time in milliseconds.
pub const BONEYARD_FOREVER: u64 = u64::MAX;

/// As `deadline_ms` of one call: the client's own deadline.
pub const BONEYARD_CLIENT_DEADLINE: u64 = u64::MAX - 1;

/// Options of a client. Initialize them with `boneyard_options_init`, then change fields.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct boneyard_options {
    /// Size of the structure in the compiled program. Fields may be added at the end: a program that is older than the
    /// library gets their defaults, a newer one must leave 0 in those that the library does not know.
    pub size: usize,
    /// How long each call waits for its answer, connecting included; default 10,000. 0 has passed already,
    /// BONEYARD_FOREVER is no limit.
    pub deadline_ms: u64,
    /// How long one attempt to connect may take, over all addresses; default 5,000, not 0.
    pub connect_timeout_ms: u64,
    /// Hedging: after this time without an answer an idempotent `boneyard_call` is made a second time in parallel;
    /// default BONEYARD_FOREVER, which is never.
    pub hedge_after_ms: u64,
    /// Largest body of a reply in bytes, 12 to 67,108,864, the default.
    pub reply_bytes_max: u64,
    /// Most retries of a `boneyard_call` that was certainly not started; default 2.
    pub retries: u32,
    /// Whether calls are held back while the server refuses most of them: 1, the default, or 0.
    pub throttle: u32,
    /// Name of the client in the server's log, at most 256 bytes, read only during `boneyard_connect`; NULL, the
    /// default, is the library's own name.
    pub name: *const c_char,
    /// TCP keep-alive: after this many seconds of silence the system probes the server's machine, and closes the
    /// connection after as many more without an answer; default 60, at most 7,200. 0 never probes.
    pub keepalive_s: u32,
    /// Whether `boneyard_call` waits for a server that is not there, until its deadline (10 s if it has none): 1, the
    /// default, or 0; with 0 retries it never waits.
    pub wait_for_server: u32,
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
    keepalive_s: 60,
    wait_for_server: 1,
};

/// Bytes of the first version, of which no program has less: up to and with its last field.
const FIRST_BYTES: usize = offset_of!(boneyard_options, name) + size_of::<*const c_char>();

/// More no version will have; a size beyond it was never written.
const BYTES_MAX: usize = 4096;

impl boneyard_options {
    /// # Safety
    /// The caller of `boneyard_connect` has promised that `name` is null or text.
    pub unsafe fn read(&self) -> Result<ClientOptions, FfiError> {
        for (value, wrong) in [
            (self.throttle, "throttle is neither 0 nor 1"),
            (self.wait_for_server, "wait_for_server is neither 0 nor 1"),
        ] {
            if value > 1 {
                return Err(FfiError::invalid(wrong));
            }
        }
        let keepalive = (self.keepalive_s > 0).then(|| Duration::from_secs(self.keepalive_s.into()));
        let reply_bytes_max = usize::try_from(self.reply_bytes_max).unwrap_or(usize::MAX);
        let options = ClientOptions::default()
            .deadline(time(self.deadline_ms))
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .hedge_after(time(self.hedge_after_ms))
            .reply_bytes_max(reply_bytes_max)
            .retries(self.retries)
            .throttle(self.throttle == 1)
            .keepalive(keepalive)
            .wait_for_server(self.wait_for_server == 1);
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
    pub unsafe fn of(options: *const boneyard_options) -> Result<boneyard_options, FfiError> {
        if options.is_null() {
            return Ok(DEFAULTS);
        }
        check(options, "options")?;
        // SAFETY: not null, aligned, and filled. The size is looked at before the rest.
        let size = unsafe { (&raw const (*options).size).read() };
        check_size(size, FIRST_BYTES, align_of::<boneyard_options>())?;
        // SAFETY: as many bytes as the size says were filled; all bytes are values of numbers and pointers.
        unsafe { read_grown(options, size, DEFAULTS) }
    }
}

/// Refuses a size that no version of the structure can have.
fn check_size(size: usize, first: usize, alignment: usize) -> Result<(), FfiError> {
    if (first..=BYTES_MAX).contains(&size) && size.is_multiple_of(alignment) {
        return Ok(());
    }
    Err(FfiError::invalid(format!("options of {size} bytes: boneyard_options_init has not filled them")))
}

/// A structure of another version, as this one has it: `defaults` where it ends early.
///
/// # Safety
/// `from` leads to `size` bytes, all of them written, and all bytes are values of `T`.
unsafe fn read_grown<T: Copy>(from: *const T, size: usize, defaults: T) -> Result<T, FfiError> {
    let mut known = defaults;
    let from = from.cast::<u8>();
    // SAFETY: no more than either has, and `known` is this function's own.
    unsafe { from.copy_to_nonoverlapping((&raw mut known).cast(), size.min(size_of::<T>())) };
    // SAFETY: these bytes are there, the caller says.
    match (size_of::<T>()..size).find(|at| unsafe { *from.add(*at) } != 0) {
        None => Ok(known),
        Some(at) => Err(FfiError::invalid(format!(
            "options set byte {at} of {size}, of which this library, {}, knows {}",
            env!("CARGO_PKG_VERSION"),
            size_of::<T>()
        ))),
    }
}

/// Fills a structure of another version: with as much of `defaults` as there is room for, and 0 behind.
///
/// # Safety
/// `size` bytes at `to` are writable.
unsafe fn write_grown<T: Copy>(to: *mut T, size: usize, defaults: T) {
    let (to, known) = (to.cast::<u8>(), size.min(size_of::<T>()));
    // SAFETY: no more than either has; and the rest of what the caller says is writable.
    unsafe {
        to.copy_from_nonoverlapping((&raw const defaults).cast(), known);
        to.add(known).write_bytes(0, size - known);
    }
}

/// `None` without end.
pub fn time(ms: u64) -> Option<Duration> {
    (ms != BONEYARD_FOREVER).then(|| Duration::from_millis(ms))
}

/// Fills options with the defaults, and with 0 what this library does not know of them. `size` is
/// `sizeof(boneyard_options)`. Any thread; never blocks.
///
/// BONEYARD_INVALID_ARGUMENT: `options` is NULL, or of a size that no version of this library has.
///
/// # Safety
/// `size` bytes at `options` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_options_init(
    options: *mut boneyard_options,
    size: usize,
) -> boneyard_status {
    guard(|| {
        check(options, "options")?;
        check_size(size, FIRST_BYTES, align_of::<boneyard_options>())?;
        // SAFETY: not null, aligned, and the caller says that so many bytes are writable.
        unsafe { write_grown(options, size, boneyard_options { size, ..DEFAULTS }) };
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

    /// A structure whose first version ended before `added`, and a later one.
    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Now {
        size: u64,
        old: u64,
        added: u64,
    }
    const NOW: Now = Now { size: 24, old: 1, added: 2 };

    #[test]
    fn an_older_structure_has_defaults_for_what_it_lacks() {
        let mut older = [16_u64, 7, 99];
        // SAFETY: three numbers are there, of which two are looked at.
        let read = unsafe { read_grown(older.as_ptr().cast(), 16, NOW) }.unwrap();
        assert_eq!(read, Now { size: 16, old: 7, added: 2 });
        // SAFETY: as above.
        unsafe { write_grown(older.as_mut_ptr().cast(), 16, Now { size: 16, ..NOW }) };
        assert_eq!(older, [16, 1, 99], "nothing is written behind its end");
    }

    #[test]
    fn a_newer_structure_is_taken_if_what_is_unknown_is_0() {
        let mut newer = [9_u64; 5];
        // SAFETY: five numbers are there.
        unsafe { write_grown(newer.as_mut_ptr().cast(), 40, Now { size: 40, ..NOW }) };
        assert_eq!(newer, [40, 1, 2, 0, 0]);
        // SAFETY: five numbers are there.
        let read = |newer: &[u64; 5]| unsafe { read_grown(newer.as_ptr().cast::<Now>(), 40, NOW) };
        assert_eq!(read(&newer).unwrap(), Now { size: 40, ..NOW });
        for at in 24..40 {
            let (mut set, mut bytes) = (newer, [0; 8]);
            bytes[at % 8] = 1;
            set[at / 8] = u64::from_ne_bytes(bytes);
            let said = format!("{:?}", read(&set).unwrap_err());
            assert!(said.contains(&format!("options set byte {at} of 40")), "{said}");
        }
    }

    #[test]
    fn a_size_that_no_version_has_is_refused() {
        let refused = |size| check_size(size, 16, 8).is_err();
        assert!([0, 8, 15, 17, 4097, 4104, usize::MAX].into_iter().all(refused));
        assert!(![16, 24, 4096].into_iter().any(refused));
        assert!(
            check_size(size_of::<boneyard_options>(), FIRST_BYTES, align_of::<boneyard_options>()).is_ok()
        );
    }
}
