//! `EventLoopBridge`: the calls of one event loop. Answers reach it through a socket that the loop watches.
//!
//! The thread of the client that reads records which calls have answers and wakes the loop once for all of them; it never waits
//! for the interpreter. The loop then takes them all. No thread waits for a call.

use crate::client::{Client, waited};
use crate::fork::{ForkCount, ForkGuard};
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

/// The pending calls of one event loop. All methods but `send` are for the loop's own thread.
#[pyclass(module = "boneyard._boneyard", frozen)]
#[derive(Debug)]
pub(crate) struct EventLoopBridge {
    notifier: Arc<Notifier>,
    /// The socket that the loop watches.
    receiver: UnixStream,
    /// Locked only briefly, and never while Python code runs.
    calls: Mutex<HashMap<u64, PendingCall>>,
    last_call: AtomicU64,
    forks: ForkCount,
}

/// A call that was started and would have to block to be sent.
#[pyclass(module = "boneyard._boneyard", frozen)]
#[derive(Debug)]
pub(crate) struct UnsentCall(Mutex<Option<ForkGuard<boneyard::internal::client::UnsentCall>>>);

#[derive(Debug)]
struct PendingCall {
    call: ForkGuard<boneyard::Pending<String>>,
    /// The asyncio future.
    future: Py<PyAny>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Notifier {
    /// Calls to look at. The loop is woken when the first comes.
    due: Mutex<Vec<u64>>,
    sender: UnixStream,
}

/// The waker of one call.
struct CallWaker {
    notifier: Arc<Notifier>,
    call: u64,
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.notifier.notify(self.call);
    }
}

impl Notifier {
    fn due(&self) -> MutexGuard<'_, Vec<u64>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, call: u64) {
        let mut due = self.due();
        due.push(call);
        let first = due.len() == 1;
        drop(due);
        if first {
            // A full socket wakes the loop anyway; a closed one has no reader.
            let _ = (&self.sender).write(&[0]);
        }
    }
}

type Outcome = Result<Reply<String>, ClientError>;

impl EventLoopBridge {
    fn calls(&self) -> MutexGuard<'_, HashMap<u64, PendingCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call.
    fn watch(&self, call: boneyard::Pending<String>, future: Py<PyAny>) -> u64 {
        let number = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        let mut out = PendingCall { call: ForkGuard::new(call), future, outcome: None };
        // Under the lock, so that the loop does not look for it before it is inserted.
        let mut calls = self.calls();
        if self.look(number, &mut out) {
            self.notifier.notify(number);
        }
        calls.insert(number, out);
        number
    }

    /// Returns whether the call is over. If not, its waker will be called.
    fn look(&self, number: u64, out: &mut PendingCall) -> bool {
        if out.outcome.is_none() {
            let waker =
                Waker::from(Arc::new(CallWaker { notifier: Arc::clone(&self.notifier), call: number }));
            if let Poll::Ready(outcome) = out.call.get_mut().poll_timed(&mut Context::from_waker(&waker)) {
                out.outcome = Some(outcome);
            }
        }
        out.outcome.is_some()
    }

    /// The outcome of a call; `None` if it is not over or was removed.
    fn take(&self, number: u64) -> Option<(Outcome, Py<PyAny>)> {
        let mut calls = self.calls();
        let over = self.look(number, calls.get_mut(&number)?);
        let out = if over { calls.remove(&number) } else { None };
        drop(calls);
        out.and_then(|out| Some((out.outcome?, out.future)))
    }
}

#[pymethods]
impl EventLoopBridge {
    #[new]
    fn new() -> PyResult<EventLoopBridge> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let notifier = Arc::new(Notifier { due: Mutex::default(), sender });
        Ok(EventLoopBridge {
            notifier,
            receiver,
            calls: Mutex::default(),
            last_call: AtomicU64::new(0),
            forks: ForkCount::now(),
        })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> i32 {
        self.receiver.as_raw_fd()
    }

    /// Sends a call and returns its number, if that is possible without blocking. If not, returns the argument for
    /// `send`.
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
            TrySend::Unsent(call) => UnsentCall(Mutex::new(Some(ForkGuard::new(call)))).into_bound_py_any(py),
        }
    }

    /// Waits for the connection and sends a call, once. Its outcome goes to the future. For a thread that may block.
    fn send(&self, py: Python<'_>, unsent: &UnsentCall, future: Py<PyAny>) -> PyResult<u64> {
        self.forks.check()?;
        let call = unsent.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let call = call.ok_or_else(|| PyValueError::new_err("the call was sent already"))?.into_inner();
        Ok(self.watch(waited(py, py.detach(|| call.send()))?, future))
    }

    /// Called when the socket is readable: sets the outcomes of all futures whose calls are over.
    fn answer(&self, py: Python<'_>) -> PyResult<()> {
        self.forks.check()?;
        // First the socket, then the calls: a call that ends in between wakes the loop again.
        let _ = (&self.receiver).read(&mut [0; 64]);
        let due = std::mem::take(&mut *self.notifier.due());
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

    /// Shows Python's collector the futures. They refer back here: a loop that was closed with calls out would never be
    /// freed, nor the connection. A call that the collector misses is only kept for longer.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(calls) = self.calls.try_lock() else { return Ok(()) };
        calls.values().try_for_each(|out| visit.call(&out.future))
    }

    fn __clear__(&self) {
        if self.forks.is_current() {
            let calls = std::mem::take(&mut *self.calls());
            drop(calls);
        }
    }

    /// Cancels a call whose future is no longer awaited.
    fn cancel(&self, number: u64) {
        if self.forks.is_current() {
            let out = self.calls().remove(&number);
            drop(out);
        }
    }
}
