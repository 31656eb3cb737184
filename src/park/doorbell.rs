//! What others tell a worker apart from records: that a pair was attached or left, that a post found its ring full, that
//! it is to stop. And the worker's whole sleep, which looks at these and at its rings.
//!
//! | word | written by | read by | ordering |
//! |---|---|---|---|
//! | `attach_changes` | ports, as they attach and leave | the worker | Release / Acquire: with the count comes the pair's state |
//! | `stop` | whoever stops the router | the worker | Release / Acquire: with it come all pairs attached before |
//! | `look_up_all` | ports, by swap; the worker, by swap | the worker | AcqRel: with it come the names inserted before |

use super::{WakeWord, after_publishing};
use crate::sync::{AcqRel, Acquire, AtomicBool, AtomicU64, Relaxed, Release, mutant};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Doorbell {
    wake: WakeWord,
    /// Counts attach and detach events of this worker's pairs, so that it looks at them only then.
    attach_changes: AtomicU64,
    stop: AtomicBool,
    /// A post found the ring full: look up every name that something is held for.
    look_up_all: AtomicBool,
}

/// What the worker has seen to before it sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) attach_changes: u64,
    /// A stop can go on only when the worker's host is done with something: it is no news.
    pub(crate) stop: bool,
}

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self {
            wake: WakeWord::futex(),
            attach_changes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            look_up_all: AtomicBool::new(false),
        }
    }

    /// The word to test after publishing records, or space, for this worker.
    pub(crate) fn wake(&self) -> &WakeWord {
        &self.wake
    }

    /// One of the worker's pairs has changed.
    pub(crate) fn announce_attach(&self) {
        self.attach_changes.fetch_add(1, Release); // Release: pairs with the Acquire in `attach_changes`.
        after_publishing(|| self.wake.wake_if_asleep());
    }

    /// Acquire: pairs with the Release of whoever attached or left.
    #[inline(always)]
    pub(crate) fn attach_changes(&self) -> u64 {
        self.attach_changes.load(Acquire)
    }

    /// The worker is to take what is published, and leave.
    pub(crate) fn request_stop(&self) {
        self.stop.store(true, Release); // Release: pairs with the Acquire in `is_stopping`.
        after_publishing(|| self.wake.wake_if_asleep());
    }

    #[inline(always)]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Acquire) // Acquire: pairs with the Release in `request_stop`.
    }

    /// A name was inserted, and its post found the ring full.
    pub(crate) fn post(&self) {
        if mutant("post-lost") {
            return;
        }
        // Release: with the flag comes the name; pairs with the swap in `take_post`. A read-modify-write like every write of
        // this flag, so that neither side's can be taken for older than the other's.
        self.look_up_all.swap(true, Release);
        after_publishing(|| self.wake.wake_if_asleep());
    }

    /// Whether such a post was lost. Cleared here, before the worker looks: a post that comes in between sets it again.
    #[inline]
    pub(crate) fn take_post(&self) -> bool {
        // AcqRel: the names inserted before the post are there to be found.
        self.look_up_all.load(Relaxed) && self.look_up_all.swap(false, AcqRel)
    }

    /// The worker sleeps unless there is news here or in its `rings`, until woken or past `timeout`. Says whether it slept.
    pub(crate) fn sleep_unless(
        &self,
        seen: Seen,
        timeout: Option<Duration>,
        rings: impl FnOnce() -> bool,
    ) -> bool {
        // Relaxed: behind the fence, and looked at again by the worker's next cycle.
        let news = || {
            let attached = self.attach_changes.load(Relaxed) != seen.attach_changes;
            let stop = !seen.stop && self.stop.load(Relaxed);
            let post = self.look_up_all.load(Relaxed);
            (attached && !mutant("sleep-without-attach"))
                || (stop && !mutant("sleep-without-stop"))
                || (post && !mutant("sleep-without-post"))
                || rings()
        };
        self.wake.sleep_unless(timeout, news)
    }
}
