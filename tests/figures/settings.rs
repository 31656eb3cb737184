//! Settings that can be changed while the monitor runs, and settings that cannot.

use super::{Bench, MILLISECOND, offer, shown, took};
use corelane::error::{ConfigError, StaleClient};
use corelane::monitor::{Connection, Health, MonitorStats, SeriesFigures, Span};
use corelane::record::RecordedMessage;
use serde_json::json;
use std::time::Duration;

#[test]
fn the_threshold_of_slow_messages_changes_from_one_message_to_the_next() {
    let bench = Bench::new(&[]);
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let mut both = |milliseconds| {
        bench.monitor.record(&offer("", took(milliseconds * MILLISECOND)));
        recorder.record(labels, None, took(milliseconds * MILLISECOND));
        let stats = bench.stats();
        (
            stats.slow_messages.as_ref().unwrap().threshold_nanoseconds,
            stats.slow_messages.as_ref().unwrap().total,
            stats.types.as_ref().unwrap()[1].totals.slow,
        )
    };
    let second = 1_000 * MILLISECOND;
    assert_eq!(both(500), (second, 0, 0));
    bench.monitor.set("slow_message_threshold_ms", "499").unwrap();
    assert_eq!(both(500), (499 * MILLISECOND, 2, 2));
    assert_eq!(both(499), (499 * MILLISECOND, 2, 2));
    bench.monitor.set("slow_message_threshold_ms", "2000").unwrap();
    assert_eq!(both(1_500), (2 * second, 2, 2), "messages that were slow stay slow");
    assert_eq!(both(2_001), (2 * second, 4, 4));
}

/// Per type: whether it has windows, and the messages in them; then clients with messages, and their counts; then the
/// number of series without windows. The last two are `None` while `detailed_stats` is off.
type Detail = (Vec<Option<u64>>, Option<Vec<(String, u64)>>, Option<u64>);

fn detail(stats: &MonitorStats) -> Detail {
    let counts = stats
        .types
        .iter()
        .flatten()
        .map(|one| one.windows.as_ref().map(|windows| windows.last_minute.latency.count));
    let of = |client: &corelane::monitor::ClientFigures| (client.name.clone(), client.messages);
    let clients = stats.clients.as_ref().map(|clients| clients.by_messages.iter().map(of).collect());
    (counts.collect(), clients, stats.folded.windows)
}

#[test]
fn detail_is_switched_off_and_on() {
    let bench = Bench::new(&[]);
    let mut recorder = bench.monitor.recorder();
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let mut record = |message_type| {
        bench.monitor.record(&corelane::record::RecordedMessage { message_type, ..offer("ann", took(7)) });
        recorder.record(recorder.labels("peerjs", message_type, "app"), Some(ann), took(7));
        bench.advance(10);
        detail(&bench.stats())
    };
    let named = |messages| Some(vec![("ann".to_owned(), messages)]);
    assert_eq!(record("OFFER"), (vec![None, Some(2)], named(2), Some(0)));
    bench.monitor.set("detailed_stats", "off").unwrap();
    // Nothing is shown of clients and windows. Existing windows continue, so that they are correct when the setting is
    // switched on again.
    assert_eq!(record("OFFER"), (vec![None, None], None, None));
    assert_eq!(record("ANSWER"), (vec![None, None, None], None, None));
    assert!(bench.monitor.history("types.peerjs/ANSWER", Span::Minute).is_none());
    assert_eq!(
        bench.stats().messages.as_ref().unwrap().windows.last_minute.latency.count,
        6,
        "the windows of all messages always exist"
    );
    bench.monitor.set("detailed_stats", "on").unwrap();
    assert_eq!(record("ANSWER"), (vec![None, Some(4), Some(2)], named(4), Some(0)));
    assert_eq!(bench.stats().messages.as_ref().unwrap().totals.total, 8);
}

#[test]
fn detail_that_was_off_at_the_start_stays_off() {
    let bench = Bench::new(&[("detailed_stats", "off")]);
    bench.monitor.record(&offer("ann", took(7)));
    assert_eq!(detail(&bench.stats()), (vec![None, None], None, None));
    let stats = bench.stats();
    assert_eq!((stats.messages.as_ref().unwrap().totals.total, stats.folded.clients), (1, Some(1)));
    let error = bench.monitor.set("detailed_stats", "on").unwrap_err();
    let text = "detailed_stats = on is not valid; allowed: off, because it or enable_metrics was off at the start and no memory is reserved";
    assert_eq!(error.to_string(), text);
    bench.monitor.record(&offer("ann", took(7)));
    assert_eq!(detail(&bench.stats()), (vec![None, None], None, None));
    // Connections are still counted.
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.monitor.record(&offer("ann", took(7)));
    let stats = bench.stats();
    assert_eq!(
        (stats.connections.active, stats.clients.is_some(), stats.folded.clients),
        (1, false, Some(3))
    );
    bench.monitor.disconnect(ann).unwrap();
    bench.advance(1);
    let connections = bench.stats().connections;
    assert_eq!((connections.active, connections.total), (0, 1));
}

#[test]
fn what_cannot_be_set_is_refused_with_what_can() {
    let bench = Bench::new(&[]);
    let refused = |key, value| bench.monitor.set(key, value).unwrap_err().to_string();
    let range = "allowed: 1 to 3600000 milliseconds";
    for value in ["0", "3600001", "-1", "", "1s", "1.5"] {
        let text = format!("slow_message_threshold_ms = {value} is not valid; {range}");
        assert_eq!(refused("slow_message_threshold_ms", value), text);
    }
    let keys = "these can: detailed_stats, enable_logging, monitor_interval_ms, report_interval_ms, \
                slow_message_threshold_ms, top_clients, unhealthy_after_ms, high_memory_threshold_bytes, \
                high_connection_threshold, high_error_rate_threshold, high_slow_rate_threshold, \
                high_p99_threshold_ms, high_queue_depth_threshold, high_queue_wait_threshold_ms, high_cpu_threshold";
    for key in ["workers", "slow_messages", "max_windowed_series", "stats_retention_hours", "preset"] {
        assert_eq!(refused(key, "4"), format!("{key} cannot be changed at run time; {keys}"));
    }
    let unknown = refused("slow_message_threshold", "1");
    let nearest = "\"slow_message_threshold\" is not a configuration key; nearest that can be changed: slow_message_threshold_ms, ";
    assert!(unknown.starts_with(nearest), "{unknown}");
    // A key that is nearer and cannot be changed is not suggested.
    let unknown = refused("slow_mesages", "1");
    let all = bench.monitor.settings();
    let suggested: Vec<_> = unknown.split(": ").nth(1).unwrap().split(", ").collect();
    assert!(suggested.iter().all(|key| all.iter().any(|(row, _)| row.key == *key)), "{unknown}");
    assert_eq!(suggested.len(), 3);
    for (value, range) in [("1.5", "0 to 1"), ("-0.1", "0 to 1")] {
        let text = refused("high_error_rate_threshold", value);
        assert!(text.contains(range), "{text}");
    }
    // The refused changes had no effect.
    bench.monitor.record(&offer("", took(1_000 * MILLISECOND)));
    bench.monitor.record(&offer("", took(1_000 * MILLISECOND + 1)));
    let slow = bench.stats().slow_messages.unwrap();
    assert_eq!((slow.threshold_nanoseconds, slow.total), (1_000 * MILLISECOND, 1));
    assert_eq!(shown(&bench.stats().resets), json!(0));
}

#[test]
fn every_key_that_can_be_set_takes_a_value() {
    let bench = Bench::new(&[]);
    let all = [
        ("monitor_interval_ms", "100"),
        ("report_interval_ms", "0"),
        ("slow_message_threshold_ms", "1"),
        ("high_memory_threshold_bytes", "1048576"),
        ("high_connection_threshold", "1"),
        ("high_error_rate_threshold", "1"),
        ("high_slow_rate_threshold", "0.5"),
        ("high_p99_threshold_ms", "1"),
        ("high_queue_depth_threshold", "1"),
        ("high_queue_wait_threshold_ms", "1"),
        ("high_cpu_threshold", "0.25"),
        ("detailed_stats", "off"),
        ("top_clients", "1"),
        ("unhealthy_after_ms", "1000"),
        ("enable_logging", "on"),
    ];
    for (key, value) in all {
        assert_eq!(bench.monitor.set(key, value), Ok(()), "{key}");
    }
}

#[test]
fn looks_follow_an_interval_that_is_changed() {
    let bench = Bench::new(&[("monitor_interval_ms", "60000")]);
    let samples = || -> u64 {
        let history = bench.monitor.history("connections.active", Span::Hour).unwrap();
        history.points.iter().map(|point| point.samples).sum()
    };
    bench.run(40);
    assert_eq!(samples(), 1, "the first look is immediate");
    bench.monitor.set("monitor_interval_ms", "2000").unwrap();
    bench.run(1);
    assert_eq!(samples(), 1);
    bench.run(1);
    assert_eq!(samples(), 2, "two seconds after the change, not a minute after the first look");
    bench.run(10);
    assert_eq!(samples(), 7);
}

#[test]
fn nobody_is_idle_while_nobody_knows() {
    let bench = Bench::new(&[("unhealthy_after_ms", "60000")]);
    bench.monitor.connect("ann", "app").unwrap();
    let idle = |seconds| {
        bench.run(seconds);
        let connections = bench.stats().connections;
        (
            bench.monitor.idle_clients(Duration::from_secs(30)).len(),
            connections.healthy,
            connections.unhealthy,
        )
    };
    assert_eq!(idle(31), (1, Some(1), Some(0)));
    bench.monitor.set("detailed_stats", "off").unwrap();
    assert_eq!(idle(60), (0, None, None));
    bench.monitor.set("detailed_stats", "on").unwrap();
    assert_eq!(idle(30), (0, Some(1), Some(0)));
    assert_eq!(idle(1), (1, Some(1), Some(0)));
    assert_eq!(idle(30), (1, Some(0), Some(1)));
}

#[test]
fn bytes_written_are_counted_without_details() {
    let bench = Bench::new(&[("detailed_stats", "off")]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.monitor.record_sent(ann, 7).unwrap();
    bench.monitor.mark(Connection::Recorded(ann), Health::Unhealthy).unwrap();
    bench.monitor.disconnect(ann).unwrap();
    assert_eq!(bench.monitor.record_sent(ann, 7), Err(StaleClient));
    assert_eq!(bench.stats().messages.as_ref().unwrap().totals.bytes_out, 7);
}

#[test]
fn a_threshold_of_the_hosts_own_stays_until_its_key_is_set() {
    let bench = Bench::new(&[]);
    let trigger = |name: &str| {
        let rules = bench.stats().alerts.rules;
        rules.iter().find(|rule| rule.name == name).unwrap().trigger
    };
    bench.monitor.set_threshold("connections", 7.0, 6.0).unwrap();
    for (key, value) in
        [("top_clients", "20"), ("monitor_interval_ms", "1000"), ("high_cpu_threshold", "0.5")]
    {
        bench.monitor.set(key, value).unwrap();
    }
    assert_eq!((trigger("connections"), trigger("cpu")), (7.0, 0.5));
    bench.monitor.set("high_connection_threshold", "9").unwrap();
    assert_eq!(trigger("connections"), 9.0);
}

/// A look is due by the interval, however late the ticks are.
#[test]
fn late_ticks_put_off_no_look() {
    let bench = Bench::new(&[("monitor_interval_ms", "5000")]);
    bench.monitor.tick();
    for tick in 0..100 {
        // Ticks are a second apart on average; every other one is late by 40 ms.
        bench.advance(if tick % 2 == 0 { 1_040 } else { 960 });
        bench.monitor.tick();
    }
    let history = bench.monitor.history("connections.active", Span::Hour).unwrap();
    assert_eq!(history.points.iter().map(|point| point.samples).sum::<u64>(), 1 + 20);
}

#[test]
fn the_name_other_is_that_of_all_others() {
    let bench = Bench::new(&[]);
    let named = |name: &'static str| RecordedMessage {
        message_type: name,
        application: name,
        measured: took(7),
        ..RecordedMessage::default()
    };
    for name in ["", "", "other", ""] {
        bench.monitor.record(&named(name));
        bench.advance(1_000);
        bench.monitor.tick();
    }
    bench.monitor.connect("ann", "").unwrap();
    bench.monitor.reset();
    bench.monitor.connect("ben", "other").unwrap();
    bench.monitor.record(&named("other"));
    let stats = bench.stats();
    let series = |series: &[SeriesFigures]| {
        series.iter().map(|one| (one.totals.name.clone(), one.totals.total)).collect::<Vec<_>>()
    };
    let one = [("other".to_owned(), 1)];
    assert_eq!(
        (series(stats.types.as_ref().unwrap()), series(stats.applications.as_ref().unwrap())),
        (one.to_vec(), one.to_vec())
    );
    let connects: Vec<_> =
        stats.connections.applications.iter().map(|one| (&*one.name, one.active, one.total)).collect();
    assert_eq!(connects, [("other", 2, 1)]);
}

/// The host sets the interval again in each second.
#[test]
fn changing_an_interval_again_and_again_starves_nothing() {
    let bench = Bench::new(&[("report_interval_ms", "10000"), ("monitor_interval_ms", "5000")]);
    let poll = bench.monitor.alerts().unwrap();
    let rule = corelane::monitor::alert::Rule::above("up", "uptime_nanoseconds", 0.0);
    bench.monitor.add_rule(rule).unwrap();
    for second in 1..=40 {
        for (key, value) in [("monitor_interval_ms", "5000"), ("report_interval_ms", "10000")] {
            bench.monitor.set(key, value).unwrap();
        }
        bench.run(1);
        assert_eq!(bench.stats().reports.made, second / 10, "{second}");
    }
    assert!(poll.next().is_some());
    // Switching the report off and on restarts its interval.
    bench.monitor.set("report_interval_ms", "0").unwrap();
    bench.run(100);
    bench.monitor.set("report_interval_ms", "10000").unwrap();
    bench.run(9);
    assert_eq!(bench.stats().reports.made, 4);
    bench.run(1);
    assert_eq!(bench.stats().reports.made, 5);
}

#[test]
fn a_duration_that_cannot_be_is_refused_and_counted() {
    let bench = Bench::new(&[]);
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let negative = (-1i64) as u64;
    for impossible in [1 << 62, negative] {
        for measured in [
            took(impossible),
            corelane::record::Measured { queue_wait: Duration::from_nanos(impossible), ..took(1) },
        ] {
            bench.monitor.record(&offer("ann", measured));
            bench.monitor.record_labelled(labels, None, measured);
            recorder.record(labels, None, measured);
        }
    }
    let stats = bench.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.folded.impossible.unwrap(),
            stats.clients.as_ref().unwrap().tracked
        ),
        (0, 12, 0)
    );
    bench.monitor.record(&offer("ann", took((1 << 62) - 1)));
    assert_eq!(
        (bench.stats().messages.as_ref().unwrap().totals.total, bench.stats().folded.impossible.unwrap()),
        (1, 12)
    );
}

#[test]
fn what_the_runtime_says_grows_old_and_must_be_a_number() {
    let bench = Bench::new(&[]);
    let mut runtime = corelane::monitor::RuntimeStats::default();
    runtime.goroutines = 7;
    bench.monitor.push_runtime(runtime).unwrap();
    for (at, age) in [(1, 1_000), (60, 61_000)] {
        bench.run(at);
        let shown = bench.stats().system.unwrap().runtime.unwrap();
        assert_eq!(
            (shown.goroutines, shown.pushed_milliseconds, shown.age_milliseconds),
            (7, super::START, age)
        );
    }
    for wrong in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        runtime.gc_cpu_fraction = wrong;
        assert!(matches!(bench.monitor.push_runtime(runtime), Err(ConfigError { .. })));
    }
}
