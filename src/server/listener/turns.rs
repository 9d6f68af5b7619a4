//! Whose turn it is to be read.
//!
//! A guest of whom the poll tells is read at once. Who had more than a read takes, or much that the listener answered,
//! stands in line with the others of its kind, of whom a few are read between two polls; what it sends meanwhile gains
//! it nothing. Who had more answered than its allowance is read again when its time has come.

use super::super::guest::Reading;
use super::super::patience::Wait;
use super::super::slots::Id;
use super::Listener;
use crate::service::{Caller, ClientId};
use crate::sync::Arc;
use std::cmp::Reverse;
use std::time::Instant;

/// Guests with something left to read that are read in one turn. Then those come first of whom the poll tells: who
/// sends little does not wait for a thousand who send without end.
const READS_MAX: usize = 32;

/// Frames that the listener itself answers to such guests in one turn.
const ANSWERS_MAX: u32 = 128;

impl Listener {
    pub(super) fn readable(&mut self, id: Id, ended: bool) {
        if let Some(guest) = self.guests.get_mut(id) {
            guest.readable = true;
            guest.ended |= ended;
            // Who waits for a turn gets no other one for sending more.
            if guest.busy && !guest.listed.put_off {
                self.make_ready(id);
            } else if !guest.listed.ready {
                self.read(id);
            }
        }
    }

    /// Has a guest read in its turn.
    pub(super) fn make_ready(&mut self, id: Id) {
        let Some(guest) = self.guests.get_mut(id) else { return };
        if !std::mem::replace(&mut guest.listed.ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Finds out who has how much of the queue.
    fn survey(&mut self, now: Instant) {
        let connections = self.guests.iter().map(|(_, guest)| &guest.connection);
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
            if let Some(guest) = self.guests.get_mut(id) {
                guest.listed.put_off = false;
            }
            self.make_ready(id);
        }
        self.desk.answered = 0;
        for _ in 0..self.ready.len().min(READS_MAX) {
            if self.desk.answered >= ANSWERS_MAX {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(guest) = self.guests.get_mut(id) {
                guest.listed.ready = false;
                self.read(id);
            }
        }
    }

    pub(super) fn read(&mut self, id: Id) {
        if let Some(now) = self.desk.wants_survey(self.guests.len()) {
            self.survey(now);
        }
        let Some(guest) = self.guests.get_mut(id) else { return };
        let reading = match guest.leaving {
            Some(reason) => guest.discard(&mut self.desk, reason),
            None if guest.listed.put_off => return,
            None => guest.read(&mut self.desk),
        };
        if let Some(since) = guest.owes().filter(|_| !guest.listed.frame) {
            guest.listed.frame = self.patience.begin(id, Wait::Frame, since);
        }
        match reading {
            Reading::Drained => {}
            // The connection rings, or becomes writable, when it is time to go on.
            Reading::Paused => guest.readable = true,
            Reading::Full => {
                guest.readable = true;
                if !std::mem::replace(&mut guest.listed.full, true) {
                    self.ration.waiting.push(id);
                }
            }
            Reading::PutOff => {
                let time = self.desk.intake.put_off.unwrap_or_default();
                (guest.readable, guest.listed.put_off) = (true, true);
                self.put_off.push(Reverse((Instant::now() + time, id)));
            }
            Reading::More => self.make_ready(id),
            Reading::Ended(reason) => self.close(id, reason),
            Reading::Leave(reason) => self.leave(id, reason),
        }
    }
}
