//! Workers that a host drives on its own threads: the tasks that it takes, the outcomes that it reports, the messages
//! that wait behind a task, and stops with tasks out. Row R8; invariants I4, I5.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::Clock;
use corelane::error::{Failed, StaleTask, SubmitError};
use corelane::router::{Action, Builder, Event, ProtocolRules, Relayed, Routed, TaskId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

mod support;
use support::{Hand, config, of_type, read, settled};

fn rules() -> ProtocolRules {
    ProtocolRules::new(ProtocolRules::generic().protocol().clone())
        .message_type("work", Action::Host { hold: true })
        .message_type("chat", Action::Relay { hold: false })
}

impl Hand {
    fn new(max_tasks: u64) -> Self {
        let config = config(&[("workers", 1), ("max_tasks", max_tasks), ("processing_timeout_ms", 5)]);
        Self::of(config, "generic", |builder| builder.protocol(rules()))
    }

    fn submit(&mut self, kind: &str, to: &str, number: u64) {
        let text = format!(r#"{{"type":"{kind}","to":"{to}","n":{number}}}"#);
        self.port.submit(self.ann, text.as_bytes(), number).unwrap();
    }

    fn take(&mut self, limit: usize) -> Vec<(u64, TaskId)> {
        self.port.publish();
        let mut taken = Vec::new();
        let now = self.clock.now();
        self.workers[0].take(now, limit, |task| {
            assert_eq!((task.name(), task.message_type()), ("ann", "work"));
            assert_eq!((task.protocol(), task.application()), ("generic", "tests"));
            assert!(
                std::str::from_utf8(task.payload()).unwrap().ends_with(&format!(":{}}}", task.correlation()))
            );
            taken.push((task.correlation(), task.id()));
        });
        taken
    }

    /// Polls. Returns (token, value) of each delivered message.
    fn poll(&mut self) -> Vec<(u64, u64)> {
        let mut got = Vec::new();
        let _ = self.port.poll_each(usize::MAX, |event| {
            if let Event::Message(message) = event {
                got.push((message.token, message.correlation));
            }
        });
        got
    }
}

#[test]
fn a_host_says_what_became_of_each_and_nothing_overtakes_them() {
    let mut hand = Hand::new(64);
    for number in 1..=3 {
        hand.submit("work", "ben", number);
    }
    hand.submit("chat", "ben", 4);
    hand.submit("work", "ben", 5);
    hand.hands.advance(Duration::from_millis(3));
    let taken = hand.take(64);
    assert_eq!(taken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3], "4 and 5 wait");
    assert_eq!(hand.poll(), []);
    assert_eq!(hand.router.accounting().in_flight, 5);
    assert_eq!(hand.workers[0].task(taken[1].1).unwrap().queue_wait(), Duration::from_millis(3));

    hand.workers[0].done(taken[0].1, Duration::from_nanos(1_000), Ok(())).unwrap();
    assert_eq!(hand.workers[0].done(taken[0].1, Duration::from_nanos(1_000), Ok(())), Err(StaleTask));
    assert!(hand.workers[0].task(taken[0].1).is_none());
    let answer = hand.workers[0].done_with(taken[1].1, Duration::from_nanos(2_000), |request| {
        assert_eq!((request.recipient(), request.queue_wait()), (Some("ben"), Duration::from_millis(3)));
        request.reply(b"2")?;
        assert_eq!(request.send_to_name("nobody", b"x"), Err(Failed::UnknownRecipient));
        assert_eq!(request.relay(), Ok(Relayed::Delivered));
        Err(Failed::HandlerFailed)
    });
    assert_eq!(answer, Ok(()));
    assert_eq!(hand.take(64), [], "the third task is still out");
    assert_eq!(hand.poll(), [(1, 2), (2, 2)]);
    hand.workers[0]
        .done_with(taken[2].1, Duration::from_nanos(4_000), |request| request.relay().map(|_| ()))
        .unwrap();
    let taken = hand.take(64);
    assert_eq!(taken.len(), 1, "the fourth message is relayed, the fifth is handed out");
    assert_eq!(hand.poll(), [(2, 3), (2, 4)]);
    // A panic affects only its own message.
    let planned = |_: &mut corelane::router::Request<'_>| std::panic::resume_unwind(Box::new("planned"));
    hand.workers[0].done_with(taken[0].1, Duration::from_nanos(8_000), planned).unwrap();
    hand.take(0);
    let stats = hand.router.stats();
    let figures = settled(&hand.router);
    assert_eq!((figures.ok, figures.failed, figures.deliveries), (3, 2, 4));
    assert_eq!((hand.failed("handler_failed"), hand.failed("handler_panicked")), (1, 1));
    let work = of_type(&stats, "generic", "work");
    // The host reports the service times. The clock stood still.
    let service = &work.latency;
    let times = (service.count, service.average, service.minimum, service.maximum);
    assert_eq!(times, (4, Some(3_750), Some(1_000), Some(8_000)));
}

#[test]
fn a_batch_has_a_limit_and_the_table_another() {
    let mut hand = Hand::new(5);
    (1..=12).for_each(|number| hand.submit("work", "ben", number));
    let numbers = |taken: &[(u64, TaskId)]| taken.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    let mut out = hand.take(3);
    assert_eq!(numbers(&out), [1, 2, 3]);
    out.extend(hand.take(100));
    assert_eq!(numbers(&out), [1, 2, 3, 4, 5]);
    assert_eq!(hand.take(100), [], "at most five tasks may be out");
    // Tasks may end in any order. The views of the others stay valid.
    for place in [3, 0, 4] {
        hand.workers[0].done(out[place].1, Duration::from_nanos(0), Ok(())).unwrap();
        hand.workers[0].flush();
    }
    assert_eq!(hand.workers[0].task(out[1].1).unwrap().correlation(), 2);
    let more = hand.take(100);
    assert_eq!(numbers(&more), [6, 7, 8]);
    for (_, id) in [out[2], out[1]].iter().chain(&more) {
        hand.workers[0].done(*id, Duration::from_nanos(0), Ok(())).unwrap();
    }
    for (_, id) in hand.take(100) {
        hand.workers[0].done(id, Duration::from_nanos(0), Err(Failed::HandlerFailed)).unwrap();
    }
    hand.workers[0].flush();
    let figures = settled(&hand.router);
    assert_eq!((figures.ok, figures.failed), (8, 4));
}

#[test]
fn late_messages_expire_and_a_relay_may_be_held() {
    let mut hand = Hand::new(64);
    hand.submit("work", "ben", 1);
    hand.hands.advance(Duration::from_secs(6));
    assert_eq!(hand.take(64), []);
    hand.submit("work", "cleo", 2);
    let taken = hand.take(64);
    hand.workers[0]
        .done_with(taken[0].1, Duration::from_nanos(5), |request| {
            assert_eq!(request.relay(), Ok(Relayed::Held));
            Ok(())
        })
        .unwrap();
    assert_eq!(hand.router.accounting().held, 1);
    hand.port.connect("cleo", "generic", "tests", 3).unwrap();
    hand.take(0);
    assert_eq!(hand.poll(), [(3, 2)]);
    let figures = settled(&hand.router);
    assert_eq!((figures.ok, figures.expired), (1, 1));
}

#[test]
fn what_is_out_too_long_stalls_its_worker_until_it_is_done() {
    let mut hand = Hand::new(64);
    hand.submit("work", "ben", 1);
    let first = hand.take(64);
    hand.hands.advance(Duration::from_millis(4));
    hand.submit("work", "ben", 2);
    let second = hand.take(64);
    hand.hands.advance(Duration::from_millis(4));
    let watchdog = hand.router.watchdog();
    let look = |hand: &Hand| watchdog.look(hand.clock.now());
    assert_eq!(look(&hand), 1);
    hand.workers[0].done(first[0].1, Duration::from_nanos(0), Ok(())).unwrap();
    assert_eq!(look(&hand), 0, "the second task has been out for four milliseconds");
    hand.hands.advance(Duration::from_millis(4));
    assert_eq!(look(&hand), 1);
    hand.workers[0].done(second[0].1, Duration::from_nanos(0), Ok(())).unwrap();
    assert_eq!(look(&hand), 0);
    assert_eq!(hand.router.stats().workers[0].stalls, 2);
}

#[test]
fn a_stop_waits_for_what_is_out_and_hands_out_the_rest() {
    let mut hand = Hand::new(4);
    (1..=10).for_each(|number| hand.submit("work", "ben", number));
    let mut taken = hand.take(2);
    hand.router.request_stop();
    hand.submit("chat", "ben", 11);
    let mut rounds = 0;
    while !hand.workers[0].is_stopped() {
        taken.extend(hand.take(4));
        for (_, id) in taken.drain(..) {
            hand.workers[0]
                .done_with(id, Duration::from_nanos(1), |request| request.relay().map(|_| ()))
                .unwrap();
        }
        rounds += 1;
        assert!(rounds < 20);
    }
    let got: Vec<_> = hand.poll().iter().map(|(_, number)| *number).collect();
    assert_eq!(got, (1..=11).collect::<Vec<_>>());
    assert_eq!(settled(&hand.router).ok, 11);
}

#[test]
fn a_worker_that_is_dropped_fails_what_is_out_and_what_waits() {
    let mut hand = Hand::new(4);
    (1..=10).for_each(|number| hand.submit("work", "ben", number));
    let taken = hand.take(3);
    hand.workers[0].done(taken[1].1, Duration::from_nanos(1), Ok(())).unwrap();
    hand.submit("chat", "ben", 11);
    hand.port.publish();
    let (_router, other) = Builder::new(config(&[("workers", 1)]))
        .build()
        .map(|(router, mut workers)| (router, workers.pop().unwrap()))
        .unwrap();
    drop(std::mem::replace(&mut hand.workers[0], other));
    let figures = settled(&hand.router);
    assert_eq!((figures.ok, figures.failed), (1, 10));
    assert_eq!(hand.failed("worker_lost"), 10);
    let closed = hand.port.submit(hand.ann, b"{}", 12);
    assert_eq!(closed, Err(SubmitError::Closed));
}

#[test]
fn a_port_that_leaves_waits_for_what_is_out() {
    let mut hand = Hand::new(4);
    (1..=3).for_each(|number| hand.submit("work", "ben", number));
    let taken = hand.take(2);
    let port = std::mem::replace(&mut hand.port, hand.bench.router.port().unwrap());
    drop(port);
    hand.cycle();
    assert_eq!(hand.workers[0].task(taken[0].1).unwrap().correlation(), 1, "the task's memory stays valid");
    let answer = |request: &mut corelane::router::Request<'_>| {
        assert_eq!(request.reply(b"gone"), Err(Failed::RecipientClosed));
        Ok(())
    };
    hand.workers[0].done_with(taken[1].1, Duration::from_nanos(1), answer).unwrap();
    hand.workers[0].done(taken[0].1, Duration::from_nanos(1), Ok(())).unwrap();
    let last = hand.take(4);
    assert_eq!(last.len(), 1);
    hand.workers[0].done(last[0].1, Duration::from_nanos(1), Ok(())).unwrap();
    hand.cycle();
    let figures = settled(&hand.router);
    assert_eq!((figures.accepted, figures.ok, figures.failed), (3, 3, 0));
    hand.port.connect("ann", "generic", "tests", 7).unwrap();
}

#[test]
fn what_cannot_be_handed_out_is_refused_at_the_start() {
    let config = || config(&[("workers", 1)]);
    let started = Builder::new(config()).protocol(rules()).start().unwrap_err().to_string();
    assert!(started.contains("Builder::build"), "{started}");
    let both = Builder::new(config()).protocol(rules()).handler("generic", "work", |_| Ok(())).build();
    assert!(both.unwrap_err().to_string().contains("its action is Host"));
}

#[test]
fn a_caller_gets_what_the_host_says() {
    let config = config(&[("workers", 1), ("max_queue_wait_ms", 600_000), ("hold_ms", 600_000)]);
    let clock = Clock::new();
    let builder = Builder::new(config).protocol(rules()).clock(clock.clone());
    let (router, mut workers) = builder.build().unwrap();
    let mut worker = workers.pop().unwrap();
    let thread = std::thread::spawn(move || {
        let mut batch = Vec::new();
        let mut count = 0;
        while !worker.is_stopped() {
            worker.take(clock.now(), 8, |task| batch.push(task.id()));
            for task in batch.drain(..) {
                count += 1;
                match count {
                    1 => worker.done(task, Duration::from_nanos(1), Err(Failed::HandlerFailed)).unwrap(),
                    _ => worker
                        .done_with(task, Duration::from_nanos(1), |request| request.relay().map(|_| ()))
                        .unwrap(),
                }
            }
            worker.wait(Duration::from_secs(10));
        }
    });
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let mut route = |to: &str| {
        let text = format!(r#"{{"type":"work","to":"{to}"}}"#);
        port.route(ann, text.as_bytes(), Duration::from_secs(60)).unwrap()
    };
    let got = [route("ann"), route("ann"), route("nobody")];
    assert_eq!(got, [Routed::Failed(Failed::HandlerFailed), Routed::Delivered, Routed::Held]);
    router.request_stop();
    thread.join().unwrap();
    let figures = router.accounting();
    assert_eq!(
        (figures.ok, figures.failed, figures.in_flight),
        (1, 2, 0),
        "the held messages failed at the stop"
    );
}

#[test]
fn two_threads_drive_two_workers() {
    const MESSAGES: u64 = 100_000;
    let config = config(&[("workers", 2), ("max_queue_wait_ms", 600_000)]);
    let clock = Clock::new();
    let builder = Builder::new(config).protocol(rules()).clock(clock.clone());
    let (router, workers) = builder.build().unwrap();
    let handed = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let handed = Arc::clone(&handed);
            let clock = clock.clone();
            std::thread::spawn(move || {
                let mut batch = Vec::with_capacity(64);
                while !worker.is_stopped() {
                    let work = worker.take(clock.now(), 64, |task| batch.push(task.id()));
                    handed.fetch_add(batch.len() as u64, SeqCst);
                    for task in batch.drain(..) {
                        worker
                            .done_with(task, Duration::from_nanos(100), |request| request.relay().map(|_| ()))
                            .unwrap();
                    }
                    if work == 0 {
                        worker.wait(Duration::from_secs(10));
                    }
                }
            })
        })
        .collect();
    let mut port = router.port().unwrap();
    let senders: Vec<_> =
        (0..4).map(|at| port.connect(&format!("s{at}"), "generic", "", 0).unwrap()).collect();
    port.connect("ben", "generic", "", 9).unwrap();
    let (mut sent, mut got, mut last) = (0, 0, [0; 4]);
    while got < MESSAGES {
        while sent < MESSAGES && sent < got + 500 {
            let sender = (sent % 4) as usize;
            let kind = if sent % 7 == 0 { "chat" } else { "work" };
            let text = format!(r#"{{"type":"{kind}","to":"ben"}}"#);
            match port.submit(senders[sender], text.as_bytes(), sent + 1) {
                Ok(()) => sent += 1,
                Err(SubmitError::RingFull) => break,
                Err(other) => panic!("{other}"),
            }
        }
        port.publish();
        let count = read(&mut port, 256, |message| {
            let sender = senders.iter().position(|one| Some(*one) == message.sender).unwrap();
            assert!(last[sender] < message.correlation, "overtaken");
            last[sender] = message.correlation;
        });
        got += count as u64;
        if count == 0 {
            std::thread::yield_now();
        }
    }
    router.request_stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let figures = router.accounting();
    assert_eq!((figures.ok, figures.failed, figures.in_flight), (MESSAGES, 0, 0), "{figures:?}");
    assert_eq!(handed.load(SeqCst), MESSAGES - MESSAGES.div_ceil(7));
}

/// A task with an out-of-line payload is handed out in its order, and the payload is freed when the task is done.
#[test]
fn large_messages_are_handed_out_in_their_place() {
    let mut hand = Hand::new(10);
    let large =
        |number: u64| format!(r#"{{"type":"work","to":"ben","pad":"{}","n":{number}}}"#, "x".repeat(50_000));
    hand.submit("work", "ben", 1);
    hand.port.submit(hand.ann, large(2).as_bytes(), 2).unwrap();
    hand.submit("work", "ben", 3);
    hand.submit("chat", "ben", 4);
    hand.port.submit(hand.ann, large(5).as_bytes(), 5).unwrap();
    let mut done = Vec::new();
    for _ in 0..10 {
        for (number, id) in hand.take(10) {
            let length = hand.workers[0].task(id).unwrap().payload().len();
            assert_eq!(length > 50_000, number == 2 || number == 5);
            hand.workers[0]
                .done_with(id, Duration::from_nanos(1), |request| request.relay().map(drop))
                .unwrap();
            assert!(hand.workers[0].task(id).is_none());
            done.push(number);
        }
        hand.workers[0].flush();
    }
    assert_eq!(done, [1, 2, 3, 5]);
    let order: Vec<_> = hand.poll().into_iter().map(|(_, number)| number).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    hand.poll();
    let stats = hand.router.stats();
    assert_eq!((stats.payload_bytes, stats.payloads_waiting, stats.accounting.in_flight), (0, 0, 0));
}
