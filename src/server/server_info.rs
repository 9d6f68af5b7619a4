//! The answer of `server.info`: the server's counters at the moment of the call.

use super::sessions::Registry;
use crate::pool::{PortShared, Shared};
use crate::service::builtin::{Info, PortInfo};
use crate::sync::{Arc, Weak};
use std::time::Instant;

/// Name and version that a server shows unless its program names it.
pub const SERVER_NAME: &str = concat!("Boneyard ", env!("CARGO_PKG_VERSION"));

/// Source of the answers to `server.info`.
pub(super) struct ServerInfo {
    /// Name and version of the software.
    pub(super) product: Arc<str>,
    /// Weak, since it points to the owner of the handler that owns this.
    pub(super) shared: Weak<Shared>,
    pub(super) sessions: Arc<Registry>,
    pub(super) ports: Vec<(Arc<PortShared>, PortInfo)>,
    pub(super) started: Instant,
}

impl ServerInfo {
    pub(super) fn info(&self) -> Info {
        let throttle = |shared: Arc<Shared>| (shared.throttle.permits(), shared.throttle.limit());
        let ((permits_out, permits_peak), limit) = self.shared.upgrade().map(throttle).unwrap_or_default();
        let (sessions_timed_out, sessions_displaced) = self.sessions.dropped();
        Info {
            server: self.product.to_string(),
            protocol: crate::wire::VERSION,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            max_concurrent_trans: limit.map_or(-1, i64::from),
            in_flight: self.ports.iter().map(|(port, _)| port.queue.in_flight() as u64).sum(),
            permits_out,
            permits_peak,
            answered: self.ports.iter().map(|(port, _)| port.stats.answers.sum()).sum(),
            ports: self.ports.iter().map(|(_, info)| info.clone()).collect(),
            sessions: self.sessions.len() as u64,
            sessions_timed_out,
            sessions_displaced,
        }
    }
}
