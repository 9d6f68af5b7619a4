//! A connection as its listener alone knows it: what it has said so far, and whether there is more to read.
//! Steps 1 to 4 of a transaction's way (see docs/ARCHITECTURE.md).

use super::connection::Connection;
use super::transport::Transport;
use crate::pool::{PortShared, Shared};
use crate::port::{Burst, Conversation, Intake, Leave, Outlet, Reception};
use crate::stats::CloseReason;
use crate::sync::Arc;
use std::io::ErrorKind;
use std::time::Instant;

/// Bytes read at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// What a listener lends each of its guests.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) port: Arc<PortShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) welcome: Arc<[u8]>,
    pub(super) body_bytes_max: usize,
    pub(super) draining: bool,
    /// [`CHUNK_BYTES`] long.
    pub(super) chunk: Vec<u8>,
    pub(super) intake: Intake,
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
    /// Read and not consumed: the beginning of a frame, or frames the window has no room for.
    unread: Vec<u8>,
    /// May the socket hold bytes? Set by the poll, cleared when it has none.
    pub(super) readable: bool,
    /// The poll has told of the peer's end, and tells of it once: reading goes on until it is seen.
    pub(super) ended: bool,
    /// Why the connection is being closed; what still comes is thrown away.
    pub(super) leaving: Option<CloseReason>,
}

impl Guest {
    pub(super) fn new(connection: Arc<Connection>, transport: Arc<Transport>) -> Guest {
        let (conversation, unread) = (Conversation::default(), Vec::new());
        Guest { connection, transport, conversation, unread, readable: false, ended: false, leaving: None }
    }

    /// Reads once and queues the calls that were read.
    pub(super) fn read(&mut self, desk: &mut Desk) -> Reading {
        if self.connection.is_clogged() {
            desk.port.stats.outbound_full.add(1);
            return Reading::Paused;
        }
        // What is unread waits for the window; with more read behind it, it would grow for as long as the peer sends.
        if !self.unread.is_empty() && self.connection.window_room() == 0 {
            desk.port.stats.window_full.add(1);
            return Reading::Paused;
        }
        // Taken away, so that the guest can be borrowed beside it.
        let mut chunk = std::mem::take(&mut desk.chunk);
        let reading = self.read_chunk(desk, &mut chunk);
        desk.chunk = chunk;
        reading
    }

    fn read_chunk(&mut self, desk: &mut Desk, chunk: &mut [u8]) -> Reading {
        let kept = std::mem::take(&mut self.unread);
        if kept.len() > chunk.len() / 2 {
            return self.read_large(desk, kept, chunk.len());
        }
        chunk[..kept.len()].copy_from_slice(&kept);
        let received = self.transport.receive(&mut chunk[kept.len()..]);
        let (filled, more) = match received {
            Ok(0) => return Reading::Ended(self.conversation.hung_up(kept.len())),
            Ok(n) => (kept.len() + n, kept.len() + n == chunk.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                (kept.len(), false)
            }
            Err(_) => return Reading::Ended(CloseReason::SocketError),
        };
        match self.consume(desk, &chunk[..filled]) {
            Ok(used) => {
                self.unread = kept;
                self.unread.clear();
                self.unread.extend_from_slice(&chunk[used..filled]);
                self.after(desk, more)
            }
            Err(Leave(reason)) => Reading::Leave(reason),
        }
    }

    /// A frame larger than half a chunk is read into a buffer of its own, which grows with what has come, not
    /// with what was claimed.
    fn read_large(&mut self, desk: &mut Desk, mut kept: Vec<u8>, step: usize) -> Reading {
        let filled = kept.len();
        kept.resize(filled + step, 0);
        let received = self.transport.receive(&mut kept[filled..]);
        let (n, more) = match received {
            Ok(0) => return Reading::Ended(self.conversation.hung_up(filled)),
            Ok(n) => (n, filled + n == kept.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                (0, false)
            }
            Err(_) => return Reading::Ended(CloseReason::SocketError),
        };
        kept.truncate(filled + n);
        match self.consume(desk, &kept) {
            Ok(used) => {
                kept.drain(..used);
                self.unread = kept;
                self.after(desk, more)
            }
            Err(Leave(reason)) => Reading::Leave(reason),
        }
    }

    fn after(&mut self, desk: &Desk, more: bool) -> Reading {
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        if self.connection.window_room() == 0 {
            desk.port.stats.window_full.add(1);
            Reading::Paused
        } else if more || self.ended && self.readable {
            Reading::More
        } else {
            // A short read means that the socket was empty: the poll tells of what comes after it. An end that came
            // with the bytes it has told of already, hence `ended`.
            self.readable = false;
            Reading::Drained
        }
    }

    /// Lets the conversation take what it will, as long as the window has room.
    fn consume(&mut self, desk: &mut Desk, bytes: &[u8]) -> Result<usize, Leave> {
        let mut used = 0;
        loop {
            let now = Instant::now();
            let window_room = self.connection.window_room();
            let reception = Reception {
                welcome: &desk.welcome,
                body_bytes_max: desk.body_bytes_max,
                methods: desk.shared.services.len() as u16,
                draining: desk.draining,
                queue_room: desk.port.queue.room(),
                window_room,
                now,
                stats: &desk.port.stats,
            };
            let taken = self.conversation.receive(&bytes[used..], &reception, &mut desk.intake);
            // Before the calls are queued: a Welcome must not be overtaken by the reply to a call sent with the Hello.
            if !desk.intake.replies.is_empty() {
                self.connection.send(&mut desk.intake.replies, 0);
            }
            let admitted = desk.intake.calls.len();
            if admitted > 0 {
                desk.queue_calls(&self.connection, &bytes[used..], now);
            }
            for call in desk.intake.cancels.drain(..) {
                self.connection.cancel(call);
            }
            used += taken?;
            if admitted < window_room || window_room == 0 {
                return Ok(used);
            }
        }
    }

    /// Tells the peer that nothing more will come, and from now on throws away what it still sends: closing with
    /// bytes unread would reset the connection and might destroy the last replies on their way.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        self.leaving = Some(reason);
        self.unread = Vec::new();
        self.finish();
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
        match self.transport.receive(&mut desk.chunk) {
            Ok(0) => Reading::Ended(reason),
            Ok(_) => Reading::More,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Reading::Drained,
            Err(_) => Reading::Ended(reason),
        }
    }
}

impl Desk {
    /// Puts the calls of one read into the port's queue, as one burst in recycled buffers.
    fn queue_calls(&mut self, connection: &Arc<Connection>, bytes: &[u8], now: Instant) {
        let port = &self.port;
        let mut shelf = port.spare_work(now);
        let work = Arc::get_mut(&mut shelf).expect("spare buffers have one owner");
        std::mem::swap(&mut work.calls, &mut self.intake.calls);
        let end = work.calls.last().map_or(0, |call| call.arguments_end());
        work.bytes.extend_from_slice(&bytes[..end]);
        work.outlet = Some(Arc::clone(connection) as Arc<dyn Outlet>);
        work.received = now;
        work.permit_clock_us = port.queue.permit_clock().read_us(now);
        if let Some(burst) = Burst::new(shelf) {
            connection.admitted(burst.len());
            port.queue.admit(burst, &self.shared.paces);
            port.queue.announce(&self.shared.throttle, port.index);
        }
    }
}
