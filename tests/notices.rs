//! Nobody loses a message without being told: a failed send, and a client's message that was submitted with
//! `tell_failed`, under every policy, with a full port, and after a stop.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use corelane::clients::{ClientId, RoomId};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::{Failed, Loss, StopError, SubmitError};
use corelane::router::{Action, Builder, Event, Port, ProtocolRules, Recipient, SubmitOptions, TaskId};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use support::random::Random;
use support::{Bench, Hand, config, config_of, settled, until};

/// What a port was told: the client, the recipient that the message failed at, the correlation and the reason.
type Told = (u64, Option<ClientId>, u64, &'static str);

fn told(port: &mut Port) -> Vec<Told> {
    let mut all = Vec::new();
    let polled = port.poll_each(usize::MAX, |event| match event {
        Event::SendFailed { to, correlation, reason } => {
            let Recipient::Client(to) = to else { panic!("{to:?}") };
            all.push((0, Some(to), correlation, reason.label()));
        }
        Event::Undelivered { token, recipient, correlation, reason, .. } => {
            all.push((token, recipient, correlation, reason.label()));
        }
        _ => {}
    });
    polled.map_or(vec![], |_| all)
}

fn tells(correlation: u64) -> SubmitOptions {
    SubmitOptions { correlation, tell_failed: true, ..SubmitOptions::default() }
}

impl Hand {
    fn turn(&mut self) -> Vec<Told> {
        self.port.publish();
        self.bench.cycle();
        told(&mut self.port)
    }
}

#[test]
fn a_client_is_told_each_reason_once() {
    let mut hand = Hand::of(config_of(&[("workers", "1"), ("hold_ms", "1000")]), "peerjs", |builder| builder);
    let cases = [
        ("", "empty"),
        ("{", "not_json"),
        ("[]", "not_an_object"),
        (r#"{"type":"NOTHING"}"#, "unknown_type"),
        (r#"{"type":"OFFER"}"#, "no_recipient"),
        (r#"{"type":"EXPIRE","dst":"zoe"}"#, "unknown_recipient"),
        (r#"{"type":"OFFER","dst":"zoe"}"#, "expired"),
    ];
    for (number, (message, reason)) in cases.into_iter().enumerate() {
        let number = number as u64;
        hand.port.submit_with(hand.ann, message.as_bytes(), tells(number)).unwrap();
        let mut got = hand.turn();
        if got.is_empty() {
            // The type is held first.
            hand.bench.hands.advance(Duration::from_millis(1_100));
            got = hand.turn();
            assert_eq!(got, [(1, None, number, "expired")], "{message}");
            continue;
        }
        assert_eq!(got, [(1, None, number, reason)], "{message}");
        hand.port.submit(hand.ann, message.as_bytes(), number).unwrap();
        assert_eq!(hand.turn(), [], "who does not ask is not told: {message}");
    }
    hand.port.submit_with(hand.ann, br#"{"type":"OFFER","dst":"ben"}"#, tells(99)).unwrap();
    assert_eq!(hand.turn(), [], "a message that arrives has no notice");
}

#[test]
fn the_host_is_told_of_its_failed_send_under_each_policy() {
    for (policy, closes) in [("refuse", 0), ("drop", 1), ("disconnect", 1)] {
        let set = [("workers", "1"), ("credit_messages", "2"), ("credit_policy", policy)];
        let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
        for number in 1..=3 {
            hand.port.send(hand.ben, b"hello", number).unwrap();
        }
        assert_eq!(hand.turn(), [(0, Some(hand.ben), 3, "credit_exhausted")], "{policy}");
        let closed = hand.bench.router.stats().workers.iter().map(|worker| worker.credit_closes).sum::<u64>();
        assert_eq!(closed, closes, "{policy}");
        // Another port's host is told through its own port.
        let mut other = hand.bench.router.port().unwrap();
        other.send(hand.ben, b"hello", 4).unwrap();
        other.publish();
        hand.bench.cycle();
        let reason = if closes == 1 { "recipient_closed" } else { "credit_exhausted" };
        assert_eq!(told(&mut other), [(0, Some(hand.ben), 4, reason)], "{policy}");
        assert_eq!(told(&mut hand.port), [], "{policy}");
    }
}

#[test]
fn a_refused_message_names_its_recipient_once() {
    let set = [("workers", "1"), ("credit_messages", "1"), ("credit_policy", "refuse")];
    for notices in ["on", "off"] {
        let set = [&set[..], &[("refusal_notices", notices)]].concat();
        let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
        for number in 1..=2 {
            hand.port.submit_with(hand.ann, br#"{"type":"offer","to":"ben"}"#, tells(number)).unwrap();
        }
        assert_eq!(hand.turn(), [(1, Some(hand.ben), 2, "credit_exhausted")], "notices {notices}");
    }
}

/// A port that does not poll, with its ring and backlog full of deliveries, loses no notice. Its worker takes nothing more
/// from it, but goes on with the other ports.
#[test]
fn notices_wait_for_a_port_that_does_not_poll() {
    let set = [
        ("workers", "1"),
        ("ring_bytes", "8192"),
        ("backlog_bytes", "8192"),
        ("payload_bytes", "1000000"),
        ("max_message", "1000"),
        ("credit_messages", "60000"),
        ("batch", "16"),
    ];
    let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
    let mut other = hand.bench.router.port().unwrap();
    let zoe = other.connect("zoe", "generic", "", 9).unwrap();
    // Fill ring and backlog of the first port.
    for number in 0..100 {
        let _ = other.send(hand.ben, &[b'x'; 900], number);
        other.publish();
        hand.bench.cycle();
    }
    let full = told(&mut other);
    assert!(full.iter().all(|(.., reason)| *reason == "egress_full") && full.len() > 50, "{}", full.len());
    let mut accepted = Vec::new();
    for number in 1_000..1_200 {
        if hand.port.submit_with(hand.ann, b"{", tells(number)).is_ok() {
            accepted.push(number);
        }
        hand.port.publish();
        hand.bench.cycle();
    }
    let waiting = hand.bench.router.stats().ports[0].workers[0].closings;
    assert!((1..=16).contains(&waiting), "at most a batch waits: {waiting}");
    assert!(accepted.len() > 16 && accepted.len() < 200, "the ring is held back: {}", accepted.len());
    assert_eq!(hand.port.submit(hand.ann, b"{", 0), Err(SubmitError::RingFull));
    // The other port's clients notice nothing.
    other.submit(zoe, br#"{"type":"offer","to":"zoe"}"#, 5).unwrap();
    other.publish();
    hand.bench.cycle();
    assert_eq!(other.poll_each(10, |event| assert!(matches!(event, Event::Message(_)))), Ok(1));
    let mut got = Vec::new();
    for _ in 0..200 {
        got.extend(hand.turn());
    }
    let wanted: Vec<Told> = accepted.into_iter().map(|number| (1, None, number, "not_json")).collect();
    assert_eq!(got, wanted);
    let figures = settled(&hand.bench.router);
    assert_eq!((figures.queued, figures.in_flight), (0, 0));
}

/// Messages that no worker has taken before a stop, and held ones, are told after it.
#[test]
fn a_stop_tells_what_was_not_taken() {
    let set = [("workers", "1"), ("max_queue_wait_ms", "60000")];
    let mut hand = Hand::of(config_of(&set), "peerjs", |builder| builder);
    hand.port.submit_with(hand.ann, br#"{"type":"OFFER","dst":"zoe"}"#, tells(1)).unwrap();
    assert_eq!(hand.turn(), []);
    hand.bench.router.request_stop();
    hand.bench.cycle();
    // Submitted before the port sees the stop, and never taken.
    let sent = hand.port.send(hand.ben, b"late", 2);
    let submitted = hand.port.submit_with(hand.ann, b"{", tells(3));
    hand.port.publish();
    let mut got = told(&mut hand.port);
    got.extend(told(&mut hand.port));
    let mut wanted = vec![(1, None, 1, "stopped")];
    if sent.is_ok() {
        wanted.push((0, Some(hand.ben), 2, "closed"));
    }
    if submitted.is_ok() {
        wanted.push((1, None, 3, "closed"));
    }
    assert_eq!(got, wanted);
    assert!(hand.port.poll(1).is_err(), "nothing comes after the end");
}

#[test]
fn a_lost_worker_tells_what_it_had() {
    let bench = Bench::of(config_of(&[("workers", "1")]), |builder| builder);
    let Bench { router, workers, .. } = bench;
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let mut workers = workers;
    workers[0].cycle(corelane::clock::Stamp(0));
    port.send(ann, b"hello", 2).unwrap();
    port.submit_with(ann, b"{", tells(3)).unwrap();
    port.publish();
    drop(workers);
    let mut got = told(&mut port);
    got.extend(told(&mut port));
    assert_eq!(got, [(0, Some(ann), 2, "worker_lost"), (1, None, 3, "worker_lost")]);
}

/// A host's message to a room is told for each member that it has not reached, and once if there is no room.
#[test]
fn a_send_to_a_room_is_told_for_each_member() {
    let set = [("workers", "1"), ("credit_messages", "1"), ("credit_policy", "refuse")];
    let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
    let lobby = hand.port.join(hand.ann, "lobby").unwrap();
    hand.port.join(hand.ben, "lobby").unwrap();
    let mut other = hand.bench.router.port().unwrap();
    other.send(hand.ben, b"first", 1).unwrap();
    other.send_to_room(lobby, b"all", 2).unwrap();
    other.publish();
    hand.bench.cycle();
    assert_eq!(told(&mut other), [(0, Some(hand.ben), 2, "credit_exhausted")]);
    assert_eq!(told(&mut hand.port), []);
    hand.port.disconnect(hand.ann).unwrap();
    hand.port.disconnect(hand.ben).unwrap();
    other.send_to_room(lobby, b"all", 3).unwrap();
    other.publish();
    hand.bench.cycle();
    let mut events = Vec::new();
    other.poll_each(9, |event| events.push(format!("{event:?}"))).unwrap();
    let gone = Event::SendFailed {
        to: Recipient::Room(lobby),
        correlation: 3,
        reason: Loss::Failed(Failed::UnknownRoom),
    };
    assert_eq!(events, [format!("{gone:?}")]);
}

#[test]
fn events_are_lent_and_the_port_is_usable_between_them() {
    let mut hand = Hand::of(config(&[("workers", 1)]), "generic", |builder| builder);
    for number in 0..4 {
        hand.port.submit(hand.ann, br#"{"type":"offer","to":"ben"}"#, number).unwrap();
    }
    hand.port.publish();
    hand.bench.cycle();
    let mut names = Vec::new();
    let mut batch = hand.port.poll(3).unwrap();
    while let Some(event) = batch.next() {
        let Event::Message(message) = event else { panic!("{event:?}") };
        names.push((message.sender, message.sender_name().unwrap().to_string()));
        let (client, bytes) = (message.client, message.payload.len() as u32);
        batch.port().acknowledge(client, 1, bytes);
        batch.port().send(client, b"got it", 9).unwrap();
    }
    assert_eq!(batch.taken(), 3);
    drop(batch);
    assert_eq!(names, vec![(Some(hand.ann), "ann".to_owned()); 3]);
    hand.port.publish();
    hand.bench.cycle();
    // A batch that is dropped early leaves the rest for the next poll.
    let mut batch = hand.port.poll(10).unwrap();
    assert!(matches!(batch.next(), Some(Event::Message(message)) if message.correlation == 3));
    drop(batch);
    let mut rest = 0;
    hand.port
        .poll_each(10, |event| rest += usize::from(matches!(event, Event::Message(m) if m.sender.is_none())))
        .unwrap();
    assert_eq!(rest, 3);
    assert_eq!(hand.port.name(hand.ben).as_deref(), Some("ben"));
    let reason = Loss::Failed(Failed::NotJson);
    assert_eq!((reason.label(), reason.to_string()), ("not_json", "not_json".to_owned()));
}

/// Notices that wait in the backlog of a port survive the end of the worker, and come before the client's end.
#[test]
fn a_worker_that_ends_hands_over_the_notices_in_its_backlog() {
    for ends in ["stop", "lost"] {
        let set = [("workers", "1"), ("ring_bytes", "8192"), ("credit_messages", "60000")];
        let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
        let mut other = hand.bench.router.port().unwrap();
        for number in 0..40 {
            other.send(hand.ben, &[b'x'; 900], number).unwrap();
            other.publish();
            hand.bench.cycle();
        }
        assert!(hand.bench.router.stats().ports[0].workers[0].backlog_bytes > 0);
        for number in 0..20 {
            hand.port.submit_with(hand.ann, b"{", tells(number)).unwrap();
        }
        hand.port.publish();
        hand.bench.cycle();
        hand.port.disconnect(hand.ann).unwrap();
        hand.port.publish();
        match ends {
            "stop" => {
                hand.bench.router.request_stop();
                hand.bench.cycle();
            }
            _ => drop(std::mem::take(&mut hand.bench.workers)),
        }
        let mut got = Vec::new();
        let mut closed = None;
        while hand
            .port
            .poll_each(7, |event| match event {
                Event::Undelivered { correlation, .. } => got.push(correlation),
                Event::Closed { token: 1, .. } => closed = Some(got.len()),
                _ => {}
            })
            .is_ok()
        {}
        assert_eq!(got, (0..20).collect::<Vec<_>>(), "{ends}");
        assert_eq!(closed, Some(20), "{ends}");
        drop(other);
        settled(&hand.bench.router);
    }
}

/// A stop gives up a handler whose message asks for a notice, while another port has messages that the worker has not
/// taken.
#[test]
fn the_message_of_a_handler_that_is_given_up_is_told_whatever_other_ports_have() {
    let entered = Arc::new(AtomicBool::new(false));
    let gate = Arc::new(AtomicBool::new(false));
    let (enters, opens) = (Arc::clone(&entered), Arc::clone(&gate));
    let router = Builder::new(config(&[("workers", 1), ("max_queue_wait_ms", 600_000)]))
        .handler("generic", "offer", move |_| {
            enters.store(true, SeqCst);
            until(|| opens.load(SeqCst));
            Ok(())
        })
        .start()
        .unwrap();
    let (mut first, mut second) = (router.port().unwrap(), router.port().unwrap());
    let ann = first.connect("ann", "generic", "", 1).unwrap();
    let ben = second.connect("ben", "generic", "", 2).unwrap();
    second.submit_with(ben, br#"{"type":"offer"}"#, tells(5)).unwrap();
    second.publish();
    until(|| entered.load(SeqCst));
    first.submit_with(ann, b"{", tells(6)).unwrap();
    first.publish();
    assert_eq!(router.stop_within(Duration::from_millis(20)), Err(StopError::Stuck(1)));
    assert_eq!(told(&mut second), [(2, None, 5, "stuck")]);
    assert_eq!(told(&mut first), [(1, None, 6, "stuck")]);
    gate.store(true, SeqCst);
}

/// A room message can cause as many notices as the room has members. The worker stops taking at the first record whose
/// notices found no room.
#[test]
fn the_notices_of_one_room_message_hold_the_ring_back() {
    const MEMBERS: u64 = 40;
    let set = [
        ("workers", "1"),
        ("ring_bytes", "4096"),
        ("backlog_bytes", "4096"),
        ("credit_messages", "1"),
        ("credit_policy", "refuse"),
    ];
    let mut hand = Hand::of(config_of(&set), "generic", |builder| builder);
    let members: Vec<_> = (0..MEMBERS)
        .map(|number| hand.port.connect(&format!("member {number}"), "generic", "", number).unwrap())
        .collect();
    while hand.cycle() > 0 {}
    let lobby = members.iter().map(|member| hand.port.join(*member, "lobby").unwrap()).last().unwrap();
    let mut other = hand.bench.router.port().unwrap();
    const SENT: u64 = 20;
    for number in 0..=SENT {
        other.send_to_room(lobby, b"all", number).unwrap();
    }
    other.publish();
    for _ in 0..3 {
        hand.bench.cycle();
    }
    let stats = hand.bench.router.stats();
    let waiting = stats.ports[1].workers[0].closings;
    assert!((1..=MEMBERS).contains(&waiting), "{waiting}");
    let mut got = Vec::new();
    for _ in 0..100 {
        got.extend(told(&mut other));
        hand.bench.cycle();
    }
    // The first message has reached all.
    assert_eq!(got.len() as u64, MEMBERS * SENT);
    assert!(got.is_sorted_by_key(|told| told.2), "in the order of the messages");
    told(&mut hand.port);
    settled(&hand.bench.router);
}

/// Everything that can fail a message, at once: local and other workers, tasks, handlers that join and then fail, holds,
/// rooms, full ports, clients that come back on another port, batches that are half read, forgotten or polled inside, and
/// ends of all kinds. As many notices come as messages fail, each once, and none after its client's end.
#[test]
fn as_many_notices_come_as_messages_fail() {
    for seed in 0..400 {
        Mix::run(seed);
    }
}

struct Mix {
    random: Random,
    bench: Bench,
    ports: Vec<Port>,
    /// With the port of each.
    clients: Vec<(usize, ClientId)>,
    rooms: Vec<RoomId>,
    tasks: Vec<(usize, TaskId)>,
    next: u64,
    /// Refused by the call itself.
    refused: u64,
    seen: Seen,
    /// Whether clients leave. Then a notice may find its client gone.
    leaves: bool,
}

/// What the ports were told.
#[derive(Default)]
struct Seen {
    /// The correlations of the messages that were told.
    told: HashSet<u64>,
    /// The host's messages to rooms, and the members that they have not reached.
    room_sends: HashSet<u64>,
    members: HashSet<(u64, ClientId)>,
    closed: HashSet<ClientId>,
}

impl Seen {
    /// Returns what to acknowledge.
    fn see(&mut self, event: Event<'_>) -> Option<(ClientId, u32)> {
        match event {
            Event::Message(message) => {
                assert!(!self.closed.contains(&message.client));
                return Some((message.client, message.payload.len() as u32));
            }
            Event::SendFailed { to: Recipient::Client(to), correlation, .. }
                if self.room_sends.contains(&correlation) =>
            {
                assert!(self.members.insert((correlation, to)), "{correlation} is told twice for a member");
            }
            Event::SendFailed { correlation, .. } => self.tell(correlation),
            Event::Undelivered { client, correlation, .. } => {
                assert!(!self.closed.contains(&client));
                self.tell(correlation);
            }
            Event::Closed { client, .. } => assert!(self.closed.insert(client)),
            other => panic!("{other:?}"),
        }
        None
    }

    fn tell(&mut self, correlation: u64) {
        assert!(self.told.insert(correlation), "{correlation} is told twice");
    }
}

impl Mix {
    fn run(seed: u64) {
        let mut config = config_of(&[
            ("ring_bytes", "4096"),
            ("backlog_bytes", "4096"),
            ("payload_bytes", "1000000"),
            ("credit_messages", "60000"),
            ("hold_ms", "50"),
            ("max_queue_wait_ms", "400"),
            ("batch", "8"),
            ("max_tasks", "5"),
        ]);
        config.router.workers = Some(3);
        config.router.local_workers = 1;
        config.monitor.detailed_stats = seed.is_multiple_of(2);
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("to"),
            room: Some("room"),
            ..Fields::default()
        };
        let tasks = ProtocolRules::new(Protocol::new("tasks", &fields, Forward::All).unwrap())
            .message_type("work", Action::Host { hold: true })
            .message_type("chat", Action::Relay { hold: true });
        let quick = ProtocolRules::new(Protocol::new("quick", &fields, Forward::All).unwrap())
            .message_type("join", Action::Handler { hold: true })
            .message_type("chat", Action::Relay { hold: true })
            .message_type("talk", Action::RelayToRoom);
        let bench = Bench::of(config, |builder| {
            builder.protocol(tasks).protocol(quick).short_handler("quick", "join", |request| {
                let room = request.join(if request.correlation() % 2 == 0 { "even" } else { "odd" });
                match request.correlation() % 5 {
                    0 => request.relay().map(|_| ()),
                    1 => Err(Failed::HandlerFailed),
                    2 => request.leave(room.unwrap()).map_err(|_| Failed::HandlerFailed),
                    3 => request.relay().and(Err(Failed::HandlerFailed)),
                    _ => request.reply(b"joined"),
                }
            })
        });
        let mut ports = vec![bench.router.local_port().unwrap()];
        ports.extend((0..2).map(|_| bench.router.port().unwrap()));
        let mut clients = Vec::new();
        for number in 0..9 {
            let (port, protocol) = (number % 3, if number < 6 { "quick" } else { "tasks" });
            let name = format!("c{number}");
            clients.push((port, ports[port].connect(&name, protocol, "", number as u64).unwrap()));
        }
        let rooms = (0..2).map(|one| ports[0].join(clients[0].1, ["even", "odd"][one]).unwrap()).collect();
        let mut mix = Self {
            random: Random(seed),
            bench,
            ports,
            clients,
            rooms,
            tasks: Vec::new(),
            next: 1,
            refused: 0,
            seen: Seen::default(),
            leaves: seed.is_multiple_of(3),
        };
        for _ in 0..300 {
            mix.act();
        }
        mix.end();
    }

    fn act(&mut self) {
        let place = self.random.below(3) as usize;
        match self.random.below(20) {
            0..8 => self.submit(),
            8..11 => {
                let to = self.random.pick(&self.clients).unwrap().1;
                let bytes = vec![b'x'; self.random.below(900) as usize];
                let sent = self.ports[place].send(to, &bytes, self.next);
                self.count(sent);
            }
            11 => {
                let room = *self.random.pick(&self.rooms).unwrap();
                let sent = self.ports[place].send_to_room(room, &[b'x'; 100], self.next);
                self.seen.room_sends.insert(self.next);
                self.count(sent);
            }
            12 if self.leaves && self.random.chance(50) => self.come_back(),
            12 => {
                // The first member leaves, and joins another room of the name.
                let (room, name) = if self.random.chance(50) { (0, "even") } else { (1, "odd") };
                let client = self.clients[0].1;
                let _ = self.ports[0].leave(client, self.rooms[room]);
                if self.random.chance(50) {
                    self.rooms[room] = self.ports[0].join(client, name).unwrap();
                }
            }
            13 => self.bench.hands.advance(Duration::from_millis(self.random.below(60))),
            14..16 => self.poll(place),
            16 => self.ports.iter_mut().for_each(Port::publish),
            _ => self.cycle(),
        }
    }

    /// A client, but not the first, comes back on some port.
    fn come_back(&mut self) {
        let number = 1 + self.random.below(8) as usize;
        let (port, client) = self.clients[number];
        self.ports[port].disconnect(client).unwrap();
        let (port, protocol) = (self.random.below(3) as usize, if number < 6 { "quick" } else { "tasks" });
        let client = self.ports[port].connect(&format!("c{number}"), protocol, "", 20).unwrap();
        self.clients[number] = (port, client);
    }

    fn submit(&mut self) {
        let (port, client) = *self.random.pick(&self.clients).unwrap();
        let kind = ["join", "chat", "talk", "work", "nothing"][self.random.below(5) as usize];
        let to = self.random.below(12);
        let room = ["even", "odd", "none"][self.random.below(3) as usize];
        let text = match self.random.below(8) {
            0 => "{".to_owned(),
            1 => format!(r#"{{"type":"{kind}"}}"#),
            2 => format!(r#"{{"type":"{kind}","room":"{room}"}}"#),
            _ => format!(r#"{{"type":"{kind}","to":"c{to}"}}"#),
        };
        let submitted = self.ports[port].submit_with(client, text.as_bytes(), tells(self.next));
        self.count(submitted);
    }

    fn count(&mut self, accepted: Result<(), SubmitError>) {
        self.refused += u64::from(accepted.is_err());
        self.next += 1;
    }

    fn cycle(&mut self) {
        let _ = self.ports[0].cycle();
        let now = self.bench.clock.now();
        for (place, worker) in self.bench.workers.iter_mut().enumerate() {
            let tasks = &mut self.tasks;
            worker.take(now, 3, |task| tasks.push((place, task.id())));
        }
        self.finish_tasks(self.random.0 as usize % 3);
    }

    fn finish_tasks(&mut self, most: usize) {
        for _ in 0..most.min(self.tasks.len()) {
            let (worker, task) = self.tasks.swap_remove(self.random.below(self.tasks.len() as u64) as usize);
            let worker = &mut self.bench.workers[worker];
            let _ = match self.random.below(4) {
                0 => worker.done(task, Duration::ZERO, Ok(())),
                1 => worker.done(task, Duration::ZERO, Err(Failed::HandlerFailed)),
                2 => worker.done_with(task, Duration::ZERO, |request| request.relay().map(|_| ())),
                _ => worker.done_with(task, Duration::ZERO, |request| {
                    let _ = request.join("odd");
                    Err(Failed::HandlerFailed)
                }),
            };
        }
    }

    fn poll(&mut self, place: usize) {
        self.poll_up_to(place, 1 + self.random.0 % 30);
    }

    /// Polls, and sometimes drops the batch before its end. Returns false once the port is closed.
    fn poll_up_to(&mut self, place: usize, limit: u64) -> bool {
        let Ok(mut batch) = self.ports[place].poll(limit as usize) else { return false };
        let most = if self.random.chance(70) { usize::MAX } else { self.random.below(limit) as usize };
        for _ in 0..most {
            let Some(event) = batch.next() else { break };
            if let Some((client, bytes)) = self.seen.see(event) {
                batch.port().acknowledge(client, 1, bytes);
            }
            if self.random.chance(5) {
                let _ = batch.port().poll_each(3, |event| _ = self.seen.see(event));
            }
        }
        if self.random.chance(5) {
            std::mem::forget(batch);
        }
        true
    }

    fn end(mut self) {
        if self.random.chance(50) {
            self.ports.iter_mut().for_each(Port::publish);
        }
        match self.random.below(3) {
            0 => {
                self.bench.workers.clear(); // Lost, with its tasks.
                self.tasks.clear();
                self.bench.router.request_stop();
            }
            1 => drop(self.bench.workers.pop()),
            _ => {}
        }
        self.bench.router.request_stop();
        let workers = self.bench.workers.len();
        self.tasks.retain(|(worker, _)| *worker < workers);
        let mut open = true;
        for _ in 0..1_000 {
            self.cycle();
            self.finish_tasks(usize::MAX);
            open = (0..3).map(|place| self.poll_up_to(place, 50)).fold(false, |open, one| open | one);
            if !open && self.bench.workers.iter().all(|worker| worker.is_stopped()) {
                break;
            }
        }
        assert!(!open, "the ports end");
        let figures = settled(&self.bench.router);
        let failed = figures.failed + figures.expired + figures.refused - self.refused;
        assert!(failed > 0);
        let silent = failed - self.seen.told.len() as u64;
        let closed = if self.leaves { figures.undelivered.get("closed") } else { 0 };
        assert!(silent <= closed, "{silent} of {failed}: {figures:?}");
    }
}
