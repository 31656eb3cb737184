//! Checks the exposition with Prometheus' own checker, and its figures against the messages that were sent. Row X2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Key;
use corelane::export;
use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};

mod support;
use support::{Bench, config};

/// The exposition of a router that has delivered, failed, held and refused messages, for an application whose name
/// needs escaping.
fn exposition() -> String {
    let mut bench = Bench::of(config(&[(Key::Workers, 1)]), |builder| builder);
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
    export::prometheus(&bench.router.stats())
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
            "corelane_connections_open 2",
            "corelane_connections_open_peak 2",
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
    let text = exposition();
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.len() > 25 && families.is_sorted(), "{families:?}");
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let keys: HashSet<_> = samples.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(keys.len(), samples.len());
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
}

#[test]
fn promtool_finds_nothing() {
    if support::lacks("promtool", "--version") {
        return;
    }
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(exposition().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
