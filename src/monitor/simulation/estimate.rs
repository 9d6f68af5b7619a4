//! From a record of steps to a [`Workload`]: times of each method without their waits for a processor, what the calls
//! of a method share, the sources of calls, and the other uses of the processors.
//!
//! Little's law throughout: the mean number of calls in a place is their rate times the time each spends there.

use super::levels::{Growth, Levels, Present};
use super::record::{MethodKey, RecordedMethod, RecordedPort, RecordedStep};
use super::sources::{MethodCalls, PortCalls};
use super::workload::{
    Contention, MethodPlaces, MethodWorkload, PortMeasured, PortWorkload, ProcessorWorkload, Workload,
};
use crate::metrics::Distribution;
use crate::monitor::looks::ThreadShares;
use crate::sync::Arc;

/// Points of a distribution of run times.
const POINTS: usize = 32;

/// Fewest calls of which the mean run time is that of those that ended.
const ENDED_MIN: u64 = 20;

/// Fewest threads observed whose states are used.
const OBSERVED_MIN: u64 = 10;

/// Threads that wait at one lock, on average, from which on it lets no more through; and below which they do not count.
const LOCK_FULL: f64 = 1.0;
const LOCK_NONE: f64 = 0.1;

/// Share of handlers that wait for calls of their own, or in `tx.blocking`, up to which none does.
const BLOCKED_NONE: f64 = 0.2;

/// Share of a method's time in waits for something that may be limited, from which on that matters.
const OUTSIDE_MIN: f64 = 0.2;

/// Share of the processors that is idle at most where they are full.
const IDLE_MAX: f64 = 0.1;

/// Longest time on a processor that a refused call takes.
const REFUSAL_MAX_S: f64 = 50e-6;

/// Shortest run of a call.
const RUN_MIN_S: f64 = 1e-7;

/// The load of these steps; `times` has the run times of a method. `None` if nothing was called.
pub(super) fn workload(
    steps: &[&RecordedStep],
    times: &dyn Fn(&MethodKey) -> Option<Distribution>,
    levels: &Levels,
) -> Option<Workload> {
    let last = steps.last()?;
    let length_s: f64 = steps.iter().map(|step| step.length_s).sum();
    let ports: Vec<PortSums> =
        (0..last.ports.len()).map(|port| PortSums::of(steps, port, length_s)).collect();
    if ports.iter().all(|port| port.busy() <= 0.0 && port.ended() == 0) {
        return None;
    }
    let use_of = ProcessorUse::of(steps, &ports);
    let waits_at_locks = ports.iter().flat_map(|port| &port.methods).filter_map(PortMethod::at_lock).sum();
    let of = |sums: &PortSums| {
        let methods = sums.methods.iter().map(|method| {
            let times = times(&(Arc::clone(&sums.name), Arc::clone(&method.name)));
            method.workload(sums, &use_of, times.as_ref(), (levels, waits_at_locks))
        });
        let mut read = sums.calls.sources();
        let all = read.alternatives.iter_mut().chain([&mut read.sources]);
        all.flatten().for_each(|source| source.think_less(use_of.background_s));
        PortWorkload {
            name: sums.name.to_string(),
            workers: sums.workers,
            queue_limit: sums.queue_limit,
            connections: sums.calls.connections.last().copied().unwrap_or(0),
            methods: methods.collect(),
            sources: read.sources,
            alternatives: read.alternatives,
            measured: sums.measured(),
        }
    };
    Some(Workload {
        ports: ports.iter().map(of).collect(),
        permits: last.permits,
        processors: use_of.workload(),
    })
}

/// A port in all steps together.
struct PortSums {
    name: Arc<str>,
    workers: u32,
    queue_limit: u64,
    /// Of the workers that run a handler, the share that waits without a permit, and in line for one.
    blocked: f64,
    returning: f64,
    waiting: f64,
    methods: Vec<PortMethod>,
    calls: PortCalls,
}

/// A method in all steps together.
struct PortMethod {
    name: Arc<str>,
    ended: u64,
    per_s: f64,
    busy: f64,
    run_s: f64,
    wait_s: f64,
    shares: Option<ThreadShares>,
    limit: Option<MethodPlaces>,
}

impl PortSums {
    fn of(steps: &[&RecordedStep], port: usize, length_s: f64) -> PortSums {
        let ports: Vec<&RecordedPort> = steps.iter().filter_map(|step| step.ports.get(port)).collect();
        let mean = |of: fn(&RecordedPort) -> f64| {
            ports.iter().map(|port| of(port)).sum::<f64>() / ports.len().max(1) as f64
        };
        let mut recorded: Vec<RecordedMethod> = Vec::new();
        for method in ports.iter().flat_map(|port| &port.methods) {
            match recorded.iter_mut().find(|known| known.name == method.name) {
                Some(known) => known.add(method),
                None => recorded.push(method.clone()),
            }
        }
        let waited: f64 = recorded.iter().map(|method| method.wait_s).sum::<f64>() / length_s;
        let (waiting, busy_at_end) = (mean(|port| port.waiting), mean(|port| port.busy_at_end).max(1e-9));
        let last = ports.last();
        let workers = last.map_or(0, |port| port.workers);
        // Calls that still wait are in no measured time. While workers are idle the gauge shows moments.
        let few = recorded.iter().map(|method| method.ended).sum::<u64>() < ENDED_MIN;
        let by_gauge = few || 2.0 * busy_at_end >= f64::from(workers);
        let waiting = if by_gauge && waiting > 1.5 * waited + 1.0 { waiting } else { waited };
        let attempts = |method: &RecordedMethod| (method.ended + method.refused) as f64;
        let all: f64 = recorded.iter().map(attempts).sum();
        let calls = recorded.iter().map(|method| {
            let share = match waited > 0.0 {
                true => method.wait_s / length_s / waited,
                false => attempts(method) / all.max(1.0),
            };
            MethodCalls {
                per_s: method.ended as f64 / length_s,
                refused_per_s: method.refused as f64 / length_s,
                in_flight: method.ran_s / length_s + waiting * share,
            }
        });
        let arrived: u64 = ports.iter().map(|port| port.arrived).sum();
        let calls = PortCalls {
            in_flight: ports.iter().map(|port| port.busy_at_end + port.waiting).collect(),
            connections: ports.iter().map(|port| port.connections).collect(),
            arrived_per_s: arrived as f64 / length_s,
            methods: calls.collect(),
        };
        PortSums {
            name: last.map_or_else(|| "".into(), |port| Arc::clone(&port.name)),
            workers,
            queue_limit: last.map_or(0, |port| port.queue_limit),
            blocked: (mean(|port| port.blocked) / busy_at_end).min(1.0),
            returning: (mean(|port| port.returning) / busy_at_end).min(1.0),
            waiting,
            methods: recorded.iter().map(|method| PortMethod::of(method, length_s)).collect(),
            calls,
        }
    }

    fn busy(&self) -> f64 {
        self.methods.iter().map(|method| method.busy).sum()
    }

    fn ended(&self) -> u64 {
        self.methods.iter().map(|method| method.ended).sum()
    }

    fn measured(&self) -> PortMeasured {
        let ended = self.ended().max(1) as f64;
        let sum = |of: fn(&PortMethod) -> f64| self.methods.iter().map(of).sum::<f64>();
        PortMeasured {
            per_s: sum(|method| method.per_s),
            refused_per_s: self.calls.methods.iter().map(|method| method.refused_per_s).sum(),
            wait: sum(|method| method.wait_s) / ended,
            run: sum(|method| method.run_s * method.ended as f64) / ended,
            busy: self.busy(),
            waiting: self.waiting,
        }
    }
}

impl PortMethod {
    fn of(method: &RecordedMethod, length_s: f64) -> PortMethod {
        let sum = match method.ended >= ENDED_MIN {
            true => method.run_s,
            false => method.run_s.max(method.ran_s),
        };
        PortMethod {
            name: Arc::clone(&method.name),
            ended: method.ended,
            per_s: method.ended as f64 / length_s,
            busy: method.ran_s / length_s,
            run_s: (sum / method.ended.max(1) as f64).max(RUN_MIN_S),
            wait_s: method.wait_s,
            shares: method.shares.filter(|shares| shares.observed >= OBSERVED_MIN),
            limit: method.limit,
        }
    }

    /// Its threads that wait at a lock, on average. A thread that waits for another, and whose handler does not wait
    /// for a call of its own, is at a lock, of which each waiter may have an address of its own.
    fn at_lock(&self) -> Option<f64> {
        let share = |shares: ThreadShares| match shares.blocked < BLOCKED_NONE {
            true => shares.lock.max(shares.one_lock),
            false => shares.one_lock,
        };
        self.shares.map(|shares| share(shares) * self.busy)
    }

    fn workload(
        &self,
        port: &PortSums,
        use_of: &ProcessorUse,
        times: Option<&Distribution>,
        evidence: (&Levels, f64),
    ) -> MethodWorkload {
        let spread = spread(times);
        let (on_processor, runnable) = use_of.of_method(self);
        let (blocked, returning) =
            self.shares.map_or((port.blocked, port.returning), |shares| (shares.blocked, shares.returning));
        let left = (1.0 - on_processor - runnable - returning).max(0.0);
        let blocked = blocked.min(left);
        MethodWorkload {
            name: self.name.to_string(),
            per_s: self.per_s,
            busy: self.busy,
            processor_s: self.run_s * on_processor,
            held_s: self.run_s * (left - blocked),
            blocked_s: self.run_s * blocked,
            contention: self.contention(port, (on_processor, runnable), (&spread, times), evidence),
            spread,
            limit: self.limit,
        }
    }

    /// How its run time depends on how many run: by the threads that wait at one lock; by other numbers that ran
    /// before; by its run times, where its threads do not wait at locks, which need not be fair; by threads that wait
    /// at locks of which each waiter has an address of its own. Unknown if they wait for something else that may be
    /// limited, or nothing is known of them.
    fn contention(
        &self,
        port: &PortSums,
        (on_processor, runnable): (f64, f64),
        (spread, times): (&[f64], Option<&Distribution>),
        (levels, waits_at_locks): (&Levels, f64),
    ) -> Contention {
        let one_lock = self.shares.map_or(0.0, |shares| shares.one_lock) * self.busy;
        if one_lock > LOCK_NONE {
            return self.at_locks(waits_at_locks, spread);
        }
        let key = (Arc::clone(&port.name), Arc::clone(&self.name));
        let squares = spread.iter().map(|time| time * time).sum::<f64>() / spread.len().max(1) as f64;
        let now = Present {
            running: self.busy.max(1e-9),
            per_s: self.per_s.max(1e-9),
            deviation: (squares - 1.0).max(0.0).sqrt(),
        };
        let locked = self.at_lock().unwrap_or(0.0) > LOCK_NONE;
        let by_times = || {
            // Of the time in which they did not stand by for a processor: other programs cause that too.
            let working = on_processor / (1.0 - runnable).max(1e-9);
            levels.growth_by_times(&key, times.filter(|_| working < OUTSIDE_MIN && !locked)?)
        };
        match levels.growth(&key, now).or_else(by_times) {
            Some(Growth::Full) => return Contention::None,
            Some(Growth::Damped { elasticity, floor }) => {
                return Contention::Damped { from: self.busy, elasticity, floor };
            }
            None => {}
        }
        if locked {
            return self.at_locks(waits_at_locks, spread);
        }
        let outside = match self.shares {
            Some(shares) => shares.lock + shares.socket + shares.disk + shares.other,
            None => 1.0 - on_processor - runnable,
        };
        if outside >= OUTSIDE_MIN { Contention::Unknown } else { Contention::None }
    }

    /// The limit of locks at which so many threads wait, on average.
    fn at_locks(&self, waits: f64, spread: &[f64]) -> Contention {
        // Of a lock that is held at random for a fixed time, by the mean number that wait.
        let used = (waits * waits + 2.0 * waits).sqrt() - waits;
        let headroom = if waits >= LOCK_FULL { 1.0 } else { 1.0 / used.max(0.05) };
        // Where few run, a call takes what it takes besides its wait; the shortest now has waited too.
        let besides = 1.0 - self.at_lock().unwrap_or(0.0) / self.busy.max(1e-9);
        let shortest = spread.first().copied().unwrap_or(1.0).min(besides).clamp(0.01, 1.0);
        let floor = if headroom > 1.0 { 1.0 } else { shortest };
        Contention::Damped { from: self.busy * headroom, elasticity: 0.0, floor }
    }
}

/// The use of the processors, by handlers and others.
struct ProcessorUse {
    cores: f64,
    used: f64,
    idle: f64,
    others: f64,
    wanted: f64,
    /// Share of a handler's time on a processor, and ready to run without one, where its threads were not looked at.
    on_processor: f64,
    runnable: f64,
    /// Time per call outside handlers.
    background_s: f64,
    attempts_per_s: f64,
}

impl ProcessorUse {
    fn of(steps: &[&RecordedStep], ports: &[PortSums]) -> ProcessorUse {
        let count = steps.len().max(1) as f64;
        let mean = |of: &dyn Fn(&RecordedStep) -> f64| steps.iter().map(|step| of(step)).sum::<f64>() / count;
        let stolen = mean(&|step| step.idle_and_stolen.map_or(0.0, |(_, stolen)| stolen));
        let all = mean(&|step| step.cores);
        let cores = (all - stolen).max(0.1);
        let used = mean(&|step| step.used).clamp(0.0, cores);
        let idle_known = steps.iter().all(|step| step.idle_and_stolen.is_some());
        let idle = match idle_known {
            true => mean(&|step| step.idle_and_stolen.map_or(0.0, |(idle, _)| idle)).clamp(0.0, cores - used),
            false => cores - used,
        };
        let wanted = mean(&|step| step.wanted);
        let (mut known, mut other_busy) = (0.0, 0.0);
        for method in ports.iter().flat_map(|port| &port.methods) {
            match method.shares {
                Some(shares) => known += shares.on_processor * method.busy,
                None => other_busy += method.busy,
            }
        }
        let busy = f64::max(other_busy, 1e-9);
        let sum = |of: fn(&MethodCalls) -> f64| -> f64 {
            ports.iter().flat_map(|port| &port.calls.methods).map(of).sum()
        };
        let (per_s, refused) = (sum(|method| method.per_s), sum(|method| method.refused_per_s));
        // A refusal costs about as much as all of a call but its handler, and no more than a message can.
        let for_refusals = (REFUSAL_MAX_S * refused).min(used * refused / (per_s + refused).max(1e-9));
        let for_calls = used - for_refusals;
        let on_processor = ((for_calls - known) / busy).clamp(0.0, 1.0);
        let all_busy: f64 = ports.iter().map(PortSums::busy).sum();
        let handlers = known + on_processor * other_busy;
        // Threads wait for processors as much as they use them.
        let of_handlers = (handlers / used.max(1e-9)).min(1.0);
        let runnable = (wanted * of_handlers / all_busy.max(1e-9)).clamp(0.0, 1.0 - on_processor);
        ProcessorUse {
            cores,
            used,
            idle,
            others: (cores - used - idle).max(0.0),
            wanted,
            on_processor,
            runnable,
            background_s: if per_s > 0.0 { (for_calls - handlers).max(0.0) / per_s } else { 0.0 },
            attempts_per_s: per_s + refused,
        }
    }

    /// The shares of a method's time on a processor, and ready to run without one.
    fn of_method(&self, method: &PortMethod) -> (f64, f64) {
        match method.shares {
            Some(shares) => {
                let on_processor = shares.on_processor.min(1.0);
                (on_processor, shares.runnable.min(1.0 - on_processor))
            }
            None => (self.on_processor, self.runnable),
        }
    }

    fn workload(&self) -> ProcessorWorkload {
        let full = self.idle <= IDLE_MAX * self.cores && self.wanted > 0.2;
        // On full processors the shares show how many threads of others want to run; else they have what they want.
        let others = match full && self.used > 0.0 {
            true => ((self.used + self.wanted) * self.others / self.used).min(1e4),
            false => self.others,
        };
        ProcessorWorkload {
            cores: self.cores,
            // Programs may share by their threads or in halves: so much is certain.
            ours: (self.cores - self.others).max(self.cores / 2.0),
            used: self.used,
            others,
            background_s: self.background_s,
            others_s: if self.attempts_per_s > 0.0 { self.others / self.attempts_per_s } else { 0.0 },
        }
    }
}

/// Equally likely run times as multiples of the mean, the shortest first; the last has the rest of the sum.
fn spread(times: Option<&Distribution>) -> Vec<f64> {
    let Some(times) = times.filter(|times| times.count() > 0) else { return vec![1.0] };
    let mean = times.mean().as_secs_f64().max(RUN_MIN_S);
    let point = |at: usize| times.quantile((at as f64 + 0.5) / POINTS as f64).as_secs_f64() / mean;
    let mut points: Vec<f64> = (0..POINTS).map(point).collect();
    let count = POINTS as f64;
    let below: f64 = points[..POINTS - 1].iter().sum();
    points[POINTS - 1] = points[POINTS - 1].max(count - below);
    let sum: f64 = points.iter().sum();
    points.iter_mut().for_each(|point| *point = (*point * count / sum).max(1e-3));
    points
}
