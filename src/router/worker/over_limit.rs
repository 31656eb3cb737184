//! What happens when a recipient has no credit left: its policy. Closes clients, and sends notices to senders.
//! In every case the delivery fails as `credit_exhausted`. Used by `deliver` and `rooms`; notices and close
//! deliveries go on through `egress`.

use crate::clients::{ClientId, ClientSlot, CreditPolicy};
use crate::error::{CloseReason, Failed, Loss, Undeliverable};
use crate::metrics::Outcome;
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::notice::{Notice, Tell};
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

impl WorkerContext<'_> {
    /// Ends a delivery for which `to` has no credit. `told` is whether the sender already has its notice about
    /// this message: it gets one notice, however many recipients refuse, because notices use no credit.
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
        // What is given up here counts as a delivery all the same: a message, a room member's copy or a notice.
        worker.emitted.add(&mut self.state.writer, 1);
        self.undeliverable(Undeliverable::CreditExhausted, 1);
        self.lose(to);
        let droppable = shared.is_droppable(delivery.message_type) || mutant("drop-unlisted");
        match slot.policy() {
            CreditPolicy::Refuse => {
                worker.credit_refusals.add(&mut self.state.writer, 1);
                let tells = match self.state.tell {
                    Tell::Wanted => true,
                    Tell::Told => false,
                    Tell::No => shared.config.credit.refusal_notices,
                };
                if is_message && !*told && tells {
                    *told = !mutant("notice-per-recipient");
                    self.tell_refused(delivery, to);
                }
                if mutant("refuse-closes") {
                    self.close_client(to, slot, CloseReason::CreditExhausted);
                }
            }
            CreditPolicy::Drop if droppable => worker.credit_drops.add(&mut self.state.writer, 1),
            CreditPolicy::Drop | CreditPolicy::Disconnect => {
                self.close_client(to, slot, CloseReason::CreditExhausted);
            }
        }
        Outcome::Failed(Failed::CreditExhausted)
    }

    /// Tells a message's sender that the recipient could not take it. The notice uses no credit, so that a notice never
    /// causes another. It is dropped if the sender's port has no room, unless the message was submitted with
    /// `tell_failed`.
    fn tell_refused(&mut self, delivery: &DeliveryHeader, recipient: ClientId) {
        let shared = self.shared;
        let sender = ClientId(delivery.sender);
        // No client has generation 0: a message that no client sent has no sender to notify.
        let Some(slot) = shared.clients.get(sender).filter(|_| sender.generation() != 0) else { return };
        if mutant("refusal-notice-lost") {
            return;
        }
        // The sender's message is not finished yet, so slot and port still belong to the sender.
        let kind = delivery_kind::UNDELIVERED;
        let reason = Loss::Failed(Failed::CreditExhausted);
        let mut notice = Notice::new(kind, sender, delivery.correlation, reason);
        notice.header.sender = recipient.0;
        if self.state.tell == Tell::Wanted {
            self.state.tell = Tell::Told;
            let port = usize::from(slot.place().port);
            self.tell_port(port, notice);
        } else if self.notify(sender, slot, &notice.header) == Outcome::Failed(Failed::PortGone) {
            // The notice was not emitted, but counts as a delivery all the same.
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

    /// Asks a client's port to close it. The first worker to do so sends the only close delivery.
    pub(super) fn close_client(&mut self, client: ClientId, slot: &ClientSlot, reason: CloseReason) {
        let shared = self.shared;
        // The credit word contains only a part of the generation.
        if slot.place().generation != client.generation() || !slot.credit.close_and_send(client.generation())
        {
            return;
        }
        // From here on the close delivery keeps the slot for this client.
        let port = usize::from(slot.place().port);
        self.see_to(port);
        let worker = self.shard();
        if reason == CloseReason::CreditExhausted {
            worker.credit_closes.add(&mut self.state.writer, 1);
        }
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
