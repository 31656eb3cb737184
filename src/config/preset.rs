//! Presets: named sets of values, so that a host need not choose each value. Every other key keeps its
//! default.

use super::Config;
use crate::error::ConfigError;

/// The key name that makes [`Config::set`] apply a preset.
pub(super) const KEY: &str = "preset";

/// Name of each preset and the keys that it sets. All other keys keep their values.
///
/// - `small`: limits and alert thresholds for a server with up to 1,000 connections.
/// - `production`: limits and alert thresholds for a server with up to 10,000 connections.
pub const PRESETS: &[(&str, &[(&str, &str)])] = &[
    (
        "small",
        &[
            ("workers", "10"),
            ("queue_messages", "1000"),
            ("balance", "least_loaded"),
            ("processing_timeout_ms", "30000"),
            ("max_concurrent_messages", "100"),
            ("max_queue_wait_ms", "5000"),
            ("enable_concurrent_routing", "on"),
            ("enable_metrics", "on"),
            ("monitor_interval_ms", "5000"),
            ("report_interval_ms", "60000"),
            ("slow_message_threshold_ms", "1000"),
            ("high_memory_threshold_bytes", "1073741824"),
            ("high_connection_threshold", "1000"),
            ("high_error_rate_threshold", "0.05"),
            ("detailed_stats", "on"),
            ("stats_retention_hours", "24"),
            ("enable_logging", "off"),
        ],
    ),
    (
        "production",
        &[
            ("workers", "10"),
            ("queue_messages", "1000"),
            ("balance", "least_loaded"),
            ("processing_timeout_ms", "30000"),
            ("max_concurrent_messages", "1000"),
            ("max_queue_wait_ms", "5000"),
            ("enable_concurrent_routing", "on"),
            ("enable_metrics", "on"),
            ("monitor_interval_ms", "5000"),
            ("report_interval_ms", "60000"),
            ("slow_message_threshold_ms", "100"),
            ("high_memory_threshold_bytes", "2147483648"),
            ("high_connection_threshold", "10000"),
            ("high_error_rate_threshold", "0.01"),
            ("detailed_stats", "on"),
            ("stats_retention_hours", "24"),
            ("enable_logging", "off"),
        ],
    ),
];

impl Config {
    /// The default configuration with the values of a preset, one of [`PRESETS`].
    ///
    /// # Errors
    /// [`ConfigError`] with the names of all presets, if `name` is not one of them.
    ///
    /// ```
    /// use corelane::config::{Config, Key};
    /// let config = Config::preset("small").unwrap();
    /// assert_eq!(config.get(Key::Workers), 10);
    /// ```
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.set_preset(name)?;
        Ok(config)
    }

    pub(super) fn set_preset(&mut self, name: &str) -> Result<(), ConfigError> {
        let Some((_, rows)) = PRESETS.iter().find(|(preset, _)| *preset == name) else {
            let known: Vec<_> = PRESETS.iter().map(|(preset, _)| *preset).collect();
            return Err(ConfigError { key: KEY, value: name.to_owned(), allowed: known.join(", ") });
        };
        let mut whole = self.clone();
        for (key, value) in *rows {
            whole.set(key, value)?;
        }
        *self = whole;
        Ok(())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::super::{Key, TABLE};
    use super::*;

    #[test]
    fn every_row_names_a_key_and_is_allowed() {
        for (preset, rows) in PRESETS {
            for (key, value) in *rows {
                assert!(TABLE.iter().any(|row| row.key == *key), "{preset} sets {key}, which is no key");
                Config::default().set(key, value).unwrap();
            }
            Config::preset(preset).unwrap().validate().unwrap();
        }
    }

    #[test]
    fn an_unknown_preset_is_refused_with_those_there_are_and_changes_nothing() {
        let text = "preset = fast is not valid; allowed: small, production";
        assert_eq!(Config::preset("fast").unwrap_err().to_string(), text);
        let mut config = Config::default();
        config.set("workers", "3").unwrap();
        assert_eq!(config.set("preset", "fast").unwrap_err().to_string(), text);
        assert_eq!(config.get(Key::Workers), 3);
        config.set("preset", "production").unwrap();
        assert_eq!(config.get(Key::Workers), 10);
    }
}
