//! The figures of a window and of its slots: plain values for hosts, exports, reports and alerts. `tier` fills them.

use super::tally::Tally;
use crate::metrics::{Layout, cells_at};
use crate::monitor::slots::WindowTime;
use serde::{Deserialize, Serialize};

/// One series over a window: all closed slots that have not left it, and the open slot. Latencies are bounds of
/// cells. Cells are at most 3.13 % wide in the last minute and hour, and 12.5 % in the last day. Latencies are null
/// if nothing was recorded.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WindowStats {
    /// Start of the figures: wall time, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// End of the figures: the last collection. Wall time, in milliseconds since 1970.
    pub end_milliseconds: u64,
    /// Number of values recorded.
    pub count: u64,
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
    /// Mean in nanoseconds, exact but rounded down.
    pub average: Option<u64>,
    /// Lower bound of the smallest value's cell, so never above the smallest value. In nanoseconds.
    pub minimum: Option<u64>,
    /// Upper bound of the largest value's cell, but never above the largest value since the last reset. In
    /// nanoseconds.
    pub maximum: Option<u64>,
    /// 50th percentile: upper bound of the cell of that rank, but never above the largest value since the last reset.
    /// In nanoseconds, as the next four.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// Number of values above the largest cell, 68.7 s. A rank among them reports the largest value since the last
    /// reset.
    pub overflows: u64,
    /// Count ÷ seconds from start to end. Null if no time has passed.
    pub throughput_per_second: Option<f64>,
}

/// One slot of a series: a point of its history. Bounds as in [`WindowStats`].
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
    /// Number of values recorded.
    pub count: u64,
    /// Number of errors among the values.
    pub errors: u64,
    /// Number of values above the threshold for slow messages.
    pub slow: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Mean in nanoseconds, rounded down.
    pub average: Option<u64>,
    /// 50th percentile, in nanoseconds.
    pub p50: Option<u64>,
    /// 95th percentile, in nanoseconds.
    pub p95: Option<u64>,
    /// 99th percentile, in nanoseconds.
    pub p99: Option<u64>,
    /// Upper bound of the largest value's cell, but never above the largest value since the last reset. In
    /// nanoseconds.
    pub maximum: Option<u64>,
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

/// Converts ranks to values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) layout: Layout,
    /// The largest value since the last reset.
    pub(super) maximum: u64,
}

impl Scale {
    /// The values at the given ascending ranks: upper bounds of their cells, never above the maximum. A maximum below
    /// the cell was read too early; the value then stays at the cell's lower bound.
    fn values<const N: usize>(
        self,
        cells: impl IntoIterator<Item = (usize, u64)>,
        ranks: [u64; N],
    ) -> [Option<u64>; N] {
        cells_at(cells, ranks).map(|found| {
            let cell = found?;
            Some(self.layout.upper_bound(cell).min(self.maximum.max(self.layout.lower_bound(cell))))
        })
    }
}

impl WindowStats {
    pub(super) fn new(period: Period, tally: &Tally, cells: &[u64], scale: Scale) -> Self {
        let each = || cells.iter().copied().enumerate();
        let ranks = [500, 900, 950, 990, 999, 1000].map(|per_mille| tally.rank(per_mille));
        let [p50, p90, p95, p99, p999, maximum] = scale.values(each(), ranks);
        // The minimum is a lower bound, all other values are upper bounds.
        let [smallest] = cells_at(each(), [1]);
        let passed = period.end.saturating_sub(period.start) as f64 / 1e9;
        Self {
            start_milliseconds: period.start_milliseconds,
            end_milliseconds: period.end_milliseconds,
            count: tally.count,
            errors: tally.errors,
            error_rate: tally.error_rate(),
            slow_rate: tally.slow_rate(),
            slow: tally.slow,
            bytes: tally.bytes,
            total_nanoseconds: tally.sum,
            average: tally.average(),
            minimum: smallest.map(|cell| scale.layout.lower_bound(cell)),
            maximum,
            p50,
            p90,
            p95,
            p99,
            p999,
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
        scale: Scale,
    ) -> Self {
        let ranks = [500, 950, 990, 1000].map(|per_mille| tally.rank(per_mille));
        let [p50, p95, p99, maximum] = scale.values(cells, ranks);
        Self {
            start_milliseconds: period.start_milliseconds,
            end_milliseconds: period.end_milliseconds,
            is_open: false,
            count: tally.count,
            errors: tally.errors,
            slow: tally.slow,
            bytes: tally.bytes,
            average: tally.average(),
            p50,
            p95,
            p99,
            maximum,
        }
    }
}
