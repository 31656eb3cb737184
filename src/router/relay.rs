//! What happens to one message: classify, find the recipient, deliver or hold, count. Owned by a worker; it
//! never waits, and on the way of an ordinary message it allocates nothing and hashes the recipient once.

use super::egress::{EgressSender, Rejected};
use super::handler::{HandlerCall, Inside};
use super::hold::{Held, Holds};
use super::route::{Fallback, call_of, result_of};
use super::rules::Action;
use super::shared::Shared;
use super::tasks::{TaskEntry, Tasks};
use crate::call::CallId;
use crate::clients::{ClientId, ClientMessage, ClientSlot, MAX_NAME_BYTES, NameBuffer, RoomReader, Shortage};
use crate::config::Key;
use crate::envelope::{self, ReadError};
use crate::error::{Failed, Undeliverable};
use crate::metrics::{
    ApplicationId, OTHER, Outcome, ProtocolId, SeriesIds, SlowMessage, Timing, TypeId, WorkerShard, Writer,
};
use crate::ring::AttachState;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag};
use crate::sync::{Relaxed, mutant, os};

/// No client: what hosts send themselves, and what came from one that is gone.
pub(super) const NOBODY: ClientId = ClientId(0);

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) worker: usize,
    pub(super) egress: Vec<Option<EgressSender>>,
    pub(super) holds: Holds,
    pub(super) writer: Writer,
    /// A payload on its way to or from where it is held.
    pub(super) scratch: Vec<u8>,
    pub(super) inside: Inside,
    /// The present cycle's number, from 1 on; see `placement`.
    pub(super) batch: u64,
    /// Messages that have ended here since their permits were given back.
    pub(super) ended: u64,
    max_wait_ticks: u64,
    /// `enable_metrics`.
    metrics: bool,
    /// The worker's way to rooms, and a place for one port's members, as large as the largest room.
    pub(super) rooms: Option<RoomReader>,
    pub(super) members: Vec<u64>,
    /// What the host that drives the worker has.
    pub(super) tasks: Tasks,
}

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

impl Relay {
    pub(super) fn new(shared: &Shared, worker: usize) -> Self {
        let hold_ticks = shared.clock.ticks(shared.config.milliseconds(Key::HoldTime));
        Self {
            egress: (0..shared.ports.len()).map(|_| None).collect(),
            holds: Holds::new(&shared.config, hold_ticks),
            writer: Writer::new(),
            scratch: Vec::with_capacity(shared.config.max_relayed()),
            inside: Inside::new(shared.ports.len()),
            batch: 0,
            ended: 0,
            max_wait_ticks: shared.clock.ticks(shared.config.milliseconds(Key::MaxQueueWait)),
            metrics: shared.config.has_metrics(),
            rooms: shared.rooms.reader(),
            members: Vec::with_capacity(shared.config.count(Key::MaxRoomMembers)),
            tasks: Tasks::new(worker, shared.task_limit(), shared.ports.len()),
            worker,
        }
    }

    /// What stands in a worker's place for its relay while that is laid down: nothing is done with it.
    pub(super) fn hollow(worker: usize) -> Self {
        Self {
            egress: Vec::new(),
            holds: Holds::hollow(),
            writer: Writer::new(),
            scratch: Vec::new(),
            inside: Inside::new(0),
            batch: 0,
            ended: 0,
            max_wait_ticks: 0,
            metrics: false,
            rooms: None,
            members: Vec::new(),
            tasks: Tasks::new(worker, 0, 0),
            worker,
        }
    }

    /// Takes what is reserved from the system.
    pub(super) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(self.scratch.spare_capacity_mut())?;
        self.holds.touch()
    }

    /// Handles one message and counts it; without its payload it fails, for the reason given. `started` is when the one before it ended; returns when this one did:
    /// the one clock read.
    pub(super) fn message(
        self: &mut Box<Self>,
        shared: &Shared,
        port: usize,
        header: &IngressHeader,
        payload: Result<&[u8], Failed>,
        started: u64,
    ) -> u64 {
        let client = ClientId(header.client);
        let slot = shared.clients.on(client, port);
        if header.stamp > started {
            // A stamp from the future: the host's clock is not ours. Counted as no wait.
            shard(shared, self.worker).stamps_clamped.add(&mut self.writer, 1);
        }
        let stamp = header.stamp.min(started);
        let call = call_of(header);
        let given_up =
            call.is_some_and(|call| !shared.calls.get(port).is_some_and(|calls| calls.start(call)));
        self.inside.answering = call.filter(|_| !given_up);
        #[cfg(test)]
        self.inside.panic_if_planted();
        let (ids, handled) = match slot {
            // Its caller has taken it back.
            _ if given_up => (no_series(), Handled::Ended(Outcome::Expired)),
            None => (no_series(), Handled::Ended(Outcome::Failed(Failed::StaleClient))),
            Some(slot) => match payload {
                Ok(payload) => self.classify(shared, port, client, slot, header, payload, stamp, started),
                Err(reason) => (no_series(), Handled::Ended(Outcome::Failed(reason))),
            },
        };
        let ended = shared.clock.raw();
        let timing = Timing {
            queue_wait: shared.clock.nanoseconds(stamp, started),
            service: shared.clock.nanoseconds(started, ended),
            held: None,
            ended,
        };
        let (outcome, is_held) = match handled {
            Handled::Ended(outcome) => (Some(outcome), false),
            Handled::Held => (None, true),
            Handled::Task { hold } => {
                self.hand_out(
                    shared,
                    TaskEntry { port, header: *header, ids, stamp, started, spot: self.tasks.spot, hold },
                );
                return ended;
            }
            Handled::Abandoned => return started,
        };
        // An expired message goes to its caller's fallback, which then counts it.
        let to_fallback = outcome == Some(Outcome::Expired) && shared.fallback == Fallback::Inline;
        let expired = call.is_some() && to_fallback;
        let taken_over = expired && (given_up || self.tell_caller(shared, port, call, outcome));
        let counted = outcome.filter(|_| !taken_over || mutant("takeover-counted-twice"));
        let sender = slot.map_or(NOBODY, |_| client);
        self.count(shared, sender, ids, payload.map_or(0, <[u8]>::len), timing, counted);
        self.ended += u64::from(!is_held);
        if let Some(slot) = slot.filter(|_| !is_held) {
            slot.finish(1);
        }
        if !expired && !given_up {
            self.tell_caller(shared, port, call, outcome);
        }
        self.inside.answering = None;
        ended
    }

    /// Counts one message into everything that it feeds: of a client, or of [`NOBODY`]. Without an outcome it has not ended here, and
    /// counts as received alone: it is held, or taken over.
    #[inline]
    pub(super) fn count(
        &mut self,
        shared: &Shared,
        client: ClientId,
        ids: SeriesIds,
        bytes: usize,
        timing: Timing,
        outcome: Option<Outcome>,
    ) {
        let shard = shard(shared, self.worker);
        let Some(outcome) = outcome else {
            shard.receive(&mut self.writer, ids.0);
            if self.writer.controlled.detailed
                && let Some(line) = shared.clients.line(client).filter(|_| client != NOBODY)
            {
                line.touch(timing.ended);
            }
            return;
        };
        if !self.metrics {
            shard.record_plainly(&mut self.writer, ids, timing.held.is_some(), outcome);
            return;
        }
        let is_slow = shard.record(&mut self.writer, ids, bytes, timing, outcome);
        let slot = shared.clients.slot(client.index()).filter(|_| client != NOBODY);
        if self.writer.controlled.detailed
            && let (Some(slot), Some(line)) = (slot, shared.clients.line(client))
        {
            let epoch = self.writer.controlled.epoch;
            let failed = outcome != Outcome::Ok;
            // What was held is no sign of life when it ends.
            let ended = if timing.held.is_none() { timing.ended } else { line.last() };
            let (bytes, nanoseconds) = (bytes as u64, timing.total());
            slot.count(line, ClientMessage { epoch, failed, bytes, nanoseconds, ended });
        }
        if outcome != Outcome::Ok {
            shard.failing.note(&mut self.writer, client, timing.ended);
        }
        if is_slow {
            self.list_slow(shared, client, slot, ids, bytes, timing, outcome);
        }
    }

    /// Writes a slow message down for the monitor's list.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "one message's parts, passed once")]
    fn list_slow(
        &mut self,
        shared: &Shared,
        client: ClientId,
        slot: Option<&ClientSlot>,
        ids: SeriesIds,
        bytes: usize,
        timing: Timing,
        outcome: Outcome,
    ) {
        let mut buffer = NameBuffer::default();
        let name = SlowMessage::name_of(slot.map_or("", |slot| slot.name(&mut buffer)));
        let succeeded = outcome == Outcome::Ok;
        let message = SlowMessage { timing, client, name, ids, succeeded, bytes: bytes as u64 };
        shard(shared, self.worker).slow.write(&mut self.writer, message.words());
    }

    /// Puts a message's result where its caller waits for it. Says whether the caller is still there.
    pub(super) fn tell_caller(
        &self,
        shared: &Shared,
        port: usize,
        call: Option<CallId>,
        outcome: Option<Outcome>,
    ) -> bool {
        let (Some(call), Some(calls)) = (call, shared.calls.get(port)) else { return false };
        calls.finish(call, result_of(outcome))
    }

    /// Reads the envelope and acts on the type.
    #[expect(clippy::too_many_arguments, reason = "one message's parts, passed once")]
    fn classify(
        self: &mut Box<Self>,
        shared: &Shared,
        port: usize,
        client: ClientId,
        slot: &ClientSlot,
        header: &IngressHeader,
        payload: &[u8],
        stamp: u64,
        now: u64,
    ) -> (SeriesIds, Handled) {
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
            let mut listed = rules.rules.types().iter().zip(&rules.types).zip(&rules.handlers);
            listed.find(|(((name, _), _), _)| message_type.eq_str(name))
        });
        let (ids, action, handler) = match (listed, rules.rules.unknown()) {
            (Some((((_, action), id), handler)), _) => {
                ((*id, rules.id, application), *action, handler.as_ref())
            }
            (None, Some(action)) => (unknown, action, None),
            (None, None) if message_type.is_none() => return (unknown, failed(Failed::MissingType)),
            (None, None) => return (unknown, failed(Failed::UnknownType)),
        };
        if self.is_late(stamp, now) {
            if header.flags & ingress_flag::TELL_EXPIRED != 0 {
                self.tell_late(shared, client, header, stamp, ids);
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
            Some(handler) => self.call(shared, |request| handler.run(request), &call),
            None => match action {
                Action::Host { hold } if self.tasks.can_take() => Handled::Task { hold },
                // Its port has changed it since the worker looked whether it may be taken.
                Action::Host { .. } => failed(Failed::BadRecord),
                _ => self.act(shared, &call),
            },
        };
        (ids, handled)
    }

    /// Whether a message has waited so long that it is not handled any more.
    #[inline]
    pub(super) fn is_late(&self, stamp: u64, now: u64) -> bool {
        now.saturating_sub(stamp) > self.max_wait_ticks
    }

    /// Tells a sender that asked for it that its message has waited too long; on credit, or not at all.
    #[cold]
    fn tell_late(
        &mut self,
        shared: &Shared,
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
        self.tell(shared, &late, client, b"");
    }

    /// Gives a sender a notice of one of its messages, on credit. As long as it is under way the client does not move: so
    /// notices come in order, and before the client's CLIENT_CLOSED.
    pub(super) fn tell(
        &mut self,
        shared: &Shared,
        notice: &DeliveryHeader,
        client: ClientId,
        payload: &[u8],
    ) {
        let told = self.deliver(shared, notice, client, payload.len(), |out| out.copy_from_slice(payload));
        if told == Outcome::Ok
            && !mutant("notice-without-reach")
            && let Some(slot) = shared.clients.get(client)
        {
            self.reached(shared, client.0, usize::from(slot.place().port));
        }
    }

    /// Does what the type's action says.
    pub(super) fn act(&mut self, shared: &Shared, call: &HandlerCall<'_>) -> Handled {
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
                    Some(room) => self.relay_to_room(shared, call, room),
                    None => Outcome::Failed(Failed::NoRecipient),
                };
                return Handled::Ended(outcome);
            }
            Action::Relay { hold } | Action::Handler { hold } | Action::Host { hold } => hold,
            Action::RelayOrLeave => {
                if envelope.recipient().is_none() {
                    let left = DeliveryHeader { kind: delivery_kind::LEFT, ..DeliveryHeader::default() };
                    return Handled::Ended(self.notify(shared, client, slot, &left));
                }
                false
            }
        };
        let Some(recipient) = envelope.recipient() else {
            let outcome = match envelope.room() {
                Some(room) => self.relay_to_room(shared, call, room),
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
            if self.holds.holds_for(hash) && !mutant("hold-overtaken") {
                self.flush(shared, hash, to);
            }
            // Still held: the client closes, and its successor gets them first.
            if !self.holds.holds_for(hash) || mutant("hold-overtaken") {
                let outcome = self.deliver(shared, &delivery, to, length, |out| {
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
        if !self.holds.has_room(hash, of_sender, length) {
            return failed(Failed::HoldFull);
        }
        self.scratch.resize(length, 0);
        envelope.write_relayed(sender_name, &mut self.scratch);
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
        self.holds.hold(hash, name, since, held, &self.scratch);
        let count = self.holds.messages() as u64;
        shard(shared, self.worker).held.set(&mut self.writer, count);
        shard(shared, self.worker).held_maximum.raise(&mut self.writer, count);
        Handled::Held
    }

    /// Sees to it that there is a way to a port which was opened in the middle of this cycle: its clients' names are found
    /// before the worker has looked at its pairs again.
    #[inline]
    pub(super) fn see_to(&mut self, shared: &Shared, port: usize) {
        if matches!(self.egress.get(port), Some(None)) {
            self.take_up_egress(shared, port);
        }
    }

    #[cold]
    fn take_up_egress(&mut self, shared: &Shared, port: usize) {
        let pair = shared.pair(self.worker, port);
        if pair.state() == AttachState::Attached
            && let (Some(egress), Some(pair)) = (self.egress.get_mut(port), pair.view())
        {
            *egress = Some(EgressSender::new(&pair));
        }
    }

    /// Delivers a message to one client, on credit.
    pub(super) fn deliver(
        &mut self,
        shared: &Shared,
        delivery: &DeliveryHeader,
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
            Err(Shortage::Exhausted) if mutant("send-without-credit") && delivery.sender == 0 => {}
            Err(Shortage::Closed) => return Outcome::Failed(Failed::RecipientClosed),
            Err(Shortage::Exhausted) => return self.over_limit(shared, delivery, to, slot, &mut false),
        }
        // The credit pins the slot: its port is this client's until the credit is given back.
        let worker = shard(shared, self.worker);
        let place = slot.place();
        if place.generation != to.generation() {
            // The credit word knows a part of the generation only.
            slot.credit.subtract(to.generation(), 1, bytes);
            return Outcome::Failed(Failed::RecipientClosed);
        }
        let port = usize::from(place.port);
        self.see_to(shared, port);
        let Some(Some(egress)) = self.egress.get_mut(port) else {
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
            egress.emit_beside(&shared.payloads, (self.worker, port), delivery, &[to.0], payload)
        };
        match emitted {
            Ok(backlogged) => {
                worker.emitted.add(&mut self.writer, 1);
                self.sent(shared, delivery.sender, port, 1, backlogged);
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
                worker.emitted.add(&mut self.writer, 1);
                self.egress_full(shared, port, 1);
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

    /// A record for so many recipients, caused by a message of `sender`, is on its way to `port`, or waits for room there.
    #[inline]
    pub(super) fn sent(&mut self, shared: &Shared, sender: u64, port: usize, recipients: u64, waits: bool) {
        self.reached(shared, sender, port);
        if waits && let Some(Some(egress)) = self.egress.get(port) {
            let worker = shard(shared, self.worker);
            worker.backlogged.add(&mut self.writer, recipients);
            worker.backlog_bytes_maximum.raise(&mut self.writer, egress.backlog_bytes());
        }
    }

    /// Sends a client's own port word of it, without credit. Not sent while its port is full or gone.
    pub(super) fn notify(
        &mut self,
        shared: &Shared,
        client: ClientId,
        slot: &ClientSlot,
        header: &DeliveryHeader,
    ) -> Outcome {
        let port = usize::from(slot.place().port);
        self.see_to(shared, port);
        let Some(Some(egress)) = self.egress.get_mut(port) else {
            return Outcome::Failed(Failed::PortGone);
        };
        let emitted = egress.emit(header, client.0, 0, |_| ());
        shard(shared, self.worker).emitted.add(&mut self.writer, 1);
        if emitted.is_ok() {
            self.reached(shared, client.0, port);
            return Outcome::Ok;
        }
        self.egress_full(shared, port, 1);
        Outcome::Failed(Failed::EgressFull)
    }

    /// A client's last record: behind everything it sent, so behind everything of its own that it receives.
    pub(super) fn disconnect(&mut self, shared: &Shared, port: usize, header: &IngressHeader) {
        let client = ClientId(header.client);
        let Some(slot) = shared.clients.on(client, port) else { return };
        let is_last = slot.pass_disconnect();
        if let (true, Some(Some(egress))) = (is_last, self.egress.get_mut(port)) {
            shard(shared, self.worker).emitted.add(&mut self.writer, 1);
            let closed = DeliveryHeader { kind: delivery_kind::CLIENT_CLOSED, ..DeliveryHeader::default() };
            egress.emit_closing(&closed, client, &shared.clients);
        } else {
            slot.finish(1);
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
