//! The server as an administrator meets it: takes snapshots of it, each second by a thread of its own.
//!
//! Knows all parts of a running server. Asks no listener and no worker for a snapshot, so it works when all of them are
//! stuck. The thread sleeps but for one look a second. What an administrator does, not only sees, is in the files
//! below: ports, settings, and what the program around the server has given for it.

mod hooks;
mod ports;
mod settings;
mod settings_file;

pub(super) use hooks::Program;

use super::connection_limiter::ConnectionLimiter;
use super::listener::{ListenerCommand, ListenerHandle};
use super::machine;
use super::sessions::Registry;
use super::shutdown::Shutdown;
use super::verdict_file::{VerdictFile, WriterThread};
use crate::admission::ReceivedChain;
use crate::config::Config;
use crate::monitor::{
    AnswerCounts, ConnectionFilter, ConnectionInfo, ControlError, Cpu, HandlerState, MethodSnapshot, Permits,
    PortSnapshot, ServerControl, ServerMonitor, SessionCounts, SessionSnapshot, SettingChange, SlowCallInfo,
    Snapshot, Task, WorkerSnapshot, Workers,
};
use crate::pool::{self, Activity, PortShared, Progress, Shared, WorkerCounts};
use crate::service::LogLimiter;
use crate::sync::{Arc, Condvar, Mutex};
use ports::ManagedPort;
use settings::LiveSettings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct LiveControl {
    shared: Arc<Shared>,
    connection_limiter: Arc<ConnectionLimiter>,
    sessions: Arc<Registry>,
    ports: Vec<ManagedPort>,
    /// Names of the methods, by number less one.
    methods: Vec<Arc<str>>,
    settings: LiveSettings,
    program: Program,
    started: Instant,
    started_at: SystemTime,
    note: VerdictFile,
}

impl LiveControl {
    pub(super) fn new<'a>(
        shared: Arc<Shared>,
        (connection_limiter, sessions): (Arc<ConnectionLimiter>, Arc<Registry>),
        ports: impl Iterator<Item = (&'a Arc<PortShared>, Arc<[SocketAddr]>, &'a Arc<ListenerHandle>)>,
        config: &Config,
        program: Program,
    ) -> LiveControl {
        let port =
            |(shared, addresses, listener): (&Arc<PortShared>, Arc<[SocketAddr]>, &Arc<ListenerHandle>)| {
                ManagedPort {
                    name: shared.name.as_str().into(),
                    addresses,
                    shared: Arc::clone(shared),
                    listener: Arc::clone(listener),
                }
            };
        let name = |number| shared.services.name(number).into();
        LiveControl {
            ports: ports.map(port).collect(),
            methods: (1..=shared.services.len() as u16).map(name).collect(),
            shared,
            connection_limiter,
            sessions,
            settings: LiveSettings::new(config),
            program,
            started: Instant::now(),
            started_at: SystemTime::now(),
            note: VerdictFile::beside(config.file.as_deref()),
        }
    }

    /// Begins to keep what is to outlast a restart; `None` for a server without a settings file.
    ///
    /// # Errors
    /// The system would not make a thread.
    pub(super) fn keep_note(&self) -> std::io::Result<Option<WriterThread>> {
        self.note.keep()
    }

    fn method(&self, number: u16) -> Arc<str> {
        Arc::clone(&self.methods[usize::from(number) - 1])
    }

    fn task(&self, progress: Progress, now: Instant) -> Task {
        let Progress { call, peer, ran, activity, since, chain } = progress;
        let left = |deadline: Instant| match deadline.checked_duration_since(now) {
            Some(left) => left.as_millis() as i64,
            None => -(now.saturating_duration_since(deadline).as_millis() as i64),
        };
        Task {
            state: match activity {
                Activity::Running => HandlerState::Running,
                Activity::Blocked => HandlerState::Blocked,
                Activity::Returning => HandlerState::Returning,
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

    fn port(&self, port: &ManagedPort, crew: WorkerCounts, config: &Config, now: Instant) -> PortSnapshot {
        let ManagedPort { name, addresses, shared, listener } = port;
        let stats = &shared.stats;
        shared.slow.expire(now);
        shared.codel.check_idle(now);
        let method = |(number, stats): (u16, &crate::metrics::MethodStats)| MethodSnapshot {
            name: self.method(number),
            answers: AnswerCounts(stats.answers.counts()),
            times: stats.distributions(),
            whole: stats.whole.distribution(),
        };
        PortSnapshot {
            name: Arc::clone(name),
            address: addresses[0],
            open: listener.shutdown() == Shutdown::No,
            workers: workers(crew),
            waiting: shared.queue.len() as u64,
            queue_limit: config.queue_limit.value.into(),
            in_flight: shared.queue.in_flight() as u64,
            connections: stats.open(),
            without_permit: Duration::from_micros(shared.queue.permit_clock().read_us(now)),
            calls: stats.calls.get(),
            answers: AnswerCounts(stats.answers.counts()),
            closed: stats.closed.counts(),
            counters: stats.counts(),
            methods: shared.method_stats().called().map(method).collect(),
        }
    }
}

fn workers(crew: WorkerCounts) -> Workers {
    let count = |count: usize| count as u32;
    let WorkerCounts { idle, running, blocked, returning } = crew;
    Workers {
        idle: count(idle),
        running: count(running),
        blocked: count(blocked),
        returning: count(returning),
    }
}

/// The methods of a chain, the outermost first.
fn names(chain: Option<&ReceivedChain>) -> Vec<String> {
    chain.map_or_else(Vec::new, ReceivedChain::names)
}

impl ServerControl for LiveControl {
    fn is_draining(&self) -> bool {
        self.ports.iter().any(|port| port.listener.shutdown().is_of_server())
    }

    fn workers(&self) -> Vec<WorkerSnapshot> {
        let now = Instant::now();
        let of_port = |port: &ManagedPort| -> Vec<WorkerSnapshot> {
            let worker = |(progress, worker): (Option<Progress>, usize)| WorkerSnapshot {
                port: Arc::clone(&port.name),
                worker,
                task: progress.map(|progress| self.task(progress, now)),
            };
            port.shared.progress(now).zip(1..).map(worker).collect()
        };
        self.ports.iter().flat_map(of_port).collect()
    }

    fn slow_calls(&self) -> Vec<SlowCallInfo> {
        let now = Instant::now();
        let of_port = |port: &ManagedPort| -> Vec<SlowCallInfo> {
            let slow = |(method, call): (u16, pool::SlowCall)| SlowCallInfo {
                port: Arc::clone(&port.name),
                method: self.method(method),
                ago: now.saturating_duration_since(call.answered),
                times: call.times,
                peer: call.peer,
                call: call.call,
                status: call.status,
                chain: names(call.chain.as_deref()),
            };
            port.shared.slow.expire(now);
            port.shared.slow.all().into_iter().map(slow).collect()
        };
        let mut calls: Vec<SlowCallInfo> = self.ports.iter().flat_map(of_port).collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.total()));
        calls
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListConnections)
    }

    fn callers(&self) -> Vec<ConnectionInfo> {
        self.list_connections(ListenerCommand::ListCallers)
    }

    fn sessions(&self) -> Vec<SessionSnapshot> {
        self.sessions.snapshots(Instant::now())
    }

    fn close_connections(&self, which: &ConnectionFilter) -> usize {
        self.close_selected(which)
    }

    fn drop_sessions(&self, which: &ConnectionFilter) -> usize {
        self.drop_selected_sessions(which)
    }

    fn stop_port(&self, port: &str) -> Result<(), ControlError> {
        self.stop_one(port).map_err(ControlError::InvalidSetting)
    }

    fn start_port(&self, port: &str) -> Result<(), ControlError> {
        self.start_one(port).map_err(ControlError::InvalidSetting)
    }

    fn set(&self, key: &str, value: &str) -> Result<SettingChange, ControlError> {
        self.change(key, value).map_err(ControlError::InvalidSetting)
    }

    fn config(&self) -> Config {
        self.settings.effective()
    }

    fn at_restart(&self) -> BTreeMap<String, String> {
        self.settings.at_restart()
    }

    fn tell(&self, service: &str, order: &str) -> Result<String, ControlError> {
        self.program.tell(service, order).map_err(ControlError::InvalidSetting)
    }

    fn quit(&self) -> Result<(), ControlError> {
        if self.is_draining() {
            return Err(ControlError::ShuttingDown);
        }
        self.program.quit().map_err(ControlError::InvalidSetting)
    }

    fn saved_verdict(&self) -> Option<String> {
        self.note.read()
    }

    fn save_verdict(&self, text: Option<&str>) {
        self.note.put(text);
    }

    fn snapshot(&self) -> Snapshot {
        let (now, throttle, config) = (Instant::now(), &self.shared.throttle, self.config());
        let (out, peak) = throttle.permits();
        let (timed_out, displaced) = self.sessions.dropped();
        let (most, restricted) = self.sessions.peak_and_restricted();
        let connections_max = self.connection_limiter.connections_max();
        let ports = self
            .ports
            .iter()
            .zip(throttle.worker_counts())
            .map(|(port, crew)| self.port(port, crew, &config, now));
        Snapshot {
            taken: now,
            started: self.started_at,
            uptime: now.saturating_duration_since(self.started),
            draining: self.is_draining(),
            cpu: Cpu {
                cores: machine::cpus(),
                used: machine::cpu_used(),
                idle_and_stolen: machine::cpu_idle_and_stolen(),
                // Only where it tells something: it is a file for each thread.
                wanted: (out > machine::cpus()).then(machine::cpu_wanted).flatten(),
            },
            permits: Permits { limit: throttle.limit(), out, peak },
            sessions: SessionCounts {
                open: self.sessions.len() as u64,
                opened: self.sessions.opened() as u64,
                peak: most,
                timed_out,
                displaced,
                restricted,
                max: config.max_users.value.map(u64::from),
            },
            connections: (
                self.connection_limiter.connections() as u64,
                (connections_max != usize::MAX).then_some(connections_max as u64),
            ),
            connects_most: self.connection_limiter.connects_most(),
            log_left_out: self.shared.services.log_limiter().suppressed(),
            buffer_bytes: (
                self.ports.iter().map(|port| port.shared.buffers.bytes() as u64).sum(),
                config.buffer_memory_bytes.value as u64,
            ),
            ports: ports.collect(),
        }
    }
}

/// The thread that looks. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Sampler {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// Goes after the thread, so that what the last look noted is written.
    _keeper: Option<WriterThread>,
}

impl Sampler {
    /// Begins to look; `keeper` writes what is noted. Tells of what is left out of the log.
    ///
    /// # Errors
    /// The system would not make a thread.
    pub(super) fn start(
        monitor: Arc<ServerMonitor>,
        log_limiter: Arc<LogLimiter>,
        keeper: Option<WriterThread>,
    ) -> std::io::Result<Sampler> {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&over);
        let run = move || {
            let (over, changed) = &*seen;
            let mut next = Instant::now();
            while !*over.lock() {
                // What goes wrong in a look must not end the looks: a panic is logged by the process's hook.
                if catch_unwind(AssertUnwindSafe(|| monitor.sample())).is_err() {
                    log::error!("the observer's look panicked; the next is in a second");
                }
                tell_of_left_out(&log_limiter, false);
                next = (next + LOOK).max(Instant::now());
                let mut over = over.lock();
                while !*over && !changed.wait_until(&mut over, next).timed_out() {}
            }
            tell_of_left_out(&log_limiter, true);
        };
        let thread = std::thread::Builder::new().name("observer".to_owned()).spawn(run)?;
        Ok(Sampler { over, thread: Some(thread), _keeper: keeper })
    }
}

fn tell_of_left_out(log_limiter: &LogLimiter, reloadable: bool) {
    if let Some(news) = log_limiter.take_report(Instant::now(), reloadable) {
        log::warn!("{news}");
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        *self.over.0.lock() = true;
        self.over.1.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the observer had panicked");
        }
    }
}
