//! A client's credit, the consequences when it is used up, and write times: known input, exact figures. Rows R12,
//! R16, M2; invariants I4, I8, I9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::{ClientId, CreditPolicy};
use corelane::config::Config;
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::{BuildError, ClientError, Failed, Loss};
use corelane::router::{Action, Builder, ConnectOptions, Event, ProtocolRules, SendOptions};
use std::time::Duration;

mod support;
use support::{Hand as Bench, changed};

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;
const CURSOR: &[u8] = br#"{"type":"cursor","to":"ben"}"#;

/// A delivered event in short form.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(u64, u32),
    Expired(u64),
    Refused(u64, ClientId, u64),
    Close(u64),
    Closed(u64),
    SendFailed(u64),
}

fn rules() -> ProtocolRules {
    let relay = Action::Relay { hold: false };
    let fields = Fields {
        message_type: Some("type"),
        recipient: Some("to"),
        room: None,
        transaction: None,
        sender: Some("from"),
    };
    ProtocolRules::new(Protocol::new("test", &fields, Forward::All).unwrap())
        .message_type("offer", relay)
        .message_type("held", Action::Relay { hold: true })
        .message_type("cursor", relay)
        .droppable("cursor")
}

fn config(policy: CreditPolicy, messages: u32) -> Config {
    let mut config = Config::default();
    config.router.workers = Some(1);
    (config.credit.policy, config.credit.messages) = (policy, messages);
    config
}

impl Bench {
    fn new(config: Config) -> Self {
        Self::of(config, "test", |builder| builder.protocol(rules()))
    }

    fn turn(&mut self) -> Vec<Seen> {
        self.port.publish();
        self.cycle();
        self.poll()
    }

    fn poll(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.port
            .poll_each(usize::MAX, |event| {
                seen.push(match event {
                    Event::Message(message) => Seen::Message(message.token, message.payload.len() as u32),
                    Event::Expired { token, .. } => Seen::Expired(token),
                    Event::Undelivered { token, recipient, correlation, reason, .. } => {
                        assert_eq!(reason, Loss::Failed(Failed::CreditExhausted));
                        Seen::Refused(token, recipient.unwrap(), correlation)
                    }
                    Event::Close { token, .. } => Seen::Close(token),
                    Event::SendFailed { correlation, .. } => Seen::SendFailed(correlation),
                    Event::Closed { token, .. } => Seen::Closed(token),
                    other => panic!("{other:?}"),
                });
            })
            .unwrap();
        seen
    }

    fn send(&mut self, message: &[u8], correlation: u64) -> Vec<Seen> {
        self.port.submit(self.ann, message, correlation).unwrap();
        self.turn()
    }

    /// Closes, refusals and drops because of missing credit, and messages that failed for that reason.
    fn credit_figures(&self) -> (u64, u64, u64, u64) {
        let stats = self.router.stats();
        let worker = &stats.workers[0];
        (worker.credit_closes, worker.credit_refusals, worker.credit_drops, self.failed("credit_exhausted"))
    }
}

fn length(message: &[u8]) -> u32 {
    message.len() as u32 + r#","from":"ann""#.len() as u32
}

#[test]
fn refuse_keeps_the_client_and_tells_the_sender_without_credit() {
    let mut bench = Bench::new(config(CreditPolicy::Refuse, 2));
    for number in [1, 2] {
        assert_eq!(bench.send(OFFER, number), [Seen::Message(2, length(OFFER))]);
    }
    for number in [3, 4] {
        assert_eq!(bench.send(OFFER, number), [Seen::Refused(1, bench.ben, number)]);
    }
    assert_eq!(bench.credit_figures(), (0, 2, 0, 2));
    let of_sender = bench.port.outstanding(bench.ann).unwrap();
    assert_eq!((of_sender.messages, of_sender.handed_messages), (0, 0), "a notice takes no credit");
    bench.port.acknowledge(bench.ben, 1, length(OFFER));
    assert_eq!(bench.send(OFFER, 5), [Seen::Message(2, length(OFFER))]);
    let accounting = bench.router.stats().accounting;
    assert_eq!((accounting.ok, accounting.failed, accounting.in_flight), (3, 2, 0));
    assert_eq!((accounting.deliveries, accounting.consumed, accounting.undeliverable), (7, 5, 2));
}

#[test]
fn refuse_is_silent_where_notices_are_off() {
    let mut bench =
        Bench::new(changed(config(CreditPolicy::Refuse, 1), |config| config.credit.refusal_notices = false));
    assert_eq!(bench.send(OFFER, 1).len(), 1);
    assert_eq!(bench.send(OFFER, 2), []);
    assert_eq!(bench.credit_figures(), (0, 1, 0, 1));
}

#[test]
fn a_notice_that_finds_its_port_full_is_counted() {
    let mut config = config(CreditPolicy::Refuse, 60);
    config.limits.max_message = 64;
    (config.router.ring_bytes, config.router.backlog_bytes) = (8192, 8192);
    let mut bench = Bench::new(config);
    // Nothing is polled: sixty messages, then notices, fill the egress ring and the backlog.
    for number in 0..400 {
        bench.port.submit(bench.ann, OFFER, number).unwrap();
        bench.port.publish();
        bench.cycle();
    }
    assert_eq!(bench.credit_figures(), (0, 340, 0, 340));
    let stats = bench.router.stats();
    let [("egress_full", full), ("credit_exhausted", 340)] = stats.accounting.undelivered.counted()[..]
    else {
        panic!("{stats:?}")
    };
    assert!(full > 0);
    let path = &stats.ports[0].workers[0];
    assert_eq!(path.egress_full, full);
    assert_eq!((path.backlog_bytes, path.backlog_bytes_maximum), (8192, 8192));
    assert_eq!(
        (stats.routing.workers_active, stats.routing.workers_idle),
        (1, 0),
        "something waits for space"
    );
    let mut seen = bench.poll();
    seen.extend(bench.turn());
    seen.extend(bench.turn());
    let notices = seen.iter().filter(|one| matches!(one, Seen::Refused(1, ..))).count() as u64;
    assert_eq!((seen.len() as u64, notices), (400 - full, 340 - full));
    let stats = bench.router.stats();
    let path = &stats.ports[0].workers[0];
    assert_eq!((path.backlog_bytes, path.backlog_bytes_maximum), (0, 8192));
    assert_eq!((stats.routing.workers_active, stats.accounting.queued), (0, 0));
}

#[test]
fn drop_drops_listed_types_and_disconnects_for_others() {
    let mut bench = Bench::new(config(CreditPolicy::Drop, 1));
    assert_eq!(bench.send(CURSOR, 1), [Seen::Message(2, length(CURSOR))]);
    assert_eq!(bench.send(CURSOR, 2), []);
    assert_eq!(bench.send(CURSOR, 3), []);
    assert_eq!(bench.credit_figures(), (0, 0, 2, 2));
    bench.port.acknowledge(bench.ben, 1, length(CURSOR));
    assert_eq!(bench.send(CURSOR, 4), [Seen::Message(2, length(CURSOR))]);
    assert_eq!(bench.send(OFFER, 5), [Seen::Close(2)]);
    assert_eq!(bench.credit_figures(), (1, 0, 2, 3));
}

#[test]
fn a_send_of_a_droppable_type_is_dropped_and_one_without_a_type_is_not() {
    let mut bench = Bench::new(config(CreditPolicy::Drop, 1));
    let cursor = SendOptions::default().message_type(bench.port.message_type("test", "cursor").unwrap());
    for _ in 0..2 {
        bench.port.send(bench.ben, b"cursor", cursor).unwrap();
    }
    assert_eq!(bench.turn(), [Seen::Message(2, 6), Seen::SendFailed(0)]);
    assert_eq!(bench.credit_figures(), (0, 0, 1, 1));
    bench.port.send(bench.ben, b"a send", 3).unwrap();
    assert_eq!(bench.turn(), [Seen::Close(2), Seen::SendFailed(3)]);
    assert_eq!(bench.credit_figures(), (1, 0, 1, 2));
}

#[test]
fn a_client_can_have_a_policy_of_its_own() {
    let mut bench = Bench::new(config(CreditPolicy::Disconnect, 1));
    let options = ConnectOptions::new("test", "", 3).credit_policy(CreditPolicy::Refuse);
    let eve = bench.port.connect_with("eve", options).unwrap();
    let to_eve = br#"{"type":"offer","to":"eve"}"#;
    assert_eq!(bench.send(to_eve, 1).len(), 1);
    assert_eq!(bench.send(to_eve, 2), [Seen::Refused(1, eve, 2)]);
    assert_eq!(bench.send(OFFER, 3).len(), 1);
    assert_eq!(bench.send(OFFER, 4), [Seen::Close(2)]);
}

#[test]
fn a_held_message_is_refused_like_any_other_and_an_expiry_notice_causes_none() {
    let mut bench = Bench::new(config(CreditPolicy::Refuse, 1));
    for number in [1, 2] {
        assert_eq!(bench.send(br#"{"type":"held","to":"eve"}"#, number), []);
    }
    let eve = bench.port.connect("eve", "test", "", 3).unwrap();
    assert_eq!(bench.turn(), [Seen::Message(3, 39), Seen::Refused(1, eve, 2)]);
    // One expiry notice uses up Ann's credit. The next notice is not delivered, and is counted.
    for name in ["fay", "gus"] {
        let message = format!(r#"{{"type":"held","to":"{name}"}}"#);
        assert_eq!(bench.send(message.as_bytes(), 3), []);
    }
    bench.hands.advance(Duration::from_secs(6));
    assert_eq!(bench.turn(), [Seen::Expired(1)]);
    let accounting = bench.router.stats().accounting;
    assert_eq!(accounting.undelivered.counted(), [("credit_exhausted", 2)], "a held message and a notice");
    assert_eq!((accounting.expired, accounting.in_flight, accounting.queued), (2, 0, 0));
}

#[test]
fn a_droppable_type_that_is_not_listed_is_refused() {
    let builder = Builder::new(Config::default()).protocol(ProtocolRules::peerjs().droppable("OFER"));
    let error = builder.build().unwrap_err();
    assert!(matches!(error, BuildError::Rules(ref error) if error.protocol == "peerjs"), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(r#""OFER" is droppable but not listed: add it to "types", or name one of OFFER"#),
        "{error}"
    );
}

#[test]
fn outstanding_is_what_is_given_and_not_acknowledged_and_its_maximum_is_true() {
    let mut bench = Bench::new(config(CreditPolicy::Disconnect, 100));
    let bytes = length(OFFER);
    for number in 0..3 {
        bench.port.submit(bench.ann, OFFER, number).unwrap();
    }
    bench.port.publish();
    bench.cycle();
    let before = bench.port.outstanding(bench.ben).unwrap();
    assert_eq!((before.messages, before.bytes, before.handed_messages), (3, 3 * bytes, 0));
    bench.poll();
    bench.port.acknowledge_batch([(bench.ben, 2, 2 * bytes), (bench.ann, 5, 5)]);
    bench.send(OFFER, 4);
    let now = bench.port.outstanding(bench.ben).unwrap();
    assert_eq!((now.messages, now.bytes), (2, 2 * bytes));
    assert_eq!((now.handed_messages, now.handed_bytes), (2, 2 * bytes));
    assert_eq!((now.handed_messages_maximum, now.handed_bytes_maximum), (3, 3 * bytes));
    let port = &bench.router.stats().ports[0];
    assert_eq!(
        (port.outstanding_messages_maximum, port.outstanding_bytes_maximum),
        (3, 3 * u64::from(bytes))
    );
    assert_eq!(
        (port.acknowledged, port.bytes_out),
        (2, 2 * u64::from(bytes)),
        "ann had nothing to acknowledge"
    );
    let mut other = bench.router.port().unwrap();
    assert_eq!(other.outstanding(bench.ben), Err(ClientError::WrongPort));
    other.acknowledge(bench.ben, 2, 2 * bytes);
    assert_eq!(
        bench.port.outstanding(bench.ben),
        Ok(now),
        "an acknowledgement from another port has no effect"
    );
}

#[test]
fn the_write_stage_is_timed_from_hand_out_to_the_acknowledgement_that_covers_it() {
    let mut bench = Bench::new(config(CreditPolicy::Disconnect, 100));
    let bytes = length(OFFER);
    let write = |bench: &Bench| {
        let write = &bench.router.stats().messages.write;
        (write.count, write.minimum, write.maximum, write.distribution.sum())
    };
    // The first of three messages is sampled; the two after it are not.
    for number in 0..3 {
        bench.send(OFFER, number);
        bench.hands.advance(Duration::from_nanos(1_000));
    }
    assert_eq!(write(&bench), (0, None, None, 0));
    bench.port.acknowledge(bench.ben, 1, bytes);
    assert_eq!(write(&bench), (1, Some(3_000), Some(3_000), 3_000));
    // Two messages are unacknowledged and not sampled. The next delivery is the third in line.
    bench.send(OFFER, 3);
    bench.hands.advance(Duration::from_nanos(500));
    bench.port.acknowledge_batch([(bench.ben, 1, bytes), (bench.ben, 1, bytes)]);
    assert_eq!(write(&bench).0, 1, "acknowledging the earlier messages does not cover it");
    bench.hands.advance(Duration::from_nanos(200));
    bench.port.acknowledge_batch([(bench.ben, 1, bytes)]);
    assert_eq!(write(&bench), (2, Some(700), Some(3_000), 3_700));
    // Messages that are discarded at a close do not count as written.
    bench.send(OFFER, 4);
    bench.port.disconnect(bench.ben).unwrap();
    assert_eq!(bench.turn(), [Seen::Closed(2)]);
    assert_eq!(write(&bench).0, 2);
    let stats = bench.router.stats();
    assert_eq!(stats.ports[0].write.count, 2);
    let text = corelane::export::prometheus_of_router(&stats);
    support::assert_lines(
        &text,
        &[
            r#"corelane_port_write_duration_seconds_count{port="0"} 2"#,
            r#"corelane_port_write_duration_seconds_sum{port="0"} 0.0000037"#,
            r#"corelane_port_outstanding_peak_messages{port="0"} 3"#,
        ],
    );
}

#[test]
fn rebind_gives_a_new_token_to_what_is_handed_out_afterwards() {
    let mut bench = Bench::new(config(CreditPolicy::Disconnect, 100));
    assert_eq!(bench.send(OFFER, 1), [Seen::Message(2, length(OFFER))]);
    bench.port.submit(bench.ann, OFFER, 2).unwrap();
    bench.port.publish();
    bench.cycle();
    // The message was already in flight. It is delivered with the new token after the call.
    bench.port.rebind(bench.ben, 20).unwrap();
    assert_eq!(bench.poll(), [Seen::Message(20, length(OFFER))]);
    assert_eq!(
        bench.port.outstanding(bench.ben).unwrap().handed_messages,
        2,
        "includes the messages of the old connection"
    );
    let mut other = bench.router.port().unwrap();
    let error = other.rebind(bench.ben, 30).unwrap_err();
    assert_eq!(error, ClientError::WrongPort);
    assert!(error.to_string().contains("disconnect it there, then connect it"), "{error}");
    bench.port.disconnect(bench.ben).unwrap();
    assert_eq!(bench.port.rebind(bench.ben, 40), Err(ClientError::StaleClient));
    assert_eq!(bench.turn(), [Seen::Closed(20)]);
    assert_eq!(bench.port.rebind(bench.ben, 40), Err(ClientError::StaleClient));
}

#[test]
fn a_poller_rebinds_and_acknowledges_in_batches_as_well() {
    let mut bench =
        support::Bench::of(config(CreditPolicy::Disconnect, 100), |builder| builder.protocol(rules()));
    let (port, mut poller) = bench.router.port().unwrap().share();
    let ann = port.connect("ann", "test", "", 1).unwrap();
    let options = ConnectOptions::new("test", "", 2).credit_policy(CreditPolicy::Refuse);
    let ben = port.connect_with("ben", options).unwrap();
    port.submit(ann, OFFER, 1).unwrap();
    bench.cycle();
    poller.rebind(ben, 20).unwrap();
    let mut tokens = Vec::new();
    poller
        .poll_each(10, |event| {
            let Event::Message(message) = event else { panic!("{event:?}") };
            tokens.push(message.token);
        })
        .unwrap();
    assert_eq!(tokens, [20]);
    bench.hands.advance(Duration::from_nanos(9));
    assert_eq!(poller.outstanding(ben).unwrap().messages, 1);
    poller.acknowledge_batch([(ben, 1, length(OFFER))]);
    assert_eq!(poller.outstanding(ben).unwrap().messages, 0);
    assert_eq!(bench.router.stats().messages.write.maximum, Some(9));
}
