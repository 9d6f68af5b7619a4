//! Shapes of a method's types: how they look on the wire, their fingerprint, and where two of them differ.
//!
//! A shape is found by tracing the type's own `Deserialize` (`trace`), so users derive nothing more than serde. It is
//! written in a small language for people (`shape`), which is read back (`read`) and compared (`difference`).
//!
//! Knows serde; knows no codec, no method and no wire. Invariants: nothing here panics, whatever a `Deserialize` does;
//! depth, size and work are bounded; the same types give the same fingerprint in every build.

mod difference;
mod read;
mod schema_of;
mod shape;
mod trace;

pub use difference::first_difference;
pub use read::Unreadable;
pub use schema_of::{Describe, Schema, Shapes};
pub use shape::{Scalar, Shape};
