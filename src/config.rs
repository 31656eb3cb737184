//! What a router is built from: one table of keys with unit, range, default and text, from which come the typed
//! getters' values, the checks, the string interface of the C door, the budget and `docs/configuration.md`.

mod budget;

pub use budget::Budget;

use crate::clients::{MAX_BYTES, MAX_MESSAGES};
use crate::error::Error;
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
}

macro_rules! table {
    ($($variant:ident $key:literal $unit:literal $values:expr, $default:expr, $text:literal;)+) => {
        /// The keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(usize)]
        pub enum Key { $(#[doc = $text] $variant,)+ }

        /// Every key's row, in the order of [`Key`].
        pub const TABLE: &[Row] = &[$(Row {
            key: $key, unit: $unit, values: $values, default: $default, text: $text,
        },)+];
    };
}

const fn number(minimum: u64, maximum: u64) -> Values {
    Values::Number { minimum, maximum }
}

const IDLE: &[&str] = &["spin", "backoff", "park"];
const BALANCE: &[&str] = &["round_robin", "hash", "least_loaded"];
const SWITCH: &[&str] = &["off", "on"];

table! {
    Workers "workers" "threads" number(0, 64), 0,
        "Worker threads; 0 for one per core that this process may use.";
    Pin "pin" "" Values::Choice(SWITCH), 1,
        "Pin each worker to a core, while there are no more workers than cores.";
    IdleStrategy "idle" "" Values::Choice(IDLE), 1,
        "How a worker waits: spin, backoff (spin, yield, then sleep) or park (sleep at once).";
    MaxPorts "max_ports" "ports" number(1, 64), 8,
        "Ports open at once; each has a ring to and from each worker.";
    MaxClients "max_clients" "clients" number(1, 1_000_000), 10_000,
        "Clients connected at once, those still leaving included.";
    RingBytes "ring_bytes" "bytes" Values::PowerOfTwo { minimum: 4096, maximum: 1 << 26 }, 512 << 10,
        "Capacity of one ring; a record takes at most a quarter of it.";
    MaxMessage "max_message" "bytes" number(1, 16 << 20), 64 << 10,
        "Largest message; larger ones are refused.";
    Batch "batch" "messages" number(1, 65_536), 256,
        "Messages that a worker takes from one ring before it looks at the next.";
    MaxQueueWait "max_queue_wait_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "A message that has waited longer expires instead of being handled late.";
    HoldTime "hold_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "How long messages for a name that is not connected are held, from the first of them on.";
    HoldPerSender "hold_per_sender" "messages" number(0, 65_536), 64,
        "Messages held for one sender.";
    HoldPerName "hold_per_name" "messages" number(0, 65_536), 256,
        "Messages that one worker holds for one name.";
    HoldMessages "hold_messages" "messages" number(0, 1_000_000), 4_096,
        "Messages that one worker holds in all.";
    HoldBytes "hold_bytes" "bytes" number(0, 1 << 30), 4 << 20,
        "Bytes that one worker holds in all.";
    CreditMessages "credit_messages" "messages" number(1, MAX_MESSAGES as u64), 1_024,
        "Messages that a client may have been given and not acknowledged; past it the client is closed.";
    CreditBytes "credit_bytes" "bytes" number(1, MAX_BYTES as u64), 1 << 20,
        "Bytes that a client may have been given and not acknowledged; past it the client is closed.";
    BacklogBytes "backlog_bytes" "bytes" Values::PowerOfTwo { minimum: 4096, maximum: 1 << 28 }, 1 << 20,
        "What a worker keeps for one port whose ring is full, before deliveries are given up.";
    MaxApplications "max_applications" "labels" number(0, 1_024), 32,
        "Applications with figures of their own; further ones are counted as other.";
    MaxRecordedTypes "max_recorded_types" "labels" number(0, 4_096), 64,
        "Types reported by the host that get figures of their own; further ones are counted as other.";
    Balance "balance" "" Values::Choice(BALANCE), 2,
        "Which worker gets a message: round_robin (the next one; keeps no order), hash (the one of the client's name) or least_loaded. The latter two keep each client's order.";
    ActiveWorkers "active_workers" "threads" number(0, 64), 0,
        "Workers that messages are placed on at first; 0 for all. Can be changed while the router runs.";
    MaxInFlight "max_in_flight" "messages" number(0, 1_000_000), 0,
        "Messages of one client that may be accepted and not ended, held ones included; 0 for any number.";
    ClientRate "client_rate" "messages per second" number(0, 1_000_000), 0,
        "How many messages a client may send per second; 0 for any number.";
    ClientBurst "client_burst" "messages" number(0, 1_000_000), 0,
        "How many of them at once; 0 for a second's worth.";
    MaxConcurrentMessages "max_concurrent_messages" "messages" number(0, 1_000_000_000), 0,
        "Messages of all clients that may be accepted and not ended, held ones included; 0 for any number.";
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
        let Some((place, row)) = TABLE.iter().enumerate().find(|(_, row)| row.key == key) else {
            let known: Vec<_> = TABLE.iter().map(|row| row.key).collect();
            return Err(Error::Config { key: "key", value: key.to_owned(), allowed: known.join(", ") });
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

    /// A key's value; a choice's place among its words.
    pub fn get(&self, key: Key) -> u64 {
        self.values[key as usize]
    }

    pub(crate) fn count(&self, key: Key) -> usize {
        self.get(key) as usize
    }

    pub(crate) fn milliseconds(&self, key: Key) -> Duration {
        Duration::from_millis(self.get(key))
    }

    pub(crate) fn idle(&self) -> Idle {
        match self.get(Key::IdleStrategy) {
            0 => Idle::Spin,
            1 => Idle::Backoff,
            _ => Idle::Park,
        }
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
        let message = self.get(Key::MaxMessage);
        // A relayed message carries the sender's name and the record's header as well.
        let record = message + 1024;
        if record > self.get(Key::RingBytes) / 4 {
            let allowed = format!("at least {} bytes for this max_message", (4 * record).next_power_of_two());
            let value = self.get(Key::RingBytes).to_string();
            return Err(Error::Config { key: "ring_bytes", value, allowed });
        }
        if self.count(Key::ActiveWorkers) > self.workers() {
            let value = self.get(Key::ActiveWorkers).to_string();
            let allowed = format!("0 to {} threads, as many as workers", self.workers());
            return Err(Error::Config { key: "active_workers", value, allowed });
        }
        for (key, name) in [(Key::CreditBytes, "credit_bytes"), (Key::BacklogBytes, "backlog_bytes")] {
            let needed = if key == Key::BacklogBytes { 4 * record } else { record };
            if self.get(key) < needed {
                let allowed = format!("at least {needed} bytes for this max_message");
                return Err(Error::Config { key: name, value: self.get(key).to_string(), allowed });
            }
        }
        Ok(())
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
    fn values_that_do_not_fit_together_are_refused() {
        let config = Config::default().with(Key::RingBytes, 4096).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("ring_bytes = 4096"));
        let config = Config::default().with(Key::CreditBytes, 1000).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("credit_bytes = 1000"));
    }
}
