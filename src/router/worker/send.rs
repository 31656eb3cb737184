//! A host's send to a client, without a handler. `dispatch` passes it on; it goes to the worker that was fixed
//! for the client at its connect, is delivered on credit by `deliver`, and is counted and timed like any other
//! message by `message_end`. `adoption` uses [`send_series`] for sends that fail with their worker.

use crate::clients::ClientId;
use crate::error::Failed;
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind};
use crate::router::notice::Tell;
use crate::router::shared::Shared;
use crate::router::worker::handled::no_series;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

/// The series of a send to this client; the series of `other` if the client is gone.
pub(in crate::router) fn send_series(shared: &Shared, to: ClientId) -> SeriesIds {
    let labels = shared.clients.get(to).and_then(|slot| shared.rules_of(slot));
    labels.map_or_else(no_series, |(rules, application)| (rules.send, rules.id, application))
}

impl WorkerContext<'_> {
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
        let to = ClientId(header.recipient);
        let ids = send_series(shared, to);
        if header.stamp > started {
            self.shard().stamps_clamped.add(&mut self.state.writer, 1);
        }
        let stamp = header.stamp.min(started);
        let delivery = DeliveryHeader {
            kind: delivery_kind::MESSAGE,
            flags: 0,
            sender: 0,
            stamp,
            correlation: header.correlation,
            message_type: u32::from(ids.0.0),
            recipients: 1,
        };
        let outcome = if self.is_late(stamp, started) {
            Outcome::Expired
        } else if shared.clients.get(to).is_none() {
            Outcome::Failed(Failed::RecipientClosed)
        } else {
            match payload {
                Ok(payload) => self.deliver_bytes(&delivery, to, payload),
                Err(reason) => Outcome::Failed(reason),
            }
        };
        self.state.tell = Tell::Wanted;
        if outcome != Outcome::Ok {
            self.tell_failed(port, header, outcome);
        }
        let ended = shared.clock.raw();
        if mutant("send-uncounted") {
            self.state.ended += 1;
            return ended;
        }
        self.end(MessageEnd {
            sender: None,
            ids,
            bytes: payload.map_or(0, <[u8]>::len),
            timing: self.timing(stamp, started, ended),
            outcome: Some(outcome),
            is_held: false,
            call: None,
        });
        ended
    }
}
