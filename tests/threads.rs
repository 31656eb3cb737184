//! Whole routers on real threads: every submitted message is accounted for, in order, even with a stop in the middle,
//! while a reader reads the figures all the time. Invariants I4, I5, I6; rows R8, R9, V2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::error::{Closed, SubmitError};
use corelane::metrics::Accounting;
use corelane::router::{Builder, Event, Port, Router};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

mod support;
use support::random::Random;
use support::settled;

const PRODUCERS: usize = 4;
const CLIENTS: usize = 4;

/// One host thread: its clients send numbered messages to the clients of all host threads, and check the messages
/// that they get.
struct HostThread {
    port: Port,
    clients: Vec<(ClientId, String)>,
    /// By recipient and sender: the last number received.
    last: Vec<Vec<u64>>,
    received: u64,
    corrupt: u64,
}

impl HostThread {
    fn open(router: &Router, producer: usize) -> Self {
        let mut port = router.port().unwrap();
        let clients = (0..CLIENTS)
            .map(|client| {
                let name = format!("p{producer}c{client}");
                (port.connect(&name, "peerjs", "threads", client as u64).unwrap(), name)
            })
            .collect();
        Self { port, clients, last: vec![vec![0; PRODUCERS * CLIENTS]; CLIENTS], received: 0, corrupt: 0 }
    }

    fn poll(&mut self) -> Result<usize, Closed> {
        let Self { port, last, received, corrupt, .. } = self;
        let mut acknowledge = [(ClientId(0), 0u32, 0u32); CLIENTS];
        let polled = port.poll_each(256, |event| {
            let Event::Message(message) = event else { return };
            *received += 1;
            let to = message.token as usize;
            acknowledge[to].0 = message.client;
            acknowledge[to].1 += 1;
            acknowledge[to].2 += message.payload.len() as u32;
            // payload: ..."payload":"<sender>:<number>:<fill>"}
            let text = std::str::from_utf8(message.payload).unwrap();
            let body = text.split("\"payload\":\"").nth(1).unwrap();
            let mut parts = body.split(':');
            let sender: usize = parts.next().unwrap().parse().unwrap();
            let number: u64 = parts.next().unwrap().parse().unwrap();
            let fill = parts.next().unwrap().trim_end_matches("\"}");
            let expected = b'a' + (number % 26) as u8;
            *corrupt += u64::from(fill.bytes().any(|byte| byte != expected));
            let before = std::mem::replace(&mut last[to][sender], number);
            assert!(before < number, "order: {number} after {before}");
        });
        for (client, messages, bytes) in acknowledge {
            self.port.acknowledge(client, messages, bytes);
        }
        polled
    }
}

/// Sends `count` messages, or until the router has stopped. Returns the numbers of accepted and of refused messages.
fn work(host: &mut HostThread, producer: usize, count: u64, progress: &AtomicU64) -> (u64, u64) {
    let (mut accepted, mut refused) = (0, 0);
    let mut random = Random(producer as u64 + 1);
    let mut message = String::new();
    for number in 1..=count {
        progress.fetch_add(1, SeqCst);
        let from = number as usize % CLIENTS;
        let to = random.next() as usize;
        // Mostly small, as signaling messages are; every 64th has any size up to the limit.
        let size = random.below(if number % 64 == 0 { 65_300 } else { 300 });
        message.clear();
        let fill = (b'a' + (number % 26) as u8) as char;
        message.push_str(&format!(
            r#"{{"type":"OFFER","dst":"p{}c{}","payload":"{}:{number}:"#,
            to % PRODUCERS,
            to / PRODUCERS % CLIENTS,
            producer * CLIENTS + from,
        ));
        message.extend(std::iter::repeat_n(fill, size as usize));
        message.push_str("\"}");
        let client = host.clients[from].0;
        loop {
            match host.port.submit(client, message.as_bytes(), 0) {
                Ok(()) => accepted += 1,
                Err(SubmitError::RingFull) => {
                    refused += 1;
                    host.port.publish();
                    // A real sleep: a lost wake for space would hang here.
                    host.port.wait(Duration::from_secs(20));
                    let _ = host.poll();
                    continue;
                }
                Err(SubmitError::Closed) => return (accepted, refused + 1),
                Err(other) => panic!("{other}"),
            }
            break;
        }
        if number % 16 == 0 {
            host.port.publish();
            let _ = host.poll();
        }
    }
    host.port.publish();
    (accepted, refused)
}

fn start(mut config: Config) -> Router {
    config.router.workers = Some(2);
    config.credit.messages = 65_535;
    config.credit.bytes = (1 << 31) - 1;
    config.limits.max_queue_wait = Duration::from_secs(600);
    config.router.backlog_bytes = 1 << 28;
    config.router.ring_bytes = 512 << 10;
    Builder::new(config).start().unwrap()
}

/// Runs the host threads. After `stop_at` messages the router is stopped while they send. Returns the counts of the
/// hosts and of the router.
fn run(messages_each: u64, stop_at: Option<u64>) -> (u64, u64, u64, Accounting) {
    let mut router = start(Config::default());
    let reader = router.reader();
    let progress = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let barrier = Barrier::new(PRODUCERS);
    let finished = AtomicU64::new(0);
    let mut hosts: Vec<_> = (0..PRODUCERS).map(|producer| HostThread::open(&router, producer)).collect();
    let (mut accepted, mut refused, mut received) = (0, 0, 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = hosts
            .iter_mut()
            .enumerate()
            .map(|(producer, host)| {
                let (barrier, progress, finished, reader) = (&barrier, &progress, &finished, &reader);
                scope.spawn(move || {
                    barrier.wait();
                    let counted = work(host, producer, messages_each, progress);
                    finished.fetch_add(1, SeqCst);
                    loop {
                        match host.poll() {
                            Err(_) => break,
                            Ok(0) => {
                                let now = reader.accounting();
                                let quiet = now.in_flight == 0 && now.queued == 0;
                                if stop_at.is_none() && finished.load(SeqCst) == PRODUCERS as u64 && quiet {
                                    break;
                                }
                                host.port.wait(Duration::from_millis(20));
                            }
                            Ok(_) => {}
                        }
                    }
                    assert_eq!(host.corrupt, 0, "bytes were changed in transit");
                    (counted, host.received)
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let now = reader.accounting();
                // The shown differences cannot be negative, so look at their parts.
                let ended = now.refused + now.ok + now.failed + now.expired + now.taken_over;
                assert!(now.submitted >= ended, "{now:?}");
                assert!(now.deliveries >= now.consumed + now.undeliverable, "{now:?}");
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        if let Some(stop_at) = stop_at {
            // A failed thread is reported when it is joined.
            while progress.load(SeqCst) < stop_at && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::sleep(Duration::from_micros(100));
            }
            router.stop();
        }
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, SeqCst);
        for result in results {
            let ((ok, not), got) = result.unwrap();
            accepted += ok;
            refused += not;
            received += got;
        }
    });
    drop(hosts);
    router.stop();
    (accepted, refused, received, settled(&router))
}

#[test]
fn a_million_messages_arrive_in_order() {
    let (accepted, refused, received, figures) = run(250_000, None);
    assert_eq!(accepted, 1_000_000);
    assert_eq!((figures.submitted, figures.refused), (accepted + refused, refused));
    assert_eq!((figures.ok, received), (accepted, accepted), "{figures:?}");
}

#[test]
fn a_stop_in_the_middle_loses_nothing() {
    // Each thread sends until it is refused, however late the stop comes.
    let (accepted, refused, received, figures) = run(u64::MAX, Some(500_000));
    assert_eq!(figures.submitted, accepted + refused);
    assert!(refused >= PRODUCERS as u64, "a thread ended before the stop");
    // A record that was published after a worker had sealed its ring was accepted by the port and is refused as
    // closed.
    assert!(figures.refused >= refused);
    assert_eq!(figures.consumed, received);
}
