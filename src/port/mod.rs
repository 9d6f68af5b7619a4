//! Protocol logic of a port, sans-IO: bytes and `now` in; calls, replies and reasons to close out.
//!
//! Knows no sockets, threads, locks or clock, so that it can be fuzzed, cut at every byte and simulated. A server
//! drives it as follows: [`Conversation::receive`] with what was read; queue the calls it cut together;
//! send the replies it made; keep the bytes it did not consume and offer them again with more.

mod admission;
mod allowance;
mod call;
mod conversation;
mod forecast;
mod frames;
mod received;
mod whims;

pub use admission::{Admission, Entrance, Nesting, Rivals};
pub use call::Call;
pub use conversation::{Conversation, Intake, Leave, Reception};
pub(crate) use forecast::TURN_NS_MAX;
pub use forecast::{Forecast, Outlook};
pub use frames::{goaway, reply, welcome};
pub use received::{Found, ReceivedChain};

/// Calls one connection may have out at once; more wait in its socket, so that a connection with a thousand calls
/// cannot fill the shared queue.
pub const WINDOW_CALLS_MAX: usize = 512;
