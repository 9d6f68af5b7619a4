//! The one thread that owns a port's sockets: accepts, reads, admits, and flushes what workers could not.
//!
//! It never blocks but in its poll, and sleeps there without end when nothing is under way.

use super::accept::{Acceptor, Arrival};
use super::connection::Connection;
use super::door::{Door, Pass, no_descriptors};
use super::doorbell::Doorbell;
use super::farewell::{FAREWELL, Farewell};
use super::guest::{Desk, Guest, Reading};
use super::slots::{Id, Slots};
use super::transport::Transport;
use super::watch::Watch;
use crate::pool::Outlet;
use crate::port::goaway;
use crate::service::{Refusal, Status};
use crate::stats::CloseReason;
use crate::sync::Arc;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Tokens beside the guests', whose generation never reaches these.
pub(super) const ACCEPT: Token = Token(usize::MAX);
pub(super) const DOORBELL: Token = Token(usize::MAX - 1);

/// Events taken from one poll.
const EVENTS_MAX: usize = 1024;

/// How long a peer that is being closed may take to read its last replies and close too.
const LEAVE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Listener {
    poll: Poll,
    acceptor: Acceptor,
    door: Arc<Door>,
    farewell: Farewell,
    doorbell: Arc<Doorbell>,
    desk: Desk,
    guests: Slots<Guest>,
    /// Guests with something left to read.
    ready: VecDeque<Id>,
    /// Guests being closed, the first to be given up in front.
    leaving: VecDeque<(Instant, Id)>,
    watch: Watch,
    /// Once nothing is in flight in a server that stops: when peers are closed that have not done so themselves.
    closing: Option<Instant>,
    /// When those are given up, too, that do not take their last replies.
    end: Option<Instant>,
}

impl Listener {
    pub(super) fn new(
        poll: Poll,
        acceptor: Acceptor,
        (door, farewell): (Arc<Door>, Farewell),
        doorbell: Arc<Doorbell>,
        desk: Desk,
        watch: Watch,
    ) -> Listener {
        let (guests, ready, leaving) = (Slots::new(), VecDeque::new(), VecDeque::new());
        Listener {
            poll,
            acceptor,
            door,
            farewell,
            doorbell,
            desk,
            guests,
            ready,
            leaving,
            watch,
            closing: None,
            end: None,
        }
    }

    /// Serves until the server stops.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_over() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    // A poll fails for no reason a running server can mend; better said than spun upon.
                    log::error!("port {}: the poll failed, the port is closed: {error}", self.desk.port.name);
                    break;
                }
            }
            self.turn(&events);
        }
        for id in self.guests.ids() {
            self.close(id, CloseReason::ServerStopped);
        }
    }

    fn turn(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                ACCEPT => self.acceptor.set_ready(),
                DOORBELL => {}
                FAREWELL => self.farewell.look(),
                token => {
                    if event.is_writable() {
                        self.writable(Id::of(token));
                    }
                    if event.is_readable() || event.is_error() || event.is_read_closed() {
                        self.readable(Id::of(token), event.is_read_closed());
                    }
                }
            }
        }
        self.accept();
        self.answer_doorbell();
        for _ in 0..self.ready.len() {
            if let Some(id) = self.ready.pop_front() {
                self.read(id);
            }
        }
        self.give_up_the_late();
        self.farewell.give_up_the_late();
        self.watch.look(&self.desk.port, &self.desk.shared);
    }

    fn readable(&mut self, id: Id, ended: bool) {
        if let Some(guest) = self.guests.get_mut(id) {
            guest.readable = true;
            guest.ended |= ended;
            self.read(id);
        }
    }

    fn writable(&mut self, id: Id) {
        let Some(guest) = self.guests.get_mut(id) else { return };
        if guest.connection.is_backlogged() {
            guest.connection.flush();
            if guest.leaving.is_some() {
                guest.finish();
            } else if guest.readable {
                self.ready.push_back(id);
            }
        }
    }

    fn read(&mut self, id: Id) {
        let Some(guest) = self.guests.get_mut(id) else { return };
        let reading = match guest.leaving {
            Some(reason) => guest.discard(&mut self.desk, reason),
            None => guest.read(&mut self.desk),
        };
        match reading {
            Reading::Drained => {}
            // The connection rings, or becomes writable, when it is time to go on.
            Reading::Paused => guest.readable = true,
            Reading::More => self.ready.push_back(id),
            Reading::Ended(reason) => self.close(id, reason),
            Reading::Leave(reason) => {
                guest.leave(reason);
                self.leaving.push_back((Instant::now() + LEAVE_MAX, id));
                self.ready.push_back(id);
            }
        }
    }

    fn close(&mut self, id: Id, reason: CloseReason) {
        if let Some(guest) = self.guests.remove(id) {
            let reason = if guest.dismissed { CloseReason::Idle } else { reason };
            guest.connection.close();
            self.desk.show_out(&guest.connection, reason);
            self.desk.port.stats.closed.add(reason.index());
            log::debug!("port {}: a connection ended: {reason:?}", self.desk.port.name);
        }
    }

    fn accept(&mut self) {
        while let Some(arrival) = self.acceptor.accept(&self.desk.port) {
            match arrival {
                Arrival::Client(stream, peer) => self.receive(stream, peer, Instant::now()),
                Arrival::Surplus(stream) => {
                    self.desk.port.stats.refused_descriptors.add(1);
                    Farewell::dismiss(stream, &no_descriptors());
                }
            }
        }
    }

    fn receive(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let port = &self.desk.port;
        match self.door.knock(peer.ip(), now, &port.stats) {
            Err(refusal) => self.farewell.refuse(stream, &refusal, self.poll.registry(), now),
            Ok(pass) => {
                if let Err(error) = self.welcome_in(stream, peer, pass) {
                    let port = &self.desk.port;
                    port.stats.accept_failed.add(1);
                    log::warn!("port {}: {peer} could not be taken in: {error}", port.name);
                }
            }
        }
    }

    fn welcome_in(&mut self, mut stream: TcpStream, peer: SocketAddr, pass: Pass) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (registry, doorbell) = (self.poll.registry(), &self.doorbell);
        self.guests.insert(|id| {
            registry.register(&mut stream, id.token(), Interest::READABLE | Interest::WRITABLE)?;
            let transport = Arc::new(Transport::Plain(stream));
            let connection = Connection::new(Arc::clone(&transport), peer, id, Arc::clone(doorbell));
            std::io::Result::Ok(Guest::new(Arc::new(connection), transport, pass))
        })?;
        self.desk.port.stats.accepted.add(1);
        Ok(())
    }

    fn answer_doorbell(&mut self) {
        for id in self.doorbell.take_notes() {
            let Some(guest) = self.guests.get_mut(id) else { continue };
            if guest.connection.is_failed() {
                // A reply that comes after the goodbye finds the socket shut; the reason is what came before.
                let reason = guest.leaving.unwrap_or(CloseReason::SocketError);
                self.close(id, reason);
            } else {
                if guest.connection.take_unwanted() && guest.leaving.is_none() {
                    self.dismiss(id);
                }
                self.read(id);
            }
        }
        if self.doorbell.is_draining() && !self.desk.draining {
            self.drain();
        }
        self.closing = self.doorbell.closing();
    }

    /// Another session needs this guest's place.
    fn dismiss(&mut self, id: Id) {
        let Some(guest) = self.guests.get_mut(id) else { return };
        if guest.dismiss() {
            self.leaving.push_back((Instant::now() + LEAVE_MAX, id));
        } else if let Some(own) = self.desk.tracked(&guest.connection) {
            self.desk.sessions.stays(own);
        }
    }

    /// Takes no more connections and tells those there are to send no more calls.
    fn drain(&mut self) {
        self.desk.draining = true;
        self.acceptor.close();
        self.doorbell.acknowledge_drain();
        let mut frame = Vec::new();
        for id in self.guests.ids() {
            if let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.leaving.is_none()) {
                goaway(&Refusal::new(Status::Draining, Status::Draining.text()), &mut frame);
                guest.connection.send(&mut frame, 0);
            }
        }
    }

    /// Has the server stopped, and every peer gone, or had its replies, or had its time?
    ///
    /// What a peer sent before it heard of the stop is read and refused meanwhile: closed upon at once, it would not
    /// know whether its call was run.
    fn is_over(&mut self) -> bool {
        let Some(closing) = self.closing else { return false };
        let now = Instant::now();
        if now >= closing {
            self.end.get_or_insert(now + LEAVE_MAX);
            for id in self.guests.ids() {
                if self.guests.get_mut(id).is_some_and(|guest| !guest.connection.is_backlogged()) {
                    self.close(id, CloseReason::ServerStopped);
                }
            }
        }
        self.guests.len() == 0 || self.end.is_some_and(|end| now >= end)
    }

    fn give_up_the_late(&mut self) {
        while let Some(&(deadline, id)) = self.leaving.front() {
            if deadline > Instant::now() {
                break;
            }
            self.leaving.pop_front();
            let guest = self.guests.get_mut(id).filter(|guest| guest.dismissed || guest.leaving.is_some());
            if let Some(reason) = guest.map(|guest| guest.leaving.unwrap_or(CloseReason::Idle)) {
                self.close(id, reason);
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let leaving = self.leaving.front().map(|late| late.0);
        let moments = [self.watch.next(), leaving, self.farewell.next(), self.end.or(self.closing)];
        moments.into_iter().map(|at| at.map(until)).chain([self.acceptor.retry_in()]).flatten().min()
    }
}
