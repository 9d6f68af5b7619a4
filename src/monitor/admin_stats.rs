//! What is counted of those who ask the admin server: what was asked, and each reason for which it said no.
//!
//! Kept here and not beside the sockets, so that it is in the list of statistics like everything else.

use crate::metrics::{Counter, EnumCounters};
use crate::sync::Ordering;
use crate::sync::unordered::AtomicUsize;

/// Why the admin server did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdminRejection {
    /// It has as many connections as it may have.
    ConnectionsFull,
    /// The request was for a name that is not this server's.
    ForeignHost,
    /// No token, or a wrong one.
    NoToken,
    /// The bytes are not HTTP.
    BadHead,
    /// The head is longer than it may be.
    HeadTooLarge,
    /// The head did not come in time.
    SlowHead,
    /// The body is longer than it may be.
    BodyTooLarge,
    /// The body did not come in time.
    SlowBody,
    /// The body is no text, or ended early.
    BadBody,
    /// The answer was not taken in time.
    SlowReader,
    /// A command without the header that commands have.
    NoCommandHeader,
    /// As many commands run as may.
    CommandsFull,
    /// A command that changes something, of one who may only look.
    LookOnly,
    /// Silent the longest when a new connection needed its place.
    Displaced,
    /// There is no such page.
    NoSuchPage,
    /// The page does not take this method of HTTP.
    NoSuchMethod,
}

impl AdminRejection {
    /// Every reason, in the order of its index.
    pub const ALL: [AdminRejection; 16] = [
        AdminRejection::ConnectionsFull,
        AdminRejection::ForeignHost,
        AdminRejection::NoToken,
        AdminRejection::BadHead,
        AdminRejection::HeadTooLarge,
        AdminRejection::SlowHead,
        AdminRejection::BodyTooLarge,
        AdminRejection::SlowBody,
        AdminRejection::BadBody,
        AdminRejection::SlowReader,
        AdminRejection::NoCommandHeader,
        AdminRejection::CommandsFull,
        AdminRejection::LookOnly,
        AdminRejection::Displaced,
        AdminRejection::NoSuchPage,
        AdminRejection::NoSuchMethod,
    ];
}

/// Counters of the admin server.
#[derive(Debug, Default)]
pub struct AdminStats {
    connections: AtomicUsize,
    requests: Counter,
    refused: EnumCounters<{ AdminRejection::ALL.len() }>,
}

// Without an admin server nobody counts.
#[cfg(feature = "admin")]
impl AdminStats {
    /// A request came in whole, as far as its head goes.
    pub(crate) fn asked(&self) {
        self.requests.add(1);
    }

    /// It said no.
    pub(crate) fn refuse(&self, why: AdminRejection) {
        self.refused.add(why as usize);
    }

    /// It has a connection more.
    pub(crate) fn came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// It has a connection less.
    pub(crate) fn went(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AdminStats {
    /// Connections it has.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests that came in whole, as far as their heads go.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How often it said no for this reason.
    pub fn refused(&self, why: AdminRejection) -> u64 {
        self.refused.get(why as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        assert!(AdminRejection::ALL.into_iter().enumerate().all(|(index, why)| why as usize == index));
    }
}
