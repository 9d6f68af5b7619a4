//! The load generator behind `boneyard bench`: one thread drives hundreds of connections.
//!
//! A shell like the client, but built to cost little: frames are made once and patched, a read's replies are
//! answered with one write, and nothing is allocated for each call.
//!
//! Closed loop: each connection keeps a number of calls out; a reply is followed by the next call at once. Open
//! loop: calls are due at times of their own (Poisson gaps), whether or not earlier ones were answered, and their
//! latency counts from the time they were due, so that waiting for a slow server is not hidden.

mod arrivals;
mod connection;
mod driver;
mod report;

pub use report::{BenchReport, Latency};

use crate::service::suggest::suggestion;
use crate::wire::Codec;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// What is called there.
    pub target: Target,
    /// Connections, 1 to 19,000.
    pub connections: usize,
    /// How calls follow one another.
    pub pace: Pacing,
    /// Time before counting begins.
    pub warm_up: Duration,
    /// Time that is counted.
    pub duration: Duration,
    /// Deadline sent with each call; `None` sends none.
    pub deadline: Option<Duration>,
    /// Seed of the gaps in an open loop.
    pub seed: u64,
}

/// What is called.
#[derive(Debug, Clone)]
pub enum Target {
    /// A method of a Boneyard server.
    Method {
        /// `service.method`.
        name: String,
        /// How the arguments are written.
        codec: Codec,
        /// The arguments.
        arguments: Vec<u8>,
    },
    /// Any server that gives every byte back: a yardstick.
    Raw {
        /// Bytes of a call and of its answer.
        bytes: usize,
    },
}

/// How calls follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// So many calls out on each connection, always. 0 leaves the connections idle.
    Closed(usize),
    /// So many calls a second over all connections, whatever becomes of them.
    Open(f64),
}

/// Why there is no outcome.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A connection could not be made or the poll failed.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The server has no such method.
    #[error("the server has no method {name:?}{}", suggestion(nearest.as_deref()))]
    UnknownMethod {
        /// What was asked for.
        name: String,
        /// The method of the server whose name is nearest, if one is near.
        nearest: Option<String>,
    },
    /// The server takes no connection, and says why.
    #[error("the server takes no connection: {0}")]
    Refused(String),
    /// The server does not speak the protocol, or closed before it said so.
    #[error("the server's greeting: {0}")]
    Greeting(String),
}

/// Runs a plan. `progress` is told now and then how far it is, from 0 to 1, and the calls answered so far. Blocks
/// for warm-up and duration.
///
/// # Errors
/// [`BenchError`]; a connection lost later is counted, not an error.
pub fn run(plan: &Plan, progress: impl FnMut(f64, u64)) -> Result<BenchReport, BenchError> {
    driver::Driver::connect(plan)?.run(progress)
}
