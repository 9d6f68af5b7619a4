//! Control of a running server: the trait that it implements for administrators.
//!
//! The console, the admin server and the diagnosis know a server by [`ServerControl`] alone, so tests put a made one in
//! its place.

use super::alarm::Alarm;
use super::snapshot::{ConnectionInfo, SessionSnapshot, SlowCallInfo, Snapshot, WorkerSnapshot};
use crate::config::Config;
use crate::service::ClientId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Which connections and sessions a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionFilter {
    /// All of them.
    All,
    /// Everything of this address.
    Peer(IpAddr),
    /// Everything of this client: an address, or an IPv6 prefix.
    Client(ClientId),
    /// This connection: its port and [`ConnectionInfo::id`].
    One(String, u64),
    /// This session: [`SessionSnapshot::id`].
    Session(u64),
}

impl ConnectionFilter {
    /// Returns whether everything that belongs to this address is meant.
    pub fn matches(&self, address: IpAddr) -> bool {
        match self {
            ConnectionFilter::All => true,
            ConnectionFilter::Peer(peer) => address.to_canonical() == peer.to_canonical(),
            ConnectionFilter::Client(client) => ClientId::of(address) == *client,
            ConnectionFilter::One(..) | ConnectionFilter::Session(_) => false,
        }
    }
}

/// Result of changing a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// The value is in force; otherwise it is after a restart.
    pub effective: bool,
    /// The value was written to the settings file; `false` where the server has none, or may not write it.
    pub written: bool,
    /// Why the file does not have it; `None` where it has, or there is none.
    pub not_kept: Option<String>,
}

/// Why a command of [`ServerControl`] was refused or failed. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no port of this name.
    #[error("Unable to find port {}", .0.escape_debug())]
    UnknownPort(String),
    /// The port to stop is stopped.
    #[error("port {0} is stopped already")]
    PortStopped(String),
    /// The port to start is not stopped.
    #[error("port {0} is not stopped")]
    PortNotStopped(String),
    /// The port's addresses cannot be bound.
    #[error("port {port} cannot listen on {addresses}: {reason}")]
    CannotListen {
        /// The port.
        port: String,
        /// Its addresses.
        addresses: String,
        /// Error of the system.
        reason: String,
    },
    /// The port's listener has not answered yet. It may still carry the command out.
    #[error("port {0} does not answer in time; it may do so later")]
    PortUnresponsive(String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The key or the value is wrong, or the settings file cannot be written.
    #[error("{0}")]
    InvalidSetting(String),
    /// The key is read from the settings file alone.
    #[error(
        "{0} is set in the settings file alone: no command changes a key that names a file, an address or a secret"
    )]
    FileOnly(String),
    /// The value takes a restart, and cannot be kept for it.
    #[error("{setting} takes a restart, and {reason}")]
    RestartNeeded {
        /// The setting, as `KEY=VALUE`.
        setting: String,
        /// Why it cannot be kept.
        reason: String,
    },
    /// Another setting is being written.
    #[error("another setting is still being written; nothing has changed")]
    SettingsBusy,
    /// The program has no service of this name that takes commands.
    #[error("The {} task either does not exist or does not accept \"Tell\" commands.", .0.escape_debug())]
    UnknownService(String),
    /// The service is executing an earlier command, or does not answer in time and goes on with this one.
    #[error("{0} is still busy with an order")]
    ServiceBusy(String),
    /// The service panicked.
    #[error("{0} panicked; the log says where")]
    ServicePanicked(String),
    /// The service's own error.
    #[error("{0}")]
    ServiceFailed(String),
    /// The system has no thread for the command.
    #[error("no thread could be made for it: {0}")]
    NoThread(String),
    /// The program does not handle [`ServerControl::quit`].
    #[error("this program does not handle quit")]
    QuitUnsupported,
}

/// A running server, as an administrator can observe and change it.
///
/// Any thread may call any method, and none waits for a worker. Except where it says so, a method returns at once.
pub trait ServerControl: Send + Sync + std::fmt::Debug {
    /// Takes a snapshot of everything that is measured.
    fn snapshot(&self) -> Snapshot;

    /// Returns whether the server is shutting down and admits no more calls.
    fn is_draining(&self) -> bool;

    /// Lists what each worker does, in the order of ports and workers.
    fn workers(&self) -> Vec<WorkerSnapshot>;

    /// Lists the same, with the states of as many threads as `budget`, in processor time of this thread, allows: those
    /// of workers whose handlers run or block, a next time those that were left out. Waits for the system, not longer
    /// than ten times the budget.
    fn look(&self, _budget: Duration) -> Vec<WorkerSnapshot> {
        self.workers()
    }

    /// Lists the slowest calls of each method, the slowest first.
    fn slow_calls(&self) -> Vec<SlowCallInfo>;

    /// Lists every connection. Waits for the listeners, which answer within milliseconds; the connections of one that
    /// does not are left out.
    fn connections(&self) -> Vec<ConnectionInfo>;

    /// Lists the connections with calls in progress: among tens of thousands this holds the listeners up for less.
    fn callers(&self) -> Vec<ConnectionInfo> {
        self.connections().into_iter().filter(|connection| connection.in_flight > 0).collect()
    }

    /// Lists the sessions that clients opened, and with `Log_Sessions` or `Server_MaxSessions` those of connections.
    fn sessions(&self) -> Vec<SessionSnapshot>;

    /// Closes connections and returns how many. Waits for the listeners, as [`ServerControl::connections`].
    fn close_connections(&self, which: &ConnectionFilter) -> usize;

    /// Closes sessions that clients opened, attached to a connection or not, and returns how many.
    fn drop_sessions(&self, which: &ConnectionFilter) -> usize;

    /// Closes a port to new connections and calls, and frees its address. Calls in flight there finish. Waits for the
    /// port's listener.
    ///
    /// # Errors
    /// [`ControlError`]: there is no such port, it is stopped already, the server is shutting down.
    fn stop_port(&self, port: &str) -> Result<(), ControlError>;

    /// Opens a stopped port again. Waits for the port's listener.
    ///
    /// # Errors
    /// [`ControlError`]: there is no such port, it is not stopped, its address cannot be bound.
    fn start_port(&self, port: &str) -> Result<(), ControlError>;

    /// Changes a setting: in the file that the server was started with, and at once where that is possible. Waits for
    /// the disk.
    ///
    /// # Errors
    /// [`ControlError`]: there is no such key, no command changes it, the value is wrong, the file cannot be written,
    /// or there is none and the key takes a restart. A read-only file does not keep a value from taking effect at once.
    fn set(&self, key: &str, value: &str) -> Result<SettingChange, ControlError>;

    /// Returns the settings in force.
    fn config(&self) -> Config;

    /// Returns the keys and values that [`ServerControl::set`] has written for the next start and that are not in
    /// force.
    fn at_restart(&self) -> BTreeMap<String, String>;

    /// Gives a service of the program a command, and waits for its reply for up to ten seconds.
    ///
    /// # Errors
    /// [`ControlError`]: there is no such service, or the service's own error.
    fn tell(&self, service: &str, order: &str) -> Result<String, ControlError>;

    /// Asks the program to shut the server down, as SIGTERM does. Does not wait for that.
    ///
    /// # Errors
    /// [`ControlError`]: the program does not handle it, or the server is shutting down already.
    fn quit(&self) -> Result<(), ControlError>;

    /// Returns the text last given to [`ServerControl::save_verdict`], also by an earlier run; `None` if there is none.
    fn saved_verdict(&self) -> Option<String> {
        None
    }

    /// Keeps a short text over a restart, or deletes it, where there is a place for it. Does not wait for the disk.
    fn save_verdict(&self, _text: Option<&str>) {}

    /// Gives an alarm to `Alarm_Command`, if there is one. Does not wait for it.
    fn give_alarm(&self, _alarm: Alarm) {}
}
