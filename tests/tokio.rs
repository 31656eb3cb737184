//! The feature `tokio`: ports in tasks, with and without a local worker, in both runtimes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::error::{Closed, SubmitError, TrySubmitError};
use corelane::router::{Builder, Event, Router, Sharing, SubmitOptions};
use corelane::tokio::{Acknowledger, AsyncPort, Submitter};
use std::collections::HashMap;
use std::future::Future;
use support::random::Random;
use support::{Hand, PATIENCE, config, settled};
use tokio::runtime::Runtime;
use tokio::task::yield_now;

mod support;

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn several_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A router, and a port of it that has a local worker if `local` is 1.
fn opened(local: u64, more: &[(&str, u64)]) -> (Router, AsyncPort) {
    // Nothing expires in a queue because the machine is slow.
    let set = [("workers", 1), ("local_workers", local), ("max_queue_wait_ms", 600_000)];
    let set = [&set[..], more].concat();
    let router = Builder::new(config(&set)).start().unwrap();
    let port = if local > 0 { router.local_port() } else { router.port() };
    let port = AsyncPort::new(port.unwrap()).unwrap();
    (router, port)
}

fn connect(submitter: &Submitter<impl Sharing>, name: &str, token: u64) -> ClientId {
    submitter.port().connect(name, "generic", "", token).unwrap()
}

/// Polls a future, and drops it if it has not ended after this many further turns of the runtime.
async fn within<F: Future>(turns: u64, future: F) -> Option<F::Output> {
    let over = async {
        for _ in 0..turns {
            yield_now().await;
            std::thread::yield_now(); // The router's worker needs a core too.
        }
    };
    tokio::select! { biased; output = future => Some(output), () = over => None }
}

/// Drains and stops the router while the port's task goes on, and checks that everything is accounted for.
async fn finish(router: &Router, port: &mut AsyncPort<impl Sharing>) {
    let end = async {
        router.drain_async(PATIENCE).await.unwrap();
        router.stop_async(PATIENCE).await.unwrap();
    };
    let rest = async { while port.recv(64).await.is_ok() {} };
    tokio::join!(end, rest);
    assert_eq!(port.recv(64).await.unwrap_err(), Closed, "said again");
    settled(router);
}

/// Each message that arrives is answered from another task, and acknowledged from a third one.
async fn echo(local: u64) {
    const ROUNDS: u64 = 300;
    let (router, mut port) = opened(local, &[]);
    let (submitter, acknowledger) = (port.submitter(), port.acknowledger());
    let ann = connect(&submitter, "ann", 1);
    let ben = connect(&submitter, "ben", 2);
    let (to_ann, mut of_ann) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let (to_ben, mut of_ben) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let asks = tokio::spawn({
        let (submitter, acknowledger) = (submitter.clone(), acknowledger.clone());
        async move {
            for round in 0..ROUNDS {
                submitter.submit(ann, OFFER, round).await.unwrap();
                assert_eq!(of_ann.recv().await, Some(round));
                acknowledger.acknowledge(ann, 1, 5);
            }
        }
    });
    let answers = tokio::spawn(async move {
        for round in 0..ROUNDS {
            assert_eq!(of_ben.recv().await, Some(round));
            acknowledger.acknowledge(ben, 1, u32::MAX);
            submitter.send(ann, b"hello", round).await.unwrap();
        }
    });
    let mut got = 0;
    while got < 2 * ROUNDS {
        let mut batch = port.recv(64).await.unwrap();
        while let Some(event) = batch.next() {
            let Event::Message(message) = event else { panic!("{event:?}") };
            assert_eq!(message.sender.is_none(), message.token == 1);
            if message.token == 1 { &to_ann } else { &to_ben }.send(message.correlation).unwrap();
            got += 1;
        }
    }
    // The last acknowledgements arrive with a later call.
    while port.poller().outstanding(ann).unwrap().messages + port.poller().outstanding(ben).unwrap().messages
        > 0
    {
        within(5, port.recv(64)).await;
    }
    asks.await.unwrap();
    answers.await.unwrap();
    let all = router.accounting();
    assert_eq!((all.submitted, all.refused, all.acknowledged), (2 * ROUNDS, 0, 2 * ROUNDS), "{all:?}");
    finish(&router, &mut port).await;
}

#[test]
fn messages_are_answered_and_acknowledged_by_other_tasks() {
    for local in [0, 1] {
        current_thread().block_on(echo(local));
        several_threads().block_on(echo(local));
    }
}

/// Submits and receives under small limits while calls are cancelled again and again.
async fn load(local: u64, limits: &[(&str, u64)], seed: u64) {
    const SENDERS: u64 = 4;
    const MESSAGES: u64 = 400;
    let (router, mut port) = opened(local, limits);
    let submitter = port.submitter();
    connect(&submitter, "ben", 0);
    let senders: Vec<_> = (1..=SENDERS)
        .map(|number| {
            let submitter = submitter.clone();
            let client = connect(&submitter, &format!("sender {number}"), number);
            tokio::spawn(async move {
                let (mut random, mut cancelled) = (Random(100 * seed + number), 0u64);
                for message in 0..MESSAGES {
                    while within(random.below(4), submitter.submit(client, OFFER, message))
                        .await
                        .map(Result::unwrap)
                        .is_none()
                    {
                        cancelled += 1;
                    }
                }
                cancelled
            })
        })
        .collect();
    let (mut random, mut received, mut cancelled) = (Random(100 * seed + 99), 0, 0u64);
    let mut next: HashMap<Option<ClientId>, u64> = HashMap::new();
    while received < SENDERS * MESSAGES {
        let Some(batch) = within(random.below(4), port.recv(8)).await else {
            cancelled += 1;
            continue;
        };
        let mut batch = batch.unwrap();
        // The rest of the batch must come again.
        for _ in 0..random.below(8) {
            let Some(event) = batch.next() else { break };
            let Event::Message(message) = event else { panic!("{event:?}") };
            let (client, bytes) = (message.client, message.payload.len() as u32);
            let expected = next.entry(message.sender).or_default();
            assert_eq!(message.correlation, *expected, "neither lost nor twice nor disordered");
            *expected += 1;
            received += 1;
            batch.port().acknowledge(client, 1, bytes);
        }
    }
    for sender in senders {
        cancelled += sender.await.unwrap();
    }
    assert!(cancelled > 0);
    finish(&router, &mut port).await;
    let all = router.accounting();
    let sent = SENDERS * MESSAGES;
    assert_eq!((all.submitted, all.refused, all.ok, all.consumed), (sent, 0, sent, sent), "{all:?}");
}

#[test]
fn a_cancelled_call_loses_nothing_and_waiting_is_not_refused() {
    for limit in ["queue_messages", "max_in_flight", "max_concurrent_messages"] {
        for local in [0, 1] {
            for seed in 0..4 {
                current_thread().block_on(load(local, &[(limit, 2)], seed));
                several_threads().block_on(load(local, &[(limit, 2)], seed));
            }
        }
    }
}

/// Messages that are only tried wake the port's task too: once for all until it publishes, and again after that. Those
/// that find no room are not counted.
async fn tried<S: Sharing>(router: &Router, port: &mut AsyncPort<S>) {
    const ROUNDS: u64 = 50;
    let (submitter, acknowledger) = (port.submitter(), port.acknowledger());
    let ann = connect(&submitter, "ann", 1);
    connect(&submitter, "ben", 2);
    let (received, mut next) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let asks = async {
        for round in 0..ROUNDS {
            let (mut tries, enough) = (0, if round % 2 == 0 { 2 } else { u64::MAX });
            let mut full = None;
            while tries < enough && full.is_none() {
                let message = 100 * round + tries;
                let tried = match tries % 3 {
                    0 => submitter.try_send(ann, OFFER, message),
                    _ => submitter.try_submit(ann, OFFER, message),
                };
                full = tried.err();
                tries += u64::from(full.is_none());
            }
            if let Some(full) = full {
                assert!(matches!(full, TrySubmitError::Full(SubmitError::RingFull)), "{full:?}");
                submitter.submit(ann, OFFER, 100 * round + tries).await.unwrap();
                tries += 1;
            }
            for _ in 0..tries {
                next.recv().await.unwrap();
            }
            // Nothing is left to do, so the port's task sleeps before the next round.
            for _ in 0..5 {
                yield_now().await;
            }
        }
    };
    let answers = async {
        loop {
            let mut batch = port.recv(8).await.unwrap();
            while let Some(event) = batch.next() {
                let Event::Message(message) = event else { panic!("{event:?}") };
                acknowledger.acknowledge(message.client, 1, message.payload.len() as u32);
                received.send(message.correlation).unwrap();
            }
        }
    };
    let over = tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = asks => (), never = answers => never }
    });
    over.await.unwrap(); // No wake is lost.
    finish(router, port).await;
    let all = router.accounting();
    assert_eq!((all.refused, all.submitted, all.unacknowledged), (0, all.ok, 0), "{all:?}");
}

#[test]
fn tried_messages_are_published_with_and_without_a_lock() {
    for local in [0, 1] {
        current_thread().block_on(async {
            let (router, mut port) = opened(local, &[("queue_messages", 5)]);
            tried(&router, &mut port).await;
            let (router, _) = opened(local, &[("queue_messages", 5)]);
            let port = if local > 0 { router.local_port() } else { router.port() };
            tried(&router, &mut AsyncPort::local(port.unwrap()).unwrap()).await;
        });
    }
}

/// Without a worker that takes anything, the third message waits until the port is gone.
#[test]
fn who_waits_for_room_learns_of_the_ports_end() {
    current_thread().block_on(async {
        let mut hand =
            Hand::of(config(&[("workers", 1), ("queue_messages", 2)]), "generic", |builder| builder);
        while hand.cycle() > 0 {} // The connects use the queue too.
        let (ann, bench) = (hand.ann, hand.bench);
        let mut port = AsyncPort::new(hand.port).unwrap();
        let submitter = port.submitter();
        for correlation in 0..2 {
            submitter.submit(ann, OFFER, correlation).await.unwrap();
        }
        let waiting = tokio::spawn({
            let submitter = submitter.clone();
            async move { submitter.submit(ann, OFFER, 2).await }
        });
        assert!(within(50, port.recv(8)).await.is_none());
        assert!(!waiting.is_finished());
        assert_eq!((bench.router.accounting().submitted, bench.router.accounting().refused), (2, 0));
        drop(port);
        assert_eq!(waiting.await.unwrap(), Err(SubmitError::Closed));
        assert_eq!(submitter.submit(ann, OFFER, 3).await, Err(SubmitError::Closed));
    });
}

/// `try_submit` and `try_send` count nothing while there is no room, and the port's descriptor tells of room.
/// What a socket's task has acknowledged counts, although the port is dropped before its next `recv`.
#[test]
fn a_dropped_port_passes_acknowledgements_on() {
    current_thread().block_on(async {
        let (router, mut port) = opened(0, &[]);
        let (submitter, acknowledger) = (port.submitter(), port.acknowledger());
        let ann = connect(&submitter, "ann", 1);
        submitter.send(ann, b"hello", 1).await.unwrap();
        let mut arrived = 0;
        while arrived == 0 {
            port.recv(64)
                .await
                .unwrap()
                .for_each(|event| arrived += u32::from(matches!(event, Event::Message(_))));
        }
        acknowledger.acknowledge(ann, 1, 5);
        drop(port);
        let accounting = router.accounting();
        assert_eq!((accounting.acknowledged, accounting.unacknowledged), (1, 0));
    });
}

#[test]
fn a_port_without_room_refuses_nothing_that_is_only_tried() {
    let mut hand = Hand::of(config(&[("workers", 1), ("queue_messages", 2)]), "generic", |builder| builder);
    let (ann, ben) = (hand.ann, hand.ben);
    while hand.cycle() > 0 {}
    let try_submit = |hand: &mut Hand| hand.port.try_submit(ann, OFFER, SubmitOptions::from(7));
    let full = Err(TrySubmitError::Full(SubmitError::RingFull));
    assert_eq!((try_submit(&mut hand), try_submit(&mut hand)), (Ok(()), Ok(())));
    for _ in 0..3 {
        assert_eq!(try_submit(&mut hand), full);
        assert_eq!(hand.port.try_send(ben, b"hello", 8), full);
    }
    let counts = |hand: &Hand| (hand.router.accounting().submitted, hand.router.accounting().refused);
    assert_eq!(counts(&hand), (2, 0));
    assert!(hand.port.arm());
    while hand.cycle() > 0 {}
    support::read(&mut hand.port, 8, |_| ());
    assert!(!hand.port.arm(), "there is room");
    assert_eq!(hand.port.try_send(ben, b"hello", 8), Ok(()));
    assert_eq!((try_submit(&mut hand), try_submit(&mut hand)), (Ok(()), full));
    assert_eq!(hand.port.submit(ann, OFFER, 9), Err(SubmitError::RingFull), "`submit` counts");
    let stale = TrySubmitError::Refused(SubmitError::StaleClient);
    assert_eq!(hand.port.try_submit(ClientId(0), OFFER, SubmitOptions::default()), Err(stale));
    assert_eq!(counts(&hand), (6, 2));
    hand.port.publish();
    while hand.cycle() > 0 {}
    support::read(&mut hand.port, 8, |_| ());
    settled(&hand.router);
}

#[test]
fn the_types_may_change_threads() {
    fn sent<T: Send>(_: &T) {}
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Submitter>();
    shared::<Acknowledger>();
    several_threads().block_on(async {
        let (router, mut port) = opened(0, &[]);
        let submitter = port.submitter();
        let ann = connect(&submitter, "ann", 1);
        sent(&submitter.submit(ann, OFFER, 1));
        sent(&router.drain_async(PATIENCE));
        sent(&router.stop_async(PATIENCE));
        sent(&port.recv(8));
        // The port's task on another thread than the one that has opened it.
        let over = tokio::spawn(async move { while port.recv(8).await.is_ok() {} });
        router.stop_async(PATIENCE).await.unwrap();
        over.await.unwrap();
    });
}

/// A disconnect that found its ring full is pushed when there is room, although nothing else arrives.
#[test]
fn a_disconnect_waits_for_room_without_other_news() {
    current_thread().block_on(async {
        let hand = Hand::of(config(&[("workers", 1), ("ring_bytes", 4096)]), "generic", |builder| builder);
        let Hand { mut bench, port, ann, .. } = hand;
        while bench.cycle() > 0 {}
        let mut port = AsyncPort::new(port).unwrap();
        let submitter = port.submitter();
        let submit = || submitter.port().try_submit(ann, b"x", SubmitOptions::default());
        while submit().is_ok() {}
        submitter.port().disconnect(ann).unwrap();
        let mut closed = false;
        for _ in 0..10 {
            if let Some(batch) = within(200, port.recv(8)).await {
                let each = |event: Event<'_>| closed |= matches!(event, Event::Closed { token: 1, .. });
                batch.unwrap().for_each(each);
            }
            while bench.cycle() > 0 {}
        }
        assert!(closed);
    });
}

/// A port whose every `recv` finds news at once still tells its submitters of room.
#[test]
fn a_submitter_gets_room_while_news_never_ends() {
    for limit in ["queue_messages", "max_in_flight"] {
        current_thread().block_on(async {
            let hand = Hand::of(config(&[("workers", 1), (limit, 2)]), "generic", |builder| builder);
            let Hand { mut bench, port, ann, ben } = hand;
            while bench.cycle() > 0 {}
            let mut other = bench.router.port().unwrap();
            while bench.cycle() > 0 {}
            let mut port = AsyncPort::new(port).unwrap();
            let submitter = port.submitter();
            for number in 0..2 {
                submitter.submit(ann, OFFER, number).await.unwrap();
            }
            let waiting = tokio::spawn(async move { submitter.submit(ann, OFFER, 2).await });
            assert!(within(50, port.recv(8)).await.is_none());
            for number in 0..100 {
                other.send(ben, b"news", number).unwrap();
                other.publish();
                while bench.cycle() > 0 {}
                let batch = within(100, port.recv(8)).await.expect("there is news").unwrap();
                assert!(batch.for_each(|_| ()) > 0);
            }
            assert!(waiting.is_finished(), "{limit}");
        });
    }
}

/// A message's end wakes a submitter that waits below a limit, long before it would try again by itself.
#[test]
fn the_end_of_a_message_wakes_whoever_waits_below_a_limit() {
    for limit in ["max_in_flight", "max_concurrent_messages"] {
        current_thread().block_on(async {
            tokio::time::pause(); // No timer ends by itself.
            let hand = Hand::of(config(&[("workers", 1), (limit, 1)]), "generic", |builder| builder);
            let Hand { mut bench, port, ann, .. } = hand;
            while bench.cycle() > 0 {}
            let mut port = AsyncPort::new(port).unwrap();
            let submitter = port.submitter();
            submitter.submit(ann, b"{", 0).await.unwrap();
            let waiting = tokio::spawn(async move { submitter.submit(ann, b"{", 1).await });
            assert!(within(50, port.recv(8)).await.is_none());
            assert!(!waiting.is_finished(), "{limit}");
            while bench.cycle() > 0 {}
            assert!(within(50, port.recv(8)).await.is_none());
            assert!(waiting.is_finished(), "{limit}");
        });
    }
}

/// A stop ends each wait for room, whatever the limit, and although the port is not dropped.
#[test]
fn who_waits_for_room_learns_of_a_stop() {
    for limit in ["queue_messages", "max_in_flight", "max_concurrent_messages"] {
        current_thread().block_on(async {
            let mut hand = Hand::of(config(&[("workers", 1), (limit, 2)]), "generic", |builder| builder);
            let ann = hand.ann;
            while hand.cycle() > 0 {}
            let mut other = hand.bench.router.port().unwrap();
            let zoe = other.connect("zoe", "generic", "", 9).unwrap();
            while hand.cycle() > 0 {}
            if limit == "max_concurrent_messages" {
                // Another port has all permits, and never polls.
                for number in 0..2 {
                    other.submit(zoe, OFFER, number).unwrap();
                }
            }
            let Hand { mut bench, port, .. } = hand;
            let mut port = AsyncPort::new(port).unwrap();
            let submitter = port.submitter();
            if limit != "max_concurrent_messages" {
                for number in 0..2 {
                    submitter.submit(ann, OFFER, number).await.unwrap();
                }
            }
            let waiting = tokio::spawn({
                let submitter = submitter.clone();
                async move { submitter.submit(ann, OFFER, 2).await }
            });
            within(5, std::future::pending::<()>()).await;
            assert!(!waiting.is_finished(), "{limit}");
            // Nothing of this port is published: its worker ends without having seen the messages.
            bench.router.request_stop();
            while bench.cycle() > 0 {}
            while tokio::time::timeout(PATIENCE, port.recv(8)).await.unwrap().is_ok() {}
            let ended = tokio::time::timeout(PATIENCE, waiting).await.expect(limit).unwrap();
            assert_eq!(ended, Err(SubmitError::Closed), "{limit}");
            let late = tokio::time::timeout(PATIENCE, submitter.submit(ann, OFFER, 3)).await.expect(limit);
            assert!(matches!(late, Err(SubmitError::Closed)), "{limit}: {late:?}");
        });
    }
}

/// Acknowledgements for a port that is gone are not kept.
#[test]
fn an_acknowledger_without_a_port_keeps_nothing() {
    current_thread().block_on(async {
        let (_router, port) = opened(0, &[]);
        let acknowledger = port.acknowledger();
        drop(port);
        for index in 0..1_000 {
            acknowledger.acknowledge(ClientId(index), 1, 1);
        }
        assert!(!format!("{acknowledger:?}").contains("ClientId(999)"));
    });
}
