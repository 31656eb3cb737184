//! The rules that ship: what each protocol's usual types mean to a router that has no handlers. `Builder::new` takes
//! `generic` and `peerjs`; each of the others costs its types' histograms, so hosts add those that they speak.
//!
//! What a message asks of the server itself is [`Action::Accept`]; what is for another client is relayed to it.

use super::{Action, ProtocolRules};
use crate::envelope::Protocol;

const RELAY: Action = Action::Relay { hold: false };
const HOLD: Action = Action::Relay { hold: true };

impl ProtocolRules {
    /// PeerJS, as its server of version 1.0 treats its types.
    pub fn peerjs() -> Self {
        Self::new(Protocol::peerjs())
            .message_type("OFFER", HOLD)
            .message_type("ANSWER", HOLD)
            .message_type("CANDIDATE", HOLD)
            .message_type("LEAVE", Action::RelayOrLeave)
            .message_type("EXPIRE", RELAY)
            .message_type("HEARTBEAT", Action::KeepAlive)
    }

    /// Objects with `type`, `to` or `room`, `from`: the usual WebRTC types are listed, any other is relayed as well.
    pub fn generic() -> Self {
        Self::new(Protocol::generic())
            .message_type("offer", RELAY)
            .message_type("answer", RELAY)
            .message_type("candidate", RELAY)
            .message_type("bye", RELAY)
            .message_type("ping", Action::KeepAlive)
            .unknown_types(RELAY)
    }

    /// Janus. Requests to a handle and answers to a session are relayed to the clients that are connected under those ids;
    /// requests about sessions themselves end here.
    pub fn janus() -> Self {
        Self::new(Protocol::janus())
            .all(&["message", "trickle", "hangup", "detach"], RELAY)
            .all(&["event", "webrtcup", "media", "slowlink", "detached", "timeout"], RELAY)
            .all(&["ack", "success", "error"], RELAY)
            .message_type("keepalive", Action::KeepAlive)
            .all(&["create", "attach", "claim", "destroy", "info", "ping"], Action::Accept)
    }

    /// The signalling of GStreamer's `webrtcsink`. What the two of a session say to each other goes to the other member of the
    /// room that has the session's id: the host joins both when it has answered `startSession`.
    pub fn gstreamer() -> Self {
        let asked = ["newPeer", "setPeerStatus", "startSession", "list", "listConsumers"];
        let told = ["welcome", "peerStatusChanged", "sessionStarted", "error"];
        Self::new(Protocol::gstreamer())
            .all(&["peer", "endSession"], Action::RelayToRoom)
            .all(&asked, Action::Accept)
            .all(&told, Action::Accept)
    }

    /// Selkies. A message to one peer in a room is relayed to it; the rest ends here: with whom `SESSION` has bound a client
    /// is known to the host alone, so `sdp` and `ice` need a handler where the router is to relay them.
    pub fn selkies() -> Self {
        let told = ["SESSION_OK", "ROOM_OK", "ROOM_PEER_JOINED", "ROOM_PEER_LEFT", "ERROR"];
        Self::new(Protocol::selkies())
            .message_type("ROOM_PEER_MSG", RELAY)
            .all(&["HELLO", "SESSION", "ROOM"], Action::Accept)
            .all(&told, Action::Accept)
            .all(&["sdp", "ice"], Action::Accept)
    }

    /// JSON-RPC 2.0 with Kurento's methods: all ends here; other methods are counted together as `other`.
    pub fn json_rpc() -> Self {
        Self::new(Protocol::json_rpc())
            .message_type("ping", Action::KeepAlive)
            .all(&["create", "invoke", "subscribe", "unsubscribe", "release", "describe"], Action::Accept)
            .all(&["connect", "closeSession", "onEvent"], Action::Accept)
            .all(&["result", "error"], Action::Accept)
            .unknown_types(Action::Accept)
    }

    /// protoo with the methods of mediasoup's demo: all ends here; other methods are counted together as `other`.
    pub fn protoo() -> Self {
        let transports = ["createWebRtcTransport", "connectWebRtcTransport", "restartIce"];
        Self::new(Protocol::protoo())
            .all(&["getRouterRtpCapabilities", "join", "changeDisplayName"], Action::Accept)
            .all(&transports, Action::Accept)
            .all(&["produce", "closeProducer", "pauseProducer", "resumeProducer"], Action::Accept)
            .all(&["newConsumer", "consumerClosed", "pauseConsumer", "resumeConsumer"], Action::Accept)
            .all(&["newPeer", "peerClosed", "activeSpeaker", "response"], Action::Accept)
            .unknown_types(Action::Accept)
    }

    /// Nextcloud Talk. `message` and `control` are relayed to the session or user that they name, and held for it; one to a
    /// room or a call names none, and fails. The rest ends here.
    pub fn nextcloud_talk() -> Self {
        Self::new(Protocol::nextcloud_talk())
            .all(&["message", "control"], HOLD)
            .all(&["hello", "room", "bye", "internal", "transient"], Action::Accept)
            .all(&["welcome", "event", "error"], Action::Accept)
    }

    /// The rules of a protocol that ships, by its name: that of its function here.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "generic" => Self::generic(),
            "peerjs" => Self::peerjs(),
            "janus" => Self::janus(),
            "gstreamer" => Self::gstreamer(),
            "selkies" => Self::selkies(),
            "json_rpc" => Self::json_rpc(),
            "protoo" => Self::protoo(),
            "nextcloud_talk" => Self::nextcloud_talk(),
            _ => return None,
        })
    }

    fn all(self, types: &[&str], action: Action) -> Self {
        types.iter().fold(self, |rules, name| rules.message_type(name, action))
    }
}
