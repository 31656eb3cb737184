//! Counts, bytes, times and named spans for every way to record, by type, protocol and application.

use super::{
    Bench, Counted, MILLISECOND, START, all_windows, buckets, failures, latency, no_latency, no_window,
    offer, shown, took, window,
};
use corelane::monitor::MonitorStats;
use corelane::record::{Measured, RecordedMessage, Recorder};
use serde_json::{Value, json};
use std::time::Duration;

/// Nanoseconds, and the number of messages with that time. No two values share a cell of the histogram, and no two
/// percentiles are equal.
const KNOWN: [(u64, usize); 6] = [(10, 500), (20, 400), (30, 50), (40, 40), (50, 9), (60, 1)];

/// A thousand messages of a hundred bytes each. The queue wait is a tenth of the time. The slowest messages failed.
fn known() -> impl Iterator<Item = Measured> {
    let all = KNOWN.into_iter().flat_map(|(nanoseconds, count)| std::iter::repeat_n(nanoseconds, count));
    all.map(|nanoseconds| Measured {
        failed: nanoseconds >= 50,
        reason: None,
        bytes: 100,
        queue_wait: Duration::from_nanos(nanoseconds / 10),
        processing: Duration::from_nanos(nanoseconds),
    })
}

/// Checks the figures of the known messages in the total, the type, the protocol and the application.
fn check(stats: &MonitorStats, way: &str) {
    let service = latency((1_000, 16), [10, 60, 10, 20, 30, 40, 50]);
    let queue_wait = latency((1_000, 1), [1, 6, 1, 2, 3, 4, 5]);
    let counted = Counted { count: 1_000, errors: 10, slow: 0, bytes: 100_000, sum: 16_610, overflows: 0 };
    let waited = Counted { sum: 1_661, ..counted };
    let windows = all_windows(&window((0, 2_000), counted, [10, 60, 10, 20, 30, 40, 50]));
    let waits = all_windows(&window((0, 2_000), waited, [1, 6, 1, 2, 3, 4, 5]));
    let messages = json!({
        "total": 1_000, "succeeded": 990, "failed": 10, "expired": 0, "success_rate": 0.99,
        "failures": failures(&[("reported", 10)]), "slow": 0, "bytes_in": 100_000, "bytes_out": 0,
        "latency": service, "queue_wait": queue_wait, "held": no_latency(), "write": no_latency(),
        "buckets": buckets([1_000, 0, 0, 0, 0, 0, 0, 0, 0]),
        "windows": windows, "queue_wait_windows": waits, "error_clients_last_minute": 1,
    });
    assert_eq!(shown(&stats.messages), messages, "{way}");
    let series = |protocol: &str, name: &str, failures: Value, queue_wait: Value| {
        json!({
            "protocol": if queue_wait.is_null() { Value::Null } else { json!(protocol) }, "name": name,
            "received": if queue_wait.is_null() { Value::Null } else { json!(1_000) },
            "total": 1_000, "succeeded": 990, "failed": 10, "expired": 0,
            "failures": failures, "slow": 0, "bytes": 100_000, "latency": service, "total_nanoseconds": 16_610,
            "queue_wait": queue_wait, "last_processed_milliseconds": START + 2_000, "windows": windows,
        })
    };
    let reported = failures(&[("reported", 10)]);
    assert_eq!(
        shown(&stats.types.as_ref().unwrap()[1]),
        series("peerjs", "OFFER", reported, queue_wait),
        "{way}"
    );
    assert_eq!(
        shown(&stats.protocols.as_ref().unwrap()[1]),
        series("", "peerjs", Value::Null, Value::Null),
        "{way}"
    );
    assert_eq!(
        shown(&stats.applications.as_ref().unwrap()[1]),
        series("", "app", Value::Null, Value::Null),
        "{way}"
    );
    let none = |queue_wait: Value| {
        json!({
            "protocol": if queue_wait.is_null() { Value::Null } else { json!("") }, "name": "other", "total": 0, "succeeded": 0, "failed": 0, "expired": 0,
            "received": if queue_wait.is_null() { Value::Null } else { json!(0) }, "failures": if queue_wait.is_null() { Value::Null } else { failures(&[]) }, "slow": 0,
            "bytes": 0, "latency": no_latency(), "total_nanoseconds": 0, "queue_wait": queue_wait,
            "last_processed_milliseconds": null, "windows": null,
        })
    };
    assert_eq!(shown(&stats.types.as_ref().unwrap()[0]), none(no_latency()), "{way}");
    assert_eq!(shown(&stats.protocols.as_ref().unwrap()[0]), none(Value::Null), "{way}");
    assert_eq!(shown(&stats.applications.as_ref().unwrap()[0]), none(Value::Null), "{way}");
    assert_eq!(
        (
            stats.types.as_ref().unwrap().len(),
            stats.protocols.as_ref().unwrap().len(),
            stats.applications.as_ref().unwrap().len()
        ),
        (2, 2, 2),
        "{way}"
    );
    let folded =
        json!({ "types": 0, "protocols": 0, "applications": 0, "clients": 0, "windows": 0, "impossible": 0 });
    assert_eq!(shown(&stats.folded), folded, "{way}");
    let times = (stats.time_milliseconds, stats.since_milliseconds, stats.uptime_nanoseconds, stats.resets);
    assert_eq!(times, (START + 2_000, START, 2_000 * MILLISECOND, 0), "{way}");
}

#[test]
fn every_way_to_record_gives_the_same_figures() {
    let bench = || {
        let bench = Bench::new(&[("max_recorders", "1")]);
        bench.advance(2_000);
        bench
    };
    let by_name = bench();
    known().for_each(|measured| by_name.monitor.record(&offer("", measured)));
    check(&by_name.stats(), "Monitor::record");

    let by_labels = bench();
    let labels = by_labels.monitor.labels("peerjs", "OFFER", "app");
    known().for_each(|measured| by_labels.monitor.record_labelled(labels, None, measured));
    check(&by_labels.stats(), "Monitor::record_labelled");

    let alone = bench();
    let mut recorder = alone.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    known().for_each(|measured| recorder.record(labels, None, measured));
    assert!(recorder.is_alone());
    check(&alone.stats(), "a recorder with cells of its own");
    drop(recorder);
    check(&alone.stats(), "a recorder that was dropped");

    // More recorders than there are cells for. The messages are distributed among them.
    let shared = bench();
    let mut recorders: [Recorder; 3] = std::array::from_fn(|_| shared.monitor.recorder());
    assert_eq!(recorders.each_ref().map(Recorder::is_alone), [true, false, false]);
    let labels = shared.monitor.labels("peerjs", "OFFER", "app");
    known().enumerate().for_each(|(place, measured)| recorders[place % 3].record(labels, None, measured));
    check(&shared.stats(), "recorders that share");
    let [first, ..] = recorders;
    drop(first);
    assert!(shared.monitor.recorder().is_alone(), "the next recorder gets its cells");
}

#[test]
fn nothing_recorded_is_null_and_not_zero() {
    let bench = Bench::new(&[]);
    let messages = json!({
        "total": 0, "succeeded": 0, "failed": 0, "expired": 0, "success_rate": null, "failures": failures(&[]), "slow": 0,
        "bytes_in": 0, "bytes_out": 0, "latency": no_latency(), "queue_wait": no_latency(),
        "held": no_latency(), "write": no_latency(), "buckets": buckets([0; 9]),
        "error_clients_last_minute": 0,
        "windows": all_windows(&no_window((0, 0))), "queue_wait_windows": all_windows(&no_window((0, 0))),
    });
    assert_eq!(shown(&bench.stats().messages), messages);
}

#[test]
fn named_spans_hold_their_lower_bound_and_not_their_upper_one() {
    let bench = Bench::new(&[]);
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let mut expected = [0; 9];
    let mut record = |nanoseconds, span: usize| {
        bench.monitor.record(&offer("", took(nanoseconds)));
        recorder.record(labels, None, took(nanoseconds));
        expected[span] += 2;
        assert_eq!(
            shown(&bench.stats().messages.as_ref().unwrap().buckets),
            buckets(expected),
            "{nanoseconds}"
        );
    };
    record(0, 0);
    let bounds = [1, 5, 10, 50, 100, 500, 1_000, 5_000];
    for (span, bound) in bounds.into_iter().enumerate() {
        record(bound * MILLISECOND - 1, span);
        record(bound * MILLISECOND, span + 1);
    }
    record(u64::MAX / 4, 8);
    assert_eq!(expected, [4, 4, 4, 4, 4, 4, 4, 4, 4]);
}

#[test]
fn percentiles_are_the_upper_bounds_of_their_cells_and_never_above_the_maximum() {
    let bench = Bench::new(&[]);
    for milliseconds in 1..=100 {
        bench.monitor.record(&offer("", took(milliseconds * MILLISECOND)));
    }
    // The cells, computed by hand: 2^20 wide in the octave from 2^25 on, 2^21 wide in the octave from 2^26 on.
    let p50 = 48 * (1 << 20) - 1;
    let p90 = 43 * (1 << 21) - 1;
    let p95 = 46 * (1 << 21) - 1;
    // The cell of 99 ms would end at 100,663,295, above the largest value.
    let largest = 100 * MILLISECOND;
    let expected = [MILLISECOND, largest, p50, p90, p95, largest, largest];
    assert_eq!(
        shown(&bench.stats().messages.as_ref().unwrap().totals.latency),
        latency((100, 50_500_000), expected)
    );
    // Beyond the range of the histogram: the largest value stands in for the missing cell.
    bench.monitor.record(&offer("", took(200_000 * MILLISECOND)));
    bench.monitor.record(&offer("", took(100_000 * MILLISECOND)));
    let stats = bench.stats();
    assert_eq!(stats.messages.as_ref().unwrap().totals.latency.p999, Some(200_000 * MILLISECOND));
    assert_eq!(stats.messages.as_ref().unwrap().totals.latency.maximum, Some(200_000 * MILLISECOND));
    assert_eq!(stats.messages.as_ref().unwrap().windows.last_minute.overflows, 2);
}

#[test]
fn a_names_figures_are_its_own_and_what_has_none_is_other() {
    let set = [("max_recorded_types", "2"), ("max_applications", "1"), ("max_recorded_clients", "1")];
    let bench = Bench::new(&set);
    let record = |protocol: &str, message_type: &str, application: &str, client: &str, nanoseconds| {
        bench.monitor.record(&RecordedMessage {
            client,
            message_type,
            protocol,
            application,
            measured: took(nanoseconds),
        });
    };
    record("peerjs", "OFFER", "one", "ann", 1);
    record("peerjs", "ANSWER", "one", "ann", 2);
    record("generic", "OFFER", "two", "ben", 4); // No separate series for its type, application or client.
    record("peerjs", "OFFER", "", "", 8); // No application: counts in `other` without being folded.
    record("", "", "one", "ann", 16); // No type and no protocol: counts in `other` as well.
    for protocol in 0..16 {
        record(&format!("p{protocol}"), "OFFER", "two", "ben", 32); // The last two exceed the sixteen.
    }
    let stats = bench.stats();
    let of = |series: &[corelane::monitor::SeriesFigures]| -> Vec<(String, String, u64, u64)> {
        let row = |one: &corelane::monitor::SeriesFigures| {
            (
                one.totals.protocol.clone().unwrap_or_default(),
                one.totals.name.clone(),
                one.totals.total,
                one.total_nanoseconds,
            )
        };
        series.iter().map(row).collect()
    };
    let row = |protocol: &str, name: &str, total, nanoseconds| {
        (protocol.to_owned(), name.to_owned(), total, nanoseconds)
    };
    let types =
        [row("", "other", 18, 4 + 16 + 16 * 32), row("peerjs", "OFFER", 2, 9), row("peerjs", "ANSWER", 1, 2)];
    assert_eq!(of(stats.types.as_ref().unwrap()), types);
    let mut protocols =
        vec![row("", "other", 3, 16 + 2 * 32), row("", "peerjs", 3, 11), row("", "generic", 1, 4)];
    protocols.extend((0..14).map(|protocol| row("", &format!("p{protocol}"), 1, 32)));
    assert_eq!(of(stats.protocols.as_ref().unwrap()), protocols);
    assert_eq!(
        of(stats.applications.as_ref().unwrap()),
        [row("", "other", 18, 8 + 4 + 16 * 32), row("", "one", 3, 19)]
    );
    let folded = json!({ "types": 17, "protocols": 2, "applications": 17, "clients": 17, "windows": 0, "impossible": 0 });
    assert_eq!(shown(&stats.folded), folded);
    assert_eq!(stats.messages.as_ref().unwrap().totals.total, 21);
}
