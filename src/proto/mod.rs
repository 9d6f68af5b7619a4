//! State machines of both sides of the protocol, sans-IO: bytes and `now` in; calls, replies and reasons to close out.
//!
//! Knows no sockets, threads, locks or clock, so that it can be fuzzed, cut at every byte and simulated. A server
//! calls [`ServerProtocol::receive`] with the bytes it read, queues the calls found together, sends the replies, keeps
//! the bytes not consumed and passes them again with the next ones.

#[cfg(feature = "client")]
mod answer;
#[cfg(feature = "server")]
mod call;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
mod frames;
#[cfg(feature = "server")]
mod received;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use answer::{Answer, AnswerBody};
#[cfg(feature = "server")]
pub use call::Call;
#[cfg(feature = "server")]
pub use frames::{goaway, reply, welcome};
#[cfg(feature = "server")]
pub use received::{ProtocolClose, ReceiveContext, Received};
#[cfg(feature = "server")]
pub use server::ServerProtocol;
