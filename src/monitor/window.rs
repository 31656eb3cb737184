//! Sliding windows of one series: the last minute in slots of a second, the last hour in slots of a minute, the last day
//! in slots of a quarter of an hour. Fed by the collector with what was recorded since its last look. All integers: a
//! slot's cells are added to a rolling sum as they come and taken off it as the slot goes, so the sum never drifts.
//!
//! A slot is open until its length is over and closes at the first tick after that, with the span that it really had: a
//! collector that was late makes one slot longer, and nothing is lost or counted twice. A window is the slots that have
//! not been over for longer than it, and the open one.

use crate::metrics::{CELLS, COARSE_CELLS, OVERFLOW_NANOSECONDS, coarse, coarse_upper_bound, upper_bound};
use serde::Serialize;
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;

/// Which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Span {
    /// The last minute, in slots of a second.
    Minute,
    /// The last hour, in slots of a minute.
    Hour,
    /// `stats_retention_hours`, a day unless set, in slots of a quarter of an hour.
    Day,
}

/// What was recorded since the last tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delta<'a> {
    /// Of a histogram; empty for none.
    pub(super) cells: &'a [u64],
    pub(super) sum: u64,
    pub(super) errors: u64,
    pub(super) slow: u64,
    pub(super) bytes: u64,
}

/// A window's figures. Times in nanoseconds, null where there was no message; percentiles are upper bounds of cells, at
/// most 3.13 % too high, 12.5 % in the longest window, and never above the largest value since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WindowStats {
    /// When it began, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// Until when it is filled, likewise.
    pub end_milliseconds: u64,
    /// Its length: what the rates are of.
    pub span_nanoseconds: u64,
    /// Messages handled.
    pub count: u64,
    /// Messages that failed or expired.
    pub errors: u64,
    /// Errors ÷ messages, from 0 to 1.
    pub error_rate: Option<f64>,
    /// Slow ones.
    pub slow: u64,
    /// Slow ones ÷ messages, from 0 to 1.
    pub slow_rate: Option<f64>,
    /// Bytes.
    pub bytes: u64,
    /// Messages per second.
    pub throughput_per_second: f64,
    /// All times together.
    pub total_nanoseconds: u64,
    /// Mean, rounded down.
    pub average: Option<u64>,
    /// The largest one, as its cell's upper bound.
    pub maximum: Option<u64>,
    /// 50th percentile.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// Times of 68.7 s and more, which share a cell: a percentile among them is the largest value since the last reset.
    pub overflows: u64,
}

/// What a slot or a window has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sum: u64,
    errors: u64,
    slow: u64,
    bytes: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.errors += other.errors;
        self.slow += other.slow;
        self.bytes += other.bytes;
    }

    fn take(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_sub(other.sum);
        self.errors -= other.errors;
        self.slow -= other.slow;
        self.bytes -= other.bytes;
    }
}

/// One slot: the cells that something is in, by index. As large as what happened in it, at most all cells.
#[derive(Clone, Debug, Default)]
struct Slot {
    start: u64,
    end: u64,
    counts: Counts,
    cells: Vec<(u16, u64)>,
}

/// One window with its slots.
#[derive(Debug)]
struct Tier {
    length: u64,
    slot_length: u64,
    slots: VecDeque<Slot>,
    most_slots: usize,
    /// When the open slot began.
    opened: u64,
    /// What the open slot has, cell by cell, and what all slots together have, this one included.
    open: Box<[u64]>,
    open_counts: Counts,
    rolling: Box<[u64]>,
    rolling_counts: Counts,
    is_coarse: bool,
}

impl Tier {
    fn new(slot_seconds: u64, slots: u64, is_coarse: bool) -> Self {
        let cells = if is_coarse { COARSE_CELLS } else { CELLS };
        Self {
            length: slot_seconds * slots * SECOND,
            slot_length: slot_seconds * SECOND,
            slots: VecDeque::new(),
            // Slots are never shorter than their length, and one may stick out on each side.
            most_slots: slots as usize + 2,
            opened: 0,
            open: vec![0; cells].into(),
            open_counts: Counts::default(),
            rolling: vec![0; cells].into(),
            rolling_counts: Counts::default(),
            is_coarse,
        }
    }

    fn add(&mut self, delta: &Delta<'_>) {
        for (index, count) in delta.cells.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = if self.is_coarse { coarse(index) } else { index };
            for cells in [&mut self.open, &mut self.rolling] {
                if let Some(cell) = cells.get_mut(index) {
                    *cell += count;
                }
            }
        }
        let Delta { sum, errors, slow, bytes, .. } = *delta;
        let counts = Counts { sum, errors, slow, bytes };
        self.open_counts.add(&counts);
        self.rolling_counts.add(&counts);
    }

    /// Closes the open slot if its time is over, and lets go of those that are too old.
    fn turn(&mut self, now: u64) {
        if now.saturating_sub(self.opened) >= self.slot_length {
            let cells = self.open.iter_mut().enumerate().filter(|(_, count)| **count > 0);
            let cells = cells.map(|(index, count)| (index as u16, std::mem::take(count))).collect();
            let counts = std::mem::take(&mut self.open_counts);
            self.slots.push_back(Slot { start: self.opened, end: now, counts, cells });
            self.opened = now;
        }
        while let Some(oldest) = self.slots.front() {
            if oldest.end.saturating_add(self.length) > now && self.slots.len() <= self.most_slots {
                return;
            }
            for (index, count) in &oldest.cells {
                if let Some(cell) = self.rolling.get_mut(usize::from(*index)) {
                    *cell -= count;
                }
            }
            self.rolling_counts.take(&oldest.counts);
            self.slots.pop_front();
        }
    }

    fn start(&self) -> u64 {
        self.slots.front().map_or(self.opened, |slot| slot.start)
    }

    fn upper_bound(&self, index: usize) -> u64 {
        if self.is_coarse { coarse_upper_bound(index) } else { upper_bound(index) }
    }

    fn reset(&mut self, now: u64) {
        self.slots.clear();
        self.opened = now;
        self.open.fill(0);
        self.rolling.fill(0);
        self.open_counts = Counts::default();
        self.rolling_counts = Counts::default();
    }

    fn bytes(&self) -> u64 {
        let cells = self.open.len() + self.rolling.len();
        let slots = self.slots.iter().map(|slot| slot.cells.capacity() * 16 + size_of::<Slot>());
        (size_of::<Self>() + cells * 8 + slots.sum::<usize>()) as u64
    }

    const fn bytes_at_most(slots: u64, cells: usize) -> u64 {
        let cells = cells as u64;
        size_of::<Self>() as u64 + (slots + 2) * (size_of::<Slot>() as u64 + 16 * cells) + 16 * cells
    }
}

/// Figures of so many cells.
struct Summary {
    count: u64,
    maximum: Option<u64>,
    overflows: u64,
}

/// The upper bounds at each of `per_mille`, in one pass over cells in order, none above `most`. Nearest rank, integers.
fn percentiles<const N: usize>(
    cells: impl Iterator<Item = (u64, u64)> + Clone,
    count: u64,
    most: u64,
    per_mille: [u32; N],
) -> [Option<u64>; N] {
    let mut found = [None; N];
    let rank = |per_mille: u32| (u128::from(count) * u128::from(per_mille)).div_ceil(1000).max(1);
    let (mut seen, mut next) = (0u128, 0);
    for (bound, cell) in cells {
        seen += u128::from(cell);
        while let Some(wanted) = per_mille.get(next).filter(|wanted| seen >= rank(**wanted)) {
            let _ = wanted;
            found[next] = Some(bound.min(most));
            next += 1;
        }
    }
    found
}

fn summary(cells: impl Iterator<Item = (u64, u64)>, most: u64) -> Summary {
    let mut summary = Summary { count: 0, maximum: None, overflows: 0 };
    for (bound, cell) in cells.filter(|(_, cell)| *cell > 0) {
        summary.count += cell;
        summary.maximum = Some(bound.min(most));
        summary.overflows += if bound == u64::MAX { cell } else { 0 };
    }
    summary
}

/// One slot's figures, for a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotStats {
    /// When it began, in milliseconds since 1970.
    pub start_milliseconds: u64,
    /// When it ended, likewise; for the open one, now.
    pub end_milliseconds: u64,
    /// Messages handled.
    pub count: u64,
    /// Messages that failed or expired.
    pub errors: u64,
    /// Slow ones.
    pub slow: u64,
    /// Bytes.
    pub bytes: u64,
    /// Mean time in nanoseconds, rounded down; null where there was no message.
    pub average: Option<u64>,
    /// 50th percentile.
    pub p50: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// The largest one, as its cell's upper bound.
    pub maximum: Option<u64>,
}

/// A series' three windows.
#[derive(Debug)]
pub(super) struct Windows {
    tiers: [Tier; 3],
    /// The latest tick: time does not go back.
    now: u64,
}

impl Windows {
    /// With so many hours in the longest one.
    pub(super) fn new(retention_hours: u64) -> Self {
        let tiers =
            [Tier::new(1, 60, false), Tier::new(60, 60, false), Tier::new(900, 4 * retention_hours, true)];
        Self { tiers, now: 0 }
    }

    /// Bytes that one may come to.
    pub(super) const fn bytes(retention_hours: u64) -> u64 {
        2 * Tier::bytes_at_most(60, CELLS) + Tier::bytes_at_most(4 * retention_hours, COARSE_CELLS)
    }

    /// Bytes that it takes now.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.tiers.iter().map(Tier::bytes).sum()
    }

    /// Takes up what was recorded since the last tick. `now` in nanoseconds since the monitor's start.
    pub(super) fn tick(&mut self, now: u64, delta: &Delta<'_>) {
        self.now = self.now.max(now);
        for tier in &mut self.tiers {
            tier.add(delta);
            tier.turn(self.now);
        }
    }

    /// Everything starts anew.
    pub(super) fn reset(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.tiers.iter_mut().for_each(|tier| tier.reset(self.now));
    }

    fn tier(&self, span: Span) -> &Tier {
        let [minute, hour, day] = &self.tiers;
        match span {
            Span::Minute => minute,
            Span::Hour => hour,
            Span::Day => day,
        }
    }

    /// A window's figures, as of the last tick. `most` is the largest value since the last reset; `wall` gives the time of
    /// day at so many nanoseconds after the monitor's start.
    pub(super) fn window(&self, span: Span, most: u64, wall: &dyn Fn(u64) -> u64) -> WindowStats {
        let tier = self.tier(span);
        let cells = || tier.rolling.iter().enumerate().map(|(index, cell)| (tier.upper_bound(index), *cell));
        let Summary { count, maximum, overflows } = summary(cells(), known(most));
        let [p50, p90, p95, p99, p999] = percentiles(cells(), count, known(most), [500, 900, 950, 990, 999]);
        let Counts { sum, errors, slow, bytes } = tier.rolling_counts;
        let (start, span_nanoseconds) = (tier.start(), self.now.saturating_sub(tier.start()));
        let share = |part: u64| (count > 0).then(|| (part as f64 / count as f64).min(1.0));
        let seconds = span_nanoseconds as f64 / SECOND as f64;
        WindowStats {
            start_milliseconds: wall(start),
            end_milliseconds: wall(self.now),
            span_nanoseconds,
            count,
            errors,
            error_rate: share(errors),
            slow,
            slow_rate: share(slow),
            bytes,
            throughput_per_second: if span_nanoseconds > 0 { count as f64 / seconds } else { 0.0 },
            total_nanoseconds: sum,
            average: sum.checked_div(count),
            maximum,
            p50,
            p90,
            p95,
            p99,
            p999,
            overflows,
        }
    }

    /// A window's slots, oldest first, the open one last.
    pub(super) fn slots(&self, span: Span, most: u64, wall: &dyn Fn(u64) -> u64) -> Vec<SlotStats> {
        let tier = self.tier(span);
        let open = tier.open.iter().enumerate().filter(|(_, count)| **count > 0);
        let open = Slot {
            start: tier.opened,
            end: self.now,
            counts: tier.open_counts,
            cells: open.map(|(index, count)| (index as u16, *count)).collect(),
        };
        let slots = tier.slots.iter().chain([&open]);
        slots.map(|slot| slot_stats(tier, slot, known(most), wall)).collect()
    }
}

/// The largest value, where it is not known at least the bound of what is.
fn known(most: u64) -> u64 {
    if most == 0 { OVERFLOW_NANOSECONDS } else { most }
}

fn slot_stats(tier: &Tier, slot: &Slot, most: u64, wall: &dyn Fn(u64) -> u64) -> SlotStats {
    let cells = || slot.cells.iter().map(|(index, count)| (tier.upper_bound(usize::from(*index)), *count));
    let Summary { count, maximum, .. } = summary(cells(), most);
    let [p50, p95, p99] = percentiles(cells(), count, most, [500, 950, 990]);
    let Counts { sum, errors, slow, bytes } = slot.counts;
    SlotStats {
        start_milliseconds: wall(slot.start),
        end_milliseconds: wall(slot.end),
        count,
        errors,
        slow,
        bytes,
        average: sum.checked_div(count),
        p50,
        p95,
        p99,
        maximum,
    }
}

#[cfg(test)]
mod tests;
