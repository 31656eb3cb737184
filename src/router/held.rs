//! How held messages end: delivered when their name connects, expired when their time is over, failed at a stop. The
//! part of a worker's relay that deals with `hold`.

use super::hold::{Held, Queue};
use super::relay::{CLOSING, Relay, shard};
use super::shared::Shared;
use crate::clients::{ClientId, NameHash};
use crate::error::Failed;
use crate::metrics::Outcome;
use crate::ring::record::{Delivery, delivery_kind};

impl Relay {
    /// A name has connected: what is held for it goes out, if it is still connected.
    pub(super) fn name_connected(&mut self, shared: &Shared, hash: NameHash) {
        if self.holds.holds_for(hash)
            && let Some(to) = shared.clients.names().get(hash)
        {
            self.flush(shared, hash, to);
        }
    }

    /// A post was lost to a full ring: every name that something is held for may have connected.
    pub(super) fn look_up_all(&mut self, shared: &Shared) {
        for hash in self.holds.names() {
            self.name_connected(shared, hash);
        }
    }

    pub(super) fn flush(&mut self, shared: &Shared, hash: NameHash, to: ClientId) {
        let Some(mut queue) = self.holds.take(hash) else { return };
        while let Some(held) = queue.messages.pop_front() {
            let delivery = Delivery {
                kind: delivery_kind::MESSAGE,
                flags: 0,
                sender: held.sender.0,
                stamp: held.stamp,
                correlation: held.correlation,
                message_type: u32::from(held.labels.0.0),
                recipients: 1,
            };
            let outcome = self.deliver(shared, &delivery, to, held.payload.len(), |out| {
                out.copy_from_slice(&held.payload);
            });
            if outcome == CLOSING {
                // As if nobody had the name: for who connects next, or to expire when it is time.
                queue.messages.push_front(held);
                self.holds.put_back(hash, queue);
                return;
            }
            self.end_held(shared, held, outcome);
        }
    }

    /// Expires the queues whose time is over; each sender is told once per name. Says how many messages.
    pub(super) fn expire(&mut self, shared: &Shared, now: u64) -> usize {
        let mut count = 0;
        while let Some(queue) = self.holds.take_expired(now) {
            count += queue.messages.len();
            self.end_queue(shared, queue, Outcome::Expired);
        }
        count
    }

    /// Ends everything held, at a stop.
    pub(super) fn stop_holds(&mut self, shared: &Shared) {
        for hash in self.holds.names() {
            if let Some(queue) = self.holds.take(hash) {
                self.end_queue(shared, queue, Outcome::Failed(Failed::Stopped));
            }
        }
    }

    fn end_queue(&mut self, shared: &Shared, mut queue: Queue, outcome: Outcome) {
        for place in 0..queue.messages.len() {
            let first_of_sender = outcome == Outcome::Expired
                && queue.messages.get(place).is_some_and(|held| {
                    !queue.messages.iter().take(place).any(|earlier| earlier.sender == held.sender)
                });
            if let (true, Some(held)) = (first_of_sender, queue.messages.get(place)) {
                self.tell_expired(shared, held, queue.name());
            }
        }
        for held in queue.messages.drain(..) {
            self.end_held(shared, held, outcome);
        }
    }

    /// The notice that a sender gets: the name that did not come, on credit like any delivery.
    fn tell_expired(&mut self, shared: &Shared, held: &Held, name: &[u8]) {
        let expired = Delivery {
            kind: delivery_kind::EXPIRED,
            stamp: held.stamp,
            correlation: held.correlation,
            message_type: u32::from(held.labels.0.0),
            recipients: 1,
            ..Delivery::default()
        };
        // A sender that is gone or has no credit left is not told; the message's outcome is counted either way.
        let told = self.deliver(shared, &expired, held.sender, name.len(), |out| out.copy_from_slice(name));
        if told == Outcome::Ok
            && let Some(slot) = shared.clients.get(held.sender)
        {
            self.reached(shared, held.sender.0, usize::from(slot.place().port));
        }
    }

    fn end_held(&mut self, shared: &Shared, held: Held, outcome: Outcome) {
        let worker = shard(shared, self.worker);
        worker.settle(&mut self.writer, held.labels, outcome);
        worker.held.set(&mut self.writer, self.holds.messages() as u64);
        // The sender's slot is its own until this message is finished.
        if let Some(slot) = shared.clients.slot(held.sender.index()) {
            slot.unhold_one();
            slot.finish(1);
        }
        self.holds.recycle(held.payload);
    }
}
