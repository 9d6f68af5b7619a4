//! What the log says of peers that were given up: a line for many of them, so that a crowd cannot fill the log.
//!
//! Knows reasons and times handed in; the counters of `stats` have every single one.

use crate::metrics::CloseReason;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two lines of one port.
const PAUSE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub(super) struct CloseLog {
    counts: [u32; CloseReason::ALL.len()],
    /// The latest; `None` when there is nothing to tell.
    peer: Option<SocketAddr>,
    /// Before that nothing is told.
    quiet_until: Option<Instant>,
}

impl CloseLog {
    /// A connection was closed. Counts it if its peer was given up.
    pub(super) fn note(&mut self, reason: CloseReason, peer: SocketAddr) {
        if is_giving_up(reason) {
            self.counts[reason.index()] += 1;
            self.peer = Some(peer);
        }
    }

    /// When there is something to tell; at once, if it may be.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.peer?;
        Some(self.quiet_until.unwrap_or_else(now))
    }

    /// What to tell now, if anything.
    pub(super) fn line(&mut self, now: impl FnOnce() -> Instant) -> Option<String> {
        let peer = self.peer?;
        let now = now();
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        let count = |reason: CloseReason| (self.counts[reason.index()], reason);
        let counts = CloseReason::ALL.into_iter().map(count).filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, reason)| format!("{count} {reason:?}")).collect();
        *self = CloseLog { quiet_until: Some(now + PAUSE), ..CloseLog::default() };
        Some(format!("connections given up: {}; the last was {peer}", counts.join(", ")))
    }
}

/// Was it the server that had enough of a peer?
fn is_giving_up(reason: CloseReason) -> bool {
    use CloseReason::{Abusive, BuffersFull, OutboundFull, SlowFrame, SlowHello, SlowReader};
    matches!(reason, SlowHello | SlowFrame | SlowReader | OutboundFull | BuffersFull | Abusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_one_line_now_and_then() {
        let (mut close_log, start) = (CloseLog::default(), Instant::now());
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        assert!(close_log.line(|| start).is_none() && close_log.next(|| start).is_none());
        close_log.note(CloseReason::PeerClosed, peer);
        assert_eq!(close_log.line(|| start), None, "that is nothing to tell of");
        close_log.note(CloseReason::SlowHello, peer);
        assert_eq!(close_log.next(|| start), Some(start));
        let line = "connections given up: 1 SlowHello; the last was 127.0.0.1:5";
        assert_eq!(close_log.line(|| start).as_deref(), Some(line));
        (0..500).for_each(|_| close_log.note(CloseReason::SlowFrame, peer));
        close_log.note(CloseReason::Abusive, peer);
        assert_eq!(close_log.line(|| start + PAUSE / 2), None);
        assert_eq!(close_log.next(|| start), Some(start + PAUSE));
        let line = "connections given up: 500 SlowFrame, 1 Abusive; the last was 127.0.0.1:5";
        assert_eq!(close_log.line(|| start + PAUSE).as_deref(), Some(line));
        assert_eq!(close_log.line(|| start + 2 * PAUSE), None);
    }
}
