//! Settling the pair of a lane: the side that leaves second accounts for what neither side has taken. Nothing is read from
//! the egress ring, and of the ingress ring only the kinds of the records, because the host can write both.
//!
//! Used by `worker/pairs` and `handle`.

use super::rings::LaneRings;
use crate::error::{SubmitError, Unacknowledged, Undeliverable};
use crate::metrics::Writer;
use crate::ring::record::ingress_kind;
use crate::ring::{Consumer, Memory};
use crate::router::pair::Pair;
use crate::router::payload::{Payload, Way};
use crate::router::shared::Shared;
use crate::sync::{Arc, mutant};

/// Settles one pair that both sides have left. Messages and sends above the worker's seal count as submitted and refused;
/// they have no permits. Deliveries that the host has not read are undeliverable. The clients of this worker end, and
/// everything that they had outstanding is forgiven. Returns payloads that nobody takes any more: the caller drops them
/// while it holds no lock.
#[must_use]
pub(in crate::router) fn settle_lane(
    shared: &Shared,
    (worker, port): (usize, usize),
    pair: &Pair,
    rings: &LaneRings,
    writer: &mut Writer,
) -> Vec<Payload> {
    let cells = &shared.workers[worker].paths[port].lane;
    let uncounted = mutant("lane-untaken-uncounted");
    let untaken = if uncounted { 0 } else { untaken_messages(&pair.ingress, rings) };
    cells.submitted.add(writer, untaken);
    cells.refused[SubmitError::Closed as usize].add(writer, untaken);
    if mutant("lane-permits-given") {
        shared.permits.give(untaken);
    }
    let consumed = rings.consumed(&pair.egress, cells);
    if !rings.is_broken() {
        let unread = rings.emitted() - consumed;
        cells.undeliverable[Undeliverable::PortGone as usize].add(writer, unread);
        rings.break_egress(); // What the host reads from now on counts as nothing.
    }
    let mut forgiven = 0;
    for client in shared.clients.of_port(port as u16) {
        let is_here = |slot: &&crate::clients::ClientSlot| usize::from(slot.place().worker) == worker;
        if shared.clients.get(client).as_ref().is_some_and(is_here) {
            shared.clients.begin_close(client);
            forgiven += shared.clients.end_close(client).map_or(0, |(messages, _)| u64::from(messages));
        }
    }
    cells.unacknowledged[Unacknowledged::PortGone as usize].add(writer, forgiven);
    shared.end_frontier(worker, port);
    let mut payloads = shared.payloads.sweep(Way::In, worker, port);
    payloads.append(&mut shared.payloads.sweep(Way::Out, worker, port));
    payloads
}

/// The messages and sends above the seal. A corrupt ring has none.
pub(crate) fn untaken_messages(ingress: &Arc<Memory>, rings: &LaneRings) -> u64 {
    let seal = if mutant("lane-settle-from-head") { Some(ingress.shared_head()) } else { rings.seal() };
    let Some(seal) = seal.filter(|_| !rings.is_given_up()) else { return 0 };
    let mut rest = Consumer::starting_at(Arc::clone(ingress), seal);
    let mut count = 0;
    if rest.refresh().is_err() {
        return 0;
    }
    loop {
        match rest.next() {
            Ok(None) => return count,
            Ok(Some(record)) => {
                let kinds = [ingress_kind::MESSAGE, ingress_kind::SEND, ingress_kind::SEND_TO_ROOM];
                count += u64::from(kinds.contains(&record.kind));
            }
            Err(_) => return 0,
        }
    }
}
