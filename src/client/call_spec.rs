//! Description of a call: all that an attempt needs, so that the call can be made again.
//!
//! Knows methods by name and how arguments and results are encoded; knows no connections.

use crate::schema::Describe;
use crate::wire::{Codec, WireError, json};
use std::cell::Cell;
use std::time::Instant;

/// Appends the arguments of a call to its frame.
pub(super) type EncodeArguments<'a> = dyn Fn(&mut Vec<u8>) -> Result<(), WireError> + 'a;

/// Turns the bytes of a result into a response.
pub(super) type DecodeResult<Response> = fn(Codec, &[u8]) -> Result<Response, WireError>;

/// A call to make, and until when.
pub(super) struct CallSpec<'a, Response> {
    pub(super) method: &'a str,
    pub(super) idempotent: bool,
    /// Describes the types; `None` where they are not compared with the server's.
    pub(super) describe: Option<Describe>,
    pub(super) codec: Codec,
    pub(super) encode: &'a EncodeArguments<'a>,
    pub(super) decode: DecodeResult<Response>,
    pub(super) deadline: Option<Instant>,
    /// Whether the last attempt ended before there was a connection. A server that stops says Draining both then and
    /// to calls on a connection.
    pub(super) unconnected: Cell<bool>,
}

impl<'a> CallSpec<'a, String> {
    /// A call of a method that is not known to be idempotent, with arguments and result as JSON text.
    pub(super) fn json(method: &'a str, encode: &'a EncodeArguments<'a>, deadline: Option<Instant>) -> Self {
        CallSpec {
            method,
            idempotent: false,
            describe: None,
            codec: Codec::Json,
            encode,
            decode: json_text,
            deadline,
            unconnected: Cell::default(),
        }
    }
}

/// Encodes arguments that are encoded already.
pub(super) fn copy(arguments: &[u8]) -> impl Fn(&mut Vec<u8>) -> Result<(), WireError> {
    |out| {
        out.extend_from_slice(arguments);
        Ok(())
    }
}

/// Decodes a result into its text, which is checked to be JSON.
pub(super) fn json_text(codec: Codec, bytes: &[u8]) -> Result<String, WireError> {
    if codec != Codec::Json {
        return Err(WireError::Undecodable("the result of a JSON call is not JSON".to_owned()));
    }
    json::check(bytes).map(str::to_owned)
}
