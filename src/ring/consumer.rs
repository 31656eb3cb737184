//! The reading end of a ring: refresh once per batch, read record by record, release once per batch. One thread at a
//! time owns it: a worker (ingress) or a port (egress). It validates everything that it reads.

use super::layout::ALIGNMENT;
use super::memory::Memory;
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, ordering};

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
    /// Position of the next record. The bytes in `released..head` are read and not yet released.
    head: u64,
    released: u64,
    /// The producer's tail as last read.
    cached_tail: u64,
    popped: u64,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
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
            memory,
            head: position,
            released: position,
            cached_tail: position,
            popped: 0,
            not_sync: std::marker::PhantomData,
        }
    }

    /// Creates a consumer that continues at the last released position. The previous consumer must not be used any
    /// more.
    pub(crate) fn resume(memory: Arc<Memory>) -> Self {
        let (head, popped) = (memory.shared_head(), memory.header().consumer.popped.load(Relaxed));
        Self { popped, ..Self::starting_at(memory, head) }
    }

    /// Creates a consumer that continues where the host of an inline port is. Also returns how many recipients of the
    /// next record that host has already served. If the host's words do not fit the ring, the consumer continues at
    /// the last released position instead.
    #[cfg(not(corelane_loom))]
    pub(crate) fn resume_taken(memory: Arc<Memory>) -> (Self, usize) {
        let (head, tail) = (memory.shared_head(), memory.shared_tail());
        let line = &memory.header().consumer;
        // Relaxed, here and below: the port's own words. The same thread wrote them, or a thread that has handed the
        // port over.
        let (taken, handed) = (line.taken.load(Relaxed), line.handed.load(Relaxed));
        let popped = line.popped.load(Relaxed);
        let is_possible = (head..=tail).contains(&taken) && taken.is_multiple_of(ALIGNMENT as u64);
        let (position, handed) = if is_possible { (taken, handed) } else { (head, 0) };
        let consumer = Self { released: head, popped, ..Self::starting_at(memory, position) };
        (consumer, handed.try_into().unwrap_or(usize::MAX))
    }

    /// Publishes how many records were taken, without releasing their bytes. For a ring that is not used any more.
    pub(crate) fn keep(&mut self) {
        self.memory.header().consumer.popped.store(self.popped, Relaxed); // Relaxed: as in `release`.
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
        if tail == self.cached_tail {
            return Ok(self.head != tail);
        }
        if tail < self.cached_tail
            || tail - self.released > self.memory.capacity()
            || !tail.is_multiple_of(ALIGNMENT as u64)
        {
            return Err(self.corrupt());
        }
        self.cached_tail = tail;
        Ok(true)
    }

    /// Returns the next record up to the tail last read, or `None`. The record stays valid until
    /// [`release`](Self::release), which takes `&mut self`.
    ///
    /// # Errors
    /// [`Corrupt`] if a length is impossible. No byte outside the ring is ever read.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "the record borrows the consumer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some((index, prefix, stride)) = self.locate()? else { return Ok(None) };
        self.head += stride;
        self.popped += 1;
        Ok(Some(self.record(index, prefix)))
    }

    /// Like [`next`](Self::next), but the record remains the next one until [`skip`](Self::skip).
    pub(crate) fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some((index, prefix, _)) = self.locate()? else { return Ok(None) };
        Ok(Some(self.record(index, prefix)))
    }

    /// Skips the record that `peek` returned.
    pub(crate) fn skip(&mut self) {
        if let Ok(Some((_, _, stride))) = self.locate() {
            self.head += stride;
            self.popped += 1;
        }
    }

    /// Returns the next record's index, its prefix, and the distance to the record after it. Skips pads.
    #[inline(always)]
    fn locate(&mut self) -> Result<Option<(usize, Prefix, u64)>, Corrupt> {
        loop {
            let available = self.cached_tail - self.head;
            if available == 0 {
                return Ok(None);
            }
            let index = self.memory.index(self.head);
            // SAFETY: `head < tail`, and both lie on 64-byte boundaries inside the ring, so eight bytes exist. The
            // producer wrote them before it published `tail` and does not change them until `release`.
            let prefix = Prefix::read(unsafe { self.memory.read(index, PREFIX_BYTES) });
            let to_end = self.memory.capacity() - index as u64;
            let length = u64::from(prefix.length);
            let stride = length.next_multiple_of(ALIGNMENT as u64);
            if prefix.kind == KIND_PAD {
                if length != to_end || stride > available {
                    return Err(self.corrupt());
                }
                self.head += stride;
                continue;
            }
            let too_long = length > self.memory.max_record() as u64;
            if length < PREFIX_BYTES as u64 || too_long || stride > available || stride > to_end {
                return Err(self.corrupt());
            }
            return Ok(Some((index, prefix, stride)));
        }
    }

    #[inline(always)]
    fn record(&self, index: usize, prefix: Prefix) -> Record<'_> {
        // SAFETY: `locate` has checked that `index + length` is inside the ring and below the published tail. The
        // producer does not change the bytes until `release`, which the borrow of `self` excludes.
        let bytes = unsafe { self.memory.read(index, prefix.length as usize) };
        Record { kind: prefix.kind, flags: prefix.flags, bytes }
    }

    /// Releases everything read so far. Returns whether there was anything to release. If so, the caller wakes a
    /// waiting producer: `wake_fence`, then `Memory::needs_space`.
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.head == self.released {
            return false;
        }
        self.released = self.head;
        let line = &self.memory.header().consumer;
        line.popped.store(self.popped, Relaxed); // Relaxed: a figure for reports and load.
        // Release: the producer may overwrite the bytes below; pairs with the Acquire in `look_at_head`.
        line.head.store(self.head, ordering("ring-head-relaxed", Release, Relaxed));
        true
    }

    /// Like [`release`](Self::release), but only up to `before`: a position and the number of records read by then,
    /// as [`mark`](Self::mark) returned them. Later records stay readable with [`read_back`](Self::read_back).
    pub(crate) fn release_below(&mut self, before: (u64, u64)) -> bool {
        let (position, popped) = before;
        if position <= self.released || position > self.head {
            return false;
        }
        self.released = position;
        let line = &self.memory.header().consumer;
        line.popped.store(popped, Relaxed); // Relaxed: as in `release`.
        line.head.store(position, Release); // Release: as in `release`.
        true
    }

    /// The position after the last record read, and the number of records read.
    #[inline]
    pub(crate) fn mark(&self) -> (u64, u64) {
        (self.head, self.popped)
    }

    /// The bytes of a record that was read and is not yet released. The borrow excludes a release.
    pub(crate) fn read_back(&self, start: u64, length: usize) -> Option<&[u8]> {
        let end = start.checked_add(length as u64)?;
        let index = self.memory.index(start);
        let inside = index as u64 + length as u64 <= self.memory.capacity();
        if start < self.released || end > self.head || !inside {
            return None;
        }
        // SAFETY: `released <= start`, `start + length <= head`, and the range does not wrap. These bytes were
        // published, and the producer does not change them until they are released, which needs `&mut self`.
        Some(unsafe { self.memory.read(index, length) })
    }

    /// Whether every record up to the tail last read has been read.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.cached_tail == self.head
    }

    /// Whether there are unread records, including those published after the last refresh. For the re-check before
    /// sleep: it reads the shared tail, after the caller's fence.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        if crate::sync::mutant("wake-cached-tail") {
            return self.cached_tail != self.head;
        }
        self.memory.shared_tail() != self.head
    }

    /// The number of unread bytes, including pads.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.memory.shared_tail().saturating_sub(self.head)
    }

    /// The numbers of unread records and bytes, including pads. The record count comes from the producer's words, so
    /// it is limited by the byte count.
    #[inline]
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let bytes = self.pending_bytes();
        let pushed = self.memory.traffic().0;
        (pushed.saturating_sub(self.popped).min(bytes / ALIGNMENT as u64), bytes)
    }

    /// The position after the last record read.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.head
    }

    /// Marks the last record read as unread. `position` is the value of [`position`](Self::position) from before that
    /// record was read; nothing may have been released since. The record becomes the next one again, and its space is
    /// not released.
    pub(crate) fn rewind(&mut self, position: u64) {
        if (self.released..self.head).contains(&position) {
            self.head = position;
            self.popped = self.popped.saturating_sub(1);
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
        Ok(self.cached_tail)
    }

    /// Stores the position at which this side stopped. Release: pairs with the Acquire in `Memory::seal`; the thread
    /// that settles has also seen this side leave.
    pub(crate) fn store_seal(&self) {
        self.memory.header().flags.seal.store(self.head, Release);
    }

    /// Abandons the ring because its content cannot be trusted: marks it corrupt and closes it.
    pub(crate) fn mark_corrupt(&self) {
        self.corrupt();
        self.memory.close();
    }

    #[cold]
    fn corrupt(&self) -> Corrupt {
        self.memory.header().flags.corrupt.store(1, Relaxed); // Relaxed: a report.
        Corrupt
    }
}

impl Memory {
    /// The position at which the consumer stopped for good, or `None` before that. Acquire pairs with `store_seal`.
    pub(crate) fn seal(&self) -> Option<u64> {
        let seal = self.header().flags.seal.load(Acquire);
        (seal != u64::MAX).then_some(seal)
    }
}
