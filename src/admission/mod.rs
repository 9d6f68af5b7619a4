//! Admission: which calls of a connection its listener accepts, decided before their arguments are decoded.
//!
//! Pure: knows no sockets, threads, locks or clock. `now` and the state of the port are passed in.

mod answer_allowance;
mod call_admission;
mod cancel_abuse;
mod forecast;
mod received_chain;
mod view;
mod window;

pub(crate) use answer_allowance::{ANSWERS_MAX, Allowance, AllowanceDecision, Answered};
pub use call_admission::Admission;
pub(crate) use call_admission::Ahead;
pub(crate) use cancel_abuse::CancelAbuse;
pub use forecast::Forecast;
pub(crate) use forecast::TURN_NS_MAX;
pub use received_chain::{OwnCallers, ReceivedChain};
pub use view::AdmissionView;
pub use window::WINDOW_CALLS_MAX;
