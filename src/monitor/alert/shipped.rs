//! The rules that come with the crate. The monitor adds them when it is created, and updates them when a threshold or
//! the interval changes.
//!
//! | rule | raised above | over below | severity | pending, kept | samples |
//! |---|---|---|---|---|---|
//! | `memory` | `high_memory_threshold_bytes` | 90 % of it | warning | 0, 2 intervals | |
//! | `connections` | `high_connection_threshold` | 90 % of it | warning | 0, 2 intervals | |
//! | `error_rate` | `high_error_rate_threshold` | 90 % of it | warning | 2 intervals, 2 intervals | 20 |
//! | `slow_messages` | `high_slow_rate_threshold` | 90 % of it | warning | 2 intervals, 2 intervals | 20 |
//! | `p99` | `high_p99_threshold_ms` | 90 % of it | warning | 2 intervals, 2 intervals | 20 |
//! | `queue_depth` | `high_queue_depth_threshold` | 90 % of it | warning | 2 intervals, 2 intervals | |
//! | `queue_wait` | `high_queue_wait_threshold_ms` | 90 % of it | warning | 2 intervals, 2 intervals | 20 |
//! | `egress_full` | any in the last minute | none | critical | 0, 0 | |
//! | `credit_exhausted` | any in the last minute | none | info | 0, 0 | |
//! | `worker_stalled` | any worker | none | critical | 0, 0 | |
//! | `worker_lost` | any worker | never: a lost worker does not come back | critical | 0, 0 | |
//! | `cluster_unavailable` | NATS does not answer, or refuses | it answers | critical | 2 intervals, 2 intervals | |
//! | `fenced` | this machine could not renew its lease | it could | critical | 0, 0 | |
//! | `report_file` | any file | none | warning | 0, 0 | |
//! | `cpu` | `high_cpu_threshold` | 90 % of it | warning | 2 intervals, 2 intervals | |
//!
//! An interval is `monitor_interval_ms`. A metric that may jump from one look to the next must stay bad for two
//! further looks before the alert is raised; so must `cluster_unavailable`, because a server's change of leader is over by then.
//! All other alerts are raised at once. The rules of a cluster have no value without one. For all rules the notification
//! repeats every 4 hours, and the cooldown is one minute.

use super::rule::{Rule, Severity};
use crate::config::{Config, Key};

/// A threshold between 0 and 1, for counts: any count above 0 raises.
const ANY: f64 = 0.5;
/// The smallest threshold of a share. A configured 0 becomes this value, because no share is below 0 and an alert
/// above 0 could never be resolved.
const SMALLEST_SHARE: f64 = 1e-9;
/// The least number of messages for which a rate or a percentile is meaningful.
const SAMPLES: u64 = 20;

/// 90 % of a threshold, rounded to 12 digits: 0.9 times 0.05 is 0.045000000000000005, and reports print every digit.
fn ninety_percent(threshold: f64) -> f64 {
    let clear = threshold * 0.9;
    format!("{clear:.11e}").parse().unwrap_or(clear)
}

/// The rules, with the configuration's thresholds.
pub(crate) fn shipped(config: &Config) -> Vec<Rule> {
    let pause = config.milliseconds(Key::MonitorInterval).saturating_mul(2);
    let steady = |rule: Rule| {
        let clear = ninety_percent(rule.trigger());
        rule.clear(clear).keep_firing_for(pause)
    };
    let noisy = |rule: Rule| steady(rule).pending_for(pause);
    let any = |name, metric| Rule::above(name, metric, ANY);
    vec![
        steady(gauge("memory", "system.memory.resident_bytes", config, Key::HighMemory))
            .unit("bytes")
            .text("Resident memory of the process"),
        steady(gauge("connections", "connections.active", config, Key::HighConnections))
            .text("The number of connections"),
        noisy(share("error_rate", "messages.windows.last_minute.error_rate", config, Key::HighErrorRate))
            .min_samples(SAMPLES)
            .text("The share of the last minute's messages that failed or expired"),
        noisy(share("slow_messages", "messages.windows.last_minute.slow_rate", config, Key::HighSlowRate))
            .min_samples(SAMPLES)
            .text("The share of the last minute's messages that were slow"),
        noisy(time("p99", "messages.windows.last_minute.p99", config, Key::HighP99))
            .min_samples(SAMPLES)
            .text("The 99th percentile of the last minute's handling times"),
        noisy(gauge("queue_depth", "routing.totals.queue_messages", config, Key::HighQueueDepth))
            .text("The number of messages in all queues"),
        noisy(time("queue_wait", "messages.queue_wait_windows.last_minute.p99", config, Key::HighQueueWait))
            .min_samples(SAMPLES)
            .text("The 99th percentile of the last minute's queue waits"),
        any("egress_full", "routing.egress_full_last_minute").severity(Severity::Critical).text(
            "The number of deliveries given up in the last minute because egress ring and backlog were full",
        ),
        any("credit_exhausted", "routing.credit_exhausted_last_minute").severity(Severity::Info).text(
            "The number of deliveries given up in the last minute because the recipient had no credit left",
        ),
        any("worker_stalled", "routing.workers_stalled")
            .severity(Severity::Critical)
            .text("The number of workers whose handler exceeds processing_timeout_ms"),
        any("worker_lost", "routing.workers_lost")
            .severity(Severity::Critical)
            .text("The number of workers that ended without a stop"),
        any("cluster_unavailable", "cluster.unavailable")
            .severity(Severity::Critical)
            .pending_for(pause)
            .keep_firing_for(pause)
            .text("Whether NATS does not answer, or refuses what this machine needs (1: so)"),
        any("fenced", "cluster.fenced")
            .severity(Severity::Critical)
            .text("Whether this machine owns no names, because it could not renew its lease in time (1: so)"),
        any("report_file", "reports.failing").text("The number of report files that cannot be written"),
        noisy(share("cpu", "system.cpu.process_share", config, Key::HighCpu))
            .text("The process's share of the processor time that it may use"),
    ]
}

fn gauge(name: &str, metric: &str, config: &Config, key: Key) -> Rule {
    Rule::above(name, metric, config.get(key) as f64).of_key(key)
}

fn share(name: &str, metric: &str, config: &Config, key: Key) -> Rule {
    Rule::above(name, metric, config.share(key).max(SMALLEST_SHARE)).unit("share").of_key(key)
}

/// Converts the key's milliseconds to the metric's nanoseconds.
fn time(name: &str, metric: &str, config: &Config, key: Key) -> Rule {
    Rule::above(name, metric, config.milliseconds(key).as_nanos() as f64).unit("nanoseconds").of_key(key)
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Direction, Zone};
    use super::*;
    use std::time::Duration;

    fn rule(rules: &[Rule], name: &str) -> Rule {
        rules.iter().find(|rule| rule.name() == name).unwrap().clone()
    }

    #[test]
    fn thresholds_come_from_the_configuration() {
        let mut config = Config::default();
        for (key, value, name, trigger) in [
            ("high_memory_threshold_bytes", "2000000", "memory", 2e6),
            ("high_connection_threshold", "7", "connections", 7.0),
            ("high_error_rate_threshold", "0.25", "error_rate", 0.25),
            ("high_slow_rate_threshold", "0.5", "slow_messages", 0.5),
            ("high_p99_threshold_ms", "3", "p99", 3e6),
            ("high_queue_depth_threshold", "11", "queue_depth", 11.0),
            ("high_queue_wait_threshold_ms", "4", "queue_wait", 4e6),
            ("high_cpu_threshold", "0.75", "cpu", 0.75),
        ] {
            let before = rule(&shipped(&config), name).trigger();
            config.set(key, value).unwrap();
            let after = rule(&shipped(&config), name);
            assert_eq!(after.key().map(|key| crate::config::TABLE[key as usize].key), Some(key));
            assert_eq!(after.trigger(), trigger);
            assert_ne!(before, trigger);
            assert!((after.clear_value() - trigger * 0.9).abs() < trigger * 1e-9);
        }
    }

    #[test]
    fn a_clear_value_has_no_more_digits_than_its_threshold_needs() {
        assert_eq!(rule(&shipped(&Config::default()), "error_rate").clear_value().to_string(), "0.045");
        for (threshold, clear) in
            [(0.07, "0.063"), (0.1, "0.09"), (1e-6, "0.0000009"), (1e12, "900000000000"), (7e6, "6300000")]
        {
            assert_eq!(ninety_percent(threshold).to_string(), clear);
        }
    }

    #[test]
    fn each_is_valid_named_once_and_can_be_over() {
        // 0 and 1, or the smallest and largest allowed values.
        for least in [true, false] {
            let mut config = Config::default();
            for row in crate::config::TABLE.iter().filter(|row| row.key.starts_with("high_")) {
                let (zero, one) = match row.values {
                    crate::config::AllowedValues::Number { minimum, maximum } => (minimum, maximum),
                    _ => (0, 1),
                };
                config.set(row.key, &if least { zero } else { one }.to_string()).unwrap();
            }
            let rules = shipped(&config);
            let names: std::collections::HashSet<_> = rules.iter().map(Rule::name).collect();
            assert_eq!((names.len(), rules.len()), (15, 15));
            for rule in rules {
                rule.validate().unwrap();
                assert_eq!(rule.terms.direction, Direction::Above);
                assert_eq!(rule.terms.zone(0.0), Zone::Clear, "{}", rule.name());
            }
        }
    }

    #[test]
    fn one_of_what_is_counted_is_enough_and_told_at_once() {
        let rules = shipped(&Config::default());
        for name in
            ["egress_full", "credit_exhausted", "worker_stalled", "worker_lost", "fenced", "report_file"]
        {
            let rule = rule(&rules, name);
            assert_eq!((rule.terms.zone(1.0), rule.terms.pending), (Zone::Beyond, 0));
        }
    }

    #[test]
    fn times_follow_the_interval() {
        let mut config = Config::default();
        config.monitor.interval = Duration::from_millis(250);
        let cpu = rule(&shipped(&config), "cpu");
        assert_eq!((cpu.terms.pending, cpu.terms.keep), (500_000_000, 500_000_000));
        assert_eq!(rule(&shipped(&config), "memory").terms.pending, 0);
    }
}
