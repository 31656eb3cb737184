//! One tier of a series' windows: its closed slots, its open slot, and their sum, which is updated as slots come and
//! go.

use super::figures::{Period, SlotStats, WindowStats};
use super::tally::{Delta, Tally, union};
use crate::metrics::CELLS;
use crate::monitor::slots::{Shape, Slots, TimeSlot, WindowTime};
use std::borrow::Cow;
use std::ops::Range;

/// A slot's sums and the range of its used cells. Cells of its row outside the range belong to an older slot.
#[derive(Clone, Debug, Default)]
struct Filled {
    used: Range<usize>,
    tally: Tally,
}

/// Slots of one length, and their sum.
#[derive(Debug)]
pub(super) struct WindowTier {
    slots: Slots<Filled>,
    /// The cells of closed slots, one row per slot. Allocated as zero pages, so a row that was never written takes no
    /// memory.
    rows: Box<[u32]>,
    open: Filled,
    open_cells: Box<[u64]>,
    /// Sum of all closed slots and the open slot, cell by cell. Integers, so it never drifts.
    rolling: Box<[u64]>,
    rolling_tally: Tally,
}

impl WindowTier {
    /// Bytes that are allocated.
    pub(super) const fn bytes(shape: Shape) -> usize {
        let sums = 2 * 8 * CELLS;
        shape.slots * CELLS * size_of::<u32>() + sums + Slots::<Filled>::bytes(shape)
    }

    pub(super) fn new(shape: Shape, now: u64) -> Self {
        Self {
            slots: Slots::new(shape, now),
            rows: vec![0; shape.slots * CELLS].into(),
            open: Filled::default(),
            open_cells: vec![0; CELLS].into(),
            rolling: vec![0; CELLS].into(),
            rolling_tally: Tally::default(),
        }
    }

    /// Adds what has been recorded since the last tick, removes the slots that have left the window, and closes the
    /// open slot if it is due. `used` and `tally` are the delta's, computed once for all tiers.
    pub(super) fn tick(&mut self, now: u64, delta: &Delta<'_>, used: &Range<usize>, tally: Tally) {
        self.slots.advance(now);
        for (cell, count) in used.clone().zip(delta.cells.get(used.clone()).unwrap_or_default()) {
            // Cells beyond the last one count as overflow.
            let cell = cell.min(CELLS - 1);
            for cells in [&mut self.open_cells, &mut self.rolling] {
                if let Some(total) = cells.get_mut(cell) {
                    *total = total.wrapping_add(*count);
                }
            }
        }
        self.open.used = union(&self.open.used, &(used.start.min(CELLS - 1)..used.end.min(CELLS)));
        self.open.tally.add(tally);
        self.rolling_tally.add(tally);
        while let Some((place, slot)) = self.slots.leave() {
            subtract(&self.rows, place, &slot, &mut self.rolling);
            self.rolling_tally.subtract(slot.value.tally);
        }
        if self.slots.is_due() {
            self.close();
        }
    }

    /// Moves the open slot's cells into its row. A count that 32 bits cannot hold stays in the open slot, with its
    /// share of the sums. It is counted once, but later.
    fn close(&mut self) {
        let row = self.slots.next_place() * CELLS;
        let mut rest = Filled::default();
        for at in self.open.used.clone() {
            let Some(cell) = self.open_cells.get_mut(at) else { continue };
            let fits = u32::try_from(*cell).unwrap_or(u32::MAX);
            if let Some(stored) = self.rows.get_mut(row + at) {
                *stored = fits;
            }
            *cell -= u64::from(fits);
            if *cell > 0 {
                rest.used = union(&rest.used, &(at..at + 1));
                rest.tally.count += *cell;
            }
        }
        rest.tally = self.open.tally.share(rest.tally.count);
        let mut closed = std::mem::replace(&mut self.open, rest);
        closed.tally.subtract(self.open.tally);
        self.slots.close(self.slots.opened(), self.slots.now(), closed);
    }

    /// Empties the tier.
    pub(super) fn reset(&mut self, now: u64) {
        self.slots.reset(now);
        self.open = Filled::default();
        self.open_cells.fill(0);
        self.rolling.fill(0);
        self.rolling_tally = Tally::default();
    }

    /// The figures of all slots that have not left the window, and of the open slot.
    pub(super) fn window(&self, moment: WindowTime, maximum: u64) -> WindowStats {
        let mut cells = Cow::Borrowed(&*self.rolling);
        let mut tally = self.rolling_tally;
        // Empty while the collector runs, because ticks have removed these slots already.
        for (place, slot) in self.slots.over(moment.now) {
            subtract(&self.rows, place, slot, cells.to_mut());
            tally.subtract(slot.value.tally);
        }
        let start = self.slots.current(moment.now).next().map_or(self.slots.opened(), |(_, slot)| slot.start);
        let period = Period::new(moment, start, self.slots.now());
        WindowStats::new(period, &tally, &cells, maximum)
    }

    /// The figures slot by slot, oldest first. The open slot comes last, if it has begun.
    pub(super) fn slots(&self, moment: WindowTime, maximum: u64) -> impl Iterator<Item = SlotStats> {
        let closed = self.slots.current(moment.now).map(move |(place, slot)| {
            let cells = row(&self.rows, place, &slot.value.used);
            SlotStats::new(Period::new(moment, slot.start, slot.end), &slot.value.tally, cells, maximum)
        });
        let (start, end) = (self.slots.opened(), self.slots.now());
        let has_begun = end > start || self.open.tally != Tally::default();
        let open = has_begun.then(|| {
            let cells = self.open_cells.iter().copied().enumerate();
            let stats = SlotStats::new(Period::new(moment, start, end), &self.open.tally, cells, maximum);
            SlotStats { is_open: true, ..stats }
        });
        closed.chain(open)
    }
}

#[cfg(feature = "interval-log")]
impl WindowTier {
    /// The counts slot by slot, oldest first. The open slot comes last, if it has begun.
    pub(super) fn cells(&self, moment: WindowTime) -> Vec<super::WindowCells> {
        let of = |start, end, cells: &mut dyn Iterator<Item = (usize, u64)>| super::WindowCells {
            start_milliseconds: moment.wall(start),
            end_milliseconds: moment.wall(end),
            cells: cells.filter(|(_, count)| *count > 0).collect(),
        };
        let closed = self.slots.current(moment.now);
        let closed = closed
            .map(|(place, slot)| of(slot.start, slot.end, &mut row(&self.rows, place, &slot.value.used)));
        let (start, end) = (self.slots.opened(), self.slots.now());
        let open = (end > start).then(|| of(start, end, &mut self.open_cells.iter().copied().enumerate()));
        closed.chain(open).collect()
    }
}

/// The used cells of the slot at a place.
fn row(rows: &[u32], place: usize, used: &Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let start = place * CELLS;
    used.clone().map(move |at| (at, rows.get(start + at).copied().map_or(0, u64::from)))
}

/// Subtracts a slot's cells from a sum that contains them.
fn subtract(rows: &[u32], place: usize, slot: &TimeSlot<Filled>, from: &mut [u64]) {
    for (at, count) in row(rows, place, &slot.value.used) {
        if let Some(total) = from.get_mut(at) {
            *total = total.wrapping_sub(count);
        }
    }
}

#[cfg(test)]
impl WindowTier {
    /// The non-empty cells of each closed slot that has not been removed.
    pub(super) fn closed(&self) -> Vec<Vec<(usize, u64)>> {
        let read = |(place, slot): (usize, &TimeSlot<Filled>)| {
            row(&self.rows, place, &slot.value.used).filter(|(_, count)| *count > 0).collect()
        };
        self.slots.current(0).map(read).collect()
    }

    /// The non-empty cells of the open slot.
    pub(super) fn open(&self) -> Vec<(usize, u64)> {
        self.open_cells.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// The non-empty cells of the sum.
    pub(super) fn rolling(&self) -> Vec<(usize, u64)> {
        self.rolling.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// Bytes that are allocated.
    pub(super) fn allocated(&self) -> usize {
        let rows = size_of_val(&*self.rows);
        rows + size_of_val(&*self.open_cells) + size_of_val(&*self.rolling) + self.slots.allocated()
    }
}
