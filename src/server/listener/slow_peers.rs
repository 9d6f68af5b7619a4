//! Peers that are waited for too long: with their Hello, with the rest of a frame, with taking their replies.
//!
//! Nobody is given up for what the server has not done: time in which it did not run does not count, and before a peer
//! is given up its socket is read once more, since the poll tells of so many at once and no more.

use super::super::slots::Id;
use super::super::timeouts::TimeoutKind;
use super::super::writer::DRAINED_BYTES;
use super::Listener;
use crate::metrics::CloseReason;
use crate::service::{Refusal, Status};
use std::time::Instant;

impl Listener {
    /// At the beginning of a turn, if anybody is waited for: the time. If the listener has not run for long, that is
    /// nobody's.
    pub(super) fn look_at_the_clock(&mut self) -> Option<Instant> {
        if !self.patience.is_any() {
            return None;
        }
        let now = Instant::now();
        if let Some(lost) = self.patience.look(now) {
            log::warn!(
                "port {}: waits for peers lengthened, since the server did not run: lost={:.1} s",
                self.desk.port.name,
                lost.as_secs_f64()
            );
            for id in self.connections.ids() {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.excuse(lost, now);
                }
            }
            self.leaving.iter_mut().for_each(|late| late.0 += lost);
        }
        Some(now)
    }

    /// Looks at those whose time is over, and ends what is not worth waiting for.
    pub(super) fn give_up_the_slow(&mut self, now: Instant) {
        let mut unread = Vec::new();
        while let Some((id, wait)) = self.patience.take_due(now) {
            if let TimeoutKind::Replies { taken } = wait {
                self.press(id, taken, now);
            } else if self.is_slow(id, wait, now) {
                if self.read_once_more(id) {
                    unread.push((id, wait));
                } else if self.is_slow(id, wait, now) {
                    let (reason, message) = match wait {
                        TimeoutKind::Hello => {
                            (CloseReason::SlowHello, "no Hello in time (Server_Hello_Timeout)")
                        }
                        _ => (
                            CloseReason::SlowFrame,
                            "a frame was not finished in time (Server_Frame_Timeout)",
                        ),
                    };
                    self.give_up(id, reason, message);
                }
            }
        }
        // There is more of them to be read, in their turn; then they are looked at again.
        unread.into_iter().for_each(|(id, wait)| self.patience.put_back(id, wait, now));
    }

    /// Has a connection not said Hello, or not finished a frame, in its time? If not, it is waited for on, where it
    /// must be.
    fn is_slow(&mut self, id: Id, wait: TimeoutKind, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.leaving.is_none())
        else {
            return false;
        };
        match wait {
            TimeoutKind::Hello if !connection.awaits_hello() => false,
            TimeoutKind::Hello if connection.is_paused() => {
                self.patience.begin(id, wait, now);
                false
            }
            TimeoutKind::Hello => true,
            _ => match connection.owes_since(now) {
                None => {
                    connection.listed.frame = false;
                    false
                }
                Some(since) if self.patience.is_over(wait, since, now) => true,
                Some(since) => {
                    self.patience.begin(id, wait, since);
                    false
                }
            },
        }
    }

    /// Reads what a connection may have sent that the poll has not told of yet. Returns whether there may be still
    /// more.
    fn read_once_more(&mut self, id: Id) -> bool {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.readable = true;
            self.read(id);
        }
        self.connections
            .get_mut(id)
            .is_some_and(|connection| connection.leaving.is_none() && connection.listed.ready)
    }

    /// The time is over in which a connection that had taken so many bytes should have taken more.
    fn press(&mut self, id: Id, before: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        // The poll tells only when a good part of the system's own buffer is free.
        connection.connection.flush();
        let taken = connection.connection.taken();
        if !connection.connection.is_backlogged() {
            connection.listed.replies = false;
            // Its reading may have been put off until now, and no event will tell.
            if connection.readable {
                self.make_ready(id);
            }
        } else if taken - before < DRAINED_BYTES {
            self.close(id, CloseReason::SlowReader);
        } else {
            self.patience.begin(id, TimeoutKind::Replies { taken }, now);
        }
    }

    /// Ends a connection whose peer did not do its part. It is told why if it takes what it is told.
    pub(super) fn give_up(&mut self, id: Id, reason: CloseReason, message: &str) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.connection.is_backlogged() {
            return self.close(id, reason);
        }
        let status = match reason {
            CloseReason::BuffersFull => Status::BuffersFull,
            CloseReason::Dropped => Status::SessionClosed,
            _ => Status::TooSlow,
        };
        connection.part(&Refusal::new(status, message));
        self.leave(id, reason);
    }
}
