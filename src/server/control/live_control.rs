//! [`LiveControl`]: the parts of a running server that an administrator observes and changes, as [`ServerControl`].
//!
//! The listeners alone know their connections; they are asked through their mailboxes, and one that does not reply in
//! time is left out.

use super::hooks::AdminHooks;
use super::live_settings::LiveSettings;
use crate::config::Config;
use crate::monitor::{
    Alarm, ConnectionFilter, ConnectionInfo, ControlError, ServerControl, SessionSnapshot, SettingChange,
    SlowCallInfo, Snapshot, WorkerSnapshot,
};
use crate::pool::{PortShared, Shared};
use crate::server::alarm::AlarmCommand;
use crate::server::bind::{Silence, bind_again};
use crate::server::client_calls::ClientCalls;
use crate::server::connection_limiter::ConnectionLimiter;
use crate::server::listener::{ListenerCommand, ListenerHandle, ReplySlot};
use crate::server::sessions::Registry;
use crate::server::thread_states::ThreadStates;
use crate::server::verdict_file::VerdictFile;
use crate::sync::{Arc, Sender};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// The control of a running server.
#[derive(Debug)]
pub(in crate::server) struct LiveControl {
    pub(super) shared: Arc<Shared>,
    pub(super) connection_limiter: Arc<ConnectionLimiter>,
    pub(super) sessions: Arc<Registry>,
    pub(super) client_calls: Arc<ClientCalls>,
    pub(super) ports: Vec<ManagedPort>,
    /// Names of the methods, by number less one.
    pub(super) methods: Vec<Arc<str>>,
    pub(super) settings: LiveSettings,
    pub(super) hooks: AdminHooks,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) thread_states: ThreadStates,
    pub(in crate::server) verdict_file: VerdictFile,
    pub(in crate::server) alarm_command: AlarmCommand,
}

/// A port, and how to reach its listener.
#[derive(Debug)]
pub(in crate::server) struct ManagedPort {
    pub(in crate::server) name: Arc<str>,
    pub(in crate::server) addresses: Arc<[SocketAddr]>,
    pub(in crate::server) shared: Arc<PortShared>,
    pub(in crate::server) listener: Arc<ListenerHandle>,
}

impl LiveControl {
    pub(in crate::server) fn new(
        shared: Arc<Shared>,
        (connection_limiter, sessions, client_calls): (
            Arc<ConnectionLimiter>,
            Arc<Registry>,
            Arc<ClientCalls>,
        ),
        ports: Vec<ManagedPort>,
        config: &Config,
        hooks: AdminHooks,
    ) -> LiveControl {
        let name = |number| shared.services.name(number).into();
        LiveControl {
            ports,
            methods: (1..=shared.services.len() as u16).map(name).collect(),
            shared,
            connection_limiter,
            sessions,
            client_calls,
            settings: LiveSettings::new(config),
            hooks,
            started: Instant::now(),
            started_at: SystemTime::now(),
            thread_states: ThreadStates::default(),
            verdict_file: VerdictFile::beside(config.file.as_deref()),
            alarm_command: AlarmCommand::new(config.alarm_command.value.as_deref()),
        }
    }

    fn find(&self, name: &str) -> Result<&ManagedPort, ControlError> {
        let found = self.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| ControlError::UnknownPort(name.to_owned()))
    }

    /// Lists the connections that `command` asks for.
    fn list_connections(
        &self,
        command: fn(Sender<Vec<ConnectionInfo>>) -> ListenerCommand,
    ) -> Vec<ConnectionInfo> {
        // All are asked before the first reply is waited for.
        let asked: Vec<_> = self.ports.iter().map(|port| port.listener.request(command)).collect();
        asked.into_iter().filter_map(ReplySlot::get).flatten().collect()
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

    fn look(&self, budget: Duration) -> Vec<WorkerSnapshot> {
        self.look_at_workers(budget)
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
        let concerned = |port: &&ManagedPort| match which {
            ConnectionFilter::One(name, _) => port.name.eq_ignore_ascii_case(name),
            ConnectionFilter::All | ConnectionFilter::Peer(_) | ConnectionFilter::Client(_) => true,
            ConnectionFilter::Session(_) => false,
        };
        let close = |port: &ManagedPort| {
            port.listener.request(|reply| ListenerCommand::CloseConnections(which.clone(), reply))
        };
        let asked: Vec<_> = self.ports.iter().filter(concerned).map(close).collect();
        let closed = asked.into_iter().filter_map(ReplySlot::get).sum();
        if closed > 0 {
            log::info!("connections closed by the administrator, count={closed}");
        }
        closed
    }

    fn drop_sessions(&self, which: &ConnectionFilter) -> usize {
        let dropped = self.sessions.drop_those(|session| match which {
            ConnectionFilter::Session(id) => session.id() == *id,
            others => others.matches(session.peer().ip()),
        });
        if dropped > 0 {
            log::info!("sessions closed by the administrator, count={dropped}");
        }
        dropped
    }

    fn stop_port(&self, port: &str) -> Result<(), ControlError> {
        let port = self.find(port)?;
        port.listener.request(ListenerCommand::StopPort).get().unwrap_or_else(|| Err(no_reply(port)))?;
        log::info!("port {}: stopped by the administrator", port.name);
        Ok(())
    }

    fn start_port(&self, port: &str) -> Result<(), ControlError> {
        let port = self.find(port)?;
        port.listener.shutdown().check_can_start(&port.name)?;
        let addresses = in_words(&port.addresses);
        let sockets = bind_again(&port.addresses, Silence::of(&self.config())).map_err(|error| {
            ControlError::CannotListen {
                port: port.name.to_string(),
                addresses: addresses.clone(),
                reason: error.to_string(),
            }
        })?;
        let started = port.listener.request(|reply| ListenerCommand::StartPort(sockets, reply)).get();
        started.unwrap_or_else(|| Err(no_reply(port)))?;
        log::info!("port {}: started by the administrator, addresses={addresses}", port.name);
        Ok(())
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

    fn give_alarm(&self, alarm: Alarm) {
        self.alarm_command.give(alarm);
    }
}

fn in_words(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn no_reply(port: &ManagedPort) -> ControlError {
    ControlError::PortUnresponsive(port.name.to_string())
}
