//! The half of a connection that its listener alone knows: reads the socket, and cuts and admits the calls of each
//! read. Steps 2 to 4 of a transaction's way (see docs/ARCHITECTURE.md).

use super::admit_calls::{BUFFER_BYTES, Input, ReadBuffers, ReadContext};
use super::state::ConnectionState;
use super::transport::Transport;
use super::writer::ConnectionWriter;
use crate::metrics::CloseReason;
use crate::pool::BufferLease;
use crate::proto::{ProtocolClose, ServerProtocol};
use crate::server::connection_limiter::ConnectionPermit;
use crate::sync::Arc;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Up to this many bytes are copied from one buffer to another; with more the buffers change places.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Most bytes by which the buffer of a large frame grows at once; they are zeroed before they are read into.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// Frames of one read answered by the listener from which on the connection counts as answer-heavy.
const MANY_ANSWERS: u32 = 16;

/// The result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum ReadOutcome {
    /// The socket is empty; the poll reports when there is more.
    Drained,
    /// There may be more; other connections come first.
    More,
    /// There is more, but the connection has enough calls or replies out. Its writer wakes the listener.
    Paused,
    /// There may be more, but the server's buffers are full. The listener has to try again.
    BuffersFull,
    /// There may be more, but the connection has used up its allowance of answers. The listener has to try again after
    /// this time.
    PutOff(Duration),
    /// The peer has closed or the socket failed.
    Ended(CloseReason),
    /// The peer broke the protocol and was sent why.
    ProtocolClose(CloseReason),
}

/// The listener's queues that hold this connection, so that each holds it once.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::server) struct Queued {
    /// Time-outs, for the rest of a frame.
    pub(in crate::server) frame_timeout: bool,
    /// Time-outs, for replies to be taken.
    pub(in crate::server) send_timeout: bool,
    /// Connections that wait for room in the buffers.
    pub(in crate::server) buffers_full: bool,
    /// Connections with something left to read.
    pub(in crate::server) ready: bool,
    /// Connections that wait for their allowance of answers.
    pub(in crate::server) put_off: bool,
}

/// The beginning of the unread bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// There are none.
    Nothing,
    /// The beginning of a frame.
    PartialFrame {
        /// Time from which on the peer owes the rest.
        since: Instant,
    },
    /// Frames that the window or the turn had no room for. Nothing more is read from the socket until they are
    /// consumed: a peer that calls faster than it is served waits in its own socket.
    HeldFrames,
}

/// The consumed part of a read.
#[derive(Debug, Clone, Copy)]
struct Consumed {
    /// Bytes at the front of the buffer.
    used: usize,
    /// The rest begins with [`Unread::HeldFrames`].
    held: bool,
}

/// Number and time of a connection in its listener.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct AcceptedAt {
    /// Its number among the connections of the port.
    pub(in crate::server) number: u64,
    /// Whole seconds after the listener began.
    pub(in crate::server) second: u32,
}

/// The listener's half of a connection.
#[derive(Debug)]
pub(in crate::server) struct Connection {
    pub(in crate::server) writer: Arc<ConnectionWriter>,
    pub(super) transport: Arc<Transport>,
    pub(super) protocol: ServerProtocol,
    pub(super) state: ConnectionState,
    /// Its first `filled` bytes are read and not consumed. Without capacity while there are none, so that an idle
    /// connection holds no buffer.
    buffer: Vec<u8>,
    pub(super) filled: usize,
    unread: Unread,
    /// The memory of `buffer`.
    pub(super) lease: BufferLease,
    /// The last read had [`MANY_ANSWERS`]: the next is small, since what it leaves is copied, and waits for its turn.
    pub(in crate::server) answer_heavy: bool,
    /// Time of the last bytes read.
    pub(super) arrived: Instant,
    /// The socket may hold bytes: set by the poll, cleared when it is empty.
    pub(in crate::server) readable: bool,
    /// The poll reported the peer's end. It is edge-triggered, so reading goes on until a read returns 0.
    pub(in crate::server) eof_reported: bool,
    /// Reading is suspended. That time is not the peer's.
    paused: bool,
    pub(in crate::server) queued: Queued,
    pub(super) accepted: AcceptedAt,
    /// Calls admitted.
    pub(super) calls: u64,
    /// Declared last: its place is free when the socket is closed.
    _permit: ConnectionPermit,
}

impl Connection {
    pub(in crate::server) fn new(
        writer: Arc<ConnectionWriter>,
        transport: Arc<Transport>,
        lease: BufferLease,
        permit: ConnectionPermit,
        accepted: AcceptedAt,
    ) -> Connection {
        Connection {
            writer,
            transport,
            protocol: ServerProtocol::default(),
            state: ConnectionState::Open,
            buffer: Vec::new(),
            filled: 0,
            unread: Unread::Nothing,
            lease,
            answer_heavy: false,
            arrived: Instant::now(),
            readable: false,
            eof_reported: false,
            paused: false,
            queued: Queued::default(),
            accepted,
            calls: 0,
            _permit: permit,
        }
    }

    /// Reads once and queues the calls of that read; in a closing connection, discards it.
    pub(in crate::server) fn read(&mut self, context: &mut ReadContext<'_>) -> ReadOutcome {
        if let ConnectionState::Closing(reason) = self.state {
            return self.discard(context.buffers, reason);
        }
        if let Some(outcome) = self.suspended(context) {
            self.paused = true;
            return outcome;
        }
        if std::mem::take(&mut self.paused) {
            let now = Instant::now();
            if let Unread::PartialFrame { since } = &mut self.unread {
                *since = now;
            }
            self.protocol.reading_resumed(now);
        }
        let mut buffer = if self.filled > COPY_BYTES_MAX {
            std::mem::take(&mut self.buffer)
        } else {
            let mut buffer = context.buffers.take();
            buffer[..self.filled].copy_from_slice(&self.buffer);
            buffer
        };
        let was_held = self.unread == Unread::HeldFrames;
        let (outcome, consumed) = self.read_into(context, &mut buffer, was_held);
        self.keep(context.buffers, buffer, consumed.used);
        self.unread = self.left_unread(consumed, was_held);
        self.paused = matches!(outcome, ReadOutcome::Paused | ReadOutcome::PutOff(_));
        outcome
    }

    /// Returns what the bytes begin with that were kept. Frames held back were read long ago, and that time was not the
    /// peer's.
    fn left_unread(&self, Consumed { used, held }: Consumed, was_held: bool) -> Unread {
        match self.unread {
            _ if self.filled == 0 => Unread::Nothing,
            _ if held => Unread::HeldFrames,
            Unread::PartialFrame { since } if used == 0 => Unread::PartialFrame { since },
            _ => Unread::PartialFrame { since: if was_held { Instant::now() } else { self.arrived } },
        }
    }

    /// Returns why nothing is to be read now.
    fn suspended(&self, context: &ReadContext<'_>) -> Option<ReadOutcome> {
        let port = &context.at.port;
        if self.writer.is_clogged() {
            port.stats.outbound_full.add(1);
            return Some(ReadOutcome::Paused);
        }
        let held = self.unread == Unread::HeldFrames;
        if held && self.writer.window_room() == 0 {
            port.stats.window_full.add(1);
            return Some(ReadOutcome::Paused);
        }
        // While there is room, small reads go on: their calls are refused, and the peer is sent why. Frames that
        // are read already are refused as well.
        if !held
            && port.buffers.are_full()
            && (self.filled > COPY_BYTES_MAX || !port.buffers.have_room(BUFFER_BYTES))
        {
            port.stats.buffers_full.add(1);
            return Some(ReadOutcome::BuffersFull);
        }
        None
    }

    /// Reads behind the unread bytes, which `buffer` begins with, and consumes what it can. The buffer grows with what
    /// has come, not with what a header claims.
    fn read_into(
        &mut self,
        context: &mut ReadContext<'_>,
        buffer: &mut Vec<u8>,
        was_held: bool,
    ) -> (ReadOutcome, Consumed) {
        const NOTHING: Consumed = Consumed { used: 0, held: false };
        let mut more = self.readable;
        if !was_held {
            if self.filled == buffer.len() {
                buffer.resize(self.filled + self.filled.min(GROWTH_BYTES_MAX), 0);
            }
            let room = if self.answer_heavy { COPY_BYTES_MAX } else { buffer.len() };
            let end = buffer.len().min(self.filled + room);
            match self.transport.receive(&mut buffer[self.filled..end]) {
                Ok(0) => return (ReadOutcome::Ended(self.protocol.peer_closed(self.filled)), NOTHING),
                Ok(n) => (self.filled, self.arrived) = (self.filled + n, Instant::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return (ReadOutcome::Ended(CloseReason::SocketError), NOTHING),
            }
            more = self.readable && self.filled == end;
        }
        let consumed = match self.consume(context, buffer, was_held) {
            Ok(consumed) => consumed,
            Err(ProtocolClose(reason)) => return (ReadOutcome::ProtocolClose(reason), NOTHING),
        };
        // Frames were held back when the window had no room; if it has room by now, no event brings them back.
        let outcome = if let Some(time) = context.received.put_off {
            context.at.port.stats.put_off.add(1);
            ReadOutcome::PutOff(time)
        } else if consumed.held && self.writer.window_room() == 0 {
            context.at.port.stats.window_full.add(1);
            ReadOutcome::Paused
        } else if consumed.held || more || self.eof_reported && self.readable {
            ReadOutcome::More
        } else {
            // A short read means that the socket was empty: the poll reports what comes after it. An end that came with
            // the bytes was reported already, hence `eof_reported`.
            self.readable = false;
            self.protocol.socket_emptied(self.arrived);
            ReadOutcome::Drained
        };
        (outcome, consumed)
    }

    /// Keeps what begins at `used`: a small rest in a buffer of its size, a large one where it is.
    fn keep(&mut self, buffers: &mut ReadBuffers, buffer: Vec<u8>, used: usize) {
        if used == 0 && self.filled > COPY_BYTES_MAX {
            self.buffer = buffer;
        } else {
            self.buffer = buffer[used..self.filled].to_vec();
            self.filled = self.buffer.len();
            buffers.put_back(buffer);
        }
        self.lease.set(self.buffer.len());
    }

    /// Lets the protocol consume what it can, as long as the window has room.
    fn consume(
        &mut self,
        context: &mut ReadContext<'_>,
        buffer: &mut Vec<u8>,
        was_held: bool,
    ) -> Result<Consumed, ProtocolClose> {
        let mut used = 0;
        let now = if was_held { Instant::now() } else { self.arrived };
        loop {
            let window_room = self.writer.window_room();
            let evicted = self.state == ConnectionState::Evicted;
            let bytes = &buffer[used..self.filled];
            let input = Input { bytes, window_room, evicted, arrived: self.arrived, now };
            let taken = context.receive(&mut self.protocol, &self.writer, input);
            // Before the calls are queued: a Welcome must not be overtaken by the reply to a call sent with the Hello.
            context.send_replies(&self.writer);
            let turn_over = context.received.is_turn_over();
            self.answer_heavy = context.received.answered >= MANY_ANSWERS;
            let admitted = context.received.calls.len();
            self.calls += admitted as u64;
            if admitted > 0 {
                let end = used + context.received.calls.last().map_or(0, |call| call.arguments_end());
                if used == 0 && end > COPY_BYTES_MAX {
                    self.queue_by_swap(context, buffer, taken.unwrap_or(self.filled));
                    context.cancel_calls(&self.writer);
                    taken?;
                    // The rest moved to the front; it waits for more bytes or for room in the window.
                    let held = (admitted >= window_room || turn_over) && self.filled > 0;
                    return Ok(Consumed { used: 0, held });
                }
                context.queue_calls(&self.writer, self.arrived, |copy| {
                    copy.clear();
                    copy.extend_from_slice(&buffer[used..end]);
                });
            }
            context.cancel_calls(&self.writer);
            used += taken?;
            if turn_over || admitted < window_room || window_room == 0 {
                let held = (turn_over || window_room == 0) && used < self.filled;
                return Ok(Consumed { used, held });
            }
        }
    }

    /// Queues the calls received together with the buffer they are in; the bytes from `rest` on move to the front of
    /// another.
    fn queue_by_swap(&mut self, context: &mut ReadContext<'_>, buffer: &mut Vec<u8>, rest: usize) {
        let mut next = context.buffers.take();
        let left = &buffer[rest..self.filled];
        if next.len() < left.len() {
            next.resize(left.len(), 0);
        }
        next[..left.len()].copy_from_slice(left);
        self.filled = left.len();
        self.unread = Unread::Nothing;
        self.lease.set(0);
        context.queue_calls(&self.writer, self.arrived, |bytes| std::mem::swap(bytes, buffer));
        context.buffers.put_back(std::mem::replace(buffer, next));
    }

    /// Reads once and discards the bytes.
    fn discard(&mut self, buffers: &mut ReadBuffers, reason: CloseReason) -> ReadOutcome {
        let mut buffer = buffers.take();
        let received = self.transport.receive(&mut buffer);
        buffers.put_back(buffer);
        match received {
            Ok(0) => ReadOutcome::Ended(reason),
            Ok(_) => ReadOutcome::More,
            Err(error) if error.kind() == ErrorKind::WouldBlock => ReadOutcome::Drained,
            Err(_) => ReadOutcome::Ended(reason),
        }
    }

    /// Forgets what was read and not consumed: nothing more is served.
    pub(super) fn forget_unread(&mut self) {
        (self.buffer, self.filled, self.unread) = (Vec::new(), 0, Unread::Nothing);
        self.paused = false;
        self.lease.set(0);
    }

    /// Returns the time from which on the peer owes the rest of a frame; `now` while reading is suspended.
    pub(in crate::server) fn owes_since(&self, now: Instant) -> Option<Instant> {
        self.owes().map(|since| if self.paused { now } else { since })
    }

    /// The same as [`Connection::owes_since`] just after a read.
    pub(in crate::server) fn owes(&self) -> Option<Instant> {
        match self.unread {
            Unread::PartialFrame { since } => Some(since),
            Unread::Nothing | Unread::HeldFrames => None,
        }
    }

    /// The server did not run for this time before `now`: what the peer owes, it owes as much later.
    pub(in crate::server) fn extend(&mut self, lost: Duration, now: Instant) {
        if let Unread::PartialFrame { since } = &mut self.unread {
            *since = (*since + lost).min(now);
        }
    }

    pub(in crate::server) fn awaits_hello(&self) -> bool {
        self.protocol.awaits_hello()
    }

    /// Returns whether reading is suspended.
    pub(in crate::server) fn is_paused(&self) -> bool {
        self.paused
    }
}
