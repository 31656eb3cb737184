//! The configuration of a router. One table of keys holds unit, range, default and text of each key. The
//! typed getters, the typed setters, the checks, the string interface of the C API, the budget and
//! `docs/configuration.md` are all derived from this table.

mod budget;
mod keys;
mod preset;
mod setting;

pub use budget::Budget;
pub(crate) use budget::{ALLOCATION, Sizes};
pub use keys::{Key, Row, TABLE};
pub use preset::PRESETS;

use crate::clients::{ClientLimits, CreditPolicy, RoomLimits};
use crate::error::ConfigError;
pub use setting::{Balance, RouteFallback};
use setting::{MILLION, Setting};
use std::time::Duration;

/// How a worker waits for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idle {
    /// Polls without a pause. Needs a core of its own and has the lowest latency.
    Spin,
    /// Polls a few times, yields a few times, then sleeps.
    Backoff,
    /// Sleeps at once.
    Park,
}

/// Values that a key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowedValues {
    /// A whole number in this range.
    Number {
        /// Smallest value.
        minimum: u64,
        /// Largest value.
        maximum: u64,
    },
    /// A power of two in this range.
    PowerOfTwo {
        /// Smallest value.
        minimum: u64,
        /// Largest value.
        maximum: u64,
    },
    /// A fraction from 0 to 1, stored in millionths.
    Fraction,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A router's configuration. [`Config::default`] suits small machines. Every value can be set by key.
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
    /// Sets a value by the name of its key. The C API and configuration files use this.
    ///
    /// # Errors
    /// [`ConfigError`] with the key, the value and the allowed values. The configuration is unchanged.
    ///
    /// ```
    /// let mut config = corelane::config::Config::default();
    /// config.set("workers", "2").unwrap();
    /// let error = config.set("workers", "100").unwrap_err();
    /// assert_eq!(error.to_string(), "workers = 100 is not valid; allowed: 0 to 64 threads");
    /// ```
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        if key == preset::KEY {
            return self.set_preset(value);
        }
        let Some((place, row)) = TABLE.iter().enumerate().find(|(_, row)| row.key == key) else {
            let known: Vec<_> = TABLE.iter().map(|row| row.key).collect();
            let allowed = format!("{}, {}", preset::KEY, known.join(", "));
            return Err(ConfigError { key: "key", value: key.to_owned(), allowed });
        };
        let number = match row.values {
            AllowedValues::Choice(words) => words.iter().position(|word| *word == value).map(|at| at as u64),
            AllowedValues::Number { .. } | AllowedValues::PowerOfTwo { .. } => value.trim().parse().ok(),
            AllowedValues::Fraction => value.trim().parse().ok().map(|share: f64| share.number()),
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

    /// Sets a number, or a choice by its index, and returns the configuration, so that calls can be chained.
    ///
    /// # Errors
    /// [`ConfigError`] as for [`set`](Self::set).
    pub fn with(mut self, key: Key, value: u64) -> Result<Self, ConfigError> {
        let row = &TABLE[key as usize];
        if !row.values.allow(value) {
            return Err(row.refuse(&value.to_string()));
        }
        self.values[key as usize] = value;
        Ok(self)
    }

    /// Whether all memory is made resident when it is reserved.
    pub(crate) fn touches(&self) -> bool {
        self.get(Key::TouchMemory) == 1
    }

    /// The value of a key. For a choice, the index among its words.
    pub fn get(&self, key: Key) -> u64 {
        self.values[key as usize]
    }

    /// A fraction, from 0 to 1.
    pub(crate) fn share(&self, key: Key) -> f64 {
        self.get(key) as f64 / MILLION as f64
    }

    pub(crate) fn count(&self, key: Key) -> usize {
        self.get(key) as usize
    }

    /// Largest size of a relayed message: it also carries the sender's name and the record's header.
    pub(crate) fn max_relayed(&self) -> usize {
        self.count(Key::MaxMessage) + 1024
    }

    pub(crate) fn milliseconds(&self, key: Key) -> Duration {
        Duration::from_millis(self.get(key))
    }

    /// Whether messages are measured.
    pub(crate) fn has_metrics(&self) -> bool {
        self.get(Key::EnableMetrics) == 1
    }

    /// Whether each client has its own figures, and each series has windows.
    pub(crate) fn has_details(&self) -> bool {
        self.get(Key::DetailedStats) == 1 && self.has_metrics()
    }

    /// Limits on clients.
    pub(crate) fn client_limits(&self) -> ClientLimits {
        ClientLimits {
            clients: self.get(Key::MaxClients) as u32,
            applications: self.count(Key::MaxApplications) + 1,
            figures: self.has_details(),
            recorders: 0,
        }
    }

    /// Limits on rooms.
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
            _ => RouteFallback::Refuse,
        }
    }

    /// Number of token buckets: one per client if the client rate is limited.
    pub(crate) fn buckets(&self) -> usize {
        if self.get(Key::ClientRate) > 0 { self.count(Key::MaxClients) } else { 0 }
    }

    pub(crate) fn credit_policy(&self) -> CreditPolicy {
        CreditPolicy::from_number(self.get(Key::CreditPolicy))
    }

    /// Number of workers that have a thread of their own. They come first in the order of the workers.
    pub(crate) fn threaded_workers(&self) -> usize {
        self.workers().saturating_sub(self.count(Key::LocalWorkers))
    }

    /// Number of workers that this configuration has on this machine, local ones included.
    pub fn workers(&self) -> usize {
        match self.count(Key::Workers) {
            0 => core_affinity::get_core_ids().map_or(1, |cores| cores.len().clamp(1, 64)),
            count => count,
        }
    }

    /// Checks combinations of values. Each single value has been checked when it was set.
    ///
    /// # Errors
    /// [`ConfigError`] for the value to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let record = self.max_relayed() as u64;
        // Room for an out-of-line message and its relayed copy, if a message does not fit into a ring's
        // record.
        let beside = if record > self.get(Key::RingBytes) / 4 { 2 * record } else { 0 };
        if self.get(Key::PayloadBytes) < beside {
            let allowed = format!("at least {beside} bytes for this max_message, or larger rings");
            return Err(self.misfit(Key::PayloadBytes, allowed));
        }
        if self.count(Key::LocalWorkers) > self.workers() {
            let allowed = format!("0 to {} workers, as many as workers", self.workers());
            return Err(self.misfit(Key::LocalWorkers, allowed));
        }
        if self.count(Key::ActiveWorkers) > self.threaded_workers() {
            let allowed =
                format!("0 to {} threads, as many as workers that are not local", self.threaded_workers());
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

    /// Error for a value that contradicts other values.
    fn misfit(&self, key: Key, allowed: String) -> ConfigError {
        ConfigError { key: TABLE[key as usize].key, value: self.get(key).to_string(), allowed }
    }
}

impl AllowedValues {
    fn allow(self, value: u64) -> bool {
        match self {
            Self::Number { minimum, maximum } => (minimum..=maximum).contains(&value),
            Self::PowerOfTwo { minimum, maximum } => {
                value.is_power_of_two() && (minimum..=maximum).contains(&value)
            }
            Self::Fraction => value <= MILLION,
            Self::Choice(words) => (value as usize) < words.len(),
        }
    }
}

impl Row {
    /// The allowed values, as text.
    pub fn allowed(&self) -> String {
        match self.values {
            AllowedValues::Number { minimum, maximum } => format!("{minimum} to {maximum} {}", self.unit),
            AllowedValues::PowerOfTwo { minimum, maximum } => {
                format!("a power of two from {minimum} to {maximum} {}", self.unit)
            }
            AllowedValues::Fraction => format!("0 to 1 {}", self.unit),
            AllowedValues::Choice(words) => words.join(", "),
        }
    }

    /// A value as text: the word of a choice, a fraction as a decimal.
    pub fn written(&self, value: u64) -> String {
        match self.values {
            AllowedValues::Choice(words) => words.get(value as usize).copied().unwrap_or_default().to_owned(),
            AllowedValues::Fraction => (value as f64 / MILLION as f64).to_string(),
            AllowedValues::Number { .. } | AllowedValues::PowerOfTwo { .. } => value.to_string(),
        }
    }

    fn refuse(&self, value: &str) -> ConfigError {
        ConfigError { key: self.key, value: value.to_owned(), allowed: self.allowed() }
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
            assert_eq!(error, format!("{key} = {value} is not valid; allowed: {text}"));
        }
        assert!(config.set("wrokers", "1").unwrap_err().to_string().contains("workers"));
    }

    #[test]
    fn each_key_has_a_setter_of_its_type() {
        for row in TABLE {
            let expected = match row.values {
                AllowedValues::Choice(words) if words == keys::SWITCH => "bool",
                AllowedValues::Choice(_) => match row.key {
                    "idle" => "Idle",
                    "route_fallback" => "RouteFallback",
                    "balance" => "Balance",
                    "credit_policy" => "CreditPolicy",
                    other => panic!("{other} has no setter here"),
                },
                AllowedValues::Fraction => "f64",
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
        assert_eq!(error, "hold_ms = 0 is not valid; allowed: 1 to 3600000 milliseconds");
        let error = Config::default().with_max_queue_wait(Duration::MAX).unwrap_err().to_string();
        assert!(error.starts_with("max_queue_wait_ms = 18446744073709551615 is not"), "{error}");
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused() {
        let config = Config::default().with(Key::PayloadBytes, 1000).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("payload_bytes = 1000"));
        // A ring that is large enough needs no out-of-line payload.
        config.with(Key::RingBytes, 512 << 10).unwrap().validate().unwrap();
        let config = Config::default().with(Key::CreditBytes, 1000).unwrap();
        assert!(config.validate().unwrap_err().to_string().starts_with("credit_bytes = 1000"));
    }
}
