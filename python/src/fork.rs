//! Guards values against use in the child of a fork, which shares sockets with the parent and lacks its threads.
//!
//! A client made before the fork must not be used after it, nor closed: that would end the parent's connection. So
//! its values record the number of forks before them.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called by Python in the child of a fork.
#[pyfunction]
pub(crate) fn forked() {
    // Relaxed: the child has one thread here.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Number of forks between the first process and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForkCount(u64);

impl ForkCount {
    pub(crate) fn now() -> ForkCount {
        ForkCount(FORKS.load(Ordering::Relaxed))
    }

    pub(crate) fn is_current(self) -> bool {
        self == ForkCount::now()
    }

    /// # Errors
    /// There was a fork since.
    pub(crate) fn check(self) -> PyResult<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the client was made before a fork; make another in the child"))
    }
}

/// A value that is not dropped in the child of a fork.
#[derive(Debug)]
pub(crate) struct ForkGuard<T> {
    /// Taken by the drop alone.
    value: Option<T>,
    forks: ForkCount,
}

impl<T> ForkGuard<T> {
    pub(crate) fn new(value: T) -> ForkGuard<T> {
        ForkGuard { value: Some(value), forks: ForkCount::now() }
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

impl<T> Drop for ForkGuard<T> {
    fn drop(&mut self) {
        if !self.forks.is_current() {
            std::mem::forget(self.value.take());
        }
    }
}
