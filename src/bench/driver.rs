//! The thread of a run: polls, reads, calls again; in an open loop at random arrival times.

use super::connection::{AnswerCheck, BenchConnection};
use super::plan::{Pacing, Plan, Target};
use super::report::{BenchReport, RunCounts, status_name};
use crate::service::Fault;
use crate::service::suggest::{nearest, suggestion};
use crate::tcp::refuse_own_end;
use crate::wire::body::{Hello, Welcome};
use crate::wire::limits::{CALL_PRELUDE_BYTES, CONTROL_BODY_BYTES_MAX, HEADER_BYTES};
use crate::wire::{CallPrelude, Codec, Flags, FrameKind, Header, Preface};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Token of the timer, beyond those of the connections.
const TIMER: Token = Token(usize::MAX);

/// Interval between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Smallest read buffer, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// Longest wait for outstanding answers after an open loop ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Runs a plan. `progress` is called now and then with the share of the run that is done, from 0 to 1, and the number
/// of calls answered so far. Blocks for warm-up and duration.
///
/// # Errors
/// [`BenchError`]; a connection lost later is counted, not an error.
pub fn run(plan: &Plan, progress: impl FnMut(f64, u64)) -> Result<BenchReport, BenchError> {
    Driver::connect(plan)?.run(progress)
}

/// State of a run.
struct Driver<'a> {
    plan: &'a Plan,
    poll: Poll,
    timer: OwnedFd,
    connections: Vec<BenchConnection>,
    template: Vec<u8>,
    answers: AnswerCheck,
    buffer: Vec<u8>,
    /// Next connection of the open loop.
    next_connection: usize,
}

impl<'a> Driver<'a> {
    /// Makes all connections and greets the server on each.
    fn connect(plan: &'a Plan) -> Result<Driver<'a>, BenchError> {
        let poll = Poll::new()?;
        // Nanoseconds matter in an open loop, and a poll's own time-out counts milliseconds.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let (mut connections, mut template, mut answers) = (Vec::new(), Vec::new(), AnswerCheck::Frames);
        for index in 0..plan.connections {
            let mut stream = TcpStream::connect(plan.address)?;
            refuse_own_end(&stream)?;
            stream.set_nodelay(true)?;
            (template, answers) = match &plan.target {
                Target::Raw { bytes } => (vec![b'x'; *bytes], AnswerCheck::Raw(*bytes)),
                Target::Method { name, codec, arguments } => {
                    let number = greet(&mut stream, name)?;
                    (call(number, *codec, arguments, plan.deadline), AnswerCheck::Frames)
                }
            };
            stream.set_nonblocking(true)?;
            let mut connection = BenchConnection::new(mio::net::TcpStream::from_std(stream));
            poll.registry().register(
                connection.stream(),
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            connections.push(connection);
        }
        let buffer = vec![0; BUFFER_BYTES.max(2 * (template.len() + HEADER_BYTES))];
        Ok(Driver { plan, poll, timer, connections, template, answers, buffer, next_connection: 0 })
    }

    fn run(mut self, mut progress: impl FnMut(f64, u64)) -> Result<BenchReport, BenchError> {
        let begin = Instant::now();
        let (counting, end) = (begin + self.plan.warm_up, begin + self.plan.warm_up + self.plan.duration);
        let mut count = RunCounts::new(counting);
        let mut arrivals = match self.plan.pace {
            Pacing::Open(rate) => Some(Arrivals::new(rate, begin, self.plan.seed)),
            Pacing::Closed(depth) => {
                self.fill(depth);
                None
            }
        };
        let mut events = Events::with_capacity(1024);
        let (mut reported, mut cpu, mut now) = (begin, 0.0, begin);
        while now < end {
            let wake = arrivals
                .as_ref()
                .map_or(end, |arrivals| arrivals.due().min(end))
                .min(reported + PROGRESS_INTERVAL);
            self.sleep_until(wake, now, &mut events)?;
            now = Instant::now();
            if cpu == 0.0 && now >= counting {
                cpu = cpu_us();
            }
            self.read_ready(&events, now >= counting, &mut count);
            if let Some(arrivals) = &mut arrivals {
                self.send_due(arrivals, now, counting, &mut count);
            }
            if now >= reported + PROGRESS_INTERVAL {
                reported = now;
                progress((now - begin).as_secs_f64() / (end - begin).as_secs_f64(), count.answered());
            }
        }
        let seconds = (now - counting).as_secs_f64();
        let cpu = cpu_us() - cpu;
        if arrivals.is_some() {
            self.await_last(&mut events, &mut count)?;
        }
        let unanswered = self.connections.iter().map(|connection| connection.outstanding() as u64).sum();
        count.lost = self.connections.iter().filter(|connection| connection.dead).count() as u64;
        let bytes = match &self.plan.target {
            Target::Raw { bytes } => *bytes,
            Target::Method { arguments, .. } => arguments.len(),
        };
        Ok(count.finish(seconds, self.connections.len(), bytes, unanswered, cpu))
    }

    /// Begins a closed loop.
    fn fill(&mut self, depth: usize) {
        for connection in &mut self.connections {
            let now = Instant::now();
            for _ in 0..depth {
                connection.call(&self.template, self.answers, now);
            }
            connection.flush();
        }
    }

    fn sleep_until(&mut self, wake: Instant, now: Instant, events: &mut Events) -> Result<(), BenchError> {
        let left = wake.saturating_duration_since(now);
        let timeout = if left.is_zero() { Some(Duration::ZERO) } else { None };
        if timeout.is_none() {
            let at = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(std::io::Error::from)?;
        }
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn read_ready(&mut self, events: &Events, counted: bool, count: &mut RunCounts) {
        for event in events {
            let Some(connection) =
                self.connections.get_mut(event.token().0).filter(|connection| !connection.dead)
            else {
                continue;
            };
            loop {
                let mut counted = counted.then_some(&mut *count);
                let (answered, more) = connection.read(self.answers, &mut self.buffer, &mut counted);
                if matches!(self.plan.pace, Pacing::Closed(_)) && answered > 0 {
                    let now = Instant::now();
                    for _ in 0..answered {
                        connection.call(&self.template, self.answers, now);
                    }
                }
                if !more || connection.dead {
                    break;
                }
            }
            connection.flush();
        }
    }

    /// Sends all calls that are due, over the connections in turn.
    fn send_due(&mut self, arrivals: &mut Arrivals, now: Instant, counting: Instant, count: &mut RunCounts) {
        while arrivals.due() <= now {
            let connection = &mut self.connections[self.next_connection];
            self.next_connection = (self.next_connection + 1) % self.plan.connections;
            if !connection.dead {
                connection.call(&self.template, self.answers, arrivals.due());
                connection.flush();
            }
            count.due += u64::from(arrivals.due() >= counting);
            arrivals.advance();
        }
    }

    fn await_last(&mut self, events: &mut Events, count: &mut RunCounts) -> Result<(), BenchError> {
        let end = Instant::now() + LAST_ANSWERS;
        while self.connections.iter().any(|connection| !connection.dead && connection.outstanding() > 0)
            && Instant::now() < end
        {
            self.sleep_until(end, Instant::now(), events)?;
            self.read_ready(events, true, count);
        }
        Ok(())
    }
}

/// Sends a Hello on a blocking connection and returns the method's number.
fn greet(stream: &mut TcpStream, method: &str) -> Result<u16, BenchError> {
    let failed = |error: &dyn std::fmt::Display| BenchError::Greeting(error.to_string());
    let mut body = Vec::new();
    Codec::Bincode
        .encode(&Hello { client: "boneyard bench".to_owned() }, &mut body)
        .map_err(|e| failed(&e))?;
    let header = Header {
        body_bytes: body.len() as u32,
        kind: FrameKind::Hello,
        flags: Flags::NONE,
        code: 0,
        call: 0,
    };
    stream.write_all(&[&Preface::OURS.write()[..], &header.write(), &body].concat())?;
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head)?;
    let header = Header::read(&head).map_err(|e| failed(&e))?;
    let is_answer = matches!(header.kind, FrameKind::Welcome | FrameKind::GoAway);
    if !is_answer || header.body_bytes as usize > CONTROL_BODY_BYTES_MAX {
        return Err(failed(&format!("a {:?} of {} bytes", header.kind, header.body_bytes)));
    }
    let mut body = vec![0; header.body_bytes as usize];
    stream.read_exact(&mut body)?;
    if header.kind == FrameKind::GoAway {
        let fault: Fault = Codec::Bincode.decode(&body).map_err(|e| failed(&e))?;
        return Err(refused(header.code, &fault));
    }
    let welcome: Welcome = Codec::Bincode.decode(&body).map_err(|e| failed(&e))?;
    let entry = welcome.methods.iter().find(|entry| entry.name == method);
    entry.map(|entry| entry.number).ok_or_else(|| {
        let names = welcome.methods.iter().map(|entry| entry.name.as_str());
        BenchError::UnknownMethod {
            name: method.to_owned(),
            nearest: nearest(method, names).map(str::to_owned),
        }
    })
}

/// The error for a GoAway in place of the Welcome.
fn refused(code: u16, Fault { retry_after_ms, message, .. }: &Fault) -> BenchError {
    let status = status_name(code);
    let later =
        if *retry_after_ms > 0 { format!("; try again in {retry_after_ms} ms") } else { String::new() };
    BenchError::Refused(format!("{status}: {message}{later}"))
}

fn call(number: u16, codec: Codec, arguments: &[u8], deadline: Option<Duration>) -> Vec<u8> {
    let deadline_ms =
        deadline.map_or(0, |deadline| u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX).max(1));
    let body_bytes = (CALL_PRELUDE_BYTES + arguments.len()) as u32;
    let header = Header { body_bytes, kind: FrameKind::Call, flags: codec.flags(), code: number, call: 0 };
    [&header.write()[..], &CallPrelude { session: 0, deadline_ms }.write(), arguments].concat()
}

fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Arrival times with exponential gaps, as of many independent callers.
#[derive(Debug)]
pub struct Arrivals {
    due: Instant,
    mean_ns: f64,
    state: u64,
}

impl Arrivals {
    /// `rate` arrivals a second, from `start`.
    pub fn new(rate: f64, start: Instant, seed: u64) -> Arrivals {
        // xorshift must not begin at 0.
        Arrivals { due: start, mean_ns: 1e9 / rate, state: seed | 1 }
    }

    /// Time at which the next call is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Moves on to the next call.
    pub fn advance(&mut self) {
        let gap = -self.uniform().ln() * self.mean_ns;
        self.due += Duration::from_nanos(gap as u64);
    }

    /// A random number in (0, 1], by Marsaglia's xorshift64.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }
}

/// Reason why a run has no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A connection could not be made or the poll failed.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The server has no such method.
    #[error("the server has no method {name:?}{}", suggestion(nearest.as_deref()))]
    UnknownMethod {
        /// The name asked for.
        name: String,
        /// The server's method with the most similar name, if one is similar.
        nearest: Option<String>,
    },
    /// The server refuses the connection, with its reason.
    #[error("the server takes no connection: {0}")]
    Refused(String),
    /// The server does not speak the protocol, or closed before its Welcome.
    #[error("the server's greeting: {0}")]
    Greeting(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential_with_the_rates_mean() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(10_000.0, start, 7);
        let gaps: Vec<f64> = (0..100_000)
            .map(|_| {
                let before = arrivals.due();
                arrivals.advance();
                (arrivals.due() - before).as_secs_f64()
            })
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-4).abs() < 2e-6, "mean gap {mean}");
        let longer = gaps.iter().filter(|gap| **gap > 1e-4).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1f64).exp()).abs() < 0.01, "{longer} of the gaps are longer than the mean");
    }
}
