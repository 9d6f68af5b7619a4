//! A server that serves, and its ports: what its owner can ask of them, and the order in which the server stops.

#[cfg(feature = "admin")]
use super::bind::Purpose;
#[cfg(feature = "admin")]
use super::bind_admin::{AdminBound, bind_admin_server};
use super::client_calls::ClientCalls;
use super::connection_limiter::ConnectionLimiter;
use super::control::{AdminHooks, LiveControl, ManagedPort, Sampler};
use super::error::StartError;
use super::listener::{ListenerCommand, ListenerHandle};
use super::server_info::ServerInfo;
use super::sessions::Registry;
use super::shutdown::{AdmissionMode, Shutdown};
use super::stop_hooks::StopHooks;
#[cfg(feature = "admin")]
use crate::admin::AdminServer;
#[cfg(feature = "admin")]
use crate::config::AdminSocket;
use crate::config::Config;
use crate::metrics::PortStats;
use crate::monitor::{ServerControl, ServerMonitor};
use crate::pool::{PortShared, RunningCall, Shared};
use crate::service::builtin::PortInfo;
use crate::sync::{Arc, Ordering};
use std::net::SocketAddr;
#[cfg(feature = "admin")]
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time to refuse queued calls once the time for an orderly stop is over.
const REFUSE_MAX: Duration = Duration::from_millis(500);

/// Longest time for a stop: the clock ends somewhere.
const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Time for peers to close by themselves once they have their answers.
const CLOSE_MAX: Duration = Duration::from_millis(250);

/// Time for idle workers to end.
const EXIT_MAX: Duration = Duration::from_secs(5);

/// The result of a server's stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stopped {
    /// Calls that were queued and not run because the time was over; refused, if a worker was free to do so.
    pub refused: usize,
    /// Calls whose handlers still ran when the time was over. Their threads go on until the process ends.
    pub unfinished: usize,
    /// The unfinished calls, save for any that ended just then.
    pub held_by: Vec<RunningCall>,
}

impl Stopped {
    /// Returns the number of calls that did not get their result; normally 0.
    pub fn lost(&self) -> usize {
        self.refused + self.unfinished
    }
}

/// A port of a running server. Its methods read gauges and counters: they neither block nor fail, and can be called
/// from any thread.
#[derive(Debug)]
pub struct PortHandle {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) workers: usize,
    pub(super) listener: Arc<ListenerHandle>,
}

impl PortHandle {
    /// Returns its name in `Ports`.
    pub fn name(&self) -> &str {
        &self.port.name
    }

    /// Returns the first of its addresses; with the system's choice where the INI says port 0.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns all its addresses: a host name may have several.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the number of threads of its pool.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Returns the number of threads of its pool that sleep.
    pub fn idle_workers(&self) -> usize {
        self.shared.throttle.idle(self.port.index)
    }

    /// Returns the number of calls that wait in its queue.
    pub fn queued(&self) -> usize {
        self.port.queue.len()
    }

    /// Returns the number of calls admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.port.queue.in_flight()
    }

    /// Returns the memory that its connections hold, in bytes: half-read frames, calls queued and running, replies
    /// unsent. All ports together are bounded by `Server_Buffer_Memory_MB`.
    pub fn buffer_bytes(&self) -> usize {
        self.port.buffers.bytes()
    }

    /// Returns its counters.
    pub fn stats(&self) -> &PortStats {
        &self.port.stats
    }
}

/// A server that serves until it is stopped or dropped. It can be shared between threads; only the methods that stop it
/// block.
///
/// Dropping it stops it without waiting for calls in flight.
#[derive(Debug)]
pub struct RunningServer {
    product: Arc<str>,
    shared: Arc<Shared>,
    connection_limiter: Arc<ConnectionLimiter>,
    sessions: Arc<Registry>,
    client_calls: Arc<ClientCalls>,
    ports: Vec<PortHandle>,
    shutdown_timeout: Duration,
    started: Instant,
    stopped: bool,
    stop_hooks: StopHooks,
    /// Set just after the start.
    monitor: Option<(Arc<LiveControl>, Arc<ServerMonitor>, Sampler)>,
    /// The admin server, if it is open.
    #[cfg(feature = "admin")]
    admin: Option<AdminServer>,
    #[cfg(feature = "admin")]
    admin_socket: Option<PathBuf>,
}

impl RunningServer {
    pub(super) fn new(
        product: Arc<str>,
        shared: Arc<Shared>,
        (connection_limiter, sessions, client_calls): (
            Arc<ConnectionLimiter>,
            Arc<Registry>,
            Arc<ClientCalls>,
        ),
        ports: Vec<PortHandle>,
        config: &Config,
    ) -> RunningServer {
        let shutdown_timeout = config.shutdown_timeout.value;
        let started = Instant::now();
        RunningServer {
            product,
            shared,
            connection_limiter,
            sessions,
            client_calls,
            ports,
            shutdown_timeout,
            started,
            stopped: false,
            stop_hooks: StopHooks::default(),
            monitor: None,
            #[cfg(feature = "admin")]
            admin: None,
            #[cfg(feature = "admin")]
            admin_socket: None,
        }
    }

    /// Sets what runs at the end of the stop.
    pub(super) fn set_stop_hooks(&mut self, hooks: StopHooks) {
        self.stop_hooks = hooks;
    }

    /// Starts the sampler and the admin server.
    pub(super) fn start_sampler(&mut self, config: &Config, hooks: AdminHooks) -> Result<(), StartError> {
        let parts = (
            Arc::clone(&self.connection_limiter),
            Arc::clone(&self.sessions),
            Arc::clone(&self.client_calls),
        );
        let port = |port: &PortHandle| ManagedPort {
            name: port.name().into(),
            addresses: Arc::clone(&port.addresses),
            shared: Arc::clone(&port.port),
            listener: Arc::clone(&port.listener),
        };
        let ports = self.ports.iter().map(port).collect();
        let control = Arc::new(LiveControl::new(Arc::clone(&self.shared), parts, ports, config, hooks));
        let monitor = ServerMonitor::new(Arc::clone(&control) as _, Arc::clone(&self.product));
        let monitor = Arc::new(monitor);
        #[cfg(feature = "admin")]
        self.open_admin(config, Arc::clone(&monitor))?;
        let log_limiter = Arc::clone(self.shared.services.log_limiter());
        let takers = (control.verdict_file.start_writer()?, control.alarm_command.start()?);
        let sampler = Sampler::start(Arc::clone(&monitor), log_limiter, takers)?;
        self.monitor = Some((control, monitor, sampler));
        Ok(())
    }

    #[cfg(feature = "admin")]
    fn open_admin(&mut self, config: &Config, monitor: Arc<ServerMonitor>) -> Result<(), StartError> {
        let ports: Vec<_> = self.ports.iter().flat_map(|port| port.addresses().iter().copied()).collect();
        let AdminBound { addresses, host, token, unavailable } =
            bind_admin_server(config, &ports, Purpose::Serve)?;
        unavailable.iter().for_each(|default| log::warn!("{}", default.warning.message));
        if addresses.tcp.is_empty() && addresses.unix.is_none() {
            return Ok(());
        }
        let has_no_socket = config.admin_socket.value == AdminSocket::Auto && config.file.is_none();
        if has_no_socket && token.is_none() {
            log::info!(
                "no admin socket: the server has no settings file (Admin_Socket), so it takes no commands"
            );
        }
        self.admin_socket = addresses.unix.as_ref().map(|unix| unix.path().to_path_buf());
        self.admin = Some(AdminServer::open(addresses, host, token, config.admin_timeout, monitor)?);
        Ok(())
    }

    /// Returns the address of the admin server; `None` if it listens on none.
    #[cfg(feature = "admin")]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(AdminServer::address)
    }

    /// Returns the Unix socket of the admin server; `None` if there is none.
    #[cfg(feature = "admin")]
    pub fn admin_socket(&self) -> Option<&Path> {
        self.admin_socket.as_deref()
    }

    /// Returns the view of this server that an administrator has.
    pub fn monitor(&self) -> &Arc<ServerMonitor> {
        let (_, monitor, _) = self.monitor.as_ref().expect("it is set when the server starts");
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
        let product = Arc::clone(&self.product);
        ServerInfo { product, shared, sessions, ports, started: self.started }
    }

    /// Returns the name and version that the server shows: see [`Server::named`](super::Server::named).
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Returns the ports, in the order of the INI.
    pub fn ports(&self) -> &[PortHandle] {
        &self.ports
    }

    /// Returns the port of this name, whatever the case of its letters; `None` if it is not in `Ports`.
    pub fn port(&self, name: &str) -> Option<&PortHandle> {
        self.ports.iter().find(|port| port.name().eq_ignore_ascii_case(name))
    }

    /// Returns the address of the first port.
    pub fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    /// Returns the most connections at once over all ports, by the descriptors that this process may hold; the next is
    /// refused. `usize::MAX` where there is no limit. Other descriptors of this process, those of other servers in it
    /// included, are not counted: `Server_Descriptor_Reserve` is for that.
    pub fn connections_max(&self) -> usize {
        self.connection_limiter.connections_max()
    }

    /// Returns the permits in use: handlers that run, and workers that have just ended one or are about to begin one.
    pub fn permits_out(&self) -> u32 {
        self.shared.throttle.permits().0
    }

    /// Returns the most permits that were ever in use at once; never more than `Server_Max_Concurrent_Trans`.
    pub fn permits_peak(&self) -> u32 {
        self.shared.throttle.permits().1
    }

    /// Returns the number of calls admitted and not yet answered, over all ports.
    pub fn in_flight(&self) -> usize {
        self.ports.iter().map(PortHandle::in_flight).sum()
    }

    /// Returns the number of sessions: one of each connection, and those that clients opened.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the number of sessions closed so far because they were not used for `Server_Session_Timeout`, and
    /// because there were more than `Server_MaxSessions`.
    pub fn sessions_dropped(&self) -> (u64, u64) {
        self.sessions.dropped()
    }

    /// Refuses new sessions from now on, as `Server_Restricted` does, or accepts them again. Existing sessions go on.
    pub fn restrict(&self, restricted: bool) {
        self.sessions.restrict(restricted);
    }

    /// Stops in order within `Server_Shutdown_Timeout`: accepts no new connections and calls, finishes calls in flight,
    /// sends the replies, closes. Blocks until then.
    pub fn stop(mut self) -> Stopped {
        // An administrator may have changed it.
        let config = self.monitor.as_ref().map(|(control, ..)| control.config());
        let timeout = config.map_or(self.shutdown_timeout, |config| config.shutdown_timeout.value);
        self.shut_down(timeout)
    }

    /// Like [`RunningServer::stop`], with another time for calls in flight.
    pub fn stop_within(mut self, timeout: Duration) -> Stopped {
        self.shut_down(timeout)
    }

    fn shut_down(&mut self, timeout: Duration) -> Stopped {
        self.stopped = true;
        let deadline = Instant::now() + timeout.min(SHUTDOWN_TIMEOUT_MAX);
        self.advance(|| ListenerCommand::Drain, |reached| reached.is_of_server() || reached.has_ended());
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
        for port in &self.ports {
            port.listener.await_shutdown(Shutdown::has_ended, close_by + EXIT_MAX);
            if !port.listener.shutdown().has_ended() {
                log::error!("port {}: its listener has not ended", port.port.name);
            }
        }
        let workers: usize = self.ports.iter().map(PortHandle::workers).sum();
        let exit_max = if stopped.unfinished > 0 { REFUSE_MAX } else { EXIT_MAX };
        self.shared.await_exits(workers, Instant::now() + exit_max);
        self.sessions.close_all();
        self.shared.services.worker_values().close();
        self.stop_hooks.run();
        stopped
    }

    /// Moves all listeners on with the stop, and waits until they have `reached` it.
    fn advance(&self, command: fn() -> ListenerCommand, reached: fn(Shutdown) -> bool) {
        for port in &self.ports {
            port.listener.send(command());
        }
        for port in &self.ports {
            // A listener never blocks; the bound is there for a defect.
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

impl Drop for RunningServer {
    fn drop(&mut self) {
        if !self.stopped {
            self.shut_down(Duration::ZERO);
        }
    }
}
