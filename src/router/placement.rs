//! The choice of a client's worker. `hash` and `least_loaded` keep order: a client moves, for whatever reason,
//! only when it is quiet (`ClientSlot::is_quiet`). `round_robin` places each message separately and keeps no
//! order.
//!
//! For the test whether a client is quiet, each worker publishes a frontier per port: the newest batch for
//! which no delivery to that port of this or any earlier batch is in a ring or backlog, or `ALL` if there is
//! none of any batch. The worker advances the frontier at the end of each cycle, an idle one too, from what the
//! port has given back. One mark per port suffices, whatever is under way.
//!
//! Used by `port/submit` (chooses the worker, then `port/ingress` writes the message to its ring),
//! `worker/egress` and `worker/cycle` (advance the frontiers), and `shared`.

use crate::config::{Balance, Config, Key};
use crate::ring::Producer;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, mutant, ordering};
use crossbeam_utils::CachePadded;

/// Every batch.
pub(crate) const ALL: u64 = u64::MAX;

/// Which workers may be chosen. Read for each message and written seldom. Each word is written by
/// read-modify-write or under the control lock.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) balance: Balance,
    /// The number of workers that have threads of their own. They come first. Only they are chosen; the clients of a
    /// local worker are placed at their connect and stay.
    threaded: usize,
    /// Workers below this index are active. Written under the control lock.
    active: CachePadded<AtomicU64>,
    /// One bit per worker whose current message takes too long.
    stalled: AtomicU64,
    /// One bit per worker that has ended without a stop. Written under the control lock.
    lost: AtomicU64,
}

impl Placement {
    pub(crate) fn new(config: &Config, threaded: usize) -> Self {
        let active = config.get(Key::ActiveWorkers);
        let active = if active == 0 { threaded as u64 } else { active.min(threaded as u64) };
        Self {
            balance: config.router.balance,
            threaded,
            active: CachePadded::new(AtomicU64::new(active)),
            stalled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// How many workers have threads of their own.
    #[inline(always)]
    pub(crate) fn threaded(&self) -> usize {
        self.threaded
    }

    /// How many of them are active.
    #[inline(always)]
    pub(crate) fn active(&self) -> usize {
        // Relaxed: a port that reads it late places a few more messages as before.
        self.active.load(Relaxed) as usize
    }

    pub(crate) fn set_active(&self, workers: usize) {
        self.active.store(workers as u64, Relaxed); // Relaxed: as in `active`.
    }

    /// Sets or clears the mark that a worker's current message takes too long. While it is set, no new client
    /// is placed on the worker.
    pub(crate) fn set_stalled(&self, worker: usize, stalled: bool) {
        // Relaxed: as in `active`.
        if stalled {
            self.stalled.fetch_or(1 << worker, Relaxed);
        } else {
            self.stalled.fetch_and(!(1 << worker), Relaxed);
        }
    }

    /// Marks a worker as ended without a stop: nothing is placed on it any more.
    pub(crate) fn set_lost(&self, worker: usize) {
        // Release: publishes all that the worker has emitted; pairs with the Acquire in `is_lost`.
        self.lost.fetch_or(1 << worker, Release);
    }

    #[inline(always)]
    pub(crate) fn is_lost(&self, worker: usize) -> bool {
        // Acquire: its frontiers are final; pairs with the Release in `set_lost`.
        self.lost.load(Acquire) & 1 << worker != 0
    }

    /// The workers to choose from, one bit each: the active ones that are not stalled and not lost. If there is
    /// none, the active ones that are not lost; if there is none, all that are not lost; else all active ones. There
    /// must be a worker with a thread of its own.
    #[inline(always)]
    pub(crate) fn usable(&self) -> u64 {
        let all = |workers: usize| u64::MAX >> (64 - workers.clamp(1, 64));
        let (active, lost) = (all(self.active()), self.lost.load(Relaxed)); // Relaxed: as in `active`.
        let usable = active & !(self.stalled.load(Relaxed) | lost); // Relaxed: as in `active`.
        if usable != 0 {
            return usable;
        }
        let others = [active & !lost, all(self.threaded) & !lost];
        others.into_iter().find(|usable| *usable != 0).unwrap_or(active)
    }

    /// The part of a name's hash that [`by_hash`](Self::by_hash) takes: the upper 16 bits.
    pub(crate) fn hash_part(hash: u64) -> u16 {
        (hash >> 48) as u16
    }

    /// The worker for a hash. It stays the same as long as the usable workers stay the same. When a worker
    /// stalls, only its own clients get another worker.
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

    /// The usable worker with the least load; if several are equal, the first from `first` on.
    #[inline]
    pub(crate) fn least(&self, first: usize, load: impl Fn(usize) -> u64) -> usize {
        let usable = self.usable();
        let places = (0..self.threaded).map(|offset| (first + offset) % self.threaded);
        places.filter(|worker| usable & 1 << worker != 0).min_by_key(|worker| load(*worker)).unwrap_or(first)
    }
}

/// The published frontiers of a worker, one per port.
pub(crate) fn frontiers(ports: usize) -> Box<[CachePadded<AtomicU64>]> {
    (0..ports).map(|_| CachePadded::new(AtomicU64::new(ALL))).collect()
}

/// How far a port has consumed what one worker has emitted to it: the worker's side of one frontier.
#[derive(Debug)]
pub(crate) struct Frontier {
    /// The published value is [`ALL`].
    caught_up: bool,
    mark: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    batch: u64,
    /// The number of records emitted when the batch was complete, including the records in the backlog.
    emitted: u64,
    /// The ring's tail once all those records were in the ring.
    position: Option<u64>,
}

impl Frontier {
    pub(crate) fn new() -> Self {
        Self { caught_up: true, mark: None }
    }

    /// A delivery is emitted in `batch`. Called before the message that caused the delivery finishes.
    #[inline]
    pub(crate) fn emitted(&mut self, batch: u64, published: &AtomicU64) {
        if self.caught_up && !mutant("frontier-not-lowered") {
            self.caught_up = false;
            published.store(batch - 1, Relaxed); // Relaxed: `ClientSlot::finish` publishes it.
        }
    }

    /// Called at the end of a cycle, when everything of `batch` has been emitted. `backlogged` records are not
    /// in the ring yet.
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
        // Release: publishes what the port did with these deliveries; pairs with the Acquire in
        // `ClientSlot::is_quiet`.
        let order = ordering("frontier-relaxed", Release, Relaxed);
        self.caught_up = mark.emitted == emitted;
        published.store(if self.caught_up { ALL } else { mark.batch }, order);
        self.mark = (!self.caught_up).then_some(Mark { batch, emitted, position: None });
    }

    /// Called when the worker leaves, after it has published what it emitted. Deliveries that the port has not
    /// consumed are still under way, and the clients whose messages caused them must not move yet. From now on
    /// the port ends the frontier with [`end`](Self::end), once it has consumed everything.
    pub(crate) fn leave(&mut self, ring: &Producer, published: &AtomicU64) {
        if ring.consumed() >= ring.position() || mutant("frontier-ends-at-leave") {
            Self::end(published);
        }
    }

    /// Nothing that the worker has emitted is under way any more. Called by the worker, or by the port once the
    /// worker has left.
    pub(crate) fn end(published: &AtomicU64) {
        published.store(ALL, Release); // Release: as in `advance`.
    }

    /// Whether, as far as this side knows, something emitted is not consumed yet.
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
