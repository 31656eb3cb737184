//! The protocols that ship: where their fields stand. What the router does with their types is in `router::rules`.

use super::command::Argument::{self, Nothing, Recipient, Room, Sender};
use super::protocol::{Fields, Forward, Protocol};

/// The commands of Selkies, and what the word behind each names.
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
    /// What PeerJS clients and servers speak: `type`, `src`, `dst`; these and `payload` are relayed.
    pub fn peerjs() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("dst"),
            sender: Some("src"),
            ..Fields::default()
        };
        Self::assemble("peerjs", &fields, Forward::Only(&["type", "src", "dst", "payload"]))
    }

    /// `type`, `to`, `room`, `id`, `from`; everything is relayed.
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

    /// Janus: a request is for its handle, an event for its session; both are numbers, compared by their text. The room is
    /// that of a plugin. `sender` is the sender, as a number if its name is one.
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

    /// The signalling of GStreamer's `webrtcsink` and `webrtcsrc`: a session is a room of two. It has no sender; the
    /// session tells.
    pub fn gstreamer() -> Self {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("peerId"),
            room: Some("sessionId"),
            ..Fields::default()
        };
        Self::assemble("gstreamer", &fields, Forward::All)
    }

    /// Selkies, and GStreamer's demos before it: text commands, `HELLO 7`, and between the two of a session objects whose
    /// type is the key they have, `sdp` or `ice`. A command that names a client names its sender once it is relayed.
    pub fn selkies() -> Self {
        let fields = Fields { message_type: Some("?sdp|?ice"), ..Fields::default() };
        Self::assemble("selkies", &fields, Forward::All).and_words(&SELKIES)
    }

    /// JSON-RPC 2.0 as Kurento speaks it: the type is the method, or else `error` or `result`. It has no sender: who relays
    /// such a message tells by its connection.
    pub fn json_rpc() -> Self {
        let fields = Fields {
            message_type: Some("method|?error|?result"),
            recipient: Some("params.object"),
            transaction: Some("id"),
            ..Fields::default()
        };
        Self::assemble("json_rpc", &fields, Forward::All)
    }

    /// protoo, mediasoup's usual companion: the type is the method of a request or a notification, or else `response`. The
    /// recipient is the peer that the data names. It has no sender.
    pub fn protoo() -> Self {
        let fields = Fields {
            message_type: Some("method|?response"),
            recipient: Some("data.peerId"),
            transaction: Some("id"),
            ..Fields::default()
        };
        Self::assemble("protoo", &fields, Forward::All)
    }

    /// Nextcloud Talk's standalone signaling: `message` and `control` name a session or a user. Their sender is put where
    /// its server puts it.
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
