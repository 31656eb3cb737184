//! Handlers: the host's closure for a message type, run on the worker's thread. While a closure runs, the
//! worker's state is in its `Handover`, where a stop can claim it. Every request of the closure (`request`)
//! takes the state back for the duration of that request.
//!
//! Used by `router` (registers closures), `dispatch` (calls them for a message), `driven` (calls answers),
//! `cycle`, `state`, `rooms` and `adoption`. A closure's result goes back to `dispatch` or `driven`, and from
//! there to `message_end`.

use crate::call::CallId;
use crate::clients::{ClientId, ClientSlot, MAX_NAME_BYTES, NameBuffer};
use crate::envelope::Envelope;
use crate::error::{BuildError, Failed};
use crate::metrics::{Outcome, SeriesIds};
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind};
use crate::router::notice::Tell;
use crate::router::rules::{Action, ProtocolRules};
use crate::router::thread::discard;
use crate::router::worker::handled::Handled;
use crate::router::worker::request::Request;
use crate::router::worker::state::{WorkerContext, WorkerState};
use crate::sync::{Handover, mutant};
use crossbeam_utils::CachePadded;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Function = dyn Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync;

/// The closure of a message type. All workers share it and may call it at the same time.
#[derive(Clone)]
pub(in crate::router) struct Handler {
    function: std::sync::Arc<Function>,
    /// It never blocks, so it may run on the thread of a port.
    pub(in crate::router) short: bool,
}

impl Handler {
    pub(in crate::router) fn new(
        function: impl Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync + 'static,
        short: bool,
    ) -> Self {
        Self { function: std::sync::Arc::new(function), short }
    }

    pub(in crate::router) fn run(&self, request: &mut Request<'_>) -> Result<(), Failed> {
        (self.function)(request)
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Handler")
    }
}

/// Assigns each closure to its type, by protocol. Fails with the name that is wrong, or the type that lacks its
/// closure.
pub(in crate::router) fn resolve(
    protocols: &[ProtocolRules],
    handlers: Vec<(String, String, Handler)>,
) -> Result<Vec<Vec<Option<Handler>>>, BuildError> {
    let mut resolved: Vec<Vec<Option<Handler>>> =
        protocols.iter().map(|rules| vec![None; rules.types().len()]).collect();
    for (protocol, message_type, handler) in handlers {
        let Some(place) = protocols.iter().position(|rules| rules.name() == protocol) else {
            return Err(BuildError::UnknownProtocol(protocol));
        };
        let types = protocols.get(place).map(ProtocolRules::types).unwrap_or_default();
        let listed = types.iter().position(|(name, _)| *name == message_type);
        let slot = resolved.get_mut(place).zip(listed).and_then(|(types, at)| types.get_mut(at));
        let problem = match slot {
            None => "the protocol does not list the type: add it with ProtocolRules::message_type",
            Some(_) if is_host(types, &message_type) => {
                "its action is Host, which runs no closure: give it another action, or no closure"
            }
            Some(Some(_)) => "the type has two handlers: register one",
            Some(slot) => {
                *slot = Some(handler);
                continue;
            }
        };
        return Err(BuildError::Handler { protocol, message_type, problem });
    }
    for (rules, handlers) in protocols.iter().zip(&resolved) {
        for ((name, action), handler) in rules.types().iter().zip(handlers) {
            if matches!(action, Action::Handler { .. }) && handler.is_none() {
                let problem = "its action is handler and none is registered: give it one (Builder::handler, corelane_builder_handler)";
                let (protocol, message_type) = (rules.name().to_owned(), name.clone());
                return Err(BuildError::Handler { protocol, message_type, problem });
            }
        }
    }
    Ok(resolved)
}

/// Whether a protocol has a type whose handling may block: a task of the host, or a closure that is not marked as
/// short. `handlers` are those of the protocol's types.
pub(in crate::router) fn may_block(rules: &ProtocolRules, handlers: &[Option<Handler>]) -> bool {
    rules.has_tasks() || handlers.iter().flatten().any(|handler| !handler.short)
}

fn is_host(types: &[(String, Action)], message_type: &str) -> bool {
    types.iter().any(|(name, action)| name == message_type && matches!(action, Action::Host { .. }))
}

/// What workers share with each other but not with ports: the closures, and per worker the place for its state
/// while a closure runs.
#[derive(Debug)]
pub(in crate::router) struct WorkerCode {
    /// By protocol and type.
    handlers: Vec<Vec<Option<Handler>>>,
    handovers: Box<[CachePadded<Handover<Box<WorkerState>>>]>,
}

impl WorkerCode {
    pub(in crate::router) fn new(handlers: Vec<Vec<Option<Handler>>>, workers: usize) -> Self {
        Self { handlers, handovers: (0..workers).map(|_| CachePadded::new(Handover::new())).collect() }
    }

    /// The closure of a type, by the indexes of its protocol and of the type.
    #[inline]
    pub(in crate::router) fn handler(&self, protocol: usize, message_type: usize) -> Option<&Handler> {
        self.handlers.get(protocol)?.get(message_type)?.as_ref()
    }

    pub(in crate::router) fn handover(&self, worker: usize) -> &Handover<Box<WorkerState>> {
        &self.handovers[worker]
    }

    pub(in crate::router) fn handovers(&self) -> impl Iterator<Item = &Handover<Box<WorkerState>>> {
        self.handovers.iter().map(|one| &**one)
    }
}

/// What a worker keeps while it is inside a handler. A part of its state, so that it goes with the state.
#[derive(Debug)]
pub(in crate::router) struct Inside {
    /// By port: the ring position of the next record, or of the record that is being handled; `NOT_TAKEN_UP` if
    /// the pair is not taken up.
    pub(in crate::router) taken: Box<[u64]>,
    /// The placeholder that replaces the worker's state meanwhile. It is never used.
    pub(in crate::router) spare: Option<Box<WorkerState>>,
    /// The message that a handler is handling.
    pub(in crate::router) current: Option<Current>,
    /// The call of the message that the worker is handling. Its caller waits, or has given up since the worker
    /// started the message.
    pub(in crate::router) answering: Option<CallId>,
    /// The port whose record, a lane's message or send, is counted as submitted and has not ended.
    pub(in crate::router) lane_message: Option<usize>,
    /// The handler was given up: a stop has claimed the real state, and this thread must not touch anything any
    /// more.
    pub(in crate::router) abandoned: bool,
    /// The worker panics at the message after this many, to simulate a defect.
    #[cfg(test)]
    pub(in crate::router) panics_after: Option<u64>,
}

/// The worker has not taken up the port's rings.
pub(in crate::router) const NOT_TAKEN_UP: u64 = u64::MAX;

/// The message that a handler is handling.
#[derive(Clone, Copy, Debug)]
pub(in crate::router) struct Current {
    pub(in crate::router) port: usize,
    pub(in crate::router) ids: SeriesIds,
    pub(in crate::router) started: u64,
    /// The handler's relay has held the message, so its outcome comes from the hold.
    pub(in crate::router) held: bool,
    /// Whether the submitter wants a notice, as of when the handler was given up. Until then the worker's state says so.
    pub(in crate::router) tell: Tell,
}

impl Inside {
    pub(in crate::router) fn new(ports: usize) -> Self {
        Self {
            taken: vec![NOT_TAKEN_UP; ports].into(),
            spare: None,
            current: None,
            answering: None,
            lane_message: None,
            abandoned: false,
            #[cfg(test)]
            panics_after: None,
        }
    }

    #[cfg(test)]
    pub(in crate::router) fn panic_if_planted(&mut self) {
        if let Some(left) = &mut self.panics_after {
            *left = left.checked_sub(1).expect("planted");
        }
    }
}

/// The parts of one message.
pub(in crate::router) struct HandlerCall<'a> {
    pub(in crate::router) port: usize,
    pub(in crate::router) client: ClientId,
    pub(in crate::router) slot: &'a ClientSlot,
    pub(in crate::router) header: &'a IngressHeader,
    pub(in crate::router) payload: &'a [u8],
    pub(in crate::router) envelope: &'a Envelope<'a>,
    pub(in crate::router) ids: SeriesIds,
    pub(in crate::router) action: Action,
    pub(in crate::router) stamp: u64,
    /// When the worker started the message.
    pub(in crate::router) started: u64,
    pub(in crate::router) now: u64,
}

impl HandlerCall<'_> {
    /// The header of a delivery of this message, or of what its handler sends.
    pub(in crate::router) fn delivery(&self) -> DeliveryHeader {
        DeliveryHeader {
            kind: delivery_kind::MESSAGE,
            flags: 0,
            sender: self.client.0,
            stamp: self.stamp,
            correlation: self.header.correlation,
            message_type: u32::from(self.ids.0.0),
            recipients: 1,
        }
    }
}

impl WorkerContext<'_> {
    /// Runs host code on a message. A panic ends here; deliveries that were emitted before it stay emitted.
    pub(in crate::router) fn call(
        &mut self,
        function: impl FnOnce(&mut Request<'_>) -> Result<(), Failed>,
        call: &HandlerCall<'_>,
    ) -> Handled {
        let shared = self.shared;
        let (own, handover) = (&shared.workers[self.state.worker], self.code.handover(self.state.worker));
        let (mut sender_name, mut recipient_name) = (NameBuffer::default(), [0; MAX_NAME_BYTES]);
        let recipient = call.envelope.recipient();
        let recipient = recipient.as_ref().and_then(|text| text.decode(&mut recipient_name));
        let mut request = Request::new(
            shared,
            self.code,
            self.state.worker,
            call,
            call.slot.name(&mut sender_name),
            recipient,
        );
        self.state.inside.current =
            Some(Current { port: call.port, ids: call.ids, started: call.now, held: false, tell: Tell::No });
        let spare = self.state.inside.spare.take();
        debug_assert!(spare.is_some(), "the spare is put back below");
        let spare = spare.unwrap_or_else(|| Box::new(WorkerState::hollow(self.state.worker)));
        // Nothing is pinned while host code runs.
        self.state.leave_rooms();
        // With tasks out, the activity is that of the oldest task.
        let timed = self.state.tasks.is_empty();
        if timed {
            own.activity.begin(call.now);
        }
        if let Err(state) = handover.lay_down(std::mem::replace(self.state, spare)) {
            debug_assert!(false, "the place is empty while the worker has its state");
            *self.state = state;
        }
        let result = catch_unwind(AssertUnwindSafe(|| function(&mut request))).map_err(discard);
        let Some(state) = handover.take_back() else {
            self.state.inside.abandoned = true;
            return Handled::Abandoned;
        };
        if timed {
            own.activity.end();
        }
        let spare = std::mem::replace(self.state, state);
        self.state.inside.spare = Some(spare);
        if result.is_err() {
            own.shard.handler_panics.add(&mut self.state.writer, 1);
            if mutant("panic-loses-count") {
                return Handled::Held;
            }
        }
        let held = self.state.inside.current.take().is_some_and(|current| current.held);
        match result {
            _ if held => Handled::Held,
            Ok(Ok(())) => Handled::Ended(Outcome::Ok),
            Ok(Err(reason)) => Handled::Ended(Outcome::Failed(reason)),
            Err(()) => Handled::Ended(Outcome::Failed(Failed::HandlerPanicked)),
        }
    }

    /// Called before a direct delivery to a client: delivers what is held for the client's name first.
    fn flush_for(&mut self, to: ClientId) {
        let shared = self.shared;
        if self.state.holds.is_empty() || mutant("handler-overtakes-held") {
            return;
        }
        if let Some(slot) = shared.clients.get(to) {
            let mut buffer = NameBuffer::default();
            let hash = shared.clients.names().hash(slot.name(&mut buffer).as_bytes());
            self.name_connected(hash);
        }
    }

    /// Delivers to a client by its handle, on credit, behind what is held for its name.
    pub(in crate::router) fn deliver_bytes(
        &mut self,
        delivery: &DeliveryHeader,
        to: ClientId,
        bytes: &[u8],
    ) -> Outcome {
        self.flush_for(to);
        self.deliver(delivery, to, bytes.len(), |out| out.copy_from_slice(bytes))
    }
}
