//! Checks the exposition with Prometheus' own checker, and its figures against the messages that were sent. Row X2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::export::{self, Exposition, TextFormat};
use corelane::metrics::Descriptor;
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

mod support;
use support::{Bench, config};

/// The exposition of a router that has delivered, failed, held and refused messages, for an application whose name
/// needs escaping.
fn exposition() -> String {
    let mut bench = Bench::of(config(&[("workers", 1)]), |builder| builder);
    let mut port = bench.router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "a\"b\\c\nd", 1).unwrap();
    port.connect("ben", "generic", "", 2).unwrap();
    for message in [
        br#"{"type":"OFFER","dst":"ben","payload":1}"#.as_slice(),
        br#"{"type":"OFFER","dst":"ben","payload":2}"#,
        br#"{"type":"CANDIDATE","dst":"nobody"}"#,
        br#"{"type":"HEARTBEAT"}"#,
        b"{",
    ] {
        port.submit(ann, message, 0).unwrap();
    }
    assert!(port.submit(ann, &[b' '; 70_000], 0).is_err());
    bench.hands.advance(std::time::Duration::from_millis(3));
    port.publish();
    bench.cycle();
    port.poll_each(100, |_| ()).unwrap();
    port.acknowledge(ann, 0, 0);
    let monitor = Monitor::of(&bench.router.source());
    report(&monitor);
    export::prometheus(&monitor)
}

/// What a host reports: two connections of which one has ended, a message, sent bytes, and metrics of each kind.
fn report(monitor: &Monitor) {
    let cat = monitor.connect("cat", "app").unwrap();
    monitor.connect("dan", "app").unwrap();
    monitor.record_sent(cat, 30).unwrap();
    monitor.disconnect(cat).unwrap();
    let measured = Measured { processing: Duration::from_millis(3), bytes: 20, ..Measured::default() };
    monitor.record(&RecordedMessage {
        client: "dan",
        message_type: "job",
        measured,
        ..RecordedMessage::default()
    });
    let jobs = Descriptor::new("jobs_total", "Jobs, with a \\").labels(&["region"]);
    monitor.counter(&jobs).unwrap().with(&["e\"u"]).unwrap().add(7);
    let level = monitor.gauge(&Descriptor::new("level", "Level")).unwrap().with(&[]).unwrap();
    level.set(f64::INFINITY);
    let times = Descriptor::new("job_seconds", "Time").unit("seconds");
    monitor.histogram(&times).unwrap().with(&[]).unwrap().record(5_000_000);
    let sizes = Descriptor::new("job_bytes", "Size").unit("bytes");
    monitor.histogram(&sizes).unwrap().with(&[]).unwrap().record(100);
}

/// The exposition of a monitor without a router.
fn alone() -> String {
    let (monitor, _) = support::monitor(Config::default());
    report(&monitor);
    monitor.reset(); // Changes no figure of the exposition.
    export::prometheus(&monitor)
}

#[test]
fn a_monitor_without_a_router_shows_what_its_host_reports() {
    let text = alone();
    support::assert_lines(
        &text,
        &[
            "corelane_connections_open 1",
            "corelane_connections_opened_total 2",
            "corelane_connections_closed_total 1",
            "corelane_sent_bytes_total 30",
            r#"corelane_recorded_messages_total{message_type="job",protocol="other",outcome="ok"} 1"#,
            r#"corelane_recorded_slow_total{message_type="job",protocol="other"} 0"#,
            r#"corelane_app_connections_open{app="app"} 1"#,
            r#"corelane_app_connections_opened_total{app="app"} 2"#,
            r#"corelane_connection_pool_open{pool="recorded"} 1"#,
            r#"corelane_connection_pool_limit{pool="recorded"} 1024"#,
            r#"corelane_connections_by_health{health="healthy"} 1"#,
            "corelane_connection_duration_seconds_count 1",
            "corelane_slow_message_threshold_seconds 1",
            "corelane_resets_total 1",
            r#"corelane_alerts_firing{alert="connections",severity="warning"} 0"#,
            r#"corelane_recorded_folded_total{label="type"} 0"#,
            r#"corelane_recorded_duration_seconds_sum{message_type="job",protocol="other"} 0.003"#,
            r#"# HELP jobs_total Jobs, with a \\"#,
            r#"jobs_total{region="e\"u"} 7"#,
            "level +Inf",
            r#"job_seconds_bucket{le="0.004194303"} 0"#,
            r#"job_seconds_bucket{le="0.008388607"} 1"#,
            "job_seconds_sum 0.005",
            r#"job_bytes_bucket{le="63.0"} 0"#,
            r#"job_bytes_bucket{le="127.0"} 1"#,
            "job_bytes_sum 100",
            "job_bytes_count 1",
        ],
    );
    assert!(
        !text.contains("corelane_messages_submitted_total") && !text.contains("corelane_worker_"),
        "{text}"
    );
}

#[test]
fn figures_are_what_was_sent() {
    let text = exposition();
    support::assert_lines(
        &text,
        &[
            r#"corelane_messages_received_total{message_type="OFFER",protocol="peerjs"} 2"#,
            r#"corelane_messages_delivered_total{message_type="OFFER",protocol="peerjs"} 2"#,
            r#"corelane_messages_delivered_total{message_type="HEARTBEAT",protocol="peerjs"} 1"#,
            r#"corelane_messages_failed_total{message_type="other",protocol="other",reason="not_json"} 1"#,
            // Each reason is there once the series has a message, so that a rate includes the first increment.
            r#"corelane_messages_failed_total{message_type="other",protocol="other",reason="no_recipient"} 0"#,
            r#"corelane_messages_failed_total{message_type="OFFER",protocol="peerjs",reason="not_json"} 0"#,
            r#"corelane_slow_messages_total{message_type="OFFER",protocol="peerjs"} 0"#,
            r#"corelane_app_messages_total{app="a\"b\\c\nd",outcome="ok"} 3"#,
            r#"corelane_connection_pool_limit{pool="router"} 10000"#,
            r#"corelane_message_duration_seconds_bucket{message_type="OFFER",protocol="peerjs",le="0.000001023"} 2"#,
            r#"corelane_messages_refused_total{reason="too_large"} 1"#,
            r#"corelane_messages_refused_total{reason="ring_full"} 0"#,
            "corelane_messages_submitted_total 6",
            "corelane_messages_held 1",
            "corelane_messages_in_flight 1",
            // Two clients of the router and one of the host; the peak is the sum of both peaks.
            "corelane_connections_open 3",
            "corelane_connections_open_peak 4",
            r#"jobs_total{region="e\"u"} 7"#,
            "corelane_deliveries_total 2",
            // The held message has not ended.
            "corelane_message_queue_duration_seconds_count 4",
            "corelane_message_queue_duration_seconds_sum 0.012",
            r#"corelane_message_queue_duration_seconds_bucket{le="0.002097151"} 0"#,
            r#"corelane_message_queue_duration_seconds_bucket{le="0.004194303"} 4"#,
            r#"corelane_app_message_duration_seconds_count{app="a\"b\\c\nd"} 4"#,
        ],
    );
}

#[test]
fn a_series_without_a_message_is_not_written() {
    let text = exposition();
    assert!(text.contains("message_type=\"OFFER\""));
    for absent in ["message_type=\"ANSWER\"", "message_type=\"LEAVE\"", "protocol=\"janus\"", "app=\"\""] {
        assert!(!text.contains(absent), "{absent}");
    }
    let alone = alone();
    assert!(!alone.contains("message_type=\"other\"") && !alone.contains("outcome=\"expired\""));
    // No family without a sample, and none but the door's own that a door has.
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2) {
        assert!(!(pair[0].starts_with("# TYPE") && pair[1].starts_with('#')), "{pair:?}");
    }
    assert!(!text.contains("corelane_http_"));
}

#[test]
fn bounds_are_those_of_the_configuration() {
    let bounds = |set: &[(&str, &str)]| {
        let mut config = Config::default();
        set.iter().for_each(|(key, value)| config.set(key, value).unwrap());
        let monitor = Monitor::new(config).unwrap();
        report(&monitor);
        let text = export::prometheus(&monitor);
        let buckets = text.lines().filter(|line| line.starts_with("job_seconds_bucket"));
        buckets.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let usual = bounds(&[]);
    assert_eq!(
        (usual.len(), &*usual[0], &*usual[24], &*usual[25]),
        (26, "0.000001023", "17.179869183", "+Inf")
    );
    let own =
        bounds(&[("bucket_minimum_us", "1000"), ("bucket_maximum_ms", "3"), ("buckets_per_octave", "4")]);
    assert_eq!(
        own,
        [
            "0.001048575",
            "0.001310719",
            "0.001572863",
            "0.001835007",
            "0.002097151",
            "0.002621439",
            "0.003145727",
            "+Inf"
        ]
    );
    let mut wrong = Config::default();
    wrong.set("bucket_minimum_us", "20000").unwrap();
    wrong.set("bucket_maximum_ms", "20").unwrap();
    assert!(wrong.validate().unwrap_err().to_string().contains("less than bucket_maximum_ms"));
}

#[test]
fn both_formats_have_the_same_samples() {
    let (monitor, _) = support::monitor(Config::default());
    report(&monitor);
    let samples = |text: &str| {
        // Figures of the monitor itself grow with each look.
        let lines =
            text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("corelane_monitor_"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other) = (export::prometheus(&monitor), export::openmetrics(&monitor));
    assert_eq!(samples(&one), samples(&other));
    assert!(other.ends_with("\n# EOF\n") && !one.contains("# EOF") && !one.contains("# UNIT"));
}

#[test]
fn the_process_is_shown_unless_the_host_shows_it() {
    let (monitor, clock) = support::monitor(Config::default());
    clock.advance(Duration::from_secs(1));
    monitor.tick();
    let text = |process| Exposition::new(TextFormat::Prometheus).process(process).write(&monitor);
    let (with, without) = (text(true), text(false));
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(with.contains(&format!("\n{name} ")), "{name} in {with}");
    }
    assert!(!without.contains("\nprocess_"));
    for name in [
        "corelane_system_memory_size_bytes",
        "corelane_system_cpus",
        "corelane_system_load1",
        "corelane_threads",
    ] {
        assert!(without.contains(&format!("\n{name} ")), "{name} in {without}");
    }
}

/// The samples that the Python parser of OpenMetrics reads: names with labels, and values.
fn parsed(text: &str) -> Option<Vec<String>> {
    let python = support::python()?;
    let script = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        labels = ','.join(f'{name}={value!r}' for name, value in sorted(sample.labels.items()))
        print(f'{family.type} {sample.name} {labels} {sample.value!r}')
";
    let said = piped(Command::new(python).args(["-c", script]), text);
    Some(said.lines().map(str::to_owned).collect())
}

#[test]
fn the_parser_of_openmetrics_reads_every_sample() {
    let mut bench = Bench::of(config(&[("workers", 1)]), |builder| builder);
    let mut port = bench.router.port().unwrap();
    let hostile = "a\"b\\c\nd\u{202e}\u{7f}{}=,# EOF";
    let ann = port.connect("ann", "peerjs", hostile, 1).unwrap();
    port.submit(ann, br#"{"type":"HEARTBEAT"}"#, 0).unwrap();
    port.publish();
    bench.cycle();
    let monitor = Monitor::of(&bench.router.source());
    report(&monitor);
    bench.hands.advance(Duration::from_secs(1));
    monitor.tick();
    let text = export::openmetrics(&monitor);
    let Some(samples) = parsed(&text) else { return };
    assert_eq!(samples.len(), text.lines().filter(|line| !line.starts_with('#')).count());
    let has = |wanted: &str| assert!(samples.iter().any(|one| one == wanted), "{wanted} in {samples:#?}");
    has("counter corelane_resets_total  0");
    has("gauge level  inf");
    has("histogram job_bytes_bucket le='127.0' 1");
    has("counter jobs_total region='e\"u' 7");
    assert!(samples.iter().any(|one| one.starts_with("info corelane_build_info version=")));
    // What Python's repr makes of the name.
    let app = "counter corelane_app_messages_total app='a\"b\\\\c\\nd\\u202e\\x7f{}=,# EOF',outcome='ok' 1";
    has(app);
}

#[test]
fn families_are_sorted_contiguous_and_no_sample_stands_twice() {
    for (text, least) in [(exposition(), 100), (alone(), 10)] {
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let families: Vec<_> = families.map(|line| line.split_once(' ').unwrap().0).collect();
        assert!(families.len() > least && families.is_sorted(), "{families:?}");
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let keys: HashSet<_> = samples.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(keys.len(), samples.len());
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}

#[test]
fn promtool_finds_nothing() {
    if support::lacks("promtool", "--version") {
        return;
    }
    [exposition(), alone()].iter().for_each(|text| check(text));
}

fn check(text: &str) {
    let said = piped(Command::new("promtool").args(["check", "metrics"]), text);
    assert!(said.is_empty(), "{said}");
}

/// What a program says that gets this text. It must succeed.
fn piped(command: &mut Command, text: &str) -> String {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}
