//! A histogram that one thread writes while others read, and the merged distribution that percentiles come
//! from. Writers are workers and ports, through their shards; readers are `snapshot` and the collector.
//!
//! | cell | stored | loaded |
//! |---|---|---|
//! | `sum`, `maximum`, `minimum`, `epoch` | first | last |
//! | `cells` | then, Release | second, Acquire |
//! | `generation` | last, Release | first, Acquire |
//!
//! The count is the sum of the cells, so it is exact on every read. Generation is stored last and loaded first:
//! a reader that skips an unchanged histogram has missed nothing. Cells only grow; the two extremes belong to an
//! epoch, and start anew with the first value of the next one: see `Controls`.

use super::bucket::{self, CELLS};
use super::cell::{Cell, Writer};
use super::rank;
use crate::sync::{mutant, os};

/// Durations of this many nanoseconds (2^62, which is 146 years) or more are refused where hosts report them: a negative
/// difference becomes such a number.
#[cfg(not(corelane_loom))]
pub(crate) const IMPOSSIBLE: u64 = 1 << 62;

/// The live cells. 8.2 KiB.
#[derive(Debug)]
pub(crate) struct Histogram {
    generation: Cell,
    sum: Cell,
    maximum: Cell,
    minimum: Cell,
    /// Which epoch these two are of.
    epoch: Cell,
    cells: Box<[Cell]>,
}

impl Histogram {
    /// Bytes of its cells, with what the allocator adds.
    pub(crate) const CELL_BYTES: usize = CELLS * 8 + 24;

    /// Takes the cells' pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(&mut self.cells)
    }

    pub(crate) fn new() -> Self {
        Self {
            generation: Cell::new(0),
            sum: Cell::new(0),
            maximum: Cell::new(0),
            minimum: Cell::new(u64::MAX),
            epoch: Cell::new(0),
            cells: (0..CELLS).map(|_| Cell::new(0)).collect(),
        }
    }

    /// Counts one value. Nothing is allocated, hashed or waited for.
    #[inline]
    pub(crate) fn record(&self, writer: &mut Writer, nanoseconds: u64) {
        if self.epoch.own() != writer.controlled.epoch {
            self.restart(writer);
        }
        self.maximum.raise(writer, nanoseconds);
        self.minimum.lower(writer, nanoseconds);
        self.sum.add_quietly(writer, nanoseconds);
        if mutant("histogram-generation-first") {
            self.generation.add(writer, 1);
        }
        if let Some(cell) = self.cells.get(bucket::index(nanoseconds)) {
            cell.add(writer, 1);
        }
        if !mutant("histogram-generation-first") {
            self.generation.add(writer, 1);
        }
    }

    /// The extremes start anew.
    #[cold]
    fn restart(&self, writer: &mut Writer) {
        let epoch = writer.controlled.epoch;
        if mutant("epoch-before-extremes") {
            self.epoch.publish(writer, epoch);
        }
        self.maximum.set(writer, 0);
        self.minimum.set(writer, u64::MAX);
        // Behind them: who finds the new epoch finds no extreme of an old one.
        self.epoch.publish(writer, epoch);
    }

    /// As [`record`](Self::record), in a histogram that several threads write, all of them by this. Between the first two
    /// of an epoch that come at once, an extreme may get lost; the cells then stand in for it.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared(&self, epoch: u64, nanoseconds: u64) {
        if self.epoch.get() != epoch {
            self.maximum.set_shared(0);
            self.minimum.set_shared(u64::MAX);
            self.epoch.set_shared(epoch);
        }
        self.sum.add_shared(nanoseconds);
        self.count_shared(nanoseconds);
    }

    /// As [`record_shared`](Self::record_shared), for values of any size and extremes of all time: a sum that reaches the
    /// end stays there. All of the histogram's writers use this, and it is collected for epoch 0.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared_to_end(&self, value: u64) {
        self.sum.add_shared_to_end(value);
        self.count_shared(value);
    }

    #[cfg(not(corelane_loom))]
    fn count_shared(&self, value: u64) {
        self.maximum.raise_shared(value);
        self.minimum.lower_shared(value);
        if let Some(cell) = self.cells.get(bucket::index(value)) {
            cell.add_shared(1);
        }
        self.generation.add_shared(1);
    }

    /// How often something was recorded. Loaded before anything that [`collect`](Self::collect) reads: where it has not
    /// changed, nothing has.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Adds what the histogram holds to `into`; its extremes only if they are of `epoch`. May run while the writer writes:
    /// every record is then counted now or next time.
    pub(crate) fn collect(&self, epoch: u64, into: &mut Distribution) {
        for (cell, total) in self.cells.iter().zip(into.cells.iter_mut()) {
            *total += cell.get();
        }
        into.sum = into.sum.wrapping_add(self.sum.get());
        if self.epoch.get() == epoch {
            into.maximum = into.maximum.max(self.maximum.get());
            into.minimum = into.minimum.min(self.minimum.get());
        }
    }
}

/// A merged, immutable set of cells: what percentiles are taken from. Never averaged; merged by adding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    cells: Box<[u64]>,
    sum: u64,
    maximum: u64,
    minimum: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { cells: vec![0; CELLS].into(), sum: 0, maximum: 0, minimum: u64::MAX }
    }
}

impl Distribution {
    /// Everything that these hold, with the extremes since the last reset.
    pub(crate) fn of<'a>(epoch: u64, histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut all = Self::unsettled(epoch, histograms);
        all.settle_extremes();
        all
    }

    /// As [`of`](Self::of), with the extremes as they are: exact for what has come since the last reset, which is what
    /// [`since`](Self::since) is to show, though the cells hold what was before as well.
    pub(crate) fn unsettled<'a>(epoch: u64, histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut all = Self::default();
        for histogram in histograms {
            // Before the cells, of which one that nothing was recorded in has none.
            if histogram.generation() > 0 {
                histogram.collect(epoch, &mut all);
            }
        }
        all
    }

    /// Puts in what the cells say of the extremes where these are not known, or are of values that are not in here: at most
    /// 3.13 % too far out.
    pub(crate) fn settle_extremes(&mut self) {
        let filled = |(index, cell): (usize, &u64)| (*cell > 0).then_some(index);
        let first = self.cells.iter().enumerate().find_map(filled);
        let last = self.cells.iter().enumerate().rev().find_map(filled);
        let (Some(first), Some(last)) = (first, last) else {
            (self.maximum, self.minimum) = (0, u64::MAX);
            return;
        };
        if bucket::index(self.maximum) != last {
            self.maximum = bucket::upper_bound(last).min(bucket::OVERFLOW_NANOSECONDS);
        }
        if bucket::index(self.minimum) != first {
            self.minimum = bucket::lower_bound(first);
        }
    }

    /// What was recorded since an earlier look at the same series.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let cells = self.cells.iter().zip(&earlier.cells).map(|(now, then)| now.saturating_sub(*then));
        let (maximum, minimum) = (self.maximum, self.minimum);
        let mut rest =
            Self { cells: cells.collect(), sum: self.sum.wrapping_sub(earlier.sum), maximum, minimum };
        rest.settle_extremes();
        rest
    }

    /// Minimum and maximum as they were collected.
    #[cfg(all(test, corelane_loom))]
    pub(crate) fn extremes(&self) -> (u64, u64) {
        (self.minimum, self.maximum)
    }

    /// Bytes of one.
    #[cfg(not(corelane_loom))]
    pub(crate) const BYTES: u64 = (size_of::<Self>() + CELLS * 8) as u64;

    /// The extremes begin anew with what is merged from now on.
    #[cfg(not(corelane_loom))]
    pub(crate) fn forget_extremes(&mut self) {
        (self.maximum, self.minimum) = (0, u64::MAX);
    }

    /// Adds one value.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add(&mut self, value: u64) {
        if let Some(cell) = self.cells.get_mut(bucket::index(value)) {
            *cell += 1;
        }
        self.sum = self.sum.wrapping_add(value);
        self.maximum = self.maximum.max(value);
        self.minimum = self.minimum.min(value);
    }

    /// The cells, the last for values above the largest.
    pub(crate) fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Sum of all values, in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value, exact, in nanoseconds; nothing where there is no value.
    pub fn maximum(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.maximum)
    }

    /// The smallest value, exact, in nanoseconds; nothing where there is no value.
    pub fn minimum(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.minimum)
    }

    /// Mean in nanoseconds, rounded down; nothing where there is no value.
    pub fn average(&self) -> Option<u64> {
        self.sum.checked_div(self.count())
    }

    /// The value at rank ⌈count × `numerator` / `denominator`⌉ (nearest rank, integers only): the upper bound
    /// of its cell, at most 3.13 % above the true one, and never above the maximum. Nothing where there is no
    /// value, or for a fraction that is none.
    pub fn percentile(&self, numerator: u32, denominator: u32) -> Option<u64> {
        let rank = rank::rank(self.count(), numerator, denominator)?;
        let cells = self.cells.iter().copied().enumerate();
        let [found] = rank::cells_at(cells, [rank]);
        found.map(|index| bucket::upper_bound(index).min(self.maximum))
    }

    /// How many values are at most `bound`; exact where `bound` is the upper bound of a cell.
    pub fn count_up_to(&self, bound: u64) -> u64 {
        self.cells.iter().take(bucket::index(bound) + 1).sum()
    }

    /// How many values lie above the largest cell.
    pub fn overflows(&self) -> u64 {
        self.cells.last().copied().unwrap_or(0)
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Self) {
        for (total, cell) in self.cells.iter_mut().zip(&other.cells) {
            *total += cell;
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.maximum = self.maximum.max(other.maximum);
        self.minimum = self.minimum.min(other.minimum);
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distribution(values: &[u64]) -> Distribution {
        let (histogram, mut writer) = (Histogram::new(), Writer::new());
        for value in values {
            histogram.record(&mut writer, *value);
        }
        let mut merged = Distribution::default();
        histogram.collect(0, &mut merged);
        assert_eq!(histogram.generation(), values.len() as u64);
        merged
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        let empty = distribution(&[]);
        assert_eq!((empty.percentile(99, 100), empty.average(), empty.maximum()), (None, None, None));
    }

    #[test]
    fn known_values_give_known_figures() {
        let known = distribution(&[1, 2, 3, 4, 1 << 36]);
        assert_eq!((known.count(), known.sum()), (5, 10 + (1 << 36)));
        assert_eq!((known.minimum(), known.maximum()), (Some(1), Some(1 << 36)));
        assert_eq!(known.percentile(50, 100), Some(3));
        assert_eq!(known.percentile(80, 100), Some(4));
        assert_eq!(known.percentile(99, 100), Some(1 << 36));
        assert_eq!((known.overflows(), known.count_up_to(3)), (1, 3));
    }

    proptest! {
        #[test]
        fn percentiles_contain_the_sorted_rank(
            mut values in proptest::collection::vec(0u64..(1 << 37), 1..300),
            per_mille in 1u32..=1000,
        ) {
            let merged = distribution(&values);
            values.sort_unstable();
            let rank = (values.len() as u64 * u64::from(per_mille)).div_ceil(1000).max(1) as usize;
            let exact = values[rank - 1];
            let found = merged.percentile(per_mille, 1000).unwrap();
            prop_assert!(found >= exact);
            prop_assert_eq!(bucket::index(found), bucket::index(exact));
        }

        #[test]
        fn agrees_with_hdrhistogram(values in proptest::collection::vec(1u64..(1 << 36), 1..300)) {
            let merged = distribution(&values);
            let mut theirs = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 3).unwrap();
            for value in &values {
                theirs.record(*value).unwrap();
            }
            for per_mille in [500, 900, 950, 990, 999] {
                let ours = merged.percentile(per_mille, 1000).unwrap() as f64;
                let hdr = theirs.value_at_quantile(f64::from(per_mille) / 1000.0) as f64;
                prop_assert!((ours - hdr).abs() <= hdr * 0.034 + 1.0, "{} {}", ours, hdr);
            }
        }

        #[test]
        fn merging_is_recording_together(
            left in proptest::collection::vec(0u64..(1 << 37), 0..50),
            right in proptest::collection::vec(0u64..(1 << 37), 0..50),
        ) {
            let mut merged = distribution(&left);
            merged.merge(&distribution(&right));
            prop_assert_eq!(merged, distribution(&[left, right].concat()));
        }
    }
}
