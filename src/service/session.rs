//! The built-in methods of sessions: `session.open`, `session.attach`, `session.close`.
//!
//! Does not keep sessions: the server implements `Sessions`.

#[cfg(feature = "server")]
pub use super::session_state::CARRIED_SESSIONS_MAX;

use super::method::Method;
use serde::{Deserialize, Serialize};

/// Opens a session, which the connection then carries.
pub const OPEN: Method<(), Opened> = Method::new("session.open");

/// Moves an existing session to this connection and returns its number there. Idempotent: on the connection that
/// carries it already it keeps its number.
pub const ATTACH: Method<SessionTicket, u32> = Method::new("session.attach").idempotent();

/// Closes the session of a number. Its handlers' values are dropped once those handlers that run have ended.
pub const CLOSE: Method<u32, ()> = Method::new("session.close");

/// Gives access to a session from another connection. A secret: it alone is enough to take the session.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTicket {
    /// Number of the session on the server, from 1. Shown in its log; no secret.
    pub id: u64,
    /// Random bytes.
    pub token: [u8; 16],
}

/// Leaves the token out: debug output ends in logs.
impl std::fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionTicket").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SessionTicket {
    /// Returns whether the token is the same. Takes the same time wherever they differ.
    #[cfg(feature = "server")]
    pub(crate) fn fits(&self, token: &[u8; 16]) -> bool {
        let differing =
            self.token.iter().zip(token).fold(0, |found, (a, b)| std::hint::black_box(found | a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Result of [`OPEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number on this connection, which calls carry.
    pub session: u32,
    /// Ticket for another connection.
    pub ticket: SessionTicket,
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole_and_is_not_shown() {
        let ticket = SessionTicket { id: 7, token: [171; 16] };
        assert!(ticket.fits(&[171; 16]));
        for place in 0..16 {
            let mut other = [171; 16];
            other[place] ^= 1;
            assert!(!ticket.fits(&other), "{place}");
        }
        assert_eq!(format!("{ticket:?}"), "SessionTicket { id: 7, .. }");
    }
}
