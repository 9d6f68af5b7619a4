//! Reading a connection's socket and delivering what came: by a thread that waits for a reply, or by the reactor.
//!
//! Whose turn it is to read is `in_flight`'s; only that thread takes the protocol's lock. All outcomes of one read are
//! left in their slots before any waker is called.

use super::call_slot::{CallOutcome, CallSlot, Slept, fill_all};
use super::core::{Core, Phase, State, UNUSED_AFTER};
use super::in_flight::{WaitStep, Waiter};
use super::reactor::Registration;
use super::read_source::{Flush, Interest, ReadSource};
use super::transport::ClientTransport;
use crate::proto::client::{ClientProtocol, Event};
use crate::service::{ClientError, Status};
use crate::sync::{Arc, MutexGuard, Ordering, Planted, Weak, planted};
use crate::wire::body::Welcome;
use std::io;
use std::time::Instant;

/// Outcome of one read.
#[derive(Debug)]
struct Received {
    bytes: usize,
    events: Vec<Event>,
    /// Why the connection is of no more use, if so.
    end: Option<ClientError>,
}

impl Core {
    /// A connection after its handshake, known to the reactor. `protocol` may hold bytes that came after the Welcome.
    ///
    /// # Errors
    /// [`ClientError::NoThread`].
    pub(super) fn start(
        transport: ClientTransport,
        welcome: Welcome,
        protocol: ClientProtocol,
        reply_bytes_max: usize,
    ) -> Result<Arc<Core>, ClientError> {
        let registration = Registration::new()?;
        let core = Arc::new(Core::new(transport, registration, welcome, protocol, reply_bytes_max));
        let source: Weak<Core> = Arc::downgrade(&core);
        core.registration.attach(source);
        // Until its first call the reactor reads; first of all what came with the Welcome.
        core.state.lock().calls.begin_background();
        let received = core.parse(0, &mut core.protocol.lock());
        core.deliver(received, None);
        ReadSource::flush(Arc::clone(&core), Flush::Now);
        Ok(core)
    }

    /// Blocks until a call has its outcome or `until` passes; reads meanwhile, if no other thread does.
    pub(super) fn wait(
        self: &Arc<Self>,
        call: u64,
        slot: &CallSlot,
        until: Option<Instant>,
    ) -> Option<CallOutcome> {
        loop {
            let step = self.state.lock().calls.begin_wait(call);
            let slept = match step {
                WaitStep::Read => self.read_until_answered(call, slot, until),
                WaitStep::Sleep => slot.sleep(until),
            };
            match slept {
                Slept::Filled(outcome) => return Some(outcome),
                Slept::Woken => {}
                Slept::TimedOut => {
                    self.end_wait(call, step == WaitStep::Read);
                    return slot.take();
                }
            }
        }
    }

    pub(super) fn end_wait(&self, call: u64, reads: bool) {
        let mut state = self.state.lock();
        let next = state.calls.end_wait(call, reads);
        self.release(state, next);
    }

    /// Reads for all calls until this one has its outcome. Blocks.
    fn read_until_answered(self: &Arc<Self>, call: u64, slot: &CallSlot, until: Option<Instant>) -> Slept {
        let guard = PanicGuard(self);
        let mut patient = false;
        let slept = loop {
            let received = self.receive(|space| self.transport.read(space, until, patient));
            if received.is_nothing() {
                if until.is_some_and(|until| Instant::now() >= until) {
                    break Slept::TimedOut;
                }
                patient = true;
                continue;
            }
            let reads_on = self.deliver(received, Some(call));
            if let Some(outcome) = slot.take() {
                break Slept::Filled(outcome);
            }
            if !reads_on {
                // The connection is closed; the thread that closed it is about to fill the slot.
                break Slept::Woken;
            }
            self.write_queued();
            // Replies of others may keep the socket readable.
            if until.is_some_and(|until| Instant::now() >= until) {
                break Slept::TimedOut;
            }
        };
        std::mem::forget(guard);
        slept
    }

    /// Writes what was queued while this thread, the reader, was awake.
    fn write_queued(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.calls.end_handling();
        let chunk = if planted(Planted::UnwrittenCall) { Vec::new() } else { state.queue.begin_write() };
        drop(state);
        // The only thread that reads must not wait for a peer that waits to be read.
        self.write_now(chunk);
    }

    /// Reads once.
    fn receive(&self, read: impl FnOnce(&mut [u8]) -> io::Result<Option<usize>>) -> Received {
        let spare = self.take_buffer();
        let mut protocol = self.protocol.lock();
        if let Some(spare) = spare {
            protocol.give_buffer(spare);
        }
        match read(protocol.space()) {
            Ok(None) => Received { bytes: 0, events: Vec::new(), end: None },
            Ok(Some(0)) => {
                drop(protocol);
                let said = self.state.lock().close_message.take();
                let reason = said.unwrap_or_else(|| "the server closed the connection".to_owned());
                Received { bytes: 0, events: Vec::new(), end: Some(ClientError::disconnected(reason)) }
            }
            Ok(Some(bytes)) => {
                protocol.filled(bytes);
                self.parse(bytes, &mut protocol)
            }
            Err(error) => {
                let end = Some(ClientError::disconnected(error.to_string()));
                Received { bytes: 0, events: Vec::new(), end }
            }
        }
    }

    fn parse(&self, bytes: usize, protocol: &mut ClientProtocol) -> Received {
        let mut events = Vec::new();
        loop {
            match protocol.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return Received { bytes, events, end: None },
                Err(error) => return Received { bytes, events, end: Some(error.into()) },
            }
        }
    }

    /// Delivers what was read by the thread of `call`, or by the reactor. A thread that has its own outcome in it
    /// passes the right to read on. Returns whether it still has it.
    fn deliver(self: &Arc<Self>, received: Received, call: Option<u64>) -> bool {
        let mut state = self.state.lock();
        if received.bytes > 0 {
            state.silent_since = None;
        }
        let mut outcomes = Vec::with_capacity(received.events.len());
        for event in received.events {
            let Some((call, outcome)) = self.outcome(&mut state, event) else { continue };
            // The reply to an abandoned call crossed its Cancel.
            if let Some(call) = state.calls.remove(call) {
                let unclaimed = (call.waiter == Waiter::Task).then(|| self.unclaimed.add());
                outcomes.push((call.slot, outcome, unclaimed));
            }
        }
        let done = state.is_done();
        let reads_on = call.is_none_or(|call| state.calls.contains(call));
        if reads_on {
            state.calls.begin_handling();
            drop(state);
        } else {
            let next = state.calls.hand_on();
            self.release(state, next);
        }
        fill_all(outcomes);
        if let Some(end) = received.end {
            self.close(end);
            return false;
        }
        if done {
            self.shut_down();
        }
        reads_on
    }

    /// The call that an event is about, and its outcome; `None` if the event is about the connection.
    fn outcome(&self, state: &mut State, event: Event) -> Option<(u64, CallOutcome)> {
        match event {
            Event::Answer(answer) => Some((answer.call, Ok(answer))),
            Event::Oversized { call, bytes } => {
                let limit = self.reply_bytes_max as u64;
                Some((call, Err(ClientError::ReplyTooLarge { bytes, limit })))
            }
            Event::GoAway { status, fault } => {
                state.close_message =
                    Some(format!("the server closed the connection: {status}: {}", fault.message));
                // A second GoAway ends the use for handlers too.
                let drains = state.phase == Phase::Open && state.nested && status == Status::Draining.code();
                self.advance(state, if drains { Phase::Draining } else { Phase::Retired });
                None
            }
            Event::Pong(_) | Event::Welcome(_) => None,
        }
    }

    /// Ends a change of the reader: registers the socket as that wants it, has the connection checked if it may be
    /// unused from now on, and wakes the thread that is to read next.
    fn release(&self, mut state: MutexGuard<'_, State>, next: Option<Arc<CallSlot>>) {
        self.update_interest(&mut state);
        let rests = state.calls.is_unread() || state.calls.len() == 0;
        let check = if rests { state.begin_checks() } else { None };
        drop(state);
        if let Some(next) = next {
            next.wake_thread();
        }
        if let Some(check) = check {
            self.registration.alarm(check);
        }
    }
}

impl ReadSource for Core {
    fn read(self: Arc<Self>, ended: bool) -> bool {
        let mut state = self.state.lock();
        if !state.calls.begin_background() {
            // A caller reads; it finds the end of the stream by itself, too.
            self.set_interest(&mut state, if ended { Interest::Nothing } else { Interest::End });
            return false;
        }
        drop(state);
        let received = self.receive(|space| self.transport.read_now(space));
        self.deliver(received, None);
        true
    }

    fn flush(self: Arc<Self>, flush: Flush) -> bool {
        let mut state = self.state.lock();
        // Two tasks that have yet to take their outcomes are likely to send two calls, which one write does for.
        let tasks_follow = self.unclaimed.get() > 1;
        if tasks_follow && flush == Flush::Unhurried {
            return true;
        }
        // Where they have sent some since the last time, they are slow but not stuck.
        let held = tasks_follow && self.left.swap(false, Ordering::Relaxed);
        let next = if held { None } else { state.calls.end_background() };
        let chunk = state.queue.begin_write();
        self.release(state, next);
        self.write_now(chunk);
        held
    }

    fn fail(self: Arc<Self>) {
        drop(PanicGuard(&self));
    }

    fn check(self: Arc<Self>, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        if let Some(reason) = state.unregistered.take() {
            drop(state);
            self.close(ClientError::disconnected(reason));
            return None;
        }
        let late = state.calls.take_late(now);
        let unused = state.end_checks();
        if unused {
            state.calls.rest();
        }
        // The reactor's own turn, so that no other thread reads meanwhile.
        let releases = unused && state.calls.len() == 0 && state.calls.begin_background();
        let next = if unused { None } else { Some(now + UNUSED_AFTER) };
        let next = next.into_iter().chain(state.calls.earliest()).min();
        self.update_interest(&mut state);
        drop(state);
        late.iter().for_each(|slot| slot.wake_task());
        if releases {
            drop(self.take_buffer());
            self.protocol.lock().release();
            let mut state = self.state.lock();
            state.queue.release();
            let next = state.calls.end_background();
            let chunk = state.queue.begin_write();
            drop(state);
            if let Some(next) = next {
                next.wake_thread();
            }
            self.write_now(chunk);
        }
        next
    }
}

impl Received {
    fn is_nothing(&self) -> bool {
        self.bytes == 0 && self.end.is_none()
    }
}

/// Closes the connection if its reader panics, which would be a defect of this crate: even then no caller may be left
/// waiting.
struct PanicGuard<'a>(&'a Core);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.0.close(ClientError::disconnected("the client's reader panicked"));
    }
}
