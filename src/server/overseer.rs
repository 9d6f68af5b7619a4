//! The server as an administrator meets it: takes pictures of it, each second by a thread of its own.
//!
//! Knows all parts of a running server. Asks no listener and no worker for a picture, so it works when all of them are
//! stuck. The thread sleeps but for one look a second.

use super::door::Door;
use super::machine;
use super::sessions::Registry;
use crate::config::Config;
use crate::insight::{
    Answers, Change, Cpu, Guest, House, Insight, MethodPicture, Permits, Picture, PortPicture, SessionCounts,
    SessionPicture, SlowCall, Task, TaskState, Whose, WorkerPicture, Workers,
};
use crate::pool::{self, CrewCount, Doing, PortShared, Progress, Shared};
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use crate::wire::Chain;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Overseer {
    shared: Arc<Shared>,
    door: Arc<Door>,
    sessions: Arc<Registry>,
    ports: Vec<OverseenPort>,
    /// Names of the methods, by number less one.
    methods: Vec<Arc<str>>,
    config: Config,
    started: Instant,
    draining: AtomicBool,
}

#[derive(Debug)]
struct OverseenPort {
    name: Arc<str>,
    address: SocketAddr,
    shared: Arc<PortShared>,
}

impl Overseer {
    pub(super) fn new<'a>(
        shared: Arc<Shared>,
        (door, sessions): (Arc<Door>, Arc<Registry>),
        ports: impl Iterator<Item = (&'a Arc<PortShared>, SocketAddr)>,
        config: &Config,
    ) -> Overseer {
        let port = |(shared, address): (&Arc<PortShared>, SocketAddr)| OverseenPort {
            name: shared.name.as_str().into(),
            address,
            shared: Arc::clone(shared),
        };
        let name = |number| shared.services.name(number).into();
        Overseer {
            ports: ports.map(port).collect(),
            methods: (1..=shared.services.len() as u16).map(name).collect(),
            shared,
            door,
            sessions,
            config: config.clone(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
        }
    }

    /// The server takes no more calls.
    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn method(&self, number: u16) -> Arc<str> {
        Arc::clone(&self.methods[usize::from(number) - 1])
    }

    fn task(&self, progress: Progress, now: Instant) -> Task {
        let Progress { call, peer, ran, doing, since, chain } = progress;
        let left = |deadline: Instant| match deadline.checked_duration_since(now) {
            Some(left) => left.as_millis() as i64,
            None => -(now.saturating_duration_since(deadline).as_millis() as i64),
        };
        Task {
            state: match doing {
                Doing::Running => TaskState::Running,
                Doing::Blocked => TaskState::Blocked,
                Doing::Returning => TaskState::Returning,
            },
            since,
            method: self.method(call.method),
            peer,
            call: call.id,
            session: call.session,
            ran,
            left_ms: call.deadline.map(left),
            chain: names(chain.as_deref()),
        }
    }

    fn port(&self, port: &OverseenPort, crew: CrewCount, now: Instant) -> PortPicture {
        let OverseenPort { name, address, shared } = port;
        let stats = &shared.stats;
        shared.slow.forget(now);
        let method = |(number, stats): (u16, &crate::stats::MethodStats)| MethodPicture {
            name: self.method(number),
            answers: Answers(stats.answers.counts()),
            times: stats.distributions(),
        };
        PortPicture {
            name: Arc::clone(name),
            address: *address,
            open: !self.draining.load(Ordering::Relaxed),
            workers: workers(crew),
            waiting: shared.queue.len() as u64,
            queue_limit: self.config.queue_limit.value.into(),
            in_flight: shared.queue.in_flight() as u64,
            connections: stats.open(),
            without_permit: Duration::from_micros(shared.queue.permit_clock().read_us(now)),
            calls: stats.calls.get(),
            answers: Answers(stats.answers.counts()),
            closed: stats.closed.counts(),
            counters: stats.others(),
            methods: shared.gather().called().map(method).collect(),
        }
    }
}

fn workers(crew: CrewCount) -> Workers {
    let count = |count: usize| count as u32;
    let CrewCount { idle, running, blocked, returning } = crew;
    Workers {
        idle: count(idle),
        running: count(running),
        blocked: count(blocked),
        returning: count(returning),
    }
}

/// The methods of a chain, the outermost first.
fn names(chain: Option<&Chain>) -> Vec<String> {
    chain.map_or_else(Vec::new, |chain| chain.links.iter().map(|link| link.name.clone()).collect())
}

impl House for Overseer {
    fn workers(&self) -> Vec<WorkerPicture> {
        let now = Instant::now();
        let of_port = |port: &OverseenPort| -> Vec<WorkerPicture> {
            let worker = |(progress, worker): (Option<Progress>, usize)| WorkerPicture {
                port: Arc::clone(&port.name),
                worker,
                task: progress.map(|progress| self.task(progress, now)),
            };
            port.shared.workers(now).zip(1..).map(worker).collect()
        };
        self.ports.iter().flat_map(of_port).collect()
    }

    fn slow_calls(&self) -> Vec<SlowCall> {
        let now = Instant::now();
        let of_port = |port: &OverseenPort| -> Vec<SlowCall> {
            let slow = |(method, call): (u16, pool::SlowCall)| SlowCall {
                port: Arc::clone(&port.name),
                method: self.method(method),
                ago: now.saturating_duration_since(call.answered),
                times: call.times,
                peer: call.peer,
                call: call.call,
                status: call.status,
                chain: names(call.chain.as_deref()),
            };
            port.shared.slow.forget(now);
            port.shared.slow.all().into_iter().map(slow).collect()
        };
        let mut calls: Vec<SlowCall> = self.ports.iter().flat_map(of_port).collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.total()));
        calls
    }

    fn guests(&self) -> Vec<Guest> {
        Vec::new()
    }

    fn sessions(&self) -> Vec<SessionPicture> {
        Vec::new()
    }

    fn drop_guests(&self, _which: &Whose) -> usize {
        0
    }

    fn stop_port(&self, _port: &str) -> Result<(), String> {
        Err("not built yet".to_owned())
    }

    fn start_port(&self, _port: &str) -> Result<(), String> {
        Err("not built yet".to_owned())
    }

    fn set(&self, _key: &str, _value: &str) -> Result<Change, String> {
        Err("not built yet".to_owned())
    }

    fn config(&self) -> Config {
        self.config.clone()
    }

    fn tell(&self, _service: &str, _order: &str) -> Result<String, String> {
        Err("not built yet".to_owned())
    }

    fn quit(&self) -> Result<(), String> {
        Err("not built yet".to_owned())
    }

    fn picture(&self) -> Picture {
        let (now, throttle) = (Instant::now(), &self.shared.throttle);
        let (out, peak) = throttle.permits();
        let (timed_out, displaced) = self.sessions.dropped();
        let (most, restricted) = self.sessions.peak_and_restricted();
        let connections_max = self.door.connections_max();
        let ports = self.ports.iter().zip(throttle.crews()).map(|(port, crew)| self.port(port, crew, now));
        Picture {
            taken: now,
            uptime: now.saturating_duration_since(self.started),
            draining: self.draining.load(Ordering::Relaxed),
            cpu: Cpu {
                cores: machine::cpus(),
                used: machine::cpu_used(),
                idle_and_stolen: machine::cpu_idle_and_stolen(),
            },
            permits: Permits { limit: throttle.limit(), out, peak },
            sessions: SessionCounts {
                open: self.sessions.len() as u64,
                peak: most,
                timed_out,
                displaced,
                restricted,
                max: self.config.max_users.value.map(u64::from),
            },
            connections: (
                self.door.connections() as u64,
                (connections_max != usize::MAX).then_some(connections_max as u64),
            ),
            buffer_bytes: (
                self.ports.iter().map(|port| port.shared.buffers.bytes() as u64).sum(),
                self.config.buffer_memory_bytes.value as u64,
            ),
            ports: ports.collect(),
        }
    }
}

/// The thread that looks. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Observer {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Begins to look.
    ///
    /// # Errors
    /// The system would not make a thread.
    pub(super) fn start(insight: Arc<Insight>) -> std::io::Result<Observer> {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&over);
        let run = move || {
            let (over, changed) = &*seen;
            let mut next = Instant::now();
            while !*over.lock() {
                insight.look();
                next = (next + LOOK).max(Instant::now());
                let mut over = over.lock();
                while !*over && !changed.wait_until(&mut over, next).timed_out() {}
            }
        };
        let thread = std::thread::Builder::new().name("observer".to_owned()).spawn(run)?;
        Ok(Observer { over, thread: Some(thread) })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        *self.over.0.lock() = true;
        self.over.1.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the observer had panicked");
        }
    }
}
