//! The simulated host: it acts at random, keeps a model of the expected state, and checks every event against the
//! model.

mod local;
mod notices;
mod policies;
mod rooms;
mod tasks;
mod watch;

pub use rooms::ROOMS;

use crate::admission::{Admission, Bucket};
use crate::handlers::{PROCESSING_MILLISECONDS, Plan, handler};
use crate::random::Random;
use crate::reached::reached;
use corelane::clients::{ClientId, CreditPolicy};
use corelane::clock::{Clock, ManualClock};
use corelane::config::{Balance, Config};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::{Closed, ConnectError, RouteError, SubmitError, TakenOver};
use corelane::router::{
    Action, Builder, Event, Port, ProtocolRules, Routed, Router, SubmitOptions, TaskId, Worker,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

const NAMES: [&str; 8] = ["ann", "bob", "cleo", "dora", "emil", "fay", "gus", "hal"];
const STEPS: u64 = 400;
const PROTOCOL: &str = "simulator";

/// PeerJS with rooms.
fn rules(driven: bool) -> ProtocolRules {
    let fields = Fields {
        message_type: Some("type"),
        recipient: Some("dst"),
        room: Some("room"),
        sender: Some("src"),
        ..Fields::default()
    };
    let forward = Forward::Only(&["type", "src", "dst", "room", "payload"]);
    let hold = Action::Relay { hold: true };
    let held = ["OFFER", "ANSWER", "CANDIDATE", rooms::TYPE];
    let action = |name: &str| match name == tasks::TYPE && driven {
        true => Action::Host { hold: true },
        false => hold,
    };
    held.iter()
        .fold(ProtocolRules::new(Protocol::new(PROTOCOL, &fields, forward).unwrap()), |rules, name| {
            rules.message_type(name, action(name))
        })
        .message_type("LEAVE", Action::RelayOrLeave)
        .message_type("EXPIRE", Action::Relay { hold: false })
        .message_type("HEARTBEAT", Action::KeepAlive)
        .message_type(policies::SENDS[0], Action::Accept)
        .message_type(policies::SENDS[1], Action::Accept)
        .droppable(policies::DROPPABLE)
        .droppable(policies::SENDS[0])
}

/// A client in the model.
struct Peer {
    id: ClientId,
    name: &'static str,
    port: usize,
    /// `disconnect` was called; the last event has not been delivered.
    leaving: bool,
    /// The client gave up its name, which another client may have taken since.
    nameless: bool,
    unacknowledged: Vec<u32>,
    /// The last number received from each sender.
    last_from: HashMap<u64, u64>,
    sample: policies::Sample,
    bucket: Bucket,
}

impl Peer {
    fn has_name(&self) -> bool {
        !self.leaving && !self.nameless
    }
}

reached! {
    delivered: "deliveries",
    held: "holds",
    expired_notices: "expiry notices",
    full: "full rings",
    backlogged: "backlogs",
    credit_closes: "clients closed for credit",
    undeliverable: "undeliverable deliveries",
    settled: "messages settled at a stop",
    ports_released: "released ports",
    reused_slots: "reused slots",
    names_left: "names left",
    probes: "probes",
    taken_over: "messages taken over by the base route",
    calls_given_up: "calls given up",
    refusal_notices: "refusal notices",
    drops: "drops for credit",
    rebinds: "rebinds",
    writes_timed: "timed writes",
    sends: "deliveries of what a host sent itself",
    handler_panics: "panics of handlers",
    handler_stalls: "stalls",
    handlers_emitted: "deliveries from handlers",
    given_up: "workers given up inside a handler",
    moves_waited: "moves that had to wait",
    payloads_full: "refusals for too many payloads",
    moves_made: "moves made",
    in_flight_refusals: "refusals for too much in flight",
    rate_refusals: "refusals for too high a rate",
    concurrency_refusals: "refusals for concurrency",
    out_of_order: "messages out of order with round_robin",
    two_active: "changes of the active workers",
    ;
    local: local::Reached,
    notices: notices::Reached,
    rooms: rooms::Reached,
    tasks: tasks::Reached,
    watch: watch::Reached,
}

/// A worker that has stopped, of a router that is not used.
fn idle_worker(clock: &Clock) -> Worker {
    let config = "workers=1".parse().unwrap();
    let (router, mut workers) = Builder::new(config).clock(clock.clone()).build().unwrap();
    router.request_stop();
    let mut worker = workers.pop().unwrap();
    worker.cycle(clock.now());
    worker
}

pub struct Host {
    random: Random,
    router: Arc<Router>,
    plan: Arc<Plan>,
    /// The workers that are not local.
    workers: Vec<Worker>,
    /// The number of local workers.
    locals: u64,
    clock: Clock,
    hands: ManualClock,
    ports: Vec<Option<Port>>,
    peers: BTreeMap<u64, Peer>,
    next_token: u64,
    next_number: u64,
    submitted: u64,
    refused: u64,
    events: u64,
    taken_over: u64,
    /// The number of messages that the base route got.
    by_base: Arc<AtomicU64>,
    seen: HashSet<u64>,
    numbers_of: HashMap<u64, u64>,
    /// What keeps the order of each message without a sender: its port, and the room if it went to one.
    sent_through: HashMap<u64, u64>,
    /// The messages that were submitted with `tell_failed`.
    asked: HashSet<u64>,
    notices: notices::Notices,
    credit: (usize, u64),
    /// Names that have been connected for so long that nothing can be held for them.
    surely_connected: HashSet<&'static str>,
    max_clients: u64,
    model: policies::Model,
    rooms: rooms::Rooms,
    admission: Admission,
    /// Whether one type is handed out as tasks, see `tasks`.
    driven: bool,
    /// The tasks that are out, by worker.
    out: Vec<Vec<tasks::Out>>,
    last_done: Option<(usize, TaskId)>,
    /// Present in some runs only, because it takes longer than everything else.
    watch: Option<watch::Watch>,
    reached: Reached,
}

impl Host {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (clock, hands) = Clock::manual();
        let credit_messages = 1 + random.below(40);
        let credit_bytes = 5_100 + random.below(16_384);
        let max_clients = 6 + random.below(6);
        let model = policies::Model::new(random.below(3), random.chance(80));
        let workers = 1 + random.below(3);
        let admission = Admission::random(&mut random);
        let driven = random.chance(50);
        let locals = local::random(&mut random, workers, driven);
        let set = [
            ("workers", workers),
            ("local_workers", locals),
            ("active_workers", random.below(workers - locals + 1)),
            ("max_in_flight", admission.max_in_flight),
            ("client_rate", admission.rate),
            ("client_burst", admission.burst),
            ("max_concurrent_messages", admission.max_concurrent),
            ("max_ports", 1 + random.below(3)),
            ("max_clients", max_clients),
            ("ring_bytes", 8192),
            ("max_message", 4_000),
            ("payloads", 1 + random.below(20)),
            ("payload_bytes", 10_100 + random.below(40_000)),
            ("batch", 1 + random.below(8)),
            ("hold_ms", 20 + random.below(100)),
            ("max_queue_wait_ms", 50 + random.below(200)),
            ("hold_per_sender", random.below(10)),
            ("hold_per_name", 1 + random.below(20)),
            ("hold_messages", 1 + random.below(40)),
            ("hold_bytes", 500 + random.below(20_000)),
            ("credit_messages", credit_messages),
            ("credit_bytes", credit_bytes),
            ("backlog_bytes", 8192),
            ("max_rooms", 1 + random.below(3)),
            ("max_room_members", 2 + random.below(10)),
            ("max_client_rooms", 1 + random.below(3)),
            ("processing_timeout_ms", PROCESSING_MILLISECONDS),
            ("max_tasks", 1 + random.below(20)),
        ];
        let mut config = Config::default();
        set.into_iter().for_each(|(key, value)| config.set(key, &value.to_string()).unwrap());
        config.router.balance =
            [Balance::RoundRobin, Balance::Hash, Balance::LeastLoaded][admission.balance as usize];
        config.credit.policy = [CreditPolicy::Disconnect, CreditPolicy::Refuse, CreditPolicy::Drop]
            [model.router_policy as usize];
        config.credit.refusal_notices = model.notices_on;
        let ports = config.router.max_ports as usize;
        let rooms = rooms::Rooms::new(&config);
        let plan = Arc::new(Plan::default());
        let mut builder =
            Builder::new(config).clock(clock.clone()).name_keys([seed, 1]).protocol(rules(driven));
        let answer = handler(Arc::clone(&plan), clock.clone(), hands.clone());
        builder = match locals == workers || random.chance(80) {
            true => builder.short_handler(PROTOCOL, "ANSWER", answer),
            false => builder.handler(PROTOCOL, "ANSWER", answer),
        };
        let by_base = Arc::new(AtomicU64::new(0));
        if random.chance(50) {
            let count = Arc::clone(&by_base);
            builder = builder.base_route(move |_| count.fetch_add(1, Relaxed) < u64::MAX);
        }
        let (router, built) = builder.build().unwrap();
        let router = Arc::new(router);
        plan.set_router(&router);
        let watch = random.chance(25).then(|| watch::Watch::new(&router));
        Self {
            random,
            router,
            plan,
            workers: built,
            locals,
            clock,
            hands,
            ports: (0..ports).map(|_| None).collect(),
            peers: BTreeMap::new(),
            next_token: 1,
            next_number: 1,
            submitted: 0,
            refused: 0,
            events: 0,
            taken_over: 0,
            by_base,
            seen: HashSet::new(),
            numbers_of: HashMap::new(),
            sent_through: HashMap::new(),
            asked: HashSet::new(),
            notices: notices::Notices::default(),
            credit: (credit_messages as usize, credit_bytes),
            surely_connected: HashSet::new(),
            max_clients,
            model,
            rooms,
            admission,
            driven,
            out: (0..workers - locals).map(|_| Vec::new()).collect(),
            last_done: None,
            watch,
            reached: Reached::default(),
        }
    }

    pub fn run(mut self) -> Reached {
        for _ in 0..STEPS {
            self.step();
            self.check();
            self.watch_now_and_then();
        }
        if self.random.chance(50) {
            self.quiesce();
        }
        self.stop();
        self.reached
    }

    fn step(&mut self) {
        // The step before may have run a handler, for example by opening a port.
        self.follow_handlers();
        match self.random.below(100) {
            0..6 => self.connect(),
            6..33 => self.submit(),
            33..35 => self.route(),
            35..38 => self.send(),
            38..41 => self.submit_to_room(),
            41 => self.send_to_room(),
            42..45 if self.random.chance(25) => self.leave(),
            42..45 => self.join(),
            45..55 => self.publish(),
            55..72 => self.cycle(),
            72..82 => self.poll(),
            82..90 => self.acknowledge(),
            90 => {
                self.acknowledge_batch();
                self.check_lists();
            }
            91..94 => self.disconnect(),
            94 => self.place(),
            95..98 => self.hands.advance(Duration::from_millis(self.random.below(40))),
            98 if self.random.chance(50) => self.open_port(),
            98 => self.rebind(),
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

    fn peers_of(&self, port: usize) -> Vec<u64> {
        self.peers.iter().filter(|(_, peer)| peer.port == port).map(|(token, _)| *token).collect()
    }

    fn open_port(&mut self) {
        let Some(place) = self.ports.iter().position(Option::is_none) else { return };
        // The workers must have detached from the previous port in this place.
        for _ in 0..2 {
            self.cycle_all();
        }
        self.ports[place] = self.open_some_port();
    }

    fn release_port(&mut self) {
        let Some(port) = self.some_port() else { return };
        if self.random.chance(50) {
            // Release some ports in the middle of a room message.
            self.poll_part_of_a_room_message(port);
        }
        self.release(port);
        self.reached.ports_released += 1;
    }

    /// Releases a port, in the router and in the model. The model first follows what handlers have done until now: the
    /// port's clients were still members of their rooms.
    fn release(&mut self, place: usize) {
        self.follow_handlers();
        self.ports[place] = None;
        self.is_told_no_more(place);
        for token in self.peers_of(place) {
            self.peers.remove(&token);
            self.rooms.gone(token);
        }
    }

    fn connect(&mut self) {
        let Some(place) = self.some_port() else { return self.open_port() };
        let name = *self.random.pick(&NAMES).unwrap();
        self.connect_as(place, name);
    }

    fn connect_as(&mut self, place: usize, name: &'static str) {
        let token = self.next_token;
        let (options, policy) = self.connect_options(token);
        let port = self.ports[place].as_mut().unwrap();
        match port.connect_with(name, options) {
            Ok(id) => {
                self.connected(id, policy);
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
                    sample: policies::Sample::default(),
                    bucket: Bucket::default(),
                };
                self.peers.insert(token, peer);
                if self.random.chance(50) {
                    self.join_one(token);
                }
                self.plan.directory.lock().unwrap().insert(name, id);
            }
            Err(ConnectError::NameTaken(id)) => {
                let owner = self.peers.values().find(|peer| peer.id == id && peer.has_name());
                assert_eq!(
                    owner.map(|peer| peer.name),
                    Some(name),
                    "the name is reported as taken, and no client has it"
                );
            }
            Err(ConnectError::TooManyClients(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// A message that contains its number, padded to a random size.
    fn message(&mut self, to: &str, number: u64) -> Vec<u8> {
        let kind = ["OFFER", "ANSWER", "CANDIDATE", "EXPIRE"][self.random.below(4) as usize];
        // Occasionally more than fits into a record.
        let size = match self.random.below(40) {
            0 => self.random.below(3_900),
            1..5 => self.random.below(800),
            _ => self.random.below(60),
        };
        let fill = "x".repeat(size as usize);
        match self.random.below(40) {
            0 => br#"{"type":"HEARTBEAT"}"#.to_vec(),
            1 => b"{not json".to_vec(),
            2 => format!(r#"{{"type":"NOVEL","dst":"{to}"}}"#).into_bytes(),
            3 => vec![b'y'; 4_001],
            4 if self.random.chance(20) => br#"{"type":"LEAVE"}"#.to_vec(),
            _ => format!(r#"{{"type":"{kind}","dst":"{to}","payload":[{number},"{fill}"]}}"#).into_bytes(),
        }
    }

    fn submit(&mut self) {
        let Some(token) = self.some_peer() else { return self.connect() };
        let to = *self.random.pick(&NAMES).unwrap();
        self.submit_to(token, to);
    }

    /// The host itself sends to a client, through any of its ports.
    fn send(&mut self) {
        let (Some(token), Some(through)) = (self.some_peer(), self.some_port()) else { return };
        let burst = if self.random.chance(5) { 60 } else { 1 };
        let mut accepted = Vec::new();
        for _ in 0..burst {
            let number = self.number();
            let fill = "x".repeat(self.random.below(100) as usize);
            let peer = &self.peers[&token];
            let text = format!(r#"{{"dst":"{}","payload":[{number},"{fill}"]}}"#, peer.name);
            self.submitted += 1;
            let (name, options) = policies::send_options(&mut self.random, &self.router, number);
            match self.ports[through].as_mut().unwrap().send(peer.id, text.as_bytes(), options) {
                Ok(()) => {
                    assert!(!peer.leaving);
                    *self.model.sends.entry(name).or_default() += 1;
                    self.numbers_of.insert(number, 0);
                    self.sent_through.insert(number, u64::MAX - through as u64);
                    accepted.push(number);
                }
                Err(reason) => {
                    self.refused += 1;
                    match reason {
                        SubmitError::RingFull => self.reached.full += 1,
                        SubmitError::StaleClient => assert!(peer.leaving),
                        SubmitError::ConcurrencyLimit => assert!(self.admission.max_concurrent > 0),
                        other => panic!("{other}"),
                    }
                }
            }
        }
        accepted.into_iter().for_each(|number| self.wants_send(through, number));
    }

    /// One client sends many messages to one name, which fills rings, backlogs and credit.
    fn flood(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let to = *self.random.pick(&NAMES).unwrap();
        let room = self.random.chance(15);
        // Messages that fail fill the ring and the backlog of their own port with notices.
        let broken = self.random.chance(10);
        for _ in 0..if broken { 400 } else { self.random.below(120) } {
            if broken {
                let number = self.number();
                self.submit_bytes(token, number, br#"{"type":"NOTHING"}"#);
            } else if room {
                self.submit_to_room_from(token);
            } else {
                self.submit_to(token, to);
            }
            if self.random.chance(10) {
                self.publish();
                self.cycle();
            }
        }
    }

    /// A message is held for a name that then connects through a port whose ring has no space for the post.
    fn connect_past_a_full_ring(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let absent = |name: &&&str| !self.peers.values().any(|peer| peer.name == **name);
        let Some(name) = NAMES.iter().find(absent) else { return };
        let (number, fillers) = (self.number(), self.number());
        let text = format!(r#"{{"type":"OFFER","dst":"{name}","payload":[{number}]}}"#);
        self.submit_bytes(token, number, text.as_bytes());
        self.take_everything();
        let filler = format!(r#"{{"type":"HEARTBEAT","payload":"{}"}}"#, "x".repeat(900));
        while self.submit_bytes(token, fillers, filler.as_bytes()) {}
        self.connect_as(self.peers[&token].port, name);
    }

    fn submit_to(&mut self, token: u64, to: &str) {
        let number = self.number();
        let message = self.message(to, number);
        self.submit_bytes(token, number, &message);
    }

    /// Returns whether the message was accepted.
    fn submit_bytes(&mut self, token: u64, number: u64, message: &[u8]) -> bool {
        let peer = &self.peers[&token];
        let (id, place, leaving) = (peer.id, peer.port, peer.leaving);
        self.submitted += 1;
        let tell_failed = self.random.chance(50);
        let options = SubmitOptions { correlation: number, tell_failed, ..SubmitOptions::default() };
        let now = self.clock.now();
        let rate_allows = self.peers.get_mut(&token).unwrap().bucket.allows(&self.admission, now.0);
        match self.ports[place].as_mut().unwrap().submit_with(id, message, options) {
            Ok(()) => {
                assert!(rate_allows, "accepted above the rate");
                self.peers.get_mut(&token).unwrap().bucket.take(&self.admission);
                assert!(!leaving && message.len() <= 4_000);
                self.numbers_of.insert(number, id.0);
                if tell_failed {
                    self.asked.insert(number);
                    self.wants(place, number, message);
                }
                true
            }
            Err(reason) => {
                self.refused += 1;
                match reason {
                    SubmitError::RingFull => self.reached.full += 1,
                    SubmitError::PayloadsFull => {
                        assert!(message.len() > 1_900);
                        self.reached.payloads_full += 1;
                    }
                    SubmitError::StaleClient => assert!(leaving),
                    SubmitError::TooLarge => assert!(message.len() > 4_000),
                    SubmitError::InFlightLimit => {
                        let most = self.admission.max_in_flight;
                        // A call that timed out stays in flight until the worker has skipped it.
                        let in_flight = self.router.accounting().in_flight + self.taken_over;
                        assert!(
                            most > 0 && in_flight >= most,
                            "refused with {in_flight} of {most} in flight"
                        );
                        self.reached.in_flight_refusals += 1;
                    }
                    SubmitError::RateLimited => {
                        assert!(!rate_allows, "refused below the rate");
                        self.reached.rate_refusals += 1;
                    }
                    SubmitError::ConcurrencyLimit => {
                        assert!(self.admission.max_concurrent > 0);
                        assert_eq!(self.router.stats().placement.permits_available, 0);
                        self.reached.concurrency_refusals += 1;
                    }
                    other => panic!("{other}"),
                }
                false
            }
        }
    }

    /// Makes a call with a zero time-out. No worker can start it, so the base route takes it over, or it is refused.
    /// The worker or a stop finds its record later and skips it.
    fn route(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let to = *self.random.pick(&NAMES).unwrap();
        let number = self.number();
        let text = format!(r#"{{"type":"OFFER","dst":"{to}","payload":[{number}]}}"#);
        let (id, place) = (self.peers[&token].id, self.peers[&token].port);
        self.submitted += 1;
        let before = self.by_base.load(Relaxed);
        let now = self.clock.now();
        let peer = self.peers.get_mut(&token).unwrap();
        let rate_allows = peer.bucket.allows(&self.admission, now.0);
        match self.ports[place].as_mut().unwrap().route(id, text.as_bytes(), Duration::ZERO) {
            Ok(Routed::TakenOver { reason, success: true }) => {
                assert!(matches!(reason, TakenOver::TimedOut | TakenOver::RingFull), "{reason}");
                assert_eq!(self.by_base.load(Relaxed), before + 1);
                self.taken_over += 1;
                self.reached.taken_over += 1;
                if reason == TakenOver::TimedOut {
                    self.peers.get_mut(&token).unwrap().bucket.take(&self.admission);
                }
            }
            Err(RouteError::OwnThread) => {
                assert!(self.locals > 0, "no worker lives on this thread");
                self.submitted -= 1;
            }
            Err(RouteError::TimedOut) => {
                assert_eq!(self.by_base.load(Relaxed), before);
                self.reached.calls_given_up += 1;
                self.peers.get_mut(&token).unwrap().bucket.take(&self.admission);
            }
            Err(RouteError::Refused(reason)) => {
                match reason {
                    SubmitError::StaleClient => assert!(self.peers[&token].leaving),
                    SubmitError::RateLimited => assert!(!rate_allows, "refused below the rate"),
                    SubmitError::RingFull | SubmitError::InFlightLimit | SubmitError::ConcurrencyLimit => {}
                    other => panic!("{other}"),
                }
                self.refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Changes the placement of clients.
    fn place(&mut self) {
        let workers = self.workers.len() as u64;
        if workers == 0 {
            return;
        }
        if self.random.chance(50) {
            let active = 1 + self.random.below(workers);
            self.router.set_active_workers(active as usize).unwrap();
            assert_eq!(self.router.stats().placement.active_workers, active + self.locals);
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
        let all = self.workers.len() as u64 + self.locals;
        let worker = self.random.below(all) as usize;
        match worker < self.workers.len() {
            true => self.drive(worker),
            false => self.cycle_some_local(),
        }
        self.follow_handlers();
    }

    /// The number for the next message.
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Lets every submitted message reach its worker.
    fn take_everything(&mut self) {
        self.ports.iter_mut().flatten().for_each(Port::publish);
        self.cycle_all();
    }

    fn cycle_all(&mut self) {
        for worker in 0..self.workers.len() {
            self.drive_through(worker);
        }
        self.cycle_locals();
        self.follow_handlers();
    }

    fn poll(&mut self) {
        if let Some(port) = self.some_port() {
            let limit = 1 + self.random.below(20) as usize;
            self.poll_port(port, limit).unwrap();
        }
    }

    fn poll_port(&mut self, place: usize, limit: usize) -> Result<usize, Closed> {
        self.follow_handlers();
        let mut port = self.ports[place].take().unwrap();
        let mut closes = Vec::new();
        let mut leaves = Vec::new();
        let result = port.poll_each(limit, |event| self.event(place, event, &mut closes, &mut leaves));
        for id in closes {
            // A host closes the connection when it gets a close request; here at once.
            port.disconnect(id).unwrap();
            let (token, peer) = self.peers.iter_mut().find(|(_, peer)| peer.id == id).unwrap();
            peer.leaving = true;
            self.rooms.gone(*token);
        }
        for (id, token) in leaves {
            let peer = self.peers.get_mut(&token).unwrap();
            // The client may have got a close request in the same poll.
            assert_eq!(port.release_name(id).is_ok(), !peer.leaving);
            peer.nameless = true;
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
                if text["room"].is_string() {
                    self.rooms.delivered(number, message.token, message.sender);
                    self.reached.rooms.delivered += 1;
                } else {
                    assert!(self.seen.insert(number), "delivered twice");
                    assert!(!self.model.refused.contains(&number), "delivered and refused");
                }
                let sender = message.sender.map_or(0, |sender| sender.0);
                assert_eq!(self.numbers_of[&number], sender, "the message of another sender");
                let peer = self.peers.get_mut(&message.token).expect("delivered after its last event");
                assert_eq!((peer.id, peer.port), (message.client, place));
                let to_name = text["room"].is_string() || text["dst"] == peer.name;
                assert!(to_name, "delivered to another name");
                // Messages without a sender keep the order of one port's sends to one client, or to one room.
                let through = self.sent_through.get(&number).copied();
                self.reached.sends += u64::from(through.is_some());
                let from = through.unwrap_or(sender);
                let last = peer.last_from.insert(from, number).unwrap_or(0);
                // `round_robin` does not keep the order, as documented, except for messages of the host itself.
                let any_order = self.admission.balance == 0 && through.is_none();
                assert!(last < number || any_order, "order: {number} after {last}");
                self.reached.out_of_order += u64::from(last > number);
                self.take_credit(message.token, message.payload.len());
            }
            Event::Expired { client, token, name, .. } => {
                assert_eq!(self.peers[&token].id, client);
                self.reached.expired_notices += 1;
                let name = std::str::from_utf8(name).unwrap();
                assert!(!self.surely_connected.contains(name), "held for {name} although it is connected");
                self.take_credit(token, name.len());
            }
            Event::Undelivered { client, token, recipient, correlation, reason } => {
                self.undelivered((client, token), recipient, correlation, reason);
            }
            Event::SendFailed { correlation, .. } => self.send_failed(place, correlation),
            Event::Close { client, token, .. } => {
                self.asked_to_close(client);
                self.reached.credit_closes += 1;
                assert_eq!(self.peers[&token].id, client);
                self.rooms.excused(token);
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
            Event::Closed { client, token, .. } => {
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
        self.sample(token);
    }

    fn acknowledge(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let all = self.random.chance(70);
        self.acknowledge_peer(token, all);
    }

    fn acknowledge_peer(&mut self, token: u64, all: bool) {
        self.check_outstanding(&self.peers[&token]);
        let (port, (id, messages, bytes)) = self.written(token, all);
        self.ports[port].as_mut().unwrap().acknowledge(id, messages, bytes);
        self.check_outstanding(&self.peers[&token]);
    }

    fn disconnect(&mut self) {
        let Some(token) = self.some_peer() else { return };
        let peer = self.peers.get_mut(&token).unwrap();
        let result = self.ports[peer.port].as_mut().unwrap().disconnect(peer.id);
        assert_eq!(result.is_ok(), !peer.leaving);
        peer.leaving = true;
        self.rooms.gone(token);
    }

    /// After every step: the router's counts match what the host observed.
    fn check(&mut self) {
        let figures = self.router.accounting();
        assert_eq!(figures.submitted, self.submitted);
        assert_eq!(figures.refused, self.refused);
        assert_eq!(figures.consumed, self.events);
        assert_eq!((figures.taken_over, self.by_base.load(Relaxed)), (self.taken_over, self.taken_over));
        // The differences saturate at 0, so compare the sums.
        let ended = figures.refused + figures.ok + figures.failed + figures.expired + figures.taken_over;
        assert!(ended <= figures.submitted, "negative in flight: {figures:?}");
        assert!(
            figures.consumed + figures.undeliverable <= figures.deliveries,
            "negative queued: {figures:?}"
        );
        assert!(figures.held <= figures.in_flight, "{figures:?}");
        self.reached.held += figures.held;
        if figures.in_flight == figures.held {
            self.rooms.all_arrived();
        }
        let stalled = self.router.watchdog().look(self.clock.now());
        let may_be = self.out.iter().filter(|out| !out.is_empty()).count();
        // The loop of a local worker may be late as well.
        assert!(stalled <= may_be + self.locals as usize, "a stall outlasts its handler");
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
                    // A closed port returns an error, which `stop` checks.
                    let _ = self.poll_port(place, usize::MAX);
                }
            }
            for token in self.peers.keys().copied().collect::<Vec<_>>() {
                self.acknowledge_peer(token, true);
            }
            self.cycle_all();
        }
    }

    /// Without a stop everything ends as well: held messages expire, every disconnected client gets its last event,
    /// and every slot can be used again.
    fn quiesce(&mut self) {
        if self.random.chance(20) {
            self.connect_past_a_full_ring();
        }
        self.settle_down();
        self.surely_connected =
            self.peers.values().filter(|peer| peer.has_name()).map(|peer| peer.name).collect();
        self.hands.advance(Duration::from_secs(1));
        self.settle_down();
        self.check();
        self.check_rooms();
        self.probe();
        self.probe_rooms();
        let figures = self.router.accounting();
        assert_eq!((figures.in_flight, figures.queued), (0, 0), "{figures:?}");
        let stats = self.router.stats();
        assert_eq!((stats.payload_bytes, stats.payloads_waiting), (0, 0), "payloads are left");
        let placement = stats.placement;
        assert_eq!(placement.permits_available, placement.permits, "permits were lost or returned twice");
        assert_eq!(figures.accepted, figures.ok + figures.failed + figures.expired + figures.taken_over);
        assert!(self.peers.values().all(|peer| !peer.leaving), "a client never got its last event");
        for token in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.get_mut(&token).unwrap();
            peer.leaving = true;
            let (port, id) = (peer.port, peer.id);
            self.rooms.gone(token);
            self.ports[port].as_mut().unwrap().disconnect(id).unwrap();
        }
        self.settle_down();
        assert!(self.peers.is_empty(), "a client never got its last event");
        let stats = self.router.stats();
        Self::check_paths_are_empty(&stats);
        let waiting = (stats.routing.concurrency, stats.routing.queue_messages, stats.routing.workers_active);
        assert_eq!(waiting, (0, 0, 0));
        if let Some(place) = self.some_port() {
            let port = self.ports[place].as_mut().unwrap();
            let ids: Vec<_> = (0..self.max_clients)
                .map(|count| port.connect(&format!("late{count}"), PROTOCOL, "", 0).unwrap())
                .collect();
            for id in ids {
                port.disconnect(id).unwrap();
            }
            // These clients are not in the model; only the number of their last events is checked.
            let mut closed = 0;
            for _ in 0..200 {
                self.cycle_all();
                let port = self.ports[place].as_mut().unwrap();
                port.publish();
                port.poll_each(usize::MAX, |_| closed += 1).unwrap();
            }
            assert_eq!(closed, self.max_clients, "a client never got its last event");
            self.events += closed;
            self.check();
        }
    }

    /// Every client sends to every other client, one message at a time, and every client that has a name gets it: no
    /// credit was lost, and no slot was mixed up.
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
                let number = self.number();
                self.submitted += 1;
                self.reached.probes += 1;
                self.numbers_of.insert(number, id.0);
                let text = format!(r#"{{"type":"OFFER","dst":"{name}","payload":[{number}]}}"#);
                let port = self.ports[port].as_mut().unwrap();
                // Long enough for every client's next token of the rate limit.
                self.hands.advance(Duration::from_secs(1));
                let probed = port.submit(id, text.as_bytes(), number);
                assert_eq!(probed, Ok(()), "refused although nothing is in flight");
                port.publish();
                self.settle_rounds(5);
                assert!(self.seen.contains(&number), "{name} cannot be reached");
            }
        }
    }

    fn stop(&mut self) {
        let figures = self.router.stats();
        self.check_policies(&figures);
        self.reached.moves_waited += figures.placement.moves_wanted - figures.placement.moves_made;
        self.reached.moves_made += figures.placement.moves_made;
        self.reached.backlogged += figures.workers.iter().map(|worker| worker.backlogged).sum::<u64>();
        self.router.request_stop();
        for worker in 0..self.workers.len() {
            // Some ports publish after one worker has stopped: those records are refused as closed, and settled.
            if self.random.chance(50) {
                self.publish();
            }
            self.plan.give_up.store(self.random.chance(30), SeqCst);
            self.stop_worker(worker);
            self.follow_handlers();
            assert!(self.workers[worker].is_stopped());
        }
        self.plan.give_up.store(false, SeqCst);
        self.stop_locals();
        self.follow_handlers();
        for place in 0..self.ports.len() {
            if self.ports[place].is_none() {
                continue;
            }
            if self.random.chance(50) {
                self.ports[place].as_mut().unwrap().publish();
            }
            if self.random.chance(50) {
                let end = (0..1000).find(|_| self.poll_port(place, 7).is_err());
                assert!(end.is_some(), "a poll never reports that the port is closed");
                let port = self.ports[place].as_mut().unwrap();
                assert!(matches!(port.connect("zoe", PROTOCOL, "", 0), Err(ConnectError::Closed)));
            } else {
                self.release(place);
            }
        }
        let figures = self.router.accounting();
        assert_eq!(figures.submitted, self.submitted);
        assert_eq!((figures.in_flight, figures.queued, figures.held), (0, 0, 0), "{figures:?}");
        assert_eq!(figures.accepted, figures.ok + figures.failed + figures.expired + figures.taken_over);
        assert_eq!(figures.consumed, self.events);
        let stats = self.router.stats();
        self.check_policies(&stats);
        self.check_sends(&stats);
        Self::check_paths_are_empty(&stats);
        self.check_notices();
        self.check_handlers();
        self.check_monitor();
        self.ports.clear();
        let stats = self.router.stats();
        assert_eq!((stats.payload_bytes, stats.payloads_waiting), (0, 0), "payloads are left");
        self.reached.settled += figures.refused - self.refused;
        self.reached.undeliverable += figures.undeliverable;
    }

    /// The handlers did what they had planned. A failed assertion in a handler would be one more panic.
    fn check_handlers(&mut self) {
        let stats = self.router.stats();
        let failed_as = |reason: &str| stats.messages.failures.get(reason);
        let panics = self.plan.panics.load(SeqCst);
        assert_eq!(stats.workers.iter().map(|worker| worker.handler_panics).sum::<u64>(), panics);
        assert_eq!(failed_as("handler_panicked"), panics);
        let stalls = self.plan.stalls.load(SeqCst);
        let given_up = self.plan.given_up.load(SeqCst);
        // A task that is out stalls its worker as well.
        let all = stats.workers.iter().map(|worker| worker.stalls).sum::<u64>();
        assert!(all == stalls || self.driven || self.locals > 0, "{all} of {stalls} stalls");
        assert_eq!(stats.workers.iter().filter(|worker| worker.given_up).count() as u64, given_up);
        assert!(failed_as("handler_failed") <= self.plan.failed.load(SeqCst));
        self.reached.handler_panics += panics;
        self.reached.handler_stalls += stalls;
        self.reached.handlers_emitted += self.plan.emitted.load(SeqCst);
        self.reached.given_up += given_up;
    }
}
