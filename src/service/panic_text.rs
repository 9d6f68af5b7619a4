//! Text of a panic's payload, which is dropped under a guard: its own `Drop` may panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the text of a panic, and drops its payload.
pub(crate) fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let mut text = text.to_owned();
    // Forgetting the payload would leak. The payload of a panic of its Drop is forgotten: its Drop may panic too, and
    // so on without end.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
        text.push_str("; and its payload panicked when dropped");
    }
    text
}
