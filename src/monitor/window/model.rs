//! Compares the windows with a model that keeps every value, with a hand-moved clock. Also holds the helpers that
//! `tests` shares.

use super::tier::WindowTier;
use super::{Delta, SlotStats, WindowStats, Windows};
use crate::metrics::{CELLS, index};
use crate::monitor::slots::{SECOND, Shape, Span, WindowTime};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const SPANS: [Span; 3] = [Span::Minute, Span::Hour, Span::Day];
const PER_MILLE: [u64; 5] = [500, 900, 950, 990, 999];

/// The monitor was created at wall time 0.
pub(super) fn at(now: u64) -> WindowTime {
    WindowTime { now, origin_milliseconds: 0 }
}

/// Every fifth value is an error, and every third is slow. Each has 10 bytes.
pub(super) fn tick(windows: &mut Windows, now: u64, values: &[u64]) {
    let mut cells = vec![0; CELLS];
    for value in values {
        cells[index(*value)] += 1;
    }
    let count = values.len() as u64;
    let sum = values.iter().sum();
    let delta = Delta { cells: &cells, sum, errors: count / 5, slow: count / 3, bytes: 10 * count };
    let nothing = Delta { cells: &[], ..delta };
    windows.tick(now, if values.is_empty() { &nothing } else { &delta });
}

/// The value of a rank, found by sorting.
fn ranked(values: &[u64], per_mille: u64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() as u64 * per_mille).div_ceil(1000).max(1) as usize - 1]
}

/// A reference implementation of one tier.
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
        // The clock has reached another grid line.
        if self.now / self.shape.length > self.opened / self.shape.length {
            if self.closed.len() == self.shape.slots {
                self.closed.remove(0);
            }
            self.closed.push((self.opened, self.now, std::mem::take(&mut self.open)));
            self.opened = self.now;
        }
    }

    /// The start of the window and all its values.
    fn window(&self) -> (u64, Vec<u64>) {
        let start = self.closed.first().map_or(self.opened, |(start, _, _)| *start);
        let closed = self.closed.iter().flat_map(|(_, _, values)| values);
        (start, closed.chain(&self.open).copied().collect())
    }
}

fn counted(values: &[u64]) -> Vec<(usize, u64)> {
    let mut cells = BTreeMap::new();
    for value in values {
        *cells.entry(index(*value)).or_insert(0) += 1;
    }
    cells.into_iter().collect()
}

/// Checks that the value found is at least the exact one, in the same cell, and at most the maximum.
fn same_cell(found: Option<u64>, exact: u64, maximum: u64) -> Result<(), TestCaseError> {
    let found = found.ok_or_else(|| TestCaseError::fail("no value"))?;
    prop_assert_eq!(index(found), index(exact));
    prop_assert!(found >= exact && found <= maximum);
    Ok(())
}

/// Checks that each value is in exactly one slot, the same as in the model, and that the sum is the sum of the slots.
fn check_cells(tier: &WindowTier, model: &Model) -> Result<(), TestCaseError> {
    let wanted: Vec<_> = model.closed.iter().map(|(_, _, values)| counted(values)).collect();
    prop_assert_eq!(tier.closed(), wanted);
    prop_assert_eq!(tier.open(), counted(&model.open));
    prop_assert_eq!(tier.rolling(), counted(&model.window().1));
    Ok(())
}

fn check_window(stats: &WindowStats, model: &Model, top: u64) -> Result<(), TestCaseError> {
    let (start, values) = model.window();
    prop_assert_eq!(stats.start_milliseconds, start / 1_000_000);
    prop_assert_eq!(stats.end_milliseconds, model.now / 1_000_000);
    prop_assert_eq!((stats.latency.count, stats.bytes), (values.len() as u64, 10 * values.len() as u64));
    prop_assert_eq!(stats.total_nanoseconds, values.iter().sum::<u64>());
    prop_assert_eq!(stats.overflows, values.iter().filter(|value| **value >= 1 << 36).count() as u64);
    let found = [
        stats.latency.p50,
        stats.latency.p90,
        stats.latency.p95,
        stats.latency.p99,
        stats.latency.p999,
        stats.latency.maximum,
    ];
    if values.is_empty() {
        prop_assert_eq!((found, stats.latency.minimum, stats.latency.average), ([None; 6], None, None));
        return Ok(());
    }
    for (found, per_mille) in found.into_iter().zip(PER_MILLE.into_iter().chain([1000])) {
        same_cell(found, ranked(&values, per_mille), top)?;
    }
    let (minimum, smallest) = (stats.latency.minimum.unwrap(), ranked(&values, 0));
    prop_assert!(minimum <= smallest && index(minimum) == index(smallest));
    prop_assert_eq!(stats.latency.average, Some(values.iter().sum::<u64>() / values.len() as u64));
    Ok(())
}

fn check_slots(slots: &[SlotStats], model: &Model, top: u64) -> Result<(), TestCaseError> {
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
        prop_assert_eq!(slot.latency.count, values.len() as u64);
        let found = [slot.latency.p50, slot.latency.p95, slot.latency.p99, slot.latency.maximum];
        for (found, per_mille) in found.into_iter().zip([500, 950, 990, 1000]) {
            if values.is_empty() {
                prop_assert_eq!(found, None);
            } else {
                same_cell(found, ranked(values, per_mille), top)?;
            }
        }
    }
    Ok(())
}

/// A step of the clock, and the values recorded before the tick at its end.
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
                check_cells(windows.tier(span), model)?;
            }
        }
        for (span, model) in SPANS.into_iter().zip(&models) {
            check_window(&windows.window(span, at(0), top), model, top)?;
            let slots: Vec<_> = windows.slots(span, at(0), top).collect();
            check_slots(&slots, model, top)?;
        }
    }

    /// Uses only cumulative counts: a window's count is their difference between its two ends.
    #[test]
    fn a_window_is_the_difference_of_the_cumulative_counts_at_its_ends(steps in steps()) {
        let mut windows = Windows::new(1, 0);
        let (mut clock, mut latest, mut total) = (0i64, 0u64, 0u64);
        // For each time the count after the first tick at that time, because a slot closes at the first tick.
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
                prop_assert_eq!(window.latency.count, total - cumulative[&window.start_milliseconds]);
                let slots: Vec<_> = windows.slots(span, at(0), u64::MAX).collect();
                prop_assert_eq!(window.latency.count, slots.iter().map(|slot| slot.latency.count).sum::<u64>());
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
        for span in SPANS {
            let window = windows.window(span, at(0), theirs.max());
            prop_assert_eq!(window.latency.count, theirs.len());
            let ours = [window.latency.p50, window.latency.p90, window.latency.p95, window.latency.p99, window.latency.p999];
            for (ours, per_mille) in ours.into_iter().zip(PER_MILLE) {
                let hdr = theirs.value_at_quantile(per_mille as f64 / 1000.0) as f64;
                prop_assert!((ours.unwrap() as f64 - hdr).abs() <= hdr * 0.034 + 1.0, "{:?} {}", ours, hdr);
            }
        }
    }
}
