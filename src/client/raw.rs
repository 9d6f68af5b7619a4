//! Calls whose arguments and results are bytes already: for bindings of other languages, which have types of their own.
//!
//! Knows methods by name and how bytes are written; looks into none but a result in JSON.

use super::error::ClientError;
use super::pending::{Decode, Pending, Reply};
use super::retry::call::Call;
use super::{Client, json_text};
use crate::wire::{Codec, WireError};
use std::cell::Cell;

/// A method as its caller knows it without types.
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
    /// Calls a method with arguments that are encoded already; its result is left encoded. Bincode is not looked at, a
    /// result in JSON is known to be JSON. Blocks as [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`].
    #[doc(hidden)]
    pub fn call_bytes(&self, method: RawMethod<'_>, arguments: &[u8]) -> Result<Reply<Vec<u8>>, ClientError> {
        self.make(&self.bytes(method, &write_bytes(arguments))?)
    }

    /// As [`Client::start`], with arguments that are encoded already.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    #[doc(hidden)]
    pub fn start_bytes(
        &self,
        method: RawMethod<'_>,
        arguments: &[u8],
    ) -> Result<Pending<Vec<u8>>, ClientError> {
        self.send(&self.bytes(method, &write_bytes(arguments))?)
    }

    fn bytes<'a>(
        &self,
        method: RawMethod<'a>,
        write: &'a super::Write<'a>,
    ) -> Result<Call<'a, Vec<u8>>, ClientError> {
        self.shared.retry.begin();
        let RawMethod { name, codec, idempotent } = method;
        let decode: Decode<Vec<u8>> = match codec {
            Codec::Bincode => bincode_bytes,
            Codec::Json => json_bytes,
        };
        // What the bytes are made of is not known here: nothing to compare.
        let (describe, unconnected) = (None, Cell::default());
        let deadline = self.due()?;
        Ok(Call { method: name, idempotent, describe, codec, write, decode, deadline, unconnected })
    }
}

fn write_bytes(arguments: &[u8]) -> impl Fn(&mut Vec<u8>) -> Result<(), WireError> {
    |out| {
        out.extend_from_slice(arguments);
        Ok(())
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
