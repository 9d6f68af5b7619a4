//! Whether a call is let in. Asked by the listener before a call's arguments are decoded; every "no" has its own
//! status, and a hint when to try again.
//!
//! Knows what the queue, the session and the server are like now; knows no sockets and no clock. Nothing is let in
//! that is certain or likely to be answered too late: what a busy server cannot do it says at once.

use super::forecast::{Forecast, would_be_late};
use crate::service::{Refusal, Status};
use crate::stats::Paces;
use crate::wire::Header;
use std::time::{Duration, Instant};

/// When a caller may find a server again that is stopping: it is most likely being started anew.
const RETURN_AFTER: Duration = Duration::from_secs(1);

/// What a port lets in.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// Is the server stopping?
    pub draining: bool,
    /// Highest method number.
    pub methods: u16,
    /// Calls the port's queue still takes.
    pub queue_room: usize,
    /// Calls this session may still have out before the next is refused.
    pub session_room: usize,
    /// What is ahead of the next call.
    pub forecast: Forecast,
    /// While the queue stands: the longest wait a call is let in for.
    pub wait_max: Option<Duration>,
    /// What each method costs.
    pub paces: &'a Paces,
}

/// What came before a call in the same read and was let in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ahead {
    pub(super) calls: usize,
    pub(super) ns: u64,
}

impl<'a> Admission<'a> {
    /// Lets everything in that names one of the methods.
    pub fn open(methods: u16, paces: &'a Paces) -> Admission<'a> {
        let forecast = Forecast::default();
        let (queue_room, session_room) = (usize::MAX, usize::MAX);
        Admission { draining: false, methods, queue_room, session_room, forecast, wait_max: None, paces }
    }

    /// Is there a reason to refuse this call now?
    pub(super) fn refusal(
        &self,
        header: &Header,
        deadline: Option<Instant>,
        now: Instant,
        ahead: Ahead,
    ) -> Option<Refusal> {
        if self.draining {
            return Some(refusal(Status::Draining).retry_after(RETURN_AFTER));
        }
        if header.code == 0 || header.code > self.methods {
            let message = format!("no method has number {}; see the Welcome's table", header.code);
            return Some(Refusal::new(Status::UnknownMethod, message));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Some(refusal(Status::DeadlineExceeded));
        }
        let wait = self.forecast.wait(ahead.ns);
        let status = if ahead.calls >= self.session_room {
            Status::SessionLimit
        } else if ahead.calls >= self.queue_room {
            Status::QueueFull
        } else {
            let run = Duration::from_nanos(self.paces.mean_ns(header.code).into());
            if left.is_some_and(|left| would_be_late(wait, run, left)) {
                Status::WouldBeLate
            } else if self.wait_max.is_some_and(|most| wait > most) {
                Status::Overloaded
            } else {
                return None;
            }
        };
        Some(refusal(status).retry_after(wait))
    }
}

fn refusal(status: Status) -> Refusal {
    Refusal::new(status, status.text())
}
