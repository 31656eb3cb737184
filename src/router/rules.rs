//! What a protocol's message types mean to the router: data, beside the envelope's field names. Built once,
//! read by workers. `shipped` has the rules that ship, `parse` reads a host's own.

mod parse;
mod shipped;

use crate::envelope::{MAX_FIELD_BYTES, Protocol};
use crate::error::Error;

/// The message type under which sends of the host are counted, in the recipient's protocol.
pub(super) const SEND: &str = "send";

/// What the router does with a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Relays it to its recipient; while that is not connected, holds it or fails it. Without a recipient, but with a room,
    /// it goes to every other member of the room, if its sender is one; it is not held. It ended well once it is relayed,
    /// also where nobody else is there: who had no credit or no room left is counted with the deliveries.
    Relay {
        /// Whether it is held for a recipient that is not connected.
        hold: bool,
    },
    /// Relays it, and without a recipient takes it as the client's leave of its name (PeerJS's LEAVE).
    RelayOrLeave,
    /// Relays it to every other member of the room that it names, if its sender is one, whatever recipient it names.
    RelayToRoom,
    /// Ends here: it shows that the client lives.
    KeepAlive,
    /// Ends here, well: counted and timed, and nothing is relayed. For what a client asks of its server, in a router that
    /// only measures, or until [`Builder::handler`](super::Builder::handler) gives the type a closure.
    Accept,
    /// Runs the closure that [`Builder::handler`](super::Builder::handler) gives the type.
    Handler {
        /// Whether what the closure relays is held for a recipient that is not connected.
        hold: bool,
    },
    /// Hands it out to the host that drives the worker, see [`Worker::take`](super::Worker::take).
    Host {
        /// Whether it is held for a recipient that is not connected, where the host has it relayed.
        hold: bool,
    },
}

/// A protocol as the router knows it.
#[derive(Clone, Debug)]
pub struct ProtocolRules {
    protocol: Protocol,
    types: Vec<(String, Action)>,
    unknown: Option<Action>,
    droppable: Vec<String>,
}

impl ProtocolRules {
    /// Rules for a protocol; types are added by [`message_type`](Self::message_type). Types not listed fail as
    /// unknown.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, types: Vec::new(), unknown: None, droppable: Vec::new() }
    }

    /// Lists a type. It gets figures of its own: two histograms of 8 KiB per worker. One that is listed already gets the
    /// new action.
    pub fn message_type(mut self, name: &str, action: Action) -> Self {
        match self.types.iter_mut().find(|(listed, _)| listed == name) {
            Some((_, listed)) => *listed = action,
            None => self.types.push((name.to_owned(), action)),
        }
        self
    }

    /// Treats types that are not listed alike; they are counted together as `other`.
    pub fn unknown_types(mut self, action: Action) -> Self {
        self.unknown = Some(action);
        self
    }

    /// Lets messages of a listed type be dropped, and nothing else happen, where their recipient has no credit left and
    /// its policy is [`CreditPolicy::Drop`](crate::clients::CreditPolicy::Drop). For what the next one makes up for;
    /// none of the types that ship is.
    pub fn droppable(mut self, name: &str) -> Self {
        self.droppable.push(name.to_owned());
        self
    }

    /// The protocol's name.
    pub fn name(&self) -> &str {
        self.protocol.name()
    }

    pub(crate) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(crate) fn types(&self) -> &[(String, Action)] {
        &self.types
    }

    /// Whether a listed type may be dropped.
    pub(crate) fn is_droppable(&self, name: &str) -> bool {
        self.droppable.iter().any(|one| one == name)
    }

    /// Refuses what can never hold: a name that the figures have for something else, a handler of types that are not listed,
    /// a type that no message can have, a relay to nobody, a droppable type that is not listed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |problem| Err(Error::Protocol { protocol: self.name().to_owned(), problem });
        self.problem().map_or(Ok(()), refuse)
    }

    /// What of it can never hold, and what to change.
    fn problem(&self) -> Option<String> {
        let name_is_taken = matches!(self.name(), "" | "other");
        let too_long = self.types.iter().find(|(name, _)| name.len() > MAX_FIELD_BYTES);
        let (recipient, room) = self.protocol.addresses();
        let types = self.types.iter().map(|(name, action)| (name.as_str(), *action));
        let mut all = types.chain(self.unknown.map(|action| ("unknown", action)));
        let to_nobody = all.find(|(_, action)| match action {
            Action::Relay { .. } => !recipient && !room,
            Action::RelayToRoom => !room,
            _ => false,
        });
        let listed = |name: &String| self.types.iter().any(|(one, _)| one == name);
        let unlisted = self.droppable.iter().find(|name| !listed(name));
        if name_is_taken {
            Some(
                "\"other\" and no name at all stand for messages of no protocol: name it otherwise"
                    .to_owned(),
            )
        } else if matches!(self.unknown, Some(Action::Handler { .. })) {
            Some(
                "a handler is of a listed type: list the types, or give \"unknown\" another action"
                    .to_owned(),
            )
        } else if let Some((name, _)) = too_long {
            let length = name.len();
            Some(format!("{MAX_FIELD_BYTES} bytes of a type are read, {length} are listed: shorten it"))
        } else if let Some(name) = unlisted {
            let types: Vec<_> = self.types.iter().map(|(one, _)| one.as_str()).collect();
            let types = types.join(", ");
            Some(format!("{name:?} is droppable and not listed: add it to \"types\", or name one of {types}"))
        } else if let Some((name, action)) = to_nobody {
            let missing =
                if action == Action::RelayToRoom { "\"room\"" } else { "\"recipient\" or \"room\"" };
            Some(format!("{name:?} is relayed and no message says to whom: give {missing}"))
        } else {
            None
        }
    }

    /// Whether messages are handed out to the host.
    pub(crate) fn has_tasks(&self) -> bool {
        let mut actions = self.types.iter().map(|(_, action)| *action).chain(self.unknown);
        actions.any(|action| matches!(action, Action::Host { .. }))
    }

    /// A type that is handed out.
    pub(crate) fn task_type(&self) -> &str {
        let handed_out = |(_, action): &&(String, Action)| matches!(action, Action::Host { .. });
        self.types.iter().find(handed_out).map_or("other", |(name, _)| name)
    }

    pub(crate) fn unknown(&self) -> Option<Action> {
        self.unknown
    }
}
