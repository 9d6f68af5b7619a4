//! The session of a [`Client`](super::Client) or [`Session`](super::Session): its ticket, and where it is attached.
//!
//! A session has a number on each connection that carries it. The last one is kept here; a call that goes over another
//! connection has the session attached there first. Two threads may do so at once: the server gives both the same
//! number. Invariant: no lock is held over I/O.

use super::connection::{CallSlot, ClientConnection, EncodedCall, Waiter};
use super::shared_state::SharedState;
use crate::proto::client;
use crate::service::session::{CLOSE, SessionTicket};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::wire::Codec;
use std::time::Instant;

/// A session of the server. The last reference to be dropped closes it.
#[derive(Debug)]
pub(super) struct ServerSession {
    shared: Arc<SharedState>,
    pub(super) ticket: SessionTicket,
    /// The connection that carries it, and its number there.
    attached_to: Mutex<(Weak<ClientConnection>, u32)>,
    /// Whether it is closed already, or to be left open.
    released: AtomicBool,
}

impl ServerSession {
    pub(super) fn new(
        shared: Arc<SharedState>,
        ticket: SessionTicket,
        connection: &Arc<ClientConnection>,
        number: u32,
    ) -> ServerSession {
        let attached_to = Mutex::new((Arc::downgrade(connection), number));
        ServerSession { shared, ticket, attached_to, released: AtomicBool::new(false) }
    }

    /// Its number on `connection`, if that was the last to carry it.
    pub(super) fn number_on(&self, connection: &Arc<ClientConnection>) -> Option<u32> {
        let attached_to = self.attached_to.lock();
        std::ptr::eq(attached_to.0.as_ptr(), Arc::as_ptr(connection)).then_some(attached_to.1)
    }

    pub(super) fn moved_to(&self, connection: &Arc<ClientConnection>, number: u32) {
        *self.attached_to.lock() = (Arc::downgrade(connection), number);
    }

    /// Leaves the session to others: dropping the last reference no longer closes it.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    /// Sends a request to close it and does not wait for the reply. Returns `None` if that cannot be sent at once.
    fn request_close(&self) -> Option<()> {
        let attached_to = self.attached_to.lock();
        let (connection, number) = (attached_to.0.upgrade()?, attached_to.1);
        drop(attached_to);
        let encode = |out: &mut Vec<u8>| Codec::Bincode.encode(&number, out);
        let method = connection.method(CLOSE.name())?.number;
        let frame = client::call(method, Codec::Bincode, None, connection.call_bytes_max(), encode).ok()?;
        let call = self.shared.next_call();
        let encoded =
            EncodedCall { call, session: 0, nested: false, frame, deadline: None, waiter: Waiter::Task };
        connection.send(encoded, &Arc::<CallSlot>::default(), Some(Instant::now())).ok()
    }
}

impl Drop for ServerSession {
    fn drop(&mut self) {
        if !self.released.load(Ordering::Relaxed) && self.request_close().is_none() {
            log::debug!("session {}: not closed, left to time out", self.ticket.id);
        }
    }
}
