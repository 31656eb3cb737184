//! One client's cells. A slot is reused; its generation, in the handle and in two of its words, tells its
//! clients apart.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `credit` | workers that deliver to it, its port | the same |
//! | `finished`, `alive_at`, `held` | its worker | its port, at reuse and for its timers |
//! | `batch`, `reached` | its worker; its port while it moves the client, which is quiet then | its port |
//! | `leaving` | connect; the workers that take a disconnect, by read-modify-write | the same |
//! | `place`, `name`, `labels` | connect, before the name is inserted or anything is pushed | workers, behind a record of it or behind credit for it |
//! | `submitted`, `token`, `handed`, `phase`, `current`, `bucket` | its port | its port; workers read `phase` never |
//! | `close_link`, `closed_link` | the worker that closes it | the same |
//!
//! Without a worker of its own (`round_robin`) several workers write a client's `finished` and `held`, by
//! read-modify-write (`docs/decisions/0004-round-robin-cells.md`).

use super::bucket::Bucket;
use super::{Credit, MAX_NAME_BYTES, NewClient};
use crate::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release, mutant, ordering, own_load};
use crossbeam_utils::CachePadded;

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Free = 0,
    Open = 1,
    Closing = 2,
    Closed = 3,
}

/// Whose a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) generation: u32,
    pub(crate) port: u16,
    pub(crate) worker: u16,
}

/// Room for a name on a reader's stack.
pub(crate) type NameBuffer = [[u8; 8]; MAX_NAME_BYTES / 8];

/// The client has no worker of its own: see `Slot::leaving`.
const SEVERAL: u32 = 1 << 31;

/// No next slot in a list of closings.
pub(crate) const NO_LINK: u32 = u32::MAX;

#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) credit: Credit,
    /// Messages of this client that have ended. Cumulative over all its generations.
    pub(crate) finished: AtomicU64,
    /// When its worker last saw a keep-alive, in raw ticks.
    pub(crate) alive_at: AtomicU64,
    /// Messages of this client that are held.
    pub(crate) held: AtomicU32,
    pub(crate) close_link: AtomicU32,
    pub(crate) closed_link: AtomicU32,
    close_reason: AtomicU32,
    /// The last of its worker's batches that emitted something for a message of this client.
    batch: AtomicU64,
    /// The ports that such deliveries went to, a bit each.
    reached: AtomicU64,
    /// [`SEVERAL`] where the client has no worker of its own, and how many workers its disconnect must still pass.
    leaving: AtomicU32,
    port_line: PortLine,
    name: [AtomicU64; MAX_NAME_BYTES / 8],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct PortLine {
    submitted: AtomicU64,
    token: AtomicU64,
    /// Handed out and not acknowledged: messages in the upper half, bytes in the lower.
    handed: AtomicU64,
    place: AtomicU64,
    labels: AtomicU32,
    phase: AtomicU32,
    name_length: AtomicU32,
    /// The worker that its messages go to now; in the upper half 16 bits of its name's hash.
    current: AtomicU32,
    bucket: Bucket,
}

#[cfg(not(corelane_loom))]
const _: () = assert!(size_of::<Slot>() == 192);

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            credit: Credit::new(),
            finished: AtomicU64::new(0),
            alive_at: AtomicU64::new(0),
            held: AtomicU32::new(0),
            close_link: AtomicU32::new(NO_LINK),
            closed_link: AtomicU32::new(NO_LINK),
            close_reason: AtomicU32::new(0),
            batch: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            leaving: AtomicU32::new(0),
            port_line: PortLine {
                submitted: AtomicU64::new(0),
                token: AtomicU64::new(0),
                handed: AtomicU64::new(0),
                place: AtomicU64::new(0),
                labels: AtomicU32::new(0),
                phase: AtomicU32::new(0),
                name_length: AtomicU32::new(0),
                current: AtomicU32::new(0),
                bucket: Bucket::new(),
            },
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Fills a free slot for its next generation, which it returns. Under the control lock.
    pub(super) fn open(&self, new: &NewClient<'_>) -> u32 {
        let line = &self.port_line;
        // 0 is nobody's generation.
        let generation = self.place().generation.wrapping_add(1).max(1);
        // Relaxed throughout: the credit word's Release, the name table and the ring publish the slot.
        self.alive_at.store(0, Relaxed);
        line.token.store(new.token, Relaxed);
        line.handed.store(0, Relaxed);
        line.bucket.fill();
        self.batch.store(0, Relaxed);
        self.reached.store(0, Relaxed);
        line.labels.store(u32::from(new.protocol) | u32::from(new.application) << 16, Relaxed);
        line.name_length.store(new.name.len() as u32, Relaxed);
        for (place, word) in self.name.iter().enumerate() {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(new.name.as_bytes().iter().skip(8 * place)) {
                *to = *from;
            }
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        let place = u64::from(generation) << 32 | u64::from(new.port) << 16 | u64::from(new.worker);
        line.place.store(place, Release); // Release: for a worker that compares the name without credit.
        self.set_phase(Phase::Open);
        self.credit.open(generation);
        generation
    }

    #[inline(always)]
    pub(crate) fn place(&self) -> Place {
        let place = self.port_line.place.load(Acquire); // Acquire: pairs with the Release in `open`.
        Place { generation: (place >> 32) as u32, port: (place >> 16) as u16, worker: place as u16 }
    }

    /// Protocol and application, by number.
    #[inline(always)]
    pub(crate) fn labels(&self) -> (u16, u16) {
        let labels = self.port_line.labels.load(Relaxed); // Relaxed: see `open`.
        (labels as u16, (labels >> 16) as u16)
    }

    /// The client's name, copied. A reader that raced with a reuse may get a mixture; such a reader has no
    /// credit, and compares.
    #[inline]
    pub(crate) fn name<'a>(&self, buffer: &'a mut NameBuffer) -> &'a str {
        let length = (self.port_line.name_length.load(Relaxed) as usize).min(MAX_NAME_BYTES);
        for (to, from) in buffer.iter_mut().zip(&self.name).take(length.div_ceil(8)) {
            *to = from.load(Relaxed).to_ne_bytes(); // Relaxed: see `open`.
        }
        let bytes = buffer.as_flattened().get(..length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The host's value for this client.
    #[inline(always)]
    pub(crate) fn token(&self) -> u64 {
        self.port_line.token.load(Relaxed) // Relaxed: the port's own.
    }

    #[inline(always)]
    pub(crate) fn phase(&self) -> Phase {
        // Relaxed: the port's own, or read under the control lock.
        match self.port_line.phase.load(Relaxed) {
            1 => Phase::Open,
            2 => Phase::Closing,
            3 => Phase::Closed,
            _ => Phase::Free,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.port_line.phase.store(phase as u32, Relaxed); // Relaxed: as in `phase`.
    }

    /// Counts a submission; by the port, before it publishes.
    #[inline(always)]
    pub(crate) fn submit(&self) {
        let submitted = &self.port_line.submitted;
        submitted.store(own_load(submitted) + 1, Relaxed); // Relaxed: the port's own; the ring publishes.
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.port_line.submitted.load(Relaxed) // Relaxed: read by its port, or under the control lock after it.
    }

    /// Counts an end; by the worker, after everything it did for the message.
    #[inline(always)]
    pub(crate) fn finish(&self, messages: u64) {
        // Release: pairs with the Acquire of who frees the slot, and in `is_quiet`.
        let order = ordering("finished-relaxed", Release, Relaxed);
        if self.has_several() {
            self.finished.fetch_add(messages, order);
            return;
        }
        self.finished.store(own_load(&self.finished) + messages, order);
    }

    /// Whether every worker may handle this client's messages: then its cells have several writers.
    #[inline(always)]
    fn has_several(&self) -> bool {
        // Relaxed: the bit is set before anything is pushed for this client, and stays.
        self.leaving.load(Relaxed) & SEVERAL != 0
    }

    /// One more of its messages is held.
    pub(crate) fn hold_one(&self) {
        // Relaxed: a count that bounds holds, and publishes nothing.
        if self.has_several() {
            self.held.fetch_add(1, Relaxed);
        } else {
            self.held.store(self.held.load(Relaxed) + 1, Relaxed);
        }
    }

    /// One of its held messages has ended.
    pub(crate) fn unhold_one(&self) {
        // Relaxed: as in `hold_one`.
        if self.has_several() {
            self.held.fetch_sub(1, Relaxed);
        } else {
            self.held.store(self.held.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// Its messages that have ended, for its port. Acquire pairs with `finish`.
    #[inline(always)]
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(ordering("quiet-finished-relaxed", Acquire, Relaxed))
    }

    /// A message of this client has caused a delivery to `port` in `batch`. By its worker, before `finish`.
    #[inline]
    pub(crate) fn reach(&self, port: usize, batch: u64) {
        if self.has_several() {
            return; // It never moves.
        }
        // Relaxed: `finish` publishes both.
        self.batch.store(batch, Relaxed);
        self.reached.store(own_load(&self.reached) | 1 << port, Relaxed);
    }

    /// The worker that its messages go to now, and 16 bits of its name's hash. By its port.
    #[inline(always)]
    pub(crate) fn current(&self) -> (usize, u16) {
        let current = self.port_line.current.load(Relaxed); // Relaxed: the port's own.
        (usize::from(current as u16), (current >> 16) as u16)
    }

    /// Says, before anything is pushed for it, where a client's messages go: to `worker`, or to `several` workers in turn.
    pub(crate) fn start_at(&self, worker: usize, hash: u16, several: Option<usize>) {
        // Relaxed: the ring that its messages go through publishes both.
        self.port_line.current.store(worker as u32 & 0xffff | u32::from(hash) << 16, Relaxed);
        self.leaving.store(several.map_or(0, |workers| SEVERAL | workers as u32), Relaxed);
    }

    /// Whether nothing of what this client sent is under way any more: all finished, and everything that it caused
    /// consumed, as its worker's `frontiers` (one per port) say. By its port.
    pub(crate) fn is_quiet(&self, frontiers: &[CachePadded<AtomicU64>]) -> bool {
        if mutant("placement-without-quiet") {
            return true;
        }
        if self.finished() != self.submitted() {
            return false;
        }
        // Relaxed: `finished` came with them, and nothing writes them while the client is quiet.
        let (batch, mut ports) = (self.batch.load(Relaxed), self.reached.load(Relaxed));
        while ports != 0 {
            let port = ports.trailing_zeros() as usize;
            ports &= ports - 1;
            // Acquire: what the port consumed comes with it; pairs with the Release in `Frontier::advance`.
            let order = ordering("quiet-frontier-relaxed", Acquire, Relaxed);
            let frontier = frontiers.get(port).map_or(0, |cell| cell.load(order));
            if frontier < batch && !mutant("placement-without-frontier") {
                return false;
            }
        }
        true
    }

    /// Moves a quiet client to another worker. By its port; the next record in that worker's ring publishes it.
    pub(crate) fn move_to(&self, worker: usize) {
        let hash = self.current().1;
        // Relaxed: see above; the old worker is done with the client, the new one has not begun.
        self.port_line.current.store(worker as u32 & 0xffff | u32::from(hash) << 16, Relaxed);
        self.batch.store(0, Relaxed);
        self.reached.store(0, Relaxed);
    }

    /// A worker has taken the client's disconnect; says whether it is the last that had to.
    pub(crate) fn pass_disconnect(&self) -> bool {
        if !self.has_several() || mutant("closed-by-first-worker") {
            return true;
        }
        // AcqRel: the last one is behind what the others did for the client.
        self.leaving.fetch_sub(1, AcqRel) == SEVERAL | 1
    }

    /// The token bucket, for the port.
    #[inline(always)]
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.port_line.bucket
    }

    /// The port has handed out a delivery that holds credit.
    #[inline(always)]
    pub(crate) fn hand_out(&self, bytes: u32) {
        let handed = &self.port_line.handed;
        handed.store(own_load(handed) + (1 << 32) + u64::from(bytes), Relaxed); // Relaxed: the port's own.
    }

    /// The host has written so much. Gives the credit back, never more than was handed out; says how much.
    #[inline]
    pub(crate) fn acknowledge(&self, messages: u32, bytes: u32) -> (u32, u32) {
        let handed = own_load(&self.port_line.handed);
        let messages = messages.min((handed >> 32) as u32);
        let bytes = bytes.min(handed as u32);
        let given = (u64::from(messages) << 32) + u64::from(bytes);
        self.port_line.handed.store(handed - given, Relaxed);
        self.credit.subtract(messages, bytes);
        (messages, bytes)
    }

    /// Gives back everything handed out and not acknowledged.
    pub(super) fn forgive(&self) {
        self.acknowledge(u32::MAX, u32::MAX);
    }

    /// Why the worker that closes it does so; kept while the delivery waits on a list.
    pub(crate) fn set_close_reason(&self, reason: u16) {
        self.close_reason.store(u32::from(reason), Relaxed); // Relaxed: that worker's own.
    }

    pub(crate) fn close_reason(&self) -> u16 {
        self.close_reason.load(Relaxed) as u16 // Relaxed: that worker's own.
    }
}
