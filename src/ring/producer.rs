//! The writing end of a ring: claim, write, commit, publish once per batch. Owned by one thread at a time: a
//! port (ingress) or a worker (egress).

use super::consumer::Corrupt;
use super::layout::ALIGNMENT;
use super::memory::Memory;
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, ordering};

/// Why nothing was claimed. The ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// No room. It stays full until the consumer's next batch: drop, keep, or wait for space.
    Full,
    /// Larger than [`Memory::max_record`]. Send less, or configure larger rings.
    TooLarge,
    /// The other side is gone, or its head moved where it cannot be.
    Closed,
}

/// The writing end. `Send`, not `Sync`: one thread at a time.
#[derive(Debug)]
pub struct Producer {
    memory: Arc<Memory>,
    /// Where the next record goes; bytes in `published..tail` are written and not yet visible.
    tail: u64,
    published: u64,
    /// The consumer's head when it was last looked at.
    cached_head: u64,
    pushed: u64,
    /// The bytes claimed and not yet committed, pad included.
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

    /// Records committed so far, whether published or not.
    #[inline(always)]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Position behind the last record committed.
    pub(crate) fn position(&self) -> u64 {
        self.tail
    }

    /// Up to where the consumer has given back what it read.
    pub(crate) fn consumed(&self) -> u64 {
        // Acquire: what it did with it comes with it; pairs with the Release in `Consumer::release`.
        self.memory.header().consumer.head.load(ordering("consumed-relaxed", Acquire, Relaxed))
    }

    /// Room for a record of `length` bytes (its eight bytes of length, kind and flags included), with these
    /// eight written. It becomes part of the ring with [`commit`](Self::commit); a claim not committed is
    /// forgotten by the next one.
    ///
    /// # Errors
    /// As [`PushError`]; nothing has changed.
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
            // SAFETY: `tail..tail + pad` is inside the ring, ends with it, lies behind the consumer's head plus
            // capacity (checked above), and is not visible to it before `publish`.
            let record = unsafe { self.memory.write(index, PREFIX_BYTES) };
            Prefix { length: pad as u32, kind: KIND_PAD, flags: 0 }.write(record);
        }
        let index = self.memory.index(self.tail + pad);
        self.claimed = pad + needed;
        // SAFETY: as for the pad: free bytes, contiguous because `needed` fits before the end, not visible.
        let record = unsafe { self.memory.write(index, length) };
        Prefix { length: length as u32, kind, flags }.write(record);
        Ok(record)
    }

    /// Makes the last claim part of the ring; visible after [`publish`](Self::publish).
    #[inline]
    pub fn commit(&mut self) {
        if self.claimed > 0 {
            self.tail += self.claimed;
            self.claimed = 0;
            self.pushed += 1;
        }
    }

    /// Makes every committed record visible; says whether there were any. The caller then wakes the consumer:
    /// `park::after_publishing`.
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

    /// This side does not wait for space any more.
    #[inline]
    pub(crate) fn end_request(&mut self) {
        if self.needs_space {
            // Only this side writes the word. Relaxed: a wake too many is all that a late reader costs.
            self.memory.header().flags.need_space.store(0, Relaxed);
            self.needs_space = false;
        }
    }

    /// Takes the positions over from the header: another language has pushed in the meantime, on this thread or on one
    /// that handed the port over, and everything it committed is published.
    ///
    /// # Errors
    /// [`Corrupt`] where they are not such as a producer leaves behind.
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
        self.pushed = header.producer.pushed.load(Relaxed); // Relaxed: as the tail.
        self.needs_space = header.flags.need_space.load(Relaxed) != 0;
        Ok(())
    }

    /// Says that this side waits for space, until [`end_request`](Self::end_request). The caller then fences and looks at the
    /// head again (see `park`).
    pub(crate) fn request_space(&mut self) {
        self.needs_space = true;
        // Relaxed: the caller's `wake_fence` orders it before the re-check of head.
        self.memory.header().flags.need_space.store(1, Relaxed);
    }

    /// Where the head was when this side last looked.
    pub(crate) fn seen_head(&self) -> u64 {
        self.cached_head
    }

    /// Whether head has moved, or the ring has closed, since this side last looked: the re-check of a stalled
    /// producer. Behind the caller's fence.
    pub(crate) fn space_moved(&self) -> bool {
        let closed = !crate::sync::mutant("stall-recheck-without-closed") && self.memory.is_closed();
        self.memory.shared_head() != self.cached_head || closed
    }

    fn look_at_head(&mut self) -> Result<(), Corrupt> {
        // Acquire: the consumer is done with every byte below; pairs with the Release in `Consumer::release`.
        let order = ordering("ring-head-relaxed-load", Acquire, Relaxed);
        let head = self.memory.header().consumer.head.load(order);
        // A head that goes back, or beyond what was published, was written by something else.
        if head < self.cached_head || head > self.published {
            self.memory.header().flags.corrupt.store(1, Relaxed); // Relaxed: a report.
            return Err(Corrupt);
        }
        self.cached_head = head;
        Ok(())
    }
}
