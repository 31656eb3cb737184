//! What a recipient's lack of credit leads to: its policy. The part of a worker's relay that closes clients for it, and
//! tells senders. The message itself has failed as `credit_exhausted` in every case.

use crate::clients::{ClientId, ClientSlot, CreditPolicy};
use crate::config::Key;
use crate::error::{CloseReason, Failed, Undeliverable};
use crate::metrics::Outcome;
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

impl WorkerContext<'_> {
    /// Ends a delivery for which `to` has no credit. `told` says whether the sender has had its notice of this message: it gets
    /// one, however many recipients refuse, since notices take no credit.
    pub(in crate::router) fn over_limit(
        &mut self,
        delivery: &DeliveryHeader,
        to: ClientId,
        slot: &ClientSlot,
        told: &mut bool,
    ) -> Outcome {
        let shared = self.shared;
        let worker = self.shard();
        let is_message = delivery.kind == delivery_kind::MESSAGE;
        if !is_message {
            // A notice that is not given: a delivery all the same.
            worker.emitted.add(&mut self.state.writer, 1);
            self.undeliverable(Undeliverable::Credit, 1);
        }
        let droppable = shared.is_droppable(delivery.message_type) || mutant("drop-unlisted");
        match slot.policy() {
            CreditPolicy::Refuse => {
                worker.credit_refusals.add(&mut self.state.writer, 1);
                if is_message && shared.config.get(Key::RefusalNotices) == 1 && !*told {
                    *told = !mutant("notice-per-recipient");
                    self.tell_refused(delivery, to);
                }
                if mutant("refuse-closes") {
                    self.close_client(to, slot, CloseReason::Credit);
                }
            }
            CreditPolicy::Drop if droppable => worker.credit_drops.add(&mut self.state.writer, 1),
            CreditPolicy::Drop | CreditPolicy::Disconnect => {
                self.close_client(to, slot, CloseReason::Credit);
            }
        }
        Outcome::Failed(Failed::Credit)
    }

    /// Tells a message's sender that its recipient could not take it: without credit, so that it always gets through
    /// where its port does, and so that no notice ever causes another.
    fn tell_refused(&mut self, delivery: &DeliveryHeader, recipient: ClientId) {
        let shared = self.shared;
        let sender = ClientId(delivery.sender);
        // 0 is nobody's generation: what no client sent has nobody to be told.
        let Some(slot) = shared.clients.get(sender).filter(|_| sender.generation() != 0) else { return };
        if mutant("refusal-notice-lost") {
            return;
        }
        // The sender's own message is not finished yet, so the slot and its port are the sender's.
        let notice = DeliveryHeader {
            kind: delivery_kind::REFUSED,
            flags: Failed::Credit as u16,
            sender: recipient.0,
            stamp: delivery.stamp,
            correlation: delivery.correlation,
            message_type: delivery.message_type,
            recipients: 1,
        };
        if self.notify(sender, slot, &notice) == Outcome::Failed(Failed::PortGone) {
            // Nobody has heard of the message that it is about: a delivery all the same.
            self.shard().emitted.add(&mut self.state.writer, 1);
            self.undeliverable(Undeliverable::PortGone, 1);
        }
    }

    /// Counts deliveries for which ring and backlog of their port were full.
    pub(in crate::router) fn egress_full(&mut self, port: usize, recipients: u64) {
        let shared = self.shared;
        if let Some(path) = shared.workers[self.state.worker].paths.get(port) {
            path.egress_full.add(&mut self.state.writer, recipients);
        }
        self.undeliverable(Undeliverable::EgressFull, recipients);
    }

    /// Asks a client's port to close it; the first worker to do so sends the one close delivery.
    fn close_client(&mut self, client: ClientId, slot: &ClientSlot, reason: CloseReason) {
        let shared = self.shared;
        // The credit word knows a part of the generation only.
        if slot.place().generation != client.generation() || !slot.credit.close_and_send(client.generation())
        {
            return;
        }
        // From here on the close delivery keeps the slot this client's.
        let port = usize::from(slot.place().port);
        self.see_to(port);
        let worker = self.shard();
        worker.credit_closes.add(&mut self.state.writer, 1);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            slot.credit.end_close_delivery(client.generation());
            return;
        };
        worker.emitted.add(&mut self.state.writer, 1);
        let header =
            DeliveryHeader { kind: delivery_kind::CLOSE, flags: reason as u16, ..DeliveryHeader::default() };
        egress.emit_closing(&header, client, &shared.clients);
    }
}
