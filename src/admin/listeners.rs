//! Sockets of the admin server, and the loops that accept connections.

use super::auth::AdminPeer;
use super::connection::Endpoint;
use super::state::AdminState;
use super::unix_socket::UnixSocket;
use crate::sync::Arc;
use std::io::{Error, Result};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

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
pub(super) fn serve(
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    state: &Arc<AdminState>,
) -> Vec<JoinHandle<()>> {
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

/// User id of the peer.
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
