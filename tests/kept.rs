//! Figures that `enable_metrics` and `detailed_stats` switch off are null in the report and absent from /metrics, and
//! rules that need them state it. (M9)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::export;
use corelane::metrics::Descriptor;
use corelane::monitor::alert::Rule;
use corelane::monitor::{Format, Monitor};
use corelane::record::{Measured, RecordedMessage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

mod support;
use support::Bench;

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;

/// A router's monitor and its exposition, after a message of each kind.
fn busy(set: &[(&str, &str)]) -> (Monitor, String) {
    busy_for(set, Duration::ZERO)
}

/// The same with this time between the first look at the machine and the next one.
fn busy_for(set: &[(&str, &str)], time: Duration) -> (Monitor, String) {
    let mut bench =
        Bench::of(support::config_of(&[&[("workers", "1")][..], set].concat()), |builder| builder);
    let monitor = Monitor::of(&bench.router.source());
    let mut port = bench.router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
    port.connect("ben", "peerjs", "app", 2).unwrap();
    port.submit(ann, OFFER, 0).unwrap();
    port.submit(ann, b"{", 0).unwrap();
    port.publish();
    bench.hands.advance(Duration::from_secs(2));
    bench.cycle();
    port.poll_each(100, |_| ()).unwrap();
    monitor.connect("cat", "app").unwrap();
    let measured = Measured { processing: Duration::from_nanos(5), bytes: 7, ..Measured::default() };
    monitor.record(&RecordedMessage {
        client: "cat",
        message_type: "bye",
        protocol: "p",
        application: "app",
        measured,
    });
    monitor.counter(&Descriptor::new("jobs_total", "Jobs")).unwrap().with(&[]).unwrap().add(1);
    for _ in 0..3 {
        bench.hands.advance(Duration::from_secs(5));
        monitor.tick();
        std::thread::sleep(time);
    }
    let scrape = export::prometheus(&monitor);
    (monitor, scrape)
}

/// A monitor without a router.
fn alone() -> Monitor {
    let (monitor, hands) = support::monitor(Config::default());
    monitor.connect("cat", "app").unwrap();
    monitor.record(&RecordedMessage {
        client: "cat",
        message_type: "bye",
        protocol: "p",
        ..RecordedMessage::default()
    });
    hands.advance(Duration::from_secs(5));
    monitor.tick();
    monitor
}

/// The number of numbers in the report at a path.
fn numbers(value: &Value, steps: &[&str]) -> usize {
    let Some((step, rest)) = steps.split_first() else {
        return usize::from(value.is_number() || value.is_boolean());
    };
    match value {
        Value::Array(elements) => elements.iter().map(|element| numbers(element, rest)).sum(),
        Value::Object(members) if step.starts_with('(') => {
            members.values().map(|one| numbers(one, rest)).sum()
        }
        Value::Object(members) => members.get(*step).map_or(0, |one| numbers(one, rest)),
        _ => 0,
    }
}

/// For each path of a report: how many numbers it has, and the reason that a rule over it would state for having
/// none.
fn paths(monitor: &Monitor) -> BTreeMap<String, (usize, Option<String>)> {
    let report = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
    let all = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/monitor/paths.txt")).unwrap();
    let each = |path: &str| {
        let steps: Vec<_> = path.split('.').collect();
        let metric: Vec<_> =
            steps.iter().map(|step| if step.starts_with('(') { "*" } else { *step }).collect();
        monitor.add_rule(Rule::above("probe", &metric.join("."), 1.0)).unwrap();
        let rules = monitor.snapshot().alerts.rules;
        monitor.remove_rule("probe").unwrap();
        let rule = rules.iter().find(|rule| rule.name == "probe").unwrap();
        (path.to_owned(), (numbers(&report, &steps), rule.unavailable.as_deref().map(str::to_owned)))
    };
    all.lines().map(each).collect()
}

#[test]
fn a_figure_is_null_where_it_is_not_kept_and_nowhere_else() {
    // The cores' shares of time need two looks at the machine that are 200 ms apart.
    let apart = Duration::from_millis(250);
    let full = paths(&busy_for(&[], apart).0);
    assert!(full.len() > 700 && full.values().all(|(_, reason)| reason.is_none()));
    assert!(full.values().filter(|(numbers, _)| *numbers > 0).count() > 500);
    let (metrics, details) = ("enable_metrics is off", "detailed_stats is off");
    for (monitor, reasons, least) in [
        (busy_for(&[("enable_metrics", "off")], apart).0, vec![metrics], 200),
        (busy_for(&[("detailed_stats", "off")], apart).0, vec![details], 100),
        (alone(), vec!["there is no router"], 100),
    ] {
        let mut missing = 0;
        for (path, (numbers, reason)) in paths(&monitor) {
            if let Some(reason) = reason {
                assert!(reasons.contains(&&*reason), "{path}: {reason}");
                assert_eq!(numbers, 0, "{path} has numbers though {reason}");
                missing += 1;
            } else if !reasons.contains(&"there is no router")
                && !path.starts_with("alerts.")
                && !path.starts_with("system.memory.heap_")
            {
                // Two exceptions: alerts depend on past events, and the heap is not read for a while after a
                // look that took long.
                assert_eq!(numbers > 0, full[&path].0 > 0, "{path} is null, and nothing says why");
            }
        }
        assert!(missing > least, "{missing} for {reasons:?}");
    }
    // Switched off at run time, and on again.
    let (monitor, _) = busy(&[]);
    monitor.set("detailed_stats", "off").unwrap();
    let health = |monitor: &Monitor| {
        let stats = monitor.snapshot();
        (stats.clients.is_some(), stats.connections.healthy, stats.connections.open_milliseconds.is_some())
    };
    assert_eq!(health(&monitor), (false, None, false));
    monitor.set("detailed_stats", "on").unwrap();
    assert_eq!(health(&monitor), (true, Some(1), true), "the router's clients have left with their port");
}

/// Windows that a series has go on while the detail is off, but nothing shows them, so no rule sees them.
#[test]
fn windows_are_null_while_the_detail_is_off() {
    let (monitor, hands) = support::monitor(Config::default());
    let record = || monitor.record(&RecordedMessage { message_type: "t", ..RecordedMessage::default() });
    let counts = |monitor: &Monitor| -> Vec<Option<u64>> {
        let types = monitor.snapshot().types.unwrap();
        types
            .iter()
            .map(|one| one.windows.as_ref().map(|windows| windows.last_minute.latency.count))
            .collect()
    };
    monitor.add_rule(Rule::above("busy", "types.*.windows.last_minute.count", 0.5)).unwrap();
    record();
    monitor.set("detailed_stats", "off").unwrap();
    record();
    hands.advance(Duration::from_secs(5));
    monitor.tick();
    let rules = monitor.snapshot().alerts.rules;
    let busy = rules.iter().find(|rule| rule.name == "busy").unwrap();
    assert_eq!((busy.unavailable.as_deref(), busy.firing), (Some("detailed_stats is off"), 0));
    assert_eq!(counts(&monitor), [None, None]);
    monitor.set("detailed_stats", "on").unwrap();
    assert_eq!(counts(&monitor), [None, None], "given with the next message");
    record();
    assert_eq!(counts(&monitor), [None, Some(1)]);
}

#[test]
fn a_report_for_people_says_what_is_off() {
    let (off, _) = busy(&[("enable_metrics", "off")]);
    let report = off.report(Format::Text);
    assert!(report.contains("No message figures: enable_metrics is off."), "{report}");
    assert!(report.contains("No client figures: detailed_stats or enable_metrics is off."), "{report}");
    assert!(report.contains("error_rate") && report.contains("enable_metrics is off"), "{report}");
    let (on, _) = busy(&[]);
    assert!(!on.report(Format::Text).contains(" off"), "{}", on.report(Format::Text));
}

#[test]
fn a_scrape_leaves_out_what_is_not_kept() {
    let (_, on) = busy(&[]);
    let (_, off) = busy(&[("enable_metrics", "off")]);
    let kept = [
        r#"corelane_messages_delivered_total{message_type="OFFER",protocol="peerjs"} 1"#,
        "corelane_messages_submitted_total 2",
        "corelane_connections_open 3", // Two of the router, one of the host.
    ];
    for line in kept {
        assert!(on.contains(line) && off.contains(line), "{line}");
    }
    for family in [
        "message_duration_seconds",
        "message_queue_duration_seconds",
        "message_held_duration_seconds",
        "app_message_duration_seconds",
        "received_bytes_total",
        "routing_average_seconds",
        "recorded_messages_total",
        "recorded_duration_seconds",
    ] {
        let family = format!("# TYPE corelane_{family} ");
        assert!(on.contains(&family) && !off.contains(&family), "{family}");
    }
}

/// The rules that are named in the warnings at the start.
fn warned(set: &[(&str, &str)], rule: Option<Rule>) -> Vec<String> {
    let (listener, log) = support::log();
    tracing::subscriber::with_default(listener, || {
        let (monitor, _) = busy(&[&[("enable_logging", "on")], set].concat());
        if let Some(rule) = rule {
            monitor.add_rule(rule).unwrap();
        }
        monitor.start().unwrap();
        monitor.start().unwrap();
        monitor.stop(Duration::from_secs(10));
    });
    let events = std::mem::take(&mut *log.lock().unwrap());
    let ours = events
        .iter()
        .filter(|(target, text)| target == "corelane::alert" && text.contains("cannot raise an alert"));
    let rule = |text: &str| text.split('"').nth(1).unwrap().to_owned();
    let mut named: Vec<_> = ours.map(|(_, text)| rule(text)).collect();
    named.sort();
    named
}

#[test]
fn a_start_names_the_rules_that_cannot_raise() {
    assert_eq!(warned(&[], None), [""; 0]);
    assert_eq!(
        warned(&[("enable_metrics", "off"), ("enable_logging", "off")], None),
        [""; 0],
        "not asked to log"
    );
    assert_eq!(warned(&[("detailed_stats", "off")], None), [""; 0], "no rule that ships needs it");
    let without = warned(&[("enable_metrics", "off")], None);
    assert_eq!(without, ["error_rate", "p99", "queue_wait", "slow_messages"]);
    let own = Rule::above("hogs", "clients.by_bytes_in.*.bytes_in", 1e6);
    // One warning when the rule is added, and one when the monitor starts.
    assert_eq!(warned(&[("detailed_stats", "off")], Some(own)), ["hogs", "hogs"]);
}
