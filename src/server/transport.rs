//! The seam between a socket's bytes and the protocol's bytes.
//!
//! Everything above it sees plain bytes; TLS will stand here, with its state behind a lock that the listener's
//! reads and whoever flushes share. Both directions take `&self` and never block.

use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::Shutdown;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
}

impl Transport {
    /// Bytes into `buffer`; 0 when the peer has closed. [`ErrorKind::WouldBlock`] when there are none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let Transport::Plain(stream) = self;
        uninterrupted(|| (&*stream).read(buffer))
    }

    /// As many of `bytes` as the socket takes. [`ErrorKind::WouldBlock`] when it takes none.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<usize> {
        let Transport::Plain(stream) = self;
        uninterrupted(|| (&*stream).write(bytes))
    }

    /// No more bytes will be sent.
    pub(super) fn finish(&self) -> Result<()> {
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
