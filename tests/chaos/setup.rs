//! The configuration of one run: small limits, in all combinations.

use crate::random::Random;
use corelane::config::{Config, Key};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::router::{Action, ProtocolRules};

pub const PROTOCOL: &str = "chaos";

#[derive(Debug)]
pub struct Setup {
    pub max_clients: u64,
    /// The number of names that clients use: more than there are clients.
    pub names: u64,
    pub workers: usize,
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
            (Key::MaxInFlight, sometimes(25, 1, 10)),
            (Key::ClientRate, sometimes(20, 1, 500)),
            (Key::ClientBurst, sometimes(50, 1, 10)),
            (Key::MaxConcurrentMessages, permits),
            (Key::QueueMessages, sometimes(30, 1, 6)),
            (Key::ActiveWorkers, sometimes(30, 1, workers)),
        ];
        let wait = if random.chance(30) { 1 + random.below(50) } else { 5_000 };
        let ports = 1 + random.below(4);
        let set = [
            (Key::Workers, workers),
            (Key::Balance, balance),
            (Key::MaxPorts, ports),
            (Key::MaxClients, max_clients),
            (Key::RingBytes, 4096),
            // A larger backlog takes records that the ring cannot take.
            (Key::BacklogBytes, if random.chance(50) { 4096 } else { 16_384 }),
            (Key::MaxMessage, max_message),
            (Key::Batch, 1 + random.below(8)),
            (Key::Payloads, 1 + random.below(6)),
            (Key::PayloadBytes, 9_000 + random.below(9_000)),
            (Key::HoldTime, 10 + random.below(100)),
            (Key::HoldPerSender, random.below(6)),
            (Key::HoldPerName, 1 + random.below(6)),
            (Key::HoldMessages, 1 + random.below(10)),
            (Key::HoldBytes, 500 + random.below(5_000)),
            (Key::MaxQueueWait, wait),
            (Key::CreditMessages, credit.0),
            (Key::CreditBytes, credit.1),
            (Key::CreditPolicy, random.below(3)),
            (Key::RefusalNotices, u64::from(random.chance(80))),
            (Key::MaxRooms, 1 + random.below(3)),
            (Key::MaxRoomMembers, if big { 512 } else { 2 + random.below(8) }),
            (Key::MaxClientRooms, 1 + random.below(3)),
            (Key::RoomRetiredLists, 1 + random.below(4)),
            (Key::RoomRetiredBytes, if big { 16_384 } else { 2_048 }),
            (Key::MaxTasks, 1 + random.below(4)),
            (Key::MaxCalls, 1 + random.below(3)),
            (Key::ProcessingTimeout, 5),
            (Key::ConcurrentRouting, u64::from(!all_based)),
            (Key::EnableMetrics, u64::from(random.chance(80))),
            (Key::DetailedStats, u64::from(random.chance(50))),
            (Key::MaxRecordedTypes, 0),
        ];
        let with = |config: Config, (key, value)| config.with(key, value);
        let config = set.into_iter().chain(limited).try_fold(Config::default(), with).unwrap();
        let setup = Self {
            max_clients,
            names: max_clients + 4,
            workers: workers as usize,
            ports: ports as usize,
            credit: (credit.0 as u32, credit.1 as u32),
            max_message,
            permits,
            ordered: balance != 0,
            driven: random.chance(50),
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
