//! What a handler sees of its message, and what it can have done. Everything it asks for first takes the worker's state
//! back from where a stop could claim it, and lays it down again behind it.

use crate::clients::{ClientId, MAX_NAME_BYTES};
use crate::error::Failed;
use crate::metrics::Outcome;
use crate::router::shared::Shared;
use crate::router::worker::handled::{CLOSING, Handled};
use crate::router::worker::handler::{HandlerCall, WorkerCode};
use crate::router::worker::state::{WorkerContext, WorkerState};
use crate::sync::{Handover, mutant};

/// What a relayed message has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relayed {
    /// It is on its way to its recipient's port, or ends here (a keep-alive).
    Delivered,
    /// Its recipient is not connected: it is held, and how it ends is counted when that is known.
    Held,
}

/// One message, as its handler sees it. What it emits goes out on credit, counted, in order, behind what is held for
/// the same name; what was emitted stays so whatever the handler returns. Nothing here allocates or waits.
///
/// Once a stop has given the handler up ([`Router::stop_within`](crate::router::Router::stop_within)), everything it asks for
/// fails as [`Failed::Stuck`] and does nothing.
pub struct Request<'a> {
    shared: &'a Shared,
    code: &'a WorkerCode,
    worker: usize,
    call: &'a HandlerCall<'a>,
    name: &'a str,
    recipient: Option<&'a str>,
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
        Self { shared, code, worker, call, name, recipient, relayed: None }
    }

    /// Who sent it.
    pub fn client(&self) -> ClientId {
        self.call.client
    }

    /// The sender's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The sender's application; `other` where it has none of its own.
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

    /// Whom it names as its recipient, if that can be a name.
    pub fn recipient(&self) -> Option<&str> {
        self.recipient
    }

    /// How long it waited for its worker, in nanoseconds.
    pub fn queue_wait(&self) -> u64 {
        self.shared.clock.nanoseconds(self.call.stamp, self.call.started)
    }

    /// The submitter's value.
    pub fn correlation(&self) -> u64 {
        self.call.header.correlation
    }

    /// Sends bytes to a client. Its [`DeliveredMessage::sender`](crate::router::DeliveredMessage::sender) is this message's.
    ///
    /// # Errors
    /// Why not: gone, out of credit, its port full or gone. Nothing was sent.
    pub fn send_to(&mut self, to: ClientId, bytes: &[u8]) -> Result<(), Failed> {
        let delivery = self.call.delivery();
        self.at_home(|worker| result(worker.deliver_bytes(&delivery, to, bytes)))?
    }

    /// Sends bytes to the client of this name, if it is connected; nothing is held.
    ///
    /// # Errors
    /// [`Failed::UnknownRecipient`], [`Failed::NameTooLong`], or as [`send_to`](Self::send_to).
    pub fn send_to_name(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failed> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Failed::NameTooLong);
        }
        let (shared, delivery) = (self.shared, self.call.delivery());
        self.at_home(|worker| {
            let hash = shared.clients.names().hash(name.as_bytes());
            let Some(to) = shared.clients.find(hash, name.as_bytes()) else {
                return Err(Failed::UnknownRecipient);
            };
            if worker.state.holds.holds_for(hash) {
                worker.flush(hash, to);
                if worker.state.holds.holds_for(hash) {
                    return result(CLOSING); // Its successor gets what is held, and gets it first.
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

    /// Does with the message what its type's own action says, as if it had no handler. Once: a second call repeats the
    /// first one's answer. A message that is held by it ends as the hold does, whatever the handler returns.
    ///
    /// # Errors
    /// What the message would have failed with.
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

    /// Comes back to the worker for a moment, unless it has been claimed.
    fn at_home<R>(&self, act: impl FnOnce(&mut WorkerContext<'_>) -> R) -> Result<R, Failed> {
        let handover = self.code.handover(self.worker);
        let mut home = Home { handover, state: Some(handover.take_back().ok_or(Failed::Stuck)?) };
        let (shared, code) = (self.shared, self.code);
        let result = home.state.as_mut().map(|state| act(&mut WorkerContext::new(shared, code, state)));
        // The handler goes on: nothing is pinned while the host's code runs.
        if let Some(state) = home.state.as_mut().filter(|_| !mutant("handler-pins-rooms")) {
            state.leave_rooms();
        }
        result.ok_or(Failed::Stuck)
    }
}

/// The worker's state while a handler's request is carried out: laid down again however that ends.
struct Home<'a> {
    handover: &'a Handover<Box<WorkerState>>,
    state: Option<Box<WorkerState>>,
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            // Never refused: it was taken from there.
            let _ = self.handover.lay_down(state);
        }
    }
}

fn result(outcome: Outcome) -> Result<(), Failed> {
    match outcome {
        Outcome::Ok => Ok(()),
        Outcome::Failed(reason) => Err(reason),
        Outcome::Expired => Err(Failed::UnknownRecipient), // Never: nothing that is sent now expires.
    }
}
