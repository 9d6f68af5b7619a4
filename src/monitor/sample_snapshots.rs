//! Snapshots for tests.

use super::snapshot::{
    AlarmCounts, AnswerCounts, Cpu, HandlerState, MethodSnapshot, Permits, PortSnapshot, SessionCounts,
    Snapshot, Task, ThreadState, WorkerSnapshot, Workers,
};
use crate::metrics::{Histogram, Parts, PortCounts};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// A server of these ports, `uptime` after `start`.
pub(super) fn snapshot(start: Instant, uptime: Duration, ports: Vec<PortSnapshot>) -> Snapshot {
    Snapshot {
        taken: start + uptime,
        started: SystemTime::UNIX_EPOCH,
        uptime,
        draining: false,
        cpu: Cpu::default(),
        permits: Permits { limit: Some(4), out: 0, peak: 0 },
        sessions: SessionCounts::default(),
        connections: (0, None),
        connects_most: None,
        log_left_out: 0,
        alarms: AlarmCounts::default(),
        buffer_bytes: (0, 1 << 30),
        limits: Vec::new(),
        counters: Vec::new(),
        ports,
    }
}

/// A port whose two workers are idle.
pub(super) fn port(name: &str) -> PortSnapshot {
    PortSnapshot {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], 1352)),
        open: true,
        workers: Workers { idle: 2, ..Workers::default() },
        waiting: 0,
        queue_limit: 100,
        in_flight: 0,
        in_calls: 0,
        connections: 0,
        without_permit: Duration::ZERO,
        calls: 0,
        answers: AnswerCounts::default(),
        closed: Default::default(),
        counters: PortCounts::default(),
        methods: Vec::new(),
    }
}

/// A method with calls that ran for these times, in milliseconds, and never waited.
pub(super) fn method(name: &str, ran_ms: &[u64]) -> MethodSnapshot {
    let times: Parts<Histogram> = Parts::default();
    for ms in ran_ms {
        times.run.add(Duration::from_millis(*ms));
        times.queue_wait.add(Duration::ZERO);
        times.permit_wait.add(Duration::ZERO);
    }
    MethodSnapshot {
        name: name.into(),
        running: Default::default(),
        answers: AnswerCounts::default(),
        times: times.map(Histogram::distribution),
        whole: times.run.distribution(),
    }
}

/// A worker that has just begun to run a call, with its thread in this state.
pub(super) fn worker(port: &str, method: &str, state: HandlerState, thread: ThreadState) -> WorkerSnapshot {
    let task = Task {
        state,
        thread: Some(thread),
        since: Duration::ZERO,
        method: method.into(),
        peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
        call: 1,
        session: 0,
        ran: Duration::ZERO,
        left_ms: None,
        chain: Vec::new(),
    };
    WorkerSnapshot { port: port.into(), worker: 1, task: Some(task) }
}
