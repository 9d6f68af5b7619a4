//! [`Config`], every effective setting with its source, and [`PortConfig`], those of one port.
//!
//! Knows the fields and what follows from them by arithmetic. Does not know keys, text or files.

use super::admin_socket::AdminSocket;
use super::listen_address::ListenAddress;
use super::method_limits::LimitLine;
use super::program::ProgramSection;
use super::sizing::{self, Limit, POOL_TASKS_MAX, PoolRule};
use super::source::{Setting, Source};
use log::LevelFilter;
use std::path::PathBuf;
use std::time::Duration;

/// Most ports in `Ports`, and most in `DisabledPorts`. Each enabled port costs a listener thread and a pool.
pub const PORTS_MAX: usize = 64;

/// Declares [`Config`] and its value before parsing, so that a field is written once.
macro_rules! config {
    ($(#[$meta:meta])* pub struct Config { $($(#[$doc:meta])* $see:vis $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct Config { $($(#[$doc])* $see $field: $type,)* }

        impl Config {
            /// Returns a value whose fields the parser is about to overwrite.
            pub(super) fn unset() -> Config {
                Config { $($field: Unset::unset(),)* }
            }
        }
    };
}

config! {
/// Every effective setting, each with its source.
///
/// Returned by [`Config::load`], [`Config::from_text`] or [`Config::default_with`]; a program may then change the
/// public fields. Ranges and defaults are those of the key that each field names (see [`keys`](super::keys)). Code that
/// changes fields must keep the invariants of this module; [`Config::set_limits`] keeps throttle and pools consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// File that the settings were read from; `None` for text or for settings made by the program.
    pub file: Option<PathBuf>,
    /// `Ports`: the enabled ports in the order of the list, 1 to [`PORTS_MAX`].
    pub ports: Vec<PortConfig>,
    /// Source of the list of enabled ports.
    pub ports_source: Source,
    /// `DisabledPorts`: ports that are configured and checked but not opened.
    pub disabled_ports: Vec<PortConfig>,
    /// Source of the list of disabled ports.
    pub disabled_ports_source: Source,
    /// `Server_Pool_Rule`: sizes throttle and pools that no line sizes.
    pub pool_rule: Setting<PoolRule>,
    /// `Server_Max_Concurrent_Trans`: the throttle, transactions that may run at once over all ports.
    pub max_concurrent_trans: Setting<Limit>,
    /// `Server_Pool_Tasks`: workers of a port that has no `<Port>_Pool_Tasks` line.
    pub pool_tasks: Setting<u32>,
    /// `Server_Queue_Limit`: transactions that may wait in the queue of one port.
    pub queue_limit: Setting<u32>,
    /// `Server_Session_Calls`: unanswered calls of one connection; `None` refuses none.
    pub session_calls: Setting<Option<usize>>,
    /// `Server_Client_Calls`: unanswered calls of one client over all its connections; `None` is no limit.
    pub client_calls: Setting<Option<u32>>,
    /// `[Limits]`: limits of methods, in the order of their lines.
    pub method_limits: Vec<LimitLine>,
    /// `Server_CoDel_Target`: target queueing delay; zero disables CoDel.
    pub codel_target: Setting<Duration>,
    /// `Server_CoDel_Interval`: period in which the delay must fall to the target once.
    pub codel_interval: Setting<Duration>,
    /// `Server_CoDel_Mode`: action at an overloaded port.
    pub codel_mode: Setting<CodelMode>,
    /// `Server_Long_Transaction`: run time after which a transaction is logged; `None` logs none.
    pub long_transaction: Setting<Option<Duration>>,
    /// `Server_Nested_Reserve`: workers of each port reserved for calls of this server's own handlers.
    pub nested_reserve: Setting<u32>,
    /// `Server_Run_Where_Read`: the listening thread runs short calls.
    pub run_where_read: Setting<bool>,
    /// `Server_Session_Timeout`: idle time after which a session is closed.
    pub session_timeout: Setting<Duration>,
    /// Idle time before which no session is closed because of [`Config::max_sessions`]. One minute; no key sets it.
    pub session_idle_min: Duration,
    /// `Server_MaxSessions`: soft limit of sessions; `None` is no limit.
    pub max_sessions: Setting<Option<u32>>,
    /// `Server_MaxUsers`: hard limit of connections and of opened sessions; `None` is 10,000,000.
    pub max_users: Setting<Option<u32>>,
    /// `Server_Restricted`: 0, 1 or 2.
    pub restricted: Setting<u32>,
    /// `Log_Sessions`: whether sessions are logged.
    pub log_sessions: Setting<bool>,
    /// `Server_Max_Connects_Per_Minute`: connections from one address in a minute; `None` is no limit.
    pub max_connects: Setting<Option<u32>>,
    /// `Server_Send_Buffer_KB`: unsent replies of one connection, in bytes.
    pub send_buffer_bytes: Setting<usize>,
    /// `Server_Buffer_Memory_MB`: messages of all connections together, in bytes.
    pub buffer_memory_bytes: Setting<usize>,
    /// `Server_Hello_Timeout`: time for the first message of a connection; `None` is no limit.
    pub hello_timeout: Setting<Option<Duration>>,
    /// `Server_Frame_Timeout`: time for a message to arrive; `None` is no limit.
    pub frame_timeout: Setting<Option<Duration>>,
    /// `Server_Send_Timeout`: time in which a client must read 64 KiB of its replies, or all; `None` is no limit.
    pub send_timeout: Setting<Option<Duration>>,
    /// `Server_Keepalive`: idle time after which TCP probes the peer; `None` never probes.
    pub keepalive: Setting<Option<Duration>>,
    /// `Server_Descriptors_Per_Session`: file descriptors that one connection needs.
    pub descriptors_per_session: Setting<u32>,
    /// `Server_Descriptor_Reserve`: file descriptors reserved for other uses than connections.
    pub descriptor_reserve: Setting<u32>,
    /// `Server_Max_Frame_KB`: largest frame, header included, in bytes.
    pub max_frame_bytes: Setting<u32>,
    /// `Server_Thread_Stack_KB`: stack of each worker thread, in bytes.
    pub thread_stack_bytes: Setting<usize>,
    /// `Server_Shutdown_Timeout`: time that a stopping server waits for admitted transactions.
    pub shutdown_timeout: Setting<Duration>,
    /// `Admin_Address`: address of the admin server; `None` is none.
    pub admin_address: Setting<Option<ListenAddress>>,
    /// `Admin_Token_File`: file with the token of the admin server; `None` requires no token.
    pub admin_token_file: Setting<Option<PathBuf>>,
    /// `Admin_Socket`: Unix socket of the admin server.
    pub admin_socket: Setting<AdminSocket>,
    /// Time that a client of the admin server has to send a request, and to read the response. 10 s; no key sets it.
    pub admin_timeout: Duration,
    /// `Server_Busy_Seconds`: time after which a full port makes the server not ready; `None` is never.
    pub busy_limit: Setting<Option<Duration>>,
    /// `Server_Stall_Seconds`: time after which the threads of a stalled port are logged; `None` is never.
    pub stall_limit: Setting<Option<Duration>>,
    /// `Alarm_Command`: program that is given alarms; `None` is none.
    pub alarm_command: Setting<Option<PathBuf>>,
    /// `Alarm_After`: time for which a verdict stands before it is an alarm.
    pub alarm_after: Setting<Duration>,
    /// `Server_Slow_Calls`: slowest calls kept for each method.
    pub slow_calls: Setting<usize>,
    /// `Server_Show_Performance`: whether throughput is logged every minute.
    pub show_performance: Setting<bool>,
    /// `Load_Service`: whether the load-test methods `load.*` are offered.
    pub load_service: Setting<bool>,
    /// `Log_Level`: least severe level that is logged. The logger lets `RUST_LOG` override it.
    pub log_level: Setting<log::LevelFilter>,
    /// `Log_File`: file of the log; `None` is standard error.
    pub log_file: Setting<Option<PathBuf>>,
    /// Section of the program's own settings; `None` for a program without.
    pub(crate) program: Option<ProgramSection>,
    /// Lines that were read and deliberately ignored, one sentence each, for `check` and the start log.
    pub notes: Vec<String>,
}
}

/// Settings of one port of `Ports` or `DisabledPorts`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortConfig {
    /// Name as written in the list: letters, digits, hyphen, underscore; 1 to 32 characters.
    pub name: String,
    /// `<Port>_TCPIPAddress`: address to listen on. The default is `127.0.0.1:1352`, which only this machine reaches.
    pub address: ListenAddress,
    /// Source of the address.
    pub address_source: Source,
    /// `<Port>_Pool_Tasks`: worker threads of this port; the default is [`Config::pool_tasks`].
    pub pool_tasks: Setting<u32>,
    /// Source of the driver (always TCP).
    pub driver_source: Source,
}

impl Config {
    /// Workers of all enabled ports together.
    pub fn total_workers(&self) -> u32 {
        sizing::total_workers(self.ports.iter().map(|port| port.pool_tasks.value))
    }

    /// Transactions that can actually run at once: the throttle, or the workers where there are fewer.
    pub fn effective_concurrency(&self) -> u32 {
        sizing::effective_concurrency(self.max_concurrent_trans.value, self.total_workers())
    }

    /// Connections over all ports for which `descriptors` suffice, after those of the ports and the reserve.
    pub fn connections_max(&self, descriptors: u64) -> u64 {
        let ports = sizing::DESCRIPTORS_PER_PORT * self.ports.len() as u64;
        let reserved = ports + u64::from(self.descriptor_reserve.value);
        descriptors.saturating_sub(reserved) / u64::from(self.descriptors_per_session.value.max(1))
    }

    /// Sets the throttle and the pool of every port together, with [`Source::Program`].
    ///
    /// # Panics
    /// If `pool_tasks` is not 1 to 4096.
    pub fn set_limits(&mut self, throttle: Limit, pool_tasks: u32) {
        assert!(
            (1..=POOL_TASKS_MAX).contains(&pool_tasks),
            "a pool has 1 to {POOL_TASKS_MAX} workers, not {pool_tasks}"
        );
        self.max_concurrent_trans = Setting::program(throttle);
        self.pool_tasks = Setting::program(pool_tasks);
        for port in self.all_ports_mut() {
            port.pool_tasks = Setting::program(pool_tasks);
        }
    }

    /// Puts a line of `[Limits]` in place of the one for the same method, or adds it.
    pub(super) fn set_method_limit(&mut self, line: LimitLine) {
        match self.method_limits.iter_mut().find(|old| old.is_for(&line.method)) {
            Some(old) => old.limit = line.limit,
            None => self.method_limits.push(line),
        }
    }

    /// Ports of both lists, disabled ones last.
    pub(super) fn all_ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.iter().chain(&self.disabled_ports)
    }

    /// Ports of both lists, disabled ones last.
    pub(super) fn all_ports_mut(&mut self) -> impl Iterator<Item = &mut PortConfig> {
        self.ports.iter_mut().chain(&mut self.disabled_ports)
    }
}

impl PortConfig {
    /// Returns a port configured by a program.
    pub fn new(name: impl Into<String>, address: ListenAddress, pool_tasks: u32) -> PortConfig {
        PortConfig {
            name: name.into(),
            address,
            address_source: Source::Program,
            pool_tasks: Setting::program(pool_tasks),
            driver_source: Source::Default,
        }
    }
}

/// Action of CoDel on calls that wait too long at an overloaded port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodelMode {
    /// Counts and logs the calls that it would refuse, and refuses none.
    Observe,
    /// Refuses them.
    Refuse,
}

impl CodelMode {
    /// Returns the mode with this name, ignoring case.
    pub(crate) fn named(text: &str) -> Option<CodelMode> {
        let modes = [CodelMode::Observe, CodelMode::Refuse];
        modes.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text))
    }

    /// Name as it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CodelMode::Observe => "observe",
            CodelMode::Refuse => "refuse",
        }
    }
}

/// Types of the fields of [`Config`], each with a value before the parser stores the defaults of the table. The parser
/// overwrites every one of them, so none is ever seen outside of it.
trait Unset {
    fn unset() -> Self;
}

macro_rules! unset {
    ($($type:ty = $value:expr,)*) => {
        $(impl Unset for $type {
            fn unset() -> $type {
                $value
            }
        })*
    };
}

unset! {
    u32 = 0,
    usize = 0,
    bool = false,
    Duration = Duration::ZERO,
    Limit = Limit::Unlimited,
    PoolRule = PoolRule::R8_0_1,
    CodelMode = CodelMode::Observe,
    AdminSocket = AdminSocket::Off,
    LevelFilter = LevelFilter::Off,
    Source = Source::Default,
}

impl<T> Unset for Option<T> {
    fn unset() -> Option<T> {
        None
    }
}

impl<T> Unset for Vec<T> {
    fn unset() -> Vec<T> {
        Vec::new()
    }
}

impl<T: Unset> Unset for Setting<T> {
    fn unset() -> Setting<T> {
        Setting { value: T::unset(), source: Source::Default }
    }
}
