//! The load generator behind `boneyard bench`: one thread drives hundreds of connections.
//!
//! Uses sockets and clocks as the client does, but is built to cost little: frames are made once and patched, the
//! replies of one read are followed by one write, and calls need no allocation.
//!
//! Closed loop: each connection keeps a number of calls in flight; a reply is followed by the next call at once. Open
//! loop: calls are due at times of their own (Poisson gaps), whether or not earlier ones were answered, and their
//! latency counts from the time they were due, so that the wait for a slow server is not hidden.

mod connection;
mod driver;
mod plan;
mod report;

pub use driver::{Arrivals, BenchError, run};
pub use plan::{Pacing, Plan, Target};
pub use report::{BenchReport, Latency};
