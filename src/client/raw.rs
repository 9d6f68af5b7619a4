//! Calls with arguments and results as encoded bytes: for bindings of other languages, which have types of their own.
//!
//! Knows methods by name and codec; reads no bytes but a result in JSON.

use super::call_spec::{CallSpec, DecodeResult, EncodeArguments, copy, json_text};
use super::client::Client;
use super::connection::Waiter;
use super::pending::Pending;
use super::reply::Reply;
use crate::service::ClientError;
use crate::wire::{Codec, WireError};
use std::cell::Cell;

/// A method known by its name and codec, without types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawMethod<'a> {
    name: &'a str,
    codec: Codec,
    idempotent: bool,
}

impl<'a> RawMethod<'a> {
    /// The method `name`, whose arguments and results are written in `codec`.
    pub const fn new(name: &'a str, codec: Codec) -> RawMethod<'a> {
        RawMethod { name, codec, idempotent: false }
    }

    /// As [`crate::Method::idempotent`].
    pub const fn idempotent(self) -> RawMethod<'a> {
        RawMethod { idempotent: true, ..self }
    }
}

impl Client {
    /// Calls a method with encoded arguments; the result stays encoded. Bincode is not checked, a result in JSON is.
    /// Blocks as [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`].
    #[doc(hidden)]
    pub fn call_bytes(&self, method: RawMethod<'_>, arguments: &[u8]) -> Result<Reply<Vec<u8>>, ClientError> {
        self.call_with_retries(&self.raw(method, &copy(arguments))?)
    }

    /// As [`Client::start`], with encoded arguments.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    #[doc(hidden)]
    pub fn start_bytes(
        &self,
        method: RawMethod<'_>,
        arguments: &[u8],
    ) -> Result<Pending<Vec<u8>>, ClientError> {
        self.send(&self.raw(method, &copy(arguments))?, Waiter::Task)
    }

    /// Begins a call with encoded arguments.
    fn raw<'a>(
        &self,
        method: RawMethod<'a>,
        encode: &'a EncodeArguments<'a>,
    ) -> Result<CallSpec<'a, Vec<u8>>, ClientError> {
        self.shared.retry.on_call();
        let RawMethod { name, codec, idempotent } = method;
        let decode: DecodeResult<Vec<u8>> = match codec {
            Codec::Bincode => bincode_bytes,
            Codec::Json => json_bytes,
        };
        Ok(CallSpec {
            method: name,
            idempotent,
            // The types behind the bytes are not known here.
            describe: None,
            codec,
            encode,
            decode,
            deadline: self.call_deadline()?,
            unconnected: Cell::default(),
        })
    }
}

fn bincode_bytes(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    match codec {
        Codec::Bincode => Ok(bytes.to_vec()),
        Codec::Json => Err(WireError::Undecodable("the result of a bincode call is JSON".to_owned())),
    }
}

fn json_bytes(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    json_text(codec, bytes).map(String::into_bytes)
}
