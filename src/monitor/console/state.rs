//! State that the console keeps from one command to the next.

use crate::monitor::snapshot::Snapshot;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// State that the console keeps from one command to the next.
#[derive(Debug)]
pub(in crate::monitor) struct ConsoleState {
    log_performance: AtomicBool,
    /// The snapshot of the last reset of show transactions.
    pub(super) reset: Mutex<Option<Arc<Snapshot>>>,
    /// A simulation runs.
    simulates: AtomicBool,
}

/// The right to simulate, which one command has at a time: a simulation takes a processor, and any client that may look
/// can ask for one.
#[derive(Debug)]
pub(super) struct SimulationTurn<'a>(&'a AtomicBool);

impl Drop for SimulationTurn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

// Relaxed: no other memory depends on these.
impl ConsoleState {
    pub(in crate::monitor) fn new(log_performance: bool) -> ConsoleState {
        ConsoleState {
            log_performance: AtomicBool::new(log_performance),
            reset: Mutex::default(),
            simulates: AtomicBool::new(false),
        }
    }

    /// Returns the log line of a minute with this many answers, if it is logged.
    pub(in crate::monitor) fn performance(&self, answers: u64, snapshot: &Snapshot) -> Option<String> {
        let logged = self.log_performance.load(Ordering::Relaxed);
        logged.then(|| format!("{answers} Transactions/Minute, {} Sessions", snapshot.sessions.open))
    }

    pub(super) fn set_performance(&self, logged: bool) {
        self.log_performance.store(logged, Ordering::Relaxed);
    }

    /// Returns the right to simulate; `None` while another command has it.
    pub(super) fn begin_simulation(&self) -> Option<SimulationTurn<'_>> {
        (!self.simulates.swap(true, Ordering::Relaxed)).then(|| SimulationTurn(&self.simulates))
    }

    /// Switches the line on or off. Returns whether it is on now.
    pub(super) fn toggle_performance(&self) -> bool {
        !self.log_performance.fetch_xor(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_simulation_runs_at_a_time() {
        let state = ConsoleState::new(false);
        let turn = state.begin_simulation().expect("none runs");
        assert!((0..2).all(|_| state.begin_simulation().is_none()));
        drop(turn);
        assert!(state.begin_simulation().is_some());
    }
}
