//! Accepting, and what to do when the system will not let us.
//!
//! One descriptor is kept to spare. When there is no other it is given up for the next client, who can so be told that
//! there is none for it, instead of waiting in the backlog for an answer that does not come.

use crate::pool::PortShared;
use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections accepted in one turn; then those already there are served.
const ACCEPTS_MAX: usize = 64;

/// After a failure for want of memory, or of descriptors when even the spare one is gone. An edge-triggered poll does
/// not tell again of clients left in the backlog, so they are looked for.
const RETRY: Duration = Duration::from_millis(50);

/// After so long without a failure it is over.
const QUIET: Duration = Duration::from_secs(1);

/// A client that was in the backlog.
#[derive(Debug)]
pub(super) enum Accepted {
    /// With a descriptor of its own.
    Client(TcpStream, SocketAddr),
    /// With the spare one, which is needed back at once.
    Surplus(TcpStream),
}

#[derive(Debug)]
pub(super) struct Acceptor {
    /// One for each address of the port; none once it is closed.
    sockets: Vec<TcpListener>,
    /// Whose turn it is, and how many before it had nobody.
    at: usize,
    empty: usize,
    /// May a backlog hold clients?
    ready: bool,
    accepted: usize,
    /// Accepting failed, and nothing is known to end that; when to try again.
    retry: Option<Instant>,
    spare: Option<File>,
    /// Accepting fails, or failed not long ago.
    failing: Option<Failing>,
}

/// A time in which accepting failed.
#[derive(Debug)]
struct Failing {
    last: Instant,
    failures: u64,
}

impl Acceptor {
    pub(super) fn new(sockets: Vec<TcpListener>) -> Acceptor {
        Acceptor {
            sockets,
            at: 0,
            empty: 0,
            ready: false,
            accepted: 0,
            retry: None,
            spare: spare(),
            failing: None,
        }
    }

    /// The poll says there are clients.
    pub(super) fn set_ready(&mut self) {
        (self.ready, self.empty) = (!self.sockets.is_empty(), 0);
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
        (self.ready, self.retry, self.spare) = (false, None, None);
        self.sockets.clear();
    }

    /// The next client; `None` when there is none, or for this turn enough. A [`Accepted::Surplus`] must be closed
    /// before the next.
    pub(super) fn accept(&mut self, port: &PortShared) -> Option<Accepted> {
        if !self.ready {
            return None;
        }
        let due = self.retry.is_none_or(|at| at <= Instant::now());
        while self.ready && due && self.accepted < ACCEPTS_MAX {
            self.spare = self.spare.take().or_else(spare);
            match self.sockets[self.at].accept() {
                Ok((stream, peer)) => {
                    self.recovered(port);
                    self.took_one();
                    return Some(Accepted::Client(stream, peer));
                }
                Err(error) if is_nobody(&error) => self.found_nobody(),
                Err(error) if is_lost(&error) => {}
                // The system looks for a descriptor before it looks for a client, so perhaps there is none.
                Err(error) if lacks_descriptors(&error) && self.spare.take().is_some() => {
                    match self.sockets[self.at].accept() {
                        Ok((stream, _)) => {
                            self.failed(port, &error);
                            self.retry = None;
                            self.took_one();
                            return Some(Accepted::Surplus(stream));
                        }
                        Err(error) if is_nobody(&error) => self.found_nobody(),
                        Err(error) if is_lost(&error) => {}
                        Err(error) => return self.wait(port, &error),
                    }
                }
                Err(error) => return self.wait(port, &error),
            }
        }
        self.spare = self.spare.take().or_else(spare);
        self.accepted = 0;
        None
    }

    /// The next is of another address, if one has clients.
    fn took_one(&mut self) {
        self.accepted += 1;
        (self.at, self.empty) = ((self.at + 1) % self.sockets.len(), 0);
    }

    /// A backlog is empty; once all are, the poll tells when that is over.
    fn found_nobody(&mut self) {
        (self.at, self.empty) = ((self.at + 1) % self.sockets.len(), self.empty + 1);
        if self.empty == self.sockets.len() {
            (self.ready, self.retry) = (false, None);
        }
    }

    /// Nothing can be done but to try again.
    fn wait(&mut self, port: &PortShared, error: &Error) -> Option<Accepted> {
        self.failed(port, error);
        self.retry = Some(Instant::now() + RETRY);
        self.accepted = 0;
        None
    }

    fn failed(&mut self, port: &PortShared, error: &Error) {
        port.stats.accept_failed.add(1);
        let now = Instant::now();
        let failing = self.failing.get_or_insert_with(|| {
            log::warn!("port {}: connections cannot be accepted for now: {error}", port.name);
            Failing { last: now, failures: 0 }
        });
        (failing.last, failing.failures) = (now, failing.failures + 1);
    }

    fn recovered(&mut self, port: &PortShared) {
        self.retry = None;
        if let Some(Failing { failures, .. }) =
            self.failing.take_if(|failing| failing.last.elapsed() >= QUIET)
        {
            log::info!("port {}: connections are accepted again; that failed {failures} times", port.name);
        }
    }
}

/// Nobody is in the backlog.
fn is_nobody(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// The client gave up before it was accepted; the next one may be there.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// The process has no descriptor left, or the whole system has none.
fn lacks_descriptors(error: &Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// A descriptor that serves for nothing but to be given up.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
