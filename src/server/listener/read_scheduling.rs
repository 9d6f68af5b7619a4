//! The order in which connections are read. Step 1 of a transaction's way (see docs/ARCHITECTURE.md).
//!
//! A connection that the poll reports is read at once. One that had more than a read takes, or that had many frames
//! answered by the listener, waits in line with the others of its kind, of which a few are read between two polls; what
//! it sends meanwhile gains it nothing. One that has used up its allowance of answers is read again when its time has
//! come.

use super::poll_loop::Listener;
use super::slots::Id;
use super::timeout_heap::TimeoutKind;
use crate::server::connection::{ReadContext, ReadOutcome};
use crate::service::{ClientId, Peer};
use crate::sync::Arc;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Connections with something left to read that are read in one turn. Then those come first that the poll reports: a
/// connection that sends little does not wait for a thousand that send without end.
const READS_MAX: usize = 32;

/// Frames that the listener itself answers to such connections in one turn.
const ANSWERS_MAX: u32 = 128;

impl Listener {
    /// The poll reports that there is something to read.
    pub(super) fn readable(&mut self, id: Id, eof: bool) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.readable = true;
            connection.eof_reported |= eof;
            // A connection that waits for its turn gets no other one for sending more.
            if connection.answer_heavy && !connection.queued.put_off {
                self.make_ready(id);
            } else if !connection.queued.ready {
                self.read(id);
            }
        }
    }

    /// Puts a connection in line to be read.
    pub(super) fn make_ready(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::replace(&mut connection.queued.ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Reads the connections whose turn it is.
    pub(super) fn read_ready(&mut self) {
        let now = if self.put_off.is_empty() { None } else { Some(Instant::now()) };
        while let Some(&Reverse((at, id))) = self.put_off.peek() {
            if now.is_none_or(|now| now < at) {
                break;
            }
            self.put_off.pop();
            if let Some(connection) = self.connections.get_mut(id) {
                connection.queued.put_off = false;
            }
            self.make_ready(id);
        }
        self.answered = 0;
        for _ in 0..self.ready.len().min(READS_MAX) {
            if self.answered >= ANSWERS_MAX {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(id) {
                connection.queued.ready = false;
                self.read(id);
            }
        }
    }

    /// Reads a connection once.
    pub(super) fn read(&mut self, id: Id) {
        self.survey_queue();
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.queued.put_off && !connection.is_closing() {
            return;
        }
        let mut context = ReadContext {
            at: &self.context,
            mode: self.shutdown.admission_mode(),
            buffers: &mut self.read_buffers,
            shares: &mut self.queue_shares,
            received: &mut self.received,
            answered: &mut self.answered,
            calls_left: &mut self.calls_left,
        };
        let outcome = connection.read(&mut context);
        if let Some(since) = connection.owes().filter(|_| !connection.queued.frame_timeout) {
            connection.queued.frame_timeout = self.timeouts.begin(id, TimeoutKind::Frame, since);
        }
        match outcome {
            ReadOutcome::Drained => {}
            // The writer wakes the listener, or the socket becomes writable, when it is time to go on.
            ReadOutcome::Paused => connection.readable = true,
            ReadOutcome::BuffersFull => {
                connection.readable = true;
                if !std::mem::replace(&mut connection.queued.buffers_full, true) {
                    self.memory_pressure.waiting.push(id);
                }
            }
            ReadOutcome::PutOff(time) => self.put_off(id, time),
            ReadOutcome::More => self.make_ready(id),
            ReadOutcome::Ended(reason) => self.close(id, reason),
            ReadOutcome::ProtocolClose(reason) => self.begin_close(id, reason),
        }
    }

    fn put_off(&mut self, id: Id, time: Duration) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        (connection.readable, connection.queued.put_off) = (true, true);
        self.put_off.push(Reverse((Instant::now() + time, id)));
    }

    /// Counts the calls of all connections in the queue if it may get full by the next read and it is time for that.
    fn survey_queue(&mut self) {
        if !self.context.port.queue.is_tight() {
            self.queue_shares.forget();
            return;
        }
        let now = Instant::now();
        if self.queue_shares.is_due(self.connections.len(), now) {
            let writers = self.connections.iter().map(|(_, connection)| &connection.writer);
            let calling = writers.filter(|writer| writer.in_flight() > 0);
            let known = calling.map(|writer| (ClientId::of(writer.peer().ip()), Arc::clone(writer)));
            self.queue_shares.survey(known, now);
        }
    }
}
