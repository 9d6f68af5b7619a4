//! What a listener lends its connections: what the port lets in, the intake of a read, and buffers to read into.
//!
//! Knows the port, the queue and the sessions; a connection brings its conversation and its bytes. Step 4 of a
//! transaction's way (see docs/ARCHITECTURE.md) is [`Desk::queue_calls`].

use super::queue_shares::{Newcomer, QueueHolder, QueueShares};
use super::sessions::{Registry, SessionHolder};
use super::writer::ConnectionWriter;
use crate::admission::{
    Admission, Entrance, Forecast, Nesting, Outlook, OwnCallers, QueueRivals, ReceivedChain,
};
use crate::metrics::CloseReason;
use crate::pool::{Burst, Displaced, PortShared, ReplySink, Shared};
use crate::proto::{ProtocolClose, ReceiveContext, Received, ServerProtocol};
use crate::service::{ClientId, Peer, Refusal, Session};
use crate::sync::{Arc, Weak};
use crate::wire::Chain;
use std::cell::{Cell, OnceCell, RefCell};
use std::time::Instant;

/// Bytes read at once.
pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// Buffers of calls up to this do not count: no larger than what a call costs besides, and bounded with the queue.
const UNCOUNTED_BYTES_MAX: usize = 2 << 10;

/// Read buffers a listener keeps for use again.
const SPARE_BUFFERS: usize = 4;

/// Which calls a listener lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmissionMode {
    All,
    /// The port is stopped: only calls nested in transactions of its own, which it lets end.
    OwnPort,
    /// The server stops: only calls nested in its transactions.
    OwnServer,
    Nothing,
}

/// What a listener lends each of its connections.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) welcome: Arc<[u8]>,
    pub(super) body_bytes_max: usize,
    /// Calls a connection may have out.
    pub(super) session_calls_max: usize,
    pub(super) sessions: Arc<Registry>,
    pub(super) admits: AdmissionMode,
    pub(super) intake: Received,
    /// Frames that the listener itself has answered in this turn.
    pub(super) answered: u32,
    /// Who has calls in the queue; empty while that is not nearly full.
    pub(super) holders: QueueShares<ConnectionWriter>,
    /// Calls that have made room in this read and are still to be answered.
    pub(super) displaced: Vec<(Arc<ConnectionWriter>, Displaced)>,
    /// Read buffers at hand.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// What is ahead of a connection's next call: found out at most once for each read.
#[derive(Debug)]
struct Ahead<'a> {
    port: &'a PortShared,
    shared: &'a Shared,
    connection: &'a ConnectionWriter,
    /// Of clients' calls, and of nested ones.
    forecasts: [OnceCell<Forecast>; 2],
}

impl Outlook for Ahead<'_> {
    fn forecast(&self, nested: bool) -> Forecast {
        let forecast = || self.port.forecast(self.shared, self.connection, nested);
        *self.forecasts[usize::from(nested)].get_or_init(forecast)
    }
}

/// Which transactions a call may be nested in.
#[derive(Debug)]
struct Running<'a> {
    port: &'a PortShared,
    shared: &'a Shared,
    admits: AdmissionMode,
}

impl Nesting for Running<'_> {
    fn enter(&self, chain: &Chain) -> OwnCallers {
        if self.admits == AdmissionMode::Nothing {
            return OwnCallers::default();
        }
        let port = (self.admits == AdmissionMode::OwnPort).then_some(self.port.index);
        self.shared.nested.enter(chain, port, &self.port.stats)
    }

    fn refused(&self, chain: &ReceivedChain) {
        self.shared.nested.refused(chain);
    }
}

impl QueueHolder for ConnectionWriter {
    fn waiting(&self) -> usize {
        if self.in_flight() == 0 { 0 } else { self.queue(false).calls() }
    }
}

/// Whose calls make room in a full queue for one of a connection.
#[derive(Debug)]
struct Contest<'a> {
    port: &'a PortShared,
    shared: &'a Shared,
    connection: &'a ConnectionWriter,
    holders: RefCell<&'a mut QueueShares<ConnectionWriter>>,
    displaced: RefCell<&'a mut Vec<(Arc<ConnectionWriter>, Displaced)>>,
    newcomer: OnceCell<(ClientId, usize)>,
    made: Cell<usize>,
}

impl Contest<'_> {
    fn newcomer(&self, ahead: usize, nested: bool) -> Newcomer {
        let find = || (ClientId::of(self.connection.peer().ip()), self.connection.waiting());
        let (client, waiting) = *self.newcomer.get_or_init(find);
        Newcomer { client, waiting, ahead, nested }
    }
}

impl QueueRivals for Contest<'_> {
    fn outweigh(&self, ahead: usize, nested: bool) -> bool {
        self.holders.borrow_mut().outweigh(self.newcomer(ahead, nested))
    }

    fn make_room(&self, ahead: usize, nested: bool) -> bool {
        let displace =
            |connection: &ConnectionWriter, most| self.port.displace(self.shared, connection, most);
        let found = self.holders.borrow_mut().make_room(self.newcomer(ahead, nested), displace);
        self.made.set(self.made.get() + usize::from(found.is_some()));
        found.map(|found| self.displaced.borrow_mut().push(found)).is_some()
    }

    fn made(&self) -> usize {
        self.made.get()
    }
}

/// Where a client says Hello.
#[derive(Debug)]
struct Threshold<'a> {
    sessions: &'a Registry,
    connection: &'a Arc<ConnectionWriter>,
    now: Instant,
}

impl Entrance for Threshold<'_> {
    fn enter(&self, client: &str) -> Result<(), Refusal> {
        let tenant = Arc::downgrade(self.connection) as Weak<dyn SessionHolder>;
        let carried = || Arc::clone(self.connection.sessions());
        self.sessions.enter(tenant, carried, (client, self.connection.peer()), self.now)?;
        self.connection.set_welcomed();
        Ok(())
    }
}

impl Desk {
    /// A connection is closed: its session ends.
    pub(super) fn show_out(&self, connection: &ConnectionWriter, reason: CloseReason) {
        if connection.is_welcomed() {
            // A call that still runs may open a session: it finds that it comes too late.
            let opens = connection.in_flight() > 0;
            let carried = if opens { Some(connection.sessions()) } else { connection.sessions_if_any() };
            self.sessions.leave(connection.peer(), (self.tracked(connection), carried), reason);
        }
    }

    /// The own session of a connection, if it is of interest.
    pub(super) fn tracked<'a>(&self, connection: &'a ConnectionWriter) -> Option<&'a Arc<Session>> {
        if self.sessions.is_tracked() { connection.sessions_if_any()?.own_if_made() } else { None }
    }

    /// A buffer of [`BUFFER_BYTES`] or more.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < SPARE_BUFFERS && (BUFFER_BYTES..=2 * BUFFER_BYTES).contains(&buffer.len()) {
            self.buffers.push(buffer);
        }
    }

    /// Shows a conversation its bytes; what comes of it is in the intake.
    pub(super) fn receive(
        &mut self,
        conversation: &mut ServerProtocol,
        connection: &Arc<ConnectionWriter>,
        (bytes, window_room): (&[u8], usize),
        dismissed: bool,
        (arrived, now): (Instant, Instant),
    ) -> Result<usize, ProtocolClose> {
        let Desk { port, shared, welcome, intake, answered, holders, displaced, sessions, admits, .. } = self;
        let outlook = Ahead { port, shared, connection, forecasts: Default::default() };
        let entrance = Threshold { sessions, connection, now };
        let nesting = Running { port, shared, admits: *admits };
        let rivals = Contest {
            port,
            shared,
            connection,
            holders: RefCell::new(holders),
            displaced: RefCell::new(displaced),
            newcomer: OnceCell::new(),
            made: Cell::new(0),
        };
        let admission = Admission {
            draining: *admits != AdmissionMode::All,
            dismissed,
            entrance: &entrance,
            methods: shared.services.len() as u16,
            queue_room: port.queue.room(),
            rivals: &rivals,
            session_room: self.session_calls_max.saturating_sub(connection.in_flight()),
            buffers_full: port.buffers.are_full(),
            outlook: &outlook,
            nesting: &nesting,
            wait_max: port.codel.wait_max(),
            paces: &shared.service_times,
        };
        let reception = ReceiveContext {
            welcome,
            body_bytes_max: self.body_bytes_max,
            admission,
            window_room,
            arrived,
            now,
            stats: &port.stats,
            methods: &port.methods,
        };
        let used = conversation.receive(bytes, &reception, intake);
        *answered += intake.answered;
        if !self.displaced.is_empty() {
            let fresh = self.intake.calls.iter().filter(|call| !call.is_nested()).count();
            self.holders.gained(ClientId::of(connection.peer().ip()), connection, fresh);
            self.answer_displaced();
        }
        used
    }

    /// Answers the calls that have made room, those of each connection together.
    fn answer_displaced(&mut self) {
        let mut displaced = std::mem::take(&mut self.displaced);
        displaced.sort_by_key(|(connection, _)| Arc::as_ptr(connection) as usize);
        let mut rest = displaced.into_iter().peekable();
        while let Some((connection, first)) = rest.next() {
            let next = || rest.next_if(|(other, _)| Arc::ptr_eq(other, &connection));
            let others = std::iter::from_fn(next).map(|(_, displaced)| displaced);
            self.port.refuse_displaced(&self.shared, &*connection, std::iter::once(first).chain(others));
        }
    }

    /// Before a read, if the queue may get full by it: is it time to find out who has how much of it?
    pub(super) fn wants_survey(&mut self, connections: usize) -> Option<Instant> {
        if !self.port.queue.is_tight() {
            self.holders.forget();
            return None;
        }
        let now = Instant::now();
        self.holders.is_due(connections, now).then_some(now)
    }

    /// Sends what the intake has ready.
    pub(super) fn send_replies(&mut self, connection: &ConnectionWriter) {
        if !self.intake.replies.is_empty() {
            connection.send(&mut self.intake.replies, 0);
        }
    }

    /// Carries out the cancels in the intake, after its calls were admitted.
    pub(super) fn cancel_calls(&mut self, connection: &ConnectionWriter) {
        if self.intake.cancels.is_empty() {
            return;
        }
        for call in self.intake.cancels.drain(..) {
            connection.cancel(call);
        }
    }

    /// Puts the calls of one read into the port's queue, as one burst in recycled buffers; `fill` gives it their
    /// bytes.
    pub(super) fn queue_calls(
        &mut self,
        connection: &Arc<ConnectionWriter>,
        arrived: Instant,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let port = &self.port;
        let mut shelf = port.take_buffer(arrived);
        let work = Arc::get_mut(&mut shelf).expect("spare buffers have one owner");
        std::mem::swap(&mut work.calls, &mut self.intake.calls);
        std::mem::swap(&mut work.chains, &mut self.intake.chains);
        // From here on those who ask for calls are in use, however long the calls wait.
        if let Some(carried) = connection.sessions_if_any() {
            let asking = work.calls.iter().filter(|call| call.session != 0);
            asking.filter_map(|call| carried.find(call.session)).for_each(|session| session.touch(arrived));
        }
        fill(&mut work.bytes);
        // Of large buffers the part that was ever used; of those that were used before, all.
        let bytes = work.bytes.len().max(work.bytes.capacity().min(BUFFER_BYTES));
        work.lease.set(if bytes > UNCOUNTED_BYTES_MAX { bytes } else { 0 });
        work.sink = Some(Arc::clone(connection) as Arc<dyn ReplySink>);
        work.received = arrived;
        work.permit_clock_us = port.queue.permit_clock().read_us(arrived);
        if !work.chains.is_empty() {
            let outlet = Arc::clone(connection) as Arc<dyn ReplySink>;
            port.register_nested(work, &outlet, &self.shared.nested);
        }
        connection.admitted(work.calls.len());
        if let Some(own) = self.tracked(connection) {
            own.used(work.calls.len() as u64, arrived);
        }
        for burst in Burst::split_work(shelf) {
            port.queue.admit(burst, &self.shared.service_times);
            self.shared.throttle.announce(port.index);
        }
    }
}
