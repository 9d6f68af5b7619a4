//! Logs connections that were closed for their peer's behaviour: one line for many of them, so that a crowd cannot fill
//! the log.
//!
//! Knows reasons and times handed in; the counters of `metrics` have every single close.

use crate::metrics::CloseReason;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Shortest time between two lines of one port.
const PAUSE: Duration = Duration::from_secs(20);

/// The closes that are still to be logged.
#[derive(Debug, Default)]
pub(super) struct CloseLog {
    counts: [u32; CloseReason::ALL.len()],
    /// Peer of the last one; `None` when there is none.
    peer: Option<SocketAddr>,
    /// Suppresses lines until this instant.
    quiet_until: Option<Instant>,
}

impl CloseLog {
    /// Counts a close, if the peer's behaviour was the reason.
    pub(super) fn record(&mut self, reason: CloseReason, peer: SocketAddr) {
        if is_for_behaviour(reason) {
            self.counts[reason.index()] += 1;
            self.peer = Some(peer);
        }
    }

    /// Returns the time of the next line, if there is anything to log.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.peer?;
        Some(self.quiet_until.unwrap_or_else(now))
    }

    /// Returns the line to log now, if any.
    pub(super) fn line(&mut self, now: impl FnOnce() -> Instant) -> Option<String> {
        let peer = self.peer?;
        let now = now();
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        let count = |reason: CloseReason| (self.counts[reason.index()], reason);
        let counts = CloseReason::ALL.into_iter().map(count).filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, reason)| format!("{reason:?}={count}")).collect();
        *self = CloseLog { quiet_until: Some(now + PAUSE), ..CloseLog::default() };
        Some(format!("connections closed, {} last_peer={peer}", counts.join(" ")))
    }
}

/// Returns whether the server closed the connection for its peer's behaviour.
fn is_for_behaviour(reason: CloseReason) -> bool {
    use CloseReason::{Abusive, BuffersFull, OutboundFull, SlowFrame, SlowHello, SlowReader};
    matches!(reason, SlowHello | SlowFrame | SlowReader | OutboundFull | BuffersFull | Abusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_closes_are_one_line_with_a_pause() {
        let (mut close_log, start) = (CloseLog::default(), Instant::now());
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        assert!(close_log.line(|| start).is_none() && close_log.next(|| start).is_none());
        close_log.record(CloseReason::PeerClosed, peer);
        assert_eq!(close_log.line(|| start), None, "the peer closed it");
        close_log.record(CloseReason::SlowHello, peer);
        assert_eq!(close_log.next(|| start), Some(start));
        let line = "connections closed, SlowHello=1 last_peer=127.0.0.1:5";
        assert_eq!(close_log.line(|| start).as_deref(), Some(line));
        (0..500).for_each(|_| close_log.record(CloseReason::SlowFrame, peer));
        close_log.record(CloseReason::Abusive, peer);
        assert_eq!(close_log.line(|| start + PAUSE / 2), None);
        assert_eq!(close_log.next(|| start), Some(start + PAUSE));
        let line = "connections closed, SlowFrame=500 Abusive=1 last_peer=127.0.0.1:5";
        assert_eq!(close_log.line(|| start + PAUSE).as_deref(), Some(line));
        assert_eq!(close_log.line(|| start + 2 * PAUSE), None);
    }
}
