//! How full ports and processors are, by the numbers of an [`Interval`].
//!
//! The mean number of calls in a place is the time that all calls spent there by the time that passed (Little's law).

use crate::monitor::interval::{Interval, PortInterval};
use crate::service::Status;

/// Statuses of calls for which a port has no place, or not soon enough.
pub(super) const REFUSED: [Status; 3] = [Status::QueueFull, Status::WouldBeLate, Status::Overloaded];

/// Fewest calls whose times are used.
const CALLS_MIN: u64 = 20;

/// Shortest mean run, in seconds, that shows how busy a worker is: of shorter ones the time between two counts too.
const RUN_MIN: f64 = 0.000_2;

/// Share from which on a pool, the permits or the processors are full.
pub(super) const FULL: f64 = 0.9;

/// Smallest gain that counts: the measurement is not finer.
pub(super) const WORTH: f64 = 1.1;

#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) port: &'a PortInterval,
    /// Of the samples, in seconds.
    pub(super) length: f64,
    pub(super) workers: f64,
    /// Workers that run a handler or wait in one.
    pub(super) busy: f64,
    pub(super) waiting: f64,
    /// Mean times of a call, in seconds: queue and permit together, and run. 0 where no call ended.
    pub(super) wait: f64,
    pub(super) run: f64,
    pub(super) per_s: f64,
    /// Calls refused per second for overload.
    pub(super) refused_per_s: f64,
}

impl<'a> Load<'a> {
    pub(super) fn of(port: &'a PortInterval, interval: &Interval) -> Load<'a> {
        let length = interval.length.as_secs_f64().max(1e-9);
        let (times, ran) = (&port.times, port.times.run.count());
        let workers = f64::from(port.workers.total());
        // The wait for a method's limit, which is part of the queue wait, is no wait for workers or permits.
        let waited = (times.queue_wait.sum() + times.permit_wait.sum()).as_secs_f64();
        let waited = (waited - port.set_aside * length).max(0.0);
        let run = times.run.sum().as_secs_f64() / ran.max(1) as f64;
        // Of short calls the time between two of them counts too, which only the gauge shows.
        let between = ran > 0 && run < RUN_MIN;
        let busy = if between { port.busy.max(port.workers_busy) } else { port.busy };
        let waiting = if ran >= CALLS_MIN { waited / length } else { port.waiting.max(waited / length) };
        Load {
            port,
            length,
            workers,
            busy: busy.min(workers),
            waiting: if port.waiting_min as f64 > waiting { port.waiting } else { waiting },
            wait: waited / ran.max(1) as f64,
            run,
            per_s: ran as f64 / length,
            refused_per_s: REFUSED.iter().map(|status| port.answers.with(*status)).sum::<u64>() as f64
                / length,
        }
    }

    /// Returns whether calls wait, and for long; or so many are refused instead that it matters.
    pub(super) fn has_backlog(&self) -> bool {
        self.refuses() || self.waiting >= 1.0 && (self.per_s == 0.0 || self.wait >= 0.25 * self.run)
    }

    /// Returns whether calls wait for its workers.
    pub(super) fn limited(&self) -> bool {
        self.has_backlog() && self.full()
    }

    /// Returns whether a good part of the calls is refused.
    pub(super) fn refuses(&self) -> bool {
        self.refused_per_s > (WORTH - 1.0) * self.per_s
    }

    /// Returns whether nearly always no worker is idle.
    pub(super) fn full(&self) -> bool {
        self.busy >= FULL * self.workers
    }

    /// Calls started and waiting.
    pub(super) fn in_flight(&self) -> f64 {
        self.busy + self.waiting
    }

    /// Calls without a place: they wait, or are refused and would take as long as the others.
    pub(super) fn left_over(&self) -> f64 {
        self.waiting + self.refused_per_s * self.run
    }
}

/// Use of the processors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processors {
    pub(super) cores: f64,
    pub(super) used: f64,
    /// Idle processors of the machine, within this process's share; `None` where the system does not say.
    pub(super) idle: Option<f64>,
    pub(super) stolen: f64,
    /// Use by other programs; 0 where the system does not say.
    pub(super) others: f64,
    /// Threads of this process that were ready to run and had none.
    pub(super) wanted: f64,
}

impl Processors {
    pub(super) fn of(interval: &Interval) -> Processors {
        let cores = f64::from(interval.cores.max(1));
        let used = interval.cores_used.clamp(0.0, cores);
        let (idle, stolen) = interval.cores_idle_and_stolen.unzip();
        let idle = idle.map(|idle| idle.clamp(0.0, cores - used));
        let stolen = stolen.unwrap_or(0.0).min(cores);
        Processors {
            cores,
            used,
            idle,
            stolen,
            others: idle.map_or(0.0, |idle| (cores - used - idle - stolen).max(0.0)),
            wanted: interval.cores_wanted,
        }
    }

    /// Returns whether nothing is gained by running more than `running` handlers: this process has all it may use; or
    /// the machine has nothing left, and this process a good part of it, or half of its handlers wait for a processor.
    /// A `scale` below 1 lowers all three bounds.
    pub(super) fn full(&self, running: f64, scale: f64) -> bool {
        let none_idle = self.idle.unwrap_or(self.cores - self.used) <= 0.1 * self.cores / scale;
        let starved = running > self.cores && self.wanted >= 0.5 * scale * running;
        self.used >= 0.85 * scale * self.cores
            || (none_idle && (starved || self.used >= 0.4 * scale * self.cores))
    }

    /// How many times as much this process could use, if the others go on as they do: 1 or more. A machine that is
    /// busy with other things shares fairly.
    pub(super) fn room(&self) -> f64 {
        let used = self.used.max(1e-6);
        let idle = self.idle.unwrap_or(self.cores - self.used);
        ((used + idle).max(self.cores / 2.0).min(self.cores) / used).max(1.0)
    }
}

/// Of ports, each with how much it has of something, the first that has at least half of what any has: of those that
/// are alike always the same one. `None` if there are none.
pub(super) fn most(all: impl Iterator<Item = (usize, f64)> + Clone) -> Option<usize> {
    let half = 0.5 * all.clone().map(|(_, much)| much).fold(0.0, f64::max);
    all.into_iter().find(|(_, much)| *much >= half).map(|(port, _)| port)
}

/// The next number that looks like a setting: a multiple of ten above 20.
pub(super) fn round_up(count: f64) -> u32 {
    let count = count.ceil().clamp(1.0, 1e7) as u32;
    if count <= 20 { count } else { count.div_ceil(10) * 10 }
}
