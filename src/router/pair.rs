//! The state that one worker and one port share: a ring each way. The side that leaves second settles what
//! neither side has taken (`settle`), so that every message and delivery is accounted for.
//!
//! Used by `shared` (one attachment per pair), `settle`, `port/handle` (creates and attaches pairs),
//! `port/ingress`, `port/disconnect`, `port/poll`, and in `worker/` by `pairs` (takes up and leaves), `cycle`, `egress`,
//! `rooms` and `dispatch`.

use super::lane::rings::LaneRings;
use super::payload::read_reference;
use crate::clients::{ClientId, Clients};
use crate::config::ALLOCATION;
use crate::error::SubmitError;
use crate::park::WakeWord;
use crate::ring::record::{DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{ALIGNMENT, Attachment, Memory};
use crate::sync::{Arc, AtomicU64, Relaxed, mutant, own_load};

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) ingress: Arc<Memory>,
    pub(super) egress: Arc<Memory>,
    /// Where the worker keeps deliveries while `egress` is full. Both of its ends belong to the worker.
    pub(super) backlog: Arc<Memory>,
    /// The port's wake word. Workers hold a reference, so that its descriptor number is not reused while a
    /// worker may signal it.
    pub(super) port_wake: Arc<WakeWord>,
    pub(super) counts: Arc<PairCounts>,
    /// Set if the port's number is a lane's.
    pub(super) lane: Option<Arc<LaneRings>>,
}

/// Counts of the records on the way to the worker, kept outside the ring so that a ring that another language
/// has written can be checked against them. Written seldom and read when the pair is settled; the attach state
/// publishes them.
#[derive(Debug)]
pub(super) struct PairCounts {
    /// Records pushed that are not messages (connects, disconnects). Written by the port.
    others_pushed: AtomicU64,
    /// How many of those are taken. Written by the worker.
    others_taken: AtomicU64,
    /// Records of all kinds that the worker has taken; set when it stops taking.
    taken: AtomicU64,
}

impl PairCounts {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { others_pushed: zero(), others_taken: zero(), taken: zero() }
    }

    // Relaxed throughout: the attach state publishes the counts, and each word has one writer.
    pub(super) fn push_other(&self) {
        self.others_pushed.store(own_load(&self.others_pushed) + 1, Relaxed);
    }

    pub(super) fn take_other(&self) {
        self.others_taken.store(own_load(&self.others_taken) + 1, Relaxed);
    }

    pub(super) fn end(&self, taken: u64) {
        self.taken.store(taken, Relaxed);
    }

    /// The number of untaken messages in a ring that can no longer be read. The sending side claims to have
    /// pushed `pushed` records; the result is at most what the ring has room for.
    pub(super) fn unread_messages(&self, pushed: u64, capacity: u64) -> u64 {
        let (taken, others_pushed) = (self.taken.load(Relaxed), self.others_pushed.load(Relaxed));
        let others = others_pushed.saturating_sub(self.others_taken.load(Relaxed));
        let unread = pushed.saturating_sub(taken).min(capacity / ALIGNMENT as u64);
        unread.saturating_sub(others)
    }
}

/// Bytes of a pair and of the handles of its rings, without the rings' memory.
pub(super) const PAIR_BYTES: u64 = size_of::<Attachment<Pair>>() as u64
    + 3 * (size_of::<Memory>() as u64 + 16 + ALLOCATION)
    + size_of::<PairCounts>() as u64
    + 16
    + ALLOCATION;

/// The reason for refusals at a closed ring.
pub(super) fn closed_reason(ring: &Memory) -> SubmitError {
    if ring.is_corrupt() { SubmitError::Corrupt } else { SubmitError::Closed }
}

/// Gives back the credit that a delivery record holds. Returns its number of recipients.
pub(super) fn give_back(record: &[u8], clients: &Clients) -> u64 {
    give_back_from(record, 0, clients)
}

/// As [`give_back`], without the first `handed` recipients.
pub(super) fn give_back_from(record: &[u8], handed: usize, clients: &Clients) -> u64 {
    let Some((header, recipients, payload)) = DeliveryHeader::read(record) else { return 0 };
    let mut count = 0;
    for recipient in recipients.iter().skip(handed) {
        count += 1;
        give_back_one(header.kind, ClientId(recipient), payload_bytes(&header, payload), clients);
    }
    count
}

/// The length of a delivery's payload as the record states it, inline or out of line.
pub(super) fn payload_bytes(header: &DeliveryHeader, payload: &[u8]) -> usize {
    let beside = delivery_kind::may_be_beside(header.kind) && header.flags & delivery_flag::OWNED != 0;
    if beside { read_reference(payload).map_or(0, |(_, length)| length) } else { payload.len() }
}

/// Gives back what one recipient's share of a delivery record holds of its client: credit, or the slot itself.
pub(super) fn give_back_one(kind: u16, recipient: ClientId, payload: usize, clients: &Clients) {
    let Some(slot) = clients.slot(recipient.index()) else { return };
    if holds_credit(kind) {
        slot.credit.subtract(recipient.generation(), 1, payload as u32);
    } else if kind == delivery_kind::CLOSE {
        slot.credit.end_close_delivery(recipient.generation());
    }
}

/// Whether deliveries of this kind use credit. A close, a closed event and a notice of a failed message must always get
/// through, so they use none.
pub(super) fn holds_credit(kind: u16) -> bool {
    matches!(kind, delivery_kind::MESSAGE | delivery_kind::EXPIRED)
        || (kind == delivery_kind::UNDELIVERED && mutant("refuse-notice-takes-credit"))
}
