//! The shell of one connection: a socket, its writers, its reader thread, and the calls that are out on it.
//!
//! Whoever makes a call appends its frame to one outgoing buffer; who finds nobody writing writes all that is
//! there, so calls made at once by many threads travel together. The reader thread matches answers to calls. A
//! socket that takes no more is left to a helper thread, which lives only until it has written everything: so no
//! caller blocks in a write for longer than [`WRITE_SLICE`], whatever its deadline.
//!
//! Knows calls by number and bytes; knows no types, no reconnecting and no addresses.
//!
//! Invariants: a call is in `calls` from before its first byte is written until its slot is filled or it is
//! forgotten. Registering and ending happen under one lock, so no call is registered on a connection that has
//! ended. That lock is never held over I/O, nor while a slot is filled or a waker called. [`ClientConnection`] is what
//! its users hold; the threads hold only [`Core`], so the last user's drop closes the socket, which ends them.

mod cancel;
pub use cancel::Canceller;

use super::error::ClientError;
use super::pending::CallSlot;
use super::schema_check::CheckState;
use super::threads::spawn;
use crate::proto::client::{self, Answer, ClientProtocol, Event};
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

/// Bytes that may wait while another thread writes; a caller that comes then waits. One frame may be larger.
const OUT_BYTES_MAX: usize = 1 << 20;

/// A Ping without any sign of life for so long, when a further call is late, means a dead connection.
const SILENCE: Duration = Duration::from_secs(3);

/// What its threads are called.
const THREAD: &str = "boneyard-client";

/// A connection as its users hold it.
#[derive(Debug)]
pub(super) struct ClientConnection(Arc<Core>);

/// Why a call was not sent on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    /// It takes no calls any more; another one may.
    Closed,
    /// The call waited for room in vain.
    Late,
}

#[derive(Debug)]
struct Core {
    stream: TcpStream,
    methods: HashMap<String, CheckState>,
    call_bytes_max: usize,
    answer_bytes_max: usize,
    /// The state's `life`, to be read without the lock.
    life: AtomicU32,
    state: Mutex<State>,
    /// Signalled when outgoing bytes were taken, or the connection takes no more.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    life: Life,
    calls: HashMap<u64, Out>,
    /// Bytes that nobody has begun to write.
    outgoing: Vec<u8>,
    /// Does some thread write? Then it will take `outgoing` as well.
    writing: bool,
    /// Bytes ever put into `outgoing`.
    appended: u64,
    /// Of those, bytes that the socket may have been given.
    taken: u64,
    /// A Ping is out since then, and nothing has been heard.
    silent_since: Option<Instant>,
    /// What the server's GoAway said.
    lingering_close: Option<String>,
    /// Have handlers called here?
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Life {
    Open,
    /// The server stops. Takes no new calls but of handlers: they may be made for what it still has in flight.
    Draining,
    /// Takes no new calls; those that are out may still be answered.
    Retired,
    Ended,
}

/// A call that is out.
#[derive(Debug)]
struct Out {
    slot: Arc<CallSlot>,
    /// Value of `appended` when the frame's last byte was there.
    last_byte: u64,
}

impl ClientConnection {
    /// A connection after its greeting. `exchange` may hold bytes that came after the Welcome.
    ///
    /// # Errors
    /// [`ClientError::NoThread`].
    pub(super) fn new(
        stream: TcpStream,
        welcome: Welcome,
        exchange: ClientProtocol,
        answer_bytes_max: usize,
    ) -> Result<ClientConnection, ClientError> {
        let known = |entry: MethodEntry| (entry.name, CheckState::new(entry.number, entry.fingerprint));
        let methods = welcome.methods.into_iter().map(known).collect();
        let state = State {
            life: Life::Open,
            calls: HashMap::new(),
            outgoing: Vec::new(),
            writing: false,
            appended: 0,
            taken: 0,
            silent_since: None,
            lingering_close: None,
            nested: false,
        };
        let core = Arc::new(Core {
            stream,
            methods,
            call_bytes_max: (welcome.body_bytes_max as usize).min(BODY_BYTES_MAX),
            answer_bytes_max,
            life: AtomicU32::new(Life::Open as u32),
            state: Mutex::new(state),
            room: Condvar::new(),
        });
        let reader = Arc::clone(&core);
        spawn(THREAD, move || reader.read(exchange))?;
        Ok(ClientConnection(core))
    }

    /// Does it seem to take calls? [`ClientConnection::send`] knows.
    pub(super) fn is_open(&self) -> bool {
        // Relaxed: a hint; the state behind the lock decides.
        self.0.life.load(Ordering::Relaxed) == Life::Open as u32
    }

    /// Does it take the calls of handlers, though no others?
    pub(super) fn is_draining(&self) -> bool {
        self.0.life.load(Ordering::Relaxed) == Life::Draining as u32
    }

    /// A method of the server.
    pub(super) fn entry(&self, name: &str) -> Option<&CheckState> {
        self.0.methods.get(name)
    }

    /// Names of all methods, in no order.
    pub(super) fn methods(&self) -> impl Iterator<Item = &str> {
        self.0.methods.keys().map(String::as_str)
    }

    /// The name of a method's number.
    pub(super) fn method_name(&self, number: u16) -> &str {
        let found = self.0.methods.iter().find(|(_, other)| other.number == number);
        found.map_or("", |(name, _)| name)
    }

    /// Largest body of a Call, in bytes.
    pub(super) fn call_bytes_max(&self) -> usize {
        self.0.call_bytes_max
    }

    /// Registers a call, `nested` if a handler makes it, and sends its frame, or sees to it that another thread does.
    /// The answer, or the error that ends the connection, goes to `slot`. Blocks while too much waits to be written, at
    /// most until `patience` ends.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send(
        &self,
        (call, session, nested): (u64, u32, bool),
        mut frame: Vec<u8>,
        slot: &Arc<CallSlot>,
        deadline: Option<Instant>,
        patience: Option<Instant>,
    ) -> Result<(), NotSent> {
        let core = &self.0;
        let mut state = core.state.lock();
        while state.takes(nested) && !state.has_room(frame.len()) {
            drop(state);
            blocking(|| core.await_room(frame.len(), nested, patience))?;
            state = core.state.lock();
        }
        if !state.takes(nested) {
            return Err(NotSent::Closed);
        }
        state.nested |= nested;
        client::stamp_call(&mut frame, call, session, deadline.map_or(0, ms_left));
        let last_byte = state.append(frame);
        state.calls.insert(call, Out { slot: Arc::clone(slot), last_byte });
        let chunk = state.begin_write();
        drop(state);
        core.write(chunk);
        Ok(())
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl Core {
    /// Waits until so many bytes have room, or the connection takes no calls any more.
    fn await_room(&self, bytes: usize, nested: bool, patience: Option<Instant>) -> Result<(), NotSent> {
        let mut state = self.state.lock();
        while state.takes(nested) && !state.has_room(bytes) {
            match patience {
                None => self.room.wait(&mut state),
                Some(patience) if Instant::now() >= patience => return Err(NotSent::Late),
                Some(patience) => {
                    self.room.wait_until(&mut state, patience);
                }
            }
        }
        Ok(())
    }

    /// Ends both threads' I/O; the reader then ends the connection. An error means that it has ended already.
    fn shut(&self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// A call is late. Asks the server for a sign of life; if it has owed one for long, takes no more calls here.
    fn doubt(&self, state: &mut State) {
        match state.silent_since {
            None => {
                state.append(client::signal(FrameKind::Ping, 0).to_vec());
                state.silent_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= SILENCE => self.retire(state, Life::Retired),
            Some(_) => {}
        }
    }

    /// Takes fewer calls from here on, or none.
    fn retire(&self, state: &mut State, life: Life) {
        if state.life < life {
            state.life = life;
            self.life.store(life as u32, Ordering::Relaxed);
            self.room.notify_all();
        }
    }

    /// Writes `chunk` and all that comes meanwhile. What is left when the socket is full, or when others keep this
    /// thread busy, goes to a helper thread.
    fn write(self: &Arc<Self>, chunk: Vec<u8>) {
        if chunk.is_empty() {
            return;
        }
        if let Some((chunk, sent)) = self.write_for(chunk, 0, Some(WRITE_SLICE)) {
            let core = Arc::clone(self);
            let helper = spawn(THREAD, move || {
                let rest = core.write_for(chunk, sent, None);
                debug_assert!(
                    rest.is_none(),
                    "without patience to lose, all is written or the connection ends"
                );
            });
            if let Err(error) = helper {
                self.end(disconnected(error.to_string()));
            }
        }
    }

    /// Writes `chunk` from its byte `sent` on, and all that comes meanwhile, until `patience` is at an end. Returns
    /// what is left then.
    fn write_for(
        &self,
        mut chunk: Vec<u8>,
        mut sent: usize,
        patience: Option<Duration>,
    ) -> Option<(Vec<u8>, usize)> {
        let start = Instant::now();
        while !chunk.is_empty() {
            match self.write_some(&chunk[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) => {
                    self.write_failed(&chunk[sent..], &error);
                    return None;
                }
            }
            if sent == chunk.len() {
                (chunk, sent) = (self.next_chunk(), 0);
            }
            if !chunk.is_empty() && patience.is_some_and(|patience| start.elapsed() >= patience) {
                return Some((chunk, sent));
            }
        }
        None
    }

    /// One write; 0 bytes when the socket took none for a slice.
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

    fn write_failed(&self, unsent: &[u8], error: &std::io::Error) {
        // The socket has not taken these after all.
        self.state.lock().taken -= unsent.len() as u64;
        self.end(disconnected(error.to_string()));
    }

    /// What came while the last chunk was written; empty when this thread's turn to write is over.
    fn next_chunk(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        state.writing = false;
        let chunk = state.begin_write();
        drop(state);
        self.room.notify_all();
        chunk
    }

    /// The reader thread.
    fn read(&self, exchange: ClientProtocol) {
        // A panic here would be a defect of this crate; even then nobody may be left waiting.
        let end = catch_unwind(AssertUnwindSafe(|| self.read_all(exchange)));
        self.end(end.unwrap_or_else(|_| disconnected("the client's reader panicked".to_owned())));
    }

    /// Reads until the connection is of no more use, and says why.
    fn read_all(&self, mut exchange: ClientProtocol) -> ClientError {
        let mut events = Vec::new();
        loop {
            let broken = loop {
                match exchange.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            self.deliver(&mut events);
            if let Some(error) = broken {
                return error.into();
            }
            match (&self.stream).read(exchange.space()) {
                Ok(0) => return disconnected(self.lingering_close()),
                Ok(bytes) => exchange.filled(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return disconnected(error.to_string()),
            }
        }
    }

    /// Why the server closed the connection, in its own words if it used any.
    fn lingering_close(&self) -> String {
        let said = self.state.lock().lingering_close.take();
        said.unwrap_or_else(|| "the server closed the connection".to_owned())
    }

    /// Hands out what one read brought.
    fn deliver(&self, events: &mut Vec<Event>) {
        let mut state = self.state.lock();
        state.silent_since = None;
        let mut filled = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            let (call, outcome) = match event {
                Event::Answer(answer) => (answer.call, Ok(answer)),
                Event::Oversized { call, bytes } => {
                    let limit = self.answer_bytes_max as u64;
                    (call, Err(ClientError::ReplyTooLarge { bytes, limit }))
                }
                Event::GoAway { status, fault } => {
                    state.lingering_close =
                        Some(format!("the server said goodbye: {status}: {}", fault.message));
                    // Told so again, it is no longer of use to handlers either.
                    let stays = state.life == Life::Open && state.nested && status == Status::Draining.code();
                    self.retire(&mut state, if stays { Life::Draining } else { Life::Retired });
                    continue;
                }
                Event::Pong(_) | Event::Welcome(_) => continue,
            };
            // An answer nobody waits for crossed its Cancel.
            if let Some(out) = state.calls.remove(&call) {
                filled.push((out.slot, outcome));
            }
        }
        let done = state.is_done();
        drop(state);
        fill(filled);
        if done {
            self.shut();
        }
    }

    /// Ends the connection: each call that is out fails with `error`, or with the news that it was never sent.
    fn end(&self, error: ClientError) {
        let mut state = self.state.lock();
        if state.life == Life::Ended {
            return;
        }
        self.retire(&mut state, Life::Ended);
        state.outgoing = Vec::new();
        let (calls, taken) = (std::mem::take(&mut state.calls), state.taken);
        drop(state);
        self.shut();
        log::debug!("connection ended with {} calls out: {error}", calls.len());
        let unsent = ClientError::Disconnected { may_have_run: false, reason: reason(&error) };
        let failed = calls.into_values().map(|out| {
            let error = if out.last_byte <= taken { &error } else { &unsent };
            (out.slot, Err(error.clone()))
        });
        fill(failed.collect());
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.outgoing.is_empty() || self.outgoing.len() + bytes <= OUT_BYTES_MAX
    }

    /// Puts a frame behind the others; the count of all bytes with it.
    fn append(&mut self, frame: Vec<u8>) -> u64 {
        if self.life == Life::Ended {
            return self.appended;
        }
        self.appended += frame.len() as u64;
        if self.outgoing.is_empty() {
            self.outgoing = frame;
        } else {
            self.outgoing.extend_from_slice(&frame);
        }
        self.appended
    }

    /// What the caller must write now: all there is, or nothing when another thread writes.
    fn begin_write(&mut self) -> Vec<u8> {
        if self.writing || self.outgoing.is_empty() {
            return Vec::new();
        }
        self.writing = true;
        self.taken = self.appended;
        std::mem::take(&mut self.outgoing)
    }

    /// Does it take such a call?
    fn takes(&self, nested: bool) -> bool {
        self.life == Life::Open || nested && self.life == Life::Draining
    }

    /// Retired, and nobody waits for anything any more.
    fn is_done(&self) -> bool {
        self.life == Life::Retired && self.calls.is_empty()
    }
}

/// All slots first, all wakers then: a waker is foreign code.
fn fill(filled: Vec<(Arc<CallSlot>, Result<Answer, ClientError>)>) {
    let wakers: Vec<_> = filled.into_iter().filter_map(|(slot, outcome)| slot.fill(outcome)).collect();
    for waker in wakers {
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            log::error!("the waker of a pending call panicked");
        }
    }
}

/// What a call that was sent is told.
fn disconnected(reason: String) -> ClientError {
    ClientError::Disconnected { may_have_run: true, reason }
}

fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Disconnected { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// Rounded up, so that a call with a deadline never looks like one without; longest 49 days.
fn ms_left(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}
