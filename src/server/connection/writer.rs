//! The half of a connection that the listener shares with workers: sends replies, keeps what the socket does not take,
//! and counts the calls that are out.
//!
//! Invariants: bytes leave in the order in which replies were given; while bytes wait in `outbound`, the listener alone
//! writes to the socket, so the poll's next writable event is never missed; a closed connection gives its descriptor
//! back at once, whatever calls are still out.

use super::queue_shares::QueueHolder;
use super::transport::Transport;
use crate::admission::WINDOW_CALLS_MAX;
use crate::metrics::CloseReason;
use crate::pool::{BufferLease, Buffers, Burst, ConnectionQueue, ReplySink};
use crate::server::client_calls::{ClientCalls, ClientCounter};
use crate::server::listener::{Id, ListenerHandle};
use crate::server::sessions::SessionHolder;
use crate::service::{ClientId, ConnectionSessions, Peer};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::OnceLock;

/// With more unsent bytes than this, a connection's calls are no longer read. A soft bound: replies to calls
/// already admitted still come on top.
const OUTBOUND_HIGH_BYTES: usize = 1 << 20;

/// Unsent replies are kept in pieces of this size: buffers that grow would leave holes of all sizes in memory.
const PIECE_BYTES: usize = 64 << 10;

/// Counts as taken when no bytes wait any more, so that the peer is not measured by what came after that.
pub(in crate::server) const DRAINED_BYTES: u64 = 64 << 10;

/// The bit of `in_flight` that says that the calls are counted for the client.
const COUNTED: usize = 1 << (usize::BITS - 1);

/// Limits of the unsent replies of a connection.
#[derive(Debug)]
pub(in crate::server) struct WriterLimits<'a> {
    pub(in crate::server) buffers: &'a Arc<Buffers>,
    /// A connection that gets another reply while it has more unsent bytes than this is closed.
    pub(in crate::server) unsent_bytes_max: usize,
}

/// The shared half of a connection.
#[derive(Debug)]
pub(in crate::server) struct ConnectionWriter {
    peer: SocketAddr,
    id: Id,
    unsent_bytes_max: usize,
    outbound: Mutex<Outbound>,
    /// `outbound` holds bytes. Written under its lock, read without.
    backlogged: AtomicBool,
    /// `outbound` is not open any more. Written under its lock, read without.
    gone: AtomicBool,
    /// Calls that are out, and [`COUNTED`]: with one change of it an answer is known to be counted, or not to be.
    in_flight: AtomicUsize,
    /// The count of its client's calls, from before [`COUNTED`] is set.
    client: OnceLock<ClientCounter>,
    /// The listener has stopped reading until fewer calls are out.
    paused: AtomicBool,
    cancelled: Mutex<VecDeque<u64>>,
    /// `cancelled` is not empty.
    any_cancelled: AtomicBool,
    /// Calls that wait for a worker: those that clients made, and those that handlers of this server made.
    queues: [ConnectionQueue<Burst>; 2],
    listener: Arc<ListenerHandle>,
    /// Its sessions, once there was use for any.
    sessions: OnceLock<Arc<ConnectionSessions>>,
    /// The peer has said Hello: the registry counts the connection's own session.
    has_session: AtomicBool,
    /// The registry asks for its place, since it looked idle.
    eviction_asked: AtomicBool,
}

#[derive(Debug)]
struct Outbound {
    socket: SendSide,
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are sent.
    sent: usize,
    /// Bytes of all pieces that are not.
    unsent: usize,
    /// The memory of the pieces.
    lease: BufferLease,
    /// Bytes that had to wait and were taken, since the beginning.
    taken: u64,
}

/// The sending side of the socket.
#[derive(Debug)]
enum SendSide {
    Open(Arc<Transport>),
    /// Nothing more can be sent: the socket failed, or too much waits for it.
    Failed(CloseReason),
    /// The listener has closed the connection.
    Closed,
}

impl ConnectionWriter {
    pub(in crate::server) fn new(
        transport: Arc<Transport>,
        peer: SocketAddr,
        id: Id,
        listener: Arc<ListenerHandle>,
        WriterLimits { buffers, unsent_bytes_max }: WriterLimits<'_>,
    ) -> ConnectionWriter {
        let (socket, pieces, lease) = (SendSide::Open(transport), VecDeque::new(), BufferLease::new(buffers));
        let outbound = Outbound { socket, pieces, sent: 0, unsent: 0, lease, taken: 0 };
        ConnectionWriter {
            peer,
            id,
            unsent_bytes_max,
            outbound: Mutex::new(outbound),
            backlogged: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            client: OnceLock::new(),
            paused: AtomicBool::new(false),
            cancelled: Mutex::default(),
            any_cancelled: AtomicBool::new(false),
            queues: Default::default(),
            listener,
            sessions: OnceLock::new(),
            has_session: AtomicBool::new(false),
            eviction_asked: AtomicBool::new(false),
        }
    }

    /// Returns its sessions, and makes room for them at the first use.
    pub(in crate::server) fn sessions(&self) -> &Arc<ConnectionSessions> {
        self.sessions.get_or_init(Arc::default)
    }

    /// Returns its sessions, if there was use for any.
    pub(in crate::server) fn sessions_if_any(&self) -> Option<&Arc<ConnectionSessions>> {
        self.sessions.get()
    }

    /// The registry counts its own session from now on.
    pub(super) fn set_has_session(&self) {
        self.has_session.store(true, Ordering::Relaxed);
    }

    /// Returns whether the registry counts its own session.
    pub(super) fn has_session(&self) -> bool {
        self.has_session.load(Ordering::Relaxed)
    }

    /// Returns whether the registry asked for its place since the last call.
    pub(in crate::server) fn take_eviction(&self) -> bool {
        self.eviction_asked.swap(false, Ordering::SeqCst)
    }

    /// Returns how many calls may still be admitted. At 0 the connection counts as paused: the listener is woken when
    /// there is room again.
    pub(super) fn window_room(&self) -> usize {
        let room = WINDOW_CALLS_MAX.saturating_sub(self.in_flight());
        if room > 0 {
            return room;
        }
        // First paused, then the second look: a worker first counts its answer, then looks for `paused`.
        self.paused.store(true, Ordering::SeqCst);
        let room = WINDOW_CALLS_MAX.saturating_sub(self.in_flight());
        if room > 0 {
            self.paused.store(false, Ordering::SeqCst);
        }
        room
    }

    /// Counts calls that were admitted.
    pub(super) fn admitted(&self, calls: usize) {
        self.in_flight.fetch_add(calls, Ordering::SeqCst);
    }

    /// Returns whether the peer leaves so many replies unread that nothing more is read from it.
    pub(super) fn is_clogged(&self) -> bool {
        self.backlogged.load(Ordering::SeqCst) && self.outbound.lock().unsent > OUTBOUND_HIGH_BYTES
    }

    /// Returns how many calls are out.
    pub(in crate::server) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst) & !COUNTED
    }

    /// Counts its calls for its client from now on. For its listener alone.
    pub(in crate::server) fn count_for_client(&self, all: &Arc<ClientCalls>) {
        if self.client.get().is_none() {
            let counter = self.client.get_or_init(|| all.counter(ClientId::of(self.peer.ip())));
            counter.add(self.in_flight.fetch_or(COUNTED, Ordering::SeqCst));
        }
    }

    /// The count of its client's calls, if its calls are counted.
    pub(super) fn client(&self) -> Option<&ClientCounter> {
        self.client.get()
    }

    /// Returns whether bytes wait to be sent.
    pub(in crate::server) fn is_backlogged(&self) -> bool {
        self.backlogged.load(Ordering::SeqCst)
    }

    /// Returns why nothing more can be sent, if sending failed in a worker's hands.
    pub(in crate::server) fn failure(&self) -> Option<CloseReason> {
        if !self.gone.load(Ordering::SeqCst) {
            return None;
        }
        match self.outbound.lock().socket {
            SendSide::Failed(reason) => Some(reason),
            SendSide::Open(_) | SendSide::Closed => Some(CloseReason::SocketError),
        }
    }

    /// Returns the memory of the replies that wait.
    pub(super) fn held_bytes(&self) -> usize {
        if self.is_backlogged() { self.outbound.lock().lease.bytes() } else { 0 }
    }

    /// Returns the bytes that the peer has taken of those that had to wait, since the beginning.
    pub(in crate::server) fn taken(&self) -> u64 {
        self.outbound.lock().taken
    }

    /// Notes that a call is cancelled. Ids are kept only while calls are out, and no more of them than can be out; the
    /// oldest, whose calls were most likely answered long ago, are forgotten first.
    pub(super) fn cancel(&self, call: u64) {
        let mut cancelled = self.cancelled.lock();
        if self.in_flight() > 0 {
            if cancelled.len() == WINDOW_CALLS_MAX {
                cancelled.pop_front();
            }
            cancelled.push_back(call);
            self.any_cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// Sends what waits, for the listener when the socket takes bytes again.
    pub(in crate::server) fn flush(&self) {
        let mut outbound = self.outbound.lock();
        let SendSide::Open(transport) = &outbound.socket else { return };
        let transport = Arc::clone(transport);
        let mut alive = true;
        while let Some(piece) = outbound.pieces.front() {
            let (more, still_alive) = send_all(&transport, &piece[outbound.sent..]);
            alive = still_alive;
            if !outbound.forget(more) {
                break;
            }
        }
        if alive && outbound.unsent > 0 {
            return;
        }
        outbound.empty();
        outbound.taken += DRAINED_BYTES;
        self.backlogged.store(false, Ordering::SeqCst);
        if !alive {
            self.fail(&mut outbound, CloseReason::SocketError);
            drop(outbound);
            self.listener.wake_for(self.id);
        }
    }

    /// Ends sending. The descriptor is closed when the listener drops its half too.
    pub(in crate::server) fn close(&self) {
        let mut outbound = self.outbound.lock();
        self.gone.store(true, Ordering::SeqCst);
        outbound.socket = SendSide::Closed;
        outbound.empty();
        self.backlogged.store(false, Ordering::SeqCst);
    }

    /// Ends sending after a failure. The caller then wakes the listener to close the socket, without the lock.
    fn fail(&self, outbound: &mut Outbound, reason: CloseReason) {
        self.gone.store(true, Ordering::SeqCst);
        outbound.socket = SendSide::Failed(reason);
        outbound.empty();
    }

    /// Sends at once what the socket takes and keeps the rest, within bounds.
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut outbound = self.outbound.lock();
        let (mut alive, mut look) = (true, false);
        if let SendSide::Open(transport) = &outbound.socket {
            let mut sent = 0;
            if outbound.unsent == 0 {
                (sent, alive) = send_all(transport, bytes);
                if alive && sent < bytes.len() {
                    // The listener handles a writable event only of a backlogged connection, and the one event may
                    // have passed just now. So mark it first, then try the socket again.
                    self.backlogged.store(true, Ordering::SeqCst);
                    let (more, still_alive) = send_all(transport, &bytes[sent..]);
                    (sent, alive) = (sent + more, still_alive);
                    if sent == bytes.len() {
                        self.backlogged.store(false, Ordering::SeqCst);
                    }
                }
            }
            if !alive {
                self.fail(&mut outbound, CloseReason::SocketError);
            } else if sent < bytes.len() {
                match outbound.keep(&bytes[sent..], self.unsent_bytes_max) {
                    Ok(seen) => look = seen,
                    Err(reason) => {
                        self.fail(&mut outbound, reason);
                        look = true;
                    }
                }
            }
        }
        drop(outbound);
        bytes.clear();
        if !alive || look {
            self.listener.wake_for(self.id);
        }
    }
}

/// Sends until the socket takes no more. Returns how much it took, and whether it is still alive. The poll reports
/// that it takes more only after [`ErrorKind::WouldBlock`].
fn send_all(transport: &Transport, bytes: &[u8]) -> (usize, bool) {
    let mut sent = 0;
    while sent < bytes.len() {
        match transport.send(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) => return (sent, error.kind() == ErrorKind::WouldBlock),
        }
    }
    (sent, true)
}

impl Outbound {
    /// Keeps what the socket does not take. A reply of any size may wait where not too much does already. Returns
    /// whether the listener is to be woken: replies wait from now on, or much memory is held.
    ///
    /// # Errors
    /// It is too much for this connection or, as the others have the memory, for the server.
    fn keep(&mut self, mut rest: &[u8], unsent_bytes_max: usize) -> Result<bool, CloseReason> {
        let first = self.unsent == 0;
        if self.unsent > unsent_bytes_max {
            return Err(CloseReason::OutboundFull);
        }
        self.unsent += rest.len();
        while !rest.is_empty() {
            let room = self.pieces.back().map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                // The first is no larger than it must be: most peers that are behind are so by little.
                let bytes = if self.pieces.is_empty() { rest.len().min(PIECE_BYTES) } else { PIECE_BYTES };
                if !self.lease.try_add(bytes) {
                    return Err(CloseReason::BuffersFull);
                }
                self.pieces.push_back(Vec::with_capacity(bytes));
            } else if let Some(last) = self.pieces.back_mut() {
                let (now, later) = rest.split_at(room.min(rest.len()));
                last.extend_from_slice(now);
                rest = later;
            }
        }
        let buffers = self.lease.buffers();
        Ok(first || buffers.are_full() || buffers.bytes() > buffers.fair_part())
    }

    /// Drops bytes of the first piece that were sent. Returns whether that was all of it.
    fn forget(&mut self, more: usize) -> bool {
        (self.sent, self.unsent, self.taken) =
            (self.sent + more, self.unsent - more, self.taken + more as u64);
        if self.pieces.front().is_none_or(|piece| self.sent < piece.len()) {
            return false;
        }
        let piece = self.pieces.pop_front();
        self.lease.set(self.lease.bytes() - piece.map_or(0, |piece| piece.capacity()));
        self.sent = 0;
        true
    }

    fn empty(&mut self) {
        (self.pieces, self.sent, self.unsent) = (VecDeque::new(), 0, 0);
        self.lease.set(0);
    }
}

impl ReplySink for ConnectionWriter {
    fn queue(&self, nested: bool) -> &ConnectionQueue<Burst> {
        &self.queues[usize::from(nested)]
    }

    fn send(&self, replies: &mut Vec<u8>, answers: usize) {
        // Counted before they leave: a client that has an answer may call again, and must find its place free.
        if answers > 0 {
            self.answered(answers);
        }
        self.write(replies);
    }
}

impl ConnectionWriter {
    /// Counts calls that are answered.
    fn answered(&self, answers: usize) {
        let before = self.in_flight.fetch_sub(answers, Ordering::SeqCst);
        if before & COUNTED != 0 {
            self.client.get().into_iter().for_each(|client| client.subtract(answers));
        }
        let before = before & !COUNTED;
        if before == answers && self.any_cancelled.load(Ordering::SeqCst) {
            self.forget_cancelled();
        }
        if before - answers <= WINDOW_CALLS_MAX / 2 && self.paused.swap(false, Ordering::SeqCst) {
            self.listener.wake_for(self.id);
        }
    }

    /// Forgets cancelled ids once no call is out that they can mean. Looks again under the lock, since a call may have
    /// come meanwhile.
    fn forget_cancelled(&self) {
        let mut cancelled = self.cancelled.lock();
        if self.in_flight() == 0 {
            *cancelled = VecDeque::new();
            self.any_cancelled.store(false, Ordering::SeqCst);
        }
    }
}

impl Peer for ConnectionWriter {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn is_cancelled(&self, call: u64) -> bool {
        let asked = self.any_cancelled.load(Ordering::Relaxed) && self.cancelled.lock().contains(&call);
        asked || self.is_gone()
    }

    fn carried_sessions(&self) -> Option<&Arc<ConnectionSessions>> {
        Some(self.sessions())
    }
}

impl SessionHolder for ConnectionWriter {
    fn calls_out(&self) -> usize {
        self.in_flight()
    }

    fn carries(&self) -> usize {
        self.sessions.get().map_or(0, |carried| carried.count())
    }

    fn ask_to_leave(&self) {
        self.eviction_asked.store(true, Ordering::SeqCst);
        self.listener.wake_for(self.id);
    }
}

impl QueueHolder for ConnectionWriter {
    fn waiting(&self) -> usize {
        if self.in_flight() == 0 { 0 } else { self.queue(false).calls() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::connected;
    use mio::{Poll, Token, Waker};
    use std::io::Read;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_peer_that_is_always_behind_costs_what_it_is_behind() {
        let poll = Poll::new().unwrap();
        let handle = Arc::new(ListenerHandle::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let (mut peer, stream) = connected();
        let (address, transport) = (stream.peer_addr().unwrap(), Arc::new(Transport::Plain(stream)));
        let limits = WriterLimits { buffers: &Buffers::unbounded(), unsent_bytes_max: usize::MAX };
        let writer = ConnectionWriter::new(transport, address, Id::of(Token(1)), handle, limits);
        let mut given = 0;
        // More than the system's own buffers ever take.
        while writer.outbound.lock().unsent < 32 * MIB {
            writer.write(&mut vec![7; MIB]);
            given += MIB;
        }
        let (mut taken, mut piece) = (0, vec![0; MIB]);
        for _ in 0..100 {
            writer.write(&mut vec![7; MIB]);
            given += MIB;
            peer.read_exact(&mut piece).unwrap();
            taken += MIB;
            writer.flush();
            let outbound = writer.outbound.lock();
            assert!(outbound.unsent > 0, "{given} given, {taken} taken");
            let held: usize = outbound.pieces.iter().map(Vec::capacity).sum();
            assert_eq!(held, outbound.lease.bytes());
            assert!(held <= outbound.unsent + 2 * PIECE_BYTES, "{held} held");
        }
    }
}
