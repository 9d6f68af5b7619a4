//! Clients and blocking calls.

use crate::bytes::boneyard_bytes;
use crate::error::FfiError;
use crate::guard::{Output, bytes, check, guard, optional_out, out, text};
use crate::handles::{self, Object};
use crate::options::{BONEYARD_CLIENT_DEADLINE, boneyard_options, time};
use crate::settle::at_exit;
use crate::status::boneyard_status;
use rpc::Client;
use rpc::client::{Reply, Times};
use rpc::internal::client::{ADDRESSES_MAX, RawMethod};
use rpc::internal::wire::Codec;
use rpc::internal::wire::limits::METHOD_NAME_BYTES_MAX;
use std::ffi::c_char;

/// A server to call, as a handle; 0 is none. Threads may share it, and it shares one connection among them.
pub type boneyard_client = u64;

/// In `flags`: arguments and result are bincode.
pub const BONEYARD_BINCODE: u32 = 0;

/// In `flags`: arguments and result are JSON text.
pub const BONEYARD_JSON: u32 = 1;

/// In `flags`, added: the method may run twice without harm, so the call is retried even if it may have run.
pub const BONEYARD_IDEMPOTENT: u32 = 2;

/// Longest address, in bytes: a name of DNS, and a port.
const ADDRESS_BYTES_MAX: usize = 512;

/// Parts of a transaction's time on the server, in microseconds. The three do not overlap.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct boneyard_times {
    /// From the reading of the call to its start, without the permit wait.
    pub queue_wait_us: u64,
    /// While a worker was idle for it and no permit was free, and after its handler's waits until there was one
    /// again.
    pub permit_wait_us: u64,
    /// Decoding, handler and encoding.
    pub run_us: u64,
}

impl From<Times> for boneyard_times {
    fn from(times: Times) -> boneyard_times {
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let Times { queue_wait, permit_wait, run, .. } = times;
        boneyard_times { queue_wait_us: us(queue_wait), permit_wait_us: us(permit_wait), run_us: us(run) }
    }
}

/// Creates a client of a service at `count` addresses, 1 to 64, each `host`, `host:port` or `[IPv6]:port`; the default
/// port is 1352. They are tried in their order whenever a connection is made, which the first call does: this function
/// only parses them. `options` may be NULL.
///
/// The client is freed by `boneyard_client_free`. Any thread; never blocks.
///
/// BONEYARD_INVALID_ARGUMENT, BONEYARD_INVALID_ADDRESS, BONEYARD_INVALID_OPTION, BONEYARD_TOO_MANY_HANDLES.
///
/// # Safety
/// `addresses` leads to `count` texts that end with a NUL; `options` was filled by `boneyard_options_init`; `client`
/// is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_connect(
    addresses: *const *const c_char,
    count: usize,
    options: *const boneyard_options,
    client: *mut boneyard_client,
) -> boneyard_status {
    guard(|| {
        // SAFETY: the caller says that it is writable.
        let client = unsafe { out(client, "client") }?;
        client.put(0);
        check(addresses, "addresses")?;
        if !(1..=ADDRESSES_MAX).contains(&count) {
            return Err(FfiError::invalid(format!("there are {count} addresses, not 1 to {ADDRESSES_MAX}")));
        }
        // SAFETY: not null, aligned, and the caller says that so many pointers are there.
        let addresses = unsafe { std::slice::from_raw_parts(addresses, count) };
        // SAFETY: the caller says that each is text.
        let addresses = addresses.iter().map(|one| unsafe { text(*one, ADDRESS_BYTES_MAX, "an address") });
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        // SAFETY: the caller says that they were filled.
        let options = unsafe { boneyard_options::of(options)?.read() }?;
        client.put(handles::insert(Object::Client(Client::with_servers(&addresses, options)?))?);
        at_exit();
        Ok(())
    })
}

/// Frees a client. 0 is ignored. Calls that are out and other threads' calls go on: the connection is closed with the
/// last of them. Any thread; never blocks.
///
/// BONEYARD_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_client_free(client: boneyard_client) -> boneyard_status {
    guard(|| match client {
        0 => Ok(()),
        client => handles::remove(client, "a client", |object| match object {
            Object::Client(client) => Ok(client),
            other => Err(other),
        })
        .map(drop),
    })
}

/// Calls a method and blocks until its result is there, at most for `deadline_ms` (BONEYARD_CLIENT_DEADLINE for the
/// client's own). A call that was certainly not started is retried, as `retries` says, and waits for a server that is
/// not there, as `wait_for_server` says.
///
/// `client` is a client or a session. `method` is `service.method`. `flags` give the encoding of `arguments` and of the
/// result: a method without arguments takes no bytes in bincode and `null` in JSON. `result` is freed by
/// `boneyard_bytes_free`; it is empty if the call fails. `times` may be NULL.
///
/// Many threads may call with one client at once. Blocks.
///
/// Any status but BONEYARD_NOT_YET and BONEYARD_BUSY.
///
/// # Safety
/// `method` ends with a NUL; `length` bytes at `arguments` are readable; `result` and `times` are writable, and what
/// `result` held before is no longer needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boneyard_call(
    client: boneyard_client,
    method: *const c_char,
    flags: u32,
    arguments: *const u8,
    length: usize,
    deadline_ms: u64,
    result: *mut boneyard_bytes,
    times: *mut boneyard_times,
) -> boneyard_status {
    guard(|| {
        // SAFETY: the caller's promises, one by one.
        let (to, method, arguments) = unsafe {
            let to = (out(result, "result")?, optional_out(times, "times")?);
            to.0.put(boneyard_bytes::NONE);
            (to, method_of(method, flags)?, bytes(arguments, length, "arguments")?)
        };
        let reply = client_of(client, deadline_ms)?.call_bytes(method, arguments)?;
        deliver(reply, to)
    })
}

/// Writes a reply to C's results.
pub fn deliver(
    reply: Reply<Vec<u8>>,
    (result, times): (Output<boneyard_bytes>, Option<Output<boneyard_times>>),
) -> Result<(), FfiError> {
    // The handler has run, even if there is no handle left for its result.
    result.put(boneyard_bytes::of(reply.response).map_err(FfiError::after_sending)?);
    if let Some(times) = times {
        times.put(reply.times.into());
    }
    Ok(())
}

/// The client of a handle, with the deadline of one call.
pub fn client_of(handle: boneyard_client, deadline_ms: u64) -> Result<Client, FfiError> {
    let client = handles::get(handle, "a client or a session", |object| match object {
        Object::Client(client) => Some(client.clone()),
        Object::Session(session) => Some(session.client().clone()),
        _ => None,
    })?;
    Ok(match deadline_ms {
        BONEYARD_CLIENT_DEADLINE => client,
        ms => client.with_deadline(time(ms)),
    })
}

/// # Safety
/// As [`text`] has it for `name`.
pub unsafe fn method_of<'a>(name: *const c_char, flags: u32) -> Result<RawMethod<'a>, FfiError> {
    // SAFETY: the caller's promise is the same.
    let name = unsafe { text(name, METHOD_NAME_BYTES_MAX, "method") }?;
    let codec = match flags & !BONEYARD_IDEMPOTENT {
        BONEYARD_BINCODE => Codec::Bincode,
        BONEYARD_JSON => Codec::Json,
        _ => return Err(FfiError::invalid(format!("flags {flags:#x} are unknown"))),
    };
    let method = RawMethod::new(name, codec);
    Ok(if flags & BONEYARD_IDEMPOTENT != 0 { method.idempotent() } else { method })
}
