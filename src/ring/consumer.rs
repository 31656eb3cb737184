//! The reading end of a ring: refresh once per batch, read record by record, release once per batch. Owned by
//! one thread at a time: a worker (ingress) or a port (egress). It trusts nothing that it reads.

use super::layout::ALIGNMENT;
use super::memory::Memory;
use super::record::{KIND_PAD, PREFIX_BYTES, Prefix};
use crate::sync::{Acquire, Arc, Relaxed, Release, ordering};

/// The other side wrote what no producer may write. The ring is of no further use; detach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// One record: its kind, its flags and all its bytes, the first eight included.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it is.
    pub kind: u16,
    /// Depends on the kind.
    pub flags: u16,
    /// The whole record.
    pub bytes: &'a [u8],
}

/// The reading end. `Send`, not `Sync`: one thread at a time.
#[derive(Debug)]
pub struct Consumer {
    memory: Arc<Memory>,
    /// Where the next record starts; bytes in `released..head` are read and not yet given back.
    head: u64,
    released: u64,
    /// The producer's tail when it was last looked at.
    cached_tail: u64,
    popped: u64,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Consumer {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self::starting_at(memory, 0)
    }

    /// An end that starts at `position`: how what a closed ring still holds is settled.
    pub(crate) fn starting_at(memory: Arc<Memory>, position: u64) -> Self {
        // Another language may have written it: off a boundary the next prefix could lie beyond the data.
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

    /// An end that goes on where another has released last; that other is not used any more.
    pub(crate) fn resume(memory: Arc<Memory>) -> Self {
        let (head, popped) = (memory.shared_head(), memory.header().consumer.popped.load(Relaxed));
        Self { popped, ..Self::starting_at(memory, head) }
    }

    /// An end that goes on where the host of an inline port is, and to how many recipients that host has handed the next
    /// record out. What it wrote is held against the ring: otherwise the end goes on where it has released last.
    #[cfg(not(corelane_loom))]
    pub(crate) fn resume_taken(memory: Arc<Memory>) -> (Self, usize) {
        let (head, tail) = (memory.shared_head(), memory.shared_tail());
        let line = &memory.header().consumer;
        // Relaxed, here and below: the port's own words, written by the same thread or by one that has handed the port over.
        let (taken, handed) = (line.taken.load(Relaxed), line.handed.load(Relaxed));
        let popped = line.popped.load(Relaxed);
        let is_possible = (head..=tail).contains(&taken) && taken.is_multiple_of(ALIGNMENT as u64);
        let (position, handed) = if is_possible { (taken, handed) } else { (head, 0) };
        let consumer = Self { released: head, popped, ..Self::starting_at(memory, position) };
        (consumer, handed.try_into().unwrap_or(usize::MAX))
    }

    /// Says how many records were taken, without giving their bytes back: for a ring that is used no more.
    pub(crate) fn keep(&mut self) {
        self.memory.header().consumer.popped.store(self.popped, Relaxed); // Relaxed: as in `release`.
    }

    /// The ring's memory.
    #[inline(always)]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Looks at the producer's tail; says whether there is anything to read.
    ///
    /// # Errors
    /// [`Corrupt`] where the tail went back, lies off a record boundary, or is further than the ring is long.
    #[inline]
    pub fn refresh(&mut self) -> Result<bool, Corrupt> {
        // Acquire: the records below are whole; pairs with the Release in `Producer::publish`.
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

    /// The next record up to the tail last seen, or nothing. It is valid until [`release`](Self::release),
    /// which takes `&mut self`.
    ///
    /// # Errors
    /// [`Corrupt`] where a length is impossible. No byte outside the ring is ever read.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "the record borrows the consumer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some((index, prefix, stride)) = self.locate()? else { return Ok(None) };
        self.head += stride;
        self.popped += 1;
        Ok(Some(self.record(index, prefix)))
    }

    /// As [`next`](Self::next), but the record stays the next one until [`skip`](Self::skip).
    pub(crate) fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let Some((index, prefix, _)) = self.locate()? else { return Ok(None) };
        Ok(Some(self.record(index, prefix)))
    }

    /// Passes over the record that `peek` showed.
    pub(crate) fn skip(&mut self) {
        if let Ok(Some((_, _, stride))) = self.locate() {
            self.head += stride;
            self.popped += 1;
        }
    }

    /// Where the next record is, what its prefix says, and how far the one after it; pads are passed over.
    #[inline(always)]
    fn locate(&mut self) -> Result<Option<(usize, Prefix, u64)>, Corrupt> {
        loop {
            let available = self.cached_tail - self.head;
            if available == 0 {
                return Ok(None);
            }
            let index = self.memory.index(self.head);
            // SAFETY: `head < tail`, both on 64-byte boundaries inside the ring, so eight bytes are there; the
            // producer wrote them before publishing `tail` and leaves them until `release`.
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
        // SAFETY: `locate` has checked that `index + length` is inside the ring and below the published tail;
        // the producer leaves the bytes alone until `release`, which the borrow of `self` excludes.
        let bytes = unsafe { self.memory.read(index, prefix.length as usize) };
        Record { kind: prefix.kind, flags: prefix.flags, bytes }
    }

    /// Gives back everything read so far; says whether that was anything. The caller then lets a waiting
    /// producer know: `wake_fence`, then `Memory::needs_space`.
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.head == self.released {
            return false;
        }
        self.released = self.head;
        let line = &self.memory.header().consumer;
        line.popped.store(self.popped, Relaxed); // Relaxed: a figure for reports and load.
        // Release: the producer may overwrite what lies below; pairs with the Acquire in `look_at_head`.
        line.head.store(self.head, ordering("ring-head-relaxed", Release, Relaxed));
        true
    }

    /// As [`release`](Self::release), only up to where the ring stood at `before`: the position and how many records had
    /// been read, as [`mark`](Self::mark) said. What was read since stays readable by [`read_back`](Self::read_back).
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

    /// Position behind the last record read, and how many were read.
    #[inline]
    pub(crate) fn mark(&self) -> (u64, u64) {
        (self.head, self.popped)
    }

    /// The bytes of a record that was read and is not given back. Its borrow excludes that it is.
    pub(crate) fn read_back(&self, start: u64, length: usize) -> Option<&[u8]> {
        let end = start.checked_add(length as u64)?;
        let index = self.memory.index(start);
        let inside = index as u64 + length as u64 <= self.memory.capacity();
        if start < self.released || end > self.head || !inside {
            return None;
        }
        // SAFETY: `released <= start`, `start + length <= head`, and it does not wrap: these bytes were published, and the
        // producer leaves them alone until they are released, which needs `&mut self`.
        Some(unsafe { self.memory.read(index, length) })
    }

    /// Whether everything up to the tail last seen has been read.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.cached_tail == self.head
    }

    /// Whether records wait that were published after the last look. For the re-check before sleep: reads
    /// the shared tail, behind the caller's fence.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        if crate::sync::mutant("wake-cached-tail") {
            return self.cached_tail != self.head;
        }
        self.memory.shared_tail() != self.head
    }

    /// How many bytes wait, pads included.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.memory.shared_tail().saturating_sub(self.head)
    }

    /// Records and bytes that wait, pads included. What the producer says of the first is held against the second.
    #[inline]
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let bytes = self.pending_bytes();
        let pushed = self.memory.traffic().0;
        (pushed.saturating_sub(self.popped).min(bytes / ALIGNMENT as u64), bytes)
    }

    /// Position behind the last record read.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.head
    }

    /// Takes the last record read back as unread: `position` is what [`position`](Self::position) said before it was
    /// read, since the last release. It is the next one again, and its space is not given back.
    pub(crate) fn rewind(&mut self, position: u64) {
        if (self.released..self.head).contains(&position) {
            self.head = position;
            self.popped = self.popped.saturating_sub(1);
        }
    }

    /// Stops taking records for good: says CLOSED, then takes the tail. Returns that tail, the seal: what lies
    /// below is still to be taken, what is published above never will be.
    ///
    /// # Errors
    /// [`Corrupt`] as in [`refresh`](Self::refresh); the seal is then the head.
    pub(crate) fn close_and_seal(&mut self) -> Result<u64, Corrupt> {
        self.memory.close();
        self.refresh()?;
        Ok(self.cached_tail)
    }

    /// Records where this side stopped. Release: whoever settles has seen this side's leave.
    pub(crate) fn store_seal(&self) {
        self.memory.header().flags.seal.store(self.head, Release);
    }

    /// Gives the ring up: what is in it cannot be trusted.
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
    /// Where the consumer stopped for good, once it has. Acquire pairs with `store_seal`.
    pub(crate) fn seal(&self) -> Option<u64> {
        let seal = self.header().flags.seal.load(Acquire);
        (seal != u64::MAX).then_some(seal)
    }
}
