//! Tells the host that a message has not reached its recipient: its own send, or a client's message that was submitted
//! with `tell_failed`. Such a notice is never dropped while its port is there. If ring and backlog of the port are full,
//! the notice waits, and the worker takes no more records from this port's ring until the notice is in
//! (`Worker::is_held_back`). So the number of waiting notices is bounded: by those of one record (the members of a
//! room), and by the held messages and tasks of the worker, which end without a record. Only a port that does not poll is held back.
//!
//! Used by `dispatch`, `unusual`, `send`, `held`, `driven`, `over_limit` and `adoption`. The notice goes on through
//! `egress`.

use crate::clients::ClientId;
use crate::error::{Failed, Loss, Undeliverable};
use crate::metrics::Outcome;
use crate::ring::record::{IngressHeader, delivery_kind};
use crate::router::notice::{Notice, Tell};
use crate::router::worker::egress::EgressSender;
use crate::router::worker::hold::Held;
use crate::router::worker::state::WorkerContext;
use crate::sync::mutant;

/// The reason why a message with this outcome has not reached its recipient.
fn loss_of(outcome: Outcome) -> Option<Loss> {
    match outcome {
        Outcome::Ok => None,
        Outcome::Failed(reason) => Some(Loss::Failed(reason)),
        Outcome::Expired => Some(Loss::Expired),
    }
}

impl WorkerContext<'_> {
    /// Sends the notice that a message's submitter wants, if it has not been sent yet. Called when a message has failed
    /// or expired, before it is finished, so that its client does not move before the notice.
    #[cold]
    pub(in crate::router) fn tell_failed(&mut self, port: usize, header: &IngressHeader, outcome: Outcome) {
        self.tell_loss(port, outcome, |reason| Notice::wanted(header, reason));
    }

    /// As [`tell_failed`](Self::tell_failed), for a message that was held.
    #[cold]
    pub(in crate::router) fn tell_held(&mut self, held: &Held, outcome: Outcome) {
        let notice = |reason| Notice::new(delivery_kind::UNDELIVERED, held.sender, held.correlation, reason);
        self.tell_loss(usize::from(held.port), outcome, |reason| Some(notice(reason)));
    }

    fn tell_loss(&mut self, port: usize, outcome: Outcome, notice: impl FnOnce(Loss) -> Option<Notice>) {
        if std::mem::replace(&mut self.state.tell, Tell::Told) == Tell::Wanted
            && let Some(notice) = loss_of(outcome).and_then(notice)
        {
            self.tell_port(port, notice);
        }
    }

    /// A host's message to a room has not reached a member. (A client's message to a room has no notice for each member.)
    pub(in crate::router) fn tell_member(&mut self, member: ClientId, reason: Failed) {
        if let Some((port, correlation)) = self.state.room_send {
            let kind = delivery_kind::SEND_FAILED;
            self.tell_port(port, Notice::new(kind, member, correlation, Loss::Failed(reason)));
        }
    }

    /// Whether notices wait for room in the egress ring of a port.
    #[cold]
    pub(in crate::router) fn has_notices(&self, port: usize) -> bool {
        self.state.egress.get(port).and_then(Option::as_ref).is_some_and(EgressSender::has_notices)
    }

    /// Sends a notice to the port that has submitted the message.
    pub(in crate::router) fn tell_port(&mut self, port: usize, notice: Notice) {
        self.see_to(port);
        self.shard().emitted.add(&mut self.state.writer, 1);
        let Some(Some(egress)) = self.state.egress.get_mut(port) else {
            self.undeliverable(Undeliverable::PortGone, 1);
            return;
        };
        if mutant("notice-lost-when-full") && egress.is_stalled() {
            return;
        }
        egress.emit_notice(notice);
        self.state.notice_listed = egress.has_notices();
        if notice.header.kind == delivery_kind::UNDELIVERED && !mutant("notice-without-reach") {
            self.reached(notice.client.0, port);
        }
    }
}
