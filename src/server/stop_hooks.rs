//! Code of the program that runs at the end of a stop.

use crate::service::panic_text;
use crate::sync::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Code of the program that runs once the server has stopped.
pub(super) type StopHook = Box<dyn FnOnce() + Send>;

/// The hooks, in the order in which they run.
#[derive(Default)]
pub(super) struct StopHooks(Mutex<Vec<StopHook>>);

impl StopHooks {
    pub(super) fn new(hooks: Vec<StopHook>) -> StopHooks {
        StopHooks(Mutex::new(hooks))
    }

    /// Runs all of them, each once. A panic in one is logged, and the next runs.
    pub(super) fn run(&self) {
        let hooks = std::mem::take(&mut *self.0.lock());
        for hook in hooks {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
                log::error!("on_stop panicked: {}", panic_text(panic));
            }
        }
    }
}

impl fmt::Debug for StopHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopHooks").field(&self.0.lock().len()).finish()
    }
}
