//! Accepting, and what to do when the system will not let us.

use crate::pool::PortShared;
use mio::net::{TcpListener, TcpStream};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections accepted in one turn; then those already there are served.
const ACCEPTS_MAX: usize = 64;

/// After a failure for want of descriptors or memory. An edge-triggered poll does not tell again of clients left
/// in the backlog, so they are looked for.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Acceptor {
    socket: Option<TcpListener>,
    /// May the backlog hold clients?
    ready: bool,
    accepted: usize,
    /// Accepting failed; when to try again.
    retry: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(socket: TcpListener) -> Acceptor {
        Acceptor { socket: Some(socket), ready: false, accepted: 0, retry: None }
    }

    /// The poll says there are clients.
    pub(super) fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Are there clients left to be accepted at once?
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.retry.is_none()
    }

    /// When to try again after a failure.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        self.retry.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Takes no more connections.
    pub(super) fn close(&mut self) {
        (self.socket, self.ready, self.retry) = (None, false, None);
    }

    /// The next client; `None` when there is none, or for this turn enough.
    pub(super) fn accept(&mut self, port: &PortShared) -> Option<(TcpStream, SocketAddr)> {
        let due = self.retry.is_none_or(|at| at <= Instant::now());
        while self.ready && due && self.accepted < ACCEPTS_MAX {
            let socket = self.socket.as_ref()?;
            match socket.accept() {
                Ok(client) => {
                    self.recovered(port);
                    self.accepted += 1;
                    return Some(client);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.recovered(port);
                    self.ready = false;
                }
                // The client gave up before it was accepted; the next one may be there.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    port.stats.accept_failed.add(1);
                    if self.retry.replace(Instant::now() + RETRY).is_none() {
                        log::warn!("port {}: connections cannot be accepted for now: {error}", port.name);
                    }
                    break;
                }
            }
        }
        self.accepted = 0;
        None
    }

    fn recovered(&mut self, port: &PortShared) {
        if self.retry.take().is_some() {
            log::info!("port {}: connections are accepted again", port.name);
        }
    }
}
