//! What a handler may ask about the call it serves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The far end of a transaction, as the layers without sockets see it.
pub trait Caller: Send + Sync {
    /// Address of the peer.
    fn peer(&self) -> SocketAddr;
    /// Is the connection gone? Then nobody will read the answer.
    fn is_gone(&self) -> bool;
    /// Has the caller cancelled this call, or is the caller gone?
    fn is_cancelled(&self, call: u64) -> bool;
}

/// One call while its handler runs: who asks, for how long, and whether still.
pub struct Transaction<'a> {
    pub(crate) caller: &'a dyn Caller,
    pub(crate) method: &'a str,
    pub(crate) call: u64,
    pub(crate) session: u32,
    pub(crate) deadline: Option<Instant>,
}

impl Transaction<'_> {
    /// Address of the caller.
    pub fn peer(&self) -> SocketAddr {
        self.caller.peer()
    }

    /// Number of the session on its connection; 0 is the connection's own.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Name the call came by, `service.method`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// How long the caller still waits: `None` without end, zero when it no longer does.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Is the result no longer wanted, because the caller cancelled, hung up, or its deadline passed? A long
    /// handler asks now and then and returns early. Costs about as much as reading the clock.
    pub fn cancelled(&self) -> bool {
        self.caller.is_cancelled(self.call) || self.time_left().is_some_and(|left| left.is_zero())
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("method", &self.method)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
