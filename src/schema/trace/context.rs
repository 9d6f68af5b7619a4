//! State and limits of a trace.

use serde::de;
use std::cell::{Cell, RefCell};
use thiserror::Error;

/// Limit on the nesting of types.
pub(super) const DEPTH_MAX: usize = 32;

/// Limit on the parts of a type.
pub(super) const NODES_MAX: usize = 4096;

/// Limit on the parts visited over all passes: some hundredths of a second.
pub(super) const VISITS_MAX: usize = 200_000;

/// State that all parts of a trace share.
#[derive(Default)]
pub(super) struct Context {
    pub(super) human: bool,
    /// Index of the made-up values that are given.
    pub(super) sample: Cell<usize>,
    /// Number of parts seen for the first time.
    pub(super) found: Cell<usize>,
    pub(super) visits: Cell<usize>,
    /// Names of the types that are being decoded, the outermost first.
    pub(super) open: RefCell<Vec<&'static str>>,
    /// Reason why there is no shape. Kept here since a `Deserialize` may swallow the error.
    pub(super) ended: RefCell<Option<String>>,
}

impl Context {
    pub(super) fn end(&self, reason: impl Into<String>) -> TraceError {
        self.ended.borrow_mut().get_or_insert(reason.into());
        TraceError::Value("the trace has ended".to_owned())
    }

    /// Counts a new part.
    pub(super) fn found(&self) -> Result<(), TraceError> {
        self.found.set(self.found.get() + 1);
        if self.found.get() > NODES_MAX {
            return Err(self.end(format!("it has more than {NODES_MAX} parts")));
        }
        Ok(())
    }
}

/// Error that a `Deserialize` returns for a value.
#[derive(Debug, Error)]
pub(super) enum TraceError {
    #[error("{0}")]
    Value(String),
    /// The field of this name was given twice, so the last name given was another name of it.
    #[error("duplicate field {0}")]
    Duplicate(&'static str),
}

impl de::Error for TraceError {
    fn custom<T: std::fmt::Display>(message: T) -> TraceError {
        TraceError::Value(message.to_string())
    }

    fn duplicate_field(field: &'static str) -> TraceError {
        TraceError::Duplicate(field)
    }
}
