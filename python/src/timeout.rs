//! Timeouts from Python: seconds, `None` for no limit, or nothing for the client's own.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::time::Duration;

/// An argument named `timeout`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timeout {
    /// Omitted, or `...`.
    Usual,
    /// `None`.
    Never,
    /// Seconds.
    After(Duration),
}

impl FromPyObject<'_, '_> for Timeout {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Timeout> {
        if given.is_none() {
            return Ok(Timeout::Never);
        }
        if given.is(given.py().Ellipsis()) {
            return Ok(Timeout::Usual);
        }
        let seconds: f64 = given.extract()?;
        if seconds == f64::INFINITY {
            return Ok(Timeout::Never);
        }
        let after = Duration::try_from_secs_f64(seconds);
        after
            .map(Timeout::After)
            .map_err(|_| PyValueError::new_err(format!("a timeout of {seconds} seconds")))
    }
}

/// An option in seconds.
pub(crate) fn seconds(given: f64, name: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given)
        .map_err(|_| PyValueError::new_err(format!("{name} of {given} seconds")))
}
