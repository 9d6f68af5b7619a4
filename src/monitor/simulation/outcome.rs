//! The result of a simulation, and the sums that it is made of.

use super::workload::{PortWorkload, Workload};

/// A simulated server, on average.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::monitor) struct Outcome {
    /// Calls run per second.
    pub(in crate::monitor) per_s: f64,
    pub(in crate::monitor) ports: Vec<PortOutcome>,
    pub(in crate::monitor) permits_out: f64,
    /// Processors used by this process.
    pub(in crate::monitor) processors_used: f64,
    /// Threads that had one or were ready to run.
    pub(in crate::monitor) processors_wanted: f64,
}

/// A simulated port, on average.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::monitor) struct PortOutcome {
    /// Calls run per second.
    pub(in crate::monitor) per_s: f64,
    /// Wait and run of a call, in seconds.
    pub(in crate::monitor) wait: f64,
    pub(in crate::monitor) run: f64,
    /// Calls that run, and that wait.
    pub(in crate::monitor) busy: f64,
    pub(in crate::monitor) waiting: f64,
    pub(in crate::monitor) refused_per_s: f64,
    /// In the order of the port's methods.
    pub(in crate::monitor) methods: Vec<MethodOutcome>,
}

/// A simulated method, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::monitor) struct MethodOutcome {
    pub(in crate::monitor) per_s: f64,
    pub(in crate::monitor) busy: f64,
    /// Calls that wait for a place under the method's limit.
    pub(in crate::monitor) set_aside: f64,
}

/// Sums over the simulated time.
#[derive(Debug, Default)]
pub(super) struct Tally {
    since: f64,
    at: f64,
    permits: f64,
    used: f64,
    wanted: f64,
    pub(super) ports: Vec<PortTally>,
}

#[derive(Debug, Default)]
pub(super) struct PortTally {
    at: f64,
    waiting: f64,
    pub(super) refused: f64,
    pub(super) started: u64,
    pub(super) wait_sum: f64,
    pub(super) methods: Vec<MethodTally>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MethodTally {
    pub(super) ended: u64,
    pub(super) run_sum: f64,
    busy: f64,
    set_aside: f64,
}

/// Ended calls from which on they are counted; of fewer the throughput follows from how many ran and for how long.
const ENDED_MIN: u64 = 100;

impl Tally {
    /// Begins at this time.
    pub(super) fn new(now: f64, load: &Workload) -> Tally {
        let port = |port: &PortWorkload| PortTally {
            at: now,
            methods: vec![MethodTally::default(); port.methods.len()],
            ..PortTally::default()
        };
        Tally { since: now, at: now, ports: load.ports.iter().map(port).collect(), ..Tally::default() }
    }

    /// Adds the time until now, in which so many permits were out and threads shared the processors at this pace.
    pub(super) fn pass(&mut self, now: f64, permits: u32, threads: usize, pace: f64) {
        let time = now - self.at;
        self.permits += time * f64::from(permits);
        self.used += time * threads as f64 * pace;
        self.wanted += time * threads as f64;
        self.at = now;
    }

    pub(super) fn outcome(&self, load: &Workload) -> Outcome {
        let time = (self.at - self.since).max(1e-9);
        let ports: Vec<PortOutcome> =
            self.ports.iter().zip(&load.ports).map(|(tally, port)| tally.outcome(port, time)).collect();
        Outcome {
            per_s: ports.iter().map(|port| port.per_s).sum(),
            ports,
            permits_out: self.permits / time,
            processors_used: self.used / time,
            processors_wanted: self.wanted / time,
        }
    }
}

impl PortTally {
    /// Adds the time until now, in which so many calls waited, ran and were set aside.
    pub(super) fn pass(&mut self, now: f64, waiting: u32, methods: impl Iterator<Item = (u32, u32)>) {
        let time = now - self.at;
        self.at = now;
        self.waiting += time * f64::from(waiting);
        for (tally, (running, aside)) in self.methods.iter_mut().zip(methods) {
            tally.busy += time * f64::from(running);
            tally.set_aside += time * f64::from(aside);
        }
    }

    fn outcome(&self, port: &PortWorkload, time: f64) -> PortOutcome {
        let methods = self.methods.iter().zip(&port.methods).map(|(tally, method)| {
            let busy = tally.busy / time;
            let mean = (tally.run_sum / tally.ended.max(1) as f64).max(method.run_s()).max(1e-9);
            let counted = tally.ended as f64 / time;
            let per_s = if tally.ended >= ENDED_MIN { counted } else { busy / mean };
            MethodOutcome { per_s, busy, set_aside: tally.set_aside / time }
        });
        let methods: Vec<MethodOutcome> = methods.collect();
        let (per_s, busy) = methods
            .iter()
            .fold((0.0, 0.0), |(per_s, busy), method| (per_s + method.per_s, busy + method.busy));
        PortOutcome {
            per_s,
            wait: self.wait_sum / self.started.max(1) as f64,
            run: if per_s > 0.0 { busy / per_s } else { 0.0 },
            busy,
            waiting: self.waiting / time,
            refused_per_s: self.refused / time,
            methods,
        }
    }
}
