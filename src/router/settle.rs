//! Settling a pair: the side that leaves second accounts for every record that neither side has taken. Used by
//! `port/handle`, `port/disconnect` (the port leaves second) and `worker/pairs` (the worker leaves second).

use super::base::{CLOSED, Fallback, call_of};
use super::notice::Notice;
use super::pair::{Pair, closed_reason, give_back};
use super::payload::{Payload, Way};
use super::shared::Shared;
use crate::call::CallId;
use crate::clients::{ClientId, Clients};
use crate::error::{Loss, SubmitError};
use crate::ring::record::{IngressHeader, ingress_kind};
use crate::ring::{Consumer, Memory};
use crate::sync::{Arc, mutant};

/// Settles the records that a worker left in a port's ring; called by the side that leaves second. Every
/// message counts as refused, is finished for its client, gives its permit back and drops its payload. Calls
/// `count` once with the reason and the number, and `closed` for each client whose disconnect was among the
/// records, because no worker will answer it, and `told` with the notice of each message whose submitter wants one.
/// (Of a corrupt ring only the number of messages is known.) Returns the payloads; the caller drops them while it holds no
/// lock.
#[must_use]
pub(super) fn settle_ingress(
    shared: &Shared,
    (worker, port): (usize, usize),
    pair: &Pair,
    count: impl FnOnce(SubmitError, u64),
    closed: impl FnMut(ClientId),
    told: impl FnMut(Notice),
) -> Vec<Payload> {
    let reason = closed_reason(&pair.ingress);
    let settled = if pair.ingress.is_corrupt() {
        // The contents of a corrupt ring cannot be trusted, so use the counts.
        let (pushed, capacity) = (pair.ingress.traffic().0, pair.ingress.capacity());
        let untaken = pair.counts.unread_messages(pushed, capacity);
        Settled { refused: untaken, permits: untaken }
    } else {
        settle_untaken(shared, port, &pair.ingress, reason, closed, told)
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

/// Settles the records above the worker's seal: submitted and never taken. No worker takes from the ring any
/// more. A call's message does not count as refused if its base route takes it over.
fn settle_untaken(
    shared: &Shared,
    port: usize,
    ingress: &Arc<Memory>,
    reason: SubmitError,
    mut closed: impl FnMut(ClientId),
    mut told: impl FnMut(Notice),
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
                if counts {
                    Notice::wanted(&header, Loss::Refused(reason)).into_iter().for_each(&mut told);
                }
                if let Some(slot) = slot.filter(|_| !mutant("settle-unfinished")) {
                    slot.finish(1);
                }
            }
            ingress_kind::SEND | ingress_kind::SEND_TO_ROOM if !mutant("settle-without-sends") => {
                settled.permits += 1;
                settled.refused += 1;
                Notice::wanted(&header, Loss::Refused(reason)).into_iter().for_each(&mut told);
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

/// The deliveries that the port has not taken, counted in recipients. Gives their credit back.
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

/// Settles a call whose record no worker has taken. Returns whether the record still counts as refused; false
/// if the base route takes it over.
fn settle_call(shared: &Shared, port: usize, id: CallId) -> bool {
    if let Some(calls) = shared.calls.get(port) {
        calls.refuse(id, CLOSED);
    }
    // The caller has been told now, or has given up before. With a base route, the caller counts the message as
    // taken over in both cases.
    shared.fallback != Fallback::Inline
}
