//! What a router is built from: one table of keys with unit, range, default and text, from which come the typed
//! getters' values, the typed setters, the checks, the string interface of the C door, the budget and
//! `docs/configuration.md`.

mod budget;
mod preset;
mod setting;

pub use budget::Budget;
pub(crate) use budget::{ALLOCATION, Sizes};
pub use preset::PRESETS;

use crate::clients::{CreditPolicy, MAX_BYTES, MAX_MESSAGES, RoomLimits};
use crate::error::Error;
use setting::Setting;
pub use setting::{Balance, RouteFallback, SubmitFull};
use std::time::Duration;

/// How a worker waits for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idle {
    /// Looks again and again; a core of its own, the lowest latency.
    Spin,
    /// Looks a few times, yields a few times, then sleeps.
    Backoff,
    /// Sleeps at once.
    Park,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Values {
    /// A whole number in this range.
    Number {
        /// Smallest.
        minimum: u64,
        /// Largest.
        maximum: u64,
    },
    /// A power of two in this range.
    PowerOfTwo {
        /// Smallest.
        minimum: u64,
        /// Largest.
        maximum: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The key.
    pub key: &'static str,
    /// What its value counts.
    pub unit: &'static str,
    /// What it may be.
    pub values: Values,
    /// What it is unless set.
    pub default: u64,
    /// What it does.
    pub text: &'static str,
    /// The setter of [`Config`] that takes it as a type, and that type.
    pub setter: (&'static str, &'static str),
}

macro_rules! table {
    ($($variant:ident $key:literal $unit:literal $values:expr, $default:expr, $text:literal =>
        $setter:ident($type:ident);)+) => {
        /// The keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(usize)]
        pub enum Key { $(#[doc = $text] $variant,)+ }

        /// Every key's row, in the order of [`Key`].
        pub const TABLE: &[Row] = &[$(Row {
            key: $key, unit: $unit, values: $values, default: $default, text: $text,
            setter: (stringify!($setter), stringify!($type)),
        },)+];

        /// One setter per key, for building in one expression. Each refuses what [`Config::set`] refuses.
        impl Config {
            $(
                #[doc = concat!($text, " Sets `", $key, "`.")]
                ///
                /// # Errors
                /// [`Error::Config`] with the key, the value and what is allowed.
                pub fn $setter(self, value: $type) -> Result<Self, Error> {
                    self.with(Key::$variant, Setting::number(value))
                }
            )+
        }
    };
}

const fn number(minimum: u64, maximum: u64) -> Values {
    Values::Number { minimum, maximum }
}

const IDLE: &[&str] = &["spin", "backoff", "park"];
const BALANCE: &[&str] = &["round_robin", "hash", "least_loaded"];
const SWITCH: &[&str] = &["off", "on"];
const FALLBACK: &[&str] = &["auto", "inline", "refuse", "wait"];
const FULL: &[&str] = &["refuse", "wait"];
const CREDIT_POLICY: &[&str] = &["disconnect", "refuse", "drop"];

table! {
    Workers "workers" "threads" number(0, 64), 0,
        "Worker threads; 0 for one per core that this process may use."
        => with_workers(u64);
    Pin "pin" "" Values::Choice(SWITCH), 1,
        "Pin each worker to a core, while there are no more workers than cores."
        => with_pin(bool);
    IdleStrategy "idle" "" Values::Choice(IDLE), 1,
        "How a worker waits: spin, backoff (spin, yield, then sleep) or park (sleep at once)."
        => with_idle(Idle);
    MaxPorts "max_ports" "ports" number(1, 64), 8,
        "Ports open at once; each has a ring to and from each worker."
        => with_max_ports(u64);
    MaxClients "max_clients" "clients" number(1, 1_000_000), 10_000,
        "Clients connected at once, those still leaving included."
        => with_max_clients(u64);
    RingBytes "ring_bytes" "bytes" Values::PowerOfTwo { minimum: 4096, maximum: 1 << 26 }, 128 << 10,
        "Capacity of one ring; a record takes at most a quarter of it, and larger messages travel beside it."
        => with_ring_bytes(u64);
    MaxMessage "max_message" "bytes" number(1, 16 << 20), 64 << 10,
        "Largest message; larger ones are refused."
        => with_max_message(u64);
    Batch "batch" "messages" number(1, 65_536), 256,
        "Messages that a worker takes from one ring before it looks at the next."
        => with_batch(u64);
    MaxQueueWait "max_queue_wait_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "A message that has waited longer expires instead of being handled late."
        => with_max_queue_wait(Duration);
    HoldTime "hold_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "How long messages for a name that is not connected are held, from the first of them on."
        => with_hold(Duration);
    HoldPerSender "hold_per_sender" "messages" number(0, 65_536), 64,
        "Messages held for one sender."
        => with_hold_per_sender(u64);
    HoldPerName "hold_per_name" "messages" number(0, 65_536), 256,
        "Messages that one worker holds for one name."
        => with_hold_per_name(u64);
    HoldMessages "hold_messages" "messages" number(0, 1_000_000), 4_096,
        "Messages that one worker holds in all."
        => with_hold_messages(u64);
    HoldBytes "hold_bytes" "bytes" number(0, 1 << 30), 4 << 20,
        "Bytes that one worker holds in all."
        => with_hold_bytes(u64);
    CreditMessages "credit_messages" "messages" number(1, MAX_MESSAGES as u64), 1_024,
        "Messages that a client may have been given and not acknowledged; past it `credit_policy` holds."
        => with_credit_messages(u64);
    CreditBytes "credit_bytes" "bytes" number(1, MAX_BYTES as u64), 1 << 20,
        "Bytes that a client may have been given and not acknowledged; past it `credit_policy` holds."
        => with_credit_bytes(u64);
    BacklogBytes "backlog_bytes" "bytes" Values::PowerOfTwo { minimum: 4096, maximum: 1 << 28 }, 1 << 20,
        "What a worker keeps for one port whose ring is full, before deliveries are given up."
        => with_backlog_bytes(u64);
    MaxApplications "max_applications" "labels" number(0, 1_024), 32,
        "Applications with figures of their own; further ones are counted as other."
        => with_max_applications(u64);
    MaxRecordedTypes "max_recorded_types" "labels" number(0, 4_096), 64,
        "Types reported by the host that get figures of their own; further ones are counted as other."
        => with_max_recorded_types(u64);
    TouchMemory "touch_memory" "" Values::Choice(SWITCH), 0,
        "Take all memory from the system when it is reserved, so that no page fault comes later and what the budget states is resident at once."
        => with_touch_memory(bool);
    MemoryLimit "memory_limit_bytes" "bytes" number(0, 1 << 50), 0,
        "Refuse to start with a budget above this; 0 for no limit."
        => with_memory_limit_bytes(u64);
    MaxCalls "max_calls" "calls" number(1, 4_096), 16,
        "Threads that may wait for a routed message's result at once, on one port."
        => with_max_calls(u64);
    RouteFallback "route_fallback" "" Values::Choice(FALLBACK), 0,
        "What happens to a message that is routed synchronously and cannot be handled: inline (the host's base route takes it over), refuse, wait (for room in the ring, until the call's time is over) or auto (inline where there is a base route, otherwise refuse)."
        => with_route_fallback(RouteFallback);
    SubmitFull "submit_full" "" Values::Choice(FULL), 0,
        "What a submission does where the ring is full: refuse, or wait for room."
        => with_submit_full(SubmitFull);
    SubmitWait "submit_wait_ms" "milliseconds" number(1, 3_600_000), 100,
        "How long a submission waits for room, with submit_full = wait."
        => with_submit_wait(Duration);
    ConcurrentRouting "enable_concurrent_routing" "" Values::Choice(SWITCH), 1,
        "Off: every message goes to the host's base route, on the caller's thread."
        => with_enable_concurrent_routing(bool);
    EnableMetrics "enable_metrics" "" Values::Choice(SWITCH), 1,
        "Off: only what the accounting needs is counted, no times, bytes or applications."
        => with_enable_metrics(bool);
    CreditPolicy "credit_policy" "" Values::Choice(CREDIT_POLICY), 0,
        "What a client's lack of credit leads to, unless its connect says otherwise: disconnect it, refuse the message and tell its sender, or drop types listed as droppable (and disconnect for others)."
        => with_credit_policy(CreditPolicy);
    RefusalNotices "refusal_notices" "" Values::Choice(SWITCH), 1,
        "Whether the policy refuse tells the sender of each message that it refused; off: it is only counted."
        => with_refusal_notices(bool);
    MaxRooms "max_rooms" "rooms" number(0, 1_000_000), 1_024,
        "Rooms that have members at once."
        => with_max_rooms(u64);
    MaxRoomMembers "max_room_members" "clients" number(1, 65_536), 1_024,
        "Members of one room."
        => with_max_room_members(u64);
    MaxClientRooms "max_client_rooms" "rooms" number(1, 4_096), 16,
        "Rooms that one client may be in."
        => with_max_client_rooms(u64);
    RoomRetiredLists "room_retired_lists" "lists" number(1, 65_536), 256,
        "Replaced member lists kept while workers may still read them; past it joining and leaving say to retry."
        => with_room_retired_lists(u64);
    RoomRetiredBytes "room_retired_bytes" "bytes" number(1024, 1 << 30), 4 << 20,
        "Bytes of such lists."
        => with_room_retired_bytes(u64);
    ProcessingTimeout "processing_timeout_ms" "milliseconds" number(1, 3_600_000), 30_000,
        "A worker whose handler has been at one message for longer counts as stalled until it moves on."
        => with_processing_timeout(Duration);
    StopTimeout "stop_timeout_ms" "milliseconds" number(1, 3_600_000), 10_000,
        "How long a stop waits before it gives up the workers whose handlers have not returned."
        => with_stop_timeout(Duration);
    Balance "balance" "" Values::Choice(BALANCE), 2,
        "Which worker gets a message: round_robin (the next one; keeps no order), hash (the one of the client's name) or least_loaded. The latter two keep each client's order."
        => with_balance(Balance);
    ActiveWorkers "active_workers" "threads" number(0, 64), 0,
        "Workers that messages are placed on at first; 0 for all. Can be changed while the router runs."
        => with_active_workers(u64);
    MaxInFlight "max_in_flight" "messages" number(0, 1_000_000), 0,
        "Messages of one client that may be accepted and not ended, held ones included; 0 for any number."
        => with_max_in_flight(u64);
    ClientRate "client_rate" "messages per second" number(0, 1_000_000), 0,
        "How many messages a client may send per second; 0 for any number."
        => with_client_rate(u64);
    ClientBurst "client_burst" "messages" number(0, 1_000_000), 0,
        "How many of them at once; 0 for a second's worth."
        => with_client_burst(u64);
    MaxConcurrentMessages "max_concurrent_messages" "messages" number(0, 1_000_000_000), 0,
        "Messages of all clients that may be accepted and not ended, held ones included; 0 for any number."
        => with_max_concurrent_messages(u64);
    QueueMessages "queue_messages" "messages" number(0, 1_000_000), 0,
        "Messages that may wait in the ring from one port to one worker; 0 for as many as its bytes take."
        => with_queue_messages(u64);
    Payloads "payloads" "payloads" number(1, 65_536), 256,
        "Payloads that wait outside rings at once: too large for a record, or given away by the host."
        => with_payloads(u64);
    PayloadBytes "payload_bytes" "bytes" number(0, 1 << 40), 16 << 20,
        "Their bytes, those that the host still views included."
        => with_payload_bytes(u64);
    MaxTasks "max_tasks" "messages" number(1, 65_536), 1_024,
        "Messages that one worker may have handed out to the host that drives it and not had back; means nothing without a type that is handed out."
        => with_max_tasks(u64);
}

/// A router's configuration. [`Config::default`] is meant for small machines; every value can be set by key.
#[derive(Clone, Debug)]
pub struct Config {
    values: [u64; TABLE.len()],
}

impl Default for Config {
    fn default() -> Self {
        let mut values = [0; TABLE.len()];
        for (value, row) in values.iter_mut().zip(TABLE) {
            *value = row.default;
        }
        Self { values }
    }
}

impl Config {
    /// Sets a value by its key's name, as the C door and configuration files do.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, the value and what is allowed; nothing has changed.
    ///
    /// ```
    /// let mut config = corelane::config::Config::default();
    /// config.set("workers", "2").unwrap();
    /// let error = config.set("workers", "100").unwrap_err();
    /// assert_eq!(error.to_string(), "workers = 100 is not possible; allowed: 0 to 64 threads");
    /// ```
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if key == preset::KEY {
            return self.set_preset(value);
        }
        let Some((place, row)) = TABLE.iter().enumerate().find(|(_, row)| row.key == key) else {
            let known: Vec<_> = TABLE.iter().map(|row| row.key).collect();
            let allowed = format!("{}, {}", preset::KEY, known.join(", "));
            return Err(Error::Config { key: "key", value: key.to_owned(), allowed });
        };
        let number = match row.values {
            Values::Choice(words) => words.iter().position(|word| *word == value).map(|at| at as u64),
            Values::Number { .. } | Values::PowerOfTwo { .. } => value.trim().parse().ok(),
        };
        match number.filter(|number| row.values.allow(*number)) {
            Some(number) => {
                if let Some(slot) = self.values.get_mut(place) {
                    *slot = number;
                }
                Ok(())
            }
            None => Err(row.refuse(value)),
        }
    }

    /// Sets a number (or a choice's place) and returns the configuration, for building in one expression.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`set`](Self::set).
    pub fn with(mut self, key: Key, value: u64) -> Result<Self, Error> {
        let row = &TABLE[key as usize];
        if !row.values.allow(value) {
            return Err(row.refuse(&value.to_string()));
        }
        self.values[key as usize] = value;
        Ok(self)
    }

    /// Whether memory is taken from the system when it is reserved.
    pub(crate) fn touches(&self) -> bool {
        self.get(Key::TouchMemory) == 1
    }

    /// A key's value; a choice's place among its words.
    pub fn get(&self, key: Key) -> u64 {
        self.values[key as usize]
    }

    pub(crate) fn count(&self, key: Key) -> usize {
        self.get(key) as usize
    }

    /// Largest message once relayed: it carries the sender's name and the record's header as well.
    pub(crate) fn max_relayed(&self) -> usize {
        self.count(Key::MaxMessage) + 1024
    }

    pub(crate) fn milliseconds(&self, key: Key) -> Duration {
        Duration::from_millis(self.get(key))
    }

    /// What rooms may come to.
    pub(crate) fn room_limits(&self) -> RoomLimits {
        RoomLimits {
            rooms: self.count(Key::MaxRooms),
            members: self.count(Key::MaxRoomMembers),
            client_rooms: self.count(Key::MaxClientRooms),
            clients: self.count(Key::MaxClients),
            ports: self.count(Key::MaxPorts),
            workers: self.workers(),
            retired_lists: self.count(Key::RoomRetiredLists),
            retired_bytes: self.count(Key::RoomRetiredBytes),
        }
    }

    pub(crate) fn idle(&self) -> Idle {
        match self.get(Key::IdleStrategy) {
            0 => Idle::Spin,
            1 => Idle::Backoff,
            _ => Idle::Park,
        }
    }

    pub(crate) fn balance(&self) -> Balance {
        match self.get(Key::Balance) {
            0 => Balance::RoundRobin,
            1 => Balance::Hash,
            _ => Balance::LeastLoaded,
        }
    }

    pub(crate) fn route_fallback(&self) -> RouteFallback {
        match self.get(Key::RouteFallback) {
            0 => RouteFallback::Auto,
            1 => RouteFallback::Inline,
            2 => RouteFallback::Refuse,
            _ => RouteFallback::Wait,
        }
    }

    /// Token buckets: one per client where their rate is limited.
    pub(crate) fn buckets(&self) -> usize {
        if self.get(Key::ClientRate) > 0 { self.count(Key::MaxClients) } else { 0 }
    }

    pub(crate) fn credit_policy(&self) -> CreditPolicy {
        CreditPolicy::from_number(self.get(Key::CreditPolicy))
    }

    /// Workers that this configuration starts here.
    pub fn workers(&self) -> usize {
        match self.count(Key::Workers) {
            0 => core_affinity::get_core_ids().map_or(1, |cores| cores.len().clamp(1, 64)),
            count => count,
        }
    }

    /// Checks what no single row can: values that do not fit together.
    ///
    /// # Errors
    /// [`Error::Config`] for the value to change.
    pub fn validate(&self) -> Result<(), Error> {
        let record = self.max_relayed() as u64;
        // A message that does not fit a record, and what is relayed of it.
        let beside = if record > self.get(Key::RingBytes) / 4 { 2 * record } else { 0 };
        if self.get(Key::PayloadBytes) < beside {
            let allowed = format!("at least {beside} bytes for this max_message, or larger rings");
            return Err(self.misfit(Key::PayloadBytes, allowed));
        }
        if self.count(Key::ActiveWorkers) > self.workers() {
            let allowed = format!("0 to {} threads, as many as workers", self.workers());
            return Err(self.misfit(Key::ActiveWorkers, allowed));
        }
        if self.get(Key::CreditBytes) < record {
            let allowed = format!("at least {record} bytes for this max_message");
            return Err(self.misfit(Key::CreditBytes, allowed));
        }
        let list = self.room_limits().list_bytes();
        if list > self.get(Key::RoomRetiredBytes) {
            let allowed = format!("at least {list} bytes for this max_room_members");
            return Err(self.misfit(Key::RoomRetiredBytes, allowed));
        }
        Ok(())
    }

    /// A key's present value does not fit with the others.
    fn misfit(&self, key: Key, allowed: String) -> Error {
        Error::Config { key: TABLE[key as usize].key, value: self.get(key).to_string(), allowed }
    }
}

impl Values {
    fn allow(self, value: u64) -> bool {
        match self {
            Self::Number { minimum, maximum } => (minimum..=maximum).contains(&value),
            Self::PowerOfTwo { minimum, maximum } => {
                value.is_power_of_two() && (minimum..=maximum).contains(&value)
            }
            Self::Choice(words) => (value as usize) < words.len(),
        }
    }
}

impl Row {
    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self.values {
            Values::Number { minimum, maximum } => format!("{minimum} to {maximum} {}", self.unit),
            Values::PowerOfTwo { minimum, maximum } => {
                format!("a power of two from {minimum} to {maximum} {}", self.unit)
            }
            Values::Choice(words) => words.join(", "),
        }
    }

    fn refuse(&self, value: &str) -> Error {
        Error::Config { key: self.key, value: value.to_owned(), allowed: self.allowed() }
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_and_the_defaults_fit_together() {
        for row in TABLE {
            assert!(row.values.allow(row.default), "{}", row.key);
        }
        Config::default().validate().unwrap();
    }

    #[test]
    fn wrong_values_name_key_value_and_range() {
        let mut config = Config::default();
        for (key, value, text) in [
            ("ring_bytes", "5000", "a power of two from 4096 to 67108864 bytes"),
            ("idle", "sometimes", "spin, backoff, park"),
            ("max_ports", "-1", "1 to 64 ports"),
            ("batch", "", "1 to 65536 messages"),
        ] {
            let error = config.set(key, value).unwrap_err().to_string();
            assert_eq!(error, format!("{key} = {value} is not possible; allowed: {text}"));
        }
        assert!(config.set("wrokers", "1").unwrap_err().to_string().contains("workers"));
    }

    #[test]
    fn each_key_has_a_setter_of_its_type() {
        for row in TABLE {
            let expected = match row.values {
                Values::Choice(words) if words == SWITCH => "bool",
                Values::Choice(_) => match row.key {
                    "idle" => "Idle",
                    "route_fallback" => "RouteFallback",
                    "balance" => "Balance",
                    "submit_full" => "SubmitFull",
                    "credit_policy" => "CreditPolicy",
                    other => panic!("{other} has no setter here"),
                },
                _ if row.key.ends_with("_ms") => "Duration",
                _ => "u64",
            };
            assert_eq!(row.setter.1, expected, "{}", row.key);
            assert!(row.setter.0.starts_with("with_"), "{}", row.key);
        }
        let config = Config::default()
            .with_workers(2)
            .and_then(|config| config.with_idle(Idle::Park))
            .and_then(|config| config.with_hold(Duration::from_micros(1_500)))
            .and_then(|config| config.with_pin(false))
            .unwrap();
        let values = [Key::Workers, Key::IdleStrategy, Key::HoldTime, Key::Pin].map(|key| config.get(key));
        assert_eq!(values, [2, 2, 2, 0]);
        let error = Config::default().with_hold(Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "hold_ms = 0 is not possible; allowed: 1 to 3600000 milliseconds");
        let error = Config::default().with_max_queue_wait(Duration::MAX).unwrap_err().to_string();
        assert!(error.starts_with("max_queue_wait_ms = 18446744073709551615 is not"), "{error}");
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused() {
        let config = Config::default().with(Key::PayloadBytes, 1000).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("payload_bytes = 1000"));
        // In rings that are large enough nothing travels beside them.
        config.with(Key::RingBytes, 512 << 10).unwrap().validate().unwrap();
        let config = Config::default().with(Key::CreditBytes, 1000).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("credit_bytes = 1000"));
    }
}
