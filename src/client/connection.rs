//! One live connection: its socket, the threads that write and read it, and the calls in flight on it.
//!
//! A caller appends its frame to the send queue; if no thread is writing, it writes all that is queued, so calls made
//! at once by many threads travel together. The reader thread matches replies to calls. A socket that takes no more is
//! left to a helper thread, which lives until it has written everything: so no caller blocks in a write for longer
//! than [`WRITE_SLICE`], whatever its deadline.
//!
//! Invariants: a call is in `calls` from before its first byte is written until its slot is filled or it is abandoned.
//! Registering a call and closing the connection happen under one lock, so no call is registered on a closed
//! connection. That lock is never held over I/O, nor while a slot is filled or a waker called. Users hold
//! [`ClientConnection`] and the threads only [`Core`], so the last user's drop closes the socket, which ends them.
//!
//! Knows calls by number and bytes; knows no types, no reconnecting and no addresses.

use super::call_slot::{CallOutcome, CallSlot, fill_all};
use super::error::ClientError;
use super::schema_check::CheckState;
use super::send_queue::SendQueue;
use super::threads::spawn;
use crate::proto::client::{self, ClientProtocol, Event};
use crate::service::{Status, blocking};
use crate::sync::{Arc, AtomicU32, Condvar, Mutex, Ordering};
use crate::wire::FrameKind;
use crate::wire::body::{MethodEntry, Welcome};
use crate::wire::limits::BODY_BYTES_MAX;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest time a caller's thread writes to a socket that takes nothing. The write timeout of the socket.
pub(super) const WRITE_SLICE: Duration = Duration::from_millis(20);

/// A connection is taken for dead when a call is late and a Ping has had no reply, nor anything else come, for so
/// long.
const SILENCE: Duration = Duration::from_secs(3);

const THREAD_NAME: &str = "boneyard-client";

/// A connection as its users hold it.
#[derive(Debug)]
pub(super) struct ClientConnection(Arc<Core>);

/// A method of the server, as one connection knows it.
#[derive(Debug)]
pub(super) struct ServerMethod {
    /// Valid on this connection only.
    pub(super) number: u16,
    pub(super) types: CheckState,
}

/// A call as it is sent.
pub(super) struct EncodedCall {
    pub(super) call: u64,
    /// Number of its session on this connection; 0 is the connection's own.
    pub(super) session: u32,
    /// Whether a handler makes it.
    pub(super) nested: bool,
    pub(super) frame: Vec<u8>,
    pub(super) deadline: Option<Instant>,
}

/// Why a call was not sent on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    /// The connection no longer takes calls; another one may.
    Closed,
    /// There was no room for the call in time.
    Late,
}

#[derive(Debug)]
struct Core {
    stream: TcpStream,
    methods: HashMap<String, ServerMethod>,
    call_bytes_max: usize,
    reply_bytes_max: usize,
    /// The state's phase, to be read without the lock.
    phase: AtomicU32,
    state: Mutex<State>,
    /// Signalled when queued bytes were taken, or the phase has changed.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    calls: HashMap<u64, InFlightCall>,
    queue: SendQueue,
    /// Time of the last Ping, while nothing has come since.
    silent_since: Option<Instant>,
    /// Message of the server's GoAway.
    close_message: Option<String>,
    /// Whether handlers have called here.
    nested: bool,
}

/// Life of a connection; it only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Open,
    /// The server stops. Only handlers may make new calls: for transactions that the server still has in flight.
    Draining,
    /// No new calls; those in flight may still be answered.
    Retired,
    Closed,
}

#[derive(Debug)]
struct InFlightCall {
    slot: Arc<CallSlot>,
    /// Position of its frame's last byte in the send queue.
    last_byte: u64,
}

impl ClientConnection {
    /// A connection after its handshake. `protocol` may hold bytes that came after the Welcome.
    ///
    /// # Errors
    /// [`ClientError::NoThread`].
    pub(super) fn new(
        stream: TcpStream,
        welcome: Welcome,
        protocol: ClientProtocol,
        reply_bytes_max: usize,
    ) -> Result<ClientConnection, ClientError> {
        let method = |entry: MethodEntry| {
            (entry.name, ServerMethod { number: entry.number, types: CheckState::new(entry.fingerprint) })
        };
        let state = State {
            phase: Phase::Open,
            calls: HashMap::new(),
            queue: SendQueue::default(),
            silent_since: None,
            close_message: None,
            nested: false,
        };
        let core = Arc::new(Core {
            stream,
            methods: welcome.methods.into_iter().map(method).collect(),
            call_bytes_max: (welcome.body_bytes_max as usize).min(BODY_BYTES_MAX),
            reply_bytes_max,
            phase: AtomicU32::new(Phase::Open as u32),
            state: Mutex::new(state),
            room: Condvar::new(),
        });
        let reader = Arc::clone(&core);
        spawn(THREAD_NAME, move || reader.read(protocol))?;
        Ok(ClientConnection(core))
    }

    /// Returns whether the connection seems to take calls; [`ClientConnection::send`] decides.
    pub(super) fn is_open(&self) -> bool {
        // Relaxed: a hint; the state behind the lock decides.
        self.0.phase.load(Ordering::Relaxed) == Phase::Open as u32
    }

    /// Returns whether the connection takes calls of handlers only.
    pub(super) fn is_draining(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == Phase::Draining as u32
    }

    /// The server's method of this name.
    pub(super) fn method(&self, name: &str) -> Option<&ServerMethod> {
        self.0.methods.get(name)
    }

    /// Names of all methods, in no order.
    pub(super) fn method_names(&self) -> impl Iterator<Item = &str> {
        self.0.methods.keys().map(String::as_str)
    }

    /// Name of the method with this number.
    pub(super) fn method_name(&self, number: u16) -> &str {
        let found = self.0.methods.iter().find(|(_, method)| method.number == number);
        found.map_or("", |(name, _)| name)
    }

    /// Largest body of a Call, in bytes.
    pub(super) fn call_bytes_max(&self) -> usize {
        self.0.call_bytes_max
    }

    /// Registers a call and sends its frame, or leaves it to the thread that writes. The reply, or the error that
    /// closes the connection, goes to `slot`. Blocks while too much waits to be written, at most until `send_by`.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send(
        &self,
        call: EncodedCall,
        slot: &Arc<CallSlot>,
        send_by: Option<Instant>,
    ) -> Result<(), NotSent> {
        let EncodedCall { call, session, nested, mut frame, deadline } = call;
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
        state.calls.insert(call, InFlightCall { slot: Arc::clone(slot), last_byte });
        let chunk = state.queue.begin_write();
        drop(state);
        core.write(chunk);
        Ok(())
    }

    /// Abandons a call: its reply will be dropped, and a Cancel is sent if the socket takes it at once. `late` when
    /// its deadline passed.
    pub(super) fn abandon(&self, call: u64, late: bool) {
        let core = &self.0;
        let mut state = core.state.lock();
        if state.calls.remove(&call).is_none() {
            return;
        }
        state.signal(FrameKind::Cancel, call);
        if late {
            core.probe(&mut state);
        }
        let done = state.is_done();
        let chunk = state.queue.begin_write();
        drop(state);
        core.write(chunk);
        if done {
            core.shut_down();
        }
    }

    /// Sends a Cancel for a call that is still waited for.
    pub(super) fn cancel(&self, call: u64) {
        let core = &self.0;
        let mut state = core.state.lock();
        if !state.calls.contains_key(&call) {
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

impl Core {
    /// Waits until so many bytes have room, or the connection no longer takes calls.
    fn await_room(&self, bytes: usize, nested: bool, send_by: Option<Instant>) -> Result<(), NotSent> {
        let mut state = self.state.lock();
        while state.takes_calls(nested) && !state.queue.has_room(bytes) {
            match send_by {
                None => self.room.wait(&mut state),
                Some(send_by) if Instant::now() >= send_by => return Err(NotSent::Late),
                Some(send_by) => {
                    self.room.wait_until(&mut state, send_by);
                }
            }
        }
        Ok(())
    }

    /// Ends both threads' I/O; the reader then closes the connection. An error means that it is closed already.
    fn shut_down(&self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// Probes the server when a call is late: sends a Ping, and retires the connection if one has had no reply for
    /// long.
    fn probe(&self, state: &mut State) {
        match state.silent_since {
            None => {
                state.signal(FrameKind::Ping, 0);
                state.silent_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= SILENCE => self.advance(state, Phase::Retired),
            Some(_) => {}
        }
    }

    /// Moves the connection on to `phase`, unless it is there or beyond.
    fn advance(&self, state: &mut State, phase: Phase) {
        if state.phase < phase {
            state.phase = phase;
            self.phase.store(phase as u32, Ordering::Relaxed);
            self.room.notify_all();
        }
    }

    /// Writes `chunk` and all that is queued meanwhile. The rest, when the socket is full or when other callers keep
    /// this thread busy, goes to a helper thread.
    fn write(self: &Arc<Self>, chunk: Vec<u8>) {
        if chunk.is_empty() {
            return;
        }
        if let Some((chunk, written)) = self.write_for(chunk, 0, Some(WRITE_SLICE)) {
            let core = Arc::clone(self);
            let helper = spawn(THREAD_NAME, move || {
                let rest = core.write_for(chunk, written, None);
                debug_assert!(rest.is_none(), "without a limit, all is written or the connection is closed");
            });
            if let Err(error) = helper {
                self.close(ClientError::disconnected(error.to_string()));
            }
        }
    }

    /// Writes `chunk` from its byte `written` on, and all that is queued meanwhile, for at most `limit`. Returns what
    /// is left then.
    fn write_for(
        &self,
        mut chunk: Vec<u8>,
        mut written: usize,
        limit: Option<Duration>,
    ) -> Option<(Vec<u8>, usize)> {
        let start = Instant::now();
        while !chunk.is_empty() {
            match self.write_some(&chunk[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    self.state.lock().queue.return_unwritten(chunk.len() - written);
                    self.close(ClientError::disconnected(error.to_string()));
                    return None;
                }
            }
            if written == chunk.len() {
                (chunk, written) = (self.next_chunk(), 0);
            }
            if !chunk.is_empty() && limit.is_some_and(|limit| start.elapsed() >= limit) {
                return Some((chunk, written));
            }
        }
        None
    }

    /// Writes once. Returns 0 if the socket took nothing for a slice.
    fn write_some(&self, bytes: &[u8]) -> std::io::Result<usize> {
        match (&self.stream).write(bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => Ok(bytes),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// The bytes that came while the last chunk was written; empty when this thread has finished.
    fn next_chunk(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        let chunk = state.queue.continue_write();
        drop(state);
        self.room.notify_all();
        chunk
    }

    /// The reader thread.
    fn read(&self, protocol: ClientProtocol) {
        // A panic here would be a defect of this crate; even then no caller may be left waiting.
        let end = catch_unwind(AssertUnwindSafe(|| self.read_all(protocol)));
        self.close(end.unwrap_or_else(|_| ClientError::disconnected("the client's reader panicked")));
    }

    /// Reads until the connection is of no more use. Returns the reason.
    fn read_all(&self, mut protocol: ClientProtocol) -> ClientError {
        let mut events = Vec::new();
        loop {
            let broken = loop {
                match protocol.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            self.deliver(&mut events);
            if let Some(error) = broken {
                return error.into();
            }
            match (&self.stream).read(protocol.space()) {
                Ok(0) => {
                    let said = self.state.lock().close_message.take();
                    return ClientError::disconnected(
                        said.unwrap_or_else(|| "the server closed the connection".to_owned()),
                    );
                }
                Ok(bytes) => protocol.filled(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return ClientError::disconnected(error.to_string()),
            }
        }
    }

    /// Delivers the events of one read.
    fn deliver(&self, events: &mut Vec<Event>) {
        let mut state = self.state.lock();
        state.silent_since = None;
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            let (call, outcome) = match event {
                Event::Answer(answer) => (answer.call, Ok(answer)),
                Event::Oversized { call, bytes } => {
                    let limit = self.reply_bytes_max as u64;
                    (call, Err(ClientError::ReplyTooLarge { bytes, limit }))
                }
                Event::GoAway { status, fault } => {
                    state.close_message =
                        Some(format!("the server closed the connection: {status}: {}", fault.message));
                    // A second GoAway ends the use for handlers too.
                    let drains =
                        state.phase == Phase::Open && state.nested && status == Status::Draining.code();
                    self.advance(&mut state, if drains { Phase::Draining } else { Phase::Retired });
                    continue;
                }
                Event::Pong(_) | Event::Welcome(_) => continue,
            };
            // The reply to an abandoned call crossed its Cancel.
            if let Some(call) = state.calls.remove(&call) {
                outcomes.push((call.slot, outcome));
            }
        }
        let done = state.is_done();
        drop(state);
        fill_all(outcomes);
        if done {
            self.shut_down();
        }
    }

    /// Closes the connection: each call in flight fails with `error`, or as one that was never sent.
    fn close(&self, error: ClientError) {
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return;
        }
        self.advance(&mut state, Phase::Closed);
        state.queue.clear();
        let calls = std::mem::take(&mut state.calls);
        let unsent = ClientError::unsent(match &error {
            ClientError::Disconnected { reason, .. } => reason.clone(),
            other => other.to_string(),
        });
        let failed: Vec<(_, CallOutcome)> = calls
            .into_values()
            .map(|call| {
                let error = if state.queue.may_have_left(call.last_byte) { &error } else { &unsent };
                (call.slot, Err(error.clone()))
            })
            .collect();
        drop(state);
        self.shut_down();
        log::debug!("connection closed, calls={} reason={error}", failed.len());
        fill_all(failed);
    }
}

impl State {
    /// Queues a frame that is nothing but its header.
    fn signal(&mut self, kind: FrameKind, call: u64) {
        if self.phase != Phase::Closed {
            self.queue.push(client::signal(kind, call).to_vec());
        }
    }

    /// Returns whether a new call is taken, `nested` if a handler makes it.
    fn takes_calls(&self, nested: bool) -> bool {
        self.phase == Phase::Open || nested && self.phase == Phase::Draining
    }

    /// Returns whether the connection takes no calls and has none in flight.
    fn is_done(&self) -> bool {
        self.phase == Phase::Retired && self.calls.is_empty()
    }
}

/// Milliseconds left until `deadline`; rounded up, so that a call with a deadline never looks like one without; at
/// most 49 days.
fn ms_left(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}
