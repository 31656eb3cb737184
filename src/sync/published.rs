//! Copy-on-write cells with one writer and a fixed set of readers that never wait: RCU (read-copy-update). The writer
//! replaces a cell's value as a whole and frees the old value once no reader can hold it. `clients::rooms` keeps
//! member lists in such cells.
//!
//! Each reader has a word that is odd while the reader is inside a batch, which is its read-side critical section.
//! The reader makes the word odd and fences before its first read of the batch, not at each read. The writer swaps
//! the pointer, fences, and then reads the words. One of the two fences is first: either the reader sees the new
//! value, or the writer sees the reader inside and keeps the old value until that word has changed. The number and
//! bytes of kept values are bounded; beyond the bound `replace` fails and changes nothing.

use super::{
    Acquire, Arc, AtomicPtr, AtomicU64, Mutex, Relaxed, Release, SeqCst, fence, lock, mutant, ordering,
};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The limits of replaced values that are kept for readers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retirement {
    pub(crate) values: usize,
    pub(crate) bytes: usize,
}

/// The limit of kept values is reached. Nothing has changed; readers free values as they end their batches, so retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// Creates `cells` empty cells with their writer and their readers.
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
    /// Each is null or comes from `Box::into_raw`. Only the one writer writes it.
    cells: Box<[AtomicPtr<T>]>,
    /// One per reader, written only by that reader; odd while the reader is inside a batch.
    words: Box<[CachePadded<AtomicU64>]>,
    /// Used only by the writer. It lives here because readers may outlive the writer.
    retired: Mutex<RetiredList<T>>,
    owns: PhantomData<Box<T>>,
}

#[derive(Debug)]
struct RetiredList<T> {
    waiting: VecDeque<Retired<T>>,
    bytes: usize,
}

/// A value that no cell contains any more.
#[derive(Debug)]
struct Retired<T> {
    /// Each reader's word, as read after the swap.
    seen: Box<[u64]>,
    bytes: usize,
    #[expect(dead_code, reason = "it is there to be freed")]
    value: Owned<T>,
}

/// Owns a value and frees it. Readers may still read the value, so it cannot be a `Box`, which requires unique
/// access.
#[derive(Debug)]
struct Owned<T>(NonNull<T>);

// SAFETY: it owns the value and moves with it.
unsafe impl<T: Send + Sync> Send for Owned<T> {}
// SAFETY: it gives no access to the value.
unsafe impl<T: Send + Sync> Sync for Owned<T> {}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, removed from its cell, and owned once. Dropped when no reader can hold it:
        // every reader was outside or has moved on, or the readers are gone with the table.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T> Retired<T> {
    /// Whether every reader that was inside after the swap has left that batch since.
    fn is_over(&self, words: &[CachePadded<AtomicU64>]) -> bool {
        // Acquire: the reader's reads in that batch have ended; pairs with the Release in `leave`.
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
            // Relaxed: the last owner's drop happens after everything that other owners did.
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
    /// The value in a cell.
    pub(crate) fn get(&self, cell: usize) -> Option<&T> {
        let value = self.table.cells.get(cell)?.load(Relaxed); // Relaxed: our own last store.
        // SAFETY: null, or a live value. Only this writer frees it, in `replace`, which takes `&mut self`.
        unsafe { value.as_ref() }
    }

    /// Puts `new` into a cell and frees the old value, now or when no reader can hold it any more. `bytes` is the
    /// size of the old value.
    ///
    /// # Errors
    /// [`Crowded`] if the old value might have to be kept and the limit is reached. Nothing has changed.
    pub(crate) fn replace(&mut self, cell: usize, new: Option<Box<T>>, bytes: usize) -> Result<(), Crowded> {
        let table = &*self.table;
        let place = &table.cells[cell];
        let mut retired = lock(&table.retired);
        retired.collect(&table.words);
        let crowded = retired.is_crowded(self.limits, bytes);
        // Relaxed: our own last store.
        if crowded && !place.load(Relaxed).is_null() {
            return Err(Crowded);
        }
        let new = new.map_or(std::ptr::null_mut(), Box::into_raw);
        // Release: publishes the value; pairs with the Acquire in `Reader::get`.
        let old = place.swap(new, ordering("published-swap-relaxed", Release, Relaxed));
        let Some(old) = NonNull::new(old) else { return Ok(()) };
        // Pairs with the fence in `Reader::enter`; see the module's comment.
        fence(ordering("published-fence-writer", SeqCst, Release));
        // Acquire: a reader seen outside has ended its reads; pairs with the Release in `leave`.
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

    /// Whether a value of this many bytes could be kept after a replacement now. Called before the next value is
    /// built.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let mut retired = lock(&self.table.retired);
        retired.collect(&self.table.words);
        !retired.is_crowded(self.limits, bytes)
    }

    /// Frees every value that no reader can hold. Returns how many values and bytes are still kept.
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

/// One reader. It is inside a batch from its first read until it leaves.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    table: Arc<PublishedTable<T>>,
    index: usize,
    /// The value of this reader's word.
    word: u64,
}

impl<T: Send + Sync> Reader<T> {
    /// The value in a cell. The value stays alive until [`leave`](Self::leave), which the borrow excludes. Never
    /// waits.
    #[inline]
    pub(crate) fn get(&mut self, cell: usize) -> Option<&T> {
        self.enter();
        // Acquire: the value is complete; pairs with the Release in `replace`.
        let value = self.table.cells.get(cell)?.load(Acquire);
        // SAFETY: null, or a value that the writer keeps at least until this reader's word changes: the word became
        // odd before the load, with a full fence between (see the module's comment), and only `leave` changes it.
        unsafe { value.as_ref() }
    }

    fn enter(&mut self) {
        if !self.word.is_multiple_of(2) {
            return;
        }
        self.word += 1;
        // Release: for a writer that sees this word but not the even one before it, the reads of the previous
        // batch have ended; pairs with the Acquires in `replace` and `is_over`.
        self.table.words[self.index].store(self.word, ordering("published-enter-relaxed", Release, Relaxed));
        // Pairs with the fence in `PublishedWriter::replace`; see the module's comment.
        fence(ordering("published-fence-reader", SeqCst, Release));
    }

    /// Ends the batch. Nothing returned by `get` before is used any more.
    #[inline]
    pub(crate) fn leave(&mut self) {
        if self.word.is_multiple_of(2) {
            return;
        }
        self.word += 1;
        // Release: the batch's reads have ended; pairs with the Acquires in `replace` and `is_over`.
        self.table.words[self.index].store(self.word, ordering("published-leave-relaxed", Release, Relaxed));
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        if !self.word.is_multiple_of(2) {
            self.table.words[self.index].store(self.word + 1, Release); // Release: as in `leave`.
        }
    }
}
