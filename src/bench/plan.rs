//! Plan of a run: target, load and duration.

use crate::wire::Codec;
use std::net::SocketAddr;
use std::time::Duration;

/// Plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Address of the server.
    pub address: SocketAddr,
    /// Target of the calls.
    pub target: Target,
    /// Connections, 1 to 19,000.
    pub connections: usize,
    /// Rule by which calls follow one another.
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

/// Target of the calls.
#[derive(Debug, Clone)]
pub enum Target {
    /// A method of a Boneyard server.
    Method {
        /// `service.method`.
        name: String,
        /// Format of the arguments.
        codec: Codec,
        /// The arguments.
        arguments: Vec<u8>,
    },
    /// Any server that echoes every byte, for comparison.
    Raw {
        /// Size of a call and of its answer, in bytes.
        bytes: usize,
    },
}

/// Rule by which calls follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// Closed loop: this many calls always in flight on each connection. 0 leaves the connections idle.
    Closed(usize),
    /// Open loop: this many calls a second over all connections, however many are answered.
    Open(f64),
}
