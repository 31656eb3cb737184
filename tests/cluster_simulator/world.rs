//! The machines, the network and the directory, and what happens to them.

use crate::Reached;
use crate::core::{Client, Core, NAMES, PROTOCOL, ROOMS, Settings, Times};
use crate::ledger::{Kind, Ledger};
use crate::link::{Due, Frame, Receiver, Record, Sender};
use crate::net::Net;
use crate::random::Random;
use corelane::clock::{Clock, ManualClock};
use corelane::error::{ConnectError, Failed, Loss};
use corelane::router::{DeliverError, FromWorker, Incoming, LinkId, LinkSet, Reject};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const STEPS: u64 = 400;

/// What must happen in some run.
pub const SITUATIONS: [&str; 21] = [
    "arrived here",
    "arrived elsewhere",
    "arrived in a room elsewhere",
    "expired",
    "link_lost",
    "link_down",
    "link_full",
    "moved",
    "unknown_recipient",
    "hold_full",
    "credit_exhausted",
    "lost, and arrived",
    "gone",
    "answered as gone before",
    "another revision",
    "gap",
    "stale",
    "taken over",
    "died",
    "partition",
    "no progress",
];

/// What the watch of the bucket says.
#[derive(Clone, Debug)]
enum Entry {
    Up(u64),
    Down(u64),
    Owner { name: &'static str, revision: u64, owner: Option<u64> },
    Room { room: String, incarnation: u64, has: bool },
}

struct Peer {
    link: LinkId,
    sender: Sender,
    receiver: Receiver,
}

/// A machine that runs.
struct Node {
    incarnation: u64,
    core: Core,
    peers: BTreeMap<u64, Peer>,
    /// How much of the log its watch has told.
    seen: usize,
    /// The revision of its last claim of a name: what the watch tells of earlier ones is old news.
    claimed: HashMap<&'static str, u64>,
    /// Where names are, and who has members in rooms.
    placed: HashMap<&'static str, u64>,
    rooms: HashMap<String, Vec<u64>>,
    tickets: HashMap<u64, (u64, u32, u64, String, u64)>,
    last_ticket: u64,
}

pub struct World {
    random: Random,
    now: Duration,
    clock: Clock,
    hands: ManualClock,
    settings: Settings,
    nodes: Vec<Option<Node>>,
    log: Vec<Entry>,
    /// Of each name: the incarnation, the client and the revision.
    owners: BTreeMap<&'static str, (u64, u64, u64)>,
    /// Dead incarnations that are not swept.
    dead: Vec<u64>,
    net: Net<Frame>,
    ledger: Ledger,
    last_client: u64,
    last_revision: u64,
    last_incarnation: u64,
    churn: bool,
    /// Since when the machines come to their end; zero before.
    ending: Duration,
    reached: Reached,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (clock, hands) = Clock::manual();
        hands.advance(Duration::from_secs(1_000));
        let settings = Settings::random(&mut random);
        let machines = 2 + random.below(3);
        let net = Net::new([0, 0, 3][random.below(3) as usize], [1, 20, 400][random.below(3) as usize]);
        let churn = random.chance(80);
        let mut world = Self {
            random,
            now: Duration::ZERO,
            clock,
            hands,
            settings,
            nodes: (0..machines).map(|_| None).collect(),
            log: Vec::new(),
            owners: BTreeMap::new(),
            dead: Vec::new(),
            net,
            ledger: Ledger::default(),
            last_client: 0,
            last_revision: 0,
            last_incarnation: 0,
            churn,
            ending: Duration::ZERO,
            reached: Reached::default(),
        };
        (0..machines as usize).for_each(|place| world.start(place));
        world
    }

    pub fn run(mut self) -> Reached {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.end();
        self.reached
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=6 => self.connect(),
            7..=34 => self.submit(),
            35..=36 => self.submit_to_room(),
            37..=38 => self.join(),
            39..=41 => self.disconnect(),
            42..=56 => self.cycle(),
            57..=69 => self.turn(),
            70..=79 => self.carry(),
            80..=85 => self.poll(),
            86..=89 => self.watch(),
            90..=94 => {
                let most = if self.random.chance(10) { 1_500 } else { 60 };
                let by = self.random.below(most);
                self.advance(by);
            }
            95 => self.lose(),
            96 => self.cut(),
            97 if self.random.chance(40) => self.die(),
            97 => self.come_back(),
            98 => self.sweep(),
            _ => self.flood(),
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        let by = Duration::from_millis(milliseconds);
        self.now += by;
        self.hands.advance(by);
    }

    fn some_place(&mut self) -> Option<usize> {
        let all: Vec<usize> = (0..self.nodes.len()).filter(|place| self.nodes[*place].is_some()).collect();
        self.random.pick(&all).copied()
    }

    fn node(&mut self, place: usize) -> &mut Node {
        self.nodes[place].as_mut().unwrap()
    }

    /// Some client that is not leaving.
    fn some_client(&mut self) -> Option<(usize, u64)> {
        let mut all = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let clients = node.iter().flat_map(|node| &node.core.clients);
            all.extend(clients.filter(|(_, client)| !client.leaving).map(|(number, _)| (place, *number)));
        }
        self.random.pick(&all).copied()
    }

    fn revision(&mut self) -> u64 {
        self.last_revision += 1;
        self.last_revision
    }

    fn start(&mut self, place: usize) {
        self.last_incarnation += 1;
        let incarnation = self.last_incarnation;
        self.nodes[place] = Some(Node {
            incarnation,
            core: Core::new(&self.settings, &self.clock, incarnation),
            peers: BTreeMap::new(),
            seen: 0,
            claimed: HashMap::new(),
            placed: HashMap::new(),
            rooms: HashMap::new(),
            tickets: HashMap::new(),
            last_ticket: 0,
        });
        // It reads all that there is before it begins.
        self.watch_of(place, usize::MAX);
        self.log.push(Entry::Up(incarnation));
    }

    /// A machine is killed.
    fn die(&mut self) {
        if !self.churn || self.nodes.iter().flatten().count() < 2 {
            return;
        }
        let Some(place) = self.some_place() else { return };
        let node = self.nodes[place].take().unwrap();
        self.dead.push(node.incarnation);
        for client in node.core.clients.values() {
            self.ledger.closed.insert(client.name, self.now);
        }
        self.reached.note("died");
    }

    fn come_back(&mut self) {
        if let Some(place) = self.nodes.iter().position(Option::is_none) {
            self.start(place);
        }
    }

    /// The lease of a dead machine has expired, and its names are deleted.
    fn sweep(&mut self) {
        let Some(dead) = self.dead.pop() else { return };
        self.log.push(Entry::Down(dead));
        let names: Vec<_> =
            self.owners.iter().filter(|(_, owner)| owner.0 == dead).map(|(name, _)| *name).collect();
        for name in names {
            self.owners.remove(name);
            let revision = self.revision();
            self.log.push(Entry::Owner { name, revision, owner: None });
        }
    }

    /// A client comes to some machine. It may have the token of a client that has the name already.
    fn connect(&mut self) {
        let Some(place) = self.some_place() else { return };
        let name = NAMES[self.random.below(6) as usize];
        let is_same = self.churn && self.random.chance(50);
        if self.owners.contains_key(name) {
            if !is_same {
                return;
            }
            self.reached.note("taken over");
        }
        self.last_client += 1;
        let number = self.last_client;
        let revision = self.revision();
        let node = self.nodes[place].as_mut().unwrap();
        self.owners.insert(name, (node.incarnation, number, revision));
        self.log.push(Entry::Owner { name, revision, owner: Some(node.incarnation) });
        node.claimed.insert(name, revision);
        node.placed.remove(name);
        node.gateway_displace(name);
        node.core.close(name);
        match node.core.port.connect(name, PROTOCOL, "", number) {
            Ok(id) => {
                node.core.clients.insert(number, Client::new(id, name, number, revision));
            }
            Err(ConnectError::TooManyClients(_)) => self.release(name, number),
            Err(error) => panic!("{error}"),
        }
    }

    fn release(&mut self, name: &'static str, client: u64) {
        self.ledger.closed.insert(name, self.now);
        if self.owners.get(name).is_some_and(|owner| owner.1 == client) {
            self.owners.remove(name);
            let revision = self.revision();
            self.log.push(Entry::Owner { name, revision, owner: None });
        }
    }

    fn disconnect(&mut self) {
        if !self.churn {
            return;
        }
        let Some((place, number)) = self.some_client() else { return };
        let name = self.node(place).core.clients[&number].name;
        self.node(place).core.close(name);
    }

    fn join(&mut self) {
        let Some((place, number)) = self.some_client() else { return };
        let room = ROOMS[self.random.below(2) as usize];
        let node = self.node(place);
        let id = node.core.clients[&number].id;
        let _ = node.core.port.join(id, room);
    }

    fn submit(&mut self) {
        let Some((place, number)) = self.some_client() else { return self.connect() };
        let to = NAMES[self.random.below(6) as usize];
        let kind = [Kind::Offer, Kind::Offer, Kind::Now, Kind::Hint][self.random.below(4) as usize];
        self.submit_from(place, number, to, kind);
        if self.random.chance(60) {
            self.node(place).core.port.publish();
        }
    }

    fn flood(&mut self) {
        let Some((place, number)) = self.some_client() else { return };
        let to = NAMES[self.random.below(6) as usize];
        let kind = if self.random.chance(50) { Kind::Offer } else { Kind::Now };
        for _ in 0..self.random.below(50) {
            self.submit_from(place, number, to, kind);
            if self.random.chance(10) {
                self.node(place).core.port.publish();
                self.cycle_of(place);
            }
        }
    }

    fn submit_to_room(&mut self) {
        let Some((place, number)) = self.some_client() else { return };
        let room = ROOMS[self.random.below(2) as usize];
        self.submit_from(place, number, room, Kind::Room);
    }

    fn submit_from(&mut self, place: usize, client: u64, to: &'static str, kind: Kind) {
        let node = self.nodes[place].as_mut().unwrap();
        let (random, ledger) = (&mut self.random, &mut self.ledger);
        node.core.submit((node.incarnation, client), to, kind, self.now, ledger, random);
    }

    fn cycle(&mut self) {
        if let Some(place) = self.some_place() {
            self.cycle_of(place);
        }
    }

    fn cycle_of(&mut self, place: usize) {
        let now = self.clock.now();
        let one = self.random.next() as usize;
        let workers = &mut self.node(place).core.workers;
        let one = one % workers.len();
        workers[one].cycle(now);
    }

    fn poll(&mut self) {
        let Some(place) = self.some_place() else { return };
        let limit = [1, 5, 1_000][self.random.below(3) as usize];
        self.poll_of(place, limit);
    }

    /// The clients of a machine read and acknowledge.
    fn poll_of(&mut self, place: usize, limit: usize) {
        let node = self.nodes[place].as_mut().unwrap();
        let times = Times { now: self.now, ending: self.ending, settings: &self.settings };
        let (ledger, reached) = (&mut self.ledger, &mut self.reached);
        let closed = node.core.read(limit, node.incarnation, &times, ledger, reached);
        node.core.acknowledge(&mut self.random);
        for (number, client) in closed {
            self.release(client.name, number);
        }
    }

    fn lose(&mut self) {
        let Some(place) = self.some_place() else { return };
        let now = self.now;
        let peers: Vec<u64> = self.node(place).peers.keys().copied().collect();
        if let Some(peer) = self.random.pick(&peers).copied() {
            self.node(place).lose(peer, now);
        }
    }

    fn cut(&mut self) {
        if self.random.chance(60) {
            return self.net.heal();
        }
        let all: Vec<u64> = self.nodes.iter().flatten().map(|node| node.incarnation).collect();
        let (Some(one), Some(other)) = (self.random.pick(&all).copied(), self.random.pick(&all).copied())
        else {
            return;
        };
        self.net.cut(one, other);
        if self.random.chance(70) {
            self.net.cut(other, one);
        }
        self.reached.note("partition");
    }

    /// Delivers what has arrived on the network.
    fn carry(&mut self) {
        while let Some((from, to, frame)) = self.net.next(self.now) {
            let (now, notes) = (self.now, (&mut self.ledger, &mut self.reached));
            let Some(node) = self.nodes.iter_mut().flatten().find(|node| node.incarnation == to) else {
                continue;
            };
            node.take(from, frame, now, notes);
        }
    }

    fn watch(&mut self) {
        if let Some(place) = self.some_place() {
            let most = 1 + self.random.below(5) as usize;
            self.watch_of(place, most);
        }
    }

    fn watch_of(&mut self, place: usize, most: usize) {
        let (now, node) = (self.now, self.nodes[place].as_mut().unwrap());
        for _ in 0..most {
            let Some(entry) = self.log.get(node.seen).cloned() else { break };
            node.seen += 1;
            node.see(entry, now);
        }
    }

    fn turn(&mut self) {
        if let Some(place) = self.some_place() {
            self.turn_of(place);
        }
    }

    /// A turn of the thread of a gateway.
    fn turn_of(&mut self, place: usize) {
        let now = self.now;
        let limit = [1, 10, 1_000][self.random.below(3) as usize];
        let (publishes, most) = (self.random.chance(80), 1 + self.random.below(20) as usize);
        let node = self.nodes[place].as_mut().unwrap();
        node.poll(limit, now, &mut self.ledger);
        for (room, has) in node.core.gateway.room_changes().map_or(Vec::new(), |changes| changes.rooms) {
            self.log.push(Entry::Room { room, incarnation: node.incarnation, has });
        }
        let mut lost = Vec::new();
        for (peer, Peer { sender, receiver, .. }) in &mut node.peers {
            let pair = (node.incarnation, *peer);
            while let Some(frame) = sender.take_frame(most) {
                self.net.send(&mut self.random, now, pair, frame);
            }
            match sender.due(now) {
                Due::Nothing => {}
                Due::Send(frame) => self.net.send(&mut self.random, now, pair, frame),
                Due::Lost => lost.push(*peer),
            }
            if let Some(frame) = receiver.answer() {
                self.net.send(&mut self.random, now, pair, frame);
            }
        }
        for peer in lost {
            node.lose(peer, now);
            self.reached.note("no progress");
        }
        if publishes {
            node.core.gateway.publish();
        }
    }

    fn check(&mut self) {
        let options = self.settings.gateway;
        for node in self.nodes.iter().flatten() {
            node.core.check();
            let share = (options.link_messages / 16).max(1);
            for peer in node.peers.values() {
                let (mut of_sender, mut of_worker) = (HashMap::<u64, u32>::new(), [0; 2]);
                for (worker, number, _) in &peer.sender.waiting {
                    of_worker[*worker] += 1;
                    *of_sender.entry(self.ledger.of(*number).sender).or_default() += 1;
                }
                assert!(of_sender.values().all(|count| *count <= share), "more than a sender's part");
                assert!(
                    of_worker.iter().all(|count| *count <= options.link_messages),
                    "more than a link's messages"
                );
            }
        }
    }

    /// Everything works again, and comes to its end.
    fn end(&mut self) {
        self.net.heal();
        self.net.lost = 0;
        self.ending = self.now.max(Duration::from_nanos(1));
        while !self.dead.is_empty() {
            self.sweep();
        }
        // As long as a message may be under way and then be held.
        let patience = self.now + Duration::from_millis(self.settings.hold_ms) + 2 * crate::link::LOST_AFTER;
        while self.now < patience {
            for place in 0..self.nodes.len() {
                if self.nodes[place].is_none() {
                    continue;
                }
                self.watch_of(place, usize::MAX);
                self.node(place).core.port.publish();
                self.turn_of(place);
                let now = self.clock.now();
                for worker in &mut self.node(place).core.workers {
                    while worker.cycle(now) > 0 {}
                }
                self.turn_of(place);
                self.poll_of(place, 1_000);
            }
            self.carry();
            self.advance(50);
        }
        self.check();
        for node in self.nodes.iter().flatten() {
            assert!(node.tickets.is_empty());
            node.core.check_outcomes(node.incarnation, &self.ledger);
        }
    }
}

impl Node {
    fn gateway_displace(&self, name: &str) {
        self.core.gateway.displace(name);
    }

    fn see(&mut self, entry: Entry, now: Duration) {
        match entry {
            Entry::Up(incarnation) if incarnation != self.incarnation => {
                let link = self.core.gateway.open_link().unwrap();
                let sender = Sender::new(link.epoch, now);
                self.peers.insert(incarnation, Peer { link, sender, receiver: Receiver::default() });
            }
            Entry::Up(_) => {}
            Entry::Down(incarnation) => {
                let gone: Vec<_> =
                    self.placed.iter().filter(|one| *one.1 == incarnation).map(|one| *one.0).collect();
                for name in gone {
                    self.placed.remove(name);
                    self.core.gateway.displace(name);
                }
                let rooms: Vec<String> = self.rooms.keys().cloned().collect();
                for room in rooms {
                    self.interest(&room, incarnation, false);
                }
                if let Some(peer) = self.peers.remove(&incarnation) {
                    self.core.gateway.close_link(peer.link);
                }
            }
            Entry::Room { room, incarnation, has } => {
                if incarnation != self.incarnation {
                    self.interest(&room, incarnation, has);
                }
            }
            Entry::Owner { name, revision, owner } => {
                if self.claimed.get(name).is_some_and(|claimed| *claimed >= revision) {
                    return;
                }
                if self.core.client_of(name).is_some() {
                    self.core.close(name);
                }
                match owner.and_then(|owner| self.peers.get(&owner).map(|peer| (owner, peer.link))) {
                    Some((owner, link)) => {
                        self.placed.insert(name, owner);
                        assert!(self.core.gateway.place(name, link, revision));
                    }
                    None => {
                        self.placed.remove(name);
                        self.core.gateway.displace(name);
                    }
                }
            }
        }
    }

    fn interest(&mut self, room: &str, incarnation: u64, has: bool) {
        let all = self.rooms.entry(room.to_owned()).or_default();
        all.retain(|one| *one != incarnation);
        if has {
            all.push(incarnation);
        }
        let links: LinkSet =
            all.iter().filter_map(|one| self.peers.get(one)).map(|peer| peer.link.slot).collect();
        assert!(self.core.gateway.set_interest(room, links));
    }

    fn lose(&mut self, peer: u64, now: Duration) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        peer.link = self.core.gateway.lose_link(peer.link);
        peer.sender = Sender::new(peer.link.epoch, now);
    }

    /// Takes what the workers have for the gateway.
    fn poll(&mut self, limit: usize, now: Duration, ledger: &mut Ledger) {
        let (mut out, mut results) = (Vec::new(), Vec::new());
        let polled = self.core.gateway.poll(limit, |record| match record {
            FromWorker::Result { ticket, outcome } => results.push((ticket, outcome)),
            message => out.extend(Record::of(&message)),
        });
        assert!(polled.is_ok());
        for (link, worker, record) in out {
            if !self.core.gateway.is_present(link) {
                continue;
            }
            let message = ledger.of(record.correlation);
            assert_eq!((record.name.as_str(), &*record.message_type), (message.to, message.kind.name()));
            assert!(record.age <= now - message.at + Duration::from_millis(1), "older than it is");
            let (incarnation, peer) = self.peers.iter_mut().find(|(_, peer)| peer.link == link).unwrap();
            if !record.is_room {
                ledger.left(record.correlation, (*incarnation, record.revision), now);
            }
            assert!(peer.sender.is_up, "handed over for a link that is down");
            peer.sender.push(worker, record, now);
        }
        for (ticket, outcome) in results {
            self.core.results += 1;
            self.core.results_ok += u64::from(outcome.is_ok());
            let (peer, epoch, sequence, name, revision) = self.tickets.remove(&ticket).unwrap();
            let Some(peer) = self.peers.get_mut(&peer) else { continue };
            if peer.receiver.epoch != Some(epoch) {
                continue;
            }
            let outcome = outcome.map_err(|loss| match loss {
                Loss::Expired => Reject::Expired,
                Loss::Failed(Failed::RecipientClosed) => {
                    peer.receiver.set_gone(&name, revision);
                    Reject::Gone
                }
                Loss::Failed(reason) => Reject::Failed(reason as u16),
                _ => Reject::Failed(Failed::Stopped as u16),
            });
            peer.receiver.result(sequence, outcome);
        }
    }

    /// A frame has arrived.
    fn take(
        &mut self,
        from: u64,
        frame: Frame,
        now: Duration,
        (ledger, reached): (&mut Ledger, &mut Reached),
    ) {
        if !self.peers.contains_key(&from) {
            return;
        }
        match frame {
            Frame::Hello { epoch } => self.peers.get_mut(&from).unwrap().receiver.hello(epoch),
            Frame::Answer { epoch, upto, rejects } => {
                let peer = self.peers.get_mut(&from).unwrap();
                let (is_up, settled, gone) = peer.sender.answered((epoch, upto, &rejects), now);
                gone.into_iter().for_each(|number| ledger.back(number, now));
                if is_up {
                    self.core.gateway.link_up(peer.link);
                }
                for (worker, count, rejects) in settled {
                    self.core.gateway.acknowledge(peer.link, worker, count, &rejects);
                }
            }
            Frame::Data { epoch, base, first, records } => {
                let peer = self.peers.get_mut(&from).unwrap();
                match peer.receiver.take(epoch, base, first) {
                    None => return reached.note("stale"),
                    Some(0) => {}
                    Some(_) => reached.note("gap"),
                }
                for record in records {
                    let peer = self.peers.get_mut(&from).unwrap();
                    let sequence = peer.receiver.next();
                    if let Err(reject) = self.deliver(from, epoch, sequence, &record, reached) {
                        self.peers.get_mut(&from).unwrap().receiver.result(sequence, Err(reject));
                    }
                }
            }
        }
    }

    fn deliver(
        &mut self,
        from: u64,
        epoch: u32,
        sequence: u64,
        record: &Record,
        reached: &mut Reached,
    ) -> Result<(), Reject> {
        let receiver = &mut self.peers.get_mut(&from).unwrap().receiver;
        if !record.is_room {
            if receiver.is_gone(&record.name, record.revision) {
                reached.note("answered as gone before");
                return Err(Reject::Gone);
            }
            if self.core.client_of(&record.name).is_none_or(|(_, client)| client.revision != record.revision)
            {
                reached.note("another revision");
                return Err(Reject::Gone);
            }
        }
        let incoming = Incoming {
            name: &record.name,
            is_room: record.is_room,
            message_type: &record.message_type,
            correlation: record.correlation,
            age: record.age,
            payload: &record.payload,
        };
        self.last_ticket += 1;
        match self.core.gateway.deliver(&incoming, self.last_ticket, |_| true) {
            Ok(()) => {
                self.core.incoming += 1;
                let place = (from, epoch, sequence, record.name.clone(), record.revision);
                self.tickets.insert(self.last_ticket, place);
                Ok(())
            }
            Err(DeliverError::Gone) => {
                if !record.is_room {
                    receiver.set_gone(&record.name, record.revision);
                }
                reached.note("gone");
                Err(Reject::Gone)
            }
            // A call that finds no room is not counted.
            Err(DeliverError::Full(_)) => Err(Reject::Failed(Failed::LinkFull as u16)),
            Err(DeliverError::Refused(_)) => {
                self.core.refused += 1;
                Err(Reject::Failed(Failed::BadRecord as u16))
            }
        }
    }
}
