//! The figures of a window and of its slots: plain values for hosts, exports, reports and alerts. `tier` fills them.

use super::tally::Tally;
use crate::metrics::{Distribution, LatencyStats, cells_at, lower_bound, upper_bound};
use crate::monitor::slots::WindowTime;
use serde::{Deserialize, Serialize};

/// One series over a window: all closed slots that have not left it, and the open slot.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WindowStats {
    /// Start of the figures: wall time, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// End of the figures: the last collection. Wall time, in milliseconds since 1970.
    pub end_milliseconds: u64,
    /// The values. The mean is exact but rounded down. The others are bounds of cells, which are at most 3.13 % wide: the
    /// minimum is the lower bound of its cell; the maximum and the percentiles are upper bounds, but never above the
    /// largest value since the last reset. In JSON, its members stand beside the others. A window keeps no distribution.
    #[serde(flatten)]
    pub latency: LatencyStats,
    /// Number of errors among the values.
    pub errors: u64,
    /// Errors ÷ count, at most 1. Null if nothing was recorded.
    pub error_rate: Option<f64>,
    /// Number of values above the threshold for slow messages.
    pub slow: u64,
    /// Slow ÷ count, at most 1. Null if nothing was recorded.
    pub slow_rate: Option<f64>,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of the values, in nanoseconds.
    pub total_nanoseconds: u64,
    /// Number of values above the largest cell, 68.7 s. A rank among them reports the largest value since the last
    /// reset.
    pub overflows: u64,
    /// Count ÷ seconds from start to end. Null if no time has passed.
    pub throughput_per_second: Option<f64>,
}

/// One slot of a series: a point of its history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SlotStats {
    /// Start of the slot: wall time, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// End of the slot: wall time, in milliseconds since 1970.
    pub end_milliseconds: u64,
    /// Whether the slot may still get more values. Only the last slot can be open.
    pub is_open: bool,
    /// The values, with the bounds of [`WindowStats::latency`].
    #[serde(flatten)]
    pub latency: LatencyStats,
    /// Number of errors among the values.
    pub errors: u64,
    /// Number of values above the threshold for slow messages.
    pub slow: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// The counts of one slot.
#[cfg(feature = "interval-log")]
#[derive(Debug)]
pub(in crate::monitor) struct WindowCells {
    /// Wall times, in milliseconds since 1970.
    pub(in crate::monitor) start_milliseconds: u64,
    pub(in crate::monitor) end_milliseconds: u64,
    /// The cells that are not empty, in order, with their counts.
    pub(in crate::monitor) cells: Vec<(usize, u64)>,
}

/// The time that figures cover: [start, end) in monotonic nanoseconds, and the same as wall time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) start_milliseconds: u64,
    pub(super) end_milliseconds: u64,
}

impl Period {
    pub(super) fn new(moment: WindowTime, start: u64, end: u64) -> Self {
        Self { start, end, start_milliseconds: moment.wall(start), end_milliseconds: moment.wall(end) }
    }
}

/// The latency figures of these cells. `largest` is the largest value since the last reset.
fn latency(tally: &Tally, cells: impl IntoIterator<Item = (usize, u64)>, largest: u64) -> LatencyStats {
    let [lowest, ranks @ ..] = [0, 500, 900, 950, 990, 999, 1000].map(|per_mille| tally.rank(per_mille));
    let [smallest, found @ ..] =
        cells_at(cells, [lowest, ranks[0], ranks[1], ranks[2], ranks[3], ranks[4], ranks[5]]);
    // A maximum below the cell was read too early; the value then stays at the cell's lower bound.
    let upper = |cell: usize| upper_bound(cell).min(largest.max(lower_bound(cell)));
    let [p50, p90, p95, p99, p999, maximum] = found.map(|cell| cell.map(upper));
    LatencyStats {
        count: tally.count,
        average: tally.average(),
        minimum: smallest.map(lower_bound),
        maximum,
        p50,
        p90,
        p95,
        p99,
        p999,
        distribution: Distribution::default(),
    }
}

impl WindowStats {
    pub(super) fn new(period: Period, tally: &Tally, cells: &[u64], largest: u64) -> Self {
        let passed = period.end.saturating_sub(period.start) as f64 / 1e9;
        Self {
            start_milliseconds: period.start_milliseconds,
            end_milliseconds: period.end_milliseconds,
            latency: latency(tally, cells.iter().copied().enumerate(), largest),
            errors: tally.errors,
            error_rate: tally.error_rate(),
            slow_rate: tally.slow_rate(),
            slow: tally.slow,
            bytes: tally.bytes,
            total_nanoseconds: tally.sum,
            overflows: cells.last().copied().unwrap_or(0),
            throughput_per_second: (passed > 0.0).then(|| tally.count as f64 / passed),
        }
    }
}

impl SlotStats {
    pub(super) fn new(
        period: Period,
        tally: &Tally,
        cells: impl IntoIterator<Item = (usize, u64)>,
        largest: u64,
    ) -> Self {
        Self {
            start_milliseconds: period.start_milliseconds,
            end_milliseconds: period.end_milliseconds,
            is_open: false,
            latency: latency(tally, cells, largest),
            errors: tally.errors,
            slow: tally.slow,
            bytes: tally.bytes,
        }
    }
}
