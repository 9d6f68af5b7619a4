//! [`Canceller`]: cancels a call from another thread than the one that waits for it.
//!
//! The server decides about the call, by its one reply. Invariant: a Canceller sends at most one Cancel, so
//! that asking often is no flood.

use super::connection::ClientConnection;
use crate::sync::{AtomicBool, Ordering, Weak};

/// Cancels a call from another thread than the one that waits for it. Does not keep the connection open.
#[derive(Debug)]
pub struct Canceller {
    connection: Weak<ClientConnection>,
    call: u64,
    sent: AtomicBool,
}

impl Canceller {
    pub(super) fn new(connection: Weak<ClientConnection>, call: u64) -> Canceller {
        Canceller { connection, call, sent: AtomicBool::new(false) }
    }

    /// Asks the server not to start the call. Its [`Pending`](crate::Pending) still has the outcome:
    /// [`Cancelled`](crate::ClientError::Cancelled), or the reply if it had been started. Does nothing the second time
    /// and once the outcome is there.
    ///
    /// Any thread may call it. Blocks for 20 ms at most, while the socket takes nothing.
    pub fn cancel(&self) {
        if let Some(connection) = self.connection.upgrade()
            && !self.sent.swap(true, Ordering::Relaxed)
        {
            connection.cancel(self.call);
        }
    }
}
