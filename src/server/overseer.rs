//! The server as an administrator meets it: takes pictures of it, each second by a thread of its own.
//!
//! Knows all parts of a running server. Asks no listener and no worker for a picture, so it works when all of them are
//! stuck. The thread sleeps but for one look a second.

use super::door::Door;
use super::machine;
use super::note::Note;
use super::sessions::Registry;
use crate::config::Config;
use crate::insight::{
    Answers, Change, Cpu, Guest, House, Insight, MethodPicture, Permits, Picture, PortPicture, SessionCounts,
    SessionPicture, SlowCall, Whose, WorkerPicture, Workers,
};
use crate::pool::{CrewCount, PortShared, Shared};
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
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
    note: Note,
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
            note: Note::beside(config.file.as_deref()),
        }
    }

    /// The server takes no more calls.
    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn port(&self, port: &OverseenPort, crew: CrewCount, now: Instant) -> PortPicture {
        let OverseenPort { name, address, shared } = port;
        let stats = &shared.stats;
        let method = |(number, stats): (u16, &crate::stats::MethodStats)| MethodPicture {
            name: Arc::clone(&self.methods[usize::from(number) - 1]),
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
            methods: shared.methods.called().map(method).collect(),
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

impl House for Overseer {
    fn workers(&self) -> Vec<WorkerPicture> {
        Vec::new()
    }

    fn slow_calls(&self) -> Vec<SlowCall> {
        Vec::new()
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

    fn recall(&self) -> Option<String> {
        self.note.read()
    }

    fn remember(&self, note: Option<&str>) {
        self.note.write(note);
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
