//! `Session`: a client whose calls are made in a session of their own.

use crate::client::{Client, waited};
use crate::decode;
use crate::fork::{ForkCount, ForkGuard};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Mutex, PoisonError};

/// A client whose calls find the same state on the server, whatever the connection. After its connection was lost the
/// next call attaches it anew. `UnknownSession` means that it is closed or another client has it.
#[pyclass(module = "boneyard", extends = Client, frozen)]
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` once closed or let go of. Never locked while Python code runs.
    native: Mutex<Option<ForkGuard<boneyard::Session>>>,
    ticket: String,
    forks: ForkCount,
}

impl Session {
    pub(crate) fn wrap<'py>(py: Python<'py>, native: boneyard::Session) -> PyResult<Bound<'py, Session>> {
        let client = Client::wrap(native.client().clone(), "the session is closed or detached");
        let ticket = serde_json::to_string(&native.ticket())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let session =
            Session { native: Mutex::new(Some(ForkGuard::new(native))), ticket, forks: ForkCount::now() };
        Bound::new(py, PyClassInitializer::from(client).add_subclass(session))
    }

    /// The native session, the first time, and then the client is closed.
    fn take(this: &Bound<'_, Session>) -> PyResult<Option<boneyard::Session>> {
        let session = this.get();
        session.forks.check()?;
        let native = session.native.lock().unwrap_or_else(PoisonError::into_inner).take();
        this.as_super().get().release(this.py());
        Ok(native.map(ForkGuard::into_inner))
    }
}

#[pymethods]
impl Session {
    /// Ticket by which another client can attach the session: a JSON value, and a secret.
    #[getter]
    fn ticket<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        decode::object(py, &self.ticket)
    }

    /// Closes the session on the server and waits until that is done. May be called twice.
    fn close(this: &Bound<'_, Session>) -> PyResult<()> {
        let Some(native) = Session::take(this)? else { return Ok(()) };
        waited(this.py(), this.py().detach(|| native.close()))
    }

    /// Releases the session without closing it, and returns its ticket.
    fn detach<'py>(this: &Bound<'py, Session>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(native) = Session::take(this)? {
            native.detach();
        }
        this.get().ticket(this.py())
    }

    #[pyo3(signature = (*exception))]
    fn __exit__(this: &Bound<'_, Session>, exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        let closed = Session::close(this);
        // An exception from inside takes precedence.
        let inside = exception.get_item(0).is_ok_and(|kind| !kind.is_none());
        if inside { Ok(()) } else { closed }
    }
}
