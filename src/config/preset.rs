//! Presets: named sets of values, so that a host need not choose each value. Every other key keeps its value.

use super::{Balance, Config, Key, Row};
use crate::error::ConfigError;
use std::time::Duration;

/// The name that makes [`Config::set`] apply a preset.
pub(super) const KEY: &str = "preset";

/// A named set of values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Preset {
    /// Name of the preset.
    pub name: &'static str,
    /// What it is for.
    pub text: &'static str,
    apply: fn(&mut Config),
    /// Section and field of each value.
    fields: &'static [(&'static str, &'static str)],
}

macro_rules! presets {
    ($($name:literal $text:literal { $($section:ident.$field:ident = $value:expr;)+ })+) => {
        /// The presets.
        pub const PRESETS: &[Preset] = &[$(Preset {
            name: $name,
            text: $text,
            apply: |config| { $(config.$section.$field = $value;)+ },
            fields: &[$((stringify!($section), stringify!($field)),)+],
        },)+];
    };
}

presets! {
    "small" "limits and alert thresholds for a server with up to 1,000 connections" {
        router.workers = Some(10);
        router.balance = Balance::LeastLoaded;
        router.processing_timeout = Duration::from_secs(30);
        router.concurrent_routing = true;
        limits.queue_messages = Some(1_000);
        limits.max_concurrent_messages = Some(100);
        limits.max_queue_wait = Duration::from_secs(5);
        monitor.metrics = true;
        monitor.detailed_stats = true;
        monitor.stats_retention = Duration::from_secs(24 * 3_600);
        monitor.interval = Duration::from_secs(5);
        monitor.report_interval = Some(Duration::from_secs(60));
        monitor.slow_message_threshold = Duration::from_secs(1);
        monitor.logging = false;
        thresholds.memory_bytes = 1 << 30;
        thresholds.connections = 1_000;
        thresholds.error_rate = 0.05;
    }
    "production" "limits and alert thresholds for a server with up to 10,000 connections" {
        router.workers = Some(10);
        router.balance = Balance::LeastLoaded;
        router.processing_timeout = Duration::from_secs(30);
        router.concurrent_routing = true;
        limits.queue_messages = Some(1_000);
        limits.max_concurrent_messages = Some(1_000);
        limits.max_queue_wait = Duration::from_secs(5);
        monitor.metrics = true;
        monitor.detailed_stats = true;
        monitor.stats_retention = Duration::from_secs(24 * 3_600);
        monitor.interval = Duration::from_secs(5);
        monitor.report_interval = Some(Duration::from_secs(60));
        monitor.slow_message_threshold = Duration::from_millis(100);
        monitor.logging = false;
        thresholds.memory_bytes = 2 << 30;
        thresholds.connections = 10_000;
        thresholds.error_rate = 0.01;
    }
}

impl Preset {
    /// The rows of the keys that the preset sets, each with the value as text.
    pub fn values(&self) -> impl Iterator<Item = (&'static Row, String)> {
        let mut config = Config::default();
        (self.apply)(&mut config);
        let keys = Key::ALL.iter().filter(|key| {
            let row = key.row();
            self.fields.contains(&(row.section, row.field))
        });
        keys.map(move |key| (key.row(), key.row().written(config.get(*key))))
    }
}

/// The preset of this name.
pub(super) fn named(name: &str) -> Result<&'static Preset, ConfigError> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let known: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        ConfigError::value(KEY, name, known.join(", "))
    })
}

impl Config {
    /// The default configuration with the values of a preset, one of [`PRESETS`].
    ///
    /// # Errors
    /// The error names all presets, if `name` is not one of them.
    ///
    /// ```
    /// use corelane::config::Config;
    /// let config = Config::preset("small").unwrap();
    /// assert_eq!(config.router.workers, Some(10));
    /// ```
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.set_preset(name)?;
        Ok(config)
    }

    pub(super) fn set_preset(&mut self, name: &str) -> Result<(), ConfigError> {
        (named(name)?.apply)(self);
        Ok(())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_is_valid_and_lists_what_it_sets() {
        for preset in PRESETS {
            Config::preset(preset.name).unwrap().validate().unwrap();
            let mut by_key = Config::default();
            preset.values().for_each(|(row, value)| by_key.set(row.key, &value).unwrap());
            assert_eq!(by_key, Config::preset(preset.name).unwrap());
            assert_eq!(preset.values().count(), preset.fields.len());
        }
    }

    #[test]
    fn an_unknown_preset_is_refused_with_those_there_are_and_changes_nothing() {
        let text = "preset = fast is not valid; allowed: small, production";
        assert_eq!(Config::preset("fast").unwrap_err().to_string(), text);
        let mut config = Config::default();
        config.set("workers", "3").unwrap();
        assert_eq!(config.set("preset", "fast").unwrap_err().to_string(), text);
        assert_eq!(config.router.workers, Some(3));
        config.set("preset", "production").unwrap();
        assert_eq!(config.router.workers, Some(10));
    }
}
