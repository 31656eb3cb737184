//! A message for a room: one delivery record per port with members. The record contains all recipients and the
//! payload once, written straight from the message. Reading member lists never blocks (RCU, see `clients`).
//!
//! Used by `dispatch` and `send`. The records go on through `egress`.

use crate::clients::{ClientId, Clients, MAX_NAME_BYTES, Members, NameBuffer, RoomId, RoomReader, Shortage};
use crate::envelope::Text;
use crate::error::{Failed, Undeliverable};
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::pair::give_back_one;
use crate::router::payload::{Payload, REFERENCE_BYTES};
use crate::router::worker::egress::Rejected;
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

/// What every member of a room gets.
struct ToRoom<'a, F: Fn(&mut [u8])> {
    header: &'a DeliveryHeader,
    length: usize,
    fill: F,
}

impl WorkerContext<'_> {
    /// Relays a message to the other members of its room.
    pub(in crate::router) fn relay_to_room(&mut self, call: &HandlerCall<'_>, room: Text<'_>) -> Outcome {
        let shared = self.shared;
        let HandlerCall { client, slot, envelope, .. } = *call;
        let mut buffer = [0; MAX_NAME_BYTES];
        let Some(name) = room.decode_bytes(&mut buffer).filter(|name| name.len() <= MAX_NAME_BYTES) else {
            return Outcome::Failed(Failed::FieldTooLong);
        };
        self.with_reader(|worker, reader| match shared.rooms.find(reader, name) {
            None => Outcome::Failed(Failed::UnknownRoom),
            Some(members) if !members.contains(slot.place().port, client) && !mutant("room-open-to-all") => {
                Outcome::Failed(Failed::NotAMember)
            }
            Some(members) => {
                let mut sender_buffer = NameBuffer::default();
                let relayed = envelope.relayed_from(slot.name_bytes(&mut sender_buffer));
                let message = ToRoom {
                    header: &call.delivery(),
                    length: relayed.len(),
                    fill: |out: &mut [u8]| relayed.write(out),
                };
                let outcome = worker.relay_to_members(members, &message);
                if outcome == Outcome::Ok {
                    worker.send_to_room_elsewhere(
                        message.header,
                        call.ids,
                        name,
                        message.length,
                        &message.fill,
                    );
                }
                outcome
            }
        })
    }

    /// Delivers a message of the host to all members of a room. `ids`: also to those on other machines, counted so there.
    pub(in crate::router) fn send_to_room(
        &mut self,
        delivery: &DeliveryHeader,
        ids: Option<SeriesIds>,
        room: RoomId,
        payload: &[u8],
    ) -> Outcome {
        let shared = self.shared;
        let fill = |out: &mut [u8]| out.copy_from_slice(payload);
        let message = ToRoom { header: delivery, length: payload.len(), fill };
        self.with_reader(|worker, reader| match shared.rooms.get(reader, room) {
            None => Outcome::Failed(Failed::UnknownRoom),
            Some(members) => {
                let outcome = worker.relay_to_members(members, &message);
                if let (Outcome::Ok, Some(ids)) = (outcome, ids) {
                    let ToRoom { header, length, ref fill } = message;
                    worker.send_to_room_elsewhere(header, ids, members.name(), length, fill);
                }
                outcome
            }
        })
    }

    /// Takes the worker's reader out while `act` uses a member list, and puts it back afterwards. `act` looks up one
    /// room.
    fn with_reader(&mut self, act: impl FnOnce(&mut Self, &mut RoomReader) -> Outcome) -> Outcome {
        let Some(mut reader) = self.state.rooms.take() else {
            debug_assert!(false, "only a hollow state has no reader, and no message is processed with one");
            return Outcome::Failed(Failed::UnknownRoom);
        };
        let outcome = act(self, &mut reader);
        self.state.rooms = Some(reader);
        outcome
    }

    fn relay_to_members<F: Fn(&mut [u8])>(&mut self, members: &Members, message: &ToRoom<'_, F>) -> Outcome {
        let shared = self.shared;
        // All rings and backlogs have the same size, so an oversized payload is stored once, out of line.
        let beside =
            if self.state.egress.iter().flatten().any(|egress| egress.most_recipients(message.length) == 0) {
                let Some(payload) = shared.payloads.fill(message.length, &message.fill) else {
                    return Outcome::Failed(Failed::PayloadsFull);
                };
                Some(payload)
            } else {
                None
            };
        if !self.state.holds.is_empty() && !mutant("room-overtakes-hold") {
            self.flush_members(members);
        }
        self.shard().rooms.messages.add(&mut self.state.writer, 1);
        let mut told = false;
        for (port, clients) in members.by_port() {
            self.relay_to_port(port, clients, message, beside.as_ref(), &mut told);
        }
        Outcome::Ok
    }

    /// Delivers what is held for a member first.
    fn flush_members(&mut self, members: &Members) {
        let shared = self.shared;
        for client in members.by_port().flat_map(|(_, clients)| clients) {
            let Some(slot) = shared.clients.get(*client) else { continue };
            let mut buffer = NameBuffer::default();
            let hash = shared.clients.names().hash(slot.name(&mut buffer).as_bytes());
            if self.state.holds.holds_for(hash)
                && self.unanswered(hash).is_none()
                && shared.clients.names().get(hash) == Some(*client)
            {
                self.flush(hash, *client);
            }
        }
    }

    /// Relays to the members of one port, in as few records as possible.
    fn relay_to_port<F: Fn(&mut [u8])>(
        &mut self,
        port: usize,
        clients: &[ClientId],
        message: &ToRoom<'_, F>,
        beside: Option<&Payload>,
        told: &mut bool,
    ) {
        let shared = self.shared;
        self.see_to(port);
        let bytes = message.length.min(u32::MAX as usize) as u32;
        let mut recipients = std::mem::take(&mut self.state.members);
        recipients.clear();
        let mut closed = 0;
        for client in clients {
            if client.0 == message.header.sender && !mutant("room-to-sender") {
                continue;
            }
            let Some(slot) = shared.clients.slot(client.index()) else { continue };
            match Clients::take_credit(slot, *client, bytes, shared.limits) {
                Ok(_) => recipients.push(client.0),
                Err(Shortage::Closed) => {
                    closed += 1;
                    self.lose(*client);
                    self.tell_member(*client, Failed::RecipientClosed);
                }
                Err(Shortage::Exhausted) => {
                    self.over_limit(message.header, *client, slot, told);
                    self.tell_member(*client, Failed::CreditExhausted);
                }
            }
        }
        // `over_limit` has counted the members without credit.
        let emitted = recipients.len() as u64 + closed;
        self.shard().emitted.add(&mut self.state.writer, emitted);
        self.undeliverable(Undeliverable::Closed, closed);
        let most = self.state.egress.get(port).and_then(Option::as_ref);
        let length = if beside.is_some() { REFERENCE_BYTES } else { message.length };
        let most = most.map_or(usize::MAX, |egress| egress.most_recipients(length)).max(1);
        for chunk in recipients.chunks(most) {
            self.relay_to_record(port, chunk, message, beside);
        }
        self.state.members = recipients;
    }

    /// Emits one record.
    fn relay_to_record<F: Fn(&mut [u8])>(
        &mut self,
        port: usize,
        recipients: &[u64],
        message: &ToRoom<'_, F>,
        beside: Option<&Payload>,
    ) {
        let shared = self.shared;
        let way = (self.state.worker, port);
        let emitted = match (self.state.egress.get_mut(port), beside) {
            (Some(Some(egress)), None) => {
                egress.emit_to(message.header, recipients, message.length, &message.fill).map_err(Some)
            }
            (Some(Some(egress)), Some(payload)) => egress
                .emit_beside(&shared.payloads, way, message.header, recipients, payload.clone())
                .map_err(Some),
            _ => Err(None),
        };
        let count = recipients.len() as u64;
        match emitted {
            Ok(backlogged) => {
                self.sent(message.header.sender, port, count, backlogged);
                let rooms = &self.shard().rooms;
                rooms.records.add(&mut self.state.writer, 1);
                rooms.recipients.add(&mut self.state.writer, count);
                rooms.bytes_copied.add(&mut self.state.writer, message.length as u64);
            }
            Err(rejected) => {
                let reason = match rejected {
                    None => {
                        self.undeliverable(Undeliverable::PortGone, count);
                        Failed::PortGone
                    }
                    Some(Rejected::PayloadsFull) => {
                        self.undeliverable(Undeliverable::PayloadsFull, count);
                        Failed::PayloadsFull
                    }
                    Some(rejected @ (Rejected::Full | Rejected::TooLarge)) => {
                        debug_assert_eq!(
                            rejected,
                            Rejected::Full,
                            "a chunk has the recipients of one record"
                        );
                        self.egress_full(port, count);
                        Failed::EgressFull
                    }
                };
                for recipient in recipients.iter().map(|one| ClientId(*one)) {
                    give_back_one(delivery_kind::MESSAGE, recipient, message.length, &shared.clients);
                    self.lose(recipient);
                    self.tell_member(recipient, reason);
                }
            }
        }
    }
}
