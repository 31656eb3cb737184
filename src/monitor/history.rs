//! The history of one number: memory, connections, queue depth, processor time, or a rate. The collector samples it,
//! and dashboards draw it. A slot without samples has no point, not a zero.

use super::slots::{Shape, Slots, Span, TimeSlot, WindowTime};
use serde::{Deserialize, Serialize};

/// The samples of one slot: a second, a minute or a quarter of an hour of monotonic time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Point {
    /// Start of the slot: wall time, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// End of the slot: wall time, in milliseconds since 1970. The end of the last slot may be in the future.
    pub end_milliseconds: u64,
    /// Smallest sample. In JSON an infinite number is a string, here and in the next three fields.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub minimum: f64,
    /// Largest sample.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub maximum: f64,
    /// Latest sample.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub last: f64,
    /// Mean of the samples, all with the same weight. Null if the samples are infinite in both directions.
    #[serde(serialize_with = "crate::metrics::number", deserialize_with = "crate::metrics::read_number")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::metrics::Number"))]
    pub average: Option<f64>,
    /// Number of samples, at least 1.
    pub samples: u64,
}

/// Statistics of at least one sample.
#[derive(Clone, Copy, Debug)]
struct Samples {
    minimum: f64,
    maximum: f64,
    last: f64,
    sum: f64,
    count: u64,
}

impl Samples {
    fn of(value: f64) -> Self {
        Self { minimum: value, maximum: value, last: value, sum: value, count: 1 }
    }

    fn add(self, value: f64) -> Self {
        Self {
            minimum: self.minimum.min(value),
            maximum: self.maximum.max(value),
            last: value,
            sum: self.sum + value,
            count: self.count + 1,
        }
    }

    fn point(&self, moment: WindowTime, start: u64, end: u64) -> Point {
        // Clamped, because rounding may move the mean past the largest sample or to infinity.
        let average = (self.sum / self.count as f64).clamp(self.minimum, self.maximum);
        let average = Some(average).filter(|average| !average.is_nan());
        Point {
            start_milliseconds: moment.wall(start),
            end_milliseconds: moment.wall(end),
            minimum: self.minimum,
            maximum: self.maximum,
            last: self.last,
            average,
            samples: self.count,
        }
    }
}

/// Slots of one length.
#[derive(Debug)]
struct GaugeTier {
    slots: Slots<Samples>,
    open: Option<Samples>,
}

impl GaugeTier {
    fn new(shape: Shape, now: u64) -> Self {
        Self { slots: Slots::new(shape, now), open: None }
    }

    fn sample(&mut self, now: u64, value: f64) {
        self.slots.advance(now);
        while self.slots.leave().is_some() {}
        if self.slots.is_due() {
            // A sample has one timestamp, so its slot is known: the slot of the grid.
            let (start, end) = self.slots.grid();
            match self.open.take() {
                Some(samples) if !self.slots.is_over(end, self.slots.now()) => {
                    self.slots.close(start, end, samples)
                }
                _ => self.slots.reopen(),
            }
        }
        self.open = Some(self.open.map_or_else(|| Samples::of(value), |samples| samples.add(value)));
    }

    fn points(&self, moment: WindowTime) -> impl Iterator<Item = Point> {
        let closed = self.slots.current(moment.now).map(|(_, slot)| slot.clone());
        let (start, end) = self.slots.grid();
        let open = self.open.filter(|_| !self.slots.is_over(end, moment.now));
        let open = open.map(|value| TimeSlot { start, end, value });
        closed.chain(open).map(move |slot| slot.value.point(moment, slot.start, slot.end))
    }
}

/// The last minute, hour and day of one number.
#[derive(Debug)]
pub(crate) struct Gauge {
    minute: GaugeTier,
    hour: GaugeTier,
    day: GaugeTier,
}

impl Gauge {
    /// Bytes of one gauge. A gauge never holds more.
    pub(crate) const fn bytes(retention_hours: u64) -> usize {
        size_of::<Self>()
            + Slots::<Samples>::bytes(Span::Minute.shape(retention_hours))
            + Slots::<Samples>::bytes(Span::Hour.shape(retention_hours))
            + Slots::<Samples>::bytes(Span::Day.shape(retention_hours))
    }

    /// Creates a gauge without samples. `now` is nanoseconds since the monitor was created.
    pub(crate) fn new(retention_hours: u64, now: u64) -> Self {
        let tier = |span: Span| GaugeTier::new(span.shape(retention_hours), now);
        Self { minute: tier(Span::Minute), hour: tier(Span::Hour), day: tier(Span::Day) }
    }

    /// Takes a sample. A time before the last one counts as the last one. NaN is ignored.
    pub(crate) fn sample(&mut self, now: u64, value: f64) {
        if value.is_nan() {
            return;
        }
        for tier in [&mut self.minute, &mut self.hour, &mut self.day] {
            tier.sample(now, value);
        }
    }

    /// One point per slot that has samples, oldest first. The last slot may still get more samples.
    pub(crate) fn points(&self, span: Span, moment: WindowTime) -> impl Iterator<Item = Point> {
        let tier = match span {
            Span::Minute => &self.minute,
            Span::Hour => &self.hour,
            Span::Day => &self.day,
        };
        tier.points(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::SECOND;
    use super::*;
    use proptest::prelude::*;

    /// The monitor was created at wall time 1,000 ms.
    fn at(now: u64) -> WindowTime {
        WindowTime { now, origin_milliseconds: 1_000 }
    }

    fn point(
        slot: (u64, u64),
        (minimum, maximum, last, average): (f64, f64, f64, f64),
        samples: u64,
    ) -> Point {
        Point {
            start_milliseconds: slot.0,
            end_milliseconds: slot.1,
            minimum,
            maximum,
            last,
            average: Some(average),
            samples,
        }
    }

    #[test]
    fn a_hand_worked_history() {
        let mut gauge = Gauge::new(24, 0);
        assert_eq!(gauge.points(Span::Minute, at(0)).count(), 0);
        for (tenths, value) in [(2, 4.0), (5, -1.0), (9, 3.0), (10, 7.0), (35, 8.0)] {
            gauge.sample(tenths * SECOND / 10, value);
        }
        let points: Vec<_> = gauge.points(Span::Minute, at(4 * SECOND)).collect();
        // The third second has no sample, so it has no point.
        assert_eq!(
            points,
            [
                point((1_000, 2_000), (-1.0, 4.0, 3.0, 2.0), 3),
                point((2_000, 3_000), (7.0, 7.0, 7.0, 7.0), 1),
                point((4_000, 5_000), (8.0, 8.0, 8.0, 8.0), 1),
            ]
        );
        let all = (-1.0, 8.0, 8.0, 4.2);
        let hour: Vec<_> = gauge.points(Span::Hour, at(4 * SECOND)).collect();
        assert_eq!(hour, [point((1_000, 61_000), all, 5)]);
        let day: Vec<_> = gauge.points(Span::Day, at(4 * SECOND)).collect();
        assert_eq!(day, [point((1_000, 901_000), all, 5)]);
    }

    #[test]
    fn points_are_over_after_their_window_even_if_nothing_is_sampled() {
        let mut gauge = Gauge::new(1, 0);
        gauge.sample(0, 1.0);
        gauge.sample(SECOND, 2.0);
        let count = |gauge: &Gauge, span, now| gauge.points(span, at(now)).count();
        assert_eq!(count(&gauge, Span::Minute, 61 * SECOND - 1), 2);
        assert_eq!(count(&gauge, Span::Minute, 61 * SECOND), 1);
        assert_eq!(count(&gauge, Span::Minute, 62 * SECOND), 0);
        assert_eq!((count(&gauge, Span::Hour, 62 * SECOND), count(&gauge, Span::Day, 62 * SECOND)), (1, 1));
        // A point that is over before the next sample does not come back with it.
        gauge.sample(62 * SECOND, 3.0);
        let points: Vec<_> = gauge.points(Span::Minute, at(0)).collect();
        assert_eq!(points, [point((63_000, 64_000), (3.0, 3.0, 3.0, 3.0), 1)]);
    }

    #[test]
    fn infinity_is_a_value_and_what_is_no_number_is_left_out() {
        let mut gauge = Gauge::new(24, 0);
        gauge.sample(0, f64::NAN);
        assert_eq!(gauge.points(Span::Minute, at(0)).count(), 0);
        let infinity = f64::INFINITY;
        let only = |gauge: &Gauge, now| gauge.points(Span::Minute, at(now)).last().unwrap();
        gauge.sample(0, 1.0);
        gauge.sample(0, infinity);
        assert_eq!(only(&gauge, 0), point((1_000, 2_000), (1.0, infinity, infinity, infinity), 2));
        gauge.sample(0, -infinity);
        let both = Point { average: None, ..point((1_000, 2_000), (-infinity, infinity, -infinity, 0.0), 3) };
        assert_eq!(only(&gauge, 0), both);
        let json = serde_json::to_value(both).unwrap();
        assert_eq!((&json["maximum"], &json["average"]), (&"Infinity".into(), &serde_json::Value::Null));
        // The next slot has only its own samples.
        gauge.sample(SECOND, 3.0);
        assert_eq!(only(&gauge, SECOND), point((2_000, 3_000), (3.0, 3.0, 3.0, 3.0), 1));
        let mut gauge = Gauge::new(24, 0);
        gauge.sample(0, f64::MAX);
        gauge.sample(0, f64::MAX);
        let points: Vec<_> = gauge.points(Span::Minute, at(0)).collect();
        assert_eq!(points, [point((1_000, 2_000), (f64::MAX, f64::MAX, f64::MAX, f64::MAX), 2)]);
    }

    #[test]
    fn it_takes_what_it_says() {
        for hours in [1, 24, 168] {
            let gauge = Gauge::new(hours, 0);
            let tiers = [&gauge.minute, &gauge.hour, &gauge.day].map(|tier| tier.slots.allocated());
            assert_eq!(Gauge::bytes(hours), size_of::<Gauge>() + tiers.iter().sum::<usize>());
        }
        assert!(Gauge::bytes(24) < 16 * 1024);
    }

    proptest! {
        /// Compares with all samples ever taken, sorted into slots at the end.
        #[test]
        fn every_sample_is_in_the_slot_of_its_time(
            schedule in proptest::collection::vec((0u64..9, -1e3f64..1e3), 1..120),
            scale in prop_oneof![Just(SECOND / 4), Just(20 * SECOND), Just(1_000 * SECOND)],
        ) {
            let mut gauge = Gauge::new(2, 0);
            let (mut now, mut taken) = (0, Vec::new());
            for (step, value) in schedule {
                now += step * scale;
                // A clock that goes back counts as one that stands still.
                gauge.sample(if step == 0 { now / 2 } else { now }, value);
                taken.push((now, value));
            }
            for span in [Span::Minute, Span::Hour, Span::Day] {
                let Shape { length, slots } = span.shape(2);
                let mut wanted: Vec<(u64, Vec<f64>)> = Vec::new();
                for (time, value) in &taken {
                    let start = time / length * length;
                    match wanted.last_mut() {
                        Some((last, values)) if *last == start => values.push(*value),
                        _ => wanted.push((start, vec![*value])),
                    }
                }
                wanted.retain(|(start, _)| start + length + length * slots as u64 > now);
                let points: Vec<_> = gauge.points(span, at(now)).collect();
                prop_assert_eq!(points.len(), wanted.len());
                for (point, (start, values)) in points.iter().zip(wanted) {
                    prop_assert_eq!(point.start_milliseconds, 1_000 + start / 1_000_000);
                    prop_assert_eq!(point.end_milliseconds, 1_000 + (start + length) / 1_000_000);
                    prop_assert_eq!(point.samples, values.len() as u64);
                    prop_assert_eq!(Some(&point.last), values.last());
                    prop_assert_eq!(point.minimum, values.iter().copied().fold(f64::INFINITY, f64::min));
                    prop_assert_eq!(point.maximum, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                    let average = values.iter().sum::<f64>() / values.len() as f64;
                    prop_assert!((point.average.unwrap() - average).abs() < 1e-9);
                }
            }
        }
    }
}
