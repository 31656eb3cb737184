//! The writing end of a ring: claim, write, commit, then publish once per batch. One thread at a time owns it: a port
//! (ingress) or a worker (egress).

use super::consumer::Corrupt;
use super::layout::ALIGNMENT;
use super::memory::Memory;
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, ordering};

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
    /// Position of the next record. The bytes in `published..tail` are written and not yet visible.
    tail: u64,
    published: u64,
    /// The consumer's head as last read.
    cached_head: u64,
    pushed: u64,
    /// Bytes claimed and not yet committed, including the pad.
    claimed: u64,
    needs_space: bool,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Producer {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            tail: 0,
            published: 0,
            cached_head: 0,
            pushed: 0,
            claimed: 0,
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
        self.pushed
    }

    /// The position after the last committed record.
    pub(crate) fn position(&self) -> u64 {
        self.tail
    }

    /// The position up to which the consumer has released.
    pub(crate) fn consumed(&self) -> u64 {
        // Acquire: also makes visible what the consumer did with those records; pairs with the Release in
        // `Consumer::release`.
        self.memory.header().consumer.head.load(ordering("consumed-relaxed", Acquire, Relaxed))
    }

    /// Claims room for a record of `length` bytes, including the eight-byte prefix (length, kind, flags), which this
    /// call writes. [`commit`](Self::commit) makes the record part of the ring. The next claim discards a claim that
    /// was not committed.
    ///
    /// # Errors
    /// See [`PushError`]; the ring is unchanged.
    #[inline]
    pub fn claim(&mut self, length: usize, kind: u16, flags: u16) -> Result<&mut [u8], PushError> {
        if length > self.memory.max_record() || length < PREFIX_BYTES {
            return Err(PushError::TooLarge);
        }
        let needed = length.next_multiple_of(ALIGNMENT) as u64;
        let index = self.memory.index(self.tail);
        let to_end = self.memory.capacity() - index as u64;
        let pad = if needed > to_end { to_end } else { 0 };
        if self.tail + pad + needed - self.cached_head > self.memory.capacity() {
            self.look_at_head().map_err(|Corrupt| PushError::Closed)?;
            if self.tail + pad + needed - self.cached_head > self.memory.capacity() {
                // Relaxed: a figure that only this side writes.
                let refused = &self.memory.header().producer.refused_full;
                refused.store(refused.load(Relaxed) + 1, Relaxed);
                return Err(PushError::Full);
            }
        }
        if pad > 0 {
            // SAFETY: `tail..tail + pad` lies inside the ring and ends with it. It is below the consumer's head plus
            // the capacity (checked above), so the bytes are free, and the consumer cannot see them before `publish`.
            let record = unsafe { self.memory.write(index, PREFIX_BYTES) };
            Prefix { length: pad as u32, kind: KIND_PAD, flags: 0 }.write(record);
        }
        let index = self.memory.index(self.tail + pad);
        self.claimed = pad + needed;
        // SAFETY: as for the pad. The bytes are free and invisible, and contiguous because `needed` fits before the
        // end.
        let record = unsafe { self.memory.write(index, length) };
        Prefix { length: length as u32, kind, flags }.write(record);
        Ok(record)
    }

    /// Adds the last claim to the ring. The record becomes visible with [`publish`](Self::publish).
    #[inline]
    pub fn commit(&mut self) {
        if self.claimed > 0 {
            self.tail += self.claimed;
            self.claimed = 0;
            self.pushed += 1;
        }
    }

    /// Makes every committed record visible. Returns whether there were any. If so, the caller wakes the consumer
    /// with `park::after_publishing`.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.published = self.tail;
        let line = &self.memory.header().producer;
        // Relaxed: a figure for reports and load; only this side writes it.
        line.pushed.store(self.pushed, Relaxed);
        // Release: publishes the records below; pairs with the Acquire in `Consumer::refresh`.
        line.tail.store(self.tail, ordering("ring-tail-relaxed", Release, Relaxed));
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

    /// Reloads the positions from the header, because a host in another language has pushed since, on this thread or
    /// on one that handed the port over. That host has published everything it committed.
    ///
    /// # Errors
    /// [`Corrupt`] if the positions are not ones that a producer can leave behind.
    #[cfg(not(corelane_loom))]
    pub(crate) fn reload(&mut self) -> Result<(), Corrupt> {
        let header = self.memory.header();
        // Relaxed: this side's own words.
        let tail = header.producer.tail.load(Relaxed);
        // Acquire: as in `look_at_head`.
        let head = header.consumer.head.load(Acquire);
        let behind = tail < self.published || !tail.is_multiple_of(ALIGNMENT as u64);
        if behind || head < self.cached_head || head > tail || tail - head > self.memory.capacity() {
            header.flags.corrupt.store(1, Relaxed); // Relaxed: a report.
            return Err(Corrupt);
        }
        (self.tail, self.published, self.cached_head) = (tail, tail, head);
        self.pushed = header.producer.pushed.load(Relaxed); // Relaxed: like the tail.
        self.needs_space = header.flags.need_space.load(Relaxed) != 0;
        Ok(())
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
        let closed = !crate::sync::mutant("stall-recheck-without-closed") && self.memory.is_closed();
        self.memory.shared_head() != self.cached_head || closed
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
