//! Cells, of which all counters consist. One thread writes a cell with plain loads and stores, and any thread
//! reads it. The right to write is a value: `add` takes the only [`Writer`] of the cell's shard.

use super::control::Controlled;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, ordering, own_load};
use std::marker::PhantomData;

/// The right to write the cells of one shard. Created once per shard. `Send` but not `Sync`, and passed by
/// `&mut`. Also carries the settings of the monitor as the writing thread last read them.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) controlled: Controlled,
    not_sync: PhantomData<std::cell::Cell<()>>,
}

impl Writer {
    /// The caller must create only one writer per shard.
    pub(crate) fn new() -> Self {
        Self { controlled: Controlled::default(), not_sync: PhantomData }
    }
}

/// Number of shards among which recording threads without their own shard are spread; see
/// [`shard_of_thread`].
#[cfg(not(corelane_loom))]
pub(crate) const SHARED: usize = 4;

/// The shard that the calling thread writes. Threads are assigned in turn.
#[cfg(not(corelane_loom))]
#[inline]
pub(crate) fn shard_of_thread() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        // Relaxed: any distribution of the threads is correct.
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

    /// Adds `count`. Not a read-modify-write, because the cell has only one writer.
    #[inline(always)]
    pub(crate) fn add(&self, _: &mut Writer, count: u64) {
        // Release pairs with the Acquire in `get`: a thread that reads this count (an outcome) also sees
        // earlier counts (a submission). On x86-64 both are plain moves.
        let order = ordering("cell-add-relaxed", Release, Relaxed);
        self.0.store(own_load(&self.0).wrapping_add(count), order);
    }

    /// Adds `count` without publishing it: for a sum whose count is published later.
    #[inline(always)]
    pub(crate) fn add_quietly(&self, _: &mut Writer, count: u64) {
        // Relaxed: the cell and the generation that are stored afterwards publish the sum.
        self.0.store(own_load(&self.0).wrapping_add(count), Relaxed);
    }

    /// Sets a gauge.
    #[inline(always)]
    pub(crate) fn set(&self, _: &mut Writer, value: u64) {
        self.0.store(value, Relaxed); // Relaxed: the value is independent of other cells.
    }

    /// Sets the cell and publishes all earlier stores.
    pub(crate) fn publish(&self, _: &mut Writer, value: u64) {
        self.0.store(value, Release); // Release: pairs with the Acquire in `get`.
    }

    /// The value that this thread, the cell's only writer, last stored.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        own_load(&self.0)
    }

    /// Raises the cell to `value` if `value` is larger.
    #[inline(always)]
    pub(crate) fn raise(&self, _: &mut Writer, value: u64) {
        // Relaxed: the value is independent of other cells, and only this thread writes the cell.
        if value > own_load(&self.0) {
            self.0.store(value, Relaxed);
        }
    }

    /// Lowers the cell to `value` if `value` is smaller.
    #[inline(always)]
    pub(crate) fn lower(&self, _: &mut Writer, value: u64) {
        // Relaxed: as in `raise`.
        if value < own_load(&self.0) {
            self.0.store(value, Relaxed);
        }
    }

    /// Adds to a cell that several threads write. None of them may use `add`.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Release); // Release: as in `add`.
    }

    /// Like [`add_shared`](Self::add_shared), but saturates instead of wrapping around.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add_shared_to_end(&self, count: u64) {
        // Release: as in `add`. Relaxed load: a stale value only repeats the compare-and-swap. Never fails,
        // because the closure always returns `Some`.
        let _ = self.0.fetch_update(Release, Relaxed, |present| Some(present.saturating_add(count)));
    }

    /// Sets a cell that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn set_shared(&self, value: u64) {
        self.0.store(value, Release); // Release: pairs with the Acquire in `get`.
    }

    /// Raises a cell that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn raise_shared(&self, value: u64) {
        // Relaxed: a later store publishes it. Loaded first, because most values raise nothing, and a
        // read-modify-write costs more than all of the rest.
        if value > self.0.load(Relaxed) {
            self.0.fetch_max(value, Relaxed);
        }
    }

    /// Lowers a cell that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn lower_shared(&self, value: u64) {
        // Relaxed: as in `raise_shared`.
        if value < self.0.load(Relaxed) {
            self.0.fetch_min(value, Relaxed);
        }
    }

    /// Reads the cell. Acquire pairs with the Release in `add`.
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
