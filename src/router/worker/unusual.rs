//! What few messages need: an out-of-line payload, a caller that waits, a handler, a task, a hold, a room. Kept out of
//! `dispatch`, so that the path of an ordinary message stays short.

use crate::clients::{ClientId, ClientSlot, NameHash};
use crate::envelope::{Relayed, Text};
use crate::error::Failed;
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::Corrupt;
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag, ingress_kind};
use crate::router::base::{Fallback, call_of};
use crate::router::notice::Tell;
use crate::router::pair::PairCounts;
use crate::router::payload::{Payload, Way, read_reference};
use crate::router::rules::Action;
use crate::router::worker::handled::{Handled, no_series};
use crate::router::worker::handler::{Handler, HandlerCall};
use crate::router::worker::hold::Held;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::state::WorkerContext;
use crate::router::worker::tasks::TaskEntry;
use crate::sync::{Relaxed, mutant};

/// A message that has not ended although its action has returned.
pub(in crate::router) struct Unended<'m> {
    pub(in crate::router) port: usize,
    pub(in crate::router) header: &'m IngressHeader,
    pub(in crate::router) slot: Option<&'m ClientSlot>,
    pub(in crate::router) ids: SeriesIds,
    pub(in crate::router) bytes: usize,
    pub(in crate::router) stamp: u64,
    pub(in crate::router) started: u64,
    pub(in crate::router) ended: u64,
}

impl WorkerContext<'_> {
    /// Handles a record that is not an ordinary message. `time` is as in `dispatch`.
    #[cold]
    pub(in crate::router) fn unusual(
        &mut self,
        port: usize,
        counts: &PairCounts,
        kind: u16,
        (header, payload): (&IngressHeader, &[u8]),
        time: &mut u64,
    ) -> Result<(), Corrupt> {
        // The out-of-line payload is kept until the message has ended.
        let beside = (header.flags & ingress_flag::OWNED != 0)
            .then(|| read_reference(payload).and_then(|(number, _)| self.take_payload(port, number)));
        self.with_payload(port, counts, kind, (header, payload), beside, time)
    }

    /// As [`unusual`](Self::unusual), with the out-of-line payload that the record refers to: `Some(None)` if there is none of
    /// that number.
    pub(in crate::router) fn with_payload(
        &mut self,
        port: usize,
        counts: &PairCounts,
        kind: u16,
        (header, payload): (&IngressHeader, &[u8]),
        beside: Option<Option<Payload>>,
        time: &mut u64,
    ) -> Result<(), Corrupt> {
        let bytes = match &beside {
            None => Ok(payload),
            Some(Some(beside)) => beside.bytes().ok_or(Failed::HandlerPanicked),
            // The record refers to a payload that does not exist.
            Some(None) => Err(Failed::BadRecord),
        };
        match kind {
            ingress_kind::MESSAGE => {
                // For a task, which keeps the payload.
                self.state.tasks.arriving = beside.clone().flatten();
                *time = self.message(port, header, bytes, *time);
                if !self.state.inside.abandoned {
                    self.state.tasks.arriving = None;
                }
            }
            ingress_kind::SEND | ingress_kind::SEND_TO_ROOM => *time = self.send(port, header, bytes, *time),
            ingress_kind::DISCONNECT => {
                counts.take_other();
                self.disconnect(port, header);
            }
            ingress_kind::NAME_CONNECTED => {
                counts.take_other();
                self.name_connected(NameHash(header.recipient));
            }
            ingress_kind::ANSWERED => {
                counts.take_other();
                return self.answered(payload);
            }
            ingress_kind::LINK_LOST => {
                counts.take_other();
                return self.link_lost(payload);
            }
            ingress_kind::ASKED => {
                counts.take_other();
                return self.asked(payload);
            }
            _ => return Err(Corrupt),
        }
        Ok(())
    }

    /// Takes the out-of-line payload of an ingress record.
    pub(in crate::router) fn take_payload(&self, port: usize, number: u64) -> Option<Payload> {
        self.shared.payloads.take(Way::In, self.state.worker, port, number)
    }

    /// Handles one message and counts it, like `ordinary`, for a caller that may wait and for a payload that may be
    /// out of line. If `payload` is an error, the message fails for that reason.
    fn message(
        &mut self,
        port: usize,
        header: &IngressHeader,
        payload: Result<&[u8], Failed>,
        started: u64,
    ) -> u64 {
        let shared = self.shared;
        let client = ClientId(header.client);
        let slot = shared.clients.on(client, port);
        let stamp = self.stamp(header, started);
        let call = call_of(header);
        let given_up =
            call.is_some_and(|call| !shared.calls.get(port).is_some_and(|calls| calls.start(call)));
        self.state.inside.answering = call.filter(|_| !given_up);
        self.state.tell = Tell::of(header);
        #[cfg(test)]
        self.state.inside.panic_if_planted();
        let (ids, handled) = match slot {
            // The caller has cancelled the call.
            _ if given_up => (no_series(), Handled::Ended(Outcome::Expired)),
            None => (no_series(), Handled::Ended(Outcome::Failed(Failed::StaleClient))),
            Some(slot) => match payload {
                Ok(payload) if header.flags & ingress_flag::ADDRESSED != 0 => {
                    self.deliver_addressed(slot, header, payload, (stamp, started))
                }
                Ok(payload) => self.classify(port, client, slot, header, payload, stamp, started),
                Err(reason) => (no_series(), Handled::Ended(Outcome::Failed(reason))),
            },
        };
        let ended = shared.clock.raw();
        let bytes = payload.map_or(0, <[u8]>::len);
        let Handled::Ended(outcome) = handled else {
            return self
                .not_ended(handled, &Unended { port, header, slot, ids, bytes, stamp, started, ended });
        };
        // An expired message of a call goes to the caller's base route, and the caller then counts it.
        let expired = call.is_some() && outcome == Outcome::Expired && shared.fallback == Fallback::Inline;
        let taken_over =
            expired && (given_up || call.is_some_and(|call| self.tell_caller(port, call, Some(outcome))));
        if outcome != Outcome::Ok && call.is_none() {
            self.tell_failed(port, header, outcome);
        }
        self.end(MessageEnd {
            sender: slot.map(|slot| (client, slot)),
            ids,
            bytes,
            timing: self.timing(stamp, started, ended),
            outcome: (!taken_over || mutant("takeover-counted-twice")).then_some(outcome),
            is_held: false,
            call: call.filter(|_| !expired && !given_up).map(|call| (port, call)),
        });
        self.state.inside.answering = None;
        ended
    }

    /// Delivers a message whose type and recipient the host has read already: as it is, to that client.
    fn deliver_addressed(
        &mut self,
        slot: &ClientSlot,
        header: &IngressHeader,
        payload: &[u8],
        (stamp, started): (u64, u64),
    ) -> (SeriesIds, Handled) {
        let Some((rules, application)) = self.shared.rules_of(slot) else {
            return (no_series(), Handled::Ended(Outcome::Failed(Failed::BadRecord)));
        };
        let message_type = rules.type_of_send(header.message_type);
        let ids = (message_type, rules.id, application);
        let recipient = ClientId(header.recipient);
        if self.is_late(stamp, started) {
            return (ids, Handled::Ended(Outcome::Expired));
        }
        if self.shared.clients.get(recipient).is_none() {
            return (ids, Handled::Ended(Outcome::Failed(Failed::RecipientClosed)));
        }
        let delivery = DeliveryHeader {
            kind: delivery_kind::MESSAGE,
            flags: 0,
            sender: header.client,
            stamp,
            correlation: header.correlation,
            message_type: u32::from(message_type.0),
            recipients: 1,
        };
        (ids, Handled::Ended(self.deliver_bytes(&delivery, recipient, payload)))
    }

    /// Goes on with a message that is held, out as a task, or abandoned inside its handler. Returns when it ended.
    #[cold]
    pub(in crate::router) fn not_ended(&mut self, handled: Handled, message: &Unended<'_>) -> u64 {
        let Unended { port, header, slot, ids, bytes, stamp, started, ended } = *message;
        let is_held = match handled {
            Handled::Abandoned => return started,
            Handled::Task { hold } => {
                self.state.inside.answering = None;
                let spot = self.state.tasks.spot;
                self.hand_out(TaskEntry { port, header: *header, ids, stamp, started, spot, hold });
                return ended;
            }
            Handled::Held => true,
            Handled::Ended(_) => {
                debug_assert!(false, "the message has ended");
                false
            }
        };
        let call = self.state.inside.answering.take().map(|call| (port, call));
        self.end(MessageEnd {
            sender: slot.map(|slot| (ClientId(header.client), slot)),
            ids,
            bytes,
            timing: self.timing(stamp, started, ended),
            outcome: None,
            is_held,
            // The caller of a held message does not wait for its end.
            call,
        });
        ended
    }

    /// Runs the host's handler of a message's type.
    #[cold]
    pub(in crate::router) fn run(&mut self, handler: &Handler, call: &HandlerCall<'_>) -> Handled {
        self.call(|request| handler.run(request), call)
    }

    /// Makes a message a task of the host.
    #[cold]
    pub(in crate::router) fn task(&mut self, hold: bool) -> Handled {
        if self.state.tasks.can_take() {
            Handled::Task { hold }
        } else {
            // The host of a lane has changed the message since the gate checked it.
            Handled::Ended(Outcome::Failed(Failed::BadRecord))
        }
    }

    /// Runs an action that is neither a relay to a named client nor done with the message's arrival.
    #[cold]
    pub(in crate::router) fn act_unusually(
        &mut self,
        call: &HandlerCall<'_>,
        recipient: Option<Text<'_>>,
    ) -> Handled {
        match (call.action, recipient) {
            (Action::KeepAlive | Action::Accept, _) => Handled::Ended(Outcome::Ok),
            (Action::RelayToRoom, _) => self.act_in_room(call),
            (Action::RelayOrLeave, None) => {
                let left = DeliveryHeader { kind: delivery_kind::LEFT, ..DeliveryHeader::default() };
                Handled::Ended(self.notify(call.client, call.slot, &left))
            }
            (Action::RelayOrLeave, Some(recipient)) => self.relay(call, recipient, false),
            (Action::Relay { hold } | Action::Handler { hold } | Action::Host { hold }, Some(recipient)) => {
                self.relay(call, recipient, hold)
            }
            (Action::Relay { .. } | Action::Handler { .. } | Action::Host { .. }, None) => {
                self.act_in_room(call)
            }
        }
    }

    /// Relays a message to its room.
    fn act_in_room(&mut self, call: &HandlerCall<'_>) -> Handled {
        Handled::Ended(match call.envelope.room() {
            Some(room) => self.relay_to_room(call, room),
            None => Outcome::Failed(Failed::NoRecipient),
        })
    }

    /// Holds a message for a name that is not connected.
    #[cold]
    pub(in crate::router) fn hold(
        &mut self,
        call: &HandlerCall<'_>,
        (hash, name): (NameHash, &[u8]),
        relayed: &Relayed<'_>,
    ) -> Handled {
        self.hold_as(call, (hash, name), false, relayed)
    }

    /// As [`hold`](Self::hold); `is_brief`: a message that may not be held waits for what the cluster says of the name.
    pub(in crate::router) fn hold_as(
        &mut self,
        call: &HandlerCall<'_>,
        (hash, name): (NameHash, &[u8]),
        is_brief: bool,
        relayed: &Relayed<'_>,
    ) -> Handled {
        let slot = call.slot;
        // Relaxed: the worker's own last store, or a count that need not be exact.
        let of_sender = slot.held.load(Relaxed);
        if !self.state.holds.has_room(hash, of_sender, relayed.len()) {
            return Handled::Ended(Outcome::Failed(Failed::HoldFull));
        }
        self.state.scratch.resize(relayed.len(), 0);
        relayed.write(&mut self.state.scratch);
        slot.hold_one();
        let held = Held { is_brief, tell: self.state.tell.pass_on(), ..self.held_of(call) };
        self.state.holds.hold(hash, name, held.since, held, &self.state.scratch);
        self.count_held();
        Handled::Held
    }
}
