//! What a worker and a lane share besides their two rings. It is in Rust's memory, because the host can write the rings'
//! headers: where the worker stopped taking, and how many deliveries lie below each position of the egress ring.
//!
//! | field | written by | read by | ordering |
//! |---|---|---|---|
//! | `rows` | the worker | whoever counts what the host has read | Release / Acquire: a row of a later lap shows that the head has moved |
//! | `emitted` | the worker | the same | Relaxed: the ring's tail publishes it |
//! | `seal` | the worker, when it leaves | whoever settles the pair | Release / Acquire |
//! | `given_up`, `broken` | the worker, once | the lane's calls; readers of figures | Release / Acquire: the worker is done with that ring |
//! | `drained` | the worker | the thread that drains the router | Release / Acquire: what the worker has counted |
//! | `unread` | the worker, when it leaves | the lane's calls | a lock |

use crate::clients::ClientId;
use crate::metrics::LaneCells;
use crate::ring::{ALIGNMENT, Memory};
use crate::sync::{
    Acquire, Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Relaxed, Release, lock, mutant, own_load,
};

#[derive(Debug)]
pub(crate) struct LaneRings {
    /// The number of recipients in all records up to this position, for each position at which a record ends: its lowest
    /// 32 bits. Two laps, because the head and the tail of a full ring are the same place of it.
    rows: Box<[AtomicU32]>,
    /// The number of recipients in all records of the egress ring, and of those that earlier lanes of this number have read.
    emitted: AtomicU64,
    /// See [`Self::seal`].
    seal: AtomicU64,
    given_up: AtomicBool,
    broken: AtomicBool,
    drained: AtomicBool,
    /// See [`Self::leave_unread`].
    unread: Mutex<Vec<(u64, ClientId)>>,
}

/// What a worker keeps for an ingress ring that comes from a lane.
#[derive(Debug)]
pub(in crate::router) struct LaneIngress {
    pub(in crate::router) rings: Arc<LaneRings>,
    /// The router drains: messages from this position on are refused.
    pub(in crate::router) drains_from: Option<u64>,
}

impl LaneIngress {
    pub(in crate::router) fn new(rings: Arc<LaneRings>) -> Self {
        Self { rings, drains_from: None }
    }
}

/// Readings of a head that moves before the count at it is looked up. A host moves it a whole ring meanwhile only if it
/// forges it.
const READINGS: usize = 8;

impl LaneRings {
    /// For an egress ring of this capacity. `consumed` is what earlier lanes of this number have read.
    pub(crate) fn new(capacity: u64, consumed: u64) -> Self {
        let rows = 2 * capacity as usize / ALIGNMENT;
        Self {
            rows: (0..rows).map(|_| AtomicU32::new(consumed as u32)).collect(),
            emitted: AtomicU64::new(consumed),
            seal: AtomicU64::new(u64::MAX),
            given_up: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            unread: Mutex::new(Vec::new()),
        }
    }

    /// Bytes for an egress ring of this capacity, for the budget: the rows, and what the worker remembers of records whose
    /// reading it waits for, in the worst case one for each row of the ring.
    pub(crate) const fn bytes(capacity: u64) -> u64 {
        let rows = capacity / ALIGNMENT as u64;
        let unread = rows * size_of::<(u64, ClientId)>() as u64;
        2 * rows * size_of::<AtomicU32>() as u64 + unread + size_of::<Self>() as u64 + 256
    }

    fn row(&self, position: u64) -> &AtomicU32 {
        // The number of rows is a power of two.
        &self.rows[(position / ALIGNMENT as u64) as usize & (self.rows.len() - 1)]
    }

    /// The worker has written a record from `start` to `end`, and perhaps a pad from `before` to `start`. Called before it
    /// publishes the record.
    pub(crate) fn emit(&self, (before, start, end): (u64, u64, u64), recipients: u64) {
        let count = own_load(&self.emitted);
        if start != before {
            self.row(start).store(count as u32, Release);
        }
        self.row(end).store((count + recipients) as u32, Release);
        self.emitted.store(count + recipients, Relaxed);
    }

    /// What the worker has written into the egress ring.
    pub(crate) fn emitted(&self) -> u64 {
        self.emitted.load(Relaxed) // Relaxed: the caller has acquired the ring's head, or is the worker.
    }

    /// How many deliveries the host has read, from the head of its egress ring. Any thread may ask. The head is the host's
    /// word, so the result is at least what was seen before, and at most what the worker has emitted.
    pub(crate) fn consumed(&self, egress: &Memory, cells: &LaneCells) -> u64 {
        if self.is_broken() {
            return cells.consumed();
        }
        let mut head = egress.released();
        for _ in 0..READINGS {
            let row = self.row(head).load(Acquire);
            let emitted = self.emitted();
            let now = egress.released();
            if now.wrapping_sub(head) >= egress.capacity() && !mutant("lane-head-once") {
                head = now;
                continue;
            }
            let unread = (emitted as u32).wrapping_sub(row);
            return cells.see_consumed(emitted.saturating_sub(u64::from(unread)));
        }
        cells.consumed()
    }

    /// The position at which the worker has stopped taking records for good; `None` until then.
    pub(crate) fn seal(&self) -> Option<u64> {
        let seal = self.seal.load(Acquire);
        (seal != u64::MAX).then_some(seal)
    }

    pub(crate) fn store_seal(&self, position: u64) {
        self.seal.store(position, Release);
    }

    /// The worker takes nothing more from the ingress ring, because it is corrupt.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Release);
    }

    /// Whether the worker uses neither ring any more, although it has not left the pair.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Acquire)
    }

    /// The worker writes nothing more into the egress ring, because its head is impossible. What the host has read stays
    /// at what was seen until now.
    pub(crate) fn break_egress(&self) {
        self.broken.store(true, Release);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Acquire)
    }

    /// The worker has taken all that was published before the router began to drain.
    pub(crate) fn end_drain(&self) {
        self.drained.store(true, Release);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Acquire) || self.is_given_up() || self.seal().is_some()
    }

    /// The worker leaves. It has written these CLIENT_CLOSED, and the host has not read them: the lane ends these clients.
    pub(crate) fn leave_unread(&self, clients: Vec<(u64, ClientId)>) {
        *lock(&self.unread) = clients;
    }

    /// Takes those whose CLIENT_CLOSED the host has read by now.
    pub(crate) fn take_read(&self, egress: &Memory) -> Vec<ClientId> {
        let head = egress.released();
        let mut unread = lock(&self.unread);
        let read = unread.extract_if(.., |(position, _)| *position <= head || mutant("lane-closed-unread"));
        read.map(|(_, client)| client).collect()
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::metrics::PathShard;
    use crate::ring::{Consumer, Producer};

    /// A ring of 16 rows with records of different lengths, read in batches of different lengths: the count is exact at each
    /// head, on a full ring too.
    #[test]
    fn the_head_says_how_many_were_read() {
        let memory = Arc::new(Memory::new(1024).unwrap());
        let (mut producer, mut consumer) =
            (Producer::new(Arc::clone(&memory)), Consumer::new(Arc::clone(&memory)));
        let (rings, path) = (LaneRings::new(1024, 100), PathShard::new());
        let (mut pushed, mut read) = (0u64, 100u64);
        let mut recipients = std::collections::VecDeque::new();
        for step in 0..10_000u64 {
            loop {
                let length = 8 + (pushed * 37 % 200) as usize;
                let before = producer.position();
                if producer.claim(length, 1, 0).is_err() {
                    break;
                }
                producer.commit();
                let end = producer.position();
                let count = pushed % 5;
                rings.emit((before, end - length.next_multiple_of(64) as u64, end), count);
                recipients.push_back(count);
                pushed += 1;
            }
            producer.publish();
            assert_eq!(rings.consumed(&memory, &path.lane), read);
            consumer.refresh().unwrap();
            for _ in 0..1 + step % 4 {
                if consumer.next().unwrap().is_some() {
                    read += recipients.pop_front().unwrap();
                }
            }
            consumer.release();
            assert_eq!(rings.consumed(&memory, &path.lane), read);
        }
        assert!(pushed > 10_000);
    }
}
