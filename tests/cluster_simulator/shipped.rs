//! Routers joined by the shipped machines of a cluster: links, leases, names, directories. What is simulated is NATS and
//! the thread (`src/cluster/driver.rs`), which this file follows.

mod drain;
mod rooms;
mod rules;

use crate::Reached;
use crate::bucket::{Ask, Bucket, Entry, with_mark};
use crate::core::{Client, Core, NAMES, PROTOCOL, ROOMS, Settings, Times};
use crate::ledger::{Kind, Ledger};
use crate::net::Net;
use crate::random::Random;
use corelane::clock::{Clock, ManualClock};
use corelane::cluster::asks::AskFigures;
use corelane::cluster::directory::{Change, Directory, Liveness, Mac, MachineInfo, Owner, REFILL};
use corelane::cluster::keys;
use corelane::cluster::lease::{self, Lease};
use corelane::cluster::link::sender::Due;
use corelane::cluster::links::{Links, Refused};
use corelane::cluster::names::{
    Action, ClaimError, MAX_CLAIMS, Names, OPENING, Operation, Outcome, Seen, Told,
};
use corelane::cluster::rooms::Rooms;
use corelane::cluster::wire;
use corelane::error::ConnectError;
use corelane::router::{FromWorker, GatewayOptions, Reject};
use rules::Rules;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const STEPS: u64 = 700;
/// An operation without an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub const SITUATIONS: [&str; 40] = [
    "arrived here",
    "arrived elsewhere",
    "expired",
    "link_lost",
    "claimed",
    "claim refused: taken",
    "claim refused: unavailable",
    "claim refused: fenced",
    "claim refused: busy",
    "lost: Replaced",
    "lost: Taken",
    "fenced",
    "paused",
    "died",
    "swept",
    "seized",
    "connected again under its claim",
    "gone and touched",
    "another server",
    "all lost NATS",
    "lost the bucket",
    "written late",
    "lost a link",
    "connects late",
    "connects among messages",
    "asked, and found",
    "asked, and nowhere",
    "asked, without an answer",
    "asked, and evicted",
    "all names have room again",
    "all reach all",
    "claim refused: draining",
    "drained",
    "its lease says that it drains",
    "arrived in a room elsewhere",
    "a room reaches all its members",
    "a frame of a machine that has ended",
    "a gap",
    "a late frame",
    "an older epoch",
];
/// No acknowledged renewal for this long is a gap.
const GAP: Duration = Duration::from_secs(8);
/// The largest payloads of the servers.
const MAX_PAYLOADS: [usize; 2] = [1 << 20, 28_000];

struct Node {
    /// The number of the process.
    process: u64,
    incarnation: u64,
    core: Core,
    info: MachineInfo,
    lease: Lease,
    names: Names,
    directory: Directory,
    links: Links,
    is_fenced: bool,
    seen: usize,
    paused_until: Duration,
    next_slow: Duration,
    /// The asked operations, and until when an answer is of use.
    asked: BTreeMap<u64, (Ask, Duration)>,
    /// Claims that wait: their names.
    claims: BTreeMap<u64, &'static str>,
    /// Claims that have succeeded and whose clients are not connected yet.
    opening: Vec<(u64, &'static str)>,
    /// Claims that have succeeded and not ended.
    succeeded: BTreeSet<u64>,
    max_payload: usize,
    /// The host connects no client before.
    opens_from: Duration,
    rooms: Rooms,
    /// The subject of its frames.
    subject: String,
    /// The incarnations whose end it was told of.
    ended: BTreeSet<u64>,
    /// It drains, and its host closes clients from then on.
    drains_from: Option<Duration>,
    /// When its host has stopped it.
    stopped: Option<Duration>,
    /// The bucket that it knows, and when it notices that there is another one, or its watch of that begins.
    generation: u64,
    notices_at: Duration,
    /// It has noticed a new bucket, and its watch has not begun.
    has_new_bucket: bool,
    /// No name is claimed before.
    claims_from: Duration,
    /// When its last acknowledged renewal was sent, whatever its incarnation, and when it began, or its last gap ended.
    renewed: Option<Duration>,
    back_at: Option<Duration>,
}

/// What a machine knew when it asked.
#[derive(Clone, Copy)]
struct Knew {
    /// Rule 6: its last gap ended long enough ago.
    may_seize: bool,
    /// The owner of the name, if it lived.
    owner: Option<u64>,
    /// The bucket that it watched.
    generation: u64,
}

pub struct Shipped {
    random: Random,
    now: Duration,
    clock: Clock,
    hands: ManualClock,
    settings: Settings,
    nodes: Vec<Option<Node>>,
    bucket: Bucket,
    frames: Net<(String, Vec<u8>)>,
    asks: Net<(u64, Ask, Knew)>,
    answers: Net<(u64, Outcome)>,
    /// Processes that NATS does not reach.
    cut: Vec<u64>,
    ledger: Ledger,
    last_claim: u64,
    last_process: u64,
    last_ask: u64,
    ending: bool,
    /// Most messages go to one name, whose client comes and goes under its claim.
    is_focused: bool,
    answers_of: Answers,
    rules: Rules,
    /// The last owner of each name that has not given it up, also of a name that was swept or lost, and of which bucket.
    owners: BTreeMap<Box<str>, (Owner, u64)>,
    /// The claims that were written.
    written: BTreeSet<(u64, u64)>,
    /// When the bucket was lost last.
    lost_at: Duration,
    marks: Marks,
    has_outages: bool,
    loses_bucket: bool,
    reached: Reached,
}

impl Shipped {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed ^ 0x5eed);
        let (clock, hands) = Clock::manual();
        hands.advance(Duration::from_secs(1_000));
        let mut settings = Settings::random(&mut random);
        // With room for few names the others are asked for.
        settings.gateway.names = [100, 100, 3, 2, 1, 0][random.below(6) as usize];
        let (lost, delay) = ([0, 0, 3][random.below(3) as usize], [1, 20, 400][random.below(3) as usize]);
        let (machines, is_focused) = (2 + random.below(2), random.chance(30));
        let rules = Rules::new(&mut random);
        let (has_outages, loses_bucket) = (random.chance(25), random.chance(20));
        let mut world = Self {
            random,
            now: Duration::from_secs(1_000),
            clock,
            hands,
            settings,
            nodes: (0..machines).map(|_| None).collect(),
            bucket: Bucket::default(),
            frames: Net::new(lost, delay),
            asks: Net::new(lost, delay),
            answers: Net::new(lost, delay),
            cut: Vec::new(),
            ledger: Ledger::default(),
            last_claim: 0,
            last_process: 0,
            last_ask: 0,
            ending: false,
            is_focused,
            answers_of: Answers::default(),
            rules,
            owners: BTreeMap::new(),
            written: BTreeSet::new(),
            lost_at: Duration::ZERO,
            marks: Marks { all: vec![0], wrong: BTreeMap::new() },
            has_outages,
            loses_bucket,
            reached: Reached::default(),
        };
        (0..machines as usize).for_each(|place| world.start(place));
        world
    }

    pub fn run(mut self) -> Reached {
        // The machines meet.
        for _ in 0..20 {
            self.round();
            self.advance(50);
        }
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.end();
        self.reached
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=9 => self.claim(),
            10..=34 => self.submit(),
            35..=36 if self.is_focused => self.disconnect(),
            35..=36 => self.join(),
            37..=39 => self.disconnect(),
            40..=54 => {
                if let Some(place) = self.some_place() {
                    self.cycle_of(place);
                }
            }
            55..=69 => {
                if let Some(place) = self.some_place() {
                    self.turn(place);
                }
            }
            70..=79 => self.carry(),
            80..=84 => {
                if let Some(place) = self.some_place() {
                    self.poll_of(place);
                }
            }
            85..=88 => {
                if let Some(place) = self.some_place() {
                    let most = 1 + self.random.below(5) as usize;
                    self.watch_of(place, most);
                }
            }
            89..=94 => {
                let most = match self.random.below(100) {
                    0 => 12_000,
                    1..=9 => 1_500,
                    _ => 60,
                };
                let by = self.random.below(most);
                self.advance(by);
            }
            95 if self.has_outages && self.random.chance(15) => self.outage(),
            95 if self.loses_bucket && self.marks.all.len() < 4 && self.random.chance(15) => {
                self.lose_bucket()
            }
            95 => self.isolate(),
            96 if self.random.chance(30) => self.pause(),
            96 => self.lose(),
            97 if self.random.chance(20) => self.die(),
            97 if self.random.chance(5) => self.drain(),
            98 => {
                if let Some(place) = self.nodes.iter().position(Option::is_none) {
                    self.start(place);
                }
            }
            99 if self.random.chance(60) => self.connect_among_messages(),
            _ => self.round(),
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        let by = Duration::from_millis(milliseconds);
        self.now += by;
        self.hands.advance(by);
        self.bucket.expire(self.now);
    }

    /// All machines that run do what there is to do.
    fn round(&mut self) {
        for place in 0..self.nodes.len() {
            if self.is_running(place) {
                self.watch_of(place, usize::MAX);
                self.node(place).core.port.publish();
                self.turn(place);
                self.cycle_of(place);
                self.poll_of(place);
            }
        }
        self.carry();
        self.stop_drained();
    }

    fn is_running(&self, place: usize) -> bool {
        self.nodes[place].as_ref().is_some_and(|node| node.paused_until <= self.now)
    }

    fn some_place(&mut self) -> Option<usize> {
        let all: Vec<usize> = (0..self.nodes.len()).filter(|place| self.is_running(*place)).collect();
        self.random.pick(&all).copied()
    }

    fn node(&mut self, place: usize) -> &mut Node {
        self.nodes[place].as_mut().unwrap()
    }

    fn some_client(&mut self) -> Option<(usize, u64)> {
        let mut all = Vec::new();
        for place in 0..self.nodes.len() {
            if self.is_running(place) {
                let clients = self.node(place).core.clients.iter();
                all.extend(clients.filter(|(_, client)| !client.leaving).map(|(number, _)| (place, *number)));
            }
        }
        self.random.pick(&all).copied()
    }

    fn start(&mut self, place: usize) {
        self.last_process += 1;
        let process = self.last_process;
        let incarnation = process * 1000;
        let now = self.now;
        self.nodes[place] = Some(Node {
            process,
            incarnation,
            core: Core::new(&self.settings, &self.clock, process),
            info: MachineInfo { machine: format!("m{place}"), is_draining: false },
            lease: Lease::new(now),
            names: Names::new(incarnation).with_max_claims(self.rules.max_claims),
            directory: Directory::new(incarnation, self.settings.gateway.names, 100),
            links: Links::new(MAX_PAYLOADS[0]),
            is_fenced: false,
            seen: 0,
            paused_until: now,
            next_slow: now,
            asked: BTreeMap::new(),
            claims: BTreeMap::new(),
            opening: Vec::new(),
            succeeded: BTreeSet::new(),
            max_payload: MAX_PAYLOADS[0],
            opens_from: now,
            rooms: Rooms::default(),
            subject: keys::subject("sim", &format!("m{place}"), incarnation),
            ended: BTreeSet::new(),
            drains_from: None,
            stopped: None,
            generation: self.bucket.generation,
            notices_at: now,
            has_new_bucket: false,
            claims_from: now,
            renewed: None,
            back_at: None,
        });
        self.bucket.is_lost = false;
        self.watch_again(place);
    }

    /// A machine notices that the bucket is another one. Its watch begins a while later.
    fn notice(&mut self, place: usize) {
        self.bucket.is_lost = false; // It is made again.
        let (now, generation) = (self.now, self.bucket.generation);
        let node = self.nodes[place].as_mut().unwrap();
        if std::mem::replace(&mut node.generation, generation) != generation {
            node.has_new_bucket = true;
            node.notices_at = now + Duration::from_millis(self.random.below(500));
            node.rooms.write_all();
            node.claims_from = now + REFILL;
            node.lease.bucket_is_new(now);
            node.names.bucket_is_new();
            node.directory.bucket_is_new();
        }
    }

    fn watch_again(&mut self, place: usize) {
        self.notice(place);
        let (all, seen, now) = (self.bucket.all(), self.bucket.log.len(), self.now);
        let node = self.node(place);
        node.directory.begin(std::mem::take(&mut node.has_new_bucket));
        node.names.watch_begins();
        node.rooms.watch_begins();
        all.into_iter().for_each(|entry| node.entry(entry, now));
        node.seen = seen;
        node.directory.synced(now);
        node.rooms.write_missing();
        if node.lease.is_valid(now) {
            let directory = &node.directory;
            node.names.reclaim_missing(|name| directory.is_told(name));
        }
    }

    fn die(&mut self) {
        if let Some(place) = self.some_place() {
            let node = self.nodes[place].take().unwrap();
            for client in node.core.clients.values() {
                self.ledger.closed.insert(client.name, self.now);
            }
            self.reached.note("died");
        }
    }

    fn pause(&mut self) {
        let until = self.now + Duration::from_millis(500 + self.random.below(30_000));
        if let Some(place) = self.some_place() {
            self.node(place).paused_until = until;
            self.reached.note("paused");
        }
    }

    /// A process loses NATS, or all reach it again.
    fn isolate(&mut self) {
        if !self.cut.is_empty() {
            self.cut.clear();
            for place in 0..self.nodes.len() {
                if self.nodes[place].is_none() {
                    continue;
                }
                if self.random.chance(30) {
                    self.watch_again(place);
                }
                // A reconnect, perhaps to another server.
                let (max_payload, now) = (*self.random.pick(&MAX_PAYLOADS).unwrap(), self.now);
                let node = self.node(place);
                if std::mem::replace(&mut node.max_payload, max_payload) != max_payload {
                    node.links.set_max_payload(max_payload, &mut node.core.gateway, now);
                    self.reached.note("another server");
                }
            }
        } else if let Some(place) = self.some_place() {
            let now = self.now;
            let node = self.nodes[place].as_mut().unwrap();
            node.links.disconnected(&mut node.core.gateway, now);
            let process = node.process;
            self.cut.push(process);
        }
    }

    /// No process reaches NATS, and leases expire. Then they return one after the other, while clients come with other tokens.
    fn outage(&mut self) {
        self.reached.note("all lost NATS");
        let now = self.now;
        self.cut.clear();
        for node in self.nodes.iter_mut().flatten() {
            node.links.disconnected(&mut node.core.gateway, now);
            self.cut.push(node.process);
        }
        let until = now + Duration::from_millis(1_000 + self.random.below(60_000));
        while self.now < until {
            self.round();
            self.check();
            self.advance(500);
        }
        while !self.cut.is_empty() {
            let back = self.random.below(self.cut.len() as u64) as usize;
            let process = self.cut.swap_remove(back);
            let is_it = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.process == process);
            let place = self.nodes.iter().position(is_it);
            if let Some(place) = place.filter(|_| self.random.chance(50)) {
                self.watch_again(place);
            }
            let until = self.now + Duration::from_millis(self.random.below(9_000));
            while self.now < until {
                self.round();
                self.claim();
                self.check();
                self.advance(200);
            }
        }
    }

    /// The bucket is lost, and each machine notices it for itself.
    fn lose_bucket(&mut self) {
        self.reached.note("lost the bucket");
        let now = self.now;
        // Marks are in no order.
        let mark = 1 + self.random.below((1 << 24) - 1);
        self.marks.all.push(mark);
        self.bucket.lose(mark);
        self.lost_at = now;
        for node in self.nodes.iter_mut().flatten() {
            node.notices_at = now + Duration::from_millis(self.random.below(2_500));
        }
        for _ in 0..self.random.below(30) {
            self.claim();
            self.round();
            self.advance(100);
        }
    }

    /// A link begins again, as after a loss of the connection to NATS: frames may be overtaken.
    fn lose(&mut self) {
        let Some(place) = self.some_place() else { return };
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        if let Some(peer) = self.random.pick(&node.links.incarnations()).copied() {
            node.links.lose(peer, &mut node.core.gateway, now);
            self.frames.connect_again(node.incarnation);
            self.reached.note("lost a link");
        }
    }

    fn claim(&mut self) {
        let Some(place) = self.some_place() else { return };
        let now = self.now;
        let name = NAMES[self.random.below(6) as usize];
        let mac: Mac = [if self.random.chance(60) { 1 } else { self.random.below(3) as u8 }; 16];
        self.last_claim += 1;
        let claim = self.last_claim;
        let node = self.nodes[place].as_mut().unwrap();
        if node.info.is_draining {
            return self.refused(ClaimError::Draining);
        }
        if node.is_fenced || !node.directory.is_synced() || !node.lease.is_valid(now) {
            let error = if node.is_fenced { ClaimError::Fenced } else { ClaimError::Unavailable };
            return self.refused(error);
        }
        if now < node.claims_from {
            return self.refused(ClaimError::Busy);
        }
        node.claims.insert(claim, name);
        let others = Seen { directory: &node.directory, may_seize: node.lease.may_seize(now) };
        node.names.claim(name, claim, mac, now, &others);
        self.carry_out(place);
    }

    fn refused(&mut self, error: ClaimError) {
        self.reached.note(match error {
            ClaimError::Taken => "claim refused: taken",
            ClaimError::Fenced => "claim refused: fenced",
            ClaimError::Busy => "claim refused: busy",
            ClaimError::Draining => "claim refused: draining",
            _ => "claim refused: unavailable",
        });
    }

    /// Connects the clients whose claims have succeeded.
    fn open(&mut self, place: usize) {
        let node = self.nodes[place].as_mut().unwrap();
        if self.ending {
            node.opens_from = self.now;
        } else if !node.opening.is_empty() && node.opens_from <= self.now && self.random.chance(15) {
            node.opens_from = self.now + Duration::from_millis(self.random.below(2_500));
            self.reached.note("connects late");
        }
        if self.now < node.opens_from {
            return;
        }
        for (claim, name) in std::mem::take(&mut node.opening) {
            let Some((revision, _)) = node.names.owned(name) else {
                node.names.release(name, claim);
                continue;
            };
            node.core.close(name);
            self.last_claim += 1;
            let number = self.last_claim;
            match node.core.port.connect(name, PROTOCOL, "", number) {
                Ok(id) => {
                    let first = self.marks.in_order(claim, revision);
                    node.core.clients.insert(number, Client::new(id, name, claim, first));
                    crate::log(name, || {
                        let (now, own) = (self.now, node.incarnation);
                        format!("{now:?} {own}: connect {number} under claim {claim}, revision {revision}")
                    });
                }
                Err(ConnectError::TooManyClients(_)) => {
                    self.ledger.closed.insert(name, self.now);
                    node.succeeded.remove(&claim);
                    node.names.release(name, claim);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A client connects while messages for its name are on their way, after the first ones were answered as gone.
    fn connect_among_messages(&mut self) {
        let late = (0..self.nodes.len()).filter(|place| self.is_running(*place)).find_map(|place| {
            let node = self.nodes[place].as_ref()?;
            let is_late =
                |name: &str| node.names.owned(name).is_some_and(|(_, since)| self.now >= since + OPENING);
            node.opening.iter().find(|(_, name)| is_late(name)).map(|(_, name)| (place, *name))
        });
        let (Some((place, name)), Some((sender, number))) = (late, self.some_client()) else { return };
        if sender == place {
            return;
        }
        self.reached.note("connects among messages");
        let (count, connects) = (6 + self.random.below(6), 2 + self.random.below(4));
        for at in 0..count {
            let now = self.now;
            self.node(place).opens_from = if at < connects { Duration::MAX } else { now };
            let node = self.nodes[sender].as_mut().unwrap();
            if node.core.clients.get(&number).is_none_or(|client| client.leaving) {
                break;
            }
            node.core.submit(
                (node.process, number),
                name,
                Kind::Offer,
                now,
                &mut self.ledger,
                &mut self.random,
            );
            node.core.port.publish();
            self.cycle_of(sender);
            self.turn(sender);
            let by = self.random.below(20);
            self.advance(by);
            self.carry();
            self.turn(place);
            self.cycle_of(place);
            self.poll_of(place);
        }
        self.node(place).opens_from = self.now;
    }

    fn disconnect(&mut self) {
        let Some((place, number)) = self.some_client() else { return };
        let focus = if self.is_focused { self.node(place).core.client_of(NAMES[0]) } else { None };
        let number = focus.map_or(number, |(number, _)| number);
        let returns = self.random.chance(if self.is_focused { 80 } else { 40 });
        let client = self.node(place).core.clients.get_mut(&number).unwrap();
        client.returns = returns;
        let name = client.name;
        self.node(place).core.close(name);
    }

    fn join(&mut self) {
        let Some((place, number)) = self.some_client() else { return };
        let room = ROOMS[self.random.below(2) as usize];
        self.join_room(place, number, room);
    }

    fn join_room(&mut self, place: usize, number: u64, room: &'static str) {
        let node = self.node(place);
        let id = node.core.clients[&number].id;
        if node.core.port.join(id, room).is_ok() {
            node.core.clients.get_mut(&number).unwrap().rooms.insert(room);
        }
    }

    fn submit(&mut self) {
        let Some((place, number)) = self.some_client() else { return self.claim() };
        let kind =
            [Kind::Offer, Kind::Offer, Kind::Now, Kind::Hint, Kind::Room][self.random.below(5) as usize];
        let to = match kind {
            Kind::Room => ROOMS[self.random.below(2) as usize],
            _ if self.is_focused && self.random.chance(70) => NAMES[0],
            _ => NAMES[self.random.below(6) as usize],
        };
        if kind == Kind::Room && self.random.chance(70) {
            self.join_room(place, number, to);
        }
        let count = if self.random.chance(4) { self.random.below(30) } else { 1 };
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        for _ in 0..count {
            node.core.submit((node.process, number), to, kind, now, &mut self.ledger, &mut self.random);
        }
        if self.random.chance(60) {
            self.node(place).core.port.publish();
        }
    }

    fn cycle_of(&mut self, place: usize) {
        let (now, all) = (self.clock.now(), self.ending || self.random.chance(20));
        for worker in &mut self.node(place).core.workers {
            while worker.cycle(now) > 0 && all {}
        }
    }

    fn poll_of(&mut self, place: usize) {
        let now = self.now;
        let limit = if self.ending { 10_000 } else { [1, 5, 1_000][self.random.below(3) as usize] };
        let node = self.nodes[place].as_mut().unwrap();
        for client in node.core.clients.values_mut().filter(|client| !client.leaving) {
            if let Some((revision, _)) = node.names.owned(client.name)
                && node.succeeded.contains(&client.claim)
            {
                client.latest = self.marks.in_order(client.claim, revision);
            }
        }
        let times = Times { now, ending: Duration::ZERO, settings: &self.settings };
        let closed = node.core.read(limit, node.process, &times, &mut self.ledger, &mut self.reached);
        node.core.acknowledge(&mut self.random);
        for (_, client) in closed {
            self.ledger.closed.insert(client.name, now);
            if client.returns && node.succeeded.contains(&client.claim) {
                self.reached.note("connected again under its claim");
                node.opening.push((client.claim, client.name));
            } else {
                node.succeeded.remove(&client.claim);
                node.names.release(client.name, client.claim);
            }
        }
    }

    fn watch_of(&mut self, place: usize, most: usize) {
        let now = self.now;
        let process = self.node(place).process;
        if self.cut.contains(&process) {
            return;
        }
        let is_other = self.node(place).generation != self.bucket.generation;
        if is_other || self.node(place).has_new_bucket {
            match now >= self.node(place).notices_at {
                true if is_other => self.notice(place),
                true => self.watch_again(place),
                false => {}
            }
            return self.carry_out(place);
        }
        for _ in 0..most {
            let node = self.nodes[place].as_mut().unwrap();
            let Some(entry) = self.bucket.log.get(node.seen).cloned() else { break };
            node.seen += 1;
            node.entry(entry, now);
            if node.lease.is_fenced() {
                self.fence(place);
            }
        }
        self.carry_out(place);
    }

    fn ask(&mut self, place: usize, ask: Ask) {
        self.last_ask += 1;
        let number = self.last_ask;
        let until = self.now + PATIENCE;
        let node = self.nodes[place].as_mut().unwrap();
        node.asked.insert(number, (ask.clone(), until));
        let name = match &ask {
            Ask::Operate(operation) => Some(&*operation.name),
            _ => None,
        };
        let owner = name.and_then(|name| node.directory.owner(name)).map(|(owner, _)| owner.incarnation);
        let knew = Knew {
            may_seize: node.back_at.is_some_and(|back| self.now >= back + lease::SEIZE_AFTER),
            owner: owner.filter(|one| node.directory.liveness(*one) == Liveness::Alive),
            generation: node.generation,
        };
        let (from, is_write) =
            ((node.process, 0), matches!(&ask, Ask::Operate(Operation { action: Action::Put(..), .. })));
        if self.has_outages && !self.ending && is_write && self.random.chance(2) {
            // It waits in a connection that is made again, and is done after its caller was told that nobody answers.
            self.reached.note("written late");
            self.asks.put(until + Duration::from_millis(self.random.below(3_000)), from, (number, ask, knew));
        } else if !self.cut.contains(&node.process) {
            self.asks.send(&mut self.random, self.now, from, (number, ask, knew));
        }
    }

    /// A turn of the thread.
    fn turn(&mut self, place: usize) {
        let now = self.now;
        self.drain_on(place);
        self.open(place);
        self.node(place).take_records(now);
        match self.node(place).lease.due(now) {
            lease::Due::Renew(expected) => {
                let node = self.node(place);
                let ask = Ask::Renew(node.incarnation, node.info.clone(), expected, now);
                self.ask(place, ask);
            }
            lease::Due::Read => {
                let incarnation = self.node(place).incarnation;
                self.ask(place, Ask::ReadLease(incarnation));
            }
            lease::Due::Fence => self.fence(place),
            lease::Due::Nothing => {}
        }
        let late: Vec<u64> =
            self.node(place).asked.iter().filter(|one| now >= one.1.1).map(|one| *one.0).collect();
        late.into_iter().for_each(|number| self.answer(place, number, Outcome::Unavailable));
        for one in self.node(place).links.incarnations() {
            let node = self.nodes[place].as_mut().unwrap();
            node.links.retry(one, &mut node.core.gateway, &mut node.names, now);
            let Some(peer) = node.links.get_mut(one) else { continue };
            match peer.due(now) {
                Due::Nothing => {}
                Due::Lost => node.links.lose(one, &mut node.core.gateway, now),
                Due::Send(kind) => {
                    if node.lease.is_valid(now) {
                        let frame = peer.bare(kind, node.incarnation);
                        self.send(place, one, frame);
                    }
                }
            }
        }
        self.carry_out(place);
        if self.node(place).lease.is_valid(now) {
            for one in self.node(place).links.incarnations() {
                loop {
                    let node = self.node(place);
                    let own = node.incarnation;
                    let Some(frame) = node.links.get_mut(one).and_then(|peer| peer.frame(own, now)) else {
                        break;
                    };
                    self.send(place, one, frame);
                }
            }
        }
        self.node(place).core.gateway.publish();
        if now >= self.node(place).next_slow {
            self.slow(place);
        }
    }

    fn send(&mut self, place: usize, to: u64, frame: Vec<u8>) {
        let subject = self.node(place).links.get_mut(to).unwrap().subject.clone();
        self.send_to(place, to, subject, frame);
    }

    fn send_to(&mut self, place: usize, to: u64, subject: String, frame: Vec<u8>) {
        let node = self.nodes[place].as_ref().unwrap();
        let decoded = wire::decode(&frame).unwrap();
        self.answers_of.sent(&decoded);
        self.rules.sent(&decoded);
        assert!(frame.len() <= node.max_payload, "larger than the server takes");
        if self.cut.contains(&node.process) {
            return;
        }
        let pair = (node.incarnation, to);
        match self.rules.holds_back(&mut self.random) {
            Some(by) => self.frames.put(self.now + by, pair, (subject, frame)),
            None => self.frames.send(&mut self.random, self.now, pair, (subject, frame)),
        }
    }

    fn slow(&mut self, place: usize) {
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        node.next_slow = now + Duration::from_millis(100);
        let mut asks = Vec::new();
        node.directory.tick(now);
        if node.lease.is_valid(now) {
            let may_seize = node.lease.may_seize(now);
            let mut swept = if may_seize { node.directory.sweep(now, MAX_CLAIMS) } else { Vec::new() };
            swept.retain(|(name, _)| !node.names.contains(name));
            swept.sort();
            if !swept.is_empty() {
                self.reached.note("swept");
            }
            asks.extend(swept.into_iter().map(|(name, revision)| Ask::Sweep(name, revision)));
            for name in node.names.gone() {
                if node.core.gateway.is_local(&name) {
                    self.reached.note("gone and touched");
                    node.names.touch(&name);
                }
            }
        }
        asks.extend(node.room_asks(now));
        asks.into_iter().for_each(|ask| self.ask(place, ask));
    }

    fn fence(&mut self, place: usize) {
        let now = self.now;
        self.reached.note("fenced");
        let node = self.nodes[place].as_mut().unwrap();
        NAMES.iter().for_each(|name| crate::log(name, || format!("{now:?} {} is fenced", node.incarnation)));
        let before = node.incarnation;
        node.is_fenced = true;
        node.incarnation += 1;
        node.lease = Lease::new(now);
        node.directory.set_own(node.incarnation, now);
        node.names.restart(node.incarnation);
        node.rooms.write_all();
        node.links.begin_again(&mut node.core.gateway, now);
        node.subject = keys::subject("sim", &node.info.machine, node.incarnation);
        self.ask(place, Ask::EndLease(before));
    }

    /// Operations, answers and changes of the machines.
    fn carry_out(&mut self, place: usize) {
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        if node.lease.is_valid(now) {
            node.is_fenced = false;
            let room = self.rules.max_claims.saturating_sub(node.operations());
            node.names.tick(now, room);
        }
        let mut operations = node.names.operations();
        operations.sort_by(|one, other| (&one.name, one.number).cmp(&(&other.name, other.number)));
        let told = node.names.told();
        for one in told {
            match one {
                Told::Claimed(claim, result) => {
                    let Some(name) = node.claims.remove(&claim) else { continue };
                    match result {
                        Ok(()) => {
                            self.reached.note("claimed");
                            // Rule 8.
                            let of_claim = (node.incarnation, claim);
                            assert!(
                                self.written.contains(&of_claim),
                                "{claim} of {name} is opened unwritten"
                            );
                            node.succeeded.insert(claim);
                            node.opening.push((claim, name));
                        }
                        Err(error) => self.reached.note(match error {
                            ClaimError::Taken => "claim refused: taken",
                            ClaimError::Fenced => "claim refused: fenced",
                            ClaimError::Busy => "claim refused: busy",
                            _ => "claim refused: unavailable",
                        }),
                    }
                }
                Told::Lost(name, claim, reason) => {
                    crate::log(&name, || format!("{now:?} {}: {claim} lost, {reason:?}", node.incarnation));
                    self.reached.note(match reason {
                        corelane::cluster::LostReason::Replaced => "lost: Replaced",
                        _ => "lost: Taken",
                    });
                    node.opening.retain(|one| one.0 != claim);
                    node.succeeded.remove(&claim);
                    if node.core.client_of(&name).is_some_and(|(_, client)| client.claim == claim) {
                        node.core.close(&name);
                    }
                }
            }
        }
        let is_connected = !self.cut.contains(&node.process) || self.random.chance(50);
        let reads = node.directory.reads(is_connected);
        let mut changes = node.directory.changes();
        // The order of a map's entries is another one each time.
        changes
            .chunk_by_mut(|one, other| std::mem::discriminant(one) == std::mem::discriminant(other))
            .for_each(|same| {
                same.sort_by_key(|change| match change {
                    Change::Place(name, ..) | Change::Displace(name) | Change::Interest(name) => {
                        (name.to_string(), 0)
                    }
                    Change::Up(one) | Change::Down(one) => (String::new(), *one),
                    Change::Complete(_) => (String::new(), 0),
                })
            });
        if changes.contains(&Change::Complete(true)) {
            self.reached.note("all names have room again");
        }
        changes.into_iter().for_each(|change| node.change(change, now));
        for (worker, name, answer) in node.directory.answers() {
            crate::log(&name, || format!("{now:?} {}: tells worker {worker} {answer:?}", node.incarnation));
            node.core.gateway.answer_ask(worker, &name, node.links.whereabouts(answer));
        }
        reads.into_iter().for_each(|name| self.ask(place, Ask::Find(name)));
        operations.into_iter().for_each(|operation| self.ask(place, Ask::Operate(operation)));
    }

    /// What the network and the leader do.
    fn carry(&mut self) {
        let now = self.now;
        while let Some((process, _, (number, ask, knew))) = self.asks.next(now) {
            let before = match &ask {
                Ask::Operate(Operation { name, .. }) | Ask::Sweep(name, _) => self.bucket.owner(name),
                _ => None,
            };
            let mut outcome = self.bucket.apply(&ask, now);
            if matches!(ask, Ask::Find(_)) && !self.ending && self.random.chance(3) {
                outcome = Outcome::Unavailable;
            }
            match (&ask, outcome) {
                (Ask::Operate(Operation { name, action: Action::Put(_, new), .. }), Outcome::Done(_)) => {
                    self.check_owner(name, *new, before, knew);
                    self.written.insert((new.incarnation, new.claim));
                }
                // Given up.
                (Ask::Operate(Operation { name, action: Action::Delete(_), .. }), Outcome::Done(_)) => {
                    self.owners.remove(name);
                }
                (Ask::Sweep(name, _), Outcome::Done(_)) if self.bucket.owner(name).is_none() => {
                    if let Some(old) = before {
                        assert!(knew.may_seize, "{name} is swept too soon after a gap");
                        // A machine knows that its own incarnation before has ended, although its lease may still be there.
                        if old.incarnation / 1000 == process {
                            assert!(!self.is_valid(old), "{name} is swept, and its owner is not fenced");
                        } else {
                            self.check_dead(name, old);
                        }
                    }
                }
                _ => {}
            }
            match &ask {
                Ask::Operate(operation) => crate::log(&operation.name, || {
                    format!("{now:?} bucket of process {process}: {operation:?} {outcome:?}")
                }),
                Ask::Find(name) => {
                    crate::log(name, || format!("{now:?} bucket of process {process}: find {outcome:?}"))
                }
                Ask::Sweep(name, revision) => {
                    crate::log(name, || format!("{now:?} bucket of process {process}: sweep {revision:?}"))
                }
                _ => {}
            }
            if !self.cut.contains(&process) {
                self.answers.send(&mut self.random, now, (0, process), (number, outcome));
            }
        }
        // What is for a paused process waits.
        let mut later = Vec::new();
        while let Some((_, process, (number, outcome))) = self.answers.next(now) {
            match self.nodes.iter().position(|node| node.as_ref().is_some_and(|node| node.process == process))
            {
                Some(place) if self.is_running(place) => self.answer(place, number, outcome),
                Some(_) => later.push((process, (number, outcome))),
                None => {}
            }
        }
        for (process, answer) in later {
            self.answers.put(now + Duration::from_millis(1), (0, process), answer);
        }
        let mut later = Vec::new();
        while let Some((from, to, (subject, bytes))) = self.frames.next(now) {
            match self.nodes.iter().position(|node| node.as_ref().is_some_and(|node| node.subject == subject))
            {
                Some(place) if self.is_running(place) => self.received(place, &bytes),
                Some(_) => later.push((from, to, (subject, bytes))),
                None => {}
            }
        }
        for (from, to, frame) in later {
            self.frames.put(now + Duration::from_millis(1), (from, to), frame);
        }
    }

    fn received(&mut self, place: usize, bytes: &[u8]) {
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        if !node.lease.is_valid(now) || self.cut.contains(&node.process) {
            return;
        }
        let frame = wire::decode(bytes).unwrap();
        assert_eq!(frame.to, node.incarnation, "rule 2: a frame for another incarnation");
        self.answers_of.answered(&frame);
        self.take_frame(place, &frame);
    }

    /// The answer of the leader, or none.
    fn answer(&mut self, place: usize, number: u64, outcome: Outcome) {
        let now = self.now;
        let node = self.nodes[place].as_mut().unwrap();
        let Some((ask, _)) = node.asked.remove(&number) else { return };
        let outcome = self.marks.of_node(&ask, outcome, node.generation);
        match ask {
            Ask::Operate(operation) => {
                let others = Seen { directory: &node.directory, may_seize: node.lease.may_seize(now) };
                if let Some((owner, revision)) = node.names.done(&operation, outcome, now, &others) {
                    node.directory.name(&operation.name, revision, owner, now);
                }
            }
            Ask::Find(name) => {
                let (gateway, news) = (&node.core.gateway, outcome.news());
                let counts = node.directory.was_read(&name, news, now, |name| gateway.take_used(name));
                if let (true, Some((revision, owner))) = (counts, news) {
                    node.names.seen(&name, revision, owner);
                }
            }
            Ask::Renew(incarnation, _, _, sent) if incarnation == node.incarnation => match outcome {
                Outcome::Done(revision) => {
                    if node.renewed.is_none_or(|before| sent >= before + GAP) {
                        node.back_at = Some(now);
                    }
                    node.renewed = Some(sent);
                    node.lease.renewed(sent, revision, now);
                }
                Outcome::Conflict => node.lease.refused(now),
                _ => node.lease.failed(now),
            },
            Ask::ReadLease(incarnation) if incarnation == node.incarnation => {
                let due = match outcome {
                    Outcome::Done(revision) => node.lease.read(revision, true, now),
                    Outcome::Nothing(revision) => node.lease.read(revision, false, now),
                    _ => {
                        node.lease.failed(now);
                        lease::Due::Nothing
                    }
                };
                if due == lease::Due::Fence {
                    self.fence(place);
                }
            }
            Ask::Room(room, _, has) => node.rooms.done(room, has, matches!(outcome, Outcome::Done(_))),
            _ => {}
        }
        self.carry_out(place);
    }

    fn check(&mut self) {
        for node in self.nodes.iter().flatten() {
            node.core.check();
            let (figures, kept) = node.directory.ask_figures();
            let AskFigures { asked, in_flight, found, nowhere, failed, .. } = figures;
            assert_eq!(asked, in_flight as u64 + found + nowhere + failed, "{figures:?}");
            let (names, more) =
                (self.settings.gateway.names, GatewayOptions::asked(self.settings.gateway.names));
            assert!(
                kept <= more && node.directory.len() <= names + kept,
                "more names than there is room for"
            );
            assert!(names < 100 || asked == 0, "all names have room, and one is asked for");
        }
        self.check_rules();
    }

    /// A name has an owner, and `before` is what its key was. Another token gets it only from an owner that has given it up or
    /// is dead, also if it was swept meanwhile.
    fn check_owner(&mut self, name: &str, new: Owner, before: Option<Owner>, knew: Knew) {
        let old = self.owners.insert(name.into(), (new, self.bucket.generation));
        let Some((old, generation)) = old else { return };
        if new.mac == old.mac || new.incarnation == old.incarnation {
            return;
        }
        if before.is_some() && knew.generation != self.bucket.generation {
            // NATS compares sequences only: the one that it knows of a lost bucket happens to be the entry's in this one.
            self.reached.note("seized by a sequence of a lost bucket");
            return;
        }
        if before.is_some() {
            assert!(
                knew.may_seize,
                "{name} is seized too soon after a gap: {new:?} after {old:?} and {before:?}"
            );
            self.reached.note("seized");
        }
        if generation == self.bucket.generation {
            self.check_dead(name, old);
        } else {
            // Of machines that each write a name as theirs again, because one of them had lost it, the first one has it.
            let is_again = self.written.iter().any(|(_, claim)| *claim == new.claim);
            let knew_owner = knew.owner == Some(old.incarnation);
            assert!(
                is_again || !knew_owner || !self.is_valid(old),
                "{name} is taken because an empty bucket does not have it"
            );
        }
    }

    /// The lease of this owner is gone, and it is fenced.
    fn check_dead(&self, name: &str, old: Owner) {
        // Who cannot write its lease in time after the loss of the bucket is given up while it may be valid.
        if self.now < self.lost_at + lease::TTL {
            return;
        }
        assert!(!self.bucket.has_lease(old.incarnation), "{name} is taken from an owner that lives");
        assert!(!self.is_valid(old), "{name} is taken, and its owner is not fenced");
    }

    fn is_valid(&self, owner: Owner) -> bool {
        let mut nodes = self.nodes.iter().flatten();
        nodes.any(|node| node.incarnation == owner.incarnation && node.lease.is_valid(self.now))
    }

    /// At the end each client reaches each other one, whether this machine has room for the name or not.
    fn reach_all(&mut self) {
        // Nothing expires meanwhile.
        (self.frames.delay, self.asks.delay, self.answers.delay) = (20, 20, 20);
        let mut clients = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let all = node.iter().flat_map(|node| &node.core.clients).filter(|(_, client)| !client.leaving);
            clients.extend(all.map(|(number, client)| (place, *number, client.name)));
        }
        for (place, number, own) in &clients {
            for (_, _, name) in clients.iter().filter(|(.., name)| name != own) {
                for kind in [Kind::Now, Kind::Offer] {
                    // The first one may find that the name needs another revision for its client.
                    let reaches = (0..3).any(|_| self.reaches((*place, *number), name, kind));
                    assert!(reaches, "{} of {own} does not reach {name}", kind.name());
                    self.reached.note("all reach all");
                }
            }
        }
    }

    /// Whether a message arrives. Refused ones, and those for which there is no room, count as well.
    fn reaches(&mut self, (place, number): (usize, u64), name: &'static str, kind: Kind) -> bool {
        let (now, message) = (self.now, self.ledger.next());
        let node = self.nodes[place].as_mut().unwrap();
        let from = (node.process, number);
        node.core.submit(from, name, kind, now, &mut self.ledger, &mut self.random);
        if self.ledger.next() == message {
            return true;
        }
        for _ in 0..200 {
            let message = self.ledger.of(message);
            match message.told {
                _ if !message.got.is_empty() => return true,
                Some("credit_exhausted" | "too_large" | "link_full" | "hold_full") => return true,
                Some(_) if now + Duration::from_secs(2) < self.now => return false,
                Some(_) | None => {}
            }
            self.round();
            self.check();
            self.advance(20);
        }
        false
    }

    fn end(&mut self) {
        self.ending = true;
        self.cut.clear();
        self.frames.lost = 0;
        self.rules.holds_back = false;
        self.asks.lost = 0;
        self.answers.lost = 0;
        let watches_again = self.random.chance(50);
        for place in 0..self.nodes.len() {
            if self.nodes[place].is_some() {
                self.node(place).paused_until = self.now;
                // A watch that begins again mends what its machine has missed.
                if watches_again {
                    self.watch_again(place);
                }
            }
        }
        // Leases expire, their machines return, names are swept; then messages are held once more.
        let until = self.now + 2 * lease::TTL + Duration::from_millis(self.settings.hold_ms);
        while self.now < until {
            self.round();
            self.check();
            self.advance(100);
        }
        self.reach_all();
        let until = self.now + Duration::from_millis(self.settings.hold_ms + 1_000);
        while self.now < until {
            self.round();
            self.advance(100);
        }
        for node in self.nodes.iter().flatten() {
            let (figures, _) = node.directory.ask_figures();
            for (count, what) in [
                (figures.found, "asked, and found"),
                (figures.nowhere, "asked, and nowhere"),
                (figures.failed, "asked, without an answer"),
                (figures.evicted, "asked, and evicted"),
            ] {
                if count > 0 {
                    self.reached.note(what);
                }
            }
        }
        self.reach_rooms();
        self.settle();
        self.check_bucket();
        for node in self.nodes.iter_mut().flatten() {
            node.core.incoming = node.core.results; // Each message that was taken has a result.
            node.core.check_outcomes(node.process, &self.ledger);
            assert!(node.lease.is_valid(self.now), "it has not come back");
            for client in node.core.clients.values().filter(|client| !client.leaving) {
                let owner = self.bucket.owner(client.name).map(|owner| owner.incarnation);
                assert_eq!(owner, Some(node.incarnation), "{} is connected", client.name);
            }
        }
    }
}

/// A direction of a link in one epoch: from, to, epoch.
type Way = (u64, u64, u32);

/// The marks of the buckets.
struct Marks {
    /// In the order of the buckets.
    all: Vec<u64>,
    /// Revisions that machines have taken for those of another bucket, by claim, and the right ones.
    wrong: BTreeMap<(u64, u64), u64>,
}

impl Marks {
    /// What a machine makes of a result: it adds the mark of the bucket that it knows, whichever one the result is from.
    fn of_node(&mut self, ask: &Ask, outcome: Outcome, generation: u64) -> Outcome {
        let mark = self.all[generation as usize];
        let with = |revision| if revision == 0 { 0 } else { with_mark(revision, mark) };
        let (claim, revision) = match (ask, outcome) {
            (Ask::Operate(Operation { action: Action::Put(_, owner), .. }), Outcome::Done(revision)) => {
                (owner.claim, revision)
            }
            (_, Outcome::Owned(owner, revision)) => (owner.claim, revision),
            _ => (0, 0),
        };
        self.wrong.remove(&(claim, with(revision)));
        if with(revision) != revision {
            self.wrong.insert((claim, with(revision)), revision);
        }
        match outcome {
            Outcome::Done(revision) => Outcome::Done(with(revision)),
            Outcome::Owned(owner, revision) => Outcome::Owned(owner, with(revision)),
            Outcome::Nothing(revision) => Outcome::Nothing(with(revision)),
            Outcome::Conflict | Outcome::Unavailable => outcome,
        }
    }

    /// A claim's revision in the order of the buckets.
    fn in_order(&self, claim: u64, revision: u64) -> u64 {
        let revision = self.wrong.get(&(claim, revision)).copied().unwrap_or(revision);
        let generation = self.all.iter().position(|mark| *mark == revision >> 40).unwrap();
        with_mark(revision, generation as u64)
    }
}

/// What was sent on each way, and the answers.
#[derive(Default)]
struct Answers {
    /// By sequence: name and revision.
    sent: BTreeMap<Way, BTreeMap<u64, (String, u64)>>,
    gone: BTreeSet<(Way, String, u64)>,
}

impl Answers {
    fn sent(&mut self, frame: &wire::Frame<'_>) {
        let all = self.sent.entry((frame.from, frame.to, frame.position.epoch)).or_default();
        for (sequence, record) in (frame.position.first..).zip(&frame.records) {
            if !record.is_room {
                all.insert(sequence, (record.name.to_owned(), record.revision));
            }
        }
    }

    /// Rule 4: on one link nothing is delivered to a place behind what was answered as gone there.
    fn answered(&mut self, frame: &wire::Frame<'_>) {
        let Some(acknowledgement) = &frame.acknowledgement else { return };
        let way = (frame.to, frame.from, acknowledgement.epoch);
        let Some(all) = self.sent.get_mut(&way) else { return };
        let left = all.split_off(&acknowledgement.upto);
        for (sequence, (name, revision)) in std::mem::replace(all, left) {
            let reject = acknowledgement.rejects.iter().find(|one| one.0 == sequence).map(|one| one.1);
            let place = (way, name, revision);
            match reject {
                Some(Reject::Gone) => drop(self.gone.insert(place)),
                None => {
                    assert!(!self.gone.contains(&place), "{place:?} was gone, and {sequence} is delivered")
                }
                Some(_) => {}
            }
        }
    }
}

impl Node {
    fn take_records(&mut self, now: Duration) {
        let (links, names, core) = (&mut self.links, &mut self.names, &mut self.core);
        let directory = &mut self.directory;
        let (results, results_ok) = (&mut core.results, &mut core.results_ok);
        let polled = core.gateway.poll(1_000, |record| {
            match record {
                FromWorker::Message { link, name, revision, correlation, .. } => crate::log(name, || {
                    format!(
                        "{now:?} polls {correlation} revision {revision} for slot {} epoch {}",
                        link.slot, link.epoch
                    )
                }),
                FromWorker::Result { outcome, .. } => {
                    *results += 1;
                    *results_ok += u64::from(outcome.is_ok());
                }
                FromWorker::Ask { worker, name } => {
                    crate::log(name, || format!("{now:?} worker {worker} asks"));
                    directory.ask(name, worker, now);
                }
            }
            links.record(record, names, now);
        });
        assert!(polled.is_ok());
    }

    fn entry(&mut self, entry: Entry, now: Duration) {
        if let Entry::Name(name, ..) = &entry {
            crate::log(name, || format!("{now:?} {}: sees {entry:?}", self.incarnation));
        }
        match entry {
            Entry::Name(name, revision, Some(owner)) => {
                self.directory.name(&name, revision, owner, now);
                self.names.seen(&name, revision, Some(owner));
            }
            Entry::Name(name, revision, None) => {
                self.directory.name_gone(&name, revision);
                if self.lease.is_valid(now) {
                    self.names.seen(&name, revision, None);
                }
            }
            Entry::Lease(incarnation, _, Some(info)) => self.directory.lease(incarnation, info),
            Entry::Lease(incarnation, revision, None) if incarnation == self.incarnation => {
                if revision > self.lease.revision() {
                    self.lease.expired();
                }
            }
            Entry::Lease(incarnation, _, None) => self.directory.lease_gone(incarnation, now),
            Entry::Room(room, incarnation, has) => {
                if incarnation == self.incarnation {
                    self.rooms.seen(&room, has);
                }
                assert!(self.directory.room(&room, incarnation, has));
            }
        }
    }

    fn change(&mut self, change: Change, now: Duration) {
        if let Change::Place(name, ..) | Change::Displace(name) = &change {
            crate::log(name, || format!("{now:?} {}: {change:?}", self.incarnation));
        }
        match change {
            Change::Up(incarnation) => drop(self.ended.remove(&incarnation)),
            Change::Down(incarnation) => drop(self.ended.insert(incarnation)),
            _ => {}
        }
        let is_name = matches!(change, Change::Place(..));
        let router = (&mut self.core.gateway, &self.directory);
        let subject = |machine: &str, incarnation| keys::subject("sim", machine, incarnation);
        let changed = self.links.change(change, router, subject, now);
        // A name whose machine has no link yet is displaced.
        assert!(changed.is_ok() || is_name && changed == Err(Refused::Name), "{changed:?}");
    }
}
