//! The one thread that owns a port's sockets: accepts, reads, admits, and flushes what workers could not.
//!
//! It never blocks but in its poll, and sleeps there without end when nothing is under way.

mod commands;
mod read_fairness;
mod slow_peers;

use super::accept::{Accepted, Acceptor};
use super::close_log::CloseLog;
use super::command::ListenerCommand;
use super::connection::Connection;
use super::connection_limiter::{ConnectionLimiter, ConnectionPermit, no_descriptors};
use super::desk::{AdmissionMode, Desk};
use super::lingering_close::{FAREWELL, LingeringClose};
use super::mailbox::{ListenerHandle, Stage};
use super::memory_pressure::{HEAVY_LOOK, MemoryPressure, too_heavy};
use super::slots::{Id, Slots};
use super::timeouts::{TimeoutKind, Timeouts};
use super::transport::Transport;
use super::watchdog::Watchdog;
use super::writer::ConnectionWriter;
use crate::metrics::CloseReason;
use crate::pool::BufferLease;
use crate::service::{ClientId, Peer, Status};
use crate::sync::Arc;
use log::Level;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Tokens beside the connections', whose generation never reaches these.
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
    connection_limiter: Arc<ConnectionLimiter>,
    lingering_close: LingeringClose,
    mailbox: Arc<ListenerHandle>,
    desk: Desk,
    connections: Slots<Connection>,
    /// When it began, and how many connections it has had since.
    began: (Instant, u64),
    /// Guests with something left to read.
    ready: VecDeque<Id>,
    /// Guests that are not read until then: they have had answered more than their allowance.
    put_off: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Guests being closed, the first to be given up in front.
    leaving: VecDeque<(Instant, Id)>,
    watch: Watchdog,
    /// Guests that are waited for.
    patience: Timeouts,
    /// What the buffers of all have no room for.
    ration: MemoryPressure,
    close_log: CloseLog,
    /// With more unsent bytes than this, a connection that gets another reply is closed.
    unsent_max: usize,
    /// While the port is stopped: when to look for connections that are done.
    recess: Option<Instant>,
    /// How far the server's stop has come here.
    reached: Stage,
    /// Once nothing is in flight in a server that stops: when peers are closed that have not done so themselves.
    closing: Option<Instant>,
    /// When those are given up, too, that do not take their last replies.
    end: Option<Instant>,
}

impl Listener {
    pub(super) fn new(
        poll: Poll,
        acceptor: Acceptor,
        (connection_limiter, lingering_close): (Arc<ConnectionLimiter>, LingeringClose),
        mailbox: Arc<ListenerHandle>,
        desk: Desk,
        watch: Watchdog,
        (patience, unsent_max): (Timeouts, usize),
    ) -> Listener {
        Listener {
            poll,
            acceptor,
            connection_limiter,
            lingering_close,
            mailbox,
            desk,
            connections: Slots::new(),
            began: (Instant::now(), 0),
            ready: VecDeque::new(),
            put_off: BinaryHeap::new(),
            leaving: VecDeque::new(),
            watch,
            patience,
            ration: MemoryPressure::default(),
            close_log: CloseLog::default(),
            unsent_max,
            recess: None,
            reached: Stage::Serving,
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
        for id in self.connections.ids() {
            self.close(id, CloseReason::ServerStopped);
        }
    }

    fn turn(&mut self, events: &Events) {
        let looked = self.look_at_the_clock();
        let mut rung = false;
        for event in events {
            match event.token() {
                ACCEPT => self.acceptor.set_ready(),
                DOORBELL => rung = true,
                FAREWELL => self.lingering_close.look(),
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
        // Whoever leaves something there rings afterwards, so nothing is there without a ring to come.
        if rung {
            self.answer_doorbell();
        }
        self.read_the_ready();
        self.give_up_the_late();
        self.lingering_close.give_up_the_late();
        if let Some(now) = looked {
            self.give_up_the_slow(now);
        }
        self.share_out_buffers();
        self.close_the_done();
        if let Some(line) = self.close_log.line(Instant::now) {
            log::info!("port {}: {line}", self.desk.port.name);
        }
        self.watch.look(&self.desk.port, &self.desk.shared);
    }

    fn writable(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.connection.is_backlogged() {
            connection.connection.flush();
            if connection.leaving.is_some() {
                connection.finish();
            } else if connection.readable {
                self.make_ready(id);
            }
        }
    }

    fn leave(&mut self, id: Id, reason: CloseReason) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.leave(reason);
            self.leaving.push_back((Instant::now() + LEAVE_MAX, id));
            self.make_ready(id);
        }
    }

    fn close(&mut self, id: Id, reason: CloseReason) {
        if let Some(connection) = self.connections.remove(id) {
            let reason = if connection.dismissed { CloseReason::Idle } else { reason };
            connection.connection.close();
            self.desk.show_out(&connection.connection, reason);
            self.close_log.note(reason, connection.connection.peer());
            self.desk.port.stats.closed.add(reason.index());
            let client = ClientId::of(connection.connection.peer().ip());
            // What the server ends, or has no session for, is nothing that the client does often.
            if !matches!(
                reason,
                CloseReason::ServerStopped
                    | CloseReason::Dropped
                    | CloseReason::Idle
                    | CloseReason::MaxUsers
                    | CloseReason::Restricted
            ) {
                self.connection_limiter.ended(client, connection.stayed(self.began.0), connection.calls());
            }
            if self.may_log(Level::Debug, client) {
                log::debug!("port {}: a connection ended: {reason:?}", self.desk.port.name);
            }
        }
    }

    /// May a line be written that a client caused?
    fn may_log(&self, level: Level, client: ClientId) -> bool {
        self.desk.shared.services.log_bound().lets(level, client, Instant::now())
    }

    fn accept(&mut self) {
        while let Some(arrival) = self.acceptor.accept(&self.desk.port) {
            match arrival {
                Accepted::Client(stream, peer) => self.receive(stream, peer, Instant::now()),
                Accepted::Surplus(stream) => {
                    self.desk.port.stats.refused_descriptors.add(1);
                    LingeringClose::dismiss(stream, &no_descriptors());
                }
            }
        }
    }

    fn receive(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let port = &self.desk.port;
        match self.connection_limiter.try_acquire(ClientId::of(peer.ip()), now, &port.stats) {
            Err(refusal) => self.lingering_close.refuse(stream, &refusal, self.poll.registry(), now),
            Ok(pass) => {
                if let Err(error) = self.welcome_in(stream, peer, pass) {
                    self.desk.port.stats.accept_failed.add(1);
                    if self.may_log(Level::Warn, ClientId::of(peer.ip())) {
                        log::warn!("port {}: {peer} could not be taken in: {error}", self.desk.port.name);
                    }
                }
            }
        }
    }

    fn welcome_in(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        pass: ConnectionPermit,
    ) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (registry, mailbox) = (self.poll.registry(), &self.mailbox);
        let (buffers, now) = (&self.desk.port.buffers, Instant::now());
        self.began.1 += 1;
        let (number, came_s) = (self.began.1, now.saturating_duration_since(self.began.0).as_secs() as u32);
        let id = self.connections.insert(|id| {
            registry.register(&mut stream, id.token(), Interest::READABLE | Interest::WRITABLE)?;
            let transport = Arc::new(Transport::Plain(stream));
            let connection = ConnectionWriter::new(
                Arc::clone(&transport),
                peer,
                id,
                Arc::clone(mailbox),
                (buffers, self.unsent_max),
            );
            std::io::Result::Ok(Connection::new(
                Arc::new(connection),
                transport,
                BufferLease::new(buffers),
                pass,
                (number, came_s),
            ))
        })?;
        self.patience.begin(id, TimeoutKind::Hello, now);
        self.desk.port.stats.accepted.add(1);
        Ok(())
    }

    fn answer_doorbell(&mut self) {
        let notes = self.mailbox.take_notes();
        for id in notes.ids {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            if let Some(failure) = connection.connection.failure() {
                // A reply that comes after the goodbye finds the socket shut; the reason is what came before.
                let reason = connection.leaving.unwrap_or(failure);
                self.close(id, reason);
                continue;
            }
            if connection.connection.take_unwanted() && connection.leaving.is_none() {
                self.dismiss(id);
                self.read(id);
                continue;
            }
            if connection.connection.is_backlogged() && !connection.listed.replies {
                let wait = TimeoutKind::Replies { taken: connection.connection.taken() };
                connection.listed.replies = self.patience.begin(id, wait, Instant::now());
            }
            self.read(id);
        }
        for order in notes.orders {
            self.carry_out(order);
        }
        self.come_to(self.mailbox.stage());
        self.closing = self.mailbox.closing();
    }

    /// Another session needs this connection's place.
    fn dismiss(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.dismiss() {
            self.leaving.push_back((Instant::now() + LEAVE_MAX, id));
        } else if let Some(own) = self.desk.tracked(&connection.connection) {
            self.desk.sessions.stays(own);
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
            for id in self.connections.ids() {
                if self
                    .connections
                    .get_mut(id)
                    .is_some_and(|connection| !connection.connection.is_backlogged())
                {
                    self.close(id, CloseReason::ServerStopped);
                }
            }
        }
        self.connections.len() == 0 || self.end.is_some_and(|end| now >= end)
    }

    fn give_up_the_late(&mut self) {
        while let Some(&(deadline, id)) = self.leaving.front() {
            if deadline > Instant::now() {
                break;
            }
            self.leaving.pop_front();
            let connection = self
                .connections
                .get_mut(id)
                .filter(|connection| connection.dismissed || connection.leaving.is_some());
            if let Some(reason) = connection.map(|connection| connection.leaving.unwrap_or(CloseReason::Idle))
            {
                self.close(id, reason);
            }
        }
    }

    /// While the buffers are full, ends those that hold the most; then lets those go on that waited for room.
    fn share_out_buffers(&mut self) {
        if !self.desk.port.buffers.are_full() {
            for id in self.ration.end() {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.listed.full = false;
                    self.make_ready(id);
                }
            }
            return;
        }
        if !self.ration.is_due(Instant::now()) {
            return;
        }
        let mut holders = Vec::new();
        for id in self.connections.ids() {
            let held = self.connections.get_mut(id).map_or(0, |connection| connection.held_bytes());
            if held > 0 {
                holders.push((held, id));
            }
        }
        let buffers = &self.desk.port.buffers;
        for id in too_heavy(holders, buffers.excess(), buffers.fair_part()) {
            self.give_up(id, CloseReason::BuffersFull, Status::BuffersFull.text());
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let moments = [
            self.watch.next(),
            self.leaving.front().map(|late| late.0),
            self.put_off.peek().map(|Reverse((at, _))| *at),
            self.lingering_close.next(),
            self.patience.next(),
            self.ration.next(),
            self.close_log.next(Instant::now),
            self.recess.filter(|_| self.connections.len() > 0),
            self.end.or(self.closing),
        ];
        let buffers = &self.desk.port.buffers;
        let heavy = (buffers.bytes() > buffers.fair_part()).then_some(HEAVY_LOOK);
        let soonest = moments.into_iter().flatten().min();
        let soonest = soonest.map(|at| at.saturating_duration_since(Instant::now()));
        [soonest, self.acceptor.retry_in(), heavy].into_iter().flatten().min()
    }
}
