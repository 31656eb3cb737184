//! Runs a router with a lane and a port on one thread from a seed: random clients, messages, floods, forged records, full
//! rings, disconnects, reconnects, releases, lost workers, stops. After every step it checks conservation (I4), the order of
//! each sender's messages (I5), and a model of the lane's clients.
//!
//! `CORELANE_SIMULATOR_SEEDS`, `CORELANE_SIMULATOR_SEED` and `CORELANE_SIMULATOR_FIRST` are those of tests/simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::{Clock, ManualClock};
use corelane::error::{ConnectError, SubmitError};
use corelane::router::{
    Action, Builder, Event, LaneEvent, LaneHost, LaneKind, LaneSubmit, Port, ProtocolRules, Router, Worker,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

#[path = "support/random.rs"]
mod random;
use random::Random;

const DEFAULT_SEEDS: u64 = 2_000;
const STEPS: u64 = 300;
const NAMES: [&str; 6] = ["ann", "bob", "cleo", "dora", "emil", "fay"];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn lanes_beside_ports_from_a_seed() {
    let first = variable("CORELANE_SIMULATOR_FIRST").unwrap_or(0);
    let seeds = match variable("CORELANE_SIMULATOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + variable("CORELANE_SIMULATOR_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut reached = Reached::default();
    let all = seeds.end - seeds.start;
    for seed in seeds {
        match std::panic::catch_unwind(|| Simulation::new(seed).run()) {
            Ok(one) => reached.add(&one),
            Err(_) => panic!("failing seed {seed}: CORELANE_SIMULATOR_SEED={seed} repeats it"),
        }
    }
    println!("{reached:?}");
    if all >= DEFAULT_SEEDS {
        reached.assert_everything_happened();
    }
}

/// How often what must happen has happened.
#[derive(Debug, Default)]
struct Reached(BTreeMap<&'static str, u64>);

impl Reached {
    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn assert_everything_happened(&self) {
        let all = [
            "delivered",
            "held",
            "closed",
            "discarded",
            "full",
            "egress full",
            "refused",
            "several refused",
            "forged behind",
            "forged stale",
            "reused",
            "released",
            "settled",
            "lost",
            "credit",
            "beside",
            "taken name",
        ];
        for what in all {
            assert!(self.0.get(what).is_some_and(|count| *count > 0), "never: {what}");
        }
    }
}

/// A client of the lane in the model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Open,
    Closing,
}

struct Simulation {
    random: Random,
    router: Router,
    workers: Vec<Worker>,
    hands: ManualClock,
    clock: Clock,
    host: Option<LaneHost>,
    port: Port,
    permits: u64,
    /// The lane's clients until their last event, with their names.
    clients: BTreeMap<u64, (State, &'static str)>,
    /// Handles of clients that are gone.
    gone: Vec<ClientId>,
    /// The port's clients.
    others: BTreeMap<u64, &'static str>,
    /// Messages that were pushed or submitted, and numbers that nobody may get.
    pushed: u64,
    number: u64,
    forbidden: BTreeSet<u64>,
    /// The last number by sender and recipient.
    last: HashMap<(u64, u64), u64>,
    lost: bool,
    stopped: bool,
    reached: Reached,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let workers = 1 + random.below(3);
        let permits = if random.chance(30) { 3 + random.below(20) } else { 0 };
        let mut config = format!(
            "workers={workers}\nring_bytes=4096\nbacklog_bytes=4096\nmax_clients=8\nmax_ports=3\nhold_ms=50\nmax_message=20000\npayloads=8\nmax_concurrent_messages={permits}\n"
        );
        let balances = ["hash", "least_loaded", "round_robin"];
        config += &format!("balance={}\n", balances[random.below(3) as usize]);
        let policies = ["refuse", "disconnect", "drop"];
        config += &format!("credit_policy={}\n", policies[random.below(3) as usize]);
        config += &format!("credit_messages={}\n", [2, 10, 65535][random.below(3) as usize]);
        config += &format!("max_in_flight={}\n", [0, 0, 3][random.below(3) as usize]);
        config += &format!("queue_messages={}\n", [0, 0, 5][random.below(3) as usize]);
        let rules = ProtocolRules::generic()
            .message_type("later", Action::Relay { hold: true })
            .message_type("now", Action::Relay { hold: false });
        let (clock, hands) = Clock::manual();
        hands.advance(Duration::from_secs(1_000));
        let builder = Builder::new(config.parse().unwrap()).protocol(rules).clock(clock.clone());
        let (router, workers) = builder.name_keys([seed, 7]).build().unwrap();
        let host = Some(router.lane_host().unwrap());
        let port = router.port().unwrap();
        Self {
            random,
            router,
            workers,
            hands,
            clock,
            host,
            port,
            permits,
            clients: BTreeMap::new(),
            gone: Vec::new(),
            others: BTreeMap::new(),
            pushed: 0,
            number: 0,
            forbidden: BTreeSet::new(),
            last: HashMap::new(),
            lost: false,
            stopped: false,
            reached: Reached::default(),
        }
    }

    fn run(mut self) -> Reached {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.end()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=9 => self.connect(),
            10..=12 => self.connect_to_port(),
            13..=44 => self.submit(),
            45..=49 => self.send(),
            50..=54 => self.submit_to_port(),
            55..=60 => self.disconnect(),
            61..=63 => self.forge(),
            64..=83 => self.cycle(),
            84..=93 => self.poll(),
            94..=95 => self.poll_port(),
            96 => self.hands.advance(Duration::from_millis(self.random.below(60))),
            97 if self.random.chance(10) => self.release(),
            98 if self.random.chance(4) => self.lose(),
            99 if self.random.chance(3) => {
                self.router.request_stop();
                self.stopped = true;
            }
            _ => {
                if let Some(host) = &mut self.host {
                    host.publish();
                }
            }
        }
    }

    fn some_client(&mut self) -> Option<ClientId> {
        let open: Vec<_> = self.clients.iter().filter(|(_, one)| one.0 == State::Open).collect();
        self.random.pick(&open).map(|(client, _)| ClientId(**client))
    }

    fn connect(&mut self) {
        let name = NAMES[self.random.below(6) as usize];
        let Some(host) = &mut self.host else { return };
        let taken = self.clients.values().any(|one| one.1 == name && one.0 == State::Open)
            || self.others.values().any(|other| *other == name);
        let client = match host.reserve(name, "generic") {
            Ok(client) => client,
            Err(ConnectError::NameTaken(_)) => {
                assert!(taken, "the name is free from the disconnect on");
                return self.reached.note("taken name");
            }
            Err(ConnectError::TooManyClients(_)) => return,
            Err(ConnectError::Closed) => {
                assert!(self.stopped || self.lost, "a worker is there");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(!taken);
        let index = |client: u64| client as u32;
        assert!(
            self.clients.keys().all(|one| index(*one) != index(client.0)),
            "the slot of a client whose end nobody has read"
        );
        if self.gone.iter().any(|one| index(one.0) == index(client.0)) {
            self.reached.note("reused");
        }
        self.clients.insert(client.0, (State::Reserved, name));
        // The table is filled, and nothing may come. Records that are under way meet the reservation.
        for _ in 0..self.random.below(3) {
            self.cycle();
            self.poll();
        }
        let Some(host) = &mut self.host else { return };
        match host.enter(client) {
            Ok(()) => drop(self.clients.insert(client.0, (State::Open, name))),
            Err(ConnectError::Closed) => {
                assert!(self.stopped || self.lost, "a worker is there");
                self.clients.remove(&client.0);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn connect_to_port(&mut self) {
        let name = NAMES[self.random.below(6) as usize];
        if self.others.len() < 2
            && let Ok(client) = self.port.connect(name, "generic", "", 0)
        {
            self.others.insert(client.0, name);
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A message to some name, of some length.
    fn text(&mut self) -> Vec<u8> {
        let name = NAMES[self.random.below(6) as usize];
        let kind = if self.random.chance(40) { "later" } else { "now" };
        let mut text = format!(r#"{{"type":"{kind}","to":"{name}","x":""#).into_bytes();
        let length = if self.random.chance(3) { 5_000 } else { self.random.below(300) };
        text.resize(text.len() + length as usize, b'x');
        text.extend_from_slice(br#""}"#);
        text
    }

    fn submit(&mut self) {
        let Some(client) = self.some_client() else { return };
        let count = if self.random.chance(10) { 12 } else { 1 };
        for _ in 0..count {
            let (text, correlation) = (self.text(), self.next());
            let options = LaneSubmit {
                correlation,
                tell_failed: self.random.chance(20),
                stamp: Some(self.clock.now()),
                to: None,
            };
            let Some(host) = &mut self.host else { return };
            match host.submit(client, &text, options) {
                Ok(()) => {
                    self.pushed += 1;
                    if text.len() > 4_000 {
                        self.reached.note("beside");
                    }
                }
                Err(SubmitError::RingFull) => self.reached.note("full"),
                Err(SubmitError::PayloadsFull) => {}
                Err(SubmitError::Closed) => assert!(self.stopped || self.lost),
                Err(error) => panic!("{error}"),
            }
        }
        if self.random.chance(50)
            && let Some(host) = &mut self.host
        {
            host.publish();
        }
    }

    fn send(&mut self) {
        let all: Vec<u64> = self.clients.keys().chain(self.others.keys()).copied().collect();
        let Some(to) = self.random.pick(&all).copied() else { return };
        let correlation = self.next();
        let Some(host) = &mut self.host else { return };
        if host.send(ClientId(to), b"{}", correlation).is_ok() {
            self.pushed += 1;
        }
    }

    fn submit_to_port(&mut self) {
        let all: Vec<u64> = self.others.keys().copied().collect();
        let Some(client) = self.random.pick(&all).copied() else { return };
        let (text, correlation) = (self.text(), self.next());
        let _ = self.port.submit(ClientId(client), &text, correlation);
        self.pushed += 1; // Counted as submitted, refused or not.
        self.port.publish();
    }

    fn disconnect(&mut self) {
        let Some(client) = self.some_client() else { return };
        let Some(host) = &mut self.host else { return };
        host.disconnect(client).unwrap();
        let name = self.clients[&client.0].1;
        self.clients.insert(client.0, (State::Closing, name));
        assert!(host.disconnect(client).is_err());
        if self.random.chance(30) {
            self.forge_of(client, "forged behind");
        }
    }

    /// Pushes a message that no host may push: of a client that is gone, or behind a disconnect.
    fn forge(&mut self) {
        if let Some(client) = self.random.pick(&self.gone).copied() {
            self.forge_of(client, "forged stale");
        }
    }

    fn forge_of(&mut self, client: ClientId, what: &'static str) {
        let correlation = self.next();
        let text = br#"{"type":"later","to":"ann"}"#;
        let mut body = vec![0; 48];
        body[..8].copy_from_slice(&client.0.to_ne_bytes());
        body[8..16].copy_from_slice(&self.clock.now().0.to_ne_bytes());
        body[16..24].copy_from_slice(&correlation.to_ne_bytes());
        body[32..36].copy_from_slice(&u32::MAX.to_ne_bytes());
        body.extend_from_slice(text);
        let Some(host) = &mut self.host else { return };
        let worker = host.worker(client).unwrap_or(0);
        if host.push_raw(worker, 1, 0, &body).is_ok() {
            self.pushed += 1;
            self.forbidden.insert(correlation);
            self.reached.note(what);
        }
    }

    fn cycle(&mut self) {
        if self.random.chance(70)
            && let Some(host) = &mut self.host
        {
            host.publish();
        }
        if !self.workers.is_empty() {
            let one = self.random.below(self.workers.len() as u64) as usize;
            self.workers[one].cycle(self.clock.now());
        }
    }

    fn poll(&mut self) {
        let limit = [1, 5, 1000][self.random.below(3) as usize];
        let Some(host) = &mut self.host else { return };
        let events = host.poll(limit);
        self.take(&events);
    }

    fn take(&mut self, events: &[LaneEvent]) {
        let mut refused = BTreeSet::new();
        for event in events {
            let client = event.client.0;
            if let LaneKind::SendFailed(_) | LaneKind::RoomSendFailed(_) = event.kind {
                continue;
            }
            let state = self.clients.get(&client).map(|one| one.0);
            assert!(matches!(state, Some(State::Open | State::Closing)), "{event:?}");
            match event.kind {
                LaneKind::Message => {
                    self.check_order(event.sender, client, event.correlation);
                    if self.random.chance(60)
                        && let Some(host) = &mut self.host
                    {
                        host.acknowledge(event.client, 1, event.payload.len() as u32);
                    }
                    self.reached.note("delivered");
                }
                LaneKind::Closed => {
                    assert!(state == Some(State::Closing) || self.stopped || self.lost);
                    self.clients.remove(&client);
                    self.gone.push(event.client);
                    self.reached.note("closed");
                }
                LaneKind::Close(_) => self.reached.note("credit"),
                LaneKind::Refused { count, .. } => {
                    assert!(refused.insert(client), "two unread notices of refusals");
                    assert!(count > 0);
                    self.reached.note(if count > 1 { "several refused" } else { "refused" });
                }
                _ => {}
            }
        }
    }

    fn check_order(&mut self, sender: u64, to: u64, correlation: u64) {
        assert!(!self.forbidden.contains(&correlation), "a message of a client that has left");
        if sender != 0 && self.clients.contains_key(&sender) {
            let last = self.last.entry((sender, to)).or_default();
            assert!(*last < correlation, "out of order: {last} before {correlation}");
            *last = correlation;
        }
    }

    fn poll_port(&mut self) {
        let mut got = Vec::new();
        let _ = self.port.poll_each(20, |event| {
            if let Event::Message(message) = event {
                let sender = message.sender.map_or(0, |sender| sender.0);
                got.push((sender, message.client, message.correlation, message.payload.len()));
            }
        });
        for (sender, to, correlation, length) in got {
            self.check_order(sender, to.0, correlation);
            self.port.acknowledge(to, 1, length as u32);
        }
    }

    fn release(&mut self) {
        if let Some(host) = self.host.take() {
            drop(host);
            self.gone.extend(self.clients.keys().map(|client| ClientId(*client)));
            self.clients.clear();
            self.reached.note("released");
            self.rest();
        }
        if let Ok(host) = self.router.lane_host() {
            self.host = Some(host);
        }
    }

    fn lose(&mut self) {
        if self.workers.len() > 1 && !self.stopped {
            let one = self.random.below(self.workers.len() as u64) as usize;
            drop(self.workers.remove(one));
            self.lost = true;
            self.reached.note("lost");
        }
    }

    /// Runs the workers until they rest.
    fn rest(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "the workers do not come to rest");
            let now = self.clock.now();
            if self.workers.iter_mut().map(|worker| worker.cycle(now)).sum::<usize>() == 0 {
                return;
            }
        }
    }

    fn check(&mut self) {
        let all = self.router.accounting();
        assert!(all.submitted <= self.pushed, "{all:?}");
        assert_eq!(all.accepted, all.submitted - all.refused);
        let ended = all.ok + all.failed + all.expired + all.taken_over;
        assert_eq!(all.accepted, ended + all.in_flight, "{all:?}");
        assert_eq!(all.deliveries, all.consumed + all.undeliverable + all.queued, "{all:?}");
        assert!(all.in_flight >= all.held);
        if all.held > 0 {
            self.reached.note("held");
        }
        if all.undelivered.get("egress_full") > 0 {
            self.reached.note("egress full");
        }
    }

    /// Settles everything, then checks that the slots are free, and the sums at the end.
    fn end(mut self) -> Reached {
        for _ in 0..200 {
            self.rest();
            self.poll();
            self.poll_port();
        }
        if !self.stopped && !self.lost && self.router.accounting().held == 0 {
            self.check_slots();
        }
        if self.random.chance(50) {
            self.submit(); // Perhaps not published.
            self.router.request_stop();
            self.stopped = true;
            self.rest();
            if self.random.chance(50) {
                self.poll();
            }
        }
        let stats = self.router.stats();
        if stats.ports.iter().any(|port| port.discarded > 0) {
            self.reached.note("discarded");
        }
        drop(self.host.take());
        self.rest();
        let before = self.router.accounting();
        if before.refusals.get("closed") > 0 {
            self.reached.note("settled");
        }
        self.router.request_stop();
        self.rest();
        let Self { router, port, workers, pushed, permits, reached, .. } = self;
        drop(port);
        drop(workers);
        let all = router.accounting();
        assert_eq!(all.submitted, pushed, "{all:?}");
        assert_eq!((all.in_flight, all.queued, all.held), (0, 0, 0), "{all:?}");
        let stats = router.stats();
        assert_eq!(stats.placement.permits_available, permits);
        assert_eq!((stats.payloads_waiting, stats.payload_bytes), (0, 0));
        reached
    }

    /// Every slot that no client has can be taken, and each new client has its whole credit.
    fn check_slots(&mut self) {
        let Some(host) = &mut self.host else { return };
        let present = self.clients.len() + self.others.len();
        let mut taken = Vec::new();
        for place in present..8 {
            let client = host.reserve(&format!("new{place}"), "generic");
            taken.push(client.unwrap_or_else(|error| panic!("{present} of 8 clients: {error}")));
        }
        for client in taken {
            assert!(host.cancel(client));
        }
    }
}
