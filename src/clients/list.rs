//! Intrusive lists, linked through words of the slots. They need no memory of their own and never overflow.
//!
//! A word is [`UNLISTED`] while its client is on no list. The thread that takes a client off a list resets
//! the word. A slot is not reused before that (`ClientSlot::is_unused`), so every entry belongs to the
//! current generation of its slot.

use crate::sync::{AcqRel, AtomicU32, Relaxed, Release, mutant};

/// The word of a client that is on no list.
pub(crate) const UNLISTED: u32 = u32::MAX;
/// The word of a list's last entry, and the first entry of an empty list.
pub(crate) const END: u32 = u32::MAX - 1;

/// A queue with one owner. `link` returns the word of an entry.
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
        let Some(word) = link(entry) else {
            debug_assert!(false, "every entry has a slot");
            return;
        };
        debug_assert_eq!(word.load(Relaxed), UNLISTED, "an entry is on one list, once");
        word.store(END, Relaxed); // Relaxed: only the owner of the list reads the word until `pop`.
        match link(self.last).filter(|_| self.length > 0) {
            Some(last) => last.store(entry, Relaxed), // Relaxed: as above.
            None => self.first = entry,
        }
        self.last = entry;
        self.length += 1;
    }

    /// Removes the first entry. Call this when the owner is done with the entry.
    pub(crate) fn pop<'a>(&mut self, link: impl Fn(u32) -> Option<&'a AtomicU32>) {
        let Some(word) = self.first().and_then(link) else {
            debug_assert!(false, "pop of an empty list, or of an entry without a slot");
            return;
        };
        self.first = word.load(Relaxed); // Relaxed: as in `push`.
        self.length -= 1;
        if !mutant("link-not-reset") {
            word.store(UNLISTED, Release); // Release: pairs with the Acquire in `ClientSlot::is_unused`.
        }
    }
}

/// A stack to which any thread pushes. One thread takes all entries at once. There is no pop of a single
/// entry, so the ABA problem cannot occur.
#[derive(Debug)]
pub(crate) struct Stack(AtomicU32);

impl Stack {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(END))
    }

    /// Whether the stack looks empty. For the check before a sleep: call this after a fence.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == END // Relaxed: the caller's fence orders the load; `take` acquires.
    }

    pub(crate) fn push(&self, entry: u32, word: &AtomicU32) {
        let mut first = self.0.load(Relaxed); // Relaxed: the compare-and-swap decides.
        loop {
            word.store(first, Relaxed); // Relaxed: the compare-and-swap publishes it.
            // Release publishes the entry and everything done before; pairs with the Acquire in `take`.
            match self.0.compare_exchange_weak(first, entry, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Takes all entries. Returns the latest one; the others follow through their words, up to [`END`].
    pub(crate) fn take(&self) -> u32 {
        // Acquire pairs with the Release in `push`. All writes are read-modify-writes, so the swap also
        // synchronizes with earlier pushes.
        self.0.swap(END, AcqRel)
    }
}
