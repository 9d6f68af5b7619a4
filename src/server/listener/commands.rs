//! What a listener does for an administrator: says who is there, closes connections, gives its address up and takes it
//! again. Each in its turn, between two polls, without waiting. So is the stop of the server.
//!
//! A stopped port has no listening socket and admits only calls nested in what it has in flight. Its connections are
//! told, finish what they have under way, and have a moment to close by themselves, as when the server stops; whoever
//! of them is there still when it starts again is a connection like any other. Knows nothing of other ports: they go
//! on.

use super::super::accept::Acceptor;
use super::{ACCEPT, AdmissionMode, Connection, Listener, ListenerCommand, Stage};
use crate::metrics::CloseReason;
use crate::monitor::{self, ConnectionFilter};
use crate::sync::{Arc, Sender};
use mio::Interest;
use mio::net::TcpListener;
use std::time::{Duration, Instant};

/// Between two looks for connections of a stopped port that are done. Who was done at one and is at the next is closed.
const RECESS_LOOK: Duration = Duration::from_millis(250);

impl Listener {
    pub(super) fn carry_out(&mut self, order: ListenerCommand) {
        // Who has asked may have gone.
        match order {
            ListenerCommand::Guests(answer) => _ = answer.try_send(self.list(|_| true)),
            ListenerCommand::Callers(answer) => _ = answer.try_send(self.list(Connection::is_calling)),
            ListenerCommand::Drop(whose, answer) => self.close_connections(&whose, &answer),
            ListenerCommand::Stop(answer) => _ = answer.try_send(self.stop()),
            ListenerCommand::Start(sockets, answer) => _ = answer.try_send(self.start(sockets)),
            ListenerCommand::Long(long) => self.watch.set_long(long),
        }
    }

    fn list(&self, meant: impl Fn(&Connection) -> bool) -> Vec<monitor::ConnectionInfo> {
        let (now, port) = (Instant::now(), Arc::from(self.desk.port.name.as_str()));
        let since = now.saturating_duration_since(self.began.0);
        let meant = self.connections.iter().filter(|(_, connection)| meant(connection));
        meant.map(|(_, connection)| connection.snapshot(&port, now, since)).collect()
    }

    /// Counts them first: to tell thousands takes longer than whoever asks should wait.
    fn close_connections(&mut self, whose: &ConnectionFilter, answer: &Sender<usize>) {
        let meant = |connection: &Connection| connection.leaving.is_none() && connection.is_one_of(whose);
        let ids: Vec<_> =
            self.connections.iter().filter(|(_, connection)| meant(connection)).map(|(id, _)| id).collect();
        answer.try_send(ids.len()).ok();
        for id in ids {
            self.give_up(id, CloseReason::Dropped, "the administrator has closed this connection");
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        if self.is_stopping() {
            return Err("the server stops".to_owned());
        }
        if self.recess.is_some() {
            return Err(format!("port {} is stopped already", self.desk.port.name));
        }
        self.drain(AdmissionMode::OwnPort);
        self.recess = Some(Instant::now() + RECESS_LOOK);
        self.mailbox.set_stopped(true);
        Ok(())
    }

    fn start(&mut self, mut sockets: Vec<TcpListener>) -> Result<(), String> {
        if self.is_stopping() {
            return Err("the server stops".to_owned());
        }
        if self.recess.is_none() {
            return Err(format!("port {} is not stopped", self.desk.port.name));
        }
        for socket in &mut sockets {
            let registered = self.poll.registry().register(socket, ACCEPT, Interest::READABLE);
            registered.map_err(|error| format!("port {}: {error}", self.desk.port.name))?;
        }
        (self.acceptor, self.recess, self.desk.admits) = (Acceptor::new(sockets), None, AdmissionMode::All);
        self.mailbox.set_stopped(false);
        Ok(())
    }

    /// The server stops, or stops further.
    pub(super) fn come_to(&mut self, stage: Stage) {
        if stage <= self.reached {
            return;
        }
        self.reached = stage;
        self.recess = None;
        self.drain(AdmissionMode::OwnServer);
        if stage == Stage::Refusing {
            self.desk.admits = AdmissionMode::Nothing;
            // They were left open for what is over now.
            self.say_goodbye(Connection::is_chained);
        }
        self.mailbox.reach(stage);
    }

    /// Takes no more connections and tells those there are to send no more calls, save of handlers that are waited for.
    fn drain(&mut self, admits: AdmissionMode) {
        if std::mem::replace(&mut self.desk.admits, admits) == AdmissionMode::All {
            self.acceptor.close();
            self.say_goodbye(|_| true);
        }
    }

    fn say_goodbye(&mut self, to: impl Fn(&Connection) -> bool) {
        for id in self.connections.ids() {
            if let Some(connection) = self
                .connections
                .get_mut(id)
                .filter(|connection| connection.leaving.is_none() && to(connection))
            {
                connection.say_goodbye();
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.reached > Stage::Serving
    }

    /// While the port is stopped: closes those who had nothing under way at the last look either, save those over which
    /// a transaction that is in flight may still have to call.
    pub(super) fn close_the_done(&mut self) {
        let now = Instant::now();
        if self.recess.is_none_or(|look| now < look) || self.connections.len() == 0 {
            return;
        }
        self.recess = Some(now + RECESS_LOOK);
        let in_flight = self.desk.port.queue.in_flight() > 0;
        for id in self.connections.ids() {
            let Some(connection) =
                self.connections.get_mut(id).filter(|connection| connection.leaving.is_none())
            else {
                continue;
            };
            let (before, chained) = (connection.done, connection.is_chained());
            let done = connection.is_done() && !(chained && in_flight);
            if done && !before && chained {
                connection.say_goodbye();
            }
            connection.done = done;
            if done && before {
                self.leave(id, CloseReason::ServerStopped);
            }
        }
    }
}
