//! The ports as an administrator touches them: who is connected, whom to close, stop and start.
//!
//! The listeners alone know; they are asked through their doorbells, and one that does not answer in time is left out.

use super::LiveControl;
use crate::monitor::{ConnectionFilter, ConnectionInfo, ServerControl};
use crate::pool::PortShared;
use crate::server::bind::{Silence, bind_again};
use crate::server::command::{ListenerCommand, ReplySlot, ask};
use crate::server::mailbox::ListenerHandle;
use crate::sync::{Arc, Sender};
use std::net::SocketAddr;
use std::time::Duration;

/// A port, and how to reach its listener.
#[derive(Debug)]
pub(super) struct ManagedPort {
    pub(super) name: Arc<str>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) shared: Arc<PortShared>,
    pub(super) bell: Arc<ListenerHandle>,
}

impl LiveControl {
    /// A port by its name.
    fn find(&self, name: &str) -> Result<&ManagedPort, String> {
        let found = self.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("Unable to find port {}", name.escape_debug()))
    }

    /// Those that `order` asks for.
    pub(super) fn list_connections(
        &self,
        order: fn(Sender<Vec<ConnectionInfo>>) -> ListenerCommand,
    ) -> Vec<ConnectionInfo> {
        // All are asked before the first answer is waited for.
        let asked: Vec<_> = self.ports.iter().map(|port| ask(&port.bell, order)).collect();
        asked.into_iter().filter_map(ReplySlot::get).flatten().collect()
    }

    pub(super) fn drop_whom(&self, whose: &ConnectionFilter) -> usize {
        let meant = |port: &&ManagedPort| match whose {
            ConnectionFilter::One(name, _) => port.name.eq_ignore_ascii_case(name),
            ConnectionFilter::All | ConnectionFilter::Peer(_) | ConnectionFilter::Client(_) => true,
            ConnectionFilter::Session(_) => false,
        };
        let order =
            |port: &ManagedPort| ask(&port.bell, |answer| ListenerCommand::Drop(whose.clone(), answer));
        let asked: Vec<_> = self.ports.iter().filter(meant).map(order).collect();
        let dropped = asked.into_iter().filter_map(ReplySlot::get).sum();
        if dropped > 0 {
            log::info!("The administrator closes {dropped} connections");
        }
        dropped
    }

    pub(super) fn drop_sessions_of(&self, whose: &ConnectionFilter) -> usize {
        let dropped = self.sessions.drop_those(|session| match whose {
            ConnectionFilter::Session(id) => session.id() == *id,
            others => others.matches(session.peer().ip()),
        });
        if dropped > 0 {
            log::info!("The administrator closes {dropped} sessions");
        }
        dropped
    }

    pub(super) fn stop_one(&self, name: &str) -> Result<(), String> {
        let port = self.find(name)?;
        ask(&port.bell, ListenerCommand::Stop).get().unwrap_or_else(|| Err(no_answer(port)))?;
        log::info!("port {}: stopped by the administrator", port.name);
        Ok(())
    }

    pub(super) fn start_one(&self, name: &str) -> Result<(), String> {
        let port = self.find(name)?;
        if self.is_draining() {
            return Err("the server stops".to_owned());
        }
        if !port.bell.is_stopped() {
            return Err(format!("port {} is not stopped", port.name));
        }
        let addresses = in_words(&port.addresses);
        let sockets = bind_again(&port.addresses, Silence::of(&self.config()))
            .map_err(|error| format!("port {} cannot listen on {addresses}: {error}", port.name))?;
        let started = ask(&port.bell, |answer| ListenerCommand::Start(sockets, answer)).get();
        started.unwrap_or_else(|| Err(no_answer(port)))?;
        log::info!("port {}: started by the administrator, at {addresses}", port.name);
        Ok(())
    }

    /// From now on, transactions are long that run so long.
    pub(super) fn set_long(&self, long: Option<Duration>) {
        for port in &self.ports {
            port.bell.order(ListenerCommand::Long(long));
        }
    }
}

fn in_words(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn no_answer(port: &ManagedPort) -> String {
    format!("port {} does not answer in time; it may do so later", port.name)
}
