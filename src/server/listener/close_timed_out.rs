//! Closes connections whose peer takes too long: to say Hello, to finish a frame, to take its replies.
//!
//! Invariants: time in which the server did not run does not count, and before a connection is closed its socket is
//! read once more, since one poll reports a limited number of events.

use super::poll_loop::Listener;
use super::slots::Id;
use super::timeout_heap::TimeoutKind;
use crate::metrics::CloseReason;
use crate::server::connection::DRAINED_BYTES;
use std::time::Instant;

impl Listener {
    /// At the beginning of a turn, returns the time if any peer is waited for. Time in which the listener has not run
    /// is added to all time-outs.
    pub(super) fn check_clock(&mut self) -> Option<Instant> {
        if !self.timeouts.is_any() {
            return None;
        }
        let now = Instant::now();
        if let Some(lost) = self.timeouts.check_clock(now) {
            log::warn!(
                "port {}: waits for peers lengthened, since the server did not run: lost={:.1} s",
                self.context.port.name,
                lost.as_secs_f64()
            );
            for id in self.connections.ids() {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.extend(lost, now);
                }
            }
            self.closing.iter_mut().for_each(|(at, _)| *at += lost);
        }
        Some(now)
    }

    /// Closes the connections whose time is over, unless their peer has done its part meanwhile.
    pub(super) fn close_timed_out(&mut self, now: Instant) {
        let mut unread = Vec::new();
        while let Some((id, kind)) = self.timeouts.take_due(now) {
            if let TimeoutKind::Replies { taken } = kind {
                self.check_reader(id, taken, now);
            } else if self.is_slow(id, kind, now) {
                if self.read_once_more(id) {
                    unread.push((id, kind));
                } else if self.is_slow(id, kind, now) {
                    let (reason, message) = match kind {
                        TimeoutKind::Hello => {
                            (CloseReason::SlowHello, "no Hello in time (Server_Hello_Timeout)")
                        }
                        _ => (
                            CloseReason::SlowFrame,
                            "a frame was not finished in time (Server_Frame_Timeout)",
                        ),
                    };
                    self.close_with_reason(id, reason, message);
                }
            }
        }
        // There is more of them to be read, in their turn; then they are looked at again.
        unread.into_iter().for_each(|(id, kind)| self.timeouts.put_back(id, kind, now));
    }

    /// Returns whether a peer has not said Hello, or not finished a frame, in its time. Starts the time-out anew where
    /// the peer has more time.
    fn is_slow(&mut self, id: Id, kind: TimeoutKind, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| !connection.is_closing())
        else {
            return false;
        };
        match kind {
            TimeoutKind::Hello if !connection.awaits_hello() => false,
            TimeoutKind::Hello if connection.is_paused() => {
                self.timeouts.begin(id, kind, now);
                false
            }
            TimeoutKind::Hello => true,
            _ => match connection.owes_since(now) {
                None => {
                    connection.queued.frame_timeout = false;
                    false
                }
                Some(since) if self.timeouts.is_over(kind, since, now) => true,
                Some(since) => {
                    self.timeouts.begin(id, kind, since);
                    false
                }
            },
        }
    }

    /// Reads what a peer may have sent that the poll has not reported yet. Returns whether there may be still more.
    fn read_once_more(&mut self, id: Id) -> bool {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.readable = true;
            self.read(id);
        }
        let connection = self.connections.get_mut(id);
        connection.is_some_and(|connection| !connection.is_closing() && connection.queued.ready)
    }

    /// Closes a connection whose peer had taken `before` bytes of its replies and has not taken enough since.
    fn check_reader(&mut self, id: Id, before: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        // The poll reports a writable socket only when a good part of the system's own buffer is free.
        connection.writer.flush();
        let taken = connection.writer.taken();
        if !connection.writer.is_backlogged() {
            connection.queued.send_timeout = false;
            // Reading may have been suspended until now, and no event will follow.
            if connection.readable {
                self.make_ready(id);
            }
        } else if taken - before < DRAINED_BYTES {
            self.close(id, CloseReason::SlowReader);
        } else {
            self.timeouts.begin(id, TimeoutKind::Replies { taken }, now);
        }
    }
}
