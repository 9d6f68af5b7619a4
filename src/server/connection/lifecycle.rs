//! Drains, evicts and closes a connection, and shows an administrator what it is like.
//!
//! Each step moves its [`ConnectionState`] and sends the peer what it needs to know.

use super::reader::Connection;
use super::state::ConnectionState;
use crate::metrics::CloseReason;
use crate::monitor::{ConnectionFilter, ConnectionInfo};
use crate::pool::ReplySink;
use crate::proto::goaway;
use crate::server::sessions::SessionHolder;
use crate::service::{Peer, Refusal, Status};
use crate::sync::Arc;
use std::time::{Duration, Instant};

impl Connection {
    /// Returns whether the connection ends: nothing of it is served.
    pub(in crate::server) fn is_closing(&self) -> bool {
        matches!(self.state, ConnectionState::Closing(_))
    }

    /// Returns the reason that counts when the connection is closed for `found`.
    pub(in crate::server) fn close_reason(&self, found: CloseReason) -> CloseReason {
        self.state.close_reason(found)
    }

    /// Sends the peer why the connection ends.
    pub(in crate::server) fn send_reason(&mut self, refusal: &Refusal) {
        let mut frame = Vec::new();
        self.protocol.close(refusal, &mut frame);
        self.writer.send(&mut frame, 0);
    }

    /// Begins to close: the peer sees the end of the stream after the last reply, and its input is discarded until it
    /// closes too. Closing with bytes unread would reset the connection and might destroy replies on their way.
    pub(in crate::server) fn begin_close(&mut self, reason: CloseReason) {
        self.state.to(ConnectionState::Closing(self.state.close_reason(reason)));
        self.forget_unread();
        self.finish();
    }

    /// Shuts down the sending side of a closing connection that has no unsent replies.
    pub(in crate::server) fn finish(&self) {
        // A client without a session is to close first, as at the connection limiter: the TIME_WAIT is the client's.
        let client_first =
            matches!(self.state, ConnectionState::Closing(CloseReason::MaxUsers | CloseReason::Restricted));
        if self.is_closing() && !client_first && !self.writer.is_backlogged() {
            // It fails only on a socket that is closed already.
            self.transport.finish().ok();
        }
    }

    /// Sends a GoAway since the server or the port stops: the peer is to send no more calls, and to close once it has
    /// its answers. A client over whose connection handlers call may keep it until the second GoAway.
    pub(in crate::server) fn drain(&mut self) {
        if !self.is_closing() && self.state != ConnectionState::Evicted {
            self.state.to(ConnectionState::Draining);
            self.send_goaway(Status::Draining);
        }
    }

    /// The port was started again.
    pub(in crate::server) fn resume(&mut self) {
        if matches!(self.state, ConnectionState::Draining | ConnectionState::Drained) {
            self.state.to(ConnectionState::Open);
        }
    }

    /// Checks a connection of a stopped port. Returns whether nothing was in progress at this check nor at the one
    /// before; while the port has calls in flight, a connection over which handlers call is always in use.
    pub(in crate::server) fn check_drained(&mut self, port_in_flight: bool) -> bool {
        let chained = self.protocol.is_chained();
        let idle = self.is_idle() && !(chained && port_in_flight);
        match (self.state, idle) {
            (ConnectionState::Drained, true) => return true,
            (ConnectionState::Drained, false) => self.state.to(ConnectionState::Draining),
            (ConnectionState::Draining, true) => {
                if chained {
                    self.send_goaway(Status::Draining);
                }
                self.state.to(ConnectionState::Drained);
            }
            _ => {}
        }
        false
    }

    /// Sends a GoAway since another session needs the place: the peer is to close and to call on another connection.
    /// Returns false if it has begun to call.
    pub(in crate::server) fn evict(&mut self) -> bool {
        if self.writer.calls_out() > 0 || self.writer.carries() > 0 || self.filled > 0 {
            return false;
        }
        self.state.to(ConnectionState::Evicted);
        self.send_goaway(Status::SessionClosed);
        true
    }

    fn send_goaway(&self, status: Status) {
        let mut frame = Vec::new();
        goaway(&Refusal::from(status), &mut frame);
        self.writer.send(&mut frame, 0);
    }

    /// Returns whether handlers have called over it.
    pub(in crate::server) fn is_chained(&self) -> bool {
        self.protocol.is_chained()
    }

    pub(in crate::server) fn is_calling(&self) -> bool {
        self.writer.in_flight() > 0
    }

    fn is_idle(&self) -> bool {
        !self.is_calling() && !self.writer.is_backlogged()
    }

    /// Returns the memory of its half-read frame and of its unsent replies.
    pub(in crate::server) fn held_bytes(&self) -> usize {
        self.lease.bytes() + self.writer.held_bytes()
    }

    /// Returns what an administrator sees of it at `now`, which is so long after the listener began.
    pub(in crate::server) fn info(&self, port: &Arc<str>, now: Instant, since: Duration) -> ConnectionInfo {
        let Connection { writer, accepted, calls, .. } = self;
        ConnectionInfo {
            port: Arc::clone(port),
            id: accepted.number,
            peer: writer.peer(),
            age: since.saturating_sub(Duration::from_secs(accepted.second.into())),
            idle: now.saturating_duration_since(self.arrived),
            calls: *calls,
            in_flight: writer.in_flight() as u64,
            bytes: self.held_bytes() as u64,
            sessions: (writer.carries() + usize::from(writer.has_session())) as u64,
        }
    }

    /// Returns its age, to the second below; the listener began at `began`.
    pub(in crate::server) fn age(&self, began: Instant) -> Duration {
        let accepted = Duration::from_secs(u64::from(self.accepted.second) + 1);
        Instant::now().saturating_duration_since(began + accepted)
    }

    /// Returns the calls that were admitted.
    pub(in crate::server) fn calls(&self) -> u64 {
        self.calls
    }

    pub(in crate::server) fn matches(&self, filter: &ConnectionFilter) -> bool {
        match filter {
            ConnectionFilter::One(_, number) => self.accepted.number == *number,
            others => others.matches(self.writer.peer().ip()),
        }
    }
}
