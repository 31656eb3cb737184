//! Shipped rules over what a host records: connections, error rate, slow messages, P99, queue waits.

use crate::watch::{INTERVAL, Watch, brief, record};
use corelane::config::Config;
use corelane::monitor::alert::{Alert, AlertState, Notification, Rule, Severity};
use corelane::record::{Measured, RecordedMessage};
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;

fn good() -> Measured {
    Measured { processing: Duration::from_nanos(MILLISECOND), ..Measured::default() }
}

/// The threshold is ten connections, so the alert ends below nine.
fn ten_connections() -> Config {
    "high_connection_threshold=10".parse().unwrap()
}

/// Connects and disconnects clients until `wanted` are connected.
fn connect(watch: &Watch, open: &mut Vec<corelane::clients::ClientId>, wanted: usize) {
    while open.len() < wanted {
        open.push(watch.monitor.connect(&format!("client {}", open.len()), "app").unwrap());
    }
    for client in open.drain(wanted..) {
        watch.monitor.disconnect(client).unwrap();
    }
    assert_eq!(watch.monitor.snapshot().connections.active, wanted as u64);
}

#[test]
fn connections_and_every_field_of_an_alert() {
    let (mut watch, mut open) = (Watch::standalone(ten_connections()), Vec::new());
    connect(&watch, &mut open, 10);
    watch.quiet(3); // A value on the threshold is not above it.
    connect(&watch, &mut open, 11);
    let raised = watch.tells("connections", Notification::Raised);
    let Alert { id, name, severity, state, message, details, metric, label_set, .. } = raised.clone();
    assert_eq!(
        (&*id, &*name, &*metric, &*label_set),
        ("connections", "connections", "connections.active", "")
    );
    assert_eq!((severity, state), (Severity::Warning, AlertState::Firing));
    assert_eq!(message, "The number of connections is 11, above the threshold of 10");
    let expected = [
        ("trigger", "10"),
        ("clear", "9"),
        ("pending_for_ms", "0"),
        ("keep_firing_for_ms", "10000"),
        ("min_samples", "0"),
    ];
    let details: Vec<_> = details.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(details, expected);
    assert_eq!((raised.threshold, raised.current_value), (10.0, 11.0));
    // This is the fourth look. A manual clock starts in 1970.
    assert_eq!((raised.since, raised.raised, raised.resolved), (20_000, Some(20_000), None));
    assert_eq!(watch.figures().current, [raised]);

    // The hysteresis band: neither above ten nor below nine.
    for count in [10, 9, 10, 9] {
        connect(&watch, &mut open, count);
        watch.quiet(1);
        assert_eq!(watch.state("connections"), AlertState::Firing);
    }
    // Good for one look only, then bad again: neither is notified.
    connect(&watch, &mut open, 8);
    watch.quiet(1);
    assert_eq!(watch.state("connections"), AlertState::Recovering);
    connect(&watch, &mut open, 12);
    watch.quiet(2);
    assert_eq!(watch.state("connections"), AlertState::Firing);
    connect(&watch, &mut open, 8);
    let resolved = watch.resolves_at_the_third("connections");
    assert_eq!((resolved.since, resolved.raised, resolved.resolved), (20_000, Some(20_000), Some(70_000)));
    assert_eq!((resolved.current_value, resolved.threshold), (8.0, 10.0));
    assert_eq!(resolved.message, "The number of connections is 8, no longer above the threshold of 10");
    let figures = watch.figures();
    assert_eq!((figures.current, figures.pending, figures.history), (vec![], vec![], vec![resolved]));
    let rule = figures.rules.iter().find(|rule| rule.name == "connections").unwrap();
    let transitions = rule.transitions;
    let seen = [transitions.pending, transitions.firing, transitions.recovering, transitions.resolved];
    assert_eq!((seen, rule.pending, rule.firing), ([0, 1, 2, 1], 0, 0));
    watch.end();
}

#[test]
fn a_threshold_changes_while_it_runs() {
    let (mut watch, mut open) = (Watch::standalone(ten_connections()), Vec::new());
    connect(&watch, &mut open, 11);
    watch.tells("connections", Notification::Raised);
    // Changed by the key: 11 is now in the band, which the value has never left upwards.
    watch.monitor.set("high_connection_threshold", "12").unwrap();
    let resolved = watch.tells("connections", Notification::Resolved);
    assert_eq!((resolved.threshold, resolved.current_value), (10.0, 11.0));
    assert!(
        resolved.message.ends_with(" is 11; it was above the threshold of 10, which has since changed to 12")
    );
    // Changed by the rule. The alert fires again at once and is notified after the cooldown of a minute.
    watch.monitor.set_threshold("connections", 5.0, 4.0).unwrap();
    watch.quiet(1);
    let current = watch.figures().current.remove(0);
    assert_eq!((current.state, current.notification), (AlertState::Firing, None));
    watch.quiet(10);
    let raised = watch.tells("connections", Notification::Raised);
    assert_eq!((raised.threshold, raised.raised), (5.0, current.raised));
    // Changed by the key again: this overrides the rule's own threshold.
    watch.monitor.set("high_connection_threshold", "30").unwrap();
    watch.tells("connections", Notification::Resolved);
    let rule = watch.figures().rules.into_iter().find(|rule| rule.name == "connections").unwrap();
    assert_eq!((rule.trigger, rule.clear), (30.0, 27.0));
    // The next alert ends before the end of the cooldown: neither its start nor its end is notified.
    connect(&watch, &mut open, 31);
    watch.quiet(1);
    connect(&watch, &mut open, 0);
    watch.quiet(20);
    assert_eq!(watch.figures().withheld, 1);
    for (name, trigger, clear) in [("nothing", 1.0, 1.0), ("connections", 1.0, 2.0), ("p99", f64::NAN, 0.0)] {
        watch.monitor.set_threshold(name, trigger, clear).unwrap_err();
    }
    watch.monitor.set("high_connection_threshold", "0").unwrap_err();
    watch.monitor.set("workers", "2").unwrap_err();
    watch.end();
}

/// A share of the last minute's messages with a threshold of 5 %: which messages count and which do not.
fn share(rule: &str, bad: Measured) {
    let mut watch = Watch::standalone(Config::default());
    // Too few samples for an alert.
    record(&watch.monitor, 19, "a", bad);
    watch.quiet(15);
    record(&watch.monitor, 90, "a", good());
    record(&watch.monitor, 10, "a", bad);
    let raised = watch.raises_at_the_third(rule);
    assert_eq!((raised.current_value, raised.threshold), (0.1, 0.05));
    let samples = raised.details.iter().find(|(name, _)| name == "samples").unwrap();
    assert_eq!(samples.1, "100");
    let clients = if rule == "error_rate" { ", errors from 1 client" } else { "" };
    let text = format!(" is 10 % (of 100 messages{clients}), above the threshold of 5 %");
    assert!(raised.message.ends_with(&text), "{}", raised.message);
    // The hysteresis band: above 4.5 %.
    record(&watch.monitor, 113, "a", good());
    watch.quiet(3);
    assert_eq!(watch.state(rule), AlertState::Firing);
    record(&watch.monitor, 60, "a", good());
    let resolved = watch.resolves_at_the_third(rule);
    assert_eq!(resolved.current_value, 10.0 / 273.0);
    // Raised once more. Then the minute passes: no bad message is left, and the end is notified.
    watch.quiet(15);
    record(&watch.monitor, 20, "a", bad);
    watch.raises_at_the_third(rule);
    let (quiet, told) = watch.until_told(|_| {});
    assert_eq!(brief(&told), [(rule, Notification::Resolved)]);
    assert_eq!(quiet, 11, "a minute from the messages on, and two looks");
    assert!(
        told[0].message.contains(" has no value at present; the last value was 100 %"),
        "{}",
        told[0].message
    );
    // The alert also ends if there are fewer messages than the minute's rate needs, however bad they are.
    watch.quiet(15);
    record(&watch.monitor, 20, "a", bad);
    watch.raises_at_the_third(rule);
    let (_, told) = watch.until_told(|monitor| record(monitor, 1, "a", bad));
    assert_eq!(brief(&told), [(rule, Notification::Resolved)]);
    assert!(told[0].message.contains(" has too little data (of 1"), "{}", told[0].message);
    watch.end();
}

/// 50 bad messages of one client, which then disconnects. There are two looks per second.
#[test]
fn the_junk_of_one_client_that_leaves_is_over_after_its_minute() {
    let mut watch = Watch::standalone(Config::default());
    watch.monitor.set("monitor_interval_ms", "500").unwrap();
    let client = watch.monitor.connect("ann", "app").unwrap();
    let labels = watch.monitor.labels("test", "NOPE", "app");
    for _ in 0..50 {
        watch.monitor.record_labelled(labels, Some(client), Measured { failed: true, ..good() });
    }
    watch.monitor.disconnect(client).unwrap();
    let mut told = Vec::new();
    for half_second in 1..=240 {
        watch.hands.advance(Duration::from_millis(500));
        told.extend(watch.tick().into_iter().map(|alert| (half_second, alert)));
    }
    let [(raised, first), (resolved, last)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.id.as_str(), last.id.as_str()), ("error_rate", "error_rate"));
    assert_eq!(first.notification, Some(Notification::Raised));
    assert!(
        first
            .message
            .ends_with(" is 100 % (of 50 messages, errors from 1 client), above the threshold of 5 %")
    );
    assert_eq!(last.notification, Some(Notification::Resolved));
    // Three looks to raise it; then the minute, to a second, and three looks to resolve it.
    assert!(*raised == 3 && (122..=126).contains(resolved), "{raised} {resolved}");
    assert_eq!(watch.figures().current, []);
    watch.end();
}

#[test]
fn a_rule_can_ask_for_errors_of_several_clients() {
    let mut watch = Watch::standalone(Config::default());
    watch.monitor.remove_rule("error_rate").unwrap();
    let rule = Rule::above("outage", "messages.windows.last_minute.error_rate", 0.5).unit("share");
    watch.monitor.add_rule(rule.min_samples(10).min_clients(3)).unwrap();
    let fail = |watch: &Watch, client, count| {
        for _ in 0..count {
            let measured = Measured { failed: true, ..good() };
            watch.monitor.record(&RecordedMessage {
                client,
                message_type: "a",
                measured,
                ..RecordedMessage::default()
            });
        }
    };
    fail(&watch, "ann", 500);
    fail(&watch, "ben", 500);
    watch.quiet(2);
    assert_eq!(watch.monitor.snapshot().messages.as_ref().unwrap().error_clients_last_minute, 2);
    fail(&watch, "cat", 1);
    let raised = watch.tells("outage", Notification::Raised);
    assert_eq!(
        raised.message.split(" is ").nth(1),
        Some("100 % (of 1001 messages, errors from 3 clients), above the threshold of 50 %")
    );
    // The clients' errors leave the minute; errors of two clients remain.
    watch.hands.advance(Duration::from_secs(40));
    fail(&watch, "ann", 500);
    fail(&watch, "ben", 500);
    let (_, told) = watch.until_told(|_| {});
    assert_eq!(brief(&told), [("outage", Notification::Resolved)]);
    assert!(
        told[0].message.contains(" has too little data (of 1000 messages, errors from 2 clients)"),
        "{told:?}"
    );
    watch.end();
}

#[test]
fn error_rate() {
    share("error_rate", Measured { failed: true, ..good() });
}

#[test]
fn slow_messages() {
    // The 99th percentile of service times has a rule of its own, which these messages do not trigger.
    share(
        "slow_messages",
        Measured { queue_wait: Duration::from_millis(600), processing: Duration::from_millis(600), ..good() },
    );
}

/// A percentile of the last minute with a threshold of 50 ms. One message in a hundred does not exceed it.
fn percentile(rule: &str, key: &str, taking: fn(u64) -> Measured) {
    let mut watch = Watch::standalone(Config::default());
    watch.monitor.set(key, "50").unwrap();
    record(&watch.monitor, 99, "a", taking(10 * MILLISECOND));
    record(&watch.monitor, 1, "a", taking(900 * MILLISECOND));
    watch.quiet(13);
    record(&watch.monitor, 97, "a", taking(10 * MILLISECOND));
    record(&watch.monitor, 3, "a", taking(60 * MILLISECOND));
    let raised = watch.raises_at_the_third(rule);
    assert_eq!(raised.threshold, 50e6);
    assert!((60e6..62e6).contains(&raised.current_value), "{raised:?}");
    assert_eq!((raised.name.as_str(), raised.severity), (rule, Severity::Warning));
    // The hysteresis band: from 45 ms on. The messages of 60 ms leave the minute, and 47 ms takes their place.
    for _ in 0..20 {
        record(&watch.monitor, 100, "a", taking(47 * MILLISECOND));
        watch.quiet(1);
        assert_eq!(watch.state(rule), AlertState::Firing);
    }
    let current = watch.figures().current.remove(0);
    assert!((47e6..49e6).contains(&current.current_value), "{current:?}");
    // The messages of 47 ms leave the minute; then two more looks.
    let (quiet, told) = watch.until_told(|monitor| record(monitor, 100, "a", taking(10 * MILLISECOND)));
    assert_eq!(brief(&told), [(rule, Notification::Resolved)]);
    assert!((11..=14).contains(&quiet), "after {quiet} looks");
    assert!((10e6..11e6).contains(&told[0].current_value), "{told:?}");
    watch.end();
}

#[test]
fn p99() {
    percentile("p99", "high_p99_threshold_ms", |nanoseconds| Measured {
        processing: Duration::from_nanos(nanoseconds),
        ..Measured::default()
    });
}

#[test]
fn queue_wait() {
    percentile("queue_wait", "high_queue_wait_threshold_ms", |nanoseconds| Measured {
        queue_wait: Duration::from_nanos(nanoseconds),
        ..good()
    });
}

#[test]
fn looks_are_as_far_apart_as_the_interval_says() {
    let (mut watch, mut open) = (Watch::standalone(ten_connections()), Vec::new());
    assert_eq!(watch.tick(), []); // The first look.
    connect(&watch, &mut open, 11);
    watch.hands.advance(INTERVAL - Duration::from_nanos(1));
    assert_eq!(watch.tick(), []);
    watch.hands.advance(Duration::from_nanos(1));
    assert_eq!(brief(&watch.tick()), [("connections", Notification::Raised)]);
    // A shorter interval applies at once, also to the times of the rules.
    watch.monitor.set("monitor_interval_ms", "100").unwrap();
    connect(&watch, &mut open, 0);
    let mut told = Vec::new();
    for _ in 0..3 {
        assert_eq!(told, []);
        watch.hands.advance(Duration::from_millis(100));
        told = watch.tick();
    }
    assert_eq!(brief(&told), [("connections", Notification::Resolved)]);
    watch.end();
}

#[test]
fn what_still_fires_is_told_again_after_four_hours() {
    let (mut watch, mut open) = (Watch::standalone(ten_connections()), Vec::new());
    connect(&watch, &mut open, 11);
    watch.tells("connections", Notification::Raised);
    watch.hands.advance(Duration::from_secs(4 * 3600) - 2 * INTERVAL);
    watch.quiet(1);
    let repeated = watch.tells("connections", Notification::Repeated);
    assert_eq!((repeated.state, repeated.raised), (AlertState::Firing, Some(5_000)));
    watch.quiet(100);
    connect(&watch, &mut open, 0);
    watch.resolves_at_the_third("connections");
    watch.end();
}
