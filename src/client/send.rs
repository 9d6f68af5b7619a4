//! Sending one attempt of a call: a connection that takes it, the check of its types, its session, its frame.
//!
//! Knows connections and calls; knows no retries. Invariant: an error of an attempt that was not sent says so
//! ([`ClientError::never_started`]).

use super::call_spec::CallSpec;
use super::client::Client;
use super::connection::{CallSlot, ClientConnection, EncodedCall, NotSent, ServerMethod, Waiter};
use super::pending::{Pending, SentCall};
use super::schema_check::ServerTypes;
use super::server_session::ServerSession;
use crate::proto::client;
use crate::service::ClientError;
use crate::service::builtin::{ERRORS, MethodErrors, MethodSchema, SCHEMA};
use crate::service::session::ATTACH;
use crate::service::suggest::nearest;
use crate::service::worker_hooks;
use crate::sync::Arc;
use crate::wire::{Codec, WireError};
use std::time::Instant;

/// Connections tried for a call when each takes no more calls before this one is sent.
const CONNECTIONS_TRIED_MAX: usize = 3;

impl Client {
    /// Sends a call, once, on the open connection or a new one. A `waiter` that is a thread waits at once.
    pub(super) fn send<Response>(
        &self,
        call: &CallSpec<'_, Response>,
        waiter: Waiter,
    ) -> Result<Pending<Response>, ClientError> {
        self.shared.retry.admit()?;
        self.send_admitted(call, waiter)
    }

    /// As [`Client::send`], for a call that the adaptive throttle has admitted.
    pub(super) fn send_admitted<Response>(
        &self,
        call: &CallSpec<'_, Response>,
        waiter: Waiter,
    ) -> Result<Pending<Response>, ClientError> {
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let connection = self.shared.dialer.connection_for_call(call.deadline);
            call.unconnected.set(connection.is_err());
            if let Some(pending) = self.send_on(&connection?, call, waiter, call.deadline)? {
                return Ok(pending);
            }
        }
        Err(ClientError::unsent("each connection to the server was closed before the call was sent"))
    }

    /// Sends a call on this connection. Returns `None` if the connection no longer takes calls. Waits for room until
    /// `send_by`.
    pub(super) fn send_on<Response>(
        &self,
        connection: &Arc<ClientConnection>,
        call: &CallSpec<'_, Response>,
        waiter: Waiter,
        send_by: Option<Instant>,
    ) -> Result<Option<Pending<Response>>, ClientError> {
        let method = connection.method(call.method).ok_or_else(|| unknown(call.method, connection))?;
        if !self.check_types(connection, method, call, send_by)? {
            return Ok(None);
        }
        let session = match &self.session {
            None => 0,
            Some(session) => match self.session_number(connection, session, send_by)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        let origin = worker_hooks::origin();
        let chain = origin.as_ref().map(|origin| &origin.chain);
        let frame = client::call(method.number, call.codec, chain, connection.call_bytes_max(), call.encode)
            .map_err(unsendable)?;
        let number = self.shared.next_call();
        let (nested, deadline) = (origin.is_some(), call.deadline);
        let encoded = EncodedCall { call: number, session, nested, frame, deadline, waiter };
        let outgoing = origin.as_ref().map(|origin| origin.open.id);
        let slot = Arc::new(CallSlot::new(origin.map(|origin| origin.open)));
        match connection.send(encoded, &slot, send_by) {
            Ok(()) => {
                let sent = SentCall {
                    shared: Arc::clone(&self.shared),
                    connection: Arc::clone(connection),
                    slot,
                    call: number,
                    method: method.number,
                    outgoing,
                    deadline: call.deadline,
                };
                Ok(Some(Pending::new(sent, call.decode)))
            }
            Err(NotSent::Late) => Err(ClientError::late(false)),
            Err(NotSent::Closed) => Ok(None),
        }
    }

    /// Compares the types of a call's method with the server's. Returns false if the connection no longer takes calls.
    ///
    /// # Errors
    /// [`ClientError::SchemaMismatch`], or why the server could not be asked. Nothing was sent.
    fn check_types<Response>(
        &self,
        connection: &Arc<ClientConnection>,
        method: &ServerMethod,
        call: &CallSpec<'_, Response>,
        send_by: Option<Instant>,
    ) -> Result<bool, ClientError> {
        let Some(describe) = call.describe else { return Ok(true) };
        method
            .types
            .check(call.method, describe, |errors| self.ask_schema(connection, call.method, errors, send_by))
    }

    /// Asks the server for its types of a method, and for the errors that it lists if `with_errors`. Returns `None` if
    /// the connection no longer takes calls. Waits until `send_by`.
    fn ask_schema(
        &self,
        connection: &Arc<ClientConnection>,
        method: &str,
        with_errors: bool,
        send_by: Option<Instant>,
    ) -> Result<Option<ServerTypes>, ClientError> {
        let errors = MethodErrors::default();
        if connection.method(SCHEMA.name()).is_none() {
            let schema = MethodSchema { fingerprint: 0, bincode: None, json: None, unknown: String::new() };
            return Ok(Some(ServerTypes { schema, errors }));
        }
        let name = method.to_owned();
        let encode = |out: &mut Vec<u8>| Codec::Bincode.encode(&name, out);
        // The types of this call are not compared: that would need the same call.
        let call = CallSpec { deadline: send_by, describe: None, ..self.typed(SCHEMA, &encode)? };
        let Some(schema) = self.preliminary(connection, &call)? else { return Ok(None) };
        if !with_errors || connection.method(ERRORS.name()).is_none() {
            return Ok(Some(ServerTypes { schema, errors }));
        }
        let call = CallSpec { deadline: send_by, describe: None, ..self.typed(ERRORS, &encode)? };
        let errors = self.preliminary(connection, &call)?;
        Ok(errors.map(|errors| ServerTypes { schema, errors }))
    }

    /// The number of a session on this connection, on which it is attached if it is not yet. Returns `None` if the
    /// connection no longer takes calls. Waits until `send_by`.
    pub(super) fn session_number(
        &self,
        connection: &Arc<ClientConnection>,
        session: &ServerSession,
        send_by: Option<Instant>,
    ) -> Result<Option<u32>, ClientError> {
        if let Some(number) = session.number_on(connection) {
            return Ok(Some(number));
        }
        let encode = |out: &mut Vec<u8>| Codec::Bincode.encode(&session.ticket, out);
        let call = CallSpec { deadline: send_by, ..self.typed(ATTACH, &encode)? };
        let number = self.preliminary(connection, &call)?;
        if let Some(number) = number {
            session.moved_to(connection, number);
        }
        Ok(number)
    }

    /// Makes a call that another one needs first, and blocks until its response is there. Returns `None` if the
    /// connection is lost: the other call, which has not been sent, can still be sent on another one.
    fn preliminary<Response>(
        &self,
        connection: &Arc<ClientConnection>,
        call: &CallSpec<'_, Response>,
    ) -> Result<Option<Response>, ClientError> {
        let Some(pending) =
            self.without_session().send_on(connection, call, Waiter::Thread, call.deadline)?
        else {
            return Ok(None);
        };
        match pending.wait() {
            Ok(response) => Ok(Some(response)),
            Err(ClientError::Disconnected { .. } | ClientError::Protocol(_)) => Ok(None),
            Err(ClientError::DeadlineExceeded { .. }) => Err(ClientError::late(false)),
            Err(error) if error.never_started() => Err(error),
            Err(error) => Err(ClientError::unsent(error.to_string())),
        }
    }

    /// This client without its session.
    pub(super) fn without_session(&self) -> Client {
        Client { session: None, ..self.clone() }
    }
}

fn unknown(method: &str, connection: &ClientConnection) -> ClientError {
    let nearest = nearest(method, connection.method_names()).map(str::to_owned);
    ClientError::UnknownMethod { name: method.to_owned(), nearest }
}

fn unsendable(error: WireError) -> ClientError {
    match error {
        WireError::TooLarge { bytes, limit } => ClientError::TooLarge { bytes, limit },
        WireError::Unencodable(message) => ClientError::Unencodable(message),
        other => ClientError::Unencodable(other.to_string()),
    }
}
