//! A record of the last minutes: counts and times of each second, of the methods that take most of the workers.
//!
//! Invariants: what was measured under other limits is not in it, except how run times went with the number that ran;
//! memory is bounded. It knows no contents and no callers.

use super::estimate;
use super::levels::Levels;
use super::record::{MethodKey, RecordedMethod, RecordedPort, RecordedStep};
use super::thread_shares::ThreadShares;
use super::workload::Workload;
use crate::metrics::Distribution;
use crate::monitor::interval::{Interval, MethodInterval, PortInterval};
use crate::monitor::snapshot::AnswerCounts;
use crate::monitor::window::Window;
use crate::service::Status;
use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Seconds kept.
const STEPS_KEPT: usize = 180;

/// Methods recorded by name, over all ports; of each port the others are recorded together.
const METHODS_MAX: usize = 48;

/// The name of the others.
const OTHERS: &str = "(others)";

/// Time of which run times are counted together; they are kept for twice as long.
const TIMES_OF: Duration = Duration::from_secs(30);

/// Statuses of calls that would have been run if there had been a place for them.
const NO_PLACE: [Status; 3] = [Status::QueueFull, Status::WouldBeLate, Status::Overloaded];

/// The record.
#[derive(Debug)]
pub(in crate::monitor) struct Recorder {
    limits: Option<LimitsInForce>,
    elapsed: Duration,
    steps: Window<RecordedStep>,
    times: BTreeMap<MethodKey, RecentTimes>,
    times_since: Duration,
    levels: Levels,
}

/// The limits that decide what a measurement means.
type LimitsInForce = (Option<u32>, Vec<(u32, u64)>);

/// Run times of this period, and of the one before.
#[derive(Debug, Default)]
struct RecentTimes {
    now: Distribution,
    before: Distribution,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            limits: None,
            elapsed: Duration::ZERO,
            steps: Window::of(STEPS_KEPT),
            times: BTreeMap::new(),
            times_since: Duration::ZERO,
            levels: Levels::default(),
        }
    }
}

impl Recorder {
    /// Adds a step of about a second. `shares` says of a port and a method what the threads did that ran it, where that
    /// is known.
    pub(in crate::monitor) fn add(
        &mut self,
        step: &Interval,
        shares: &dyn Fn(&str, &str) -> Option<ThreadShares>,
    ) {
        self.elapsed += step.length;
        let limits = limits(step);
        if self.limits.as_ref() != Some(&limits) {
            // A part of this step was under the limits before.
            self.limits = Some(limits);
            self.steps.clear();
            self.times.clear();
            return;
        }
        if self.elapsed - self.times_since >= TIMES_OF {
            self.begin_period();
        }
        let chosen = chosen(step);
        let ports = step.ports.iter().map(|port| self.record(port, &chosen, step.length, shares)).collect();
        let recorded = RecordedStep {
            length_s: step.length.as_secs_f64(),
            cores: f64::from(step.cores.max(1)),
            used: step.cores_used,
            idle_and_stolen: step.cores_idle_and_stolen,
            wanted: step.cores_wanted,
            permits: step.limit,
            ports,
        };
        self.levels.add(&recorded);
        self.steps.add(self.elapsed, recorded);
    }

    /// The load of the last `recent`; `None` while nothing is recorded or nothing was called.
    pub(in crate::monitor) fn workload(&self, recent: Duration) -> Option<Workload> {
        let mut left = recent.as_secs_f64() + 1e-3;
        let of = |step: &&RecordedStep| {
            left -= step.length_s;
            left >= 0.0
        };
        let mut steps: Vec<&RecordedStep> = self.steps.iter().rev().take_while(of).collect();
        if steps.is_empty() {
            steps.extend(self.steps.newest());
        }
        steps.reverse();
        let times = |key: &MethodKey| {
            let times = self.times.get(key)?;
            let mut both = times.before.clone();
            both.add(&times.now);
            Some(both)
        };
        estimate::workload(&steps, &times, &self.levels)
    }

    fn begin_period(&mut self) {
        self.times_since = self.elapsed;
        self.times.values_mut().for_each(|times| times.before = std::mem::take(&mut times.now));
        self.times.retain(|_, times| times.before.count() > 0);
    }

    /// Records a port: the chosen methods by name, the others together.
    fn record(
        &mut self,
        port: &PortInterval,
        chosen: &BTreeSet<MethodKey>,
        length: Duration,
        shares: &dyn Fn(&str, &str) -> Option<ThreadShares>,
    ) -> RecordedPort {
        let mut methods: Vec<RecordedMethod> = Vec::new();
        for method in &port.methods {
            let mut key = (Arc::clone(&port.name), Arc::clone(&method.name));
            if !chosen.contains(&key) {
                key.1 = OTHERS.into();
            }
            let recorded = RecordedMethod {
                name: Arc::clone(&key.1),
                ended: method.times.run.count(),
                refused: no_place(&method.answers),
                run_s: method.times.run.sum().as_secs_f64(),
                wait_s: (method.times.queue_wait.sum() + method.times.permit_wait.sum()).as_secs_f64(),
                ran_s: method.busy * length.as_secs_f64(),
                shares: shares(&key.0, &key.1),
            };
            self.times.entry(key).or_default().now.add(&method.times.run);
            match methods.iter_mut().find(|known| known.name == recorded.name) {
                Some(known) => known.add(&recorded),
                None => methods.push(recorded),
            }
        }
        RecordedPort {
            name: Arc::clone(&port.name),
            workers: port.workers.total(),
            queue_limit: port.queue_limit,
            connections: port.connections,
            arrived: port.calls,
            waiting: port.waiting,
            busy_at_end: port.workers_busy,
            blocked: port.workers_blocked,
            returning: port.workers_returning,
            methods,
        }
    }
}

fn no_place(answers: &AnswerCounts) -> u64 {
    NO_PLACE.iter().map(|status| answers.with(*status)).sum()
}

fn limits(step: &Interval) -> LimitsInForce {
    let of_port = |port: &PortInterval| (port.workers.total(), port.queue_limit);
    (step.limit, step.ports.iter().map(of_port).collect())
}

/// The methods that take most of the workers' time.
fn chosen(step: &Interval) -> BTreeSet<MethodKey> {
    let of_port = |port: &PortInterval| -> Vec<(f64, MethodKey)> {
        let key = |method: &MethodInterval| (Arc::clone(&port.name), Arc::clone(&method.name));
        port.methods.iter().map(|method| (method.busy, key(method))).collect()
    };
    let mut all: Vec<_> = step.ports.iter().flat_map(of_port).collect();
    all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    all.into_iter().take(METHODS_MAX).map(|(_, key)| key).collect()
}
