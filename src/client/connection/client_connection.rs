//! A connection as its users hold it: calls are sent, waited for, cancelled and abandoned.
//!
//! Invariants: a call is in flight from before its first byte is written until it has its outcome or is abandoned.
//! Users hold [`ClientConnection`] and threads only [`Core`], so the last user's drop closes the socket.
//!
//! Knows calls by number and bytes; knows no types, no reconnecting and no addresses.

use super::call_slot::{CallOutcome, CallSlot};
use super::core::{Core, Phase, ServerMethod};
use super::in_flight::{InFlightCall, Waiter};
use super::transport::ClientTransport;
use crate::proto::client::{self, ClientProtocol};
use crate::service::ClientError;
use crate::service::blocking;
use crate::sync::{Arc, Ordering};
use crate::wire::FrameKind;
use crate::wire::body::Welcome;
use std::net::TcpStream;
use std::time::Instant;

/// A connection as its users hold it.
#[derive(Debug)]
pub(in crate::client) struct ClientConnection(Arc<Core>);

/// A call as it is sent.
pub(in crate::client) struct EncodedCall {
    pub(in crate::client) call: u64,
    /// Number of its session on this connection; 0 is the connection's own.
    pub(in crate::client) session: u32,
    /// Whether a handler makes it.
    pub(in crate::client) nested: bool,
    pub(in crate::client) frame: Vec<u8>,
    pub(in crate::client) deadline: Option<Instant>,
    pub(in crate::client) waiter: Waiter,
}

/// Why a call was not sent on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum NotSent {
    /// The connection no longer takes calls; another one may.
    Closed,
    /// There was no room for the call in time.
    Late,
}

impl ClientConnection {
    /// A connection after its handshake. `protocol` may hold bytes that came after the Welcome.
    ///
    /// # Errors
    /// [`ClientError::NoThread`], [`ClientError::Disconnected`].
    pub(in crate::client) fn new(
        stream: TcpStream,
        welcome: Welcome,
        protocol: ClientProtocol,
        reply_bytes_max: usize,
    ) -> Result<ClientConnection, ClientError> {
        let transport =
            ClientTransport::new(stream).map_err(|error| ClientError::unsent(error.to_string()))?;
        Core::start(transport, welcome, protocol, reply_bytes_max).map(ClientConnection)
    }

    /// The connection of a model.
    #[cfg(all(test, any(loom, shuttle)))]
    pub(super) fn of(core: Arc<Core>) -> ClientConnection {
        ClientConnection(core)
    }

    /// The part that the reactor and other threads hold.
    #[cfg(all(test, any(loom, shuttle)))]
    pub(super) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.0)
    }

    /// Returns whether the connection seems to take calls; [`ClientConnection::send`] decides.
    pub(in crate::client) fn is_open(&self) -> bool {
        // Relaxed: a hint; the state behind the lock decides.
        self.0.phase.load(Ordering::Relaxed) == Phase::Open as u32
    }

    /// Returns whether the connection takes calls of handlers only.
    pub(in crate::client) fn is_draining(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == Phase::Draining as u32
    }

    /// The server's method of this name.
    pub(in crate::client) fn method(&self, name: &str) -> Option<&ServerMethod> {
        self.0.methods.get(name)
    }

    /// Names of all methods, in no order.
    pub(in crate::client) fn method_names(&self) -> impl Iterator<Item = &str> {
        self.0.methods.keys().map(String::as_str)
    }

    /// Name of the method with this number.
    pub(in crate::client) fn method_name(&self, number: u16) -> &str {
        let found = self.0.methods.iter().find(|(_, method)| method.number == number);
        found.map_or("", |(name, _)| name)
    }

    /// Largest body of a Call, in bytes.
    pub(in crate::client) fn call_bytes_max(&self) -> usize {
        self.0.call_bytes_max
    }

    /// Registers a call and sends its frame, or leaves it to the thread that writes. The reply, or the error that
    /// closes the connection, goes to `slot`. Blocks while too much waits to be written, at most until `send_by`.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(in crate::client) fn send(
        &self,
        call: EncodedCall,
        slot: &Arc<CallSlot>,
        send_by: Option<Instant>,
    ) -> Result<(), NotSent> {
        let EncodedCall { call, session, nested, mut frame, deadline, waiter } = call;
        let core = &self.0;
        let mut state = core.state.lock();
        while state.takes_calls(nested) && !state.queue.has_room(frame.len()) {
            drop(state);
            blocking(|| core.await_room(frame.len(), nested, send_by))?;
            state = core.state.lock();
        }
        if !state.takes_calls(nested) {
            return Err(NotSent::Closed);
        }
        state.nested |= nested;
        client::stamp_call(&mut frame, call, session, deadline.map_or(0, ms_left));
        let last_byte = state.queue.push(frame);
        let alarm =
            state.register(call, InFlightCall { slot: Arc::clone(slot), last_byte, deadline, waiter });
        core.update_interest(&mut state);
        // Beside other calls, the reader that is awake writes this one too, before it waits, or the task that takes the
        // last outcome of those just delivered. A lone call is never left.
        let left = state.calls.len() > 1 && state.calls.reader_writes(core.unclaimed.get() > 0);
        if left {
            core.left.store(true, Ordering::Relaxed);
        }
        let chunk = if left { Vec::new() } else { state.queue.begin_write() };
        drop(state);
        core.write(chunk);
        if let Some(alarm) = alarm {
            core.registration.alarm(alarm);
        }
        Ok(())
    }

    /// Blocks until a call has its outcome or `until` passes; reads meanwhile, if no other thread does. The call is
    /// one that waits from now on to be polled, if there is no outcome.
    pub(in crate::client) fn wait(
        &self,
        call: u64,
        slot: &CallSlot,
        until: Option<Instant>,
    ) -> Option<CallOutcome> {
        self.0.wait(call, slot, until)
    }

    /// To be called when a task has taken its outcome: after the last of those delivered together, writes what was
    /// left.
    pub(in crate::client) fn claimed(&self) {
        let core = &self.0;
        if core.left.load(Ordering::Relaxed) && core.unclaimed.get() == 0 {
            core.left.store(false, Ordering::Relaxed);
            let chunk = core.state.lock().queue.begin_write();
            // A poll must not block.
            core.write_now(chunk);
        }
    }

    /// Returns the buffer of an answer that was decoded.
    pub(in crate::client) fn give_buffer(&self, buffer: Vec<u8>) {
        self.0.give_buffer(buffer);
    }

    /// Abandons a call: its reply will be dropped, and a Cancel is sent if the socket takes it at once. `late` when
    /// its deadline passed.
    pub(in crate::client) fn abandon(&self, call: u64, late: bool) {
        let core = &self.0;
        let mut state = core.state.lock();
        if state.calls.remove(call).is_none() {
            return;
        }
        state.signal(FrameKind::Cancel, call);
        if late {
            core.probe(&mut state);
        }
        let done = state.is_done();
        let check = if state.calls.len() == 0 { state.begin_checks() } else { None };
        let chunk = state.queue.begin_write();
        drop(state);
        core.write(chunk);
        if let Some(at) = check {
            core.registration.alarm(at);
        }
        if done {
            core.shut_down();
        }
    }

    /// Sends a Cancel for a call that is still waited for.
    pub(in crate::client) fn cancel(&self, call: u64) {
        let core = &self.0;
        let mut state = core.state.lock();
        if !state.calls.contains(call) {
            return;
        }
        state.signal(FrameKind::Cancel, call);
        let chunk = state.queue.begin_write();
        drop(state);
        core.write(chunk);
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

/// Milliseconds left until `deadline`; rounded up, so that a call with a deadline never looks like one without; at
/// most 49 days.
fn ms_left(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}
