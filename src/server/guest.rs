//! A connection as its listener alone knows it: what it has said so far, and whether there is more to read.
//! Steps 1 to 4 of a transaction's way (see docs/ARCHITECTURE.md).

use super::connection::Connection;
use super::transport::Transport;
use crate::pool::{Burst, Outlet, PortShared, Share, Shared};
use crate::port::{Admission, Conversation, Forecast, Intake, Leave, Outlook, Reception};
use crate::service::Refusal;
use crate::stats::CloseReason;
use crate::sync::Arc;
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::time::Instant;

/// Bytes read at once.
pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// Fewer bytes than this are copied from one buffer to another; with more the buffers change places.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Most bytes by which the buffer of a large frame grows at once; they are zeroed before they are read into.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// Buffers of calls up to this do not count: no larger than what a call costs besides, and bounded with the queue.
const UNCOUNTED_BYTES_MAX: usize = 2 << 10;

/// Read buffers a listener keeps for use again.
const SPARE_BUFFERS: usize = 4;

/// What a listener lends each of its guests.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) welcome: Arc<[u8]>,
    pub(super) body_bytes_max: usize,
    /// Calls a session may have out.
    pub(super) session_calls_max: usize,
    pub(super) draining: bool,
    pub(super) intake: Intake,
    /// Read buffers at hand.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// What reading a guest once came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// All that was there is read; the poll tells when more comes.
    Drained,
    /// There may be more; other guests come first.
    More,
    /// There is more, but this guest has enough calls or replies out. Its connection says when to go on.
    Paused,
    /// There may be more, but the server's buffers are full. It has to be asked again.
    Full,
    /// The peer has closed or the socket failed.
    Ended(CloseReason),
    /// The peer broke the protocol and has been told.
    Leave(CloseReason),
}

/// In which of the listener's lists a guest is, so that it is there once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listed {
    /// Of those whose frames have a time limit.
    pub(super) frame: bool,
    /// Of those whose replies have one.
    pub(super) replies: bool,
    /// Of those that wait for room in the buffers.
    pub(super) full: bool,
}

#[derive(Debug)]
pub(super) struct Guest {
    pub(super) connection: Arc<Connection>,
    transport: Arc<Transport>,
    conversation: Conversation,
    /// Its first `filled` bytes are read and not consumed: the beginning of a frame, or frames the window has no
    /// room for. Without capacity while there are none, so that an idle guest holds no buffer.
    unread: Vec<u8>,
    filled: usize,
    /// Does `unread` begin with frames that the window had no room for? Then nothing more is read from the socket
    /// until they are consumed: a peer that calls faster than it is served waits in its own socket.
    held: bool,
    /// When bytes were last read.
    arrived: Instant,
    /// May the socket hold bytes? Set by the poll, cleared when it has none.
    pub(super) readable: bool,
    /// Its reading is put off. That time is not its own.
    paused: bool,
    /// Since when there is the beginning of a frame in `unread`.
    frame_since: Option<Instant>,
    /// What `unread` counts for.
    share: Share,
    pub(super) listed: Listed,
    /// The poll has told of the peer's end, and tells of it once: reading goes on until it is seen.
    pub(super) ended: bool,
    /// Why the connection is being closed; what still comes is thrown away.
    pub(super) leaving: Option<CloseReason>,
}

impl Guest {
    pub(super) fn new(connection: Arc<Connection>, transport: Arc<Transport>, share: Share) -> Guest {
        let (conversation, unread) = (Conversation::default(), Vec::new());
        Guest {
            connection,
            transport,
            conversation,
            unread,
            filled: 0,
            held: false,
            arrived: Instant::now(),
            readable: false,
            paused: false,
            frame_since: None,
            share,
            listed: Listed::default(),
            ended: false,
            leaving: None,
        }
    }

    /// Reads once and queues the calls that were read.
    pub(super) fn read(&mut self, desk: &mut Desk) -> Reading {
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
        self.paused = reading == Reading::Paused;
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
    fn put_off(&self, desk: &Desk) -> Option<Reading> {
        let stats = &desk.port.stats;
        if self.connection.is_clogged() {
            stats.outbound_full.add(1);
            return Some(Reading::Paused);
        }
        if self.held && self.connection.window_room() == 0 {
            stats.window_full.add(1);
            return Some(Reading::Paused);
        }
        // While there is room, small reads go on: their calls are refused, and the peer is told. So is what is read
        // already.
        let buffers = &desk.port.buffers;
        if !self.held
            && buffers.are_full()
            && (self.filled > COPY_BYTES_MAX || !buffers.have_room(BUFFER_BYTES))
        {
            stats.buffers_full.add(1);
            return Some(Reading::Full);
        }
        None
    }

    /// Reads behind the unread bytes, which `buffer` begins with, and has them consumed. Returns also where in the
    /// buffer the bytes not consumed begin. The buffer grows with what has come, not with what a header claims.
    fn read_into(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> (Reading, usize) {
        let mut more = self.readable;
        if !self.held {
            if self.filled == buffer.len() {
                buffer.resize(self.filled + self.filled.min(GROWTH_BYTES_MAX), 0);
            }
            match self.transport.receive(&mut buffer[self.filled..]) {
                Ok(0) => return (Reading::Ended(self.conversation.hung_up(self.filled)), 0),
                Ok(n) => (self.filled, self.arrived) = (self.filled + n, Instant::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return (Reading::Ended(CloseReason::SocketError), 0),
            }
            more = self.readable && self.filled == buffer.len();
        }
        let used = match self.consume(desk, buffer) {
            Ok(used) => used,
            Err(Leave(reason)) => return (Reading::Leave(reason), 0),
        };
        // What the window held back was seen without room; if there is room by now, nobody else would come back to it.
        let reading = if self.held && self.connection.window_room() == 0 {
            desk.port.stats.window_full.add(1);
            Reading::Paused
        } else if self.held || more || self.ended && self.readable {
            Reading::More
        } else {
            // A short read means that the socket was empty: the poll tells of what comes after it. An end that came
            // with the bytes it has told of already, hence `ended`.
            self.readable = false;
            self.conversation.caught_up(self.arrived);
            Reading::Drained
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
    fn consume(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> Result<usize, Leave> {
        let mut used = 0;
        let now = if self.held { Instant::now() } else { self.arrived };
        loop {
            let window_room = self.connection.window_room();
            let bytes = &buffer[used..self.filled];
            let times = (self.arrived, now);
            let taken = desk.receive(&mut self.conversation, &self.connection, bytes, window_room, times);
            // Before the calls are queued: a Welcome must not be overtaken by the reply to a call sent with the Hello.
            desk.send_replies(&self.connection);
            let admitted = desk.intake.calls.len();
            if admitted > 0 {
                let end = used + desk.intake.calls.last().map_or(0, |call| call.arguments_end());
                if used == 0 && end > COPY_BYTES_MAX {
                    let rest = taken.unwrap_or(self.filled);
                    self.queue_by_swap(desk, buffer, rest);
                    desk.cancel_calls(&self.connection);
                    taken?;
                    // The rest moved to the front; it waits for more bytes or for room in the window.
                    self.held = admitted >= window_room && self.filled > 0;
                    return Ok(0);
                }
                desk.queue_calls(&self.connection, self.arrived, |copy| {
                    copy.clear();
                    copy.extend_from_slice(&buffer[used..end]);
                });
            }
            desk.cancel_calls(&self.connection);
            used += taken?;
            if admitted < window_room || window_room == 0 {
                self.held = window_room == 0 && used < self.filled;
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

    /// The same as [`Guest::owes_since`] for who has just read.
    pub(super) fn owes(&self) -> Option<Instant> {
        self.frame_since
    }

    /// Has the peer not said Hello yet?
    pub(super) fn awaits_hello(&self) -> bool {
        self.conversation.awaits_hello()
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

    /// Memory of its half-read frame and of the replies it does not take.
    pub(super) fn held_bytes(&self) -> usize {
        self.share.bytes() + self.connection.held_bytes()
    }

    /// Once all replies are out, says that nothing more will come.
    pub(super) fn finish(&self) {
        if !self.connection.is_backlogged() {
            // It fails only on a socket that is closed already.
            self.transport.finish().ok();
        }
    }

    /// Reads once and throws away.
    pub(super) fn discard(&mut self, desk: &mut Desk, reason: CloseReason) -> Reading {
        let mut buffer = desk.lend();
        let received = self.transport.receive(&mut buffer);
        desk.give_back(buffer);
        match received {
            Ok(0) => Reading::Ended(reason),
            Ok(_) => Reading::More,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Reading::Drained,
            Err(_) => Reading::Ended(reason),
        }
    }
}

/// What is ahead of a connection's next call: found out at most once for each read.
#[derive(Debug)]
struct Ahead<'a> {
    port: &'a PortShared,
    shared: &'a Shared,
    connection: &'a Connection,
    /// Of clients' calls, and of nested ones.
    forecasts: [OnceCell<Forecast>; 2],
}

impl Outlook for Ahead<'_> {
    fn forecast(&self, nested: bool) -> Forecast {
        let forecast = || self.port.forecast(self.shared, self.connection, nested);
        *self.forecasts[usize::from(nested)].get_or_init(forecast)
    }
}

impl Desk {
    /// A buffer of [`BUFFER_BYTES`] or more.
    fn lend(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < SPARE_BUFFERS && (BUFFER_BYTES..=2 * BUFFER_BYTES).contains(&buffer.len()) {
            self.buffers.push(buffer);
        }
    }

    /// Shows a conversation its bytes; what comes of it is in the intake.
    fn receive(
        &mut self,
        conversation: &mut Conversation,
        connection: &Connection,
        bytes: &[u8],
        window_room: usize,
        (arrived, now): (Instant, Instant),
    ) -> Result<usize, Leave> {
        let Desk { port, shared, welcome, intake, .. } = self;
        let outlook = Ahead { port, shared, connection, forecasts: Default::default() };
        let admission = Admission {
            draining: self.draining,
            methods: shared.services.len() as u16,
            queue_room: port.queue.room(),
            session_room: self.session_calls_max.saturating_sub(connection.in_flight()),
            buffers_full: port.buffers.are_full(),
            outlook: &outlook,
            server: shared.nested.server(),
            wait_max: port.codel.wait_max(),
            paces: &shared.paces,
        };
        let (stats, body_bytes_max) = (&port.stats, self.body_bytes_max);
        let reception = Reception { welcome, body_bytes_max, admission, window_room, arrived, now, stats };
        conversation.receive(bytes, &reception, intake)
    }

    /// Sends what the intake has ready.
    fn send_replies(&mut self, connection: &Connection) {
        if !self.intake.replies.is_empty() {
            connection.send(&mut self.intake.replies, 0);
        }
    }

    /// Carries out the cancels in the intake, after its calls were admitted.
    fn cancel_calls(&mut self, connection: &Connection) {
        for call in self.intake.cancels.drain(..) {
            connection.cancel(call);
        }
    }

    /// Puts the calls of one read into the port's queue, as one burst in recycled buffers; `fill` gives it their
    /// bytes.
    fn queue_calls(
        &mut self,
        connection: &Arc<Connection>,
        arrived: Instant,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let port = &self.port;
        let mut shelf = port.spare_work(arrived);
        let work = Arc::get_mut(&mut shelf).expect("spare buffers have one owner");
        std::mem::swap(&mut work.calls, &mut self.intake.calls);
        std::mem::swap(&mut work.chains, &mut self.intake.chains);
        fill(&mut work.bytes);
        // Of large buffers the part that was ever used; of those that were used before, all.
        let bytes = work.bytes.len().max(work.bytes.capacity().min(BUFFER_BYTES));
        work.share.set(if bytes > UNCOUNTED_BYTES_MAX { bytes } else { 0 });
        work.outlet = Some(Arc::clone(connection) as Arc<dyn Outlet>);
        work.received = arrived;
        work.permit_clock_us = port.queue.permit_clock().read_us(arrived);
        if !work.chains.is_empty() {
            let outlet = Arc::clone(connection) as Arc<dyn Outlet>;
            port.sort_out_nested(work, &outlet, &self.shared.nested);
        }
        connection.admitted(work.calls.len());
        for burst in Burst::split_work(shelf) {
            port.queue.admit(burst, &self.shared.paces);
            port.queue.announce(&self.shared.throttle, port.index);
        }
    }
}
