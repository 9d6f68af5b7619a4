//! A connection as its listener alone knows it: what it has said so far, and whether there is more to read.
//! Steps 1 to 3 of a transaction's way (see docs/ARCHITECTURE.md).

use super::connection_limiter::ConnectionPermit;
use super::desk::{BUFFER_BYTES, Desk};
use super::sessions::SessionHolder;
use super::transport::Transport;
use super::writer::ConnectionWriter;
use crate::metrics::CloseReason;
use crate::monitor;
use crate::pool::{BufferLease, ReplySink};
use crate::proto::{ProtocolClose, ServerProtocol, goaway};
use crate::service::{Peer, Refusal, Status};
use crate::sync::Arc;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Fewer bytes than this are copied from one buffer to another; with more the buffers change places.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Most bytes by which the buffer of a large frame grows at once; they are zeroed before they are read into.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// A read that has so many frames answered by the listener has much to answer.
const MANY_ANSWERS: u32 = 16;

/// What reading a connection once came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// All that was there is read; the poll tells when more comes.
    Drained,
    /// There may be more; other connections come first.
    More,
    /// There is more, but this connection has enough calls or replies out. Its connection says when to go on.
    Paused,
    /// There may be more, but the server's buffers are full. It has to be asked again.
    Full,
    /// There may be more, but it has had answered more than its allowance. It has to be asked again when the intake
    /// says.
    PutOff,
    /// The peer has closed or the socket failed.
    Ended(CloseReason),
    /// The peer broke the protocol and has been told.
    ProtocolClose(CloseReason),
}

/// In which of the listener's lists a connection is, so that it is there once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listed {
    /// Of those whose frames have a time limit.
    pub(super) frame: bool,
    /// Of those whose replies have one.
    pub(super) replies: bool,
    /// Of those that wait for room in the buffers.
    pub(super) full: bool,
    /// Of those with something left to read.
    pub(super) ready: bool,
    /// Of those that wait until they may be read again.
    pub(super) put_off: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) connection: Arc<ConnectionWriter>,
    transport: Arc<Transport>,
    conversation: ServerProtocol,
    /// Its first `filled` bytes are read and not consumed: the beginning of a frame, or frames the window or the turn
    /// has no room for. Without capacity while there are none, so that an idle connection holds no buffer.
    unread: Vec<u8>,
    filled: usize,
    /// Does `unread` begin with frames that the window or the turn had no room for? Then nothing more is read from the
    /// socket until they are consumed: a peer that calls faster than it is served waits in its own socket.
    held: bool,
    /// The last read had much to answer: the next is small, since what it leaves is copied, and comes in its turn.
    pub(super) busy: bool,
    /// When bytes were last read.
    arrived: Instant,
    /// May the socket hold bytes? Set by the poll, cleared when it has none.
    pub(super) readable: bool,
    /// Its reading is put off. That time is not its own.
    paused: bool,
    /// Since when there is the beginning of a frame in `unread`.
    frame_since: Option<Instant>,
    /// What `unread` counts for.
    share: BufferLease,
    pub(super) listed: Listed,
    /// The poll has told of the peer's end, and tells of it once: reading goes on until it is seen.
    pub(super) ended: bool,
    /// Why the connection is being closed; what still comes is thrown away.
    pub(super) leaving: Option<CloseReason>,
    /// It was idle and has been told to close; what it calls still is refused.
    pub(super) dismissed: bool,
    /// In a port that is stopped: nothing of it was under way at the last look.
    pub(super) done: bool,
    /// When it came, in seconds since the listener began.
    came_s: u32,
    /// How many came to the port before it, and it too.
    number: u64,
    /// Calls of it that were admitted.
    calls: u64,
    /// The last to go: its place is free when the socket is closed.
    _pass: ConnectionPermit,
}

impl Connection {
    pub(super) fn new(
        connection: Arc<ConnectionWriter>,
        transport: Arc<Transport>,
        share: BufferLease,
        pass: ConnectionPermit,
        (number, came_s): (u64, u32),
    ) -> Connection {
        let (conversation, unread) = (ServerProtocol::default(), Vec::new());
        Connection {
            connection,
            transport,
            conversation,
            unread,
            filled: 0,
            held: false,
            busy: false,
            arrived: Instant::now(),
            readable: false,
            paused: false,
            frame_since: None,
            share,
            listed: Listed::default(),
            ended: false,
            leaving: None,
            dismissed: false,
            done: false,
            came_s,
            number,
            calls: 0,
            _pass: pass,
        }
    }

    /// Reads once and queues the calls that were read.
    pub(super) fn read(&mut self, desk: &mut Desk) -> ReadOutcome {
        if let Some(reading) = self.put_off(desk) {
            self.paused = true;
            return reading;
        }
        if std::mem::take(&mut self.paused) {
            let now = Instant::now();
            self.frame_since = self.frame_since.map(|_| now);
            self.conversation.held_up(now);
        }
        let mut buffer = if self.filled > COPY_BYTES_MAX {
            std::mem::take(&mut self.unread)
        } else {
            let mut buffer = desk.lend();
            buffer[..self.filled].copy_from_slice(&self.unread);
            buffer
        };
        let was_held = self.held;
        let (reading, used) = self.read_into(desk, &mut buffer);
        self.keep(desk, buffer, used);
        self.note_frame(used > 0, was_held);
        self.paused = matches!(reading, ReadOutcome::Paused | ReadOutcome::PutOff);
        reading
    }

    /// Notes since when a frame is half read. What the window holds back is not the peer's to finish.
    fn note_frame(&mut self, any_used: bool, was_held: bool) {
        if any_used || self.held || self.filled == 0 {
            self.frame_since = None;
        }
        if self.filled > 0 && !self.held && self.frame_since.is_none() {
            // What was held back was read long ago; that time was not the peer's.
            self.frame_since = Some(if was_held { Instant::now() } else { self.arrived });
        }
    }

    /// Is nothing to be read now?
    fn put_off(&self, desk: &Desk) -> Option<ReadOutcome> {
        let stats = &desk.port.stats;
        if self.connection.is_clogged() {
            stats.outbound_full.add(1);
            return Some(ReadOutcome::Paused);
        }
        if self.held && self.connection.window_room() == 0 {
            stats.window_full.add(1);
            return Some(ReadOutcome::Paused);
        }
        // While there is room, small reads go on: their calls are refused, and the peer is told. So is what is read
        // already.
        let buffers = &desk.port.buffers;
        if !self.held
            && buffers.are_full()
            && (self.filled > COPY_BYTES_MAX || !buffers.have_room(BUFFER_BYTES))
        {
            stats.buffers_full.add(1);
            return Some(ReadOutcome::Full);
        }
        None
    }

    /// Reads behind the unread bytes, which `buffer` begins with, and has them consumed. Returns also where in the
    /// buffer the bytes not consumed begin. The buffer grows with what has come, not with what a header claims.
    fn read_into(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> (ReadOutcome, usize) {
        let mut more = self.readable;
        if !self.held {
            if self.filled == buffer.len() {
                buffer.resize(self.filled + self.filled.min(GROWTH_BYTES_MAX), 0);
            }
            let room = if self.busy { COPY_BYTES_MAX } else { buffer.len() };
            let end = buffer.len().min(self.filled + room);
            match self.transport.receive(&mut buffer[self.filled..end]) {
                Ok(0) => return (ReadOutcome::Ended(self.conversation.hung_up(self.filled)), 0),
                Ok(n) => (self.filled, self.arrived) = (self.filled + n, Instant::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return (ReadOutcome::Ended(CloseReason::SocketError), 0),
            }
            more = self.readable && self.filled == end;
        }
        let used = match self.consume(desk, buffer) {
            Ok(used) => used,
            Err(ProtocolClose(reason)) => return (ReadOutcome::ProtocolClose(reason), 0),
        };
        // What the window held back was seen without room; if there is room by now, nobody else would come back to it.
        let reading = if desk.intake.put_off.is_some() {
            desk.port.stats.put_off.add(1);
            ReadOutcome::PutOff
        } else if self.held && self.connection.window_room() == 0 {
            desk.port.stats.window_full.add(1);
            ReadOutcome::Paused
        } else if self.held || more || self.ended && self.readable {
            ReadOutcome::More
        } else {
            // A short read means that the socket was empty: the poll tells of what comes after it. An end that came
            // with the bytes it has told of already, hence `ended`.
            self.readable = false;
            self.conversation.caught_up(self.arrived);
            ReadOutcome::Drained
        };
        (reading, used)
    }

    /// Keeps what begins at `used`: a small rest in a buffer of its size, a large one where it is.
    fn keep(&mut self, desk: &mut Desk, buffer: Vec<u8>, used: usize) {
        if used == 0 && self.filled > COPY_BYTES_MAX {
            self.unread = buffer;
        } else {
            self.unread = buffer[used..self.filled].to_vec();
            self.filled = self.unread.len();
            desk.give_back(buffer);
        }
        self.share.set(self.unread.len());
    }

    /// Lets the conversation take what it will, as long as the window has room. Returns how much it took, and notes
    /// whether the window held the rest back.
    fn consume(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> Result<usize, ProtocolClose> {
        let mut used = 0;
        let now = if self.held { Instant::now() } else { self.arrived };
        loop {
            let window_room = self.connection.window_room();
            let bytes = &buffer[used..self.filled];
            let (times, dismissed) = ((self.arrived, now), self.dismissed);
            let taken = desk.receive(
                &mut self.conversation,
                &self.connection,
                (bytes, window_room),
                dismissed,
                times,
            );
            // Before the calls are queued: a Welcome must not be overtaken by the reply to a call sent with the Hello.
            desk.send_replies(&self.connection);
            let over = desk.intake.is_turn_over();
            self.busy = desk.intake.answered >= MANY_ANSWERS;
            let admitted = desk.intake.calls.len();
            self.calls += admitted as u64;
            if admitted > 0 {
                let end = used + desk.intake.calls.last().map_or(0, |call| call.arguments_end());
                if used == 0 && end > COPY_BYTES_MAX {
                    let rest = taken.unwrap_or(self.filled);
                    self.queue_by_swap(desk, buffer, rest);
                    desk.cancel_calls(&self.connection);
                    taken?;
                    // The rest moved to the front; it waits for more bytes or for room in the window.
                    self.held = (admitted >= window_room || over) && self.filled > 0;
                    return Ok(0);
                }
                desk.queue_calls(&self.connection, self.arrived, |copy| {
                    copy.clear();
                    copy.extend_from_slice(&buffer[used..end]);
                });
            }
            desk.cancel_calls(&self.connection);
            used += taken?;
            if over || admitted < window_room || window_room == 0 {
                self.held = (over || window_room == 0) && used < self.filled;
                return Ok(used);
            }
        }
    }

    /// Queues the calls in the intake together with the buffer they are in; the bytes from `rest` on move to the
    /// front of another.
    fn queue_by_swap(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>, rest: usize) {
        let mut next = desk.lend();
        let left = &buffer[rest..self.filled];
        if next.len() < left.len() {
            next.resize(left.len(), 0);
        }
        next[..left.len()].copy_from_slice(left);
        self.filled = left.len();
        self.frame_since = None;
        self.share.set(0);
        desk.queue_calls(&self.connection, self.arrived, |bytes| std::mem::swap(bytes, buffer));
        desk.give_back(std::mem::replace(buffer, next));
    }

    /// Since when the peer owes the rest of a frame. `now` if its reading is put off.
    pub(super) fn owes_since(&self, now: Instant) -> Option<Instant> {
        self.frame_since.map(|since| if self.paused { now } else { since })
    }

    /// The same as [`Connection::owes_since`] for who has just read.
    pub(super) fn owes(&self) -> Option<Instant> {
        self.frame_since
    }

    /// For so long before `now` the server did not run. What the peer owes, it owes as much later.
    pub(super) fn excuse(&mut self, lost: Duration, now: Instant) {
        self.frame_since = self.frame_since.map(|since| (since + lost).min(now));
    }

    /// Has the peer not said Hello yet?
    pub(super) fn awaits_hello(&self) -> bool {
        self.conversation.awaits_hello()
    }

    /// Is its reading put off?
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Ends the conversation; the peer is told why.
    pub(super) fn part(&mut self, refusal: &Refusal) {
        let mut frame = Vec::new();
        self.conversation.part(refusal, &mut frame);
        self.connection.send(&mut frame, 0);
    }

    /// Tells the peer that nothing more will come, and from now on throws away what it still sends: closing with
    /// bytes unread would reset the connection and might destroy the last replies on their way.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        self.leaving = Some(reason);
        (self.unread, self.filled) = (Vec::new(), 0);
        (self.paused, self.frame_since) = (false, None);
        self.share.set(0);
        self.finish();
    }

    /// The server or the port stops: tells the peer to send no more calls, and to close once it has its answers. Who
    /// has a connection over which handlers call may keep it until it is told so again.
    pub(super) fn say_goodbye(&mut self) {
        self.done = false;
        let mut frame = Vec::new();
        goaway(&Refusal::new(Status::Draining, Status::Draining.text()), &mut frame);
        self.connection.send(&mut frame, 0);
    }

    /// Do handlers call over it?
    pub(super) fn is_chained(&self) -> bool {
        self.conversation.is_chained()
    }

    /// Its place is wanted: tells it to close and call on another connection, unless it has begun to call.
    pub(super) fn dismiss(&mut self) -> bool {
        if self.connection.calls_out() > 0 || self.connection.carries() > 0 || self.filled > 0 {
            return false;
        }
        self.dismissed = true;
        let mut frame = Vec::new();
        goaway(&Refusal::new(Status::SessionClosed, Status::SessionClosed.text()), &mut frame);
        self.connection.send(&mut frame, 0);
        true
    }

    /// What an administrator sees of it, `now` and so long after the listener began.
    pub(super) fn snapshot(&self, port: &Arc<str>, now: Instant, since: Duration) -> monitor::ConnectionInfo {
        let Connection { connection, number, calls, .. } = self;
        monitor::ConnectionInfo {
            port: Arc::clone(port),
            id: *number,
            peer: connection.peer(),
            age: since.saturating_sub(Duration::from_secs(self.came_s.into())),
            idle: now.saturating_duration_since(self.arrived),
            calls: *calls,
            in_flight: connection.in_flight() as u64,
            bytes: self.held_bytes() as u64,
            sessions: (connection.carries() + usize::from(connection.is_welcomed())) as u64,
        }
    }

    /// For how long it has been there, to the second below; the listener began then.
    pub(super) fn stayed(&self, began: Instant) -> Duration {
        let came = Duration::from_secs(u64::from(self.came_s) + 1);
        Instant::now().saturating_duration_since(began + came)
    }

    /// Calls of it that were admitted.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Is it meant?
    pub(super) fn is_one_of(&self, whose: &monitor::ConnectionFilter) -> bool {
        match whose {
            monitor::ConnectionFilter::One(_, number) => self.number == *number,
            others => others.matches(self.connection.peer().ip()),
        }
    }

    /// Has it calls in progress?
    pub(super) fn is_calling(&self) -> bool {
        self.connection.in_flight() > 0
    }

    /// Is nothing of it under way?
    pub(super) fn is_done(&self) -> bool {
        !self.is_calling() && !self.connection.is_backlogged()
    }

    /// Memory of its half-read frame and of the replies it does not take.
    pub(super) fn held_bytes(&self) -> usize {
        self.share.bytes() + self.connection.held_bytes()
    }

    /// Once all replies are out, says that nothing more will come.
    pub(super) fn finish(&self) {
        // Who is not let in is to close first, as at the connection_limiter: the TIME_WAIT is the client's.
        let let_in = !matches!(self.leaving, Some(CloseReason::MaxUsers | CloseReason::Restricted));
        if let_in && !self.connection.is_backlogged() {
            // It fails only on a socket that is closed already.
            self.transport.finish().ok();
        }
    }

    /// Reads once and throws away.
    pub(super) fn discard(&mut self, desk: &mut Desk, reason: CloseReason) -> ReadOutcome {
        let mut buffer = desk.lend();
        let received = self.transport.receive(&mut buffer);
        desk.give_back(buffer);
        match received {
            Ok(0) => ReadOutcome::Ended(reason),
            Ok(_) => ReadOutcome::More,
            Err(error) if error.kind() == ErrorKind::WouldBlock => ReadOutcome::Drained,
            Err(_) => ReadOutcome::Ended(reason),
        }
    }
}
