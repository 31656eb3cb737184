//! The events other than a good value that end an alert of a shipped rule: a changed threshold, a removed rule, no
//! value, too few samples. (A3)

use crate::watch::{Watch, alone, record};
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{Alert, Notification};
use corelane::record::Measured;
use corelane::router::Builder;
use std::time::Duration;

/// All shipped rules.
const SHIPPED: [&str; 13] = [
    "memory",
    "connections",
    "error_rate",
    "slow_messages",
    "p99",
    "queue_depth",
    "queue_wait",
    "egress_full",
    "credit_exhausted",
    "worker_stalled",
    "worker_lost",
    "report_file",
    "cpu",
];

/// Shipped rules that have no value here, because the router is in no cluster. `tests/cluster` has their tests.
const OF_A_CLUSTER: [&str; 2] = ["cluster_unavailable", "fenced"];

/// The rules over the last minute's messages.
const OVER_MESSAGES: [&str; 4] = ["error_rate", "slow_messages", "p99", "queue_wait"];

/// A router's monitor, so that every rule has a figure.
fn watch() -> (Watch, impl Sized) {
    let (clock, hands) = Clock::manual();
    let mut config = Config::default();
    config.router.workers = Some(1);
    let router = Builder::new(config).clock(clock).build().unwrap();
    (Watch::with_all_rules(Monitor::of(&router.0.source()), hands), router)
}

/// Makes rules fire: every value is above a threshold below 0.
fn raise(watch: &mut Watch, rules: &[&str]) {
    for rule in rules {
        watch.monitor.set_threshold(rule, -1.0, -2.0).unwrap();
    }
    record(&watch.monitor, 20, "a", Measured::default());
    let mut told = Vec::new();
    for _ in 0..100 {
        if told.len() < rules.len() {
            told.extend(look(watch));
        }
    }
    same(&told, Notification::Raised, rules);
}

/// The next look, after a pause, because the share of processor time is measured in real time.
fn look(watch: &mut Watch) -> Vec<Alert> {
    std::thread::sleep(Duration::from_millis(20));
    watch.look()
}

/// Checks that exactly these rules were notified, in any order.
fn same(told: &[Alert], notification: Notification, rules: &[&str]) {
    let mut all: Vec<_> = told.iter().map(|alert| (&*alert.id, alert.notification.unwrap())).collect();
    let mut expected: Vec<_> = rules.iter().map(|rule| (*rule, notification)).collect();
    all.sort_by_key(|one| one.0);
    expected.sort_by_key(|one| one.0);
    assert_eq!(all, expected);
}

#[test]
fn a_changed_threshold_ends_each() {
    let _turn = alone();
    let (mut watch, _router) = watch();
    let mut names: Vec<_> = watch.figures().rules.into_iter().map(|rule| rule.name).collect();
    names.sort();
    let mut shipped = [&SHIPPED[..], &OF_A_CLUSTER].concat();
    shipped.sort_unstable();
    assert_eq!(names, shipped);
    raise(&mut watch, &SHIPPED);
    for rule in SHIPPED {
        watch.monitor.set_threshold(rule, 1e18, 1e18).unwrap();
    }
    let told = look(&mut watch);
    same(&told, Notification::Resolved, &SHIPPED);
    for alert in &told {
        assert_eq!(alert.threshold, -1.0);
        assert!(alert.message.contains("; it was above the threshold of "), "{}", alert.message);
    }
    watch.quiet(20);
    watch.end();
}

#[test]
fn a_removed_rule_ends_each() {
    let _turn = alone();
    let (mut watch, _router) = watch();
    raise(&mut watch, &SHIPPED);
    for rule in SHIPPED {
        watch.monitor.remove_rule(rule).unwrap();
    }
    let told = watch.look();
    same(&told, Notification::Resolved, &SHIPPED);
    for alert in &told {
        assert!(alert.message.contains(" is no longer watched; the last value was "), "{}", alert.message);
    }
    watch.quiet(20);
    watch.end();
}

#[test]
fn no_value_and_too_few_samples_end_those_over_messages() {
    let _turn = alone();
    let (mut watch, _router) = watch();
    for rule in SHIPPED.iter().filter(|rule| !OVER_MESSAGES.contains(rule)) {
        watch.monitor.remove_rule(rule).unwrap();
    }
    for (each_look, text) in
        [(0, " has no value at present; the last value was "), (1, " has too little data (of 1")]
    {
        raise(&mut watch, &OVER_MESSAGES);
        let (_, told) = watch.until_told(|monitor| record(monitor, each_look, "a", Measured::default()));
        same(&told, Notification::Resolved, &OVER_MESSAGES);
        for alert in &told {
            assert!(alert.message.contains(text), "{}", alert.message);
        }
        // Wait for the cooldown and for the minute of the messages.
        watch.quiet(20);
    }
    watch.end();
}
