//! Draining and idle strategies: a drain refuses new messages, waits for held ones, and returns an error on a
//! time-out; every idle strategy delivers. Rows R1, R9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::error::{Closed, ConnectError, DrainError, PortError, SubmitError};
use corelane::router::{Builder, Event, Port, Router};
use std::time::Duration;

mod support;

fn start(configure: &[(&str, &str)]) -> (Router, Port) {
    // Nothing expires in a queue because the machine is slow.
    let set = [&[("max_queue_wait_ms", "600000")][..], configure].concat();
    let router = Builder::new(support::config_of(&set)).start().unwrap();
    let port = router.port().unwrap();
    (router, port)
}

/// Polls until a message is delivered. Returns its bytes.
fn receive(port: &mut Port) -> Vec<u8> {
    let mut received = None;
    while received.is_none() {
        port.wait(Duration::from_secs(20));
        port.poll_each(1, |event| {
            if let Event::Message(message) = event {
                received = Some(message.payload.to_vec());
            }
        })
        .unwrap();
    }
    received.unwrap()
}

#[test]
fn a_drain_refuses_what_is_new_and_waits_for_what_is_held() {
    let (mut router, mut port) = start(&[("workers", "2"), ("hold_ms", "300")]);
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.submit(ann, br#"{"type":"OFFER","dst":"nobody"}"#, 0).unwrap();
    port.publish();
    let drained = router.drain(Duration::from_millis(20));
    assert_eq!(drained, Err(DrainError::TimedOut), "held for 300 ms, waited for 20");
    let draining = Err(SubmitError::Draining);
    assert_eq!(port.submit(ann, br#"{"type":"OFFER","dst":"ann"}"#, 0), draining);
    assert_eq!(port.connect("ben", "peerjs", "", 2), Err(ConnectError::Draining));
    // The expiry notice is a delivery, so the drain waits until it is polled.
    let polling = std::thread::spawn(move || {
        let mut notices = 0;
        loop {
            port.wait(Duration::from_secs(20));
            let polled =
                port.poll_each(16, |event| notices += u64::from(matches!(event, Event::Expired { .. })));
            match polled {
                Ok(_) => {}
                Err(closed) => return (notices, closed),
            }
        }
    });
    assert_eq!(router.drain(support::PATIENCE), Ok(()));
    let figures = router.accounting();
    assert_eq!((figures.expired, figures.in_flight, figures.queued), (1, 0, 0));
    router.stop();
    assert_eq!(polling.join().unwrap(), (1, Closed));
    assert!(matches!(router.port(), Err(PortError::Stopped)));
}

#[test]
fn every_idle_strategy_wakes_for_a_message() {
    for idle in ["spin", "backoff", "park"] {
        for workers in ["1", "3"] {
            let (_router, mut port) = start(&[("workers", workers), ("idle", idle)]);
            let ann = port.connect("ann", "peerjs", "", 1).unwrap();
            for number in 0..50 {
                if number % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(2)); // Long enough for the worker to sleep.
                }
                let text = format!(r#"{{"src":"ann","type":"OFFER","dst":"ann","payload":{number}}}"#);
                port.submit(ann, text.as_bytes(), 0).unwrap();
                port.publish();
                assert_eq!(receive(&mut port), text.as_bytes());
            }
        }
    }
}
