//! `Pending`: a call that was sent.

use crate::client::waited;
use crate::decode;
use crate::fork::{ForkCount, ForkGuard};
use crate::timeout::Timeout;
use boneyard::ClientError;
use boneyard::client::{Reply, Times};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::mem::replace;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Interval at which a wait checks for signals.
const SLICE: Duration = Duration::from_millis(100);

/// A call that was sent, once. It is cancelled when the object is dropped.
#[pyclass(module = "boneyard", frozen)]
#[derive(Debug)]
pub(crate) struct Pending {
    place: Arc<Place>,
    forks: ForkCount,
}

/// Receives the outcome, as the call's waker. Its lock is held only briefly, and never while Python code runs.
#[derive(Debug)]
struct Place {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Out(ForkGuard<boneyard::Pending<String>>),
    Over(Arc<Result<Reply<String>, ClientError>>),
    Cancelled,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        // Under the lock, or a waiter between its check and its sleep would miss it.
        let held = self.lock();
        self.changed.notify_all();
        drop(held);
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the call, with its waker set. False while the call is out.
    fn look(self: &Arc<Self>, state: &mut State) -> bool {
        let State::Out(call) = state else { return true };
        let waker = Waker::from(Arc::clone(self));
        match call.get_mut().poll_timed(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => {
                *state = State::Over(Arc::new(outcome));
                self.changed.notify_all();
                true
            }
            Poll::Pending => false,
        }
    }

    fn is_over(self: &Arc<Self>) -> bool {
        self.look(&mut self.lock())
    }

    /// Waits until it is over, at most until `until`.
    fn wait(self: &Arc<Self>, until: Instant) {
        let mut state = self.lock();
        while !self.look(&mut state) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Cancels the call, if it is out.
    fn cancel(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if self.look(&mut state) {
            return false;
        }
        let call = replace(&mut *state, State::Cancelled);
        self.changed.notify_all();
        drop(state);
        drop(call);
        true
    }
}

impl Pending {
    pub(crate) fn new(call: boneyard::Pending<String>) -> Pending {
        let place = Place { state: Mutex::new(State::Out(ForkGuard::new(call))), changed: Condvar::new() };
        Pending { place: Arc::new(place), forks: ForkCount::now() }
    }

    /// The outcome of a call that is over.
    fn outcome(&self) -> PyResult<Arc<Result<Reply<String>, ClientError>>> {
        match &*self.place.lock() {
            State::Over(outcome) => return Ok(Arc::clone(outcome)),
            State::Out(_) => return Err(PyTimeoutError::new_err("the call is still out")),
            State::Cancelled => {}
        }
        // Without the lock: the import runs Python and releases the GIL to threads that may need the lock.
        Err(cancelled())
    }
}

/// Python's own exception for it.
fn cancelled() -> PyErr {
    static CANCELLED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Python::attach(|py| {
        let made = || CANCELLED.import(py, "concurrent.futures", "CancelledError")?.call0();
        made().map_or_else(|error| error, PyErr::from_value)
    })
}

#[pymethods]
impl Pending {
    /// Returns whether it is over: answered, failed or cancelled.
    fn done(&self) -> PyResult<bool> {
        self.forks.check()?;
        Ok(self.place.is_over())
    }

    /// Waits for the result, at most `timeout` seconds; by default until the call's own deadline.
    #[pyo3(signature = (timeout=Timeout::Never), text_signature = "($self, timeout=None)")]
    fn result<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Bound<'py, PyAny>> {
        self.forks.check()?;
        let until = match timeout {
            Timeout::After(timeout) => Instant::now().checked_add(timeout),
            Timeout::Never | Timeout::Usual => None,
        };
        while !self.place.is_over() {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                break;
            }
            let slice = until.map_or(now + SLICE, |until| until.min(now + SLICE));
            py.detach(|| self.place.wait(slice));
            py.check_signals()?;
        }
        let outcome = self.outcome()?;
        match &*outcome {
            Ok(reply) => decode::object(py, &reply.response),
            Err(error) => waited(py, Err(error.clone())),
        }
    }

    /// Cancels the call. The server does not run a call that it has not started. False if it is over already.
    fn cancel(&self) -> PyResult<bool> {
        self.forks.check()?;
        Ok(self.place.cancel())
    }

    /// Parts of its time in seconds (queue wait, permit wait, run), once it has a result; else `None`.
    #[getter]
    fn times<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static TIMES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if !self.done()? {
            return Ok(None);
        }
        let Ok(outcome) = self.outcome() else { return Ok(None) };
        let Ok(Reply { times: Times { queue_wait, permit_wait, run, .. }, .. }) = &*outcome else {
            return Ok(None);
        };
        let parts = (queue_wait.as_secs_f64(), permit_wait.as_secs_f64(), run.as_secs_f64());
        TIMES.import(py, "boneyard.times", "Times")?.call1(parts).map(Some)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The call refers to its waker and the waker to the call: neither would be dropped by itself. In the child of a
        // fork the lock may be held by a thread that does not exist.
        if self.forks.is_current() {
            self.place.cancel();
        }
    }
}
