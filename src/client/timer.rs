//! Timer that wakes futures at their deadline: an executor polls again only when it is woken.
//!
//! Blocking callers need none of this. The thread starts with the first future that has a deadline and ends with
//! its client. Knows slots and instants; knows no calls and no connections. Its lock is never held while a waker is
//! called.

use super::call_slot::CallSlot;
use super::error::ClientError;
use super::threads::spawn;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use std::collections::BTreeMap;
use std::time::Instant;

/// Deadlines of one client's futures.
#[derive(Debug, Default)]
pub(super) struct Timer(Arc<TimerThread>);

#[derive(Debug, Default)]
struct TimerThread {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By deadline, then by call, so that equal deadlines are two entries.
    deadlines: BTreeMap<(Instant, u64), Weak<CallSlot>>,
    running: bool,
    closed: bool,
}

impl Timer {
    /// Wakes the slot's task at `deadline`. Starts the thread if there is none.
    ///
    /// # Errors
    /// [`ClientError::NoThread`].
    pub(super) fn add(&self, deadline: Instant, call: u64, slot: &Arc<CallSlot>) -> Result<(), ClientError> {
        let mut state = self.0.state.lock();
        let first = state.deadlines.first_key_value().is_none_or(|(key, _)| deadline < key.0);
        state.deadlines.insert((deadline, call), Arc::downgrade(slot));
        let start = !std::mem::replace(&mut state.running, true);
        drop(state);
        if start {
            let thread = Arc::clone(&self.0);
            spawn("boneyard-client-timer", move || thread.run()).inspect_err(|_| {
                let mut state = self.0.state.lock();
                state.running = false;
                state.deadlines.remove(&(deadline, call));
            })?;
        } else if first {
            self.0.changed.notify_one();
        }
        Ok(())
    }

    /// Removes the deadline of a call that has ended.
    pub(super) fn remove(&self, deadline: Instant, call: u64) {
        self.0.state.lock().deadlines.remove(&(deadline, call));
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl TimerThread {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            match state.deadlines.first_key_value().map(|(key, _)| key.0) {
                None => self.changed.wait(&mut state),
                Some(next) if Instant::now() < next => {
                    self.changed.wait_until(&mut state, next);
                }
                Some(_) => {
                    let slot = state.deadlines.pop_first().and_then(|(_, slot)| slot.upgrade());
                    drop(state);
                    if let Some(slot) = slot {
                        slot.wake_task();
                    }
                    state = self.state.lock();
                }
            }
        }
    }
}
