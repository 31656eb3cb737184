//! What other threads see of a local worker's loop: on which thread the host drives it, for calls that would wait for
//! their own thread, and that it goes on, for `watch`.

use crate::router::thread::this_thread;
use crate::sync::{AtomicU64, Relaxed, own_load};

/// What other threads see of a local worker's loop.
#[derive(Debug)]
pub(super) struct LocalLoop {
    /// The thread on which the host drives the worker; 0 if no host does, or not yet. Written by the thread that drives or
    /// releases the port, and by a stop that ends the worker.
    thread: AtomicU64,
    /// The number of cycles. Written by whoever has the worker.
    cycles: AtomicU64,
    /// What the watchdog has seen: the number of cycles when records began to wait, and since when; 0 if none wait.
    seen_cycles: AtomicU64,
    waiting_since: AtomicU64,
}

impl LocalLoop {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { thread: zero(), cycles: zero(), seen_cycles: zero(), waiting_since: zero() }
    }

    // Relaxed throughout: no word publishes anything. A thread reads its own number as it has written it.

    /// The host drives the worker on this thread.
    #[inline]
    pub(super) fn drive_here(&self) {
        let here = this_thread();
        if self.thread.load(Relaxed) != here {
            self.thread.store(here, Relaxed);
        }
    }

    /// No host drives the worker any more.
    pub(super) fn drive_nowhere(&self) {
        self.thread.store(0, Relaxed);
    }

    /// Whether the host has driven the worker since its port was opened.
    pub(super) fn is_driven(&self) -> bool {
        self.thread.load(Relaxed) != 0
    }

    /// Whether the host drives the worker on this thread.
    pub(super) fn is_driven_here(&self) -> bool {
        self.thread.load(Relaxed) == this_thread()
    }

    /// A cycle begins.
    #[inline]
    pub(super) fn count_cycle(&self) {
        self.cycles.store(own_load(&self.cycles) + 1, Relaxed);
    }

    /// Called by the watchdog at `now`. If records are `waiting` and no cycle has begun since an earlier call saw the
    /// same: the number of cycles, and the time of that call.
    pub(super) fn late_since(&self, waiting: bool, now: u64) -> Option<(u64, u64)> {
        let (cycles, since) = (self.cycles.load(Relaxed), self.waiting_since.load(Relaxed));
        if !waiting {
            self.waiting_since.store(0, Relaxed);
            return None;
        }
        if since == 0 || self.seen_cycles.load(Relaxed) != cycles {
            self.seen_cycles.store(cycles, Relaxed);
            self.waiting_since.store(now.max(1), Relaxed);
            return None;
        }
        Some((cycles, since))
    }
}
