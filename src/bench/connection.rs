//! One connection of the load generator.

use super::report::RunCounts;
use crate::wire::limits::HEADER_BYTES;
use crate::wire::{FrameKind, Header};
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

/// Offset of the call id in a frame.
const CALL_ID: std::ops::Range<usize> = 8..16;

#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerCheck {
    /// By header.
    Frames,
    /// By size: this many bytes each, in order.
    Raw(usize),
}

/// One connection with its calls in flight.
#[derive(Debug)]
pub(super) struct BenchConnection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    /// Bytes read and not consumed: the beginning of an answer.
    kept: Vec<u8>,
    /// Due time of each call in flight, by the low half of its id.
    slots: Vec<Option<Instant>>,
    free: Vec<u32>,
    /// For raw answers: slots in the order of their calls.
    order: std::collections::VecDeque<u32>,
    next: u32,
    pub(super) dead: bool,
}

impl BenchConnection {
    pub(super) fn new(stream: TcpStream) -> BenchConnection {
        BenchConnection {
            stream,
            out: Vec::new(),
            sent: 0,
            kept: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: std::collections::VecDeque::new(),
            next: 0,
            dead: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Number of calls in flight.
    pub(super) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Queues a call made from `template`, due at `due`. [`BenchConnection::flush`] sends it.
    pub(super) fn call(&mut self, template: &[u8], answers: AnswerCheck, due: Instant) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(due);
        let start = self.out.len();
        self.out.extend_from_slice(template);
        match answers {
            AnswerCheck::Frames => {
                // The high half makes ids unique, the low half finds the slot.
                let id = u64::from(self.next) << 32 | u64::from(slot);
                self.next = self.next.wrapping_add(1);
                self.out[start..][CALL_ID].copy_from_slice(&id.to_le_bytes());
            }
            AnswerCheck::Raw(_) => self.order.push_back(slot),
        }
    }

    /// Writes until the socket takes no more.
    pub(super) fn flush(&mut self) {
        while self.sent < self.out.len() && !self.dead {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Reads once and counts the answers. Returns how many there were and whether there may be more.
    pub(super) fn read(
        &mut self,
        answers: AnswerCheck,
        buffer: &mut [u8],
        count: &mut Option<&mut RunCounts>,
    ) -> (usize, bool) {
        let kept = self.kept.len();
        buffer[..kept].copy_from_slice(&self.kept);
        let filled = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => return self.mark_dead(),
            Ok(n) => kept + n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return (0, false);
            }
            Err(_) => return self.mark_dead(),
        };
        let now = Instant::now();
        let (mut used, mut answered) = (0, 0);
        while let Some((size, code, slot)) = self.answer(&buffer[used..filled], answers) {
            used += size;
            if let Some(slot) = slot {
                answered += 1;
                self.finish_call(slot, code, now, count);
            }
        }
        self.kept.clear();
        self.kept.extend_from_slice(&buffer[used..filled]);
        (answered, filled == buffer.len())
    }

    fn finish_call(&mut self, slot: u32, code: u16, now: Instant, count: &mut Option<&mut RunCounts>) {
        let due = self.slots.get_mut(slot as usize).and_then(Option::take);
        let Some(due) = due else { return self.dead = true };
        self.free.push(slot);
        if let Some(count) = count {
            count.reply(code, due, now);
        }
    }

    /// The first answer in `bytes`: its size, status and slot.
    fn answer(&mut self, bytes: &[u8], answers: AnswerCheck) -> Option<(usize, u16, Option<u32>)> {
        match answers {
            AnswerCheck::Raw(size) => (bytes.len() >= size).then(|| (size, 0, self.order.pop_front())),
            AnswerCheck::Frames => {
                let header = Header::read(bytes.first_chunk::<HEADER_BYTES>()?).ok()?;
                let size = HEADER_BYTES + header.body_bytes as usize;
                let slot = (header.kind == FrameKind::Reply).then_some(header.call as u32);
                (bytes.len() >= size).then_some((size, header.code, slot))
            }
        }
    }

    fn mark_dead(&mut self) -> (usize, bool) {
        self.dead = true;
        (0, false)
    }
}
