//! Settings that the monitor changes while threads record: three words on their own cache line, rarely
//! written. Each recording thread copies them into its [`Writer`](super::Writer) between two batches, not for
//! each message.

use crate::sync::{AtomicU64, Relaxed};
use crossbeam_utils::CachePadded;

#[derive(Debug)]
pub(crate) struct Controls(CachePadded<Words>);

#[derive(Debug)]
struct Words {
    /// Number of resets. Maxima and minima start anew with each epoch.
    epoch: AtomicU64,
    /// A message that takes more nanoseconds than this is slow. `u64::MAX` if no message is.
    slow: AtomicU64,
    /// 1 while clients have their own figures.
    detailed: AtomicU64,
}

/// A recording thread's copy of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controlled {
    pub(crate) epoch: u64,
    pub(crate) slow: u64,
    pub(crate) detailed: bool,
}

impl Controls {
    pub(crate) fn new(slow_nanoseconds: u64, detailed: bool) -> Self {
        Self(CachePadded::new(Words {
            epoch: AtomicU64::new(0),
            slow: AtomicU64::new(slow_nanoseconds),
            detailed: AtomicU64::new(u64::from(detailed)),
        }))
    }

    /// The current settings. Relaxed: each word is independent, and a thread that reads an old value records
    /// one more batch under it.
    #[inline]
    pub(crate) fn now(&self) -> Controlled {
        Controlled {
            epoch: self.0.epoch.load(Relaxed),
            slow: self.0.slow.load(Relaxed),
            detailed: self.0.detailed.load(Relaxed) == 1,
        }
    }

    /// Starts the next epoch and returns its number.
    #[cfg(not(corelane_loom))]
    pub(crate) fn next_epoch(&self) -> u64 {
        self.0.epoch.fetch_add(1, Relaxed) + 1 // Relaxed: as in `now`.
    }

    #[cfg(not(corelane_loom))]
    pub(crate) fn set_slow(&self, nanoseconds: u64) {
        self.0.slow.store(nanoseconds, Relaxed); // Relaxed: as in `now`.
    }

    #[cfg(not(corelane_loom))]
    pub(crate) fn set_detailed(&self, detailed: bool) {
        self.0.detailed.store(u64::from(detailed), Relaxed); // Relaxed: as in `now`.
    }
}

impl Default for Controlled {
    fn default() -> Self {
        Self { epoch: 0, slow: u64::MAX, detailed: true }
    }
}
