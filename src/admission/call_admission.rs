//! Whether a client is let in, and whether a call is. Asked by the listener before a call's arguments are decoded;
//! every "no" has its own status, and a hint when to try again.
//!
//! Knows what the queue, the session and the server are like now; knows no sockets and no clock. Nothing is let in
//! that is certain or likely to be answered too late: what a busy server cannot do it says at once.

use super::forecast::would_be_late;
use super::view::AdmissionView;
use crate::metrics::ServiceTimes;
use crate::service::{BUFFERS_AFTER, Refusal, Status};
use crate::wire::Header;
use std::time::{Duration, Instant};

/// When a caller may find a server again that is stopping: it is most likely being started anew.
const RETURN_AFTER: Duration = Duration::from_secs(1);

/// What a port lets in.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// Is the server or the port stopping? Then only nested calls are let in.
    pub draining: bool,
    /// Has this client been told to call elsewhere?
    pub dismissed: bool,
    /// The server as it is now.
    pub view: &'a dyn AdmissionView,
    /// Highest method number.
    pub methods: u16,
    /// Calls the port's queue still takes.
    pub queue_room: usize,
    /// Calls this session may still have out before the next is refused.
    pub session_room: usize,
    /// Are the server's buffers full?
    pub buffers_full: bool,
    /// While the queue stands: the longest wait a call is let in for.
    pub wait_max: Option<Duration>,
    /// What each method costs.
    pub paces: &'a ServiceTimes,
}

/// What came before a call in the same read and was let in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ahead {
    pub(crate) calls: usize,
    pub(crate) ns: u64,
}

impl<'a> Admission<'a> {
    /// Lets everything in that names one of the methods.
    pub fn open(methods: u16, paces: &'a ServiceTimes) -> Admission<'a> {
        let (queue_room, session_room) = (usize::MAX, usize::MAX);
        Admission {
            draining: false,
            dismissed: false,
            view: &(),
            methods,
            queue_room,
            session_room,
            buffers_full: false,
            wait_max: None,
            paces,
        }
    }

    /// Is the queue full for a call that comes with so many before it?
    fn is_full(&self, ahead: usize) -> bool {
        ahead >= self.queue_room && ahead >= self.queue_room.saturating_add(self.view.displaced())
    }

    /// Is there a reason to refuse this call now? If not, it has a place in the queue.
    pub(crate) fn refusal(
        &self,
        header: &Header,
        nested: bool,
        deadline: Option<Instant>,
        now: Instant,
        ahead: Ahead,
    ) -> Option<Refusal> {
        if self.draining && !nested {
            return Some(refusal(Status::Draining).retry_after(RETURN_AFTER));
        }
        if self.dismissed {
            return Some(refusal(Status::SessionClosed));
        }
        if header.code == 0 || header.code > self.methods {
            let message = format!("no method has number {}; see the Welcome's table", header.code);
            return Some(Refusal::new(Status::UnknownMethod, message));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let wait = || self.view.forecast(nested).wait(ahead.ns);
        let full = self.is_full(ahead.calls);
        let status = if left.is_some_and(|left| left.is_zero()) {
            Status::DeadlineExceeded
        } else if ahead.calls >= self.session_room {
            Status::SessionLimit
        } else if full && !self.view.can_displace(ahead.calls, nested) {
            Status::QueueFull
        } else if self.buffers_full {
            return Some(refusal(Status::BuffersFull).retry_after(wait().max(BUFFERS_AFTER)));
        } else {
            let run = || Duration::from_nanos(self.paces.mean_ns(header.code).into());
            if left.is_some_and(|left| would_be_late(wait(), run(), left)) {
                Status::WouldBeLate
            } else if self.wait_max.is_some_and(|most| wait() > most) {
                Status::Overloaded
            } else if full && !self.view.displace(ahead.calls, nested) {
                Status::QueueFull
            } else {
                return None;
            }
        };
        Some(refusal(status).retry_after(wait()))
    }
}

fn refusal(status: Status) -> Refusal {
    Refusal::new(status, status.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Forecast;
    use crate::wire::{Flags, FrameKind};
    use std::cell::Cell;

    const MS: u64 = 1_000_000;

    /// A port with 40 ms of work in its queue, where another connection has `calls` calls.
    #[derive(Debug)]
    struct Busy {
        calls: Cell<usize>,
        displaced: Cell<usize>,
    }

    impl AdmissionView for Busy {
        fn forecast(&self, _nested: bool) -> Forecast {
            Forecast { queue_ns: 80 * MS, calls: 40, bursts: 40, lanes: 40, lane_ns: 0, workers: 2 }
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
    fn told(
        left_ms: Option<u64>,
        ahead: Ahead,
        change: impl Fn(&mut Admission<'_>),
    ) -> Option<(Status, u32)> {
        told_by(left_ms, ahead, &busy(0), change)
    }

    fn told_by(
        left_ms: Option<u64>,
        ahead: Ahead,
        view: &dyn AdmissionView,
        change: impl Fn(&mut Admission<'_>),
    ) -> Option<(Status, u32)> {
        let paces = ServiceTimes::new(1);
        (0..100).for_each(|_| paces.add(1, 1, 2 * MS));
        let mut admission = Admission { view, ..Admission::open(1, &paces) };
        change(&mut admission);
        let header = Header { body_bytes: 8, kind: FrameKind::Call, flags: Flags::NONE, code: 1, call: 7 };
        let now = Instant::now();
        let deadline = left_ms.map(|ms| now + Duration::from_millis(ms));
        let refusal = admission.refusal(&header, false, deadline, now, ahead)?;
        Some((refusal.status, refusal.fault.retry_after_ms))
    }

    #[test]
    fn each_reason_has_its_status_and_says_when_to_come_again() {
        let none = Ahead::default();
        let two = Ahead { calls: 2, ns: 4 * MS };
        assert_eq!(told(None, none, |_| ()), None, "who sets no deadline waits");
        assert_eq!(told(Some(100), none, |_| ()), None, "40 of 98 ms");
        assert_eq!(told(Some(54), none, |_| ()), Some((Status::WouldBeLate, 40)));
        assert_eq!(
            told(Some(56), two, |_| ()),
            Some((Status::WouldBeLate, 42)),
            "with those of the same read"
        );
        assert_eq!(told(Some(0), none, |_| ()), Some((Status::DeadlineExceeded, 40)));
        assert_eq!(told(Some(1), none, |port| port.view = &Forecast::NONE), None, "nothing to wait for");
        let full = |port: &mut Admission<'_>| port.queue_room = 2;
        assert_eq!((told(None, none, full), told(None, two, full)), (None, Some((Status::QueueFull, 42))));
        let other = busy(3);
        let among = |left_ms, ahead| told_by(left_ms, ahead, &other, full);
        assert_eq!(among(None, two), None, "who has more makes room");
        assert_eq!(among(Some(54), two).map(|told| told.0), Some(Status::WouldBeLate), "but not in vain");
        assert_eq!(other.displaced(), 1);
        assert_eq!(among(None, Ahead { calls: 3, ns: 4 * MS }), Some((Status::QueueFull, 42)));
        let session = |port: &mut Admission<'_>| port.session_room = 2;
        assert_eq!(
            (told(None, none, session), told(None, two, session)),
            (None, Some((Status::SessionLimit, 42)))
        );
        let heavy = |port: &mut Admission<'_>| port.buffers_full = true;
        let short = |port: &mut Admission<'_>| (port.buffers_full, port.view) = (true, &Forecast::NONE);
        assert_eq!(
            (told(None, none, heavy), told(None, none, short)),
            (Some((Status::BuffersFull, 100)), Some((Status::BuffersFull, 100)))
        );
        let codel = |ms| move |port: &mut Admission<'_>| port.wait_max = Some(Duration::from_millis(ms));
        assert_eq!(
            (told(None, none, codel(40)), told(None, none, codel(39))),
            (None, Some((Status::Overloaded, 40)))
        );
        assert_eq!(told(Some(0), two, |port| port.draining = true), Some((Status::Draining, 1000)));
        assert_eq!(told(None, none, |port| port.methods = 0), Some((Status::UnknownMethod, 0)));
    }
}
