//! The named spans of time that reports show. They have their own counters because their bounds are not
//! bounds of histogram cells, and the counts shown under their names must be exact. The first span has no
//! counter: it is the total minus all other spans.

/// Names of the spans, shortest first. A span includes its lower bound and excludes its upper bound.
pub const SPAN_NAMES: [&str; NAMED + 1] =
    ["0-1ms", "1-5ms", "5-10ms", "10-50ms", "50-100ms", "100-500ms", "500ms-1s", "1s-5s", "5s+"];

/// Number of spans without the first.
pub(crate) const NAMED: usize = 8;

const MILLISECOND: u64 = 1_000_000;

/// Lower bound of each span without the first, in nanoseconds.
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

/// Index of the span of a value among the spans without the first. 0 for a value below all of them.
#[cold]
pub(crate) fn named_span(nanoseconds: u64) -> usize {
    NAMED_FROM.iter().rposition(|from| nanoseconds >= *from).unwrap_or(0)
}
