//! Wire format: encoding and decoding of frames and bodies.
//!
//! Knows no sockets, threads, clock or settings: slices in, values out. `docs/PROTOCOL.md` specifies every byte
//! that is written or read here, and a test reads its examples.
//!
//! A connection begins with the client's [`Preface`]; after it everything is a [`Header`] of 16 bytes and a body.

pub mod body;
mod budgeted_decoder;
mod chain;
pub mod codec;
mod decode_budget;
mod error;
mod frame_kind;
mod header;
pub mod json;
pub mod limits;

pub use chain::{Chain, ChainEntry, EntryId};
pub use codec::Codec;
pub use decode_budget::{DecodeMemory, FACTOR, FLOOR_BYTES, FREE_BYTES, Shortage, beginning};
pub use error::WireError;
pub use frame_kind::FrameKind;
pub use header::{CallPrelude, Flags, Header, Preface, ReplyPrelude, peek_frame};
pub use limits::VERSION;
