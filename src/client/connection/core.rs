//! State of a connection: its life and the calls in flight, behind one lock.
//!
//! Invariants: registering a call and closing the connection happen under one lock, so no call is registered on a
//! closed connection. That lock is never held over I/O that blocks, nor while a slot is filled or a waker called.

use super::call_slot::{Filling, UnclaimedCount, fill_all};
use super::in_flight::{InFlight, InFlightCall, Waiter};
use super::reactor::Registration;
use super::read_source::Interest;
use super::send_queue::SendQueue;
use super::transport::ClientTransport;
use crate::client::schema_check::CheckState;
use crate::proto::client::{self, BUFFER_BYTES_MAX, ClientProtocol};
use crate::service::ClientError;
use crate::sync::unordered::AtomicBool;
use crate::sync::{AtomicU32, Condvar, Mutex, Ordering};
use crate::wire::FrameKind;
use crate::wire::body::{MethodEntry, Welcome};
use crate::wire::limits::BODY_BYTES_MAX;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A connection is taken for dead when a call is late and a Ping has had no reply, nor anything else come, for so
/// long.
const SILENCE: Duration = Duration::from_secs(3);

/// A connection that was not used for so long is read by the reactor, and gives its buffers back.
pub(super) const UNUSED_AFTER: Duration = Duration::from_millis(10);

/// A method of the server, as one connection knows it.
#[derive(Debug)]
pub(in crate::client) struct ServerMethod {
    /// Valid on this connection only.
    pub(in crate::client) number: u16,
    pub(in crate::client) types: CheckState,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) transport: ClientTransport,
    pub(super) registration: Registration,
    pub(super) methods: HashMap<String, ServerMethod>,
    pub(super) call_bytes_max: usize,
    pub(super) reply_bytes_max: usize,
    /// The state's phase, to be read without the lock.
    pub(super) phase: AtomicU32,
    pub(super) state: Mutex<State>,
    /// Signalled when queued bytes were taken, or the phase has changed.
    pub(super) room: Condvar,
    /// While there are any, more calls are about to come, and one write may do for all.
    pub(super) unclaimed: UnclaimedCount,
    /// Whether a frame was left to be written with the next.
    pub(super) left: AtomicBool,
    /// Buffer of a large answer that was decoded, for the reader.
    spare: Mutex<Vec<u8>>,
    /// Whether there is one.
    has_spare: AtomicBool,
    /// For the reader alone, as `state.calls` names it.
    pub(super) protocol: Mutex<ClientProtocol>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) calls: InFlight,
    pub(super) queue: SendQueue,
    /// Time of the last Ping, while nothing has come since.
    pub(super) silent_since: Option<Instant>,
    /// Message of the server's GoAway.
    pub(super) close_message: Option<String>,
    /// Whether handlers have called here.
    pub(super) nested: bool,
    /// Events that the socket is registered for.
    interest: Interest,
    /// Why the socket could not be registered: the next check closes the connection.
    pub(super) unregistered: Option<String>,
    /// Whether there was a call since the last check, or since the checks began.
    used: bool,
    /// Whether a check is due within [`UNUSED_AFTER`].
    checked: bool,
}

/// Life of a connection; it only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    Open,
    /// The server stops. Only handlers may make new calls: for transactions that the server still has in flight.
    Draining,
    /// No new calls; those in flight may still be answered.
    Retired,
    Closed,
}

impl Core {
    /// # Errors
    /// [`ClientError::NoThread`].
    pub(super) fn new(
        transport: ClientTransport,
        registration: Registration,
        welcome: Welcome,
        protocol: ClientProtocol,
        reply_bytes_max: usize,
    ) -> Core {
        let method = |entry: MethodEntry| {
            (entry.name, ServerMethod { number: entry.number, types: CheckState::new(entry.fingerprint) })
        };
        let state = State {
            phase: Phase::Open,
            calls: InFlight::new(),
            queue: SendQueue::default(),
            silent_since: None,
            close_message: None,
            nested: false,
            interest: Interest::Nothing,
            unregistered: None,
            used: false,
            checked: false,
        };
        Core {
            transport,
            registration,
            methods: welcome.methods.into_iter().map(method).collect(),
            call_bytes_max: (welcome.body_bytes_max as usize).min(BODY_BYTES_MAX),
            reply_bytes_max,
            phase: AtomicU32::new(Phase::Open as u32),
            state: Mutex::new(state),
            room: Condvar::new(),
            unclaimed: UnclaimedCount::default(),
            left: AtomicBool::new(false),
            spare: Mutex::default(),
            has_spare: AtomicBool::new(false),
            protocol: Mutex::new(protocol),
        }
    }

    /// Returns the buffer of an answer for use again, unless it is too large to be kept.
    pub(super) fn give_buffer(&self, buffer: Vec<u8>) {
        if buffer.len() <= BUFFER_BYTES_MAX {
            // Dropped once the lock is released.
            let _old = std::mem::replace(&mut *self.spare.lock(), buffer);
            self.has_spare.store(true, Ordering::Relaxed);
            if let Some(check) = self.state.lock().begin_checks() {
                self.registration.alarm(check);
            }
        }
    }

    /// Takes that buffer, if there is one.
    pub(super) fn take_buffer(&self) -> Option<Vec<u8>> {
        // Relaxed: a buffer seen late is used a little later.
        if !self.has_spare.load(Ordering::Relaxed) {
            return None;
        }
        self.has_spare.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *self.spare.lock()))
    }

    /// Ends all I/O; the reader, or the reactor, then closes the connection.
    pub(super) fn shut_down(&self) {
        self.transport.shut_down();
    }

    /// Probes the server when a call is late: sends a Ping, and retires the connection if one has had no reply for
    /// long.
    pub(super) fn probe(&self, state: &mut State) {
        match state.silent_since {
            None => {
                state.signal(FrameKind::Ping, 0);
                state.silent_since = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= SILENCE => self.advance(state, Phase::Retired),
            Some(_) => {}
        }
    }

    /// Moves the connection on to `phase`, unless it is there or beyond.
    pub(super) fn advance(&self, state: &mut State, phase: Phase) {
        if state.phase < phase {
            state.phase = phase;
            self.phase.store(phase as u32, Ordering::Relaxed);
            self.room.notify_all();
        }
    }

    /// Registers the socket for what the state asks for: for bytes while the reactor reads, for nothing once closed.
    /// Bytes that a caller reads are left registered until the reactor is told of one: most calls cost nothing here.
    pub(super) fn update_interest(&self, state: &mut State) {
        if state.phase == Phase::Closed {
            self.set_interest(state, Interest::Nothing);
        } else if state.calls.is_background() {
            self.set_interest(state, Interest::Bytes);
        }
    }

    pub(super) fn set_interest(&self, state: &mut State, interest: Interest) {
        if state.interest != interest {
            if let Err(error) = self.registration.change(&self.transport, state.interest, interest) {
                state.unregistered = Some(format!("socket registration failed: {error}"));
                self.registration.alarm(Instant::now());
            }
            state.interest = interest;
        }
    }

    /// Closes the connection: each call in flight fails with `error`, or as one that was never sent.
    pub(super) fn close(&self, error: ClientError) {
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return;
        }
        self.advance(&mut state, Phase::Closed);
        state.queue.clear();
        let calls = state.calls.clear();
        self.update_interest(&mut state);
        let unsent = ClientError::unsent(match &error {
            ClientError::Disconnected { reason, .. } => reason.clone(),
            other => other.to_string(),
        });
        let failed: Vec<Filling> = calls
            .into_iter()
            .map(|call| {
                let error = if state.queue.may_have_left(call.last_byte) { &error } else { &unsent };
                (call.slot, Err(error.clone()), None)
            })
            .collect();
        drop(state);
        self.shut_down();
        log::debug!("connection closed, calls={} reason={error}", failed.len());
        fill_all(failed);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Before the socket is closed: see `reactor`.
        let interest = std::mem::replace(&mut self.state.lock().interest, Interest::Nothing);
        self.registration.change(&self.transport, interest, Interest::Nothing).ok();
    }
}

impl State {
    /// Registers a call that is about to be sent. Returns when the reactor has to check the connection, if that is
    /// earlier than it knows.
    pub(super) fn register(&mut self, number: u64, call: InFlightCall) -> Option<Instant> {
        let (deadline, waiter) = (call.deadline, call.waiter);
        let earliest = self.calls.insert(number, call);
        // For a task the reactor is woken by the reply, and begins them then: it need not be woken here, too.
        let check = if waiter == Waiter::Task { None } else { self.begin_checks() };
        self.used = true;
        check.into_iter().chain(deadline.filter(|_| earliest)).min()
    }

    /// Returns the time of the next check, if there is none yet.
    pub(super) fn begin_checks(&mut self) -> Option<Instant> {
        if self.checked {
            return None;
        }
        (self.checked, self.used) = (true, false);
        Some(Instant::now() + UNUSED_AFTER)
    }

    /// Ends the checks if the connection was not used since the last. Returns whether it did.
    pub(super) fn end_checks(&mut self) -> bool {
        self.checked = std::mem::take(&mut self.used);
        !self.checked
    }

    /// Queues a frame that is nothing but its header.
    pub(super) fn signal(&mut self, kind: FrameKind, call: u64) {
        if self.phase != Phase::Closed {
            self.queue.push(client::signal(kind, call).to_vec());
        }
    }

    /// Returns whether a new call is taken, `nested` if a handler makes it.
    pub(super) fn takes_calls(&self, nested: bool) -> bool {
        self.phase == Phase::Open || nested && self.phase == Phase::Draining
    }

    /// Returns whether the connection takes no calls and has none in flight.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Retired && self.calls.len() == 0
    }
}
