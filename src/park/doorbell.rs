//! Signals to a worker other than records: a pair was attached or left, a name has connected, or the worker
//! must stop. Also the worker's sleep, which checks these signals and the worker's rings. A port tells a worker about a
//! connected name by a record (NAME_CONNECTED), and by a post here if its ring is full; a lane always posts here.
//!
//! | word | written by | read by | ordering |
//! |---|---|---|---|
//! | `attach_changes` | ports that attach or leave | the worker | Release / Acquire: publishes the pair's state |
//! | `stop` | the thread that stops the router | the worker | Release / Acquire: publishes all pairs attached before |
//! | `posts` | ports and lanes, by OR; the worker, by swap | the worker | AcqRel: publishes the names inserted before |

use super::{Waiter, WakeWord, after_publishing};
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, AtomicU64, Relaxed, Release, mutant};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Doorbell {
    /// A worker that lives on its port's thread has one word together with the port.
    wake: Arc<WakeWord>,
    /// Counts attach and detach events of this worker's pairs, so that the worker scans its pairs only after a
    /// change.
    attach_changes: AtomicU64,
    stop: AtomicBool,
    /// One bit for the names with the same [`post_bit`]: look up those that have held messages.
    posts: AtomicU64,
}

/// The signals that the worker has already handled before it sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) attach_changes: u64,
    /// The worker has seen the stop and waits for its host to finish tasks. The stop is then no longer news.
    pub(crate) stop: bool,
}

/// The bit of a name in a worker's posts. A post makes the worker look up only the held names with the same bit.
#[inline]
pub(crate) const fn post_bit(hash: u64) -> u64 {
    1 << (hash % 64)
}

impl Doorbell {
    pub(crate) fn new(wake: WakeWord) -> Self {
        Self {
            wake: Arc::new(wake),
            attach_changes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            posts: AtomicU64::new(0),
        }
    }

    /// The wake word to test after publishing records or space for this worker.
    pub(crate) fn wake(&self) -> &Arc<WakeWord> {
        &self.wake
    }

    /// Tells the worker that one of its pairs has changed.
    pub(crate) fn announce_attach(&self) {
        self.attach_changes.fetch_add(1, Release); // Release: pairs with the Acquire in `attach_changes`.
        after_publishing(|| self.wake.wake_if_asleep());
    }

    /// Acquire: pairs with the Release in `announce_attach`.
    #[inline(always)]
    pub(crate) fn attach_changes(&self) -> u64 {
        self.attach_changes.load(Acquire)
    }

    /// Tells the worker to stop: it handles what is published and ends.
    pub(crate) fn request_stop(&self) {
        self.stop.store(true, Release); // Release: pairs with the Acquire in `is_stopping`.
        after_publishing(|| self.wake.wake_if_asleep());
    }

    #[inline(always)]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Acquire) // Acquire: pairs with the Release in `request_stop`.
    }

    /// Tells the worker that the name with this hash was inserted.
    pub(crate) fn post(&self, hash: u64) {
        if mutant("post-lost") {
            return;
        }
        self.post_bits(post_bit(hash));
    }

    /// Tells the worker that names were inserted: it looks up all those for which it holds messages.
    pub(crate) fn post_all(&self) {
        self.post_bits(u64::MAX);
    }

    /// As [`post`](Self::post), for several names: the bits of [`post_bit`].
    pub(crate) fn post_bits(&self, bits: u64) {
        // Release: publishes the names; pairs with the swap in `take_posts`. Every write of this word is a
        // read-modify-write, so that each one sees the write before it.
        if mutant("post-overwrites") {
            self.posts.swap(bits, Release);
        } else {
            self.posts.fetch_or(bits, Release);
        }
        after_publishing(|| self.wake.wake_if_asleep());
    }

    /// The bits of the posted names; 0 for none. Clears them before the worker looks the names up: a later post sets its
    /// bit again.
    #[inline]
    pub(crate) fn take_posts(&self) -> u64 {
        // AcqRel: makes the names inserted before the post visible.
        if self.posts.load(Relaxed) == 0 { 0 } else { self.posts.swap(0, AcqRel) }
    }

    /// Whether there is a signal that the worker has not handled. Called behind the fence of the wake word.
    fn has_news(&self, seen: Seen) -> bool {
        // Relaxed: after the fence, and the worker's next cycle reads the words again.
        let attached = self.attach_changes.load(Relaxed) != seen.attach_changes;
        let stop = !seen.stop && self.stop.load(Relaxed);
        let post = self.posts.load(Relaxed) != 0;
        (attached && !mutant("sleep-without-attach"))
            || (stop && !mutant("sleep-without-stop"))
            || (post && !mutant("sleep-without-post"))
    }

    /// Puts the worker to sleep until it is woken or until `timeout` has passed, unless there is news here or in its
    /// `rings`. Returns whether it slept.
    pub(crate) fn sleep_unless(
        &self,
        seen: Seen,
        timeout: Option<Duration>,
        rings: impl FnOnce() -> bool,
    ) -> bool {
        self.wake.sleep_unless(timeout, || self.has_news(seen) || rings())
    }

    /// For a worker and a port on one thread: arms their word for the thread's poller, unless there is news here, in
    /// the worker's `rings`, or for the `port`. One re-check covers both, because either half alone would sleep on the
    /// other's data. Returns whether the thread may wait.
    pub(crate) fn arm_unless(
        &self,
        waiter: &mut Waiter,
        seen: Seen,
        rings: impl FnOnce() -> bool,
        port: impl FnOnce() -> bool,
    ) -> bool {
        let worker = || self.has_news(seen) || rings();
        waiter.arm_unless(&self.wake, || {
            (!mutant("local-port-half-only") && worker()) || (!mutant("local-worker-half-only") && port())
        })
    }
}
