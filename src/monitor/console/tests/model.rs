//! A made server, for the console to show.

use crate::config::Config;
use crate::metrics::{CloseReason, Histogram, Parts, PortCounts};
use crate::monitor::sample_snapshots::snapshot;
use crate::monitor::{
    AnswerCounts, ConnectionFilter, ConnectionInfo, ControlError, Cpu, HandlerState, MethodLimitSnapshot,
    MethodSnapshot, Permits, PortSnapshot, ServerControl, ServerMonitor, SessionCounts, SessionSnapshot,
    SettingChange, SlowCallInfo, Snapshot, Task, ThreadState, WorkerSnapshot, Workers,
};
use crate::service::Status;
use crate::sync::unordered::AtomicU64;
use crate::sync::{Arc, Mutex, Ordering};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const INI: &str = "Ports=TCPIP,LAN2\nTCPIP_TCPIPAddress=0,127.0.0.1:1352\nLAN2_TCPIPAddress=0,127.0.0.1:1452\n\
                   DisabledPorts=OLD\nOLD_TCPIPAddress=0,127.0.0.1:1552\nServer_Max_Concurrent_Trans=8\n\
                   Server_Pool_Tasks=10\n";

/// A server of two ports. The test moves its clock, and each second 8 calls of `notes.open` and 2 of
/// `notes.search` are answered at the first.
#[derive(Debug)]
pub(super) struct Model {
    began: Instant,
    seconds: AtomicU64,
    config: Config,
    pub(super) done: Mutex<Vec<String>>,
}

impl Model {
    pub(super) fn monitor() -> (Arc<Model>, ServerMonitor) {
        let config = Config::from_text(INI, Some(Path::new("/etc/boneyard/server.ini")), 2).unwrap();
        let (began, seconds) = (Instant::now(), AtomicU64::new(0));
        let model = Arc::new(Model { began, seconds, config, done: Mutex::default() });
        let monitor = ServerMonitor::new(Arc::clone(&model) as _, "Boneyard 0.1.0");
        model.run(&monitor, 100);
        (model, monitor)
    }

    /// Lets seconds pass, with a sample in each.
    pub(super) fn run(&self, monitor: &ServerMonitor, seconds: u64) {
        for _ in 0..seconds {
            self.seconds.fetch_add(1, Ordering::Relaxed);
            monitor.sample();
        }
    }

    fn did(&self, what: String) {
        self.done.lock().push(what);
    }
}

fn method(name: &str, count: u64, wait: Duration, run: Duration) -> MethodSnapshot {
    let (times, mut answers) = (Parts::<Histogram>::default(), AnswerCounts::default());
    for n in 0..count {
        times.queue_wait.add(wait + Duration::from_micros(n % 20));
        times.permit_wait.add(Duration::from_micros(n % 10));
        times.run.add(run * (1 + (n % 5) as u32));
        answers.0[if n % 50 == 7 { Status::Application } else { Status::Ok }.index()] += 1;
    }
    MethodSnapshot {
        name: name.into(),
        running: Default::default(),
        answers,
        times: times.map(Histogram::distribution),
        whole: times.run.distribution(),
    }
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 50_000 + u16::from(last)))
}

fn port(name: &str, tcp: u16, workers: Workers, methods: Vec<MethodSnapshot>) -> PortSnapshot {
    let mut answers = AnswerCounts::default();
    methods.iter().for_each(|method| answers.add(&method.answers));
    let mut closed = [0; CloseReason::ALL.len()];
    closed[CloseReason::PeerClosed.index()] = 30;
    PortSnapshot {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], tcp)),
        open: workers.running > 0,
        workers,
        waiting: u64::from(workers.running),
        queue_limit: 10_000,
        in_flight: 2 * u64::from(workers.running),
        in_calls: 0,
        connections: u64::from(workers.running),
        without_permit: Duration::from_millis(1500),
        calls: answers.all() + 4,
        answers,
        closed,
        counters: PortCounts { accepted: 33, long_transactions: 1, ..PortCounts::default() },
        methods,
    }
}

impl ServerControl for Model {
    fn is_draining(&self) -> bool {
        false
    }

    fn snapshot(&self) -> Snapshot {
        let seconds = self.seconds.load(Ordering::Relaxed);
        let uptime = Duration::from_secs(seconds);
        let busy = Workers { idle: 7, running: 2, blocked: 1, returning: 0 };
        let methods = vec![
            method("notes.open", 8 * seconds, Duration::from_micros(90), Duration::from_micros(400)),
            // Two run at once, and 17 wait for their limit.
            method("notes.search", 2 * seconds, Duration::from_millis(8500), Duration::from_millis(330)),
        ];
        let ports = vec![
            port("TCPIP", 1352, busy, methods),
            port("LAN2", 1452, Workers { idle: 10, ..Workers::default() }, Vec::new()),
        ];
        Snapshot {
            cpu: Cpu { cores: 2, used: uptime / 2, ..Cpu::default() },
            permits: Permits { limit: Some(8), out: 2, peak: 8 },
            sessions: SessionCounts { open: 3, peak: 40, max: Some(100_000), ..SessionCounts::default() },
            connections: (2, Some(1019)),
            buffer_bytes: (12_600, 1 << 30),
            limits: vec![MethodLimitSnapshot {
                method: "notes.search".to_owned(),
                run: 2,
                wait: 200,
                running: 2,
                waiting: 17,
                refused: 3,
            }],
            ..snapshot(self.began, uptime, ports)
        }
    }

    fn workers(&self) -> Vec<WorkerSnapshot> {
        let task = |state, ms, method: &str| Task {
            state,
            thread: None,
            since: Duration::from_millis(ms / 2),
            method: method.into(),
            peer: peer(7),
            call: 4711,
            session: 0,
            ran: Duration::from_millis(ms),
            left_ms: Some(8_500),
            chain: Vec::new(),
        };
        let doing = |port: usize, worker| match (port, worker) {
            (0, 1) => Some(task(HandlerState::Running, 31, "notes.search")),
            (0, 2) => Some(task(HandlerState::Blocked, 1_204, "notes.fetch")),
            (0, 3) => Some(task(HandlerState::Running, 1, "notes.open")),
            _ => None,
        };
        let workers = |(number, port): (usize, &'static str)| {
            (1..=10).map(move |worker| WorkerSnapshot {
                port: port.into(),
                worker,
                task: doing(number, worker),
            })
        };
        ["TCPIP", "LAN2"].into_iter().enumerate().flat_map(workers).collect()
    }

    fn look(&self, _budget: Duration) -> Vec<WorkerSnapshot> {
        let mut workers = self.workers();
        let seen = |worker| match worker {
            1 => ThreadState::Processor,
            2 => ThreadState::Socket,
            _ => ThreadState::Lock { address: 0x7f2c_4c00_12d8 },
        };
        for worker in &mut workers {
            worker.task.iter_mut().for_each(|task| task.thread = Some(seen(worker.worker)));
        }
        workers
    }

    fn slow_calls(&self) -> Vec<SlowCallInfo> {
        let call = |method: &str, ago, run| SlowCallInfo {
            port: "TCPIP".into(),
            method: method.into(),
            ago: Duration::from_secs(ago),
            times: Parts {
                queue_wait: Duration::from_millis(40),
                permit_wait: Duration::from_millis(2),
                run: Duration::from_millis(run),
            },
            peer: peer(7),
            call: 1234,
            status: Status::Ok,
            chain: Vec::new(),
        };
        vec![call("notes.search", 61, 100), call("notes.search", 5, 99), call("notes.open", 12, 2)]
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let connection = |id, calls, in_flight| ConnectionInfo {
            port: "TCPIP".into(),
            id,
            peer: peer(id as u8),
            age: Duration::from_secs(90),
            idle: Duration::from_secs(6),
            calls,
            in_flight,
            bytes: 657 + 4096 * in_flight,
            sessions: 1,
        };
        vec![connection(2, 800, 0), connection(7, 4200, 4)]
    }

    fn sessions(&self) -> Vec<SessionSnapshot> {
        let session = |id, client: &str, attached| SessionSnapshot {
            id,
            client: client.to_owned(),
            peer: peer(7),
            age: Duration::from_secs(90),
            idle: Duration::from_secs(6 * id),
            calls: 12 * id,
            attached,
        };
        vec![session(2, "notes/\u{1b}[31m1.4", false), session(1, "notes/1.4", true)]
    }

    fn close_connections(&self, which: &ConnectionFilter) -> usize {
        self.did(format!("drop {which:?}"));
        if matches!(which, ConnectionFilter::Session(_)) { 0 } else { 2 }
    }

    fn drop_sessions(&self, which: &ConnectionFilter) -> usize {
        match which {
            ConnectionFilter::One(..) => 0,
            ConnectionFilter::Session(id) => usize::from(*id < 3),
            _ => 3,
        }
    }

    fn stop_port(&self, port: &str) -> Result<(), ControlError> {
        self.did(format!("stop {port}"));
        Ok(())
    }

    fn start_port(&self, port: &str) -> Result<(), ControlError> {
        self.did(format!("start {port}"));
        match port {
            "LAN2" => Err(ControlError::CannotListen {
                port: port.to_owned(),
                addresses: "127.0.0.1:1452".to_owned(),
                reason: "Address in use".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<SettingChange, ControlError> {
        self.did(format!("set {key} to {value}"));
        let reloadable = key.eq_ignore_ascii_case("Server_Max_Concurrent_Trans");
        let known = crate::monitor::console::grammar::begins(key, "Server_");
        if known {
            Ok(SettingChange { effective: reloadable, written: true, not_kept: None })
        } else {
            Err(ControlError::InvalidSetting(format!("no setting {key}")))
        }
    }

    fn config(&self) -> Config {
        self.config.clone()
    }

    fn at_restart(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("Server_Max_Frame_KB".to_owned(), "8192".to_owned())])
    }

    fn tell(&self, service: &str, order: &str) -> Result<String, ControlError> {
        self.did(format!("tell {service} {order}"));
        Ok("The cache is empty.\n\u{1b}[2JSo it is.".to_owned())
    }

    fn quit(&self) -> Result<(), ControlError> {
        self.did("quit".to_owned());
        Ok(())
    }
}
