//! Whether the current thread is inside a worker. A synchronous call there would dead-lock, because it would
//! wait for its own thread. Set by `worker/cycle`, `worker/driven` and `worker/adoption`; read by `port/route`.

use std::cell::Cell;

thread_local! {
    static IN_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// While this value exists, the thread is inside a worker, its own or a host-driven one, and must not wait for
/// a worker.
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
