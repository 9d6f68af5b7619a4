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
//! The way of a call: [`Client`] encodes the arguments and finds the connection (`dial`), the connection writes the
//! frame and its reader thread finds the answer's slot (`connection`), the caller decodes it (`pending`). Threads: one
//! reader a connection; one timer a client, once a future needs it; one helper while a socket takes no more bytes.
//!
//! This file knows types, names and options; it knows no sockets. Invariants: a call's number is used once in the
//! life of a client, whatever the connection; a method's number is looked up anew on each connection.

mod connection;
mod dial;
mod error;
pub mod exchange;
mod nearest;
mod pending;
mod timer;

pub use dial::PORT;
pub use error::{Blame, ClientError, Side};
pub use pending::{Pending, Reply, Times};

use crate::service::Method;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::wire::limits::{BODY_BYTES_MAX, REPLY_PRELUDE_BYTES};
use crate::wire::{Codec, WireError};
use connection::{Link, NotSent};
use dial::Dialer;
use pending::{Decode, Slot};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::time::{Duration, Instant};
use timer::Timer;

/// How long a call waits for its answer when nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Longest [`ClientOptions::name`], in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Connections a call tries when each takes no more calls before this one is sent.
const CONNECTIONS_TRIED_MAX: usize = 3;

/// What a client can be told. The defaults are good for most.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    deadline: Option<Duration>,
    connect_timeout: Duration,
    name: String,
    reply_bytes_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            deadline: Some(DEADLINE),
            connect_timeout: Duration::from_secs(5),
            name: concat!("boneyard-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            reply_bytes_max: BODY_BYTES_MAX,
        }
    }
}

impl ClientOptions {
    /// How long each call waits for its answer, connecting included; default 10 s. `None` waits without end. Zero
    /// has passed already: every call fails at once.
    pub fn deadline(self, deadline: impl Into<Option<Duration>>) -> Self {
        ClientOptions { deadline: deadline.into(), ..self }
    }

    /// How long one attempt to connect may take, over all addresses of the host and with the greeting; default 5 s,
    /// not 0. The shorter of this and the call's deadline holds. The system's name resolver keeps its own time.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        ClientOptions { connect_timeout, ..self }
    }

    /// What the client tells the server it is called; at most 256 bytes.
    pub fn name(self, name: impl Into<String>) -> Self {
        ClientOptions { name: name.into(), ..self }
    }

    /// Largest body of a reply, in bytes, with the 12 of its times; default and most 64 MiB. A larger reply fails its
    /// own call only. Bounds the memory that one reply takes while it arrives.
    pub fn reply_bytes_max(self, reply_bytes_max: usize) -> Self {
        ClientOptions { reply_bytes_max, ..self }
    }

    fn check(&self) -> Result<(), ClientError> {
        let rules = [
            (!self.connect_timeout.is_zero(), "connect_timeout is 0"),
            (self.name.len() <= NAME_BYTES_MAX, "name is over 256 bytes"),
            (self.reply_bytes_max >= REPLY_PRELUDE_BYTES, "reply_bytes_max is under 12"),
            (self.reply_bytes_max <= BODY_BYTES_MAX, "reply_bytes_max is over 64 MiB"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ClientError::InvalidOption(rule)),
            None => Ok(()),
        }
    }
}

/// A server to call. Clones are cheap and share one connection.
///
/// The connection is made by the first call, and made anew by the first call after it was lost. It is closed with the
/// last clone and the last [`Pending`]. Nothing is called twice by itself: [`ClientError::never_started`] says when
/// that would be safe.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Option<Duration>,
}

/// What clones share.
#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    timer: Timer,
    last_call: AtomicU64,
}

impl Client {
    /// A client for `host:port`. Reads the text only: **the first call connects.** The port is 1352 where it is left
    /// out; an IPv6 address with a port stands in brackets, `[::1]:1352`.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`].
    pub fn connect(address: &str) -> Result<Client, ClientError> {
        Client::connect_with(address, ClientOptions::default())
    }

    /// As [`Client::connect`], with other options.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub fn connect_with(address: &str, options: ClientOptions) -> Result<Client, ClientError> {
        options.check()?;
        let deadline = options.deadline;
        let dialer = Dialer::new(address, options)?;
        let shared = Shared { dialer, timer: Timer::default(), last_call: AtomicU64::new(0) };
        Ok(Client { shared: Arc::new(shared), deadline })
    }

    /// The same client, whose calls wait so long; `None` waits without end, zero fails at once. Shares the
    /// connection: `client.with_deadline(Duration::from_millis(50)).call(..)`.
    pub fn with_deadline(&self, deadline: impl Into<Option<Duration>>) -> Client {
        Client { shared: Arc::clone(&self.shared), deadline: deadline.into() }
    }

    /// Calls a method and blocks until its response is there, at most until the deadline.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call<Request, Response>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Response, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.start(method, request)?.wait()
    }

    /// As [`Client::call`], with the times of the transaction.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call_timed<Request, Response>(
        &self,
        method: Method<Request, Response>,
        request: &Request,
    ) -> Result<Reply<Response>, ClientError>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        self.start(method, request)?.wait_timed()
    }

    /// Sends a call and returns without its answer. The deadline counts from here, not from the wait.
    ///
    /// Blocks while the connection is made, and while more than 1 MiB of other calls waits to be written.
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
        let write = |out: &mut Vec<u8>| Codec::Bincode.encode(request, out);
        self.send(method.name(), Codec::Bincode, write, |codec, bytes| codec.decode(bytes))
    }

    /// Calls any method the server has: arguments and result are JSON text. A method without arguments takes `null`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call_json(&self, method: &str, json: &str) -> Result<String, ClientError> {
        self.start_json(method, json)?.wait()
    }

    /// As [`Client::start`], in JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn start_json(&self, method: &str, json: &str) -> Result<Pending<String>, ClientError> {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(json.as_bytes());
            Ok(())
        };
        self.send(method, Codec::Json, write, json_text)
    }

    /// Names of all methods of the server, sorted. Connects if there is no connection.
    ///
    /// # Errors
    /// [`ClientError::Connect`] and the like.
    pub fn methods(&self) -> Result<Vec<String>, ClientError> {
        let link = self.shared.dialer.link(self.due()?)?;
        let mut names: Vec<String> = link.methods().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// When a call that begins now is late.
    fn due(&self) -> Result<Option<Instant>, ClientError> {
        match self.deadline {
            Some(Duration::ZERO) => Err(ClientError::late(false)),
            // A deadline beyond the clock's end is none.
            deadline => Ok(deadline.and_then(|deadline| Instant::now().checked_add(deadline))),
        }
    }

    fn send<Response>(
        &self,
        method: &str,
        codec: Codec,
        write: impl Fn(&mut Vec<u8>) -> Result<(), WireError>,
        decode: Decode<Response>,
    ) -> Result<Pending<Response>, ClientError> {
        let deadline = self.due()?;
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let link = self.shared.dialer.link(deadline)?;
            let number = link.method(method).ok_or_else(|| unknown(method, &link))?;
            let frame = exchange::call(number, codec, link.call_bytes_max(), &write).map_err(unsendable)?;
            // Relaxed: nothing but the number's being new matters.
            let call = self.shared.last_call.fetch_add(1, Ordering::Relaxed) + 1;
            let slot = Arc::new(Slot::default());
            match link.send(call, frame, &slot, deadline) {
                Ok(()) => {
                    let parts = (Arc::clone(&self.shared), link, slot);
                    return Ok(Pending::new(parts, (call, number), deadline, decode));
                }
                Err(NotSent::Late) => return Err(ClientError::late(false)),
                Err(NotSent::Closed) => {}
            }
        }
        let reason = "the server takes no calls on any connection".to_owned();
        Err(ClientError::Disconnected { may_have_run: false, reason })
    }
}

fn unknown(method: &str, link: &Link) -> ClientError {
    let nearest = nearest::nearest(method, link.methods()).map(str::to_owned);
    ClientError::UnknownMethod { name: method.to_owned(), nearest }
}

fn unsendable(error: WireError) -> ClientError {
    match error {
        WireError::TooLarge { bytes, limit } => ClientError::TooLarge { bytes, limit },
        WireError::Unencodable(message) => ClientError::Unencodable(message),
        other => ClientError::Unencodable(other.to_string()),
    }
}

/// A result as the text it is, once it is known to be JSON.
fn json_text(codec: Codec, bytes: &[u8]) -> Result<String, WireError> {
    if codec != Codec::Json {
        return Err(WireError::Undecodable("the result of a JSON call is not JSON".to_owned()));
    }
    let _: IgnoredAny = codec.decode(bytes)?;
    String::from_utf8(bytes.to_vec()).map_err(|error| WireError::Undecodable(error.to_string()))
}
