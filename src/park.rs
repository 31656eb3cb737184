//! Sleeping and waking, written once: one wake word per worker (a futex) and per port (an eventfd that the
//! host's event loop waits for). Used by `router::worker` and `router::port`.
//!
//! Both wakes have one shape, model-checked in `src/models/wake.rs`:
//!
//! - who publishes (records, space, an attach state) stores with Release, then calls [`after_publishing`]: a fence, then
//!   [`WakeWord::wake_if_asleep`], which clears the word *before* it wakes;
//! - who sleeps calls [`WakeWord::sleep_unless`], or [`WakeWord::arm_unless`] and then waits for the descriptor: the word
//!   says asleep, a fence, then a re-check of everything that could have been published.
//!
//! Of the two fences one comes first: either the sleeper's re-check sees the publication, or the publisher
//! sees the word asleep. (Dekker's mutual exclusion, with fences.) Nothing outside this module writes either sequence.

mod doorbell;

pub(crate) use doorbell::{Doorbell, Seen};

use crate::sync::os::{EventFd, futex_wait, futex_wake};
use crate::sync::{AcqRel, AtomicU32, Relaxed, mutant, wake_fence};
use std::time::Duration;

/// What a publisher does once its stores are made: a fence, then `wake`, which tests the words of all who may sleep.
#[inline]
pub(crate) fn after_publishing<R>(wake: impl FnOnce() -> R) -> R {
    wake_fence("wake-fence-publisher");
    wake()
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

#[derive(Debug)]
enum Sleeper {
    Futex,
    Descriptor(EventFd),
}

/// A word that says whether its owner sleeps, and the means to wake it. All read-modify-writes, so that exactly
/// one waker pays for the system call. Alone on its cache lines.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct WakeWord {
    word: AtomicU32,
    sleeper: Sleeper,
}

impl WakeWord {
    /// A word whose owner sleeps on the word itself.
    pub(crate) fn futex() -> Self {
        Self { word: AtomicU32::new(AWAKE), sleeper: Sleeper::Futex }
    }

    /// A word whose owner waits for a descriptor.
    ///
    /// # Errors
    /// What the system says when no descriptor is left.
    pub(crate) fn descriptor() -> std::io::Result<Self> {
        Ok(Self { word: AtomicU32::new(AWAKE), sleeper: Sleeper::Descriptor(EventFd::new()?) })
    }

    /// Where the word lies, for the end of a ring that another language drives.
    #[cfg(not(corelane_loom))]
    pub(crate) fn address(&self) -> *mut u32 {
        self.word.as_ptr()
    }

    /// The descriptor to wait for, if that is how its owner sleeps.
    pub(crate) fn raw_descriptor(&self) -> Option<i32> {
        match &self.sleeper {
            Sleeper::Futex => None,
            Sleeper::Descriptor(descriptor) => Some(descriptor.raw()),
        }
    }

    /// The owner announces that it is about to wait for its descriptor, then looks for news. True: there is none, and
    /// whatever comes from now on wakes it. `news` looks at everything that anybody may have published.
    pub(crate) fn arm_unless(&self, news: impl FnOnce() -> bool) -> bool {
        if mutant("wake-recheck-before-arm") {
            let news = news();
            self.arm();
            return !news;
        }
        self.arm();
        !news()
    }

    /// Sleeps unless there is `news`, until woken or past `timeout`. Says whether it slept.
    pub(crate) fn sleep_unless(&self, timeout: Option<Duration>, news: impl FnOnce() -> bool) -> bool {
        let sleeps = self.arm_unless(news);
        if sleeps {
            self.sleep(timeout);
        }
        self.disarm();
        sleeps
    }

    fn arm(&self) {
        // AcqRel: an RMW like every write of this word; the order that matters is the fence's.
        self.word.swap(ASLEEP, AcqRel);
        wake_fence("wake-fence-sleeper");
    }

    /// The owner goes on. A word left asleep would cost every publisher a system call.
    pub(crate) fn disarm(&self) {
        self.word.swap(AWAKE, AcqRel);
    }

    /// Wakes the owner if it sleeps. The caller has published and fenced. Clears, then wakes: a wake that came
    /// first could be slept through by an owner that arms again in between.
    #[inline]
    pub(crate) fn wake_if_asleep(&self) -> bool {
        // Relaxed: the caller's fence orders this after its publication.
        if self.word.load(Relaxed) != ASLEEP {
            return false;
        }
        if mutant("wake-before-clear") {
            self.wake();
            self.word.swap(AWAKE, AcqRel);
            return true;
        }
        if mutant("wake-leaves-word") {
            self.wake();
            return true;
        }
        let won = self.word.swap(AWAKE, AcqRel) == ASLEEP;
        if won {
            self.wake();
        }
        won
    }

    /// Sleeps until woken or past `timeout`, after [`arm_unless`](Self::arm_unless) has found nothing.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) {
        match &self.sleeper {
            Sleeper::Futex => futex_wait(&self.word, ASLEEP, timeout),
            Sleeper::Descriptor(descriptor) => descriptor.wait(timeout),
        }
    }

    /// Makes the descriptor unreadable; done before a poll, never between a re-check and a wait.
    pub(crate) fn drain(&self) {
        if let Sleeper::Descriptor(descriptor) = &self.sleeper {
            descriptor.drain();
        }
    }

    fn wake(&self) {
        match &self.sleeper {
            Sleeper::Futex => futex_wake(&self.word),
            Sleeper::Descriptor(descriptor) => descriptor.signal(),
        }
    }
}
