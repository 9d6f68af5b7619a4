//! A script of snapshots of a made server, a second apart.

use crate::config::Config;
use crate::metrics::{CloseReason, Histogram, Parts, PortCounts};
use crate::monitor::diagnose::diagnoser::Diagnoser;
use crate::monitor::diagnose::evidence::Observations;
use crate::monitor::looks::Looks;
use crate::monitor::sample_snapshots::{self, snapshot};
use crate::monitor::simulation::Recorder;
use crate::monitor::{
    AnswerCounts, ConnectionInfo, Cpu, HandlerState, History, Interval, MethodSnapshot, Permits,
    PortSnapshot, SessionCounts, Snapshot, ThreadState, Workers,
};
use crate::service::{ClientId, Status};
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Load of a port in a second.
#[derive(Clone, Default)]
pub(super) struct Port {
    pub(super) workers: u32,
    pub(super) busy: u32,
    pub(super) blocked: u32,
    pub(super) waiting: u64,
    pub(super) without_permit: f64,
    pub(super) queue_full: u64,
    pub(super) would_be_late: u64,
    pub(super) buffers_full: u64,
    pub(super) nested: u64,
    pub(super) session_limit: u64,
    pub(super) over_max_users: u64,
    pub(super) restricted: u64,
    pub(super) closed_for_buffers: u64,
    /// Of the busy ones, workers whose calls never end; all of them where no call does.
    pub(super) endless: u32,
    /// How often its queue was full.
    pub(super) queue_filled: u64,
    /// Method and state of the threads of its busy workers; asleep in its first method if none is given.
    pub(super) threads: Vec<(&'static str, ThreadState)>,
    /// Method, calls, and the time that each waits and runs, in seconds.
    pub(super) calls: Vec<(&'static str, u64, f64, f64)>,
}

impl Port {
    pub(super) fn of(workers: u32) -> Port {
        Port { workers, ..Port::default() }
    }

    pub(super) fn runs(mut self, method: &'static str, calls: u64, wait: f64, run: f64) -> Port {
        self.calls.push((method, calls, wait, run));
        self
    }
}

/// Ten workers, six of them busy; nearly nothing waits.
pub(super) fn busy() -> Port {
    Port { busy: 6, ..Port::of(10) }.runs("note.read", 600, 0.000_3, 0.01)
}

/// Load of a server in a second.
#[derive(Clone, Default)]
pub(super) struct Second {
    pub(super) out: u32,
    pub(super) used: f64,
    pub(super) idle: f64,
    pub(super) wanted: f64,
    pub(super) refused_descriptors: u64,
    pub(super) refused_connects: u64,
    pub(super) sessions: SessionCounts,
    pub(super) ports: Vec<Port>,
    pub(super) connections: Vec<ConnectionInfo>,
}

pub(super) fn connection(peer: &str, in_flight: u64) -> ConnectionInfo {
    ConnectionInfo {
        port: "TCPIP".into(),
        id: in_flight,
        peer: format!("{peer}:5000").parse().unwrap(),
        age: Duration::from_secs(600),
        idle: Duration::ZERO,
        calls: 0,
        in_flight,
        bytes: 0,
        sessions: 1,
    }
}

/// The counters so far.
pub(super) struct SnapshotScript {
    pub(super) config: Config,
    begun: Instant,
    seconds: u32,
    used: Duration,
    idle: Duration,
    wanted: Duration,
    refused: [u64; 2],
    closed: Vec<[u64; CloseReason::ALL.len()]>,
    filled: Vec<u64>,
    without_permit: Vec<Duration>,
    answers: Vec<AnswerCounts>,
    methods: Vec<BTreeMap<&'static str, (AnswerCounts, Parts<Histogram>)>>,
    /// Time that calls have run which never end.
    endless: Vec<Duration>,
    history: History,
    pub(super) looks: Looks,
    recorder: Recorder,
}

impl SnapshotScript {
    pub(super) fn new(ini: &str) -> SnapshotScript {
        let mut script = SnapshotScript {
            config: Config::default_with(2),
            begun: Instant::now(),
            seconds: 0,
            used: Duration::ZERO,
            idle: Duration::ZERO,
            wanted: Duration::ZERO,
            refused: [0; 2],
            closed: Vec::new(),
            filled: Vec::new(),
            without_permit: Vec::new(),
            answers: Vec::new(),
            methods: Vec::new(),
            endless: Vec::new(),
            history: History::default(),
            looks: Looks::default(),
            recorder: Recorder::default(),
        };
        script.set(ini);
        let ports = script.config.ports.len();
        script.without_permit.resize(ports, Duration::ZERO);
        script.answers.resize(ports, AnswerCounts::default());
        script.closed.resize(ports, Default::default());
        script.filled.resize(ports, 0);
        script.endless.resize(ports, Duration::ZERO);
        script.methods.resize_with(ports, BTreeMap::new);
        script
    }

    /// Other settings, from now on.
    pub(super) fn set(&mut self, ini: &str) {
        self.config = Config::from_text(ini, None, 2).unwrap_or_else(|errors| panic!("{errors}"));
    }

    /// Adds a first call of the method that ran alone, for this time.
    pub(super) fn having_run(mut self, method: &'static str, run: f64) -> SnapshotScript {
        self.ran(0, &(method, 1, 0.0, run));
        self
    }

    fn ran(&mut self, port: usize, (method, calls, wait, run): &(&'static str, u64, f64, f64)) {
        let (answers, times) = self.methods[port].entry(method).or_default();
        for _ in 0..*calls {
            times.queue_wait.add(Duration::from_secs_f64(wait / 10.0));
            times.permit_wait.add(Duration::from_secs_f64(wait * 0.9));
            times.run.add(Duration::from_secs_f64(*run));
        }
        answers.0[Status::Ok.index()] += calls;
        self.answers[port].0[Status::Ok.index()] += calls;
    }

    /// Lets a second pass, has it judged, and returns the log lines.
    pub(super) fn sample(&mut self, diagnoser: &mut Diagnoser, second: &Second) -> Vec<String> {
        self.update(diagnoser, second).1
    }

    /// The same, with the text to save.
    pub(super) fn update(
        &mut self,
        diagnoser: &mut Diagnoser,
        second: &Second,
    ) -> (Option<Option<String>>, Vec<String>) {
        let snapshot = self.pass(second);
        let now = snapshot.taken;
        self.history.add(Arc::new(snapshot));
        let connections = diagnoser.wants_connections(now).then(|| second.connections.clone());
        let snapshots = self.history.snapshots();
        self.look(now, second);
        if let Some(step) = Interval::of(&snapshots[snapshots.len().saturating_sub(2)..])
            && self.recorder.add(&step, &|port, method| self.looks.of(port, method))
        {
            self.looks.clear();
        }
        let workload = diagnoser.recent().and_then(|recent| self.recorder.workload(recent));
        let observed = Observations { looks: &self.looks, workload: workload.as_ref() };
        let news = diagnoser.update(&snapshots, &self.config, connections, observed);
        let logged = news.logged().into_iter().map(str::to_owned).collect();
        (news.to_save, logged)
    }

    /// Looks at the threads of the busy workers.
    fn look(&mut self, now: Instant, second: &Second) {
        let mut workers = Vec::new();
        for (index, port) in second.ports.iter().enumerate() {
            let method = port.calls.first().map_or("stuck.call", |(method, ..)| method);
            let asleep = vec![(method, ThreadState::Sleep); port.busy as usize];
            let threads = if port.threads.is_empty() { &asleep } else { &port.threads };
            let name = &self.config.ports[index].name;
            let state = |at: usize| match at < port.blocked as usize {
                true => HandlerState::Blocked,
                false => HandlerState::Running,
            };
            let worker = |(at, (method, thread)): (usize, &(&str, ThreadState))| {
                sample_snapshots::worker(name, method, state(at), *thread)
            };
            workers.extend(threads.iter().enumerate().map(worker));
        }
        self.looks.add(now, &workers);
    }

    /// Lets seconds pass in which nothing happens and no sample is taken.
    pub(super) fn rest(&mut self, seconds: u32) {
        self.seconds += seconds;
    }

    /// The interval of such a second.
    pub(super) fn interval(&mut self, second: &Second) -> (Arc<Snapshot>, Interval) {
        let snapshots = [self.pass(second), self.pass(second)].map(Arc::new);
        let interval = Interval::of(&snapshots).expect("two snapshots make an interval");
        (Arc::clone(&snapshots[1]), interval)
    }

    fn pass(&mut self, second: &Second) -> Snapshot {
        self.seconds += 1;
        self.used += Duration::from_secs_f64(second.used);
        self.idle += Duration::from_secs_f64(second.idle);
        self.wanted += Duration::from_secs_f64(second.wanted);
        self.refused[0] += second.refused_descriptors;
        self.refused[1] += second.refused_connects;
        for (index, port) in second.ports.iter().enumerate() {
            port.calls.iter().for_each(|calls| self.ran(index, calls));
            let endless = if port.calls.is_empty() { port.busy } else { port.endless };
            self.endless[index] += Duration::from_secs(endless.into());
            self.without_permit[index] += Duration::from_secs_f64(port.without_permit);
            let refusals = [
                (Status::QueueFull, port.queue_full),
                (Status::WouldBeLate, port.would_be_late),
                (Status::BuffersFull, port.buffers_full),
                (Status::NestedDeadlock, port.nested),
                (Status::SessionLimit, port.session_limit),
            ];
            let first = port.calls.first().map(|(method, ..)| *method);
            for (status, count) in refusals.into_iter().filter(|(_, count)| *count > 0) {
                self.answers[index].0[status.index()] += count;
                if let Some(method) = first {
                    self.methods[index].entry(method).or_default().0.0[status.index()] += count;
                }
            }
            self.closed[index][CloseReason::MaxUsers.index()] += port.over_max_users;
            self.closed[index][CloseReason::Restricted.index()] += port.restricted;
            self.closed[index][CloseReason::BuffersFull.index()] += port.closed_for_buffers;
            self.filled[index] += port.queue_filled;
        }
        let uptime = Duration::from_secs(self.seconds.into());
        let limit = self.config.max_concurrent_trans.value.count();
        let ports = second.ports.iter().enumerate().map(|(index, port)| self.port(index, port)).collect();
        Snapshot {
            cpu: Cpu {
                cores: 2,
                used: self.used,
                idle_and_stolen: Some((self.idle, Duration::ZERO)),
                wanted: Some(self.wanted),
            },
            permits: Permits { limit, out: second.out, peak: second.out },
            sessions: second.sessions,
            connections: (100, Some(100)),
            connects_most: Some((ClientId::of(Ipv4Addr::new(192, 0, 2, 7).into()), 90)),
            buffer_bytes: (0, 1),
            ..snapshot(self.begun, uptime, ports)
        }
    }

    fn port(&self, index: usize, port: &Port) -> PortSnapshot {
        let method = |(name, (answers, times)): (&&str, &(AnswerCounts, Parts<Histogram>))| MethodSnapshot {
            name: (*name).into(),
            running: Default::default(),
            answers: *answers,
            times: times.map(Histogram::distribution),
            whole: times.run.distribution(),
        };
        let endless = MethodSnapshot {
            running: (port.busy, self.endless[index]),
            ..sample_snapshots::method("stuck.call", &[])
        };
        let [descriptors, connects] = if index == 0 { self.refused } else { [0; 2] };
        PortSnapshot {
            workers: Workers {
                idle: port.workers - port.busy,
                running: port.busy - port.blocked,
                blocked: port.blocked,
                returning: 0,
            },
            waiting: port.waiting,
            queue_limit: self.config.queue_limit.value.into(),
            in_flight: u64::from(port.busy) + port.waiting,
            connections: 100,
            without_permit: self.without_permit[index],
            calls: self.answers[index].all(),
            answers: self.answers[index],
            closed: self.closed[index],
            counters: PortCounts {
                refused_descriptors: descriptors,
                refused_connects: connects,
                queue_filled: self.filled[index],
                ..PortCounts::default()
            },
            methods: self.methods[index].iter().map(method).chain([endless]).collect(),
            ..sample_snapshots::port(&self.config.ports[index].name)
        }
    }
}
