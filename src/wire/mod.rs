//! Bytes: what travels between a client and a server, and nothing about what it means.
//!
//! Knows no sockets, threads, clock or settings: slices in, values out. `docs/PROTOCOL.md` specifies every byte
//! that is made or read here, and a test reads its examples.
//!
//! Both sides begin with the client's [`Preface`]; after it everything is a [`Header`] of 16 bytes and a body.

pub mod body;
mod chain;
pub mod codec;
mod error;
mod header;
pub mod json;
pub mod limits;
mod meter;
mod metered;

pub use chain::{Chain, Link, LinkId};
pub use codec::Codec;
pub use error::WireError;
pub use header::{CallPrelude, Flags, Header, Kind, Preface, ReplyPrelude, cut};
pub use meter::{FACTOR, FLOOR_BYTES, FREE_BYTES, Room, Shortage, beginning};

/// The one protocol version this build speaks.
pub const VERSION: u16 = 1;
