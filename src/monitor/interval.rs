//! An interval between two snapshots: rates, times, and how full things were on average.

use super::snapshot::{
    AnswerCounts, MethodLimitSnapshot, MethodSnapshot, PortSnapshot, SessionCounts, Snapshot, Workers,
};
use crate::metrics::{CloseReason, Distribution, Parts, PortCounts};
use crate::service::ClientId;
use crate::sync::Arc;
use std::time::Duration;

/// The difference of two snapshots of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interval {
    /// Its length.
    pub length: Duration,
    /// Processors this process may use.
    pub cores: u32,
    /// Processors that it used, on average.
    pub cores_used: f64,
    /// Processors of the machine that were idle, and that its host took away, on average.
    pub cores_idle_and_stolen: Option<(f64, f64)>,
    /// Threads of this process that were ready to run and had no processor, on average; 0 where that is not known.
    pub cores_wanted: f64,
    /// `Server_Max_Concurrent_Trans`; `None` is unlimited.
    pub limit: Option<u32>,
    /// Permits out, on average over the samples.
    pub permits_out: f64,
    /// Connections open at the end, and the limit.
    pub connections: (u64, Option<u64>),
    /// Connections refused for lack of descriptors.
    pub refused_descriptors: u64,
    /// Connections refused because their address connects too often.
    pub refused_connects: u64,
    /// The address that did so most in its last minute, and how often.
    pub connects_most: Option<(ClientId, u32)>,
    /// Sessions, at the end.
    pub sessions: SessionCounts,
    /// The limited methods at the end; the fewest that waited at a sample, and those refused meanwhile.
    pub limits: Vec<MethodLimitSnapshot>,
    /// The ports.
    pub ports: Vec<PortInterval>,
}

/// A port in an interval.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PortInterval {
    /// Its name.
    pub name: Arc<str>,
    /// Its workers, at the end.
    pub workers: Workers,
    /// Calls that ran, on average; exact, those that have not ended included.
    pub busy: f64,
    /// Workers that were not idle, on average over the samples.
    pub workers_busy: f64,
    /// Of them those whose handlers waited without a permit.
    pub workers_blocked: f64,
    /// Of them those whose handlers had waited and were queued for a permit.
    pub workers_returning: f64,
    /// Connections open at the end.
    pub connections: u64,
    /// Workers whose handlers waited for the answer to a call that they made, on average over the samples.
    pub in_calls: f64,
    /// Calls that waited, on average over the samples.
    pub waiting: f64,
    /// Fewest calls that waited at a sample.
    pub waiting_min: u64,
    /// Calls of limited methods that waited for a place among those that run, on average over the samples: of each
    /// method in proportion to the calls of the ports. [`PortInterval::waiting`] has none of them.
    pub set_aside: f64,
    /// `Server_Queue_Limit`.
    pub queue_limit: u64,
    /// Share of the time (0 to 1) in which calls waited and a worker was idle, but there was no permit for it.
    pub without_permit: f64,
    /// Calls that arrived.
    pub calls: u64,
    /// Answers made.
    pub answers: AnswerCounts,
    /// Connections closed, by [`CloseReason::index`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Times the queue was full and refused calls, counted once until it could have been emptied.
    pub queue_filled: u64,
    /// Times of all its methods together.
    pub times: Parts<Distribution>,
    /// Its methods that were called or answered.
    pub methods: Vec<MethodInterval>,
}

/// A method in an interval.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MethodInterval {
    /// `service.method`.
    pub name: Arc<str>,
    /// Its calls that ran, on average; exact, those that have not ended included.
    pub busy: f64,
    /// Answers made.
    pub answers: AnswerCounts,
    /// Times of the calls that ran, where they ended.
    pub times: Parts<Distribution>,
}

impl Interval {
    /// The interval from the first to the last of several snapshots of one server, the oldest first; gauges are
    /// averages over all but the first. `None` for fewer than two.
    pub fn of(snapshots: &[Arc<Snapshot>]) -> Option<Interval> {
        let ([first, .., last], samples) = (snapshots, snapshots.get(1..)?) else { return None };
        let length = last.taken.saturating_duration_since(first.taken);
        let share = |time: Duration| time.as_secs_f64() / length.as_secs_f64().max(1e-9);
        let mean = |gauge: &dyn Fn(&Snapshot) -> f64| {
            samples.iter().map(|snapshot| gauge(snapshot)).sum::<f64>() / samples.len() as f64
        };
        let of_machine = last.cpu.idle_and_stolen.zip(first.cpu.idle_and_stolen);
        let refused = |count: fn(&PortCounts) -> u64| -> u64 {
            let all = |snapshot: &Snapshot| -> u64 {
                snapshot.ports.iter().map(|port| count(&port.counters)).sum()
            };
            all(last).saturating_sub(all(first))
        };
        let ports = last.ports.iter().enumerate().filter_map(|(index, after)| {
            let before = first.ports.get(index)?;
            let gauge =
                |gauge: &dyn Fn(&PortSnapshot) -> f64| mean(&|snapshot| gauge(&snapshot.ports[index]));
            let methods = called_methods(before, after, length);
            Some(PortInterval {
                name: Arc::clone(&after.name),
                workers: after.workers,
                busy: methods.iter().map(|method| method.busy).sum(),
                workers_busy: gauge(&|port| f64::from(port.workers.total() - port.workers.idle)),
                workers_blocked: gauge(&|port| f64::from(port.workers.blocked)),
                workers_returning: gauge(&|port| f64::from(port.workers.returning)),
                connections: after.connections,
                in_calls: gauge(&|port| port.in_calls as f64),
                waiting: gauge(&|port| port.waiting as f64),
                waiting_min: samples.iter().map(|snapshot| snapshot.ports[index].waiting).min().unwrap_or(0),
                set_aside: 0.0,
                queue_limit: after.queue_limit,
                without_permit: share(after.without_permit.saturating_sub(before.without_permit)).min(1.0),
                calls: after.calls.saturating_sub(before.calls),
                answers: after.answers.since(&before.answers),
                closed: std::array::from_fn(|index| after.closed[index].saturating_sub(before.closed[index])),
                queue_filled: after.counters.queue_filled.saturating_sub(before.counters.queue_filled),
                times: sum(methods.iter().map(|method| &method.times)),
                methods,
            })
        });
        let mut ports: Vec<PortInterval> = ports.collect();
        for limit in &last.limits {
            set_aside(&mut ports, &limit.method, mean(&|snapshot| waiting(&limit.method, snapshot) as f64));
        }
        Some(Interval {
            length,
            cores: last.cpu.cores,
            cores_used: share(last.cpu.used.saturating_sub(first.cpu.used)),
            cores_idle_and_stolen: of_machine.map(|(after, before)| {
                (share(after.0.saturating_sub(before.0)), share(after.1.saturating_sub(before.1)))
            }),
            cores_wanted: last
                .cpu
                .wanted
                .zip(first.cpu.wanted)
                .map_or(0.0, |(after, before)| share(after.saturating_sub(before))),
            limit: last.permits.limit,
            permits_out: mean(&|snapshot| f64::from(snapshot.permits.out)),
            connections: last.connections,
            refused_descriptors: refused(|counts| counts.refused_descriptors),
            refused_connects: refused(|counts| counts.refused_connects),
            connects_most: last.connects_most,
            sessions: last.sessions,
            limits: limits(first, last, samples),
            ports,
        })
    }

    /// Answers per second, over all ports.
    pub fn answers_per_second(&self) -> f64 {
        let answers: u64 = self.ports.iter().map(|port| port.answers.all()).sum();
        self.per_second(answers)
    }

    /// The rate of `count` events, per second.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(1e-9)
    }

    /// Times over all ports.
    pub fn times(&self) -> Parts<Distribution> {
        sum(self.ports.iter().map(|port| &port.times))
    }
}

/// The limits at the last of these snapshots, with the fewest that waited at one of them and those refused since the
/// first.
fn limits(first: &Snapshot, last: &Snapshot, samples: &[Arc<Snapshot>]) -> Vec<MethodLimitSnapshot> {
    let refused = |method: &str, snapshot: &Snapshot| {
        let known = snapshot.limits.iter().find(|limit| limit.method == method);
        known.map_or(0, |limit| limit.refused)
    };
    let of_last = |limit: &MethodLimitSnapshot| MethodLimitSnapshot {
        waiting: samples.iter().map(|snapshot| waiting(&limit.method, snapshot)).min().unwrap_or(0),
        refused: limit.refused.saturating_sub(refused(&limit.method, first)),
        ..limit.clone()
    };
    last.limits.iter().map(of_last).collect()
}

/// Calls of a limited method that wait for a place.
fn waiting(method: &str, snapshot: &Snapshot) -> u64 {
    let known = snapshot.limits.iter().find(|limit| limit.method == method);
    known.map_or(0, |limit| limit.waiting)
}

/// Adds calls of a method that wait for a place to the ports, in proportion to its answers there; where none was made,
/// to its calls that ran.
fn set_aside(ports: &mut [PortInterval], method: &str, waiting: f64) {
    if waiting <= 0.0 {
        return;
    }
    let weights = |of: fn(&MethodInterval) -> f64| -> Vec<f64> {
        let in_port = |port: &PortInterval| {
            port.methods.iter().filter(|known| &*known.name == method).map(of).sum::<f64>()
        };
        ports.iter().map(in_port).collect()
    };
    let by_answers = weights(|method| method.answers.all() as f64);
    let none = by_answers.iter().all(|weight| *weight <= 0.0);
    let weights = if none { weights(|method| method.busy) } else { by_answers };
    let sum = weights.iter().sum::<f64>().max(1e-9);
    for (port, weight) in ports.iter_mut().zip(weights) {
        port.set_aside += waiting * weight / sum;
    }
}

/// The methods that were answered, or ran, between two snapshots of a port.
fn called_methods(before: &PortSnapshot, after: &PortSnapshot, length: Duration) -> Vec<MethodInterval> {
    // Both are in the order of the methods' numbers, and a method that was called once stays. There may be
    // thousands, so they are merged and not searched.
    let mut earlier = before.methods.iter().peekable();
    let methods = after.methods.iter().map(|method| {
        let earlier = earlier.next_if(|earlier| earlier.name == method.name);
        let ran_before = earlier.map_or(Duration::ZERO, time_run);
        let ran = time_run(method).saturating_sub(ran_before).as_secs_f64();
        MethodInterval {
            name: Arc::clone(&method.name),
            busy: ran / length.as_secs_f64().max(1e-9),
            answers: earlier.map_or(method.answers, |earlier| method.answers.since(&earlier.answers)),
            times: earlier.map_or_else(|| method.times.clone(), |earlier| method.times.since(&earlier.times)),
        }
    });
    methods.filter(|method| method.answers.all() > 0 || method.busy > 0.0).collect()
}

/// How long calls of a method have run so far, those that run now included.
fn time_run(method: &MethodSnapshot) -> Duration {
    method.times.run.sum() + method.running.1
}

fn sum<'a>(all: impl Iterator<Item = &'a Parts<Distribution>>) -> Parts<Distribution> {
    all.fold(Parts::default(), |mut sum: Parts<Distribution>, one| {
        sum.add(one);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sample_snapshots::{method, port, snapshot};
    use crate::service::Status;
    use std::time::Instant;

    #[test]
    fn calls_set_aside_are_of_the_ports_that_call_the_method() {
        let start = Instant::now();
        let of = |seconds: u64, waiting: u64, runs: [&[u64]; 2]| {
            let ports = ["P", "Q"].into_iter().zip(runs).map(|(name, ran)| {
                let mut methods = vec![method("a.b", ran), method("a.c", &[5])];
                methods[0].answers.0[Status::Ok.index()] = ran.len() as u64;
                PortSnapshot { methods, ..port(name) }
            });
            let limit = MethodLimitSnapshot {
                method: "a.b".to_owned(),
                run: 1,
                wait: 100,
                running: 1,
                waiting,
                refused: 0,
            };
            let ports = ports.collect();
            let limits = vec![limit];
            Arc::new(Snapshot { limits, ..snapshot(start, Duration::from_secs(seconds), ports) })
        };
        let all = [of(0, 90, [&[], &[]]), of(1, 6, [&[1], &[]]), of(2, 10, [&[1, 1, 1], &[1]])];
        let interval = Interval::of(&all).expect("three make an interval");
        let aside: Vec<f64> = interval.ports.iter().map(|port| port.set_aside).collect();
        assert_eq!(aside, [6.0, 2.0]);
        assert_eq!(interval.limits[0].waiting, 6, "the fewest");
    }
}
