//! Lanes: the eighteen rules, and the accounting (I4) at the end of each test. The host is the library's own in Rust, which
//! does what the Go package does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::config::Config;
use corelane::error::{ClientError, ConnectError, Failed, SubmitError};
use corelane::metrics::Accounting;
use corelane::router::{Builder, Event, LaneEvent, LaneHost, LaneKind, LaneSubmit, Port, Router, Worker};

const OFFER: &[u8] = br#"{"type":"offer","to":"ben"}"#;
const HELLO: &[u8] = br#"{"type":"hello","to":"ann"}"#;

/// A router whose workers the test drives.
struct World {
    router: Router,
    workers: Vec<Worker>,
}

impl World {
    fn new(config: &str) -> Self {
        let config: Config = config.parse().unwrap();
        let (router, workers) = Builder::new(config).build().unwrap();
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
