//! The thread of the admin server: start, the loops that accept connections, and shutdown on drop.

use super::auth::{AdminPeer, Auth, Token};
use super::command_threads::CommandThreads;
use super::connection::Endpoint;
use super::routes::{AdminState, SocketIdentity};
use super::unix_socket::UnixSocket;
use crate::monitor::ServerMonitor;
use crate::sync::Arc;
use std::io::{Error, Result};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task;

/// Commands with full access that run at once.
const COMMANDS_MAX: u32 = 4;

/// Threads for read-only commands and for /metrics.
const READERS: u32 = 2;

/// Read-only commands and /metrics that may wait for those threads.
const READS_WAITING_MAX: u32 = 62;

/// Time that the shutdown waits for responses to running commands.
const RESPONSES_WAIT_MAX: Duration = Duration::from_millis(250);

/// A listening admin server. Dropping it closes it.
#[derive(Debug)]
pub struct AdminServer {
    address: Option<SocketAddr>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Starts to serve. The token, or at the Unix socket the server's own user and root, give full access; without a
    /// token others have read-only access. `name` is the host name of the server. `timeout` is the time for a peer to
    /// send a head, to send a body, and to read a response, each.
    ///
    /// # Errors
    /// The system cannot create a poll or a thread.
    pub fn open(
        listeners: AdminListeners,
        name: String,
        token: Option<Token>,
        timeout: Duration,
        monitor: Arc<ServerMonitor>,
    ) -> Result<AdminServer> {
        let address = listeners.tcp.first().map(TcpListener::local_addr).transpose()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (shutdown, end) = oneshot::channel();
        let state = Arc::new(AdminState {
            monitor,
            auth: Auth::new(token, name),
            timeout,
            socket: listeners.unix.as_ref().map(identity).transpose()?,
            commands: CommandThreads::start("admin-command", COMMANDS_MAX, 0)?,
            reads: CommandThreads::start("admin-look", READERS, READS_WAITING_MAX)?,
        });
        let run = move || run(&runtime, listeners, &state, end);
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(AdminServer { address, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// First TCP address; `None` if it listens only at its Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("admin server: thread panicked");
        }
    }
}

fn run(runtime: &Runtime, listeners: AdminListeners, state: &Arc<AdminState>, end: oneshot::Receiver<()>) {
    let AdminListeners { tcp, unix } = listeners;
    let (unix, _file) = unix.map(|unix| (unix.listener, unix.file)).unzip();
    runtime.block_on(async move {
        let serving = serve(tcp, unix, state);
        // The sender is dropped without a message.
        end.await.ok();
        serving.iter().for_each(task::JoinHandle::abort);
        // A command that stops the server still gets its response: it is written in the turn in which its place is
        // given back. Long commands are not waited for.
        tokio::time::timeout(RESPONSES_WAIT_MAX, state.commands.idle()).await.ok();
    });
}

fn identity(unix: &UnixSocket) -> Result<SocketIdentity> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Error::other)?;
    let instance = format!("{:032x}", u128::from_ne_bytes(random));
    Ok(SocketIdentity { path: unix.path().to_path_buf(), instance })
}

/// Connections at `Admin_Address` at once.
const CONNECTIONS_MAX: usize = 32;

/// Connections at `Admin_Socket` at once.
const SOCKET_CONNECTIONS_MAX: usize = 8;

/// Lingering closes at once; further connections are closed at once.
const LINGERING_MAX: usize = 24;

/// Pause after an error of accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets that an admin server listens at.
#[derive(Debug)]
pub struct AdminListeners {
    /// `Admin_Address`: non-blocking, one for each of its addresses.
    pub tcp: Vec<TcpListener>,
    /// `Admin_Socket`.
    pub unix: Option<UnixSocket>,
}

/// Spawns a task for each socket.
fn serve(
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    state: &Arc<AdminState>,
) -> Vec<task::JoinHandle<()>> {
    let lingering = Arc::new(Semaphore::new(LINGERING_MAX));
    let endpoint = Arc::new(Endpoint::new(CONNECTIONS_MAX, &lingering, state));
    let tcp = tcp.into_iter().map(|listener| tokio::spawn(serve_tcp(listener, Arc::clone(&endpoint))));
    let unix = unix.map(|listener| {
        let endpoint = Endpoint::new(SOCKET_CONNECTIONS_MAX, &lingering, state);
        tokio::spawn(serve_unix(listener, endpoint))
    });
    tcp.chain(unix).collect()
}

async fn serve_tcp(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log_dead_listener(&error),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => endpoint.receive(stream, AdminPeer::Tcp(peer.ip())).await,
            Err(error) => pause(&error).await,
        }
    }
}

async fn serve_unix(listener: UnixListener, endpoint: Endpoint) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log_dead_listener(&error),
    };
    loop {
        match listener.accept().await.and_then(|(stream, _)| Ok((user(&stream)?, stream))) {
            Ok((user, stream)) => endpoint.receive(stream, AdminPeer::Unix(user)).await,
            Err(error) => pause(&error).await,
        }
    }
}

fn user(stream: &UnixStream) -> Result<u32> {
    stream.peer_cred().map(|peer| peer.uid())
}

fn log_dead_listener(error: &Error) {
    log::error!("admin server: listener failed, error={error}");
}

async fn pause(error: &Error) {
    log::warn!("admin server: accept failed, error={error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
