//! What a worker and a port share: a ring each way. And its end: whoever leaves second settles what neither
//! took, so that every message and delivery is accounted for.

use super::payload::{Way, read_reference};
use super::route::{call_of, settle_call};
use super::shared::Shared;
use crate::call::CallId;
use crate::clients::{ClientId, Clients};
use crate::config::ALLOCATION;
use crate::error::Refused;
use crate::park::WakeWord;
use crate::ring::record::{Delivery, Ingress, delivery_flag, delivery_kind, ingress_kind};
use crate::ring::{Attachment, Consumer, Memory};
use crate::sync::{Arc, mutant};

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) ingress: Arc<Memory>,
    pub(super) egress: Arc<Memory>,
    /// What the worker keeps deliveries in while `egress` is full: both its ends are the worker's.
    pub(super) backlog: Arc<Memory>,
    /// The port's; workers hold a reference, so its descriptor is never another's while they may signal it.
    pub(super) port_wake: Arc<WakeWord>,
}

/// Bytes of a pair and its rings' handles, beside their memory.
pub(super) const PAIR_BYTES: u64 =
    size_of::<Attachment<Pair>>() as u64 + 3 * (size_of::<Memory>() as u64 + 16 + ALLOCATION);

/// Why nothing is accepted into a ring that is closed.
pub(super) fn closed_reason(ring: &Memory) -> Refused {
    if ring.is_corrupt() { Refused::Corrupt } else { Refused::Closed }
}

/// Settles what a worker left in a port's ring, as the second of the two to leave: `count` is told how many messages count
/// as refused, and why; then their permits are given back and their payloads dropped.
pub(super) fn settle_ingress(
    shared: &Shared,
    (worker, port): (usize, usize),
    ingress: &Arc<Memory>,
    count: impl FnOnce(Refused, u64),
) {
    let reason = closed_reason(ingress);
    let (untaken, permits) = untaken_messages(ingress, |call| settle_call(shared, port, call));
    count(reason, untaken);
    shared.permits.give(permits);
    shared.payloads.sweep(Way::In, worker, port);
}

/// Messages published above the worker's seal: submitted, never taken. Nobody takes from the ring any more. Of those that
/// a caller waits for, `counts` says whether they still count. Returns how many count, and how many
/// permits they had: of what a corrupt ring held that is not known, and its permits are lost rather than given twice.
fn untaken_messages(ingress: &Arc<Memory>, counts: impl Fn(CallId) -> bool) -> (u64, u64) {
    if ingress.is_corrupt() {
        // Its contents are not to be trusted; what was pushed and not popped is.
        let (pushed, popped) = ingress.traffic();
        return (pushed.saturating_sub(popped), 0);
    }
    let start = if mutant("settle-from-head") { Some(ingress.shared_head()) } else { ingress.seal() };
    let Some(start) = start else { return (0, 0) };
    let mut rest = Consumer::starting_at(Arc::clone(ingress), start);
    let (mut count, mut permits) = (0, 0);
    if rest.refresh().is_ok() {
        while let Ok(Some(record)) = rest.next() {
            let is_send = record.kind == ingress_kind::SEND && !mutant("settle-without-sends");
            if record.kind != ingress_kind::MESSAGE && !is_send {
                continue;
            }
            let call = Ingress::read(record.bytes).and_then(|(header, _)| call_of(&header));
            permits += 1;
            count += u64::from(call.is_none_or(&counts));
        }
    }
    (count, permits)
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
    let Some((header, recipients, payload)) = Delivery::read(record) else { return 0 };
    let mut count = 0;
    for recipient in recipients.iter().skip(handed) {
        count += 1;
        give_back_one(header.kind, ClientId(recipient), payload_bytes(&header, payload), clients);
    }
    count
}

/// Bytes of a delivery's payload, wherever it lies; as the record says.
pub(super) fn payload_bytes(header: &Delivery, payload: &[u8]) -> usize {
    let beside = header.kind == delivery_kind::MESSAGE && header.flags & delivery_flag::OWNED != 0;
    if beside { read_reference(payload).map_or(0, |(_, length)| length) } else { payload.len() }
}

/// Gives back the credit that one recipient's share of a delivery record holds.
pub(super) fn give_back_one(kind: u16, recipient: ClientId, payload: usize, clients: &Clients) {
    if holds_credit(kind)
        && let Some(slot) = clients.slot(recipient.index())
    {
        slot.credit.subtract(1, payload as u32);
    }
}

/// Whether deliveries of this kind take credit. A close, a notice of one, or of a refusal must always get through.
pub(super) fn holds_credit(kind: u16) -> bool {
    matches!(kind, delivery_kind::MESSAGE | delivery_kind::EXPIRED)
        || (kind == delivery_kind::REFUSED && mutant("refuse-notice-takes-credit"))
}
