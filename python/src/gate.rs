//! `Gate`: the calls of one event loop. Answers reach it through a socket that the loop watches.
//!
//! The client's reader thread notes which calls have answers and rings once for all of them; it never waits for the
//! interpreter. The loop then takes them all. No thread waits for a call.

use crate::client::{Client, waited};
use crate::fork::{Birth, Ours};
use crate::timeout::Timeout;
use crate::{decode, encode, errors};
use boneyard::ClientError;
use boneyard::client::Reply;
use boneyard::internal::client::TrySend;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The calls of one event loop. All but `send` are for the loop's own thread.
#[pyclass(module = "boneyard._boneyard", frozen)]
#[derive(Debug)]
pub(crate) struct Gate {
    bell: Arc<Bell>,
    /// What the loop watches.
    heard: UnixStream,
    /// Locked for moments only, and never while Python code runs.
    calls: Mutex<HashMap<u64, Out>>,
    last_call: AtomicU64,
    birth: Birth,
}

/// A call that has begun and would have had to wait to be sent.
#[pyclass(module = "boneyard._boneyard", frozen)]
#[derive(Debug)]
pub(crate) struct UnsentCall(Mutex<Option<Ours<boneyard::internal::client::UnsentCall>>>);

#[derive(Debug)]
struct Out {
    call: Ours<boneyard::Pending<String>>,
    /// The asyncio future.
    future: Py<PyAny>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Bell {
    /// Calls to look at. Rung when the first comes.
    due: Mutex<Vec<u64>>,
    ringer: UnixStream,
}

/// The waker of one call.
struct Due {
    bell: Arc<Bell>,
    call: u64,
}

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.bell.ring(self.call);
    }
}

impl Bell {
    fn due(&self) -> MutexGuard<'_, Vec<u64>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, call: u64) {
        let mut due = self.due();
        due.push(call);
        let first = due.len() == 1;
        drop(due);
        if first {
            // A full socket is heard anyway; a closed one is nobody's.
            let _ = (&self.ringer).write(&[0]);
        }
    }
}

type Outcome = Result<Reply<String>, ClientError>;

impl Gate {
    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Out>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call in.
    fn watch(&self, call: boneyard::Pending<String>, future: Py<PyAny>) -> u64 {
        let number = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        let mut out = Out { call: Ours::new(call), future, outcome: None };
        // With the lock, so that the loop does not look for it before it is there.
        let mut calls = self.calls();
        if self.look(number, &mut out) {
            self.bell.ring(number);
        }
        calls.insert(number, out);
        number
    }

    /// Is it over? If not, its waker will be called.
    fn look(&self, number: u64, out: &mut Out) -> bool {
        if out.outcome.is_none() {
            let waker = Waker::from(Arc::new(Due { bell: Arc::clone(&self.bell), call: number }));
            if let Poll::Ready(outcome) = out.call.get_mut().poll_timed(&mut Context::from_waker(&waker)) {
                out.outcome = Some(outcome);
            }
        }
        out.outcome.is_some()
    }

    /// The outcome of a call that is due; `None` if it is not over or not here any more.
    fn take(&self, number: u64) -> Option<(Outcome, Py<PyAny>)> {
        let mut calls = self.calls();
        let over = self.look(number, calls.get_mut(&number)?);
        let out = if over { calls.remove(&number) } else { None };
        drop(calls);
        out.and_then(|out| Some((out.outcome?, out.future)))
    }
}

#[pymethods]
impl Gate {
    #[new]
    fn new() -> PyResult<Gate> {
        let (ringer, heard) = UnixStream::pair()?;
        ringer.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let bell = Arc::new(Bell { due: Mutex::default(), ringer });
        Ok(Gate { bell, heard, calls: Mutex::default(), last_call: AtomicU64::new(0), birth: Birth::now() })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> i32 {
        self.heard.as_raw_fd()
    }

    /// Sends a call, and returns its number here, if that can be done at once. If not, what to give to `send`.
    fn begin<'py>(
        &self,
        py: Python<'py>,
        client: &Client,
        method: &str,
        arguments: Option<&Bound<'_, PyAny>>,
        timeout: Timeout,
        future: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (native, json) = (client.native(timeout)?, encode::json(arguments)?);
        match waited(py, native.try_start_json(method, &json))? {
            TrySend::Sent(call) => self.watch(call, future).into_bound_py_any(py),
            TrySend::Unsent(call) => UnsentCall(Mutex::new(Some(Ours::new(call)))).into_bound_py_any(py),
        }
    }

    /// Waits for the connection and sends a call, once. Its outcome goes to the future. For a thread that may wait.
    fn send(&self, py: Python<'_>, unsent: &UnsentCall, future: Py<PyAny>) -> PyResult<u64> {
        self.birth.check()?;
        let call = unsent.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let call = call.ok_or_else(|| PyValueError::new_err("the call was sent already"))?.into_inner();
        Ok(self.watch(waited(py, py.detach(|| call.send()))?, future))
    }

    /// The loop heard the bell: gives their outcomes to all futures whose calls are over.
    fn answer(&self, py: Python<'_>) -> PyResult<()> {
        self.birth.check()?;
        // First the bell, then the calls: what comes in between rings again.
        let _ = (&self.heard).read(&mut [0; 64]);
        let due = std::mem::take(&mut *self.bell.due());
        for number in due {
            let Some((outcome, future)) = self.take(number) else { continue };
            let future = future.bind(py);
            if future.call_method0(intern!(py, "done"))?.is_truthy()? {
                continue;
            }
            let result = match outcome {
                Ok(reply) => decode::object(py, &reply.response),
                Err(error) => Err(errors::exception(py, &error)),
            };
            match result {
                Ok(result) => future.call_method1(intern!(py, "set_result"), (result,))?,
                Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
            };
        }
        Ok(())
    }

    /// Shows Python's collector the futures. They lead back here: a loop that was closed with calls out would never go,
    /// nor the connection. A call it does not see is only kept for longer.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(calls) = self.calls.try_lock() else { return Ok(()) };
        calls.values().try_for_each(|out| visit.call(&out.future))
    }

    fn __clear__(&self) {
        if self.birth.is_here() {
            let calls = std::mem::take(&mut *self.calls());
            drop(calls);
        }
    }

    /// Nobody waits for this call any more.
    fn cancel(&self, number: u64) {
        if self.birth.is_here() {
            let out = self.calls().remove(&number);
            drop(out);
        }
    }
}
