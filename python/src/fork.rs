//! What a fork leaves in the child: sockets it shares with the parent, and threads that are not there.
//!
//! A client made before the fork must not be used after it, nor closed: that would end the parent's connection. So
//! its values are guarded by the number of forks before them.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

static FORKS: AtomicU64 = AtomicU64::new(0);

/// Python says in the child that there was a fork.
#[pyfunction]
pub(crate) fn forked() {
    // Relaxed: the child has one thread here.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How many forks this process comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth(u64);

impl Birth {
    pub(crate) fn now() -> Birth {
        Birth(FORKS.load(Ordering::Relaxed))
    }

    pub(crate) fn is_here(self) -> bool {
        self == Birth::now()
    }

    /// # Errors
    /// There was a fork since.
    pub(crate) fn check(self) -> PyResult<()> {
        if self.is_here() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the client was made before a fork; make another in the child"))
    }
}

/// A value that is not dropped in a child it was not made in.
#[derive(Debug)]
pub(crate) struct Ours<T> {
    /// Taken by the drop alone.
    value: Option<T>,
    birth: Birth,
}

impl<T> Ours<T> {
    pub(crate) fn new(value: T) -> Ours<T> {
        Ours { value: Some(value), birth: Birth::now() }
    }

    pub(crate) fn get(&self) -> &T {
        self.value.as_ref().expect("it is there until the drop")
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until the drop")
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.value.take().expect("it is there until the drop")
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if !self.birth.is_here() {
            std::mem::forget(self.value.take());
        }
    }
}
