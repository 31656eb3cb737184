//! Delivering to one client: on its credit, into the egress ring of its port or the backlog behind it. Notices and the
//! last record of a client as well.

use crate::clients::{ClientId, ClientSlot, Shortage};
use crate::error::{Failed, Undeliverable};
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::AttachState;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind};
use crate::router::worker::egress::{EgressSender, Rejected};
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

impl WorkerContext<'_> {
    /// Tells a sender that asked for it that its message has waited too long; on credit, or not at all.
    #[cold]
    pub(in crate::router) fn tell_late(
        &mut self,
        client: ClientId,
        header: &IngressHeader,
        stamp: u64,
        ids: SeriesIds,
    ) {
        let late = DeliveryHeader {
            kind: delivery_kind::EXPIRED,
            stamp,
            correlation: header.correlation,
            message_type: u32::from(ids.0.0),
            recipients: 1,
            ..DeliveryHeader::default()
        };
        // A sender that is gone or has no credit left is not told; the message's outcome is counted either way.
        self.tell(&late, client, b"");
    }

    /// Gives a sender a notice of one of its messages, on credit. As long as it is under way the client does not move: so
    /// notices come in order, and before the client's CLIENT_CLOSED.
    pub(in crate::router) fn tell(&mut self, notice: &DeliveryHeader, client: ClientId, payload: &[u8]) {
        let shared = self.shared;
        let told = self.deliver(notice, client, payload.len(), |out| out.copy_from_slice(payload));
        if told == Outcome::Ok
            && !mutant("notice-without-reach")
            && let Some(slot) = shared.clients.get(client)
        {
            self.reached(client.0, usize::from(slot.place().port));
        }
    }

    /// Sees to it that there is a way to a port which was opened in the middle of this cycle: its clients' names are found
    /// before the worker has looked at its pairs again.
    #[inline]
    pub(in crate::router) fn see_to(&mut self, port: usize) {
        if matches!(self.state.egress.get(port), Some(None)) {
            self.take_up_egress(port);
        }
    }

    #[cold]
    fn take_up_egress(&mut self, port: usize) {
        let shared = self.shared;
        let pair = shared.pair(self.state.worker, port);
        if pair.state() == AttachState::Attached
            && let (Some(egress), Some(pair)) = (self.state.egress.get_mut(port), pair.view())
        {
            *egress = Some(EgressSender::new(&pair));
        }
    }

    /// Delivers a message to one client, on credit.
    pub(in crate::router) fn deliver(
        &mut self,
        delivery: &DeliveryHeader,
        to: ClientId,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Outcome {
        let shared = self.shared;
        let Some(slot) = shared.clients.slot(to.index()) else {
            return Outcome::Failed(Failed::RecipientClosed);
        };
        let bytes = length.min(u32::MAX as usize) as u32;
        match slot.credit.try_add(to.generation(), bytes, shared.limits) {
            Ok(()) => {}
            Err(Shortage::Exhausted) if mutant("send-without-credit") && delivery.sender == 0 => {}
            Err(Shortage::Closed) => return Outcome::Failed(Failed::RecipientClosed),
            Err(Shortage::Exhausted) => return self.over_limit(delivery, to, slot, &mut false),
        }
        // The credit pins the slot: its port is this client's until the credit is given back.
        let worker = self.shard();
        let place = slot.place();
        if place.generation != to.generation() {
            // The credit word knows a part of the generation only.
            slot.credit.subtract(to.generation(), 1, bytes);
            return Outcome::Failed(Failed::RecipientClosed);
        }
        let port = usize::from(place.port);
        self.see_to(port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            slot.credit.subtract(to.generation(), 1, bytes);
            return Outcome::Failed(Failed::PortGone);
        };
        let emitted = if egress.most_recipients(length) > 0 {
            egress.emit(delivery, to.0, length, fill)
        } else {
            let payload = shared.payloads.fill(length, fill);
            let Some(payload) = payload.filter(|_| delivery.kind == delivery_kind::MESSAGE) else {
                slot.credit.subtract(to.generation(), 1, bytes);
                return Outcome::Failed(Failed::PayloadsFull);
            };
            egress.emit_beside(&shared.payloads, (self.state.worker, port), delivery, &[to.0], payload)
        };
        match emitted {
            Ok(backlogged) => {
                worker.emitted.add(&mut self.state.writer, 1);
                self.sent(delivery.sender, port, 1, backlogged);
                Outcome::Ok
            }
            Err(Rejected::TooLarge) => {
                slot.credit.subtract(to.generation(), 1, bytes);
                Outcome::Failed(Failed::TooLarge)
            }
            Err(Rejected::PayloadsFull) => {
                slot.credit.subtract(to.generation(), 1, bytes);
                Outcome::Failed(Failed::PayloadsFull)
            }
            Err(Rejected::Full) => {
                slot.credit.subtract(to.generation(), 1, bytes);
                worker.emitted.add(&mut self.state.writer, 1);
                self.egress_full(port, 1);
                Outcome::Failed(Failed::EgressFull)
            }
        }
    }

    /// Something that a message of `sender` caused is on its way to `port`: before that message is finished, so that its
    /// client does not move meanwhile.
    pub(in crate::router) fn reached(&mut self, sender: u64, port: usize) {
        let shared = self.shared;
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return };
        if let Some(published) = shared.workers[self.state.worker].frontiers.get(port) {
            egress.frontier.emitted(self.state.batch, published);
        }
        let sender = ClientId(sender);
        // A delivery without a sender names none; one by a sender that is gone has nobody to move.
        if sender.generation() != 0
            && let Some(slot) = shared.clients.get(sender)
        {
            slot.reach(port, self.state.batch);
        }
    }

    /// A record for so many recipients, caused by a message of `sender`, is on its way to `port`, or waits for room there.
    #[inline]
    pub(in crate::router) fn sent(&mut self, sender: u64, port: usize, recipients: u64, waits: bool) {
        self.reached(sender, port);
        if waits && let Some(Some(egress)) = self.state.egress.get(port) {
            let worker = self.shard();
            worker.backlogged.add(&mut self.state.writer, recipients);
            worker.backlog_bytes_maximum.raise(&mut self.state.writer, egress.backlog_bytes());
        }
    }

    /// Sends a client's own port word of it, without credit. Not sent while its port is full or gone.
    pub(in crate::router) fn notify(
        &mut self,
        client: ClientId,
        slot: &ClientSlot,
        header: &DeliveryHeader,
    ) -> Outcome {
        let port = usize::from(slot.place().port);
        self.see_to(port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            return Outcome::Failed(Failed::PortGone);
        };
        let emitted = egress.emit(header, client.0, 0, |_| ());
        self.shard().emitted.add(&mut self.state.writer, 1);
        if emitted.is_ok() {
            self.reached(client.0, port);
            return Outcome::Ok;
        }
        self.egress_full(port, 1);
        Outcome::Failed(Failed::EgressFull)
    }

    /// A client's last record: behind everything it sent, so behind everything of its own that it receives.
    pub(in crate::router) fn disconnect(&mut self, port: usize, header: &IngressHeader) {
        let shared = self.shared;
        let client = ClientId(header.client);
        let Some(slot) = shared.clients.on(client, port) else { return };
        let is_last = slot.pass_disconnect();
        let shard = self.shard();
        if let (true, Some(Some(egress))) = (is_last, self.state.egress.get_mut(port)) {
            shard.emitted.add(&mut self.state.writer, 1);
            let closed = DeliveryHeader { kind: delivery_kind::CLIENT_CLOSED, ..DeliveryHeader::default() };
            egress.emit_closing(&closed, client, &shared.clients);
        } else {
            slot.finish(1);
        }
    }

    /// Counts deliveries that will not be handed out.
    pub(in crate::router) fn undeliverable(&mut self, reason: Undeliverable, recipients: u64) {
        if let Some(cell) = self.shard().undeliverable.get(reason as usize) {
            cell.add(&mut self.state.writer, recipients);
        }
    }
}
