//! The straight path of a message on a worker: read the envelope, find the recipient, deliver, count. Never waits and
//! allocates nothing; the recipient's name is hashed once, or not at all if it was found a short time ago. What few
//! messages need is in `unusual`.
//!
//! `cycle` passes each record to `dispatch`; `unusual` and `request` use parts of it. A message goes on to `deliver`,
//! and ends in `message_end`.

use crate::clients::{ClientId, ClientSlot, MAX_NAME_BYTES, NameBuffer};
use crate::envelope::{self, ReadError, Text};
use crate::error::Failed;
use crate::metrics::{OTHER, Outcome, SeriesIds, TypeId};
use crate::ring::record::{IngressHeader, ingress_flag, ingress_kind};
use crate::ring::{Corrupt, Record};
use crate::router::notice::Tell;
use crate::router::pair::PairCounts;
use crate::router::rules::Action;
use crate::router::worker::handled::{CLOSING, Handled, no_series};
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::state::WorkerContext;
use crate::router::worker::unusual::Unended;
use crate::sync::{Relaxed, mutant};

/// Flags of a message that [`ordinary`](WorkerContext::ordinary) does not handle.
pub(in crate::router) const UNUSUAL: u16 = ingress_flag::OWNED | ingress_flag::CALL | ingress_flag::ADDRESSED;

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
        if record.kind == ingress_kind::MESSAGE && header.flags & UNUSUAL == 0 {
            *time = self.ordinary(port, &header, payload, *time);
            return Ok(());
        }
        self.unusual(port, counts, record.kind, (&header, payload), time)
    }

    /// Handles a message whose payload is in the record and for which no caller waits, and counts it. `started`
    /// is when the previous message ended. Returns when this message ended: the only clock read.
    #[inline]
    pub(in crate::router) fn ordinary(
        &mut self,
        port: usize,
        header: &IngressHeader,
        payload: &[u8],
        started: u64,
    ) -> u64 {
        let client = ClientId(header.client);
        let stamp = self.stamp(header, started);
        self.state.tell = Tell::of(header);
        #[cfg(test)]
        self.state.inside.panic_if_planted();
        let slot = self.shared.clients.on(client, port);
        let (ids, handled) = match slot {
            Some(slot) => self.classify(port, client, slot, header, payload, stamp, started),
            None => (no_series(), Handled::Ended(Outcome::Failed(Failed::StaleClient))),
        };
        let ended = self.shared.clock.raw();
        let Handled::Ended(outcome) = handled else {
            let end = Unended { port, header, slot, ids, bytes: payload.len(), stamp, started, ended };
            return self.not_ended(handled, &end);
        };
        if outcome != Outcome::Ok && self.state.tell == Tell::Wanted {
            self.tell_failed(port, header, outcome);
        }
        self.end(MessageEnd {
            sender: slot.map(|slot| (client, slot)),
            ids,
            bytes: payload.len(),
            timing: self.timing(stamp, started, ended),
            outcome: Some(outcome),
            is_held: false,
            call: None,
        });
        ended
    }

    /// When the message was stamped, but not after `started`: the host's clock may differ. A stamp in the future
    /// counts as no queue wait.
    #[inline]
    pub(in crate::router) fn stamp(&mut self, header: &IngressHeader, started: u64) -> u64 {
        if header.stamp > started {
            self.shard().stamps_clamped.add(&mut self.state.writer, 1);
        }
        header.stamp.min(started)
    }

    /// Reads the envelope and runs the action of the type.
    #[expect(clippy::too_many_arguments, reason = "one message's parts, passed once")]
    #[inline]
    pub(in crate::router) fn classify(
        &mut self,
        port: usize,
        client: ClientId,
        slot: &ClientSlot,
        header: &IngressHeader,
        payload: &[u8],
        stamp: u64,
        now: u64,
    ) -> (SeriesIds, Handled) {
        let Some((rules, application)) = self.shared.rules_of(slot) else {
            return (no_series(), failed(Failed::BadRecord));
        };
        let unknown = (TypeId(OTHER), rules.id, application);
        let read = envelope::read(rules.rules.protocol(), payload);
        let envelope = match &read {
            Ok(envelope) => envelope,
            Err(error) => return (unknown, failed(read_failure(*error))),
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
            return (ids, Handled::Ended(Outcome::Expired));
        }
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
        let handled = match (handler, action) {
            (Some(handler), _) => self.run(handler, &call),
            (None, Action::Host { hold }) => self.task(hold),
            (None, _) => self.act(&call),
        };
        (ids, handled)
    }

    /// Whether a message has waited too long to be handled.
    #[inline]
    pub(in crate::router) fn is_late(&self, stamp: u64, now: u64) -> bool {
        now.saturating_sub(stamp) > self.state.max_wait_ticks
    }

    /// Runs the action of a message's type.
    #[inline]
    pub(in crate::router) fn act(&mut self, call: &HandlerCall<'_>) -> Handled {
        match (call.action, call.envelope.recipient()) {
            (Action::KeepAlive, _) => {
                call.slot.alive_at.store(call.now, Relaxed); // Relaxed: a time for the port's timers.
                Handled::Ended(Outcome::Ok)
            }
            (Action::Accept, _) => Handled::Ended(Outcome::Ok),
            (Action::Relay { hold }, Some(recipient)) => self.relay(call, recipient, hold),
            (_, recipient) => self.act_unusually(call, recipient),
        }
    }

    /// Relays a message to the client of this name, or holds it.
    #[inline]
    pub(in crate::router) fn relay(
        &mut self,
        call: &HandlerCall<'_>,
        recipient: Text<'_>,
        hold: bool,
    ) -> Handled {
        let shared = self.shared;
        let mut name_buffer = [0; MAX_NAME_BYTES];
        let name = recipient.decode_bytes(&mut name_buffer).filter(|name| name.len() <= MAX_NAME_BYTES);
        let Some(name) = name else { return failed(Failed::FieldTooLong) };
        let (hash, found) = shared.clients.find_recent(&mut self.state.recent, name);
        let mut sender_buffer = NameBuffer::default();
        let relayed = call.envelope.relayed_from(call.slot.name_bytes(&mut sender_buffer));
        let unanswered = self.unanswered(hash).is_some() && !mutant("link-local-overtakes");
        if (found.is_none() || unanswered) && shared.directory().is_some() {
            return self.relay_elsewhere(call, (hash, name), found.is_some(), hold, &relayed);
        }
        if let Some(to) = found {
            if self.state.holds.holds_for(hash) && !mutant("hold-overtaken") {
                self.flush(hash, to);
            }
            // If messages are still held, the client is closing, and the next client of the name gets them
            // first.
            if !self.state.holds.holds_for(hash) || mutant("hold-overtaken") {
                let outcome = self.deliver(&call.delivery(), to, relayed.len(), |out| relayed.write(out));
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
        self.hold(call, (hash, name), &relayed)
    }
}

const fn failed(reason: Failed) -> Handled {
    Handled::Ended(Outcome::Failed(reason))
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
        ReadError::FieldTooLong => Failed::FieldTooLong,
        ReadError::TooLong => Failed::TooLarge,
        ReadError::AmbiguousSender => Failed::AmbiguousSender,
        ReadError::ForgedSender => Failed::ForgedSender,
    }
}
