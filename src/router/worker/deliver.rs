//! Delivery to one client: takes credit, then writes the record through `egress` into the ring of the client's
//! port or the backlog behind it. Also notices, and the closed event of a client.
//!
//! Used by `dispatch`, `handler`, `held`, `request`, `rooms`, `over_limit`, `adoption` and `cycle`; the record
//! goes on to `port/poll`.

use crate::clients::{ClientId, ClientSlot, Clients, Shortage};
use crate::error::{Failed, Undeliverable};
use crate::metrics::Outcome;
use crate::ring::AttachState;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind};
use crate::router::worker::egress::{EgressSender, Rejected};
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

impl WorkerContext<'_> {
    /// Sends a notice to the sender of a message, on credit. The client does not move while the notice is under
    /// way, so its notices arrive in order, and before its CLIENT_CLOSED.
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

    /// Takes up the egress ring of a port that was opened in the middle of this cycle. Its clients' names can
    /// be found before the worker has checked its pairs again.
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
            self.state.lanes |= u64::from(pair.lane.is_some()) << port;
        }
    }

    /// Delivers a message to one client, on credit.
    pub(in crate::router) fn deliver(
        &mut self,
        delivery: &DeliveryHeader,
        to: ClientId,
        length: usize,
        fill: impl Fn(&mut [u8]),
    ) -> Outcome {
        let shared = self.shared;
        let Some(slot) = shared.clients.slot(to.index()) else {
            return Outcome::Failed(Failed::RecipientClosed);
        };
        let bytes = length.min(u32::MAX as usize) as u32;
        let port = match Clients::take_credit(slot, to, bytes, shared.limits) {
            Ok(port) => port,
            Err(Shortage::Exhausted) if mutant("send-without-credit") && delivery.sender == 0 => {
                usize::from(slot.place().port)
            }
            Err(Shortage::Closed) => {
                self.lose(to);
                return Outcome::Failed(Failed::RecipientClosed);
            }
            Err(Shortage::Exhausted) => return self.over_limit(delivery, to, slot, &mut false),
        };
        let worker = self.shard();
        self.see_to(port);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            slot.credit.subtract(to.generation(), 1, bytes);
            self.lose(to);
            return Outcome::Failed(Failed::PortGone);
        };
        match egress.emit(delivery, to.0, length, &fill) {
            Ok(false) => {
                worker.emitted.add(&mut self.state.writer, 1);
                self.reached(delivery.sender, port);
                Outcome::Ok
            }
            emitted => self.not_in_ring(delivery, (to, slot), port, length, emitted, &fill),
        }
    }

    /// Goes on with a delivery that is not in the egress ring: it is in the backlog, needs an out-of-line payload, or
    /// has no room.
    #[cold]
    fn not_in_ring(
        &mut self,
        delivery: &DeliveryHeader,
        (to, slot): (ClientId, &ClientSlot),
        port: usize,
        length: usize,
        emitted: Result<bool, Rejected>,
        fill: &dyn Fn(&mut [u8]),
    ) -> Outcome {
        let worker = self.shard();
        let emitted = match emitted {
            Err(Rejected::TooLarge) if delivery.kind == delivery_kind::MESSAGE => {
                self.emit_out_of_line(delivery, to, port, length, fill)
            }
            emitted => emitted,
        };
        let failed = match emitted {
            Ok(backlogged) => {
                worker.emitted.add(&mut self.state.writer, 1);
                self.sent(delivery.sender, port, 1, backlogged);
                return Outcome::Ok;
            }
            Err(Rejected::TooLarge) => Failed::TooLarge,
            Err(Rejected::PayloadsFull) => Failed::PayloadsFull,
            Err(Rejected::Full) => {
                worker.emitted.add(&mut self.state.writer, 1);
                self.egress_full(port, 1);
                Failed::EgressFull
            }
        };
        slot.credit.subtract(to.generation(), 1, length.min(u32::MAX as usize) as u32);
        self.lose(to);
        Outcome::Failed(failed)
    }

    /// Emits a delivery whose payload is too large for a record.
    fn emit_out_of_line(
        &mut self,
        delivery: &DeliveryHeader,
        to: ClientId,
        port: usize,
        length: usize,
        fill: &dyn Fn(&mut [u8]),
    ) -> Result<bool, Rejected> {
        let payloads = &self.shared.payloads;
        let payload = payloads.fill(length, fill).ok_or(Rejected::PayloadsFull)?;
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            debug_assert!(false, "the delivery was just tried there");
            return Err(Rejected::Full);
        };
        egress.emit_beside(payloads, (self.state.worker, port), delivery, &[to.0], payload)
    }

    /// Notes that something caused by a message of `sender` is on its way to `port`. Called before that message
    /// is finished, so that its client does not move meanwhile.
    pub(in crate::router) fn reached(&mut self, sender: u64, port: usize) {
        let shared = self.shared;
        let Some(Some(egress)) = self.state.egress.get_mut(port) else { return };
        if let Some(published) = shared.workers[self.state.worker].frontiers.get(port) {
            egress.frontier.emitted(self.state.batch, published);
        }
        let sender = ClientId(sender);
        // A delivery without a sender has no client to note, and a sender that is gone cannot move.
        if sender.generation() != 0
            && let Some(slot) = shared.clients.get(sender)
        {
            slot.reach(port, self.state.batch);
        }
    }

    /// Notes that a record for this many recipients, caused by a message of `sender`, is on its way to `port`
    /// or waits in the backlog.
    #[inline]
    pub(in crate::router) fn sent(&mut self, sender: u64, port: usize, recipients: u64, waits: bool) {
        self.reached(sender, port);
        if waits && let Some(Some(egress)) = self.state.egress.get(port) {
            let worker = self.shard();
            worker.backlogged.add(&mut self.state.writer, recipients);
            worker.backlog_bytes_maximum.raise(&mut self.state.writer, egress.backlog_bytes());
        }
    }

    /// Sends a notice about a client to its own port, without credit. Not sent if the port is full or gone.
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
        self.lose(client);
        Outcome::Failed(Failed::EgressFull)
    }

    /// Handles a client's disconnect record. The record comes behind all the client's messages, so the closed
    /// event comes behind all their deliveries to the client itself.
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

    /// Counts a delivery that a client does not get among the client's figures. Reads the settings itself, because a
    /// batch may be older than a reset.
    #[cold]
    pub(in crate::router) fn lose(&self, client: ClientId) {
        let controlled = self.shared.controls.now();
        if controlled.detailed {
            self.shared.clients.lose(client, controlled.epoch);
        }
    }

    /// Counts deliveries that will not be handed out.
    pub(in crate::router) fn undeliverable(&mut self, reason: Undeliverable, recipients: u64) {
        if let Some(cell) = self.shard().undeliverable.get(reason as usize) {
            cell.add(&mut self.state.writer, recipients);
        }
    }
}
