//! The cells that counters are made of. One thread writes a cell, with plain loads and stores; anyone reads it.
//! Who may write is a value: `add` takes the shard's one [`Writer`].

use super::control::Controlled;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, ordering, own_load};
use std::marker::PhantomData;

/// The right to write one shard's cells. Made once per shard; `Send`, not `Sync`, and taken by `&mut`. Carries what the
/// monitor has set, as its thread last looked.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) controlled: Controlled,
    not_sync: PhantomData<std::cell::Cell<()>>,
}

impl Writer {
    /// The caller sees to it that one shard gets one writer.
    pub(crate) fn new() -> Self {
        Self { controlled: Controlled::default(), not_sync: PhantomData }
    }
}

/// Copies of what threads share; see [`shard_of_thread`].
#[cfg(not(corelane_loom))]
pub(crate) const SHARED: usize = 4;

/// Which of so many copies the calling thread writes: threads take turns.
#[cfg(not(corelane_loom))]
#[inline]
pub(crate) fn shard_of_thread() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        // Relaxed: any spread will do.
        static SHARD: usize = NEXT.fetch_add(1, Relaxed) as usize % SHARED;
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

/// A cumulative count, maximum or minimum.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Adds; no read-modify-write, since nobody else writes.
    #[inline(always)]
    pub(crate) fn add(&self, _: &mut Writer, count: u64) {
        // Release: what was counted before (a submission) is visible to who
        // reads this count (its outcome); pairs with the Acquire in `get`. On x86-64 both are plain moves.
        let order = ordering("cell-add-relaxed", Release, Relaxed);
        self.0.store(own_load(&self.0).wrapping_add(count), order);
    }

    /// Adds without publishing anything: for sums whose count is published afterwards.
    #[inline(always)]
    pub(crate) fn add_quietly(&self, _: &mut Writer, count: u64) {
        // Relaxed: the cell and the generation stored after it publish it.
        self.0.store(own_load(&self.0).wrapping_add(count), Relaxed);
    }

    /// Sets, for gauges.
    #[inline(always)]
    pub(crate) fn set(&self, _: &mut Writer, value: u64) {
        self.0.store(value, Relaxed); // Relaxed: a reading by itself.
    }

    /// Sets, with everything before it.
    pub(crate) fn publish(&self, _: &mut Writer, value: u64) {
        self.0.store(value, Release); // Release: pairs with the Acquire in `get`.
    }

    /// What this thread, its only writer, last stored.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        own_load(&self.0)
    }

    /// Keeps the larger value.
    #[inline(always)]
    pub(crate) fn raise(&self, _: &mut Writer, value: u64) {
        // Relaxed: a reading by itself; only this thread writes it.
        if value > own_load(&self.0) {
            self.0.store(value, Relaxed);
        }
    }

    /// Keeps the smaller value.
    #[inline(always)]
    pub(crate) fn lower(&self, _: &mut Writer, value: u64) {
        // Relaxed: as in `raise`.
        if value < own_load(&self.0) {
            self.0.store(value, Relaxed);
        }
    }

    /// Adds in a cell that several threads write, none of them by `add`.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Release); // Release: as in `add`.
    }

    /// As [`add_shared`](Self::add_shared), but a count that reaches the end stays there instead of starting over.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add_shared_to_end(&self, count: u64) {
        // Release: as in `add`. Relaxed to look: what is stale is looked at again. Never refused: the closure gives Some.
        let _ = self.0.fetch_update(Release, Relaxed, |present| Some(present.saturating_add(count)));
    }

    /// Sets such a cell.
    #[cfg(not(corelane_loom))]
    pub(crate) fn set_shared(&self, value: u64) {
        self.0.store(value, Release); // Release: pairs with the Acquire in `get`.
    }

    /// Keeps the larger value in such a cell.
    #[cfg(not(corelane_loom))]
    pub(crate) fn raise_shared(&self, value: u64) {
        self.0.fetch_max(value, Relaxed); // Relaxed: a reading; what is stored after it publishes it.
    }

    /// Keeps the smaller value in such a cell.
    #[cfg(not(corelane_loom))]
    pub(crate) fn lower_shared(&self, value: u64) {
        self.0.fetch_min(value, Relaxed); // Relaxed: as in `raise_shared`.
    }

    /// Where it lies, for a writer in another language.
    #[cfg(not(corelane_loom))]
    pub(crate) fn address(&self) -> *mut u64 {
        self.0.as_ptr()
    }

    /// Reads. Acquire pairs with the Release in `add`.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::new(0)
    }
}
