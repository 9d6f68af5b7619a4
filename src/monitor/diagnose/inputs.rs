//! The inputs of a finding: the figures of a few samples, put together. Refusals come in bursts, so the last few
//! windows of them are judged together.

use super::sizing::{FULL, Load, Processors, most};
use crate::config::Config;
use crate::metrics::CloseReason;
use crate::monitor::interval::{Interval, MethodInterval};
use crate::monitor::snapshot::{ConnectionInfo, Snapshot};
use crate::monitor::window::Window;
use crate::service::Status;
use std::time::Duration;

/// The figures of a few samples.
pub(super) struct Inputs<'a> {
    pub(super) interval: &'a Interval,
    pub(super) config: &'a Config,
    pub(super) loads: Vec<Load<'a>>,
    pub(super) processors: Processors,
    pub(super) refusals: &'a Window<RefusalWindow>,
    /// The connections asked for last; none if nothing waits.
    pub(super) connections: &'a [ConnectionInfo],
    /// The snapshots of an hour ago and of now. `None` if the server started later.
    pub(super) hour: Option<(&'a Snapshot, &'a Snapshot)>,
}

/// The setting that keeps calls waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// All permits are out.
    Permits,
    /// All workers of this port are busy.
    Workers(usize),
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        interval: &'a Interval,
        config: &'a Config,
        refusals: &'a Window<RefusalWindow>,
        connections: &'a [ConnectionInfo],
        hour: Option<(&'a Snapshot, &'a Snapshot)>,
    ) -> Inputs<'a> {
        let loads = interval.ports.iter().map(|port| Load::of(port, interval)).collect();
        let processors = Processors::of(interval);
        Inputs { interval, config, loads, processors, refusals, connections, hour }
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.loads.iter().any(Load::has_backlog)
    }

    pub(super) fn sum(&self, of: impl Fn(&Load<'_>) -> f64) -> f64 {
        self.loads.iter().map(of).sum()
    }

    /// Calls run per second, over all ports.
    pub(super) fn per_s(&self) -> f64 {
        self.sum(|load| load.per_s)
    }

    /// The port where most calls find no place.
    pub(super) fn worst(&self) -> usize {
        self.left_over_most(|_| true).unwrap_or(0)
    }

    /// The same among the ports of which this is true.
    fn left_over_most(&self, of: impl Fn(&Load<'_>) -> bool) -> Option<usize> {
        let ports = self.loads.iter().enumerate().filter(|(_, load)| of(load));
        most(ports.map(|(index, load)| (index, load.left_over())))
    }

    /// The share of the time in which calls of some port had a worker and no permit.
    pub(super) fn without_permit(&self) -> f64 {
        self.loads.iter().map(|load| load.port.without_permit).fold(0.0, f64::max)
    }

    /// Handlers that run, and do not wait in `tx.blocking`.
    pub(super) fn running(&self) -> f64 {
        self.sum(|load| load.busy - load.port.workers_blocked)
    }

    /// Returns whether so much more is refused than run that the use of the processors says nothing of a call that
    /// runs.
    pub(super) fn refuses_mostly(&self) -> bool {
        let refused = self.sum(|load| load.refused_per_s);
        refused > 0.0 && refused >= 10.0 * self.per_s()
    }

    pub(super) fn processors_full(&self) -> bool {
        self.processors.full(self.running())
    }

    pub(super) fn permits_full(&self) -> bool {
        self.interval.limit.is_some_and(|limit| self.interval.permits_out >= FULL * f64::from(limit))
    }

    /// The shortest run of a port's method within an hour, or since the start.
    pub(super) fn shortest(&self, at: usize, method: &MethodInterval) -> Duration {
        let runs = |snapshot: &'a Snapshot| {
            let methods = &snapshot.ports.get(at)?.methods;
            methods.iter().find(|known| known.name == method.name).map(|known| &known.times.run)
        };
        let recent = self.hour.and_then(|(before, now)| Some(runs(now)?.since(runs(before)?).shortest()));
        recent.unwrap_or(method.times.run.min())
    }

    /// The setting that calls wait for, if it is one.
    pub(super) fn bottleneck(&self) -> Option<Bottleneck> {
        let returning = self.sum(|load| load.port.workers_returning);
        // A call that is refused at once does not wait for a permit.
        let refused = self.loads.iter().any(|load| load.refuses() && !load.full());
        if self.permits_full() && (self.without_permit() >= 0.5 || returning >= 1.0 || refused) {
            return Some(Bottleneck::Permits);
        }
        self.left_over_most(|load| load.limited()).map(Bottleneck::Workers)
    }
}

/// Samples whose refusals are remembered.
pub(super) const REFUSALS_KEPT: usize = 10;

/// In how many of these something must be refused before it is more than an accident.
pub(super) const REFUSING_SAMPLES: usize = 2;

/// Refusals between two samples.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalWindow {
    pub(super) length: Duration,
    pub(super) descriptors: u64,
    pub(super) buffers: u64,
    /// Connections and sessions over `Server_MaxUsers`.
    pub(super) users: u64,
    /// Connections and sessions under `Server_Restricted`.
    pub(super) restricted: u64,
    pub(super) connects: u64,
    pub(super) session_calls: u64,
    /// By port.
    pub(super) queue_full: Vec<u64>,
    /// How often each queue was full, counted once until it could have been emptied.
    pub(super) queue_filled: Vec<u64>,
    pub(super) nested: Vec<u64>,
}

impl RefusalWindow {
    pub(super) fn of(interval: &Interval) -> RefusalWindow {
        let each =
            |status| -> Vec<u64> { interval.ports.iter().map(|port| port.answers.with(status)).collect() };
        let all = |status| -> u64 { each(status).iter().sum() };
        let closed = |reason: CloseReason| -> u64 {
            interval.ports.iter().map(|port| port.closed[reason.index()]).sum()
        };
        RefusalWindow {
            length: interval.length,
            descriptors: interval.refused_descriptors,
            buffers: all(Status::BuffersFull),
            users: closed(CloseReason::MaxUsers) + all(Status::MaxUsers),
            restricted: closed(CloseReason::Restricted) + all(Status::Restricted),
            connects: interval.refused_connects,
            session_calls: all(Status::SessionLimit),
            queue_full: each(Status::QueueFull),
            queue_filled: interval.ports.iter().map(|port| port.queue_filled).collect(),
            nested: each(Status::NestedDeadlock),
        }
    }

    /// The port that refused the most, if it did so again and again, and how much.
    pub(super) fn most(
        all: &Window<RefusalWindow>,
        of: impl Fn(&RefusalWindow) -> &Vec<u64>,
    ) -> Option<(usize, u64)> {
        let at = |port: usize| refused(all, |refusals| of(refusals).get(port).copied().unwrap_or(0));
        let ports = (0..all.newest()?.queue_full.len()).map(|port| (port, at(port)));
        let refusing = ports.filter(|(_, (samples, _))| *samples >= REFUSING_SAMPLES);
        let port = most(refusing.map(|(port, (_, count))| (port, count as f64)))?;
        Some((port, at(port).1))
    }
}

/// In how many of these samples something was refused, and how much in all.
pub(super) fn refused(all: &Window<RefusalWindow>, of: impl Fn(&RefusalWindow) -> u64) -> (usize, u64) {
    let refusing = all.iter().map(of).filter(|count| *count > 0);
    refusing.fold((0, 0), |(samples, sum), count| (samples + 1, sum + count))
}

/// The time in which refusals were counted, as text.
pub(super) fn time_covered(all: &Window<RefusalWindow>) -> String {
    let time: Duration = all.iter().map(|refusals| refusals.length).sum();
    format!("within {:.0} s", time.as_secs_f64().max(1.0))
}
