//! What a worker and a port share: a ring each way. And its end: whoever leaves second settles what neither
//! took, so that every message and delivery is accounted for.

use crate::clients::{ClientId, Clients};
use crate::park::WakeWord;
use crate::ring::record::{Delivery, delivery_kind, ingress_kind};
use crate::ring::{Consumer, Memory};
use crate::sync::{Arc, mutant};

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) ingress: Arc<Memory>,
    pub(super) egress: Arc<Memory>,
    /// The port's; workers hold a reference, so its descriptor is never another's while they may signal it.
    pub(super) port_wake: Arc<WakeWord>,
}

/// Messages published above the worker's seal: submitted, never taken. Nobody takes from the ring any more.
pub(super) fn untaken_messages(ingress: &Arc<Memory>) -> u64 {
    if ingress.is_corrupt() {
        // Its contents are not to be trusted; what was pushed and not popped is.
        let (pushed, popped) = ingress.traffic();
        return pushed.saturating_sub(popped);
    }
    let start = if mutant("settle-from-head") { Some(ingress.shared_head()) } else { ingress.seal() };
    let Some(start) = start else { return 0 };
    let mut rest = Consumer::starting_at(Arc::clone(ingress), start);
    let mut count = 0;
    if rest.refresh().is_ok() {
        while let Ok(Some(record)) = rest.next() {
            let is_send = record.kind == ingress_kind::SEND && !mutant("settle-without-sends");
            count += u64::from(record.kind == ingress_kind::MESSAGE || is_send);
        }
    }
    count
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
    let Some((header, recipients, payload)) = Delivery::read(record) else { return 0 };
    let mut count = 0;
    for recipient in recipients.iter() {
        count += 1;
        if holds_credit(header.kind)
            && let Some(slot) = clients.slot(ClientId(recipient).index())
        {
            slot.credit.subtract(1, payload.len() as u32);
        }
    }
    count
}

/// Whether deliveries of this kind take credit. A close or a notice of one must always get through.
pub(super) fn holds_credit(kind: u16) -> bool {
    matches!(kind, delivery_kind::MESSAGE | delivery_kind::EXPIRED)
}
