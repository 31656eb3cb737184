//! What a worker's handler is doing and since when: a seqlock that the worker writes (`worker/handler`,
//! `worker/driven`) and other threads read (`watch`, `shared`).

use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, mutant, own_load};

/// The published activity of one worker. The worker is the only writer. On its own cache line.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Odd while a handler runs.
    sequence: AtomicU64,
    /// When the current handler started, in raw ticks.
    started: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { sequence: AtomicU64::new(0), started: AtomicU64::new(0) }
    }

    /// A handler is about to run.
    #[inline]
    pub(crate) fn begin(&self, now: u64) {
        // Release fence: a reader that sees the new start also sees that the previous run has ended; pairs with
        // the Acquire fence in `present`.
        if !mutant("activity-no-release-fence") {
            fence(Release);
        }
        self.started.store(now, Relaxed); // Relaxed: the sequence publishes it.
        // Release: an odd sequence publishes the start; pairs with the Acquire in `present`.
        self.sequence.store(own_load(&self.sequence) + 1, Release);
    }

    /// The handler has returned.
    #[inline]
    pub(crate) fn end(&self) {
        self.sequence.store(own_load(&self.sequence) + 1, Release); // Release: as in `begin`.
    }

    /// The number of the current handler run, and when it started. May miss a run that has just begun, and
    /// never reports a run as older than it is.
    pub(crate) fn present(&self) -> Option<(u64, u64)> {
        let before = self.sequence.load(Acquire); // Acquire: pairs with the Release in `begin`.
        let started = self.started.load(Relaxed); // Relaxed: validated after the fence.
        // Acquire fence: a later start implies a later sequence; pairs with the Release fence in `begin`.
        if !mutant("activity-no-acquire-fence") {
            fence(Acquire);
        }
        let inside = before % 2 == 1 && self.sequence.load(Relaxed) == before;
        inside.then_some((before, started))
    }
}
