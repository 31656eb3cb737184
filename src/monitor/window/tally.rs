//! The collector's input to windows, and the five sums that a slot and a window keep besides their cells.

use crate::metrics::rank;
use std::ops::Range;

/// What one series has recorded between two ticks: differences of counts that only grow. The default is an empty
/// difference, and ticking with it is cheap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delta<'a> {
    /// New values by cell, as `metrics::bucket` numbers them; the last cell is for overflows. Empty if there is no
    /// value.
    pub(crate) cells: &'a [u64],
    /// Sum of the values, in nanoseconds.
    pub(crate) sum: u64,
    /// Number of errors.
    pub(crate) errors: u64,
    /// Number of slow messages.
    pub(crate) slow: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
}

impl Delta<'_> {
    /// A range that contains all non-empty cells.
    pub(super) fn used(&self) -> Range<usize> {
        let first = self.cells.iter().position(|cell| *cell > 0);
        let last = self.cells.iter().rposition(|cell| *cell > 0);
        first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
    }

    /// The sums of the difference.
    pub(super) fn tally(&self) -> Tally {
        let count = self.cells.iter().sum();
        Tally { count, errors: self.errors, slow: self.slow, bytes: self.bytes, sum: self.sum }
    }
}

/// The sums of a slot or a window. They are integers, so that a value that was added can be subtracted exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) slow: u64,
    pub(super) bytes: u64,
    pub(super) sum: u64,
}

impl Tally {
    /// Combines both field by field. The arithmetic wraps, like the differences that are added, so that subtracting
    /// always undoes adding.
    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            count: both(self.count, other.count),
            errors: both(self.errors, other.errors),
            slow: both(self.slow, other.slow),
            bytes: both(self.bytes, other.bytes),
            sum: both(self.sum, other.sum),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        *self = self.with(other, u64::wrapping_add);
    }

    pub(super) fn subtract(&mut self, other: Self) {
        *self = self.with(other, u64::wrapping_sub);
    }

    /// The share of the sums that `count` of the values have, rounded down.
    pub(super) fn share(self, count: u64) -> Self {
        let of = |whole: u64| {
            let share = u128::from(whole) * u128::from(count) / u128::from(self.count.max(1));
            share.min(u128::from(whole)) as u64
        };
        Self { count, errors: of(self.errors), slow: of(self.slow), bytes: of(self.bytes), sum: of(self.sum) }
    }

    /// The rank of a percentile. 1 if there is no value; no cell has that rank then.
    pub(super) fn rank(&self, per_mille: u32) -> u64 {
        rank(self.count, per_mille, 1000).unwrap_or(1)
    }

    pub(super) fn average(&self) -> Option<u64> {
        self.sum.checked_div(self.count)
    }

    /// At most 1: a message that ends while the collector reads may be counted as an error one tick before it is
    /// counted as a message.
    pub(super) fn error_rate(&self) -> Option<f64> {
        self.rate(self.errors)
    }

    /// At most 1, for the same reason.
    pub(super) fn slow_rate(&self) -> Option<f64> {
        self.rate(self.slow)
    }

    fn rate(&self, part: u64) -> Option<f64> {
        (self.count > 0).then(|| part as f64 / self.count.max(part) as f64)
    }
}

/// The smallest range that contains both. An empty range is ignored.
pub(super) fn union(left: &Range<usize>, right: &Range<usize>) -> Range<usize> {
    match (left.is_empty(), right.is_empty()) {
        (true, _) => right.clone(),
        (_, true) => left.clone(),
        _ => left.start.min(right.start)..left.end.max(right.end),
    }
}
