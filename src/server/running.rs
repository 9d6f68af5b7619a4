//! A server that serves: what its owner can ask of it, and the order in which it stops.

#[cfg(feature = "admin")]
use super::bind::{self, Purpose};
use super::connection_limiter::ConnectionLimiter;
use super::control::{LiveControl, Program, Sampler};
use super::error::StartError;
use super::listener::{ListenerCommand, ListenerHandle};
use super::server_info::{SERVER_NAME, ServerInfo};
use super::sessions::Registry;
use super::shutdown::{AdmissionMode, Shutdown};
#[cfg(feature = "admin")]
use crate::admin::{AdminListenAddresses, AdminServer, Token, UnixSocket};
use crate::config::Config;
#[cfg(feature = "admin")]
use crate::config::{AdminSocket, Warning};
use crate::metrics::PortStats;
use crate::monitor::{ServerControl, ServerMonitor};
use crate::pool::{PortShared, RunningCall, Shared};
use crate::service::builtin::PortInfo;
use crate::sync::{Arc, Ordering};
#[cfg(feature = "admin")]
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
#[cfg(feature = "admin")]
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time to refuse queued calls once the time for an orderly stop is over.
const REFUSE_MAX: Duration = Duration::from_millis(500);

/// Longest time for a stop: the clock ends somewhere.
const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Time for peers to close by themselves once they have their answers.
const CLOSE_MAX: Duration = Duration::from_millis(250);

/// Time for idle workers to end.
const EXIT_MAX: Duration = Duration::from_secs(5);

/// A port that listens.
#[derive(Debug)]
pub struct PortHandle {
    port: Arc<PortShared>,
    addresses: Arc<[SocketAddr]>,
    workers: usize,
    listener: Arc<ListenerHandle>,
    /// Of the listener; `None` once the server has stopped.
    thread: Option<JoinHandle<()>>,
}

impl PortHandle {
    pub(super) fn new(
        port: Arc<PortShared>,
        addresses: Arc<[SocketAddr]>,
        workers: usize,
        listener: Arc<ListenerHandle>,
        thread: JoinHandle<()>,
    ) -> PortHandle {
        PortHandle { port, addresses, workers, listener, thread: Some(thread) }
    }

    /// Its name in `Ports`.
    pub fn name(&self) -> &str {
        &self.port.name
    }

    /// Where it listens, the first of its addresses; the system's choice where the INI says port 0.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everywhere it listens: a host name may have several addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Threads of its pool.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Threads of its pool that sleep.
    pub fn idle_workers(&self, server: &RunningServer) -> usize {
        server.shared.throttle.idle(self.port.index)
    }

    /// Calls that wait in its queue.
    pub fn queued(&self) -> usize {
        self.port.queue.len()
    }

    /// Calls admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.port.queue.in_flight()
    }

    /// Bytes of memory that its connections hold: half-read frames, calls queued and running, replies unsent. All
    /// ports together are bounded by `Server_Buffer_Memory_MB`.
    pub fn buffer_bytes(&self) -> usize {
        self.port.buffers.bytes()
    }

    /// Its counters.
    pub fn stats(&self) -> &PortStats {
        &self.port.stats
    }
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Calls that were queued and not run, because the time was over; refused, if a worker was free to say so.
    pub refused: usize,
    /// Calls whose handlers still ran when the time was over. Their threads go on until the process ends.
    pub unfinished: usize,
    /// Which calls those are, save for any that ended just then.
    pub held_by: Vec<RunningCall>,
}

impl Stopped {
    /// Calls that did not get their result; normally none.
    pub fn lost(&self) -> usize {
        self.refused + self.unfinished
    }
}

/// A server that serves until it is stopped or dropped.
///
/// Dropping it stops it without waiting for calls in flight.
#[derive(Debug)]
pub struct RunningServer {
    shared: Arc<Shared>,
    connection_limiter: Arc<ConnectionLimiter>,
    sessions: Arc<Registry>,
    ports: Vec<PortHandle>,
    shutdown_timeout: Duration,
    started: Instant,
    /// What is seen of it, and by whom; from just after the start on.
    monitor: Option<(Arc<LiveControl>, Arc<ServerMonitor>, Sampler)>,
    /// The admin server, if it is open.
    #[cfg(feature = "admin")]
    admin: Option<AdminServer>,
    #[cfg(feature = "admin")]
    admin_socket: Option<PathBuf>,
}

impl RunningServer {
    pub(super) fn new(
        shared: Arc<Shared>,
        (connection_limiter, sessions): (Arc<ConnectionLimiter>, Arc<Registry>),
        ports: Vec<PortHandle>,
        config: &Config,
    ) -> RunningServer {
        let shutdown_timeout = config.shutdown_timeout.value;
        let started = Instant::now();
        RunningServer {
            shared,
            connection_limiter,
            sessions,
            ports,
            shutdown_timeout,
            started,
            monitor: None,
            #[cfg(feature = "admin")]
            admin: None,
            #[cfg(feature = "admin")]
            admin_socket: None,
        }
    }

    /// Begins to look at itself.
    pub(super) fn observe(&mut self, config: &Config, program: Program) -> Result<(), StartError> {
        let parts = (Arc::clone(&self.connection_limiter), Arc::clone(&self.sessions));
        let ports = self.ports.iter().map(|port| (&port.port, Arc::clone(&port.addresses), &port.listener));
        let control = Arc::new(LiveControl::new(Arc::clone(&self.shared), parts, ports, config, program));
        let monitor = ServerMonitor::new(Arc::clone(&control) as _, SERVER_NAME);
        let monitor = Arc::new(monitor);
        #[cfg(feature = "admin")]
        self.open_admin(config, Arc::clone(&monitor))?;
        let log_limiter = Arc::clone(self.shared.services.log_limiter());
        let observer = Sampler::start(Arc::clone(&monitor), log_limiter, control.keep_note()?)?;
        self.monitor = Some((control, monitor, observer));
        Ok(())
    }

    #[cfg(feature = "admin")]
    fn open_admin(&mut self, config: &Config, monitor: Arc<ServerMonitor>) -> Result<(), StartError> {
        let ports: Vec<_> = self.ports.iter().flat_map(|port| port.addresses().iter().copied()).collect();
        let AdminClaim { doors, name, token, without } = claim_admin(config, &ports, Purpose::Serve)?;
        without.iter().for_each(|without| log::warn!("{}", without.warning.message));
        if doors.tcp.is_empty() && doors.unix.is_none() {
            return Ok(());
        }
        let has_no_place = config.admin_socket.value == AdminSocket::Auto && config.file.is_none();
        if has_no_place && token.is_none() {
            log::info!(
                "no admin socket: the server has no settings file (Admin_Socket); nobody can command it"
            );
        }
        self.admin_socket = doors.unix.as_ref().map(|unix| unix.path().to_path_buf());
        self.admin = Some(AdminServer::open(doors, (name, token), config.admin_timeout, monitor)?);
        Ok(())
    }

    /// Where the admin server listens; `None` where it is closed.
    #[cfg(feature = "admin")]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(AdminServer::address)
    }

    /// The Unix socket of the admin server; `None` where there is none.
    #[cfg(feature = "admin")]
    pub fn admin_socket(&self) -> Option<&Path> {
        self.admin_socket.as_deref()
    }

    /// What is seen of this server.
    pub fn monitor(&self) -> &Arc<ServerMonitor> {
        let (_, monitor, _) = self.monitor.as_ref().expect("a server that serves is looked at");
        monitor
    }

    pub(super) fn info_source(&self) -> ServerInfo {
        let info = |port: &PortHandle| PortInfo {
            name: port.name().to_owned(),
            address: port.address().to_string(),
            workers: port.workers as u32,
        };
        let ports = self.ports.iter().map(|port| (Arc::clone(&port.port), info(port))).collect();
        let (shared, sessions) = (Arc::downgrade(&self.shared), Arc::clone(&self.sessions));
        ServerInfo { shared, sessions, ports, started: self.started }
    }

    /// The ports, in the order of the INI.
    pub fn ports(&self) -> &[PortHandle] {
        &self.ports
    }

    /// Address of the first port.
    pub fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    /// Connections there can be at once over all ports, by the descriptors that this process may hold; the next is
    /// refused. `usize::MAX` where there is no limit. What else this process opens, other servers in it included, is
    /// not counted: `Server_Descriptor_Reserve` is for that.
    pub fn connections_max(&self) -> usize {
        self.connection_limiter.connections_max()
    }

    /// Permits out now: handlers that run, and workers that have just ended one or are about to begin one.
    pub fn permits_out(&self) -> u32 {
        self.shared.throttle.permits().0
    }

    /// The most permits that were ever out at once. Never more than `Server_Max_Concurrent_Trans`.
    pub fn permits_peak(&self) -> u32 {
        self.shared.throttle.permits().1
    }

    /// Calls admitted and not yet answered, over all ports.
    pub fn in_flight(&self) -> usize {
        self.ports.iter().map(PortHandle::in_flight).sum()
    }

    /// Sessions there are: one of each connection, and those that clients opened.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions closed so far because they were not used for `Server_Session_Timeout`, and because there were more
    /// than `Server_MaxSessions`.
    pub fn sessions_dropped(&self) -> (u64, u64) {
        self.sessions.dropped()
    }

    /// From now on new sessions are refused, as by `Server_Restricted`, or let in again. Those there are go on.
    pub fn restrict(&self, restricted: bool) {
        self.sessions.restrict(restricted);
    }

    /// Stops in order within `Server_Shutdown_Timeout`: takes no new connections and calls, finishes what is in
    /// flight, sends the replies, closes. Blocks until then.
    pub fn stop(mut self) -> Stopped {
        // As it is set now.
        let config = self.monitor.as_ref().map(|(control, ..)| control.config());
        let timeout = config.map_or(self.shutdown_timeout, |config| config.shutdown_timeout.value);
        self.shut_down(timeout)
    }

    /// Like [`RunningServer::stop`], with another time for what is in flight.
    pub fn stop_within(mut self, timeout: Duration) -> Stopped {
        self.shut_down(timeout)
    }

    fn shut_down(&mut self, timeout: Duration) -> Stopped {
        let deadline = Instant::now() + timeout.min(SHUTDOWN_TIMEOUT_MAX);
        self.advance(|| ListenerCommand::Drain, Shutdown::is_of_server);
        self.await_drained(deadline);
        // A nested call that was admitted just as its transaction ended is in flight by now, and none comes after it.
        self.advance(
            || ListenerCommand::RefuseCalls,
            |reached| reached.admission_mode() == AdmissionMode::Nothing,
        );
        let late = self.await_drained(deadline);
        let mut stopped = Stopped::default();
        if late > 0 {
            self.shared.abandoned.store(true, Ordering::SeqCst);
            self.refuse_queued();
            self.await_drained(Instant::now() + REFUSE_MAX);
            // Calls that waited behind a stuck handler are in the queue by now.
            self.refuse_queued();
            stopped.unfinished = self.in_flight();
            let now = Instant::now();
            stopped.held_by =
                self.ports.iter().flat_map(|port| port.port.running_calls(&self.shared, now)).collect();
            stopped.refused = self.shared.refused.load(Ordering::SeqCst);
        }
        self.shared.throttle.close();
        let close_by = deadline.min(Instant::now() + CLOSE_MAX);
        for port in &self.ports {
            port.listener.send(ListenerCommand::CloseBy(close_by));
        }
        for port in &mut self.ports {
            if let Some(Err(_)) = port.thread.take().map(JoinHandle::join) {
                log::error!("port {}: listener thread panicked", port.port.name);
            }
        }
        let workers: usize = self.ports.iter().map(PortHandle::workers).sum();
        let exit_max = if stopped.unfinished > 0 { REFUSE_MAX } else { EXIT_MAX };
        self.shared.await_exits(workers, Instant::now() + exit_max);
        self.sessions.close_all();
        stopped
    }

    /// Moves all listeners on with the stop, and waits until they have `reached` it.
    fn advance(&self, command: fn() -> ListenerCommand, reached: fn(Shutdown) -> bool) {
        for port in &self.ports {
            port.listener.send(command());
        }
        for port in &self.ports {
            // A listener never blocks; the bound is there for one that has failed.
            port.listener.await_shutdown(reached, Instant::now() + EXIT_MAX);
        }
    }

    /// Refuses queued calls, where every worker is stuck in a handler.
    fn refuse_queued(&self) {
        for port in &self.ports {
            port.port.refuse_queued(&self.shared);
        }
    }

    /// Waits until no call is in flight at any port, or until `deadline`. Returns how many are.
    fn await_drained(&self, deadline: Instant) -> usize {
        loop {
            let late: usize = self.ports.iter().map(|port| port.port.queue.await_drained(deadline)).sum();
            // Handlers of a later port may have called one that had nothing in flight any more.
            if late > 0 || self.in_flight() == 0 {
                return late;
            }
        }
    }
}

/// What an admin server begins with.
#[cfg(feature = "admin")]
#[derive(Debug)]
pub(super) struct AdminClaim {
    doors: AdminListenAddresses,
    /// The host in `Admin_Address`.
    name: String,
    token: Option<Token>,
    /// What it does without.
    pub(super) without: Vec<Without>,
}

/// An address or a socket that is only the default and cannot be had.
#[cfg(feature = "admin")]
#[derive(Debug)]
pub(super) struct Without {
    pub(super) warning: Warning,
    /// Another has it.
    pub(super) is_taken: bool,
}

/// Takes the admin server's address and socket, and reads its token; for a rehearsal only looks whether they could be
/// had. `ports` are the addresses of the ports.
#[cfg(feature = "admin")]
pub(super) fn claim_admin(
    config: &Config,
    ports: &[SocketAddr],
    purpose: Purpose,
) -> Result<AdminClaim, StartError> {
    let token = config.admin_token_file.value.as_deref().map(|path| {
        let wrong = |wrong| StartError::AdminToken { path: path.to_path_buf(), wrong };
        Token::read(path).map_err(wrong)
    });
    let token = token.transpose()?;
    let (address, socket) = (&config.admin_address, &config.admin_socket);
    let (mut doors, mut without) = (AdminListenAddresses { tcp: Vec::new(), unix: None }, Vec::new());
    let mut go_without = |code, message, error: &Error| {
        let is_taken = error.kind() == ErrorKind::AddrInUse;
        without.push(Without { warning: Warning { code, message }, is_taken });
    };
    if let Some(at) = &address.value {
        match bind::bind_admin(at, token.is_some(), ports, purpose) {
            Ok(tcp) => doors.tcp = tcp,
            Err(error) if address.source.is_given() => {
                return Err(StartError::Admin { address: at.to_string(), error });
            }
            Err(error) => {
                let message = format!("no admin server: {at}: {error} (Admin_Address)");
                go_without("no_admin_address", message, &error);
            }
        }
    }
    if let Some(path) = socket.value.path(config.file.as_deref()) {
        let bound = match purpose {
            Purpose::Serve => UnixSocket::bind(&path).map(Some),
            Purpose::Rehearse => UnixSocket::could_bind(&path).map(|()| None),
        };
        match bound {
            Ok(unix) => doors.unix = unix,
            Err(error) if socket.source.is_given() => return Err(StartError::AdminSocket { path, error }),
            Err(error) => {
                let message = format!("no admin socket: {}: {error} (Admin_Socket)", path.display());
                go_without("no_admin_socket", message, &error);
            }
        }
    }
    let name = address.value.as_ref().map_or(String::new(), |address| address.host.clone());
    Ok(AdminClaim { doors, name, token, without })
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if self.ports.iter().any(|port| port.thread.is_some()) {
            self.shut_down(Duration::ZERO);
        }
    }
}
