//! The native client: blocking, thread-safe, many calls at once over one connection.
//!
//! ```no_run
//! use boneyard::{Client, Method};
//!
//! const DOUBLE: Method<u32, u64> = Method::new("math.double");
//!
//! # fn main() -> Result<(), boneyard::ClientError> {
//! let client = Client::connect("localhost:1352")?;
//! let eight = client.call(DOUBLE, &4)?; // blocks, at most 10 s
//! let later = client.start(DOUBLE, &5)?; // sent; the answer comes while other things are done
//! println!("{eight}, {}", later.wait()?);
//! # Ok(())
//! # }
//! ```
//!
//! The way of a call: [`Client`] encodes the arguments and finds the connection (`dial`, `connect`, `lookup`), the
//! connection writes the frame and its reader thread finds the answer's slot (`connection`), the caller decodes it
//! (`pending`). A blocking call goes that way as often (`attempts`) as is decent (`retry`). Threads: one reader a
//! connection; one timer a client, once a future needs it; one helper while a socket takes no more bytes; one for each
//! name while it is looked up. They end by themselves ([`join_background_threads`]).
//!
//! This file knows types and names; it knows no sockets. Invariants: a call's number is used once in the life of a
//! client, whatever the connection; a method's number is looked up anew on each connection.

mod address;
mod connect;
mod connection;
mod dial;
mod dns_lookup;
mod error;
pub(crate) mod ffi;
mod options;
mod pending;
pub(crate) mod raw;
mod retry;
mod schema_check;
mod session;
mod threads;
mod timer;

pub use address::{PORT, ServerAddress, ToServerAddress};
#[cfg(feature = "cli")]
pub(crate) use connect::addresses;
pub use connection::Canceller;
pub use error::{Blame, ClientError, DeadlineSource};
pub use options::{ClientOptions, DEADLINE, KEEPALIVE, KEEPALIVE_MAX, NAME_BYTES_MAX, RETRIES};
pub use pending::{Pending, Reply, Times};
pub use session::Session;
pub use threads::join_background_threads;

use crate::service::suggest::nearest;
use crate::service::{Method, worker_hooks};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::wire::{Codec, WireError, json};
use connection::{ClientConnection, NotSent};
use dial::Dialer;
use pending::CallSlot;
use retry::RetryPolicy;
use retry::call::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use session::Attached;
use std::cell::Cell;
use std::time::{Duration, Instant};
use timer::Timer;

/// Most addresses of a client.
pub const ADDRESSES_MAX: usize = 64;

/// Connections a call tries when each takes no more calls before this one is sent.
const CONNECTIONS_TRIED_MAX: usize = 3;

/// Appends the arguments of a call to its frame.
type Write<'a> = dyn Fn(&mut Vec<u8>) -> Result<(), WireError> + 'a;

/// A server to call. Clones are cheap and share one connection.
///
/// The connection is made by [`Client::connect`] or the first call, and made anew by the first call after it was lost. It is closed with the
/// last clone and the last [`Pending`].
///
/// Nothing is run twice by itself, unless the method is [idempotent](Method::idempotent). The blocking calls
/// ([`Client::call`], [`Client::call_timed`], [`Client::call_json`]) are made again, after a short wait, when they were
/// certainly not started: the server refused them for load or because it stops ([`Blame::Overload`]), or the connection
/// was lost before they were written. Those of an idempotent method are made again also when the connection was lost
/// while they were out, and may be [hedged](ClientOptions::hedge_after).
///
/// All of this ends with the call's deadline, with [`ClientOptions::retries`], and with the budget that a client has
/// for it: one repetition or hedge for every ten calls, and ten saved, with which it begins. Calls refused because the
/// server stops do not cost it, nor do those that were never written. Where there is no server, a call
/// [waits for it](ClientOptions::wait_for_server). A call sent by [`Client::start`] is one attempt, and is told at once
/// that there is no server.
///
/// What handlers keep for a client ends with the connection, save in a [`Session`].
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Option<Duration>,
    /// The session its calls are made in; `None` for the connection's own.
    session: Option<Arc<Attached>>,
}

/// What clones share.
#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    timer: Timer,
    retry: RetryPolicy,
    last_call: AtomicU64,
}

impl Shared {
    /// A number that no call has had.
    fn next_call(&self) -> u64 {
        // Relaxed: nothing but the number's being new matters.
        self.last_call.fetch_add(1, Ordering::Relaxed) + 1
    }
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
        let dialer = Dialer::new(addresses, options)?;
        let shared = Shared { dialer, timer: Timer::default(), retry, last_call: AtomicU64::new(0) };
        Ok(Client { shared: Arc::new(shared), deadline, session: None })
    }

    /// As [`Client::new`], and connects: [`Client::ensure_connected`] says how. To connect with other options, call that
    /// on a client made by [`Client::with_options`] or [`Client::with_servers`].
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`], and those of [`Client::ensure_connected`].
    pub fn connect(address: impl ToServerAddress) -> Result<Client, ClientError> {
        let client = Client::new(address)?;
        client.ensure_connected()?;
        Ok(client)
    }

    /// Connects now unless there is a connection. One attempt: a server that is not there is not waited for, as
    /// calls do. Blocks, at most for [`ClientOptions::connect_timeout`] and the deadline.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; [`ClientError::Rejected`], [`ClientError::Unavailable`] and other refusals of the
    /// server; [`ClientError::DeadlineExceeded`], [`ClientError::NoThread`].
    pub fn ensure_connected(&self) -> Result<(), ClientError> {
        self.shared.dialer.link(self.due()?).map(drop)
    }

    /// The same client, whose calls wait so long; `None` waits without end, zero fails at once. Shares the
    /// connection: `client.with_deadline(Duration::from_millis(50)).call(..)`.
    pub fn with_deadline(&self, deadline: impl Into<Option<Duration>>) -> Client {
        Client { deadline: deadline.into(), ..self.clone() }
    }

    /// Calls a method and blocks until its response is there, at most until the deadline.
    ///
    /// # Errors
    /// See [`ClientError`]. Of a call made more than once, that of the last attempt; of an earlier one where only that
    /// may have run.
    pub fn call<Request, Response>(
        &self,
        method: Method<Request, Response>,
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
    pub fn call_timed<Request, Response>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Reply<Response>, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.make(&self.typed(method, &|out| Codec::Bincode.encode(request, out))?)
    }

    /// Sends a call once and returns without its answer. The deadline counts from here, not from the wait.
    ///
    /// Blocks while the connection is made, while the server is asked for types that differ, and while more than 1 MiB
    /// of other calls waits to be written.
    ///
    /// # Errors
    /// The call was not sent. See [`ClientError`].
    pub fn start<Request, Response>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Pending<Response>, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.send(&self.typed(method, &|out| Codec::Bincode.encode(request, out))?)
    }

    /// Calls any method the server has: arguments and result are JSON text. A method without arguments takes `null`.
    /// It is not taken for idempotent.
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
        self.make(&self.json(method, &write_text(json))?)
    }

    /// As [`Client::start`], in JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn start_json(&self, method: &str, json: &str) -> Result<Pending<String>, ClientError> {
        self.send(&self.json(method, &write_text(json))?)
    }

    /// Names of all methods of the server, sorted. Connects if there is no connection.
    ///
    /// # Errors
    /// [`ClientError::Connect`] and the like.
    pub fn methods(&self) -> Result<Vec<String>, ClientError> {
        let due = self.due()?;
        let link = loop {
            match self.shared.dialer.link(due) {
                Ok(link) => break link,
                Err(error) if self.is_waited_out(&error) => self.await_server(error, due, &mut || true)?,
                Err(error) => return Err(error),
            }
        };
        let mut names: Vec<String> = link.methods().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// When a call that begins now is late.
    fn due(&self) -> Result<Option<Instant>, ClientError> {
        match self.deadline {
            Some(Duration::ZERO) => Err(ClientError::late(false)),
            // A deadline beyond the clock's end is none. A handler's call is waited for no longer than the handler.
            deadline => {
                let own = deadline.and_then(|deadline| Instant::now().checked_add(deadline));
                Ok(own.into_iter().chain(worker_hooks::deadline()).min())
            }
        }
    }

    /// A call of a typed method begins.
    fn typed<'a, Request, Response: DeserializeOwned>(
        &self,
        method: Method<Request, Response>,
        write: &'a Write<'a>,
    ) -> Result<Call<'a, Response>, ClientError> {
        self.shared.retry.begin();
        Ok(Call {
            method: method.name(),
            idempotent: method.is_idempotent(),
            describe: method.describe(),
            codec: Codec::Bincode,
            write,
            decode: |codec, bytes| codec.decode(bytes),
            deadline: self.due()?,
            unconnected: Cell::default(),
        })
    }

    /// A call in JSON begins.
    fn json<'a>(&self, method: &'a str, write: &'a Write<'a>) -> Result<Call<'a, String>, ClientError> {
        self.shared.retry.begin();
        Ok(json_call(method, write, self.due()?))
    }

    /// Sends a call, once, on the connection in use or a new one.
    fn send<Response>(&self, call: &Call<'_, Response>) -> Result<Pending<Response>, ClientError> {
        self.shared.retry.admit()?;
        self.send_admitted(call)
    }

    fn send_admitted<Response>(&self, call: &Call<'_, Response>) -> Result<Pending<Response>, ClientError> {
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let link = self.shared.dialer.link_for_call(call.deadline);
            call.unconnected.set(link.is_err());
            let link = link?;
            if let Some(pending) = self.send_on(&link, call, call.deadline)? {
                return Ok(pending);
            }
        }
        let reason = "the server takes no calls on any connection".to_owned();
        Err(ClientError::Disconnected { may_have_run: false, reason })
    }

    /// Sends a call on this connection; `None` when that takes no calls any more. Waits for room until `patience` ends.
    fn send_on<Response>(
        &self,
        link: &Arc<ClientConnection>,
        call: &Call<'_, Response>,
        patience: Option<Instant>,
    ) -> Result<Option<Pending<Response>>, ClientError> {
        let entry = link.entry(call.method).ok_or_else(|| unknown(call.method, link))?;
        if !self.agree(link, entry, call, patience)? {
            return Ok(None);
        }
        let method = entry.number;
        let session = match &self.session {
            None => 0,
            Some(session) => match self.number_on(link, session, patience)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        let origin = worker_hooks::origin();
        let chain = origin.as_ref().map(|origin| &origin.chain);
        let frame = crate::proto::client::call(method, call.codec, chain, link.call_bytes_max(), call.write)
            .map_err(unsendable)?;
        let number = self.shared.next_call();
        let (nested, open) = (origin.is_some(), origin.as_ref().map(|origin| origin.open.id));
        let slot = Arc::new(CallSlot::of(origin.map(|origin| origin.open)));
        match link.send((number, session, nested), frame, &slot, call.deadline, patience) {
            Ok(()) => {
                let parts = (Arc::clone(&self.shared), Arc::clone(link), slot);
                Ok(Some(Pending::new(parts, (number, method), open, call.deadline, call.decode)))
            }
            Err(NotSent::Late) => Err(ClientError::late(false)),
            Err(NotSent::Closed) => Ok(None),
        }
    }
}

fn json_call<'a>(method: &'a str, write: &'a Write<'a>, deadline: Option<Instant>) -> Call<'a, String> {
    let (describe, unconnected) = (None, Cell::default());
    let (idempotent, codec, decode) = (false, Codec::Json, json_text);
    Call { method, idempotent, describe, codec, write, decode, deadline, unconnected }
}

fn unknown(method: &str, link: &ClientConnection) -> ClientError {
    let nearest = nearest(method, link.methods()).map(str::to_owned);
    ClientError::UnknownMethod { name: method.to_owned(), nearest }
}

fn unsendable(error: WireError) -> ClientError {
    match error {
        WireError::TooLarge { bytes, limit } => ClientError::TooLarge { bytes, limit },
        WireError::Unencodable(message) => ClientError::Unencodable(message),
        other => ClientError::Unencodable(other.to_string()),
    }
}

/// Arguments as the text they are.
fn write_text(json: &str) -> impl Fn(&mut Vec<u8>) -> Result<(), WireError> {
    |out| {
        out.extend_from_slice(json.as_bytes());
        Ok(())
    }
}

/// A result as the text it is, once it is known to be JSON.
fn json_text(codec: Codec, bytes: &[u8]) -> Result<String, WireError> {
    if codec != Codec::Json {
        return Err(WireError::Undecodable("the result of a JSON call is not JSON".to_owned()));
    }
    json::check(bytes).map(str::to_owned)
}
