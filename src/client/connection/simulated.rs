//! Socket and reactor under a model checker, in place of `transport` and `reactor`: bytes in memory, whose waits the
//! checker sees. Waits with a deadline wait without end.

use super::read_source::{Interest, ReadSource};
use crate::service::ClientError;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub(super) const WRITE_SLICE: Duration = Duration::MAX;

/// Both ends of a socket.
#[derive(Debug, Clone)]
pub(super) struct ClientTransport {
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    state: Mutex<WireState>,
    changed: Condvar,
}

#[derive(Debug)]
struct WireState {
    to_client: VecDeque<u8>,
    to_server: Vec<u8>,
    ended: bool,
    interest: Interest,
}

impl Default for WireState {
    fn default() -> WireState {
        WireState {
            to_client: VecDeque::new(),
            to_server: Vec::new(),
            ended: false,
            interest: Interest::Nothing,
        }
    }
}

/// A source that no reactor checks.
#[derive(Debug)]
pub(super) struct Registration;

impl Registration {
    pub(super) fn new() -> Result<Registration, ClientError> {
        Ok(Registration)
    }

    pub(super) fn attach(&self, _: Weak<dyn ReadSource>) {}

    pub(super) fn change(&self, transport: &ClientTransport, _: Interest, to: Interest) -> io::Result<()> {
        transport.wire.state.lock().interest = to;
        transport.wire.changed.notify_all();
        Ok(())
    }

    pub(super) fn alarm(&self, _: Instant) {}
}

impl ClientTransport {
    pub(super) fn new(_: TcpStream) -> io::Result<ClientTransport> {
        Ok(ClientTransport::simulated())
    }

    pub(super) fn simulated() -> ClientTransport {
        ClientTransport { wire: Arc::default() }
    }

    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.wire.state.lock().take(buffer))
    }

    pub(super) fn read(&self, buffer: &mut [u8], _: Option<Instant>, _: bool) -> io::Result<Option<usize>> {
        let mut state = self.wire.state.lock();
        loop {
            if let Some(bytes) = state.take(buffer) {
                return Ok(Some(bytes));
            }
            self.wire.changed.wait(&mut state);
        }
    }

    pub(super) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.state.lock().to_server.extend_from_slice(bytes);
        self.wire.changed.notify_all();
        Ok(bytes.len())
    }

    pub(super) fn shut_down(&self) {
        self.wire.state.lock().ended = true;
        self.wire.changed.notify_all();
    }
}

/// The server's end and the reactor's wait, for the models.
#[cfg(test)]
impl ClientTransport {
    /// The server waits for so many bytes, and takes them.
    pub(super) fn receive(&self, bytes: usize) -> Vec<u8> {
        let mut state = self.wire.state.lock();
        while state.to_server.len() < bytes {
            self.wire.changed.wait(&mut state);
        }
        state.to_server.drain(..bytes).collect()
    }

    /// The server sends.
    pub(super) fn reply(&self, bytes: &[u8]) {
        self.wire.state.lock().to_client.extend(bytes);
        self.wire.changed.notify_all();
    }

    /// The reactor waits until there is something it is registered for. Returns whether the stream has ended.
    pub(super) fn await_event(&self) -> bool {
        let mut state = self.wire.state.lock();
        loop {
            if state.ended {
                return true;
            }
            if state.interest == Interest::Bytes && !state.to_client.is_empty() {
                return false;
            }
            self.wire.changed.wait(&mut state);
        }
    }
}

impl WireState {
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let bytes = self.to_client.len().min(buffer.len());
        if bytes == 0 {
            return self.ended.then_some(0);
        }
        for (to, from) in buffer.iter_mut().zip(self.to_client.drain(..bytes)) {
            *to = from;
        }
        Some(bytes)
    }
}
