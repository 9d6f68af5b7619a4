//! Admission: which calls of a connection its listener accepts, decided before their arguments are decoded.
//!
//! Pure: knows no sockets, threads, locks or clock. `now` and the state of the port come in as values.

mod answer_allowance;
mod call_admission;
mod cancel_abuse;
mod forecast;
mod received_chain;

pub(crate) use answer_allowance::{ANSWERS_MAX, Allowance, AllowanceDecision, Answered};
pub(crate) use call_admission::Ahead;
pub use call_admission::{Admission, Entrance, Nesting, QueueRivals};
pub(crate) use cancel_abuse::CancelAbuse;
pub(crate) use forecast::TURN_NS_MAX;
pub use forecast::{Forecast, Outlook};
pub use received_chain::{OwnCallers, ReceivedChain};

/// Calls one connection may have out at once; more wait in its socket, so that a connection with a thousand calls
/// cannot fill the shared queue.
pub const WINDOW_CALLS_MAX: usize = 512;
