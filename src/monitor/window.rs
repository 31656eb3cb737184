//! The last minute, hour and day of one series of latencies: exact counts between two moments, in bounded memory. The
//! collector feeds windows with differences of counts that only grow, so nothing is lost or counted twice, however
//! late a tick comes. All readers of window figures read from here.
//!
//! | tier | slots |
//! |---|---|
//! | minute | 60 of a second |
//! | hour | 60 of a minute |
//! | day | 4 per hour of `stats_retention_hours` |
//!
//! A slot has the 1,025 cells of a histogram, so all windows state percentiles equally well. A closed slot's cells have
//! 32 bits; a remainder that does not fit is carried into the next slot.

mod figures;
#[cfg(test)]
mod model;
mod tally;
#[cfg(test)]
mod tests;
mod tier;

#[cfg(feature = "interval-log")]
pub(super) use figures::WindowCells;
pub use figures::{SlotStats, WindowStats};
pub(crate) use tally::Delta;

use super::slots::{Span, WindowTime};
use tier::WindowTier;

/// The windows of one series. They have no thread, clock or lock of their own; the owner provides these.
#[derive(Debug)]
pub(crate) struct Windows {
    minute: WindowTier,
    hour: WindowTier,
    day: WindowTier,
}

impl Windows {
    /// Bytes of one series' windows. They never take more: 938 KiB for 24 hours. Most pages of an idle series are
    /// never touched.
    pub(crate) const fn bytes(retention_hours: u64) -> usize {
        size_of::<Self>()
            + WindowTier::bytes(Span::Minute.shape(retention_hours))
            + WindowTier::bytes(Span::Hour.shape(retention_hours))
            + WindowTier::bytes(Span::Day.shape(retention_hours))
    }

    /// Creates empty windows that begin at `now`, in nanoseconds since the monitor was created.
    pub(crate) fn new(retention_hours: u64, now: u64) -> Self {
        let tier = |span: Span| WindowTier::new(span.shape(retention_hours), now);
        Self { minute: tier(Span::Minute), hour: tier(Span::Hour), day: tier(Span::Day) }
    }

    /// Adds what has been recorded since the last tick. A time before the last one counts as the last one.
    pub(crate) fn tick(&mut self, now: u64, delta: &Delta<'_>) {
        let (used, tally) = (delta.used(), delta.tally());
        for tier in [&mut self.minute, &mut self.hour, &mut self.day] {
            tier.tick(now, delta, &used, tally);
        }
    }

    /// Empties all windows; they begin again at `now`. What has been recorded since the last tick counts as after the
    /// reset, unless the caller ticks first.
    pub(crate) fn reset(&mut self, now: u64) {
        for tier in [&mut self.minute, &mut self.hour, &mut self.day] {
            tier.reset(now);
        }
    }

    /// Returns the figures of one window. `maximum` is the series' largest value since the last reset, in
    /// nanoseconds. It is exact, unlike the cells.
    pub(crate) fn window(&self, span: Span, moment: WindowTime, maximum: u64) -> WindowStats {
        self.tier(span).window(moment, maximum)
    }

    /// Returns a window slot by slot, oldest first. The last slot may still be open.
    pub(crate) fn slots(
        &self,
        span: Span,
        moment: WindowTime,
        maximum: u64,
    ) -> impl Iterator<Item = SlotStats> {
        self.tier(span).slots(moment, maximum)
    }

    /// The counts of a window slot by slot, oldest first.
    #[cfg(feature = "interval-log")]
    pub(super) fn cells(&self, span: Span, moment: WindowTime) -> Vec<WindowCells> {
        self.tier(span).cells(moment)
    }

    fn tier(&self, span: Span) -> &WindowTier {
        match span {
            Span::Minute => &self.minute,
            Span::Hour => &self.hour,
            Span::Day => &self.day,
        }
    }
}
