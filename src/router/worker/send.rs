//! A host's send to a client or to a room, without a handler. `dispatch` passes it on; it goes to the worker that
//! `port/send` has chosen, is delivered on credit by `deliver` or `rooms`, and is counted and timed like any other
//! message by `message_end`. `adoption` uses [`send_series`] for sends that fail with their worker.

use crate::clients::{ClientId, RoomId};
use crate::error::Failed;
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag, ingress_kind};
use crate::router::notice::{Notice, Tell};
use crate::router::shared::Shared;
use crate::router::worker::handled::{NOBODY, no_series};
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

/// The series of a send: its type in the recipient's protocol, and the recipient's application. The series of `other` if
/// the recipient is gone.
pub(in crate::router) fn send_series(shared: &Shared, recipient: ClientId, message_type: u32) -> SeriesIds {
    let labels = shared.clients.get(recipient).and_then(|slot| shared.rules_of(slot));
    labels.map_or_else(no_series, |(rules, application)| {
        (rules.type_of_send(message_type), rules.id, application)
    })
}

impl WorkerContext<'_> {
    /// The recipient of a send, or the first member of its room: the client whose protocol and application the send
    /// counts under. [`NOBODY`] if there is no such room.
    pub(in crate::router) fn one_recipient(&mut self, header: &IngressHeader) -> ClientId {
        if header.kind != ingress_kind::SEND_TO_ROOM {
            return ClientId(header.recipient);
        }
        let members = self
            .state
            .rooms
            .as_mut()
            .and_then(|reader| self.shared.rooms.get(reader, RoomId(header.recipient)));
        let mut clients =
            members.into_iter().flat_map(|members| members.by_port()).flat_map(|(_, clients)| clients);
        clients.next().copied().unwrap_or(NOBODY)
    }

    /// Delivers a host's message and counts it: like `message`, for records without a sender. Tells the port that
    /// has sent it if it fails. Returns when it ended.
    pub(in crate::router) fn send(
        &mut self,
        port: usize,
        header: &IngressHeader,
        payload: Result<&[u8], Failed>,
        started: u64,
    ) -> u64 {
        let shared = self.shared;
        let is_room = header.kind == ingress_kind::SEND_TO_ROOM;
        let to = self.one_recipient(header);
        let ids = send_series(shared, to, header.message_type);
        let stamp = self.stamp(header, started);
        let delivery = DeliveryHeader {
            kind: delivery_kind::MESSAGE,
            flags: 0,
            sender: 0,
            stamp,
            correlation: header.correlation,
            message_type: u32::from(ids.0.0),
            recipients: 1,
        };
        // What other machines have sent may have been held there first.
        let is_from_elsewhere = header.flags & ingress_flag::RESULT != 0;
        let held =
            if is_from_elsewhere && !mutant("link-held-late") { self.state.holds.hold_ticks() } else { 0 };
        let outcome = if self.is_late(stamp.saturating_add(held), started) {
            Outcome::Expired
        } else if shared.clients.get(to).is_none() && !is_room {
            Outcome::Failed(Failed::RecipientClosed)
        } else {
            match payload {
                Ok(payload) if is_room => {
                    self.state.room_send = Some((port, header.correlation));
                    // What has come from another machine is not sent on.
                    let ids = (!is_from_elsewhere || mutant("cluster-room-sent-on")).then_some(ids);
                    let outcome = self.send_to_room(&delivery, ids, RoomId(header.recipient), payload);
                    self.state.room_send = None;
                    outcome
                }
                Ok(payload) => self.deliver_bytes(&delivery, to, payload),
                Err(reason) => Outcome::Failed(reason),
            }
        };
        self.state.tell = Tell::Wanted;
        if outcome != Outcome::Ok {
            self.tell_failed(port, header, outcome);
        } else if is_from_elsewhere {
            self.tell_port(port, Notice::delivered(header.call));
        }
        let ended = shared.clock.raw();
        if mutant("send-uncounted") {
            self.state.ended += 1;
            return ended;
        }
        let end = MessageEnd {
            sender: None,
            ids,
            bytes: payload.map_or(0, <[u8]>::len),
            timing: self.timing(stamp, started, ended),
            outcome: Some(outcome),
            is_held: false,
            call: None,
        };
        // A message to a room has no single recipient to be listed with.
        self.end_send(if is_room { NOBODY } else { to }, end);
        ended
    }
}
