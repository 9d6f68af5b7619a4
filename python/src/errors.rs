//! Maps the client's errors to Python exceptions. The tree of classes is `boneyard/errors.py`.

use boneyard::ClientError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `boneyard.errors.made`.
static MADE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for an error.
pub(crate) fn exception(py: Python<'_>, error: &ClientError) -> PyErr {
    let (name, message) = match error {
        ClientError::InvalidAddress { .. } | ClientError::InvalidOption(_) | ClientError::Unencodable(_) => {
            return PyValueError::new_err(error.to_string());
        }
        ClientError::Application { message, .. } => ("Application".to_owned(), message.clone()),
        other => (name(other), other.to_string()),
    };
    let code = match error {
        ClientError::Application { code, .. } => *code,
        ClientError::NestedRefused { status, .. } => status.code().into(),
        _ => 0,
    };
    let retry_after = error.retry_after().map(|after| after.as_secs_f64());
    let made = || -> PyResult<PyErr> {
        let made = MADE.import(py, "boneyard.errors", "made")?;
        let arguments = (name, message, code, retry_after, error.never_started());
        Ok(PyErr::from_value(made.call1(arguments)?))
    };
    made().unwrap_or_else(|failure| failure)
}

/// Returns the name of the class.
fn name(error: &ClientError) -> String {
    if let Some(status) = error.status() {
        return format!("{status:?}");
    }
    let name = match error {
        ClientError::ReplyTooLarge { .. } => "ReplyTooLarge",
        ClientError::Connect { .. }
        | ClientError::NoThread(_)
        | ClientError::Disconnected { may_have_run: false, .. } => "NotConnected",
        ClientError::DeadlineExceeded { .. } => "TimedOut",
        ClientError::UnknownStatus(number) => return format!("Status {number}"),
        ClientError::Throttled => "Throttled",
        // Disconnected, Protocol, and errors of later versions: unknown whether it ran.
        _ => "Lost",
    };
    name.to_owned()
}
