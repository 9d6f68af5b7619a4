//! The listener's part in the reads of its connections: shows the protocol the bytes and what the port admits,
//! and queues the calls of each read. Steps 3 and 4 of a transaction's way (see docs/ARCHITECTURE.md).
//!
//! Knows the port, its queue and the sessions; knows no sockets. [`PortView`] is the server as admission sees it.

use super::queue_shares::{Contender, QueueHolder, QueueShares};
use super::writer::ConnectionWriter;
use crate::admission::{Admission, AdmissionView, Forecast, LineForecast, OwnCallers, ReceivedChain};
use crate::metrics::CloseReason;
use crate::pool::{Burst, PortShared, ReplySink, Shared};
use crate::proto::{ProtocolClose, ReceiveContext, Received, ServerProtocol};
use crate::server::client_calls::ClientCalls;
use crate::server::sessions::{Registry, SessionHolder};
use crate::server::shutdown::AdmissionMode;
use crate::service::{ClientId, Peer, Refusal, SessionState};
use crate::sync::{Arc, Weak};
use crate::wire::Chain;
use std::cell::{OnceCell, RefCell};
use std::time::Instant;

/// Bytes read at once.
pub(in crate::server) const BUFFER_BYTES: usize = 128 << 10;

/// Most buffers kept.
const SPARE_BUFFERS_MAX: usize = 4;

/// Call buffers up to this size do not count: they are no larger than what a call costs besides, and bounded with the
/// queue.
const UNCOUNTED_BYTES_MAX: usize = 2 << 10;

/// A port and its server, as a listener knows them for all its life.
#[derive(Debug)]
pub(in crate::server) struct PortContext {
    pub(in crate::server) port: Arc<PortShared>,
    pub(in crate::server) shared: Arc<Shared>,
    pub(in crate::server) sessions: Arc<Registry>,
    /// The Welcome's bytes.
    pub(in crate::server) welcome: Arc<[u8]>,
    pub(in crate::server) body_bytes_max: usize,
    /// Calls of each client, over all ports.
    pub(in crate::server) client_calls: Arc<ClientCalls>,
    /// Calls a connection may have out.
    pub(in crate::server) session_calls_max: usize,
    /// The listening thread runs short calls.
    pub(in crate::server) run_where_read: bool,
}

/// A listener's spare read buffers, kept for use again.
#[derive(Debug)]
pub(in crate::server) struct ReadBuffers(Vec<Vec<u8>>);

impl Default for ReadBuffers {
    fn default() -> Self {
        ReadBuffers(vec![vec![0; BUFFER_BYTES]])
    }
}

impl ReadBuffers {
    /// Returns a buffer of at least [`BUFFER_BYTES`].
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// Keeps a buffer for use again, unless there are enough or it has grown too large.
    pub(super) fn put_back(&mut self, buffer: Vec<u8>) {
        if self.0.len() < SPARE_BUFFERS_MAX && (BUFFER_BYTES..=2 * BUFFER_BYTES).contains(&buffer.len()) {
            self.0.push(buffer);
        }
    }
}

/// Parts of a listener, borrowed for one read.
#[derive(Debug)]
pub(in crate::server) struct ReadContext<'a> {
    pub(in crate::server) at: &'a PortContext,
    pub(in crate::server) mode: AdmissionMode,
    pub(in crate::server) buffers: &'a mut ReadBuffers,
    pub(in crate::server) shares: &'a mut QueueShares<ConnectionWriter>,
    /// The result of the protocol; reused.
    pub(in crate::server) received: &'a mut Received,
    /// Frames that the listener has answered in this turn.
    pub(in crate::server) answered: &'a mut u32,
    /// Since when calls are queued that no worker was told of.
    pub(in crate::server) calls_left: &'a mut Option<Instant>,
}

/// Bytes of a connection for its protocol.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Calls the connection may still have out.
    pub(super) window_room: usize,
    /// The connection was evicted: the peer has a GoAway and is to call on another one.
    pub(super) evicted: bool,
    /// Time of the read, and the time now: later where the bytes had to wait for the window.
    pub(super) arrived: Instant,
    pub(super) now: Instant,
}

/// The server as one read of a connection sees it; each answer is computed at most once.
#[derive(Debug)]
struct PortView<'a> {
    at: &'a PortContext,
    mode: AdmissionMode,
    writer: &'a Arc<ConnectionWriter>,
    now: Instant,
    shares: RefCell<&'a mut QueueShares<ConnectionWriter>>,
    /// Of clients' calls, and of nested ones.
    forecasts: [OnceCell<Forecast>; 2],
    /// The client of this connection, and the connection's calls in the queue.
    client: OnceCell<(ClientId, usize)>,
}

impl PortView<'_> {
    fn contender(&self, ahead: usize, nested: bool) -> Contender {
        let find = || (ClientId::of(self.writer.peer().ip()), self.writer.waiting());
        let (client, waiting) = *self.client.get_or_init(find);
        Contender { client, waiting, ahead, nested }
    }
}

impl AdmissionView for PortView<'_> {
    fn open_session(&self, client: &str) -> Result<(), Refusal> {
        let holder = Arc::downgrade(self.writer) as Weak<dyn SessionHolder>;
        let sessions = || Arc::clone(self.writer.sessions());
        self.at.sessions.enter(holder, sessions, (client, self.writer.peer()), self.now)?;
        self.writer.set_has_session();
        Ok(())
    }

    fn own_callers(&self, chain: &Chain) -> OwnCallers {
        if self.mode == AdmissionMode::Nothing {
            return OwnCallers::default();
        }
        let PortContext { port, shared, .. } = self.at;
        let only = (self.mode == AdmissionMode::OwnPort).then_some(port.index);
        shared.nested.enter(chain, only, &port.stats)
    }

    fn nested_refused(&self, chain: &ReceivedChain) {
        self.at.shared.nested.refused(chain);
    }

    fn forecast(&self, nested: bool) -> Forecast {
        let forecast = || self.at.port.forecast(&self.at.shared, &**self.writer, nested);
        *self.forecasts[usize::from(nested)].get_or_init(forecast)
    }

    fn line(&self, method: u16, nested: bool) -> LineForecast {
        self.at.shared.line_forecast(method, nested)
    }

    fn has_client_room(&self, nested: bool) -> bool {
        self.writer.client().is_none_or(|client| client.has_room(nested))
    }

    fn count_for_client(&self, nested: bool) -> bool {
        self.writer.client().is_none_or(|client| client.try_add(nested))
    }

    fn uncount_for_client(&self) {
        self.writer.client().into_iter().for_each(|client| client.subtract(1));
    }

    fn can_displace(&self, ahead: usize, nested: bool) -> bool {
        self.shares.borrow_mut().can_displace(self.contender(ahead, nested))
    }

    fn displace(&self, ahead: usize, nested: bool) -> bool {
        let PortContext { port, shared, .. } = self.at;
        let displace =
            |writer: &ConnectionWriter, most| port.queue.displace(writer, most, &shared.service_times);
        self.shares.borrow_mut().displace(self.contender(ahead, nested), displace)
    }

    fn displaced(&self) -> usize {
        self.shares.borrow().displaced.len()
    }
}

impl PortContext {
    /// Ends the session of a connection that is closed.
    pub(in crate::server) fn end_session(&self, writer: &ConnectionWriter, reason: CloseReason) {
        if writer.has_session() {
            // A call that still runs may open a session: it is to find that it comes too late.
            let may_open = writer.in_flight() > 0;
            let carried = if may_open { Some(writer.sessions()) } else { writer.sessions_if_any() };
            self.sessions.leave(writer.peer(), (self.own_session(writer), carried), reason);
        }
    }

    /// Returns a connection's own session, if the registry tracks these.
    pub(in crate::server) fn own_session<'a>(
        &self,
        writer: &'a ConnectionWriter,
    ) -> Option<&'a Arc<SessionState>> {
        if self.sessions.is_tracked() { writer.sessions_if_any()?.own_if_made() } else { None }
    }

    /// Answers displaced calls, those of each connection together.
    fn refuse_displaced(&self, shares: &mut QueueShares<ConnectionWriter>) {
        let mut displaced = std::mem::take(&mut shares.displaced);
        displaced.sort_by_key(|(writer, _)| Arc::as_ptr(writer) as usize);
        let mut rest = displaced.into_iter().peekable();
        while let Some((writer, first)) = rest.next() {
            let next = || rest.next_if(|(other, _)| Arc::ptr_eq(other, &writer));
            let others = std::iter::from_fn(next).map(|(_, displaced)| displaced);
            self.port.refuse_displaced(&self.shared, &*writer, std::iter::once(first).chain(others));
        }
    }
}

impl ReadContext<'_> {
    /// Lets the protocol consume bytes; the result is in `received`.
    pub(super) fn receive(
        &mut self,
        protocol: &mut ServerProtocol,
        writer: &Arc<ConnectionWriter>,
        Input { bytes, window_room, evicted, arrived, now }: Input<'_>,
    ) -> Result<usize, ProtocolClose> {
        let (at, mode) = (self.at, self.mode);
        let PortContext { port, shared, .. } = at;
        let view = PortView {
            at,
            mode,
            writer,
            now,
            shares: RefCell::new(self.shares),
            forecasts: Default::default(),
            client: OnceCell::new(),
        };
        let admission = Admission {
            draining: mode != AdmissionMode::All,
            evicted,
            view: &view,
            methods: shared.services.len() as u16,
            queue_room: port.queue.room(),
            session_room: at.session_calls_max.saturating_sub(writer.in_flight()),
            methods_limited: shared.limits.any(),
            client_counted: writer.client().is_some(),
            buffers_full: port.buffers.are_full(),
            wait_max: port.codel.wait_max(),
            service_times: &shared.service_times,
        };
        let context = ReceiveContext {
            welcome: &at.welcome,
            body_bytes_max: at.body_bytes_max,
            admission,
            window_room,
            arrived,
            now,
            stats: &port.stats,
            methods: &port.methods,
        };
        let used = protocol.receive(bytes, &context, self.received);
        *self.answered += self.received.answered;
        if !self.shares.displaced.is_empty() {
            let fresh = self.received.calls.iter().filter(|call| !call.is_nested()).count();
            self.shares.gained(ClientId::of(writer.peer().ip()), writer, fresh);
            at.refuse_displaced(self.shares);
        }
        used
    }

    pub(super) fn send_replies(&mut self, writer: &ConnectionWriter) {
        if !self.received.replies.is_empty() {
            writer.send(&mut self.received.replies, 0);
        }
    }

    /// Carries out the cancels received, after the calls of the same read were queued.
    pub(super) fn cancel_calls(&mut self, writer: &ConnectionWriter) {
        if self.received.cancels.is_empty() {
            return;
        }
        for call in self.received.cancels.drain(..) {
            writer.cancel(call);
        }
    }

    /// Puts the calls of one read into the port's queue, as one burst in recycled buffers; `fill` writes their bytes.
    pub(super) fn queue_calls(
        &mut self,
        writer: &Arc<ConnectionWriter>,
        arrived: Instant,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let PortContext { port, shared, .. } = self.at;
        let mut buffers = port.take_buffer(arrived);
        let work = Arc::get_mut(&mut buffers).expect("spare buffers have one owner");
        std::mem::swap(&mut work.calls, &mut self.received.calls);
        std::mem::swap(&mut work.chains, &mut self.received.chains);
        // From here on the sessions that calls name are in use, however long the calls wait.
        if let Some(carried) = writer.sessions_if_any() {
            let named = work.calls.iter().filter(|call| call.session != 0);
            named.filter_map(|call| carried.find(call.session)).for_each(|session| session.touch(arrived));
        }
        fill(&mut work.bytes);
        // Of large buffers the part that was ever used counts; of those that were used before, all.
        let bytes = work.bytes.len().max(work.bytes.capacity().min(BUFFER_BYTES));
        work.lease.set(if bytes > UNCOUNTED_BYTES_MAX { bytes } else { 0 });
        work.sink = Some(Arc::clone(writer) as Arc<dyn ReplySink>);
        work.received = arrived;
        work.permit_clock_us = port.queue.permit_clock.read_us(arrived);
        if !work.chains.is_empty() {
            let sink = Arc::clone(writer) as Arc<dyn ReplySink>;
            port.register_nested(work, &sink, &shared.nested);
        }
        writer.admitted(work.calls.len());
        if let Some(own) = self.at.own_session(writer) {
            own.used(work.calls.len() as u64, arrived);
        }
        for burst in Burst::split_work(buffers) {
            let leave = self.at.run_where_read && port.may_leave(&burst, &shared.service_times);
            port.queue.admit(burst, &shared.service_times);
            if leave {
                self.calls_left.get_or_insert(arrived);
            } else {
                shared.throttle.announce(port.index);
            }
        }
    }
}
