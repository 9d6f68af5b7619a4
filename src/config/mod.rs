//! Settings: what an administrator writes, checked and typed.
//!
//! A file goes through `scan` (lines, encoding, duplicates), `confirm` (a second reading by the `ini` crate),
//! `parse` (values, ports, all errors together) and `sizing` (the rules that fill in what no line gives). The
//! result is [`Config`]: every value in force, and for each the line or rule it came from. `advice` says what
//! the values mean together, `footprint` what they take of the machine, `remedy` which lines put that right;
//! `report` prints that, and `document` writes
//! `server.ini` and the table of `docs/SETTINGS.md`; `edit` changes one line of a
//! file; parser, shipped file and docs are all made from the one table in `keys`.
//!
//! Knows: text, numbers, addresses as text. Must not know: the rest of the crate, sockets, clocks, the environment, the
//! machine (its limits come in as [`Machine`], its CPUs as a number).
//!
//! Invariants of a `Config` made here: at least one port and at most [`PORTS_MAX`]; port names unique without
//! regard to case; no two enabled ports on one address; every pool between 1 and [`sizing::POOL_TASKS_MAX`]
//! workers.

mod admin_socket;
pub mod advice;
pub mod document;
pub mod edit;
mod effective;
mod error;
mod ini_crosscheck;
pub mod keys;
mod listen_address;
mod parse;
mod path;
mod ports;
pub(crate) mod remedy;
pub mod report;
pub mod resource_check;
mod scan;
pub mod sizing;
#[cfg(test)]
mod tests;
mod value_kind;

pub use admin_socket::{AdminSocket, SOCKET_PATH_BYTES_MAX};
pub use advice::{Machine, MachineLimit, Warning, advise};
pub use effective::EffectiveSetting;
pub use error::{ConfigError, ConfigErrors, Problem};
pub use listen_address::{ADMIN_PORT, DEFAULT_PORT, ListenAddress};
pub(crate) use parse::nearest;
pub use report::{Report, StartCheck};
pub use sizing::PoolRule;

use crate::files;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most ports in `Ports`, and most in `DisabledPorts`. Each enabled port costs a listener thread and a pool.
pub const PORTS_MAX: usize = 64;

/// Largest settings file, in bytes. A file that gives every key of 64 ports is a tenth of this.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Every setting in force, each with where it came from.
///
/// Made by [`Config::load`] or [`Config::from_text`], or by [`Config::default_with`] and then changed through
/// the public fields. Whoever changes fields keeps the invariants of this module; [`Config::set_limits`]
/// keeps throttle and pools together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// File the settings were read from; `None` when they came from text or from the program.
    pub file: Option<PathBuf>,
    /// Enabled ports in the order of `Ports`. 1 to [`PORTS_MAX`]; default one, `TCPIP`.
    pub ports: Vec<PortConfig>,
    /// Where the list of enabled ports came from.
    pub ports_source: Source,
    /// Ports that are configured and checked but not opened. Default none.
    pub disabled_ports: Vec<PortConfig>,
    /// Where the list of disabled ports came from.
    pub disabled_ports_source: Source,
    /// Rule that sizes throttle and pools where no line does. Default 8.0.1.
    pub pool_rule: Setting<PoolRule>,
    /// The throttle: transactions that may run at once over all ports. Default by [`Config::pool_rule`].
    pub max_concurrent_trans: Setting<Limit>,
    /// Workers of a port that has no `<Port>_Pool_Tasks` line. 1 to 4096; default by [`Config::pool_rule`].
    pub pool_tasks: Setting<u32>,
    /// Transactions that may wait in one port's queue; one more is refused. 1 to 1,000,000; default 10,000.
    pub queue_limit: Setting<u32>,
    /// Calls a session may have out before the next is refused. 1 to 511; `None`, the default, refuses none.
    pub session_calls: Setting<Option<usize>>,
    /// How long a call may well wait. Zero switches CoDel off. 0 to 10 s; default 5 ms.
    pub codel_target: Setting<Duration>,
    /// For how long calls may wait longer than that. 10 ms to 60 s; default 100 ms.
    pub codel_interval: Setting<Duration>,
    /// What becomes of calls after that. Default [`CodelMode::Observe`].
    pub codel_mode: Setting<CodelMode>,
    /// A transaction that runs longer is told of in the log. 1 s to one day, `None` for none; default one minute.
    pub long_transaction: Setting<Option<Duration>>,
    /// Workers of each port kept for calls that handlers of this server make; one at least is left for the others.
    /// 0 to 4095; default 0.
    pub nested_reserve: Setting<u32>,
    /// A session that makes no call for so long is closed. 1 minute to 30 days; default 4 hours.
    pub session_timeout: Setting<Duration>,
    /// With more sessions than [`Config::max_sessions`], only those are closed that have been idle for so long. One
    /// minute; no key sets it.
    pub session_idle_min: Duration,
    /// Soft limit of sessions. `None`, the default, is none.
    pub max_sessions: Setting<Option<u32>>,
    /// Hard limit of sessions; `None` is 10,000,000. Default 100,000.
    pub max_users: Setting<Option<u32>>,
    /// `Server_Restricted`: 0, 1 or 2; default 0.
    pub restricted: Setting<u32>,
    /// Whether the log tells of sessions. Default no.
    pub log_sessions: Setting<bool>,
    /// Connections that one address may make in a minute. `None`, the default, is no limit.
    pub max_connects: Setting<Option<u32>>,
    /// Unsent replies of one connection, in bytes. 1 MiB to 1 GiB; default 16 MiB.
    pub send_buffer_bytes: Setting<usize>,
    /// Messages of all connections together, in bytes. 16 MiB to 1 TiB; default 1 GiB.
    pub buffer_memory_bytes: Setting<usize>,
    /// How long a new connection may take to say Hello. `None` is without end; default 10 s.
    pub hello_timeout: Setting<Option<Duration>>,
    /// How long a message may take to arrive. `None` is without end; default 60 s.
    pub frame_timeout: Setting<Option<Duration>>,
    /// In such a time a client has to take 64 KiB of the replies that wait for it, or all. `None` is without end;
    /// default 60 s.
    pub send_timeout: Setting<Option<Duration>>,
    /// Silence after which the system asks for the peer. `None` never asks; default 60 s.
    pub keepalive: Setting<Option<Duration>>,
    /// Descriptors that one connection needs. 1 to 64; default 1.
    pub descriptors_per_session: Setting<u32>,
    /// Descriptors kept for other things than connections. 16 to 100,000; default 64.
    pub descriptor_reserve: Setting<u32>,
    /// Largest frame, header included, in bytes. 1 KiB to 64 MiB; default 4 MiB.
    pub max_frame_bytes: Setting<u32>,
    /// Stack of each worker thread, in bytes. 64 KiB to 64 MiB; default 1 MiB.
    pub thread_stack_bytes: Setting<usize>,
    /// How long a stopping server waits for admitted transactions. 0 (do not wait) to one hour; default 30 s.
    pub shutdown_timeout: Setting<Duration>,
    /// Where the admin server listens; `None` is nowhere. Default `127.0.0.1:1353`.
    pub admin_address: Setting<Option<ListenAddress>>,
    /// File whose first line who asks there must know. `None`, the default, is no token.
    pub admin_token_file: Setting<Option<PathBuf>>,
    /// Where the Unix socket of the admin server is. Default [`AdminSocket::Auto`].
    pub admin_socket: Setting<AdminSocket>,
    /// How long who asks the admin server may take to send a request, and to take the answer. 10 s; no key sets it.
    pub admin_patience: Duration,
    /// A port that is full for so long makes the server not ready. `None` is never; default 10 s.
    pub busy_limit: Setting<Option<Duration>>,
    /// A port that is full and finishes nothing for so long has its threads logged. `None` is never; default 30 s.
    pub stall_limit: Setting<Option<Duration>>,
    /// Slowest calls that are kept of each method. 0 to 100; default 10.
    pub slow_calls: Setting<usize>,
    /// Whether the log tells each minute how much is done. Default no.
    pub show_performance: Setting<bool>,
    /// Whether the rehearsal methods `load.*` are offered. Default no.
    pub load_service: Setting<bool>,
    /// Least severe message that is logged. Default `info`. The logger lets `RUST_LOG` win over this.
    pub log_level: Setting<log::LevelFilter>,
    /// File the log goes to; `None`, the default, is stderr.
    pub log_file: Setting<Option<PathBuf>>,
    /// What was read and deliberately not used, one sentence each, for `check` and the start log.
    pub notes: Vec<String>,
}

/// One port of `Ports` or `DisabledPorts`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortConfig {
    /// Name as written in the list. Letters, digits, hyphen, underscore; 1 to 32 characters.
    pub name: String,
    /// Address to listen on. Default `127.0.0.1:1352`: nothing listens beyond this machine until a line says so.
    pub address: ListenAddress,
    /// Where the address came from.
    pub address_source: Source,
    /// Worker threads of this port. 1 to 4096; default [`Config::pool_tasks`].
    pub pool_tasks: Setting<u32>,
    /// Where the driver (always TCP) came from.
    pub driver_source: Source,
}

/// A bound that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No throttle of its own: what runs is bounded by the workers that exist. Written -1.
    Unlimited,
    /// At most this many at once.
    AtMost(NonZeroU32),
}

/// What CoDel does about calls that wait too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodelMode {
    /// Counts and logs what it would refuse, and refuses nothing.
    Observe,
    /// Refuses.
    Refuse,
}

impl CodelMode {
    /// Both, as they are written.
    const NAMES: [(&str, CodelMode); 2] = [("observe", CodelMode::Observe), ("refuse", CodelMode::Refuse)];

    /// The mode of a name, in any letter case.
    pub(crate) fn named(text: &str) -> Option<CodelMode> {
        let found = CodelMode::NAMES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, mode)| mode)
    }

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CodelMode::Observe => "observe",
            CodelMode::Refuse => "refuse",
        }
    }
}

/// A value in force and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The fixed default of the key.
    Default,
    /// Computed by a rule.
    Rule {
        /// The rule in words.
        text: String,
        /// Line of the file that has a part in the result; `None` when the default rule worked from defaults alone.
        line: Option<u32>,
    },
    /// A line of the file gives this very value.
    File {
        /// Line number, from 1.
        line: u32,
    },
    /// Set by the program that embeds the server.
    Program,
}

impl Config {
    /// Settings of an empty file on a machine with `cpus` CPUs (0 counts as 1).
    pub fn default_with(cpus: u32) -> Config {
        parse::parse(&[], None, cpus).expect("an empty file is valid: the tests of the key table hold it")
    }

    /// Reads settings from text. `file` is only named in errors and kept in [`Config::file`]; nothing is opened.
    ///
    /// # Errors
    /// Every error of the text at once, in the order of their lines.
    pub fn from_text(text: &str, file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
        parse::parse(text.as_bytes(), file, cpus)
    }

    /// Reads settings from bytes that are not known to be UTF-8; otherwise like [`Config::from_text`].
    ///
    /// # Errors
    /// Every error of the text at once, in the order of their lines.
    pub fn from_bytes(bytes: &[u8], file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
        parse::parse(bytes, file, cpus)
    }

    /// Reads the settings file `path`. Blocks on the disk; reads at most [`FILE_BYTES_MAX`] and one byte.
    ///
    /// # Errors
    /// One error when the file cannot be read; else every error of its text at once.
    pub fn load(path: &Path, cpus: u32) -> Result<Config, ConfigErrors> {
        match files::read(path, FILE_BYTES_MAX as u64 + 1) {
            Ok(bytes) => parse::parse(&bytes, Some(path), cpus),
            Err(cause) => Err(ConfigErrors::unreadable(path, &cause)),
        }
    }

    /// Workers of all enabled ports together.
    pub fn total_workers(&self) -> u32 {
        sizing::total_workers(self.ports.iter().map(|port| port.pool_tasks.value))
    }

    /// Transactions that can really run at once: the throttle, or the workers where there are fewer.
    pub fn effective_concurrency(&self) -> u32 {
        sizing::effective_concurrency(self.max_concurrent_trans.value, self.total_workers())
    }

    /// Connections over all ports for which `descriptors` are enough, those of the ports and the reserve taken off.
    pub fn connections_max(&self, descriptors: u64) -> u64 {
        let ports = sizing::DESCRIPTORS_PER_PORT * self.ports.len() as u64;
        let kept = ports + u64::from(self.descriptor_reserve.value);
        descriptors.saturating_sub(kept) / u64::from(self.descriptors_per_session.value.max(1))
    }

    /// Sets the throttle and the pool of every port together, as a program would.
    ///
    /// # Panics
    /// When `pool_tasks` is not 1 to [`sizing::POOL_TASKS_MAX`].
    pub fn set_limits(&mut self, throttle: Limit, pool_tasks: u32) {
        assert!(
            (1..=sizing::POOL_TASKS_MAX).contains(&pool_tasks),
            "a pool has 1 to {} workers, not {pool_tasks}",
            sizing::POOL_TASKS_MAX
        );
        self.max_concurrent_trans = Setting::program(throttle);
        self.pool_tasks = Setting::program(pool_tasks);
        for port in self.ports.iter_mut().chain(&mut self.disabled_ports) {
            port.pool_tasks = Setting::program(pool_tasks);
        }
    }
}

impl PortConfig {
    /// A port made by a program.
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

impl Limit {
    /// At most `count`; `None` for 0, with which nothing could ever run.
    pub fn at_most(count: u32) -> Option<Limit> {
        NonZeroU32::new(count).map(Limit::AtMost)
    }

    /// The number as it is written in the file: -1 for unlimited.
    pub fn number(self) -> i64 {
        match self {
            Limit::Unlimited => -1,
            Limit::AtMost(count) => i64::from(count.get()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl<T> Setting<T> {
    /// A value set by the program that embeds the server.
    pub fn program(value: T) -> Setting<T> {
        Setting { value, source: Source::Program }
    }

    /// The same source with another value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), source: self.source }
    }
}

impl Source {
    /// Whether somebody chose this very value: a line of the file or the program.
    pub fn is_given(&self) -> bool {
        matches!(self, Source::File { .. } | Source::Program)
    }

    /// Line of the file that gives the value or has a part in it.
    pub fn line(&self) -> Option<u32> {
        match self {
            Source::File { line } => Some(*line),
            Source::Rule { line, .. } => *line,
            Source::Default | Source::Program => None,
        }
    }

    /// Word for programs: `default`, `rule`, `file` or `program`. A rule that worked from defaults alone is `default`.
    pub fn word(&self) -> &'static str {
        match self {
            Source::Default | Source::Rule { line: None, .. } => "default",
            Source::Rule { line: Some(_), .. } => "rule",
            Source::File { .. } => "file",
            Source::Program => "program",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Rule { text, line: None } => write!(f, "default, {text}"),
            Source::Rule { text, line: Some(line) } => write!(f, "line {line}, {text}"),
            Source::File { line } => write!(f, "line {line}"),
            Source::Program => f.write_str("set by the program"),
        }
    }
}

/// `1 port`, `3 ports`.
pub(crate) fn plural(count: u32, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}
