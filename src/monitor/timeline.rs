//! All histories of one span in columns, as the page draws them. Columns keep 60 slots of 30 series small.

use super::Core;
use super::history::Point;
use super::paths::{as_step, element};
use super::reading::ReadingTime;
use super::series::SeriesKey;
use super::slots::{SECOND, Span};
use super::window::SlotStats;
use crate::config::Key;
use crate::sync::lock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The histories of one span; see [`Monitor::timeline`](super::Monitor::timeline). Slots are oldest first, and the
/// last one may still be open: its end is then the time of the reading. A slot without an entry is a gap.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Timeline {
    /// How far back the slots reach.
    pub span: Span,
    /// When the histories were read: wall time, in milliseconds since 1970.
    pub time_milliseconds: u64,
    /// Length of a slot, in milliseconds.
    pub step_milliseconds: u64,
    /// Number of slots in the whole span.
    pub slots: u64,
    /// All messages. The times are handling times.
    pub messages: SlotColumns,
    /// Queue waits of all messages.
    pub queue_wait: SlotColumns,
    /// Each type, protocol and application that has windows, by its name as in `history_names`.
    pub counts: BTreeMap<String, CountColumns>,
    /// The numbers whose history is kept, by their path.
    pub points: BTreeMap<String, PointColumns>,
}

/// The slots of a series of messages.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotColumns {
    /// Start of each slot: wall time, in milliseconds since 1970.
    pub start: Vec<u64>,
    /// End of each slot: wall time, in milliseconds since 1970.
    pub end: Vec<u64>,
    /// Messages.
    pub count: Vec<u64>,
    /// Failed and expired messages.
    pub errors: Vec<u64>,
    /// Slow messages.
    pub slow: Vec<u64>,
    /// Payload bytes.
    pub bytes: Vec<u64>,
    /// Median, in nanoseconds; null without messages.
    pub p50: Vec<Option<u64>>,
    /// 95th percentile, in nanoseconds; null without messages.
    pub p95: Vec<Option<u64>>,
    /// 99th percentile, in nanoseconds; null without messages.
    pub p99: Vec<Option<u64>>,
}

/// The slots of one type, protocol or application.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CountColumns {
    /// Start of each slot: wall time, in milliseconds since 1970.
    pub start: Vec<u64>,
    /// End of each slot: wall time, in milliseconds since 1970.
    pub end: Vec<u64>,
    /// Messages.
    pub count: Vec<u64>,
    /// Failed and expired messages.
    pub errors: Vec<u64>,
}

/// The slots of a number.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PointColumns {
    /// Start of each slot: wall time, in milliseconds since 1970.
    pub start: Vec<u64>,
    /// Mean of the slot's samples; null if it is infinite.
    pub average: Vec<Option<f64>>,
    /// Largest sample; null if it is infinite.
    pub maximum: Vec<Option<f64>>,
}

impl SlotColumns {
    fn push(&mut self, slot: &SlotStats) {
        self.start.push(slot.start_milliseconds);
        self.end.push(slot.end_milliseconds);
        self.count.push(slot.latency.count);
        self.errors.push(slot.errors);
        self.slow.push(slot.slow);
        self.bytes.push(slot.bytes);
        self.p50.push(slot.latency.p50);
        self.p95.push(slot.latency.p95);
        self.p99.push(slot.latency.p99);
    }
}

impl CountColumns {
    fn push(&mut self, slot: &SlotStats) {
        self.start.push(slot.start_milliseconds);
        self.end.push(slot.end_milliseconds);
        self.count.push(slot.latency.count);
        self.errors.push(slot.errors);
    }
}

impl PointColumns {
    fn push(&mut self, point: &Point) {
        self.start.push(point.start_milliseconds);
        self.average.push(point.average.filter(|value| value.is_finite()));
        self.maximum.push(Some(point.maximum).filter(|value| value.is_finite()));
    }
}

impl Core {
    /// All slots of each span.
    pub(super) fn timelines(&self) -> Vec<Timeline> {
        [Span::Minute, Span::Hour, Span::Day].map(|span| self.timeline(span, 0)).into()
    }

    /// The slots of `span` that end later than `after_milliseconds`.
    pub(super) fn timeline(&self, span: Span, after_milliseconds: u64) -> Timeline {
        let mut inner = lock(&self.inner);
        inner.collect(&*self.source);
        let times = ReadingTime::of(inner.now(&*self.source), &*self.source).times();
        let shape = span.shape(inner.config.get(Key::StatsRetention));
        let mut timeline = Timeline {
            span,
            time_milliseconds: times.wall(times.now),
            step_milliseconds: shape.length * 1_000 / SECOND,
            slots: shape.slots as u64,
            messages: SlotColumns::default(),
            queue_wait: SlotColumns::default(),
            counts: BTreeMap::new(),
            points: BTreeMap::new(),
        };
        let is_wanted = |end: u64| end > after_milliseconds;
        let collector = &inner.collector;
        for (series, columns) in
            [(&collector.total, &mut timeline.messages), (&collector.queue_wait, &mut timeline.queue_wait)]
        {
            let slots = series.windows.slots(span, times, series.track.maximum());
            slots.filter(|slot| is_wanted(slot.end_milliseconds)).for_each(|slot| columns.push(&slot));
        }
        for series in &collector.series {
            let Some(windows) = &series.windows else { continue };
            let columns = timeline.counts.entry(name_of(&series.key)).or_default();
            let slots = windows.slots(span, times, series.service.maximum());
            slots.filter(|slot| is_wanted(slot.end_milliseconds)).for_each(|slot| columns.push(&slot));
        }
        for name in inner.history.names() {
            let columns = timeline.points.entry(name.to_owned()).or_default();
            let points = inner.history.get(name).into_iter().flat_map(|gauge| gauge.points(span, times));
            points.filter(|point| is_wanted(point.end_milliseconds)).for_each(|point| columns.push(&point));
        }
        timeline
    }
}

/// A series' name in `history_names`, as in the path of a figure.
pub(super) fn name_of(key: &SeriesKey) -> String {
    match key {
        SeriesKey::Type(protocol, name) => format!("types.{}", as_step(&element(protocol, name))),
        SeriesKey::Protocol(name) => format!("protocols.{}", as_step(name)),
        SeriesKey::Application(name) => format!("applications.{}", as_step(name)),
    }
}
