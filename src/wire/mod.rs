//! Bytes: what travels between a client and a server, and nothing about what it means.
//!
//! Knows no sockets, threads, clock or settings: slices in, values out. `docs/PROTOCOL.md` specifies every byte
//! that is made or read here, and a test reads its examples.
//!
//! Both sides begin with the client's [`Preface`]; after it everything is a [`Header`] of 16 bytes and a body.

pub mod body;
mod budgeted_decoder;
mod chain;
pub mod codec;
mod decode_budget;
mod error;
mod header;
pub mod json;
pub mod limits;

pub use chain::{Chain, ChainEntry, LinkId};
pub use codec::Codec;
pub use decode_budget::{FACTOR, FLOOR_BYTES, FREE_BYTES, Room, Shortage, beginning};
pub use error::WireError;
pub use header::{CallPrelude, Flags, FrameKind, Header, Preface, ReplyPrelude, cut};

/// The one protocol version this build speaks.
pub const VERSION: u16 = 1;
