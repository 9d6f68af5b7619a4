//! What an administrator asks of a listener, which alone knows its connections and its socket.
//!
//! An order is left at the listener's mailbox with a channel of one place for the answer. The listener carries it out
//! in its turn and never waits; who asks waits for [`ANSWER_MAX`].

use super::mailbox::ListenerHandle;
use crate::monitor::{ConnectionFilter, ConnectionInfo};
use crate::sync::{Receiver, Sender, bounded};
use mio::net::TcpListener;
use std::time::{Duration, Instant};

/// How long a listener's answer is waited for.
const ANSWER_MAX: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) enum ListenerCommand {
    /// Who is there?
    Guests(Sender<Vec<ConnectionInfo>>),
    /// Who of them has calls in progress?
    Callers(Sender<Vec<ConnectionInfo>>),
    /// Close these; how many they are.
    Drop(ConnectionFilter, Sender<usize>),
    /// Give the address up and take no more calls.
    Stop(Sender<Result<(), String>>),
    /// Listen again, with these sockets.
    Start(Vec<TcpListener>, Sender<Result<(), String>>),
    /// From now on, transactions are long that run so long.
    Long(Option<Duration>),
}

/// An answer that is on its way.
#[derive(Debug)]
pub(super) struct ReplySlot<T>(Option<Receiver<T>>, Instant);

/// Asks a listener.
pub(super) fn ask<T>(
    bell: &ListenerHandle,
    order: impl FnOnce(Sender<T>) -> ListenerCommand,
) -> ReplySlot<T> {
    let (answer, answered) = bounded(1);
    let left = bell.order(order(answer));
    ReplySlot(left.then_some(answered), Instant::now() + ANSWER_MAX)
}

impl<T> ReplySlot<T> {
    /// The answer, if it comes in time.
    pub(super) fn get(self) -> Option<T> {
        self.0?.recv_deadline(self.1).ok()
    }
}
