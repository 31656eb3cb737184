//! What a protocol's message types mean to the router: data, beside the envelope's field names. Built once,
//! read by workers.

use crate::envelope::Protocol;

/// What the router does with a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Relays it to its recipient; while that is not connected, holds it or fails it.
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
}

/// A protocol as the router knows it.
#[derive(Clone, Debug)]
pub struct ProtocolRules {
    protocol: Protocol,
    types: Vec<(String, Action)>,
    unknown: Option<Action>,
}

impl ProtocolRules {
    /// Rules for a protocol; types are added by [`message_type`](Self::message_type). Types not listed fail as
    /// unknown.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, types: Vec::new(), unknown: None }
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

    /// Objects with `type`, `to`, `from`: the usual WebRTC types are listed, any other is relayed as well.
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

    pub(crate) fn unknown(&self) -> Option<Action> {
        self.unknown
    }
}
