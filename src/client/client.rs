//! [`Client`]: its constructors and its calls.
//!
//! Knows types and names; knows no sockets. How an attempt is sent is in `send`, how often one is made in `retry`.

use super::address::ToServerAddress;
use super::call_spec::{CallSpec, EncodeArguments, copy};
use super::connection::Waiter;
use super::dialer::Dialer;
use super::options::ClientOptions;
use super::pending::Pending;
use super::reply::Reply;
use super::retry::RetryPolicy;
use super::server_session::ServerSession;
use super::shared_state::SharedState;
use crate::service::{ClientError, Method, worker_hooks};
use crate::sync::Arc;
use crate::wire::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// A client of a server. Any number of threads may use it at once; clones are cheap and share one connection.
///
/// ```no_run
/// use boneyard::{Blame, Client, ClientOptions, Method};
/// use std::time::Duration;
///
/// const AREA: Method<(f64, f64), f64> = Method::new("shapes.area").idempotent();
///
/// # fn main() -> Result<(), boneyard::ClientError> {
/// let options = ClientOptions::default().deadline(Duration::from_secs(2)).name("surveyor");
/// let client = Client::with_options(("shapes.example", 1352), options)?; // connects at the first call
/// match client.call(AREA, &(3.0, 0.5)) {
///     Ok(area) => println!("{area}"),
///     Err(error) if error.blame() == Blame::Overload => println!("try later: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
///
/// [`Client::connect`] or the first call makes the connection, and the first call after it was lost makes a new one.
/// The connection is closed with the last clone and the last [`Pending`].
///
/// No call runs twice by itself, unless its method is [idempotent](Method::idempotent). The blocking calls
/// ([`Client::call`], [`Client::call_timed`], [`Client::call_json`]) are repeated, after a short wait, when they were
/// certainly not started: the server refused them for load or because it stops ([`Blame::Overload`]), or the
/// connection was lost before they were written. Those of an idempotent method are repeated also when the connection
/// was lost while they were in flight, and may be [hedged](ClientOptions::hedge_after).
///
/// All of this ends with the call's deadline, with [`ClientOptions::retries`], and with the client's retry budget: one
/// repetition or hedge for every ten calls, and ten saved, with which a client begins. Repetitions of calls refused
/// because the server stops do not cost it, nor do those of calls that were never written. Where there is no server, a
/// call [waits for it](ClientOptions::wait_for_server). A call sent by [`Client::start`] is one attempt, and fails at
/// once where there is no server.
///
/// State that handlers keep for a client ends with the connection, except in a [`Session`](super::Session).
///
/// [`Blame::Overload`]: super::Blame::Overload
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) shared: Arc<SharedState>,
    pub(super) deadline: Option<Duration>,
    /// Session that calls are made in; `None` for the connection's own.
    pub(super) session: Option<Arc<ServerSession>>,
}

impl Client {
    /// A client for the server at `address`, which is text, as in `"localhost:1352"`, or a value such as a
    /// [`SocketAddr`](std::net::SocketAddr): see [`ToServerAddress`]. Does no I/O and starts no thread: the first call
    /// connects.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`].
    pub fn new(address: impl ToServerAddress) -> Result<Client, ClientError> {
        Client::with_options(address, ClientOptions::default())
    }

    /// As [`Client::new`], with other options.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub fn with_options(
        address: impl ToServerAddress,
        options: ClientOptions,
    ) -> Result<Client, ClientError> {
        Client::with_servers(&[address], options)
    }

    /// As [`Client::with_options`], for a service that runs on several servers: their addresses, 1 to 64, in the order
    /// in which each attempt to connect tries them. The time for the attempt is shared among the addresses still to be
    /// tried; its error is that of the last.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub fn with_servers<Address: ToServerAddress>(
        addresses: &[Address],
        options: ClientOptions,
    ) -> Result<Client, ClientError> {
        options.check()?;
        let (deadline, retry) = (options.deadline, RetryPolicy::new(&options));
        let shared = SharedState::new(Dialer::new(addresses, options)?, retry);
        Ok(Client { shared: Arc::new(shared), deadline, session: None })
    }

    /// As [`Client::new`], and connects: [`Client::ensure_connected`] says how. To connect with other options, call
    /// that on a client made by [`Client::with_options`] or [`Client::with_servers`].
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`], and those of [`Client::ensure_connected`].
    pub fn connect(address: impl ToServerAddress) -> Result<Client, ClientError> {
        let client = Client::new(address)?;
        client.ensure_connected()?;
        Ok(client)
    }

    /// Connects now unless there is a connection. Makes one attempt; unlike a call, it does not wait for a server that
    /// is not there. Blocks, at most for [`ClientOptions::connect_timeout`] and the deadline.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; [`ClientError::Rejected`], [`ClientError::Unavailable`] and other refusals of the
    /// server; [`ClientError::DeadlineExceeded`], [`ClientError::NoThread`].
    pub fn ensure_connected(&self) -> Result<(), ClientError> {
        self.shared.dialer.connection(self.call_deadline()?).map(drop)
    }

    /// The same client with another deadline for each call; `None` waits without end, zero fails at once. Shares the
    /// connection: `client.with_deadline(Duration::from_millis(50)).call(..)`.
    pub fn with_deadline(&self, deadline: impl Into<Option<Duration>>) -> Client {
        Client { deadline: deadline.into(), ..self.clone() }
    }

    /// Calls a method and blocks until its response is there, at most until the deadline.
    ///
    /// # Errors
    /// See [`ClientError`]. Of a call made more than once, that of the last attempt; of an earlier one where only that
    /// may have run.
    pub fn call<Request, Response, Error>(
        &self,
        method: Method<Request, Response, Error>,
        request: &Request,
    ) -> Result<Response, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.call_timed(method, request).map(|reply| reply.response)
    }

    /// As [`Client::call`], with the times of the transaction: of the attempt that was answered.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub fn call_timed<Request, Response, Error>(
        &self,
        method: Method<Request, Response, Error>,
        request: &Request,
    ) -> Result<Reply<Response>, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.call_with_retries(&self.typed(method, &|out| Codec::Bincode.encode(request, out))?)
    }

    /// Sends a call once and returns without its reply. The deadline counts from here, not from the wait.
    ///
    /// Blocks while the connection is made, while the server is asked for types that differ, and while more than 1 MiB
    /// of other calls waits to be written.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn start<Request, Response, Error>(
        &self,
        method: Method<Request, Response, Error>,
        request: &Request,
    ) -> Result<Pending<Response>, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.send(&self.typed(method, &|out| Codec::Bincode.encode(request, out))?, Waiter::Task)
    }

    /// Calls any method of the server with arguments and result as JSON text, and blocks as [`Client::call`] does. A
    /// method without arguments takes `null`. The method is not taken for idempotent.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub fn call_json(&self, method: &str, json: &str) -> Result<String, ClientError> {
        self.call_json_timed(method, json).map(|reply| reply.response)
    }

    /// As [`Client::call_json`], with the times of the transaction.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub fn call_json_timed(&self, method: &str, json: &str) -> Result<Reply<String>, ClientError> {
        self.call_with_retries(&self.json(method, &copy(json.as_bytes()))?)
    }

    /// As [`Client::start`], with arguments and result as JSON text.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn start_json(&self, method: &str, json: &str) -> Result<Pending<String>, ClientError> {
        self.send(&self.json(method, &copy(json.as_bytes()))?, Waiter::Task)
    }

    /// Names of all methods of the server, sorted. Connects if there is no connection, and blocks meanwhile.
    ///
    /// # Errors
    /// [`ClientError::Connect`] and the like.
    pub fn methods(&self) -> Result<Vec<String>, ClientError> {
        let deadline = self.call_deadline()?;
        let connection = loop {
            match self.shared.dialer.connection(deadline) {
                Ok(connection) => break connection,
                Err(error) if self.waits_after(&error) => self.await_server(error, deadline, &mut || true)?,
                Err(error) => return Err(error),
            }
        };
        let mut names: Vec<String> = connection.method_names().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Deadline of a call that begins now.
    pub(super) fn call_deadline(&self) -> Result<Option<Instant>, ClientError> {
        match self.deadline {
            Some(Duration::ZERO) => Err(ClientError::late(false)),
            // A deadline beyond the clock's end is none. A handler's call ends with the handler's own deadline.
            deadline => {
                let own = deadline.and_then(|deadline| Instant::now().checked_add(deadline));
                Ok(own.into_iter().chain(worker_hooks::deadline()).min())
            }
        }
    }

    /// Begins a call of a typed method.
    pub(super) fn typed<'a, Request, Response: DeserializeOwned, Error>(
        &self,
        method: Method<Request, Response, Error>,
        encode: &'a EncodeArguments<'a>,
    ) -> Result<CallSpec<'a, Response>, ClientError> {
        self.shared.retry.on_call();
        Ok(CallSpec {
            method: method.name(),
            idempotent: method.is_idempotent(),
            describe: method.describe(),
            codec: Codec::Bincode,
            encode,
            decode: |codec, bytes| codec.decode(bytes),
            deadline: self.call_deadline()?,
            unconnected: Cell::default(),
        })
    }

    /// Begins a call in JSON.
    pub(super) fn json<'a>(
        &self,
        method: &'a str,
        encode: &'a EncodeArguments<'a>,
    ) -> Result<CallSpec<'a, String>, ClientError> {
        self.shared.retry.on_call();
        Ok(CallSpec::json(method, encode, self.call_deadline()?))
    }
}
