//! Hostile and malformed messages: each has a defined outcome and is counted by reason, and the next valid message of
//! the same client is served. Rows M4, R11, R13; invariants I3, I7, I9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::error::{ClientError, ConnectError, SubmitError};
use corelane::metrics::ByReason;
use std::time::Duration;

mod support;
use support::{Hand as Bench, texts};

impl Bench {
    fn new(protocol: &str) -> Self {
        Self::with(protocol, Config::default())
    }

    fn with(protocol: &str, mut config: Config) -> Self {
        config.router.workers = Some(1);
        Self::of(config, protocol, |builder| builder)
    }

    fn turn(&mut self) -> Vec<(u64, String)> {
        self.port.publish();
        self.cycle();
        texts(&mut self.port, usize::MAX, false)
    }

    fn send(&mut self, message: &[u8]) -> Vec<(u64, String)> {
        self.port.submit(self.ann, message, 7).unwrap();
        self.turn()
    }

    fn failures(&self) -> ByReason {
        self.router.stats().messages.failures
    }
}

#[test]
fn each_bad_message_fails_for_its_reason_and_the_next_is_served() {
    let deep = [b"{\"type\":\"OFFER\",\"dst\":\"ben\",\"payload\":".as_slice(), &[b'['; 10_000]].concat();
    let long = format!(r#"{{"type":"OFFER","dst":"{}"}}"#, "n".repeat(65));
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty"),
        (b"hello", "not_json"),
        (b"{", "not_json"),
        (br#"{"type":"OFFER","dst":"ben"} x"#, "not_json"),
        (b"[1,2]", "not_an_object"),
        (b"\"OFFER\"", "not_an_object"),
        (b"\xff\xfe", "not_utf8"),
        (b"{\"type\":\"OFFER\",\"dst\":\"b\x80n\"}", "not_utf8"),
        (&deep, "too_deep"),
        (br#"{"type":"OFFER","dst":"ben","dst":"eve"}"#, "duplicate_field"),
        (br#"{"type":"OFFER","dst":"ben","d\u0073t":"eve"}"#, "duplicate_field"),
        (br#"{"type":"OFFER","dst":"ben","src":"x","\u0073rc":"mallory"}"#, "duplicate_field"),
        (br#"{"type":1,"dst":"ben"}"#, "wrong_type"),
        (br#"{"type":"OFFER","dst":5}"#, "wrong_type"),
        (br#"{"dst":"ben"}"#, "missing_type"),
        (br#"{"type":"OPEN","dst":"ben"}"#, "unknown_type"),
        (br#"{"type":"offer","dst":"ben"}"#, "unknown_type"),
        (br#"{"type":"OFFER"}"#, "no_recipient"),
        (br#"{"type":"LEAVE","dst":"nobody"}"#, "unknown_recipient"),
        (long.as_bytes(), "field_too_long"),
    ];
    let mut bench = Bench::new("peerjs");
    for (message, reason) in cases {
        let count = |bench: &Bench| bench.failures().get(reason);
        let before = count(&bench);
        assert_eq!(bench.send(message), [], "{reason}");
        assert_eq!(count(&bench), before + 1, "{reason}: {:?}", bench.failures().counted());
        let valid = br#"{"type":"OFFER","dst":"ben","payload":1}"#;
        let relayed = r#"{"src":"ann","type":"OFFER","dst":"ben","payload":1}"#;
        assert_eq!(bench.send(valid), [(2, relayed.to_owned())], "after {reason}");
        bench.port.acknowledge(bench.ben, 1, relayed.len() as u32);
    }
    let stats = bench.router.stats();
    assert_eq!(stats.messages.total, 2 * cases.len() as u64);
    assert_eq!(stats.messages.succeeded, cases.len() as u64);
    assert_eq!(stats.accounting.in_flight, 0);
}

#[test]
fn the_authenticated_sender_always_wins() {
    for (message, relayed) in [
        (r#"{"src":"mallory","type":"OFFER","dst":"ben"}"#, r#"{"src":"ann","type":"OFFER","dst":"ben"}"#),
        (
            r#"{"type":"OFFER","dst":"ben","\u0073rc":"mallory"}"#,
            r#"{"src":"ann","type":"OFFER","dst":"ben"}"#,
        ),
    ] {
        assert_eq!(Bench::new("peerjs").send(message.as_bytes()), [(2, relayed.to_owned())]);
    }
    let mut generic = Bench::new("generic");
    let got = generic.send(br#"{"to":"ben","fr\u006fm":"mallory","type":"offer","sdp":"v=0"}"#);
    let text: serde_json::Value = serde_json::from_str(&got[0].1).unwrap();
    assert_eq!((text["from"].as_str(), text["sdp"].as_str()), (Some("ann"), Some("v=0")));
    assert!(!got[0].1.contains("mallory"));
}

#[test]
fn what_a_port_refuses_is_a_typed_error_and_counted() {
    let mut bench = Bench::with("peerjs", "max_message=1000".parse().unwrap());
    let too_large = bench.port.submit(bench.ann, &[b' '; 1001], 0);
    assert_eq!(too_large, Err(SubmitError::TooLarge));
    let forged = ClientId(bench.ann.0 + (1 << 32));
    assert_eq!(bench.port.submit(forged, b"{}", 0), Err(SubmitError::StaleClient));
    assert_eq!(bench.port.submit(ClientId(u64::MAX), b"{}", 0), Err(SubmitError::StaleClient));
    let mut other = bench.router.port().unwrap();
    assert_eq!(other.submit(bench.ann, b"{}", 0), Err(SubmitError::WrongPort));
    assert_eq!(other.disconnect(bench.ann), Err(ClientError::WrongPort));
    bench.port.disconnect(bench.ann).unwrap();
    assert_eq!(bench.port.submit(bench.ann, b"{}", 0), Err(SubmitError::StaleClient));
    assert_eq!(bench.port.disconnect(bench.ann), Err(ClientError::StaleClient));
    bench.turn();
    let refusals = bench.router.stats().accounting.refusals;
    assert_eq!(refusals.counted(), [("stale_client", 3), ("wrong_port", 1), ("too_large", 1)]);
}

#[test]
fn names_and_limits_are_refused_with_what_to_change() {
    let mut config = Config::default();
    config.limits.max_clients = 3;
    let mut bench = Bench::with("peerjs", config);
    let ann = bench.ann;
    assert_eq!(bench.port.connect("ann", "peerjs", "", 0), Err(ConnectError::NameTaken(ann)));
    assert_eq!(bench.port.connect("", "peerjs", "", 0), Err(ConnectError::NameLength(0)));
    assert_eq!(bench.port.connect(&"n".repeat(65), "peerjs", "", 0), Err(ConnectError::NameLength(65)));
    let unknown = bench.port.connect("eve", "smoke signals", "", 0).unwrap_err();
    assert_eq!(unknown.to_string(), "no protocol named \"smoke signals\" is configured: configure it first");
    bench.port.connect("eve", "peerjs", "", 0).unwrap();
    assert_eq!(bench.port.connect("fay", "peerjs", "", 0), Err(ConnectError::TooManyClients(3)));
    let connections = bench.router.stats().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (3, 3, 3));
}

#[test]
fn a_message_for_an_absent_name_is_held_then_delivered_or_expired() {
    let mut bench = Bench::new("peerjs");
    let offer = br#"{"type":"OFFER","dst":"eve","payload":1}"#;
    assert_eq!(bench.send(offer), []);
    assert_eq!(bench.router.stats().accounting.held, 1);
    bench.port.connect("eve", "peerjs", "", 3).unwrap();
    let relayed = r#"{"src":"ann","type":"OFFER","dst":"eve","payload":1}"#.to_owned();
    assert_eq!(bench.turn(), [(3, relayed)]);
    for _ in 0..3 {
        assert_eq!(bench.send(br#"{"type":"OFFER","dst":"fay"}"#), []);
    }
    bench.hands.advance(Duration::from_millis(4_999));
    assert_eq!(bench.turn(), []);
    bench.hands.advance(Duration::from_millis(2));
    assert_eq!(bench.turn(), [(1, "expired fay".to_owned())], "one notice per sender and name");
    let stats = bench.router.stats();
    assert_eq!((stats.messages.expired, stats.accounting.in_flight), (3, 0));
}

#[test]
fn a_client_that_acknowledges_nothing_is_closed_at_its_limit_and_told_why_once() {
    let mut bench = Bench::with("peerjs", "credit_messages=5".parse().unwrap());
    let offer = br#"{"type":"OFFER","dst":"ben","payload":1}"#;
    for _ in 0..5 {
        assert_eq!(bench.send(offer).len(), 1);
    }
    assert_eq!(bench.send(offer), [(2, "close credit_exhausted".to_owned())]);
    assert_eq!(bench.send(offer), [], "asked once");
    assert_eq!(bench.send(br#"{"type":"LEAVE","dst":"ben"}"#), []);
    // A message that can be held is held for the next client with that name. A message that cannot be held fails.
    assert_eq!(bench.failures().counted(), [("recipient_closed", 1), ("credit_exhausted", 1)]);
    assert_eq!(bench.router.stats().accounting.held, 1);
    bench.port.disconnect(bench.ben).unwrap();
    assert_eq!(bench.turn(), [(2, "closed".to_owned())]);
}
