//! The host's own metrics, row X1, and rules over them, row A5.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::metrics::{Descriptor, Kind};
use corelane::monitor::alert::{Notification, Rule};
use corelane::monitor::{Format, Monitor};
use std::time::Duration;

mod support;

#[test]
fn each_kind_is_shown_with_its_labels_and_is_not_reset() {
    let monitor = Monitor::new(Config::default()).unwrap();
    let joins = Descriptor::new("joins_total", "Joins of conferences").labels(&["region", "kind"]);
    let joins = monitor.counter(&joins).unwrap();
    joins.with(&["eu", "video"]).unwrap().add(3);
    joins.with(&["us", "audio"]).unwrap().add(4);
    let level = Descriptor::new("fill_ratio", "How full it is").unit("ratio");
    monitor.gauge(&level).unwrap().with(&[]).unwrap().set(0.25);
    let setup = Descriptor::new("setup_seconds", "How long it takes").unit("seconds");
    let setup = monitor.histogram(&setup).unwrap().with(&[]).unwrap();
    for milliseconds in [1, 2, 3, 4] {
        setup.record(milliseconds * 1_000_000);
    }
    monitor.reset();
    let families = monitor.snapshot().custom.families;
    let shown: Vec<_> = families
        .iter()
        .map(|one| (one.name.as_str(), one.kind, one.help.as_str(), one.unit.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("joins_total", Kind::Counter, "Joins of conferences", ""),
            ("fill_ratio", Kind::Gauge, "How full it is", "ratio"),
            ("setup_seconds", Kind::Histogram, "How long it takes", "seconds"),
        ]
    );
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(families[0].series[0].labels, [label("region", "eu"), label("kind", "video")]);
    assert_eq!(families[0].series[1].labels, [label("region", "us"), label("kind", "audio")]);
    assert_eq!((families[0].series[0].value, families[0].series[1].value), (Some(3.0), Some(4.0)));
    assert_eq!((families[1].series[0].value, families[0].folded), (Some(0.25), 0));
    let times = families[2].series[0].histogram.as_ref().unwrap();
    assert_eq!((times.count, times.minimum, times.maximum), (4, Some(1_000_000), Some(4_000_000)));
    assert_eq!((times.average, times.distribution.sum()), (Some(2_500_000), 10_000_000));
    let text = monitor.report(Format::Text);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.lines().any(|line| words(line) == r#"joins_total region="eu", kind="video" 3"#), "{text}");
    let json: serde_json::Value = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
    assert_eq!(json["custom"]["families"][2]["series"][0]["histogram"]["p99"], 4_000_000);
}

#[test]
fn a_rule_over_a_metric_of_the_hosts_own_is_raised_and_resolved_by_label_set() {
    let (monitor, hand) = support::monitor(Config::default());
    let depth = Descriptor::new("pool_depth", "Waiting jobs").labels(&["pool"]);
    let depth = monitor.gauge(&depth).unwrap();
    let (first, second) = (depth.with(&["first"]).unwrap(), depth.with(&["second"]).unwrap());
    monitor
        .add_rule(Rule::above("pools", "custom.families.pool_depth.series.*.value", 10.0).clear(5.0))
        .unwrap();
    monitor.add_rule(Rule::above("one", "custom.families.pool_depth.series.second.value", 100.0)).unwrap();
    // The process's own load does not concern this test.
    monitor.remove_rule("cpu").unwrap();
    let alerts = monitor.alerts().unwrap();
    let look = || {
        hand.advance(Duration::from_secs(5));
        monitor.tick();
        std::iter::from_fn(|| alerts.next()).map(|alert| (alert.id, alert.notification)).collect::<Vec<_>>()
    };
    let told = |id: &str, what| (id.to_owned(), Some(what));
    assert_eq!(look(), []);
    first.set(11.0);
    second.add(7.0);
    assert_eq!(look(), [told("pools/first", Notification::Raised)]);
    second.add(200.0);
    assert_eq!(look(), [told("pools/second", Notification::Raised), told("one", Notification::Raised)]);
    first.set(4.0);
    second.set(7.0);
    let over = look();
    assert_eq!(over, [told("pools/first", Notification::Resolved), told("one", Notification::Resolved)]);
}

#[test]
fn what_the_monitor_holds_is_below_what_it_states() {
    let (monitor, hand) = support::monitor(Config::default());
    for number in 0..1_000u64 {
        let labels = monitor.labels("protocol", &format!("type-{number}"), &format!("application-{number}"));
        let measured =
            corelane::record::Measured { processing: Duration::from_nanos(number), ..Default::default() };
        monitor.record_labelled(labels, None, measured);
        if number % 100 == 0 {
            hand.advance(Duration::from_secs(5));
            monitor.tick();
        }
    }
    monitor.reset();
    let stats = monitor.snapshot();
    assert!(stats.monitor.bytes > 30 << 20, "64 series with windows: {}", stats.monitor.bytes);
    assert!(
        stats.monitor.bytes <= monitor.bytes_at_most(),
        "{} {}",
        stats.monitor.bytes,
        monitor.bytes_at_most()
    );
}

#[test]
fn with_metrics_off_nothing_is_recorded() {
    let mut config = Config::default();
    config.monitor.metrics = false;
    let monitor = Monitor::new(config).unwrap();
    let mut recorder = monitor.recorder();
    let labels = recorder.labels("p", "offer", "app");
    recorder.record(labels, None, Default::default());
    monitor.record_labelled(labels, None, Default::default());
    monitor.record(&corelane::record::RecordedMessage {
        client: "ann",
        message_type: "offer",
        ..Default::default()
    });
    let stats = monitor.snapshot();
    assert!(stats.messages.is_none() && stats.clients.is_none());
    let refused = monitor.set("detailed_stats", "on").unwrap_err().to_string();
    assert!(refused.contains("enable_metrics"), "{refused}");
}
