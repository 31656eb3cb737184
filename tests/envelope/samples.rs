//! The shipped protocols on samples that were written for this project in the shape of real messages, with the
//! fields that each must yield.

use crate::{relayed, shipped};
use corelane::envelope::{Fields, Forward, Protocol, Text, read};
use corelane::router::ProtocolRules;

/// A message with its type, recipient, room and transaction. An empty text means that the field is absent.
type Sample = (&'static str, [&'static str; 4]);

const SDP: &str = r#"v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"#;

#[rustfmt::skip]
const GENERIC: &[Sample] = &[
    (r#"{"type":"offer","to":"ben","room":"r-1","id":7,"from":"ann","payload":{"sdp":"SDP"}}"#, ["offer", "ben", "r-1", "7"]),
    (r#"{"id":"x-8","type":"ping"}"#, ["ping", "", "", "x-8"]),
];

#[rustfmt::skip]
const PEERJS: &[Sample] = &[
    (r#"{"type":"OFFER","payload":{"sdp":{"type":"offer","sdp":"SDP"},"type":"media","connectionId":"mc_1"},"dst":"ben"}"#, ["OFFER", "ben", "", ""]),
    (r#"{"type":"CANDIDATE","payload":{"candidate":{"candidate":"","sdpMid":"0"},"dst":"no"},"dst":"ben"}"#, ["CANDIDATE", "ben", "", ""]),
    (r#"{"type":"HEARTBEAT"}"#, ["HEARTBEAT", "", "", ""]),
    (r#"{"type":"LEAVE","room":"no","id":1}"#, ["LEAVE", "", "", ""]),
];

#[rustfmt::skip]
const JANUS: &[Sample] = &[
    (r#"{"janus":"create","transaction":"c-1"}"#, ["create", "", "", "c-1"]),
    (r#"{"janus":"attach","session_id":5150,"plugin":"janus.plugin.videoroom","transaction":"a-2"}"#, ["attach", "5150", "", "a-2"]),
    (r#"{"janus":"message","session_id":5150,"handle_id":7301,"transaction":"m-3","body":{"request":"join","room":4242,"ptype":"publisher"}}"#, ["message", "7301", "4242", "m-3"]),
    (r#"{"janus":"message","session_id":5150,"handle_id":7301,"transaction":"m-4","body":{"room":"lobby","request":"configure"},"jsep":{"type":"offer","sdp":"SDP"}}"#, ["message", "7301", "lobby", "m-4"]),
    (r#"{"janus":"trickle","session_id":5150,"handle_id":7301,"transaction":"t-5","candidate":{"sdpMid":"0","sdpMLineIndex":0,"candidate":"candidate:1 1 udp 2122 192.0.2.7 51034 typ host"}}"#, ["trickle", "7301", "", "t-5"]),
    (r#"{"janus":"trickle","session_id":5150,"handle_id":7301,"transaction":"t-6","candidate":{"completed":true}}"#, ["trickle", "7301", "", "t-6"]),
    (r#"{"janus":"hangup","session_id":5150,"handle_id":7301,"transaction":"h-7"}"#, ["hangup", "7301", "", "h-7"]),
    (r#"{"janus":"detach","session_id":5150,"handle_id":7301,"transaction":"d-8"}"#, ["detach", "7301", "", "d-8"]),
    (r#"{"janus":"keepalive","session_id":5150,"transaction":"k-9"}"#, ["keepalive", "5150", "", "k-9"]),
    (r#"{"janus":"destroy","session_id":5150,"transaction":"d-10"}"#, ["destroy", "5150", "", "d-10"]),
    (r#"{"janus":"claim","session_id":5150,"transaction":"c-11"}"#, ["claim", "5150", "", "c-11"]),
    (r#"{"janus":"info","transaction":"i-12"}"#, ["info", "", "", "i-12"]),
    (r#"{"janus":"ping","transaction":"p-13"}"#, ["ping", "", "", "p-13"]),
    (r#"{"janus":"success","transaction":"c-1","data":{"id":5150}}"#, ["success", "", "", "c-1"]),
    (r#"{"janus":"success","session_id":5150,"transaction":"a-2","data":{"id":7301}}"#, ["success", "5150", "", "a-2"]),
    (r#"{"janus":"ack","session_id":5150,"transaction":"m-3"}"#, ["ack", "5150", "", "m-3"]),
    (r#"{"janus":"error","session_id":5150,"transaction":"m-3","error":{"code":458,"reason":"gone"}}"#, ["error", "5150", "", "m-3"]),
    (r#"{"janus":"event","session_id":5150,"transaction":"m-3","sender":7301,"plugindata":{"plugin":"janus.plugin.videoroom","data":{"videoroom":"joined","room":4242,"id":88}}}"#, ["event", "5150", "4242", "m-3"]),
    (r#"{"janus":"event","session_id":5150,"sender":7301,"plugindata":{"plugin":"janus.plugin.echotest","data":{"echotest":"event"}},"jsep":{"type":"answer","sdp":"SDP"}}"#, ["event", "5150", "", ""]),
    (r#"{"janus":"webrtcup","session_id":5150,"sender":7301}"#, ["webrtcup", "5150", "", ""]),
    (r#"{"janus":"media","session_id":5150,"sender":7301,"type":"video","receiving":true}"#, ["media", "5150", "", ""]),
    (r#"{"janus":"slowlink","session_id":5150,"sender":7301,"uplink":true,"lost":14}"#, ["slowlink", "5150", "", ""]),
    (r#"{"janus":"hangup","session_id":5150,"sender":7301,"reason":"Close PC"}"#, ["hangup", "5150", "", ""]),
    (r#"{"janus":"detached","session_id":5150,"sender":7301}"#, ["detached", "5150", "", ""]),
    (r#"{"janus":"timeout","session_id":5150}"#, ["timeout", "5150", "", ""]),
];

#[rustfmt::skip]
const GSTREAMER: &[Sample] = &[
    (r#"{"type":"welcome","peerId":"w-1"}"#, ["welcome", "w-1", "", ""]),
    (r#"{"type":"newPeer"}"#, ["newPeer", "", "", ""]),
    (r#"{"type":"setPeerStatus","roles":["producer"],"meta":{"name":"door"}}"#, ["setPeerStatus", "", "", ""]),
    (r#"{"type":"peerStatusChanged","peerId":"w-1","roles":["producer"],"meta":null}"#, ["peerStatusChanged", "w-1", "", ""]),
    (r#"{"type":"list"}"#, ["list", "", "", ""]),
    (r#"{"type":"list","producers":[{"id":"w-1","meta":{"peerId":"no"}}]}"#, ["list", "", "", ""]),
    (r#"{"type":"listConsumers"}"#, ["listConsumers", "", "", ""]),
    (r#"{"type":"startSession","peerId":"w-1"}"#, ["startSession", "w-1", "", ""]),
    (r#"{"type":"sessionStarted","peerId":"w-1","sessionId":"s-9"}"#, ["sessionStarted", "w-1", "s-9", ""]),
    (r#"{"type":"peer","sessionId":"s-9","sdp":{"type":"offer","sdp":"SDP"}}"#, ["peer", "", "s-9", ""]),
    (r#"{"type":"peer","sessionId":"s-9","ice":{"candidate":"candidate:1 1 UDP 2013 192.0.2.4 9 typ host","sdpMLineIndex":0}}"#, ["peer", "", "s-9", ""]),
    (r#"{"type":"endSession","sessionId":"s-9"}"#, ["endSession", "", "s-9", ""]),
    (r#"{"type":"error","details":"no such peer"}"#, ["error", "", "", ""]),
];

#[rustfmt::skip]
const SELKIES: &[Sample] = &[
    ("HELLO 1 eyJyZXMiOiI4MDB4NjAwIn0=", ["HELLO", "", "", ""]),
    ("HELLO", ["HELLO", "", "", ""]),
    ("SESSION 3", ["SESSION", "3", "", ""]),
    ("SESSION_OK eyJhIjoxfQ==", ["SESSION_OK", "", "", ""]),
    ("ROOM attic", ["ROOM", "", "attic", ""]),
    ("ROOM_OK 3 4", ["ROOM_OK", "", "", ""]),
    (r#"ROOM_PEER_MSG 3 {"sdp":{"type":"offer","sdp":"SDP"}}"#, ["ROOM_PEER_MSG", "3", "", ""]),
    (r#"ROOM_PEER_MSG n\u0033 "#, ["ROOM_PEER_MSG", r"n\u0033", "", ""]),
    ("ROOM_PEER_JOINED 4", ["ROOM_PEER_JOINED", "", "", ""]),
    ("ROOM_PEER_LEFT 4", ["ROOM_PEER_LEFT", "", "", ""]),
    ("ERROR peer '9' not found", ["ERROR", "", "", ""]),
    ("LATER maybe", ["LATER", "", "", ""]),
    (r#"{"sdp":{"type":"offer","sdp":"SDP"}}"#, ["sdp", "", "", ""]),
    (r#"{"ice":{"candidate":"candidate:1 1 udp 2113 192.0.2.3 60171 typ host","sdpMLineIndex":0}}"#, ["ice", "", "", ""]),
    (r#"{"sdp":null,"ice":{"candidate":""}}"#, ["ice", "", "", ""]),
    (r#"{"ice":null}"#, ["ice", "", "", ""]),
];

#[rustfmt::skip]
const JSON_RPC: &[Sample] = &[
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"interval":240000}}"#, ["ping", "", "", "1"]),
    (r#"{"jsonrpc":"2.0","id":2,"method":"create","params":{"type":"MediaPipeline","constructorParams":{},"sessionId":"9f2c"}}"#, ["create", "", "", "2"]),
    (r#"{"jsonrpc":"2.0","id":"x-3","method":"invoke","params":{"object":"p1/e2","operation":"processOffer","operationParams":{"offer":"SDP","object":"no"},"sessionId":"9f2c"}}"#, ["invoke", "p1/e2", "", "x-3"]),
    (r#"{"jsonrpc":"2.0","id":4,"method":"subscribe","params":{"type":"EndOfStream","object":"p1/e2"}}"#, ["subscribe", "p1/e2", "", "4"]),
    (r#"{"jsonrpc":"2.0","id":5,"method":"release","params":["p1/e2"]}"#, ["release", "", "", "5"]),
    (r#"{"jsonrpc":"2.0","method":"onEvent","params":{"value":{"object":"p1/e2","type":"EndOfStream","data":{"source":"p1/e2"}}}}"#, ["onEvent", "", "", ""]),
    (r#"{"jsonrpc":"2.0","id":3,"result":{"sessionId":"9f2c","value":"SDP"}}"#, ["result", "", "", "3"]),
    (r#"{"jsonrpc":"2.0","id":3,"result":null}"#, ["result", "", "", "3"]),
    (r#"{"jsonrpc":"2.0","id":3,"error":{"code":40101,"message":"no such object","data":{"method":"no"}}}"#, ["error", "", "", "3"]),
    (r#"{"id":3,"result":{},"error":null}"#, ["result", "", "", "3"]),
    (r#"{"id":3,"result":null,"error":{"code":1}}"#, ["error", "", "", "3"]),
    (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse"}}"#, ["error", "", "", ""]),
];

#[rustfmt::skip]
const PROTOO: &[Sample] = &[
    (r#"{"request":true,"id":6114798,"method":"getRouterRtpCapabilities"}"#, ["getRouterRtpCapabilities", "", "", "6114798"]),
    (r#"{"request":true,"id":71,"method":"join","data":{"displayName":"Ann","device":{"name":"x"}}}"#, ["join", "", "", "71"]),
    (r#"{"request":true,"id":72,"method":"produce","data":{"transportId":"t-1","kind":"audio","rtpParameters":{"mid":"0","codecs":[{"payloadType":111}]}}}"#, ["produce", "", "", "72"]),
    (r#"{"response":true,"id":72,"ok":true,"data":{"id":"pr-5"}}"#, ["response", "", "", "72"]),
    (r#"{"response":true,"id":72,"ok":false,"errorCode":404,"errorReason":"no such transport"}"#, ["response", "", "", "72"]),
    (r#"{"request":true,"id":73,"method":"newConsumer","data":{"peerId":"ben","producerId":"pr-5","kind":"video"}}"#, ["newConsumer", "ben", "", "73"]),
    (r#"{"notification":true,"method":"activeSpeaker","data":{"peerId":"ben","volume":-51}}"#, ["activeSpeaker", "ben", "", ""]),
    (r#"{"notification":true,"method":"activeSpeaker","data":{"peerId":null}}"#, ["activeSpeaker", "", "", ""]),
    (r#"{"notification":true,"method":"peerClosed","data":{"peerId":"ben"}}"#, ["peerClosed", "ben", "", ""]),
];

#[rustfmt::skip]
const NEXTCLOUD_TALK: &[Sample] = &[
    (r#"{"type":"welcome","welcome":{"features":["audio"],"version":"2"}}"#, ["welcome", "", "", ""]),
    (r#"{"id":"1","type":"hello","hello":{"version":"2.0","auth":{"url":"https://cloud.example/","params":{"token":"t"}}}}"#, ["hello", "", "", "1"]),
    (r#"{"id":"2","type":"room","room":{"roomid":"r-7","sessionid":"n-1"}}"#, ["room", "", "r-7", "2"]),
    (r#"{"id":"3","type":"message","message":{"recipient":{"type":"session","sessionid":"s-2"},"data":{"type":"offer","to":"s-2","roomType":"video","payload":{"sdp":"SDP"}}}}"#, ["message", "s-2", "", "3"]),
    (r#"{"type":"message","message":{"data":{"type":"candidate","recipient":{"sessionid":"no"}},"recipient":{"userid":"ben","type":"user"}}}"#, ["message", "ben", "", ""]),
    (r#"{"type":"message","message":{"recipient":{"type":"room"},"data":{"type":"hi"}}}"#, ["message", "", "", ""]),
    (r#"{"id":"4","type":"control","control":{"recipient":{"type":"session","sessionid":"s-2"},"data":{"type":"mute"}}}"#, ["control", "s-2", "", "4"]),
    (r#"{"type":"internal","internal":{"type":"incall","incall":{"incall":1}}}"#, ["internal", "", "", ""]),
    (r#"{"type":"transient","transient":{"type":"set","key":"k","value":{"sender":1}}}"#, ["transient", "", "", ""]),
    (r#"{"type":"event","event":{"target":"room","type":"join","join":[{"sessionid":"s-2"}]}}"#, ["event", "", "", ""]),
    (r#"{"id":"5","type":"error","error":{"code":"no_such_room","message":"gone"}}"#, ["error", "", "", "5"]),
    (r#"{"id":"6","type":"bye","bye":{}}"#, ["bye", "", "", "6"]),
];

/// The samples of each shipped protocol.
const ALL: [(&str, &[Sample]); 8] = [
    ("generic", GENERIC),
    ("peerjs", PEERJS),
    ("janus", JANUS),
    ("gstreamer", GSTREAMER),
    ("selkies", SELKIES),
    ("json_rpc", JSON_RPC),
    ("protoo", PROTOO),
    ("nextcloud_talk", NEXTCLOUD_TALK),
];

fn text(found: Option<Text<'_>>) -> String {
    found.map_or_else(String::new, |text| text.to_string())
}

#[test]
fn every_usual_message_yields_its_fields() {
    assert!(ProtocolRules::SHIPPED.iter().map(|(name, _)| name).eq(ALL.iter().map(|(name, _)| name)));
    for (protocol, samples) in ALL {
        let protocol = shipped(protocol);
        for (message, expected) in samples {
            let message = message.replace("SDP", SDP);
            let envelope = read(&protocol, message.as_bytes()).expect(&message);
            let fields =
                [envelope.message_type(), envelope.recipient(), envelope.room(), envelope.transaction()];
            assert_eq!(fields.map(text), *expected, "{message}");
        }
    }
}

#[test]
fn what_has_no_sender_is_relayed_as_it_stands() {
    for (protocol, samples) in
        [(shipped("gstreamer"), GSTREAMER), (shipped("json_rpc"), JSON_RPC), (shipped("protoo"), PROTOO)]
    {
        for (message, _) in samples {
            assert_eq!(relayed(&protocol, message, "ann"), *message);
        }
    }
    for (message, [message_type, ..]) in SELKIES {
        let named = ["HELLO", "SESSION", "ROOM_PEER_MSG"].contains(message_type);
        assert_eq!(relayed(&shipped("selkies"), message, "ann") == *message, !named, "{message}");
    }
}

#[test]
fn spaces_around_a_bar_have_no_meaning() {
    let fields = Fields {
        message_type: Some("type"),
        recipient: Some(
            "message.recipient.sessionid | message.recipient.userid | control.recipient.sessionid | \
             control.recipient.userid",
        ),
        room: Some("room.roomid"),
        transaction: Some("id"),
        sender: Some("message.sender.sessionid | control.sender.sessionid"),
    };
    assert_eq!(Protocol::new("nextcloud_talk", &fields, Forward::All), Ok(shipped("nextcloud_talk")));
}
