//! What a client can be told.
//!
//! Knows the values and their ranges; does nothing with them.

use super::error::ClientError;
use crate::wire::limits::{BODY_BYTES_MAX, REPLY_PRELUDE_BYTES};
use std::time::Duration;

/// How long a call waits for its answer when nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How many times more than once a call is sent at most, when nothing else is said.
pub const RETRIES: u32 = 2;

/// After how much silence the system asks whether the server is still there, when nothing else is said.
pub const KEEPALIVE: Duration = Duration::from_secs(60);

/// Longest [`ClientOptions::keepalive`].
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(7200);

/// Longest [`ClientOptions::name`], in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// What a client can be told. The defaults are good for most.
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
    /// How long each call waits for its answer, connecting and retries included; default 10 s. `None` waits without
    /// end. Zero has passed already: every call fails at once.
    pub fn deadline(self, deadline: impl Into<Option<Duration>>) -> Self {
        ClientOptions { deadline: deadline.into(), ..self }
    }

    /// How long one attempt to connect may take, over all addresses of the host and with the greeting; default 5 s,
    /// not 0; the lookup of the name included. The shorter of this and the call's deadline holds.
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

    /// How many times a blocking call is made again at most, beyond the first; default 2, and 0 makes none again. Each
    /// wait is drawn at random, below 10 ms for the first, twice that for the next and so on up to 1 s.
    /// [`super::Client`] says which calls are made again. Waits for a server that is not there are
    /// [another matter](Self::wait_for_server).
    pub fn retries(self, retries: u32) -> Self {
        ClientOptions { retries, ..self }
    }

    /// When a blocking call of a method that is [idempotent](crate::Method::idempotent) has no answer after so long,
    /// it is made a second time, at once or not at all; the first answer counts and the other call is cancelled.
    /// Default `None`: never. A good value is what 19 of 20 calls take at most.
    ///
    /// The second call goes over the same connection: this helps where one call of many is slow in the server, not
    /// where the network is. It comes out of the same budget as the calls that are made again; see [`super::Client`].
    pub fn hedge_after(self, hedge_after: impl Into<Option<Duration>>) -> Self {
        ClientOptions { hedge_after: hedge_after.into(), ..self }
    }

    /// Whether calls are held back while the server refuses most of them; default true. [`ClientError::Throttled`]
    /// says when.
    pub fn throttle(self, throttle: bool) -> Self {
        ClientOptions { throttle, ..self }
    }

    /// Whether a blocking call that finds no server waits for one, until its deadline (10 s for a call without one);
    /// default true. Nothing of the call was sent then: the connection was refused or reset, the name was not found,
    /// what answered is no Boneyard server, or the server stops. All calls of a client that wait share one attempt at
    /// a time and the waits between attempts, which are drawn at random below a bound that grows to 1 s. They count
    /// neither as retries nor to the budget of retries. If the time is over, the error is that of the last attempt.
    ///
    /// False, or no [retries](Self::retries): the call fails after the retries of any other call, or at once.
    pub fn wait_for_server(self, wait_for_server: bool) -> Self {
        ClientOptions { wait_for_server, ..self }
    }

    /// After so much silence of a connection the system asks the server's machine whether it is still there, three
    /// times within as long again, and then gives the connection up: its calls end with
    /// [`ClientError::Disconnected`]. Default 60 s; 1 s to 2 h, in whole seconds. So it does with a server which has
    /// not acknowledged, or has had no room for, what was sent to it for twice as long. `None` never asks: a call
    /// without a deadline may then wait for ever for a machine that is gone.
    pub fn keepalive(self, keepalive: impl Into<Option<Duration>>) -> Self {
        ClientOptions { keepalive: keepalive.into(), ..self }
    }

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
