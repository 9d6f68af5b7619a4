//! A response with the times of its transaction.

use crate::wire::ReplyPrelude;
use std::time::Duration;

/// Time that a transaction took on the server, by what it was spent on. The three do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Times {
    /// From the read of the call's last byte to its start, without the permit wait in it.
    pub queue_wait: Duration,
    /// Wait for a permit while a worker was idle for the call, and wait to continue after each
    /// [`blocking`](crate::service::blocking) section of its handler.
    pub permit_wait: Duration,
    /// Decoding, handler and encoding, without the permit wait in it.
    pub run: Duration,
}

/// A response with the times of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply<Response> {
    /// The value that the handler returned.
    pub response: Response,
    /// Time that the transaction took.
    pub times: Times,
}

impl From<ReplyPrelude> for Times {
    fn from(prelude: ReplyPrelude) -> Times {
        let us = |us: u32| Duration::from_micros(us.into());
        Times {
            queue_wait: us(prelude.queue_wait_us),
            permit_wait: us(prelude.permit_wait_us),
            run: us(prelude.run_us),
        }
    }
}
