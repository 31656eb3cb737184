//! The reading end of a ring: refresh once per batch, read record by record, release once per batch. One thread at a
//! time owns it: a worker (ingress) or a port (egress). It validates everything that it reads.

#[cfg(all(test, not(corelane_loom)))]
mod tests;

use super::layout::ALIGNMENT;
use super::memory::{Data, Memory};
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, mutant, ordering};

/// The ring contains values that no correct producer writes. The ring cannot be used further; detach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// One record: its kind, its flags and all its bytes, including the eight-byte prefix.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The kind.
    pub kind: u16,
    /// The flags; their meaning depends on the kind.
    pub flags: u16,
    /// The whole record.
    pub bytes: &'a [u8],
}

/// The reading end. `Send`, not `Sync`: one thread at a time.
#[derive(Debug)]
pub struct Consumer {
    memory: Arc<Memory>,
    data: Data,
    cursor: Cursor,
    released: u64,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

/// Where the next record is.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Position of the next record. The bytes from `released` to here are read and not yet released.
    head: u64,
    /// The bytes from `head` to here are published and in one piece: up to `tail`, or to the end of the data.
    limit: u64,
    /// The producer's tail as last read.
    tail: u64,
    /// Records read.
    popped: u64,
    /// The prefix of the last record, which has passed the checks, and the distance from that record to the next one.
    /// A record with the same prefix needs no further check than that it ends before `limit`. Where the record after
    /// it starts then does not depend on what is read of it, so the processor does not wait for the other side's line.
    last: u64,
    stride: u64,
}

impl Cursor {
    fn at(position: u64) -> Self {
        // No prefix has been checked, so the stride of the last one ends behind any limit.
        Self { head: position, limit: position, tail: position, popped: 0, last: 0, stride: u64::MAX }
    }

    /// Returns the index of the next record up to the tail last read; its prefix is then `last`. Skips pads.
    #[inline(always)]
    fn locate(&mut self, data: &Data) -> Result<Option<usize>, Corrupt> {
        loop {
            if self.head == self.limit {
                if self.head == self.tail {
                    return Ok(None);
                }
                self.measure(data);
            }
            let index = data.index(self.head);
            // SAFETY: `head` is below `limit`, and both lie on 64-byte boundaries inside the data, so eight bytes
            // exist. The producer wrote them before it published `tail` and does not change them until `release`.
            let word = Prefix::word_of(unsafe { data.read(index, PREFIX_BYTES) });
            let row = self.limit - self.head;
            if word == self.last && self.stride <= row {
                return Ok(Some(index));
            }
            let prefix = Prefix::of_word(word);
            let length = u64::from(prefix.length);
            let stride = length.next_multiple_of(ALIGNMENT as u64);
            if prefix.kind == KIND_PAD {
                // A pad ends the data, and all of it is published.
                if length != row || data.index(self.limit) != 0 {
                    return Err(Corrupt);
                }
                self.head = self.limit;
                continue;
            }
            if !(PREFIX_BYTES as u64..=data.max_record as u64).contains(&length) || stride > row {
                return Err(Corrupt);
            }
            (self.last, self.stride) = (word, stride);
            return Ok(Some(index));
        }
    }

    /// Moves the limit as far from `head` as it may be.
    #[inline]
    fn measure(&mut self, data: &Data) {
        let published = if mutant("ring-limit-past-tail") { u64::MAX } else { self.tail - self.head };
        self.limit = self.head + published.min(data.to_end(self.head));
    }

    /// The record that `locate` has found at `index`.
    #[inline(always)]
    fn record<'a>(&self, data: &'a Data, index: usize) -> Record<'a> {
        let Prefix { length, kind, flags } = Prefix::of_word(self.last);
        // SAFETY: `locate` has checked that the record is inside the data and below the published tail. The producer
        // does not change the bytes until `release`, which the callers' borrow of the consumer excludes.
        let bytes = unsafe { data.read(index, length as usize) };
        Record { kind, flags, bytes }
    }

    /// Goes on behind the record that `locate` has found.
    #[inline(always)]
    fn pass(&mut self) {
        self.head += self.stride;
        // Wrapping: it continues a count that another language may have written (`resume`).
        self.popped = self.popped.wrapping_add(1);
    }

    /// Marks the last record read as unread. `position` is where it, or the pad before it, starts.
    fn rewind(&mut self, position: u64, data: &Data) {
        self.head = position;
        self.popped = self.popped.saturating_sub(1);
        self.measure(data);
    }
}

/// The records up to the tail last read, as [`Consumer::records`] starts them. The positions are here, so that a loop
/// keeps them in registers. They go back into the consumer when this is dropped.
#[derive(Debug)]
pub struct Records<'a> {
    ring: &'a mut Consumer,
    cursor: Cursor,
}

impl Records<'_> {
    /// Returns the next record, or `None` after the last one. The record is valid until [`Consumer::release`].
    ///
    /// # Errors
    /// [`Corrupt`] if a length is impossible. No byte outside the ring is ever read.
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "the record borrows the consumer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some(index) = self.locate()? else { return Ok(None) };
        self.cursor.pass();
        Ok(Some(self.cursor.record(&self.ring.data, index)))
    }

    /// Like [`next`](Self::next), but the record remains the next one until [`skip`](Self::skip).
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some(index) = self.locate()? else { return Ok(None) };
        Ok(Some(self.cursor.record(&self.ring.data, index)))
    }

    /// Skips the record that `peek` returned.
    #[inline]
    pub(crate) fn skip(&mut self) {
        if let Ok(Some(_)) = self.locate() {
            self.cursor.pass();
        }
    }

    #[inline(always)]
    fn locate(&mut self) -> Result<Option<usize>, Corrupt> {
        match self.cursor.locate(&self.ring.data) {
            Err(Corrupt) => Err(corrupt(&self.ring.memory)),
            located => located,
        }
    }

    /// As [`Consumer::position`].
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.cursor.head
    }

    /// The position after the last record read, and the number of records read.
    #[inline]
    pub(crate) fn mark(&self) -> (u64, u64) {
        (self.cursor.head, self.cursor.popped)
    }
}

impl Drop for Records<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.ring.cursor = self.cursor;
    }
}

#[cold]
fn corrupt(memory: &Memory) -> Corrupt {
    memory.header().flags.corrupt.store(1, Relaxed); // Relaxed: a report.
    Corrupt
}

impl Consumer {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self::starting_at(memory, 0)
    }

    /// Creates a consumer that starts at `position`. Used to settle the rest of a closed ring.
    pub(crate) fn starting_at(memory: Arc<Memory>, position: u64) -> Self {
        // Another language may have written the position. Align it: otherwise the next prefix could lie beyond the
        // data.
        let position = position & !(ALIGNMENT as u64 - 1);
        Self {
            data: memory.data(),
            memory,
            cursor: Cursor::at(position),
            released: position,
            not_sync: std::marker::PhantomData,
        }
    }

    /// Creates a consumer that continues at the last released position. The previous consumer must not be used any
    /// more.
    pub(crate) fn resume(memory: Arc<Memory>) -> Self {
        let (head, popped) = (memory.shared_head(), memory.header().consumer.popped.load(Relaxed));
        let mut consumer = Self::starting_at(memory, head);
        consumer.cursor.popped = popped;
        consumer
    }

    /// Publishes how many records were taken, without releasing their bytes. For a ring that is not used any more.
    pub(crate) fn keep(&mut self) {
        self.memory.header().consumer.popped.store(self.cursor.popped, Relaxed); // Relaxed: as in `release`.
    }

    /// The ring's memory.
    #[inline(always)]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Reads the producer's tail. Returns whether there is anything to read.
    ///
    /// # Errors
    /// [`Corrupt`] if the tail moved back, lies off a record boundary, or exceeds the released position by more than
    /// the capacity.
    #[inline]
    pub fn refresh(&mut self) -> Result<bool, Corrupt> {
        // Acquire: the records below the tail are complete; pairs with the Release in `Producer::publish`.
        let tail = self.memory.header().producer.tail.load(Acquire);
        let cursor = &mut self.cursor;
        if tail == cursor.tail {
            return Ok(cursor.head != tail);
        }
        if tail < cursor.tail
            || tail.checked_sub(self.released).is_none_or(|used| used > self.memory.capacity())
            || !tail.is_multiple_of(ALIGNMENT as u64)
        {
            return Err(corrupt(&self.memory));
        }
        cursor.tail = tail;
        cursor.measure(&self.data);
        Ok(true)
    }

    /// Starts to read the records up to the tail last read.
    #[inline(always)]
    pub fn records(&mut self) -> Records<'_> {
        Records { cursor: self.cursor, ring: self }
    }

    /// Returns the next record up to the tail last read, or `None`. The record stays valid until
    /// [`release`](Self::release), which takes `&mut self`. A loop uses [`records`](Self::records).
    ///
    /// # Errors
    /// [`Corrupt`] if a length is impossible. No byte outside the ring is ever read.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "the record borrows the consumer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        Ok(self.next_at()?.map(|(_, record)| record))
    }

    /// As [`next`](Self::next), with the position at which the record starts.
    #[inline]
    pub(crate) fn next_at(&mut self) -> Result<Option<(u64, Record<'_>)>, Corrupt> {
        match self.cursor.locate(&self.data) {
            Ok(None) => Ok(None),
            Ok(Some(index)) => {
                let start = self.cursor.head;
                self.cursor.pass();
                Ok(Some((start, self.cursor.record(&self.data, index))))
            }
            Err(Corrupt) => Err(corrupt(&self.memory)),
        }
    }

    /// Releases everything read so far. Returns whether there was anything to release. If so, the caller wakes a
    /// waiting producer: `wake_fence`, then `Memory::needs_space`.
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.cursor.head == self.released {
            return false;
        }
        self.released = self.cursor.head;
        let line = &self.memory.header().consumer;
        line.popped.store(self.cursor.popped, Relaxed); // Relaxed: a figure for reports and load.
        // Release: the producer may overwrite the bytes below; pairs with the Acquire in `look_at_head`.
        line.head.store(self.cursor.head, ordering("ring-head-relaxed", Release, Relaxed));
        true
    }

    /// Like [`release`](Self::release), but only up to `before`: a position and the number of records read by then,
    /// as [`Records::mark`] returned them. Later records stay readable with [`read_back`](Self::read_back).
    pub(crate) fn release_below(&mut self, before: (u64, u64)) -> bool {
        let (position, popped) = before;
        if position <= self.released || position > self.cursor.head {
            return false;
        }
        self.released = position;
        let line = &self.memory.header().consumer;
        line.popped.store(popped, Relaxed); // Relaxed: as in `release`.
        line.head.store(position, Release); // Release: as in `release`.
        true
    }

    /// The number of records read.
    pub(crate) fn popped(&self) -> u64 {
        self.cursor.popped
    }

    /// The bytes of a record that was read and is not yet released. The borrow excludes a release.
    pub(crate) fn read_back(&self, start: u64, length: usize) -> Option<&[u8]> {
        let end = start.checked_add(length as u64)?;
        let index = self.data.index(start);
        let inside = index as u64 + length as u64 <= self.memory.capacity();
        if start < self.released || end > self.cursor.head || !inside {
            return None;
        }
        // SAFETY: `released <= start`, `start + length <= head`, and the range does not wrap. These bytes were
        // published, and the producer does not change them until they are released, which needs `&mut self`.
        Some(unsafe { self.data.read(index, length) })
    }

    /// The producer's tail as last read.
    pub(crate) fn seen_tail(&self) -> u64 {
        self.cursor.tail
    }

    /// Whether every record up to the tail last read has been read.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.cursor.tail == self.cursor.head
    }

    /// Whether there are unread records, including those published after the last refresh. For the re-check before
    /// sleep: it reads the shared tail, after the caller's fence.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        if crate::sync::mutant("wake-cached-tail") {
            return self.cursor.tail != self.cursor.head;
        }
        self.memory.shared_tail() != self.cursor.head
    }

    /// The number of unread bytes, including pads.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.memory.shared_tail().saturating_sub(self.cursor.head)
    }

    /// The numbers of unread records and bytes, including pads. The record count comes from the producer's words, so
    /// it is limited by the byte count.
    #[inline]
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let bytes = self.pending_bytes();
        let pushed = self.memory.traffic().0;
        (pushed.saturating_sub(self.cursor.popped).min(bytes / ALIGNMENT as u64), bytes)
    }

    /// The position after the last record read.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.cursor.head
    }

    /// Marks the last record read as unread. `position` is the value of [`position`](Self::position) from before that
    /// record was read; nothing may have been released since. The record becomes the next one again, and its space is
    /// not released.
    pub(crate) fn rewind(&mut self, position: u64) {
        if (self.released..self.cursor.head).contains(&position) {
            self.cursor.rewind(position, &self.data);
        }
    }

    /// Stops taking records for good: sets CLOSED, then reads the tail. Returns that tail, the seal. Records below
    /// the seal are still to be taken; records published above it never will be.
    ///
    /// # Errors
    /// [`Corrupt`] as for [`refresh`](Self::refresh). The seal is then the head, and nothing more is taken.
    pub(crate) fn close_and_seal(&mut self) -> Result<u64, Corrupt> {
        self.memory.close();
        self.refresh()?;
        Ok(self.cursor.tail)
    }

    /// Stores the position at which this side stopped. Release: pairs with the Acquire in `Memory::seal`; the thread
    /// that settles has also seen this side leave.
    pub(crate) fn store_seal(&self) {
        self.memory.header().flags.seal.store(self.cursor.head, Release);
    }

    /// Abandons the ring because its content cannot be trusted: marks it corrupt and closes it.
    pub(crate) fn mark_corrupt(&self) {
        corrupt(&self.memory);
        self.memory.close();
    }
}

impl Memory {
    /// The position at which the consumer stopped for good, or `None` before that. Acquire pairs with `store_seal`.
    pub(crate) fn seal(&self) -> Option<u64> {
        let seal = self.header().flags.seal.load(Acquire);
        (seal != u64::MAX).then_some(seal)
    }
}
