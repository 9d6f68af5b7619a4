//! What is measured of a server at one instant: plain data. Counts are since the start, gauges of the instant.
//!
//! Made by the server, in a fraction of a millisecond and without asking its listeners and workers.

use crate::metrics::{CloseReason, Distribution, Parts, PortCounts};
use crate::service::{ClientId, Status};
use crate::sync::Arc;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// A whole server.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken.
    pub taken: Instant,
    /// The time of day when the server started.
    pub started: SystemTime,
    /// Since the server started.
    pub uptime: Duration,
    /// The server stops: it takes no more calls.
    pub draining: bool,
    /// Processors.
    pub cpu: Cpu,
    /// Permits.
    pub permits: Permits,
    /// Sessions.
    pub sessions: SessionCounts,
    /// Connections open, over all ports, and those that there can be (`None` without end).
    pub connections: (u64, Option<u64>),
    /// Of the addresses refused for connecting too often the one that did so most of late, and how often in its minute.
    pub connects_most: Option<(ClientId, u32)>,
    /// Lines about clients that were left out of the log.
    pub log_left_out: u64,
    /// Bytes of all buffers, and of the most there may be.
    pub buffer_bytes: (u64, u64),
    /// The ports, in the order of the INI.
    pub ports: Vec<PortSnapshot>,
}

/// Use of the processors.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Processors this process may use.
    pub cores: u32,
    /// Time this process has used, over all processors.
    pub used: Duration,
    /// Time that all processors of the machine together had nothing to do, and time that its host took away; `None`
    /// where the system does not say.
    pub idle_and_stolen: Option<(Duration, Duration)>,
    /// Time that threads of this process were ready to run and had no processor, added up; `None` where the system does
    /// not say, and while no more handlers run than there are processors.
    pub wanted: Option<Duration>,
}

/// The throttle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permits {
    /// `Server_Max_Concurrent_Trans`; `None` is unlimited.
    pub limit: Option<u32>,
    /// Out now.
    pub out: u32,
    /// The most that were ever out.
    pub peak: u32,
}

/// The sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionCounts {
    /// Now.
    pub open: u64,
    /// Of them those that clients opened; the others are of connections.
    pub opened: u64,
    /// The most there ever were.
    pub peak: u64,
    /// Closed by `Server_Session_Timeout`.
    pub timed_out: u64,
    /// Closed by `Server_MaxSessions`, or to make room under `Server_MaxUsers`.
    pub displaced: u64,
    /// New ones are refused by `Server_Restricted`.
    pub restricted: bool,
    /// `Server_MaxUsers`, of connections and of opened sessions each; `None` is no limit.
    pub max: Option<u64>,
}

impl SessionCounts {
    /// Of what `max` bounds, connections and opened sessions, that of which there is more.
    pub fn fullest(&self) -> u64 {
        self.opened.max(self.open - self.opened)
    }
}

/// One port.
#[derive(Debug, Clone)]
pub struct PortSnapshot {
    /// Its name in `Ports`.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// It takes connections and calls.
    pub open: bool,
    /// What its workers do.
    pub workers: Workers,
    /// Calls that wait.
    pub waiting: u64,
    /// `Server_Queue_Limit`.
    pub queue_limit: u64,
    /// Calls admitted and not yet answered.
    pub in_flight: u64,
    /// Connections open.
    pub connections: u64,
    /// For how long calls waited and a worker was idle, but there was no permit for it.
    pub without_permit: Duration,
    /// Calls that arrived whole.
    pub calls: u64,
    /// Answers made.
    pub answers: AnswerCounts,
    /// Connections closed, by [`CloseReason::index`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Its other counters.
    pub counters: PortCounts,
    /// Methods that were called, in the order of their numbers: what an earlier snapshot has of them comes in the same
    /// order.
    pub methods: Vec<MethodSnapshot>,
}

/// What a port's workers do: how many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workers {
    /// Sleep.
    pub idle: u32,
    /// Hold a permit.
    pub running: u32,
    /// Run a handler that waits and has given its permit back.
    pub blocked: u32,
    /// Run a handler that has waited and stands in line for a permit.
    pub returning: u32,
}

impl Workers {
    /// All of them.
    pub fn total(self) -> u32 {
        self.idle + self.running + self.blocked + self.returning
    }
}

/// Answers by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerCounts(pub [u64; Status::ALL.len()]);

impl AnswerCounts {
    /// With this status.
    pub fn with(&self, status: Status) -> u64 {
        self.0[status.index()]
    }

    /// All.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that are not a result, an application's own errors included.
    pub fn errors(&self) -> u64 {
        self.all() - self.with(Status::Ok)
    }

    /// Those for calls that were not begun, save those that nobody wanted any more: their callers had cancelled them or
    /// hung up.
    pub fn refused(&self) -> u64 {
        let refusal = |status: &Status| status.never_started() && *status != Status::Cancelled;
        Status::ALL.into_iter().filter(refusal).map(|status| self.with(status)).sum()
    }

    /// Those given since `earlier`.
    pub fn since(&self, earlier: &AnswerCounts) -> AnswerCounts {
        AnswerCounts(std::array::from_fn(|index| self.0[index].saturating_sub(earlier.0[index])))
    }

    /// Those of another too.
    pub fn add(&mut self, other: &AnswerCounts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

/// One method of a port.
#[derive(Debug, Clone)]
pub struct MethodSnapshot {
    /// `service.method`.
    pub name: Arc<str>,
    /// Answers made.
    pub answers: AnswerCounts,
    /// Of those that ran.
    pub times: Parts<Distribution>,
    /// The three parts of each together.
    pub whole: Distribution,
}

/// One worker.
#[derive(Debug, Clone)]
pub struct WorkerSnapshot {
    /// Its port.
    pub port: Arc<str>,
    /// Its number there, from 1.
    pub worker: usize,
    /// What it runs; `None` while it sleeps, or is between two transactions.
    pub task: Option<Task>,
}

/// What a worker is about.
#[derive(Debug, Clone)]
pub struct Task {
    /// What the handler does.
    pub state: HandlerState,
    /// For how long it has done so.
    pub since: Duration,
    /// `service.method`.
    pub method: Arc<str>,
    /// Whose call it is.
    pub peer: SocketAddr,
    /// The caller's number for it.
    pub call: u64,
    /// Number of its session on the connection.
    pub session: u32,
    /// For how long it has run, its waits included.
    pub ran: Duration,
    /// How long its caller still waits; negative when it no longer does, `None` without end.
    pub left_ms: Option<i64>,
    /// Of a nested call: the methods it is made for, the outermost first.
    pub chain: Vec<String>,
}

/// What a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerState {
    /// Runs, with a permit.
    Running,
    /// Waits, without one.
    Blocked,
    /// Has waited, and stands in line for one.
    Returning,
}

/// One of the slowest calls of a method.
#[derive(Debug, Clone)]
pub struct SlowCallInfo {
    /// Its port.
    pub port: Arc<str>,
    /// `service.method`.
    pub method: Arc<str>,
    /// How long ago it was answered.
    pub ago: Duration,
    /// Where its time went.
    pub times: Parts<Duration>,
    /// Whose call it was.
    pub peer: SocketAddr,
    /// The caller's number for it.
    pub call: u64,
    /// How it was answered.
    pub status: Status,
    /// Of a nested call: the methods it was made for, the outermost first.
    pub chain: Vec<String>,
}

impl SlowCallInfo {
    /// All of its time.
    pub fn total(&self) -> Duration {
        self.times.queue_wait + self.times.permit_wait + self.times.run
    }
}

/// One connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its port.
    pub port: Arc<str>,
    /// Names it while it lasts: no two connections of a port have had the same.
    pub id: u64,
    /// Whose it is.
    pub peer: SocketAddr,
    /// How long it has lasted.
    pub age: Duration,
    /// Since it last sent something.
    pub idle: Duration,
    /// Calls it has made.
    pub calls: u64,
    /// Calls of it admitted and not yet answered.
    pub in_flight: u64,
    /// Bytes of memory it holds.
    pub bytes: u64,
    /// Sessions it carries, its own included.
    pub sessions: u64,
}

/// One session.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// Names it while the server lasts.
    pub id: u64,
    /// What its client calls itself; empty where that is not kept.
    pub client: String,
    /// Whose it is.
    pub peer: SocketAddr,
    /// How long it has lasted.
    pub age: Duration,
    /// Since it was last used.
    pub idle: Duration,
    /// Calls it has made.
    pub calls: u64,
    /// A connection carries it; `false` while its client is away.
    pub carried: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wanted_any_more_was_not_refused() {
        let mut answers = AnswerCounts::default();
        for (status, count) in [(Status::Ok, 1), (Status::Cancelled, 5), (Status::QueueFull, 2)] {
            answers.0[status.index()] = count;
        }
        assert_eq!((answers.all(), answers.refused(), answers.with(Status::Cancelled)), (8, 2, 5));
    }
}
