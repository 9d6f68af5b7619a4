//! The protocol's two state machines, sans-IO: bytes and `now` in; calls, replies and reasons to close out.
//!
//! Knows no sockets, threads, locks or clock, so that it can be fuzzed, cut at every byte and simulated. A server
//! drives its half as follows: [`ServerProtocol::receive`] with what was read; queue the calls it cut together;
//! send the replies it made; keep the bytes it did not consume and offer them again with more.

mod call;
#[cfg(feature = "client")]
pub mod client;
mod frames;
mod server;

pub use call::Call;
pub use frames::{goaway, reply, welcome};
pub use server::{ProtocolClose, ReceiveContext, Received, ServerProtocol};
