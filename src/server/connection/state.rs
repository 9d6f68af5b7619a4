//! The life of a connection after it was accepted (see "States" in docs/ARCHITECTURE.md).
//!
//! Invariants: the first reason to close stays; input of a closing connection is never served. [`ConnectionState::to`]
//! asserts each transition. Does not know whether the peer has said Hello, which is the protocol's state, nor whether
//! replies are unsent, which the writer knows.

use crate::metrics::CloseReason;

/// The life of a connection; closed connections are in no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// The connection is served.
    Open,
    /// The port or the server stops, and the peer was sent GoAway Draining.
    Draining,
    /// Draining, and nothing was in progress at the last check: at the next one the connection is closed if that is
    /// still so.
    Drained,
    /// The connection was idle and makes room for another session: the peer was sent GoAway SessionClosed. Calls that
    /// come all the same are refused.
    Evicted,
    /// The connection ends: input is discarded, unsent replies are sent, then the socket lingers until the peer closes
    /// or the time for that is over.
    Closing(CloseReason),
}

impl ConnectionState {
    /// Moves on.
    pub(super) fn to(&mut self, next: ConnectionState) {
        debug_assert!(self.may_become(next), "a connection cannot go from {self:?} to {next:?}");
        *self = next;
    }

    fn may_become(self, next: ConnectionState) -> bool {
        use ConnectionState::{Closing, Drained, Draining, Evicted, Open};
        match self {
            Open => matches!(next, Draining | Evicted | Closing(_)),
            Draining => true,
            Drained => next != Drained,
            Evicted => next == Closing(CloseReason::Idle),
            Closing(_) => false,
        }
    }

    /// Returns the reason that counts when a connection in this state is closed for `found`.
    pub(super) fn close_reason(self, found: CloseReason) -> CloseReason {
        match self {
            ConnectionState::Evicted => CloseReason::Idle,
            ConnectionState::Closing(reason) => reason,
            ConnectionState::Open | ConnectionState::Draining | ConnectionState::Drained => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectionState::{Closing, Drained, Draining, Evicted, Open};
    use super::*;
    use crate::server::tests::assert_transitions;

    #[test]
    fn only_the_transitions_of_the_table_are_legal() {
        let states = [Open, Draining, Drained, Evicted, Closing(CloseReason::Idle)];
        // Rows: from; columns: to. The same table is in docs/ARCHITECTURE.md.
        let table = [
            ".x.xx", // Open
            "xxxxx", // Draining
            "xx.xx", // Drained
            "....x", // Evicted
            ".....", // Closing
        ];
        assert_transitions(states, table, ConnectionState::may_become, ConnectionState::to);
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let found = CloseReason::ServerStopped;
        for state in [Open, Draining, Drained] {
            assert_eq!(state.close_reason(found), found);
        }
        assert_eq!(Evicted.close_reason(found), CloseReason::Idle);
        assert!(!Evicted.may_become(Closing(found)));
        assert_eq!(Closing(CloseReason::Abusive).close_reason(found), CloseReason::Abusive);
    }
}
