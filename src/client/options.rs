//! Options of a client, with their defaults and ranges.

use crate::service::ClientError;
use crate::wire::limits::{BODY_BYTES_MAX, REPLY_PRELUDE_BYTES};
use std::time::Duration;

/// Default of [`ClientOptions::deadline`].
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Default of [`ClientOptions::retries`].
const RETRIES: u32 = 2;

/// Default of [`ClientOptions::keepalive`].
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Longest [`ClientOptions::keepalive`].
const KEEPALIVE_MAX: Duration = Duration::from_secs(7200);

/// Longest [`ClientOptions::name`], in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Most addresses of a client.
pub const ADDRESSES_MAX: usize = 64;

/// Options of a [`Client`](super::Client). The defaults suit most. Values out of range are refused when the client is
/// made.
///
/// ```
/// use boneyard::{Client, ClientOptions};
/// use std::time::Duration;
///
/// let options = ClientOptions::default()
///     .deadline(Duration::from_secs(2))
///     .retries(0)
///     .hedge_after(None);
/// let client = Client::with_options("localhost:1352", options)?;
/// # Ok::<(), boneyard::ClientError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub(super) deadline: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) name: String,
    pub(super) reply_bytes_max: usize,
    pub(super) retries: u32,
    pub(super) hedge_after: Option<Duration>,
    pub(super) throttle: bool,
    pub(super) wait_for_server: bool,
    pub(super) keepalive: Option<Duration>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            deadline: Some(DEADLINE),
            connect_timeout: Duration::from_secs(5),
            name: concat!("boneyard-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            reply_bytes_max: BODY_BYTES_MAX,
            retries: RETRIES,
            hedge_after: None,
            throttle: true,
            wait_for_server: true,
            keepalive: Some(KEEPALIVE),
        }
    }
}

impl ClientOptions {
    /// Time for each call to have its reply, connecting and repetitions included; default 10 s. `None` waits without
    /// end. Zero has passed already: every call fails at once.
    pub fn deadline(self, deadline: impl Into<Option<Duration>>) -> Self {
        ClientOptions { deadline: deadline.into(), ..self }
    }

    /// Time for one attempt to connect, over all addresses of the host, with the lookup of the name and the handshake;
    /// default 5 s, not 0. The shorter of this and the call's deadline holds.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        ClientOptions { connect_timeout, ..self }
    }

    /// Name of the client that the server shows; at most 256 bytes. Default `boneyard-client` and the version.
    pub fn name(self, name: impl Into<String>) -> Self {
        ClientOptions { name: name.into(), ..self }
    }

    /// Largest body of a reply, in bytes, with the 12 of its times; default and most 64 MiB. A larger reply fails its
    /// own call only. Bounds the memory that one reply takes while it arrives.
    pub fn reply_bytes_max(self, reply_bytes_max: usize) -> Self {
        ClientOptions { reply_bytes_max, ..self }
    }

    /// Most repetitions of a blocking call; default 2, and 0 repeats none. Each wait is drawn at random, below 10 ms
    /// for the first, twice that for the next and so on up to 1 s. [`Client`](super::Client) says which calls are
    /// repeated. Waits for a server that is not there are [another matter](Self::wait_for_server).
    pub fn retries(self, retries: u32) -> Self {
        ClientOptions { retries, ..self }
    }

    /// Time without a reply after which a blocking call of an [idempotent](crate::Method::idempotent) method is
    /// hedged: made a second time, at once or not at all; the first reply counts and the other call is cancelled.
    /// Default `None`: never. A good value is the time within which 19 of 20 calls have their reply.
    ///
    /// The second call goes over the same connection: this helps where one call of many is slow in the server, not
    /// where the network is slow. It comes out of the same budget as repetitions; see [`Client`](super::Client).
    pub fn hedge_after(self, hedge_after: impl Into<Option<Duration>>) -> Self {
        ClientOptions { hedge_after: hedge_after.into(), ..self }
    }

    /// Whether calls are throttled by the client while the server refuses most of them; default true.
    /// [`ClientError::Throttled`] says when.
    pub fn throttle(self, throttle: bool) -> Self {
        ClientOptions { throttle, ..self }
    }

    /// Whether a blocking call that finds no server waits for one, until its deadline (10 s for a call without one);
    /// default true. Nothing of the call was sent then: the connection was refused or reset, the name was not found, a
    /// peer that is no Boneyard server answered, or the server stops. All calls of a client that wait share one
    /// attempt at a time and the waits between attempts, which are drawn at random below a bound that grows to 1 s.
    /// They count neither as repetitions nor for their budget. If the time is over, the error is that of the last
    /// attempt.
    ///
    /// False, or no [retries](Self::retries): the call fails after the repetitions of any other call, or at once.
    pub fn wait_for_server(self, wait_for_server: bool) -> Self {
        ClientOptions { wait_for_server, ..self }
    }

    /// Silence of a connection after which the system probes the server's machine, three times within as long again,
    /// before it closes the connection: its calls end with [`ClientError::Disconnected`]. Default 60 s; 1 s to 2 h, in
    /// whole seconds. The connection is closed too when the server has not acknowledged, or has had no room for, what
    /// was sent to it for twice as long. `None` never probes: a call without a deadline may then wait for ever for a
    /// machine that is gone.
    pub fn keepalive(self, keepalive: impl Into<Option<Duration>>) -> Self {
        ClientOptions { keepalive: keepalive.into(), ..self }
    }

    /// # Errors
    /// [`ClientError::InvalidOption`].
    pub(super) fn check(&self) -> Result<(), ClientError> {
        let rules = [
            (!self.connect_timeout.is_zero(), "connect_timeout is 0"),
            (self.name.len() <= NAME_BYTES_MAX, "name is over 256 bytes"),
            (self.reply_bytes_max >= REPLY_PRELUDE_BYTES, "reply_bytes_max is under 12"),
            (
                self.keepalive.is_none_or(|time| (Duration::from_secs(1)..=KEEPALIVE_MAX).contains(&time)),
                "keepalive is under 1 s or over 2 hours",
            ),
            (self.reply_bytes_max <= BODY_BYTES_MAX, "reply_bytes_max is over 64 MiB"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ClientError::InvalidOption(rule)),
            None => Ok(()),
        }
    }
}
