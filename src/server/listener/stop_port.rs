//! The stop of the listener's port, by an administrator or with the server, and its start. Moves [`Shutdown`].
//!
//! A stopped port has no listening socket and admits only calls nested in what it has in flight. Its connections get
//! a GoAway, finish what they have in progress, and have a moment to close by themselves, as when the server stops; one
//! that is still there when the port starts is served like any other. Does not know other ports: they go on.

use super::acceptor::{ACCEPT, Acceptor};
use super::connections::LINGER_MAX;
use super::poll_loop::Listener;
use crate::metrics::CloseReason;
use crate::monitor::ControlError;
use crate::server::connection::Connection;
use crate::server::shutdown::Shutdown;
use mio::Interest;
use mio::net::TcpListener;
use std::time::{Duration, Instant};

/// Time between two checks for drained connections of a stopped port. A connection that is idle at two checks is
/// closed.
const DRAIN_CHECK_PAUSE: Duration = Duration::from_millis(250);

impl Listener {
    /// Moves on with the stop, and shows other threads how far it is.
    pub(super) fn move_to(&mut self, next: Shutdown) {
        self.shutdown = next;
        self.handle.publish(next);
    }

    pub(super) fn stop_port(&mut self) -> Result<(), ControlError> {
        self.shutdown.check_can_stop(&self.context.port.name)?;
        self.close_address();
        self.move_to(Shutdown::PortStopped { check_at: Instant::now() + DRAIN_CHECK_PAUSE });
        Ok(())
    }

    /// Starts a port again that an administrator stopped.
    pub(super) fn start_port(&mut self, mut sockets: Vec<TcpListener>) -> Result<(), ControlError> {
        let port = &self.context.port.name;
        self.shutdown.check_can_start(port)?;
        for socket in &mut sockets {
            let registered = self.poll.registry().register(socket, ACCEPT, Interest::READABLE);
            registered.map_err(|error| ControlError::CannotListen {
                port: port.clone(),
                addresses: socket.local_addr().map_or_else(|_| "its address".to_owned(), |at| at.to_string()),
                reason: error.to_string(),
            })?;
        }
        self.acceptor = Acceptor::new(sockets);
        self.for_each_connection(Connection::resume);
        self.move_to(Shutdown::No);
        Ok(())
    }

    /// The server stops.
    pub(super) fn drain(&mut self) {
        if self.shutdown == Shutdown::No {
            self.close_address();
        }
        self.move_to(Shutdown::Draining);
    }

    /// The server has drained, or its time for that is over.
    pub(super) fn refuse_calls(&mut self) {
        self.move_to(Shutdown::Refusing);
        // Connections over which handlers call were left open for what is over now.
        self.for_each_connection(|connection| {
            if connection.is_chained() {
                connection.drain();
            }
        });
    }

    /// Closes the listening socket and sends each peer a GoAway: it is to send no more calls, save those of handlers
    /// that are waited for.
    fn close_address(&mut self) {
        self.acceptor.close();
        self.for_each_connection(Connection::drain);
    }

    fn for_each_connection(&mut self, act: impl Fn(&mut Connection)) {
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get_mut(id) {
                act(connection);
            }
        }
    }

    /// In a stopped port, closes the connections that had nothing in progress at this check nor at the last.
    pub(super) fn check_drained(&mut self) {
        let Shutdown::PortStopped { check_at } = self.shutdown else { return };
        let now = Instant::now();
        if now < check_at || self.connections.len() == 0 {
            return;
        }
        self.move_to(Shutdown::PortStopped { check_at: now + DRAIN_CHECK_PAUSE });
        let port_in_flight = self.context.port.queue.in_flight() > 0;
        for id in self.connections.ids() {
            if self.connections.get_mut(id).is_some_and(|connection| connection.check_drained(port_in_flight))
            {
                self.begin_close(id, CloseReason::ServerStopped);
            }
        }
    }

    /// Returns whether the server has stopped, and every peer has closed, or had its replies, or had its time.
    ///
    /// Calls that a peer sent before it read the GoAway are read and refused meanwhile: closed at once, it would not
    /// know whether its call was run.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now;
        match self.shutdown {
            Shutdown::Closing { until } if now() >= until => {
                self.move_to(Shutdown::Forced { until: now() + LINGER_MAX });
            }
            Shutdown::Closing { .. } | Shutdown::Forced { .. } => {}
            _ => return false,
        }
        let Shutdown::Forced { until } = self.shutdown else { return self.connections.len() == 0 };
        for id in self.connections.ids() {
            if self.connections.get_mut(id).is_some_and(|connection| !connection.writer.is_backlogged()) {
                self.close(id, CloseReason::ServerStopped);
            }
        }
        self.connections.len() == 0 || now() >= until
    }
}
