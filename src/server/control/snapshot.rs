//! Takes snapshots of a running server, and lists its workers and slow calls.
//!
//! Invariant: waits for no listener and no worker, only for locks that are held for moments.

use super::live_control::{LiveControl, ManagedPort};
use crate::admission::ReceivedChain;
use crate::config::Config;
use crate::metrics::MethodStats;
use crate::monitor::{
    AnswerCounts, Cpu, HandlerState, MethodLimitSnapshot, MethodSnapshot, Permits, PortSnapshot,
    ServerControl, SessionCounts, SlowCallInfo, Snapshot, Task, ThreadState, WorkerSnapshot, Workers,
};
use crate::pool::{Activity, LineState, Progress, SlowCall, WorkerCounts};
use crate::server::machine;
use crate::server::shutdown::Shutdown;
use crate::service::Status;
use crate::sync::Arc;
use std::time::{Duration, Instant};

impl LiveControl {
    pub(super) fn take_snapshot(&self) -> Snapshot {
        let (now, throttle, config) = (Instant::now(), &self.shared.throttle, self.config());
        let (out, peak) = throttle.permits();
        let (timed_out, displaced) = self.sessions.dropped();
        let (most, restricted) = self.sessions.peak_and_restricted();
        let connections_max = self.connection_limiter.connections_max();
        let ports = self
            .ports
            .iter()
            .zip(throttle.worker_counts())
            .map(|(port, counts)| self.port(port, counts, &config, now))
            .collect::<Vec<_>>();
        Snapshot {
            taken: now,
            started: self.started_at,
            uptime: now.saturating_duration_since(self.started),
            draining: self.is_draining(),
            cpu: Cpu {
                cores: machine::cpus(),
                used: machine::cpu_used(),
                idle_and_stolen: machine::cpu_idle_and_stolen(),
                // Only where it matters: it reads a file for each thread.
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
            alarms: self.alarm_command.counts(),
            buffer_bytes: (
                self.ports.iter().map(|port| port.shared.buffers.bytes() as u64).sum(),
                config.buffer_memory_bytes.value as u64,
            ),
            limits: self.limits(&ports),
            counters: self.hooks.counters.iter().map(|counter| (*counter, counter.get())).collect(),
            ports,
        }
    }

    /// The limited methods. Their refusals are among the answers of all ports.
    fn limits(&self, ports: &[PortSnapshot]) -> Vec<MethodLimitSnapshot> {
        let refused = |name: &Arc<str>| {
            let methods = ports.iter().flat_map(|port| &port.methods).filter(|method| method.name == *name);
            methods.map(|method| method.answers.with(Status::MethodLimit)).sum()
        };
        let limit = |LineState { method, limit, running, waiting }: LineState| MethodLimitSnapshot {
            method: self.method(method).to_string(),
            run: limit.run as u64,
            wait: limit.wait as u64,
            running: running as u64,
            waiting: waiting as u64,
            refused: refused(&self.method(method)),
        };
        self.shared.limits.lines().into_iter().map(limit).collect()
    }

    pub(super) fn list_workers(&self) -> Vec<WorkerSnapshot> {
        let now = Instant::now();
        self.places().map(|(port, worker)| self.worker(port, worker, now)).collect()
    }

    /// Lists the workers with the states of their threads, as far as the budget goes. Where it ends, the next look
    /// begins.
    pub(super) fn look_at_workers(&self, budget: Duration) -> Vec<WorkerSnapshot> {
        let mut look = self.thread_states.begin(budget);
        let mut places: Vec<_> = self.places().collect();
        let first = look.first() % places.len().max(1);
        places.rotate_left(first);
        let mut left_out = None;
        let see = |(place, (port, worker)): (usize, &(&ManagedPort, usize))| {
            let call = port.shared.call_thread(*worker);
            let mut seen = self.worker(port, *worker, Instant::now());
            let task = seen.task.as_mut().filter(|task| task.state != HandlerState::Returning);
            if let (Some(call), Some(task)) = (call, task) {
                if look.has_time() {
                    // Otherwise the state may be that of the call before or after.
                    let same = |_: &ThreadState| port.shared.call_thread(*worker) == Some(call);
                    task.thread = look.state_of(call.thread).filter(same);
                } else {
                    left_out.get_or_insert(place);
                }
            }
            seen
        };
        let mut workers: Vec<_> = places.iter().enumerate().map(see).collect();
        workers.rotate_right(first);
        self.thread_states.end(look, first + left_out.unwrap_or(0));
        workers
    }

    /// Every worker: its port, and its index there.
    fn places(&self) -> impl Iterator<Item = (&ManagedPort, usize)> {
        self.ports.iter().flat_map(|port| (0..port.shared.workers()).map(move |worker| (port, worker)))
    }

    fn worker(&self, port: &ManagedPort, worker: usize, now: Instant) -> WorkerSnapshot {
        let task = port.shared.progress_of(worker, now).map(|progress| self.task(progress, now));
        WorkerSnapshot { port: Arc::clone(&port.name), worker: worker + 1, task }
    }

    pub(super) fn list_slow_calls(&self) -> Vec<SlowCallInfo> {
        let now = Instant::now();
        let of_port = |port: &ManagedPort| -> Vec<SlowCallInfo> {
            let slow = |(method, call): (u16, SlowCall)| SlowCallInfo {
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
            thread: None,
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

    fn port(&self, port: &ManagedPort, counts: WorkerCounts, config: &Config, now: Instant) -> PortSnapshot {
        let ManagedPort { name, addresses, shared, listener } = port;
        let stats = &shared.stats;
        shared.slow.expire(now);
        shared.codel.check_idle(now);
        let (methods, running) = shared.method_stats();
        let method = |(number, stats): (u16, &MethodStats)| MethodSnapshot {
            name: self.method(number),
            running: running.get(&number).copied().unwrap_or_default(),
            answers: AnswerCounts(stats.answers.counts()),
            times: stats.distributions(),
            whole: stats.whole.distribution(),
        };
        PortSnapshot {
            name: Arc::clone(name),
            address: addresses[0],
            open: listener.shutdown() == Shutdown::No,
            workers: Workers {
                idle: counts.idle as u32,
                running: counts.running as u32,
                blocked: counts.blocked as u32,
                returning: counts.returning as u32,
            },
            waiting: shared.queue.len() as u64,
            queue_limit: config.queue_limit.value.into(),
            in_flight: shared.queue.in_flight() as u64,
            in_calls: self.shared.nested.in_calls(shared.index) as u64,
            connections: stats.open(),
            without_permit: Duration::from_micros(shared.queue.permit_clock.read_us(now)),
            calls: stats.calls.get(),
            answers: AnswerCounts(stats.answers.counts()),
            closed: stats.closed.counts(),
            counters: stats.counts(),
            methods: methods.called().map(method).collect(),
        }
    }
}

/// The methods of a chain, the outermost first.
fn names(chain: Option<&ReceivedChain>) -> Vec<String> {
    chain.map_or_else(Vec::new, ReceivedChain::names)
}
