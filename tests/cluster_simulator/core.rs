//! One running machine: a router with a port for its clients and a gateway, driven by hand.

use crate::Reached;
use crate::ledger::{Kind, Ledger, Message};
use crate::random::Random;
use corelane::clients::{ClientId, CreditPolicy};
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::Loss;
use corelane::router::{
    Action, Builder, Event, Gateway, GatewayOptions, Port, ProtocolRules, Router, SubmitOptions, Worker,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const NAMES: [&str; 6] = ["ann", "bob", "cleo", "dora", "emil", "fay *.>"];
pub const ROOMS: [&str; 2] = ["red", "blue"];
pub const PROTOCOL: &str = "cluster";

fn rules() -> ProtocolRules {
    let fields = Fields {
        message_type: Some("type"),
        recipient: Some("dst"),
        room: Some("room"),
        sender: Some("src"),
        ..Fields::default()
    };
    let forward = Forward::Only(&["type", "src", "dst", "room", "payload"]);
    ProtocolRules::new(Protocol::new(PROTOCOL, &fields, forward).unwrap())
        .message_type("OFFER", Action::Relay { hold: true })
        .message_type("NOW", Action::Relay { hold: false })
        .message_type("HINT", Action::Relay { hold: false })
        .message_type("ALL", Action::Relay { hold: false })
        .droppable("HINT")
}

/// A client of this machine.
#[derive(Debug)]
pub struct Client {
    pub id: ClientId,
    pub name: &'static str,
    /// The number of its claim.
    pub claim: u64,
    /// The revision of its claim when it connected.
    pub revision: u64,
    /// That of now.
    pub latest: u64,
    pub leaving: bool,
    /// It connects again under its claim.
    pub returns: bool,
    pub unacknowledged: Vec<u32>,
    /// The rooms that it has joined.
    pub rooms: BTreeSet<&'static str>,
}

impl Client {
    pub fn new(id: ClientId, name: &'static str, claim: u64, revision: u64) -> Self {
        let (leaving, returns, unacknowledged, rooms) = (false, false, Vec::new(), BTreeSet::new());
        Self { id, name, claim, revision, latest: revision, leaving, returns, unacknowledged, rooms }
    }
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    config: Config,
    pub gateway: GatewayOptions,
    pub hold_ms: u64,
    pub wait_ms: u64,
}

impl Settings {
    pub fn random(random: &mut Random) -> Self {
        let hold_ms = [300, 1_000, 6_000][random.below(3) as usize] + random.below(100);
        let wait_ms = [1_000, 5_000, 60_000][random.below(3) as usize];
        let set = [
            ("workers", 1 + random.below(2)),
            ("max_clients", 12),
            ("ring_bytes", 8192),
            ("backlog_bytes", 8192),
            ("max_message", 4_000),
            ("payloads", 4 + random.below(20)),
            ("payload_bytes", 40_000 + random.below(40_000)),
            ("batch", 1 + random.below(16)),
            ("hold_ms", hold_ms),
            ("max_queue_wait_ms", wait_ms),
            ("hold_per_sender", 4 + random.below(40)),
            ("hold_per_name", 4 + random.below(40)),
            ("hold_messages", 10 + random.below(100)),
            ("hold_bytes", 5_000 + random.below(60_000)),
            ("credit_messages", [4, 60, 65_535][random.below(3) as usize]),
        ];
        let mut config = Config::default();
        set.into_iter().for_each(|(key, value)| config.set(key, &value.to_string()).unwrap());
        config.credit.policy =
            [CreditPolicy::Disconnect, CreditPolicy::Refuse, CreditPolicy::Drop][random.below(3) as usize];
        let gateway = GatewayOptions {
            names: 1000,
            rooms: 10,
            link_messages: [4, 32, 100, 1000][random.below(4) as usize],
            link_bytes: [3_000, 20_000, 200_000][random.below(3) as usize],
        };
        Self { config, gateway, hold_ms, wait_ms }
    }
}

/// The time, since when the run comes to its end, and the settings.
pub struct Times<'a> {
    pub now: Duration,
    pub ending: Duration,
    pub settings: &'a Settings,
}

pub struct Core {
    pub router: Router,
    pub workers: Vec<Worker>,
    pub port: Port,
    pub gateway: Gateway,
    /// By their numbers, which are their tokens.
    pub clients: BTreeMap<u64, Client>,
    /// Messages that were submitted and accepted, and messages of other machines that the gateway has taken.
    pub submitted: u64,
    pub refused: u64,
    pub incoming: u64,
    /// The results of those.
    pub results: u64,
    pub results_ok: u64,
}

impl Core {
    pub fn new(settings: &Settings, clock: &Clock, key: u64) -> Self {
        let builder = Builder::new(settings.config.clone()).clock(clock.clone()).protocol(rules());
        let (router, workers) = builder.name_keys([key, 3]).build().unwrap();
        let port = router.port().unwrap();
        let gateway = router.gateway(settings.gateway).unwrap();
        Self {
            router,
            workers,
            port,
            gateway,
            clients: BTreeMap::new(),
            submitted: 0,
            refused: 0,
            incoming: 0,
            results: 0,
            results_ok: 0,
        }
    }

    pub fn client_of(&self, name: &str) -> Option<(u64, &Client)> {
        let mut all = self.clients.iter().filter(|(_, client)| client.name == name && !client.leaving);
        all.next().map(|(number, client)| (*number, client))
    }

    /// Conservation (I4).
    pub fn check(&self) {
        let all = self.router.accounting();
        assert_eq!(all.accepted, all.submitted - all.refused, "{all:?}");
        let ended = all.ok + all.failed + all.expired + all.taken_over;
        assert_eq!(all.accepted, ended + all.in_flight, "{all:?}");
        assert_eq!(all.deliveries, all.consumed + all.undeliverable + all.queued, "{all:?}");
        assert!(all.in_flight >= all.held, "{all:?}");
    }
    /// A client submits a message.
    pub fn submit(
        &mut self,
        (process, client): (u64, u64),
        to: &'static str,
        kind: Kind,
        at: Duration,
        ledger: &mut Ledger,
        random: &mut Random,
    ) {
        let number = ledger.next();
        let size = match random.below(40) {
            0 => random.below(3_800),
            1..5 => random.below(800),
            _ => random.below(60),
        };
        let (fill, name) = ("x".repeat(size as usize), kind.name());
        let field = if kind == Kind::Room { "room" } else { "dst" };
        let text = format!(r#"{{"type":"{name}","{field}":"{to}","payload":[{number},"{fill}"]}}"#);
        let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
        let id = self.clients[&client].id;
        if self.port.submit_with(id, text.as_bytes(), options).is_ok() {
            self.submitted += 1;
            crate::log(to, || format!("{at:?} process {process}: client {client} submits {number}"));
            ledger.submitted(Message::new(client, process, to, kind, at));
        } else {
            self.refused += 1;
        }
    }

    /// The clients read. Returns those that are closed.
    pub fn read(
        &mut self,
        limit: usize,
        process: u64,
        times: &Times<'_>,
        ledger: &mut Ledger,
        reached: &mut Reached,
    ) -> Vec<(u64, Client)> {
        let (now, ending) = (times.now, times.ending);
        let hold = Duration::from_millis(times.settings.hold_ms);
        let wait = Duration::from_millis(times.settings.wait_ms);
        let (clients, port) = (&mut self.clients, &mut self.port);
        let (mut closed, mut closes) = (Vec::new(), Vec::new());
        let polled = port.poll_each(limit, |event| match event {
            Event::Message(message) => {
                let client = clients.get_mut(&message.token).unwrap();
                assert_eq!(client.id, message.client);
                let text: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
                let number = text["payload"][0].as_u64().unwrap();
                assert_eq!(number, message.correlation);
                client.unacknowledged.push(message.payload.len() as u32);
                let is_here = ledger.of(number).incarnation == process;
                let is_room = ledger.of(number).kind == Kind::Room;
                reached.note(match (is_here, is_room) {
                    (true, _) => "arrived here",
                    (false, false) => "arrived elsewhere",
                    (false, true) => "arrived in a room elsewhere",
                });
                if ledger.of(number).told.is_some() {
                    reached.note("lost, and arrived");
                }
                ledger.arrived(number, message.token, client.name, (client.revision, client.latest));
            }
            Event::Undelivered { token, correlation, reason, .. } => {
                reached.note(reason.label());
                ledger.told(correlation, token, reason.label());
                if reason == Loss::Expired {
                    let expired = ledger.of(correlation);
                    let is_time = match (expired.kind, expired.left) {
                        (Kind::Offer, _) if ledger.was_held(expired, now, hold) => true,
                        (Kind::Offer, true) => false,
                        // It has waited in the ring.
                        _ => now >= expired.at + wait,
                    };
                    // At the end nothing waits for a turn of the machines.
                    let until =
                        expired.back.max(ending).max(expired.left_at + hold) + Duration::from_millis(200);
                    let came_back = expired.back > expired.at;
                    assert!(
                        ending.is_zero() || !came_back || now <= until,
                        "{correlation} expires late: {expired:?} at {now:?}"
                    );
                    assert!(is_time, "{correlation} expires early: {expired:?} at {now:?}");
                }
            }
            Event::Closed { token, .. } => {
                let client = clients.remove(&token).unwrap();
                closed.push((token, client));
            }
            Event::Close { client, .. } => closes.push(client),
            _ => {}
        });
        assert!(polled.is_ok());
        for id in closes {
            let client = clients.values_mut().find(|client| client.id == id).unwrap();
            if !std::mem::replace(&mut client.leaving, true) {
                port.disconnect(id).unwrap();
            }
        }
        closed
    }

    pub fn acknowledge(&mut self, random: &mut Random) {
        for client in self.clients.values_mut() {
            if random.chance(60) {
                for bytes in client.unacknowledged.drain(..) {
                    self.port.acknowledge(client.id, 1, bytes);
                }
            }
        }
    }

    /// Closes the client of a name, if it has one.
    pub fn close(&mut self, name: &str) {
        let Some((number, client)) = self.client_of(name) else { return };
        let id = client.id;
        crate::log(name, || format!("  close client {number}"));
        self.port.disconnect(id).unwrap();
        self.clients.get_mut(&number).unwrap().leaving = true;
    }

    /// Each message has arrived, or its sender was told.
    pub fn check_outcomes(&self, process: u64, ledger: &Ledger) {
        let all = self.router.accounting();
        assert_eq!((all.in_flight, all.queued, all.held), (0, 0, 0), "{all:?}");
        assert_eq!(all.submitted, self.submitted + self.refused + self.incoming);
        assert_eq!(self.incoming, self.results, "results are missing");
        let own = || ledger.all().filter(|(_, message)| message.incarnation == process);
        let told = own().filter(|(_, message)| message.told.is_some()).count() as u64;
        let is_here = |message: &Message| self.clients.contains_key(&message.sender);
        let silent = own().filter(|(_, message)| message.told.is_none() && !is_here(message)).count() as u64;
        let rooms =
            own().filter(|(_, message)| message.kind == Kind::Room && is_here(message)).count() as u64;
        let ok = all.ok - self.results_ok;
        let most = self.submitted - told;
        assert!(ok <= most && most <= ok + silent + rooms, "{ok} ended well, {most} had no notice");
        for (number, message) in own().filter(|(_, message)| is_here(message) && message.kind != Kind::Room) {
            if message.told.is_none() && message.got.is_empty() {
                let closed = ledger.closed.get(message.to);
                assert!(
                    closed.is_some_and(|closed| *closed >= message.at),
                    "{number} has no outcome: {message:?}"
                );
            }
        }
    }
}
