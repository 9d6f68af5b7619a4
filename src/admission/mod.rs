//! Admission: which calls of a connection its listener accepts, decided before their arguments are decoded.
//!
//! Pure: knows no sockets, threads, locks or clock. `now` and the state of the port are passed in.

mod answer_allowance;
mod call_admission;
mod cancel_abuse;
mod forecast;
mod received_chain;

pub(crate) use answer_allowance::{ANSWERS_MAX, Allowance, AllowanceDecision, Answered};
pub(crate) use call_admission::Ahead;
pub use call_admission::{Admission, AdmissionView, WINDOW_CALLS_MAX};
pub(crate) use cancel_abuse::CancelAbuse;
pub(crate) use forecast::TURN_NS_MAX;
pub use forecast::{Forecast, LineForecast};
pub use received_chain::{OwnCallers, ReceivedChain};
