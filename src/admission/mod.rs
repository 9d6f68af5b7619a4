//! Admission: which calls of a connection its listener accepts, decided before their arguments are decoded.
//!
//! Pure: knows no sockets, threads, locks or clock. `now` and the state of the port come in as values.

mod answer_allowance;
mod call_admission;
mod cancel_abuse;
mod forecast;
mod received_chain;
mod view;

pub(crate) use answer_allowance::{ANSWERS_MAX, Allowance, AllowanceDecision, Answered};
pub use call_admission::Admission;
pub(crate) use call_admission::Ahead;
pub(crate) use cancel_abuse::CancelAbuse;
pub use forecast::Forecast;
pub(crate) use forecast::TURN_NS_MAX;
pub use received_chain::{OwnCallers, ReceivedChain};
pub use view::AdmissionView;

/// Calls one connection may have out at once; more wait in its socket, so that a connection with a thousand calls
/// cannot fill the shared queue.
pub const WINDOW_CALLS_MAX: usize = 512;
