//! What a worker and a port share: a ring each way. And its end: whoever leaves second settles what neither
//! took, so that every message and delivery is accounted for.

use super::payload::{Payload, Way, read_reference};
use super::route::{call_of, settle_call};
use super::shared::Shared;
use crate::clients::{ClientId, Clients};
use crate::config::ALLOCATION;
use crate::error::Refused;
use crate::park::WakeWord;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_flag, delivery_kind, ingress_kind};
use crate::ring::{ALIGNMENT, Attachment, Consumer, Memory};
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
    fn unread_messages(&self, pushed: u64, capacity: u64) -> u64 {
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

/// Settles what a worker left in a port's ring, as the second of the two to leave: every message there counts as refused, is
/// finished for its client, gives its permit back and drops its payload. `count` is told how many, and why; `closed` of each
/// client whose last record was among them, and who gets no other answer to it. Returns the payloads, to be dropped while no
/// lock is held.
#[must_use]
pub(super) fn settle_ingress(
    shared: &Shared,
    (worker, port): (usize, usize),
    pair: &Pair,
    count: impl FnOnce(Refused, u64),
    closed: impl FnMut(ClientId),
) -> Vec<Payload> {
    let reason = closed_reason(&pair.ingress);
    let settled = if pair.ingress.is_corrupt() {
        // Its contents are not to be trusted.
        let (pushed, capacity) = (pair.ingress.traffic().0, pair.ingress.capacity());
        let untaken = pair.counts.unread_messages(pushed, capacity);
        Settled { refused: untaken, permits: untaken }
    } else {
        settle_untaken(shared, port, &pair.ingress, closed)
    };
    count(reason, settled.refused);
    shared.permits.give(settled.permits);
    shared.payloads.sweep(Way::In, worker, port)
}

#[derive(Default)]
struct Settled {
    refused: u64,
    permits: u64,
}

/// Settles the records published above the worker's seal: submitted, never taken. Nobody takes from the ring any more. Of
/// the messages that a caller waits for, those that its fallback has do not count.
fn settle_untaken(
    shared: &Shared,
    port: usize,
    ingress: &Arc<Memory>,
    mut closed: impl FnMut(ClientId),
) -> Settled {
    let start = if mutant("settle-from-head") { Some(ingress.shared_head()) } else { ingress.seal() };
    let mut settled = Settled::default();
    let Some(start) = start else { return settled };
    let mut rest = Consumer::starting_at(Arc::clone(ingress), start);
    if rest.refresh().is_err() {
        return settled;
    }
    while let Ok(Some(record)) = rest.next() {
        let Some((header, _)) = IngressHeader::read(record.bytes) else { continue };
        let slot = shared.clients.on(ClientId(header.client), port);
        match record.kind {
            ingress_kind::MESSAGE => {
                settled.permits += 1;
                let counts = call_of(&header).is_none_or(|call| settle_call(shared, port, call));
                settled.refused += u64::from(counts);
                if let Some(slot) = slot.filter(|_| !mutant("settle-unfinished")) {
                    slot.finish(1);
                }
            }
            ingress_kind::SEND if !mutant("settle-without-sends") => {
                settled.permits += 1;
                settled.refused += 1;
            }
            ingress_kind::DISCONNECT => {
                let Some(slot) = slot else { continue };
                if slot.pass_disconnect() {
                    closed(ClientId(header.client));
                }
                slot.finish(1);
            }
            _ => {}
        }
    }
    settled
}

/// Deliveries that the port never took, in recipients; gives their credit back.
pub(super) fn untaken_deliveries(egress: &Arc<Memory>, clients: &Clients) -> u64 {
    let mut rest = Consumer::starting_at(Arc::clone(egress), egress.shared_head());
    let mut count = 0;
    if rest.refresh().is_ok() {
        while let Ok(Some(record)) = rest.next() {
            count += give_back(record.bytes, clients);
        }
    }
    count
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
