//! A session as its client holds it: calls made in it go to one state on the server, whatever the connection.
//!
//! A session has a number on each connection that carries it. [`Attached`] remembers the last one; a call that goes
//! over another connection has the session attached there first. Two threads may do so at once: the server gives both
//! the same number. Knows calls; knows no sockets.
//!
//! Invariant: no lock is held over I/O.

use super::connection::ClientConnection;
use super::error::ClientError;
use super::pending::{CallSlot, Pending};
use super::retry::call::{Call, before_the_call};
use super::{Client, Shared};
use crate::proto::client;
use crate::service::Method;
use crate::service::session::{ATTACH, CLOSE, OPEN, SessionTicket};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::wire::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Instant;

/// A session on the server: what its handlers keep for it survives the connection. [`Session::call`] and
/// [`Session::start`] make calls in it; [`Session::client`] has all other calls. Clones are the same session.
///
/// After its connection was lost the next call attaches it to a new one by itself. [`ClientError::UnknownSession`] says
/// that the server has closed it meanwhile, or that another client has attached it: its state is gone, or not ours any
/// more, and no call will succeed again. The server closes sessions that make no call for `Server_Session_Timeout`.
///
/// Dropping the last clone, and the last client made from it, closes the session as well as that can be done without
/// waiting; where it cannot, it times out. [`Session::close`] waits, [`Session::detach`] does not close.
///
/// ```no_run
/// # use boneyard::{Client, Method};
/// # const NEXT: Method<(), u64> = Method::new("count.next");
/// # fn main() -> Result<(), boneyard::ClientError> {
/// let client = Client::connect("localhost:1352")?;
/// let session = client.session()?;
/// session.call(NEXT, &())?;
/// let ticket = session.detach();
/// // Later, and perhaps in another process:
/// assert_eq!(client.attach(ticket)?.call(NEXT, &())?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    attached: Arc<Attached>,
}

/// Where a session is attached. The last to drop it closes the session.
#[derive(Debug)]
pub(super) struct Attached {
    shared: Arc<Shared>,
    ticket: SessionTicket,
    /// The connection that carries it, and its number there.
    place: Mutex<(Weak<ClientConnection>, u32)>,
    /// Closed, or to be left open.
    done: AtomicBool,
}

impl Client {
    /// Opens a session on the server. Blocks as [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`]; [`ClientError::Unavailable`] where the server lets no more sessions in.
    pub fn session(&self) -> Result<Session, ClientError> {
        let (opened, link) = self.outside().answered_on(OPEN, &())?;
        Ok(self.within(opened.ticket, &link, opened.session))
    }

    /// The session of a ticket, from now on carried by this client's connection. Another client that had it has it no
    /// more. Blocks as [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`]; [`ClientError::UnknownSession`] where it has been closed, or the token is wrong.
    pub fn attach(&self, ticket: SessionTicket) -> Result<Session, ClientError> {
        let (number, link) = self.outside().answered_on(ATTACH, &ticket)?;
        Ok(self.within(ticket, &link, number))
    }

    /// As [`Client::call`], with the connection that the answer came over.
    fn answered_on<Request: Serialize, Response: DeserializeOwned>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<(Response, Arc<ClientConnection>), ClientError> {
        let write = |out: &mut Vec<u8>| Codec::Bincode.encode(request, out);
        let call = self.typed(method, &write)?;
        self.make_by(&call, &mut || true, |_| {
            let pending = self.send(&call)?;
            let link = Arc::clone(pending.link());
            Ok((pending.wait()?, link))
        })
    }

    /// This client without a session.
    pub(super) fn outside(&self) -> Client {
        Client { session: None, ..self.clone() }
    }

    fn within(&self, ticket: SessionTicket, link: &Arc<ClientConnection>, number: u32) -> Session {
        let (shared, place) = (Arc::clone(&self.shared), Mutex::new((Arc::downgrade(link), number)));
        let attached = Arc::new(Attached { shared, ticket, place, done: AtomicBool::new(false) });
        let client = Client { session: Some(Arc::clone(&attached)), ..self.clone() };
        Session { client, attached }
    }

    /// The number of a session on this connection, where it is attached if it is not; `None` when the connection
    /// takes no calls any more. Waits until `patience` ends.
    pub(super) fn number_on(
        &self,
        link: &Arc<ClientConnection>,
        session: &Attached,
        patience: Option<Instant>,
    ) -> Result<Option<u32>, ClientError> {
        if let Some(number) = session.number_on(link) {
            return Ok(Some(number));
        }
        let write = |out: &mut Vec<u8>| Codec::Bincode.encode(&session.ticket, out);
        let call = Call { deadline: patience, ..self.typed(ATTACH, &write)? };
        let Some(pending) = self.outside().send_on(link, &call, patience)? else { return Ok(None) };
        let number = before_the_call(pending.wait())?;
        if let Some(number) = number {
            *session.place.lock() = (Arc::downgrade(link), number);
        }
        Ok(number)
    }
}

impl Session {
    /// The client whose calls are made in the session: for [`Client::with_deadline`], JSON and the rest. As long as it
    /// or a clone is there, so is the session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As [`Client::call`], in the session.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub fn call<Request: Serialize, Response: DeserializeOwned>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Response, ClientError> {
        self.client.call(method, request)
    }

    /// As [`Client::start`], in the session.
    ///
    /// # Errors
    /// See [`Client::start`].
    pub fn start<Request: Serialize, Response: DeserializeOwned>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Pending<Response>, ClientError> {
        self.client.start(method, request)
    }

    /// What another client needs to attach this session. A secret: whoever has it has the session.
    pub fn ticket(&self) -> SessionTicket {
        self.attached.ticket
    }

    /// Closes the session and blocks until the server has. One that is closed already is left so, as is one that
    /// another client has attached. Attempted once.
    ///
    /// # Errors
    /// See [`Client::call`]. The session then times out.
    pub fn close(self) -> Result<(), ClientError> {
        self.attached.done.store(true, Ordering::Relaxed);
        let client = self.client.outside();
        let link = client.shared.dialer.link(client.due()?)?;
        let number = client.number_on(&link, &self.attached, client.due()?);
        let closed = number.and_then(|number| number.ok_or_else(lost)).and_then(|number| {
            let write = |out: &mut Vec<u8>| Codec::Bincode.encode(&number, out);
            let call = client.typed(CLOSE, &write)?;
            client.send_on(&link, &call, call.deadline)?.map_or_else(|| Err(lost()), |pending| pending.wait())
        });
        match closed {
            Err(ClientError::UnknownSession) => Ok(()),
            closed => closed,
        }
    }

    /// Lets go of the session without closing it, for a client that attaches it later.
    pub fn detach(self) -> SessionTicket {
        self.attached.done.store(true, Ordering::Relaxed);
        self.attached.ticket
    }
}

impl Attached {
    /// The connection that carries it, unless that is gone, and its number there.
    fn place(&self) -> Option<(Arc<ClientConnection>, u32)> {
        let place = self.place.lock();
        Some((place.0.upgrade()?, place.1))
    }

    pub(super) fn number_on(&self, link: &Arc<ClientConnection>) -> Option<u32> {
        let place = self.place.lock();
        std::ptr::eq(place.0.as_ptr(), Arc::as_ptr(link)).then_some(place.1)
    }

    /// Tells the server without waiting for its answer.
    fn close(&self) -> Option<()> {
        let (link, number) = self.place()?;
        let write = |out: &mut Vec<u8>| Codec::Bincode.encode(&number, out);
        let method = link.entry(CLOSE.name())?.number;
        let frame = client::call(method, Codec::Bincode, None, link.call_bytes_max(), write).ok()?;
        let (call, slot) = (self.shared.next_call(), Arc::<CallSlot>::default());
        link.send((call, 0, false), frame, &slot, None, Some(Instant::now())).ok()
    }
}

fn lost() -> ClientError {
    ClientError::Disconnected { may_have_run: false, reason: "the server takes no more calls".to_owned() }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.done.load(Ordering::Relaxed) && self.close().is_none() {
            log::debug!("session {} is left to time out", self.ticket.id);
        }
    }
}
