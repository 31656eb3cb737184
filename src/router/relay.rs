//! What happens to one message: classify, find the recipient, deliver or hold, count. Owned by a worker; it
//! never waits, and on the way of an ordinary message it allocates nothing and hashes the recipient once.

use super::egress::{Egress, Rejected};
use super::hold::{Held, Holds};
use super::rules::Action;
use super::shared::Shared;
use crate::clients::{ClientId, MAX_NAME_BYTES, NameBuffer, Shortage, Slot};
use crate::config::Key;
use crate::envelope::{self, ReadError};
use crate::error::{CloseReason, Failed, Undeliverable};
use crate::metrics::{ApplicationId, OTHER, Outcome, ProtocolId, Timing, TypeId, WorkerShard, Writer};
use crate::ring::record::{Delivery, Ingress, delivery_kind};
use crate::sync::{Relaxed, mutant};

type SeriesIds = (TypeId, ProtocolId, ApplicationId);

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) worker: usize,
    pub(super) egress: Vec<Option<Egress>>,
    pub(super) holds: Holds,
    pub(super) writer: Writer,
    /// The present cycle's number, from 1 on; see `placement`.
    pub(super) batch: u64,
    max_wait_ticks: u64,
}

/// The recipient was there, and is being closed.
pub(super) const CLOSING: Outcome = Outcome::Failed(Failed::RecipientClosed);

/// What has become of a message when its handling returns.
enum Handled {
    Ended(Outcome),
    Held,
}

impl Relay {
    pub(super) fn new(shared: &Shared, worker: usize) -> Self {
        let hold_ticks = shared.clock.ticks(shared.config.milliseconds(Key::HoldTime));
        Self {
            egress: (0..shared.ports.len()).map(|_| None).collect(),
            holds: Holds::new(&shared.config, hold_ticks),
            writer: Writer::new(),
            batch: 0,
            max_wait_ticks: shared.clock.ticks(shared.config.milliseconds(Key::MaxQueueWait)),
            worker,
        }
    }

    /// Handles one message and counts it. `started` is when the one before it ended; returns when this one did:
    /// the one clock read.
    pub(super) fn message(
        &mut self,
        shared: &Shared,
        port: usize,
        header: &Ingress,
        payload: &[u8],
        started: u64,
    ) -> u64 {
        let client = ClientId(header.client);
        let slot = shared.clients.get(client).filter(|slot| usize::from(slot.place().port) == port);
        if header.stamp > started {
            // A stamp from the future: the host's clock is not ours. Counted as no wait.
            shard(shared, self.worker).stamps_clamped.add(&mut self.writer, 1);
        }
        let stamp = header.stamp.min(started);
        let (ids, handled) = match slot {
            None => (no_series(), Handled::Ended(Outcome::Failed(Failed::StaleClient))),
            Some(slot) => self.classify(shared, client, slot, header, payload, stamp, started),
        };
        let ended = shared.clock.raw();
        let timing = Timing {
            queue_wait: shared.clock.nanoseconds(stamp, started),
            service: shared.clock.nanoseconds(started, ended),
        };
        let outcome = match handled {
            Handled::Ended(outcome) => Some(outcome),
            Handled::Held => None,
        };
        shard(shared, self.worker).record(&mut self.writer, ids, payload.len(), timing, outcome);
        if let (Some(slot), Some(_)) = (slot, outcome) {
            slot.finish(1);
        }
        ended
    }

    /// Reads the envelope and acts on the type.
    #[expect(clippy::too_many_arguments, reason = "one message's parts, passed once")]
    fn classify(
        &mut self,
        shared: &Shared,
        client: ClientId,
        slot: &Slot,
        header: &Ingress,
        payload: &[u8],
        stamp: u64,
        now: u64,
    ) -> (SeriesIds, Handled) {
        let (protocol, application) = slot.labels();
        let application = ApplicationId(application);
        let Some(rules) = shared.protocols.get(usize::from(protocol)) else {
            return (no_series(), Handled::Ended(Outcome::Failed(Failed::BadRecord)));
        };
        let unknown = (TypeId(OTHER), rules.id, application);
        let failed = |reason| Handled::Ended(Outcome::Failed(reason));
        let envelope = match envelope::read(rules.rules.protocol(), payload) {
            Ok(envelope) => envelope,
            Err(error) => return (unknown, failed(read_failure(error))),
        };
        let Some(message_type) = envelope.message_type() else {
            return (unknown, failed(Failed::MissingType));
        };
        let listed = rules.rules.types().iter().zip(&rules.types);
        let (ids, action) = match listed.into_iter().find(|((name, _), _)| message_type.eq_str(name)) {
            Some(((_, action), id)) => ((*id, rules.id, application), *action),
            None => match rules.rules.unknown() {
                Some(action) => (unknown, action),
                None => return (unknown, failed(Failed::UnknownType)),
            },
        };
        if now.saturating_sub(stamp) > self.max_wait_ticks {
            return (ids, Handled::Ended(Outcome::Expired));
        }
        let hold = match action {
            Action::KeepAlive => {
                slot.alive_at.store(now, Relaxed); // Relaxed: a time for the port's timers.
                return (ids, Handled::Ended(Outcome::Ok));
            }
            Action::Relay { hold } => hold,
            Action::RelayOrLeave => {
                if envelope.recipient().is_none() {
                    let left = Delivery { kind: delivery_kind::LEFT, ..Delivery::default() };
                    return (ids, Handled::Ended(self.notify(shared, client, slot, &left)));
                }
                false
            }
        };
        let Some(recipient) = envelope.recipient() else {
            return (ids, failed(Failed::NoRecipient));
        };
        let mut name_buffer = [0; MAX_NAME_BYTES];
        let name = recipient.decode(&mut name_buffer).filter(|name| name.len() <= MAX_NAME_BYTES);
        let Some(name) = name else {
            return (ids, failed(Failed::NameTooLong));
        };
        let name = name.as_bytes();
        let hash = shared.clients.names().hash(name);
        let mut sender_buffer = NameBuffer::default();
        let sender_name = slot.name(&mut sender_buffer);
        let length = envelope.relayed_len(sender_name);
        let delivery = Delivery {
            kind: delivery_kind::MESSAGE,
            flags: 0,
            sender: client.0,
            stamp,
            correlation: header.correlation,
            message_type: u32::from(ids.0.0),
            recipients: 1,
        };
        if let Some(to) = shared.clients.find(hash, name) {
            if self.holds.holds_for(hash) && !mutant("hold-overtaken") {
                self.flush(shared, hash, to);
            }
            // Still held: the client closes, and its successor gets them first.
            if !self.holds.holds_for(hash) || mutant("hold-overtaken") {
                let outcome = self.deliver(shared, &delivery, to, length, |out| {
                    envelope.write_relayed(sender_name, out);
                });
                if outcome != CLOSING || !hold {
                    return (ids, Handled::Ended(outcome));
                }
            } else if !hold {
                return (ids, Handled::Ended(CLOSING));
            }
        }
        if !hold {
            return (ids, failed(Failed::UnknownRecipient));
        }
        // Relaxed: this worker's own, or a count that nothing hangs on exactly.
        let of_sender = slot.held.load(Relaxed);
        if !self.holds.has_room(hash, of_sender, length) {
            return (ids, failed(Failed::HoldFull));
        }
        let mut copy = self.holds.buffer(length);
        envelope.write_relayed(sender_name, &mut copy);
        slot.hold_one();
        let held =
            Held { sender: client, stamp, correlation: header.correlation, labels: ids, payload: copy };
        self.holds.hold(hash, name, now, held);
        let count = self.holds.messages() as u64;
        shard(shared, self.worker).held.set(&mut self.writer, count);
        shard(shared, self.worker).held_maximum.raise(&mut self.writer, count);
        (ids, Handled::Held)
    }

    /// Delivers a message to one client, on credit.
    pub(super) fn deliver(
        &mut self,
        shared: &Shared,
        delivery: &Delivery,
        to: ClientId,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Outcome {
        let Some(slot) = shared.clients.slot(to.index()) else {
            return Outcome::Failed(Failed::RecipientClosed);
        };
        let bytes = length.min(u32::MAX as usize) as u32;
        match slot.credit.try_add(to.generation(), bytes, shared.limits) {
            Ok(()) => {}
            Err(Shortage::Closed) => return Outcome::Failed(Failed::RecipientClosed),
            Err(Shortage::Exhausted) => {
                self.close_client(shared, to, slot, CloseReason::Credit);
                return Outcome::Failed(Failed::Credit);
            }
        }
        // The credit pins the slot: its port is this client's until the credit is given back.
        let worker = shard(shared, self.worker);
        let port = usize::from(slot.place().port);
        let Some(Some(egress)) = self.egress.get_mut(port) else {
            slot.credit.subtract(1, bytes);
            return Outcome::Failed(Failed::PortGone);
        };
        match egress.emit(delivery, to.0, length, fill) {
            Ok(backlogged) => {
                let backlog_bytes = if backlogged { egress.backlog_bytes() } else { 0 };
                worker.emitted.add(&mut self.writer, 1);
                self.reached(shared, delivery.sender, port);
                let worker = shard(shared, self.worker);
                if backlogged {
                    worker.backlogged.add(&mut self.writer, 1);
                    worker.backlog_bytes_maximum.raise(&mut self.writer, backlog_bytes);
                }
                Outcome::Ok
            }
            Err(Rejected::TooLarge) => {
                slot.credit.subtract(1, bytes);
                Outcome::Failed(Failed::TooLarge)
            }
            Err(Rejected::Full) => {
                slot.credit.subtract(1, bytes);
                worker.emitted.add(&mut self.writer, 1);
                self.undeliverable(shared, Undeliverable::EgressFull, 1);
                Outcome::Failed(Failed::EgressFull)
            }
        }
    }

    /// Something that a message of `sender` caused is on its way to `port`: before that message is finished, so that its
    /// client does not move meanwhile.
    pub(super) fn reached(&mut self, shared: &Shared, sender: u64, port: usize) {
        let Some(Some(egress)) = self.egress.get_mut(port) else { return };
        if let Some(published) = shared.workers[self.worker].frontiers.get(port) {
            egress.frontier.emitted(self.batch, published);
        }
        let sender = ClientId(sender);
        // A delivery without a sender names none; one by a sender that is gone has nobody to move.
        if sender.generation() != 0
            && let Some(slot) = shared.clients.get(sender)
        {
            slot.reach(port, self.batch);
        }
    }

    /// Sends a client's own port word of it, without credit. Not sent while its port is full or gone.
    fn notify(&mut self, shared: &Shared, client: ClientId, slot: &Slot, header: &Delivery) -> Outcome {
        let port = usize::from(slot.place().port);
        let Some(Some(egress)) = self.egress.get_mut(port) else {
            return Outcome::Failed(Failed::PortGone);
        };
        let emitted = egress.emit(header, client.0, 0, |_| ());
        shard(shared, self.worker).emitted.add(&mut self.writer, 1);
        if emitted.is_ok() {
            self.reached(shared, client.0, port);
            return Outcome::Ok;
        }
        self.undeliverable(shared, Undeliverable::EgressFull, 1);
        Outcome::Failed(Failed::EgressFull)
    }

    /// Asks a client's port to close it; the first worker to do so sends the one close delivery.
    fn close_client(&mut self, shared: &Shared, client: ClientId, slot: &Slot, reason: CloseReason) {
        let port = usize::from(slot.place().port);
        if !slot.credit.close(client.generation()) {
            return;
        }
        let worker = shard(shared, self.worker);
        worker.credit_closes.add(&mut self.writer, 1);
        if let Some(Some(egress)) = self.egress.get_mut(port) {
            worker.emitted.add(&mut self.writer, 1);
            let header = Delivery { kind: delivery_kind::CLOSE, flags: reason as u16, ..Delivery::default() };
            egress.emit_closing(&header, client.0, &shared.clients);
        }
    }

    /// A client's last record: behind everything it sent, so behind everything of its own that it receives.
    pub(super) fn disconnect(&mut self, shared: &Shared, port: usize, header: &Ingress) {
        let client = ClientId(header.client);
        let slot = shared.clients.get(client).filter(|slot| usize::from(slot.place().port) == port);
        let here = slot.is_some_and(Slot::pass_disconnect);
        if let (true, Some(Some(egress))) = (here, self.egress.get_mut(port)) {
            shard(shared, self.worker).emitted.add(&mut self.writer, 1);
            let closed = Delivery { kind: delivery_kind::CLIENT_CLOSED, ..Delivery::default() };
            egress.emit_closing(&closed, client.0, &shared.clients);
        }
    }

    /// Counts deliveries that will not be handed out.
    pub(super) fn undeliverable(&mut self, shared: &Shared, reason: Undeliverable, recipients: u64) {
        if let Some(cell) = shard(shared, self.worker).undeliverable.get(reason as usize) {
            cell.add(&mut self.writer, recipients);
        }
    }
}

#[inline(always)]
pub(super) fn shard(shared: &Shared, worker: usize) -> &WorkerShard {
    &shared.workers[worker].shard
}

const fn no_series() -> SeriesIds {
    (TypeId(OTHER), ProtocolId(OTHER), ApplicationId(OTHER))
}

fn read_failure(error: ReadError) -> Failed {
    match error {
        ReadError::Empty => Failed::Empty,
        ReadError::NotUtf8 => Failed::NotUtf8,
        ReadError::NotJson => Failed::NotJson,
        ReadError::NotAnObject => Failed::NotAnObject,
        ReadError::TooDeep => Failed::TooDeep,
        ReadError::DuplicateField => Failed::DuplicateField,
        ReadError::WrongType => Failed::WrongType,
        ReadError::MissingType => Failed::MissingType,
        ReadError::FieldTooLong => Failed::NameTooLong,
        ReadError::TooLong => Failed::TooLarge,
        ReadError::AmbiguousSender => Failed::AmbiguousSender,
    }
}
