//! A connection as it is shared: the listener reads it, workers write their replies to it.
//!
//! Invariants: bytes leave in the order in which replies were given; while bytes wait in `outbound`, nobody but
//! the listener writes to the socket, so the poll's next writable event is never missed; a closed connection gives
//! its descriptor back at once, whatever calls are still out.

use super::mailbox::ListenerHandle;
use super::sessions::SessionHolder;
use super::slots::Id;
use super::transport::Transport;
use crate::admission::WINDOW_CALLS_MAX;
use crate::metrics::CloseReason;
use crate::pool::{BufferLease, Buffers, Burst, ConnectionQueue, ReplySink};
use crate::service::{ConnectionSessions, Peer};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::OnceLock;

/// With more unsent bytes than this, a connection's calls are no longer read. A soft bound: replies to calls
/// already admitted still come on top.
const OUTBOUND_HIGH_BYTES: usize = 1 << 20;

/// Unsent replies are kept in pieces of so many bytes: buffers that grow would leave holes of all sizes in memory.
const PIECE_BYTES: usize = 64 << 10;

/// Counts as taken when nothing waits any more, so that the peer is not measured by what came after that.
pub(super) const DRAINED_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct ConnectionWriter {
    peer: SocketAddr,
    id: Id,
    /// With more than so much unsent, a connection that gets another reply is closed.
    unsent_max: usize,
    outbound: Mutex<Outbound>,
    /// Does `outbound` hold bytes? Written under its lock, read without.
    backlogged: AtomicBool,
    /// The socket failed or was closed; nothing will be sent any more.
    gone: AtomicBool,
    in_flight: AtomicUsize,
    /// The listener has stopped reading until fewer calls are out.
    paused: AtomicBool,
    cancelled: Mutex<VecDeque<u64>>,
    /// Is there anything in `cancelled`?
    any_cancelled: AtomicBool,
    /// What waits for a worker: calls that clients made, and calls that handlers of this server made.
    lanes: [ConnectionQueue<Burst>; 2],
    mailbox: Arc<ListenerHandle>,
    /// Its sessions, once there was use for any.
    carried: OnceLock<Arc<ConnectionSessions>>,
    /// It was let in: its own session counts.
    welcomed: AtomicBool,
    /// Its place is wanted, and it looked idle.
    unwanted: AtomicBool,
}

#[derive(Debug)]
struct Outbound {
    /// `None` once the connection is closed.
    transport: Option<Arc<Transport>>,
    pieces: VecDeque<Vec<u8>>,
    /// How much of the first piece is sent.
    sent: usize,
    /// Bytes of the pieces that are not.
    unsent: usize,
    /// What the room of the pieces counts for.
    share: BufferLease,
    /// Bytes that had to wait and were taken, since the beginning.
    taken: u64,
    /// Why nothing more is sent, if it is not for the listener's own reasons.
    failed: Option<CloseReason>,
}

impl ConnectionWriter {
    pub(super) fn new(
        transport: Arc<Transport>,
        peer: SocketAddr,
        id: Id,
        mailbox: Arc<ListenerHandle>,
        (buffers, unsent_max): (&Arc<Buffers>, usize),
    ) -> ConnectionWriter {
        let (transport, pieces, share) = (Some(transport), VecDeque::new(), BufferLease::new(buffers));
        let outbound = Outbound { transport, pieces, sent: 0, unsent: 0, share, taken: 0, failed: None };
        ConnectionWriter {
            peer,
            id,
            unsent_max,
            outbound: Mutex::new(outbound),
            backlogged: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            cancelled: Mutex::default(),
            any_cancelled: AtomicBool::new(false),
            lanes: Default::default(),
            mailbox,
            carried: OnceLock::new(),
            welcomed: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
        }
    }

    /// Its sessions, from now on.
    pub(super) fn sessions(&self) -> &Arc<ConnectionSessions> {
        self.carried.get_or_init(Arc::default)
    }

    /// Its sessions, if there was use for any.
    pub(super) fn sessions_if_any(&self) -> Option<&Arc<ConnectionSessions>> {
        self.carried.get()
    }

    /// It was let in.
    pub(super) fn set_welcomed(&self) {
        self.welcomed.store(true, Ordering::Relaxed);
    }

    /// Was it let in?
    pub(super) fn is_welcomed(&self) -> bool {
        self.welcomed.load(Ordering::Relaxed)
    }

    /// Was it asked to leave? Asked once for each time.
    pub(super) fn take_unwanted(&self) -> bool {
        self.unwanted.swap(false, Ordering::SeqCst)
    }

    /// Calls that may still be admitted. At 0 the connection counts as paused: the mailbox rings when there is
    /// room again.
    pub(super) fn window_room(&self) -> usize {
        let room = WINDOW_CALLS_MAX.saturating_sub(self.in_flight.load(Ordering::SeqCst));
        if room > 0 {
            return room;
        }
        // First paused, then the second look: whoever answers a call first counts it, then looks for `paused`.
        self.paused.store(true, Ordering::SeqCst);
        let room = WINDOW_CALLS_MAX.saturating_sub(self.in_flight.load(Ordering::SeqCst));
        if room > 0 {
            self.paused.store(false, Ordering::SeqCst);
        }
        room
    }

    /// So many calls of this connection were admitted.
    pub(super) fn admitted(&self, calls: usize) {
        self.in_flight.fetch_add(calls, Ordering::SeqCst);
    }

    /// Does the peer leave so many replies unread that nothing more should be read from it?
    pub(super) fn is_clogged(&self) -> bool {
        self.backlogged.load(Ordering::SeqCst) && self.outbound.lock().unsent > OUTBOUND_HIGH_BYTES
    }

    /// Calls that are out.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Do bytes wait to be sent?
    pub(super) fn is_backlogged(&self) -> bool {
        self.backlogged.load(Ordering::SeqCst)
    }

    /// Why nothing more can be sent, if it was given up in a worker's hands.
    pub(super) fn failure(&self) -> Option<CloseReason> {
        if !self.gone.load(Ordering::SeqCst) {
            return None;
        }
        Some(self.outbound.lock().failed.unwrap_or(CloseReason::SocketError))
    }

    /// Memory of the replies that wait.
    pub(super) fn held_bytes(&self) -> usize {
        if self.is_backlogged() { self.outbound.lock().share.bytes() } else { 0 }
    }

    /// Bytes that the peer has taken of those that had to wait, since the beginning.
    pub(super) fn taken(&self) -> u64 {
        self.outbound.lock().taken
    }

    /// The call is no longer wanted. Ids are kept only while calls are out, and no more of them than can be out; the
    /// first to be forgotten are the oldest, whose calls were most likely answered long ago.
    pub(super) fn cancel(&self, call: u64) {
        let mut cancelled = self.cancelled.lock();
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            if cancelled.len() == WINDOW_CALLS_MAX {
                cancelled.pop_front();
            }
            cancelled.push_back(call);
            self.any_cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// For the listener, when the socket takes bytes again.
    pub(super) fn flush(&self) {
        let mut outbound = self.outbound.lock();
        let Some(transport) = outbound.transport.clone() else { return };
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
            self.mailbox.ring(self.id);
        }
    }

    /// Nothing will be sent or wanted any more. The descriptor is closed when the listener lets go of it too.
    pub(super) fn close(&self) {
        let mut outbound = self.outbound.lock();
        self.gone.store(true, Ordering::SeqCst);
        outbound.transport = None;
        outbound.empty();
        self.backlogged.store(false, Ordering::SeqCst);
    }

    /// Nothing more goes to the socket. The caller then asks the listener to close it, without the lock.
    fn fail(&self, outbound: &mut Outbound, reason: CloseReason) {
        outbound.failed = Some(reason);
        self.gone.store(true, Ordering::SeqCst);
        outbound.transport = None;
        outbound.empty();
    }

    /// Sends at once what the socket takes and keeps the rest, within bounds.
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut outbound = self.outbound.lock();
        let (mut alive, mut look) = (true, false);
        if let Some(transport) = &outbound.transport {
            let mut sent = 0;
            if outbound.unsent == 0 {
                (sent, alive) = send_all(transport, bytes);
                if alive && sent < bytes.len() {
                    // The listener heeds a writable event only of a backlogged connection, and the one event may have
                    // come and gone just now. So first the mark, then a second look at the socket.
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
                match outbound.keep(&bytes[sent..], self.unsent_max) {
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
            self.mailbox.ring(self.id);
        }
    }
}

/// Sends until the socket takes no more: how much it took, and whether it is still alive. Only after
/// [`ErrorKind::WouldBlock`] does the poll tell when it takes more.
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
    /// Keeps what the socket does not take, or says why that is too much: for this connection or, as the others have
    /// the memory, for the server. A reply of any size may wait where not too much does already. Returns whether the
    /// listener is to have a look: replies wait from now on, or much memory is held.
    fn keep(&mut self, mut rest: &[u8], unsent_max: usize) -> Result<bool, CloseReason> {
        let first = self.unsent == 0;
        if self.unsent > unsent_max {
            return Err(CloseReason::OutboundFull);
        }
        self.unsent += rest.len();
        while !rest.is_empty() {
            let room = self.pieces.back().map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                // The first is no larger than it must be: most of those who are behind are so by little.
                let bytes = if self.pieces.is_empty() { rest.len().min(PIECE_BYTES) } else { PIECE_BYTES };
                if !self.share.try_add(bytes) {
                    return Err(CloseReason::BuffersFull);
                }
                self.pieces.push_back(Vec::with_capacity(bytes));
            } else if let Some(last) = self.pieces.back_mut() {
                let (now, later) = rest.split_at(room.min(rest.len()));
                last.extend_from_slice(now);
                rest = later;
            }
        }
        let buffers = self.share.buffers();
        Ok(first || buffers.are_full() || buffers.bytes() > buffers.fair_part())
    }

    /// So many more bytes of the first piece were sent. Returns whether that was all of it; then it is gone.
    fn forget(&mut self, more: usize) -> bool {
        (self.sent, self.unsent, self.taken) =
            (self.sent + more, self.unsent - more, self.taken + more as u64);
        if self.pieces.front().is_none_or(|piece| self.sent < piece.len()) {
            return false;
        }
        let piece = self.pieces.pop_front();
        self.share.set(self.share.bytes() - piece.map_or(0, |piece| piece.capacity()));
        self.sent = 0;
        true
    }

    fn empty(&mut self) {
        (self.pieces, self.sent, self.unsent) = (VecDeque::new(), 0, 0);
        self.share.set(0);
    }
}

impl ReplySink for ConnectionWriter {
    fn queue(&self, nested: bool) -> &ConnectionQueue<Burst> {
        &self.lanes[usize::from(nested)]
    }

    fn send(&self, replies: &mut Vec<u8>, answers: usize) {
        // Counted before they leave: who has an answer may call again, and must find its place free.
        if answers > 0 {
            self.answered(answers);
        }
        self.write(replies);
    }
}

impl ConnectionWriter {
    /// So many calls are answered.
    fn answered(&self, answers: usize) {
        let before = self.in_flight.fetch_sub(answers, Ordering::SeqCst);
        if before == answers && self.any_cancelled.load(Ordering::SeqCst) {
            self.forget_cancelled();
        }
        if before - answers <= WINDOW_CALLS_MAX / 2 && self.paused.swap(false, Ordering::SeqCst) {
            self.mailbox.ring(self.id);
        }
    }

    /// No call is out, so no id can be meant. Looks again under the lock, since a call may have come meanwhile.
    fn forget_cancelled(&self) {
        let mut cancelled = self.cancelled.lock();
        if self.in_flight.load(Ordering::SeqCst) == 0 {
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

    fn carried(&self) -> Option<&Arc<ConnectionSessions>> {
        Some(self.sessions())
    }
}

impl SessionHolder for ConnectionWriter {
    fn calls_out(&self) -> usize {
        self.in_flight()
    }

    fn carries(&self) -> usize {
        self.carried.get().map_or(0, |carried| carried.count())
    }

    fn ask_to_leave(&self) {
        self.unwanted.store(true, Ordering::SeqCst);
        self.mailbox.ring(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::TcpStream;
    use mio::{Poll, Token, Waker};
    use std::io::Read;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_peer_that_is_always_behind_costs_what_it_is_behind() {
        let poll = Poll::new().unwrap();
        let mailbox = Arc::new(ListenerHandle::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let transport = Arc::new(Transport::Plain(TcpStream::from_std(stream)));
        let buffers = (&Buffers::unbounded(), usize::MAX);
        let connection = ConnectionWriter::new(transport, address, Id::of(Token(1)), mailbox, buffers);
        let mut given = 0;
        // More than the system's own buffers ever take.
        while connection.outbound.lock().unsent < 32 * MIB {
            connection.write(&mut vec![7; MIB]);
            given += MIB;
        }
        let (mut taken, mut piece) = (0, vec![0; MIB]);
        for _ in 0..100 {
            connection.write(&mut vec![7; MIB]);
            given += MIB;
            peer.read_exact(&mut piece).unwrap();
            taken += MIB;
            connection.flush();
            let outbound = connection.outbound.lock();
            assert!(outbound.unsent > 0, "{given} given, {taken} taken");
            let held: usize = outbound.pieces.iter().map(Vec::capacity).sum();
            assert_eq!(held, outbound.share.bytes());
            assert!(held <= outbound.unsent + 2 * PIECE_BYTES, "{held} held");
        }
    }
}
