//! Out-of-line payloads: messages that are too large for a record, and owned messages. Each payload is dropped
//! exactly once, whatever its outcome, and the number in use never exceeds the limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::error::SubmitError;
use corelane::router::{Builder, Event, Owned, Port, SubmitOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

mod support;
use support::{Bench, config_of, read, settled};

/// Bytes that count how often they are dropped.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

struct Hand {
    bench: Bench,
    dropped: Arc<AtomicU64>,
}

fn hand(set: &[(&str, &str)]) -> Hand {
    let small = [("workers", "1"), ("ring_bytes", "8192"), ("max_message", "100000"), ("max_ports", "2")];
    let bench = Bench::of(config_of(&[&small[..], set].concat()), |builder| builder);
    Hand { bench, dropped: Arc::default() }
}

impl Hand {
    fn owned(&self, text: &str) -> Owned {
        Box::new(Counted(text.as_bytes().to_vec(), Arc::clone(&self.dropped)))
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(SeqCst)
    }

    fn assert_nothing_is_left(&self) {
        let stats = self.bench.router.stats();
        assert_eq!((stats.payload_bytes, stats.payloads_waiting), (0, 0));
        settled(&self.bench.router);
    }
}

fn connect(port: &mut Port, name: &str) -> ClientId {
    port.connect(name, "generic", "", 0).unwrap()
}

fn message(to: &str, length: usize) -> String {
    format!(r#"{{"type":"offer","to":"{to}","data":"{}"}}"#, "x".repeat(length))
}

fn poll(port: &mut Port) -> Vec<(ClientId, usize)> {
    let mut got = Vec::new();
    port.poll_each(100, |event| {
        if let Event::Message(message) = event {
            let text: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
            assert_eq!(text["from"], "ann");
            got.push((message.client, text["data"].as_str().unwrap().len()));
            assert_eq!(message.payload.last(), Some(&b'}'));
        }
    })
    .unwrap();
    got
}

#[test]
fn large_messages_travel_beside_the_ring_and_keep_their_order() {
    let mut hand = hand(&[]);
    let mut port = hand.bench.router.port().unwrap();
    let (ann, ben) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
    let sizes = [10, 99_000, 20, 5_000, 30];
    for size in sizes {
        port.submit(ann, message("ben", size).as_bytes(), 0).unwrap();
    }
    port.publish();
    assert_eq!(hand.bench.router.stats().payloads_waiting, 2);
    hand.bench.cycle();
    assert_eq!(hand.bench.router.stats().payloads_waiting, 2, "the payloads of the relayed messages");
    assert_eq!(poll(&mut port), sizes.map(|size| (ben, size)));
    let bytes: usize =
        sizes.iter().sum::<usize>() + 5 * message("", 0).len() + 5 * r#"ben,"from":"ann""#.len();
    port.acknowledge(ben, 5, bytes as u32);
    hand.assert_nothing_is_left();
    assert_eq!(hand.bench.router.stats().messages.bytes_out, bytes as u64);
    // A message that is held for an absent name, and a message that the host sends.
    port.submit(ann, message("ben", 4_000).as_bytes(), 0).unwrap();
    port.send(ben, message("ben", 50_000).replace("}", r#","from":"ann"}"#).as_bytes(), 0).unwrap();
    port.publish();
    hand.bench.cycle();
    assert_eq!(poll(&mut port).len(), 2);
    hand.assert_nothing_is_left();
}

#[test]
fn what_a_host_gives_away_is_dropped_once() {
    let mut hand = hand(&[]);
    let mut port = hand.bench.router.port().unwrap();
    let (ann, ben) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
    // Accepted: the payload is dropped when the worker has relayed the message.
    for size in [5, 60_000] {
        port.submit_owned(ann, hand.owned(&message("ben", size)), SubmitOptions::default()).unwrap();
    }
    port.publish();
    assert_eq!(hand.dropped(), 0);
    hand.bench.cycle();
    assert_eq!(hand.dropped(), 2);
    assert_eq!(poll(&mut port), [(ben, 5), (ben, 60_000)]);
    // Refused: the payload is returned to the host, and nothing has been dropped.
    let stale = ClientId(ann.0 + (1 << 32));
    let refused = port.submit_owned(stale, hand.owned("mine"), SubmitOptions::default());
    let back = refused.unwrap_err();
    assert_eq!((&back.error, (*back.message).as_ref()), (&SubmitError::StaleClient, &b"mine"[..]));
    assert_eq!(hand.dropped(), 2);
    drop(back);
    assert_eq!(hand.dropped(), 3);
    let mut accepted = 0;
    let back = loop {
        match port.submit_owned(ann, hand.owned(&message("ben", 9)), SubmitOptions::default()) {
            Ok(()) => accepted += 1,
            Err(back) => break back,
        }
    };
    assert_eq!(back.error, SubmitError::RingFull);
    assert_eq!(hand.dropped(), 3);
    drop(back);
    // Messages that expire, have an unknown recipient or are not JSON drop their payloads as well.
    port.publish();
    hand.bench.hands.advance(Duration::from_secs(6));
    hand.bench.cycle();
    assert_eq!(hand.dropped(), 4 + accepted);
    for text in ["{", "", &message("nobody", 7)] {
        port.submit_owned(ann, hand.owned(text), SubmitOptions::default()).unwrap();
    }
    port.publish();
    hand.bench.cycle();
    assert_eq!(hand.dropped(), 7 + accepted);
    let _ = poll(&mut port);
    hand.assert_nothing_is_left();
}

/// A stop, and a port that is released before the worker has taken its records.
#[test]
fn nothing_is_kept_beyond_its_pair() {
    for (cycles, stop_first) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut hand = hand(&[]);
        let mut port = hand.bench.router.port().unwrap();
        let (ann, _) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
        for size in [5, 60_000, 7_000] {
            port.submit_owned(ann, hand.owned(&message("ben", size)), SubmitOptions::default()).unwrap();
        }
        port.publish();
        for _ in 0..cycles {
            hand.bench.cycle();
        }
        // Published after the worker has ended.
        port.submit_owned(ann, hand.owned(&message("ben", 1)), SubmitOptions::default()).unwrap();
        if stop_first {
            hand.bench.router.request_stop();
            hand.bench.cycle();
            drop(port);
        } else {
            drop(port);
            hand.bench.cycle();
        }
        assert_eq!(hand.dropped(), 4, "{cycles} {stop_first}");
        hand.assert_nothing_is_left();
    }
}

#[test]
fn too_many_or_too_large_are_refused_and_counted() {
    let mut hand = hand(&[("payloads", "3"), ("payload_bytes", "210000")]);
    let mut port = hand.bench.router.port().unwrap();
    let (ann, ben) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
    let large = message("ben", 90_000);
    for _ in 0..2 {
        port.submit(ann, large.as_bytes(), 0).unwrap();
    }
    assert_eq!(port.submit(ann, large.as_bytes(), 0), Err(SubmitError::PayloadsFull));
    let refused = port.submit_owned(ann, hand.owned(&large), SubmitOptions::default());
    assert_eq!(refused.unwrap_err().error, SubmitError::PayloadsFull);
    assert_eq!(port.submit(ann, &[b'x'; 100_001], 0), Err(SubmitError::TooLarge));
    port.submit(ann, message("ben", 10).as_bytes(), 0).unwrap();
    port.publish();
    hand.bench.cycle();
    // The copy of the first message does not fit in addition to both payloads; then there is space.
    let stats = hand.bench.router.stats();
    assert_eq!(stats.messages.failures.counted(), [("payloads_full", 1)]);
    assert_eq!(stats.accounting.refusals.counted(), [("too_large", 1), ("payloads_full", 2)]);
    assert_eq!(poll(&mut port), [(ben, 90_000), (ben, 10)]);
    hand.assert_nothing_is_left();
    for _ in 0..3 {
        port.submit_owned(ann, hand.owned("x"), SubmitOptions::default()).unwrap();
    }
    let refused = port.submit_owned(ann, hand.owned("x"), SubmitOptions::default());
    assert_eq!(refused.unwrap_err().error, SubmitError::PayloadsFull);
}

/// Ports for whose copies the table has no space do not get the message. The reason is a separate one, because no
/// ring was full.
#[test]
fn a_fan_out_that_finds_the_table_full_says_so() {
    let mut hand = hand(&[("payloads", "1")]);
    let mut ports: Vec<_> = (0..2).map(|_| hand.bench.router.port().unwrap()).collect();
    let ann = connect(&mut ports[0], "ann");
    ports[0].join(ann, "lobby").unwrap();
    for number in 0..4 {
        let client = connect(&mut ports[number % 2], &format!("member{number}"));
        ports[number % 2].join(client, "lobby").unwrap();
    }
    let text = format!(r#"{{"type":"offer","room":"lobby","data":"{}"}}"#, "y".repeat(70_000));
    ports[0].submit(ann, text.as_bytes(), 0).unwrap();
    ports[0].publish();
    hand.bench.cycle();
    let stats = hand.bench.router.stats();
    assert_eq!((stats.accounting.ok, stats.accounting.deliveries), (1, 4));
    assert_eq!(stats.accounting.undelivered.counted(), [("payloads_full", 2)]);
    assert_eq!(stats.workers[0].room_recipients, 2);
    assert!(stats.ports.iter().all(|port| port.workers[0].egress_full == 0));
    let got: Vec<_> = ports.iter_mut().map(|port| poll(port).len()).collect();
    assert_eq!(got.iter().sum::<usize>(), 2, "{got:?}");
    hand.assert_nothing_is_left();
}

/// A large room message is stored out of line once, however many ports have members.
#[test]
fn a_fan_out_shares_one_payload() {
    let mut hand = hand(&[]);
    let mut ports: Vec<_> = (0..2).map(|_| hand.bench.router.port().unwrap()).collect();
    let ann = connect(&mut ports[0], "ann");
    ports[0].join(ann, "lobby").unwrap();
    let mut members = Vec::new();
    for number in 0..40 {
        let client = connect(&mut ports[number % 2], &format!("member{number}"));
        ports[number % 2].join(client, "lobby").unwrap();
        members.push(client);
    }
    let text = format!(r#"{{"type":"offer","room":"lobby","data":"{}"}}"#, "y".repeat(70_000));
    ports[0].submit(ann, text.as_bytes(), 0).unwrap();
    ports[0].publish();
    hand.bench.cycle();
    let stats = hand.bench.router.stats();
    assert_eq!(stats.payloads_waiting, 2, "one for each port");
    assert!(stats.payload_bytes < 80_000, "{} bytes", stats.payload_bytes);
    for (place, port) in ports.iter_mut().enumerate() {
        // Poll in parts: the payload of a partly polled record stays until the next poll.
        let mut got = 0;
        while got < 20 {
            let mut seen = 0;
            port.poll_each(7, |event| {
                let Event::Message(message) = event else { panic!("{event:?}") };
                assert!(members.contains(&message.client) && message.payload.len() > 70_000);
                seen += 1;
            })
            .unwrap();
            assert!(seen > 0, "port {place}");
            got += seen;
        }
    }
    hand.assert_nothing_is_left();
}

/// Threads on both sides: every message arrives unchanged, and no payload is left.
#[test]
fn threads_exchange_large_messages() {
    // Each message arrives, however slow the machine is.
    let set = [
        ("workers", "2"),
        ("pin", "off"),
        ("ring_bytes", "8192"),
        ("max_message", "70000"),
        ("max_queue_wait_ms", "600000"),
    ];
    let mut router = Builder::new(config_of(&set)).start().unwrap();
    let mut port = router.port().unwrap();
    let (ann, _) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
    let (mut sent, mut got, mut number) = (0, 0, 0);
    while got < 2_000 {
        for _ in 0..8 {
            let size = if number % 3 == 0 { 100 } else { 3_000 + (number * 7_919) % 60_000 };
            if sent < 2_000 && sent - got < 60 && port.submit(ann, message("ben", size).as_bytes(), 0).is_ok()
            {
                sent += 1;
                number += 1;
            }
        }
        port.publish();
        let count = read(&mut port, 100, |message| assert_eq!(message.payload.last(), Some(&b'}')));
        got += count;
        if count == 0 {
            port.wait(Duration::from_millis(20));
        }
    }
    router.stop();
    let stats = router.stats();
    assert_eq!((stats.messages.succeeded, stats.payload_bytes, stats.payloads_waiting), (2_000, 0, 0));
}
