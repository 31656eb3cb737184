//! Sleeping and waking: one wake word per worker (a futex) and one per port (an eventfd that the host's event loop
//! waits for). A worker that lives on its port's thread shares one word with the port, an eventfd. Used by
//! `router::worker`, `router::port` and `router::local`.
//!
//! Both wakes follow one protocol, which `src/models/wake.rs` checks:
//!
//! - A publisher (of records, space or an attach state) stores with Release and then calls [`after_publishing`]: a
//!   fence, then [`WakeWord::wake_if_asleep`], which clears the word *before* it wakes.
//! - A sleeper calls [`WakeWord::sleep_unless`], or [`WakeWord::arm_unless`] and then waits for the descriptor. Both
//!   set the word to asleep, fence, and then re-check everything that could have been published.
//!
//! This is Dekker's protocol with fences (store, fence, load on both sides; also known as an eventcount): in the
//! single order of the two fences one is first, so either the sleeper's re-check sees the publication, or the
//! publisher sees the word asleep. No wake is lost. No code outside this module writes either sequence.

mod doorbell;
mod keeping;
mod waiter;

pub(crate) use doorbell::{Doorbell, Seen, post_bit};
pub(crate) use keeping::Keeping;
pub(crate) use waiter::Waiter;

use crate::sync::os::{EventFd, futex_wait, futex_wake};
use crate::sync::{AcqRel, AtomicU32, Relaxed, mutant, wake_fence};
use std::time::Duration;

/// Ends a publication, after its stores: a fence, then `wake`, which tests the wake words of everyone who may sleep.
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

/// A word that says whether its owner sleeps, and the means to wake the owner. Every write is a read-modify-write, so
/// that exactly one waker pays for the system call. The alignment gives the word its own cache lines.
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
    /// The system's error if the process has no descriptors left.
    pub(crate) fn descriptor() -> std::io::Result<Self> {
        Ok(Self { word: AtomicU32::new(AWAKE), sleeper: Sleeper::Descriptor(EventFd::new()?) })
    }

    /// The word's address, for a ring end that a host drives from another language.
    #[cfg(not(corelane_loom))]
    pub(crate) fn address(&self) -> *mut u32 {
        self.word.as_ptr()
    }

    /// The descriptor that the owner waits for; `None` if the owner sleeps on the word.
    #[cfg(not(corelane_loom))]
    pub(crate) fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.sleeper {
            Sleeper::Futex => None,
            Sleeper::Descriptor(descriptor) => Some(descriptor.as_fd()),
        }
    }

    /// The owner announces that it is about to wait for its descriptor, then checks for `news`: everything that
    /// another thread may have published. Returns true if there is none; any later publication wakes the owner.
    pub(crate) fn arm_unless(&self, news: impl FnOnce() -> bool) -> bool {
        if mutant("wake-recheck-before-arm") {
            let news = news();
            self.arm();
            return !news;
        }
        self.arm();
        !news()
    }

    /// Sleeps until woken or until `timeout` has passed, unless there is `news`. Returns whether it slept.
    pub(crate) fn sleep_unless(&self, timeout: Option<Duration>, news: impl FnOnce() -> bool) -> bool {
        let sleeps = self.arm_unless(news);
        if sleeps {
            self.sleep(timeout);
        }
        self.disarm();
        sleeps
    }

    fn arm(&self) {
        // AcqRel: every write of this word is a read-modify-write. The ordering that matters is the fence's.
        self.word.swap(ASLEEP, AcqRel);
        wake_fence("wake-fence-sleeper");
    }

    /// The owner stops sleeping. A word left asleep would cost every publisher a system call. Returns whether a waker
    /// had cleared the word already.
    pub(crate) fn disarm(&self) -> bool {
        self.word.swap(AWAKE, AcqRel) == AWAKE
    }

    /// Wakes the owner if it sleeps. The caller has published and fenced. Clears the word before it wakes: if it woke
    /// first, the owner could arm again in between, and the clear would then hide a sleeping owner from the next
    /// publisher.
    #[inline]
    pub(crate) fn wake_if_asleep(&self) -> bool {
        // Relaxed: the caller's fence orders this load after its publication.
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

    /// Sleeps until woken or until `timeout` has passed. Called after [`arm_unless`](Self::arm_unless) returned true.
    /// Returns whether the descriptor is readable, so that it must be drained; false for a word without descriptor.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> bool {
        match &self.sleeper {
            Sleeper::Futex => {
                futex_wait(&self.word, ASLEEP, timeout);
                false
            }
            Sleeper::Descriptor(descriptor) => descriptor.wait(timeout),
        }
    }

    /// Makes the descriptor unreadable. Done before a poll, never between a re-check and a wait.
    pub(crate) fn drain(&self) {
        if let Sleeper::Descriptor(descriptor) = &self.sleeper {
            descriptor.drain();
        }
    }

    /// Wakes the owner without a look at the word.
    pub(crate) fn wake(&self) {
        match &self.sleeper {
            Sleeper::Futex => futex_wake(&self.word),
            Sleeper::Descriptor(descriptor) => descriptor.signal(),
        }
    }
}
