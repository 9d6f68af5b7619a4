//! Refusals and closes between two samples. They come in bursts, so the last few windows of them are judged together.

use super::loads::most;
use crate::metrics::CloseReason;
use crate::monitor::interval::Interval;
use crate::monitor::window::Window;
use crate::service::Status;
use std::collections::BTreeMap;
use std::time::Duration;

/// Samples whose refusals are remembered.
pub(super) const REFUSALS_KEPT: usize = 10;

/// In how many of these something must be refused before it is more than an accident.
const REFUSING_SAMPLES: usize = 2;

/// Refusals between two samples.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalWindow {
    pub(super) length: Duration,
    pub(super) descriptors: u64,
    pub(super) buffers: u64,
    /// Connections closed since the buffers were full.
    pub(super) closed_for_buffers: u64,
    /// Calls that ran, by port.
    pub(super) served: Vec<u64>,
    /// Connections and sessions over `Server_MaxUsers`.
    pub(super) users: u64,
    /// Connections and sessions under `Server_Restricted`.
    pub(super) restricted: u64,
    pub(super) connects: u64,
    pub(super) session_calls: u64,
    /// Calls over `Server_Client_Calls`.
    pub(super) client_calls: u64,
    /// Calls over the limit of their method, by method.
    pub(super) method_limits: BTreeMap<String, u64>,
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
            served: interval.ports.iter().map(|port| port.times.run.count()).collect(),
            closed_for_buffers: closed(CloseReason::BuffersFull),
            users: closed(CloseReason::MaxUsers) + all(Status::MaxUsers),
            restricted: closed(CloseReason::Restricted) + all(Status::Restricted),
            connects: interval.refused_connects,
            session_calls: all(Status::SessionLimit),
            client_calls: all(Status::ClientLimit),
            method_limits: interval
                .limits
                .iter()
                .map(|limit| (limit.method.clone(), limit.refused))
                .collect(),
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
fn refused(all: &Window<RefusalWindow>, of: impl Fn(&RefusalWindow) -> u64) -> (usize, u64) {
    let refusing = all.iter().map(of).filter(|count| *count > 0);
    refusing.fold((0, 0), |(samples, sum), count| (samples + 1, sum + count))
}

/// How much was refused in all, if it was again and again.
pub(super) fn refused_again(all: &Window<RefusalWindow>, of: impl Fn(&RefusalWindow) -> u64) -> Option<u64> {
    let (samples, count) = refused(all, of);
    (samples >= REFUSING_SAMPLES).then_some(count)
}

/// The time in which refusals were counted, as text.
pub(super) fn time_covered(all: &Window<RefusalWindow>) -> String {
    let time: Duration = all.iter().map(|refusals| refusals.length).sum();
    format!("within {:.0} s", time.as_secs_f64().max(1.0))
}
