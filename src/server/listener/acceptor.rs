//! Accepts connections, also when the system has no descriptor for them.
//!
//! One spare descriptor is kept open. When there is no other, it is closed for the next client, which can so be
//! refused, instead of waiting in the backlog for an answer that does not come.

use crate::pool::PortShared;
use mio::Token;
use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The token of the listening sockets, whose generation no connection's reaches.
pub(in crate::server) const ACCEPT: Token = Token(usize::MAX);

/// Connections accepted in one turn; then those already there are served.
const ACCEPTS_MAX: usize = 64;

/// Pause after a failure for want of memory, or of descriptors when even the spare one is gone. An edge-triggered poll
/// does not report clients left in the backlog again, so accepting is retried.
const RETRY: Duration = Duration::from_millis(50);

/// Accepting has recovered after this time without a failure.
const QUIET: Duration = Duration::from_secs(1);

/// A connection taken from the backlog.
#[derive(Debug)]
pub(super) enum Accepted {
    /// With a descriptor of its own.
    Client(TcpStream, SocketAddr),
    /// With the spare descriptor, which is needed back at once.
    Overflow(TcpStream),
}

/// The listening sockets of a port.
#[derive(Debug)]
pub(in crate::server) struct Acceptor {
    /// One for each address of the port; none once it is closed.
    sockets: Vec<TcpListener>,
    /// Index of the next socket to accept from.
    at: usize,
    /// Sockets in a row before it whose backlog was empty.
    empty: usize,
    /// A backlog may hold clients.
    ready: bool,
    accepted: usize,
    /// Time to try again after a failure that no event ends.
    retry: Option<Instant>,
    spare: Option<File>,
    /// Set while accepting fails, and until it has recovered.
    failing: Option<Failing>,
}

/// A period in which accepting fails.
#[derive(Debug)]
struct Failing {
    last: Instant,
    failures: u64,
}

impl Acceptor {
    pub(in crate::server) fn new(sockets: Vec<TcpListener>) -> Acceptor {
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

    /// The poll reports clients.
    pub(super) fn set_ready(&mut self) {
        (self.ready, self.empty) = (!self.sockets.is_empty(), 0);
    }

    /// Returns whether there may be clients left to accept at once.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.retry.is_none()
    }

    /// Returns the time until accepting is tried again after a failure.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        self.retry.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Closes the listening sockets.
    pub(super) fn close(&mut self) {
        (self.ready, self.retry, self.spare) = (false, None, None);
        self.sockets.clear();
    }

    /// Returns the next connection; `None` when there is none, or enough for this turn. A [`Accepted::Overflow`] must
    /// be closed before the next.
    pub(super) fn accept(&mut self, port: &PortShared) -> Option<Accepted> {
        if !self.ready {
            return None;
        }
        let due = self.retry.is_none_or(|at| at <= Instant::now());
        while self.ready && due && self.accepted < ACCEPTS_MAX {
            self.spare = self.spare.take().or_else(spare);
            let (mut found, mut shortage) = (self.sockets[self.at].accept(), None);
            // The system looks for a descriptor before it looks for a client, so there may be no client.
            if found.as_ref().is_err_and(lacks_descriptors) && self.spare.take().is_some() {
                shortage = std::mem::replace(&mut found, self.sockets[self.at].accept()).err();
            }
            match (found, shortage) {
                (Ok((stream, peer)), None) => {
                    self.recovered(port);
                    self.took_one();
                    return Some(Accepted::Client(stream, peer));
                }
                (Ok((stream, _)), Some(error)) => {
                    self.failed(port, &error);
                    self.retry = None;
                    self.took_one();
                    return Some(Accepted::Overflow(stream));
                }
                (Err(error), _) if is_empty(&error) => self.found_none(),
                (Err(error), _) if is_lost(&error) => {}
                (Err(error), _) => return self.wait(port, &error),
            }
        }
        self.spare = self.spare.take().or_else(spare);
        self.accepted = 0;
        None
    }

    /// Turns to the next socket after a client.
    fn took_one(&mut self) {
        self.accepted += 1;
        (self.at, self.empty) = ((self.at + 1) % self.sockets.len(), 0);
    }

    /// Turns to the next socket after an empty backlog; once all are empty, the poll reports when that is over.
    fn found_none(&mut self) {
        (self.at, self.empty) = ((self.at + 1) % self.sockets.len(), self.empty + 1);
        if self.empty == self.sockets.len() {
            (self.ready, self.retry) = (false, None);
        }
    }

    /// Waits before the next try.
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
            log::warn!("port {}: accept failed, retrying: {error}", port.name);
            Failing { last: now, failures: 0 }
        });
        (failing.last, failing.failures) = (now, failing.failures + 1);
    }

    fn recovered(&mut self, port: &PortShared) {
        self.retry = None;
        if let Some(Failing { failures, .. }) =
            self.failing.take_if(|failing| failing.last.elapsed() >= QUIET)
        {
            log::info!("port {}: accept recovered, failures={failures}", port.name);
        }
    }
}

/// Returns whether the backlog is empty.
fn is_empty(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Returns whether the client closed before it was accepted; the next one may be there.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// Returns whether the process, or the whole system, has no descriptor left.
fn lacks_descriptors(error: &Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Opens a descriptor that can be closed for a client's.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
