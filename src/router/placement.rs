//! Which worker a client's messages go to. `hash` and `least_loaded` keep order: a client moves, for whatever cause, only
//! when it is quiet (`ClientSlot::is_quiet`). `round_robin` places each message by itself and keeps no order.
//!
//! For the quiet test each worker publishes a frontier per port: the newest batch such that no delivery to that port of
//! this or any earlier batch is in a ring or backlog; `ALL` where there is none of any batch. It is advanced at the
//! end of each cycle, an idle one too, from what the port has given back: one mark per port, however much is under way.

use crate::config::{Balance, Config, Key};
use crate::ring::Producer;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, mutant, ordering};
use crossbeam_utils::CachePadded;

/// Every batch.
pub(crate) const ALL: u64 = u64::MAX;

/// Which workers may be chosen. Read per message, written seldom: each of the two words by read-modify-write or under the
/// control lock.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) balance: Balance,
    workers: usize,
    /// Workers below this are active. Written under the control lock.
    active: CachePadded<AtomicU64>,
    /// A bit for each worker whose present message takes too long.
    stalled: AtomicU64,
    /// A bit for each worker that has ended without a stop. Written under the control lock.
    lost: AtomicU64,
}

impl Placement {
    pub(crate) fn new(config: &Config, workers: usize) -> Self {
        let active = config.get(Key::ActiveWorkers);
        let active = if active == 0 { workers as u64 } else { active.min(workers as u64) };
        Self {
            balance: config.balance(),
            workers,
            active: CachePadded::new(AtomicU64::new(active)),
            stalled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// How many workers are active.
    #[inline(always)]
    pub(crate) fn active(&self) -> usize {
        self.active.load(Relaxed) as usize // Relaxed: a port that reads it late places a few more as before.
    }

    pub(crate) fn set_active(&self, workers: usize) {
        self.active.store(workers as u64, Relaxed); // Relaxed: as in `active`.
    }

    /// Says that a worker's present message takes too long, or no longer: nobody new is placed there meanwhile.
    pub(crate) fn set_stalled(&self, worker: usize, stalled: bool) {
        // Relaxed: as in `active`.
        if stalled {
            self.stalled.fetch_or(1 << worker, Relaxed);
        } else {
            self.stalled.fetch_and(!(1 << worker), Relaxed);
        }
    }

    /// Says that a worker has ended without a stop: nothing is placed there any more.
    pub(crate) fn set_lost(&self, worker: usize) {
        self.lost.fetch_or(1 << worker, Release); // Release: the worker emits nothing more; pairs with `is_lost`.
    }

    #[inline(always)]
    pub(crate) fn is_lost(&self, worker: usize) -> bool {
        self.lost.load(Acquire) & 1 << worker != 0 // Acquire: its frontiers are as it left them; pairs with `set_lost`.
    }

    /// The workers to choose from, a bit each: the active ones that are not stalled; all active ones where every one is. Of
    /// those that are lost none, as long as there is any other.
    #[inline(always)]
    pub(crate) fn usable(&self) -> u64 {
        let all = |workers: usize| u64::MAX >> (64 - workers.clamp(1, 64));
        let (active, lost) = (all(self.active()), self.lost.load(Relaxed)); // Relaxed: as in `active`.
        let usable = active & !(self.stalled.load(Relaxed) | lost); // Relaxed: as in `active`.
        if usable != 0 {
            return usable;
        }
        let others = [active & !lost, all(self.workers) & !lost];
        others.into_iter().find(|usable| *usable != 0).unwrap_or(active)
    }

    /// The worker that `hash` names: the same as long as the usable workers stay the same. Who is on a worker that
    /// stalls goes to another; the rest stay.
    #[inline]
    pub(crate) fn by_hash(&self, hash: u16) -> usize {
        let (usable, active) = (self.usable(), self.active().max(1));
        let (first, rest) = (usize::from(hash) % active, usize::from(hash) / active);
        if usable & 1 << first != 0 {
            return first;
        }
        let mut left = usable;
        for _ in 0..rest % usable.count_ones().max(1) as usize {
            left &= left - 1;
        }
        left.trailing_zeros() as usize
    }

    /// The next usable worker after `last`.
    #[inline]
    pub(crate) fn after(&self, last: usize) -> usize {
        let usable = self.usable();
        let above = if last >= 63 { 0 } else { usable & (u64::MAX << (last + 1)) };
        (if above == 0 { usable } else { above }).trailing_zeros() as usize
    }

    /// The usable worker with the least load; of several, the first from `first` on.
    #[inline]
    pub(crate) fn least(&self, first: usize, load: impl Fn(usize) -> u64) -> usize {
        let usable = self.usable();
        let places = (0..self.workers).map(|offset| (first + offset) % self.workers);
        places.filter(|worker| usable & 1 << worker != 0).min_by_key(|worker| load(*worker)).unwrap_or(first)
    }
}

/// A worker's frontiers, one per port.
pub(crate) fn frontiers(ports: usize) -> Box<[CachePadded<AtomicU64>]> {
    (0..ports).map(|_| CachePadded::new(AtomicU64::new(ALL))).collect()
}

/// How far a port has consumed what one worker emitted to it: the worker's side of one frontier.
#[derive(Debug)]
pub(crate) struct Frontier {
    /// The published value is [`ALL`].
    caught_up: bool,
    mark: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    batch: u64,
    /// Records emitted when the batch was complete, those in the backlog included.
    emitted: u64,
    /// Where the ring's tail was when they were all in it.
    position: Option<u64>,
}

impl Frontier {
    pub(crate) fn new() -> Self {
        Self { caught_up: true, mark: None }
    }

    /// A delivery has been emitted in `batch`. Before the message that caused it is finished.
    #[inline]
    pub(crate) fn emitted(&mut self, batch: u64, published: &AtomicU64) {
        if self.caught_up && !mutant("frontier-not-lowered") {
            self.caught_up = false;
            published.store(batch - 1, Relaxed); // Relaxed: `ClientSlot::finish` publishes it.
        }
    }

    /// At the end of a cycle: everything of `batch` has been emitted. `backlogged` records are not in the ring yet.
    pub(crate) fn advance(&mut self, batch: u64, ring: &Producer, backlogged: u64, published: &AtomicU64) {
        if self.caught_up {
            return;
        }
        let behind = if mutant("frontier-without-backlog") { 0 } else { backlogged };
        let emitted = ring.pushed() + behind;
        let mark = self.mark.get_or_insert(Mark { batch, emitted, position: None });
        if mark.position.is_none() && ring.pushed() >= mark.emitted {
            mark.position = Some(ring.position());
        }
        let consumed = |position| ring.consumed() >= position || mutant("frontier-before-consumed");
        if !mark.position.is_some_and(consumed) {
            return;
        }
        // Release: what the port did with these deliveries comes with it; pairs with the Acquire in `ClientSlot::is_quiet`.
        let order = ordering("frontier-relaxed", Release, Relaxed);
        self.caught_up = mark.emitted == emitted;
        published.store(if self.caught_up { ALL } else { mark.batch }, order);
        self.mark = (!self.caught_up).then_some(Mark { batch, emitted, position: None });
    }

    /// The worker leaves, and has published what it emitted. What of it the port has not consumed is still under way: whose
    /// messages caused it must not move yet. From here on the port says when it is consumed, by [`end`](Self::end).
    pub(crate) fn leave(&mut self, ring: &Producer, published: &AtomicU64) {
        if ring.consumed() >= ring.position() || mutant("frontier-ends-at-leave") {
            Self::end(published);
        }
    }

    /// Nothing that the worker has emitted is under way any more. By the worker, or once it has left by the port.
    pub(crate) fn end(published: &AtomicU64) {
        published.store(ALL, Release); // Release: as in `advance`.
    }

    /// Whether anything emitted is not consumed yet, as far as is known.
    pub(crate) fn is_behind(&self) -> bool {
        !self.caught_up
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn placement(active: usize) -> Placement {
        let placement = Placement::new(&Config::default(), 4);
        placement.set_active(active);
        placement
    }

    #[test]
    fn a_stalled_worker_loses_its_own_and_nobody_else_moves() {
        let placement = placement(4);
        let before: Vec<_> = (0..=u16::MAX).map(|hash| placement.by_hash(hash)).collect();
        placement.set_stalled(2, true);
        let mut counts = [0; 4];
        for (hash, before) in before.iter().enumerate() {
            let now = placement.by_hash(hash as u16);
            assert!(now == *before || *before == 2, "{hash}");
            counts[now] += 1;
        }
        assert_eq!(counts[2], 0);
        assert!(counts.iter().all(|count| *count == 0 || *count > 20_000), "{counts:?}");
        placement.set_stalled(2, false);
        assert!(before.iter().enumerate().all(|(hash, one)| placement.by_hash(hash as u16) == *one));
    }

    #[test]
    fn only_usable_workers_are_chosen_unless_there_is_none() {
        let placement = placement(3);
        assert_eq!((placement.after(0), placement.after(1), placement.after(2)), (1, 2, 0));
        placement.set_stalled(1, true);
        assert_eq!((placement.after(0), placement.after(2), placement.after(63)), (2, 0, 0));
        assert_eq!(placement.least(1, |worker| [5, 0, 4, 0][worker]), 2);
        assert_eq!(placement.least(1, |_| 7), 2, "the first from the given one on");
        placement.set_active(1);
        placement.set_stalled(0, true);
        assert_eq!((placement.usable(), placement.by_hash(77)), (1, 0), "every active one is stalled");
    }
}
