//! [`Session`]: calls made in it reach one state on the server, whatever the connection.
//!
//! Knows calls; knows no sockets.

use super::client::Client;
use super::connection::{ClientConnection, Waiter};
use super::pending::Pending;
use super::server_session::ServerSession;
use crate::service::session::{ATTACH, CLOSE, OPEN, SessionTicket};
use crate::service::{ClientError, Method};
use crate::sync::Arc;
use crate::wire::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A session on the server: what its handlers keep for it survives the connection. [`Session::call`] and
/// [`Session::start`] make calls in it; [`Session::client`] has all other calls. Any number of threads may use it at
/// once; clones are the same session.
///
/// After its connection was lost the next call attaches it to a new one by itself. [`ClientError::UnknownSession`]
/// says that the server has closed it meanwhile, or that another client has attached it: its state is gone, or belongs
/// to the other, and no call will succeed again. The server closes sessions that make no call for
/// `Server_Session_Timeout`.
///
/// Dropping the last clone, and the last client made from it, sends a request to close the session if that does not
/// block; otherwise the session times out. [`Session::close`] waits, [`Session::detach`] does not close.
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
    /// Refers to the session too.
    client: Client,
    session: Arc<ServerSession>,
}

impl Client {
    /// Opens a session on the server. Blocks as [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`]; [`ClientError::Unavailable`] where the server takes no more sessions.
    pub fn session(&self) -> Result<Session, ClientError> {
        let (opened, connection) = self.without_session().call_on_a_connection(OPEN, &())?;
        Ok(self.in_session(opened.ticket, &connection, opened.session))
    }

    /// Attaches the session of a ticket to this client's connection. Another client that had it loses it. Blocks as
    /// [`Client::call`] does.
    ///
    /// # Errors
    /// See [`Client::call`]; [`ClientError::UnknownSession`] where it has been closed, or the token is wrong.
    pub fn attach(&self, ticket: SessionTicket) -> Result<Session, ClientError> {
        let (number, connection) = self.without_session().call_on_a_connection(ATTACH, &ticket)?;
        Ok(self.in_session(ticket, &connection, number))
    }

    /// As [`Client::call`], with the connection that the reply came on.
    fn call_on_a_connection<Request: Serialize, Response: DeserializeOwned>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<(Response, Arc<ClientConnection>), ClientError> {
        let encode = |out: &mut Vec<u8>| Codec::Bincode.encode(request, out);
        let call = self.typed(method, &encode)?;
        self.repeat(&call, &mut || true, |_| {
            let pending = self.send(&call, Waiter::Thread)?;
            let connection = Arc::clone(pending.connection());
            Ok((pending.wait()?, connection))
        })
    }

    fn in_session(&self, ticket: SessionTicket, connection: &Arc<ClientConnection>, number: u32) -> Session {
        let session = Arc::new(ServerSession::new(Arc::clone(&self.shared), ticket, connection, number));
        let client = Client { session: Some(Arc::clone(&session)), ..self.clone() };
        Session { client, session }
    }
}

impl Session {
    /// The client whose calls are made in the session: for [`Client::with_deadline`], JSON and the rest. The session
    /// lives as long as this client or a clone of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As [`Client::call`], in the session.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub fn call<Request: Serialize, Response: DeserializeOwned, Error>(
        &self,
        method: Method<Request, Response, Error>,
        request: &Request,
    ) -> Result<Response, ClientError> {
        self.client.call(method, request)
    }

    /// As [`Client::start`], in the session.
    ///
    /// # Errors
    /// See [`Client::start`].
    pub fn start<Request: Serialize, Response: DeserializeOwned, Error>(
        &self,
        method: Method<Request, Response, Error>,
        request: &Request,
    ) -> Result<Pending<Response>, ClientError> {
        self.client.start(method, request)
    }

    /// Ticket with which another client can attach this session. A secret: any holder of it can use the session.
    pub fn ticket(&self) -> SessionTicket {
        self.session.ticket
    }

    /// Closes the session and blocks until the server has. Succeeds also if it was closed already or if another client
    /// has attached it, and leaves it alone then. One attempt.
    ///
    /// # Errors
    /// See [`Client::call`]. The session then times out.
    pub fn close(self) -> Result<(), ClientError> {
        self.session.release();
        let client = self.client.without_session();
        let connection = client.shared.dialer.connection(client.call_deadline()?)?;
        let number = client.session_number(&connection, &self.session, client.call_deadline()?);
        let closed = number.and_then(|number| number.ok_or_else(lost)).and_then(|number| {
            let encode = |out: &mut Vec<u8>| Codec::Bincode.encode(&number, out);
            let call = client.typed(CLOSE, &encode)?;
            client.send_on(&connection, &call, Waiter::Thread, call.deadline)?.ok_or_else(lost)?.wait()
        });
        match closed {
            Err(ClientError::UnknownSession) => Ok(()),
            closed => closed,
        }
    }

    /// Gives the session up without closing it, for a client that attaches it later.
    pub fn detach(self) -> SessionTicket {
        self.session.release();
        self.session.ticket
    }
}

fn lost() -> ClientError {
    ClientError::unsent("the connection no longer takes calls")
}
