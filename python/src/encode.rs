//! Python objects as JSON, in the forms that serde's types take.
//!
//! `None`, `bool`, `int` of any size, finite `float`, `str`, lists, tuples, dicts with keys of `str`, `int` or `bool`,
//! dataclasses as objects, and `bytes`, `bytearray` and `memoryview` as lists of numbers. Anything else is an error.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use std::io::Write;

/// Deepest nesting that the server accepts; it also stops at an object that contains itself.
const DEPTH_MAX: usize = 127;

/// `dataclasses.fields`.
static FIELDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The object as JSON text; `null` for none.
///
/// # Errors
/// `TypeError`, `ValueError`: it has a part that is not JSON.
pub(crate) fn json(object: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let mut out = Vec::with_capacity(128);
    match object {
        Some(object) => write(&mut out, object, 0)?,
        None => out.extend_from_slice(b"null"),
    }
    String::from_utf8(out).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn write(out: &mut Vec<u8>, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if depth > DEPTH_MAX {
        return Err(PyValueError::new_err("the arguments are nested too deeply"));
    }
    if let Ok(text) = object.cast::<PyString>() {
        write_text(out, text.to_str()?)
    } else if let Ok(truth) = object.cast::<PyBool>() {
        out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
        Ok(())
    } else if let Ok(number) = object.cast::<PyInt>() {
        write_int(out, number)
    } else if let Ok(dict) = object.cast::<PyDict>() {
        write_dict(out, dict, depth)
    } else if let Ok(list) = object.cast::<PyList>() {
        write_all(out, list.iter(), depth)
    } else if let Ok(number) = object.cast::<PyFloat>() {
        write_float(out, number.value())
    } else if object.is_none() {
        out.extend_from_slice(b"null");
        Ok(())
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        write_all(out, tuple.iter(), depth)
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        write_bytes(out, bytes.as_bytes());
        Ok(())
    } else if let Ok(bytes) = object.cast::<PyByteArray>() {
        write_bytes(out, &bytes.to_vec());
        Ok(())
    } else {
        write_rare(out, object, depth)
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) -> PyResult<()> {
    serde_json::to_writer(out, text).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn write_float(out: &mut Vec<u8>, number: f64) -> PyResult<()> {
    if !number.is_finite() {
        return Err(PyValueError::new_err(format!("{number} is no JSON")));
    }
    serde_json::to_writer(out, &number).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn write_int(out: &mut Vec<u8>, number: &Bound<'_, PyInt>) -> PyResult<()> {
    if let Ok(small) = number.extract::<i64>() {
        return Ok(write!(out, "{small}")?);
    }
    // Not its own `str`: a subclass may return something else, as members of enums do.
    let digits = number.py().get_type::<PyInt>().call_method1("__repr__", (number,))?;
    out.extend_from_slice(digits.cast::<PyString>()?.to_str()?.as_bytes());
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() * 4 + 2);
    out.push(b'[');
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if *byte >= 100 {
            out.push(b'0' + byte / 100);
        }
        if *byte >= 10 {
            out.push(b'0' + byte / 10 % 10);
        }
        out.push(b'0' + byte % 10);
    }
    out.push(b']');
}

fn write_all<'py>(
    out: &mut Vec<u8>,
    objects: impl Iterator<Item = Bound<'py, PyAny>>,
    depth: usize,
) -> PyResult<()> {
    out.push(b'[');
    for (at, object) in objects.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, &object, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

fn write_dict(out: &mut Vec<u8>, dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<()> {
    out.push(b'{');
    for (at, (key, value)) in dict.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if let Ok(text) = key.cast::<PyString>() {
            write_text(out, text.to_str()?)?;
        } else if key.is_instance_of::<PyInt>() {
            // A bool is an int as well.
            out.push(b'"');
            write(out, &key, depth)?;
            out.push(b'"');
        } else {
            return Err(PyTypeError::new_err(format!("a key of type {} is no JSON", key.get_type().name()?)));
        }
        out.push(b':');
        write(out, &value, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_rare(out: &mut Vec<u8>, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    let py = object.py();
    if object.is_instance_of::<PyMemoryView>() {
        let bytes = object.call_method0("tobytes")?;
        write_bytes(out, bytes.cast::<PyBytes>()?.as_bytes());
        return Ok(());
    }
    let kind = object.get_type();
    if !kind.hasattr("__dataclass_fields__")? {
        return Err(PyTypeError::new_err(format!("an object of type {} is no JSON", kind.name()?)));
    }
    let fields = PyDict::new(py);
    for field in FIELDS.import(py, "dataclasses", "fields")?.call1((object,))?.try_iter()? {
        let name = field?.getattr("name")?;
        fields.set_item(&name, object.getattr(name.cast::<PyString>()?)?)?;
    }
    write_dict(out, &fields, depth)
}
