//! Snapshots: the measurements of a server at one instant, as plain data. Counts are since the start, gauges of the
//! instant.
//!
//! Made by the server in a fraction of a millisecond, without asking its listeners and workers.

use super::statistics::ServiceCounter;
use crate::metrics::{CloseReason, Distribution, Parts, PortCounts};
use crate::service::{ClientId, Status};
use crate::sync::Arc;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// A whole server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub taken: Instant,
    /// The time of day at which the server started.
    pub started: SystemTime,
    /// Time since the server started.
    pub uptime: Duration,
    /// The server is shutting down and admits no more calls.
    pub draining: bool,
    /// Use of the processors.
    pub cpu: Cpu,
    /// The throttle.
    pub permits: Permits,
    /// The sessions.
    pub sessions: SessionCounts,
    /// Connections open, over all ports, and the limit; `None` is no limit.
    pub connections: (u64, Option<u64>),
    /// Of the addresses refused for connecting too often, the one that did so most in its last minute, and how often.
    pub connects_most: Option<(ClientId, u32)>,
    /// Lines about clients that were left out of the log.
    pub log_left_out: u64,
    /// Runs of `Alarm_Command`.
    pub alarms: AlarmCounts,
    /// Bytes of all buffers, and the limit.
    pub buffer_bytes: (u64, u64),
    /// The limited methods, in the order of their numbers.
    pub limits: Vec<MethodLimitSnapshot>,
    /// The counters of the program, and the count of each.
    pub counters: Vec<(&'static ServiceCounter, u64)>,
    /// The ports, in the order of the INI.
    pub ports: Vec<PortSnapshot>,
}

/// The limit of a method, over all ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodLimitSnapshot {
    /// `service.method`.
    pub method: String,
    /// Calls that may run at once.
    pub run: u64,
    /// Calls that may wait for that.
    pub wait: u64,
    /// Calls that run.
    pub running: u64,
    /// Calls that wait for that, without a worker.
    pub waiting: u64,
    /// Calls refused so far because as many ran and waited as may.
    pub refused: u64,
}

/// Use of the processors.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Cpu {
    /// Processors this process may use.
    pub cores: u32,
    /// Time this process has used, over all processors.
    pub used: Duration,
    /// Time that all processors of the machine together were idle, and time that its host took away; `None` where the
    /// system does not say.
    pub idle_and_stolen: Option<(Duration, Duration)>,
    /// Time that threads of this process were ready to run and had no processor, added up; `None` where the system does
    /// not say, and while no more handlers run than there are processors.
    pub wanted: Option<Duration>,
}

/// The throttle.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Permits {
    /// `Server_Max_Concurrent_Trans`; `None` is unlimited.
    pub limit: Option<u32>,
    /// Permits out now.
    pub out: u32,
    /// Most permits that were ever out.
    pub peak: u32,
}

/// The sessions.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SessionCounts {
    /// Open now.
    pub open: u64,
    /// Of them those that clients opened; the others are the connections' own.
    pub opened: u64,
    /// Most that were ever open.
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
    /// The larger of the two that `max` limits: connections and opened sessions.
    pub fn fullest(&self) -> u64 {
        self.opened.max(self.open - self.opened)
    }
}

/// Runs of the program that is given alarms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlarmCounts {
    /// Times that it was run, or tried to.
    pub runs: u64,
    /// Of them those in which it did not start, ended with an error or was killed.
    pub failed: u64,
}

/// One port.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PortSnapshot {
    /// Its name in `Ports`.
    pub name: Arc<str>,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// It accepts connections and admits calls.
    pub open: bool,
    /// Its workers, by what they do.
    pub workers: Workers,
    /// Calls that wait for a worker or a permit.
    pub waiting: u64,
    /// `Server_Queue_Limit`.
    pub queue_limit: u64,
    /// Calls admitted and not yet answered.
    pub in_flight: u64,
    /// Workers whose handlers wait for the answer to a call that they made through the client library.
    pub in_calls: u64,
    /// Connections open.
    pub connections: u64,
    /// Time in which calls waited and a worker was idle, but there was no permit for it.
    pub without_permit: Duration,
    /// Calls that arrived whole.
    pub calls: u64,
    /// Answers made.
    pub answers: AnswerCounts,
    /// Connections closed, by [`CloseReason::index`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Its other counters.
    pub counters: PortCounts,
    /// Methods that were called, in the order of their numbers: an earlier snapshot has them in the same order.
    pub methods: Vec<MethodSnapshot>,
}

/// The workers of a port, by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Workers {
    /// Workers that sleep.
    pub idle: u32,
    /// Workers that hold a permit.
    pub running: u32,
    /// Workers whose handler waits and has returned its permit.
    pub blocked: u32,
    /// Workers whose handler has waited and is queued for a permit.
    pub returning: u32,
}

impl Workers {
    /// All workers.
    pub fn total(self) -> u32 {
        self.idle + self.running + self.blocked + self.returning
    }
}

/// Answers by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerCounts(pub [u64; Status::ALL.len()]);

impl AnswerCounts {
    /// Answers with this status.
    pub fn with(&self, status: Status) -> u64 {
        self.0[status.index()]
    }

    /// All answers.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Answers that are not a result, an application's own errors included.
    pub fn errors(&self) -> u64 {
        self.all() - self.with(Status::Ok)
    }

    /// Answers for calls that were not started, except those that their callers had cancelled, or whose callers had
    /// closed the connection. A handler that said that it was busy did run.
    pub fn refused(&self) -> u64 {
        let others = [Status::Cancelled, Status::ServiceBusy];
        let refusal = |status: &Status| status.never_started() && !others.contains(status);
        Status::ALL.into_iter().filter(refusal).map(|status| self.with(status)).sum()
    }

    /// Answers since `earlier`.
    pub fn since(&self, earlier: &AnswerCounts) -> AnswerCounts {
        AnswerCounts(std::array::from_fn(|index| self.0[index].saturating_sub(earlier.0[index])))
    }

    /// Adds the answers of another.
    pub fn add(&mut self, other: &AnswerCounts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

/// One method of a port.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MethodSnapshot {
    /// `service.method`.
    pub name: Arc<str>,
    /// Its calls that run now, and how long they have run so far, added up; both are in no other figure.
    pub running: (u32, Duration),
    /// Answers made.
    pub answers: AnswerCounts,
    /// Times of the calls that ran, by part.
    pub times: Parts<Distribution>,
    /// The three parts of each call together.
    pub whole: Distribution,
}

/// One worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Its port.
    pub port: Arc<str>,
    /// Its number there, from 1.
    pub worker: usize,
    /// The transaction that it runs; `None` while it sleeps, or is between two transactions.
    pub task: Option<Task>,
}

/// The transaction that a worker runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Task {
    /// State of the handler.
    pub state: HandlerState,
    /// State of its thread; `None` where that was not looked at, or is not known.
    pub thread: Option<ThreadState>,
    /// Time in this state.
    pub since: Duration,
    /// `service.method`.
    pub method: Arc<str>,
    /// Address of the caller.
    pub peer: SocketAddr,
    /// The caller's number for it.
    pub call: u64,
    /// Number of its session on the connection.
    pub session: u32,
    /// Time since it started, its waits included.
    pub ran: Duration,
    /// Time until its deadline; negative once that has passed, `None` without a deadline.
    pub left_ms: Option<i64>,
    /// Of a nested call: the methods it is made for, the outermost first.
    pub chain: Vec<String>,
}

/// State of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerState {
    /// It runs, with a permit.
    Running,
    /// It waits, without one.
    Blocked,
    /// It has waited, and is queued for one.
    Returning,
}

/// State of a thread, as the system tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadState {
    /// It runs on a processor.
    Processor,
    /// It is ready to run, and has no processor.
    Runnable,
    /// It waits for a lock or a condition.
    Lock {
        /// Address of what it waits at: threads at one address wait for one lock. Not to be shown: it would tell where
        /// the memory of the process is.
        address: u64,
    },
    /// It waits for a socket.
    Socket,
    /// It waits for a disk.
    Disk,
    /// It sleeps for a time.
    Sleep,
    /// It waits for something else.
    Other,
}

/// Without the address of a lock, which is for the process alone.
impl std::fmt::Display for ThreadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ThreadState::Processor => "processor",
            ThreadState::Runnable => "runnable",
            ThreadState::Lock { .. } => "lock",
            ThreadState::Socket => "socket",
            ThreadState::Disk => "disk",
            ThreadState::Sleep => "sleep",
            ThreadState::Other => "other",
        })
    }
}

/// One of the slowest calls of a method.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SlowCallInfo {
    /// Its port.
    pub port: Arc<str>,
    /// `service.method`.
    pub method: Arc<str>,
    /// How long ago it was answered.
    pub ago: Duration,
    /// Where its time went.
    pub times: Parts<Duration>,
    /// Address of the caller.
    pub peer: SocketAddr,
    /// The caller's number for it.
    pub call: u64,
    /// Status of the answer.
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
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its port.
    pub port: Arc<str>,
    /// Identifies it: no two connections of a port have had the same.
    pub id: u64,
    /// Address of the peer.
    pub peer: SocketAddr,
    /// Time since it was opened.
    pub age: Duration,
    /// Time since it last sent something.
    pub idle: Duration,
    /// Calls it has made.
    pub calls: u64,
    /// Its calls admitted and not yet answered.
    pub in_flight: u64,
    /// Bytes of memory that it holds.
    pub bytes: u64,
    /// Sessions on it, its own included.
    pub sessions: u64,
}

/// One session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Identifies it as long as the server runs.
    pub id: u64,
    /// The name that its client gave; empty where that is not kept.
    pub client: String,
    /// Address of the peer.
    pub peer: SocketAddr,
    /// Time since it was opened.
    pub age: Duration,
    /// Time since it was last used.
    pub idle: Duration,
    /// Calls it has made.
    pub calls: u64,
    /// It is attached to a connection; `false` while its client is away.
    pub attached: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_call_and_one_that_ran_were_not_refused() {
        let mut answers = AnswerCounts::default();
        let counts =
            [(Status::Ok, 1), (Status::Cancelled, 5), (Status::QueueFull, 2), (Status::ServiceBusy, 3)];
        for (status, count) in counts {
            answers.0[status.index()] = count;
        }
        assert_eq!((answers.all(), answers.refused(), answers.with(Status::Cancelled)), (11, 2, 5));
    }
}
