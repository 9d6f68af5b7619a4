//! A port of a running server, as the server's owner sees it.

use super::listener::ListenerHandle;
use crate::metrics::PortStats;
use crate::pool::{PortShared, Shared};
use crate::sync::Arc;
use std::net::SocketAddr;
use std::thread::JoinHandle;

/// A port of a running server. Its methods read gauges and counters: they neither block nor fail, and can be called
/// from any thread.
#[derive(Debug)]
pub struct PortHandle {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) workers: usize,
    pub(super) listener: Arc<ListenerHandle>,
    /// Of the listener; `None` once the server has stopped.
    pub(super) thread: Option<JoinHandle<()>>,
}

impl PortHandle {
    /// Returns its name in `Ports`.
    pub fn name(&self) -> &str {
        &self.port.name
    }

    /// Returns the first of its addresses; with the system's choice where the INI says port 0.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns all its addresses: a host name may have several.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the number of threads of its pool.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Returns the number of threads of its pool that sleep.
    pub fn idle_workers(&self) -> usize {
        self.shared.throttle.idle(self.port.index)
    }

    /// Returns the number of calls that wait in its queue.
    pub fn queued(&self) -> usize {
        self.port.queue.len()
    }

    /// Returns the number of calls admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.port.queue.in_flight()
    }

    /// Returns the memory that its connections hold, in bytes: half-read frames, calls queued and running, replies
    /// unsent. All ports together are bounded by `Server_Buffer_Memory_MB`.
    pub fn buffer_bytes(&self) -> usize {
        self.port.buffers.bytes()
    }

    /// Returns its counters.
    pub fn stats(&self) -> &PortStats {
        &self.port.stats
    }
}
