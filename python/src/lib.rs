//! The native half of the Python package `boneyard`: the Rust client, its calls in JSON, and Python objects on either
//! side of it.
//!
//! Knows Python and the client library; no sockets. Invariants: the GIL is never held while a call is waited for or a
//! connection made, and never taken by the client's own threads, so these never wait for a busy interpreter. No lock
//! of ours is held while Python code runs or the GIL is waited for. Nothing made before a fork touches its connection
//! in the child.

mod client;
mod decode;
mod encode;
mod errors;
mod fork;
mod gate;
mod pending;
mod session;
mod timeout;

use pyo3::prelude::*;

/// Adds what the package's Python half takes from here.
#[pymodule]
fn _boneyard(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<client::Client>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<gate::Gate>()?;
    module.add_class::<gate::UnsentCall>()?;
    module.add_function(wrap_pyfunction!(fork::forked, module)?)
}
