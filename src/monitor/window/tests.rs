//! The windows against a model that keeps every value it was ever given, with a hand-moved time.

use super::tier::Tier;
use super::{Delta, SlotStats, WindowStats, Windows};
use crate::metrics::Layout;
use crate::monitor::slots::{Moment, SECOND, Shape, Span};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SPANS: [Span; 3] = [Span::Minute, Span::Hour, Span::Day];
const PER_MILLE: [u64; 5] = [500, 900, 950, 990, 999];

fn layout(span: Span) -> Layout {
    if span == Span::Day { Layout::COARSE } else { Layout::FINE }
}

/// The monitor started at the wall's 0.
fn at(now: u64) -> Moment {
    Moment { now, origin_milliseconds: 0 }
}

/// Every fifth value is an error, every third slow; each has 10 bytes.
fn tick(windows: &mut Windows, now: u64, values: &[u64]) {
    let mut cells = vec![0; Layout::FINE.cells()];
    for value in values {
        cells[Layout::FINE.index(*value)] += 1;
    }
    let count = values.len() as u64;
    let sum = values.iter().sum();
    let delta = Delta { cells: &cells, sum, errors: count / 5, slow: count / 3, bytes: 10 * count };
    let nothing = Delta { cells: &[], ..delta };
    windows.tick(now, if values.is_empty() { &nothing } else { &delta });
}

/// The value of a rank, counted by sorting.
fn ranked(values: &[u64], per_mille: u64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() as u64 * per_mille).div_ceil(1000).max(1) as usize - 1]
}

/// One tier by the book.
struct Model {
    shape: Shape,
    now: u64,
    opened: u64,
    open: Vec<u64>,
    closed: Vec<(u64, u64, Vec<u64>)>,
}

impl Model {
    fn new(span: Span, hours: u64, now: u64) -> Self {
        Self { shape: span.shape(hours), now, opened: now, open: Vec::new(), closed: Vec::new() }
    }

    fn tick(&mut self, now: u64, values: &[u64]) {
        self.now = self.now.max(now);
        self.open.extend(values);
        let window = self.shape.length * self.shape.slots as u64;
        self.closed.retain(|(_, end, _)| end + window > self.now);
        // Another line of the grid has been reached.
        if self.now / self.shape.length > self.opened / self.shape.length {
            if self.closed.len() == self.shape.slots {
                self.closed.remove(0);
            }
            self.closed.push((self.opened, self.now, std::mem::take(&mut self.open)));
            self.opened = self.now;
        }
    }

    /// Start and all values of the window.
    fn window(&self) -> (u64, Vec<u64>) {
        let start = self.closed.first().map_or(self.opened, |(start, _, _)| *start);
        let closed = self.closed.iter().flat_map(|(_, _, values)| values);
        (start, closed.chain(&self.open).copied().collect())
    }
}

fn counted(layout: Layout, values: &[u64]) -> Vec<(usize, u64)> {
    let mut cells = BTreeMap::new();
    for value in values {
        *cells.entry(layout.index(*value)).or_insert(0) += 1;
    }
    cells.into_iter().collect()
}

/// That the value found is at least the exact one, in its cell, and no more than the maximum.
fn same_cell(layout: Layout, found: Option<u64>, exact: u64, maximum: u64) -> Result<(), TestCaseError> {
    let found = found.ok_or_else(|| TestCaseError::fail("no value"))?;
    prop_assert_eq!(layout.index(found), layout.index(exact));
    prop_assert!(found >= exact && found <= maximum);
    Ok(())
}

/// Each value is in exactly one slot, the one that the model has it in, and the sum is that of the slots.
fn check_cells(tier: &Tier, model: &Model, layout: Layout) -> Result<(), TestCaseError> {
    let wanted: Vec<_> = model.closed.iter().map(|(_, _, values)| counted(layout, values)).collect();
    prop_assert_eq!(tier.closed(), wanted);
    prop_assert_eq!(tier.open(), counted(layout, &model.open));
    prop_assert_eq!(tier.rolling(), counted(layout, &model.window().1));
    Ok(())
}

fn check_window(stats: &WindowStats, model: &Model, layout: Layout, top: u64) -> Result<(), TestCaseError> {
    let (start, values) = model.window();
    prop_assert_eq!(stats.start_milliseconds, start / 1_000_000);
    prop_assert_eq!(stats.end_milliseconds, model.now / 1_000_000);
    prop_assert_eq!((stats.count, stats.bytes), (values.len() as u64, 10 * values.len() as u64));
    prop_assert_eq!(stats.total_nanoseconds, values.iter().sum::<u64>());
    prop_assert_eq!(stats.overflows, values.iter().filter(|value| **value >= 1 << 36).count() as u64);
    let found = [stats.p50, stats.p90, stats.p95, stats.p99, stats.p999, stats.maximum];
    if values.is_empty() {
        prop_assert_eq!((found, stats.minimum, stats.average), ([None; 6], None, None));
        return Ok(());
    }
    for (found, per_mille) in found.into_iter().zip(PER_MILLE.into_iter().chain([1000])) {
        same_cell(layout, found, ranked(&values, per_mille), top)?;
    }
    let (minimum, smallest) = (stats.minimum.unwrap(), ranked(&values, 0));
    prop_assert!(minimum <= smallest && layout.index(minimum) == layout.index(smallest));
    prop_assert_eq!(stats.average, Some(values.iter().sum::<u64>() / values.len() as u64));
    Ok(())
}

fn check_slots(slots: &[SlotStats], model: &Model, layout: Layout, top: u64) -> Result<(), TestCaseError> {
    let mut wanted: Vec<_> = model.closed.iter().map(|slot| (slot.clone(), false)).collect();
    if model.now > model.opened || !model.open.is_empty() {
        wanted.push(((model.opened, model.now, model.open.clone()), true));
    }
    prop_assert_eq!(slots.len(), wanted.len());
    for (slot, ((start, end, values), is_open)) in slots.iter().zip(&wanted) {
        prop_assert_eq!(slot.is_open, *is_open);
        prop_assert_eq!(
            (slot.start_milliseconds, slot.end_milliseconds),
            (start / 1_000_000, end / 1_000_000)
        );
        prop_assert_eq!(slot.count, values.len() as u64);
        let found = [slot.p50, slot.p95, slot.p99, slot.maximum];
        for (found, per_mille) in found.into_iter().zip([500, 950, 990, 1000]) {
            if values.is_empty() {
                prop_assert_eq!(found, None);
            } else {
                same_cell(layout, found, ranked(values, per_mille), top)?;
            }
        }
    }
    Ok(())
}

/// A step of the clock, and what is recorded before the tick at its end.
fn steps() -> impl Strategy<Value = Vec<(i64, Vec<u64>)>> {
    let milliseconds = prop_oneof![
        8 => Just(1_000i64),
        4 => 1i64..2_500,
        2 => Just(0i64),
        1 => -5_000i64..0,
        2 => 10_000i64..100_000,
        1 => 500_000i64..5_000_000,
        1 => 3_000_000i64..100_000_000,
    ];
    let value = prop_oneof![0u64..200, 0u64..(1 << 30), 0u64..(1 << 37)];
    let values = prop_oneof![Just(Vec::new()), proptest::collection::vec(value, 0..12)];
    proptest::collection::vec((milliseconds, values), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn windows_are_what_the_model_says(hours in 1u64..4, start in 0u64..5_000, steps in steps()) {
        let mut clock = start as i64;
        let mut windows = Windows::new(hours, start * 1_000_000);
        let mut models = SPANS.map(|span| Model::new(span, hours, start * 1_000_000));
        let mut top = 0;
        for (step, values) in steps {
            clock = (clock + step).max(0);
            let now = clock as u64 * 1_000_000;
            top = values.iter().copied().fold(top, u64::max);
            tick(&mut windows, now, &values);
            models.iter_mut().for_each(|model| model.tick(now, &values));
            for (span, model) in SPANS.into_iter().zip(&models) {
                check_cells(windows.tier(span), model, layout(span))?;
            }
        }
        for (span, model) in SPANS.into_iter().zip(&models) {
            check_window(&windows.window(span, at(0), top), model, layout(span), top)?;
            let slots: Vec<_> = windows.slots(span, at(0), top).collect();
            check_slots(&slots, model, layout(span), top)?;
        }
    }

    /// From nothing but the cumulative counts: what a window says is their difference between its two ends.
    #[test]
    fn a_window_is_the_difference_of_the_cumulative_counts_at_its_ends(steps in steps()) {
        let mut windows = Windows::new(1, 0);
        let (mut clock, mut latest, mut total) = (0i64, 0u64, 0u64);
        // By time: the count after the first tick there. A slot closes at the first.
        let mut cumulative = BTreeMap::from([(0, 0)]);
        for (step, values) in steps {
            clock = (clock + step).max(0);
            latest = latest.max(clock as u64);
            tick(&mut windows, clock as u64 * 1_000_000, &values);
            total += values.len() as u64;
            cumulative.entry(latest).or_insert(total);
            for span in SPANS {
                let window = windows.window(span, at(0), u64::MAX);
                prop_assert_eq!(window.end_milliseconds, latest);
                prop_assert_eq!(window.count, total - cumulative[&window.start_milliseconds]);
                let slots: Vec<_> = windows.slots(span, at(0), u64::MAX).collect();
                prop_assert_eq!(window.count, slots.iter().map(|slot| slot.count).sum::<u64>());
                prop_assert_eq!(window.errors, slots.iter().map(|slot| slot.errors).sum::<u64>());
                prop_assert_eq!(window.slow, slots.iter().map(|slot| slot.slow).sum::<u64>());
                prop_assert_eq!(window.bytes, slots.iter().map(|slot| slot.bytes).sum::<u64>());
                for pair in slots.windows(2) {
                    prop_assert_eq!(pair[0].end_milliseconds, pair[1].start_milliseconds);
                }
            }
        }
    }

    #[test]
    fn agrees_with_hdrhistogram(values in proptest::collection::vec(1u64..(1 << 36), 1..300)) {
        let mut windows = Windows::new(24, 0);
        let mut theirs = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 3).unwrap();
        for (second, values) in values.chunks(7).enumerate() {
            tick(&mut windows, (second as u64 + 1) * SECOND, values);
            values.iter().for_each(|value| theirs.record(*value).unwrap());
        }
        for (span, width) in [(Span::Minute, 0.034), (Span::Hour, 0.034), (Span::Day, 0.127)] {
            let window = windows.window(span, at(0), theirs.max());
            prop_assert_eq!(window.count, theirs.len());
            let ours = [window.p50, window.p90, window.p95, window.p99, window.p999];
            for (ours, per_mille) in ours.into_iter().zip(PER_MILLE) {
                let hdr = theirs.value_at_quantile(per_mille as f64 / 1000.0) as f64;
                prop_assert!((ours.unwrap() as f64 - hdr).abs() <= hdr * width + 1.0, "{:?} {}", ours, hdr);
            }
        }
    }
}

#[test]
fn a_hand_worked_window() {
    let mut windows = Windows::new(24, 0);
    let mut cells = vec![0; Layout::FINE.cells()];
    // Eight of 10 ns, one of 100 ns, and one above all cells, in two ticks of two seconds together.
    cells[10] = 8;
    windows.tick(SECOND, &Delta { cells: &cells, sum: 80, errors: 1, slow: 0, bytes: 800 });
    cells[10] = 0;
    (cells[82], cells[1024]) = (1, 1);
    let top = (1 << 36) + 5;
    windows.tick(2 * SECOND, &Delta { cells: &cells, sum: 100 + top, errors: 1, slow: 2, bytes: 200 });
    let moment = Moment { now: 2 * SECOND, origin_milliseconds: 5_000 };
    let wanted = WindowStats {
        start_milliseconds: 5_000,
        end_milliseconds: 7_000,
        count: 10,
        errors: 2,
        error_rate: Some(0.2),
        slow: 2,
        bytes: 1_000,
        total_nanoseconds: 180 + top,
        average: Some((180 + top) / 10),
        minimum: Some(10),
        maximum: Some(top),
        p50: Some(10),
        // The ninth of ten: 100 is the lower of two values that share a cell.
        p90: Some(101),
        p95: Some(top),
        p99: Some(top),
        p999: Some(top),
        overflows: 1,
        throughput_per_second: Some(5.0),
    };
    assert_eq!(windows.window(Span::Minute, moment, top), wanted);
    assert_eq!(windows.window(Span::Hour, moment, top), wanted);
    // [96, 103] in the coarse layout.
    assert_eq!(windows.window(Span::Day, moment, top), WindowStats { p90: Some(103), ..wanted });

    let slots: Vec<_> = windows.slots(Span::Minute, moment, top).collect();
    let first = SlotStats {
        start_milliseconds: 5_000,
        end_milliseconds: 6_000,
        is_open: false,
        count: 8,
        errors: 1,
        slow: 0,
        bytes: 800,
        average: Some(10),
        p50: Some(10),
        p95: Some(10),
        p99: Some(10),
        maximum: Some(10),
    };
    let second = SlotStats {
        start_milliseconds: 6_000,
        end_milliseconds: 7_000,
        count: 2,
        slow: 2,
        bytes: 200,
        average: Some((100 + top) / 2),
        p50: Some(101),
        p95: Some(top),
        p99: Some(top),
        maximum: Some(top),
        ..first.clone()
    };
    assert_eq!(slots, [first, second]);
    let quarter: Vec<_> =
        windows.slots(Span::Day, moment, top).map(|slot| (slot.is_open, slot.count)).collect();
    assert_eq!(quarter, [(true, 10)]);
}

#[test]
fn an_empty_window_has_no_latency_and_no_rate_of_errors() {
    let mut windows = Windows::new(24, SECOND);
    let window = windows.window(Span::Minute, at(SECOND), 77);
    assert_eq!((window.count, window.throughput_per_second, window.error_rate), (0, None, None));
    windows.tick(3 * SECOND, &Delta::default());
    for span in SPANS {
        let window = windows.window(span, at(3 * SECOND), 77);
        assert_eq!((window.start_milliseconds, window.end_milliseconds), (1_000, 3_000));
        assert_eq!((window.error_rate, window.throughput_per_second), (None, Some(0.0)));
        assert_eq!((window.average, window.minimum, window.maximum), (None, None, None));
        assert_eq!(
            (window.p50, window.p90, window.p95, window.p99, window.p999),
            (None, None, None, None, None)
        );
        assert!(serde_json::to_string(&window).unwrap().contains("\"p99\":null"));
        let slots: Vec<_> = windows.slots(span, at(3 * SECOND), 77).collect();
        assert_eq!((slots.len(), slots[0].p50, slots[0].maximum), (1, None, None));
    }
}

#[test]
fn the_maximum_of_all_time_bounds_what_a_cell_says() {
    let mut windows = Windows::new(24, 0);
    tick(&mut windows, SECOND, &[1_000_000]);
    let maximum = |top| windows.window(Span::Day, at(0), top).maximum;
    let cell = Layout::COARSE.index(1_000_000);
    assert_eq!(maximum(1_000_000), Some(1_000_000));
    assert_eq!(maximum(u64::MAX), Some(Layout::COARSE.upper_bound(cell)));
    // One that was read before the value came is no reason to leave the value's cell.
    assert_eq!(maximum(0), Some(Layout::COARSE.lower_bound(cell)));
}

#[test]
fn what_a_cell_cannot_hold_is_counted_in_the_next_slot() {
    let mut windows = Windows::new(24, 0);
    let most = u64::from(u32::MAX);
    let mut cells = vec![0; Layout::FINE.cells()];
    (cells[3], cells[50]) = (2 * most + 10, 90);
    let count = 2 * most + 100;
    windows.tick(SECOND, &Delta { cells: &cells, sum: 3 * count, errors: count, slow: 0, bytes: 2 * count });
    for second in 2..=4 {
        windows.tick(second * SECOND, &Delta::default());
    }
    let window = windows.window(Span::Minute, at(0), 50);
    assert_eq!((window.count, window.errors, window.bytes), (count, count, 2 * count));
    assert_eq!((window.p50, window.maximum, window.error_rate), (Some(3), Some(50), Some(1.0)));
    let slots: Vec<_> = windows.slots(Span::Minute, at(0), 50).collect();
    let counts: Vec<_> = slots.iter().map(|slot| slot.count).collect();
    assert_eq!(counts, [most + 90, most, 10, 0]);
    assert_eq!(slots.iter().map(|slot| slot.maximum).collect::<Vec<_>>(), [Some(50), Some(3), Some(3), None]);
    assert_eq!(slots.iter().map(|slot| slot.average).collect::<Vec<_>>(), [Some(3), Some(3), Some(3), None]);
    assert_eq!(slots.iter().map(|slot| slot.errors).sum::<u64>(), count);
    // The quarter of an hour has room for all of it.
    windows.tick(15 * 60 * SECOND, &Delta::default());
    let quarters: Vec<_> = windows.slots(Span::Day, at(0), 50).map(|slot| slot.count).collect();
    assert_eq!((quarters, windows.tier(Span::Minute).rolling()), (vec![count], vec![]));
}

#[test]
fn sums_do_not_drift_in_thousands_of_ticks() {
    let mut windows = Windows::new(1, 0);
    let (mut now, mut state) = (0, 1u64);
    for round in 0..6_000 {
        // Any multiplicative generator will do; this one is Knuth's.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now += SECOND - 50_000_000 + (state >> 32) % 100_000_000;
        let values: Vec<u64> = (0..state >> 61).map(|shift| (state >> 27) >> (shift * 3)).collect();
        tick(&mut windows, now, &values);
        if round % 500 < 2 {
            for span in SPANS {
                let tier = windows.tier(span);
                let mut sum = BTreeMap::new();
                for (cell, count) in tier.closed().into_iter().flatten().chain(tier.open()) {
                    *sum.entry(cell).or_insert(0) += count;
                }
                assert_eq!(tier.rolling(), sum.into_iter().collect::<Vec<_>>(), "{span:?} {round}");
            }
        }
    }
    assert_eq!(windows.tier(Span::Minute).closed().len(), 60);
    assert_eq!(windows.tier(Span::Hour).closed().len(), 60);
}

#[test]
fn who_looks_late_is_not_told_what_is_over() {
    let mut windows = Windows::new(24, 0);
    tick(&mut windows, SECOND, &[5]);
    tick(&mut windows, 2 * SECOND, &[6, 7]);
    tick(&mut windows, 2 * SECOND + 1, &[8]);
    let look = |now| {
        let window = windows.window(Span::Minute, at(now), 8);
        let slots: Vec<_> = windows.slots(Span::Minute, at(now), 8).map(|slot| slot.count).collect();
        (window.start_milliseconds, window.count, window.total_nanoseconds, window.minimum, slots)
    };
    assert_eq!(look(61 * SECOND - 1), (0, 4, 26, Some(5), vec![1, 2, 1]));
    assert_eq!(look(61 * SECOND), (1_000, 3, 21, Some(6), vec![2, 1]));
    // What is still open is never over: its end is to come.
    assert_eq!(look(3_600 * SECOND), (2_000, 1, 8, Some(8), vec![1]));
}

#[test]
fn a_reset_empties_everything_and_counting_goes_on() {
    let mut windows = Windows::new(24, 0);
    for second in 1..=100 {
        tick(&mut windows, second * SECOND, &[second, 1 << 36]);
    }
    windows.reset(100 * SECOND + 5);
    for span in SPANS {
        let window = windows.window(span, at(0), 0);
        assert_eq!((window.count, window.maximum, window.overflows, window.bytes), (0, None, 0, 0));
        assert_eq!((window.start_milliseconds, window.end_milliseconds), (100_000, 100_000));
        assert_eq!(windows.slots(span, at(0), 0).count(), 0);
    }
    tick(&mut windows, 102 * SECOND, &[9]);
    for span in SPANS {
        let window = windows.window(span, at(0), 9);
        assert_eq!((window.count, window.maximum, window.total_nanoseconds), (1, Some(9), 9));
        assert_eq!(windows.slots(span, at(0), 9).count(), 1);
    }
}

#[test]
fn cells_beyond_the_last_count_as_overflow_and_missing_ones_as_none() {
    let mut windows = Windows::new(24, 0);
    let mut cells = vec![0; Layout::FINE.cells() + 9];
    cells[Layout::FINE.cells() + 8] = 4;
    windows.tick(SECOND, &Delta { cells: &cells, ..Delta::default() });
    windows.tick(2 * SECOND, &Delta { cells: &[0, 3], ..Delta::default() });
    for span in SPANS {
        let window = windows.window(span, at(0), 1 << 40);
        assert_eq!((window.count, window.overflows, window.p99), (7, 4, Some(1 << 40)));
        assert_eq!(window.minimum, Some(1));
    }
}

#[test]
fn it_takes_what_it_says() {
    for hours in [1, 24, 168] {
        let windows = Windows::new(hours, 0);
        let tiers = SPANS.map(|span| windows.tier(span).allocated());
        assert_eq!(Windows::bytes(hours), size_of::<Windows>() + tiers.iter().sum::<usize>());
    }
    assert!(Windows::bytes(24) < 740 * 1024, "{}", Windows::bytes(24));
}
