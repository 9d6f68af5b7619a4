//! The evidence of a finding: the figures of a few samples, the states of the workers' threads, and the workload that
//! the simulation is fed with, put together.

use super::experiment::Experiment;
use super::loads::{FULL, Load, Processors, most};
use super::refusal_window::RefusalWindow;
use super::verdict::Cause;
use crate::config::Config;
use crate::monitor::interval::{Interval, MethodInterval};
use crate::monitor::looks::{Looks, ThreadShares};
use crate::monitor::simulation::{PresentLoad, Workload};
use crate::monitor::snapshot::{ConnectionInfo, Snapshot};
use crate::monitor::window::Window;
use std::cell::OnceCell;
use std::time::Duration;

/// Share that counts as full for a limit that the standing verdict names: figures at a bound do not change it.
const STILL_FULL: f64 = 0.8;

/// Observations besides the counts.
#[derive(Debug, Clone, Copy)]
pub(in crate::monitor) struct Observations<'a> {
    /// The states of the workers' threads.
    pub(in crate::monitor) looks: &'a Looks,
    /// The load that the simulation starts from, of the time that [`Diagnoser::recent`](super::Diagnoser::recent) asks
    /// for.
    pub(in crate::monitor) workload: Option<&'a Workload>,
}

/// The evidence of a few samples.
pub(super) struct Evidence<'a> {
    pub(super) interval: &'a Interval,
    pub(super) config: &'a Config,
    pub(super) loads: Vec<Load<'a>>,
    pub(super) processors: Processors,
    pub(super) refusals: &'a Window<RefusalWindow>,
    /// The connections asked for last; none if nothing waits.
    pub(super) connections: &'a [ConnectionInfo],
    /// The snapshots of an hour ago and of now. `None` if the server started later.
    pub(super) hour: Option<(&'a Snapshot, &'a Snapshot)>,
    /// The states of the workers' threads.
    pub(super) looks: &'a Looks,
    /// The load that the simulation starts from; `None` while nothing presses, or too little was recorded.
    pub(super) workload: Option<&'a Workload>,
    /// That load simulated, once it is asked for.
    pub(super) simulated: OnceCell<PresentLoad<'a>>,
    /// The last change of a setting.
    pub(super) experiment: Option<&'a Experiment>,
    /// The verdict that stands.
    pub(super) standing: &'a Cause,
}

/// The setting that keeps calls waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// All permits are out.
    Permits,
    /// All workers of this port are busy.
    Workers(usize),
}

impl<'a> Evidence<'a> {
    pub(super) fn has_backlog(&self) -> bool {
        self.loads.iter().any(Load::has_backlog)
    }

    pub(super) fn sum(&self, of: impl Fn(&Load<'_>) -> f64) -> f64 {
        self.loads.iter().map(of).sum()
    }

    /// The load that expectations start from, if enough was recorded.
    pub(super) fn present(&self) -> Option<&PresentLoad<'a>> {
        let load = self.workload?;
        Some(self.simulated.get_or_init(|| PresentLoad::of(load)))
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

    /// The ports whose workers calls wait for, the worst first.
    pub(super) fn limited_ports(&self) -> Vec<usize> {
        let worst = self.left_over_most(|load| load.limited());
        let others = (0..self.loads.len()).filter(|port| Some(*port) != worst && self.loads[*port].limited());
        worst.into_iter().chain(others).collect()
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
        let standing = *self.standing == Cause::Cpu;
        self.processors.full(self.running(), if standing { STILL_FULL / FULL } else { 1.0 })
    }

    pub(super) fn permits_full(&self) -> bool {
        let full = if *self.standing == Cause::Throttle { STILL_FULL } else { FULL };
        self.interval.limit.is_some_and(|limit| self.interval.permits_out >= full * f64::from(limit))
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

    /// States of the threads that run a method of a port.
    pub(super) fn threads(&self, at: usize, method: &str) -> Option<ThreadShares> {
        self.looks.of(&self.loads[at].port.name, method)
    }

    /// The setting that calls wait for, if it is one.
    pub(super) fn bottleneck(&self) -> Option<Bottleneck> {
        let returning = self.sum(|load| load.port.workers_returning);
        // A call that is refused at once does not wait for a permit.
        let refused = self.loads.iter().any(|load| load.refuses() && !load.full());
        let waits = if *self.standing == Cause::Throttle { 0.4 } else { 0.5 };
        if self.permits_full() && (self.without_permit() >= waits || returning >= 1.0 || refused) {
            return Some(Bottleneck::Permits);
        }
        self.left_over_most(|load| load.limited()).map(Bottleneck::Workers)
    }

    /// The port at which calls wait for the bottleneck.
    pub(super) fn port_of(&self, bottleneck: Bottleneck) -> usize {
        match bottleneck {
            Bottleneck::Permits => self.worst(),
            Bottleneck::Workers(port) => port,
        }
    }
}
