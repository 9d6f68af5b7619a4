//! Results as Python objects.

use jiter::{PythonParse, StringCacheMode, map_json_error};
use pyo3::prelude::*;

/// The object of a JSON text. Whole numbers of any size become `int`, others `float`.
///
/// # Errors
/// `ValueError`: it is not JSON, which the client has checked already, or has a number of thousands of digits.
pub(crate) fn object<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    // Names of fields repeat, values do not.
    let parse = PythonParse { cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    parse.python_parse(py, json.as_bytes()).map_err(|error| map_json_error(json.as_bytes(), &error))
}
