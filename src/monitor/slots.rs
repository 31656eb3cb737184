//! Time slots: when the open slot closes, and which closed slots belong to a window. `window` and `history` define
//! the contents. Slots are given the time and never read a clock.
//!
//! Slots close on a grid that starts with the monitor, at the first tick at or after each grid line. Counting from a
//! slot's own start would be wrong: a tick that is a microsecond less late than the previous one would keep the slot
//! open for a whole further tick, and every other one-second slot would span two seconds.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// How far back figures reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Span {
    /// The last 60 seconds, in slots of a second.
    Minute,
    /// The last 60 minutes, in slots of a minute.
    Hour,
    /// The last `stats_retention_hours`, in slots of a quarter of an hour.
    Day,
}

/// Length and number of slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Length of a slot, in nanoseconds.
    pub(super) length: u64,
    /// Number of slots in a window.
    pub(super) slots: usize,
}

impl Span {
    /// `retention_hours` is the length of `Day`; 0 counts as 1.
    pub(super) const fn shape(self, retention_hours: u64) -> Shape {
        match self {
            Self::Minute => Shape { length: SECOND, slots: 60 },
            Self::Hour => Shape { length: 60 * SECOND, slots: 60 },
            Self::Day => {
                let hours = if retention_hours == 0 { 1 } else { retention_hours };
                Shape { length: 15 * 60 * SECOND, slots: hours as usize * 4 }
            }
        }
    }
}

/// The moment of a reading, and the conversion from monotonic to wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowTime {
    /// Monotonic nanoseconds since the monitor was created.
    pub(crate) now: u64,
    /// The wall time at which the monitor was created, in milliseconds since 1970.
    pub(crate) origin_milliseconds: u64,
}

impl WindowTime {
    /// Converts a monotonic time to wall time, in milliseconds since 1970.
    pub(super) fn wall(self, nanoseconds: u64) -> u64 {
        self.origin_milliseconds.saturating_add(nanoseconds / 1_000_000)
    }
}

/// A closed slot.
#[derive(Clone, Debug)]
pub(super) struct TimeSlot<T> {
    pub(super) start: u64,
    /// Exclusive.
    pub(super) end: u64,
    pub(super) value: T,
}

/// The slots of one tier: the closed ones, oldest first, and the opening time of the open one.
#[derive(Debug)]
pub(super) struct Slots<T> {
    shape: Shape,
    /// The latest time given.
    now: u64,
    opened: u64,
    closed: VecDeque<TimeSlot<T>>,
    /// Place of the oldest slot. A slot keeps its place, so that the owner can store more data of the slot elsewhere.
    first: usize,
}

impl<T> Slots<T> {
    /// Bytes that are allocated.
    pub(super) const fn bytes(shape: Shape) -> usize {
        shape.slots * size_of::<TimeSlot<T>>()
    }

    pub(super) fn new(shape: Shape, now: u64) -> Self {
        Self { shape, now, opened: now, closed: VecDeque::with_capacity(shape.slots), first: 0 }
    }

    /// Moves the time forward. An earlier time is ignored.
    pub(super) fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// The latest time given.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// When the open slot was opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// The grid lines around the opening of the open slot: the line at or before it, and the line after it.
    pub(super) fn grid(&self) -> (u64, u64) {
        let before = self.opened - self.opened % self.shape.length;
        (before, before.saturating_add(self.shape.length))
    }

    /// Whether the open slot must close now.
    pub(super) fn is_due(&self) -> bool {
        self.now > self.opened && self.now >= self.grid().1
    }

    /// Whether a slot that ends at `end` has left the window at `now`.
    pub(super) fn is_over(&self, end: u64, now: u64) -> bool {
        let window = self.shape.length.saturating_mul(self.shape.slots as u64);
        end.checked_add(window).is_some_and(|over| over <= now)
    }

    /// Removes the oldest slot if it has left the window, or if its place is needed for the slot that is due. Returns
    /// the slot and its place.
    pub(super) fn leave(&mut self) -> Option<(usize, TimeSlot<T>)> {
        let oldest = self.closed.front()?;
        let is_needed = self.is_due() && self.closed.len() >= self.shape.slots;
        if !is_needed && !self.is_over(oldest.end, self.now) {
            return None;
        }
        let place = self.first;
        self.first = (place + 1) % self.shape.slots;
        self.closed.pop_front().map(|slot| (place, slot))
    }

    /// The place that the open slot will get. It must be free; [`leave`](Self::leave) frees it.
    pub(super) fn next_place(&self) -> usize {
        (self.first + self.closed.len()) % self.shape.slots
    }

    /// Closes the open slot. The next slot opens at the present time.
    pub(super) fn close(&mut self, start: u64, end: u64, value: T) {
        self.closed.push_back(TimeSlot { start, end, value });
        self.reopen();
    }

    /// Moves the opening of the open slot to the present time.
    pub(super) fn reopen(&mut self) {
        self.opened = self.now;
    }

    /// Removes all slots.
    pub(super) fn reset(&mut self, now: u64) {
        self.advance(now);
        self.closed.clear();
        self.first = 0;
        self.reopen();
    }

    /// All closed slots with their places, oldest first.
    fn all(&self) -> impl Iterator<Item = (usize, &TimeSlot<T>)> {
        let places = (0..self.shape.slots).cycle().skip(self.first);
        places.zip(&self.closed)
    }

    /// The slots that have left the window at `now`.
    pub(super) fn over(&self, now: u64) -> impl Iterator<Item = (usize, &TimeSlot<T>)> {
        self.all().take_while(move |(_, slot)| self.is_over(slot.end, now))
    }

    /// The slots that belong to the window at `now`.
    pub(super) fn current(&self, now: u64) -> impl Iterator<Item = (usize, &TimeSlot<T>)> {
        self.all().skip_while(move |(_, slot)| self.is_over(slot.end, now))
    }

    /// Bytes that are allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.closed.capacity() * size_of::<TimeSlot<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { length: 10, slots: 3 };

    /// Ticks at `now`. Returns the freed places, and whether a slot closed.
    fn tick(slots: &mut Slots<u64>, now: u64) -> (Vec<usize>, bool) {
        slots.advance(now);
        let left = std::iter::from_fn(|| slots.leave()).map(|(place, _)| place).collect();
        let is_due = slots.is_due();
        if is_due {
            slots.close(slots.opened(), slots.now(), now);
        }
        (left, is_due)
    }

    fn edges(slots: &Slots<u64>, now: u64) -> Vec<(usize, u64, u64)> {
        slots.current(now).map(|(place, slot)| (place, slot.start, slot.end)).collect()
    }

    #[test]
    fn slots_close_on_the_grid_however_late_ticks_are() {
        let mut slots = Slots::new(SHAPE, 0);
        // Each tick is a little less late than the one before; each closes one slot.
        for (now, is_due) in [(5, false), (14, true), (23, true), (29, false), (30, true)] {
            assert_eq!(tick(&mut slots, now), (vec![], is_due), "{now}");
        }
        assert_eq!(edges(&slots, 30), [(0, 0, 14), (1, 14, 23), (2, 23, 30)]);
        // The first slot leaves only at 44, but its place is needed.
        assert_eq!(tick(&mut slots, 40), (vec![0], true));
        assert_eq!(edges(&slots, 40), [(1, 14, 23), (2, 23, 30), (0, 30, 40)]);
    }

    #[test]
    fn a_slot_is_over_when_its_end_is_a_window_ago() {
        let mut slots = Slots::new(SHAPE, 0);
        tick(&mut slots, 10);
        tick(&mut slots, 20);
        assert_eq!((edges(&slots, 39).len(), edges(&slots, 40).len(), slots.over(40).count()), (2, 1, 1));
        assert_eq!(tick(&mut slots, 39), (vec![], true));
        assert_eq!(tick(&mut slots, 40), (vec![0], true));
        // A jump: one slot spans all of it, and all others leave.
        assert_eq!(tick(&mut slots, 1_000), (vec![1, 2, 0], true));
        assert_eq!(edges(&slots, 1_000), [(1, 40, 1_000)]);
    }

    #[test]
    fn time_that_stands_or_goes_back_or_ends_closes_nothing() {
        let mut slots = Slots::new(SHAPE, 0);
        assert!(tick(&mut slots, 25).1);
        assert!(!tick(&mut slots, 25).1 && !tick(&mut slots, 3).1);
        assert_eq!((slots.now(), slots.opened()), (25, 25));
        assert!(tick(&mut slots, u64::MAX).1 && !tick(&mut slots, u64::MAX).1);
        assert_eq!(edges(&slots, u64::MAX).len(), 1);
    }
}
