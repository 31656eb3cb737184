//! Paths into objects, numbers, present keys and commands: the fields that are found, the relayed form, and refused
//! messages.

use crate::{refused, relayed, shipped};
use corelane::envelope::{Argument, Fields, Forward, Protocol, ProtocolError, ReadError, read};

#[test]
fn a_janus_sender_is_a_number_where_its_name_is_one() {
    let janus = shipped("janus");
    let event = r#"{"janus":"webrtcup","session_id":5150,"sender":1}"#;
    for (name, written) in [
        ("7301", "7301"),
        ("0", "0"),
        ("9007199254740992", "9007199254740992"),
        ("9007199254740993", r#""9007199254740993""#),
        ("99999999999999999999", r#""99999999999999999999""#),
        ("07", r#""07""#),
        ("-7", r#""-7""#),
        ("7e1", r#""7e1""#),
        ("", r#""""#),
        ("٣", r#""٣""#),
    ] {
        let expected = format!(r#"{{"sender":{written},"janus":"webrtcup","session_id":5150}}"#);
        assert_eq!(relayed(&janus, event, name), expected);
    }
    assert!(read(&janus, event.as_bytes()).unwrap().claimed_sender().unwrap() == "1");
    assert_eq!(refused(&janus, r#"{"janus":"event","Sender":7}"#), ReadError::AmbiguousSender);
}

#[test]
fn numbers_are_compared_by_their_text_and_only_where_they_are_allowed() {
    let janus = shipped("janus");
    for (number, other) in [("7", "7.0"), ("7", "7e0"), ("-0", "0")] {
        let message = format!(r#"{{"janus":"message","handle_id":{number}}}"#);
        let envelope = read(&janus, message.as_bytes()).unwrap();
        assert!(envelope.recipient().unwrap() == number && envelope.recipient().unwrap() != other);
    }
    // `null` and "" do not count as a recipient, so the next place, the session, is used.
    for none in ["null", r#""""#] {
        let message = format!(r#"{{"janus":"message","handle_id":{none},"session_id":8}}"#);
        assert!(read(&janus, message.as_bytes()).unwrap().recipient().unwrap() == "8");
    }
    for wrong in ["true", "{}", "[7]"] {
        let message = format!(r#"{{"janus":"message","session_id":8,"handle_id":{wrong}}}"#);
        assert_eq!(refused(&janus, &message), ReadError::WrongType, "{wrong}");
        let message = format!(r#"{{"janus":"message","body":{{"room":{wrong}}}}}"#);
        assert_eq!(refused(&janus, &message), ReadError::WrongType, "{wrong}");
    }
    assert_eq!(refused(&janus, r#"{"janus":7}"#), ReadError::WrongType);
    assert_eq!(refused(&shipped("protoo"), r#"{"method":"x","data":{"peerId":7}}"#), ReadError::WrongType);
    let long = "7".repeat(257);
    assert_eq!(
        refused(&janus, &format!(r#"{{"janus":"a","body":{{"room":{long}}}}}"#)),
        ReadError::FieldTooLong
    );
}

#[test]
fn nothing_on_a_path_may_stand_twice() {
    let talk = shipped("nextcloud_talk");
    let to = r#""recipient":{"sessionid":"s-2"}"#;
    for twice in [
        format!(r#""message":{{{to}}},"message":{{}}"#),
        format!(r#""message":{{}},"m\u0065ssage":{{{to}}}"#),
        format!(r#""message":{{{to},"recipient":null}}"#),
        format!(r#""message":{{"r\u0065cipient":1,{to}}}"#),
        r#""message":{"recipient":{"sessionid":"s-2","\u0073essionid":"s-3"}}"#.to_owned(),
        r#""message":{"recipient":{"sessionid":null,"sessionid":"s-3"}}"#.to_owned(),
        format!(r#""room":{{"roomid":"a"}},"message":{{{to}}},"room":3"#),
    ] {
        let message = format!(r#"{{"type":"message",{twice}}}"#);
        assert_eq!(refused(&talk, &message), ReadError::DuplicateField, "{message}");
    }
    // Content outside every path is not checked.
    let carried =
        r#"{"type":"message","message":{"recipient":{"x":1,"x":2},"data":{"recipient":1,"recipient":2}}}"#;
    assert!(read(&talk, carried.as_bytes()).is_ok());
    assert_eq!(
        refused(&shipped("json_rpc"), r#"{"method":"a","result":1,"r\u0065sult":2}"#),
        ReadError::DuplicateField
    );
}

#[test]
fn keys_on_a_path_are_compared_unescaped_and_must_be_characters() {
    let talk = shipped("nextcloud_talk");
    let message =
        r#"{"type":"message","m\u0065ssage":{"\u0072ecipient" : {"sessioni\u0064": "s\u002d2" } }}"#;
    assert!(read(&talk, message.as_bytes()).unwrap().recipient().unwrap() == "s-2");
    for half in [
        r#"{"type":"message","message":{"\ud800":1}}"#,
        r#"{"type":"message","message":{"recipient":{"\udc00":1}}}"#,
        r#"{"type":"message","message":{"recipient":{"sessionid":"\ud800"}}}"#,
    ] {
        assert_eq!(refused(&talk, half), ReadError::NotJson, "{half}");
    }
    assert!(read(&talk, br#"{"type":"message","message":{"data":{"\ud800":1}}}"#).is_ok());
}

#[test]
fn the_inside_of_objects_must_be_json_and_not_too_deep() {
    let talk = shipped("nextcloud_talk");
    for inside in [
        "{",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1]"#,
        "{]",
        "{1:1}",
        r#"{"recipient":{}"#,
        r#"{"recipient":{,}}"#,
        r#"{"recipient":{"a":01}}"#,
        r#"{"recipient":{}]"#,
        r#"{"recipient":{"sessionid":"a"}}}"#,
        r#"{"recipient":{"sessionid":"a",}}"#,
        "{} {}",
    ] {
        let message = format!(r#"{{"type":"message","message":{inside}}}"#);
        assert_eq!(refused(&talk, &message), ReadError::NotJson, "{message}");
    }
    for (levels, fits) in [(125, true), (126, false), (100_000, false)] {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let message = format!(r#"{{"type":"message","message":{{"recipient":{{"data":{data}}}}}}}"#);
        match read(&talk, message.as_bytes()) {
            Ok(_) => assert!(fits, "{levels}"),
            Err(error) => assert!(!fits && error == ReadError::TooDeep, "{levels}: {error}"),
        }
    }
    // A path through a value that is not an object finds nothing.
    for other in ["null", "7", r#""s-2""#, r#"[{"sessionid":"s-2"}]"#, "true"] {
        let message = format!(r#"{{"type":"message","message":{{"recipient":{other}}}}}"#);
        assert!(read(&talk, message.as_bytes()).unwrap().recipient().is_none(), "{other}");
    }
}

#[test]
fn a_talk_sender_is_put_where_its_server_puts_it_and_no_client_may_write_there() {
    let talk = shipped("nextcloud_talk");
    for (message, expected) in [
        (
            r#"{"type":"message","message":{"recipient":{"sessionid":"s-2"},"data":{"sender":1}}}"#,
            r#"{"type":"message","message":{"sender":{"sessionid":"ann\""},"recipient":{"sessionid":"s-2"},"data":{"sender":1}}}"#,
        ),
        (
            r#" {"message": { } , "type":"message"} "#,
            r#"{"message": {"sender":{"sessionid":"ann\""} } , "type":"message"}"#,
        ),
        (
            r#"{"control":{"a":1},"type":"control","message":{}}"#,
            r#"{"control":{"sender":{"sessionid":"ann\""},"a":1},"type":"control","message":{"sender":{"sessionid":"ann\""}}}"#,
        ),
        (r#"{"type":"bye"}"#, r#"{"message":{"sender":{"sessionid":"ann\""}},"type":"bye"}"#),
    ] {
        assert_eq!(relayed(&talk, message, "ann\""), expected);
    }
    for forged in [
        r#""message":{"sender":{"sessionid":"mallory"}}"#,
        r#""message":{"recipient":{},"\u0073ender":null}"#,
        r#""message":{},"control":{"sender":{"userid":"admin"}}"#,
        r#""message":{"sender":1,"sender":2}"#,
    ] {
        let message = format!(r#"{{"type":"message",{forged}}}"#);
        assert_eq!(refused(&talk, &message), ReadError::ForgedSender, "{message}");
    }
    for ambiguous in [
        r#""Message":{"sender":{"sessionid":"mallory"}}"#,
        r#""message":{"Sender":{"sessionid":"mallory"}}"#,
        r#""message":{"\u017fender":{}}"#,
        r#""message":{"sender\u0000":{}}"#,
        r#""CONTROL\u0000x":{}"#,
    ] {
        let message = format!(r#"{{"type":"message",{ambiguous}}}"#);
        assert_eq!(refused(&talk, &message), ReadError::AmbiguousSender, "{message}");
    }
    for other in ["null", "7", "[]", r#""x""#] {
        let message = format!(r#"{{"type":"message","message":{other}}}"#);
        assert_eq!(refused(&talk, &message), ReadError::WrongType, "{message}");
    }
    // The client's own key may contain what looks like a sender in a place where no sender is read.
    assert!(read(&talk, br#"{"type":"event","event":{"sender":1},"sender":2}"#).is_ok());
}

#[test]
fn a_relayed_command_names_its_sender_as_one_word() {
    let selkies = shipped("selkies");
    let message = r#"ROOM_PEER_MSG ben {"sdp": {"a": 1}} x"#;
    for (sender, word) in [
        ("ann", "ann"),
        ("ann x", "ann%20x"),
        ("a%20b", "a%2520b"),
        ("\n\u{a0}\u{2028}\u{7f}", "%0a%c2%a0%e2%80%a8%7f"),
        ("admin\u{feff}x", "admin%ef%bb%bfx"),
        ("žluť🦄", "žluť🦄"),
        (" ", "%20"),
    ] {
        let expected = format!(r#"ROOM_PEER_MSG {word} {{"sdp": {{"a": 1}}}} x"#);
        assert_eq!(relayed(&selkies, message, sender), expected);
        assert_eq!(relayed(&selkies, "HELLO mallory", sender), format!("HELLO {word}"));
        assert_eq!(relayed(&selkies, "HELLO", sender), format!("HELLO {word}"));
    }
    assert_eq!(relayed(&selkies, "ROOM attic", "ann"), "ROOM attic");
    assert!(read(&selkies, b"HELLO 7 x").unwrap().claimed_sender().unwrap() == "7");
    for not in
        ["hello 7", "HELLO7", " HELLO 7", "HELLO\n7", "ROOM_PEER_MSG b\tc x", "SESSION b\u{2003}", "Hello"]
    {
        assert_eq!(refused(&selkies, not), ReadError::NotJson, "{not}");
    }
    assert_eq!(refused(&selkies, &format!("SESSION {}", "x".repeat(257))), ReadError::FieldTooLong);
    assert_eq!(refused(&selkies, &"X".repeat(257)), ReadError::FieldTooLong);
    assert_eq!(refused(&selkies, "{}"), ReadError::MissingType);
    assert_eq!(refused(&selkies, "[]"), ReadError::NotAnObject);
    // Commands are accepted only if the protocol has words.
    assert_eq!(refused(&shipped("peerjs"), "HELLO 7"), ReadError::NotJson);
}

#[test]
fn types_by_presence_are_the_first_that_is_there() {
    let (rpc, protoo) = (shipped("json_rpc"), shipped("protoo"));
    for missing in ["{}", r#"{"id":1}"#, r#"{"method":null}"#, r#"{"method":""}"#] {
        assert_eq!(refused(&rpc, missing), ReadError::MissingType, "{missing}");
        assert_eq!(refused(&protoo, missing), ReadError::MissingType, "{missing}");
    }
    assert_eq!(refused(&rpc, r#"{"method":7,"result":1}"#), ReadError::WrongType);
    let both = read(&rpc, br#"{"result":1,"error":2,"method":null}"#).unwrap();
    assert!(both.message_type().unwrap() == "error");
    let named = read(&protoo, br#"{"response":true,"method":"join"}"#).unwrap();
    assert!(named.message_type().unwrap() == "join");
}

#[test]
fn what_cannot_be_told_is_refused_when_a_protocol_is_built() {
    let build = |fields: Fields<'static>| Protocol::new("p", &fields, Forward::All).map(|_| ());
    let to =
        |recipient| Fields { message_type: Some("a.b"), recipient: Some(recipient), ..Fields::default() };
    for (recipient, expected) in [
        ("a.c", Ok(())),
        ("a.b.c", Err(ProtocolError::ThroughField)),
        ("a", Err(ProtocolError::ThroughField)),
        ("a.b", Err(ProtocolError::SameKey)),
        ("c|c#", Err(ProtocolError::SameKey)),
        ("c|", Err(ProtocolError::EmptyKey)),
        ("c..d", Err(ProtocolError::EmptyKey)),
        (".c", Err(ProtocolError::EmptyKey)),
        ("#", Err(ProtocolError::EmptyKey)),
        ("?c", Err(ProtocolError::Presence)),
        ("1.2.3.4.5.6.7.8.9.10.11.12.13.14", Ok(())),
        ("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15", Err(ProtocolError::TooManyKeys)),
    ] {
        assert_eq!(build(to(recipient)), expected, "{recipient}");
    }
    let from = |sender| Fields { sender: Some(sender), ..Fields::default() };
    for (sender, expected) in [
        ("a.b", Ok(())),
        ("a.b.c|d.b.c", Ok(())),
        ("a#", Ok(())),
        ("a|b", Err(ProtocolError::Sender)),
        ("a|b.c", Err(ProtocolError::Sender)),
        ("a.b|a.c", Err(ProtocolError::Sender)),
        ("?a", Err(ProtocolError::Presence)),
    ] {
        assert_eq!(build(from(sender)), expected, "{sender}");
    }
    // Keys that a reader could take for the sender, and keys in places that clients may not write.
    let beside = |sender, room| build(Fields { sender: Some(sender), room: Some(room), ..Fields::default() });
    let like = Err(ProtocolError::LikeSender);
    for (sender, room, expected) in [
        ("from", "From", like),
        ("from", "room|FROM", like),
        ("from", "From.room", like),
        ("from", "room.from", Ok(())),
        ("message.sender.id", "Message", like),
        ("message.sender.id", "message.sender.room", like),
        ("message.sender.id", "message.Sender", like),
        ("message.sender.id", "message.room", Ok(())),
        ("message.sender.id", "message.room.sender", Ok(())),
        ("message.sender.id", "sender", Ok(())),
        ("a.id|b.id", "B.room", like),
        ("a.id|A.id", "room", like),
    ] {
        assert_eq!(beside(sender, room), expected, "{sender} {room}");
    }
    let nested = Protocol::new("p", &from("a.b"), Forward::Only(&["a"]));
    assert_eq!(nested, Err(ProtocolError::Sender));
    // A present key may contain fields.
    let inside = Fields { message_type: Some("?a"), recipient: Some("a.to"), ..Fields::default() };
    let protocol = Protocol::new("p", &inside, Forward::Only(&["a"])).unwrap();
    let envelope = read(&protocol, br#"{"a":{"to":"ben"},"b":1}"#).unwrap();
    assert!(envelope.message_type().unwrap() == "a" && envelope.recipient().unwrap() == "ben");
    assert_eq!(relayed(&protocol, r#"{"a":{"to":"ben"},"b":1}"#, "ann"), r#"{"a":{"to":"ben"}}"#);

    let words = |words: &[(&str, Argument)]| shipped("generic").with_words(words).map(|_| ());
    let nothing = Argument::Nothing;
    assert_eq!(words(&[("A_B", nothing), ("A", nothing)]), Ok(()));
    assert_eq!(words(&[("A", nothing), ("A", Argument::Room)]), Err(ProtocolError::SameKey));
    for word in ["", "a", "A B", "A1", "É", &"A".repeat(257)] {
        assert_eq!(words(&[(word, nothing)]), Err(ProtocolError::Word), "{word}");
    }
    for error in [
        ProtocolError::ThroughField,
        ProtocolError::Presence,
        ProtocolError::Sender,
        ProtocolError::Word,
        ProtocolError::LikeSender,
    ] {
        assert!(error.to_string().contains(": "), "{error}");
    }
}
