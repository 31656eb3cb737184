//! The configuration of a router. One table has section, field, type, default, name, allowed values, unit and text of
//! each key. The sections with their fields, the checks, the flat text, serde, presets, the settings at run time and
//! `docs/configuration.md` are all derived from this table.

mod budget;
mod preset;
mod sections;
mod serial;
mod text;
mod value;

use crate::clients::{ClientLimits, RoomLimits};
pub use crate::error::{ConfigError, ConfigProblem};
pub use budget::Budget;
pub(crate) use budget::{ALLOCATION, Sizes};
pub use preset::{PRESETS, Preset};
pub(crate) use sections::Key;
pub use sections::{
    Config, Credit, Holds, Limits, MonitorConfig, Rooms, RouterConfig, SECTIONS, TABLE, Thresholds,
};
use std::time::Duration;
use value::Value;
pub use value::{Balance, Idle, RouteFallback};

/// One row of the table of keys.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Name of the key, in texts and files.
    pub key: &'static str,
    /// The section: a field of [`Config`].
    pub section: &'static str,
    /// The field of the section.
    pub field: &'static str,
    /// The field's type.
    pub field_type: &'static str,
    /// Unit of the value in a text.
    pub unit: &'static str,
    /// Allowed values.
    pub values: AllowedValues,
    /// What can change the value at run time.
    pub changes: Changes,
    /// Where the value has an effect.
    pub scope: Scope,
    /// Effect of the key, as a sentence.
    pub text: &'static str,
}

/// What can change a value at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changes {
    /// Nothing: the value is read at the start.
    Never,
    /// [`Monitor::set`](crate::monitor::Monitor::set).
    Monitor,
    /// [`Router::set_active_workers`](crate::router::Router::set_active_workers).
    Router,
}

/// Where a value has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// In a router, and in a monitor without a router.
    Any,
    /// Only in a router. [`Config::of_monitor`] refuses the key.
    Router,
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
    /// A fraction from 0 to 1.
    Fraction,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Config {
    /// Whether all memory is made resident when it is reserved.
    pub(crate) fn touches(&self) -> bool {
        self.router.touch_memory
    }

    /// A fraction, from 0 to 1.
    pub(crate) fn share(&self, key: Key) -> f64 {
        f64::from_bits(self.get(key))
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
        self.monitor.metrics
    }

    /// Whether each client has its own figures, and each series has windows.
    pub(crate) fn has_details(&self) -> bool {
        self.monitor.detailed_stats && self.has_metrics()
    }

    /// Limits on clients.
    pub(crate) fn client_limits(&self) -> ClientLimits {
        ClientLimits {
            clients: self.limits.max_clients,
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

    /// Number of token buckets: one per client if the client rate is limited.
    pub(crate) fn buckets(&self) -> usize {
        if self.limits.client_rate.is_some() { self.count(Key::MaxClients) } else { 0 }
    }

    /// Number of workers that have a thread of their own. They come first in the order of the workers.
    pub(crate) fn threaded_workers(&self) -> usize {
        self.workers().saturating_sub(self.count(Key::LocalWorkers))
    }

    /// Number of workers that this configuration has on this machine, local ones included.
    pub fn workers(&self) -> usize {
        match self.count(Key::Workers) {
            // The host's threads need cores as well (decision 12).
            0 => {
                let cores = core_affinity::get_core_ids().map_or(1, |cores| cores.len());
                (cores / 2).max(self.count(Key::LocalWorkers)).clamp(1, 64)
            }
            count => count,
        }
    }

    /// Checks each value, and combinations of values.
    ///
    /// # Errors
    /// The error names the key to change and its allowed values.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Key::ALL.iter().try_for_each(|key| self.check(*key))?;
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
        if self.get(Key::BucketMinimum) >= self.get(Key::BucketMaximum) * 1_000 {
            let allowed =
                format!("less than bucket_maximum_ms, {} microseconds", self.get(Key::BucketMaximum) * 1_000);
            return Err(self.misfit(Key::BucketMinimum, allowed));
        }
        let list = self.room_limits().list_bytes();
        if list > self.get(Key::RoomRetiredBytes) {
            let allowed = format!("at least {list} bytes for this max_room_members");
            return Err(self.misfit(Key::RoomRetiredBytes, allowed));
        }
        Ok(())
    }

    /// Checks one value.
    fn check(&self, key: Key) -> Result<(), ConfigError> {
        let (row, number) = (key.row(), self.get(key));
        self.exact(key)?;
        if row.values.allow(number) { Ok(()) } else { Err(row.refuse(&row.written(number))) }
    }

    /// Error for a value that contradicts other values.
    fn misfit(&self, key: Key, allowed: String) -> ConfigError {
        ConfigError::value(key.row().key, self.get(key).to_string(), allowed)
    }
}

impl AllowedValues {
    fn allow(self, value: u64) -> bool {
        match self {
            Self::Number { minimum, maximum } => (minimum..=maximum).contains(&value),
            Self::PowerOfTwo { minimum, maximum } => {
                value.is_power_of_two() && (minimum..=maximum).contains(&value)
            }
            Self::Fraction => (0.0..=1.0).contains(&f64::from_bits(value)),
            Self::Choice(words) => (value as usize) < words.len(),
        }
    }
}

impl Key {
    pub(crate) fn row(self) -> &'static Row {
        &TABLE[self as usize]
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
            AllowedValues::Fraction => f64::from_bits(value).to_string(),
            AllowedValues::Number { .. } | AllowedValues::PowerOfTwo { .. } => value.to_string(),
        }
    }

    /// The default value, as text.
    pub fn default_value(&self) -> String {
        let key = Key::ALL.iter().find(|key| key.row().key == self.key);
        key.map_or_else(String::new, |key| self.written(Config::default().get(*key)))
    }

    /// The number of a field's value, if one stands for exactly this value.
    fn number(&self, value: &(impl Value + std::fmt::Debug)) -> Result<u64, ConfigError> {
        match value.inexact(self.unit) {
            None => Ok(value.number(self.unit)),
            Some(instead) => {
                let allowed = format!("{}, {instead}", self.allowed());
                Err(ConfigError::value(self.key, format!("{value:?}"), allowed))
            }
        }
    }

    /// The number of a value that was written.
    fn read(&self, text: &str) -> Result<u64, ConfigError> {
        let text = text.trim();
        let number = match self.values {
            AllowedValues::Choice(words) => words.iter().position(|word| *word == text).map(|at| at as u64),
            AllowedValues::Number { .. } | AllowedValues::PowerOfTwo { .. } => text.parse().ok(),
            AllowedValues::Fraction => text.parse().ok().map(f64::to_bits),
        };
        number.filter(|number| self.values.allow(*number)).ok_or_else(|| self.refuse(text))
    }

    fn refuse(&self, value: &str) -> ConfigError {
        ConfigError::value(self.key, value, self.allowed())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
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
            ("high_cpu_threshold", "NaN", "0 to 1 of the process's cores"),
        ] {
            let error = config.set(key, value).unwrap_err().to_string();
            assert_eq!(error, format!("{key} = {value} is not valid; allowed: {text}"));
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn wrong_fields_are_refused_by_the_names_of_their_keys() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let error = refused(|config| config.holds.time = Duration::ZERO);
        assert_eq!(error, "hold_ms = 0 is not valid; allowed: 1 to 3600000 milliseconds");
        let error = refused(|config| config.holds.time = Duration::from_micros(1_500));
        assert_eq!(
            error,
            "hold_ms = 1.5ms is not valid; allowed: 1 to 3600000 milliseconds, whole milliseconds"
        );
        let error = refused(|config| config.monitor.stats_retention = Duration::from_secs(5_400));
        assert!(error.starts_with("stats_retention_hours = 5400s is not valid"), "{error}");
        let error = refused(|config| config.limits.max_queue_wait = Duration::MAX);
        assert!(error.starts_with("max_queue_wait_ms = 18446744073709551615"), "{error}");
        let error = refused(|config| config.limits.client_rate = Some(0));
        assert_eq!(
            error,
            "client_rate = Some(0) is not valid; allowed: 0 to 1000000 messages per second, None in place of 0"
        );
        let error = refused(|config| config.thresholds.cpu = f64::NAN);
        assert_eq!(error, "high_cpu_threshold = NaN is not valid; allowed: 0 to 1 of the process's cores");
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused() {
        let mut config = Config::default();
        config.limits.payload_bytes = 1_000;
        assert!(config.validate().unwrap_err().to_string().starts_with("payload_bytes = 1000"));
        // A ring that is large enough needs no out-of-line payload.
        config.router.ring_bytes = 512 << 10;
        config.validate().unwrap();
        config.credit.bytes = 1_000;
        assert!(config.validate().unwrap_err().to_string().starts_with("credit_bytes = 1000"));
    }
}
