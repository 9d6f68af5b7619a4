//! The bytes of a socket, between the system and the protocol.
//!
//! Everything above sees plain bytes; TLS belongs here, with its state behind a lock that reads and writes share. Both
//! directions take `&self` and never block.

use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::Shutdown;

/// The socket of a connection.
#[derive(Debug)]
pub(in crate::server) enum Transport {
    Plain(TcpStream),
}

impl Transport {
    /// Reads into `buffer`. Returns 0 when the peer has closed; [`ErrorKind::WouldBlock`] when there are no bytes.
    pub(in crate::server) fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let Transport::Plain(stream) = self;
        uninterrupted(|| (&*stream).read(buffer))
    }

    /// Sends as many of `bytes` as the socket takes; [`ErrorKind::WouldBlock`] when it takes none.
    pub(in crate::server) fn send(&self, bytes: &[u8]) -> Result<usize> {
        let Transport::Plain(stream) = self;
        uninterrupted(|| (&*stream).write(bytes))
    }

    /// Shuts down the sending side.
    pub(in crate::server) fn finish(&self) -> Result<()> {
        let Transport::Plain(stream) = self;
        stream.shutdown(Shutdown::Write)
    }
}

fn uninterrupted(mut io: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match io() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
