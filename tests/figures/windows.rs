//! Sliding windows as time advances, and the same figures as series over time.

use super::{Bench, Counted, START, all_windows, no_window, offer, shown, took, window};
use corelane::monitor::{Monitor, Span};
use corelane::record::{Measured, RecordedMessage};
use serde_json::{Value, json};
use std::time::Duration;

/// In second k: k messages of k nanoseconds and ten bytes. One of them fails in every second second. A tick follows
/// each second.
fn a_minute_of_more_and_more(bench: &Bench) {
    for second in 1..=60 {
        for message in 0..second {
            let failed = message == 0 && second % 2 == 0;
            let measured = Measured { failed, bytes: 10, ..took(second) };
            bench.monitor.record(&offer("", measured));
        }
        bench.run(1);
    }
}

#[test]
fn a_window_is_what_was_between_two_moments() {
    let bench = Bench::new(&[]);
    a_minute_of_more_and_more(&bench);
    let stats = bench.stats();
    let counted = Counted { count: 1_830, errors: 30, slow: 0, bytes: 18_300, sum: 73_810, overflows: 0 };
    let all = all_windows(&window((0, 60_000), counted, [1, 60, 43, 57, 59, 60, 60]));
    assert_eq!(shown(&stats.messages.as_ref().unwrap().windows), all);
    for series in [
        &stats.types.as_ref().unwrap()[1],
        &stats.protocols.as_ref().unwrap()[1],
        &stats.applications.as_ref().unwrap()[1],
    ] {
        assert_eq!(shown(&series.windows), all, "{}", series.totals.name);
    }
    let waited = Counted { sum: 0, ..counted };
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().queue_wait_windows),
        all_windows(&window((0, 60_000), waited, [0; 7]))
    );

    // A second later the first second's message has left the minute, and no other window.
    bench.run(1);
    let stats = bench.stats();
    let counted = Counted { count: 1_829, bytes: 18_290, sum: 73_809, ..counted };
    let later = window((1_000, 61_000), counted, [2, 60, 43, 57, 59, 60, 60]);
    assert_eq!(shown(&stats.messages.as_ref().unwrap().windows.last_minute), later);
    assert_eq!(stats.messages.as_ref().unwrap().windows.last_hour.latency.count, 1_830);
    assert_eq!(shown(&stats.types.as_ref().unwrap()[1].windows.as_ref().unwrap().last_minute), later);

    // Between two ticks: the second second has left the window, and half a second more has passed.
    bench.advance(1_500);
    let counted = Counted { count: 1_827, errors: 29, bytes: 18_270, sum: 73_805, ..counted };
    let between = window((2_000, 62_500), counted, [3, 60, 43, 57, 59, 60, 60]);
    assert_eq!(shown(&bench.stats().messages.as_ref().unwrap().windows.last_minute), between);

    // One second before the last messages leave the window, and exactly when they do.
    bench.advance(500);
    bench.run(56);
    let last = Counted { count: 60, errors: 1, bytes: 600, sum: 3_600, ..counted };
    let rest = window((59_000, 119_000), last, [60; 7]);
    assert_eq!(shown(&bench.stats().messages.as_ref().unwrap().windows.last_minute), rest);
    bench.run(1);
    let stats = bench.stats();
    assert_eq!(shown(&stats.messages.as_ref().unwrap().windows.last_minute), no_window((60_000, 120_000)));
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().windows.last_hour.latency.count
        ),
        (1_830, 1_830)
    );
}

#[test]
fn the_hour_and_the_retained_day_end_on_time() {
    let bench = Bench::new(&[("stats_retention_hours", "2"), ("monitor_interval_ms", "3600000")]);
    bench.monitor.record(&offer("", took(7)));
    let minutes = |count: u64| {
        for _ in 0..count {
            bench.advance(60_000);
            bench.monitor.tick();
        }
        let windows = bench.stats().messages.unwrap().windows;
        [windows.last_minute.latency.count, windows.last_hour.latency.count, windows.last_day.latency.count]
    };
    assert_eq!(minutes(1), [1, 1, 1]);
    assert_eq!(minutes(1), [0, 1, 1]);
    assert_eq!(minutes(58), [0, 1, 1], "an hour after it");
    assert_eq!(minutes(1), [0, 0, 1], "an hour after the minute that contained it");
    assert_eq!(
        shown(&bench.stats().messages.as_ref().unwrap().windows.last_hour),
        no_window((60_000, 3_660_000))
    );
    // The message was in the first quarter of an hour, which leaves the window two hours after its end.
    assert_eq!(minutes(134 - 61), [0, 0, 1]);
    assert_eq!(minutes(1), [0, 0, 0]);
    assert_eq!(
        shown(&bench.stats().messages.as_ref().unwrap().windows.last_day),
        no_window((900_000, 8_100_000))
    );
    assert_eq!(bench.stats().messages.as_ref().unwrap().totals.total, 1, "totals since the start stay");
}

#[test]
fn what_comes_late_is_in_one_longer_slot_and_lost_in_none() {
    let bench = Bench::new(&[]);
    (0..30).for_each(|_| bench.monitor.record(&offer("", took(7))));
    bench.advance(600_000);
    bench.monitor.tick();
    let counted = Counted { count: 30, sum: 210, ..Counted::default() };
    let late = window((0, 600_000), counted, [7; 7]);
    assert_eq!(shown(&bench.stats().messages.as_ref().unwrap().windows), all_windows(&late));
    assert_eq!(
        bench.stats().messages.as_ref().unwrap().windows.last_minute.throughput_per_second,
        Some(0.05)
    );
}

#[test]
fn what_comes_up_later_has_windows_from_the_look_before_it() {
    let bench = Bench::new(&[]);
    bench.run(10);
    bench.monitor.record(&offer("", took(7)));
    bench.run(1);
    bench.monitor.record(&offer("", took(7)));
    bench.run(1);
    let stats = bench.stats();
    let counted = Counted { count: 2, sum: 14, ..Counted::default() };
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().windows.last_minute),
        window((0, 12_000), counted, [7; 7])
    );
    // Both seconds, not one: otherwise the rate would be doubled.
    let own = stats.types.as_ref().unwrap()[1].windows.as_ref().unwrap();
    assert_eq!(shown(own), all_windows(&window((10_000, 12_000), counted, [7; 7])));
}

#[test]
fn windows_are_for_as_many_series_as_are_allowed() {
    // Two of the windowed series are those of all messages.
    let bench = Bench::new(&[("max_windowed_series", "4")]);
    let have = |monitor: &Monitor| {
        let stats = monitor.snapshot();
        let all = [&stats.types, &stats.protocols, &stats.applications].into_iter().flatten().flatten();
        let have: Vec<_> =
            all.filter(|one| one.windows.is_some()).map(|one| one.totals.name.clone()).collect();
        (have, stats.folded.windows.unwrap())
    };
    assert_eq!(have(&bench.monitor), (vec![], 0), "series without messages need no windows");
    bench.monitor.record(&RecordedMessage { protocol: "", ..offer("", took(1)) });
    assert_eq!(have(&bench.monitor), (vec!["OFFER".to_owned(), "other".to_owned()], 1));
    bench.monitor.record(&RecordedMessage { message_type: "ANSWER", ..offer("", took(1)) });
    assert_eq!(have(&bench.monitor), (vec!["OFFER".to_owned(), "other".to_owned()], 3));
    assert!(bench.monitor.history("types.OFFER", Span::Minute).is_some());
    assert!(bench.monitor.history("applications.app", Span::Minute).is_none());
    assert_eq!(bench.stats().applications.as_ref().unwrap()[1].totals.total, 2, "still counted");
}

/// The values are the mean, the minimum, P50, P90, P95 (and P99, P99.9 and the maximum, which are equal here).
fn slot((from, until): (u64, u64), is_open: bool, counts: [u64; 4], values: Option<[u64; 5]>) -> Value {
    let [count, errors, slow, bytes] = counts;
    let value = |place: usize| values.map(|values| values[place]);
    json!({
        "start_milliseconds": START + from, "end_milliseconds": START + until, "is_open": is_open,
        "count": count, "errors": errors, "slow": slow, "bytes": bytes, "average": value(0),
        "minimum": value(1), "p50": value(2), "p90": value(3), "p95": value(4), "p99": value(4), "p999": value(4),
        "maximum": value(4),
    })
}

#[test]
fn messages_are_a_history_slot_by_slot() {
    let bench = Bench::new(&[]);
    let record = |nanoseconds, failed| {
        let measured =
            Measured { failed, bytes: 10, queue_wait: Duration::from_nanos(3), ..took(nanoseconds) };
        bench.monitor.record(&offer("", measured));
    };
    record(10, false);
    record(20, true);
    bench.run(2);
    record(2_000_000_000, false);
    bench.run(1);
    record(30, false);
    bench.advance(400);
    // The cell begins at 59 × 2^25 and is 2^25 wide, but a percentile never exceeds the largest value.
    let (long, shortest) = (2_000_000_000, 59 << 25);
    let service = [
        slot((0, 1_000), false, [2, 1, 0, 20], Some([15, 10, 10, 20, 20])),
        slot((1_000, 2_000), false, [0; 4], None),
        slot((2_000, 3_000), false, [1, 0, 1, 10], Some([long, shortest, long, long, long])),
        slot((3_000, 3_400), true, [1, 0, 0, 10], Some([30; 5])),
    ];
    let history = |name: &str, span| shown(&bench.monitor.history(name, span));
    for name in ["messages", "types.peerjs/OFFER", "protocols.peerjs", "applications.app"] {
        let expected = json!({ "name": name, "slots": service, "points": [] });
        assert_eq!(history(name, Span::Minute), expected);
    }
    let waits = [
        slot((0, 1_000), false, [2, 1, 0, 20], Some([3; 5])),
        slot((1_000, 2_000), false, [0; 4], None),
        slot((2_000, 3_000), false, [1, 0, 1, 10], Some([3; 5])),
        slot((3_000, 3_400), true, [1, 0, 0, 10], Some([3; 5])),
    ];
    let expected = json!({ "name": "queue_wait", "slots": waits, "points": [] });
    assert_eq!(history("queue_wait", Span::Minute), expected);
    // An hour's slot covers a minute, a day's slot a quarter of an hour. The median of four values is the second
    // smallest.
    let average = (10 + 20 + long + 30) / 4;
    let hour = slot((0, 3_400), true, [4, 1, 1, 40], Some([average, 10, 20, long, long]));
    let expected = json!({ "name": "messages", "slots": [hour], "points": [] });
    assert_eq!(history("messages", Span::Hour), expected);
    let day = slot((0, 3_400), true, [4, 1, 1, 40], Some([average, 10, 20, long, long]));
    let expected = json!({ "name": "messages", "slots": [day], "points": [] });
    assert_eq!(history("messages", Span::Day), expected);
    // The slot of the first minute closes.
    bench.advance(600);
    bench.run(56);
    record(40, false);
    bench.run(3);
    let closed = slot((0, 60_000), false, [4, 1, 1, 40], Some([average, 10, 20, long, long]));
    let open = slot((60_000, 63_000), true, [1, 0, 0, 10], Some([40; 5]));
    let expected = json!({ "name": "types.peerjs/OFFER", "slots": [closed, open], "points": [] });
    assert_eq!(history("types.peerjs/OFFER", Span::Hour), expected);
    for unknown in ["", "message", "types.OFFER", "types.peerjs/ANSWER", "protocols.", "rooms.x"] {
        assert_eq!(bench.monitor.history(unknown, Span::Minute), None, "{unknown}");
    }
}

fn point((from, until): (u64, u64), [minimum, maximum, last, average]: [f64; 4], samples: u64) -> Value {
    json!({
        "start_milliseconds": START + from, "end_milliseconds": START + until,
        "minimum": minimum, "maximum": maximum, "last": last, "average": average, "samples": samples,
    })
}

#[test]
fn numbers_are_a_history_of_what_each_look_saw() {
    let bench = Bench::new(&[("monitor_interval_ms", "500")]);
    let monitor = &bench.monitor;
    monitor.watch("connections.total").unwrap();
    monitor.watch("connections.active").unwrap(); // Remembered anyway.
    let empty = json!({ "name": "connections.total", "slots": [], "points": [] });
    assert_eq!(shown(&monitor.history("connections.total", Span::Minute)), empty);
    let ann = monitor.connect("ann", "app").unwrap();
    let tick_after = |milliseconds| {
        bench.advance(milliseconds);
        monitor.tick();
    };
    tick_after(100); // One client is connected.
    monitor.connect("ben", "app").unwrap();
    monitor.connect("eve", "app").unwrap();
    tick_after(300); // Too soon for a look.
    tick_after(200); // Three clients are connected.
    monitor.disconnect(ann).unwrap();
    tick_after(1_400); // In the third second: two clients.
    let points =
        json!([point((0, 1_000), [1.0, 3.0, 3.0, 2.0], 2), point((2_000, 3_000), [2.0, 2.0, 2.0, 2.0], 1),]);
    let expected = json!({ "name": "connections.active", "slots": [], "points": points });
    assert_eq!(shown(&monitor.history("connections.active", Span::Minute)), expected);
    let points =
        json!([point((0, 1_000), [1.0, 3.0, 3.0, 2.0], 2), point((2_000, 3_000), [3.0, 3.0, 3.0, 3.0], 1),]);
    let expected = json!({ "name": "connections.total", "slots": [], "points": points });
    assert_eq!(shown(&monitor.history("connections.total", Span::Minute)), expected);
    let hour = json!([point((0, 60_000), [1.0, 3.0, 2.0, 2.0], 3)]);
    let expected = json!({ "name": "connections.active", "slots": [], "points": hour });
    assert_eq!(shown(&monitor.history("connections.active", Span::Hour)), expected);
    let day = json!([point((0, 900_000), [1.0, 3.0, 2.0, 2.0], 3)]);
    let expected = json!({ "name": "connections.active", "slots": [], "points": day });
    assert_eq!(shown(&monitor.history("connections.active", Span::Day)), expected);
    // A router's series: a monitor without a router has no samples of it.
    let nothing = json!({ "name": "routing.totals.concurrency", "slots": [], "points": [] });
    assert_eq!(shown(&monitor.history("routing.totals.concurrency", Span::Day)), nothing);
}

#[test]
fn histories_have_names_and_those_that_a_host_adds_are_bounded() {
    let bench = Bench::new(&[]);
    bench.monitor.record(&offer("", took(1)));
    bench.stats();
    let names = bench.monitor.history_names();
    let first = ["messages", "queue_wait", "types.peerjs/OFFER", "protocols.peerjs", "applications.app"];
    assert_eq!(names[..5], first);
    assert!(names.iter().any(|name| name == "connections.active"));
    for name in &names {
        let history = bench.monitor.history(name, Span::Day).unwrap();
        assert_eq!(history.name, *name);
    }
    for added in 0..64 {
        bench.monitor.watch(&format!("types.peerjs/{added}.total")).unwrap();
    }
    let refused = |monitor: &Monitor, path: &str, problem: &str| {
        let error = monitor.watch(path).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    };
    refused(&bench.monitor, "types.peerjs/64.total", "64 numbers are watched");
    bench.monitor.watch("types.peerjs/63.total").unwrap(); // Watched already.
    assert_eq!(bench.monitor.history_names().len(), names.len() + 64);
    let other = Bench::new(&[]).monitor;
    refused(&other, &format!("types.{}.total", "long".repeat(65)), "at most 256 bytes");
    refused(&other, "messages.totall", "the nearest is \"messages.total\"");
    refused(&other, "types.*.total", "of one number");
    // Dots and slashes inside a name are distinguished from those between names.
    for (protocol, message_type) in [("a.b", "c"), ("a/b", "c"), ("a", "b/c")] {
        let message = RecordedMessage { protocol, message_type, ..offer("", took(1)) };
        (0..protocol.len()).for_each(|_| other.record(&message));
    }
    other.snapshot();
    for (name, count) in [(r"types.a\.b/c", 3), (r"types.a\\/b/c", 3), (r"types.a/b\\/c", 1)] {
        assert_eq!(other.history(name, Span::Minute).unwrap().slots[0].latency.count, count, "{name}");
        assert!(other.history_names().contains(&name.to_owned()), "{name}");
        other.watch(&format!("{name}.total")).unwrap();
    }
}
