//! The parts of a running server that an administrator observes and changes.

use super::hooks::AdminHooks;
use super::live_settings::LiveSettings;
use super::managed_port::ManagedPort;
use crate::config::Config;
use crate::pool::{PortShared, Shared};
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::listener::ListenerHandle;
use crate::server::sessions::Registry;
use crate::server::verdict_file::{VerdictFile, WriterThread};
use crate::sync::Arc;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

/// The control of a running server.
#[derive(Debug)]
pub(in crate::server) struct LiveControl {
    pub(super) shared: Arc<Shared>,
    pub(super) connection_limiter: Arc<ConnectionLimiter>,
    pub(super) sessions: Arc<Registry>,
    pub(super) ports: Vec<ManagedPort>,
    /// Names of the methods, by number less one.
    pub(super) methods: Vec<Arc<str>>,
    pub(super) settings: LiveSettings,
    pub(super) hooks: AdminHooks,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) verdict_file: VerdictFile,
}

impl LiveControl {
    pub(in crate::server) fn new<'a>(
        shared: Arc<Shared>,
        (connection_limiter, sessions): (Arc<ConnectionLimiter>, Arc<Registry>),
        ports: impl Iterator<Item = (&'a Arc<PortShared>, Arc<[SocketAddr]>, &'a Arc<ListenerHandle>)>,
        config: &Config,
        hooks: AdminHooks,
    ) -> LiveControl {
        let port =
            |(shared, addresses, listener): (&Arc<PortShared>, Arc<[SocketAddr]>, &Arc<ListenerHandle>)| {
                ManagedPort {
                    name: shared.name.as_str().into(),
                    addresses,
                    shared: Arc::clone(shared),
                    listener: Arc::clone(listener),
                }
            };
        let name = |number| shared.services.name(number).into();
        LiveControl {
            ports: ports.map(port).collect(),
            methods: (1..=shared.services.len() as u16).map(name).collect(),
            shared,
            connection_limiter,
            sessions,
            settings: LiveSettings::new(config),
            hooks,
            started: Instant::now(),
            started_at: SystemTime::now(),
            verdict_file: VerdictFile::beside(config.file.as_deref()),
        }
    }

    /// Starts the thread that writes the verdict file; `None` for a server without a settings file.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(in crate::server) fn start_verdict_writer(&self) -> std::io::Result<Option<WriterThread>> {
        self.verdict_file.start_writer()
    }
}
