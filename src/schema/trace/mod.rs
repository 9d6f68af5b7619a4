//! Finds a type's shape by watching its `Deserialize`: its requests are recorded (`node`) and answered with made-up
//! values (`deserializer`), so that it goes on.
//!
//! A type is decoded again and again until all of it has been seen: each pass gives another variant of each enum, and
//! the unseen parts of a structure come first. So a type that refuses the values made up for it (a text that must be a
//! date, a number that must not be 0) hides nothing but itself.
//!
//! Invariants: the shape only grows; two passes that contradict each other end the trace, as does a type that asks for
//! "any" in bincode, one that contains itself, and one over the limits. A panic ends the trace, not the thread.

mod access;
mod deserializer;
mod node;
#[cfg(test)]
mod tests;
mod tracer;

pub(super) use tracer::shape_of;
