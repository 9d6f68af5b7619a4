//! The native half of the Python package `boneyard`: the Rust client, its calls in JSON, and Python objects on either
//! side of it.
//!
//! Knows Python and the client library; no sockets. Invariants: the GIL is never held while a thread waits for a call
//! or makes a connection, and never taken by the client's own threads, so these never wait for a busy interpreter. No
//! lock of ours is held while Python code runs or a thread waits for the GIL. No object made before a fork touches its
//! connection in the child.

mod client;
mod decode;
mod encode;
mod errors;
mod event_loop_bridge;
mod fork;
mod pending;
mod session;
mod timeout;

use pyo3::prelude::*;

/// The classes and functions for the Python half of the package.
#[pymodule]
fn _boneyard(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<client::Client>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<event_loop_bridge::EventLoopBridge>()?;
    module.add_class::<event_loop_bridge::UnsentCall>()?;
    module.add_function(wrap_pyfunction!(fork::forked, module)?)
}
