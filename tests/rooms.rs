//! Rooms: who gets which message, how often it is copied, what is refused, and that every delivery is accounted for,
//! even if a poll or a release happens in the middle of a record. Row R11; invariants I3, I4, I5, I9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::{ClientId, CreditPolicy, RoomId};
use corelane::error::{
    CloseReason, ConnectError, JoinError, LeaveError, StaleClient, StaleRoom, SubmitError,
};
use corelane::metrics::{Accounting, WorkerStats};
use corelane::router::{Builder, Event, Port, SendOptions};
use std::time::Duration;

mod support;
use support::{config, of_type, settled, texts};

struct Bench {
    base: support::Bench,
    ports: Vec<Port>,
}

impl Bench {
    fn new(ports: usize, set: &[(&str, u64)]) -> Self {
        let base = support::Bench::of(config(&[&[("workers", 1)][..], set].concat()), |builder| builder);
        let ports = (0..ports).map(|_| base.router.port().unwrap()).collect();
        Self { base, ports }
    }

    fn connect(&mut self, port: usize, name: &str, token: u64) -> ClientId {
        self.ports[port].connect(name, "generic", "rooms", token).unwrap()
    }

    /// Connects a client and joins it to the room.
    fn member(&mut self, port: usize, name: &str, token: u64, room: &str) -> (ClientId, RoomId) {
        let client = self.connect(port, name, token);
        (client, self.ports[port].join(client, room).unwrap())
    }

    fn send(&mut self, port: usize, client: ClientId, message: &str) {
        self.ports[port].submit(client, message.as_bytes(), 7).unwrap();
        self.ports[port].publish();
        self.base.cycle();
    }

    /// Polls a port and acknowledges. Returns the token and the bytes of each delivery.
    fn poll(&mut self, port: usize, limit: usize) -> Vec<(u64, String)> {
        texts(&mut self.ports[port], limit, true)
    }

    fn accounting(&self) -> Accounting {
        self.base.router.accounting()
    }

    fn worker_stats(&self) -> WorkerStats {
        self.base.router.stats().workers[0].clone()
    }
}

const HELLO: &str = r#"{"type":"hello","room":"lobby"}"#;

fn hello_from(name: &str) -> String {
    format!(r#"{{"from":"{name}","type":"hello","room":"lobby"}}"#)
}

#[test]
fn a_message_reaches_every_other_member_once_and_nobody_else() {
    let mut bench = Bench::new(2, &[]);
    let (ann, lobby) = bench.member(0, "ann", 1, "lobby");
    let (ben, same) = bench.member(0, "ben", 2, "lobby");
    assert_eq!(lobby, same);
    bench.member(1, "cleo", 3, "lobby");
    bench.member(1, "dora", 4, "elsewhere");
    bench.connect(0, "eve", 5);
    bench.send(0, ann, HELLO);
    assert_eq!(bench.poll(0, 100), [(2, hello_from("ann"))]);
    assert_eq!(bench.poll(1, 100), [(3, hello_from("ann"))]);
    // Joining again changes nothing. After a leave the other members still get messages.
    assert_eq!(bench.ports[0].join(ann, "lobby"), Ok(lobby));
    bench.ports[0].leave(ben, lobby).unwrap();
    bench.send(0, ann, HELLO);
    assert_eq!((bench.poll(0, 100), bench.poll(1, 100)), (vec![], vec![(3, hello_from("ann"))]));
    // If a message names a recipient and a room, the recipient takes precedence.
    bench.send(0, ann, r#"{"type":"hello","room":"lobby","to":"eve"}"#);
    assert_eq!(bench.poll(0, 100).len(), 1);
    assert_eq!(bench.poll(1, 100), []);
    let figures = bench.accounting();
    assert_eq!((figures.ok, figures.deliveries, figures.consumed, figures.queued), (3, 4, 4, 0));
    let stats = bench.base.router.stats();
    assert_eq!((stats.rooms.open, stats.rooms.members, stats.rooms.joined, stats.rooms.left), (2, 3, 4, 1));
    assert_eq!((stats.workers[0].room_messages, stats.workers[0].room_records), (2, 3));
}

#[test]
fn only_members_send_and_a_lone_member_may() {
    let mut bench = Bench::new(1, &[]);
    let (ann, lobby) = bench.member(0, "ann", 1, "lobby");
    let eve = bench.connect(0, "eve", 2);
    bench.send(0, ann, HELLO);
    assert_eq!(bench.accounting().ok, 1);
    bench.send(0, eve, HELLO);
    assert_eq!(bench.base.failed("not_a_member"), 1);
    assert_eq!(bench.ports[0].leave(eve, lobby), Err(LeaveError::NotAMember));
    bench.ports[0].leave(ann, lobby).unwrap();
    bench.send(0, ann, HELLO);
    assert_eq!(bench.base.failed("unknown_room"), 1);
    assert_eq!(bench.ports[0].leave(ann, lobby), Err(LeaveError::StaleRoom));
    let next = bench.ports[0].join(ann, "lobby").unwrap();
    assert_ne!(next, lobby, "the handle of a closed room is not reused");
    bench.send(0, ann, &format!(r#"{{"type":"hello","room":"{}"}}"#, "r".repeat(65)));
    assert_eq!(bench.base.failed("field_too_long"), 1);
    assert_eq!(bench.poll(0, 10), []);
}

#[test]
fn limits_are_typed_errors_and_counted() {
    let limits = [("max_rooms", 3), ("max_room_members", 2), ("max_client_rooms", 2)];
    let mut bench = Bench::new(2, &limits);
    let names = ["ann", "ben", "cleo"];
    let clients: Vec<_> = names.iter().map(|name| bench.connect(0, name, 0)).collect();
    let [ann, ben, cleo] = clients[..] else { panic!() };
    let port = &mut bench.ports[0];
    port.join(ann, "a").unwrap();
    port.join(ann, "b").unwrap();
    assert_eq!(port.join(ann, "c"), Err(JoinError::TooManyClientRooms(2)));
    port.join(ben, "a").unwrap();
    assert_eq!(port.join(cleo, "a"), Err(JoinError::RoomFull(2)));
    let third = port.join(cleo, "c").unwrap();
    assert_eq!(port.join(cleo, "d"), Err(JoinError::TooManyRooms(3)));
    assert_eq!(port.join(cleo, ""), Err(JoinError::NameLength(0)));
    assert_eq!(port.join(cleo, &"r".repeat(65)), Err(JoinError::NameLength(65)));
    assert_eq!(port.join(ClientId(cleo.0 + (1 << 32)), "a"), Err(JoinError::StaleClient));
    assert_eq!(port.leave(cleo, RoomId(third.0 + (1 << 32))), Err(LeaveError::StaleRoom));
    assert_eq!(bench.ports[1].join(ann, "a"), Err(JoinError::WrongPort));
    assert_eq!(bench.ports[1].leave(cleo, third), Err(LeaveError::WrongPort));
    // A room that closes frees its place for another room.
    bench.ports[0].leave(cleo, third).unwrap();
    bench.ports[0].join(cleo, "d").unwrap();
    let rooms = bench.base.router.stats().rooms;
    let refusals = [("too_many_rooms", 1), ("room_full", 1), ("too_many_client_rooms", 1)];
    assert_eq!((rooms.open, rooms.members, rooms.refusals.counted()), (3, 4, refusals.to_vec()));
}

#[test]
fn a_disconnect_and_a_released_port_leave_every_room() {
    let mut bench = Bench::new(2, &[]);
    let (ann, _) = bench.member(0, "ann", 1, "lobby");
    let (ben, _) = bench.member(0, "ben", 2, "lobby");
    bench.ports[0].join(ben, "den").unwrap();
    bench.member(1, "cleo", 3, "lobby");
    bench.ports[0].disconnect(ben).unwrap();
    assert_eq!(bench.ports[0].join(ben, "lobby"), Err(JoinError::StaleClient));
    bench.send(0, ann, HELLO);
    assert_eq!(bench.poll(0, 100), [(2, "closed".to_owned())]);
    assert_eq!(bench.poll(1, 100).len(), 1);
    assert_eq!(bench.base.router.stats().rooms.members, 2);
    bench.ports.pop();
    bench.send(0, ann, HELLO);
    let stats = bench.base.router.stats();
    assert_eq!((stats.rooms.open, stats.rooms.members, stats.workers[0].room_records), (1, 1, 1));
    bench.ports.pop();
    assert_eq!((bench.base.router.stats().rooms.open, bench.base.router.stats().rooms.left), (0, 4));
}

#[test]
fn a_member_without_credit_is_closed_and_the_others_get_everything() {
    let mut bench = Bench::new(2, &[("credit_messages", 2)]);
    let (ann, _) = bench.member(0, "ann", 1, "lobby");
    bench.member(1, "slow", 2, "lobby");
    bench.member(1, "ben", 3, "lobby");
    for _ in 0..4 {
        bench.send(0, ann, HELLO);
        // Only ben's messages are acknowledged.
        let mut closes = 0;
        let mut got = None;
        bench.ports[1]
            .poll_each(100, |event| match event {
                Event::Message(message) if message.token == 3 => got = Some(message.client),
                Event::Message(_) => {}
                Event::Close { token, reason, .. } => {
                    assert_eq!((token, reason), (2, CloseReason::CreditExhausted));
                    closes += 1;
                }
                other => panic!("{other:?}"),
            })
            .unwrap();
        bench.ports[1].acknowledge(got.unwrap(), 1, hello_from("ann").len() as u32);
    }
    let figures = bench.accounting();
    // Four messages to ben, two to slow, one close request. The third message found no credit, the fourth a closing
    // client.
    assert_eq!((figures.ok, figures.deliveries, figures.consumed, figures.queued), (4, 9, 7, 0));
    assert_eq!(figures.undelivered.counted(), [("closed", 1), ("credit_exhausted", 1)]);
}

/// The path counts each member as well.
#[test]
fn what_finds_ring_and_backlog_full_is_counted_for_each_member() {
    let small =
        [("max_message", 64), ("ring_bytes", 8192), ("backlog_bytes", 8192), ("credit_messages", 1_000)];
    let mut bench = Bench::new(2, &small);
    let (ann, _) = bench.member(0, "ann", 1, "lobby");
    bench.member(1, "ben", 2, "lobby");
    bench.member(1, "cat", 3, "lobby");
    while bench.accounting().undelivered.counted().is_empty() {
        bench.send(0, ann, HELLO);
    }
    bench.send(0, ann, HELLO);
    assert_eq!(bench.accounting().undelivered.counted(), [("egress_full", 4)]);
    let full: Vec<_> =
        bench.base.router.stats().ports.iter().map(|port| port.workers[0].egress_full).collect();
    assert_eq!(full[..2], [0, 4]);
}

#[test]
fn direct_and_room_messages_keep_their_order() {
    let mut bench = Bench::new(2, &[]);
    let (ann, _) = bench.member(0, "ann", 1, "lobby");
    bench.member(1, "ben", 2, "lobby");
    for number in 0..20 {
        let way = if number % 3 == 0 { r#""to":"ben""# } else { r#""room":"lobby""# };
        let message = format!(r#"{{"type":"hello",{way},"number":{number}}}"#);
        bench.ports[0].submit(ann, message.as_bytes(), 0).unwrap();
    }
    bench.ports[0].publish();
    bench.base.cycle();
    let numbers: Vec<u64> = bench
        .poll(1, 100)
        .iter()
        .map(|(_, text)| serde_json::from_str::<serde_json::Value>(text).unwrap()["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

/// Rings of 8 KiB take records of up to 2 KiB, so a message to 300 members of one port is split.
fn crowd(members: u64) -> (Bench, ClientId, Vec<ClientId>) {
    let mut bench = Bench::new(2, &[("ring_bytes", 8192), ("max_message", 1000)]);
    let (ann, _) = bench.member(0, "ann", 0, "lobby");
    let clients =
        (1..=members).map(|token| bench.member(1, &format!("m{token}"), token, "lobby").0).collect();
    bench.base.cycle();
    (bench, ann, clients)
}

#[test]
fn a_record_is_split_where_it_is_too_large_and_polled_across_limits() {
    let (mut bench, ann, _) = crowd(300);
    let message = format!(r#"{{"type":"hello","room":"lobby","fill":"{}"}}"#, "x".repeat(800));
    bench.send(0, ann, &message);
    let length = message.len() + r#""from":"ann","#.len();
    let most = (2048 - 56 - length) / 8;
    let records = 300usize.div_ceil(most);
    assert!(records > 1);
    let stats = bench.worker_stats();
    assert_eq!(stats.room_records, records as u64);
    assert_eq!(stats.room_bytes_copied, (records * length) as u64);
    let mut tokens = Vec::new();
    for polls in 1.. {
        let got = bench.poll(1, 7);
        assert!(got.len() == 7 || got.len() == 300 % 7, "a limit counts recipients");
        assert!(got.iter().all(|(_, text)| text.len() == length && text.contains("ann")));
        tokens.extend(got.iter().map(|(token, _)| *token));
        assert_eq!(bench.accounting().queued, 300 - tokens.len() as u64);
        if tokens.len() == 300 {
            assert_eq!(polls, 300usize.div_ceil(7));
            break;
        }
        assert!(!bench.ports[1].arm(), "the port must not sleep while events are left");
    }
    tokens.sort_unstable();
    assert_eq!(tokens, (1..=300).collect::<Vec<_>>());
    assert_eq!(bench.poll(1, 7), []);
}

/// Only the port is released, or the worker ends first: the code that settles finds each undelivered recipient
/// exactly once.
#[test]
fn a_port_released_in_the_middle_of_a_record_accounts_for_the_rest() {
    for worker_first in [false, true] {
        for (polled, disconnected) in [(0, 0), (7, 0), (7, 9), (49, 0), (50, 0)] {
            let (mut bench, ann, clients) = crowd(50);
            bench.send(0, ann, HELLO);
            bench.send(0, ann, HELLO);
            assert_eq!(bench.poll(1, polled).len(), polled);
            for client in &clients[..disconnected] {
                bench.ports[1].disconnect(*client).unwrap();
            }
            if worker_first {
                bench.base.router.request_stop();
                bench.base.cycle();
            }
            drop(bench.ports.pop());
            if !worker_first {
                bench.base.cycle();
            }
            let figures = bench.accounting();
            assert_eq!((figures.consumed, figures.queued), (polled as u64, 0), "{figures:?}");
            assert_eq!(figures.deliveries, figures.consumed + figures.undeliverable);
            // All credit is returned: every slot can be used again while the router runs.
            if !worker_first {
                let mut port = bench.base.router.port().unwrap();
                for number in 0..9_999 {
                    port.connect(&format!("n{number}"), "generic", "", 0).unwrap();
                }
                assert!(matches!(
                    port.connect("one more", "generic", "", 0),
                    Err(ConnectError::TooManyClients(_))
                ));
            }
        }
    }
}

/// 1,000 members on 4 ports with one thread each, 2 workers with one thread each, and a host that joins and leaves
/// meanwhile.
#[test]
fn fan_out_to_a_thousand_members_copies_the_payload_once_per_port() {
    const MEMBERS: u64 = 1_000;
    const PORTS: u64 = 4;
    const MESSAGES: u64 = 200;
    // Each message arrives, however slow the machine is.
    let set = [
        ("workers", 2),
        ("max_queue_wait_ms", 600_000),
        ("credit_messages", 65_535),
        ("backlog_bytes", 1 << 26),
    ];
    let mut router = Builder::new(config(&set)).start().unwrap();
    let mut ports: Vec<_> = (0..PORTS).map(|_| router.port().unwrap()).collect();
    for token in 0..MEMBERS {
        let port = &mut ports[(token % PORTS) as usize];
        let client = port.connect(&format!("m{token}"), "generic", "fan", token).unwrap();
        join(port, client);
    }
    // The sender has a separate port: exactly four ports have members that get its messages.
    let mut host = router.port().unwrap();
    let sender = host.connect("sender", "generic", "fan", 0).unwrap();
    join(&mut host, sender);
    let message = |number: u64| format!(r#"{{"type":"hello","room":"lobby","number":"{number:06}"}}"#);
    let length = message(0).len() as u64 + r#""from":"sender","#.len() as u64;
    std::thread::scope(|scope| {
        for (place, port) in ports.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut next = vec![0u64; MEMBERS as usize];
                let mut left = MESSAGES * MEMBERS / PORTS;
                let mut to_acknowledge = Vec::new();
                while left > 0 {
                    // An odd limit, so that most records are polled in parts.
                    let polled = port.poll_each(97, |event| {
                        let Event::Message(message) = event else { panic!("{event:?}") };
                        assert_eq!(
                            message.token % PORTS,
                            place as u64,
                            "a delivery to another port's member"
                        );
                        let text = std::str::from_utf8(message.payload).unwrap();
                        let number: u64 = text[text.len() - 8..text.len() - 2].parse().unwrap();
                        let expected = &mut next[message.token as usize];
                        assert_eq!(number, *expected, "out of order, lost or duplicated");
                        *expected += 1;
                        to_acknowledge.push((message.client, message.payload.len() as u32));
                    });
                    left -= polled.unwrap() as u64;
                    for (client, bytes) in to_acknowledge.drain(..) {
                        port.acknowledge(client, 1, bytes);
                    }
                    if !port.has_news() {
                        port.wait(std::time::Duration::from_millis(20));
                    }
                }
            });
        }
        for number in 0..MESSAGES {
            host.submit(sender, message(number).as_bytes(), number).unwrap();
            host.publish();
            // Another room changes continuously while the workers read this one.
            let other = host.join(sender, "other").unwrap();
            while let Err(error) = host.leave(sender, other) {
                assert_eq!(error, LeaveError::ListsInUse);
                std::thread::yield_now();
            }
        }
    });
    let stats = router.stats();
    let all = |value: fn(&WorkerStats) -> u64| stats.workers.iter().map(value).sum::<u64>();
    assert_eq!(all(|worker| worker.room_messages), MESSAGES);
    assert_eq!(all(|worker| worker.room_records), MESSAGES * PORTS);
    assert_eq!(all(|worker| worker.room_recipients), MESSAGES * MEMBERS);
    assert_eq!(all(|worker| worker.room_bytes_copied), MESSAGES * PORTS * length);
    let figures = &stats.accounting;
    assert_eq!((figures.ok, figures.deliveries), (MESSAGES, MESSAGES * MEMBERS));
    assert_eq!((figures.consumed, figures.queued, figures.in_flight), (MESSAGES * MEMBERS, 0, 0));
    router.stop();
}

fn join(port: &mut Port, client: ClientId) {
    while let Err(error) = port.join(client, "lobby") {
        assert_eq!(error, JoinError::ListsInUse);
        std::thread::yield_now();
    }
}

#[test]
fn a_host_sends_to_all_members_in_order_and_the_message_counts_once() {
    let mut bench = Bench::new(2, &[]);
    let (_, lobby) = bench.member(0, "ann", 1, "lobby");
    bench.member(0, "ben", 2, "lobby");
    bench.member(1, "cleo", 3, "lobby");
    bench.member(1, "dora", 4, "elsewhere");
    let offer = bench.base.router.message_type("generic", "offer").unwrap();
    let large = "x".repeat(40_000);
    let port = &mut bench.ports[1];
    port.send_to_room(lobby, b"first", SendOptions::from(1).message_type(offer)).unwrap();
    port.send_to_room(lobby, large.as_bytes(), 2).unwrap();
    port.send_to_room(lobby, b"third", 3).unwrap();
    port.publish();
    bench.base.cycle();
    let all = |token| ["first", &large, "third"].map(|text| (token, text.to_owned()));
    let mut got = bench.poll(0, 100);
    got.sort_by_key(|one| one.0);
    assert_eq!(got, [all(1), all(2)].concat());
    assert_eq!(bench.poll(1, 100), all(3));
    let stats = bench.base.router.stats();
    let of = |name| of_type(&stats, "generic", name).succeeded;
    assert_eq!((of("offer"), of("send")), (1, 2));
    let rooms = &stats.applications.iter().find(|one| one.name == "rooms").unwrap();
    assert_eq!((rooms.succeeded, stats.workers[0].room_messages, stats.workers[0].room_records), (3, 3, 6));
    assert_eq!(settled(&bench.base.router).deliveries, 9);
    assert_eq!((stats.payload_bytes, stats.payloads_waiting), (0, 0));
}

#[test]
fn a_send_to_a_room_that_is_gone_fails_and_limits_apply() {
    let mut bench = Bench::new(1, &[("max_message", 100)]);
    let (ann, lobby) = bench.member(0, "ann", 1, "lobby");
    let port = &mut bench.ports[0];
    assert_eq!(port.send_to_room(lobby, &[b'x'; 101], 0), Err(SubmitError::TooLarge));
    port.send_to_room(lobby, b"late", 0).unwrap();
    port.leave(ann, lobby).unwrap();
    // Another room gets the place; it must not get the message.
    let next = port.join(ann, "next").unwrap();
    assert_eq!(next.0 as u32, lobby.0 as u32);
    port.publish();
    bench.base.cycle();
    let told = |reason| vec![(0, format!("send failed: {reason}"))];
    assert_eq!((bench.poll(0, 10), bench.base.failed("unknown_room")), (told("unknown_room"), 1));
    // Longer than max_queue_wait_ms.
    bench.ports[0].send_to_room(next, b"too late", 0).unwrap();
    bench.ports[0].publish();
    bench.base.hands.advance(Duration::from_secs(6));
    bench.base.cycle();
    assert_eq!(bench.poll(0, 10), told("expired"));
    let figures = settled(&bench.base.router);
    assert_eq!((figures.refused, figures.failed, figures.expired, figures.deliveries), (1, 1, 1, 2));
}

#[test]
fn a_member_without_credit_costs_only_its_own_delivery_of_a_send() {
    let mut config = config(&[("workers", 1), ("credit_messages", 1)]);
    config.credit.policy = CreditPolicy::Refuse;
    let base = support::Bench::of(config, |builder| builder);
    let mut bench = Bench { ports: vec![base.router.port().unwrap()], base };
    let (ann, lobby) = bench.member(0, "ann", 1, "lobby");
    bench.member(0, "ben", 2, "lobby");
    bench.ports[0].send(ann, b"uses up", 0).unwrap();
    bench.ports[0].send_to_room(lobby, b"hello", 0).unwrap();
    bench.ports[0].publish();
    bench.base.cycle();
    let told = (0, "send failed: credit_exhausted".to_owned());
    assert_eq!(bench.poll(0, 10), [(1, "uses up".to_owned()), told, (2, "hello".to_owned())]);
    let figures = settled(&bench.base.router);
    assert_eq!((figures.ok, figures.failed, figures.deliveries), (2, 0, 4));
    assert_eq!(figures.undelivered.counted(), [("credit_exhausted", 1)]);
    assert_eq!(bench.worker_stats().credit_refusals, 1);
}

/// A room's sends go on through another worker only after every port has consumed what the lost worker has emitted.
#[test]
fn sends_to_a_room_keep_their_order_when_its_worker_is_lost() {
    let mut bench = Bench::new(2, &[("workers", 2)]);
    let (_, lobby) = bench.member(0, "ann", 1, "lobby");
    bench.member(1, "ben", 2, "lobby");
    bench.ports[0].send_to_room(lobby, b"one", 1).unwrap();
    bench.ports[0].publish();
    bench.base.cycle();
    drop(bench.base.workers.remove(lobby.0 as usize % 2));
    let closed = Err(SubmitError::Closed);
    assert_eq!(bench.ports[0].send_to_room(lobby, b"two", 2), closed, "both ports have not polled");
    assert_eq!(bench.poll(0, 10), [(1, "one".to_owned())]);
    assert_eq!(bench.ports[0].send_to_room(lobby, b"two", 2), closed, "the other port has not polled");
    assert_eq!(bench.poll(1, 10), [(2, "one".to_owned())]);
    bench.poll(0, 10);
    bench.ports[0].send_to_room(lobby, b"two", 2).unwrap();
    bench.ports[0].publish();
    bench.base.cycle();
    assert_eq!(bench.poll(0, 10), [(1, "two".to_owned())]);
    assert_eq!(bench.poll(1, 10), [(2, "two".to_owned())]);
}

#[test]
fn a_router_with_local_workers_only_sends_to_rooms_through_the_ports_own_worker() {
    let base = support::Bench::of(config(&[("workers", 2), ("local_workers", 2)]), |builder| builder);
    let mut ports = [base.router.local_port().unwrap(), base.router.local_port().unwrap()];
    let ann = ports[0].connect("ann", "generic", "rooms", 1).unwrap();
    let ben = ports[1].connect("ben", "generic", "rooms", 2).unwrap();
    let lobby = ports[0].join(ann, "lobby").unwrap();
    ports[1].join(ben, "lobby").unwrap();
    for number in 1..=20 {
        ports[1].send_to_room(lobby, format!("{number}").as_bytes(), number).unwrap();
    }
    ports[1].cycle().unwrap();
    for (token, port) in (1..).zip(&mut ports) {
        let expected: Vec<_> = (1..=20).map(|number| (token, number.to_string())).collect();
        assert_eq!(texts(port, 100, true), expected);
    }
    let received = |index: usize| base.router.stats().workers[index].received;
    assert_eq!((received(0) + received(1), received(0).min(received(1))), (20, 0), "one worker handles them");
}

#[test]
fn members_and_rooms_are_listed_without_clients_that_have_left() {
    let mut bench = Bench::new(2, &[]);
    let (ann, lobby) = bench.member(0, "ann", 1, "lobby");
    let (ben, _) = bench.member(1, "ben", 2, "lobby");
    let (cleo, den) = bench.member(0, "cleo", 3, "den");
    bench.ports[0].join(cleo, "lobby").unwrap();
    let [first, second] = &mut bench.ports[..] else { panic!() };
    // Grouped by port.
    assert_eq!(second.members(lobby), Ok(vec![ann, cleo, ben]));
    assert_eq!(second.rooms_of(cleo), Ok(vec![den, lobby]));
    first.disconnect(ann).unwrap();
    first.leave(cleo, den).unwrap();
    assert_eq!((first.members(lobby), first.members(den)), (Ok(vec![cleo, ben]), Err(StaleRoom)));
    assert_eq!((first.rooms_of(cleo), first.rooms_of(ann)), (Ok(vec![lobby]), Err(StaleClient)));
    let (shared, _poller) = bench.ports.remove(0).share();
    assert_eq!((shared.members(lobby), shared.rooms_of(ben)), (Ok(vec![cleo, ben]), Ok(vec![lobby])));
    shared.send_to_room(lobby, b"shared", 0).unwrap();
    bench.base.cycle();
    assert_eq!(texts(&mut bench.ports[0], 10, true), [(2, "shared".to_owned())]);
}
