//! What the monitor may change while threads record: a few words on a line of their own, seldom written. Each recording
//! thread takes them over into its [`Writer`](super::Writer) between two batches, not for each message.

use crate::sync::{AtomicU64, Relaxed};
use crossbeam_utils::CachePadded;

#[derive(Debug)]
pub(crate) struct Controls(CachePadded<Words>);

#[derive(Debug)]
struct Words {
    /// Counts resets: maxima and minima start anew with each.
    epoch: AtomicU64,
    /// From how long on a message is slow, in nanoseconds; `u64::MAX` where nothing is.
    slow: AtomicU64,
    /// 1 while clients have figures of their own.
    detailed: AtomicU64,
}

/// What a recording thread has taken over.
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

    /// What holds now. Relaxed: each word by itself; who follows late records a batch under the old ones.
    #[inline]
    pub(crate) fn now(&self) -> Controlled {
        Controlled {
            epoch: self.0.epoch.load(Relaxed),
            slow: self.0.slow.load(Relaxed),
            detailed: self.0.detailed.load(Relaxed) == 1,
        }
    }

    /// Starts the next epoch, and says which that is.
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
