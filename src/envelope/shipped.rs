//! The built-in protocols: where their fields are. `router::rules` defines how the router treats their types.

use super::fields::Argument::{self, Nothing, Recipient, Room, Sender};
use super::fields::{Fields, Forward};
use super::protocol::Protocol;

/// The commands of Selkies and the meaning of each command's argument.
const SELKIES: [(&str, Argument); 9] = [
    ("HELLO", Sender),
    ("SESSION", Recipient),
    ("SESSION_OK", Nothing),
    ("ROOM", Room),
    ("ROOM_OK", Nothing),
    ("ROOM_PEER_MSG", Recipient),
    ("ROOM_PEER_JOINED", Nothing),
    ("ROOM_PEER_LEFT", Nothing),
    ("ERROR", Nothing),
];

impl Protocol {
    /// The protocol of PeerJS clients and servers. Fields: `type`, `src`, `dst`. Relays these and `payload`.
    pub fn peerjs() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("dst"),
            sender: Some("src"),
            ..Fields::default()
        };
        Self::assemble("peerjs", &fields, Forward::Only(&["type", "src", "dst", "payload"]))
    }

    /// Fields: `type`, `to`, `room`, `id`, `from`. Relays everything.
    pub fn generic() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("to"),
            room: Some("room"),
            transaction: Some("id"),
            sender: Some("from"),
        };
        Self::assemble("generic", &fields, Forward::All)
    }

    /// Janus. The recipient of a request is its handle, that of an event its session. Both are numbers and are
    /// compared by their text. The room is the room of a plugin. The sender is written to `sender`, as a number if
    /// its name is one.
    pub fn janus() -> Self {
        let fields = Fields {
            message_type: Some("janus"),
            recipient: Some("handle_id#|session_id#"),
            room: Some("body.room#|plugindata.data.room#"),
            transaction: Some("transaction"),
            sender: Some("sender#"),
        };
        Self::assemble("janus", &fields, Forward::All)
    }

    /// The signalling of GStreamer's `webrtcsink` and `webrtcsrc`. A session is a room of two clients. Messages have no
    /// sender; the session identifies it.
    pub fn gstreamer() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("peerId"),
            room: Some("sessionId"),
            ..Fields::default()
        };
        Self::assemble("gstreamer", &fields, Forward::All)
    }

    /// Selkies, and the GStreamer demos that it is based on. Commands are text, `HELLO 7`. Inside a session the two
    /// clients send objects whose type is the key that they have, `sdp` or `ice`. In a relayed command, the sender
    /// replaces a recipient.
    pub fn selkies() -> Self {
        let fields = Fields { message_type: Some("?sdp|?ice"), ..Fields::default() };
        Self::assemble("selkies", &fields, Forward::All).and_words(&SELKIES)
    }

    /// JSON-RPC 2.0 as Kurento uses it. The type is the method, otherwise `error` or `result`. Messages have no
    /// sender; the connection identifies it.
    pub fn json_rpc() -> Self {
        let fields = Fields {
            message_type: Some("method|?error|?result"),
            recipient: Some("params.object"),
            transaction: Some("id"),
            ..Fields::default()
        };
        Self::assemble("json_rpc", &fields, Forward::All)
    }

    /// protoo, the protocol that mediasoup applications usually use. The type is the method of a request or a
    /// notification, otherwise `response`. The recipient is the peer that the data names. Messages have no sender.
    pub fn protoo() -> Self {
        let fields = Fields {
            message_type: Some("method|?response"),
            recipient: Some("data.peerId"),
            transaction: Some("id"),
            ..Fields::default()
        };
        Self::assemble("protoo", &fields, Forward::All)
    }

    /// Nextcloud Talk's standalone signaling. `message` and `control` name a session or a user as recipient. The
    /// sender is written to the place where Nextcloud's server writes it.
    pub fn nextcloud_talk() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some(
                "message.recipient.sessionid|message.recipient.userid|control.recipient.sessionid|\
                 control.recipient.userid",
            ),
            room: Some("room.roomid"),
            transaction: Some("id"),
            sender: Some("message.sender.sessionid|control.sender.sessionid"),
        };
        Self::assemble("nextcloud_talk", &fields, Forward::All)
    }
}
