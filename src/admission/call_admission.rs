//! Admission of calls, decided by the listener before a call's arguments are decoded. Each refusal has its own status
//! and a hint when to try again.
//!
//! Calls that are certain or likely to be answered too late are refused: a busy server refuses at once what it cannot
//! do. Knows the current state of queue, session and server; knows no sockets and no clock.

use super::forecast::{Forecast, LineForecast, would_be_late};
use super::received_chain::{OwnCallers, ReceivedChain};
use crate::metrics::ServiceTimes;
use crate::service::{BUFFERS_AFTER, Refusal, Status};
use crate::wire::{Chain, Header};
use std::time::{Duration, Instant};

/// Window of a connection: most of its calls in flight; more wait in its socket, so that a connection with a thousand
/// calls cannot fill the shared queue.
pub const WINDOW_CALLS_MAX: usize = 512;

/// Retry hint of a stopping server, which is most likely being restarted.
const RETURN_AFTER: Duration = Duration::from_secs(1);

/// The server as admission sees it. Each method is called only where its answer matters: answers are gathered from
/// what other threads write.
///
/// The default methods are those of an idle server without limits.
pub trait AdmissionView: std::fmt::Debug {
    /// Opens the session of a client that says Hello under this name.
    ///
    /// # Errors
    /// The refusal that the client is sent before its connection is closed: MaxUsers, Restricted.
    fn open_session(&self, _client: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns which of a chain's entries are transactions of this server that wait for the call that came with it; in
    /// a port that drains, only those that are to end well. A nested call counts against the entry that admits it.
    fn own_callers(&self, _chain: &Chain) -> OwnCallers {
        OwnCallers::default()
    }

    /// A nested call was refused: it no longer counts against the entry of its chain.
    fn nested_refused(&self, _chain: &ReceivedChain) {}

    /// Returns what is ahead of the connection's next call: one that a client makes, or one that a handler of this
    /// server makes (`nested`), which comes first.
    fn forecast(&self, _nested: bool) -> Forecast {
        Forecast::NONE
    }

    /// Returns the state of a method's line, where methods are limited, for a call that a handler here made if
    /// `nested`: no line is full for that.
    fn line(&self, _method: u16, _nested: bool) -> LineForecast {
        LineForecast::default()
    }

    /// Returns whether the client may have one more call in progress; a `nested` one always.
    fn has_client_room(&self, _nested: bool) -> bool {
        true
    }

    /// Counts a call as one that the client has in progress. Returns false if it has as many as it may; a `nested` one
    /// is never refused for that.
    fn count_for_client(&self, _nested: bool) -> bool {
        true
    }

    /// Undoes [`AdmissionView::count_for_client`] for a call that is refused.
    fn uncount_for_client(&self) {}

    /// Returns whether another connection has so many more calls in the full queue than this one, which brings `ahead`
    /// besides, that one of its calls can be displaced. For a `nested` call any connection's can, since the caller of
    /// a nested call holds a worker.
    fn can_displace(&self, _ahead: usize, _nested: bool) -> bool {
        false
    }

    /// Displaces a call of such a connection. Returns false if there is none any more.
    fn displace(&self, _ahead: usize, _nested: bool) -> bool {
        false
    }

    /// Returns how many calls were displaced in this read.
    fn displaced(&self) -> usize {
        0
    }
}

/// An idle server without limits.
impl AdmissionView for () {}

/// The same forecast for every call.
impl AdmissionView for Forecast {
    fn forecast(&self, _nested: bool) -> Forecast {
        *self
    }
}

/// Limits and state of a port that decide which calls are admitted.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// Whether the server or the port is stopping: only nested calls are admitted.
    pub draining: bool,
    /// Whether this client's session was ended by the server.
    pub evicted: bool,
    /// The server as it is now.
    pub view: &'a dyn AdmissionView,
    /// Highest method number.
    pub methods: u16,
    /// Calls that still fit the port's queue.
    pub queue_room: usize,
    /// Calls that this session may still have in flight.
    pub session_room: usize,
    /// Whether any method is limited.
    pub methods_limited: bool,
    /// Whether the calls of this client are counted.
    pub client_counted: bool,
    /// Whether the server's buffers are full.
    pub buffers_full: bool,
    /// Longest wait for which a call is admitted, while CoDel finds a standing queue.
    pub wait_max: Option<Duration>,
    /// Mean run time of each method.
    pub service_times: &'a ServiceTimes,
}

/// Calls admitted before a call in the same read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ahead {
    pub(crate) calls: usize,
    pub(crate) ns: u64,
}

impl<'a> Admission<'a> {
    /// Admits all calls that name one of the methods.
    pub fn open(methods: u16, service_times: &'a ServiceTimes) -> Admission<'a> {
        let (queue_room, session_room) = (usize::MAX, usize::MAX);
        Admission {
            draining: false,
            evicted: false,
            view: &(),
            methods,
            queue_room,
            session_room,
            methods_limited: false,
            client_counted: false,
            buffers_full: false,
            wait_max: None,
            service_times,
        }
    }

    /// Returns whether the queue is full for a call with `ahead` calls before it in its read.
    fn is_full(&self, ahead: usize) -> bool {
        ahead >= self.queue_room && ahead >= self.queue_room.saturating_add(self.view.displaced())
    }

    /// Returns the refusal of a call, or `None` for one that is admitted and has a place in the queue.
    pub(crate) fn refusal(
        &self,
        header: &Header,
        nested: bool,
        deadline: Option<Instant>,
        now: Instant,
        ahead: Ahead,
    ) -> Option<Refusal> {
        if self.draining && !nested {
            return Some(Refusal::from(Status::Draining).retry_after(RETURN_AFTER));
        }
        if self.evicted {
            return Some(Refusal::from(Status::SessionClosed));
        }
        if header.code == 0 || header.code > self.methods {
            let message = format!("no method has number {}; see the Welcome's table", header.code);
            return Some(Refusal::new(Status::UnknownMethod, message));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let line = self.methods_limited.then(|| self.view.line(header.code, nested));
        let in_line = || line.map_or(Duration::ZERO, |line| line.wait);
        let wait = || self.view.forecast(nested).wait(ahead.ns) + in_line();
        let full = self.is_full(ahead.calls);
        let status = if left.is_some_and(|left| left.is_zero()) {
            Status::DeadlineExceeded
        } else if ahead.calls >= self.session_room {
            Status::SessionLimit
        } else if self.client_counted && !self.view.has_client_room(nested) {
            Status::ClientLimit
        } else if line.is_some_and(|line| line.is_full) {
            Status::MethodLimit
        } else if full && !self.view.can_displace(ahead.calls, nested) {
            Status::QueueFull
        } else if self.buffers_full {
            return Some(Refusal::from(Status::BuffersFull).retry_after(wait().max(BUFFERS_AFTER)));
        } else {
            let run = || Duration::from_nanos(self.service_times.mean_ns(header.code).into());
            if left.is_some_and(|left| would_be_late(wait(), run(), left)) {
                Status::WouldBeLate
            } else if self.wait_max.is_some_and(|most| wait() > most) {
                Status::Overloaded
            } else if self.client_counted && !self.view.count_for_client(nested) {
                // Another listener has taken the room meanwhile.
                Status::ClientLimit
            } else if full && !self.view.displace(ahead.calls, nested) {
                if self.client_counted {
                    self.view.uncount_for_client();
                }
                Status::QueueFull
            } else {
                return None;
            }
        };
        Some(Refusal::from(status).retry_after(wait()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, FrameKind};
    use std::cell::Cell;

    const MS: u64 = 1_000_000;

    /// A server whose lines are full, and a client that has as many calls as it may.
    #[derive(Debug)]
    struct Full;

    impl AdmissionView for Full {
        fn line(&self, _method: u16, _nested: bool) -> LineForecast {
            LineForecast { is_full: true, wait: Duration::ZERO }
        }

        fn has_client_room(&self, _nested: bool) -> bool {
            false
        }
    }

    /// A port with 40 ms of work in its queue, where another connection has `calls` calls.
    #[derive(Debug)]
    struct Busy {
        calls: Cell<usize>,
        displaced: Cell<usize>,
    }

    impl AdmissionView for Busy {
        fn forecast(&self, _nested: bool) -> Forecast {
            Forecast { queue_ns: 80 * MS, calls: 40, bursts: 40, connections: 40, own_ns: 0, workers: 2 }
        }

        fn can_displace(&self, ahead: usize, _nested: bool) -> bool {
            self.calls.get() > ahead
        }

        fn displace(&self, _ahead: usize, _nested: bool) -> bool {
            self.calls.set(self.calls.get() - 1);
            self.displaced.set(self.displaced.get() + 1);
            true
        }

        fn displaced(&self) -> usize {
            self.displaced.get()
        }
    }

    fn busy(calls: usize) -> Busy {
        Busy { calls: calls.into(), displaced: 0.into() }
    }

    /// The refusal of a call of method 1 that has `left_ms` left at a busy port with this change.
    fn refused(
        left_ms: Option<u64>,
        ahead: Ahead,
        change: impl Fn(&mut Admission<'_>),
    ) -> Option<(Status, u32)> {
        refused_by(left_ms, ahead, &busy(0), change)
    }

    fn refused_by(
        left_ms: Option<u64>,
        ahead: Ahead,
        view: &dyn AdmissionView,
        change: impl Fn(&mut Admission<'_>),
    ) -> Option<(Status, u32)> {
        let service_times = ServiceTimes::new(1);
        (0..100).for_each(|_| service_times.add(1, 1, 2 * MS));
        let mut admission = Admission { view, ..Admission::open(1, &service_times) };
        change(&mut admission);
        let header = Header { body_bytes: 8, kind: FrameKind::Call, flags: Flags::NONE, code: 1, call: 7 };
        let now = Instant::now();
        let deadline = left_ms.map(|ms| now + Duration::from_millis(ms));
        let refusal = admission.refusal(&header, false, deadline, now, ahead)?;
        Some((refusal.status, refusal.fault.retry_after_ms))
    }

    #[test]
    fn the_limit_of_the_client_comes_before_those_that_others_share() {
        let status = |client_counted| {
            let change = |port: &mut Admission<'_>| {
                (port.methods_limited, port.client_counted) = (true, client_counted);
                (port.queue_room, port.buffers_full) = (0, true);
            };
            refused_by(None, Ahead::default(), &Full, change).map(|(status, _)| status)
        };
        assert_eq!(status(true), Some(Status::ClientLimit));
        assert_eq!(status(false), Some(Status::MethodLimit));
    }

    #[test]
    fn each_reason_has_its_status_and_its_retry_hint() {
        let none = Ahead::default();
        let two = Ahead { calls: 2, ns: 4 * MS };
        let full = |port: &mut Admission<'_>| port.queue_room = 2;
        let session = |port: &mut Admission<'_>| port.session_room = 2;
        let heavy = |port: &mut Admission<'_>| port.buffers_full = true;
        let short = |port: &mut Admission<'_>| (port.buffers_full, port.view) = (true, &Forecast::NONE);
        let codel = |ms| move |port: &mut Admission<'_>| port.wait_max = Some(Duration::from_millis(ms));
        let other = busy(3);
        let among = |left_ms, ahead| refused_by(left_ms, ahead, &other, full);
        for (expected, found, what) in [
            (None, refused(None, none, |_| ()), "a call without a deadline waits"),
            (None, refused(Some(100), none, |_| ()), "40 of 98 ms"),
            (Some((Status::WouldBeLate, 40)), refused(Some(54), none, |_| ()), "40 of 52 ms"),
            (Some((Status::WouldBeLate, 42)), refused(Some(56), two, |_| ()), "with those of the same read"),
            (Some((Status::DeadlineExceeded, 40)), refused(Some(0), none, |_| ()), "no time is left"),
            (None, refused(Some(1), none, |port| port.view = &Forecast::NONE), "nothing to wait for"),
            (None, refused(None, none, full), "room for two"),
            (Some((Status::QueueFull, 42)), refused(None, two, full), "two are before it"),
            (None, among(None, two), "a call of the connection with more is displaced"),
            (Some((Status::WouldBeLate, 42)), among(Some(54), two), "but not in vain"),
            (Some((Status::QueueFull, 42)), among(None, Ahead { calls: 3, ns: 4 * MS }), "none has more"),
            (None, refused(None, none, session), "the session has room for two"),
            (Some((Status::SessionLimit, 42)), refused(None, two, session), "two of it are before it"),
            (Some((Status::BuffersFull, 100)), refused(None, none, heavy), "a hint of 100 ms at least"),
            (Some((Status::BuffersFull, 100)), refused(None, none, short), "where nothing waits, too"),
            (None, refused(None, none, codel(40)), "no longer than CoDel allows"),
            (Some((Status::Overloaded, 40)), refused(None, none, codel(39)), "longer than CoDel allows"),
            (
                Some((Status::Draining, 1000)),
                refused(Some(0), two, |port| port.draining = true),
                "before all",
            ),
            (Some((Status::UnknownMethod, 0)), refused(None, none, |port| port.methods = 0), "no hint"),
        ] {
            assert_eq!(found, expected, "{what}");
        }
        assert_eq!(other.displaced(), 1);
    }
}
