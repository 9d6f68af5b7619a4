//! The bytes of a client's socket, between the system and the protocol: TLS belongs here.
//!
//! All methods take `&self`: one thread reads while another writes. A socket that takes or has nothing is no error: 0
//! bytes were written, or `None` was read.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::time::Timespec;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Longest time that a thread writes to a socket that takes nothing. The write timeout of the socket.
pub(super) const WRITE_SLICE: Duration = Duration::from_millis(20);

/// Longest time of a wait in a read. The read timeout of the socket: so most waits are one system call.
const READ_SLICE: Duration = Duration::from_millis(20);

/// The socket of a connection after its handshake.
#[derive(Debug)]
pub(super) struct ClientTransport(TcpStream);

impl ClientTransport {
    /// # Errors
    /// The system refused a socket option.
    pub(super) fn new(stream: TcpStream) -> io::Result<ClientTransport> {
        stream.set_read_timeout(Some(READ_SLICE))?;
        stream.set_write_timeout(Some(WRITE_SLICE))?;
        Ok(ClientTransport(stream))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.0
    }

    /// Reads the bytes that are there; 0 at the end of the stream.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        none_if_empty(recv(&self.0, buffer, RecvFlags::DONTWAIT).map(|(_, bytes)| bytes))
    }

    /// Blocks until there are bytes, and reads them; returns 0 at the end of the stream, and `None` when `until` has
    /// passed. Without `patient` it may return `None` before.
    pub(super) fn read(
        &self,
        buffer: &mut [u8],
        until: Option<Instant>,
        patient: bool,
    ) -> io::Result<Option<usize>> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // The system rounds the socket's own timeout up by some milliseconds.
        if !patient && left.is_none_or(|left| left >= 2 * READ_SLICE) {
            return none_if_empty(recv(&self.0, buffer, RecvFlags::empty()).map(|(_, bytes)| bytes));
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(None),
            Ok(_) => self.read_now(buffer),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what the socket takes at once.
    pub(super) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        none_if_empty(retry_on_intr(|| send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)))
            .map(Option::unwrap_or_default)
    }

    /// Writes what the socket takes within [`WRITE_SLICE`].
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        none_if_empty(retry_on_intr(|| send(&self.0, bytes, SendFlags::NOSIGNAL)))
            .map(Option::unwrap_or_default)
    }

    /// Ends reading and writing, also that of a thread that blocks in it. An error means that they have ended.
    pub(super) fn shut_down(&self) {
        self.0.shutdown(Shutdown::Both).ok();
    }
}

fn none_if_empty(done: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
