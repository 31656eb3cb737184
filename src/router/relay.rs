//! What happens to one message: classify, find the recipient, deliver or hold, count. Owned by a worker; it
//! never waits, and on the way of an ordinary message it allocates nothing and hashes the recipient once.

use super::base::Fallback;
use super::call_result::call_of;
use super::egress::{EgressSender, Rejected};
use super::handler::HandlerCall;
use super::hold::Held;
use super::message_end::MessageEnd;
use super::rules::Action;
use super::state::WorkerContext;
use super::tasks::TaskEntry;
use crate::clients::{ClientId, ClientSlot, MAX_NAME_BYTES, NameBuffer, Shortage};
use crate::envelope::{self, ReadError};
use crate::error::{Failed, Undeliverable};
use crate::metrics::{ApplicationId, OTHER, Outcome, ProtocolId, SeriesIds, TypeId};
use crate::ring::AttachState;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag};
use crate::sync::{Relaxed, mutant};

/// No client: what hosts send themselves, and what came from one that is gone.
pub(super) const NOBODY: ClientId = ClientId(0);

/// The recipient was there, and is being closed.
pub(super) const CLOSING: Outcome = Outcome::Failed(Failed::RecipientClosed);

/// What has become of a message when its handling returns.
pub(super) enum Handled {
    Ended(Outcome),
    Held,
    /// It goes out to the host, and ends when that says so.
    Task {
        hold: bool,
    },
    /// Its handler was given up: nothing may be touched any more.
    Abandoned,
}

impl WorkerContext<'_> {
    /// Handles one message and counts it; without its payload it fails, for the reason given. `started` is when the one before it ended; returns when this one did:
    /// the one clock read.
    pub(super) fn message(
        &mut self,
        port: usize,
        header: &IngressHeader,
        payload: Result<&[u8], Failed>,
        started: u64,
    ) -> u64 {
        let shared = self.shared;
        let client = ClientId(header.client);
        let slot = shared.clients.on(client, port);
        if header.stamp > started {
            // A stamp from the future: the host's clock is not ours. Counted as no wait.
            self.shard().stamps_clamped.add(&mut self.state.writer, 1);
        }
        let stamp = header.stamp.min(started);
        let call = call_of(header);
        let given_up =
            call.is_some_and(|call| !shared.calls.get(port).is_some_and(|calls| calls.start(call)));
        self.state.inside.answering = call.filter(|_| !given_up);
        #[cfg(test)]
        self.state.inside.panic_if_planted();
        let (ids, handled) = match slot {
            // Its caller has taken it back.
            _ if given_up => (no_series(), Handled::Ended(Outcome::Expired)),
            None => (no_series(), Handled::Ended(Outcome::Failed(Failed::StaleClient))),
            Some(slot) => match payload {
                Ok(payload) => self.classify(port, client, slot, header, payload, stamp, started),
                Err(reason) => (no_series(), Handled::Ended(Outcome::Failed(reason))),
            },
        };
        let ended = shared.clock.raw();
        let (outcome, is_held) = match handled {
            Handled::Ended(outcome) => (Some(outcome), false),
            Handled::Held => (None, true),
            Handled::Task { hold } => {
                self.hand_out(TaskEntry {
                    port,
                    header: *header,
                    ids,
                    stamp,
                    started,
                    spot: self.state.tasks.spot,
                    hold,
                });
                return ended;
            }
            Handled::Abandoned => return started,
        };
        // An expired message goes to its caller's fallback, which then counts it.
        let to_fallback = outcome == Some(Outcome::Expired) && shared.fallback == Fallback::Inline;
        let expired = call.is_some() && to_fallback;
        let taken_over =
            expired && (given_up || call.is_some_and(|call| self.tell_caller(port, call, outcome)));
        self.end(MessageEnd {
            sender: slot.map(|slot| (client, slot)),
            ids,
            bytes: payload.map_or(0, <[u8]>::len),
            timing: self.timing(stamp, started, ended),
            outcome: outcome.filter(|_| !taken_over || mutant("takeover-counted-twice")),
            is_held,
            call: call.filter(|_| !expired && !given_up).map(|call| (port, call)),
        });
        self.state.inside.answering = None;
        ended
    }

    /// Reads the envelope and acts on the type.
    #[expect(clippy::too_many_arguments, reason = "one message's parts, passed once")]
    fn classify(
        &mut self,
        port: usize,
        client: ClientId,
        slot: &ClientSlot,
        header: &IngressHeader,
        payload: &[u8],
        stamp: u64,
        now: u64,
    ) -> (SeriesIds, Handled) {
        let shared = self.shared;
        let Some((rules, application)) = shared.rules_of(slot) else {
            return (no_series(), Handled::Ended(Outcome::Failed(Failed::BadRecord)));
        };
        let unknown = (TypeId(OTHER), rules.id, application);
        let failed = |reason| Handled::Ended(Outcome::Failed(reason));
        let envelope = match envelope::read(rules.rules.protocol(), payload) {
            Ok(envelope) => envelope,
            Err(error) => return (unknown, failed(read_failure(error))),
        };
        // Without a type, in a protocol whose messages have none, it is of a type that is not listed.
        let message_type = envelope.message_type();
        let listed = message_type.and_then(|message_type| {
            let mut listed = rules.rules.types().iter().zip(&rules.types).enumerate();
            listed.find(|(_, ((name, _), _))| message_type.eq_str(name))
        });
        let (ids, action, handler) = match (listed, rules.rules.unknown()) {
            (Some((place, ((_, action), id))), _) => {
                let handler = self.code.handler(usize::from(slot.labels().0), place);
                ((*id, rules.id, application), *action, handler)
            }
            (None, Some(action)) => (unknown, action, None),
            (None, None) if message_type.is_none() => return (unknown, failed(Failed::MissingType)),
            (None, None) => return (unknown, failed(Failed::UnknownType)),
        };
        if self.is_late(stamp, now) {
            if header.flags & ingress_flag::TELL_EXPIRED != 0 {
                self.tell_late(client, header, stamp, ids);
            }
            return (ids, Handled::Ended(Outcome::Expired));
        }
        let envelope = &envelope;
        let call = HandlerCall {
            port,
            client,
            slot,
            header,
            payload,
            envelope,
            ids,
            action,
            stamp,
            started: now,
            now,
        };
        let handled = match handler {
            Some(handler) => self.call(|request| handler.run(request), &call),
            None => match action {
                Action::Host { hold } if self.state.tasks.can_take() => Handled::Task { hold },
                // Its port has changed it since the worker looked whether it may be taken.
                Action::Host { .. } => failed(Failed::BadRecord),
                _ => self.act(&call),
            },
        };
        (ids, handled)
    }

    /// Whether a message has waited so long that it is not handled any more.
    #[inline]
    pub(super) fn is_late(&self, stamp: u64, now: u64) -> bool {
        now.saturating_sub(stamp) > self.state.max_wait_ticks
    }

    /// Tells a sender that asked for it that its message has waited too long; on credit, or not at all.
    #[cold]
    fn tell_late(&mut self, client: ClientId, header: &IngressHeader, stamp: u64, ids: SeriesIds) {
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
    pub(super) fn tell(&mut self, notice: &DeliveryHeader, client: ClientId, payload: &[u8]) {
        let shared = self.shared;
        let told = self.deliver(notice, client, payload.len(), |out| out.copy_from_slice(payload));
        if told == Outcome::Ok
            && !mutant("notice-without-reach")
            && let Some(slot) = shared.clients.get(client)
        {
            self.reached(client.0, usize::from(slot.place().port));
        }
    }

    /// Does what the type's action says.
    pub(super) fn act(&mut self, call: &HandlerCall<'_>) -> Handled {
        let shared = self.shared;
        let HandlerCall { client, slot, header, envelope, ids, action, stamp, now, .. } = *call;
        let failed = |reason| Handled::Ended(Outcome::Failed(reason));
        let hold = match action {
            Action::KeepAlive => {
                slot.alive_at.store(now, Relaxed); // Relaxed: a time for the port's timers.
                return Handled::Ended(Outcome::Ok);
            }
            Action::Accept => return Handled::Ended(Outcome::Ok),
            Action::RelayToRoom => {
                let outcome = match envelope.room() {
                    Some(room) => self.relay_to_room(call, room),
                    None => Outcome::Failed(Failed::NoRecipient),
                };
                return Handled::Ended(outcome);
            }
            Action::Relay { hold } | Action::Handler { hold } | Action::Host { hold } => hold,
            Action::RelayOrLeave => {
                if envelope.recipient().is_none() {
                    let left = DeliveryHeader { kind: delivery_kind::LEFT, ..DeliveryHeader::default() };
                    return Handled::Ended(self.notify(client, slot, &left));
                }
                false
            }
        };
        let Some(recipient) = envelope.recipient() else {
            let outcome = match envelope.room() {
                Some(room) => self.relay_to_room(call, room),
                None => Outcome::Failed(Failed::NoRecipient),
            };
            return Handled::Ended(outcome);
        };
        let mut name_buffer = [0; MAX_NAME_BYTES];
        let name = recipient.decode(&mut name_buffer).filter(|name| name.len() <= MAX_NAME_BYTES);
        let Some(name) = name else {
            return failed(Failed::NameTooLong);
        };
        let name = name.as_bytes();
        let hash = shared.clients.names().hash(name);
        let mut sender_buffer = NameBuffer::default();
        let sender_name = slot.name(&mut sender_buffer);
        let length = envelope.relayed_len(sender_name);
        let delivery = call.delivery();
        if let Some(to) = shared.clients.find(hash, name) {
            if self.state.holds.holds_for(hash) && !mutant("hold-overtaken") {
                self.flush(hash, to);
            }
            // Still held: the client closes, and its successor gets them first.
            if !self.state.holds.holds_for(hash) || mutant("hold-overtaken") {
                let outcome = self.deliver(&delivery, to, length, |out| {
                    envelope.write_relayed(sender_name, out);
                });
                if outcome != CLOSING || !hold {
                    return Handled::Ended(outcome);
                }
            } else if !hold {
                return Handled::Ended(CLOSING);
            }
        }
        if !hold {
            return failed(Failed::UnknownRecipient);
        }
        // Relaxed: this worker's own, or a count that nothing hangs on exactly.
        let of_sender = slot.held.load(Relaxed);
        if !self.state.holds.has_room(hash, of_sender, length) {
            return failed(Failed::HoldFull);
        }
        self.state.scratch.resize(length, 0);
        envelope.write_relayed(sender_name, &mut self.state.scratch);
        slot.hold_one();
        // Its time counts from now, whatever time the host gave this cycle.
        let since = shared.clock.raw();
        let held = Held {
            sender: client,
            stamp,
            correlation: header.correlation,
            labels: ids,
            started: call.started,
            since,
            bytes: call.payload.len() as u32,
        };
        self.state.holds.hold(hash, name, since, held, &self.state.scratch);
        let count = self.state.holds.messages() as u64;
        self.shard().held.set(&mut self.state.writer, count);
        self.shard().held_maximum.raise(&mut self.state.writer, count);
        Handled::Held
    }

    /// Sees to it that there is a way to a port which was opened in the middle of this cycle: its clients' names are found
    /// before the worker has looked at its pairs again.
    #[inline]
    pub(super) fn see_to(&mut self, port: usize) {
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
    pub(super) fn deliver(
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
    pub(super) fn reached(&mut self, sender: u64, port: usize) {
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
    pub(super) fn sent(&mut self, sender: u64, port: usize, recipients: u64, waits: bool) {
        self.reached(sender, port);
        if waits && let Some(Some(egress)) = self.state.egress.get(port) {
            let worker = self.shard();
            worker.backlogged.add(&mut self.state.writer, recipients);
            worker.backlog_bytes_maximum.raise(&mut self.state.writer, egress.backlog_bytes());
        }
    }

    /// Sends a client's own port word of it, without credit. Not sent while its port is full or gone.
    pub(super) fn notify(&mut self, client: ClientId, slot: &ClientSlot, header: &DeliveryHeader) -> Outcome {
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
    pub(super) fn disconnect(&mut self, port: usize, header: &IngressHeader) {
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
    pub(super) fn undeliverable(&mut self, reason: Undeliverable, recipients: u64) {
        if let Some(cell) = self.shard().undeliverable.get(reason as usize) {
            cell.add(&mut self.state.writer, recipients);
        }
    }
}

pub(super) const fn no_series() -> SeriesIds {
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
        ReadError::ForgedSender => Failed::ForgedSender,
    }
}
