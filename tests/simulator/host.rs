//! The simulated host: what it does is random, what it expects is kept beside, and every event is checked.

use crate::admission::{Admission, Bucket};
use crate::random::Random;
use corelane::clients::ClientId;
use corelane::clock::{Clock, ManualClock};
use corelane::config::{Config, Key};
use corelane::error::{Error, Refused};
use corelane::router::{Builder, Event, Port, Router, Worker};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

const NAMES: [&str; 8] = ["ann", "bob", "cleo", "dora", "emil", "fay", "gus", "hal"];
const STEPS: u64 = 400;

/// A client as the model sees it.
struct Peer {
    id: ClientId,
    name: &'static str,
    port: usize,
    /// Disconnect was called; its last event is still to come.
    leaving: bool,
    /// It gave up its name, which another may have taken since.
    nameless: bool,
    unacknowledged: Vec<u32>,
    /// The last number received from each sender.
    last_from: HashMap<u64, u64>,
    bucket: Bucket,
}

impl Peer {
    fn has_name(&self) -> bool {
        !self.leaving && !self.nameless
    }
}

/// What the runs came across, so that a test which no longer reaches something fails.
#[derive(Debug, Default)]
pub struct Reached {
    delivered: u64,
    held: u64,
    expired_notices: u64,
    full: u64,
    backlogged: u64,
    credit_closes: u64,
    undeliverable: u64,
    settled: u64,
    ports_released: u64,
    reused_slots: u64,
    names_left: u64,
    probes: u64,
    moves_wanted: u64,
    moves_made: u64,
    in_flight_refusals: u64,
    rate_refusals: u64,
    concurrency_refusals: u64,
    out_of_order: u64,
    two_active: u64,
}

impl Reached {
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.held += other.held;
        self.expired_notices += other.expired_notices;
        self.full += other.full;
        self.backlogged += other.backlogged;
        self.credit_closes += other.credit_closes;
        self.undeliverable += other.undeliverable;
        self.settled += other.settled;
        self.ports_released += other.ports_released;
        self.reused_slots += other.reused_slots;
        self.names_left += other.names_left;
        self.probes += other.probes;
        self.moves_wanted += other.moves_wanted;
        self.moves_made += other.moves_made;
        self.in_flight_refusals += other.in_flight_refusals;
        self.rate_refusals += other.rate_refusals;
        self.concurrency_refusals += other.concurrency_refusals;
        self.out_of_order += other.out_of_order;
        self.two_active += other.two_active;
    }

    pub fn assert_everything_happened(&self) {
        for (count, what) in [
            (self.delivered, "deliveries"),
            (self.held, "holds"),
            (self.expired_notices, "expiry notices"),
            (self.full, "full rings"),
            (self.backlogged, "backlogs"),
            (self.credit_closes, "clients closed for credit"),
            (self.undeliverable, "undeliverable deliveries"),
            (self.settled, "messages settled at a stop"),
            (self.ports_released, "released ports"),
            (self.reused_slots, "reused slots"),
            (self.names_left, "names left"),
            (self.probes, "probes"),
            (self.moves_wanted - self.moves_made, "moves that had to wait"),
            (self.moves_made, "moves made"),
            (self.in_flight_refusals, "refusals for too much in flight"),
            (self.rate_refusals, "refusals for too high a rate"),
            (self.concurrency_refusals, "refusals for concurrency"),
            (self.out_of_order, "messages out of order with round_robin"),
            (self.two_active, "changes of the active workers"),
        ] {
            assert!(count > 0, "no {what} in any run");
        }
    }
}

pub struct Host {
    random: Random,
    router: Router,
    workers: Vec<Worker>,
    clock: Clock,
    hands: ManualClock,
    ports: Vec<Option<Port>>,
    peers: BTreeMap<u64, Peer>,
    next_token: u64,
    next_number: u64,
    submitted: u64,
    refused: u64,
    events: u64,
    seen: HashSet<u64>,
    numbers_of: HashMap<u64, u64>,
    credit: (usize, u64),
    /// Names that have been connected for so long that nothing can be held for them.
    surely_connected: HashSet<&'static str>,
    max_clients: u64,
    admission: Admission,
    reached: Reached,
}

impl Host {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (clock, hands) = Clock::manual();
        let credit_messages = 1 + random.below(40);
        let credit_bytes = 2048 + random.below(16_384);
        let max_clients = 6 + random.below(6);
        let workers = 1 + random.below(3);
        let admission = Admission::random(&mut random);
        let set = [
            (Key::Workers, workers),
            (Key::Balance, admission.balance),
            (Key::ActiveWorkers, random.below(workers + 1)),
            (Key::MaxInFlight, admission.max_in_flight),
            (Key::ClientRate, admission.rate),
            (Key::ClientBurst, admission.burst),
            (Key::MaxConcurrentMessages, admission.max_concurrent),
            (Key::MaxPorts, 1 + random.below(3)),
            (Key::MaxClients, max_clients),
            (Key::RingBytes, 8192),
            (Key::MaxMessage, 1000),
            (Key::Batch, 1 + random.below(8)),
            (Key::HoldTime, 20 + random.below(100)),
            (Key::MaxQueueWait, 50 + random.below(200)),
            (Key::HoldPerSender, random.below(10)),
            (Key::HoldPerName, 1 + random.below(20)),
            (Key::HoldMessages, 1 + random.below(40)),
            (Key::HoldBytes, 500 + random.below(20_000)),
            (Key::CreditMessages, credit_messages),
            (Key::CreditBytes, credit_bytes),
            (Key::BacklogBytes, 8192),
        ];
        let config = set
            .into_iter()
            .try_fold(Config::default(), |config, (key, value)| config.with(key, value))
            .unwrap();
        let ports = config.get(Key::MaxPorts) as usize;
        let (router, workers) =
            Builder::new(config).clock(clock.clone()).name_keys([seed, 1]).build().unwrap();
        Self {
            random,
            router,
            workers,
            clock,
            hands,
            ports: (0..ports).map(|_| None).collect(),
            peers: BTreeMap::new(),
            next_token: 1,
            next_number: 1,
            submitted: 0,
            refused: 0,
            events: 0,
            seen: HashSet::new(),
            numbers_of: HashMap::new(),
            credit: (credit_messages as usize, credit_bytes),
            surely_connected: HashSet::new(),
            max_clients,
            admission,
            reached: Reached::default(),
        }
    }

    pub fn run(mut self) -> Reached {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        if self.random.chance(50) {
            self.quiesce();
        }
        self.stop();
        self.reached
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..6 => self.connect(),
            6..45 => self.submit(),
            45..55 => self.publish(),
            55..72 => self.cycle(),
            72..82 => self.poll(),
            82..91 => self.acknowledge(),
            91..94 => self.disconnect(),
            94 => self.place(),
            95..98 => self.hands.advance(Duration::from_millis(self.random.below(40))),
            98 => self.open_port(),
            _ if self.random.chance(20) => self.release_port(),
            _ => self.flood(),
        }
    }

    fn some_port(&mut self) -> Option<usize> {
        let open: Vec<_> = (0..self.ports.len()).filter(|port| self.ports[*port].is_some()).collect();
        self.random.pick(&open).copied()
    }

    fn some_peer(&mut self) -> Option<u64> {
        let tokens: Vec<_> = self.peers.keys().copied().collect();
        self.random.pick(&tokens).copied()
    }

    fn open_port(&mut self) {
        let Some(place) = self.ports.iter().position(Option::is_none) else { return };
        // The workers must have left the port's predecessor.
        for _ in 0..2 {
            self.cycle_all();
        }
        self.ports[place] = Some(self.router.port().unwrap());
    }

    fn release_port(&mut self) {
        let Some(port) = self.some_port() else { return };
        self.ports[port] = None;
        self.peers.retain(|_, peer| peer.port != port);
        self.reached.ports_released += 1;
    }

    fn connect(&mut self) {
        let Some(place) = self.some_port() else { return self.open_port() };
        let name = NAMES[self.random.below(NAMES.len() as u64) as usize];
        let token = self.next_token;
        let port = self.ports[place].as_mut().unwrap();
        match port.connect(name, "peerjs", "simulator", token) {
            Ok(id) => {
                self.next_token += 1;
                self.reached.reused_slots += u64::from(id.0 >> 32 > 1);
                let in_use = self.peers.values().any(|peer| peer.id == id);
                assert!(!in_use, "a client's handle was given to another");
                let taken = self.peers.values().any(|peer| peer.name == name && peer.has_name());
                assert!(!taken, "{name} is connected twice");
                let peer = Peer {
                    id,
                    name,
                    port: place,
                    leaving: false,
                    nameless: false,
                    unacknowledged: Vec::new(),
                    last_from: HashMap::new(),
                    bucket: Bucket::default(),
                };
                self.peers.insert(token, peer);
            }
            Err(Error::NameTaken(id)) => {
                let owner = self.peers.values().find(|peer| peer.id == id && peer.has_name());
                assert_eq!(owner.map(|peer| peer.name), Some(name), "the name is taken by nobody");
            }
            Err(Error::TooManyClients(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// A message that carries its number, padded to a random size.
    fn message(&mut self, to: &str, number: u64) -> Vec<u8> {
        let kind = ["OFFER", "ANSWER", "CANDIDATE", "EXPIRE"][self.random.below(4) as usize];
        let size = if self.random.chance(10) { self.random.below(800) } else { self.random.below(60) };
        let fill = "x".repeat(size as usize);
        match self.random.below(40) {
            0 => br#"{"type":"HEARTBEAT"}"#.to_vec(),
            1 => b"{not json".to_vec(),
            2 => format!(r#"{{"type":"NOVEL","dst":"{to}"}}"#).into_bytes(),
            3 => vec![b'y'; 1001],
            4 if self.random.chance(20) => br#"{"type":"LEAVE"}"#.to_vec(),
            _ => format!(r#"{{"type":"{kind}","dst":"{to}","payload":[{number},"{fill}"]}}"#).into_bytes(),
        }
    }

    fn submit(&mut self) {
        let Some(token) = self.some_peer() else { return self.connect() };
        let to = NAMES[self.random.below(NAMES.len() as u64) as usize];
        self.submit_to(token, to);
    }

    /// One client sends a lot to one name: fills rings, backlogs and credit.
    fn flood(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let to = NAMES[self.random.below(NAMES.len() as u64) as usize];
        for _ in 0..self.random.below(120) {
            self.submit_to(token, to);
            if self.random.chance(10) {
                self.publish();
                self.cycle();
            }
        }
    }

    fn submit_to(&mut self, token: u64, to: &str) {
        let number = self.next_number;
        self.next_number += 1;
        let message = self.message(to, number);
        let peer = &self.peers[&token];
        let (id, place, leaving) = (peer.id, peer.port, peer.leaving);
        self.submitted += 1;
        let now = self.clock.raw();
        let rate_allows = self.peers.get_mut(&token).unwrap().bucket.allows(&self.admission, now);
        match self.ports[place].as_mut().unwrap().submit(id, &message, number) {
            Ok(()) => {
                assert!(rate_allows, "faster than the rate");
                self.peers.get_mut(&token).unwrap().bucket.take(&self.admission);
                assert!(!leaving && message.len() <= 1000);
                self.numbers_of.insert(number, id.0);
            }
            Err(Error::Refused(reason)) => {
                self.refused += 1;
                match reason {
                    Refused::Full => self.reached.full += 1,
                    Refused::Stale => assert!(leaving),
                    Refused::TooLarge => assert!(message.len() > 1000),
                    Refused::InFlight => {
                        let most = self.admission.max_in_flight;
                        let in_flight = self.router.accounting().in_flight;
                        assert!(
                            most > 0 && in_flight >= most,
                            "refused with {in_flight} of {most} in flight"
                        );
                        self.reached.in_flight_refusals += 1;
                    }
                    Refused::RateLimited => {
                        assert!(!rate_allows, "refused below the rate");
                        self.reached.rate_refusals += 1;
                    }
                    Refused::Concurrency => {
                        assert!(self.admission.max_concurrent > 0);
                        assert_eq!(self.router.stats().placement.permits_available, 0);
                        self.reached.concurrency_refusals += 1;
                    }
                    other => panic!("{other}"),
                }
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Changes where messages are placed.
    fn place(&mut self) {
        let workers = self.workers.len() as u64;
        if self.random.chance(50) {
            let active = 1 + self.random.below(workers);
            self.router.set_active_workers(active as usize).unwrap();
            assert_eq!(self.router.stats().placement.active_workers, active);
            self.reached.two_active += 1;
        } else {
            let stalled = self.random.chance(50);
            self.router.set_stalled(self.random.below(workers) as usize, stalled);
        }
    }

    fn publish(&mut self) {
        if let Some(port) = self.some_port() {
            self.ports[port].as_mut().unwrap().publish();
        }
    }

    fn cycle(&mut self) {
        let worker = self.random.below(self.workers.len() as u64) as usize;
        self.workers[worker].cycle(self.clock.raw());
    }

    fn cycle_all(&mut self) {
        for worker in &mut self.workers {
            worker.cycle(self.clock.raw());
        }
    }

    fn poll(&mut self) {
        if let Some(port) = self.some_port() {
            let limit = 1 + self.random.below(20) as usize;
            self.poll_port(port, limit).unwrap();
        }
    }

    fn poll_port(&mut self, place: usize, limit: usize) -> Result<usize, Error> {
        let mut port = self.ports[place].take().unwrap();
        let mut closes = Vec::new();
        let mut leaves = Vec::new();
        let result = port.poll(limit, |event| self.event(place, event, &mut closes, &mut leaves));
        for id in closes {
            // A host closes the connection when it is asked to; here at once.
            port.disconnect(id).unwrap();
            self.peers.values_mut().find(|peer| peer.id == id).unwrap().leaving = true;
        }
        for (id, token) in leaves {
            port.release_name(id).unwrap();
            self.peers.get_mut(&token).unwrap().nameless = true;
        }
        self.ports[place] = Some(port);
        result
    }

    fn event(
        &mut self,
        place: usize,
        event: Event<'_>,
        closes: &mut Vec<ClientId>,
        leaves: &mut Vec<(ClientId, u64)>,
    ) {
        self.events += 1;
        match event {
            Event::Message(message) => {
                self.reached.delivered += 1;
                let text: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
                let number = text["payload"][0].as_u64().unwrap();
                assert_eq!(message.correlation, number);
                assert!(self.seen.insert(number), "delivered twice");
                assert_eq!(self.numbers_of[&number], message.sender.0, "another's message");
                let peer = self.peers.get_mut(&message.token).expect("delivered after its last event");
                assert_eq!((peer.id, peer.port), (message.client, place));
                assert_eq!(text["dst"], peer.name, "delivered to another name");
                let last = peer.last_from.insert(message.sender.0, number).unwrap_or(0);
                // `round_robin` keeps no order, and says so.
                assert!(last < number || self.admission.balance == 0, "order: {number} after {last}");
                self.reached.out_of_order += u64::from(last > number);
                self.take_credit(message.token, message.payload.len());
            }
            Event::Expired { client, token, name, .. } => {
                self.reached.expired_notices += 1;
                assert_eq!(self.peers[&token].id, client);
                let name = std::str::from_utf8(name).unwrap();
                assert!(!self.surely_connected.contains(name), "held for {name} although it is connected");
                self.take_credit(token, name.len());
            }
            Event::Close { client, token, .. } => {
                self.reached.credit_closes += 1;
                assert_eq!(self.peers[&token].id, client);
                if !self.peers[&token].leaving {
                    closes.push(client);
                }
            }
            Event::Left { client, token } => {
                self.reached.names_left += 1;
                assert_eq!(self.peers[&token].id, client);
                if !self.peers[&token].leaving {
                    leaves.push((client, token));
                }
            }
            Event::Closed { client, token } => {
                let peer = self.peers.remove(&token).expect("closed twice");
                assert_eq!((peer.id, peer.leaving), (client, true), "closed without a disconnect");
            }
            other => panic!("{other:?}"),
        }
    }

    fn take_credit(&mut self, token: u64, bytes: usize) {
        let peer = self.peers.get_mut(&token).unwrap();
        peer.unacknowledged.push(bytes as u32);
        let outstanding: u64 = peer.unacknowledged.iter().map(|bytes| u64::from(*bytes)).sum();
        assert!(peer.unacknowledged.len() <= self.credit.0 && outstanding <= self.credit.1);
    }

    fn acknowledge(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let all = self.random.chance(70);
        self.acknowledge_peer(token, all);
    }

    fn acknowledge_peer(&mut self, token: u64, all: bool) {
        let peer = self.peers.get_mut(&token).unwrap();
        let count = if all { peer.unacknowledged.len() } else { peer.unacknowledged.len() / 2 };
        let bytes: u32 = peer.unacknowledged.drain(..count).sum();
        let (port, id) = (peer.port, peer.id);
        self.ports[port].as_mut().unwrap().acknowledge(id, count as u32, bytes);
    }

    fn disconnect(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let peer = self.peers.get_mut(&token).unwrap();
        let result = self.ports[peer.port].as_mut().unwrap().disconnect(peer.id);
        assert_eq!(result.is_ok(), !peer.leaving);
        peer.leaving = true;
    }

    /// After every step: what the router counted is what the host saw.
    fn check(&mut self) {
        let figures = self.router.accounting();
        assert_eq!(figures.submitted, self.submitted);
        assert_eq!(figures.refused, self.refused);
        assert_eq!(figures.consumed, self.events);
        for (difference, what) in [(figures.in_flight, "in flight"), (figures.queued, "queued")] {
            assert!(difference as i64 >= 0, "negative {what}: {figures:?}");
        }
        assert!(figures.held <= figures.in_flight, "{figures:?}");
        self.reached.held += figures.held;
        let most = self.admission.max_concurrent;
        assert!(most == 0 || figures.in_flight <= most, "more than {most} in flight: {figures:?}");
    }

    fn settle_down(&mut self) {
        self.settle_rounds(200);
    }

    fn settle_rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for place in 0..self.ports.len() {
                if self.ports[place].is_some() {
                    self.ports[place].as_mut().unwrap().publish();
                    // Closed ones say so; that is for `stop` to look at.
                    let _ = self.poll_port(place, usize::MAX);
                }
            }
            for token in self.peers.keys().copied().collect::<Vec<_>>() {
                self.acknowledge_peer(token, true);
            }
            self.cycle_all();
        }
    }

    /// Without a stop everything ends as well: held messages expire, every leaving client gets its last event,
    /// and every slot can be used again.
    fn quiesce(&mut self) {
        self.settle_down();
        self.surely_connected =
            self.peers.values().filter(|peer| peer.has_name()).map(|peer| peer.name).collect();
        self.hands.advance(Duration::from_secs(1));
        self.settle_down();
        self.probe();
        let figures = self.router.accounting();
        assert_eq!((figures.in_flight, figures.queued), (0, 0), "{figures:?}");
        let placement = self.router.stats().placement;
        assert_eq!(placement.permits_available, placement.permits, "permits got lost, or came twice");
        assert_eq!(figures.accepted, figures.ok + figures.failed + figures.expired);
        assert!(self.peers.values().all(|peer| !peer.leaving), "a client never got its last event");
        for token in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&token).unwrap();
            peer.leaving = true;
            let (port, id) = (peer.port, peer.id);
            self.ports[port].as_mut().unwrap().disconnect(id).unwrap();
        }
        self.settle_down();
        assert!(self.peers.is_empty(), "a client never got its last event");
        if let Some(place) = self.some_port() {
            let port = self.ports[place].as_mut().unwrap();
            let ids: Vec<_> = (0..self.max_clients)
                .map(|count| port.connect(&format!("late{count}"), "peerjs", "", 0).unwrap())
                .collect();
            for id in ids {
                port.disconnect(id).unwrap();
            }
            // These clients are not the model's; their last events only count.
            let mut closed = 0;
            for _ in 0..200 {
                self.cycle_all();
                let port = self.ports[place].as_mut().unwrap();
                port.publish();
                port.poll(usize::MAX, |_| closed += 1).unwrap();
            }
            assert_eq!(closed, self.max_clients, "a client never got its last event");
            self.events += closed;
            self.check();
        }
    }

    /// Everyone sends to everyone, one at a time, and everyone that has a name gets it: no credit has leaked,
    /// no slot is confused.
    fn probe(&mut self) {
        let tokens: Vec<_> = self.peers.keys().copied().collect();
        for from in &tokens {
            for to in &tokens {
                let Some(name) = self.peers.get(to).filter(|peer| peer.has_name()).map(|peer| peer.name)
                else {
                    continue;
                };
                let Some((port, id)) = self.peers.get(from).map(|peer| (peer.port, peer.id)) else {
                    continue;
                };
                let number = self.next_number;
                self.next_number += 1;
                self.submitted += 1;
                self.reached.probes += 1;
                self.numbers_of.insert(number, id.0);
                let text = format!(r#"{{"type":"OFFER","dst":"{name}","payload":[{number}]}}"#);
                let port = self.ports[port].as_mut().unwrap();
                // Long enough for any client's next token.
                self.hands.advance(Duration::from_secs(1));
                let probed = port.submit(id, text.as_bytes(), number);
                assert_eq!(probed, Ok(()), "refused although nothing is in flight");
                port.publish();
                self.settle_rounds(5);
                assert!(self.seen.contains(&number), "{name} cannot be reached any more");
            }
        }
    }

    fn stop(&mut self) {
        let figures = self.router.stats();
        self.reached.moves_wanted += figures.placement.moves_wanted;
        self.reached.moves_made += figures.placement.moves_made;
        self.reached.backlogged += figures.workers.iter().map(|worker| worker.backlogged).sum::<u64>();
        self.router.request_stop();
        for worker in 0..self.workers.len() {
            // Some ports publish after one worker has stopped: that is refused as closed, and settled.
            if self.random.chance(50) {
                self.publish();
            }
            self.workers[worker].cycle(self.clock.raw());
            assert!(self.workers[worker].is_stopped());
        }
        for place in 0..self.ports.len() {
            if self.ports[place].is_none() {
                continue;
            }
            if self.random.chance(50) {
                self.ports[place].as_mut().unwrap().publish();
            }
            if self.random.chance(50) {
                let end = (0..1000).find(|_| self.poll_port(place, 7).is_err());
                assert!(end.is_some(), "a poll never says closed");
                let port = self.ports[place].as_mut().unwrap();
                assert!(matches!(port.connect("zoe", "peerjs", "", 0), Err(Error::Refused(Refused::Closed))));
            } else {
                self.ports[place] = None;
                self.peers.retain(|_, peer| peer.port != place);
            }
        }
        let figures = self.router.accounting();
        assert_eq!(figures.submitted, self.submitted);
        assert_eq!((figures.in_flight, figures.queued, figures.held), (0, 0, 0), "{figures:?}");
        assert_eq!(figures.accepted, figures.ok + figures.failed + figures.expired);
        assert_eq!(figures.consumed, self.events);
        self.reached.settled += figures.refused - self.refused;
        self.reached.undeliverable += figures.undeliverable;
    }
}
