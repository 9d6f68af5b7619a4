//! View of the port, the queue and the running transactions that admission needs while it reads.

use super::forecast::Forecast;
use super::received_chain::{OwnCallers, ReceivedChain};
use crate::service::Refusal;
use crate::wire::Chain;

/// The server as admission sees it. Each method is called only where its answer matters: answers are gathered from
/// what other threads write.
///
/// The default methods are those of an idle server without limits.
pub trait AdmissionView: std::fmt::Debug {
    /// Opens the session of a client that says Hello under this name.
    ///
    /// # Errors
    /// The refusal that the client is sent before its connection is closed: MaxUsers, Restricted.
    fn open_session(&self, _client: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns which of a chain's entries are transactions of this server that wait for the call that came with it; in
    /// a port that drains, only those that are to end well. A nested call counts against the entry that admits it.
    fn own_callers(&self, _chain: &Chain) -> OwnCallers {
        OwnCallers::default()
    }

    /// A nested call was refused: it no longer counts against the entry of its chain.
    fn nested_refused(&self, _chain: &ReceivedChain) {}

    /// Returns what is ahead of the connection's next call: one that a client makes, or one that a handler of this
    /// server makes (`nested`), which comes first.
    fn forecast(&self, _nested: bool) -> Forecast {
        Forecast::NONE
    }

    /// Returns whether another connection has so many more calls in the full queue than this one, which brings `ahead`
    /// besides, that one of its calls can be displaced. For a `nested` call any connection's can, since the caller of
    /// a nested call holds a worker.
    fn can_displace(&self, _ahead: usize, _nested: bool) -> bool {
        false
    }

    /// Displaces a call of such a connection. Returns false if there is none any more.
    fn displace(&self, _ahead: usize, _nested: bool) -> bool {
        false
    }

    /// Returns how many calls were displaced in this read.
    fn displaced(&self) -> usize {
        0
    }
}

/// An idle server without limits.
impl AdmissionView for () {}

/// The same forecast for every call.
impl AdmissionView for Forecast {
    fn forecast(&self, _nested: bool) -> Forecast {
        *self
    }
}
