//! What a handler sees of its message, and what it can do: reply, send, relay. Each such call takes the
//! worker's state out of its `Handover`, where a stop could claim it, and puts it back afterwards.
//!
//! Used by `handler` (closures) and `driven` (answers to tasks). What the handler sends goes on to `deliver`; a
//! relay goes to `dispatch`.

use crate::clients::{ClientId, MAX_NAME_BYTES, RoomId};
use crate::error::{Failed, JoinError, LeaveError};
use crate::metrics::Outcome;
use crate::router::shared::Shared;
use crate::router::worker::handled::{CLOSING, Handled};
use crate::router::worker::handler::{HandlerCall, WorkerCode};
use crate::router::worker::state::{WorkerContext, WorkerState};
use crate::sync::{Handover, mutant};
use std::time::Duration;

/// The result of relaying a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relayed {
    /// The message is on its way to its recipient's port, or ends at the router (a keep-alive).
    Delivered,
    /// The recipient is not connected. The message is held, and its outcome is counted when the hold ends.
    Held,
}

/// One message, as its handler sees it. Everything it sends uses credit, is counted, keeps its order, and goes
/// behind what is held for the same name. What was sent stays sent, whatever the handler returns. No method
/// waits. Only the calls about rooms allocate, and what sends bytes that go out of line.
///
/// Once a stop has given the handler up ([`Router::stop_within`](crate::router::Router::stop_within)), every method
/// that sends or relays fails as [`Failed::Stuck`] and does nothing.
pub struct Request<'a> {
    shared: &'a Shared,
    code: &'a WorkerCode,
    worker: usize,
    call: &'a HandlerCall<'a>,
    name: &'a str,
    recipient: Option<&'a str>,
    token: u64,
    relayed: Option<Result<Relayed, Failed>>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("client", &self.client())
            .field("message_type", &self.message_type())
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    pub(in crate::router) fn new(
        shared: &'a Shared,
        code: &'a WorkerCode,
        worker: usize,
        call: &'a HandlerCall<'a>,
        name: &'a str,
        recipient: Option<&'a str>,
    ) -> Self {
        Self { shared, code, worker, call, name, recipient, token: call.slot.token(), relayed: None }
    }

    /// The sender.
    pub fn client(&self) -> ClientId {
        self.call.client
    }

    /// The sender's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The sender's token when the handler was called.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The sender's rooms, in the order of its joins. Empty if the sender has disconnected since it submitted the
    /// message. The list is a copy, and this call allocates it.
    /// `None` if another thread changes rooms at this moment: a worker does not wait for it. Retry, or do without.
    pub fn rooms(&self) -> Option<Vec<RoomId>> {
        self.shared.rooms.of_client_now(self.client())
    }

    /// Puts the sender into a room, as [`Port::join`](crate::router::Port::join). The room's members get the
    /// client's later messages, and this one if it is relayed to the room after the join.
    ///
    /// # Errors
    /// As [`Port::join`](crate::router::Port::join). [`JoinError::StaleClient`] if the sender has disconnected since it
    /// submitted the message. [`JoinError::ListsInUse`] also if another thread changes rooms at this moment, as for
    /// [`rooms`](Self::rooms).
    pub fn join(&mut self, room: &str) -> Result<RoomId, JoinError> {
        let (clients, client) = (&self.shared.clients, self.client());
        let port = self.call.port as u16;
        self.shared.rooms.join_now(client, port, room, || clients.is_open(client))
    }

    /// Takes the sender out of a room, as [`Port::leave`](crate::router::Port::leave).
    ///
    /// # Errors
    /// [`LeaveError::StaleRoom`], [`LeaveError::NotAMember`], and [`LeaveError::ListsInUse`] as for [`join`](Self::join). A sender that
    /// has disconnected has left its rooms already.
    pub fn leave(&mut self, room: RoomId) -> Result<(), LeaveError> {
        self.shared.rooms.leave_now(self.client(), room)
    }

    /// The sender's application; `other` if it has no series of its own.
    pub fn application(&self) -> &str {
        self.shared.labels.application_name(self.call.ids.2)
    }

    /// The sender's protocol.
    pub fn protocol(&self) -> &str {
        self.shared.labels.protocol_name(self.call.ids.1)
    }

    /// The message's type.
    pub fn message_type(&self) -> &str {
        self.shared.labels.type_name(self.call.ids.0)
    }

    /// The message as it was submitted.
    pub fn payload(&self) -> &'a [u8] {
        self.call.payload
    }

    /// The recipient that the message names, if that can be a name.
    pub fn recipient(&self) -> Option<&str> {
        self.recipient
    }

    /// How long the message waited for its worker.
    pub fn queue_wait(&self) -> Duration {
        Duration::from_nanos(self.shared.clock.nanoseconds(self.call.stamp, self.call.started))
    }

    /// The correlation of the submitted message.
    pub fn correlation(&self) -> u64 {
        self.call.header.correlation
    }

    /// Sends bytes to a client. The sender of the delivery
    /// ([`DeliveredMessage::sender`](crate::router::DeliveredMessage::sender)) is the sender of this message.
    ///
    /// # Errors
    /// The reason: the client is gone or has no credit left, or its port is full or gone. Nothing was sent.
    pub fn send_to(&mut self, to: ClientId, bytes: &[u8]) -> Result<(), Failed> {
        let delivery = self.call.delivery();
        self.at_home(|worker| result(worker.deliver_bytes(&delivery, to, bytes)))?
    }

    /// Sends bytes to the client with this name, if it is connected here or on another machine of the cluster. The bytes are
    /// not held. `Ok` for a client on another machine means that they are on their way there; what becomes of them there is
    /// counted there.
    ///
    /// # Errors
    /// [`Failed::UnknownRecipient`], [`Failed::FieldTooLong`], or as [`send_to`](Self::send_to). For another machine also
    /// [`Failed::LinkFull`], [`Failed::LinkDown`] and [`Failed::Moved`].
    pub fn send_to_name(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failed> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Failed::FieldTooLong);
        }
        let (shared, call) = (self.shared, self.call);
        let delivery = call.delivery();
        self.at_home(|worker| {
            let hash = shared.clients.names().hash(name.as_bytes());
            let Some(to) = shared.clients.find(hash, name.as_bytes()) else {
                return worker.send_elsewhere(call, (hash, name.as_bytes()), bytes);
            };
            if worker.unanswered(hash).is_some() {
                // Earlier messages to this name are under way to another machine.
                return result(CLOSING);
            }
            if worker.state.holds.holds_for(hash) {
                worker.flush(hash, to);
                if worker.state.holds.holds_for(hash) {
                    // The client is closing; the next client of the name gets the held messages first.
                    return result(CLOSING);
                }
            }
            let fill = |out: &mut [u8]| out.copy_from_slice(bytes);
            result(worker.deliver(&delivery, to, bytes.len(), fill))
        })?
    }

    /// Sends bytes to the sender.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to).
    pub fn reply(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.send_to(self.client(), bytes)
    }

    /// Runs the action of the message's type, as if the type had no handler. Only the first call has an effect;
    /// later calls return the same result. If the message is held, it ends with the hold, whatever the handler
    /// returns.
    ///
    /// # Errors
    /// The reason for which the message would have failed without a handler.
    pub fn relay(&mut self) -> Result<Relayed, Failed> {
        if let Some(done) = self.relayed {
            return done;
        }
        let call = self.call;
        let relayed = self.at_home(|worker| match worker.act(call) {
            Handled::Ended(outcome) => result(outcome).map(|()| Relayed::Delivered),
            Handled::Held | Handled::Task { .. } | Handled::Abandoned => {
                if let Some(current) = &mut worker.state.inside.current {
                    current.held = true;
                }
                Ok(Relayed::Held)
            }
        })?;
        self.relayed = Some(relayed);
        relayed
    }

    /// Runs `act` with the worker's state, unless a stop has claimed the state.
    fn at_home<R>(&self, act: impl FnOnce(&mut WorkerContext<'_>) -> R) -> Result<R, Failed> {
        let handover = self.code.handover(self.worker);
        let mut home = Home { handover, state: None };
        let state = home.state.insert(handover.take_back().ok_or(Failed::Stuck)?);
        let result = act(&mut WorkerContext::new(self.shared, self.code, state));
        // Leave the member lists before the handler continues: nothing stays pinned while host code runs.
        if !mutant("handler-pins-rooms") {
            state.leave_rooms();
        }
        Ok(result)
    }
}

/// The worker's state during a request of a handler. Dropping it puts the state back, even after a panic.
struct Home<'a> {
    handover: &'a Handover<Box<WorkerState>>,
    state: Option<Box<WorkerState>>,
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            let laid_down = self.handover.lay_down(state);
            debug_assert!(laid_down.is_ok(), "the state was taken from there");
        }
    }
}

fn result(outcome: Outcome) -> Result<(), Failed> {
    match outcome {
        Outcome::Ok => Ok(()),
        Outcome::Failed(reason) => Err(reason),
        Outcome::Expired => Err(Failed::UnknownRecipient), // Never: a direct send does not expire.
    }
}
