//! State that the console keeps from one command to the next.

use crate::monitor::snapshot::Snapshot;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// State that the console keeps from one command to the next.
#[derive(Debug)]
pub(in crate::monitor) struct ConsoleState {
    log_performance: AtomicBool,
    /// The snapshot of the last reset of show transactions.
    pub(super) reset: Mutex<Option<Arc<Snapshot>>>,
}

// Relaxed: nothing depends on it but a line of the log.
impl ConsoleState {
    pub(in crate::monitor) fn new(log_performance: bool) -> ConsoleState {
        ConsoleState { log_performance: AtomicBool::new(log_performance), reset: Mutex::default() }
    }

    /// Returns the log line of a minute with this many answers, if it is logged.
    pub(in crate::monitor) fn performance(&self, answers: u64, snapshot: &Snapshot) -> Option<String> {
        let logged = self.log_performance.load(Ordering::Relaxed);
        logged.then(|| format!("{answers} Transactions/Minute, {} Sessions", snapshot.sessions.open))
    }

    pub(super) fn set_performance(&self, logged: bool) {
        self.log_performance.store(logged, Ordering::Relaxed);
    }

    /// Switches the line on or off. Returns whether it is on now.
    pub(super) fn toggle_performance(&self) -> bool {
        !self.log_performance.fetch_xor(true, Ordering::Relaxed)
    }
}
