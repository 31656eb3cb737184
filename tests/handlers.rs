//! Handlers on real threads and driven by hand: their requests, the messages that they send, their panics, their
//! time, and a handler that never returns. Also messages that hosts send themselves. Rows R5, R8, R9, R14; invariants
//! I4, I5, I8.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::{Clock, ManualClock};
use corelane::config::{Balance, Config};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::{BuildError, Error, Failed, JoinError, StaleRoom, StopError, SubmitError};
use corelane::router::{
    Action, Builder, Event, Port, ProtocolRules, Recipient, Relayed, Request, Router, SendOptions,
    StatsReader, SubmitOptions, Watchdog,
};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

mod support;
use support::{Bench, Hand, PATIENCE, config, of_type, settled, stopped, until};

type Got = (u64, Option<ClientId>, u64, String);

impl Hand {
    fn new(build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::of(config(&[("workers", 1), ("batch", 4096)]), "generic", build)
    }

    fn handler(handler: impl Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync + 'static) -> Self {
        Self::new(|builder| builder.handler("generic", "offer", handler))
    }

    fn turn(&mut self) -> Vec<Got> {
        self.port.publish();
        self.cycle();
        poll(&mut self.port)
    }

    fn offer(&mut self, correlation: u64) -> Vec<Got> {
        let text = r#"{"type":"offer","to":"ben","from":"x","sdp":"v=0"}"#;
        self.port.submit(self.ann, text.as_bytes(), correlation).unwrap();
        self.turn()
    }
}

fn poll(port: &mut Port) -> Vec<Got> {
    let mut got = Vec::new();
    let _ = port.poll_each(usize::MAX, |event| match event {
        Event::Message(message) => {
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            got.push((message.token, message.sender, message.correlation, text));
        }
        Event::Expired { token, name, correlation, client } => {
            let name = std::str::from_utf8(name).unwrap();
            got.push((token, Some(client), correlation, format!("expired {name:?}")));
        }
        Event::Undelivered { token, client, correlation, reason, .. } => {
            got.push((token, Some(client), correlation, format!("undelivered: {reason}")));
        }
        Event::SendFailed { to, correlation, reason } => {
            let Recipient::Client(to) = to else { panic!("{to:?}") };
            got.push((0, Some(to), correlation, format!("send failed: {reason}")));
        }
        _ => {}
    });
    got
}

#[test]
fn a_handler_is_told_everything_and_emits_on_its_worker() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut hand = Hand::handler({
        let told = Arc::clone(&told);
        move |request| {
            told.lock().unwrap().push((
                (request.client(), request.name().to_owned(), request.recipient().map(str::to_owned)),
                (request.application().to_owned(), request.protocol().to_owned()),
                (request.message_type().to_owned(), request.payload().len()),
                (request.queue_wait(), request.correlation()),
            ));
            request.send_to_name("ben", b"one")?;
            request.reply(b"two")?;
            assert_eq!(request.send_to_name("nobody", b"x"), Err(Failed::UnknownRecipient));
            assert_eq!(request.send_to(ClientId(77), b"x"), Err(Failed::RecipientClosed));
            assert_eq!(request.relay(), Ok(Relayed::Delivered));
            assert_eq!(request.relay(), Ok(Relayed::Delivered), "a second relay does nothing");
            Ok(())
        }
    });
    let text = r#"{"type":"offer","to":"b\u0065n","from":"x","sdp":"v=0"}"#;
    hand.port.submit(hand.ann, text.as_bytes(), 9).unwrap();
    hand.hands.advance(Duration::from_millis(3));
    let got = hand.turn();
    let ann = hand.ann;
    assert_eq!(
        *told.lock().unwrap(),
        [(
            (ann, "ann".to_owned(), Some("ben".to_owned())),
            ("tests".to_owned(), "generic".to_owned()),
            ("offer".to_owned(), text.len()),
            (Duration::from_millis(3), 9)
        )]
    );
    let got: Vec<_> =
        got.iter().map(|(token, sender, number, text)| (*token, *sender, *number, &text[..3])).collect();
    assert_eq!(got, [(2, Some(ann), 9, "one"), (1, Some(ann), 9, "two"), (2, Some(ann), 9, r#"{"f"#)]);
    let figures = settled(&hand.router);
    assert_eq!((figures.ok, figures.failed, figures.deliveries), (1, 0, 3));
}

#[test]
fn a_handler_knows_token_and_rooms_and_joins_and_leaves_for_its_sender() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut hand = Hand::handler({
        let told = Arc::clone(&told);
        move |request| {
            let before = request.rooms();
            let changed = match request.correlation() {
                1 => request.join("lobby").map(Some).map_err(Error::from),
                2 => request.join("").map(Some).map_err(Error::from),
                3 => request.join("den").map(Some).map_err(Error::from),
                _ => request.leave(before.clone().unwrap()[0]).map(|()| None).map_err(Error::from),
            };
            told.lock().unwrap().push((request.token(), before, changed));
            Ok(())
        }
    });
    let told = || std::mem::take(&mut *told.lock().unwrap());
    hand.offer(1);
    let [(1, Some(none), Ok(Some(lobby)))] = &told()[..] else { panic!() };
    let lobby = *lobby;
    assert_eq!((none.len(), hand.port.members(lobby)), (0, Ok(vec![hand.ann])));
    hand.port.rebind(hand.ann, 9).unwrap();
    hand.offer(2);
    assert_eq!(told(), [(9, Some(vec![lobby]), Err(JoinError::NameLength(0).into()))]);
    hand.offer(4);
    assert_eq!(told(), [(9, Some(vec![lobby]), Ok(None))]);
    assert_eq!(hand.port.members(lobby), Err(StaleRoom));
    // A client that disconnects before its message is handled joins nothing.
    hand.port.submit(hand.ann, br#"{"type":"offer"}"#, 3).unwrap();
    hand.port.disconnect(hand.ann).unwrap();
    hand.turn();
    assert_eq!(told(), [(9, Some(vec![]), Err(JoinError::StaleClient.into()))]);
    assert_eq!(hand.router.stats().rooms.members, 0);
    // A limit is told as at the port.
    let mut full = Hand::of(config(&[("workers", 1), ("max_client_rooms", 1)]), "generic", |builder| {
        builder.handler("generic", "offer", |request| {
            request.join("one").unwrap();
            assert_eq!(request.join("two"), Err(JoinError::TooManyClientRooms(1)));
            Ok(())
        })
    });
    full.offer(1);
    let stats = full.router.stats();
    assert_eq!(
        (stats.messages.succeeded, stats.rooms.refusals.counted()),
        (1, vec![("too_many_client_rooms", 1)])
    );
}

/// Like `generic`, with additional types that have handlers.
fn talk() -> ProtocolRules {
    let fields = Fields { message_type: Some("type"), recipient: Some("to"), ..Fields::default() };
    let protocol = Protocol::new("talk", &fields, Forward::All).unwrap();
    let hold = Action::Handler { hold: true };
    ProtocolRules::new(protocol)
        .message_type("offer", hold)
        .message_type("hold", Action::Relay { hold: true })
}

#[test]
fn what_a_handler_returns_is_the_outcome_and_a_hold_decides_for_itself() {
    let mut hand = Hand::new(|builder| {
        builder.protocol(talk()).handler("talk", "offer", |request| match request.correlation() {
            1 => Err(Failed::HandlerFailed),
            2 => {
                assert_eq!(request.relay(), Ok(Relayed::Held));
                // The hold decides the outcome, once; this result does not.
                Err(Failed::HandlerFailed)
            }
            _ => Ok(()),
        })
    });
    let dan = hand.port.connect("dan", "talk", "tests", 4).unwrap();
    for correlation in 1..4 {
        hand.port.submit(dan, br#"{"type":"offer","to":"cleo"}"#, correlation).unwrap();
    }
    hand.turn();
    let stats = hand.router.stats();
    let figures = &stats.accounting;
    assert_eq!((figures.ok, figures.failed, figures.held, figures.in_flight), (1, 1, 1, 1));
    assert_eq!(stats.messages.failures.get("handler_failed"), 1);
    hand.port.connect("cleo", "talk", "tests", 3).unwrap();
    let got = hand.turn();
    assert_eq!(got, [(3, Some(dan), 2, r#"{"type":"offer","to":"cleo"}"#.to_owned())]);
    assert_eq!(settled(&hand.router).ok, 2);
}

#[test]
fn a_handler_does_not_overtake_what_is_held_for_the_same_name() {
    let second = Arc::new(Mutex::new(None::<Port>));
    let mut hand = Hand::new(|builder| {
        let second = Arc::clone(&second);
        builder.protocol(talk()).handler("talk", "offer", move |request| {
            // The client connects in the middle of the handler: its post is still in the second port's ring.
            let mut second = second.lock().unwrap();
            let cleo = second.as_mut().unwrap().connect("cleo", "talk", "tests", 3).unwrap();
            request.send_to(cleo, b"later")
        })
    });
    *second.lock().unwrap() = Some(hand.router.port().unwrap());
    let dan = hand.port.connect("dan", "talk", "tests", 4).unwrap();
    hand.port.submit(dan, br#"{"type":"hold","to":"cleo"}"#, 1).unwrap();
    hand.port.submit(dan, br#"{"type":"offer"}"#, 2).unwrap();
    hand.turn();
    let got = poll(second.lock().unwrap().as_mut().unwrap());
    assert_eq!(got.iter().map(|got| got.2).collect::<Vec<_>>(), [1, 2]);
}

/// A panic payload that panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(()));
    }
}

#[test]
fn a_panic_ends_its_message_and_nothing_else() {
    let mut hand = Hand::handler(|request| {
        request.send_to_name("ben", b"before")?;
        // Panics without the panic hook's report. The payload panics again when it is dropped.
        std::panic::resume_unwind(Box::new(Bomb))
    });
    for correlation in 1..=50 {
        let got = hand.offer(correlation);
        assert_eq!(got, [(2, Some(hand.ann), correlation, "before".to_owned())]);
        hand.port.submit(hand.ann, br#"{"type":"answer","to":"ben"}"#, 0).unwrap();
        hand.port.submit(hand.ben, br#"{"type":"bye","to":"ann"}"#, 0).unwrap();
        assert_eq!(hand.turn().len(), 2, "another type or another client is affected");
        hand.port.acknowledge(hand.ben, 9, 9_999);
        hand.port.acknowledge(hand.ann, 9, 9_999);
    }
    let stats = hand.router.stats();
    assert_eq!((stats.messages.failures.get("handler_panicked"), stats.workers[0].handler_panics), (50, 50));
    assert_eq!(settled(&hand.router).ok, 100);
}

#[test]
fn wrong_names_are_typed_errors() {
    let build = |builder: fn(Builder) -> Builder| {
        builder(Builder::new("workers=1".parse().unwrap())).build().unwrap_err()
    };
    assert_eq!(
        build(|b| b.handler("nope", "offer", |_| Ok(()))),
        BuildError::UnknownProtocol("nope".to_owned())
    );
    for (error, text) in [
        (build(|b| b.handler("peerjs", "OFER", |_| Ok(()))), "does not list the type"),
        (build(|b| b.handler("peerjs", "OFFER", |_| Ok(())).handler("peerjs", "OFFER", |_| Ok(()))), "two"),
        (build(|b| b.protocol(talk())), "none is registered"),
    ] {
        assert!(matches!(error, BuildError::Handler { .. }));
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn who_asks_is_told_that_a_message_came_too_late() {
    let mut hand = Hand::handler(|_| panic!("handled late"));
    let message = br#"{"type":"offer","to":"ben"}"#;
    for (correlation, tell_failed) in [(5, true), (6, false)] {
        let options = SubmitOptions { correlation, tell_failed, ..SubmitOptions::default() };
        hand.port.submit_with(hand.ann, message, options).unwrap();
    }
    hand.port.send(hand.ben, b"late as well", 7).unwrap();
    hand.hands.advance(Duration::from_secs(6));
    let told = (1, Some(hand.ann), 5, "undelivered: expired".to_owned());
    assert_eq!(hand.turn(), [told, (0, Some(hand.ben), 7, "send failed: expired".to_owned())]);
    let figures = settled(&hand.router);
    assert_eq!((figures.expired, figures.deliveries), (3, 2));
}

#[test]
fn the_watchdog_sees_a_stall_and_its_end() {
    let seen = Arc::new(Mutex::new(None));
    // With `hash` the client stays on its worker.
    let mut config = Config::default();
    config.router.workers = Some(2);
    config.router.balance = Balance::Hash;
    let mut bench = Bench::of(config, |builder| {
        builder.handler("generic", "offer", {
            let seen = Arc::clone(&seen);
            move |request| {
                let guard = seen.lock().unwrap();
                let (watchdog, reader, clock, hands): &(Watchdog, StatsReader, Clock, ManualClock) =
                    guard.as_ref().unwrap();
                hands.advance(Duration::from_secs(30));
                assert_eq!(watchdog.look(clock.now()), 0, "exactly the time allowed");
                hands.advance(Duration::from_secs(1));
                assert_eq!((watchdog.look(clock.now()), watchdog.look(clock.now())), (1, 1));
                let workers = reader.stats().workers;
                let stalled: Vec<_> = workers.iter().filter(|worker| worker.stalled).collect();
                assert_eq!((stalled.len(), stalled[0].stalls), (1, request.correlation()));
                assert_eq!(stalled[0].message_age_nanoseconds, 31_000_000_000);
                Ok(())
            }
        })
    });
    let (router, clock) = (&bench.router, bench.clock.clone());
    *seen.lock().unwrap() = Some((router.watchdog(), router.reader(), clock.clone(), bench.hands.clone()));
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    for round in 1..3 {
        port.submit(ann, br#"{"type":"offer","to":"ben"}"#, round).unwrap();
        port.publish();
        bench.cycle();
        let router = &bench.router;
        assert_eq!(router.accounting().ok, round, "the handler's assertions");
        assert_eq!(router.watchdog().look(clock.now()), 0);
        let workers = router.stats().workers;
        assert!(workers.iter().all(|one| !one.stalled && one.message_age_nanoseconds == 0));
        assert_eq!(workers.iter().map(|worker| worker.stalls).sum::<u64>(), round);
    }
}

#[test]
fn a_host_sends_itself_on_credit_in_order_and_counted() {
    let mut hand = Hand::new(|builder| builder);
    let mut other = hand.router.port().unwrap();
    hand.turn();
    for number in 1..=100 {
        other.send(hand.ben, format!("number {number}").as_bytes(), number).unwrap();
    }
    other.publish();
    let got = hand.turn();
    assert_eq!(got.len(), 100);
    for (number, got) in (1..).zip(&got) {
        assert_eq!(*got, (2, None, number, format!("number {number}")));
    }
    let mut told = Vec::new();
    let batch = [(hand.ann, &b"a"[..], 1), (ClientId(1 << 40), b"b", 2), (hand.ben, b"c", 3)];
    let accepted = hand.port.send_batch(batch, |place, result| {
        told.push((place, result));
        ControlFlow::Continue(())
    });
    let stale = Err(SubmitError::StaleClient);
    assert_eq!((accepted, told), (2, vec![(0, Ok(())), (1, stale), (2, Ok(()))]));
    assert_eq!(hand.turn().len(), 2, "a batch is published");
    let first_only = hand
        .port
        .submit_batch([(hand.ann, &b"{"[..], 1), (hand.ann, b"{", 2)], |_, _| ControlFlow::Break(()));
    assert_eq!(first_only, 1);
    // A delivery beyond ben's credit closes ben, as for any delivery; ann is not affected.
    hand.port.acknowledge(hand.ben, 200, 100_000);
    for _ in 0..1_025 {
        hand.port.send(hand.ben, b"", 0).unwrap();
    }
    hand.port.send(hand.ann, b"too late: he leaves", 0).unwrap();
    hand.port.disconnect(hand.ann).unwrap();
    let got = hand.turn();
    let lost: Vec<_> = got.iter().filter(|(token, ..)| *token == 0).cloned().collect();
    let failed = |to, text: &str| (0, Some(to), 0, format!("send failed: {text}"));
    assert_eq!(lost, [failed(hand.ben, "credit_exhausted"), failed(hand.ann, "recipient_closed")]);
    assert_eq!(got.len(), 1_024 + 2);
    assert_eq!(hand.port.send(hand.ann, b"", 0), stale);
    let stats = hand.router.stats();
    let send = of_type(&stats, "generic", "send");
    assert_eq!((send.received.unwrap(), send.succeeded, send.failed), (1_128, 1_126, 2));
    assert_eq!((send.queue_wait.as_ref().unwrap().count, send.latency.count), (1_128, 1_128));
    assert_eq!(send.failures.as_ref().unwrap().counted(), [("recipient_closed", 1), ("credit_exhausted", 1)]);
    let figures = settled(&hand.router);
    assert_eq!((figures.submitted, figures.refused, figures.ok), (1_131, 2, 1_126));
}

#[test]
fn a_send_counts_as_its_type_and_otherwise_as_send() {
    let mut hand = Hand::new(|builder| builder);
    let (port, router) = (&mut hand.port, &hand.bench.router);
    let offer = router.message_type("generic", "offer").unwrap();
    let [unlisted, send] = ["no such type", "send"].map(|name| port.message_type("generic", name).unwrap());
    assert_eq!((port.message_type("generic", "offer"), unlisted), (Some(offer), send));
    assert_eq!(router.message_type("no such protocol", "offer"), None);
    let foreign = router.message_type("peerjs", "OFFER").unwrap();
    let options = |number: u64, message_type| SendOptions::from(number).message_type(message_type);
    port.send(hand.ben, b"typed", options(1, offer)).unwrap();
    port.send(hand.ben, b"plain", 2).unwrap();
    let batch =
        [(hand.ben, &b"unlisted"[..], options(3, unlisted)), (hand.ben, b"foreign", options(4, foreign))];
    assert_eq!(port.send_batch(batch, |_, _| ControlFlow::Continue(())), 2);
    let got = hand.turn();
    assert_eq!(got.iter().map(|got| got.2).collect::<Vec<_>>(), [1, 2, 3, 4], "in order, whatever the type");
    let stats = hand.router.stats();
    let of = |name| of_type(&stats, "generic", name).succeeded;
    assert_eq!((of("offer"), of("send"), of_type(&stats, "peerjs", "OFFER").succeeded), (1, 3, 0));
    let ended = |series: &[corelane::metrics::SeriesStats], name: &str| {
        series.iter().find(|one| one.name == name).map(|one| one.succeeded)
    };
    assert_eq!((ended(&stats.protocols, "generic"), ended(&stats.applications, "tests")), (Some(4), Some(4)));
    settled(&hand.router);
}

/// A channel on which a blocked handler waits.
type Gate = (SyncSender<()>, Mutex<Receiver<()>>);

fn gate() -> Arc<Gate> {
    let (open, wait) = sync_channel(16);
    Arc::new((open, Mutex::new(wait)))
}

/// Two workers: the handler of "who" answers with the worker's name; that of "block" waits at the gate and then sends
/// more.
fn blocking(
    mut config: Config,
    gate: &Arc<Gate>,
    entered: &Arc<AtomicU64>,
    after: &Arc<Mutex<Vec<Failed>>>,
) -> Router {
    let (gate, entered, after) = (Arc::clone(gate), Arc::clone(entered), Arc::clone(after));
    config.router.workers = Some(2);
    config.router.balance = Balance::Hash;
    // What waits behind the handler does not expire, however long the test takes.
    config.limits.max_queue_wait = Duration::from_secs(600);
    Builder::new(config)
        .handler("generic", "offer", |request| {
            request.reply(std::thread::current().name().unwrap().as_bytes())
        })
        .handler("generic", "answer", move |request| {
            request.reply(b"entered")?;
            entered.fetch_add(1, SeqCst);
            gate.1.lock().unwrap().recv().unwrap();
            if let Err(reason) = request.reply(b"back") {
                after.lock().unwrap().push(reason);
            }
            Ok(())
        })
        .start()
        .unwrap()
}

/// Polls until `enough` holds. Panics if the other side hangs.
fn poll_until(port: &mut Port, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
    let mut got = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        got.extend(poll(port));
        if enough(&got) {
            return got;
        }
        port.wait(Duration::from_millis(10));
    }
    panic!("the expected events were not delivered: {got:?}");
}

/// Connects clients until each of both workers has `each` of them. Returns the clients by worker.
fn clients(port: &mut Port, each: usize) -> [Vec<ClientId>; 2] {
    let mut by_worker = [Vec::new(), Vec::new()];
    for number in 0..200 {
        let client = port.connect(&format!("c{number}"), "generic", "", number).unwrap();
        port.submit(client, br#"{"type":"offer"}"#, 0).unwrap();
        port.publish();
        let got = poll_until(port, |got| !got.is_empty());
        let place: usize = got[0].3.strip_prefix("corelane-").unwrap().parse().unwrap();
        by_worker[place].push(client);
        if by_worker.iter().all(|clients| clients.len() >= each) {
            return by_worker;
        }
    }
    panic!("all clients are at one worker");
}

#[test]
fn a_handler_that_sleeps_keeps_only_its_own_workers_clients_waiting() {
    let (gate, entered, after) = (gate(), Arc::default(), Arc::default());
    // Far more than a handler that does not block takes, also if its thread loses the processor meanwhile.
    let config = config(&[("processing_timeout_ms", 300)]);
    let mut router = blocking(config, &gate, &entered, &after);
    let mut port = router.port().unwrap();
    let [here, there] = clients(&mut port, 2);
    port.submit(here[0], br#"{"type":"answer"}"#, 1).unwrap();
    // With a message in flight behind the handler this client cannot move. A quiet client would.
    port.submit(here[1], br#"{"type":"offer"}"#, 999).unwrap();
    port.publish();
    until(|| entered.load(SeqCst) == 1);
    // The watchdog reports the stall, on the right worker.
    until(|| router.stats().workers[0].stalled);
    assert!(!router.stats().workers[1].stalled);
    for round in 0..100 {
        port.submit(here[1], br#"{"type":"offer"}"#, 1_000 + round).unwrap();
        port.submit(there[0], br#"{"type":"offer"}"#, round).unwrap();
        port.publish();
        // In every round the other worker's client is served while the handler sleeps.
        let got = poll_until(&mut port, |got| !got.is_empty());
        assert_eq!(got.iter().map(|got| got.2).collect::<Vec<_>>(), [round]);
        port.acknowledge(there[0], 1, 100);
    }
    assert_eq!(router.accounting().in_flight, 102, "the messages behind the handler wait");
    gate.0.send(()).unwrap();
    let got = poll_until(&mut port, |got| got.len() >= 103);
    let order: Vec<_> = got.iter().map(|got| got.2).collect();
    assert_eq!(order[..2], [1, 1], "the message that it sent before, and the message that it sends now");
    assert_eq!(order[2..], (999..1_100).collect::<Vec<_>>());
    until(|| !router.stats().workers[0].stalled);
    assert_eq!(router.stats().workers[0].stalls, 1);
    router.stop();
    assert!(router.stats().workers.iter().all(|worker| !worker.given_up));
}

#[test]
fn a_handler_that_never_returns_is_given_up_with_all_it_kept_waiting() {
    let (gate, entered, after) = (gate(), Arc::default(), Arc::default());
    let mut router = blocking(Config::default(), &gate, &entered, &after);
    let (mut port, mut second) = (router.port().unwrap(), router.port().unwrap());
    let [here, there] = clients(&mut port, 2);
    let before = router.accounting();
    // One message in the handler; behind it, messages of two ports, a send and a disconnect. More messages on the
    // other worker.
    port.submit(here[0], br#"{"type":"answer"}"#, 1).unwrap();
    port.publish();
    until(|| entered.load(SeqCst) == 1);
    for number in 0..50 {
        port.submit(here[1], br#"{"type":"offer"}"#, number).unwrap();
        port.submit(there[0], br#"{"type":"offer"}"#, number).unwrap();
        second.send(here[1], b"sent", number).unwrap();
    }
    port.disconnect(here[0]).unwrap();
    port.publish();
    second.publish();
    // A stop would give up the other worker too if that had no processor in the middle of a handler.
    until(|| router.accounting().ok - before.ok >= 50);
    assert_eq!(stopped(&router, Duration::from_millis(20)), Err(StopError::Stuck(1)));
    assert_eq!(router.stop_within(Duration::ZERO), Err(StopError::Stuck(1)), "asked again");
    let (mut got, mut closed) = (Vec::new(), 0);
    // The messages that the handler had sent before are delivered, the port reports the end, and the disconnected
    // client gets its last event.
    while port
        .poll_each(usize::MAX, |event| match event {
            Event::Message(message) => got.push(message.payload.to_vec()),
            Event::Closed { client, .. } => {
                assert_eq!(client, here[0]);
                closed += 1;
            }
            other => panic!("{other:?}"),
        })
        .is_ok()
    {}
    assert_eq!((got.iter().filter(|bytes| **bytes == b"entered").count(), closed), (1, 1));
    assert_eq!(got.iter().filter(|bytes| **bytes == b"corelane-1").count(), 50);
    assert_eq!(port.submit(here[1], b"{}", 0), Err(SubmitError::Closed));
    while second.poll_each(usize::MAX, |_| ()).is_ok() {}
    let stats = router.stats();
    let figures = settled(&router);
    assert_eq!((figures.submitted - before.submitted, figures.refused), (152, 1));
    assert_eq!((stats.messages.failures.get("stuck"), figures.ok - before.ok), (101, 50));
    let by_type = |name: &str| of_type(&stats, "generic", name).failures.as_ref().unwrap().counted();
    assert_eq!(by_type("answer"), [("stuck", 1)], "the message in the handler, under its own type");
    assert_eq!(by_type("send"), [("stuck", 50)]);
    assert!(stats.workers[0].given_up && !stats.workers[1].given_up);
    // When the ports are dropped, their delivered and never acknowledged messages count as unacknowledged.
    drop((port, second));
    let figures = router.accounting();
    // The handler returns after all: its calls fail, and it changes nothing.
    gate.0.send(()).unwrap();
    until(|| !after.lock().unwrap().is_empty());
    assert_eq!(*after.lock().unwrap(), [Failed::Stuck]);
    router.stop();
    assert_eq!(router.accounting(), figures);
}

#[test]
fn a_drop_does_not_wait_for_ever() {
    let (gate, entered, after) = (gate(), Arc::default(), Arc::default());
    let config = config(&[("stop_timeout_ms", 20)]);
    let router = blocking(config, &gate, &entered, &after);
    let reader = router.reader();
    let mut port = router.port().unwrap();
    let [here, there] = clients(&mut port, 1);
    for client in [here[0], there[0]] {
        port.submit(client, br#"{"type":"answer"}"#, 1).unwrap();
    }
    port.publish();
    until(|| entered.load(SeqCst) == 2);
    drop(router);
    drop(port);
    let stats = reader.stats();
    assert_eq!((stats.accounting.in_flight, stats.accounting.queued), (0, 0), "{:?}", stats.accounting);
    assert_eq!(stats.messages.failures.get("stuck"), 2);
}

/// Handlers return while a stop gives up on them, in many rounds: whichever happens first, everything is accounted
/// for.
#[test]
fn a_handler_that_returns_as_it_is_given_up() {
    for round in 0..60u64 {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut router = Builder::new("workers=2\nmax_queue_wait_ms=600000".parse().unwrap())
            .handler("generic", "offer", move |request| {
                while !seen.load(SeqCst) {
                    std::thread::yield_now();
                }
                for _ in 0..request.correlation() {
                    request.reply(b"x")?;
                }
                Ok(())
            })
            .start()
            .unwrap();
        let mut port = router.port().unwrap();
        let client = port.connect("ann", "generic", "", 1).unwrap();
        for number in 0..20 {
            port.submit(client, br#"{"type":"offer"}"#, number % 4 + round % 3).unwrap();
        }
        port.publish();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..round * 50 {
                    std::hint::spin_loop();
                }
                stop.store(true, SeqCst);
            });
            let _ = router.stop_within(Duration::ZERO);
            router.stop();
        });
        let mut events = 0;
        while port.poll_each(usize::MAX, |_| events += 1).is_ok() {}
        let figures = settled(&router);
        assert_eq!((figures.submitted, figures.expired, figures.consumed), (20, 0, events));
    }
}

/// A port that opens in the middle of a cycle: a client that connects on it can be reached in that cycle.
#[test]
fn a_port_that_opens_during_a_cycle_is_reached_in_it() {
    let late = Arc::new(Mutex::new((None::<Arc<Router>>, None::<Port>)));
    let bench = Bench::of(config(&[("workers", 1)]), |builder| {
        builder.handler("generic", "offer", {
            let late = Arc::clone(&late);
            move |_| {
                let mut late = late.lock().unwrap();
                let mut port = late.0.as_ref().unwrap().port().unwrap();
                port.connect("late", "generic", "", 9).unwrap();
                late.1 = Some(port);
                Ok(())
            }
        })
    });
    let Bench { router, mut workers, clock, .. } = bench;
    let router = Arc::new(router);
    late.lock().unwrap().0 = Some(Arc::clone(&router));
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    port.submit(ann, br#"{"type":"offer"}"#, 0).unwrap();
    port.submit(ann, br#"{"type":"candidate","to":"late"}"#, 5).unwrap();
    port.publish();
    workers[0].cycle(clock.now());
    workers[0].cycle(clock.now());
    assert_eq!((router.accounting().ok, router.accounting().failed), (2, 0));
    let mut port = late.lock().unwrap().1.take().unwrap();
    assert_eq!(poll(&mut port).iter().map(|got| got.2).collect::<Vec<_>>(), [5]);
    late.lock().unwrap().0 = None;
}
