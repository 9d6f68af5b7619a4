//! The ports as an administrator touches them: who is connected, whom to close, stop and start.
//!
//! The listeners alone know; they are asked through their doorbells, and one that does not answer in time is left out.

use super::Overseer;
use crate::insight::{Guest, House, Whose};
use crate::pool::PortShared;
use crate::server::bind::{Silence, bind_again};
use crate::server::doorbell::Doorbell;
use crate::server::order::{Awaited, Order, ask};
use crate::sync::{Arc, Sender};
use std::net::SocketAddr;
use std::time::Duration;

/// A port, and how to reach its listener.
#[derive(Debug)]
pub(super) struct OverseenPort {
    pub(super) name: Arc<str>,
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) shared: Arc<PortShared>,
    pub(super) bell: Arc<Doorbell>,
}

impl Overseer {
    /// A port by its name.
    fn find(&self, name: &str) -> Result<&OverseenPort, String> {
        let found = self.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("Unable to find port {}", name.escape_debug()))
    }

    /// Those that `order` asks for.
    pub(super) fn list_guests(&self, order: fn(Sender<Vec<Guest>>) -> Order) -> Vec<Guest> {
        // All are asked before the first answer is waited for.
        let asked: Vec<_> = self.ports.iter().map(|port| ask(&port.bell, order)).collect();
        asked.into_iter().filter_map(Awaited::get).flatten().collect()
    }

    pub(super) fn drop_whom(&self, whose: &Whose) -> usize {
        let meant = |port: &&OverseenPort| match whose {
            Whose::One(name, _) => port.name.eq_ignore_ascii_case(name),
            Whose::All | Whose::Peer(_) | Whose::Client(_) => true,
            Whose::Session(_) => false,
        };
        let order = |port: &OverseenPort| ask(&port.bell, |answer| Order::Drop(whose.clone(), answer));
        let asked: Vec<_> = self.ports.iter().filter(meant).map(order).collect();
        let dropped = asked.into_iter().filter_map(Awaited::get).sum();
        if dropped > 0 {
            log::info!("The administrator closes {dropped} connections");
        }
        dropped
    }

    pub(super) fn drop_sessions_of(&self, whose: &Whose) -> usize {
        let dropped = self.sessions.drop_those(|session| match whose {
            Whose::Session(id) => session.id() == *id,
            others => others.means(session.peer().ip()),
        });
        if dropped > 0 {
            log::info!("The administrator closes {dropped} sessions");
        }
        dropped
    }

    pub(super) fn stop_one(&self, name: &str) -> Result<(), String> {
        let port = self.find(name)?;
        ask(&port.bell, Order::Stop).get().unwrap_or_else(|| Err(no_answer(port)))?;
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
        let started = ask(&port.bell, |answer| Order::Start(sockets, answer)).get();
        started.unwrap_or_else(|| Err(no_answer(port)))?;
        log::info!("port {}: started by the administrator, at {addresses}", port.name);
        Ok(())
    }

    /// From now on, transactions are long that run so long.
    pub(super) fn set_long(&self, long: Option<Duration>) {
        for port in &self.ports {
            port.bell.order(Order::Long(long));
        }
    }
}

fn in_words(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

fn no_answer(port: &OverseenPort) -> String {
    format!("port {} does not answer in time; it may do so later", port.name)
}
