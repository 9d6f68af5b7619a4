//! The passes of a trace.

use super::deserializer::TracingDeserializer;
use super::node::{Context, Node};
use crate::schema::shape::Shape;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Limit on passes in a row that find nothing new: each gives other values.
const FRUITLESS_MAX: usize = 16;

/// Returns the shape of `T` in a codec for people (`human`: JSON) or for programs (bincode), or the reason why it is
/// not known.
pub(in crate::schema) fn shape_of<T: DeserializeOwned>(human: bool) -> Result<Shape, String> {
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
