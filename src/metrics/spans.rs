//! The specification's named spans of time, counted apart from the histogram: their bounds are no cell boundaries, and
//! what is shown under a name is to be exact. The first span is what the others leave.

/// The names, shortest first. Each span holds its lower bound and not its upper one.
pub const SPAN_NAMES: [&str; NAMED + 1] =
    ["0-1ms", "1-5ms", "5-10ms", "10-50ms", "50-100ms", "100-500ms", "500ms-1s", "1s-5s", "5s+"];

/// Spans above the first.
pub(crate) const NAMED: usize = 8;

const MILLISECOND: u64 = 1_000_000;

/// From how many nanoseconds on each of them is.
pub(crate) const NAMED_FROM: [u64; NAMED] = [
    MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    500 * MILLISECOND,
    1_000 * MILLISECOND,
    5_000 * MILLISECOND,
];

/// Which of the spans above the first; for values that are in none of them the lowest.
#[cold]
pub(crate) fn named_span(nanoseconds: u64) -> usize {
    NAMED_FROM.iter().rposition(|from| nanoseconds >= *from).unwrap_or(0)
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_span_holds_its_lower_bound_and_not_its_upper_one() {
        for (place, from) in NAMED_FROM.into_iter().enumerate() {
            assert_eq!((named_span(from), named_span(from - 1)), (place, place.saturating_sub(1)));
        }
        assert_eq!(named_span(u64::MAX), NAMED - 1);
    }
}
