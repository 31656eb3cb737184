//! Whose turn it is to sleep on a wake word that two threads use one after the other: an owner that comes and goes, and
//! a keeper that does the owner's work meanwhile. They never use the word at the same time, because a late disarm of one
//! would hide the sleep of the other. Used by `router::local`.
//!
//! | field | written by | read by | ordering |
//! |---|---|---|---|
//! | `owned` | an owner that comes, by swap; the owner when it goes | the keeper, owners that come | AcqRel, Release / Acquire: publishes what the previous owner did |
//! | `keeping` | locked by the keeper for as long as it uses the word, and for a moment by an owner that comes | | |

use super::{WakeWord, after_publishing};
use crate::sync::{AcqRel, Acquire, AtomicBool, Mutex, Release, lock, mutant};

#[derive(Debug)]
pub(crate) struct Keeping {
    owned: AtomicBool,
    keeping: Mutex<()>,
}

impl Keeping {
    pub(crate) fn new() -> Self {
        Self { owned: AtomicBool::new(false), keeping: Mutex::new(()) }
    }

    /// An owner comes, unless there is one. When this returns true, the keeper does not use the word any more.
    pub(crate) fn own(&self, word: &WakeWord) -> bool {
        // AcqRel: everything that the previous owner did is visible; pairs with the Release in `release`.
        if self.owned.swap(true, AcqRel) {
            return false;
        }
        // The keeper may sleep on the word.
        after_publishing(|| word.wake_if_asleep());
        if !mutant("own-without-waiting") {
            drop(lock(&self.keeping));
        }
        true
    }

    /// The owner goes. It does not use the word any more.
    pub(crate) fn release(&self) {
        self.owned.store(false, Release); // Release: pairs with the swap in `own` and the Acquire in `is_owned`.
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.owned.load(Acquire) // Acquire: pairs with the Release in `release`.
    }

    /// The keeper works until an owner comes or until `pass` returns false. Each `pass` works or sleeps on the word.
    /// Its re-check before a sleep must cover [`is_owned`](Self::is_owned).
    pub(crate) fn keep(&self, mut pass: impl FnMut() -> bool) {
        let _keeping = lock(&self.keeping);
        while !self.is_owned() && pass() {}
    }
}
