//! The configuration of one run: small limits, in all combinations.

use crate::random::Random;
use corelane::clients::CreditPolicy;
use corelane::config::{Balance, Config};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::router::{Action, ProtocolRules};

pub const PROTOCOL: &str = "chaos";

#[derive(Debug)]
pub struct Setup {
    pub max_clients: u64,
    /// The number of names that clients use: more than there are clients.
    pub names: u64,
    /// All workers, the local ones included.
    pub workers: usize,
    /// The workers that live on the threads of ports.
    pub locals: usize,
    pub ports: usize,
    pub credit: (u32, u32),
    pub max_message: u64,
    pub permits: u64,
    /// The `balance` mode keeps the order of a client's messages.
    pub ordered: bool,
    pub driven: bool,
    pub based: bool,
    pub may_stop: bool,
    pub may_lose: bool,
    pub may_drain: bool,
    /// Whether hundreds of clients share one room.
    pub big: bool,
}

impl Setup {
    pub fn random(random: &mut Random) -> (Self, Config) {
        let big = random.chance(3);
        let max_clients = if big { 300 + random.below(100) } else { 4 + random.below(9) };
        let workers = 1 + random.below(3);
        let balance = random.below(3);
        let driven = random.chance(50);
        let locals = match random.chance(50) {
            // Tasks need a worker that is not local.
            true => random.below(if driven { workers } else { workers + 1 }),
            false => 0,
        };
        let max_message = 1_000 + random.below(2_000);
        let credit = (2 + random.below(7), 2 * max_message + 500 + random.below(6_000));
        let based = random.chance(30);
        let all_based = based && random.chance(10);
        let mut sometimes = |percent, least: u64, range| {
            let value = least + random.below(range);
            if random.chance(percent) { value } else { 0 }
        };
        let permits = sometimes(25, 1, 20);
        let limited = [
            ("max_in_flight", sometimes(25, 1, 10)),
            ("client_rate", sometimes(20, 1, 500)),
            ("client_burst", sometimes(50, 1, 10)),
            ("max_concurrent_messages", permits),
            ("queue_messages", sometimes(30, 1, 6)),
            ("active_workers", sometimes(30, 1, workers).min(workers - locals)),
        ];
        let wait = if random.chance(30) { 1 + random.below(50) } else { 5_000 };
        let ports = 1 + random.below(4);
        let set = [
            ("workers", workers),
            ("local_workers", locals),
            ("max_ports", ports),
            ("max_clients", max_clients),
            ("ring_bytes", 4096),
            // A larger backlog takes records that the ring cannot take.
            ("backlog_bytes", if random.chance(50) { 4096 } else { 16_384 }),
            ("max_message", max_message),
            ("batch", 1 + random.below(8)),
            ("payloads", 1 + random.below(6)),
            ("payload_bytes", 9_000 + random.below(9_000)),
            ("hold_ms", 10 + random.below(100)),
            ("hold_per_sender", random.below(6)),
            ("hold_per_name", 1 + random.below(6)),
            ("hold_messages", 1 + random.below(10)),
            ("hold_bytes", 500 + random.below(5_000)),
            ("max_queue_wait_ms", wait),
            ("credit_messages", credit.0),
            ("credit_bytes", credit.1),
            ("max_rooms", 1 + random.below(3)),
            ("max_room_members", if big { 512 } else { 2 + random.below(8) }),
            ("max_client_rooms", 1 + random.below(3)),
            ("room_retired_lists", 1 + random.below(4)),
            ("room_retired_bytes", if big { 16_384 } else { 2_048 }),
            ("max_tasks", 1 + random.below(4)),
            ("max_calls", 1 + random.below(3)),
            ("processing_timeout_ms", 5),
            ("max_recorded_types", 0),
        ];
        let mut config = Config::default();
        for (key, value) in set.into_iter().chain(limited) {
            config.set(key, &value.to_string()).unwrap();
        }
        config.router.balance = [Balance::RoundRobin, Balance::Hash, Balance::LeastLoaded][balance as usize];
        config.router.concurrent_routing = !all_based;
        config.credit.policy =
            [CreditPolicy::Disconnect, CreditPolicy::Refuse, CreditPolicy::Drop][random.below(3) as usize];
        config.credit.refusal_notices = random.chance(80);
        config.monitor.metrics = random.chance(80);
        config.monitor.detailed_stats = random.chance(50);
        let setup = Self {
            max_clients,
            names: max_clients + 4,
            workers: workers as usize,
            locals: locals as usize,
            ports: ports as usize,
            credit: (credit.0 as u32, credit.1 as u32),
            max_message,
            permits,
            ordered: balance != 0,
            driven,
            based,
            may_stop: random.chance(30),
            may_lose: random.chance(40),
            may_drain: random.chance(8),
            big,
        };
        (setup, config)
    }

    pub fn rules(&self) -> ProtocolRules {
        let fields = Fields {
            message_type: Some("type"),
            recipient: Some("dst"),
            room: Some("room"),
            sender: Some("src"),
            ..Fields::default()
        };
        let forward = Forward::Only(&["type", "src", "dst", "room", "payload"]);
        let task = if self.driven { Action::Host { hold: true } } else { Action::Relay { hold: true } };
        ProtocolRules::new(Protocol::new(PROTOCOL, &fields, forward).unwrap())
            .message_type("relay", Action::Relay { hold: true })
            .message_type("now", Action::Relay { hold: false })
            .message_type("room", Action::RelayToRoom)
            .message_type("leave", Action::RelayOrLeave)
            .message_type("alive", Action::KeepAlive)
            .message_type("lossy", Action::Relay { hold: true })
            .message_type("act", Action::Handler { hold: true })
            .message_type("task", task)
            .droppable("lossy")
    }
}
