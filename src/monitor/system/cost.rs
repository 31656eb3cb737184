//! The cost of the monitor itself: processor time and duration of each tick, measured in the thread that does the
//! work.

use super::figures::CostStats;
use crate::sync::os::thread_cpu_nanoseconds;
use std::time::Instant;

/// A tick in progress. It must end on the thread on which it began.
#[derive(Debug)]
pub(crate) struct Tick {
    at: Instant,
    cpu_nanoseconds: u64,
}

impl Tick {
    pub(crate) fn begin() -> Self {
        Self { at: Instant::now(), cpu_nanoseconds: thread_cpu_nanoseconds() }
    }
}

impl CostStats {
    /// Adds the processor time since `tick` began.
    pub(crate) fn spend(&mut self, tick: &Tick) {
        self.cpu_nanoseconds += thread_cpu_nanoseconds().saturating_sub(tick.cpu_nanoseconds);
    }

    /// Ends a tick: adds its processor time and duration, and stores `bytes`, the memory that the monitor holds.
    pub(crate) fn end(&mut self, tick: &Tick, bytes: u64) {
        self.spend(tick);
        let took = u64::try_from(tick.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.bytes = bytes;
        self.ticks += 1;
        self.collect_nanoseconds_last = took;
        self.collect_nanoseconds_maximum = self.collect_nanoseconds_maximum.max(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tick_adds_what_it_took_and_nothing_between_them() {
        let mut cost = CostStats::default();
        let whole = thread_cpu_nanoseconds();
        let long = Tick::begin();
        while thread_cpu_nanoseconds() - long.cpu_nanoseconds < 20_000_000 {}
        cost.end(&long, 100);
        assert!(cost.cpu_nanoseconds >= 20_000_000 && cost.collect_nanoseconds_last >= 20_000_000);
        let (after_long, longest) = (cost.cpu_nanoseconds, cost.collect_nanoseconds_maximum);
        let between = thread_cpu_nanoseconds();
        while thread_cpu_nanoseconds() - between < 20_000_000 {}
        let short = Tick::begin();
        cost.end(&short, 70);
        let whole = thread_cpu_nanoseconds() - whole;
        assert!(cost.cpu_nanoseconds >= after_long && cost.cpu_nanoseconds <= whole - 20_000_000);
        assert_eq!(cost.collect_nanoseconds_maximum, longest.max(cost.collect_nanoseconds_last));
        assert_eq!((cost.ticks, cost.bytes), (2, 70));
    }
}
