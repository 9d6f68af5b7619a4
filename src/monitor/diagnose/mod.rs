//! Diagnosis: what limits the server now, how many looks agree, what to change, and what a change has brought.
//!
//! Each sample asks the table of rules (`rules.rs`) about the last three seconds: the first that holds names the cause.
//! The rules stand in `shortage.rs`, `callers.rs`, `processors.rs`, `methods.rs` and `places.rs`, over the evidence of
//! `evidence.rs`; what a line would bring is simulated (`sizing.rs`). The verdict is the one that four of five findings
//! agree on (`diagnoser.rs`). When settings change, what was measured before is compared with what is measured after
//! (`experiment.rs`).
//!
//! Invariants: pure logic, from snapshots, settings, looks and connections to text. Names of ports and methods are the
//! server's own and addresses are typed; no other foreign text comes in.

mod callers;
mod clients;
mod diagnoser;
mod evidence;
mod experiment;
mod loads;
mod methods;
mod places;
mod processors;
mod refusal_window;
mod rule;
mod rules;
mod shortage;
mod sizing;
#[cfg(test)]
mod tests;
mod verdict;

pub(super) use diagnoser::{Diagnoser, DiagnosisNews};
pub(super) use evidence::Observations;
pub(super) use verdict::text;
pub use verdict::{Cause, Verdict};
