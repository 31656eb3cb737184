//! What the two halves of a port tell each other without a lock: where the submitting half was refused for want of room,
//! so that the polling half sleeps until there is some; and what a poll leaves to the submitting half.
//!
//! | word | written by | read by | ordering |
//! |---|---|---|---|
//! | `stalled_at` | the submitting half; the polling half, which clears what it has seen moved | both | Release / Acquire, behind the fences of `park` |
//! | `left` | both halves, by read-modify-write | both | AcqRel: with a bit comes that the worker has left, without it what settling has led to |
//! | `waiting` | the submitting half, before `stalled_at` | the polling half | Relaxed: `stalled_at` publishes it |

use crate::park::{WakeWord, after_publishing};
use crate::ring::{Memory, Producer};
use crate::sync::{AcqRel, Acquire, Arc, AtomicBool, AtomicU64, Relaxed, Release, mutant};

/// No refusal for want of room since the last push, or since the polling half saw room.
const NOT_STALLED: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct PortLink {
    wake: Arc<WakeWord>,
    /// Records that may wait in one ring: `queue_messages`, or as many as its bytes take.
    pub(crate) queue_messages: u64,
    /// By worker.
    rings: Box<[Stall]>,
    /// A bit for each worker that has left and is not settled with.
    left: AtomicU64,
    /// Disconnects wait for room.
    waiting: AtomicBool,
}

/// Bytes for each worker.
pub(crate) const PAIR_BYTES: u64 = size_of::<Stall>() as u64;

/// One ring's.
#[derive(Debug)]
struct Stall {
    ring: Arc<Memory>,
    /// Where the ring's head was when something was refused, or [`NOT_STALLED`].
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

    /// The submitting half was refused for want of room in the ring to a worker, in bytes or in messages: asks the worker to
    /// say when there is some, and the polling half to sleep until then. `head` is where the ring's head was when there was
    /// no room. What the caller tells the polling half about the refusal, it has told before.
    #[cold]
    pub(crate) fn stall(&self, worker: usize, producer: &mut Producer, head: u64) {
        let Some(stall) = self.rings.get(worker) else { return };
        let moved =
            |producer: &Producer| producer.memory().shared_head() != head || producer.memory().is_closed();
        // Relaxed: noted already, and the request stands. (The host of an inline port lowers it as it pushes, and knows nothing
        // of the note.)
        let is_noted = stall.stalled_at.load(Relaxed) == head && producer.memory().needs_space();
        if (is_noted && !moved(producer)) || mutant("stall-not-noted") {
            return;
        }
        // Release: with the note comes what the refusal was of; pairs with the Acquire in `space_moved`.
        stall.stalled_at.swap(head, Release);
        producer.request_space();
        // The worker may have made room before it could see the request, and the polling half have gone to sleep before it
        // could see the note.
        after_publishing(|| {
            if moved(producer) && !mutant("stall-without-look") {
                self.wake.wake_if_asleep();
            }
        });
    }

    /// Records were published. The request for space stands until the polling half has seen that there is some: what was
    /// refused may be larger than what was pushed since.
    #[inline]
    pub(crate) fn published(&self, worker: usize, producer: &mut Producer) {
        // Relaxed: our own last store, or the polling half's clearing of it.
        let waits = |stall: &Stall| stall.stalled_at.load(Relaxed) != NOT_STALLED;
        if !self.rings.get(worker).is_some_and(waits) || mutant("publish-ends-request") {
            producer.end_request();
        }
    }

    /// Whether there is room, or the ring has closed, where something was refused: once per refusal. By the polling half,
    /// behind the fence of its wake word.
    pub(crate) fn space_moved(&self) -> bool {
        let mut any = false;
        for stall in &self.rings {
            let at = stall.stalled_at.load(Acquire); // Acquire: pairs with the Release in `stall`.
            let closed = || !mutant("stall-recheck-without-closed") && stall.ring.is_closed();
            if at != NOT_STALLED && (stall.ring.shared_head() != at || closed()) {
                // Relaxed: a later refusal's value stays.
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

    /// The workers that have left and are not settled with.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Acquire) // Acquire: see above.
    }

    /// Those are settled with, and what that led to can be seen.
    pub(crate) fn settled(&self, workers: u64) {
        self.left.fetch_and(!workers, AcqRel); // AcqRel: see above.
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed); // Relaxed: see above.
    }

    /// Whether the submitting half has something to do that it learns from polls.
    pub(crate) fn has_work(&self) -> bool {
        // Acquire: with no bit comes what settling has led to. Relaxed: see above.
        self.left.load(Acquire) != 0 || self.waiting.load(Relaxed)
    }
}
