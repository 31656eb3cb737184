//! Time as the data path sees it: raw ticks, read once per message, turned into nanoseconds where they are
//! recorded. The cycle counter where the machine has an invariant one; a hand-driven clock in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a clock's ticks come from; written into every ring's header, so that other languages stamp alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u64)]
pub enum StampSource {
    /// Nanoseconds of the system's monotonic clock (`CLOCK_MONOTONIC`).
    Monotonic = 0,
    /// The processor's time stamp counter (x86-64), or its system counter (aarch64).
    CycleCounter = 1,
}

/// A source of ticks. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    Counter(quanta::Clock),
    /// Ticks are nanoseconds that a test sets. Standard atomics on purpose: time is not part of any model.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's best clock. The first call in a process calibrates it, which takes some milliseconds.
    pub fn new() -> Self {
        Self(ClockSource::Counter(quanta::Clock::new()))
    }

    /// A clock that stands still until [`ManualClock::advance`].
    pub fn manual() -> (Self, ManualClock) {
        let ticks = Arc::new(AtomicU64::new(1));
        (Self(ClockSource::Manual(Arc::clone(&ticks))), ManualClock(ticks))
    }

    /// Now, in raw ticks.
    #[inline(always)]
    pub fn raw(&self) -> u64 {
        match &self.0 {
            ClockSource::Counter(clock) => clock.raw(),
            ClockSource::Manual(ticks) => ticks.load(Relaxed), // Relaxed: nothing is published through a test's clock.
        }
    }

    /// Nanoseconds from one reading to a later one; 0 where `later` is not later.
    #[inline(always)]
    pub fn nanoseconds(&self, earlier: u64, later: u64) -> u64 {
        match &self.0 {
            ClockSource::Counter(clock) => clock.delta_as_nanos(earlier, later),
            ClockSource::Manual(_) => later.saturating_sub(earlier),
        }
    }

    /// Time of day, in milliseconds since 1970: for people, never for durations. A clock driven by hand starts there.
    pub fn wall_milliseconds(&self) -> u64 {
        match &self.0 {
            ClockSource::Counter(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
            }
            ClockSource::Manual(ticks) => ticks.load(Relaxed) / 1_000_000, // Relaxed: as in `raw`.
        }
    }

    /// The ticks in a span of time, for comparisons that need no conversion per message.
    pub fn ticks(&self, span: Duration) -> u64 {
        let nanoseconds = span.as_nanos().min(u128::from(u64::MAX / 4)) as u64;
        // The inverse of `nanoseconds`, to within its calibration: nanoseconds in 2^32 ticks.
        let per_tick = self.nanoseconds(0, 1 << 32);
        ((u128::from(nanoseconds) << 32) / u128::from(per_tick.max(1))).min(u128::from(u64::MAX)) as u64
    }

    /// Where the ticks come from.
    pub fn source(&self) -> StampSource {
        // Asked of the readings themselves: the clock's library does not tell which source it chose.
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if let ClockSource::Counter(clock) = &self.0 {
            let before = crate::sync::os::cycle_counter();
            let reading = clock.raw();
            if before <= reading && reading <= crate::sync::os::cycle_counter() {
                return StampSource::CycleCounter;
            }
        }
        StampSource::Monotonic
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Drives a clock made by [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves the clock on.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_nanos() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_nanoseconds_are_inverse() {
        for clock in [Clock::new(), Clock::manual().0] {
            let ticks = clock.ticks(Duration::from_secs(5));
            let back = clock.nanoseconds(0, ticks);
            assert!(back.abs_diff(5_000_000_000) < 5_000, "{back}");
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let clock = Clock::new();
        let start = clock.raw();
        assert_eq!(clock.nanoseconds(start + 1_000_000, start), 0);
        assert!(clock.raw() >= start);
    }
}
