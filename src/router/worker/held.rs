//! How held messages end: delivered when their name connects, expired when their time is over, failed at a
//! stop. The queues are in `hold`.
//!
//! Used by `dispatch`, `request`, `rooms` and `handler` (flush before a direct delivery) and `cycle` (posts,
//! expiry, stop). Held messages go on to `deliver` and `message_end`.

use crate::clients::{ClientId, NameHash};
use crate::error::Failed;
use crate::metrics::{Outcome, Timing};
use crate::park::post_bit;
use crate::ring::record::{DeliveryHeader, delivery_kind};
use crate::router::notice::Tell;
use crate::router::worker::handled::CLOSING;
use crate::router::worker::hold::Held;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::pool::END;
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

impl WorkerContext<'_> {
    /// A name has connected: delivers what is held for it, if the client is still connected.
    pub(in crate::router) fn name_connected(&mut self, hash: NameHash) {
        let shared = self.shared;
        if !self.state.holds.holds_for(hash) {
            return;
        }
        match shared.clients.names().get(hash) {
            // While earlier messages are unanswered elsewhere, the held ones wait.
            Some(to) if self.unanswered(hash).is_none() || mutant("link-flush-overtakes") => {
                self.flush(hash, to);
            }
            Some(_) => self.wait_for_answers(hash),
            None => {
                if let Some(at) = shared.elsewhere(hash) {
                    self.flush_elsewhere(hash, at);
                } else if self.may_be_elsewhere() {
                    let (name, length) = self.state.holds.name(hash);
                    self.ask(hash, name.get(..length).unwrap_or_default());
                }
            }
        }
    }

    /// Names with these bits have connected, or there may be more names than this machine knows: looks up those for which messages
    /// are held.
    pub(in crate::router) fn look_up_posted(&mut self, posts: u64) {
        let mut next = self.state.holds.name_after(END);
        while let Some((place, hash)) = next {
            next = self.state.holds.name_after(place);
            if posts & post_bit(hash.0) != 0 {
                self.name_connected(hash);
            }
        }
    }

    pub(in crate::router) fn flush(&mut self, hash: NameHash, to: ClientId) {
        let mut payload = std::mem::take(&mut self.state.scratch);
        // `tell` is that of the message at hand, for whose recipient the held ones go first.
        let (batch, tell) = (self.state.batch, self.state.tell);
        if mutant("flush-without-batch") {
            self.state.batch = 1;
        }
        while let Some(held) = self.state.holds.front(hash, &mut payload) {
            let delivery = DeliveryHeader {
                kind: delivery_kind::MESSAGE,
                flags: 0,
                sender: held.sender.0,
                stamp: held.stamp,
                correlation: held.correlation,
                message_type: u32::from(held.labels.0.0),
                recipients: 1,
            };
            self.state.tell = held.tell;
            let outcome = self.deliver(&delivery, to, payload.len(), |out| {
                out.copy_from_slice(&payload);
            });
            if outcome == CLOSING {
                // The client is closing: keep the messages for the next client of the name, or until they
                // expire.
                break;
            }
            self.end_first(hash, outcome);
        }
        self.state.scratch = payload;
        (self.state.batch, self.state.tell) = (batch, tell);
    }

    /// Expires the queues whose time is over; each sender gets one notice per name, or one per
    /// message if it was submitted so. If the name has connected
    /// meanwhile and its post waits behind other records, the client gets the held messages instead. Returns
    /// how many messages ended.
    pub(in crate::router) fn expire(&mut self, now: u64) -> usize {
        let before = self.state.holds.messages();
        self.end_impatient(now);
        self.end_asks(now);
        while let Some(hash) = self.state.holds.expired(now) {
            if !mutant("expiry-without-look") {
                self.name_connected(hash);
            }
            self.expire_queue(hash);
        }
        before - self.state.holds.messages()
    }

    /// Ends all held messages, because the worker ends.
    pub(in crate::router) fn stop_holds(&mut self, reason: Failed) {
        while let Some((_, hash)) = self.state.holds.name_after(END) {
            self.end_all(hash, Outcome::Failed(reason));
        }
    }

    /// Sends the notices of a queue, then ends its messages. Each message is visited three times, so the time
    /// is linear in the queue's length.
    fn expire_queue(&mut self, hash: NameHash) {
        self.end_briefs(hash, Failed::UnknownRecipient);
        let (name, length) = self.state.holds.name(hash);
        let mut next = self.state.holds.message_after(hash, END);
        while let Some((place, held)) = next {
            // Who wants a notice for each message gets none for the name.
            if held.tell == Tell::No && self.state.holds.mark(held.sender) {
                self.tell_expired(&held, name.get(..length).unwrap_or_default());
            }
            next = self.state.holds.message_after(hash, place);
        }
        let mut next = self.state.holds.message_after(hash, END);
        while let Some((place, held)) = next {
            self.state.holds.unmark(held.sender);
            next = self.state.holds.message_after(hash, place);
        }
        self.end_all(hash, Outcome::Expired);
    }

    /// Sends the expiry notice to a sender: the name that did not connect. It uses credit like any delivery.
    fn tell_expired(&mut self, held: &Held, name: &[u8]) {
        let expired = DeliveryHeader {
            kind: delivery_kind::EXPIRED,
            stamp: held.stamp,
            correlation: held.correlation,
            message_type: u32::from(held.labels.0.0),
            recipients: 1,
            ..DeliveryHeader::default()
        };
        // A sender that is gone or has no credit left gets no notice. The message's outcome is counted in any
        // case.
        self.tell(&expired, held.sender, name);
    }

    /// Ends all messages held for a name.
    pub(in crate::router) fn end_all(&mut self, hash: NameHash, outcome: Outcome) {
        while let Some((_, held)) = self.state.holds.message_after(hash, END) {
            self.state.tell = held.tell;
            self.end_first(hash, outcome);
        }
    }

    /// Ends the first message held for a name. `tell` of the state is that of this message.
    pub(in crate::router) fn end_first(&mut self, hash: NameHash, outcome: Outcome) {
        let Some(held) = self.state.holds.pop(hash) else { return };
        if let Some(slot) = self.shared.clients.slot(held.sender.index()) {
            slot.unhold_one();
        }
        self.end_kept(&held, outcome);
        self.count_held();
    }

    /// Ends a message that was held, or was under way to another machine. `tell` of the state is that of this message.
    pub(in crate::router) fn end_kept(&mut self, held: &Held, outcome: Outcome) {
        let shared = self.shared;
        let ended = shared.clock.raw();
        // The slot belongs to the sender until this message is finished.
        let sender = shared.clients.slot(held.sender.index()).map(|slot| (held.sender, slot));
        if outcome != Outcome::Ok {
            self.tell_held(held, outcome);
        }
        let timing = self.timing(held.stamp, held.started, held.since);
        self.end(MessageEnd {
            sender,
            ids: held.labels,
            bytes: held.bytes as usize,
            timing: Timing { held: Some(shared.clock.nanoseconds(held.since, ended)), ended, ..timing },
            outcome: Some(outcome),
            is_held: false,
            call: None,
        });
    }
}
