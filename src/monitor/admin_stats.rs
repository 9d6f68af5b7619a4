//! Counters of the admin server: its connections, its requests, and what it refused, by reason.
//!
//! Kept here and not beside its sockets, so that they are in the list of statistics like everything else.

use crate::metrics::{Counter, EnumCounters, counted_enum};
use crate::sync::Ordering;
use crate::sync::unordered::AtomicUsize;

counted_enum! {
    /// Why the admin server refused a request or closed a connection.
    pub enum AdminRejection {
        /// The limit on connections is reached.
        ConnectionsFull,
        /// The `Host` header is not a name of this server.
        ForeignHost,
        /// There is no token, or a wrong one.
        NoToken,
        /// The bytes are not HTTP.
        BadHead,
        /// The head is over its limit.
        HeadTooLarge,
        /// The head timed out.
        SlowHead,
        /// The body is over its limit.
        BodyTooLarge,
        /// The body timed out.
        SlowBody,
        /// The body is not text, or ended early.
        BadBody,
        /// The response was not read in time.
        SlowReader,
        /// The command lacks the header that commands have.
        NoCommandHeader,
        /// The limit on running commands is reached.
        CommandsFull,
        /// The command changes something, and the client may only look.
        LookOnly,
        /// It had been idle the longest when a new connection needed its place.
        Displaced,
        /// There is no such page.
        NoSuchPage,
        /// The page does not support this HTTP method.
        NoSuchMethod,
    }
}

/// Counters of the admin server.
#[derive(Debug, Default)]
pub struct AdminStats {
    connections: AtomicUsize,
    requests: Counter,
    refused: EnumCounters<{ AdminRejection::ALL.len() }>,
}

// Without an admin server nothing is counted.
#[cfg(feature = "admin")]
impl AdminStats {
    /// Counts a request whose head has arrived.
    pub(crate) fn asked(&self) {
        self.requests.add(1);
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&self, reason: AdminRejection) {
        self.refused.add(reason.index());
    }

    /// Counts a connection that was opened.
    pub(crate) fn came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed.
    pub(crate) fn went(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AdminStats {
    /// Connections open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests whose heads have arrived.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Refusals for this reason.
    pub fn refused(&self, reason: AdminRejection) -> u64 {
        self.refused.get(reason.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        assert!(AdminRejection::ALL.into_iter().enumerate().all(|(index, reason)| reason.index() == index));
    }
}
