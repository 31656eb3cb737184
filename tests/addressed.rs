//! Messages whose type and recipient the host has read itself: they are delivered unchanged, in order with the others of their
//! sender, and counted by their type.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use corelane::clients::ClientId;
use corelane::router::{Address, Event, Port, SubmitOptions};
use support::{Hand, config_of, settled};

fn addressed(to: ClientId, port: &Port, name: &str, correlation: u64) -> SubmitOptions {
    let address = Address { to, message_type: port.message_type("peerjs", name) };
    SubmitOptions { correlation, tell_failed: true, address: Some(address), ..SubmitOptions::default() }
}

/// What the port handed out: the recipient's token, the sender, the bytes, the correlation; or the reason of a notice.
fn got(port: &mut Port) -> Vec<(u64, Option<ClientId>, String, u64)> {
    let mut all = Vec::new();
    let polled = port.poll_each(usize::MAX, |event| match event {
        Event::Message(message) => {
            let text = String::from_utf8_lossy(message.payload).into_owned();
            all.push((message.token, message.sender, text, message.correlation));
        }
        Event::Undelivered { token, recipient, correlation, reason, .. } => {
            all.push((token, recipient, reason.label().to_owned(), correlation));
        }
        _ => {}
    });
    polled.map_or(vec![], |_| all)
}

#[test]
fn a_message_that_the_host_has_read_is_delivered_as_it_is() {
    let mut hand = Hand::of(
        config_of(&[("workers", "1"), ("credit_messages", "4"), ("credit_policy", "refuse")]),
        "peerjs",
        |builder| builder,
    );
    let (ann, ben) = (hand.ann, hand.ben);
    let turn = |hand: &mut Hand| {
        hand.port.publish();
        hand.bench.cycle();
        got(&mut hand.port)
    };
    // Not JSON, and between messages that the router reads: the order is that of the sender.
    let read = r#"{"type":"OFFER","dst":"ben"}"#;
    hand.port.submit(ann, read.as_bytes(), 1).unwrap();
    let options = addressed(ben, &hand.port, "ANSWER", 2);
    hand.port.submit_with(ann, b"\xffbytes", options).unwrap();
    let events = turn(&mut hand);
    assert_eq!(events.iter().map(|event| (event.0, event.3)).collect::<Vec<_>>(), [(2, 1), (2, 2)]);
    assert_eq!((events[1].1, events[1].2.as_str()), (Some(ann), "\u{fffd}bytes"));

    // A type of no protocol counts as `send`. The recipient is gone: the sender is told.
    let options =
        SubmitOptions { address: Some(Address { to: ben, message_type: None }), ..SubmitOptions::default() };
    hand.port.submit_with(ann, b"", options).unwrap();
    let options = addressed(ClientId(ben.0 + (1 << 32)), &hand.port, "OFFER", 3);
    hand.port.submit_with(ann, b"x", options).unwrap();
    let events = turn(&mut hand);
    assert_eq!(events[0].2, "");
    assert_eq!((events[1].0, events[1].2.as_str(), events[1].3), (1, "recipient_closed", 3));

    // Out of line, and without credit.
    let large = Box::new(vec![b'x'; 60_000]);
    let options = addressed(ben, &hand.port, "OFFER", 4);
    hand.port.submit_owned(ann, large, options).unwrap();
    let events = turn(&mut hand);
    assert_eq!((events.len(), events[0].3), (1, 4), "{events:?}");
    let options = addressed(ben, &hand.port, "OFFER", 5);
    hand.port.submit_with(ann, b"x", options).unwrap();
    assert_eq!(turn(&mut hand), [(1, Some(ben), "credit_exhausted".to_owned(), 5)]);

    let stats = hand.bench.router.stats();
    let counted: Vec<_> = stats
        .types
        .iter()
        .filter(|one| one.succeeded > 0 || one.failed > 0)
        .map(|one| (one.name.clone(), one.succeeded, one.failed))
        .collect();
    let expected = [("OFFER", 2, 2), ("ANSWER", 1, 0), ("send", 1, 0)];
    for (name, succeeded, failed) in expected {
        assert!(counted.contains(&(name.to_owned(), succeeded, failed)), "{name}: {counted:?}");
    }
    settled(&hand.bench.router);
}
