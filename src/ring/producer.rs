//! The writing end of a ring: claim, write, commit, then publish once per batch. One thread at a time owns it: a port
//! (ingress) or a worker (egress).

use super::consumer::Corrupt;
use super::layout::ALIGNMENT;
use super::memory::{AHEAD, Data, Memory};
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, mutant, ordering};

/// Why a claim failed. The ring is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// No room. The ring stays full until the consumer releases a batch: drop or keep the record, or wait for space.
    Full,
    /// The record is larger than [`Memory::max_record`]. Send less, or configure larger rings.
    TooLarge,
    /// The consumer has written an impossible head; the ring is corrupt.
    Closed,
}

/// The writing end. `Send`, not `Sync`: one thread at a time.
#[derive(Debug)]
pub struct Producer {
    memory: Arc<Memory>,
    data: Data,
    cursor: Cursor,
    published: u64,
    /// The consumer's head as last read.
    cached_head: u64,
    needs_space: bool,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Position of the next record. The bytes from `published` to here are written and not yet visible.
    tail: u64,
    /// The bytes from `tail` to here are free and in one piece. A multiple of the alignment.
    limit: u64,
    /// Records committed.
    pushed: u64,
    /// Bytes claimed and not yet committed.
    claimed: u64,
}

impl Cursor {
    /// Claims `length` bytes, which the caller has found to fit, and writes the prefix.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the ring's protocol, not the borrow, gives exclusive access")]
    fn claim<'a>(&mut self, data: &'a Data, length: usize, kind: u16, flags: u16) -> &'a mut [u8] {
        self.claimed = length.next_multiple_of(ALIGNMENT) as u64;
        let index = data.index(self.tail);
        // Only bytes that the consumer has released: it may still read the others.
        if self.tail + self.claimed + AHEAD <= self.limit {
            data.own_ahead(index, length);
        }
        // SAFETY: the bytes from `tail` to `limit` are in one piece, below the consumer's head plus the capacity, and
        // so free; the consumer cannot see them before `publish`. The caller has checked that `length` bytes fit.
        let record = unsafe { data.write(index, length) };
        Prefix { length: length as u32, kind, flags }.write(record);
        record
    }

    #[inline(always)]
    fn fits(&self, length: usize) -> bool {
        (PREFIX_BYTES as u64..=self.limit - self.tail).contains(&(length as u64))
    }

    #[inline(always)]
    fn commit(&mut self) {
        if self.claimed > 0 {
            self.tail += self.claimed;
            self.claimed = 0;
            self.pushed += 1;
        }
    }
}

/// Several records in a row, as [`Producer::batch`] starts them. The positions are in the batch, so that a loop keeps
/// them in registers; they go back into the producer when the batch is dropped.
#[derive(Debug)]
pub struct Batch<'a> {
    ring: &'a mut Producer,
    cursor: Cursor,
}

impl Batch<'_> {
    /// As [`Producer::claim`].
    ///
    /// # Errors
    /// As [`Producer::claim`].
    #[inline(always)]
    pub fn claim(&mut self, length: usize, kind: u16, flags: u16) -> Result<&mut [u8], PushError> {
        if !self.cursor.fits(length) {
            self.cursor = self.ring.make_room(self.cursor, length)?;
        }
        Ok(self.cursor.claim(&self.ring.data, length, kind, flags))
    }

    /// As [`Producer::commit`].
    #[inline(always)]
    pub fn commit(&mut self) {
        self.cursor.commit();
    }
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.ring.cursor = self.cursor;
    }
}

impl Producer {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self {
            data: memory.data(),
            memory,
            cursor: Cursor { tail: 0, limit: 0, pushed: 0, claimed: 0 },
            published: 0,
            cached_head: 0,
            needs_space: false,
            not_sync: std::marker::PhantomData,
        }
    }

    /// The ring's memory.
    #[inline(always)]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The number of records committed so far, published or not.
    #[inline(always)]
    pub fn pushed(&self) -> u64 {
        self.cursor.pushed
    }

    /// The position after the last committed record.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.tail
    }

    /// The position up to which the consumer has released.
    pub(crate) fn consumed(&self) -> u64 {
        // Acquire: also makes visible what the consumer did with those records; pairs with the Release in
        // `Consumer::release`.
        self.memory.header().consumer.head.load(ordering("consumed-relaxed", Acquire, Relaxed))
    }

    /// Starts a batch of records.
    #[inline(always)]
    pub fn batch(&mut self) -> Batch<'_> {
        Batch { cursor: self.cursor, ring: self }
    }

    /// Claims room for a record of `length` bytes, including the eight-byte prefix (length, kind, flags), which this
    /// call writes. [`commit`](Self::commit) makes the record part of the ring. The next claim discards a claim that
    /// was not committed.
    ///
    /// # Errors
    /// See [`PushError`]; no record becomes visible.
    #[inline]
    pub fn claim(&mut self, length: usize, kind: u16, flags: u16) -> Result<&mut [u8], PushError> {
        if !self.cursor.fits(length) {
            self.cursor = self.make_room(self.cursor, length)?;
        }
        Ok(self.cursor.claim(&self.data, length, kind, flags))
    }

    /// Adds the last claim to the ring. The record becomes visible with [`publish`](Self::publish).
    #[inline]
    pub fn commit(&mut self) {
        self.cursor.commit();
    }

    /// Finds room for a record of `length` bytes: behind the end of the data, or after a look at the head. A pad that
    /// ends the data stays, whether or not the record is committed. If there is no room, the ring is unchanged.
    #[inline(never)]
    fn make_room(&mut self, mut cursor: Cursor, length: usize) -> Result<Cursor, PushError> {
        let capacity = self.memory.capacity();
        if length > self.data.max_record || length < PREFIX_BYTES {
            return Err(PushError::TooLarge);
        }
        let needed = length.next_multiple_of(ALIGNMENT) as u64;
        let index = self.data.index(cursor.tail);
        let to_end = capacity - index as u64;
        let pad = if needed > to_end { to_end } else { 0 };
        if cursor.tail + pad + needed - self.cached_head > capacity {
            self.look_at_head().map_err(|Corrupt| PushError::Closed)?;
            if cursor.tail + pad + needed - self.cached_head > capacity {
                // Relaxed: a figure that only this side writes.
                let refused = &self.memory.header().producer.refused_full;
                refused.store(refused.load(Relaxed) + 1, Relaxed);
                return Err(PushError::Full);
            }
        }
        if pad > 0 {
            // SAFETY: `tail..tail + pad` lies inside the ring and ends with it. It is below the consumer's head plus
            // the capacity (checked above), so the bytes are free, and the consumer cannot see them before `publish`.
            let record = unsafe { self.data.write(index, PREFIX_BYTES) };
            Prefix { length: pad as u32, kind: KIND_PAD, flags: 0 }.write(record);
            cursor.tail += pad;
        }
        let past_head = mutant("ring-limit-past-head");
        let free = if past_head { capacity } else { self.cached_head + capacity - cursor.tail };
        let to_end = capacity - self.data.index(cursor.tail) as u64;
        // `claim` tests nothing but the limit, so it is never further away than the largest record.
        cursor.limit = cursor.tail + free.min(to_end).min(self.data.max_record as u64);
        Ok(cursor)
    }

    /// Makes every committed record visible. Returns whether there were any. If so, the caller wakes the consumer
    /// with `park::after_publishing`.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.cursor.tail == self.published {
            return false;
        }
        self.published = self.cursor.tail;
        let line = &self.memory.header().producer;
        // Relaxed: a figure for reports and load; only this side writes it.
        line.pushed.store(self.cursor.pushed, Relaxed);
        // Release: publishes the records below; pairs with the Acquire in `Consumer::refresh`.
        line.tail.store(self.cursor.tail, ordering("ring-tail-relaxed", Release, Relaxed));
        true
    }

    /// Withdraws the request for space.
    #[inline]
    pub(crate) fn end_request(&mut self) {
        if self.needs_space {
            // Relaxed: only this side writes the word, and a consumer that reads an old value only wakes this side
            // once too often.
            self.memory.header().flags.need_space.store(0, Relaxed);
            self.needs_space = false;
        }
    }

    /// Requests space. The request stands until [`end_request`](Self::end_request). The caller then fences and checks
    /// the head again (see `park`).
    pub(crate) fn request_space(&mut self) {
        self.needs_space = true;
        // Relaxed: the caller's `wake_fence` orders this store before the re-check of the head.
        self.memory.header().flags.need_space.store(1, Relaxed);
    }

    /// The consumer's head as last read.
    pub(crate) fn seen_head(&self) -> u64 {
        self.cached_head
    }

    /// Whether the head has moved, or the ring has closed, since this side last read the head. For the re-check of a
    /// stalled producer, after the caller's fence.
    pub(crate) fn space_moved(&self) -> bool {
        let closed = !mutant("stall-recheck-without-closed") && self.memory.is_closed();
        self.memory.shared_head() != self.cached_head || closed
    }

    /// Reads the consumer's head, and returns it.
    ///
    /// # Errors
    /// [`Corrupt`] if it is not one that a consumer can leave behind.
    pub(crate) fn refresh_head(&mut self) -> Result<u64, Corrupt> {
        self.look_at_head()?;
        Ok(self.cached_head)
    }

    fn look_at_head(&mut self) -> Result<(), Corrupt> {
        // Acquire: the consumer is done with every byte below the head; pairs with the Release in
        // `Consumer::release`.
        let order = ordering("ring-head-relaxed-load", Acquire, Relaxed);
        let head = self.memory.header().consumer.head.load(order);
        // A correct consumer never moves the head back or beyond the published tail.
        if head < self.cached_head || head > self.published {
            self.memory.header().flags.corrupt.store(1, Relaxed); // Relaxed: a report.
            return Err(Corrupt);
        }
        self.cached_head = head;
        Ok(())
    }
}
