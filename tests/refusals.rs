//! Real threads, little credit, the policy `refuse`: every accepted message is either delivered once or refused with
//! one notice to its sender, whichever client is slow meanwhile. Row R12; invariants I4, I8.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::error::SubmitError;
use corelane::router::{Builder, Event, Port};
use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::time::Duration;

mod support;

const MESSAGES: u64 = 30_000;
const CREDIT: u64 = 16;

/// The events of one host: deliveries and refusals by message number.
#[derive(Default)]
struct Seen {
    delivered: Vec<u64>,
    refused: Vec<u64>,
    written: Vec<(ClientId, u32, u32)>,
}

impl Seen {
    fn poll(&mut self, port: &mut Port) -> usize {
        let Self { delivered, refused, written } = self;
        port.poll_each(64, |event| match event {
            Event::Message(message) => {
                delivered.push(message.correlation);
                written.push((message.client, 1, message.payload.len() as u32));
            }
            Event::Undelivered { correlation, .. } => refused.push(correlation),
            other => panic!("{other:?}"),
        })
        .unwrap()
    }
}

fn host(mut port: Port, host: u64, barrier: &Barrier) -> (Port, Seen) {
    let own = [0, 1]
        .map(|place| port.connect(&format!("client{}", 2 * host + place), "generic", "", place).unwrap());
    barrier.wait();
    let mut seen = Seen::default();
    for count in 0..MESSAGES {
        let number = count * 2 + host;
        let message = format!(r#"{{"type":"offer","to":"client{}"}}"#, number / 3 % 4);
        let from = own[(count % 2) as usize];
        while let Err(error) = port.submit(from, message.as_bytes(), number) {
            assert_eq!(error, SubmitError::RingFull);
            port.publish();
            seen.poll(&mut port);
            std::thread::yield_now();
        }
        if count % 8 == 0 {
            port.publish();
            seen.poll(&mut port);
        }
        if count % 50 == 0 {
            port.acknowledge_batch(seen.written.drain(..));
        }
    }
    port.publish();
    (port, seen)
}

#[test]
fn every_message_is_delivered_once_or_its_sender_is_told_once() {
    let config = support::config_of(&[
        ("workers", "2"),
        ("pin", "off"),
        ("credit_policy", "refuse"),
        ("credit_messages", &CREDIT.to_string()),
        ("max_queue_wait_ms", "3600000"),
    ]);
    let router = Builder::new(config).start().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let hosts = [0, 1].map(|number| {
        let (port, barrier) = (router.port().unwrap(), Arc::clone(&barrier));
        std::thread::spawn(move || host(port, number, &barrier))
    });
    let mut hosts = hosts.map(|host| host.join().unwrap());
    while router.accounting().in_flight > 0 || router.accounting().queued > 0 {
        for (port, seen) in &mut hosts {
            port.wait(Duration::from_millis(1));
            seen.poll(port);
        }
    }
    let stats = router.stats();
    let accounting = &stats.accounting;
    let all = |pick: fn(&Seen) -> &Vec<u64>| -> Vec<u64> {
        hosts.iter().flat_map(|(_, seen)| pick(seen).iter().copied()).collect()
    };
    let (delivered, refused) = (all(|seen| &seen.delivered), all(|seen| &seen.refused));
    let refusals: u64 = stats.workers.iter().map(|worker| worker.credit_refusals).sum();
    assert_eq!((accounting.undeliverable, refusals), (refusals, refused.len() as u64), "{accounting:?}");
    assert!(refusals > 0, "credit was never used up");
    let each: HashSet<_> = delivered.iter().chain(&refused).copied().collect();
    assert_eq!((each.len(), delivered.len() + refused.len()), (2 * MESSAGES as usize, 2 * MESSAGES as usize));
    assert_eq!((accounting.ok, accounting.failed), (delivered.len() as u64, refusals));
    for (place, (port, seen)) in hosts.iter().enumerate() {
        let told_here = seen.refused.iter().all(|number| number % 2 == place as u64);
        assert!(told_here, "a notice went to another client's port");
        assert!(stats.ports[place].outstanding_messages_maximum <= CREDIT);
        assert!(port.is_running());
    }
    let written: u64 = stats.ports.iter().map(|port| port.acknowledged).sum();
    let timed = stats.messages.write.count;
    assert!(timed > 0 && timed <= written, "{timed} of {written} timed");
}
