//! Whether this thread is inside a worker. A synchronous call there would wait for itself.

use std::cell::Cell;

thread_local! {
    static IN_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// While this is there, the thread is inside a worker, its own or one that it drives: it must not wait for one.
pub(super) struct InWorker {
    before: bool,
}

impl InWorker {
    pub(super) fn enter() -> Self {
        Self { before: IN_WORKER.replace(true) }
    }
}

impl Drop for InWorker {
    fn drop(&mut self) {
        IN_WORKER.set(self.before);
    }
}

/// Whether the thread is inside a worker.
pub(super) fn is_on_worker() -> bool {
    IN_WORKER.get()
}
