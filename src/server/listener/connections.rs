//! Beginning and end of connections in their listener: accepts and registers, evicts, begins to close and closes them,
//! the largest holders of memory while the buffers are full, and looks at those that their writers report.

use super::acceptor::Accepted;
use super::lingering_close::LingeringClose;
use super::memory_pressure::largest_until;
use super::poll_loop::Listener;
use super::slots::Id;
use super::timeout_heap::TimeoutKind;
use crate::metrics::CloseReason;
use crate::pool::BufferLease;
use crate::server::connection::{AcceptedAt, Connection, ConnectionWriter, Transport, WriterLimits};
use crate::server::connection_limiter::{ConnectionPermit, no_descriptors};
use crate::service::{ClientId, Peer, Refusal, Status};
use crate::sync::Arc;
use log::Level;
use mio::Interest;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time for a peer that is being closed to read its last replies and close too.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(1);

impl Listener {
    pub(super) fn accept(&mut self) {
        while let Some(accepted) = self.acceptor.accept(&self.context.port) {
            match accepted {
                Accepted::Client(stream, peer) => self.admit(stream, peer, Instant::now()),
                Accepted::Overflow(stream) => {
                    self.context.port.stats.refused_descriptors.add(1);
                    LingeringClose::refuse_at_once(stream, &no_descriptors());
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let (client, stats) = (ClientId::of(peer.ip()), &self.context.port.stats);
        match self.connection_limiter.try_acquire(client, now, stats) {
            Err(refusal) => self.lingering_close.refuse(stream, &refusal, self.poll.registry(), now),
            Ok(permit) => {
                if let Err(error) = self.register(stream, peer, permit) {
                    self.context.port.stats.accept_failed.add(1);
                    if self.may_log(Level::Warn, client) {
                        let port = &self.context.port.name;
                        log::warn!("port {port}: connection not registered, peer={peer} error={error}");
                    }
                }
            }
        }
    }

    fn register(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (registry, handle) = (self.poll.registry(), &self.handle);
        let (buffers, now) = (&self.context.port.buffers, Instant::now());
        self.accepted += 1;
        let second = now.saturating_duration_since(self.began).as_secs() as u32;
        let accepted = AcceptedAt { number: self.accepted, second };
        let limits = WriterLimits { buffers, unsent_bytes_max: self.unsent_bytes_max };
        let id = self.connections.insert(|id| {
            registry.register(&mut stream, id.token(), Interest::READABLE | Interest::WRITABLE)?;
            let transport = Arc::new(Transport::Plain(stream));
            let writer = ConnectionWriter::new(Arc::clone(&transport), peer, id, Arc::clone(handle), limits);
            if self.context.client_calls.is_limited() {
                writer.count_for_client(&self.context.client_calls);
            }
            let lease = BufferLease::new(buffers);
            std::io::Result::Ok(Connection::new(Arc::new(writer), transport, lease, permit, accepted))
        })?;
        self.timeouts.begin(id, TimeoutKind::Hello, now);
        self.context.port.stats.accepted.add(1);
        Ok(())
    }

    /// The socket takes bytes again.
    pub(super) fn writable(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.writer.is_backlogged() {
            connection.writer.flush();
            if connection.is_closing() {
                connection.finish();
            } else if connection.readable {
                self.make_ready(id);
            }
        }
    }

    /// Looks at a connection that its writer reported.
    pub(super) fn attend(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if let Some(failure) = connection.writer.failure() {
            self.close(id, failure);
            return;
        }
        if connection.writer.take_eviction() && !connection.is_closing() {
            self.evict(id);
        } else if connection.writer.is_backlogged() && !connection.queued.send_timeout {
            let kind = TimeoutKind::Replies { taken: connection.writer.taken() };
            connection.queued.send_timeout = self.timeouts.begin(id, kind, Instant::now());
        }
        self.read(id);
    }

    /// Evicts an idle connection, which makes room for another session.
    fn evict(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.evict() {
            self.closing.push_back((Instant::now() + LINGER_MAX, id));
        } else if let Some(own) = self.context.own_session(&connection.writer) {
            self.context.sessions.stays(own);
        }
    }

    /// Closes a connection, after the peer was sent why if the socket takes it.
    pub(super) fn close_with_reason(&mut self, id: Id, reason: CloseReason, message: &str) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.writer.is_backlogged() {
            return self.close(id, reason);
        }
        let status = match reason {
            CloseReason::BuffersFull => Status::BuffersFull,
            CloseReason::Dropped => Status::SessionClosed,
            _ => Status::TooSlow,
        };
        connection.send_reason(&Refusal::new(status, message));
        self.begin_close(id, reason);
    }

    /// Begins to close a connection: its replies are still sent, and the peer may close first.
    pub(super) fn begin_close(&mut self, id: Id, reason: CloseReason) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.begin_close(reason);
            self.closing.push_back((Instant::now() + LINGER_MAX, id));
            self.make_ready(id);
        }
    }

    /// Closes a connection at once.
    pub(super) fn close(&mut self, id: Id, found: CloseReason) {
        use CloseReason::{Dropped, Idle, MaxUsers, Restricted, ServerStopped};
        let Some(connection) = self.connections.remove(id) else { return };
        let reason = connection.close_reason(found);
        let peer = connection.writer.peer();
        connection.writer.close();
        self.context.end_session(&connection.writer, reason);
        self.close_log.record(reason, peer);
        self.context.port.stats.closed.add(reason.index());
        let client = ClientId::of(peer.ip());
        // Connections that the server ends, or has no session for, do not count as connects of the client.
        if !matches!(reason, ServerStopped | Dropped | Idle | MaxUsers | Restricted) {
            self.connection_limiter.ended(client, connection.age(self.began), connection.calls());
        }
        if self.may_log(Level::Debug, client) {
            let port = &self.context.port.name;
            log::debug!("port {port}: connection closed, peer={peer} reason={reason:?}");
        }
    }

    /// Closes the evicted and closing connections whose time is over.
    pub(super) fn close_overdue(&mut self) {
        while let Some(&(at, id)) = self.closing.front() {
            if at > Instant::now() {
                break;
            }
            self.closing.pop_front();
            // Each of them has its reason already.
            self.close(id, CloseReason::Idle);
        }
    }

    /// While the buffers are full, closes the connections that hold the most; afterwards reads those that waited for
    /// room.
    pub(super) fn reclaim_buffers(&mut self) {
        if !self.context.port.buffers.are_full() {
            for id in self.memory_pressure.end() {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.queued.buffers_full = false;
                    self.make_ready(id);
                }
            }
            return;
        }
        if !self.memory_pressure.is_due(Instant::now()) {
            return;
        }
        let held = self.connections.iter().map(|(id, connection)| (connection.held_bytes(), id));
        let holders = held.filter(|(bytes, _)| *bytes > 0).collect();
        let buffers = &self.context.port.buffers;
        for id in largest_until(holders, buffers.excess(), buffers.fair_part()) {
            self.close_with_reason(id, CloseReason::BuffersFull, Status::BuffersFull.text());
        }
    }

    /// Returns whether a line that a client caused may be logged.
    fn may_log(&self, level: Level, client: ClientId) -> bool {
        self.context.shared.services.log_limiter().allows(level, client, Instant::now())
    }
}
