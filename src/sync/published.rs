//! Cells that one writer replaces whole and a few known readers look at without ever waiting: copy-on-write, with what
//! was replaced freed once nobody can look at it any more. `clients::rooms` keeps member lists in them.
//!
//! Each reader has a word, odd while it is inside a batch: it makes it odd, fences, then looks; once per batch, not per
//! look. The writer swaps the pointer, fences, then reads the words. Of the two fences one comes first: either the
//! reader sees the new value, or the writer sees the reader inside, and keeps the old one until that word has changed.
//! What is kept is bounded in number and bytes: past it the writer is told so, and nothing has changed.

use super::{
    Acquire, Arc, AtomicPtr, AtomicU64, Mutex, Relaxed, Release, SeqCst, fence, lock, mutant, ordering,
};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How much that was replaced may be kept for readers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retirement {
    pub(crate) values: usize,
    pub(crate) bytes: usize,
}

/// As much is kept for readers as may be. Nothing has changed; they move on by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// Makes `cells` empty cells with their writer and their readers.
pub(crate) fn published<T: Send + Sync>(
    cells: usize,
    readers: usize,
    limits: Retirement,
) -> (PublishedWriter<T>, Vec<Reader<T>>) {
    let table = Arc::new(PublishedTable {
        cells: (0..cells).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect(),
        words: (0..readers).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
        retired: Mutex::new(RetiredList { waiting: VecDeque::new(), bytes: 0 }),
        owns: PhantomData,
    });
    let reader = |index| Reader { table: Arc::clone(&table), index, word: 0 };
    let readers = (0..readers).map(reader).collect();
    (PublishedWriter { table, limits }, readers)
}

#[derive(Debug)]
struct PublishedTable<T> {
    /// Each null or made by `Box::into_raw`; written by the one writer.
    cells: Box<[AtomicPtr<T>]>,
    /// One per reader, written by it alone; odd while it is inside a batch.
    words: Box<[CachePadded<AtomicU64>]>,
    /// The writer's alone; here since readers may outlive the writer.
    retired: Mutex<RetiredList<T>>,
    owns: PhantomData<Box<T>>,
}

#[derive(Debug)]
struct RetiredList<T> {
    waiting: VecDeque<Retired<T>>,
    bytes: usize,
}

/// A value that is in no cell any more.
#[derive(Debug)]
struct Retired<T> {
    /// Each reader's word after the swap.
    seen: Box<[u64]>,
    bytes: usize,
    #[expect(dead_code, reason = "it is there to be freed")]
    value: Owned<T>,
}

/// A value that only this owns, and frees, although readers may still look at it: no box, which must be alone.
#[derive(Debug)]
struct Owned<T>(NonNull<T>);

// SAFETY: it stands for the value itself, wherever it goes.
unsafe impl<T: Send + Sync> Send for Owned<T> {}
// SAFETY: it gives no access.
unsafe impl<T: Send + Sync> Sync for Owned<T> {}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, out of its cell, owned once; dropped when no reader can have it any more:
        // every reader was outside or has moved on, or is gone with the table.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T> Retired<T> {
    /// Whether every reader that was inside after the swap has come out since.
    fn is_over(&self, words: &[CachePadded<AtomicU64>]) -> bool {
        // Acquire: what the reader looked at in that batch it has looked at; pairs with the Release in `leave`.
        let order = ordering("published-moved-on-relaxed", Acquire, Relaxed);
        let moved_on = |(word, seen): (&CachePadded<AtomicU64>, &u64)| {
            seen.is_multiple_of(2) || word.load(order) != *seen
        };
        words.iter().zip(&self.seen).all(moved_on)
    }
}

impl<T> Drop for PublishedTable<T> {
    fn drop(&mut self) {
        for cell in &self.cells {
            // Relaxed: the last owner's drop comes after everything that the others did.
            drop(NonNull::new(cell.load(Relaxed)).map(Owned));
        }
    }
}

/// The one writer of its cells.
#[derive(Debug)]
pub(crate) struct PublishedWriter<T> {
    table: Arc<PublishedTable<T>>,
    limits: Retirement,
}

impl<T: Send + Sync> PublishedWriter<T> {
    /// What a cell holds.
    pub(crate) fn get(&self, cell: usize) -> Option<&T> {
        let value = self.table.cells.get(cell)?.load(Relaxed); // Relaxed: our own last store.
        // SAFETY: null, or a live value: only this writer frees it, in `replace`, which takes `&mut self`.
        unsafe { value.as_ref() }
    }

    /// Puts `new` into a cell and frees what was there, now or when no reader can look at it any more. `bytes` says how
    /// large that is.
    ///
    /// # Errors
    /// [`Crowded`] where it would have to be kept and may not; nothing has changed.
    pub(crate) fn replace(&mut self, cell: usize, new: Option<Box<T>>, bytes: usize) -> Result<(), Crowded> {
        let table = &*self.table;
        let Some(place) = table.cells.get(cell) else { return Err(Crowded) };
        let mut retired = lock(&table.retired);
        retired.collect(&table.words);
        let crowded = retired.is_crowded(self.limits, bytes);
        // Relaxed: our own last store.
        if crowded && !place.load(Relaxed).is_null() {
            return Err(Crowded);
        }
        let new = new.map_or(std::ptr::null_mut(), Box::into_raw);
        // Release: with the pointer comes what it points at; pairs with the Acquire in `Reader::get`.
        let old = place.swap(new, ordering("published-swap-relaxed", Release, Relaxed));
        let Some(old) = NonNull::new(old) else { return Ok(()) };
        // Pairs with the fence in `Reader::enter`, see above.
        fence(ordering("published-fence-writer", SeqCst, Release));
        // Acquire: a reader seen outside has looked for the last time; pairs with the Release in `leave`.
        let order = ordering("published-moved-on-relaxed", Acquire, Relaxed);
        let seen = table.words.iter().map(|word| word.load(order)).collect();
        let waiting = Retired { seen, bytes, value: Owned(old) };
        if waiting.is_over(&table.words) || mutant("published-free-early") {
            drop(waiting);
        } else {
            retired.bytes += bytes;
            retired.waiting.push_back(waiting);
        }
        Ok(())
    }

    /// Whether a value of so many bytes could be kept now, after it is replaced: asked before the next one is made.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let mut retired = lock(&self.table.retired);
        retired.collect(&self.table.words);
        !retired.is_crowded(self.limits, bytes)
    }

    /// Frees what no reader can look at any more; says how many values and bytes are still kept.
    pub(crate) fn collect(&mut self) -> (usize, usize) {
        let mut retired = lock(&self.table.retired);
        retired.collect(&self.table.words);
        (retired.waiting.len(), retired.bytes)
    }
}

impl<T> RetiredList<T> {
    fn is_crowded(&self, limits: Retirement, bytes: usize) -> bool {
        self.waiting.len() >= limits.values || self.bytes + bytes > limits.bytes
    }

    fn collect(&mut self, words: &[CachePadded<AtomicU64>]) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|waiting| {
            let over = waiting.is_over(words);
            *bytes -= if over { waiting.bytes } else { 0 };
            !over
        });
    }
}

/// One reader. It is inside a batch from its first look until it leaves.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    table: Arc<PublishedTable<T>>,
    index: usize,
    /// What this reader's word says.
    word: u64,
}

impl<T: Send + Sync> Reader<T> {
    /// What a cell holds now. It stays until [`leave`](Self::leave), which the borrow excludes. Never waits.
    #[inline]
    pub(crate) fn get(&mut self, cell: usize) -> Option<&T> {
        self.enter();
        // Acquire: the value is whole; pairs with the Release in `replace`.
        let value = self.table.cells.get(cell)?.load(Acquire);
        // SAFETY: null, or a value that the writer keeps at least until this reader's word changes: the word was odd
        // before the look, with a full fence between (see above), and only `leave` changes it.
        unsafe { value.as_ref() }
    }

    fn enter(&mut self) {
        if !self.word.is_multiple_of(2) {
            return;
        }
        self.word += 1;
        if let Some(word) = self.table.words.get(self.index) {
            // Release: the looks of the batch before are done for a writer that sees this word and not the even one
            // between; pairs with the Acquires in `replace` and `is_over`.
            word.store(self.word, ordering("published-enter-relaxed", Release, Relaxed));
        }
        // Pairs with the fence in `PublishedWriter::replace`, see above.
        fence(ordering("published-fence-reader", SeqCst, Release));
    }

    /// Ends the batch: nothing got before is used any more.
    #[inline]
    pub(crate) fn leave(&mut self) {
        if self.word.is_multiple_of(2) {
            return;
        }
        self.word += 1;
        if let Some(word) = self.table.words.get(self.index) {
            // Release: the looks are done; pairs with the Acquires in `replace` and `is_over`.
            word.store(self.word, ordering("published-leave-relaxed", Release, Relaxed));
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        if !self.word.is_multiple_of(2)
            && let Some(word) = self.table.words.get(self.index)
        {
            word.store(self.word + 1, Release); // Release: as in `leave`.
        }
    }
}
