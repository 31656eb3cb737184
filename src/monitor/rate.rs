//! The growth of a count in the last minute, from a few samples that are at least a second apart.

use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

#[derive(Debug, Default)]
pub(super) struct MinuteCount {
    /// Pairs of time and count; at most two per second.
    samples: VecDeque<(u64, u64)>,
    latest: (u64, u64),
}

impl MinuteCount {
    /// Records that the count is `count` at `now`.
    pub(super) fn sample(&mut self, now: u64, count: u64) {
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SECOND) {
            // Before a pause, keep the state at the pause's beginning.
            if self.samples.back().is_some_and(|last| *last != self.latest) {
                self.samples.push_back(self.latest);
            }
            self.samples.push_back((now, count));
        }
        self.latest = (now, count);
        // Keep one sample that is as old as the window, because the growth after it is inside the window.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= MINUTE) {
            self.samples.pop_front();
        }
    }

    /// Starts anew: earlier growth does not count.
    pub(super) fn reset(&mut self) {
        self.samples.clear();
        self.samples.push_back(self.latest);
    }

    /// Length of the measured span in nanoseconds: about a minute; less since the start or a reset, more if sampling
    /// paused.
    pub(super) fn span(&self) -> u64 {
        self.samples.front().map_or(0, |(at, _)| self.latest.0.saturating_sub(*at))
    }

    /// Growth since the sample that is a minute old, or since the first sample.
    pub(super) fn in_the_last_minute(&self) -> u64 {
        self.samples.front().map_or(0, |(_, then)| self.latest.1.saturating_sub(*then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_a_minute_however_often_it_is_sampled() {
        let mut count = MinuteCount::default();
        assert_eq!(count.in_the_last_minute(), 0);
        // Ten per second, sampled four times a second.
        for quarter in 0..1_000u64 {
            count.sample(quarter * SECOND / 4, quarter * 10 / 4);
        }
        assert!((600..=610).contains(&count.in_the_last_minute()), "{}", count.in_the_last_minute());
        assert!(count.samples.len() <= 124);
        count.sample(400 * SECOND, 2_500);
        assert_eq!((count.in_the_last_minute(), count.span()), (3, 150 * SECOND + SECOND / 4));
        count.sample(461 * SECOND, 2_500);
        assert_eq!(count.in_the_last_minute(), 0);
    }
}
