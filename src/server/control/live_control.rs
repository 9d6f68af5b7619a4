//! [`LiveControl`]: the parts of a running server that an administrator observes and changes, as [`ServerControl`].

use super::hooks::AdminHooks;
use super::live_settings::LiveSettings;
use crate::config::Config;
use crate::monitor::{
    ConnectionFilter, ConnectionInfo, ControlError, ServerControl, SessionSnapshot, SettingChange,
    SlowCallInfo, Snapshot, WorkerSnapshot,
};
use crate::pool::{PortShared, Shared};
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::listener::{ListenerCommand, ListenerHandle};
use crate::server::sessions::Registry;
use crate::server::verdict_file::{VerdictFile, WriterThread};
use crate::sync::Arc;
use std::collections::BTreeMap;
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

/// A port, and how to reach its listener.
#[derive(Debug)]
pub(super) struct ManagedPort {
    pub(super) name: Arc<str>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) shared: Arc<PortShared>,
    pub(super) listener: Arc<ListenerHandle>,
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

impl ServerControl for LiveControl {
    fn is_draining(&self) -> bool {
        self.ports.iter().any(|port| port.listener.shutdown().is_of_server())
    }

    fn snapshot(&self) -> Snapshot {
        self.take_snapshot()
    }

    fn workers(&self) -> Vec<WorkerSnapshot> {
        self.list_workers()
    }

    fn slow_calls(&self) -> Vec<SlowCallInfo> {
        self.list_slow_calls()
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListConnections)
    }

    fn callers(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListCallers)
    }

    fn sessions(&self) -> Vec<SessionSnapshot> {
        self.sessions.snapshots(Instant::now())
    }

    fn close_connections(&self, which: &ConnectionFilter) -> usize {
        self.close_selected(which)
    }

    fn drop_sessions(&self, which: &ConnectionFilter) -> usize {
        self.drop_selected_sessions(which)
    }

    fn stop_port(&self, port: &str) -> Result<(), ControlError> {
        self.stop_one(port)
    }

    fn start_port(&self, port: &str) -> Result<(), ControlError> {
        self.start_one(port)
    }

    fn set(&self, key: &str, value: &str) -> Result<SettingChange, ControlError> {
        self.change(key, value)
    }

    fn config(&self) -> Config {
        self.settings.effective()
    }

    fn at_restart(&self) -> BTreeMap<String, String> {
        self.settings.at_restart()
    }

    fn tell(&self, service: &str, order: &str) -> Result<String, ControlError> {
        self.hooks.tell(service, order)
    }

    fn quit(&self) -> Result<(), ControlError> {
        if self.is_draining() {
            return Err(ControlError::ShuttingDown);
        }
        self.hooks.quit()
    }

    fn saved_verdict(&self) -> Option<String> {
        self.verdict_file.read()
    }

    fn save_verdict(&self, text: Option<&str>) {
        self.verdict_file.put(text);
    }
}
