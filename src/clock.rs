//! Time on the data path: raw ticks, read once per message and converted to nanoseconds where they are recorded. The
//! ticks come from the cycle counter if the machine has an invariant one. Tests use a clock that they advance by
//! hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The source of a clock's ticks. Every ring's header contains it, so that other languages use the same stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u64)]
pub enum StampSource {
    /// Nanoseconds of the system's monotonic clock (`CLOCK_MONOTONIC`).
    Monotonic = 0,
    /// The processor's time stamp counter (x86-64) or system counter (aarch64).
    CycleCounter = 1,
}

/// A moment, as a clock reads it: raw ticks, which only the clock that made the stamp can convert. Stamps of one clock
/// are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Stamp(pub u64);

/// A source of ticks. Cheap to clone; all clones return the same time.
///
/// ```
/// use corelane::clock::Clock;
/// use std::time::Duration;
///
/// let (clock, hand) = Clock::manual(); // For tests; `Clock::new` is the machine's.
/// let begin = clock.now();
/// hand.advance(Duration::from_millis(3));
/// assert_eq!(clock.between(begin, clock.now()), Duration::from_millis(3));
/// ```
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    Counter(quanta::Clock),
    /// Ticks are nanoseconds that a test sets. Uses the standard library's atomics, because time is not part of any
    /// model.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Creates the machine's best clock. The first call in a process calibrates it, which takes some milliseconds.
    pub fn new() -> Self {
        Self(ClockSource::Counter(quanta::Clock::new()))
    }

    /// Creates a clock that stands still until [`ManualClock::advance`].
    pub fn manual() -> (Self, ManualClock) {
        let ticks = Arc::new(AtomicU64::new(1));
        (Self(ClockSource::Manual(Arc::clone(&ticks))), ManualClock(ticks))
    }

    /// The current time.
    #[inline(always)]
    pub fn now(&self) -> Stamp {
        Stamp(self.raw())
    }

    /// The time from one stamp to a later one; zero if `later` is not later.
    pub fn between(&self, earlier: Stamp, later: Stamp) -> Duration {
        Duration::from_nanos(self.nanoseconds(earlier.0, later.0))
    }

    /// The current time, in raw ticks.
    #[inline(always)]
    pub(crate) fn raw(&self) -> u64 {
        match &self.0 {
            ClockSource::Counter(clock) => clock.raw(),
            ClockSource::Manual(ticks) => ticks.load(Relaxed), // Relaxed: a test's clock publishes nothing.
        }
    }

    /// Nanoseconds from one reading to a later one; 0 if `later` is not later.
    #[inline(always)]
    pub(crate) fn nanoseconds(&self, earlier: u64, later: u64) -> u64 {
        match &self.0 {
            ClockSource::Counter(clock) => clock.delta_as_nanos(earlier, later),
            ClockSource::Manual(_) => later.saturating_sub(earlier),
        }
    }

    /// Time of day, in milliseconds since 1970. For display, never for durations. A manual clock starts at 1970.
    pub fn wall_milliseconds(&self) -> u64 {
        match &self.0 {
            ClockSource::Counter(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
            }
            ClockSource::Manual(ticks) => ticks.load(Relaxed) / 1_000_000, // Relaxed: as in `raw`.
        }
    }

    /// The number of ticks in a time span, for comparisons that need no conversion per message.
    pub(crate) fn ticks(&self, span: Duration) -> u64 {
        let nanoseconds = span.as_nanos().min(u128::from(u64::MAX / 4)) as u64;
        // The inverse of `nanoseconds`, within the accuracy of the calibration: nanoseconds in 2^32 ticks.
        let per_tick = self.nanoseconds(0, 1 << 32);
        ((u128::from(nanoseconds) << 32) / u128::from(per_tick.max(1))).min(u128::from(u64::MAX)) as u64
    }

    /// The source of the ticks.
    pub fn source(&self) -> StampSource {
        // Determined from the readings, because the clock library does not report which source it chose.
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

/// Advances a clock made by [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Advances the clock by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_nanos() as u64, Relaxed);
    }
}

/// The nanoseconds of a time span; the largest number if they are more.
#[inline(always)]
pub(crate) fn nanoseconds_of(span: Duration) -> u64 {
    if is_short(span) {
        span.as_secs() * 1_000_000_000 + u64::from(span.subsec_nanos())
    } else {
        span.as_nanos().min(u64::MAX.into()) as u64
    }
}

/// Whether a span is below 2^32 seconds (136 years), so that its nanoseconds are below 2^62.
#[inline(always)]
pub(crate) fn is_short(span: Duration) -> bool {
    span.as_secs() < 1 << 32
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
