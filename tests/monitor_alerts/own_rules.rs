//! Rules that the host defines, over any figure.

use crate::watch::{Watch, brief, record};
use corelane::config::Config;
use corelane::error::RuleError;
use corelane::metrics::Descriptor;
use corelane::monitor::Span;
use corelane::monitor::alert::{AlertState, Notification, Rule, Severity};
use corelane::record::{Measured, RecordedMessage};
use std::time::Duration;

fn taking(milliseconds: u64) -> Measured {
    Measured { processing: Duration::from_millis(milliseconds), ..Measured::default() }
}

#[test]
fn a_percentile_of_each_type_with_an_alert_of_its_own() {
    let mut watch = Watch::standalone(Config::default());
    let rule = Rule::above("slow_types", "types.*.windows.last_minute.p99", 50e6)
        .clear(40e6)
        .severity(Severity::Critical)
        .min_samples(10)
        .unit("nanoseconds")
        .text("The 99th percentile of a type");
    watch.monitor.add_rule(rule).unwrap();
    for (message_type, count, milliseconds) in [("a", 10, 60), ("b", 10, 70), ("few", 9, 80), ("c", 10, 30)] {
        record(&watch.monitor, count, message_type, taking(milliseconds));
    }
    let told = watch.look();
    assert_eq!(brief(&told), ["slow_types/test/a", "slow_types/test/b"].map(|id| (id, Notification::Raised)));
    assert_eq!((&*told[1].name, &*told[1].label_set), ("slow_types", "test/b"));
    assert_eq!((told[1].severity, told[1].threshold), (Severity::Critical, 50e6));
    assert!((70e6..72.2e6).contains(&told[1].current_value), "{told:?}");
    let message = &told[1].message;
    assert!(message.starts_with("The 99th percentile of a type (test/b) is 7"), "{message}");
    // A third label set appears later. The first two alerts continue to fire without a notification.
    record(&watch.monitor, 10, "c", taking(90));
    assert_eq!(brief(&watch.look()), [("slow_types/test/c", Notification::Raised)]);
    // One label set is in the hysteresis band, one is good again: only the alert of the good one ends.
    record(&watch.monitor, 2_000, "a", taking(45));
    record(&watch.monitor, 2_000, "b", taking(10));
    assert_eq!(brief(&watch.look()), [("slow_types/test/b", Notification::Resolved)]);
    watch.quiet(2);
    let current: Vec<_> = watch.figures().current.into_iter().map(|alert| alert.id).collect();
    assert_eq!(current, ["slow_types/test/a", "slow_types/test/c"]);
    // Removing the rule ends both alerts, and both are notified.
    watch.monitor.remove_rule("slow_types").unwrap();
    let told = watch.look();
    assert_eq!(
        brief(&told),
        ["slow_types/test/a", "slow_types/test/c"].map(|id| (id, Notification::Resolved))
    );
    assert!(told[0].details.iter().any(|(_, value)| value == "the rule was removed"));
    assert_eq!(watch.monitor.remove_rule("slow_types"), Err(RuleError::Unknown("slow_types".to_owned())));
    watch.quiet(2);
    watch.end();
}

#[test]
fn one_type_by_its_name_and_too_few_of_something() {
    let mut watch = Watch::standalone(Config::default());
    let one = Rule::above("many_offers", "types.test/offer.total", 4.5);
    watch.monitor.add_rule(one).unwrap();
    let below = Rule::below("deserted", "connections.active", 1.0).pending_for(Duration::from_secs(5));
    watch.monitor.add_rule(below).unwrap();
    let never = Rule::above("typo", "types.test/offer.totall", 0.0);
    assert!(matches!(watch.monitor.add_rule(never), Err(RuleError::Invalid { .. })));
    record(&watch.monitor, 4, "offer", taking(1));
    record(&watch.monitor, 100, "answer", taking(1));
    let client = watch.monitor.connect("ann", "").unwrap();
    watch.quiet(2);
    record(&watch.monitor, 1, "offer", taking(1));
    assert_eq!(brief(&watch.look()), [("many_offers", Notification::Raised)]);
    watch.monitor.disconnect(client).unwrap();
    watch.quiet(1);
    assert_eq!(watch.state("deserted"), AlertState::Pending);
    // Five seconds later the condition has held for long enough, but there was no look in between.
    watch.quiet(1);
    let raised = watch.tells("deserted", Notification::Raised);
    assert_eq!(raised.message, "connections.active is 0, below the threshold of 1");
    // On the threshold the alert is neither raised nor resolved.
    watch.monitor.connect("ann", "").unwrap();
    watch.quiet(3);
    watch.monitor.connect("ben", "").unwrap();
    watch.tells("deserted", Notification::Resolved);
    // After a reset the counts are below the threshold again.
    watch.monitor.reset();
    watch.tells("many_offers", Notification::Resolved);
    watch.end();
}

/// A name as a step of a path, as docs/guide.md says.
fn as_step(name: &str) -> String {
    let step = name.replace('\\', "\\\\").replace('.', "\\.");
    if step == "*" { "\\*".to_owned() } else { step }
}

/// A rule over one element finds what the rule over all of them has raised, whatever the element is called.
#[test]
fn each_label_set_is_a_step_of_a_path() {
    let mut watch = Watch::standalone(Config::default());
    watch.monitor.remove_rule("error_rate").unwrap();
    let bad = Measured { failed: true, ..taking(1) };
    for name in ["a", "a.b", "a/b", r"a\b", "a,b", "*", "ü", "0", "(x|y)", "a b", r"\.", r"\/"] {
        let message =
            RecordedMessage { client: name, application: name, measured: bad, ..Default::default() };
        watch.monitor.record(&RecordedMessage { protocol: "p.q/r", message_type: name, ..message });
        watch.monitor.record(&RecordedMessage { protocol: name, message_type: "t", ..message });
        let jobs = Descriptor::new("jobs_total", "Jobs").labels(&["kind"]);
        watch.monitor.counter(&jobs).unwrap().with(&[name]).unwrap().add(1);
    }
    let all = [
        "types.*.failed",
        "protocols.*.failed",
        "applications.*.failed",
        "clients.by_errors.*.errors",
        "custom.families.jobs_total.series.*.value",
    ];
    for (place, metric) in all.iter().enumerate() {
        watch.monitor.add_rule(Rule::above(&format!("all_{place}"), metric, 0.5)).unwrap();
    }
    let raised = watch.look();
    assert!(raised.len() > 50, "{}", raised.len());
    for alert in &raised {
        let path = alert.metric.replacen('*', &as_step(&alert.label_set), 1);
        watch.monitor.add_rule(Rule::above("one", &path, 0.5).cooldown(Duration::ZERO)).unwrap();
        assert_eq!(brief(&watch.look()), [("one", Notification::Raised)], "{path}");
        watch.monitor.remove_rule("one").unwrap();
        assert_eq!(brief(&watch.look()), [("one", Notification::Resolved)], "{path}");
    }
    // Names of histories are such paths too.
    let names = watch.monitor.history_names();
    let series = names
        .iter()
        .filter(|name| ["types.", "protocols.", "applications."].iter().any(|part| name.starts_with(part)));
    for name in series {
        assert!(watch.monitor.history(name, Span::Minute).is_some(), "{name}");
        watch.monitor.add_rule(Rule::above("one", &format!("{name}.total"), -1.0)).unwrap();
        watch.tells("one", Notification::Raised);
        watch.monitor.remove_rule("one").unwrap();
        watch.tells("one", Notification::Resolved);
        watch.quiet(12);
    }
    watch.end();
}

#[test]
fn a_rule_watches_sixteen_label_sets_and_counts_the_others() {
    let mut watch = Watch::standalone(Config::default());
    watch.monitor.add_rule(Rule::above("types", "types.*.total", 0.5)).unwrap();
    for number in 0..20 {
        record(&watch.monitor, 1, &format!("t{number}"), taking(1));
    }
    let told = watch.look();
    assert_eq!(told.len(), 16);
    assert!(told.iter().all(|alert| alert.notification == Some(Notification::Raised)));
    watch.quiet(2);
    let figures = watch.figures();
    // Four label sets at each of three looks.
    assert_eq!((figures.label_sets_folded, figures.current.len()), (12, 16));
    let rule = figures.rules.iter().find(|rule| rule.name == "types").unwrap();
    assert_eq!((rule.label_sets_folded, rule.firing), (12, 16));
    watch.end();
}

#[test]
fn rules_are_named_once_valid_and_bounded() {
    let mut watch = Watch::standalone(Config::default());
    let rule = |name: &str| Rule::above(name, "connections.active", 100.0);
    assert_eq!(watch.monitor.add_rule(rule("p99")), Err(RuleError::Exists("p99".to_owned())));
    assert!(matches!(watch.monitor.add_rule(rule("No!")), Err(RuleError::Invalid { .. })));
    let shipped = watch.figures().rules.len();
    for number in shipped..64 {
        watch.monitor.add_rule(rule(&format!("rule_{number}"))).unwrap();
    }
    assert_eq!(watch.monitor.add_rule(rule("one_more")), Err(RuleError::TooMany(64)));
    watch.monitor.remove_rule("error_rate").unwrap();
    watch.monitor.add_rule(rule("one_more")).unwrap();
    // Setting the key of a removed shipped rule does not restore the rule.
    watch.monitor.set("high_error_rate_threshold", "0").unwrap();
    record(&watch.monitor, 100, "a", Measured { failed: true, ..taking(1) });
    watch.quiet(4);
    watch.end();
}

#[test]
fn what_is_over_is_remembered_the_latest_first() {
    let mut watch = Watch::standalone(Config::default());
    let rule = Rule::above("anybody", "connections.active", 0.5).cooldown(Duration::ZERO);
    watch.monitor.add_rule(rule).unwrap();
    for _ in 0..260 {
        let client = watch.monitor.connect("ann", "").unwrap();
        watch.tells("anybody", Notification::Raised);
        watch.monitor.disconnect(client).unwrap();
        watch.tells("anybody", Notification::Resolved);
    }
    let figures = watch.figures();
    assert_eq!((figures.raised, figures.resolved), (260, 260));
    // Each alert was raised ten seconds after the previous one. The first four have left the history.
    let raised: Vec<_> = figures.history.iter().map(|alert| alert.raised.unwrap()).collect();
    let expected: Vec<_> = (4..260).rev().map(|number| 5_000 + 10_000 * number).collect();
    assert_eq!(raised, expected);
    assert!(figures.history.iter().all(|alert| alert.resolved == alert.raised.map(|at| at + 5_000)));
    watch.end();
}
