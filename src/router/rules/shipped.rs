//! The shipped rules: an action for each usual type of each protocol, for a router without handlers. Requests
//! to the server itself are [`Action::Accept`]; messages for another client are relayed.
//!
//! Used by `router`: `Builder::new` takes `generic` and `peerjs`. Hosts add the other protocols that they need,
//! because the types of each cost histograms.

use super::{Action, ProtocolRules};
use crate::envelope::Protocol;

const RELAY: Action = Action::Relay { hold: false };
const HOLD: Action = Action::Relay { hold: true };

impl ProtocolRules {
    /// PeerJS, with the types as the PeerJS server 1.0 treats them.
    pub fn peerjs() -> Self {
        Self::new(Protocol::peerjs())
            .message_type("OFFER", HOLD)
            .message_type("ANSWER", HOLD)
            .message_type("CANDIDATE", HOLD)
            .message_type("LEAVE", Action::RelayOrLeave)
            .message_type("EXPIRE", RELAY)
            .message_type("HEARTBEAT", Action::KeepAlive)
    }

    /// Objects with `type`, `to` or `room`, and `from`. The usual WebRTC types are listed; all other types are
    /// relayed as well.
    pub fn generic() -> Self {
        Self::new(Protocol::generic())
            .message_type("offer", RELAY)
            .message_type("answer", RELAY)
            .message_type("candidate", RELAY)
            .message_type("bye", RELAY)
            .message_type("ping", Action::KeepAlive)
            .unknown_types(RELAY)
    }

    /// Janus. Requests to a handle and answers to a session are relayed to the clients that are connected under
    /// those ids. Requests about sessions themselves end at the router.
    pub fn janus() -> Self {
        Self::new(Protocol::janus())
            .all(&["message", "trickle", "hangup", "detach"], RELAY)
            .all(&["event", "webrtcup", "media", "slowlink", "detached", "timeout"], RELAY)
            .all(&["ack", "success", "error"], RELAY)
            .message_type("keepalive", Action::KeepAlive)
            .all(&["create", "attach", "claim", "destroy", "info", "ping"], Action::Accept)
    }

    /// The signalling of GStreamer's `webrtcsink`. Messages between the two peers of a session go to the other
    /// member of the room that has the session's id: the host joins both peers to that room after it has
    /// answered `startSession`.
    pub fn gstreamer() -> Self {
        let asked = ["newPeer", "setPeerStatus", "startSession", "list", "listConsumers"];
        let told = ["welcome", "peerStatusChanged", "sessionStarted", "error"];
        Self::new(Protocol::gstreamer())
            .all(&["peer", "endSession"], Action::RelayToRoom)
            .all(&asked, Action::Accept)
            .all(&told, Action::Accept)
    }

    /// Selkies. A message to one peer in a room is relayed to that peer; all others end at the router. Only the
    /// host knows which client a `SESSION` is bound to, so `sdp` and `ice` need a handler if the router is to
    /// relay them.
    pub fn selkies() -> Self {
        let told = ["SESSION_OK", "ROOM_OK", "ROOM_PEER_JOINED", "ROOM_PEER_LEFT", "ERROR"];
        Self::new(Protocol::selkies())
            .message_type("ROOM_PEER_MSG", RELAY)
            .all(&["HELLO", "SESSION", "ROOM"], Action::Accept)
            .all(&told, Action::Accept)
            .all(&["sdp", "ice"], Action::Accept)
    }

    /// JSON-RPC 2.0 with Kurento's methods. All messages end at the router; other methods are counted together
    /// as `other`.
    pub fn json_rpc() -> Self {
        Self::new(Protocol::json_rpc())
            .message_type("ping", Action::KeepAlive)
            .all(&["create", "invoke", "subscribe", "unsubscribe", "release", "describe"], Action::Accept)
            .all(&["connect", "closeSession", "onEvent"], Action::Accept)
            .all(&["result", "error"], Action::Accept)
            .unknown_types(Action::Accept)
    }

    /// protoo with the methods of mediasoup's demo. All messages end at the router; other methods are counted
    /// together as `other`.
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

    /// Nextcloud Talk. `message` and `control` are relayed to the session or user that they name, and held for
    /// it; one to a room or a call names neither, and fails. All other types end at the router.
    pub fn nextcloud_talk() -> Self {
        Self::new(Protocol::nextcloud_talk())
            .all(&["message", "control"], HOLD)
            .all(&["hello", "room", "bye", "internal", "transient"], Action::Accept)
            .all(&["welcome", "event", "error"], Action::Accept)
    }

    /// The shipped rules of a protocol, by the name of its function here.
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
