//! Distributions as HdrHistogram interval logs (version 1.3, with histograms of format V2), which the plotters and
//! processors of HdrHistogram open: <https://github.com/HdrHistogram/HdrHistogram>.

use super::Monitor;
use super::reading::ReadingTime;
use super::slots::Span;
use super::timeline::name_of;
use super::window::WindowCells;
use crate::metrics::{Distribution, OVERFLOW_NANOSECONDS, lower_bound, upper_bound};
use crate::sync::lock;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use std::time::{Duration, UNIX_EPOCH};

/// Significant decimal digits: finer than our cells, which are at most 3.13 % wide.
const DIGITS: u8 = 3;
/// Nanoseconds per unit of the column of maxima: milliseconds.
const MAXIMUM_UNIT: f64 = 1e6;

impl Monitor {
    /// A distribution as an HdrHistogram interval log: one interval for each slot of the span, oldest first, with values
    /// in nanoseconds. Without a span, one interval since the last reset.
    ///
    /// `name` is one of [`history_names`](Self::history_names) that is a series of messages: `messages`, `queue_wait`,
    /// `types.PROTOCOL/TYPE`, `protocols.NAME`, `applications.NAME`. Without a span also `held`, `write` (the time from
    /// hand-out to acknowledgement), and `types.PROTOCOL/TYPE.queue_wait`. Returns `None` for another name, and for a
    /// series without windows if a span is given.
    ///
    /// Values are the upper bounds of our cells, as in reports, but never above the largest value since the last reset.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::{Monitor, Span}};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// let log = monitor.interval_log("messages", Some(Span::Minute)).expect("always kept");
    /// assert!(log.starts_with("#"));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn interval_log(&self, name: &str, span: Option<Span>) -> Option<String> {
        let core = &self.core;
        let mut inner = lock(&core.inner);
        inner.collect(&*core.source);
        let moment = ReadingTime::of(inner.now(&*core.source), &*core.source);
        let collector = &inner.collector;
        let typed = |name: &str| collector.series.iter().find(|series| name_of(&series.key) == name);
        let (intervals, maximum) = if let Some(span) = span {
            let (windows, maximum) = match name {
                "messages" => (&collector.total.windows, collector.total.track.maximum()),
                "queue_wait" => (&collector.queue_wait.windows, collector.queue_wait.track.maximum()),
                name => {
                    let series = typed(name)?;
                    (series.windows.as_ref()?, series.service.maximum())
                }
            };
            (windows.cells(span, moment.times()), maximum)
        } else {
            let distribution = match name {
                "messages" => collector.total.track.shown(),
                "queue_wait" => collector.queue_wait.track.shown(),
                "held" => collector.held.shown(),
                "write" => collector.write.shown(),
                name => match name.strip_suffix(".queue_wait").and_then(&typed) {
                    Some(series) => series.queue_wait.as_ref()?.shown(),
                    None => typed(name)?.service.shown(),
                },
            };
            let maximum = distribution.maximum().unwrap_or(0);
            (vec![whole(&distribution, inner.since_milliseconds, moment.wall)], maximum)
        };
        let started = inner.started_milliseconds;
        drop(inner);
        write(name, started, &intervals, maximum)
    }
}

/// A distribution since the last reset as one interval.
fn whole(distribution: &Distribution, start_milliseconds: u64, end_milliseconds: u64) -> WindowCells {
    let cells = distribution.cells().iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
    WindowCells { start_milliseconds, end_milliseconds, cells }
}

/// Writes the intervals. None cannot happen: the bounds are valid, and the log is written into memory.
fn write(name: &str, started: u64, intervals: &[WindowCells], maximum: u64) -> Option<String> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]").with_start_time(at(started));
    // A name may have any character; the comment must stay one line.
    let shown: String = name.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    builder.add_comment(&format!("corelane {}: {shown}, values in nanoseconds", env!("CARGO_PKG_VERSION")));
    builder.with_max_value_divisor(MAXIMUM_UNIT);
    let mut log = builder.begin_log_with(&mut bytes, &mut serializer).ok()?;
    let mut histogram: Histogram<u64> =
        Histogram::new_with_bounds(1, OVERFLOW_NANOSECONDS.max(maximum), DIGITS).ok()?;
    for interval in intervals {
        histogram.reset();
        for (cell, count) in &interval.cells {
            let value = upper_bound(*cell).min(maximum.max(lower_bound(*cell)));
            histogram.saturating_record_n(value, *count);
        }
        let length = interval.end_milliseconds.saturating_sub(interval.start_milliseconds);
        let start = Duration::from_millis(interval.start_milliseconds);
        log.write_histogram(&histogram, start, Duration::from_millis(length), None).ok()?;
    }
    drop(log);
    String::from_utf8(bytes).ok()
}
