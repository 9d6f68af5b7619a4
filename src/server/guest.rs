//! A connection as its listener alone knows it: what it has said so far, and whether there is more to read.
//! Steps 1 to 4 of a transaction's way (see docs/ARCHITECTURE.md).

use super::connection::Connection;
use super::door::Pass;
use super::sessions::{Registry, Tenant};
use super::transport::Transport;
use crate::pool::{Burst, Outlet, PortShared, Shared};
use crate::port::{Admission, Conversation, Entrance, Forecast, Intake, Leave, Outlook, Reception, goaway};
use crate::service::{Caller, Refusal, Session, Status};
use crate::stats::CloseReason;
use crate::sync::{Arc, Weak};
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::time::Instant;

/// Bytes read at once.
pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// Fewer bytes than this are copied from one buffer to another; with more the buffers change places.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Most bytes by which the buffer of a large frame grows at once; they are zeroed before they are read into.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// Read buffers a listener keeps for use again.
const SPARE_BUFFERS: usize = 4;

/// What a listener lends each of its guests.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) welcome: Arc<[u8]>,
    pub(super) body_bytes_max: usize,
    /// Calls a connection may have out.
    pub(super) session_calls_max: usize,
    pub(super) sessions: Arc<Registry>,
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
    /// The peer has closed or the socket failed.
    Ended(CloseReason),
    /// The peer broke the protocol and has been told.
    Leave(CloseReason),
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
    /// The poll has told of the peer's end, and tells of it once: reading goes on until it is seen.
    pub(super) ended: bool,
    /// Why the connection is being closed; what still comes is thrown away.
    pub(super) leaving: Option<CloseReason>,
    /// It was idle and has been told to close; what it calls still is refused.
    pub(super) dismissed: bool,
    /// The last to go: its place is free when the socket is closed.
    _pass: Pass,
}

impl Guest {
    pub(super) fn new(connection: Arc<Connection>, transport: Arc<Transport>, pass: Pass) -> Guest {
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
            ended: false,
            leaving: None,
            dismissed: false,
            _pass: pass,
        }
    }

    /// Reads once and queues the calls that were read.
    pub(super) fn read(&mut self, desk: &mut Desk) -> Reading {
        if self.connection.is_clogged() {
            desk.port.stats.outbound_full.add(1);
            return Reading::Paused;
        }
        if self.held && self.connection.window_room() == 0 {
            desk.port.stats.window_full.add(1);
            return Reading::Paused;
        }
        let mut buffer = if self.filled > COPY_BYTES_MAX {
            std::mem::take(&mut self.unread)
        } else {
            let mut buffer = desk.lend();
            buffer[..self.filled].copy_from_slice(&self.unread);
            buffer
        };
        let (reading, used) = self.read_into(desk, &mut buffer);
        self.keep(desk, buffer, used);
        reading
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
            Reading::Drained
        };
        (reading, used)
    }

    /// Keeps what begins at `used`: a small rest in a buffer of its size, a large one where it is.
    fn keep(&mut self, desk: &mut Desk, buffer: Vec<u8>, used: usize) {
        if used == 0 && self.filled > COPY_BYTES_MAX {
            self.unread = buffer;
            return;
        }
        self.unread = buffer[used..self.filled].to_vec();
        self.filled = self.unread.len();
        desk.give_back(buffer);
    }

    /// Lets the conversation take what it will, as long as the window has room. Returns how much it took, and notes
    /// whether the window held the rest back.
    fn consume(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> Result<usize, Leave> {
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
        desk.queue_calls(&self.connection, self.arrived, |bytes| std::mem::swap(bytes, buffer));
        desk.give_back(std::mem::replace(buffer, next));
    }

    /// Tells the peer that nothing more will come, and from now on throws away what it still sends: closing with
    /// bytes unread would reset the connection and might destroy the last replies on their way.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        self.leaving = Some(reason);
        (self.unread, self.filled) = (Vec::new(), 0);
        self.finish();
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

/// Where a client says Hello.
#[derive(Debug)]
struct Door<'a> {
    sessions: &'a Registry,
    connection: &'a Arc<Connection>,
    now: Instant,
}

impl Entrance for Door<'_> {
    fn enter(&self, client: &str) -> Result<(), Refusal> {
        let tenant = Arc::downgrade(self.connection) as Weak<dyn Tenant>;
        let carried = || Arc::clone(self.connection.sessions());
        self.sessions.enter(tenant, carried, (client, self.connection.peer()), self.now)?;
        self.connection.set_welcomed();
        Ok(())
    }
}

impl Desk {
    /// A connection is closed: its session ends.
    pub(super) fn show_out(&self, connection: &Connection, reason: CloseReason) {
        if connection.is_welcomed() {
            self.sessions.leave(self.tracked(connection), reason);
        }
    }

    /// The own session of a connection, if it is of interest.
    pub(super) fn tracked<'a>(&self, connection: &'a Connection) -> Option<&'a Arc<Session>> {
        if self.sessions.tracked { connection.sessions_if_any()?.own_if_made() } else { None }
    }

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
        connection: &Arc<Connection>,
        (bytes, window_room): (&[u8], usize),
        dismissed: bool,
        (arrived, now): (Instant, Instant),
    ) -> Result<usize, Leave> {
        let Desk { port, shared, welcome, intake, sessions, .. } = self;
        let outlook = Ahead { port, shared, connection, forecasts: Default::default() };
        let entrance = Door { sessions, connection, now };
        let admission = Admission {
            draining: self.draining,
            dismissed,
            entrance: &entrance,
            methods: shared.services.len() as u16,
            queue_room: port.queue.room(),
            session_room: self.session_calls_max.saturating_sub(connection.in_flight()),
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
        work.outlet = Some(Arc::clone(connection) as Arc<dyn Outlet>);
        work.received = arrived;
        work.permit_clock_us = port.queue.permit_clock().read_us(arrived);
        if !work.chains.is_empty() {
            let outlet = Arc::clone(connection) as Arc<dyn Outlet>;
            port.sort_out_nested(work, &outlet, &self.shared.nested);
        }
        connection.admitted(work.calls.len());
        if let Some(own) = self.tracked(connection) {
            own.used(work.calls.len() as u64, arrived);
        }
        for burst in Burst::split_work(shelf) {
            port.queue.admit(burst, &self.shared.paces);
            port.queue.announce(&self.shared.throttle, port.index);
        }
    }
}
