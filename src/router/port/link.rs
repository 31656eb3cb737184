//! State that the two halves of a port share without a lock. The submitting half notes where it found no room,
//! so that the polling half sleeps until there is room. A poll leaves work to the submitting half. Used by
//! `handle` (creates it), `ingress` and `submit` (one side) and `poll` (the other side).
//!
//! - `stalled_at` is written by the submitting half; the polling half clears a value once the head has moved.
//!   Release / Acquire, behind the fences of `park`.
//! - `left` is changed by both halves, by read-modify-write. AcqRel: a set bit publishes that the worker has
//!   left; a cleared bit publishes the results of settling.
//! - `waiting` is written by the submitting half, before `stalled_at`, and read by the polling half. Relaxed:
//!   `stalled_at` publishes it.

use crate::park::{WakeWord, after_publishing};
use crate::ring::{Memory, Producer};
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, AtomicU64, Relaxed, Release, mutant};

/// No refusal as full since the last push, or since the polling half saw room.
const NOT_STALLED: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct PortLink {
    wake: Arc<WakeWord>,
    /// The most records that may wait in one ring: `queue_messages`, or no limit besides the ring's bytes.
    pub(crate) queue_messages: u64,
    /// By worker.
    rings: Box<[Stall]>,
    /// One bit per worker that has left and is not settled.
    left: AtomicU64,
    /// Disconnects wait for room.
    waiting: AtomicBool,
}

/// Bytes per worker.
pub(crate) const PAIR_BYTES: u64 = size_of::<Stall>() as u64;

/// The stall state of one ring.
#[derive(Debug)]
struct Stall {
    ring: Arc<Memory>,
    /// The ring's head when something was refused as full, or [`NOT_STALLED`].
    stalled_at: AtomicU64,
}

impl PortLink {
    pub(crate) fn new(
        wake: Arc<WakeWord>,
        queue_messages: u64,
        rings: impl Iterator<Item = Arc<Memory>>,
    ) -> Self {
        let stall = |ring| Stall { ring, stalled_at: AtomicU64::new(NOT_STALLED) };
        let queue_messages = if queue_messages == 0 { u64::MAX } else { queue_messages };
        Self {
            wake,
            queue_messages,
            rings: rings.map(stall).collect(),
            left: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        }
    }

    pub(crate) fn wake(&self) -> &WakeWord {
        &self.wake
    }

    /// Called when the submitting half found no room in the ring to a worker, in bytes or in messages. Asks the
    /// worker to announce space, and the polling half to sleep until then. `head` is the ring's head at that
    /// moment. The caller has stored what the polling half must know about the refusal before this call.
    #[cold]
    pub(crate) fn stall(&self, worker: usize, producer: &mut Producer, head: u64) {
        let Some(stall) = self.rings.get(worker) else { return };
        let moved =
            |producer: &Producer| producer.memory().shared_head() != head || producer.memory().is_closed();
        // Relaxed: the refusal is noted already and the request still stands.
        let is_noted = stall.stalled_at.load(Relaxed) == head && producer.memory().needs_space();
        if (is_noted && !moved(producer)) || mutant("stall-not-noted") {
            return;
        }
        // Release: publishes what the caller stored about the refusal; pairs with the Acquire in `space_moved`.
        stall.stalled_at.swap(head, Release);
        producer.request_space();
        // Dekker-style: store, fence, load. The worker may have made room before it could see the request, and
        // the polling half may have gone to sleep before it could see the note.
        after_publishing(|| {
            if moved(producer) && !mutant("stall-without-look") {
                self.wake.wake_if_asleep();
            }
        });
    }

    /// Called when the submitting half has found a limit on messages reached: the next release of a ring with records in
    /// it is announced, as space. A worker ends a message before it releases the record, so a caller that looks again
    /// after this call misses the end of no message that is in the ring.
    #[cold]
    pub(crate) fn stall_behind_records(&self, worker: usize, producer: &mut Producer) {
        let head = producer.consumed();
        if head != producer.position() {
            self.stall(worker, producer, head);
        }
    }

    /// Called after records were published. The request for space stands until the polling half has seen room,
    /// because the refused record may be larger than the ones pushed since.
    #[inline]
    pub(crate) fn published(&self, worker: usize, producer: &mut Producer) {
        // Relaxed: this reads the submitting half's own last store, or the polling half's clearing of it.
        let waits = |stall: &Stall| stall.stalled_at.load(Relaxed) != NOT_STALLED;
        if !self.rings.get(worker).is_some_and(waits) || mutant("publish-ends-request") {
            producer.end_request();
        }
    }

    /// Whether a ring that refused something has room again or has closed; true once per refusal. Called by the
    /// polling half, behind the fence of its wake word.
    pub(crate) fn space_moved(&self) -> bool {
        let mut any = false;
        for stall in &self.rings {
            let at = stall.stalled_at.load(Acquire); // Acquire: pairs with the Release in `stall`.
            let closed = || !mutant("stall-recheck-without-closed") && stall.ring.is_closed();
            if at != NOT_STALLED && (stall.ring.shared_head() != at || closed()) {
                // Relaxed: only clears the value; the value of a later refusal stays.
                let _ = stall.stalled_at.compare_exchange(at, NOT_STALLED, Relaxed, Relaxed);
                any = true;
            }
        }
        any
    }

    /// The polling half has seen a worker leave.
    pub(crate) fn worker_left(&self, worker: usize) {
        self.left.fetch_or(1 << worker, AcqRel); // AcqRel: see above.
    }

    /// The workers that have left and are not settled.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Acquire) // Acquire: see above.
    }

    /// These workers are settled, and the results are visible.
    pub(crate) fn settled(&self, workers: u64) {
        self.left.fetch_and(!workers, AcqRel); // AcqRel: see above.
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed); // Relaxed: see above.
    }

    /// Whether a poll must pass work on to the submitting half.
    pub(crate) fn has_work(&self) -> bool {
        // Acquire: a cleared bit publishes the results of settling. Relaxed for `waiting`: see above.
        self.left.load(Acquire) != 0 || self.waiting.load(Relaxed)
    }
}
