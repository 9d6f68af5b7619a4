//! `Client`: a server to call.

use crate::fork::{ForkCount, ForkGuard};
use crate::pending::Pending;
use crate::session::Session;
use crate::timeout::{Timeout, seconds};
use crate::{decode, encode, errors};
use boneyard::ClientError;
use boneyard::client::ClientOptions;
use boneyard::internal::client::TrySend;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::sync::{PoisonError, RwLock};

/// A server to call. May be shared by threads, which then share one connection. The first call connects; the first
/// call after the connection was lost connects anew.
#[pyclass(module = "boneyard", frozen, subclass)]
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` once closed. Never locked while Python code runs.
    native: RwLock<Option<ForkGuard<boneyard::Client>>>,
    forks: ForkCount,
    /// Error message of calls after it is closed.
    over: &'static str,
}

impl Client {
    pub(crate) fn wrap(native: boneyard::Client, over: &'static str) -> Client {
        Client { native: RwLock::new(Some(ForkGuard::new(native))), forks: ForkCount::now(), over }
    }

    /// The native client, with this timeout.
    pub(crate) fn native(&self, timeout: Timeout) -> PyResult<boneyard::Client> {
        self.forks.check()?;
        let native = self.native.read().unwrap_or_else(PoisonError::into_inner);
        let Some(native) = native.as_ref().map(ForkGuard::get) else {
            return Err(PyValueError::new_err(self.over));
        };
        Ok(match timeout {
            Timeout::Usual => native.clone(),
            Timeout::Never => native.with_deadline(None),
            Timeout::After(deadline) => native.with_deadline(deadline),
        })
    }

    /// Drops the native client, if this is the process it was made in.
    pub(crate) fn release(&self, py: Python<'_>) {
        if self.forks.is_current() {
            let native = self.native.write().unwrap_or_else(PoisonError::into_inner).take();
            py.detach(|| drop(native));
        }
    }
}

/// The outcome of a wait without the GIL, its error as a Python exception.
pub(crate) fn waited<T>(py: Python<'_>, outcome: Result<T, ClientError>) -> PyResult<T> {
    outcome.map_err(|error| errors::exception(py, &error))
}

/// One address, or several.
struct Addresses(Vec<String>);

impl FromPyObject<'_, '_> for Addresses {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Addresses> {
        match given.cast::<PyString>() {
            Ok(one) => Ok(Addresses(vec![one.to_str()?.to_owned()])),
            Err(_) => given.extract().map(Addresses),
        }
    }
}

/// The number of retries: one error for all numbers that are out of range.
fn retries_of(given: &Bound<'_, PyAny>) -> PyResult<u32> {
    given.extract().map_err(|error: PyErr| match error.is_instance_of::<PyOverflowError>(given.py()) {
        true => PyValueError::new_err(format!("retries is a number from 0 to {}", u32::MAX)),
        false => error,
    })
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(
        signature = (address, *, name=None, timeout=Timeout::Usual, connect_timeout=5.0, retries=2, throttle=true, wait_for_server=true, keepalive=Some(60.0)),
        text_signature = "(address, *, name=None, timeout=..., connect_timeout=5.0, retries=2, throttle=True, wait_for_server=True, keepalive=60.0)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python has keywords for them")]
    fn new(
        py: Python<'_>,
        address: Addresses,
        name: Option<String>,
        timeout: Timeout,
        connect_timeout: f64,
        #[pyo3(from_py_with = retries_of)] retries: u32,
        throttle: bool,
        wait_for_server: bool,
        keepalive: Option<f64>,
    ) -> PyResult<Client> {
        let name = name.unwrap_or_else(|| concat!("boneyard-python ", env!("CARGO_PKG_VERSION")).to_owned());
        let connect_timeout = seconds(connect_timeout, "connect_timeout")?;
        let options = ClientOptions::default()
            .name(name)
            .connect_timeout(connect_timeout)
            .retries(retries)
            .throttle(throttle)
            .wait_for_server(wait_for_server)
            .keepalive(keepalive.map(|time| seconds(time, "keepalive")).transpose()?);
        let options = match timeout {
            Timeout::Usual => options,
            Timeout::Never => options.deadline(None),
            Timeout::After(deadline) => options.deadline(deadline),
        };
        let native = waited(py, boneyard::Client::with_servers(&address.0, options))?;
        Ok(Client::wrap(native, "the client is closed"))
    }

    /// Calls a method and waits for its result. Retried within its timeout when it was refused for load or because the
    /// server stops; waits for a server that is not there.
    #[pyo3(signature = (method, arguments=None, timeout=Timeout::Usual), text_signature = "($self, method, arguments=None, timeout=...)")]
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: Option<&Bound<'py, PyAny>>,
        timeout: Timeout,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (native, json) = (self.native(timeout)?, encode::json(arguments)?);
        let mut signal = None;
        let mut go_on = || {
            // An interpreter that is ending has no signals any more.
            signal = Python::try_attach(|py| py.check_signals().err()).flatten();
            signal.is_none()
        };
        let outcome = py.detach(|| native.call_json_while(method, &json, &mut go_on));
        match signal {
            Some(signal) => Err(signal),
            None => decode::object(py, &waited(py, outcome)?.response),
        }
    }

    /// Sends a call, once, and returns at once, unless the connection has to be made first.
    #[pyo3(signature = (method, arguments=None, timeout=Timeout::Usual), text_signature = "($self, method, arguments=None, timeout=...)")]
    fn start(
        &self,
        py: Python<'_>,
        method: &str,
        arguments: Option<&Bound<'_, PyAny>>,
        timeout: Timeout,
    ) -> PyResult<Pending> {
        let (native, json) = (self.native(timeout)?, encode::json(arguments)?);
        let call = match waited(py, native.try_start_json(method, &json))? {
            TrySend::Sent(call) => call,
            TrySend::Unsent(call) => waited(py, py.detach(|| call.send()))?,
        };
        Ok(Pending::new(call))
    }

    /// Names of all methods of the server, sorted. Connects if there is no connection.
    #[getter]
    fn methods(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let native = self.native(Timeout::Usual)?;
        waited(py, py.detach(|| native.methods()))
    }

    /// Opens a session: a client whose calls find the same state on the server, whatever the connection.
    fn session<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Session>> {
        let native = self.native(Timeout::Usual)?;
        let session = waited(py, py.detach(|| native.session()))?;
        Session::wrap(py, session)
    }

    /// Attaches the session of a ticket to this client.
    fn attach<'py>(&self, py: Python<'py>, ticket: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Session>> {
        let native = self.native(Timeout::Usual)?;
        let ticket = serde_json::from_str(&encode::json(Some(ticket))?)
            .map_err(|error| PyValueError::new_err(format!("invalid ticket: {error}")))?;
        let session = waited(py, py.detach(|| native.attach(ticket)))?;
        Session::wrap(py, session)
    }

    /// Closes the client; the connection ends with its last pending call. May be called twice.
    fn close(&self, py: Python<'_>) {
        self.release(py);
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}
