//! The mailbox by which other threads reach a listener: they leave something there and wake its poll.
//!
//! A command that has a result comes with a channel of one place for it. The listener executes it between two polls and
//! never waits; the thread that asked waits for [`REPLY_MAX`].
//!
//! Invariant: the thread that leaves something wakes the poll afterwards, so nothing stays in the mailbox of a listener
//! that sleeps.

use super::slots::Id;
use crate::monitor::{ConnectionFilter, ConnectionInfo, ControlError};
use crate::pool::PortShared;
use crate::server::shutdown::Shutdown;
use crate::sync::{Arc, Condvar, Mutex, Receiver, Sender, bounded};
use mio::net::TcpListener;
use mio::{Token, Waker};
use std::time::{Duration, Instant};

/// The token of the mailbox, whose generation no connection's reaches.
pub(in crate::server) const MAILBOX: Token = Token(usize::MAX - 1);

/// Most requests that wait for a listener; it takes them within milliseconds, or not at all.
const REQUESTS_MAX: usize = 64;

/// Time that a thread waits for a listener's reply.
const REPLY_MAX: Duration = Duration::from_millis(250);

/// A command for a listener.
#[derive(Debug)]
pub(in crate::server) enum ListenerCommand {
    /// List the connections.
    ListConnections(Sender<Vec<ConnectionInfo>>),
    /// List the connections that have calls in progress.
    ListCallers(Sender<Vec<ConnectionInfo>>),
    /// Close the connections that the filter selects, and reply how many they are.
    CloseConnections(ConnectionFilter, Sender<usize>),
    /// Give the address up and admit no more calls.
    StopPort(Sender<Result<(), ControlError>>),
    /// Listen again, with these sockets.
    StartPort(Vec<TcpListener>, Sender<Result<(), ControlError>>),
    /// From now on transactions count as long that run longer than this.
    SetLongTransaction(Option<Duration>),
    /// Count the calls of all connections for their clients.
    CountClients,
    /// The server stops: accept no connections, and no calls but nested ones.
    Drain,
    /// The server has drained, or its time for that is over: admit no calls.
    RefuseCalls,
    /// End once all peers have closed, or at this time.
    CloseBy(Instant),
}

/// A listener, as other threads reach it.
#[derive(Debug)]
pub(in crate::server) struct ListenerHandle {
    waker: Waker,
    mailbox: Mutex<Mailbox>,
    /// The state of the port's stop. Written by the listener alone.
    shutdown: Mutex<Shutdown>,
    /// `shutdown` has changed.
    moved: Condvar,
}

/// The unread content of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Connections to look at: their window has room again, replies wait, or sending failed.
    pub(super) connections: Vec<Id>,
    pub(super) commands: Vec<ListenerCommand>,
}

impl ListenerHandle {
    pub(in crate::server) fn new(waker: Waker) -> ListenerHandle {
        let (mailbox, moved) = Default::default();
        ListenerHandle { waker, mailbox, shutdown: Mutex::new(Shutdown::No), moved }
    }

    /// Makes the listener look at a connection.
    pub(in crate::server) fn wake_for(&self, id: Id) {
        let mut mailbox = self.mailbox.lock();
        mailbox.connections.push(id);
        let first = mailbox.connections.len() == 1;
        drop(mailbox);
        if first {
            self.wake();
        }
    }

    /// Gives the listener a command that it must not miss.
    pub(in crate::server) fn send(&self, command: ListenerCommand) {
        self.mailbox.lock().commands.push(command);
        self.wake();
    }

    /// Gives the listener a command that has a reply; without effect if too many wait already.
    pub(in crate::server) fn request<T>(
        &self,
        command: impl FnOnce(Sender<T>) -> ListenerCommand,
    ) -> ReplySlot<T> {
        let (sender, receiver) = bounded(1);
        let mut mailbox = self.mailbox.lock();
        let has_room = mailbox.commands.len() < REQUESTS_MAX;
        if has_room {
            mailbox.commands.push(command(sender));
        }
        drop(mailbox);
        self.wake();
        ReplySlot { receiver: has_room.then_some(receiver), deadline: Instant::now() + REPLY_MAX }
    }

    /// Returns how far the port has come with its stop.
    pub(in crate::server) fn shutdown(&self) -> Shutdown {
        *self.shutdown.lock()
    }

    /// Waits until the listener has come so far with its stop, or until `deadline`.
    pub(in crate::server) fn await_shutdown(&self, reached: fn(Shutdown) -> bool, deadline: Instant) {
        let mut shutdown = self.shutdown.lock();
        while !reached(*shutdown) && !self.moved.wait_until(&mut shutdown, deadline).timed_out() {}
    }

    /// For the listener: shows the others how far it has come.
    pub(super) fn publish(&self, shutdown: Shutdown) {
        self.shutdown.lock().to(shutdown);
        self.moved.notify_all();
    }

    /// For the listener: takes what was left since the last call.
    pub(super) fn take(&self) -> Mailbox {
        std::mem::take(&mut *self.mailbox.lock())
    }

    /// Makes the listener go round its loop.
    pub(in crate::server) fn wake(&self) {
        // Writing to an eventfd fails only when its counter is full, and then the listener is awake anyway.
        self.waker.wake().ok();
    }
}

/// Shows the others, when it is dropped, that the listener has ended.
#[derive(Debug)]
pub(super) struct EndNotice {
    handle: Arc<ListenerHandle>,
    port: Arc<PortShared>,
}

impl EndNotice {
    pub(super) fn new(handle: &Arc<ListenerHandle>, port: &Arc<PortShared>) -> EndNotice {
        EndNotice { handle: Arc::clone(handle), port: Arc::clone(port) }
    }
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("port {}: listener thread panicked", self.port.name);
        }
        let of_server = self.handle.shutdown().is_of_server();
        self.handle.publish(Shutdown::Ended { of_server });
    }
}

/// A reply that is on its way.
#[derive(Debug)]
pub(in crate::server) struct ReplySlot<T> {
    receiver: Option<Receiver<T>>,
    deadline: Instant,
}

impl<T> ReplySlot<T> {
    /// Returns the reply, if it comes in time.
    pub(in crate::server) fn get(self) -> Option<T> {
        self.receiver?.recv_deadline(self.deadline).ok()
    }
}
