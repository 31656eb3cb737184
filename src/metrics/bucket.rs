//! Which histogram cell a value falls into: log-linear, 2^5 cells per octave, nanoseconds up to 2^36, at most
//! 3.13 % wide. The layout of HdrHistogram with its precision named in bits, as in the histogram of Twitter's
//! Rezolus and tokio's H2 histogram; integers only.

/// Linear cells per octave are 2^`GROUPING`.
pub(crate) const GROUPING: u32 = 5;
/// The first value that has no cell of its own and counts as overflow: 2^36 ns, 68.7 s.
pub const OVERFLOW_NANOSECONDS: u64 = 1 << 36;
/// Cells below the overflow.
pub(crate) const BUCKETS: usize = ((36 - GROUPING + 1) << GROUPING) as usize;
/// Cells of a histogram, the last for values from [`OVERFLOW_NANOSECONDS`] on. Two under loom.
#[cfg(not(corelane_loom))]
pub(crate) const CELLS: usize = BUCKETS + 1;
#[cfg(corelane_loom)]
pub(crate) const CELLS: usize = 2;

/// The cell of a value.
#[inline(always)]
pub(crate) fn index(nanoseconds: u64) -> usize {
    if cfg!(corelane_loom) {
        return nanoseconds.min(1) as usize;
    }
    if nanoseconds >= OVERFLOW_NANOSECONDS {
        return BUCKETS;
    }
    let top = 63 - (nanoseconds | ((1 << (GROUPING + 1)) - 1)).leading_zeros();
    let shift = top - GROUPING;
    ((shift << GROUPING) as u64 + (nanoseconds >> shift)) as usize
}

/// The smallest value of a cell.
pub const fn lower_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 1 << (GROUPING + 1) {
        return index;
    }
    let shift = (index >> GROUPING) - 1;
    ((1 << GROUPING) + (index & ((1 << GROUPING) - 1))) << shift
}

/// The largest value of a cell, inclusive; `u64::MAX` for the overflow cell.
pub const fn upper_bound(index: usize) -> u64 {
    if index >= BUCKETS { u64::MAX } else { lower_bound(index + 1) - 1 }
}

/// Cells of a histogram that is kept for long: 2^3 per octave, at most 12.5 % wide, and the overflow.
#[cfg(not(corelane_loom))]
pub(crate) const COARSE_CELLS: usize = (((36 - COARSE + 1) << COARSE) + 1) as usize;
#[cfg(not(corelane_loom))]
const COARSE: u32 = 3;

/// The coarse cell that a cell lies in, all of it.
#[cfg(not(corelane_loom))]
pub(crate) const fn coarse(index: usize) -> usize {
    if index >= BUCKETS {
        return COARSE_CELLS - 1;
    }
    let value = lower_bound(index);
    let top = 63 - (value | ((1 << (COARSE + 1)) - 1)).leading_zeros();
    let shift = top - COARSE;
    ((shift << COARSE) as u64 + (value >> shift)) as usize
}

/// The largest value of a coarse cell, inclusive; `u64::MAX` for the overflow cell.
#[cfg(not(corelane_loom))]
pub(crate) const fn coarse_upper_bound(index: usize) -> u64 {
    if index + 1 >= COARSE_CELLS {
        return u64::MAX;
    }
    // The smallest value of the next one, less one.
    let next = index as u64 + 1;
    let lower = if next < 1 << (COARSE + 1) {
        next
    } else {
        ((1 << COARSE) + (next & ((1 << COARSE) - 1))) << ((next >> COARSE) - 1)
    };
    lower - 1
}

/// The bounds that are exported: the last value of one octave each, in nanoseconds and as the text of the same
/// number in seconds. They are true cell boundaries, so every exported count is exact.
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

    #[test]
    fn coarse_cells_are_whole_cells_and_at_most_an_eighth_wide() {
        for cell in 0..BUCKETS {
            let coarse_cell = coarse(cell);
            let lower = if coarse_cell == 0 { 0 } else { coarse_upper_bound(coarse_cell - 1) + 1 };
            assert!(lower <= lower_bound(cell) && upper_bound(cell) <= coarse_upper_bound(coarse_cell), "{cell}");
            let width = coarse_upper_bound(coarse_cell) - lower + 1;
            assert!(width == 1 || width * 8 <= lower, "{cell}");
        }
        assert_eq!((coarse(BUCKETS), coarse(BUCKETS - 1)), (COARSE_CELLS - 1, COARSE_CELLS - 2));
        assert_eq!(COARSE_CELLS, 273);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_cell(value in any::<u64>()) {
            let cell = index(value);
            prop_assert!(lower_bound(cell) <= value && value <= upper_bound(cell));
        }
    }
}
