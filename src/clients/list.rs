//! Lists that are linked through words of the slots, so that they need no memory of their own and never overflow.
//!
//! A word is [`UNLISTED`] while its client is on no such list. Whoever takes a client off sets it back: the slot is not
//! reused before (`ClientSlot::is_unused`), so an entry always belongs to the generation that the slot has.

use crate::sync::{AcqRel, AtomicU32, Relaxed, Release, mutant};

/// The word of a client that is on no list.
pub(crate) const UNLISTED: u32 = u32::MAX;
/// The word of a list's last entry, and the start of an empty list.
pub(crate) const END: u32 = u32::MAX - 1;

/// A queue with one owner. `link` finds an entry's word.
#[derive(Debug)]
pub(crate) struct SlotList {
    first: u32,
    last: u32,
    length: u64,
}

impl SlotList {
    pub(crate) const fn new() -> Self {
        Self { first: END, last: END, length: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != END).then_some(self.first)
    }

    /// Appends an entry that is on no list.
    pub(crate) fn push<'a>(&mut self, entry: u32, link: impl Fn(u32) -> Option<&'a AtomicU32>) {
        let Some(word) = link(entry) else { return };
        debug_assert_eq!(word.load(Relaxed), UNLISTED, "an entry is on one list, once");
        word.store(END, Relaxed); // Relaxed: the list's owner alone reads it until it is taken off.
        match link(self.last).filter(|_| self.length > 0) {
            Some(last) => last.store(entry, Relaxed), // Relaxed: as above.
            None => self.first = entry,
        }
        self.last = entry;
        self.length += 1;
    }

    /// Takes the first entry off, once its owner is done with it.
    pub(crate) fn pop<'a>(&mut self, link: impl Fn(u32) -> Option<&'a AtomicU32>) {
        let Some(word) = self.first().and_then(link) else { return };
        self.first = word.load(Relaxed); // Relaxed: as in `push`.
        self.length -= 1;
        if !mutant("link-not-reset") {
            word.store(UNLISTED, Release); // Release: pairs with the Acquire in `ClientSlot::is_unused`.
        }
    }
}

/// A stack that any thread pushes to and one takes whole: entries only come off all at once, so that none is taken for
/// another that has the same number.
#[derive(Debug)]
pub(crate) struct Stack(AtomicU32);

impl Stack {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(END))
    }

    /// Whether there may be nothing on it. For a re-check before sleep: behind the caller's fence.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == END // Relaxed: see above; `take` acquires.
    }

    pub(crate) fn push(&self, entry: u32, word: &AtomicU32) {
        let mut first = self.0.load(Relaxed); // Relaxed: the exchange decides.
        loop {
            word.store(first, Relaxed); // Relaxed: the exchange publishes it.
            // Release: the entry, and what was done before it; pairs with the Acquire in `take`.
            match self.0.compare_exchange_weak(first, entry, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Takes all entries; the first is the latest. The next ones are found by their words, [`END`] ends them.
    pub(crate) fn take(&self) -> u32 {
        // Acquire: pairs with the Release in `push`; read-modify-writes only, so the exchange of an earlier push counts too.
        self.0.swap(END, AcqRel)
    }
}
