//! The threads that run workers and the host's code: whether the current thread is inside a worker, a worker thread's
//! stack, and panics of host code.

use crate::sync::os;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Set by `worker/cycle`, `worker/driven`, `worker/adoption` and `local`; read by `port/route` and by the calls of
    /// `Router` that wait.
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

/// Whether the thread is inside a worker. A synchronous call there would dead-lock, because it would wait for its own
/// thread.
pub(super) fn is_on_worker() -> bool {
    IN_WORKER.get()
}

/// A number for the current thread, different from that of every other thread that runs, and not 0.
pub(super) fn this_thread() -> u64 {
    IN_WORKER.with(|cell| std::ptr::from_ref(cell).addr() as u64)
}

/// The size of a worker thread's stack in bytes. A little less than a huge page, so that the system never backs
/// it with a huge page, of which the first byte used would take 2 MiB.
pub(super) const STACK_BYTES: usize = (2 << 20) - (64 << 10);

/// The most of its stack that a worker uses, in bytes. The deepest use is reading a nested envelope.
const STACK_USED: usize = 32 << 10;

/// `STACK_USED`, plus what a thread needs besides its stack: its handle, thread-local storage, signal stack and
/// the first pages of its allocator.
pub(super) const THREAD_BYTES: u64 = (STACK_USED + (32 << 10)) as u64;

/// Makes the stack pages resident that a worker will use.
#[inline(never)]
pub(super) fn touch() {
    let mut stack = [std::mem::MaybeUninit::<u8>::uninit(); STACK_USED];
    // If this fails, the thread continues: the stack becomes resident as it is used.
    let _ = os::touch(std::hint::black_box(&mut stack));
}

/// Drops the payload of a panic in host code. The drop may panic in turn.
pub(super) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping this payload could panic again, without end. Leak it; it is small.
        std::mem::forget(next);
    }
}
