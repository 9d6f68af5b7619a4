//! Whose turn it is to be read.
//!
//! A connection of whom the poll tells is read at once. Who had more than a read takes, or much that the listener
//! answered, stands in line with the others of its kind, of whom a few are read between two polls; what it sends
//! meanwhile gains it nothing. Who had more answered than its allowance is read again when its time has come.

use super::super::connection::ReadOutcome;
use super::super::slots::Id;
use super::super::timeouts::TimeoutKind;
use super::Listener;
use crate::service::{ClientId, Peer};
use crate::sync::Arc;
use std::cmp::Reverse;
use std::time::Instant;

/// Guests with something left to read that are read in one turn. Then those come first of whom the poll tells: who
/// sends little does not wait for a thousand who send without end.
const READS_MAX: usize = 32;

/// Frames that the listener itself answers to such connections in one turn.
const ANSWERS_MAX: u32 = 128;

impl Listener {
    pub(super) fn readable(&mut self, id: Id, ended: bool) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.readable = true;
            connection.ended |= ended;
            // Who waits for a turn gets no other one for sending more.
            if connection.busy && !connection.listed.put_off {
                self.make_ready(id);
            } else if !connection.listed.ready {
                self.read(id);
            }
        }
    }

    /// Has a connection read in its turn.
    pub(super) fn make_ready(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::replace(&mut connection.listed.ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Finds out who has how much of the queue.
    fn survey(&mut self, now: Instant) {
        let connections = self.connections.iter().map(|(_, connection)| &connection.connection);
        let calling = connections.filter(|connection| connection.in_flight() > 0);
        let known = calling.map(|calling| (ClientId::of(calling.peer().ip()), Arc::clone(calling)));
        self.desk.holders.survey(known, now);
    }

    pub(super) fn read_the_ready(&mut self) {
        let now = if self.put_off.is_empty() { None } else { Some(Instant::now()) };
        while let Some(&Reverse((at, id))) = self.put_off.peek() {
            if now.is_none_or(|now| now < at) {
                break;
            }
            self.put_off.pop();
            if let Some(connection) = self.connections.get_mut(id) {
                connection.listed.put_off = false;
            }
            self.make_ready(id);
        }
        self.desk.answered = 0;
        for _ in 0..self.ready.len().min(READS_MAX) {
            if self.desk.answered >= ANSWERS_MAX {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(id) {
                connection.listed.ready = false;
                self.read(id);
            }
        }
    }

    pub(super) fn read(&mut self, id: Id) {
        if let Some(now) = self.desk.wants_survey(self.connections.len()) {
            self.survey(now);
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        let reading = match connection.leaving {
            Some(reason) => connection.discard(&mut self.desk, reason),
            None if connection.listed.put_off => return,
            None => connection.read(&mut self.desk),
        };
        if let Some(since) = connection.owes().filter(|_| !connection.listed.frame) {
            connection.listed.frame = self.patience.begin(id, TimeoutKind::Frame, since);
        }
        match reading {
            ReadOutcome::Drained => {}
            // The connection rings, or becomes writable, when it is time to go on.
            ReadOutcome::Paused => connection.readable = true,
            ReadOutcome::Full => {
                connection.readable = true;
                if !std::mem::replace(&mut connection.listed.full, true) {
                    self.ration.waiting.push(id);
                }
            }
            ReadOutcome::PutOff => {
                let time = self.desk.intake.put_off.unwrap_or_default();
                (connection.readable, connection.listed.put_off) = (true, true);
                self.put_off.push(Reverse((Instant::now() + time, id)));
            }
            ReadOutcome::More => self.make_ready(id),
            ReadOutcome::Ended(reason) => self.close(id, reason),
            ReadOutcome::ProtocolClose(reason) => self.leave(id, reason),
        }
    }
}
