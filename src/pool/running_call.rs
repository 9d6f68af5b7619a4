//! Description of a running transaction for the log and for a stopped server.

use super::port::PortShared;
use super::shared::Shared;
use super::worker_slot::{Progress, WorkerSlot};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A running transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningCall {
    /// Name of its port.
    pub port: String,
    /// `service.method`.
    pub method: String,
    /// Address of the client.
    pub peer: SocketAddr,
    /// The client's number for the call.
    pub call: u64,
    /// Number of its worker, from 1.
    pub worker: usize,
    /// How long it has run, its waits included.
    pub ran: Duration,
}

impl std::fmt::Display for RunningCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RunningCall { port, method, peer, call, worker, ran } = self;
        let seconds = ran.as_secs_f64();
        write!(
            f,
            "port {port}: {method} of {peer} (call {call}) has run for {seconds:.1} s on worker {worker}"
        )
    }
}

impl PortShared {
    /// The transactions that run now.
    pub(crate) fn running_calls(&self, shared: &Shared, now: Instant) -> Vec<RunningCall> {
        self.running_calls_by(shared, |slot| slot.progress(now)).collect()
    }

    /// The transactions that `progress` returns of the worker slots.
    pub(super) fn running_calls_by(
        &self,
        shared: &Shared,
        progress: impl Fn(&WorkerSlot) -> Option<Progress>,
    ) -> impl Iterator<Item = RunningCall> {
        self.slots.iter().zip(1..).filter_map(move |(slot, worker)| {
            let Progress { call, peer, ran, .. } = progress(slot)?;
            let (port, method) = (self.name.clone(), shared.services.name(call.method).to_owned());
            Some(RunningCall { port, method, peer, call: call.id, worker, ran })
        })
    }
}
