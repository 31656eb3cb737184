//! Slow messages: the threshold, the count, and the list of the latest ones.

use super::{Bench, MILLISECOND, START, offer, shown, took};
use corelane::record::{Measured, RecordedMessage};
use serde_json::{Value, json};
use std::time::Duration;

const THRESHOLD: u64 = 100 * MILLISECOND;

fn bench() -> Bench {
    Bench::new(&[("slow_message_threshold_ms", "100"), ("slow_messages", "3")])
}

fn list(bench: &Bench) -> Value {
    shown(&bench.stats().slow_messages)
}

/// The clients in the list, newest first, each with its count.
fn names(bench: &Bench) -> Vec<(String, u64)> {
    bench
        .stats()
        .slow_messages
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| (entry.client, entry.count))
        .collect()
}

#[test]
fn a_message_is_slow_above_the_threshold_and_not_at_it_waiting_included() {
    let bench = bench();
    let at = Measured {
        queue_wait: Duration::from_nanos(THRESHOLD - 1),
        processing: Duration::from_nanos(1),
        ..Measured::default()
    };
    let above = Measured { processing: Duration::from_nanos(2), ..at };
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    bench.monitor.record(&offer("ann", at));
    recorder.record(labels, None, at);
    let stats = bench.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().totals.slow,
            stats.slow_messages.as_ref().unwrap().total
        ),
        (2, 0, 0)
    );
    assert_eq!(shown(&stats.slow_messages.as_ref().unwrap().entries), json!([]));
    bench.monitor.record(&offer("ann", above));
    recorder.record(labels, None, above);
    // The longest possible time.
    let endless = Measured { queue_wait: Duration::from_nanos((1 << 62) - 1), ..at };
    bench.monitor.record(&RecordedMessage { message_type: "ANSWER", ..offer("ann", endless) });
    let stats = bench.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().totals.slow,
            stats.slow_messages.as_ref().unwrap().total
        ),
        (5, 3, 3)
    );
    let slow = |series: &[corelane::monitor::SeriesFigures]| -> Vec<(String, u64)> {
        series.iter().map(|one| (one.totals.name.clone(), one.totals.slow)).collect()
    };
    let row = |name: &str, count| (name.to_owned(), count);
    assert_eq!(slow(stats.types.as_ref().unwrap()), [row("other", 0), row("OFFER", 2), row("ANSWER", 1)]);
    assert_eq!(slow(stats.protocols.as_ref().unwrap()), [row("other", 0), row("peerjs", 3)]);
    assert_eq!(slow(stats.applications.as_ref().unwrap()), [row("other", 0), row("app", 3)]);
    let minute = &stats.messages.as_ref().unwrap().windows.last_minute;
    assert_eq!((minute.slow, minute.slow_rate), (3, Some(0.6)));
}

#[test]
fn an_entry_says_all_of_the_last_message_and_folds_those_like_it() {
    let bench = bench();
    bench.advance(1_500);
    let first = Measured {
        failed: false,
        reason: None,
        bytes: 300,
        queue_wait: Duration::from_millis(150),
        processing: Duration::from_millis(100),
    };
    bench.monitor.record(&offer("ann", first));
    let mut entry = json!({
        "count": 1, "first_milliseconds": START + 1_500, "last_milliseconds": START + 1_500,
        "client": "ann", "protocol": "peerjs", "message_type": "OFFER", "application": "app", "worker": null,
        "bytes": 300, "queue_wait_nanoseconds": 150 * MILLISECOND, "service_nanoseconds": 100 * MILLISECOND, "held_nanoseconds": 0,
        "succeeded": true, "slowest_nanoseconds": 250 * MILLISECOND,
    });
    let whole = |total: u64, entries: &[&Value]| json!({ "threshold_nanoseconds": THRESHOLD, "total": total, "unlisted": 0, "entries": entries });
    assert_eq!(list(&bench), whole(1, &[&entry]));

    // A similar message, faster, failed, two seconds later: one entry, with the data of the latest message and the
    // time of the slowest.
    bench.advance(2_000);
    let second = Measured {
        failed: true,
        reason: None,
        bytes: 7,
        queue_wait: Duration::from_nanos(0),
        processing: Duration::from_nanos(THRESHOLD + 1),
    };
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    recorder.record(labels, recorder.client("ann"), second);
    let changes = [
        ("count", json!(2)),
        ("last_milliseconds", json!(START + 3_500)),
        ("bytes", json!(7)),
        ("queue_wait_nanoseconds", json!(0)),
        ("service_nanoseconds", json!(THRESHOLD + 1)),
        ("succeeded", json!(false)),
    ];
    changes.into_iter().for_each(|(field, value)| entry[field] = value);
    assert_eq!(list(&bench), whole(2, &[&entry]));

    // A message without a client, a protocol and a type.
    bench.monitor.record(&RecordedMessage { measured: took(THRESHOLD + 1), ..RecordedMessage::default() });
    let nobody = json!({
        "count": 1, "first_milliseconds": START + 3_500, "last_milliseconds": START + 3_500,
        "client": "", "protocol": "", "message_type": "other", "application": "other", "worker": null,
        "bytes": 0, "queue_wait_nanoseconds": 0, "service_nanoseconds": THRESHOLD + 1, "held_nanoseconds": 0,
        "succeeded": true, "slowest_nanoseconds": THRESHOLD + 1,
    });
    assert_eq!(list(&bench), whole(3, &[&nobody, &entry]));
    // A message with a protocol and with a type that has no series.
    bench.monitor.record(&RecordedMessage { message_type: "", ..offer("", second) });
    let newest = bench.stats().slow_messages.unwrap().entries.remove(0);
    assert_eq!((&*newest.protocol, &*newest.message_type), ("peerjs", "other"));
}

#[test]
fn a_client_without_figures_is_named_all_the_same() {
    let slow = took(2 * THRESHOLD);
    for set in [("detailed_stats", "off"), ("max_recorded_clients", "0")] {
        let bench = Bench::new(&[("slow_message_threshold_ms", "100"), set]);
        bench.monitor.record(&offer("ann", slow));
        assert_eq!(names(&bench), [("ann".to_owned(), 1)], "{set:?}");
    }
}

#[test]
fn what_differs_in_anything_is_an_entry_of_its_own() {
    let bench = Bench::new(&[("slow_message_threshold_ms", "100")]);
    let slow = offer("ann", took(THRESHOLD + 1));
    let all = [
        slow,
        RecordedMessage { client: "ben", ..slow },
        RecordedMessage { message_type: "ANSWER", ..slow },
        RecordedMessage { protocol: "generic", ..slow },
        RecordedMessage { application: "other app", ..slow },
    ];
    for message in all.iter().chain(&all) {
        bench.monitor.record(message);
        bench.stats();
    }
    let entries = bench.stats().slow_messages.unwrap().entries;
    let found: Vec<_> = entries
        .iter()
        .map(|one| (&*one.client, &*one.message_type, &*one.protocol, &*one.application, one.count))
        .collect();
    let wanted: Vec<_> = all
        .iter()
        .rev()
        .map(|one| (one.client, one.message_type, one.protocol, one.application, 2))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_list_is_newest_first_and_no_longer_than_configured() {
    let bench = bench();
    let record = |client: &str| {
        bench.advance(1_000);
        bench.monitor.record(&offer(client, took(THRESHOLD + 1)));
        names(&bench)
    };
    let row = |name: &str, count| (name.to_owned(), count);
    assert_eq!(record("a"), [row("a", 1)]);
    assert_eq!(record("b"), [row("b", 1), row("a", 1)]);
    assert_eq!(record("c"), [row("c", 1), row("b", 1), row("a", 1)]);
    assert_eq!(record("a"), [row("a", 2), row("c", 1), row("b", 1)]);
    assert_eq!(record("d"), [row("d", 1), row("a", 2), row("c", 1)]);
    // An entry that has left the list starts anew.
    assert_eq!(record("b"), [row("b", 1), row("d", 1), row("a", 2)]);
    let slow = bench.stats().slow_messages.unwrap();
    // The entries of b and c had left the list.
    assert_eq!((slow.total, slow.unlisted), (6, 2));
    let first: Vec<_> = slow.entries.iter().map(|entry| entry.first_milliseconds - START).collect();
    let last: Vec<_> = slow.entries.iter().map(|entry| entry.last_milliseconds - START).collect();
    assert_eq!((first, last), (vec![6_000, 5_000, 1_000], vec![6_000, 5_000, 4_000]));
}

#[test]
fn a_report_names_no_protocol_of_a_message_without_one() {
    let bench = bench();
    bench.monitor.record(&RecordedMessage {
        message_type: "",
        protocol: "",
        ..offer("", took(THRESHOLD + 1))
    });
    let stats = bench.stats();
    let entry = &stats.slow_messages.as_ref().unwrap().entries[0];
    assert_eq!((&*entry.protocol, &*entry.message_type), ("", "other"));
    let text = bench.monitor.report(corelane::monitor::Format::Text);
    assert!(!text.contains("/other") && text.contains("other"), "{text}");
}

#[test]
fn those_that_come_too_fast_to_be_listed_are_counted() {
    let bench = bench();
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    // A thread notes at most sixty-four slow messages between two looks.
    for _ in 0..100 {
        recorder.record(labels, None, took(THRESHOLD + 1));
    }
    let slow = bench.stats().slow_messages.unwrap();
    assert_eq!((slow.total, slow.unlisted, slow.entries.len(), slow.entries[0].count), (100, 36, 1, 64));
    let text = bench.monitor.report(corelane::monitor::Format::Text);
    assert!(text.contains("(64 of 100); the others came too fast to be listed, or were displaced"), "{text}");
    for _ in 0..64 {
        recorder.record(labels, None, took(THRESHOLD + 1));
    }
    let slow = bench.stats().slow_messages.unwrap();
    assert_eq!((slow.total, slow.unlisted, slow.entries[0].count), (164, 36, 128));
}
