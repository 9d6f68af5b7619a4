//! The shell of a server: sockets, clocks, and the order in which things start and stop.
//!
//! Everything that can fail is made before the first call is served: all sockets are bound, all polls made, all
//! threads started. What cannot be had fails the start, and nothing is left running.

mod accept;
mod bind;
mod close_log;
mod command;
mod connect_rate;
mod connection;
mod connection_limiter;
mod control;
mod desk;
mod dry_run;
mod lingering_close;
mod listener;
pub mod machine;
mod mailbox;
mod memory_pressure;
mod queue_shares;
mod running;
mod server_info;
mod sessions;
mod slots;
#[cfg(test)]
mod tests;
mod timeouts;
mod transport;
mod verdict_file;
mod watchdog;
mod writer;

pub use crate::pool::RunningCall;
pub use dry_run::DryRun;
pub use running::{PortHandle, RunningServer, Stopped};

use crate::config::{CodelMode, Config, ConfigErrors, Limit, PortConfig, Warning};
use crate::files;
use crate::pool::{
    AllBuffers, Buffers, CodelRules, PoolSizes, PortShared, PortWorkers, Queue, QueueReadings, Shared,
    Throttle, start_workers,
};
use crate::proto::{Received, welcome};
use crate::service::builtin::{self, Info};
use crate::service::{
    ApplicationError, DuplicateMethod, Method, Services, ServicesBuilder, Transaction, load_service,
};
use crate::sync::{Arc, Parker, Sender, bounded};
use crate::wire::limits::{FRAME_BYTES_MIN, HEADER_BYTES, REPLY_PRELUDE_BYTES};
use accept::Acceptor;
use bind::{Bound, Purpose, Silence};
use connection_limiter::ConnectionLimiter;
use control::Program;
use desk::{AdmissionMode, BUFFER_BYTES, Desk};
use lingering_close::LingeringClose;
use listener::Listener;
use queue_shares::QueueShares;
use serde::Serialize;
use serde::de::DeserializeOwned;
use server_info::ServerInfo;
use sessions::Registry;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;
use thiserror::Error;
use timeouts::{TimeoutLimits, Timeouts};
use watchdog::Watchdog;

/// What the server calls itself.
pub const SERVER_NAME: &str = concat!("Boneyard ", env!("CARGO_PKG_VERSION"));

/// Why a server does not start. Nothing is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A port's address cannot be had.
    #[error("port {port} cannot listen on {address}: {error}")]
    Bind {
        /// Name of the port.
        port: String,
        /// Address of its INI line.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The address of the admin server cannot be had.
    #[error("Admin_Address {address} cannot be listened on: {error}")]
    Admin {
        /// As the INI says.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The Unix socket of the admin server cannot be had.
    #[error("Admin_Socket {}: cannot be listened on: {error}", path.display())]
    AdminSocket {
        /// Of the socket.
        path: PathBuf,
        /// What the system says, or what is wrong with the path.
        error: std::io::Error,
    },
    /// The token of the admin server cannot be had.
    #[error("Admin_Token_File {}: {wrong}", path.display())]
    AdminToken {
        /// As the INI says.
        path: PathBuf,
        /// What is wrong with the file.
        wrong: String,
    },
    /// The system will not make the threads.
    #[error("port {port}: only {made} of {wanted} threads could be made: {error}")]
    Threads {
        /// Name of the port.
        port: String,
        /// Threads of that port that were made.
        made: usize,
        /// Its pool and its listener.
        wanted: usize,
        /// What the system says.
        error: std::io::Error,
    },
    /// The process may have so few descriptors that there would be none for a connection.
    #[error(
        "the process may hold {limit} descriptors, which leaves none for connections; raise the limit (ulimit -n -H) or \
         lower Server_Descriptor_Reserve"
    )]
    Descriptors {
        /// The limit, as far as it could be raised.
        limit: u64,
    },
    /// Two handlers for one method.
    #[error(transparent)]
    Method(#[from] DuplicateMethod),
    /// The system refused something else: a poll.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// A server while it is put together: settings and handlers.
///
/// ```no_run
/// # use boneyard::{Method, Server};
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// let server = Server::from_ini("server.ini")?.handle(DOUBLE, |_, n| Ok(u64::from(n) * 2)).start()?;
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    services: ServicesBuilder,
    program: Program,
}

impl Server {
    /// A server with these settings and the built-in methods.
    pub fn new(config: Config) -> Server {
        Server { config, services: ServicesBuilder::default(), program: Program::default() }
    }

    /// A server with the settings of an INI file.
    ///
    /// # Errors
    /// All that is wrong with the file.
    pub fn from_ini(path: impl AsRef<Path>) -> Result<Server, ConfigErrors> {
        load(path.as_ref()).map(Server::new)
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds a method. `run` is ordinary blocking code; it is called on a worker thread while that holds a permit,
    /// by as many workers at once as the settings allow; a handler that waits can give its permit back meanwhile, see
    /// [`Transaction::blocking`]. A panic in it answers the call and harms nothing else.
    /// A second handler for the same method is an error of [`Server::start`].
    pub fn handle<Request, Response, F>(mut self, method: Method<Request, Response>, run: F) -> Server
    where
        Request: DeserializeOwned,
        Response: Serialize,
        F: Fn(&Transaction<'_>, Request) -> Result<Response, ApplicationError> + Send + Sync + 'static,
    {
        self.services.add(method, run);
        self
    }

    /// Has a service take an administrator's orders (`tell`): `run` gets what follows the service's name and says what
    /// the administrator is to read. It runs on a thread of its own, one order at a time, takes no worker and no
    /// permit, and is waited for no longer than 10 s, though it goes on after that. A panic in it is an answer, too. A
    /// later call for the same service, whatever the case of its letters, takes the place of an earlier one.
    ///
    /// ```no_run
    /// # use boneyard::{Server, config::Config};
    /// # let server = Server::new(Config::default_with(2));
    /// let server = server.on_tell("notes", |order| match order {
    ///     "compact" => Ok("compacted".to_owned()),
    ///     _ => Err("notes understands: compact".to_owned()),
    /// });
    /// ```
    pub fn on_tell<F>(mut self, service: &str, run: F) -> Server
    where
        F: Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    {
        self.program.on_tell(service, Arc::new(run));
        self
    }

    /// What is done when an administrator has the program stop (`quit`). Must not block and must not wait for the
    /// server's end, of which it is called from within. Without it such a request is refused.
    pub fn on_quit(mut self, run: impl Fn() + Send + Sync + 'static) -> Server {
        self.program.on_quit(Box::new(run));
        self
    }

    /// What is done when an administrator sets `Log_Level`. Without it that counts after a restart.
    pub fn on_log_level(mut self, run: impl Fn(log::LevelFilter) + Send + Sync + 'static) -> Server {
        self.program.on_log_level(Box::new(run));
        self
    }

    /// Binds all ports, makes all threads, and serves.
    ///
    /// Raises the soft limit of this process's descriptors as far as the hard limit allows.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(self) -> Result<RunningServer, StartError> {
        let Server { config, mut services, program } = self;
        if config.load_service.value {
            load_service::add(&mut services);
        }
        let source = Arc::new(OnceLock::<ServerInfo>::new());
        let asked = Arc::clone(&source);
        let descriptors = machine::raise_descriptors();
        connections_max(&config, descriptors, 0)?;
        let addresses = bind::resolve(&config)?;
        let bind = |(port, addresses): (&PortConfig, &Vec<_>)| {
            bind::bind(port, addresses, Silence::of(&config), Purpose::Serve)
        };
        let bound = config.ports.iter().zip(&addresses).map(bind).collect::<Result<Vec<_>, _>>()?;
        let info = move || asked.get().map(ServerInfo::info).unwrap_or_default();
        let control = ServerControl::found(&config, services, info, descriptors, bound)?;
        let mut running = control.open(&config)?;
        running.observe(&config, program)?;
        // Nobody else sets it.
        source.set(running.info_source()).ok();
        if let Some(limit) = descriptors {
            let connections = running.connections_max();
            log::info!(
                "Descriptors: {limit} for this process, room for {connections} connections over all ports"
            );
        }
        Ok(running)
    }
}

/// The settings of a file, as a server of this machine would start with them: the files that they name are looked at
/// too.
///
/// # Errors
/// All that is wrong with the file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let config = Config::load(path, machine::cpus())?;
    #[cfg(feature = "admin")]
    if let Some(file) = &config.admin_token_file.value
        && let Err(wrong) = crate::admin::Token::read(file)
    {
        let (setting, file) = (&config.admin_token_file, file.to_string_lossy());
        let wrong = (wrong, "a file that its owner alone can read, with a token in its first line");
        return Err(ConfigErrors::of_setting(&config, ("Admin_Token_File", &file), &setting.source, wrong));
    }
    Ok(config)
}

/// What the files that settings name make of them, where a server starts all the same.
pub fn advise_on_files(config: &Config) -> Option<Warning> {
    let path = config.log_file.value.as_deref()?;
    let error = files::could_append(path).err()?;
    let message = format!("Log_File={}: {error}: the log would go to standard error", path.display());
    Some(Warning { code: "log_file", message })
}

/// A server with its sockets bound and its shared parts made, before it has threads.
struct ServerControl {
    shared: Arc<Shared>,
    connection_limiter: Arc<ConnectionLimiter>,
    sessions: Arc<Registry>,
    ports: Vec<(Arc<PortShared>, Vec<Arc<Parker>>, Bound)>,
}

impl ServerControl {
    /// All that needs no thread.
    fn found(
        config: &Config,
        mut services: ServicesBuilder,
        info: impl Fn() -> Info + Send + Sync + 'static,
        descriptors: Option<u64>,
        bound: Vec<Bound>,
    ) -> Result<ServerControl, StartError> {
        let extra = bound.iter().map(|port| port.addresses.len() as u64 - 1).sum();
        let connections_max = connections_max(config, descriptors, extra)?;
        let log_bound = || Arc::clone(services.log_bound());
        let connection_limiter = Arc::new(ConnectionLimiter::new(config, connections_max, log_bound()));
        let bell = Arc::clone(&bound[0].mailbox);
        let sessions = Arc::new(Registry::new(config, bell, log_bound(), Instant::now()));
        builtin::add(&mut services, info, Arc::clone(&sessions) as _);
        Ok(ServerControl::build(config, services.build()?, (connection_limiter, sessions), bound))
    }

    fn build(
        config: &Config,
        services: Services,
        (connection_limiter, sessions): (Arc<ConnectionLimiter>, Arc<Registry>),
        bound: Vec<Bound>,
    ) -> ServerControl {
        let now = Instant::now();
        let cores = machine::cpus() as usize;
        let mut seats = Vec::new();
        let mut ports = Vec::new();
        let all_buffers = AllBuffers::new(config.buffer_memory_bytes.value, config.ports.len());
        for (index, (port, bound)) in config.ports.iter().zip(bound).enumerate() {
            let workers = port.pool_tasks.value as usize;
            let (calls_max, reserve) =
                (config.queue_limit.value as usize, config.nested_reserve.value as usize);
            let queue = Arc::new(Queue::new(QueueReadings { calls_max, workers, reserve, cores }, now));
            let parkers: Vec<_> = (0..workers).map(|_| Arc::new(Parker::default())).collect();
            seats.push(PortWorkers { queue: Arc::clone(&queue), parkers: parkers.clone() });
            let (name, rules) = (port.name.clone(), codel_rules(config));
            let buffers = Buffers::new(Arc::clone(&all_buffers));
            let sizes = PoolSizes { workers, methods: services.len(), slow_calls: config.slow_calls.value };
            let shared = PortShared::new(index, name, queue, sizes, rules, buffers, now);
            ports.push((Arc::new(shared), parkers, bound));
        }
        let limit = match config.max_concurrent_trans.value {
            Limit::Unlimited => None,
            Limit::AtMost(limit) => Some(limit),
        };
        let throttle = Throttle::new(limit, seats);
        let shared =
            Arc::new(Shared::new(services, throttle, body_bytes_max(config) as usize - REPLY_PRELUDE_BYTES));
        ServerControl { shared, connection_limiter, sessions, ports }
    }

    /// Makes all threads, and lets the listeners serve.
    fn open(self, config: &Config) -> Result<RunningServer, StartError> {
        let (shared, parts) =
            (Arc::clone(&self.shared), (Arc::clone(&self.connection_limiter), Arc::clone(&self.sessions)));
        let (mut made, open, handles) = self.make_threads(config)?;
        for _ in &handles {
            open.send(()).expect("the gate has a place for each listener and this thread holds its far end");
        }
        made.opened = true;
        Ok(RunningServer::new(shared, parts, handles, config))
    }

    /// Makes all threads. The listeners wait at the gate, which is the second thing given back: they end if that is
    /// dropped, as the workers do with the first.
    fn make_threads(self, config: &Config) -> Result<(Made, Sender<()>, Vec<PortHandle>), StartError> {
        let ServerControl { shared, connection_limiter, sessions, ports } = self;
        let mut made = Made { shared: Arc::clone(&shared), workers: 0, opened: false };
        for (port, parkers, _) in &ports {
            if let Err((count, error)) =
                start_workers(&shared, port, parkers, config.thread_stack_bytes.value)
            {
                made.workers += count;
                return Err(StartError::Threads {
                    port: port.name.clone(),
                    made: count,
                    wanted: parkers.len() + 1,
                    error,
                });
            }
            made.workers += parkers.len();
        }
        let welcome: Arc<[u8]> =
            welcome(SERVER_NAME.to_owned(), body_bytes_max(config), shared.services.table()).into();
        let (open, gate) = bounded::<()>(ports.len());
        let mut handles = Vec::new();
        for (port, parkers, Bound { poll, sockets, addresses, mailbox }) in ports {
            let desk = Desk {
                port: Arc::clone(&port),
                shared: Arc::clone(&shared),
                welcome: Arc::clone(&welcome),
                body_bytes_max: body_bytes_max(config) as usize,
                session_calls_max: config.session_calls.value.unwrap_or(usize::MAX),
                sessions: Arc::clone(&sessions),
                admits: AdmissionMode::All,
                intake: Received::default(),
                answered: 0,
                holders: QueueShares::new(),
                displaced: Vec::new(),
                buffers: vec![vec![0; BUFFER_BYTES]],
            };
            let looks = handles.is_empty().then(|| Arc::clone(&sessions));
            let watch = Watchdog::new(config.long_transaction.value, looks);
            let limits = (Timeouts::new(limits(config), Instant::now()), config.send_buffer_bytes.value);
            let entrance = (Arc::clone(&connection_limiter), LingeringClose::new(farewell_places(config)));
            let bell = Arc::clone(&mailbox);
            let listener = Listener::new(poll, Acceptor::new(sockets), entrance, bell, desk, watch, limits);
            let gate = gate.clone();
            let thread = std::thread::Builder::new().name(format!("{}-listen", port.name)).spawn(move || {
                // An error means that the start failed after all: then this ends without having served.
                if gate.recv().is_ok() {
                    listener.run();
                }
            });
            let thread = thread.map_err(|error| StartError::Threads {
                port: port.name.clone(),
                made: parkers.len(),
                wanted: parkers.len() + 1,
                error,
            })?;
            handles.push(PortHandle::new(port, addresses.into(), parkers.len(), mailbox, thread));
        }
        Ok((made, open, handles))
    }
}

fn codel_rules(config: &Config) -> CodelRules {
    CodelRules {
        target: config.codel_target.value,
        interval: config.codel_interval.value,
        refuse: config.codel_mode.value == CodelMode::Refuse,
    }
}

fn limits(config: &Config) -> TimeoutLimits {
    TimeoutLimits {
        hello: config.hello_timeout.value,
        frame: config.frame_timeout.value,
        send: config.send_timeout.value,
    }
}

/// Largest body of a Call or Reply: `Server_Max_Frame_KB` counts the header.
fn body_bytes_max(config: &Config) -> u32 {
    config.max_frame_bytes.value.max(FRAME_BYTES_MIN as u32) - HEADER_BYTES as u32
}

/// Connections there can be, over all ports, with so many listening sockets more than ports.
fn connections_max(config: &Config, descriptors: Option<u64>, sockets: u64) -> Result<usize, StartError> {
    let Some(limit) = descriptors else { return Ok(usize::MAX) };
    match config.connections_max(limit.saturating_sub(sockets)) {
        0 => Err(StartError::Descriptors { limit }),
        connections => Ok(usize::try_from(connections).unwrap_or(usize::MAX)),
    }
}

/// Refused connections that one port may keep for a moment: half the reserve for all ports together.
fn farewell_places(config: &Config) -> usize {
    config.descriptor_reserve.value as usize / 2 / config.ports.len()
}

/// Ends the workers again if the start fails after they were made.
struct Made {
    shared: Arc<Shared>,
    workers: usize,
    /// The start has not failed.
    opened: bool,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.opened {
            return;
        }
        self.shared.throttle.close();
        let patience = Instant::now() + std::time::Duration::from_secs(10);
        self.shared.await_exits(self.workers, patience);
    }
}
