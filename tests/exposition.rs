//! Checks the exposition with Prometheus' own checker, and its figures against the messages that were sent. Row X2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::export;
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
            r#"corelane_recorded_duration_seconds_sum{message_type="job",protocol="other"} 0.003"#,
            r#"# HELP jobs_total Jobs, with a \\"#,
            r#"jobs_total{region="e\"u"} 7"#,
            "level +Inf",
            r#"job_seconds_bucket{le="0.004194303"} 0"#,
            r#"job_seconds_bucket{le="0.008388607"} 1"#,
            "job_seconds_sum 0.005",
            r#"job_bytes_bucket{le="63"} 0"#,
            r#"job_bytes_bucket{le="127"} 1"#,
            "job_bytes_sum 100",
            "job_bytes_count 1",
        ],
    );
    assert!(!text.contains("corelane_messages_submitted_total") && !text.contains("worker"), "{text}");
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
            // Present from the start with the value 0, so that a rate includes the first increment.
            r#"corelane_messages_failed_total{message_type="other",protocol="other",reason="no_recipient"} 0"#,
            r#"corelane_messages_failed_total{message_type="OFFER",protocol="peerjs",reason="not_json"} 0"#,
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
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
