//! A worker whose thread panics in the middle of a message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use crate::config::{Balance, Config, Idle};
use crate::error::{Closed, Failed, RouteError, SubmitError};
use crate::router::{Builder, Event, Routed, Router, Worker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts threads for the workers of a built router. The first worker panics at the message after
/// `panics_after` messages.
fn started(workers: u32, panics_after: u64) -> (Router, Vec<JoinHandle<()>>) {
    let mut config = Config::default();
    config.router.workers = Some(workers);
    config.router.idle = Idle::Park;
    config.limits.max_queue_wait = Duration::from_secs(600); // However slow the machine is.
    // A worker that had no processor for a while delivers all that waits before the port polls again.
    config.set("credit_messages", "60000").unwrap();
    // By default all clients may leave a worker that gets no processor at first, before it has had its messages.
    config.router.balance = Balance::Hash;
    let (router, mut workers) = Builder::new(config).build().unwrap();
    workers[0].state.inside.panics_after = Some(panics_after);
    let run = |worker: Worker| std::thread::spawn(move || worker.run());
    (router, workers.into_iter().map(run).collect())
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "timed out");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The current message and those behind it fail as lost, once. The thread ends. Polls and submissions report
/// closed. (I4, I9)
#[test]
fn the_only_worker_is_lost() {
    let (router, threads) = started(1, 2);
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let ben = port.connect("ben", "generic", "", 2).unwrap();
    for number in 0..5 {
        port.submit(ann, OFFER, number).unwrap();
    }
    port.publish();
    for thread in threads {
        thread.join().expect("the panic ends in the worker");
    }
    let mut got = Vec::new();
    until(|| {
        let polled = port.poll_each(10, |event| match event {
            Event::Message(message) => got.push(message.correlation),
            other => panic!("{other:?}"),
        });
        polled == Err(Closed)
    });
    assert_eq!(got, [0, 1]);
    let stats = router.stats();
    let accounting = &stats.accounting;
    assert_eq!((accounting.submitted, accounting.ok, accounting.failed, accounting.in_flight), (5, 2, 3, 0));
    assert_eq!(accounting.queued, 0);
    assert_eq!(stats.messages.failures.counted(), [(Failed::WorkerLost.label(), 3)]);
    assert!(stats.workers[0].lost);
    assert_eq!(port.submit(ann, OFFER, 9), Err(SubmitError::Closed));
    // Only the port can close its clients now.
    port.disconnect(ben).unwrap();
    let mut closed = Vec::new();
    port.poll_each(10, |event| closed.push(matches!(event, Event::Closed { client, .. } if client == ben)))
        .unwrap();
    assert_eq!(closed, [true]);
}

/// The caller of the message at which the worker panics gets an answer, and so do the callers behind it. (R8)
#[test]
fn callers_are_woken() {
    let (router, _threads) = started(1, 0);
    let (shared, _poller) = router.port().unwrap().share();
    let ann = shared.connect("ann", "generic", "", 1).unwrap();
    shared.connect("ben", "generic", "", 2).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.route(ann, OFFER, Duration::MAX))
        })
        .collect();
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let lost = |answer: &&Result<Routed, RouteError>| **answer == Ok(Routed::Failed(Failed::WorkerLost));
    let closed = |answer: &&Result<Routed, RouteError>| **answer == Err(SubmitError::Closed.into());
    assert!(answers.iter().any(|answer| lost(&answer)), "{answers:?}");
    assert!(answers.iter().all(|answer| lost(&answer) || closed(&answer)), "{answers:?}");
}

/// The other worker continues: clients of the lost worker move there, new clients are served, ports open. (I5,
/// I8)
#[test]
fn the_router_goes_on_with_the_other() {
    let (mut router, threads) = started(2, 3);
    let mut port = router.port().unwrap();
    let mut clients = Vec::new();
    // So many that each worker has some: their places are chosen by a hash with a random key.
    for number in 0..40 {
        clients.push(port.connect(&format!("client {number}"), "generic", "", number).unwrap());
    }
    port.connect("ben", "generic", "", 99).unwrap();
    let mut accepted = vec![Vec::new(); 40];
    let mut got = vec![Vec::new(); 40];
    let mut correlation = 0;
    let start = Instant::now();
    while !threads[0].is_finished() || got.iter().zip(&accepted).any(|(got, _)| got.len() < 30) {
        assert!(start.elapsed() < PATIENCE);
        for (place, client) in clients.iter().enumerate() {
            if port.submit(*client, OFFER, correlation).is_ok() {
                accepted[place].push(correlation);
            }
            correlation += 1;
        }
        port.publish();
        let mut written = Vec::new();
        let _ = port.poll_each(100, |event| {
            let Event::Message(message) = event else { panic!("{event:?}") };
            let place = clients.iter().position(|client| Some(*client) == message.sender).unwrap();
            got[place].push(message.correlation);
            written.push((message.client, 1, message.payload.len() as u32));
        });
        port.acknowledge_batch(written);
        std::thread::yield_now();
    }
    for (got, accepted) in got.iter().zip(&accepted) {
        assert!(got.is_sorted(), "{got:?}");
        assert!(got.iter().all(|number| accepted.contains(number)));
    }
    let mut other = router.port().unwrap();
    let newcomer = other.connect("newcomer", "generic", "", 5).unwrap();
    other.submit(newcomer, br#"{"type":"offer","to":"newcomer"}"#, 1).unwrap();
    other.publish();
    let mut served = false;
    until(|| {
        other.poll_each(10, |event| served |= matches!(event, Event::Message(_))).unwrap();
        served
    });
    drop(other);
    router.stop();
    until(|| port.poll_each(100, |_| ()).is_err());
    let figures = router.accounting();
    assert_eq!((figures.in_flight, figures.queued), (0, 0), "{figures:?}");
    assert_eq!(router.stats().workers.iter().filter(|worker| worker.lost).count(), 1);
}
