//! Tests the envelope reader: each rule by example, then random and mutated messages against `serde_json`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agreement;
mod differential;
mod json;
mod oracle;
mod paths;
mod plain;
mod random;
mod samples;

use corelane::envelope::{
    Envelope, Fields, Forward, MAX_FIELD_BYTES, MAX_KEYS, Protocol, ProtocolError, ReadError, read,
};
use corelane::router::ProtocolRules;

/// The fields of a shipped protocol.
fn shipped(name: &str) -> Protocol {
    ProtocolRules::by_name(name).unwrap().protocol().clone()
}

fn refused(protocol: &Protocol, message: &str) -> ReadError {
    read(protocol, message.as_bytes()).expect_err(message)
}

fn relayed(protocol: &Protocol, message: &str, sender: &str) -> String {
    let envelope = read(protocol, message.as_bytes()).expect(message);
    let mut out = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut out), out.len());
    String::from_utf8(out).unwrap()
}

fn recipient(envelope: &Envelope<'_>) -> Option<String> {
    envelope.recipient().map(|text| text.to_string())
}

/// Every order of the members.
fn orders(members: &[&str]) -> Vec<String> {
    fn permute(rest: &[&str], done: &mut Vec<String>, so_far: &str) {
        if rest.is_empty() {
            done.push(format!("{{{so_far}}}"));
        }
        for index in 0..rest.len() {
            let mut left = rest.to_vec();
            let taken = left.remove(index);
            let comma = if so_far.is_empty() { "" } else { "," };
            permute(&left, done, &format!("{so_far}{comma}{taken}"));
        }
    }
    let mut done = Vec::new();
    permute(members, &mut done, "");
    done
}

const CANDIDATE: &str = r#"{"candidate":{"candidate":"candidate:7 1 udp 2122 192.0.2.7 51034 typ host","sdpMid":"0","sdpMLineIndex":0},"connectionId":"dc_x"}"#;

#[test]
fn peerjs_fields_are_found_in_any_order_and_relayed_in_it() {
    let protocol = shipped("peerjs");
    let (sender, other) = (r#""src":"cleo""#, r#""x":{"dst":1}"#);
    let payload = format!(r#""payload":{CANDIDATE}"#);
    let members = [r#""type":"CANDIDATE""#, r#""dst":"ben""#, sender, &payload, other];
    let all = orders(&members);
    assert_eq!(all.len(), 120);
    for message in all {
        let envelope = read(&protocol, message.as_bytes()).unwrap();
        assert!(envelope.message_type().unwrap() == "CANDIDATE");
        assert_eq!(recipient(&envelope).as_deref(), Some("ben"));
        assert!(envelope.claimed_sender().unwrap() == "cleo");
        assert!(envelope.room().is_none() && envelope.transaction().is_none());
        // The client's members without its sender and without those that are not listed.
        let mut kept = message.clone();
        for dropped in [sender, other] {
            kept = kept.replace(&format!(",{dropped}"), "").replace(&format!("{dropped},"), "");
        }
        let expected = format!(r#"{{"src":"ann",{}"#, kept.strip_prefix('{').unwrap());
        assert_eq!(relayed(&protocol, &message, "ann"), expected);
    }
}

#[test]
fn generic_relays_everything_as_written_behind_the_sender() {
    let protocol = shipped("generic");
    for (message, expected) in [
        (r#"{"type":"x"}"#, r#"{"from":"ann","type":"x"}"#),
        (r#"{"from":"z","type":"x"}"#, r#"{"from":"ann","type":"x"}"#),
        (r#"{"type":"x","from":"z"}"#, r#"{"from":"ann","type":"x"}"#),
        (r#"{"a":1,"from":{"a":[]},"type":"x"}"#, r#"{"from":"ann","a":1,"type":"x"}"#),
        (
            " { \"a\" : 1 ,\n\"fr\\u006fm\" : null , \"t\\u0079pe\":\"x\" } ",
            "{\"from\":\"ann\", \"a\" : 1, \"t\\u0079pe\":\"x\"}",
        ),
        (
            r#"{"a":1,"a":2,"\ta":3,"type":"x"}"#.replace("\\t", "\\u0009").as_str(),
            r#"{"from":"ann","a":1,"a":2,"\u0009a":3,"type":"x"}"#,
        ),
    ] {
        assert_eq!(relayed(&protocol, message, "ann"), expected);
    }
    let nameless = Protocol::new("nameless", &Fields::default(), Forward::All).unwrap();
    for (message, expected) in [("{ }", "{}"), (" {} ", "{}"), (r#"{ "a" : 1 }"#, r#"{ "a" : 1}"#)] {
        assert_eq!(relayed(&nameless, message, "ann"), expected);
    }
    let only = Protocol::new("only", &Fields::default(), Forward::Only(&["a"])).unwrap();
    assert_eq!(relayed(&only, r#"{"b":1}"#, "ann"), "{}");
    assert_eq!(relayed(&only, r#"{"b":1, "a" : 2 ,"b":3}"#, "ann"), r#"{ "a" : 2}"#);
}

#[test]
fn all_fields_of_the_generic_protocol() {
    let protocol = shipped("generic");
    let envelope =
        read(&protocol, br#"{"type":"join","to":"ben","room":"r","id":"7\n","from":"x","k":[{}]}"#).unwrap();
    assert!(envelope.message_type().unwrap() == "join" && envelope.room().unwrap() == "r");
    assert!(envelope.transaction().unwrap() == "7\n");
    assert_eq!(envelope.transaction_json(), Some(r#""7\n""#));
    let envelope = read(&protocol, br#"{"type":"join","id":-4e2}"#).unwrap();
    assert!(envelope.transaction().unwrap() == "-4e2");
    assert_eq!(envelope.transaction_json(), Some("-4e2"));
}

#[test]
fn keys_and_names_are_compared_unescaped() {
    let protocol = shipped("peerjs");
    let message =
        r#"{"\u0074ype":"O\u0046FER","d\u0073t":"\u0062en","\u0070ayload":[1],"\u0073rc":"mallory"}"#;
    let envelope = read(&protocol, message.as_bytes()).unwrap();
    assert!(envelope.message_type().unwrap() == "OFFER");
    let name = envelope.recipient().unwrap();
    assert!(name == "ben" && name.is_escaped() && name.raw() == r"\u0062en");
    let mut buffer = [0; 3];
    assert_eq!(name.decode(&mut buffer), Some("ben"));
    assert_eq!(name.decode(&mut buffer[..2]), None, "too small");
    assert_eq!(
        relayed(&protocol, message, "ann"),
        r#"{"src":"ann","\u0074ype":"O\u0046FER","d\u0073t":"\u0062en","\u0070ayload":[1]}"#
    );

    let fields = Fields { recipient: Some("🔑\n"), ..Fields::default() };
    let keyed = Protocol::new("keyed", &fields, Forward::All).unwrap();
    for key in [r"🔑\n", r"\ud83d\udd11\n", r"\uD83D\uDD11\u000A", r"🔑\u000a"] {
        let message = format!(r#"{{"{key}":"b\/\\\"\b\f\r\t\u00e9🦄"}}"#);
        let envelope = read(&keyed, message.as_bytes()).unwrap();
        assert_eq!(recipient(&envelope).as_deref(), Some("b/\\\"\u{8}\u{c}\r\té🦄"), "{key}");
    }
    for other in [r"🔑", r"\ud83d\udd10\n", r"🔑\\n"] {
        let message = format!(r#"{{"{other}":"b"}}"#);
        assert!(read(&keyed, message.as_bytes()).unwrap().recipient().is_none(), "{other}");
    }
    // Keys are case-sensitive.
    assert_eq!(refused(&protocol, r#"{"Type":"OFFER","DST":"ben"}"#), ReadError::MissingType);
}

#[test]
fn what_a_protocol_uses_may_stand_once() {
    let peerjs = shipped("peerjs");
    for twice in [
        r#""type":"a","type":"a""#,
        r#""type":"a","dst":"x","dst":"x""#,
        r#""type":"a","dst":null,"d\u0073t":"x""#,
        r#""type":"a","src":"x","\u0073rc":"mallory""#,
        r#""\u0073rc":"mallory","type":"a","src":"x""#,
        r#""type":"a","payload":1,"payl\u006fad":2"#,
        r#""src":{},"type":"a","z":[{"src":1}],"src":"""#,
    ] {
        assert_eq!(refused(&peerjs, &format!("{{{twice}}}")), ReadError::DuplicateField, "{twice}");
    }
    let generic = shipped("generic");
    for key in ["type", "to", "room", "id", "from"] {
        let message = format!(r#"{{"type":"a","{key}":"b","other":1,"{key}":"b"}}"#);
        assert_eq!(refused(&generic, &message), ReadError::DuplicateField, "{key}");
    }
    // Duplicates of other keys, and of nested keys, are not the reader's concern.
    assert!(read(&peerjs, br#"{"type":"a","k":1,"k":2,"payload":{"src":1,"src":2}}"#).is_ok());
}

#[test]
fn a_key_that_a_careless_reader_takes_for_the_senders_is_refused_where_it_would_be_relayed() {
    let generic = shipped("generic");
    for key in ["From", "FROM", r"\u0046rom", r"from\u0000", r"FROM\u0000x"] {
        let message = format!(r#"{{"type":"a","from":"x","{key}":"mallory"}}"#);
        assert_eq!(refused(&generic, &message), ReadError::AmbiguousSender, "{key}");
    }
    let fields = Fields { sender: Some("sks"), ..Fields::default() };
    let folding = Protocol::new("folding", &fields, Forward::All).unwrap();
    for key in ["ſks", "s\u{212a}s", r"\u017fKS"] {
        assert_eq!(refused(&folding, &format!(r#"{{"{key}":1}}"#)), ReadError::AmbiguousSender, "{key}");
    }
    for key in ["fro", "fromm", "", " from", r"from\u0001", r"\u0000from", "žrom"] {
        assert!(read(&generic, format!(r#"{{"type":"a","{key}":1}}"#).as_bytes()).is_ok(), "{key}");
    }
    // The key is not relayed, so it does no harm.
    assert_eq!(
        relayed(&shipped("peerjs"), r#"{"SRC":"mallory","type":"a"}"#, "ann"),
        r#"{"src":"ann","type":"a"}"#
    );
}

#[test]
fn the_sender_is_escaped_and_wins_over_any_value() {
    let protocol = shipped("peerjs");
    let id = "mallory\",\"src\":\"ann\\\u{1}\n\u{7f}é";
    for claimed in [r#""ann""#, r#"{"src":"ann"}"#, "null", "5", "[]", "true", r#""\ud800""#] {
        let message = format!(r#"{{"type":"OFFER","src":{claimed}}}"#);
        assert_eq!(
            relayed(&protocol, &message, id),
            "{\"src\":\"mallory\\\",\\\"src\\\":\\\"ann\\\\\\u0001\\u000a\u{7f}é\",\"type\":\"OFFER\"}"
        );
    }
    let unlisted = Fields { sender: Some("who"), ..Fields::default() };
    let protocol = Protocol::new("unlisted", &unlisted, Forward::Only(&["b", "a"])).unwrap();
    assert_eq!(relayed(&protocol, r#"{"a":1,"who":2,"b":3}"#, "ann"), r#"{"who":"ann","a":1,"b":3}"#);
    assert_eq!(relayed(&protocol, "{}", "ann"), r#"{"who":"ann"}"#);
}

#[test]
fn a_slice_that_is_too_short_is_an_answer_of_zero() {
    let protocol = shipped("peerjs");
    let envelope = read(&protocol, br#"{"type":"OFFER","dst":"ben","payload":"x"}"#).unwrap();
    let length = envelope.relayed_len("ann");
    for available in 0..length {
        assert_eq!(envelope.write_relayed("ann", &mut vec![0; available]), 0);
    }
    let mut longer = vec![b'!'; length + 3];
    assert_eq!(envelope.write_relayed("ann", &mut longer), length);
    assert!(longer.ends_with(b"}!!!"));
}

#[test]
fn fields_have_types() {
    let peerjs = shipped("peerjs");
    for dst in ["null", r#""""#] {
        let message = format!(r#"{{"type":"a","dst":{dst}}}"#);
        assert_eq!(recipient(&read(&peerjs, message.as_bytes()).unwrap()), None, "like absent");
        assert_eq!(relayed(&peerjs, &message, "ann"), format!(r#"{{"src":"ann","type":"a","dst":{dst}}}"#));
    }
    for wrong in ["0", "5", "-1e3", "true", "false", "{}", r#"["ben"]"#] {
        assert_eq!(
            refused(&peerjs, &format!(r#"{{"type":"a","dst":{wrong}}}"#)),
            ReadError::WrongType,
            "{wrong}"
        );
        assert_eq!(
            refused(&peerjs, &format!(r#"{{"type":{wrong},"dst":"b"}}"#)),
            ReadError::WrongType,
            "{wrong}"
        );
    }
    for missing in
        ["{}", r#"{"dst":"ben"}"#, r#"{"type":null}"#, r#"{"type":""}"#, r#"{"payload":{"type":"a"}}"#]
    {
        assert_eq!(refused(&peerjs, missing), ReadError::MissingType, "{missing}");
    }
    let generic = shipped("generic");
    assert_eq!(refused(&generic, r#"{"type":"a","room":1}"#), ReadError::WrongType);
    assert_eq!(refused(&generic, r#"{"type":"a","id":true}"#), ReadError::WrongType);
    let untyped = Protocol::new("untyped", &Fields::default(), Forward::All).unwrap();
    assert!(read(&untyped, b"{}").unwrap().message_type().is_none());
}

#[test]
fn fields_have_a_length_in_decoded_bytes() {
    let protocol = shipped("generic");
    let longest = "é".repeat(MAX_FIELD_BYTES / 2);
    let escaped = r"\u00e9".repeat(MAX_FIELD_BYTES / 2);
    for (key, more) in
        [("type", ""), ("to", r#""type":"a","#), ("room", r#""type":"a","#), ("id", r#""type":"a","#)]
    {
        for name in [&longest, &escaped] {
            assert!(read(&protocol, format!(r#"{{{more}"{key}":"{name}"}}"#).as_bytes()).is_ok());
            let message = format!(r#"{{{more}"{key}":"{name}x"}}"#);
            assert_eq!(refused(&protocol, &message), ReadError::FieldTooLong, "{key}");
        }
    }
    let digits = "7".repeat(MAX_FIELD_BYTES);
    assert!(read(&protocol, format!(r#"{{"type":"a","id":{digits}}}"#).as_bytes()).is_ok());
    assert_eq!(refused(&protocol, &format!(r#"{{"type":"a","id":{digits}7}}"#)), ReadError::FieldTooLong);
    // The client's claim about the sender is not used, so any value is allowed.
    assert!(read(&protocol, format!(r#"{{"type":"a","from":"{digits}{digits}"}}"#).as_bytes()).is_ok());
}

#[test]
fn errors_keep_their_numbers_and_say_what_to_change() {
    use ReadError::*;
    let all = [
        Empty,
        NotUtf8,
        NotJson,
        NotAnObject,
        TooDeep,
        DuplicateField,
        WrongType,
        MissingType,
        FieldTooLong,
        AmbiguousSender,
        TooLong,
        ForgedSender,
    ];
    for (number, error) in (1..).zip(all) {
        assert_eq!(error as u8, number);
        assert!(error.to_string().contains(": "), "{error}");
    }
    assert_eq!(size_of::<ReadError>(), 1);
}

#[test]
fn protocols_are_checked() {
    let fields = Fields {
        message_type: Some("type"),
        recipient: Some("dst"),
        sender: Some("src"),
        ..Fields::default()
    };
    let same = Protocol::new("peerjs", &fields, Forward::Only(&["type", "src", "dst", "payload"]));
    assert_eq!(same.as_ref(), Ok(&shipped("peerjs")));

    let with = |key| Fields { recipient: Some(key), ..fields };
    assert_eq!(Protocol::new("p", &with(""), Forward::All), Err(ProtocolError::EmptyKey));
    for place in ["a.b", "a#", "?a", "a|b", " a"] {
        assert_eq!(Protocol::new("p", &fields, Forward::Only(&[place])), Err(ProtocolError::Path), "{place}");
    }
    for like in ["Src", "ſrc", "src\0x"] {
        let listed = Protocol::new("p", &fields, Forward::Only(&[like]));
        assert_eq!(
            [listed, Protocol::new("p", &with(like), Forward::All)],
            [const { Err(ProtocolError::LikeSender) }; 2]
        );
    }
    assert_eq!(Protocol::new("p", &with("src"), Forward::All), Err(ProtocolError::SameKey));
    assert_eq!(Protocol::new("p", &fields, Forward::Only(&["a", "b", "a"])), Err(ProtocolError::SameKey));
    let keys: Vec<String> = (0..MAX_KEYS).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(Protocol::new("p", &fields, Forward::Only(&keys)), Err(ProtocolError::TooManyKeys));
    assert!(Protocol::new("p", &fields, Forward::Only(&keys[3..])).is_ok());
    for error in
        [ProtocolError::EmptyKey, ProtocolError::Path, ProtocolError::SameKey, ProtocolError::TooManyKeys]
    {
        assert!(error.to_string().contains(": "), "{error}");
    }
    // All sixteen keys can be used.
    let full = Protocol::new("full", &Fields::default(), Forward::Only(&keys)).unwrap();
    let message =
        format!("{{{}}}", keys.iter().map(|key| format!(r#""{key}":1"#)).collect::<Vec<_>>().join(","));
    assert_eq!(relayed(&full, &message, "ann"), message);
}
