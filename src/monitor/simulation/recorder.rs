//! A record of the last minutes: counts and times of each second, of the methods that take most of the workers.
//!
//! Invariants: what was measured under other limits is not in it, except how run times went with the number that ran;
//! memory is bounded. It knows no contents and no callers.

use super::estimate;
use super::levels::Levels;
use super::record::{MethodKey, RecordedMethod, RecordedPort, RecordedStep};
use super::workload::{MethodPlaces, Workload};
use crate::metrics::Distribution;
use crate::monitor::interval::{Interval, MethodInterval, PortInterval};
use crate::monitor::looks::ThreadShares;
use crate::monitor::snapshot::{AnswerCounts, MethodLimitSnapshot};
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
const NO_PLACE: [Status; 4] =
    [Status::QueueFull, Status::WouldBeLate, Status::Overloaded, Status::MethodLimit];

/// Fewest workers that are busy after a load has begun, for its beginning to tell something.
const RISE_MIN: f64 = 4.0;

/// The record.
#[derive(Debug)]
pub(in crate::monitor) struct Recorder {
    limits: Option<LimitsInForce>,
    elapsed: Duration,
    steps: Window<RecordedStep>,
    times: BTreeMap<MethodKey, RecentTimes>,
    times_since: Duration,
    levels: Levels,
    /// Workers that ran a handler at the end of the last step, by port.
    busy: Vec<f64>,
}

/// The limits that decide what a measurement means.
type LimitsInForce = (Option<u32>, Vec<(u32, u64)>, Vec<(String, u64, u64)>);

/// Run times of this period, and of the one before.
#[derive(Debug, Default)]
struct RecentTimes {
    now: Distribution,
    before: Distribution,
}

/// States of the threads that ran a method of a port.
type SharesOf<'a> = dyn Fn(&str, &str) -> Option<ThreadShares> + 'a;

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            limits: None,
            elapsed: Duration::ZERO,
            steps: Window::of(STEPS_KEPT),
            times: BTreeMap::new(),
            times_since: Duration::ZERO,
            levels: Levels::default(),
            busy: Vec::new(),
        }
    }
}

impl Recorder {
    /// Adds a step of about a second. `shares` says of a port and a method what the threads did that ran it, where that
    /// is known. Returns whether the limits are others than before, so that what was measured under those has no part
    /// in it.
    pub(in crate::monitor) fn add(&mut self, step: &Interval, shares: &SharesOf<'_>) -> bool {
        self.elapsed += step.length;
        let busy = step.ports.iter().map(|port| port.workers_busy).collect();
        let before = std::mem::replace(&mut self.busy, busy);
        let limits = limits(step);
        if self.limits.as_ref().is_some_and(|before| *before != limits) {
            // A part of this step was under the limits before.
            self.limits = Some(limits);
            self.steps.clear();
            self.times.clear();
            return true;
        }
        // The first step begins with the server, when nothing ran.
        let is_first = self.limits.replace(limits).is_none();
        if self.elapsed - self.times_since >= TIMES_OF {
            self.begin_period();
        }
        let chosen = chosen(step);
        let at_start = |at: usize| before.get(at).copied().or(is_first.then_some(0.0));
        let record = |(at, port)| self.record(port, at_start(at), step, (&chosen, shares));
        let ports: Vec<RecordedPort> = step.ports.iter().enumerate().map(record).collect();
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
        false
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
        busy_at_start: Option<f64>,
        step: &Interval,
        (chosen, shares): (&BTreeSet<MethodKey>, &SharesOf<'_>),
    ) -> RecordedPort {
        let rises = busy_at_start.is_some_and(|busy| is_rise(busy, port.workers_busy));
        let mut methods: Vec<RecordedMethod> = Vec::new();
        let others: Arc<str> = OTHERS.into();
        for method in &port.methods {
            let mut key = (Arc::clone(&port.name), Arc::clone(&method.name));
            let is_chosen = chosen.contains(&key);
            if !is_chosen {
                key.1 = Arc::clone(&others);
            }
            let recorded = RecordedMethod {
                name: Arc::clone(&key.1),
                ended: method.times.run.count(),
                refused: no_place(&method.answers),
                run_s: method.times.run.sum().as_secs_f64(),
                wait_s: (method.times.queue_wait.sum() + method.times.permit_wait.sum()).as_secs_f64(),
                ran_s: method.busy * step.length.as_secs_f64(),
                shares: is_chosen.then(|| shares(&key.0, &key.1)).flatten(),
                limit: places(step, &key.1),
                rise: rises.then(|| method.times.run.clone()),
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
            busy_at_start,
            waiting: port.waiting + port.set_aside,
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

/// Returns whether a load began: next to no worker was busy, and then some were.
fn is_rise(before: f64, after: f64) -> bool {
    after >= RISE_MIN && before <= 0.25 * after
}

/// The limit of a method.
fn places(step: &Interval, method: &str) -> Option<MethodPlaces> {
    let limit = step.limits.iter().find(|limit| limit.method == method)?;
    let [run, wait] = [limit.run, limit.wait].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Some(MethodPlaces { run, wait })
}

fn limits(step: &Interval) -> LimitsInForce {
    let of_port = |port: &PortInterval| (port.workers.total(), port.queue_limit);
    let of_method = |limit: &MethodLimitSnapshot| (limit.method.clone(), limit.run, limit.wait);
    (step.limit, step.ports.iter().map(of_port).collect(), step.limits.iter().map(of_method).collect())
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
