//! The network: frames between incarnations of machines, in order per pair, unless the connection breaks.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub struct Net<F> {
    frames: BTreeMap<(Duration, u64), (u64, u64, F)>,
    count: u64,
    /// When the last frame of a pair arrives.
    last: BTreeMap<(u64, u64), Duration>,
    /// Machines that do not reach each other.
    cut: BTreeSet<(u64, u64)>,
    /// Per cent of the frames.
    pub lost: u64,
    /// The longest delay in milliseconds.
    pub delay: u64,
}

impl<F> Net<F> {
    pub fn new(lost: u64, delay: u64) -> Self {
        Self { frames: BTreeMap::new(), count: 0, last: BTreeMap::new(), cut: BTreeSet::new(), lost, delay }
    }

    pub fn send(&mut self, random: &mut Random, now: Duration, (from, to): (u64, u64), frame: F) {
        if self.cut.contains(&(from, to)) || random.chance(self.lost) {
            return;
        }
        let mut at = now + Duration::from_millis(random.below(self.delay + 1));
        let last = self.last.entry((from, to)).or_default();
        // A connection that was made again forgets what is before.
        if !random.chance(2) {
            at = at.max(*last);
        }
        *last = at;
        self.count += 1;
        self.frames.insert((at, self.count), (from, to, frame));
    }

    /// A frame arrives at this time, whatever happens.
    #[allow(dead_code, reason = "only `shipped` uses it")]
    pub fn put(&mut self, at: Duration, (from, to): (u64, u64), frame: F) {
        self.count += 1;
        self.frames.insert((at, self.count), (from, to, frame));
    }

    /// The connection of a machine was made again: what it sends may overtake what it has sent.
    #[allow(dead_code, reason = "only `shipped` uses it")]
    pub fn connect_again(&mut self, from: u64) {
        self.last.retain(|pair, _| pair.0 != from);
    }

    /// When the last frame of a machine arrives.
    #[allow(dead_code, reason = "only `shipped` uses it")]
    pub fn last_from(&self, from: u64) -> Duration {
        self.last.iter().filter(|pair| pair.0.0 == from).map(|pair| *pair.1).max().unwrap_or_default()
    }

    /// The next frame that has arrived.
    pub fn next(&mut self, now: Duration) -> Option<(u64, u64, F)> {
        let first = self.frames.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Cuts one direction, or both.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }
}
