//! What a listener does for an administrator: says who is there, closes connections, gives its address up and takes it
//! again. Each in its turn, between two polls, without waiting.
//!
//! A stopped port has no listening socket and admits nothing. Its guests are told, finish what they have under way, and
//! have a moment to close by themselves, as when the server stops; whoever of them is there still when it starts again
//! is a guest like any other. Knows nothing of other ports: they go on.

use super::super::accept::Acceptor;
use super::{ACCEPT, Listener, Order};
use crate::insight::{Guest, Whose};
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
            Order::Callers(answer) => _ = answer.try_send(self.list(super::Guest::is_calling)),
            Order::Drop(whose, answer) => self.drop_guests(&whose, &answer),
            Order::Stop(answer) => _ = answer.try_send(self.stop()),
            Order::Start(socket, answer) => _ = answer.try_send(self.start(socket)),
            Order::Long(long) => self.watch.set_long(long),
        }
    }

    fn list(&self, meant: impl Fn(&super::Guest) -> bool) -> Vec<Guest> {
        let (now, port) = (Instant::now(), Arc::from(self.desk.port.name.as_str()));
        let since = now.saturating_duration_since(self.began.0);
        let meant = self.guests.iter().filter(|(_, guest)| meant(guest));
        meant.map(|(_, guest)| guest.picture(&port, now, since)).collect()
    }

    /// Counts them first: to tell thousands takes longer than whoever asks should wait.
    fn drop_guests(&mut self, whose: &Whose, answer: &Sender<usize>) {
        let meant = |guest: &super::Guest| guest.leaving.is_none() && guest.is_one_of(whose);
        let ids: Vec<_> = self.guests.iter().filter(|(_, guest)| meant(guest)).map(|(id, _)| id).collect();
        answer.try_send(ids.len()).ok();
        for id in ids {
            self.give_up(id, CloseReason::Dropped, "the administrator has closed this connection");
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        if self.stopping {
            return Err("the server stops".to_owned());
        }
        if self.recess.is_some() {
            return Err(format!("port {} is stopped already", self.desk.port.name));
        }
        self.drain();
        self.recess = Some(Instant::now() + RECESS_LOOK);
        self.doorbell.set_stopped(true);
        Ok(())
    }

    fn start(&mut self, mut socket: TcpListener) -> Result<(), String> {
        if self.stopping {
            return Err("the server stops".to_owned());
        }
        if self.recess.is_none() {
            return Err(format!("port {} is not stopped", self.desk.port.name));
        }
        let registered = self.poll.registry().register(&mut socket, ACCEPT, Interest::READABLE);
        registered.map_err(|error| format!("port {}: {error}", self.desk.port.name))?;
        (self.acceptor, self.recess, self.desk.draining) = (Acceptor::new(socket), None, false);
        self.doorbell.set_stopped(false);
        Ok(())
    }

    /// While the port is stopped: closes those who had nothing under way at the last look either.
    pub(super) fn close_the_done(&mut self) {
        let now = Instant::now();
        if self.stopping || self.recess.is_none_or(|look| now < look) || self.guests.len() == 0 {
            return;
        }
        self.recess = Some(now + RECESS_LOOK);
        for id in self.guests.ids() {
            let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.leaving.is_none()) else {
                continue;
            };
            let done = guest.is_done();
            if std::mem::replace(&mut guest.done, done) && done {
                self.leave(id, CloseReason::ServerStopped);
            }
        }
    }
}
