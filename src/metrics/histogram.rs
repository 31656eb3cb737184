//! A histogram that one thread writes while others read, and the merged distribution from which percentiles
//! are calculated. Workers and ports write histograms through their shards. `snapshot` and the collector read
//! them.
//!
//! | cell | stored | loaded |
//! |---|---|---|
//! | `sum`, `maximum`, `minimum`, `epoch` | first | last |
//! | `cells` | second, Release | second, Acquire |
//! | `generation` | last, Release | first, Acquire |
//!
//! The count is the sum of the cells, so it is exact on every read. `generation` is
//! stored last and loaded first, so a reader that skips a histogram with an unchanged generation misses
//! nothing. Cells only grow. Maximum and minimum belong to an epoch and start anew with the first value of
//! the next epoch: see `Controls`.

use super::bucket::{self, Bucketed, CELLS};
use super::cell::{Cell, Writer};
use super::rank;
use crate::sync::{mutant, os};

/// A reported duration of at least this many nanoseconds (2^62, which is 146 years) is refused: it is a
/// negative difference.
#[cfg(not(corelane_loom))]
pub(crate) const IMPOSSIBLE: u64 = 1 << 62;

/// The live cells of a histogram. 8.2 KiB.
#[derive(Debug)]
pub(crate) struct Histogram {
    generation: Cell,
    sum: Cell,
    maximum: Cell,
    minimum: Cell,
    /// Epoch to which `maximum` and `minimum` belong.
    epoch: Cell,
    cells: Box<[Cell; CELLS]>,
}

impl Histogram {
    /// Bytes of the cells, including what the allocator adds.
    pub(crate) const CELL_BYTES: usize = CELLS * 8 + 24;

    /// Makes the pages of the cells resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(&mut self.cells[..])
    }

    pub(crate) fn new() -> Self {
        Self {
            generation: Cell::new(0),
            sum: Cell::new(0),
            maximum: Cell::new(0),
            minimum: Cell::new(u64::MAX),
            epoch: Cell::new(0),
            cells: Box::new(std::array::from_fn(|_| Cell::new(0))),
        }
    }

    /// Counts one value. Does not allocate, hash or block.
    #[inline]
    pub(crate) fn record(&self, writer: &mut Writer, nanoseconds: u64) {
        self.count(writer, Bucketed::new(nanoseconds));
    }

    /// Like [`record`](Self::record), for a value whose cell is known.
    #[inline(always)]
    pub(crate) fn count(&self, writer: &mut Writer, Bucketed { nanoseconds, cell }: Bucketed) {
        if self.epoch.own() != writer.controlled.epoch {
            self.restart(writer);
        }
        self.maximum.raise(writer, nanoseconds);
        self.minimum.lower(writer, nanoseconds);
        self.sum.add_quietly(writer, nanoseconds);
        if mutant("histogram-generation-first") {
            self.generation.add(writer, 1);
        }
        if let Some(cell) = self.cells.get(cell) {
            cell.add(writer, 1);
        }
        if !mutant("histogram-generation-first") {
            self.generation.add(writer, 1);
        }
    }

    /// Starts the extremes of a new epoch.
    #[cold]
    fn restart(&self, writer: &mut Writer) {
        let epoch = writer.controlled.epoch;
        if mutant("epoch-before-extremes") {
            self.epoch.publish(writer, epoch);
        }
        self.maximum.set(writer, 0);
        self.minimum.set(writer, u64::MAX);
        // Store the epoch last: a reader that finds the new epoch never finds an extreme of an old one.
        self.epoch.publish(writer, epoch);
    }

    /// Like [`record`](Self::record), for a histogram that several threads write; all of them must use this
    /// function. If two threads record the first values of an epoch at the same time, an extreme may be lost.
    /// The bound of its cell then replaces it.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared(&self, epoch: u64, value: Bucketed) {
        if self.epoch.get() != epoch {
            self.maximum.set_shared(0);
            self.minimum.set_shared(u64::MAX);
            self.epoch.set_shared(epoch);
        }
        self.sum.add_shared(value.nanoseconds);
        self.count_shared(value);
    }

    /// Like [`record_shared`](Self::record_shared), for values of any size and extremes since the start. The
    /// sum saturates. All writers of the histogram must use this function, and readers must collect it for
    /// epoch 0.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_shared_to_end(&self, value: u64) {
        self.sum.add_shared_to_end(value);
        self.count_shared(Bucketed::new(value));
    }

    /// [`record_shared_to_end`](Self::record_shared_to_end) of many values: the sum and the generation change once.
    #[cfg(not(corelane_loom))]
    pub(crate) fn record_all_shared_to_end(&self, values: impl Iterator<Item = u64>) {
        let (mut sum, mut count) = (0u64, 0);
        for value in values {
            sum = sum.saturating_add(value);
            count += 1;
            let Bucketed { nanoseconds, cell } = Bucketed::new(value);
            self.maximum.raise_shared(nanoseconds);
            self.minimum.lower_shared(nanoseconds);
            if let Some(cell) = self.cells.get(cell) {
                cell.add_shared(1);
            }
        }
        if count > 0 {
            self.sum.add_shared_to_end(sum);
            self.generation.add_shared(count); // Last: who sees it collects the cells.
        }
    }

    #[cfg(not(corelane_loom))]
    fn count_shared(&self, Bucketed { nanoseconds, cell }: Bucketed) {
        self.maximum.raise_shared(nanoseconds);
        self.minimum.lower_shared(nanoseconds);
        if let Some(cell) = self.cells.get(cell) {
            cell.add_shared(1);
        }
        self.generation.add_shared(1);
    }

    /// Number of recorded values, modulo 2^64. Load this before [`collect`](Self::collect): if the generation
    /// is unchanged, the histogram is unchanged.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Adds the contents of the histogram to `into`, and its extremes if they belong to `epoch`. May run
    /// while the writer writes: a value that is missed is counted by the next call.
    pub(crate) fn collect(&self, epoch: u64, into: &mut Distribution) {
        for (cell, total) in self.cells.iter().zip(into.allocated()) {
            *total += cell.get();
        }
        into.sum = into.sum.wrapping_add(self.sum.get());
        if self.epoch.get() == epoch {
            into.maximum = into.maximum.max(self.maximum.get());
            into.minimum = into.minimum.min(self.minimum.get());
        }
    }
}

/// A merged, immutable set of cells, from which percentiles are calculated. Distributions are merged by
/// addition and never averaged. The default has no values and takes no memory on the heap.
#[derive(Clone)]
pub struct Distribution {
    /// Empty until the first value or merge.
    cells: Box<[u64]>,
    sum: u64,
    maximum: u64,
    minimum: u64,
}

/// Shows count, sum and extremes, not the cells.
impl std::fmt::Debug for Distribution {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Distribution")
            .field("count", &self.count())
            .field("sum", &self.sum)
            .field("minimum", &self.minimum())
            .field("maximum", &self.maximum())
            .finish_non_exhaustive()
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { cells: Box::default(), sum: 0, maximum: 0, minimum: u64::MAX }
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.sum, one.maximum, one.minimum);
        of(self) == of(other) && (self.cells == other.cells || self.count() == 0 && other.count() == 0)
    }
}

impl Eq for Distribution {}

impl Distribution {
    /// Merges all values of these histograms. The extremes are those since the last reset, as far as they are
    /// known.
    pub(crate) fn of<'a>(epoch: u64, histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut all = Self::unsettled(epoch, histograms);
        all.settle_extremes();
        all
    }

    /// Like [`of`](Self::of), without the correction of the extremes. They are exact for the values since the
    /// last reset, although the cells also hold older values. [`since`](Self::since) needs these extremes.
    pub(crate) fn unsettled<'a>(epoch: u64, histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut all = Self::default();
        for histogram in histograms {
            // Check the generation first, so that an empty histogram is skipped.
            if histogram.generation() > 0 {
                histogram.collect(epoch, &mut all);
            }
        }
        all
    }

    /// Replaces an extreme that is unknown, or outside the first or last filled cell, with the bound of that
    /// cell. Such an extreme is at most 3.13 % too far out; a maximum in the overflow cell becomes 2^36.
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

    /// The values recorded since an earlier distribution of the same series.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let earlier_cells = earlier.cells.iter().chain(std::iter::repeat(&0));
        let cells = self.cells.iter().zip(earlier_cells).map(|(now, then)| now.saturating_sub(*then));
        let (maximum, minimum) = (self.maximum, self.minimum);
        let mut rest =
            Self { cells: cells.collect(), sum: self.sum.wrapping_sub(earlier.sum), maximum, minimum };
        rest.settle_extremes();
        rest
    }

    /// The collected minimum and maximum.
    #[cfg(all(test, corelane_loom))]
    pub(crate) fn extremes(&self) -> (u64, u64) {
        (self.minimum, self.maximum)
    }

    /// Bytes of one distribution.
    #[cfg(not(corelane_loom))]
    pub(crate) const BYTES: u64 = (size_of::<Self>() + CELLS * 8) as u64;

    /// Resets the extremes. They start anew with the next merge.
    #[cfg(not(corelane_loom))]
    pub(crate) fn forget_extremes(&mut self) {
        (self.maximum, self.minimum) = (0, u64::MAX);
    }

    /// Adds one value.
    #[cfg(not(corelane_loom))]
    pub(crate) fn add(&mut self, value: u64) {
        if let Some(cell) = self.allocated().get_mut(bucket::index(value)) {
            *cell += 1;
        }
        self.sum = self.sum.wrapping_add(value);
        self.maximum = self.maximum.max(value);
        self.minimum = self.minimum.min(value);
    }

    /// The cells, for writing.
    fn allocated(&mut self) -> &mut [u64] {
        if self.cells.is_empty() {
            self.cells = vec![0; CELLS].into();
        }
        &mut self.cells
    }

    /// The cells; the last is the overflow cell. Empty if no value was ever added.
    pub(crate) fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Sum of all values, in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value, in nanoseconds. `None` without values. Exact, unless the value was recorded before
    /// the last reset or before the start of a difference; then it may be the upper bound of its cell.
    pub fn maximum(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.maximum)
    }

    /// The smallest value, in nanoseconds. `None` without values. Exact, unless the value was recorded before
    /// the last reset or before the start of a difference; then it may be the lower bound of its cell.
    pub fn minimum(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.minimum)
    }

    /// The mean in nanoseconds, rounded down. `None` without values.
    pub fn average(&self) -> Option<u64> {
        self.sum.checked_div(self.count())
    }

    /// The nearest-rank percentile: the value at rank ⌈count × `numerator` / `denominator`⌉, calculated in
    /// integers. Returns the upper bound of the cell that holds this value, which is at most 3.13 % above the
    /// value and never above the maximum; for the overflow cell, the maximum. `None` without values, for a
    /// denominator of 0, or for a fraction above 1.
    pub fn percentile(&self, numerator: u32, denominator: u32) -> Option<u64> {
        let rank = rank::rank(self.count(), numerator, denominator)?;
        let cells = self.cells.iter().copied().enumerate();
        let [found] = rank::cells_at(cells, [rank]);
        found.map(|index| bucket::upper_bound(index).min(self.maximum))
    }

    /// Number of values up to and including `bound`. Exact if `bound` is the upper bound of a cell; otherwise
    /// all values of the cell of `bound` are included.
    pub fn count_up_to(&self, bound: u64) -> u64 {
        self.cells.iter().take(bucket::index(bound) + 1).sum()
    }

    /// Number of values in the overflow cell.
    pub fn overflows(&self) -> u64 {
        self.cells.get(CELLS - 1).copied().unwrap_or(0)
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Self) {
        if !other.cells.is_empty() {
            for (total, cell) in self.allocated().iter_mut().zip(&other.cells) {
                *total += cell;
            }
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
