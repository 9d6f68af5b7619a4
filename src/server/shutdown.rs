//! The stop of a port as a state machine: one value for each port, which its listener alone moves and all others ask
//! (see "States" in docs/ARCHITECTURE.md).
//!
//! Invariant: a server that stops never serves again; only a port that an administrator stopped does. [`Shutdown::to`]
//! asserts each transition.

use crate::monitor::ControlError;
use std::time::Instant;

/// The stop of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// The port serves.
    No,
    /// An administrator stopped the port: it has no listening socket, and each `check_at` closes the connections that
    /// are drained. The other ports go on.
    PortStopped {
        /// Time of the next check for drained connections.
        check_at: Instant,
    },
    /// The server stops: the port has no listening socket, and what is in flight goes on.
    Draining,
    /// Nothing is in flight, or the time for it is over: no call is admitted.
    Refusing,
    /// Peers may close by themselves.
    Closing {
        /// Time at which the others are closed.
        until: Instant,
    },
    /// Connections are closed as soon as they have no unsent replies.
    Forced {
        /// Time at which the rest are closed too.
        until: Instant,
    },
    /// The listener has ended.
    Ended {
        /// The server stops; else the listener failed.
        of_server: bool,
    },
}

/// The calls that a listener admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmissionMode {
    /// All calls.
    All,
    /// Calls nested in transactions of this port, which are to end well.
    OwnPort,
    /// Calls nested in transactions of this server.
    OwnServer,
    /// No calls.
    Nothing,
}

impl Shutdown {
    /// Moves on.
    pub(super) fn to(&mut self, next: Shutdown) {
        debug_assert!(self.may_become(next), "a port cannot go from {self:?} to {next:?}");
        *self = next;
    }

    fn may_become(self, next: Shutdown) -> bool {
        use Shutdown::{Closing, Draining, Ended, Forced, No, PortStopped, Refusing};
        if matches!(next, Ended { .. }) {
            return !self.has_ended();
        }
        match self {
            No => matches!(next, PortStopped { .. } | Draining),
            PortStopped { .. } => matches!(next, PortStopped { .. } | No | Draining),
            Draining => matches!(next, Refusing),
            Refusing => matches!(next, Closing { .. }),
            Closing { .. } => matches!(next, Forced { .. }),
            Forced { .. } | Ended { .. } => false,
        }
    }

    /// Returns whether the server stops, and with it the port.
    pub(super) fn is_of_server(self) -> bool {
        !matches!(self, Shutdown::No | Shutdown::PortStopped { .. } | Shutdown::Ended { of_server: false })
    }

    /// Returns whether the port has no listener any more.
    pub(super) fn has_ended(self) -> bool {
        matches!(self, Shutdown::Ended { .. })
    }

    /// Returns the calls that the port admits.
    pub(super) fn admission_mode(self) -> AdmissionMode {
        match self {
            Shutdown::No => AdmissionMode::All,
            Shutdown::PortStopped { .. } => AdmissionMode::OwnPort,
            Shutdown::Draining => AdmissionMode::OwnServer,
            Shutdown::Refusing
            | Shutdown::Closing { .. }
            | Shutdown::Forced { .. }
            | Shutdown::Ended { .. } => AdmissionMode::Nothing,
        }
    }

    /// Returns the time at which the listener moves on.
    pub(super) fn next(self) -> Option<Instant> {
        match self {
            Shutdown::PortStopped { check_at: at }
            | Shutdown::Closing { until: at }
            | Shutdown::Forced { until: at } => Some(at),
            Shutdown::No | Shutdown::Draining | Shutdown::Refusing | Shutdown::Ended { .. } => None,
        }
    }

    /// Checks that an administrator can stop this port.
    ///
    /// # Errors
    /// The port, or the server, stops already.
    pub(super) fn check_can_stop(self, port: &str) -> Result<(), ControlError> {
        match self {
            Shutdown::No => Ok(()),
            Shutdown::PortStopped { .. } => Err(ControlError::PortStopped(port.to_owned())),
            _ => Err(ControlError::ShuttingDown),
        }
    }

    /// Checks that an administrator can start this port.
    ///
    /// # Errors
    /// The port is not stopped, or the server stops.
    pub(super) fn check_can_start(self, port: &str) -> Result<(), ControlError> {
        match self {
            Shutdown::PortStopped { .. } => Ok(()),
            Shutdown::No => Err(ControlError::PortNotStopped(port.to_owned())),
            _ => Err(ControlError::ShuttingDown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::assert_transitions;

    #[test]
    fn only_the_transitions_of_the_table_are_legal() {
        let (check_at, until) = (Instant::now(), Instant::now());
        let states = [
            Shutdown::No,
            Shutdown::PortStopped { check_at },
            Shutdown::Draining,
            Shutdown::Refusing,
            Shutdown::Closing { until },
            Shutdown::Forced { until },
            Shutdown::Ended { of_server: true },
        ];
        // Rows: from; columns: to. The same table is in docs/ARCHITECTURE.md.
        let table = [
            ".xx...x", // No
            "xxx...x", // PortStopped
            "...x..x", // Draining
            "....x.x", // Refusing
            ".....xx", // Closing
            "......x", // Forced
            ".......", // Ended
        ];
        assert_transitions(states, table, Shutdown::may_become, Shutdown::to);
    }

    #[test]
    fn what_is_admitted_only_shrinks_as_the_server_stops() {
        let until = Instant::now();
        let modes = [Shutdown::No, Shutdown::Draining, Shutdown::Refusing, Shutdown::Closing { until }];
        let modes = modes.map(Shutdown::admission_mode);
        assert_eq!(
            modes,
            [AdmissionMode::All, AdmissionMode::OwnServer, AdmissionMode::Nothing, AdmissionMode::Nothing]
        );
    }
}
