//! Hedging: a second attempt of a slow call while the first is in flight; the first outcome counts.
//!
//! Invariant: two attempts of a call are in flight at once only where its method is idempotent.

use super::policy::may_repeat;
use crate::client::call_spec::CallSpec;
use crate::client::client::Client;
use crate::client::connection::Waiter;
use crate::client::pending::Pending;
use crate::client::reply::Reply;
use crate::service::ClientError;
use crate::service::blocking;
use crate::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};
use std::time::Instant;

impl Client {
    /// Makes a call once, or twice at once if it is to be hedged. Blocks.
    pub(super) fn attempt<Response>(
        &self,
        call: &CallSpec<'_, Response>,
    ) -> Result<Reply<Response>, ClientError> {
        let mut first = self.send(call, Waiter::Thread)?;
        let Some(hedge_after) = self.shared.retry.hedge_after(call.idempotent) else {
            return first.wait_timed();
        };
        if let Some(outcome) = first.wait_for(hedge_after) {
            return outcome;
        }
        match self.hedge(call) {
            Some(second) => race(first, second, call.deadline),
            None => first.wait_timed(),
        }
    }

    /// Sends the second attempt if that can be done at once.
    fn hedge<Response>(&self, call: &CallSpec<'_, Response>) -> Option<Pending<Response>> {
        let connection = self.shared.dialer.open_connection()?;
        if !self.shared.retry.may_hedge() {
            return None;
        }
        self.shared.retry.admit().ok()?;
        self.send_on(&connection, call, Waiter::Task, Some(Instant::now())).ok()?
    }
}

/// Returns the first outcome that counts; the other call is then dropped, which cancels it. An error after which the
/// call could be repeated does not count while the other attempt is in flight.
fn race<Response>(
    mut first: Pending<Response>,
    mut second: Pending<Response>,
    deadline: Option<Instant>,
) -> Result<Reply<Response>, ClientError> {
    let signal = Arc::new(WakeSignal::default());
    let waker = Waker::from(Arc::clone(&signal));
    loop {
        let (outcome, other) = match first.poll_outcome(&waker) {
            Some(outcome) => (outcome, second),
            None => match second.poll_outcome(&waker) {
                Some(outcome) => (outcome, first),
                None if blocking(|| signal.wait(deadline)) => continue,
                // Both are late.
                None => return first.wait_timed(),
            },
        };
        return match outcome {
            Err(error) if may_repeat(&error, true) => {
                other.wait_timed().map_err(|last| last.or_earlier(Some(error)))
            }
            counts => counts,
        };
    }
}

/// Wakes a thread that waits for either of two calls.
#[derive(Default)]
struct WakeSignal {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for WakeSignal {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

impl WakeSignal {
    /// Blocks until woken. Returns false if `deadline` passes first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            match deadline {
                None => self.changed.wait(&mut woken),
                Some(deadline) if self.changed.wait_until(&mut woken, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        std::mem::take(&mut woken)
    }
}
