//! What a worker and a port share: a ring each way. And its end: whoever leaves second settles what neither
//! took, so that every message and delivery is accounted for.

use super::payload::read_reference;
use crate::clients::{ClientId, Clients};
use crate::config::ALLOCATION;
use crate::error::Refused;
use crate::park::WakeWord;
use crate::ring::record::{DeliveryHeader, delivery_flag, delivery_kind};
use crate::ring::{ALIGNMENT, Attachment, Memory};
use crate::sync::{Arc, AtomicU64, Relaxed, mutant, own_load};

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) ingress: Arc<Memory>,
    pub(super) egress: Arc<Memory>,
    /// What the worker keeps deliveries in while `egress` is full: both its ends are the worker's.
    pub(super) backlog: Arc<Memory>,
    /// The port's; workers hold a reference, so its descriptor is never another's while they may signal it.
    pub(super) port_wake: Arc<WakeWord>,
    pub(super) counts: Arc<PairCounts>,
}

/// What went through a pair's ring to the worker, counted outside the ring: what another language wrote into the ring is
/// held against it. Written seldom, read when the pair is settled; the attach state publishes it.
#[derive(Debug)]
pub(super) struct PairCounts {
    /// Records that are no messages (connects, disconnects), pushed. By the port.
    others_pushed: AtomicU64,
    /// Of these, taken. By the worker.
    others_taken: AtomicU64,
    /// Records of all kinds that the worker has taken, once it takes no more.
    taken: AtomicU64,
}

impl PairCounts {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { others_pushed: zero(), others_taken: zero(), taken: zero() }
    }

    // Relaxed throughout: see above; each word has one writer.
    pub(super) fn push_other(&self) {
        self.others_pushed.store(own_load(&self.others_pushed) + 1, Relaxed);
    }

    pub(super) fn take_other(&self) {
        self.others_taken.store(own_load(&self.others_taken) + 1, Relaxed);
    }

    pub(super) fn end(&self, taken: u64) {
        self.taken.store(taken, Relaxed);
    }

    /// Messages in a ring that cannot be read any more, of the records that its producer says were pushed: no more than the
    /// ring has room for.
    pub(super) fn unread_messages(&self, pushed: u64, capacity: u64) -> u64 {
        let (taken, others_pushed) = (self.taken.load(Relaxed), self.others_pushed.load(Relaxed));
        let others = others_pushed.saturating_sub(self.others_taken.load(Relaxed));
        let unread = pushed.saturating_sub(taken).min(capacity / ALIGNMENT as u64);
        unread.saturating_sub(others)
    }
}

/// Bytes of a pair and its rings' handles, beside their memory.
pub(super) const PAIR_BYTES: u64 = size_of::<Attachment<Pair>>() as u64
    + 3 * (size_of::<Memory>() as u64 + 16 + ALLOCATION)
    + size_of::<PairCounts>() as u64
    + 16
    + ALLOCATION;

/// Why nothing is accepted into a ring that is closed.
pub(super) fn closed_reason(ring: &Memory) -> Refused {
    if ring.is_corrupt() { Refused::Corrupt } else { Refused::Closed }
}

/// Gives back the credit that a delivery record holds; says how many recipients it has.
pub(super) fn give_back(record: &[u8], clients: &Clients) -> u64 {
    give_back_from(record, 0, clients)
}

/// As [`give_back`], without the recipients that it was handed out to already.
pub(super) fn give_back_from(record: &[u8], handed: usize, clients: &Clients) -> u64 {
    let Some((header, recipients, payload)) = DeliveryHeader::read(record) else { return 0 };
    let mut count = 0;
    for recipient in recipients.iter().skip(handed) {
        count += 1;
        give_back_one(header.kind, ClientId(recipient), payload_bytes(&header, payload), clients);
    }
    count
}

/// Bytes of a delivery's payload, wherever it lies; as the record says.
pub(super) fn payload_bytes(header: &DeliveryHeader, payload: &[u8]) -> usize {
    let beside = header.kind == delivery_kind::MESSAGE && header.flags & delivery_flag::OWNED != 0;
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

/// Whether deliveries of this kind take credit. A close, a notice of one, or of a refusal must always get through.
pub(super) fn holds_credit(kind: u16) -> bool {
    matches!(kind, delivery_kind::MESSAGE | delivery_kind::EXPIRED)
        || (kind == delivery_kind::REFUSED && mutant("refuse-notice-takes-credit"))
}
