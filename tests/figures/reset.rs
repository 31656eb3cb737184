//! A reset: every figure starts anew, and every recorded message counts either before the reset or after it.

use super::{
    Bench, Counted, MILLISECOND, START, all_windows, buckets, failures, latency, no_latency, no_window,
    offer, shown, took, window,
};
use corelane::monitor::{MonitorStats, Span};
use corelane::record::{Measured, RecordedMessage};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn small() -> Bench {
    let set = [
        ("max_recorded_types", "1"),
        ("max_applications", "1"),
        ("max_recorded_clients", "2"),
        ("slow_message_threshold_ms", "100"),
    ];
    Bench::new(&set)
}

/// Records something for every figure: slow, failed and folded messages, connected and disconnected clients.
fn fill(bench: &Bench) {
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let ben = bench.monitor.connect("ben", "two").unwrap();
    bench.monitor.connect("ann", "app").unwrap_err();
    bench.monitor.record_sent(ann, 1_000).unwrap();
    let measured = Measured {
        failed: true,
        reason: None,
        bytes: 30,
        queue_wait: Duration::from_millis(40),
        processing: Duration::from_nanos(9_000 * MILLISECOND),
    };
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    for _ in 0..100 {
        recorder.record(labels, Some(ann), measured); // More than the list holds.
    }
    bench.monitor.record(&offer("ann", measured));
    bench.monitor.record(&RecordedMessage {
        message_type: "ANSWER",
        application: "two",
        ..offer("eve", took(1))
    });
    bench.advance(2_000);
    bench.monitor.disconnect(ben).unwrap();
}

#[test]
fn everything_starts_anew_but_what_is_now() {
    let bench = small();
    fill(&bench);
    let before = bench.stats();
    assert_eq!(
        (before.messages.as_ref().unwrap().totals.total, before.slow_messages.as_ref().unwrap().unlisted),
        (102, 36)
    );
    let folded =
        json!({ "types": 1, "protocols": 0, "applications": 2, "clients": 1, "windows": 0, "impossible": 0 });
    assert_eq!(shown(&before.folded), folded);
    bench.advance(1_000);
    let last = bench.monitor.reset_and_show();
    assert_eq!((last.resets, last.since_milliseconds, last.messages.unwrap().totals.total), (0, START, 102));
    let stats = bench.stats();
    let empty = all_windows(&no_window((3_000, 3_000)));
    let messages = json!({
        "total": 0, "succeeded": 0, "failed": 0, "expired": 0, "success_rate": null, "failures": failures(&[]), "slow": 0,
        "bytes_in": 0, "bytes_out": 0, "latency": no_latency(), "queue_wait": no_latency(),
        "held": no_latency(), "write": no_latency(), "buckets": buckets([0; 9]), "windows": empty, "queue_wait_windows": empty,
        "error_clients_last_minute": 0,
    });
    assert_eq!(shown(&stats.messages), messages);
    let series = |name: &str, protocol: &str, queue_wait: Value| {
        json!({
            "protocol": if queue_wait.is_null() { Value::Null } else { json!(protocol) }, "name": name, "total": 0, "succeeded": 0, "failed": 0, "expired": 0,
            "received": if queue_wait.is_null() { Value::Null } else { json!(0) }, "failures": if protocol.is_empty() && queue_wait.is_null() { Value::Null } else { failures(&[]) },
            "slow": 0, "bytes": 0, "latency": no_latency(), "total_nanoseconds": 0, "queue_wait": queue_wait,
            "last_processed_milliseconds": START, "windows": empty,
        })
    };
    let types = json!([series("other", "", no_latency()), series("OFFER", "peerjs", no_latency())]);
    assert_eq!(shown(&stats.types), types);
    assert_eq!(shown(&stats.protocols.as_ref().unwrap()[1]), series("peerjs", "", Value::Null));
    assert_eq!(shown(&stats.applications.as_ref().unwrap()[1]), series("app", "", Value::Null));
    let folded =
        json!({ "types": 0, "protocols": 0, "applications": 0, "clients": 0, "windows": 0, "impossible": 0 });
    assert_eq!(shown(&stats.folded), folded);
    let lists = json!({
        "tracked": 1, "by_messages": [], "by_errors": [], "by_bytes_in": [], "by_bytes_out": [],
        "by_average": [], "by_maximum": [], "by_outstanding": [],
        "by_outstanding_peak": [], "by_undelivered": [],
    });
    assert_eq!(shown(&stats.clients), lists);
    let slow =
        json!({ "threshold_nanoseconds": 100 * MILLISECOND, "total": 0, "unlisted": 0, "entries": [] });
    assert_eq!(shown(&stats.slow_messages), slow);
    // Ann is still connected, for three seconds, so the peak since the reset is one.
    let applications = json!([
        { "name": "other", "total": 0, "active": 0, "last_activity_milliseconds": START + 2_000 },
        { "name": "app", "total": 0, "active": 1, "last_activity_milliseconds": START },
    ]);
    let connections = json!({
        "total": 0, "active": 1, "peak": 1, "average_duration_milliseconds": null,
        "closed_milliseconds": no_latency(), "open_milliseconds": latency((1, 3_000), [3_000; 7]),
        "last_minute_milliseconds": 0, "connects_last_minute": 0, "disconnects_last_minute": 0, "healthy": 1, "unhealthy": 0,
        "reconnect_attempts": 0, "applications": applications,
    });
    assert_eq!(shown(&stats.connections), connections);
    let times = (stats.since_milliseconds, stats.resets, stats.uptime_nanoseconds);
    assert_eq!(times, (START + 3_000, 1, 3_000 * MILLISECOND));
    let history = bench.monitor.history("messages", Span::Minute).unwrap();
    assert_eq!((history.slots.len(), history.points.len()), (0, 0));
}

#[test]
fn what_comes_after_a_reset_is_exact_extremes_included() {
    let bench = small();
    fill(&bench);
    bench.stats();
    bench.monitor.reset();
    // Values that are neither the minimum nor the maximum of the earlier ones, and not the bound of a cell.
    let ann = bench.monitor.client("ann").unwrap();
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let (quick, long) = (1_000_003, 3_000_017);
    let measured = |nanoseconds| Measured {
        failed: false,
        reason: None,
        bytes: 5,
        queue_wait: Duration::from_nanos(1_000),
        processing: Duration::from_nanos(nanoseconds),
    };
    recorder.record(labels, Some(ann), measured(long));
    bench.stats(); // Read in between: this snapshot collects the minimum.
    bench.monitor.record(&offer("ann", measured(quick)));
    bench.monitor.record_sent(ann, 77).unwrap();
    bench.advance(1_000);
    let stats = bench.stats();
    // The cell of the smaller value begins at 61 × 2^14 and ends at 62 × 2^14 - 1.
    let p50 = 62 * (1 << 14) - 1;
    let average = (quick + long) / 2;
    let service = latency((2, average), [quick, long, p50, long, long, long, long]);
    let waited = latency((2, 1_000), [1_000; 7]);
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.latency), service);
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.queue_wait), waited);
    assert_eq!(shown(&stats.types.as_ref().unwrap()[1].totals.latency), service);
    assert_eq!(shown(&stats.types.as_ref().unwrap()[1].totals.queue_wait), waited);
    assert_eq!(shown(&stats.protocols.as_ref().unwrap()[1].totals.latency), service);
    assert_eq!(shown(&stats.applications.as_ref().unwrap()[1].totals.latency), service);
    let counts = (
        stats.messages.as_ref().unwrap().totals.total,
        stats.messages.as_ref().unwrap().totals.succeeded,
        stats.messages.as_ref().unwrap().totals.bytes_in,
    );
    assert_eq!((counts, stats.messages.as_ref().unwrap().totals.bytes_out), ((2, 2, 10), 77));
    assert_eq!(shown(&stats.messages.as_ref().unwrap().buckets), buckets([0, 2, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(stats.types.as_ref().unwrap()[1].last_processed_milliseconds, Some(START + 2_000));
    let counted = Counted { count: 2, bytes: 10, sum: quick + long, ..Counted::default() };
    let fine = window((2_000, 3_000), counted, [61 << 14, long, p50, long, long, long, long]);
    assert_eq!(shown(&stats.messages.as_ref().unwrap().windows.last_minute), fine);
    let row = &stats.clients.as_ref().unwrap().by_messages[0];
    assert_eq!((row.messages, row.errors, row.bytes_in, row.bytes_out), (2, 0, 10, 77));
    assert_eq!((row.average_nanoseconds, row.maximum_nanoseconds), (Some(average + 1_000), long + 1_000));
    assert_eq!(row.connected_for_milliseconds, 3_000, "since it connected");

    // Connections: one that was shorter than the earlier ones.
    let eve = bench.monitor.connect("eve", "app").unwrap();
    bench.advance(1_001);
    bench.monitor.disconnect(eve).unwrap();
    let connections = bench.stats().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (1, 1, 2));
    assert_eq!(shown(&connections.closed_milliseconds), latency((1, 1_001), [1_001; 7]));
    assert_eq!((connections.connects_last_minute, connections.disconnects_last_minute), (1, 1));
    let app = &connections.applications[1];
    assert_eq!((app.total, app.active), (1, 1));

    // A second reset removes everything.
    bench.monitor.reset();
    let stats = bench.stats();
    assert_eq!(
        (stats.resets, stats.messages.as_ref().unwrap().totals.total, stats.connections.peak),
        (2, 0, 1)
    );
    bench.monitor.record(&offer("", took(5)));
    assert_eq!(shown(&bench.stats().messages.as_ref().unwrap().totals.latency), latency((1, 5), [5; 7]));
}

/// The figures in which each message counts once.
fn each(stats: &MonitorStats) -> Vec<u64> {
    let messages = stats.messages.as_ref().unwrap();
    let mut counts = vec![
        messages.totals.total,
        messages.totals.latency.count,
        messages.totals.queue_wait.count,
        messages.totals.bytes_in,
        messages.totals.slow,
        messages.windows.last_minute.latency.count,
        messages.windows.last_day.latency.count,
        messages.buckets.iter().map(|bucket| bucket.count).sum(),
        stats.slow_messages.as_ref().unwrap().total,
        stats.clients.as_ref().unwrap().by_messages.iter().map(|client| client.messages).sum(),
    ];
    for series in [
        &stats.types.as_ref().unwrap()[1],
        &stats.protocols.as_ref().unwrap()[1],
        &stats.applications.as_ref().unwrap()[1],
    ] {
        counts.extend([
            series.totals.total,
            series.totals.latency.count,
            series.totals.bytes,
            series.totals.slow,
        ]);
    }
    counts
}

#[test]
fn each_message_counts_before_or_after_a_reset_that_comes_in_between() {
    const THREADS: u64 = 4;
    const MESSAGES: u64 = 20_000;
    let bench = Bench::new(&[("max_recorders", "2"), ("slow_message_threshold_ms", "1")]);
    // `begun` counts a message before any part of it is recorded, `done` after all of it is.
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut fewest, mut most) = (0, 0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (monitor, begun, done) = (bench.monitor.clone(), &begun, &done);
            scope.spawn(move || {
                let name = format!("client {thread}");
                let client = monitor.connect(&name, "app").unwrap();
                let mut recorder = (thread < 3).then(|| monitor.recorder());
                let labels = monitor.labels("peerjs", "OFFER", "app");
                // Each message counts one: one byte, and slow.
                let measured = Measured { bytes: 1, ..took(2 * MILLISECOND) };
                for _ in 0..MESSAGES {
                    begun.fetch_add(1, Ordering::SeqCst);
                    match &mut recorder {
                        Some(recorder) => recorder.record(labels, Some(client), measured),
                        None => monitor.record(&offer(&name, measured)),
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for quarter in 1..=3 {
            while done.load(Ordering::SeqCst) < quarter * THREADS * MESSAGES / 4 {
                std::thread::yield_now();
            }
            fewest = done.load(Ordering::SeqCst);
            bench.monitor.reset();
            most = begun.load(Ordering::SeqCst);
            let stats = bench.stats();
            assert_eq!(stats.resets, quarter);
            let text = serde_json::to_string(&stats).unwrap();
            let parts = text.split(|character: char| !character.is_ascii_digit());
            let mut numbers = parts.filter_map(|digits| digits.parse::<u64>().ok());
            assert!(numbers.all(|number| number < 1 << 63), "a count is below zero: {text}");
        }
    });
    let stats = bench.stats();
    let (after_at_least, after_at_most) = (THREADS * MESSAGES - most, THREADS * MESSAGES - fewest);
    for (place, count) in each(&stats).into_iter().enumerate() {
        assert!(
            (after_at_least..=after_at_most).contains(&count),
            "figure {place}: {count}, of {after_at_least} to {after_at_most}"
        );
    }
    let totals = &stats.messages.as_ref().unwrap().totals;
    assert_eq!(totals.succeeded, totals.total);
    // The threads may record all the rest between the collection and the next epoch, in which the largest value of this
    // rest is unknown. The bound of its cell then stands for it.
    let maximum = totals.latency.maximum.unwrap_or(2 * MILLISECOND);
    let at_most = if after_at_least > THREADS { 2 * MILLISECOND } else { 2 * MILLISECOND * 10_313 / 10_000 };
    assert!((2 * MILLISECOND..=at_most).contains(&maximum), "{maximum}, at most {at_most}");
    // A reset reads counts before times, so it may take a message's time away without its count, but never its count
    // without its time.
    for latency in [&totals.latency, &totals.queue_wait] {
        assert!(latency.count <= totals.total, "{} of {}", latency.count, totals.total);
        assert_eq!(latency.distribution.count(), latency.count);
    }
    // With no thread recording, the reset is exact: all messages count before it.
    bench.monitor.reset();
    assert_eq!(each(&bench.stats()), vec![0; 22]);
    bench.monitor.record(&offer("client 0", Measured { bytes: 1, ..took(2 * MILLISECOND) }));
    assert_eq!(each(&bench.stats()), vec![1; 22]);
}

/// The numbers of the epochs of clients' figures repeat after 4,095 epochs.
#[test]
fn no_number_of_resets_brings_old_figures_back() {
    let bench = Bench::new(&[
        ("max_recorded_clients", "4"),
        ("max_windowed_series", "4"),
        ("max_recorded_types", "1"),
    ]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.monitor.record(&offer("ann", Measured { bytes: 9, ..took(7) }));
    bench.monitor.record_sent(ann, 5).unwrap();
    for reset in 1..=8_192 {
        let before = bench.monitor.reset_and_show().clients;
        let lists = before.as_ref().unwrap().by_messages.len() + before.as_ref().unwrap().by_bytes_out.len();
        assert_eq!(lists, if reset == 1 { 2 } else { 0 }, "before reset {reset}");
    }
    // The figures continue to count.
    bench.monitor.record(&offer("ann", Measured { bytes: 2, ..took(7) }));
    let row = bench.stats().clients.unwrap().by_messages.remove(0);
    assert_eq!((row.messages, row.bytes_in, row.bytes_out), (1, 2, 0));
}
