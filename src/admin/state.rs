//! State that all requests share.

use super::auth::Auth;
use super::command_threads::CommandThreads;
use crate::monitor::ServerMonitor;
use crate::sync::Arc;
use std::path::PathBuf;
use std::time::Duration;

/// State that all requests share.
#[derive(Debug)]
pub(super) struct AdminState {
    pub(super) monitor: Arc<ServerMonitor>,
    pub(super) auth: Auth,
    /// Time for a body.
    pub(super) timeout: Duration,
    /// The Unix socket, if there is one.
    pub(super) socket: Option<SocketIdentity>,
    /// Threads for commands with full access.
    pub(super) commands: CommandThreads,
    /// Threads for read-only commands and /metrics, which therefore delay no command with full access.
    pub(super) reads: CommandThreads,
}

/// A Unix socket and the server that listens there, as the page `/socket` returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketIdentity {
    /// Path of the socket.
    pub(super) path: PathBuf,
    /// Random value of each start. If a server on another machine names its path, for example through a tunnel, no
    /// server at the same path of this machine has its value.
    pub(super) instance: String,
}
