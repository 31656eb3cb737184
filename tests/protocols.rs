//! Each shipped protocol through a router: what is relayed to which client, what ends at the server, and how it is
//! counted. Then protocols that hosts describe themselves. Row R13.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::envelope::read;
use corelane::error::{BuildError, ConnectError, RulesError};
use corelane::router::{Action, Builder, Port, ProtocolRules};
use serde::Deserialize;
use serde_json::value::RawValue;

mod support;
use support::{config, of_type, texts};

struct Bench {
    base: support::Bench,
    port: Port,
    protocol: String,
}

impl Bench {
    fn new(rules: ProtocolRules) -> Self {
        let protocol = rules.name().to_owned();
        let base = support::Bench::of(config(&[("workers", 1)]), |builder| builder.protocol(rules));
        let port = base.router.port().unwrap();
        Self { base, port, protocol }
    }

    fn shipped(name: &str) -> Self {
        Self::new(ProtocolRules::by_name(name).unwrap())
    }

    /// Connects clients with the tokens 1, 2, 3 and so on.
    fn connect<const COUNT: usize>(&mut self, names: [&str; COUNT]) -> [ClientId; COUNT] {
        let mut token = 0;
        names.map(|name| {
            token += 1;
            self.port.connect(name, &self.protocol, "", token).unwrap()
        })
    }

    /// Sends a message. Returns the token and the bytes of each delivery.
    fn send(&mut self, from: ClientId, message: &str) -> Vec<(u64, String)> {
        self.port.submit(from, message.as_bytes(), 7).unwrap();
        self.port.publish();
        self.base.cycle();
        texts(&mut self.port, 64, true)
    }

    /// Sends a message and checks that it succeeds without a delivery.
    fn ends_here(&mut self, from: ClientId, message: &str) {
        let before = self.base.router.accounting();
        assert_eq!(self.send(from, message), [], "{message}");
        let after = self.base.router.accounting();
        assert_eq!((after.ok, after.failed), (before.ok + 1, before.failed), "{message}");
    }

    /// Sends a message and checks that it fails for the given reason.
    fn fails(&mut self, from: ClientId, message: &str, reason: &str) {
        let before = self.base.failed(reason);
        assert_eq!(self.send(from, message), [], "{message}");
        assert_eq!(self.base.failed(reason), before + 1, "{message}: expected {reason}");
    }
}

fn got<const COUNT: usize>(expected: [(u64, &str); COUNT]) -> Vec<(u64, String)> {
    expected.map(|(token, message)| (token, message.to_owned())).to_vec()
}

#[test]
fn janus_requests_go_to_handles_and_events_to_sessions() {
    let mut bench = Bench::shipped("janus");
    let [session, handle] = bench.connect(["5150", "7301"]);
    let request = r#""janus":"message","session_id":5150,"handle_id":7301,"transaction":"m-1","body":{}}"#;
    assert_eq!(
        bench.send(session, &format!("{{{request}")),
        got([(2, &format!(r#"{{"sender":5150,{request}"#))])
    );
    let event = r#""janus":"event","session_id":5150,"transaction":"m-1","plugindata":{}}"#;
    assert_eq!(
        bench.send(handle, &format!(r#"{{"sender":99,{event}"#)),
        got([(1, &format!(r#"{{"sender":7301,{event}"#))])
    );
    for message in [
        r#"{"janus":"create","transaction":"c"}"#,
        r#"{"janus":"attach","session_id":5150,"transaction":"a"}"#,
        r#"{"janus":"keepalive","session_id":5150,"transaction":"k"}"#,
    ] {
        bench.ends_here(session, message);
    }
    bench.fails(session, r#"{"janus":"trickle","handle_id":7302,"transaction":"t"}"#, "unknown_recipient");
    bench.fails(session, r#"{"janus":"teleport","transaction":"t"}"#, "unknown_type");
    bench.fails(session, r#"{"janus":"message","body":{},"body":{}}"#, "duplicate_field");
}

#[test]
fn a_gstreamer_session_is_a_room_that_only_its_two_speak_in() {
    let mut bench = Bench::shipped("gstreamer");
    let [viewer, camera, mallory] = bench.connect(["viewer", "camera", "mallory"]);
    bench.ends_here(viewer, r#"{"type":"startSession","peerId":"camera"}"#);
    bench.ends_here(camera, r#"{"type":"setPeerStatus","roles":["producer"]}"#);
    bench.port.join(viewer, "s-1").unwrap();
    bench.port.join(camera, "s-1").unwrap();
    let offer = r#"{"type":"peer","sessionId":"s-1","sdp":{"type":"offer","sdp":"v=0"}}"#;
    assert_eq!(bench.send(camera, offer), got([(1, offer)]));
    let end = r#"{"type":"endSession","sessionId":"s-1"}"#;
    assert_eq!(bench.send(viewer, end), got([(2, end)]));
    bench.fails(mallory, offer, "not_a_member");
    // A recipient does not bypass the room check.
    bench.fails(mallory, r#"{"type":"peer","sessionId":"s-1","peerId":"viewer","ice":{}}"#, "not_a_member");
    bench.fails(mallory, r#"{"type":"peer","peerId":"viewer","ice":{}}"#, "no_recipient");
}

#[test]
fn a_selkies_message_to_a_peer_names_its_sender_once_it_is_relayed() {
    let mut bench = Bench::shipped("selkies");
    let [ann, _, spaced] = bench.connect(["ann", "ben", "ann x"]);
    assert_eq!(
        bench.send(ann, r#"ROOM_PEER_MSG ben {"ice": {"candidate": ""}}"#),
        got([(2, r#"ROOM_PEER_MSG ann {"ice": {"candidate": ""}}"#)])
    );
    assert_eq!(bench.send(spaced, "ROOM_PEER_MSG ben hi"), got([(2, "ROOM_PEER_MSG ann%20x hi")]));
    for message in ["HELLO ann", "SESSION ben", "ROOM attic", r#"{"sdp":{"type":"offer"}}"#, r#"{"ice":{}}"#]
    {
        bench.ends_here(ann, message);
    }
    bench.fails(ann, "ROOM_PEER_MSG cleo hi", "unknown_recipient");
    bench.fails(ann, "ROOM_PEER_MSG", "no_recipient");
    bench.fails(ann, "SHOUT hi", "unknown_type");
    bench.fails(ann, "hello ann", "not_json");
}

#[test]
fn json_rpc_ends_at_the_server_unless_its_host_has_a_method_relayed() {
    let mut bench = Bench::shipped("json_rpc");
    let [ann] = bench.connect(["ann"]);
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"invoke","params":{"object":"p/e"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"somethingElse"}"#,
        r#"{"jsonrpc":"2.0","id":4,"result":null}"#,
    ] {
        bench.ends_here(ann, message);
    }
    let relay = Action::Relay { hold: false };
    let mut bench = Bench::new(ProtocolRules::json_rpc().message_type("invoke", relay));
    let [ann, _] = bench.connect(["ann", "pipeline/endpoint"]);
    let invoke = r#"{"jsonrpc":"2.0","id":2,"method":"invoke","params":{"object":"pipeline/endpoint"}}"#;
    assert_eq!(bench.send(ann, invoke), got([(2, invoke)]));
}

#[test]
fn protoo_ends_at_the_server_unless_its_host_has_a_method_relayed() {
    let relay = Action::Relay { hold: false };
    let mut bench = Bench::new(ProtocolRules::protoo().message_type("whisper", relay));
    let [ann, _] = bench.connect(["ann", "ben"]);
    let whisper = r#"{"notification":true,"method":"whisper","data":{"peerId":"ben","text":"hi"}}"#;
    assert_eq!(bench.send(ann, whisper), got([(2, whisper)]));
    bench.ends_here(ann, r#"{"request":true,"id":7,"method":"produce","data":{"peerId":"ben"}}"#);
    bench.ends_here(ann, r#"{"response":true,"id":7,"ok":true,"data":{}}"#);
    bench.ends_here(ann, r#"{"notification":true,"method":"unheardOf"}"#);
    bench.fails(ann, r#"{"request":true,"id":7}"#, "missing_type");
    let stats = bench.base.router.stats();
    let count = |name: &str| of_type(&stats, "protoo", name).received;
    assert_eq!((count("produce"), count("response"), count("whisper")), (Some(1), Some(1), Some(1)));
}

#[test]
fn a_talk_message_reaches_its_session_with_the_true_sender() {
    let mut bench = Bench::shipped("nextcloud_talk");
    let [ann, _] = bench.connect(["s-1", "s-2"]);
    let to = r#""recipient":{"type":"session","sessionid":"s-2"},"data":{"type":"offer"}"#;
    for kind in ["message", "control"] {
        assert_eq!(
            bench.send(ann, &format!(r#"{{"type":"{kind}","{kind}":{{{to}}}}}"#)),
            got([(2, &format!(r#"{{"type":"{kind}","{kind}":{{"sender":{{"sessionid":"s-1"}},{to}}}}}"#))])
        );
        let forged = format!(r#"{{"type":"{kind}","{kind}":{{"sender":{{"sessionid":"s-9"}},{to}}}}}"#);
        bench.fails(ann, &forged, "forged_sender");
    }
    bench.ends_here(ann, r#"{"type":"room","room":{"roomid":"r-7"}}"#);
    bench.ends_here(ann, r#"{"type":"bye","bye":{}}"#);
    bench.fails(
        ann,
        r#"{"type":"message","message":{"recipient":{"type":"room"},"data":1}}"#,
        "no_recipient",
    );
}

const DOORBELL: &str = r#"{
    "name": "doorbell", "about": "For tests.", "examples": ["HM", {"beat": null}], "type": "kind|?beat", "recipient": "to.id#", "room": "house", "transaction": "n",
    "sender": "from", "forward": ["kind", "to"],
    "words": {"KNOCK": "recipient", "SHOUT": "room", "I_AM": "sender", "HM": "nothing"},
    "types": {
        "ring": "relay", "note": "hold", "all": "relay_to_room", "beat": "keep_alive", "look": "accept",
        "KNOCK": "relay", "SHOUT": "relay"
    },
    "unknown": "accept", "droppable": ["ring"]
}"#;

#[test]
fn a_host_describes_a_protocol_of_its_own() {
    let mut bench = Bench::new(ProtocolRules::parse(DOORBELL).unwrap());
    let [ann, ben] = bench.connect(["ann", "17"]);
    let ring = r#"{"kind":"ring","to":{"id":17},"from":"x","more":1}"#;
    assert_eq!(bench.send(ann, ring), got([(2, r#"{"from":"ann","kind":"ring","to":{"id":17}}"#)]));
    assert_eq!(bench.send(ann, "KNOCK 17 twice"), got([(2, "KNOCK ann twice")]));
    bench.port.join(ann, "home").unwrap();
    bench.port.join(ben, "home").unwrap();
    assert_eq!(bench.send(ann, "SHOUT home dinner"), got([(2, "SHOUT home dinner")]));
    let all = r#"{"kind":"all","house":"home","to":{"id":"ann"}}"#;
    assert_eq!(bench.send(ann, all), got([(2, r#"{"from":"ann","kind":"all","to":{"id":"ann"}}"#)]));
    for message in [r#"{"beat":null}"#, r#"{"kind":"look"}"#, r#"{"kind":"never heard of"}"#, "HM"] {
        bench.ends_here(ann, message);
    }
    assert_eq!(bench.send(ann, r#"{"kind":"note","to":{"id":18}}"#), []);
    assert_eq!(bench.base.router.accounting().held, 1);

    let least = ProtocolRules::parse(r#"{"name":"p","type":"t","unknown":null,"types":{"a":"handler"}}"#);
    let (router, _) = Builder::new(Config::default())
        .protocol(least.unwrap())
        .handler("p", "a", |request| request.relay().map(|_| ()))
        .build()
        .unwrap();
    drop(router);
}

#[test]
fn a_wrong_description_says_what_to_change() {
    let with = |member: &str| format!(r#"{{"name":"p","type":"t","unknown":"relay",{member}}}"#);
    for (text, part) in [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        (r#"{"type":"t","unknown":"relay"}"#, "missing field `name`"),
        (r#"{"name":"","type":"t","unknown":"relay"}"#, r#"give "name""#),
        (r#"{"name":"p","unknown":"relay"}"#, r#"give "type" or "words""#),
        (r#"{"name":"p","type":"t"}"#, r#"list "types""#),
        (&with(r#""recipeint":"to""#), "unknown field `recipeint`"),
        (&with(r#""name":"q""#), "duplicate field `name`"),
        (&with(r#""types":{"a":"relay","a":"accept"}"#), r#""a" is listed twice"#),
        (&with(r#""types":{"a":"relays"}"#), "unknown variant `relays`"),
        (&with(r#""types":{"":"relay"}"#), "a type is empty"),
        (&with(r#""types":["a"]"#), "an object"),
        (&with(r#""forward":"some""#), r#""all" or a list of keys"#),
        (&with(r#""forward":["a","a"]"#), "named twice"),
        (&with(r#""recipient":"t""#), "named twice"),
        (&with(r#""recipient":"t.id""#), "through another field"),
        (&with(r#""recipient":"""#), "a key is empty"),
        (&with(r#""recipient":"?to""#), "only the type"),
        (&with(r#""sender":"a.b","forward":["a"]"#), "the sender's place is ambiguous"),
        (&with(r#""words":{"low":"recipient"}"#), "capital letters"),
        (&with(r#""words":{"LOW":"client"}"#), "unknown variant `client`"),
        (&with(r#""transaction":"id""#), r#""unknown" is relayed, but messages do not say to whom"#),
        (
            &with(r#""recipient":"to","types":{"all":"relay_to_room"}"#),
            r#""all" is relayed, but messages do not say to whom: give "room""#,
        ),
        (
            &with(&format!(r#""types":{{"{}":"accept"}}"#, "é".repeat(129))),
            "a type has 258 bytes, and at most 256 are read",
        ),
        (&with(r#""sender":"from","recipient":"From""#), "mistaken for the sender's"),
        (&with(r#""recipient":"to","forward":["to#"]"#), "by its key alone"),
        (&with(r#""droppable":["b"]"#), r#""b" is droppable but not listed"#),
        (&format!("{}x", with(r#""room":"r""#)), "trailing characters"),
        (&" ".repeat(65 << 10), "longer than 65536 bytes"),
    ] {
        let error = ProtocolRules::parse(text).unwrap_err();
        assert!(!error.problem.is_empty(), "{error:?}");
        assert!(error.to_string().contains(part), "{error}, expected {part}");
        assert!(!error.to_string().contains(r#"protocol """#), "{error}");
    }
    let types: Vec<_> = (0..65).map(|number| format!(r#""t{number}":"accept""#)).collect();
    let error = ProtocolRules::parse(&with(&format!(r#""types":{{{}}}"#, types.join(",")))).unwrap_err();
    assert!(error.to_string().contains("65 types, and at most 64 are allowed"), "{error}");
    let most = format!(r#""recipient":"to","types":{{{}}}"#, types[1..].join(","));
    assert!(ProtocolRules::parse(&with(&most)).is_ok());
    // A command may name the room.
    assert!(ProtocolRules::parse(&with(r#""words":{"SHOUT":"room"}"#)).is_ok());
    assert!(
        ProtocolRules::parse(&with(&format!(r#""room":"r","types":{{"{}":"hold"}}"#, "t".repeat(256))))
            .is_ok()
    );
}

#[test]
fn a_protocol_cannot_have_the_name_of_all_others() {
    let refused = ProtocolRules::parse(r#"{"name":"other","type":"type","unknown":"relay"}"#).unwrap_err();
    assert_eq!(refused.protocol, "other", "{refused}");
}

#[test]
fn a_handler_is_of_a_listed_type() {
    let refused = ProtocolRules::parse(r#"{"name":"p","type":"type","unknown":"handler"}"#).unwrap_err();
    assert!(refused.to_string().contains("list the types"), "{refused}");
    let rules = ProtocolRules::generic().unknown_types(Action::Handler { hold: false });
    assert_eq!(
        Builder::new(Config::default()).protocol(rules).build().map(|_| ()).unwrap_err(),
        BuildError::Rules(RulesError {
            protocol: "generic".to_owned(),
            problem: "a handler needs a listed type: list the types, or give \"unknown\" another action"
                .to_owned(),
        })
    );
}

#[test]
fn only_two_protocols_are_there_unless_a_host_adds_them() {
    let (router, _workers) = Builder::new(Config::default()).build().unwrap();
    let mut port = router.port().unwrap();
    for (name, _) in ProtocolRules::SHIPPED {
        let rules = ProtocolRules::by_name(name).unwrap();
        assert_eq!(rules.name(), *name);
        let connected = port.connect(name, name, "", 1);
        if ["generic", "peerjs"].contains(name) {
            assert!(connected.is_ok());
        } else {
            assert_eq!(connected, Err(ConnectError::UnknownProtocol((*name).to_owned())));
            let (router, _workers) = Builder::new(Config::default()).protocol(rules).build().unwrap();
            assert!(router.port().unwrap().connect("ann", name, "", 1).is_ok());
        }
    }
    assert!(ProtocolRules::by_name("Janus").is_none());
}

/// A shipped description, as the page shows it.
#[derive(Deserialize)]
struct Described {
    about: String,
    examples: Vec<Box<RawValue>>,
    #[serde(rename = "type")]
    message_type: String,
    recipient: Option<String>,
    room: Option<String>,
    transaction: Option<String>,
    sender: Option<String>,
    forward: Option<Vec<String>>,
    words: Option<Box<RawValue>>,
    types: Box<RawValue>,
    unknown: Option<String>,
}

impl Described {
    /// The example messages. A command stands in the file as a string.
    fn messages(&self) -> impl Iterator<Item = String> {
        let texts = self.examples.iter().map(|example| example.get());
        texts.map(|text| serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned()))
    }
}

/// The members of an object whose values are strings, in order.
fn pairs(object: &RawValue) -> Vec<(&str, &str)> {
    assert!(!object.get().contains('\\'));
    let texts: Vec<_> = object.get().split('"').skip(1).step_by(2).collect();
    texts.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Rows of a table: each value of these pairs, with the names that have it.
fn grouped(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for (name, value) in pairs {
        let (value, name) = (format!("`{value}`"), format!("`{name}`"));
        match rows.iter_mut().find(|(one, _)| *one == value) {
            Some((_, names)) => *names = format!("{names}, {name}"),
            None => rows.push((value, name)),
        }
    }
    rows
}

/// A text in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > 120 {
            lines = lines + &line + "\n";
            line.clear();
        }
        line = if line.is_empty() { word.to_owned() } else { line + " " + word };
    }
    lines + &line
}

/// The page's section of one protocol.
fn section(name: &str, described: &Described) -> String {
    let messages: Vec<_> = described.messages().map(|message| format!("`{message}`")).collect();
    let mut rows = Vec::new();
    let fields = [
        ("type", Some(&described.message_type)),
        ("recipient", described.recipient.as_ref()),
        ("room", described.room.as_ref()),
        ("transaction", described.transaction.as_ref()),
        ("sender", described.sender.as_ref()),
    ];
    for (role, field) in fields {
        if let Some(field) = field {
            rows.push((role.to_owned(), format!("`{}`", field.replace('|', "\\|"))));
        }
    }
    let keys = described.forward.as_ref().map(|keys| format!("`{}`", keys.join("`, `")));
    rows.push(("forwarded members".to_owned(), keys.unwrap_or_else(|| "all".to_owned())));
    if let Some(words) = &described.words {
        let arguments = grouped(&pairs(words)).into_iter();
        rows.extend(arguments.map(|(argument, words)| (format!("words with {argument}"), words)));
    }
    rows.extend(grouped(&pairs(&described.types)));
    let unknown = described.unknown.as_ref().map(|action| format!("`{action}`"));
    rows.push(("all other types".to_owned(), unknown.unwrap_or_else(|| "fail (`unknown_type`)".to_owned())));
    let rows: String = rows.iter().map(|(head, value)| format!("| {head} | {value} |\n")).collect();
    let (messages, about) = (messages.join(", "), wrapped(&described.about));
    format!(
        "### {name}\n\n{messages}\n\n{about}\n\n| [{name}.json](../protocols/{name}.json) | |\n|---|---|\n{rows}"
    )
}

/// docs/protocols.md shows each shipped protocol. `CORELANE_WRITE_DOCS=1` writes these sections.
#[test]
fn the_page_shows_what_ships() {
    const HEAD: &str = "<!-- Written by CORELANE_WRITE_DOCS=1 cargo test --test protocols -->\n";
    let sections = ProtocolRules::SHIPPED.iter().map(|(name, text)| {
        let described: Described = serde_json::from_str(text).unwrap();
        section(name, &described)
    });
    let sections: Vec<_> = sections.collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocols.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (by_hand, _) = page.split_once(HEAD).unwrap();
    let expected = format!("{by_hand}{HEAD}\n{}", sections.join("\n"));
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
}

/// Each example of a shipped protocol is a message of a type that the protocol lists.
#[test]
fn the_examples_are_of_listed_types() {
    for (name, text) in ProtocolRules::SHIPPED {
        let described: Described = serde_json::from_str(text).unwrap();
        let rules = ProtocolRules::by_name(name).unwrap();
        assert!(described.messages().count() > 0, "{name}");
        for message in described.messages() {
            let read = read(rules.protocol(), message.as_bytes()).unwrap();
            let kind = read.message_type().unwrap().to_string();
            assert!(pairs(&described.types).iter().any(|(listed, _)| *listed == kind), "{name}: {message}");
        }
    }
}

/// The page's own description of a protocol is valid.
#[test]
fn the_documented_description_is_valid() {
    let page = include_str!("../docs/protocols.md");
    let block = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(ProtocolRules::parse(block).unwrap().name(), "doorbell");
}

#[test]
fn a_description_may_begin_with_a_byte_order_mark() {
    let text = "\u{feff}{\"name\": \"doorbell\", \"type\": \"kind\", \"unknown\": \"accept\"}\r\n";
    assert_eq!(ProtocolRules::parse(text).unwrap().name(), "doorbell");
}
