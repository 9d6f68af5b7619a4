//! Finds a type's shape by tracing its `Deserialize`: its requests are recorded (`node`), and answered with made-up
//! values (`deserializer`) so that it continues.
//!
//! A type is decoded again and again until all of it has been seen: each time another variant of each enum is given,
//! and what has not been seen yet of a structure comes first. So a type that refuses the values made up for it (a date
//! that must be one, a number that must not be 0) hides nothing but itself.
//!
//! Invariants: the shape only grows; two passes that contradict each other end the trace, as does a type that asks for
//! "any" in bincode, one that contains itself, and one over the bounds. A panic ends the trace, not the thread.

mod access;
mod context;
mod deserializer;
mod node;
#[cfg(test)]
mod tests;
mod tracer;

pub(super) use tracer::shape_of;
