//! Panics of host code. Used by `payload`, and in `worker/` by `cycle`, `handler` and `adoption`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops the payload of a panic in host code. The drop may panic in turn.
pub(super) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping this payload could panic again, without end. Leak it; it is small.
        std::mem::forget(next);
    }
}
