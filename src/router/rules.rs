//! What a protocol's message types mean to the router: data, beside the envelope's field names. Built once,
//! read by workers.

use crate::envelope::Protocol;
use crate::error::Error;

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
    /// Ends here: it shows that the client lives.
    KeepAlive,
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

    /// Lists a type. It gets figures of its own.
    pub fn message_type(mut self, name: &str, action: Action) -> Self {
        self.types.push((name.to_owned(), action));
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

    /// PeerJS, as its server of version 1.0 treats its types.
    pub fn peerjs() -> Self {
        let hold = Action::Relay { hold: true };
        Self::new(Protocol::peerjs())
            .message_type("OFFER", hold)
            .message_type("ANSWER", hold)
            .message_type("CANDIDATE", hold)
            .message_type("LEAVE", Action::RelayOrLeave)
            .message_type("EXPIRE", Action::Relay { hold: false })
            .message_type("HEARTBEAT", Action::KeepAlive)
    }

    /// Objects with `type`, `to` or `room`, `from`: the usual WebRTC types are listed, any other is relayed as well.
    pub fn generic() -> Self {
        let relay = Action::Relay { hold: false };
        Self::new(Protocol::generic())
            .message_type("offer", relay)
            .message_type("answer", relay)
            .message_type("candidate", relay)
            .message_type("bye", relay)
            .message_type("ping", Action::KeepAlive)
            .unknown_types(relay)
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

    /// Refuses what can never hold: a droppable type that is not listed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let listed = |name: &String| self.types.iter().any(|(one, _)| one == name);
        match self.droppable.iter().find(|name| !listed(name)) {
            None => Ok(()),
            Some(name) => {
                let types: Vec<_> = self.types.iter().map(|(one, _)| one.as_str()).collect();
                let allowed = format!("a type that {} lists: {}", self.name(), types.join(", "));
                Err(Error::Config { key: "droppable", value: name.clone(), allowed })
            }
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
