//! Which message a worker's handler is at, and since when: a seqlock that the worker writes and the watchdog reads.

use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, mutant, own_load};

/// What a worker says of itself. One writer, the worker; on a cache line of its own.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Odd while a handler runs.
    sequence: AtomicU64,
    /// When the current one started, in raw ticks.
    started: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { sequence: AtomicU64::new(0), started: AtomicU64::new(0) }
    }

    /// A handler is about to run.
    #[inline]
    pub(crate) fn begin(&self, now: u64) {
        // A seqlock's writer. Release: who sees this start sees that the run before has ended; pairs with the fence in
        // `present`.
        if !mutant("activity-no-release-fence") {
            fence(Release);
        }
        self.started.store(now, Relaxed); // Relaxed: the sequence publishes it.
        // Release: with an odd number comes when it started; pairs with the Acquire in `present`.
        self.sequence.store(own_load(&self.sequence) + 1, Release);
    }

    /// It has returned.
    #[inline]
    pub(crate) fn end(&self) {
        self.sequence.store(own_load(&self.sequence) + 1, Release); // Release: as in `begin`.
    }

    /// The present handler's number, and since when it runs. May miss one that has only just begun, never makes one older
    /// than it is.
    pub(crate) fn present(&self) -> Option<(u64, u64)> {
        let before = self.sequence.load(Acquire); // Acquire: pairs with the Release in `begin`.
        let started = self.started.load(Relaxed); // Relaxed: checked behind the fence.
        // Acquire: with a later start comes a later sequence; pairs with the fence in `begin`.
        if !mutant("activity-no-acquire-fence") {
            fence(Acquire);
        }
        let inside = before % 2 == 1 && self.sequence.load(Relaxed) == before;
        inside.then_some((before, started))
    }
}
