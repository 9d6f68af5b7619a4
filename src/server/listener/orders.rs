//! What a listener does for an administrator: says who is there, closes connections, gives its address up and takes it
//! again. Each in its turn, between two polls, without waiting. So is the stop of the server.
//!
//! A stopped port has no listening socket and admits only calls nested in what it has in flight. Its guests are told,
//! finish what they have under way, and have a moment to close by themselves, as when the server stops; whoever of them
//! is there still when it starts again is a guest like any other. Knows nothing of other ports: they go on.

use super::super::accept::Acceptor;
use super::{ACCEPT, Admits, Guest, Listener, Order, Stage};
use crate::insight::{self, Whose};
use crate::stats::CloseReason;
use crate::sync::{Arc, Sender};
use mio::Interest;
use mio::net::TcpListener;
use std::time::{Duration, Instant};

/// Between two looks for guests of a stopped port that are done. Who was done at one and is at the next is closed.
const RECESS_LOOK: Duration = Duration::from_millis(250);

impl Listener {
    pub(super) fn carry_out(&mut self, order: Order) {
        // Who has asked may have gone.
        match order {
            Order::Guests(answer) => _ = answer.try_send(self.list(|_| true)),
            Order::Callers(answer) => _ = answer.try_send(self.list(Guest::is_calling)),
            Order::Drop(whose, answer) => self.drop_guests(&whose, &answer),
            Order::Stop(answer) => _ = answer.try_send(self.stop()),
            Order::Start(sockets, answer) => _ = answer.try_send(self.start(sockets)),
            Order::Long(long) => self.watch.set_long(long),
        }
    }

    fn list(&self, meant: impl Fn(&Guest) -> bool) -> Vec<insight::Guest> {
        let (now, port) = (Instant::now(), Arc::from(self.desk.port.name.as_str()));
        let since = now.saturating_duration_since(self.began.0);
        let meant = self.guests.iter().filter(|(_, guest)| meant(guest));
        meant.map(|(_, guest)| guest.picture(&port, now, since)).collect()
    }

    /// Counts them first: to tell thousands takes longer than whoever asks should wait.
    fn drop_guests(&mut self, whose: &Whose, answer: &Sender<usize>) {
        let meant = |guest: &Guest| guest.leaving.is_none() && guest.is_one_of(whose);
        let ids: Vec<_> = self.guests.iter().filter(|(_, guest)| meant(guest)).map(|(id, _)| id).collect();
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
        self.drain(Admits::OwnPort);
        self.recess = Some(Instant::now() + RECESS_LOOK);
        self.doorbell.set_stopped(true);
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
        (self.acceptor, self.recess, self.desk.admits) = (Acceptor::new(sockets), None, Admits::All);
        self.doorbell.set_stopped(false);
        Ok(())
    }

    /// The server stops, or stops further.
    pub(super) fn come_to(&mut self, stage: Stage) {
        if stage <= self.reached {
            return;
        }
        self.reached = stage;
        self.recess = None;
        self.drain(Admits::OwnServer);
        if stage == Stage::Refusing {
            self.desk.admits = Admits::Nothing;
            // They were left open for what is over now.
            self.say_goodbye(Guest::is_chained);
        }
        self.doorbell.reach(stage);
    }

    /// Takes no more connections and tells those there are to send no more calls, save of handlers that are waited for.
    fn drain(&mut self, admits: Admits) {
        if std::mem::replace(&mut self.desk.admits, admits) == Admits::All {
            self.acceptor.close();
            self.say_goodbye(|_| true);
        }
    }

    fn say_goodbye(&mut self, to: impl Fn(&Guest) -> bool) {
        for id in self.guests.ids() {
            if let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.leaving.is_none() && to(guest))
            {
                guest.say_goodbye();
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
        if self.recess.is_none_or(|look| now < look) || self.guests.len() == 0 {
            return;
        }
        self.recess = Some(now + RECESS_LOOK);
        let in_flight = self.desk.port.queue.in_flight() > 0;
        for id in self.guests.ids() {
            let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.leaving.is_none()) else {
                continue;
            };
            let (before, chained) = (guest.done, guest.is_chained());
            let done = guest.is_done() && !(chained && in_flight);
            if done && !before && chained {
                guest.say_goodbye();
            }
            guest.done = done;
            if done && before {
                self.leave(id, CloseReason::ServerStopped);
            }
        }
    }
}
