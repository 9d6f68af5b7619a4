//! Finds a type's shape by watching its `Deserialize`: what it asks for is written down (`node`), and it is given
//! made-up values (`giver`) so that it goes on asking.
//!
//! A type is decoded again and again until all of it has been seen: each time another variant of each enum is given,
//! and what has not been seen yet of a structure comes first. So a type that refuses the values made up for it (a date
//! that must be one, a number that must not be 0) hides nothing but itself.
//!
//! Invariants: the shape only grows; two passes that contradict each other end the trace, as does a type that asks for
//! "any" in bincode, one that contains itself, and one over the bounds. A panic ends the trace, not the thread.

mod access;
mod deserializer;
mod node;

use super::Shape;
use deserializer::TracingDeserializer;
use node::Node;
use serde::de::{self, DeserializeOwned};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use thiserror::Error;

/// Deepest nest of types.
const DEPTH_MAX: usize = 32;

/// Most parts of a type.
const NODES_MAX: usize = 4096;

/// Most parts looked at over all passes: some hundredths of a second.
const VISITS_MAX: usize = 200_000;

/// Passes in a row that may find nothing new: each gives other values.
const FRUITLESS_MAX: usize = 16;

/// The shape of `T` as a codec has it that is for people (`human`: JSON) or not (bincode); or why it is not known.
pub(super) fn shape_of<T: DeserializeOwned>(human: bool) -> Result<Shape, String> {
    let traced = catch_unwind(AssertUnwindSafe(|| trace::<T>(human)));
    traced.unwrap_or_else(|_| Err("its Deserialize panics".to_owned()))
}

fn trace<T: DeserializeOwned>(human: bool) -> Result<Shape, String> {
    let context = Context { human, ..Context::default() };
    let (mut root, mut fruitless) = (Node::Unknown, 0);
    loop {
        let before = context.found.get();
        let outcome = T::deserialize(TracingDeserializer { node: &mut root, context: &context, depth: 0 });
        if let Some(reason) = context.ended.take() {
            return Err(reason);
        }
        if root.is_complete() {
            return Ok(root.shape());
        }
        if context.found.get() > before {
            fruitless = 0;
            continue;
        }
        fruitless += 1;
        context.sample.set(context.sample.get() + 1);
        if fruitless == FRUITLESS_MAX {
            let why =
                outcome.err().map_or("it does not ask for all it has".to_owned(), |error| error.to_string());
            return Err(format!("it takes no value that is made up for it: {why}"));
        }
    }
}

/// What all parts of a trace share.
#[derive(Default)]
struct Context {
    human: bool,
    /// Which of the made-up values are given.
    sample: Cell<usize>,
    /// Things seen for the first time.
    found: Cell<usize>,
    visits: Cell<usize>,
    /// Names of the types that are being decoded, the outermost first.
    open: RefCell<Vec<&'static str>>,
    /// Why there is no shape. Kept here since a `Deserialize` may swallow the error.
    ended: RefCell<Option<String>>,
}

impl Context {
    fn end(&self, reason: impl Into<String>) -> TraceError {
        self.ended.borrow_mut().get_or_insert(reason.into());
        TraceError::Value("the trace has ended".to_owned())
    }

    /// Something new was seen.
    fn found(&self) -> Result<(), TraceError> {
        self.found.set(self.found.get() + 1);
        if self.found.get() > NODES_MAX {
            return Err(self.end(format!("it has more than {NODES_MAX} parts")));
        }
        Ok(())
    }
}

/// What a `Deserialize` says to a value.
#[derive(Debug, Error)]
enum TraceError {
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

#[cfg(test)]
mod tests;
