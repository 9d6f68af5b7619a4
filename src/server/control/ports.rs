//! Ports under an administrator: lists connections, closes them, stops and starts ports.
//!
//! The listeners alone know their connections; they are asked through their mailboxes, and one that does not reply in
//! time is left out.

use super::live_control::{LiveControl, ManagedPort};
use crate::monitor::{ConnectionFilter, ConnectionInfo, ControlError, ServerControl};
use crate::server::bind::{Silence, bind_again};
use crate::server::listener::{ListenerCommand, ReplySlot};
use crate::sync::Sender;
use std::net::SocketAddr;
use std::time::Duration;

impl LiveControl {
    /// Finds a port by its name.
    fn find(&self, name: &str) -> Result<&ManagedPort, ControlError> {
        let found = self.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| ControlError::UnknownPort(name.to_owned()))
    }

    /// Lists the connections that `command` asks for.
    pub(super) fn list_connections(
        &self,
        command: fn(Sender<Vec<ConnectionInfo>>) -> ListenerCommand,
    ) -> Vec<ConnectionInfo> {
        // All are asked before the first reply is waited for.
        let asked: Vec<_> = self.ports.iter().map(|port| port.listener.request(command)).collect();
        asked.into_iter().filter_map(ReplySlot::get).flatten().collect()
    }

    /// Closes the connections that the filter selects. Returns how many.
    pub(super) fn close_selected(&self, filter: &ConnectionFilter) -> usize {
        let concerned = |port: &&ManagedPort| match filter {
            ConnectionFilter::One(name, _) => port.name.eq_ignore_ascii_case(name),
            ConnectionFilter::All | ConnectionFilter::Peer(_) | ConnectionFilter::Client(_) => true,
            ConnectionFilter::Session(_) => false,
        };
        let close = |port: &ManagedPort| {
            port.listener.request(|reply| ListenerCommand::CloseConnections(filter.clone(), reply))
        };
        let asked: Vec<_> = self.ports.iter().filter(concerned).map(close).collect();
        let closed = asked.into_iter().filter_map(ReplySlot::get).sum();
        if closed > 0 {
            log::info!("connections closed by the administrator, count={closed}");
        }
        closed
    }

    /// Closes the opened sessions that the filter selects. Returns how many.
    pub(super) fn drop_selected_sessions(&self, filter: &ConnectionFilter) -> usize {
        let dropped = self.sessions.drop_those(|session| match filter {
            ConnectionFilter::Session(id) => session.id() == *id,
            others => others.matches(session.peer().ip()),
        });
        if dropped > 0 {
            log::info!("sessions closed by the administrator, count={dropped}");
        }
        dropped
    }

    /// Stops a port.
    pub(super) fn stop_one(&self, name: &str) -> Result<(), ControlError> {
        let port = self.find(name)?;
        port.listener.request(ListenerCommand::StopPort).get().unwrap_or_else(|| Err(no_reply(port)))?;
        log::info!("port {}: stopped by the administrator", port.name);
        Ok(())
    }

    /// Starts a port that was stopped, at the addresses it had.
    pub(super) fn start_one(&self, name: &str) -> Result<(), ControlError> {
        let port = self.find(name)?;
        port.listener.shutdown().check_can_start(&port.name)?;
        let addresses = in_words(&port.addresses);
        let sockets = bind_again(&port.addresses, Silence::of(&self.config())).map_err(|error| {
            ControlError::CannotListen {
                port: port.name.to_string(),
                addresses: addresses.clone(),
                reason: error.to_string(),
            }
        })?;
        let started = port.listener.request(|reply| ListenerCommand::StartPort(sockets, reply)).get();
        started.unwrap_or_else(|| Err(no_reply(port)))?;
        log::info!("port {}: started by the administrator, addresses={addresses}", port.name);
        Ok(())
    }

    /// Changes the run time from which on a transaction counts as long.
    pub(super) fn set_long_transaction(&self, long: Option<Duration>) {
        for port in &self.ports {
            port.listener.send(ListenerCommand::SetLongTransaction(long));
        }
    }
}

fn in_words(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn no_reply(port: &ManagedPort) -> ControlError {
    ControlError::PortUnresponsive(port.name.to_string())
}
