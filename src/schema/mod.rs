//! Schemas: the shapes of a method's types, its list of errors, a fingerprint of them, and the first difference between
//! two.
//!
//! A shape is found by watching the type's own `Deserialize` (`trace`), so users derive nothing more than serde. It is
//! written in a small language for people (`shape`), which is parsed (`read`) and compared (`difference`).
//!
//! Invariants: nothing here panics, whatever a `Deserialize` does; depth, size and work are bounded; the same types
//! give the same fingerprint in every build.
//!
//! Does not know codecs, methods or the wire.

mod difference;
mod method_errors;
mod method_schema;
mod read;
mod shape;
mod trace;

pub use difference::first_difference;
pub use method_errors::{ErrorCode, MethodErrors};
pub use method_schema::{Describe, Schema, Shapes};
pub use read::Unreadable;
pub use shape::{Scalar, Shape};
