//! Lanes: the eighteen rules, and the accounting (I4) at the end of each test. The host is the library's own in Rust, which
//! does what the Go package does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::config::Config;
use corelane::error::{ClientError, ConnectError, Failed, SubmitError};
use corelane::metrics::Accounting;
use corelane::router::{
    Action, Builder, Event, LaneEvent, LaneHost, LaneKind, LaneSubmit, Port, ProtocolRules, Router, Worker,
};
use std::time::{Duration, Instant};

mod support;
use support::PATIENCE;

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;
const HELLO: &[u8] = br#"{"type":"hello","to":"ann"}"#;

/// A configuration. Nothing expires because the machine is slow, except what is held.
fn configured(text: &str) -> Config {
    let mut config: Config = text.replace(',', "\n").parse().unwrap();
    config.limits.max_queue_wait = Duration::from_secs(600);
    config
}

/// A router whose workers the test drives.
struct World {
    router: Router,
    workers: Vec<Worker>,
}

impl World {
    fn new(config: &str) -> Self {
        let config = configured(config);
        let rules = ProtocolRules::generic().message_type("later", Action::Relay { hold: true });
        let (router, workers) = Builder::new(config).protocol(rules).build().unwrap();
        Self { router, workers }
    }

    /// Runs the workers until they have nothing to do.
    fn run(&mut self) {
        for _ in 0..1000 {
            let now = corelane::clock::Clock::new().now();
            let work: usize = self.workers.iter_mut().map(|worker| worker.cycle(now)).sum();
            if work == 0 {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    /// Publishes, runs the workers, and polls until nothing comes.
    fn settle(&mut self, host: &mut LaneHost) -> Vec<LaneEvent> {
        let mut events = Vec::new();
        loop {
            host.publish();
            self.run();
            let more = host.poll(64);
            if more.is_empty() {
                self.run();
                return events;
            }
            events.extend(more);
        }
    }

    fn accounting(&self) -> Accounting {
        self.router.accounting()
    }

    /// Checks that every message and delivery is accounted for: what the test has pushed and knows, and the sums.
    #[track_caller]
    fn check(&self, submitted: u64, in_flight: u64) -> Accounting {
        let all = self.accounting();
        assert_eq!(all.submitted, submitted, "{all:?}");
        assert_eq!(all.accepted, all.submitted - all.refused, "{all:?}");
        assert_eq!(all.accepted, all.ok + all.failed + all.expired + all.taken_over + in_flight, "{all:?}");
        assert_eq!(all.deliveries, all.consumed + all.undeliverable + all.queued, "{all:?}");
        all
    }
}

fn kinds(events: &[LaneEvent]) -> Vec<(LaneKind, ClientId)> {
    events.iter().map(|event| (event.kind, event.client)).collect()
}

fn number(correlation: u64) -> LaneSubmit {
    LaneSubmit { correlation, ..LaneSubmit::default() }
}

fn refused(reason: SubmitError, count: u64) -> LaneKind {
    LaneKind::Refused { reason, count }
}

#[test]
fn connect_submit_deliver_acknowledge_disconnect() {
    for workers in ["workers=1", "workers=2"] {
        let mut world = World::new(workers);
        let mut host = world.router.lane_host().unwrap();
        let ann = host.connect("ann", "generic").unwrap();
        let ben = host.connect("ben", "generic").unwrap();
        host.submit(ann, OFFER, number(7)).unwrap();
        let events = world.settle(&mut host);
        assert_eq!(kinds(&events), [(LaneKind::Message, ben)]);
        assert_eq!((events[0].sender, events[0].correlation), (ann.0, 7));
        assert_eq!(events[0].payload, br#"{"from":"ann","type":"offer","to":"ben"}"#);
        host.acknowledge(ben, 1, events[0].payload.len() as u32);
        assert!(world.settle(&mut host).is_empty());
        let all = world.check(1, 0);
        assert_eq!((all.ok, all.consumed, all.acknowledged, all.queued), (1, 1, 1, 0));
        host.disconnect(ann).unwrap();
        host.disconnect(ben).unwrap();
        let mut closed = kinds(&world.settle(&mut host));
        closed.sort_by_key(|one| one.1.0);
        assert_eq!(closed, [(LaneKind::Closed, ann), (LaneKind::Closed, ben)]);
        let all = world.check(1, 0);
        assert_eq!((all.deliveries, all.consumed, all.unacknowledged), (3, 3, 0));
        drop(host);
        world.run();
        world.check(1, 0);
        assert!(world.router.stats().messages.write.count > 0);
    }
}

#[test]
fn a_lane_and_a_port_exchange_messages() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let mut port = world.router.port().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let ben = port.connect("ben", "generic", "", 1).unwrap();
    host.submit(ann, OFFER, number(1)).unwrap();
    port.submit(ben, HELLO, 2).unwrap();
    port.publish();
    let events = world.settle(&mut host);
    assert_eq!(kinds(&events), [(LaneKind::Message, ann)]);
    let got = poll(&mut port);
    assert_eq!(got, [(ben, 1)]);
    let all = world.check(2, 0);
    assert_eq!((all.ok, all.consumed, all.queued), (2, 2, 0));
    drop((host, port));
    world.run();
    world.check(2, 0);
}

fn poll(port: &mut Port) -> Vec<(ClientId, u64)> {
    let mut got = Vec::new();
    port.poll_each(100, |event| {
        if let Event::Message(message) = event {
            got.push((message.client, message.correlation));
        }
    })
    .unwrap();
    got
}

/// A router with its lane and two clients, on a clock that the test moves.
struct Lane {
    world: World,
    host: LaneHost,
    ann: ClientId,
    ben: ClientId,
}

impl Lane {
    fn new(config: &str) -> Self {
        let world = World::new(config);
        let mut host = world.router.lane_host().unwrap();
        let ann = host.connect("ann", "generic").unwrap();
        let ben = host.connect("ben", "generic").unwrap();
        Self { world, host, ann, ben }
    }

    fn settle(&mut self) -> Vec<LaneEvent> {
        self.world.settle(&mut self.host)
    }

    /// Releases the lane and checks the accounting.
    #[track_caller]
    fn end(self, submitted: u64) -> Accounting {
        let Self { mut world, host, .. } = self;
        drop(host);
        world.run();
        let all = world.check(submitted, 0);
        assert_eq!(all.queued, 0, "{all:?}");
        all
    }
}

/// A message as it is in a record: flags, client, body.
fn message_record(client: ClientId, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 48];
    body[..8].copy_from_slice(&client.0.to_ne_bytes());
    body[32..36].copy_from_slice(&u32::MAX.to_ne_bytes());
    body.extend_from_slice(payload);
    body
}

fn acknowledgement(client: ClientId, messages: u32, bytes: u32) -> Vec<u8> {
    let mut body = vec![0; 8 + 24];
    body[..4].copy_from_slice(&1u32.to_ne_bytes());
    body[8..16].copy_from_slice(&client.0.to_ne_bytes());
    body[16..20].copy_from_slice(&messages.to_ne_bytes());
    body[20..24].copy_from_slice(&bytes.to_ne_bytes());
    body
}

const MESSAGE: u16 = 1;
const DISCONNECT: u16 = 2;
const ACKNOWLEDGE: u16 = 6;

/// Two names whose clients are on different workers.
fn on_two_workers(host: &mut LaneHost) -> (ClientId, ClientId) {
    let first = host.connect("first", "generic").unwrap();
    for number in 0.. {
        let other = host.connect(&format!("other{number}"), "generic").unwrap();
        if host.worker(other) != host.worker(first) {
            return (first, other);
        }
    }
    unreachable!()
}

/// Addresses a message to a client, whatever its name.
fn to(client: ClientId, correlation: u64) -> LaneSubmit {
    LaneSubmit { to: Some(client), correlation, ..LaneSubmit::default() }
}

#[test]
fn rule_1_nobody_finds_a_reserved_client() {
    let mut world = World::new("workers=1");
    let mut host = world.router.lane_host().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let ben = host.reserve("ben", "generic").unwrap();
    let later = br#"{"type":"later","to":"ben"}"#;
    host.submit(ann, later, number(1)).unwrap(); // Held for the name.
    host.submit(ann, b"x", to(ben, 2)).unwrap(); // By its handle, as a forger would.
    host.submit(ben, OFFER, number(3)).unwrap();
    assert!(world.settle(&mut host).is_empty());
    let all = world.check(3, 1);
    assert_eq!((all.held, all.failures.get("recipient_closed")), (1, 1));
    assert_eq!(all.refusals.get("stale_client"), 1, "nobody submits for it either");
    host.enter(ben).unwrap();
    let got = kinds(&world.settle(&mut host));
    assert_eq!(got, [(LaneKind::Message, ben)]);

    // A name that is taken meanwhile gives the reservation back, and a second enter finds none.
    let eve = host.reserve("eve", "generic").unwrap();
    let other = host.connect("eve", "generic").unwrap();
    assert_eq!(host.enter(eve), Err(ConnectError::NameTaken(other)));
    assert_eq!(host.enter(eve), Err(ConnectError::Closed));
    assert!(host.reserve("eve", "generic").is_err());
    let gone = host.reserve("gone", "generic").unwrap();
    assert!(host.cancel(gone) && !host.cancel(gone));
    drop(host);
    world.run();
    world.check(3, 0);
}

/// A worker that ends while a client is between the two steps: the second step fails, and no end is handed out.
#[test]
fn rule_1_a_reserved_client_does_not_end_with_its_worker() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let (first, _) = on_two_workers(&mut host);
    let lost = host.worker(first).unwrap();
    let mut reserved = None;
    for name in 0..100 {
        let client = host.reserve(&format!("reserved {name}"), "generic").unwrap();
        if host.worker(client) == Some(lost) {
            reserved = Some(client);
            break;
        }
        assert!(host.cancel(client));
    }
    let reserved = reserved.unwrap();
    drop(world.workers.remove(lost));
    let got = kinds(&world.settle(&mut host));
    assert!(!got.contains(&(LaneKind::Closed, reserved)), "{got:?}");
    assert_eq!(host.enter(reserved), Err(ConnectError::Closed));
    let got = kinds(&world.settle(&mut host));
    assert!(!host.clients().contains(&reserved) && !host.clients().contains(&first), "{got:?}");
    drop(host);
    world.run();
    world.check(0, 0);
}

#[test]
fn rule_2_an_acknowledgement_changes_its_own_client_only() {
    let mut lane = Lane::new("workers=1,max_clients=2,credit_messages=2,credit_policy=refuse");
    let (ann, ben) = (lane.ann, lane.ben);
    for correlation in [1, 2, 3] {
        lane.host.submit(ann, OFFER, number(correlation)).unwrap();
    }
    let notice = (LaneKind::Undelivered(Failed::CreditExhausted as u16), ann);
    let got = kinds(&lane.settle());
    assert_eq!(got, [(LaneKind::Message, ben), (LaneKind::Message, ben), notice]);
    // More than there is gives back what there is.
    lane.host.push_raw(0, ACKNOWLEDGE, 0, &acknowledgement(ben, u32::MAX, u32::MAX)).unwrap();
    for correlation in [4, 5, 6] {
        lane.host.submit(ann, OFFER, number(correlation)).unwrap();
    }
    assert_eq!(lane.settle().len(), 3, "two messages and a notice");
    assert_eq!(lane.world.check(6, 0).acknowledged, 2);
    // The slot's next client: a late acknowledgement gives it nothing.
    lane.host.disconnect(ben).unwrap();
    assert_eq!(kinds(&lane.settle()), [(LaneKind::Closed, ben)]);
    let next = lane.host.connect("ben", "generic").unwrap();
    assert_eq!(next.0 as u32, ben.0 as u32);
    for correlation in [7, 8] {
        lane.host.submit(ann, OFFER, number(correlation)).unwrap();
    }
    lane.host.push_raw(0, ACKNOWLEDGE, 0, &acknowledgement(ben, 2, 100)).unwrap();
    lane.host.submit(ann, OFFER, number(9)).unwrap();
    assert_eq!(kinds(&lane.settle()), [(LaneKind::Message, next), (LaneKind::Message, next), notice]);
    let all = lane.end(9);
    assert_eq!((all.acknowledged, all.unacknowledged), (2, 4));
}

#[test]
fn rule_2_another_worker_takes_no_acknowledgement() {
    let mut world = World::new("workers=2,credit_messages=1,credit_policy=refuse");
    let mut host = world.router.lane_host().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let wrong = host.worker(first).unwrap();
    host.submit(first, b"x", to(other, 1)).unwrap();
    assert_eq!(world.settle(&mut host).len(), 1);
    host.push_raw(wrong, ACKNOWLEDGE, 0, &acknowledgement(other, 1, 1)).unwrap();
    world.settle(&mut host);
    host.submit(first, b"x", to(other, 2)).unwrap();
    let got = world.settle(&mut host);
    assert_eq!(got[0].kind, LaneKind::Undelivered(Failed::CreditExhausted as u16));
    // The worker that has delivered is not the one that takes the acknowledgement.
    host.acknowledge(other, 1, 1);
    host.submit(first, b"x", to(other, 3)).unwrap();
    let mut got = world.settle(&mut host);
    host.submit(first, b"x", to(other, 4)).unwrap();
    got.extend(world.settle(&mut host));
    assert!(got.iter().any(|event| event.kind == LaneKind::Message));
    drop(host);
    world.run();
    assert_eq!(world.check(4, 0).acknowledged, 1);
}

#[test]
fn rule_3_a_slot_is_free_when_the_host_has_read_the_end() {
    let mut lane = Lane::new("workers=1,max_clients=2");
    let (ann, ben) = (lane.ann, lane.ben);
    lane.host.submit(ann, OFFER, number(1)).unwrap();
    assert_eq!(lane.settle().len(), 1); // Not acknowledged.
    lane.host.disconnect(ben).unwrap();
    lane.world.run();
    // CLIENT_CLOSED is in the ring, and not read.
    assert_eq!(lane.host.connect("eve", "generic"), Err(ConnectError::TooManyClients(2)));
    assert_eq!(kinds(&lane.host.poll(10)), [(LaneKind::Closed, ben)]);
    assert_eq!(lane.host.connect("eve", "generic"), Err(ConnectError::TooManyClients(2)));
    lane.world.run(); // The worker looks at the head.
    let eve = lane.host.connect("eve", "generic").unwrap();
    assert_eq!((eve.0 as u32, eve == ben), (ben.0 as u32, false));
    assert_eq!(lane.world.check(1, 0).unacknowledged, 1);
    lane.end(1);
}

#[test]
fn rule_3_a_held_message_keeps_its_senders_slot() {
    let mut lane = Lane::new("workers=1,max_clients=2");
    lane.host.submit(lane.ann, br#"{"type":"later","to":"zoe"}"#, number(1)).unwrap();
    lane.settle();
    lane.host.disconnect(lane.ann).unwrap();
    assert_eq!(kinds(&lane.settle()), [(LaneKind::Closed, lane.ann)]);
    assert_eq!(lane.host.connect("eve", "generic"), Err(ConnectError::TooManyClients(2)));
    lane.world.router.request_stop();
    lane.settle();
    lane.end(1);
}

#[test]
fn rules_4_and_5_what_comes_too_late_is_discarded_and_counted() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let (from, home) = (host.worker(first).unwrap(), host.worker(other).unwrap());
    host.submit(first, b"late", to(other, 1)).unwrap();
    host.publish();
    world.run(); // In the ring of the sender's worker, unread.
    host.disconnect(other).unwrap();
    world.run();
    assert_eq!(kinds(&host.poll_one(home, 10)), [(LaneKind::Closed, other)]);
    world.run();
    // The slot may be another's by now; the delivery names a client that the table does not have.
    let next = host.connect("next", "generic").unwrap();
    assert!(host.poll_one(from, 10).is_empty());
    world.settle(&mut host);
    let all = world.check(1, 0);
    assert_eq!((all.consumed, all.undeliverable, all.queued, all.unacknowledged), (2, 0, 0, 1));
    let stats = world.router.stats();
    assert_eq!(stats.ports[0].discarded, 1);
    assert_eq!((stats.ports[0].consumed, stats.ports[0].submitted, stats.ports[0].unacknowledged), (2, 1, 1));
    host.disconnect(next).unwrap();
    drop(host);
    world.run();
    world.check(1, 0);
}

#[test]
fn rule_6_stale_forged_and_misdirected_messages_are_refused() {
    let mut world = World::new("workers=2,max_ports=2,max_clients=10");
    let mut host = world.router.lane_host().unwrap();
    let mut port = world.router.port().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let foreign = port.connect("foreign", "generic", "", 1).unwrap();
    let (home, wrong) = (host.worker(first).unwrap(), host.worker(other).unwrap());
    let payload = r#"{"type":"offer","to":"foreign"}"#;
    for (worker, client) in [(wrong, first), (home, foreign), (home, ClientId(first.0 + (1 << 32)))] {
        host.push_raw(worker, MESSAGE, 0, &message_record(client, payload.as_bytes())).unwrap();
    }
    assert!(world.settle(&mut host).is_empty());
    let all = world.check(3, 0);
    assert_eq!((all.refusals.get("wrong_port"), all.refusals.get("stale_client")), (2, 1));
    // Behind the disconnect: not taken. Before it: taken.
    host.submit(first, payload.as_bytes(), number(1)).unwrap();
    host.disconnect(first).unwrap();
    host.push_raw(home, MESSAGE, 0, &message_record(first, payload.as_bytes())).unwrap();
    assert_eq!(kinds(&world.settle(&mut host)), [(LaneKind::Closed, first)]);
    assert_eq!(poll(&mut port), [(foreign, 1)]);
    let all = world.check(5, 0);
    assert_eq!((all.ok, all.refusals.get("stale_client")), (1, 2));
    // The next lane gets the same number. The first one's clients are nothing there, and their slots are free.
    drop(host);
    world.run();
    let mut host = world.router.lane_host().unwrap();
    for worker in [home, wrong] {
        host.push_raw(worker, MESSAGE, 0, &message_record(other, payload.as_bytes())).unwrap();
        host.push_raw(worker, DISCONNECT, 0, &other.0.to_ne_bytes()).unwrap();
    }
    assert!(world.settle(&mut host).is_empty());
    assert_eq!(world.check(7, 0).refusals.get("stale_client"), 4);
    drop((host, port));
    world.run();
    world.check(7, 0);
}

#[test]
fn rule_7_a_disconnect_is_a_call_and_then_a_record() {
    let mut lane = Lane::new("workers=1,hold_ms=1000");
    let (ann, ben) = (lane.ann, lane.ben);
    let room = lane.host.join(ben, "lobby").unwrap();
    // The record alone does nothing.
    lane.host.push_raw(0, DISCONNECT, 0, &ben.0.to_ne_bytes()).unwrap();
    assert!(lane.settle().is_empty());
    // The call alone frees the name and the rooms, and ends the deliveries, whatever the worker does.
    lane.host.submit(ben, HELLO, number(1)).unwrap();
    lane.host.disconnect(ben).unwrap();
    assert_eq!(lane.host.disconnect(ben), Err(ClientError::StaleClient));
    assert!(lane.host.join(ben, "lobby").is_err() && lane.host.leave(ben, room).is_err());
    let again = lane.host.connect("ben", "generic").unwrap();
    lane.host.submit(ann, OFFER, number(2)).unwrap();
    let got = kinds(&lane.settle());
    let expected = [(LaneKind::Message, ann), (LaneKind::Closed, ben), (LaneKind::Message, again)];
    assert_eq!(got, expected, "what it had submitted is handled");
    lane.end(2);
}

#[test]
fn rules_8_and_9_what_a_stop_leaves_is_refused_and_had_no_permit() {
    let mut lane = Lane::new("workers=1,max_concurrent_messages=4");
    for correlation in [1, 2, 3] {
        lane.host.submit(lane.ann, OFFER, number(correlation)).unwrap();
    }
    lane.host.publish();
    lane.host.submit(lane.ann, OFFER, number(4)).unwrap(); // Not published before the stop.
    lane.host.send(lane.ben, b"x", 5).unwrap();
    lane.world.router.request_stop();
    lane.world.run();
    assert_eq!(lane.world.check(3, 0).ok, 3, "what was published is handled");
    assert_eq!(lane.host.submit(lane.ann, OFFER, number(6)), Err(SubmitError::Closed));
    let closed = [(LaneKind::Closed, lane.ann), (LaneKind::Closed, lane.ben)];
    let got = kinds(&lane.host.poll(10));
    assert_eq!(got[..3], [(LaneKind::Message, lane.ben); 3]);
    assert_eq!(got[3..], closed);
    assert!(lane.host.is_over());
    let router = lane.world.router.reader();
    let all = lane.end(5);
    assert_eq!((all.ok, all.refusals.get("closed"), all.unacknowledged), (3, 2, 3));
    assert_eq!(router.stats().placement.permits_available, 4);
}

#[test]
fn rule_8_a_forged_seal_changes_nothing() {
    let mut lane = Lane::new("workers=1");
    lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
    lane.host.publish();
    lane.host.submit(lane.ann, OFFER, number(2)).unwrap();
    lane.world.router.request_stop();
    lane.world.run();
    // SAFETY: the word is in the ring's header, which lives as long as the lane.
    unsafe { lane.host.start(0, false).add(400).cast::<u64>().write(0) };
    let all = lane.end(2);
    assert_eq!((all.ok, all.refused), (1, 1));
}

#[test]
fn rule_10_a_release_handles_what_was_published() {
    let mut lane = Lane::new("workers=1");
    for correlation in [1, 2, 3] {
        lane.host.submit(lane.ann, OFFER, number(correlation)).unwrap();
    }
    lane.host.disconnect(lane.ben).unwrap();
    let all = lane.end(3);
    assert_eq!((all.refused, all.consumed), (0, 0));
    assert_eq!(all.undeliverable, all.deliveries);
}

#[test]
fn rule_10_a_release_with_unread_deliveries_and_a_full_ring() {
    let mut lane = Lane::new("workers=1,ring_bytes=4096,backlog_bytes=4096,credit_messages=65535");
    let mut submitted = 0;
    for _ in 0..40 {
        while lane.host.submit(lane.ann, OFFER, number(submitted)).is_ok() {
            submitted += 1;
        }
        lane.host.publish();
        lane.world.run();
    }
    let read = lane.host.poll(5).len() as u64;
    assert_eq!(read, 5);
    let all = lane.end(submitted);
    assert_eq!(all.consumed, 5);
    assert_eq!(all.undeliverable, all.deliveries - 5);
    assert!(all.undelivered.get("egress_full") > 0 && all.undelivered.get("port_gone") > 0);
}

/// As the test before, with notices that find no room: they stop the worker at each record, not for good.
#[test]
fn rule_10_a_release_with_notices_that_wait_handles_what_was_published() {
    let config = "workers=1,ring_bytes=4096,backlog_bytes=4096,credit_messages=1,credit_policy=refuse";
    let mut lane = Lane::new(config);
    let mut submitted = 0;
    for _ in 0..40 {
        while lane.host.send(lane.ben, b"x", submitted).is_ok() {
            submitted += 1;
        }
        lane.host.publish();
        lane.world.run();
    }
    assert!(submitted > 128, "notices fill the ring and the backlog");
    let all = lane.end(submitted);
    assert_eq!((all.refused, all.ok), (0, 1), "{all:?}");
}

#[test]
fn rule_11_forged_kinds_and_flags_make_the_ring_corrupt() {
    let short = vec![0; 8];
    let mut entries = acknowledgement(ClientId(1 << 32), 1, 1);
    entries[0] = 2; // More than there are.
    let cases: &[(u16, u16, &[u8])] = &[
        (0, 0, &short),
        (3, 0, &[0; 48]),
        (8, 0, &[0; 48]),
        (MESSAGE, 1, &[0; 48]),
        (MESSAGE, 16, &[0; 48]),
        (MESSAGE, 4, &[0; 56]),
        (4, 8, &[0; 48]),
        (5, 8, &[0; 48]),
        (MESSAGE, 0, &[0; 40]),
        (DISCONNECT, 0, &[]),
        (DISCONNECT, 2, &short),
        (ACKNOWLEDGE, 0, &[0; 4]),
        (ACKNOWLEDGE, 1, &[0; 8]),
        (ACKNOWLEDGE, 0, &entries),
        (7, 0, &[0; 4]),
    ];
    for (kind, flags, body) in cases {
        let mut lane = Lane::new("workers=1");
        lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
        lane.host.push_raw(0, *kind, *flags, body).unwrap();
        lane.host.submit(lane.ann, OFFER, number(2)).unwrap();
        lane.host.publish();
        lane.world.run();
        let got = kinds(&lane.host.poll(10));
        assert_eq!(got[0], (LaneKind::Message, lane.ben), "{kind} {flags}");
        let corrupt = corelane::error::CloseReason::Corrupt as u16;
        assert_eq!(got[1..], [(LaneKind::Close(corrupt), lane.ann), (LaneKind::Close(corrupt), lane.ben)]);
        assert_eq!(lane.host.submit(lane.ann, OFFER, number(3)), Err(SubmitError::Closed));
        assert_eq!(lane.world.router.stats().workers[0].corrupt_rings, 1);
        lane.end(1);
    }
}

#[test]
fn rule_11_forged_words_of_a_header_lose_no_count() {
    // (offset, value): tail, pushed, popped, need_space, closed, corrupt, seal of the ingress ring.
    for (at, value) in
        [(128u64, 1u64 << 40), (128, 65), (136, u64::MAX), (384, 1), (388, 1), (392, 1), (400, 3)]
    {
        let mut lane = Lane::new("workers=1,max_concurrent_messages=8");
        lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
        lane.settle();
        let start = lane.host.start(0, false);
        // SAFETY: inside the ring's header.
        let word = unsafe { start.add(at as usize) };
        if (384..400).contains(&at) {
            // SAFETY: the word lives as long as the lane; nobody else runs.
            unsafe { word.cast::<u32>().write(value as u32) };
        } else {
            // SAFETY: as above.
            unsafe { word.cast::<u64>().write(value) };
        }
        lane.world.run();
        lane.host.poll(10);
        let router = lane.world.router.reader();
        lane.end(1);
        assert_eq!(router.stats().placement.permits_available, 8);
    }
}

#[test]
fn rule_11_a_forged_head_loses_no_delivery_from_the_count() {
    for head in [1u64 << 40, 65, 128, 192, u64::MAX] {
        let mut lane = Lane::new("workers=1");
        for correlation in 0..6 {
            lane.host.submit(lane.ann, OFFER, number(correlation)).unwrap();
        }
        lane.host.publish();
        lane.world.run();
        // SAFETY: as above.
        unsafe { lane.host.start(0, true).add(256).cast::<u64>().write(head) };
        let now = lane.world.check(6, 0);
        assert!(now.consumed <= 6);
        for correlation in 6..2000 {
            let _ = lane.host.submit(lane.ann, OFFER, number(correlation));
            if correlation % 100 == 0 {
                lane.host.publish();
                lane.world.run();
                lane.world.check(lane.world.accounting().submitted, 0);
            }
        }
        let Lane { mut world, host, .. } = lane;
        drop(host);
        world.run();
        let all = world.check(world.accounting().submitted, 0);
        assert_eq!(all.queued, 0, "{head}: {all:?}");
    }
}

#[test]
fn rule_12_a_payloads_number_belongs_to_one_lane_and_worker() {
    let mut world = World::new("workers=2,max_message=100000");
    let mut host = world.router.lane_host().unwrap();
    let other_lane = world.router.lane_host().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let (home, wrong) = (host.worker(first).unwrap(), host.worker(other).unwrap());
    let bytes = br#"{"type":"offer","to":"other0"}"#;
    let numbers = [host.put(wrong, bytes).unwrap(), other_lane.put(home, bytes).unwrap(), 0, u64::MAX];
    for forged in numbers {
        let mut payload = forged.to_ne_bytes().to_vec();
        payload.extend_from_slice(&30u64.to_ne_bytes());
        host.push_raw(home, MESSAGE, 4, &message_record(first, &payload)).unwrap();
    }
    assert!(world.settle(&mut host).is_empty());
    assert_eq!(world.check(4, 0).failures.get("bad_record"), 4);
    assert_eq!(world.router.stats().payloads_waiting, 2, "nobody has taken them");
    assert!(host.take(home, numbers[0]).is_none() && host.take(wrong, numbers[1]).is_none());
    assert_eq!(host.take(wrong, numbers[0]).as_deref(), Some(&bytes[..]));
    drop(other_lane);
    world.run();
    // Put after the worker has left: it is taken back.
    world.router.request_stop();
    world.run();
    assert_eq!(host.put(home, bytes), Err(SubmitError::Closed));
    assert_eq!(world.router.stats().payloads_waiting, 0);
    drop(host);
    world.run();
    world.check(4, 0);
}

#[test]
fn rule_13_a_full_ring_takes_acknowledgements_and_disconnects() {
    let mut lane = Lane::new("workers=1,ring_bytes=4096,credit_messages=1,credit_policy=refuse");
    lane.host.submit(lane.ann, OFFER, number(0)).unwrap();
    assert_eq!(lane.settle().len(), 1);
    let mut submitted = 1;
    while lane.host.submit(lane.ben, HELLO, number(submitted)).is_ok() {
        submitted += 1;
    }
    assert_eq!(lane.host.submit(lane.ann, HELLO, number(9)), Err(SubmitError::RingFull));
    lane.host.acknowledge(lane.ben, 1, 40);
    lane.host.disconnect(lane.ann).unwrap();
    lane.host.publish();
    lane.world.run();
    assert_eq!(lane.world.accounting().acknowledged, 1);
    let got = lane.settle();
    assert!(got.iter().any(|event| (event.kind, event.client) == (LaneKind::Closed, lane.ann)));
    lane.end(submitted);
}

#[test]
fn rule_14_a_flood_is_told_once_and_then_in_one_number() {
    let mut lane = Lane::new("workers=1,client_rate=1,client_burst=2");
    // All at one time: a pause of the test would be worth further messages.
    let stamp = Some(corelane::clock::Clock::new().now());
    for correlation in 0..100 {
        lane.host.submit(lane.ann, OFFER, LaneSubmit { stamp, ..number(correlation) }).unwrap();
    }
    lane.host.publish();
    lane.world.run();
    let got = lane.host.poll(1000);
    let told: Vec<_> = got.iter().filter(|event| event.client == lane.ann).collect();
    assert_eq!((got.len(), told.len()), (3, 1), "two messages, and one notice unread");
    assert_eq!((told[0].kind, told[0].correlation), (refused(SubmitError::RateLimited, 1), 2));
    lane.world.run();
    let got = lane.host.poll(1000);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].kind, got[0].correlation), (refused(SubmitError::RateLimited, 97), 99));
    assert!(lane.settle().is_empty(), "nothing is untold");
    let all = lane.end(100);
    assert_eq!((all.ok, all.refusals.get("rate_limited")), (2, 98));
}

#[test]
fn rule_14_a_refusal_without_room_is_told_later() {
    let mut lane = Lane::new(
        "workers=1,ring_bytes=4096,backlog_bytes=4096,client_rate=1000000,max_in_flight=1,credit_messages=65535",
    );
    let eve = lane.host.connect("eve", "generic").unwrap();
    // Fill the way out.
    let mut pushed = 0;
    for _ in 0..20 {
        for _ in 0..20 {
            lane.host.submit(lane.ben, b"x", to(lane.ann, 0)).unwrap();
            pushed += 1;
        }
        lane.host.publish();
        lane.world.run();
    }
    assert!(lane.world.accounting().undelivered.get("egress_full") > 0);
    // One held message each, so that the second is refused.
    for client in [lane.ann, eve] {
        for correlation in [1000, 1001, 1002] {
            lane.host.submit(client, br#"{"type":"later","to":"zoe"}"#, number(correlation)).unwrap();
            pushed += 1;
        }
    }
    lane.host.publish();
    lane.world.run();
    assert_eq!(lane.world.accounting().refusals.get("in_flight_limit"), 4);
    let mut told = Vec::new();
    for event in lane.settle() {
        if let LaneKind::Refused { reason, count } = event.kind {
            told.push((event.client, reason, count, event.correlation));
        }
    }
    let reason = SubmitError::InFlightLimit;
    assert_eq!(told, [(lane.ann, reason, 2, 1002), (eve, reason, 2, 1002)]);
    lane.world.router.request_stop();
    lane.settle();
    lane.end(pushed);
}

#[test]
fn rule_15_the_rate_ignores_stamps_of_the_future() {
    let mut lane = Lane::new("workers=1,client_rate=1,client_burst=1");
    for _ in 0..3 {
        let options = LaneSubmit { stamp: Some(Stamp(u64::MAX / 2)), ..LaneSubmit::default() };
        lane.host.submit(lane.ann, OFFER, options).unwrap();
    }
    // A stamp of the past gives nothing back either.
    let options = LaneSubmit { stamp: Some(Stamp(1)), ..LaneSubmit::default() };
    lane.host.submit(lane.ann, OFFER, options).unwrap();
    lane.settle();
    let all = lane.end(4);
    assert_eq!((all.ok + all.expired, all.refusals.get("rate_limited")), (1, 3));
}

#[test]
fn rule_15_a_drain_refuses_from_a_position_on() {
    let mut lane = Lane::new("workers=1");
    lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
    lane.host.publish();
    let none = std::time::Duration::ZERO;
    assert!(lane.world.router.drain(none).is_err(), "a message waits");
    assert_eq!(lane.host.connect("eve", "generic"), Err(ConnectError::Draining));
    lane.world.run(); // The worker sees the drain, and takes what was published before.
    lane.host.submit(lane.ann, OFFER, number(2)).unwrap();
    lane.host.publish();
    lane.world.run();
    assert!(lane.world.router.drain(none).is_err(), "a delivery is unread");
    let got = kinds(&lane.settle());
    assert_eq!(got, [(LaneKind::Message, lane.ben), (refused(SubmitError::Draining, 1), lane.ann)]);
    assert_eq!(lane.world.router.drain(none), Ok(()));
    lane.end(2);
}

/// A host that floods keeps its ring from ever being empty, and does not keep the router from draining.
#[test]
fn rule_15_a_drain_ends_under_a_flood() {
    let mut lane = Lane::new("workers=1,batch=2");
    let none = std::time::Duration::ZERO;
    let now = corelane::clock::Clock::new().now();
    lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
    lane.host.publish();
    assert!(lane.world.router.drain(none).is_err(), "a message waits");
    let (mut submitted, mut drained) = (1, false);
    for _ in 0..50 {
        for _ in 0..3 {
            lane.host.submit(lane.ann, OFFER, number(2)).unwrap();
            submitted += 1;
        }
        lane.host.publish();
        lane.world.workers[0].cycle(now);
        while !lane.host.poll(64).is_empty() {}
        drained |= lane.world.router.drain(none).is_ok();
    }
    assert!(drained);
    lane.settle();
    lane.end(submitted);
}

#[test]
fn rule_16_a_full_task_gate_holds_the_ring_and_loses_nothing() {
    let rules = ProtocolRules::new(ProtocolRules::generic().protocol().clone())
        .message_type("work", Action::Host { hold: false })
        .message_type("offer", Action::Relay { hold: false });
    let config: Config = "workers=1\nmax_tasks=1\nring_bytes=4096".parse().unwrap();
    let (router, workers) = Builder::new(config).protocol(rules).build().unwrap();
    let mut world = World { router, workers };
    let mut host = world.router.lane_host().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let ben = host.connect("ben", "generic").unwrap();
    host.submit(ann, OFFER, number(0)).unwrap();
    host.submit(ann, br#"{"type":"work","to":"ben"}"#, number(1)).unwrap();
    host.submit(ann, br#"{"type":"work","to":"ben"}"#, number(2)).unwrap();
    host.publish();
    let mut tasks = Vec::new();
    let now = Stamp(u64::MAX);
    world.workers[0].take(now, 4, |task| tasks.push(task.id()));
    assert_eq!((tasks.len(), host.poll(10).len()), (1, 1));
    host.acknowledge(ben, 1, 40);
    host.publish();
    while host.submit(ann, OFFER, number(3)).is_ok() {} // FULL at once, without a wait.
    host.publish();
    world.workers[0].cycle(now);
    assert_eq!(world.accounting().acknowledged, 0, "it waits behind the task");
    let done = std::time::Duration::from_nanos(1);
    while let Some(task) = tasks.pop() {
        world.workers[0].done(task, done, Ok(())).unwrap();
        world.workers[0].take(now, 4, |task| tasks.push(task.id()));
    }
    world.settle(&mut host);
    let all = world.accounting();
    assert_eq!((all.acknowledged, all.in_flight, all.failed), (1, 0, 0));
    drop(host);
    world.run();
    world.check(all.submitted, 0);
}

#[test]
fn rule_17_a_connect_touches_no_ring() {
    let mut lane = Lane::new("workers=2");
    for name in ["zoe", "eve", "joe"] {
        let text = format!(r#"{{"type":"later","to":"{name}"}}"#);
        lane.host.submit(lane.ann, text.as_bytes(), number(1)).unwrap();
    }
    assert!(lane.settle().is_empty());
    for name in ["zoe", "eve"] {
        let client = lane.host.connect(name, "generic").unwrap();
        let depths = lane.world.router.stats();
        assert!(depths.ports[0].workers.iter().all(|path| path.ingress_messages == 0));
        assert_eq!(kinds(&lane.settle()), [(LaneKind::Message, client)]);
    }
    assert_eq!(lane.world.accounting().held, 1);
    lane.world.router.request_stop();
    lane.settle();
    lane.end(3);
}

#[test]
fn a_lost_worker_fails_what_it_had_begun_and_the_others_go_on() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let lost = host.worker(first).unwrap();
    host.submit(first, b"x", to(other, 1)).unwrap();
    host.publish();
    world.run();
    host.submit(first, b"x", to(other, 2)).unwrap();
    host.submit(other, b"x", to(first, 3)).unwrap();
    host.publish();
    drop(world.workers.remove(lost)); // Not stopped: lost.
    world.run();
    let got = kinds(&world.settle(&mut host));
    // Its client is ended by the host; the delivery that it had written is read.
    assert!(got.contains(&(LaneKind::Message, other)) && got.contains(&(LaneKind::Closed, first)), "{got:?}");
    assert_eq!(host.submit(first, b"x", number(4)), Err(SubmitError::StaleClient));
    // A new client goes elsewhere.
    let next = host.connect("next", "generic").unwrap();
    assert_ne!(host.worker(next), Some(lost));
    host.submit(other, b"x", to(next, 5)).unwrap();
    assert!(kinds(&world.settle(&mut host)).contains(&(LaneKind::Message, next)));
    drop(host);
    world.run();
    let all = world.check(4, 0);
    assert_eq!(all.refusals.get("closed"), 1, "message 2 was never begun");
    // Another lane of the same number has no ring to it.
    let host = world.router.lane_host().unwrap();
    drop(host);
}

/// A port's client moves away from a lost worker once the lane has read what its messages had caused.
#[test]
fn a_ports_client_leaves_a_lost_worker_when_the_lane_has_read() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let mut port = world.router.port().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let ben = port.connect("ben", "generic", "", 1).unwrap();
    port.submit(ben, HELLO, 1).unwrap();
    port.publish();
    world.run();
    let taken = world.router.stats().workers.iter().position(|worker| worker.received == 1).unwrap();
    drop(world.workers.remove(taken));
    for correlation in [2, 3] {
        assert_eq!(port.submit(ben, HELLO, correlation), Err(SubmitError::Closed), "the order would change");
    }
    assert!(kinds(&host.poll(10)).contains(&(LaneKind::Message, ann)));
    assert_eq!(port.submit(ben, HELLO, 4), Err(SubmitError::Closed), "this one notices");
    port.submit(ben, HELLO, 5).unwrap();
    port.publish();
    let got = world.settle(&mut host);
    let placed = host.worker(ann).is_some();
    assert_eq!(got.iter().filter(|event| event.kind == LaneKind::Message).count(), usize::from(placed));
    drop((host, port));
    world.run();
    world.check(5, 0);
}

/// An egress ring with an impossible head: nothing is written there any more, whatever becomes of the head.
#[test]
fn a_broken_egress_ring_stays_broken() {
    let mut lane = Lane::new("workers=1");
    lane.host.submit(lane.ann, OFFER, number(1)).unwrap();
    lane.host.submit(lane.ben, HELLO, number(2)).unwrap();
    lane.host.disconnect(lane.ben).unwrap();
    lane.world.run();
    // SAFETY: the word is in the ring's header, which lives as long as the lane.
    let head = unsafe { lane.host.start(0, true).add(256).cast::<u64>() };
    // SAFETY: as above; nobody else runs.
    unsafe { head.write(1 << 30) };
    lane.world.run();
    // SAFETY: as above.
    unsafe { head.write(0) };
    let mut port = lane.world.router.port().unwrap();
    let eve = port.connect("eve", "generic", "", 1).unwrap();
    for correlation in 3..6 {
        port.submit(eve, HELLO, correlation).unwrap();
    }
    port.publish();
    lane.world.run();
    assert_eq!(lane.world.router.stats().workers[0].corrupt_rings, 1);
    let got = kinds(&lane.host.poll(100));
    assert!(got.iter().filter(|one| one.0 == LaneKind::Closed).count() >= 1, "{got:?}");
    assert!(lane.host.connect("joe", "generic").is_err());
    drop(port);
    lane.end(5);
}

/// A lane has no rings to local workers: what they handle fails at its clients, and is counted. The other way it arrives.
#[test]
fn a_local_workers_message_to_a_lane_fails() {
    let mut world = World::new("workers=2,local_workers=1");
    let mut host = world.router.lane_host().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let mut port = world.router.local_port().unwrap();
    let ben = port.connect("ben", "generic", "", 0).unwrap();
    port.submit(ben, HELLO, 1).unwrap();
    port.cycle().unwrap();
    let all = world.accounting();
    assert_eq!((all.submitted, all.failed), (1, 1), "{all:?}");
    assert_eq!(all.failures.get("port_gone"), 1, "{all:?}");
    host.submit(ann, OFFER, number(2)).unwrap();
    host.publish();
    world.run();
    assert_eq!(poll(&mut port), [(ben, 2)]);
    drop((host, port));
    world.run();
}

#[test]
fn limits_are_the_workers_business() {
    let mut lane = Lane::new("workers=1,max_in_flight=2,max_message=64");
    let held = br#"{"type":"later","to":"zoe"}"#;
    for correlation in [1, 2, 3] {
        lane.host.submit(lane.ann, held, number(correlation)).unwrap();
    }
    lane.host.submit(lane.ben, &[b'x'; 65], number(4)).unwrap();
    let got = lane.settle();
    let reasons: Vec<_> = got.iter().map(|event| (event.kind, event.client, event.correlation)).collect();
    let expected = [
        (refused(SubmitError::InFlightLimit, 1), lane.ann, 3),
        (refused(SubmitError::TooLarge, 1), lane.ben, 4),
    ];
    assert_eq!(reasons, expected);
    lane.world.router.request_stop();
    lane.settle();
    let all = lane.end(4);
    assert_eq!((all.failures.get("stopped"), all.refused), (2, 2));
}

#[test]
fn permits_are_taken_by_the_worker_one_at_a_time() {
    let mut lane = Lane::new("workers=1,max_concurrent_messages=2");
    let held = br#"{"type":"later","to":"zoe"}"#;
    for correlation in [1, 2, 3] {
        lane.host.submit(lane.ann, held, number(correlation)).unwrap();
    }
    lane.host.send(lane.ben, b"x", 4).unwrap();
    let got = lane.settle();
    let reason = 257 + SubmitError::ConcurrencyLimit as u16;
    let expected =
        [(refused(SubmitError::ConcurrencyLimit, 1), lane.ann), (LaneKind::SendFailed(reason), lane.ben)];
    assert_eq!(kinds(&got), expected);
    let zoe = lane.host.connect("zoe", "generic").unwrap();
    assert_eq!(kinds(&lane.settle()), [(LaneKind::Message, zoe); 2]);
    assert_eq!(lane.world.router.stats().placement.permits_available, 2);
    lane.end(4);
}

#[test]
fn large_payloads_travel_beside_the_rings() {
    let mut lane = Lane::new("workers=1,ring_bytes=4096,max_message=50000");
    let mut text = br#"{"type":"offer","to":"ben","x":""#.to_vec();
    text.resize(20_000, b'x');
    text.extend_from_slice(br#""}"#);
    lane.host.submit(lane.ann, &text, number(1)).unwrap();
    lane.host.send(lane.ann, &text, 2).unwrap();
    let got = lane.settle();
    assert_eq!(kinds(&got), [(LaneKind::Message, lane.ben), (LaneKind::Message, lane.ann)]);
    assert!(got[0].payload.ends_with(&text[10..]) && got[1].payload == text);
    assert_eq!(lane.world.router.stats().payloads_waiting, 0);
    // Refused, or never taken: nothing stays.
    lane.host.submit(lane.ann, &vec![b'x'; 50_001], number(3)).unwrap_err();
    lane.host.submit(lane.ann, &text, number(4)).unwrap();
    let reader = lane.world.router.reader();
    lane.end(3);
    assert_eq!((reader.stats().payloads_waiting, reader.stats().payload_bytes), (0, 0));
}

#[test]
fn rooms_and_sends_reach_lanes_and_ports() {
    let mut world = World::new("workers=2");
    let mut host = world.router.lane_host().unwrap();
    let mut port = world.router.port().unwrap();
    let (first, other) = on_two_workers(&mut host);
    let foreign = port.connect("foreign", "generic", "", 1).unwrap();
    let room = host.join(first, "lobby").unwrap();
    host.join(other, "lobby").unwrap();
    port.join(foreign, "lobby").unwrap();
    host.submit(first, br#"{"type":"hello","room":"lobby"}"#, number(1)).unwrap();
    host.send_to_room(room, b"all", 2).unwrap();
    host.send(foreign, b"one", 3).unwrap();
    let mut got = kinds(&world.settle(&mut host));
    got.sort_by_key(|one| one.1.0);
    assert_eq!(got.iter().filter(|one| one.1 == other).count(), 2);
    assert_eq!(got.iter().filter(|one| one.1 == first).count(), 1);
    let mut polled: Vec<_> = poll(&mut port).iter().map(|one| one.1).collect();
    polled.sort_unstable();
    assert_eq!(polled, [1, 2, 3]);
    // A room that is gone, and a client that is gone.
    host.leave(first, room).unwrap();
    host.leave(other, room).unwrap();
    port.leave(foreign, room).unwrap();
    host.send_to_room(room, b"all", 4).unwrap();
    let got = world.settle(&mut host);
    assert_eq!(got[0].kind, LaneKind::RoomSendFailed(Failed::UnknownRoom as u16));
    port.disconnect(foreign).unwrap();
    assert_eq!(host.send(foreign, b"one", 5), Err(SubmitError::StaleClient));
    drop((host, port));
    world.run();
    world.check(4, 0);
}

#[test]
fn a_lanes_clients_stay_in_every_balance() {
    for balance in ["hash", "least_loaded", "round_robin"] {
        let mut world = World::new(&format!("workers=3,balance={balance}"));
        let mut host = world.router.lane_host().unwrap();
        let clients: Vec<_> =
            (0..20).map(|one| host.connect(&format!("c{one}"), "generic").unwrap()).collect();
        let mut submitted = 0;
        for round in 0..10u64 {
            for (place, client) in clients.iter().enumerate() {
                let to = clients[(place + 1) % clients.len()];
                host.submit(*client, b"x", LaneSubmit { to: Some(to), correlation: round, ..number(0) })
                    .unwrap();
                submitted += 1;
            }
            world.router.set_active_workers(1 + round as usize % 3).unwrap();
        }
        let got = world.settle(&mut host);
        for client in &clients {
            let mine = got.iter().filter(|event| event.client == *client);
            assert_eq!(mine.map(|event| event.correlation).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        }
        drop(host);
        world.run();
        assert_eq!(world.check(submitted, 0).ok, submitted);
    }
}

#[test]
fn a_slow_reader_and_full_rings_lose_nothing_uncounted() {
    let mut lane = Lane::new("workers=1,ring_bytes=4096,backlog_bytes=4096,credit_messages=65535");
    let (mut submitted, mut got) = (0, 0u64);
    for round in 0..2000u64 {
        if lane.host.submit(lane.ann, OFFER, number(round)).is_ok() {
            submitted += 1;
        }
        lane.host.publish();
        lane.world.workers[0].cycle(Stamp(u64::MAX));
        if round % 7 == 0 {
            got += lane.host.poll(3).len() as u64;
            let all = lane.world.accounting();
            assert_eq!(all.consumed, got, "exact while the worker sleeps");
        }
    }
    got += lane.settle().len() as u64;
    assert_eq!(lane.world.check(submitted, 0).consumed, got);
    lane.end(submitted);
}

#[test]
fn a_closed_client_is_told_in_order_through_a_full_ring() {
    let mut lane = Lane::new("workers=1,ring_bytes=4096,backlog_bytes=4096,credit_messages=65535");
    let mut sent = 0;
    for _ in 0..100 {
        if lane.host.submit(lane.ann, OFFER, number(sent)).is_ok() {
            sent += 1;
        }
        lane.host.publish();
        lane.world.workers[0].cycle(Stamp(u64::MAX));
    }
    lane.host.disconnect(lane.ben).unwrap();
    let got = kinds(&lane.settle());
    assert_eq!(got.last(), Some(&(LaneKind::Closed, lane.ben)));
    assert_eq!(got.iter().filter(|one| one.0 == LaneKind::Closed).count(), 1);
    lane.end(sent);
}

#[test]
fn a_client_that_runs_out_of_credit_is_closed() {
    let mut lane = Lane::new("workers=1,credit_messages=2,credit_policy=disconnect");
    for correlation in 0..4 {
        lane.host.submit(lane.ann, OFFER, number(correlation)).unwrap();
    }
    let got = kinds(&lane.settle());
    let close = LaneKind::Close(corelane::error::CloseReason::CreditExhausted as u16);
    assert_eq!(got, [(LaneKind::Message, lane.ben), (LaneKind::Message, lane.ben), (close, lane.ben)]);
    lane.host.disconnect(lane.ben).unwrap();
    assert_eq!(kinds(&lane.settle()), [(LaneKind::Closed, lane.ben)]);
    lane.host.connect("ben", "generic").unwrap();
    lane.end(4);
}

#[test]
fn the_lane_of_a_router_that_cannot_have_one() {
    let router = Builder::new("workers=1\nenable_concurrent_routing=off".parse().unwrap())
        .base_route(|_| true)
        .build()
        .unwrap()
        .0;
    assert!(router.lane_host().unwrap_err().to_string().contains("enable_concurrent_routing"));
    let router = World::new("workers=1").router;
    router.request_stop();
    assert!(router.lane_host().is_err());
}

/// Threads, and workers that sleep: every wake comes. One slot, so that each client needs the one before it to be closed, which
/// its worker notices only if the release of CLIENT_CLOSED wakes it.
#[test]
fn a_sleeping_worker_is_woken_by_the_read_of_the_end() {
    let router = Builder::new(configured("workers=1,max_clients=1,idle=park")).start().unwrap();
    let mut host = router.lane_host().unwrap();
    let wait = PATIENCE;
    for round in 0..200 {
        let began = Instant::now();
        let client = loop {
            match host.connect("ann", "generic") {
                Ok(client) => break client,
                Err(ConnectError::TooManyClients(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            assert!(began.elapsed() < wait, "round {round}: nobody closes the client");
        };
        host.submit(client, HELLO, number(round)).unwrap();
        host.publish();
        let mut got = Vec::new();
        while got.is_empty() {
            host.wait(wait);
            got = host.poll(10);
        }
        assert_eq!(kinds(&got), [(LaneKind::Message, client)]);
        host.acknowledge(client, 1, 1);
        host.disconnect(client).unwrap();
        let mut got = host.poll(10);
        while got.is_empty() {
            host.wait(wait);
            got = host.poll(10);
        }
        assert_eq!(kinds(&got), [(LaneKind::Closed, client)]);
    }
    drop(host);
    drop(router);
}

/// A router with local workers only, and keepers.
fn local_router(config: &str) -> Router {
    let config = configured(config);
    let rules = ProtocolRules::generic().message_type("later", Action::Relay { hold: true });
    Builder::new(config).protocol(rules).start().unwrap()
}

/// The host runs the worker itself. Nobody is woken, and what the message causes is there when the cycle is over.
#[test]
fn a_host_runs_a_local_worker() {
    let router = local_router("workers=1,local_workers=1");
    let mut host = router.lane_host().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let ben = host.connect("ben", "generic").unwrap();
    let wakes = || router.stats().workers.iter().map(|worker| worker.wakes).sum::<u64>();
    let before = wakes();
    for correlation in 1..=1000 {
        assert!(host.arm());
        host.submit(ann, OFFER, number(correlation)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut events = Vec::new();
        while events.is_empty() && Instant::now() < deadline {
            host.run(0); // The keeper may have the worker for a moment.
            events = host.poll_one(0, 64);
        }
        assert_eq!(kinds(&events), [(LaneKind::Message, ben)]);
        host.acknowledge(ben, 1, events[0].payload.len() as u32);
    }
    // The keeper may have handled some, and has woken the lane for them.
    assert!(wakes() - before < 500, "{}", wakes() - before);
}

/// A held message that a host's cycle has brought expires in time, though the keeper slept before it came and nobody wakes it
/// later.
#[test]
fn the_keeper_learns_what_is_due() {
    let router = local_router("workers=1,local_workers=1,hold_ms=50");
    let mut host = router.lane_host().unwrap();
    let ann = host.connect("ann", "generic").unwrap();
    let (mut correlation, mut brought) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while brought < 5 {
        std::thread::sleep(Duration::from_millis(20)); // The keeper sleeps now, most likely.
        correlation += 1;
        host.submit(ann, br#"{"type":"later","to":"zoe"}"#, number(correlation)).unwrap();
        // A keeper that is late still has the worker. It brings the message then, which tells nothing.
        brought += u64::from(host.run(0));
        while router.accounting().expired + router.accounting().failed < correlation {
            assert!(Instant::now() < deadline, "{:?}", router.accounting());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Several hosts run the same workers at once, with the keepers between them: nothing is lost, and nothing waits for ever.
#[test]
fn hosts_share_local_workers() {
    let router = local_router("workers=2,local_workers=2");
    let sum: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let router = &router;
                scope.spawn(move || {
                    let mut host = router.lane_host().unwrap();
                    let names = [format!("a{thread}"), format!("b{thread}")];
                    let clients = names.each_ref().map(|name| host.connect(name, "generic").unwrap());
                    let text = format!(r#"{{"type":"offer","to":"{}"}}"#, names[1]);
                    let mut got = 0;
                    for round in 0..5000 {
                        host.submit(clients[0], text.as_bytes(), number(round)).unwrap();
                        let worker = host.worker(clients[0]).unwrap();
                        let deadline = Instant::now() + PATIENCE;
                        while got <= round {
                            assert!(Instant::now() < deadline, "message {round} does not arrive");
                            // Of the other one too: it takes the acknowledgements, and its keeper may come late.
                            if !host.run(worker) || !host.run(1 - worker) {
                                std::thread::yield_now();
                            }
                            for event in host.poll(64) {
                                assert_eq!((event.kind, event.correlation), (LaneKind::Message, got));
                                got += 1;
                                host.acknowledge(event.client, 1, event.payload.len() as u32);
                            }
                        }
                    }
                    got
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 20_000);
}
