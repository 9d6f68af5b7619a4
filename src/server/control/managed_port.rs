//! A port as the control holds it.

use crate::pool::PortShared;
use crate::server::listener::ListenerHandle;
use crate::sync::Arc;
use std::net::SocketAddr;

/// A port, and how to reach its listener.
#[derive(Debug)]
pub(super) struct ManagedPort {
    pub(super) name: Arc<str>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) shared: Arc<PortShared>,
    pub(super) listener: Arc<ListenerHandle>,
}
