//! What the router does with a protocol's message types. Rules are data: the envelope's field names and an
//! action per type. They are built once and read by workers. `parse` reads rules from JSON, the host's own and those of
//! `shipped`, which embeds the files in `protocols/`.
//!
//! Used by `router` (the builder takes them), `shared` (creates the series), and in `worker/` by `handler`
//! (assigns closures), `dispatch` and `driven` (apply the action to a message).

mod parse;
mod shipped;

use crate::envelope::{MAX_FIELD_BYTES, Protocol};
use crate::error::RulesError;
use crate::metrics::TypeId;

/// The message type under which host sends count, in the recipient's protocol.
pub(super) const SEND: &str = "send";

/// What the router does with a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Relays the message to its recipient. If the recipient is not connected, the message is held or fails. A
    /// message without a recipient but with a room goes to every other member of the room, if the sender is a
    /// member; it is not held. A room message counts as delivered even if the sender is the room's only member;
    /// recipients without credit or room in their backlog count as undeliverable deliveries.
    Relay {
        /// Whether the message is held for a recipient that is not connected.
        hold: bool,
    },
    /// As `Relay` without holding; a message without a recipient means that the client gives up its name
    /// (PeerJS's LEAVE).
    RelayOrLeave,
    /// Relays the message to every other member of the room that it names, if the sender is a member. A
    /// recipient in the message is ignored.
    RelayToRoom,
    /// Ends the message: it shows that the client is alive.
    KeepAlive,
    /// Ends the message as delivered: it is counted and timed, and nothing is relayed. For requests to the
    /// server itself, in a router that only measures, or until [`Builder::handler`](super::Builder::handler)
    /// gives the type a closure.
    Accept,
    /// Runs the closure that [`Builder::handler`](super::Builder::handler) gives the type.
    Handler {
        /// Whether a message that the closure relays is held for a recipient that is not connected.
        hold: bool,
    },
    /// Makes the message a task for the host that drives the worker; see [`Worker::take`](super::Worker::take).
    Host {
        /// Whether a message that the host relays is held for a recipient that is not connected.
        hold: bool,
    },
}

/// A message type of one protocol, resolved once with [`Router::message_type`](crate::router::Router::message_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageType(u16);

impl MessageType {
    pub(in crate::router) fn new(label: TypeId) -> Self {
        Self(label.0)
    }

    /// The type of a label. A label that no type has counts as `send`.
    #[cfg(not(corelane_loom))]
    pub(crate) fn of_label(label: u16) -> Self {
        Self(label)
    }

    /// The type as records carry it, and as C hosts keep it.
    pub(crate) fn label(self) -> u32 {
        u32::from(self.0)
    }
}

/// A protocol and the router's rules for it.
#[derive(Clone, Debug)]
pub struct ProtocolRules {
    protocol: Protocol,
    types: Vec<(String, Action)>,
    unknown: Option<Action>,
    droppable: Vec<String>,
}

impl ProtocolRules {
    /// Rules for a protocol without any types; add them with [`message_type`](Self::message_type). Messages of
    /// types that are not listed fail as unknown.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, types: Vec::new(), unknown: None, droppable: Vec::new() }
    }

    /// Lists a type with its action. It gets its own figures: two histograms of 8 KiB per worker. If the type
    /// is already listed, the new action replaces the old one.
    pub fn message_type(mut self, name: &str, action: Action) -> Self {
        match self.types.iter_mut().find(|(listed, _)| listed == name) {
            Some((_, listed)) => *listed = action,
            None => self.types.push((name.to_owned(), action)),
        }
        self
    }

    /// Sets one action for all types that are not listed. They are counted together as `other`.
    pub fn unknown_types(mut self, action: Action) -> Self {
        self.unknown = Some(action);
        self
    }

    /// Allows messages of a listed type to be dropped without further effect when the recipient has no credit
    /// left and its policy is [`CreditPolicy::Drop`](crate::clients::CreditPolicy::Drop). Use it for types
    /// whose next message makes up for a lost one. None of the shipped types is droppable.
    pub fn droppable(mut self, name: &str) -> Self {
        self.droppable.push(name.to_owned());
        self
    }

    /// The protocol's name.
    pub fn name(&self) -> &str {
        self.protocol.name()
    }

    /// Where the protocol's fields are: what [`read`](crate::envelope::read) takes.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(crate) fn types(&self) -> &[(String, Action)] {
        &self.types
    }

    /// Whether a listed type may be dropped.
    pub(crate) fn is_droppable(&self, name: &str) -> bool {
        self.droppable.iter().any(|one| one == name)
    }

    /// Refuses rules that can never work: a name that the figures use for something else, a handler for types
    /// that are not listed, a type longer than the reader reads, a relay without recipient or room, a droppable
    /// type that is not listed.
    pub(crate) fn check(&self) -> Result<(), RulesError> {
        let refuse = |problem| Err(RulesError { protocol: self.name().to_owned(), problem });
        self.problem().map_or(Ok(()), refuse)
    }

    /// The first problem of the rules, and what to change.
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
                "\"other\" and an empty name stand for messages without a protocol: choose another name"
                    .to_owned(),
            )
        } else if matches!(self.unknown, Some(Action::Handler { .. })) {
            Some(
                "a handler needs a listed type: list the types, or give \"unknown\" another action"
                    .to_owned(),
            )
        } else if let Some((name, _)) = too_long {
            let length = name.len();
            Some(format!("a type has {length} bytes, and at most {MAX_FIELD_BYTES} are read: shorten it"))
        } else if let Some(name) = unlisted {
            let types: Vec<_> = self.types.iter().map(|(one, _)| one.as_str()).collect();
            let types = types.join(", ");
            Some(format!("{name:?} is droppable but not listed: add it to \"types\", or name one of {types}"))
        } else if let Some((name, action)) = to_nobody {
            let missing =
                if action == Action::RelayToRoom { "\"room\"" } else { "\"recipient\" or \"room\"" };
            Some(format!("{name:?} is relayed, but messages do not say to whom: give {missing}"))
        } else {
            None
        }
    }

    /// Whether any type is a task for the host.
    pub(crate) fn has_tasks(&self) -> bool {
        let mut actions = self.types.iter().map(|(_, action)| *action).chain(self.unknown);
        actions.any(|action| matches!(action, Action::Host { .. }))
    }

    /// The first type that is a task.
    pub(crate) fn task_type(&self) -> &str {
        let handed_out = |(_, action): &&(String, Action)| matches!(action, Action::Host { .. });
        self.types.iter().find(handed_out).map_or("other", |(name, _)| name)
    }

    pub(crate) fn unknown(&self) -> Option<Action> {
        self.unknown
    }
}
