//! The mapping of values to histogram cells: HdrHistogram's log-linear layout (Gil Tene) with 2^5 cells per
//! octave, for nanoseconds up to 2^36. A cell is at most 3.13 % wide. The precision is named in bits, as in
//! the histograms of Rezolus and tokio (H2). Integers only.

/// Number of bits that select a linear cell within an octave: an octave has 2^`GROUPING` cells.
pub(crate) const GROUPING: u32 = 5;
/// The first value without its own cell: 2^36 ns, 68.7 s. This and larger values count as overflow.
pub const OVERFLOW_NANOSECONDS: u64 = 1 << 36;
/// Number of cells below the overflow cell.
pub(crate) const BUCKETS: usize = ((36 - GROUPING + 1) << GROUPING) as usize;
/// Number of cells of a histogram. The last cell counts values from [`OVERFLOW_NANOSECONDS`] on. Two under
/// loom.
#[cfg(not(corelane_loom))]
pub(crate) const CELLS: usize = BUCKETS + 1;
#[cfg(corelane_loom)]
pub(crate) const CELLS: usize = 2;

/// Index of the cell that holds a value.
#[inline(always)]
pub(crate) fn index(nanoseconds: u64) -> usize {
    if cfg!(corelane_loom) {
        return nanoseconds.min(1) as usize;
    }
    // The first value of the overflow cell stands for all of its values, so no branch is needed.
    let nanoseconds = nanoseconds.min(OVERFLOW_NANOSECONDS);
    let top = 63 - (nanoseconds | ((1 << (GROUPING + 1)) - 1)).leading_zeros();
    let shift = top - GROUPING;
    ((shift << GROUPING) as u64 + (nanoseconds >> shift)) as usize
}

/// A value and its cell, for a value that several histograms count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucketed {
    pub(super) nanoseconds: u64,
    pub(super) cell: usize,
}

impl Bucketed {
    #[inline(always)]
    pub(crate) fn new(nanoseconds: u64) -> Self {
        Self { nanoseconds, cell: index(nanoseconds) }
    }
}

/// Smallest value of a cell, in nanoseconds. An index beyond the last cell is treated as the overflow cell.
pub const fn lower_bound(index: usize) -> u64 {
    if index >= BUCKETS {
        return OVERFLOW_NANOSECONDS;
    }
    let index = index as u64;
    if index < 1 << (GROUPING + 1) {
        return index;
    }
    let shift = (index >> GROUPING) - 1;
    ((1 << GROUPING) + (index & ((1 << GROUPING) - 1))) << shift
}

/// Largest value of a cell, inclusive, in nanoseconds. `u64::MAX` for the overflow cell.
pub const fn upper_bound(index: usize) -> u64 {
    if index >= BUCKETS { u64::MAX } else { lower_bound(index + 1) - 1 }
}

/// Bounds of the exported buckets: the last value of each octave, in nanoseconds and as a text in seconds.
/// Each is the bound of a cell, so every exported count is exact.
pub const OCTAVE_BOUNDS: [(u64, &str); 22] = [
    ((1 << 14) - 1, "0.000016383"),
    ((1 << 15) - 1, "0.000032767"),
    ((1 << 16) - 1, "0.000065535"),
    ((1 << 17) - 1, "0.000131071"),
    ((1 << 18) - 1, "0.000262143"),
    ((1 << 19) - 1, "0.000524287"),
    ((1 << 20) - 1, "0.001048575"),
    ((1 << 21) - 1, "0.002097151"),
    ((1 << 22) - 1, "0.004194303"),
    ((1 << 23) - 1, "0.008388607"),
    ((1 << 24) - 1, "0.016777215"),
    ((1 << 25) - 1, "0.033554431"),
    ((1 << 26) - 1, "0.067108863"),
    ((1 << 27) - 1, "0.134217727"),
    ((1 << 28) - 1, "0.268435455"),
    ((1 << 29) - 1, "0.536870911"),
    ((1 << 30) - 1, "1.073741823"),
    ((1 << 31) - 1, "2.147483647"),
    ((1 << 32) - 1, "4.294967295"),
    ((1 << 33) - 1, "8.589934591"),
    ((1 << 34) - 1, "17.179869183"),
    ((1 << 35) - 1, "34.359738367"),
];

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_contiguous_and_at_most_a_32nd_wide() {
        for cell in 0..BUCKETS {
            assert_eq!(index(lower_bound(cell)), cell);
            assert_eq!(index(upper_bound(cell)), cell);
            let width = upper_bound(cell) - lower_bound(cell) + 1;
            assert!(width == 1 || width * 32 <= lower_bound(cell), "cell {cell}");
        }
        assert_eq!(upper_bound(BUCKETS - 1), OVERFLOW_NANOSECONDS - 1);
        assert_eq!(CELLS, 1025);
    }

    #[test]
    fn the_ends_have_a_cell() {
        assert_eq!((index(0), index(1)), (0, 1));
        assert_eq!(index(OVERFLOW_NANOSECONDS - 1), BUCKETS - 1);
        assert_eq!(index(OVERFLOW_NANOSECONDS), BUCKETS);
        assert_eq!(index(u64::MAX), BUCKETS);
    }

    #[test]
    fn exported_bounds_are_cell_boundaries_and_their_texts_are_exact() {
        for (bound, text) in OCTAVE_BOUNDS {
            assert_eq!(upper_bound(index(bound)), bound);
            let digits: String = text.chars().filter(|digit| *digit != '.').collect();
            assert_eq!(text.len() - text.find('.').unwrap() - 1, 9);
            assert_eq!(digits.parse::<u64>().unwrap(), bound);
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_cell(value in any::<u64>()) {
            let cell = index(value);
            prop_assert!(lower_bound(cell) <= value && value <= upper_bound(cell));
        }
    }
}
