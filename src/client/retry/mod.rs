//! Treatment of a server that refuses or is not there: which calls are repeated, when, how often, and which are not
//! sent.
//!
//! `backoff`, `budget` and `adaptive_throttle` are pure and `policy` puts time and chance into them; `call` and
//! `hedge` have the loop over the attempts of one blocking call. Knows errors and calls; knows no sockets.

mod adaptive_throttle;
mod backoff;
mod budget;
mod call;
mod hedge;
mod policy;
mod wait;

pub(super) use policy::{RETRY_AFTER_MAX, RetryPolicy, is_transient, random_wait};
pub(super) use wait::{CHECK_INTERVAL, KeepWaiting};
