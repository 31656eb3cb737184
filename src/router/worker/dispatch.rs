//! The handling of one record: classify the message, find its recipient, deliver or hold it, count it. Runs on
//! a worker and never waits. An ordinary message allocates nothing, and its recipient's name is hashed once.
//!
//! `cycle` passes each record to `dispatch`; `request` and `send` use parts of it. A message goes on to
//! `deliver`, `rooms`, `hold`, `handler` or `tasks`, and ends in `message_end`; a host send goes to `send`.

use crate::clients::{ClientId, ClientSlot, MAX_NAME_BYTES, NameBuffer, NameHash};
use crate::envelope::{self, ReadError};
use crate::error::Failed;
use crate::metrics::{OTHER, Outcome, SeriesIds, TypeId};
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag, ingress_kind};
use crate::ring::{Corrupt, Record};
use crate::router::base::{Fallback, call_of};
use crate::router::pair::PairCounts;
use crate::router::payload::read_reference;
use crate::router::rules::Action;
use crate::router::worker::handled::{CLOSING, Handled, no_series};
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::hold::Held;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::state::WorkerContext;
use crate::router::worker::tasks::TaskEntry;
use crate::sync::{Relaxed, mutant};

impl WorkerContext<'_> {
    /// Handles one record of a port's ring. `time` is when the previous record ended; afterwards it is when
    /// this record ended.
    #[inline]
    pub(in crate::router) fn dispatch(
        &mut self,
        port: usize,
        counts: &PairCounts,
        record: &Record<'_>,
        time: &mut u64,
    ) -> Result<(), Corrupt> {
        let Some((header, payload)) = IngressHeader::read(record.bytes) else { return Err(Corrupt) };
        // The out-of-line payload is kept until the message has ended.
        let beside = (header.flags & ingress_flag::OWNED != 0)
            .then(|| read_reference(payload).and_then(|(number, _)| self.shared.payloads.take(number)));
        let bytes = match &beside {
            None => Ok(payload),
            Some(Some(beside)) => beside.bytes().ok_or(Failed::Panicked),
            // The record refers to a payload that does not exist.
            Some(None) => Err(Failed::BadRecord),
        };
        match record.kind {
            ingress_kind::MESSAGE => {
                // For a task, which keeps the payload.
                self.state.tasks.arriving = beside.clone().flatten();
                *time = self.message(port, &header, bytes, *time);
                if !self.state.inside.abandoned {
                    self.state.tasks.arriving = None;
                }
            }
            ingress_kind::SEND => *time = self.send(&header, bytes, *time),
            ingress_kind::DISCONNECT => {
                counts.take_other();
                self.disconnect(port, &header);
            }
            ingress_kind::NAME_CONNECTED => {
                counts.take_other();
                self.name_connected(NameHash(header.recipient));
            }
            _ => return Err(Corrupt),
        }
        Ok(())
    }

    /// Handles one message and counts it. If `payload` is an error, the message fails for that reason.
    /// `started` is when the previous message ended. Returns when this message ended: the only clock read.
    pub(in crate::router) fn message(
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
            // The stamp is in the future, because the host's clock differs. It counts as no queue wait.
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
            // The caller has cancelled the call.
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
        // An expired message of a call goes to the caller's base route, and the caller then counts it.
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

    /// Reads the envelope and runs the action of the type.
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
        // In a protocol whose messages have no type, a message counts as a type that is not listed.
        let message_type = envelope.message_type();
        let listed = message_type.and_then(|message_type| {
            let place = rules.names.find(message_type)?;
            Some((place, rules.rules.types().get(place)?.1, *rules.types.get(place)?))
        });
        let (ids, action, handler) = match (listed, rules.rules.unknown()) {
            (Some((place, action, id)), _) => {
                let handler = self.code.handler(usize::from(slot.labels().0), place);
                ((id, rules.id, application), action, handler)
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
                // An inline port has changed the message since the gate checked it.
                Action::Host { .. } => failed(Failed::BadRecord),
                _ => self.act(&call),
            },
        };
        (ids, handled)
    }

    /// Whether a message has waited too long to be handled.
    #[inline]
    pub(in crate::router) fn is_late(&self, stamp: u64, now: u64) -> bool {
        now.saturating_sub(stamp) > self.state.max_wait_ticks
    }

    /// Runs the action of a message's type.
    pub(in crate::router) fn act(&mut self, call: &HandlerCall<'_>) -> Handled {
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
        let name = recipient.decode_bytes(&mut name_buffer).filter(|name| name.len() <= MAX_NAME_BYTES);
        let Some(name) = name else {
            return failed(Failed::NameTooLong);
        };
        let hash = shared.clients.names().hash(name);
        let mut sender_buffer = NameBuffer::default();
        let sender_name = slot.name(&mut sender_buffer);
        let length = envelope.relayed_len(sender_name);
        let delivery = call.delivery();
        if let Some(to) = shared.clients.find(hash, name) {
            if self.state.holds.holds_for(hash) && !mutant("hold-overtaken") {
                self.flush(hash, to);
            }
            // If messages are still held, the client is closing, and the next client of the name gets them
            // first.
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
        // Relaxed: the worker's own last store, or a count that need not be exact.
        let of_sender = slot.held.load(Relaxed);
        if !self.state.holds.has_room(hash, of_sender, length) {
            return failed(Failed::HoldFull);
        }
        self.state.scratch.resize(length, 0);
        envelope.write_relayed(sender_name, &mut self.state.scratch);
        slot.hold_one();
        // The hold time counts from now, whatever time the host passed to this cycle.
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
