//! A shared port: sixty-four short-lived threads submit through it, each client's messages in order, while one owner
//! polls. Row R8; invariants I4, I5.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::error::SubmitError;
use corelane::router::{Builder, Event};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

mod support;
use support::{Bench, config};

/// Batches and sends through the lock: a result for each item, one publication, and `Closed` after the poller is
/// dropped.
#[test]
fn batches_and_sends_through_the_lock() {
    let mut bench = Bench::of(config(&[("workers", 1)]), |builder| builder);
    let (shared, mut poller) = bench.router.port().unwrap().share();
    let ann = shared.connect("ann", "generic", "", 1).unwrap();
    let ben = shared.connect("ben", "generic", "", 2).unwrap();
    let offer = &br#"{"type":"offer","to":"ben"}"#[..];
    let too_large = vec![b' '; 70_000];
    let mut told = Vec::new();
    let batch = [(ann, offer, 1), (ann, &too_large[..], 2), (ann, offer, 3), (ann, offer, 4)];
    let accepted = shared.submit_batch(batch, |place, result| {
        told.push((place, result));
        if place < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let refused = Err(SubmitError::TooLarge);
    assert_eq!((accepted, told), (2, vec![(0, Ok(())), (1, refused), (2, Ok(()))]));
    assert_eq!(shared.send_batch([(ben, &b"a"[..], 5), (ben, b"b", 6)], |_, _| ControlFlow::Continue(())), 2);
    shared.send(ben, b"c", 7).unwrap();
    bench.cycle();
    let mut order = Vec::new();
    poller
        .poll_each(usize::MAX, |event| {
            let Event::Message(message) = event else { return };
            order.push((message.sender, message.correlation));
        })
        .unwrap();
    let ann = Some(ann);
    assert_eq!(order, [(ann, 1), (ann, 3), (None, 5), (None, 6), (None, 7)]);
    drop(poller);
    let closed = Err(SubmitError::Closed);
    let mut told = Vec::new();
    assert_eq!(
        shared.send_batch([(ben, &b"d"[..], 8), (ben, b"e", 9)], |_, result| {
            told.push(result);
            ControlFlow::Continue(())
        }),
        0
    );
    assert_eq!((told, shared.send(ben, b"f", 10)), (vec![closed, closed], closed));
}

const THREADS: u64 = 64;
const SENDERS: usize = 16;
const PER_THREAD: u64 = 2_000;

#[test]
fn many_threads_keep_each_clients_order() {
    let config = config(&[
        ("workers", 2),
        ("max_queue_wait_ms", 600_000),
        ("backlog_bytes", 1 << 28),
        ("credit_messages", 65_535),
        ("credit_bytes", 1 << 30),
    ]);
    let mut router = Builder::new(config).start().unwrap();
    let (shared, mut poller) = router.port().unwrap().share();
    let sink = shared.connect("sink", "peerjs", "", u64::MAX).unwrap();
    // A client's next number is assigned under the client's own lock, which is held until the message is submitted.
    // The order of numbers is therefore the order of submission, whichever thread submits.
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            (shared.connect(&format!("s{sender}"), "peerjs", "", sender as u64).unwrap(), Mutex::new(0u64))
        })
        .collect();
    let submitted = AtomicU64::new(0);
    let mut last = [0u64; SENDERS];
    let received = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (shared, senders, submitted, received) = (&shared, &senders, &submitted, &received);
        scope.spawn(move || {
            // Eight threads at a time, each for a short while.
            for wave in 0..THREADS / 8 {
                std::thread::scope(|scope| {
                    for thread in 0..8 {
                        scope.spawn(move || {
                            for count in 0..PER_THREAD {
                                let place = (thread + wave + count * 7) as usize % SENDERS;
                                let (client, number) = &senders[place];
                                // Keep no more messages in flight than the recipient's credit allows.
                                while submitted.load(SeqCst) > received.load(SeqCst) + 20_000 {
                                    std::thread::yield_now();
                                }
                                let mut number = number.lock().unwrap();
                                *number += 1;
                                let text = format!(
                                    r#"{{"type":"OFFER","dst":"sink","payload":[{place},{number}]}}"#
                                );
                                loop {
                                    match shared.submit(*client, text.as_bytes(), *number) {
                                        Ok(()) => break,
                                        Err(SubmitError::RingFull) => std::thread::yield_now(),
                                        Err(other) => panic!("{other}"),
                                    }
                                }
                                submitted.fetch_add(1, SeqCst);
                            }
                        });
                    }
                });
            }
        });
        while received.load(SeqCst) < THREADS * PER_THREAD {
            let (mut count, mut bytes) = (0u32, 0u32);
            poller
                .poll_each(512, |event| {
                    let Event::Message(message) = event else { return };
                    count += 1;
                    bytes += message.payload.len() as u32;
                    let text: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
                    let place = text["payload"][0].as_u64().unwrap() as usize;
                    assert_eq!(message.correlation, last[place] + 1, "lost or out of order");
                    last[place] = message.correlation;
                })
                .unwrap();
            received.fetch_add(u64::from(count), SeqCst);
            poller.acknowledge(sink, count, bytes);
            if count == 0 {
                poller.wait(Duration::from_secs(10));
                let figures = router.accounting();
                assert_eq!(figures.failed + figures.expired, 0, "{figures:?}");
            }
        }
    });
    let figures = router.accounting();
    assert_eq!(figures.ok, THREADS * PER_THREAD);
    drop(poller);
    let refused = shared.submit(sink, b"{}", 0);
    assert_eq!(refused, Err(SubmitError::Closed));
    router.stop();
    assert_eq!((router.accounting().in_flight, router.accounting().queued), (0, 0));
}
