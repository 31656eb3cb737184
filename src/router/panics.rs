//! Panics of the host's code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lets go of what code of the host's panicked with, which may panic in turn.
pub(super) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // It would go on for ever; what little it is stays where it is.
        std::mem::forget(next);
    }
}
