//! Diagnosis: what limits the server now, how sure that is, what to change, and what a change has brought.
//!
//! Each sample gives a [`Finding`](finding::Finding) on the last three seconds: `causes.rs` finds what calls wait for,
//! `refusals.rs` what is refused whatever the load is, by the figures of `sizing.rs`, with the settings of `advice.rs`.
//! The verdict is the one that four of five findings agree on (`diagnoser.rs`). When settings change, what was measured
//! before is compared with what is measured after (`experiment.rs`).
//!
//! Invariants: pure logic, from snapshots, settings and connections to text. Names of ports and methods are the
//! server's own and addresses are typed; no other foreign text comes in.

mod advice;
mod causes;
mod clients;
mod diagnoser;
mod experiment;
mod inputs;
mod refusals;
mod sizing;
#[cfg(test)]
mod tests;
mod verdict;

pub(super) use diagnoser::Diagnoser;
pub(super) use verdict::text;
pub use verdict::{Cause, Verdict};
