//! The monitor's figures, rows M1 and M3 to M10: a known input, and the exact value of each field. The clock is
//! manual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::Clock;
use corelane::config::Config;
use corelane::metrics::LatencyStats;
use corelane::monitor::{Monitor, MonitorStats, SeriesFigures, Span};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::Builder;
use std::time::Duration;

mod support;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

fn message(message_type: &str, processing_nanoseconds: u64) -> RecordedMessage<'_> {
    let measured = Measured { processing_nanoseconds, ..Measured::default() };
    RecordedMessage { protocol: "p", message_type, application: "app", client: "ann", measured }
}

fn one<'a>(series: &'a [SeriesFigures], name: &str) -> &'a SeriesFigures {
    series.iter().find(|one| one.totals.name == name).unwrap()
}

/// Count, average, minimum, maximum, P50, P90, P95, P99, P99.9.
fn all(latency: &LatencyStats) -> (u64, [Option<u64>; 8]) {
    let LatencyStats { count, average, minimum, maximum, p50, p90, p95, p99, p999, .. } = latency;
    (*count, [*average, *minimum, *maximum, *p50, *p90, *p95, *p99, *p999])
}

#[test]
fn m1_m4_m7_m10_each_count_of_recorded_messages() {
    let (monitor, hand) = support::monitor(Config::default());
    let empty = monitor.snapshot();
    assert_eq!(
        (empty.messages.as_ref().unwrap().totals.total, empty.messages.as_ref().unwrap().totals.success_rate),
        (0, None)
    );
    assert_eq!(all(&empty.messages.as_ref().unwrap().totals.latency), (0, [None; 8]));
    // Four messages of two types, two protocols, two applications; the last one fails.
    for (protocol, message_type, application, bytes, queue_wait, processing, failed) in [
        ("p", "offer", "app", 100, 10, 20, false),
        ("p", "offer", "app", 50, 30, 40, false),
        ("q", "bye", "other app", 7, 50, 60, false),
        ("p", "offer", "app", 1, 70, 30, true),
    ] {
        hand.advance(Duration::from_secs(1));
        monitor.record(&RecordedMessage {
            protocol,
            message_type,
            application,
            client: "ann",
            measured: Measured {
                failed,
                bytes,
                queue_wait_nanoseconds: queue_wait,
                processing_nanoseconds: processing,
            },
        });
    }
    let stats = monitor.snapshot();
    let messages = stats.messages.as_ref().unwrap();
    assert_eq!(
        (messages.totals.total, messages.totals.succeeded, messages.totals.failed, messages.totals.expired),
        (4, 3, 1, 0)
    );
    assert_eq!((messages.totals.success_rate, messages.totals.slow), (Some(0.75), 0));
    assert_eq!(messages.totals.failures.counted(), [("reported", 1)]);
    assert_eq!((messages.totals.bytes_in, messages.totals.bytes_out), (158, 0));
    let handled = [Some(37), Some(20), Some(60), Some(30), Some(60), Some(60), Some(60), Some(60)];
    assert_eq!(all(&messages.totals.latency), (4, handled));
    let waited = [Some(40), Some(10), Some(70), Some(30), Some(70), Some(70), Some(70), Some(70)];
    assert_eq!(all(&messages.totals.queue_wait), (4, waited));
    let offer = one(stats.types.as_ref().unwrap(), "offer");
    assert_eq!(
        (offer.totals.protocol.as_deref(), offer.totals.total, offer.totals.succeeded, offer.totals.failed),
        (Some("p"), 3, 2, 1)
    );
    assert_eq!((offer.totals.bytes, offer.totals.slow, offer.total_nanoseconds), (151, 0, 90));
    assert_eq!(offer.totals.failures.as_ref().unwrap().counted(), [("reported", 1)]);
    assert_eq!((offer.totals.latency.average, offer.totals.latency.maximum), (Some(30), Some(40)));
    assert_eq!(offer.totals.queue_wait.as_ref().unwrap().maximum, Some(70));
    // The manual clock's time of day starts at 1970 plus a nanosecond; the last offer was recorded at 1,004 s.
    assert_eq!(offer.last_processed_milliseconds, Some(1_004_000));
    assert_eq!(one(stats.types.as_ref().unwrap(), "bye").last_processed_milliseconds, Some(1_003_000));
    for (series, name, total, failed, bytes, time) in [
        (&stats.protocols, "p", 3, 1, 151, 90),
        (&stats.protocols, "q", 1, 0, 7, 60),
        (&stats.applications, "app", 3, 1, 151, 90),
        (&stats.applications, "other app", 1, 0, 7, 60),
    ] {
        let one = one(series.as_ref().unwrap(), name);
        assert_eq!(
            (one.totals.total, one.totals.failed, one.totals.bytes, one.total_nanoseconds),
            (total, failed, bytes, time)
        );
        assert_eq!((one.totals.succeeded, one.totals.latency.count), (total - failed, total));
        assert!(one.last_processed_milliseconds.is_some() && one.totals.queue_wait.is_none());
    }
}

#[test]
fn m1_every_way_to_record_counts_alike() {
    let (monitor, _) = support::monitor(Config::default().with_max_recorders(1).unwrap());
    let labels = monitor.labels("p", "offer", "app");
    let measured = Measured { bytes: 3, processing_nanoseconds: 5, ..Measured::default() };
    let (mut alone, mut sharing) = (monitor.recorder(), monitor.recorder());
    assert!(alone.is_alone() && !sharing.is_alone());
    monitor.record(&RecordedMessage { measured, ..message("offer", 0) });
    let ann = monitor.client("ann");
    assert!(ann.is_some() && alone.client("ann") == ann);
    monitor.record_labelled(labels, ann, measured);
    alone.record(labels, ann, measured);
    sharing.record(sharing.labels("p", "offer", "app"), ann, measured);
    drop(alone);
    // The cells of a dropped recorder continue to count under their next owner.
    let mut next = monitor.recorder();
    assert!(next.is_alone());
    next.record(labels, None, measured);
    let stats = monitor.snapshot();
    let offer = one(stats.types.as_ref().unwrap(), "offer");
    assert_eq!((offer.totals.total, offer.totals.bytes, offer.total_nanoseconds), (5, 15, 25));
    let ann = &stats.clients.as_ref().unwrap().by_messages[0];
    assert_eq!((ann.name.as_str(), ann.messages, ann.bytes_in), ("ann", 4, 12));
}

#[test]
fn m3_m5_the_named_spans_and_percentiles_are_exact() {
    let (monitor, _) = support::monitor(Config::default());
    let bounds = [1, 5, 10, 50, 100, 500, 1_000, 5_000].map(|milliseconds| milliseconds * MILLISECOND);
    for bound in bounds {
        monitor.record(&message("offer", bound - 1));
        monitor.record(&message("offer", bound));
    }
    monitor.record(&message("offer", 0));
    monitor.record(&message("offer", (1 << 62) - 1));
    let stats = monitor.snapshot();
    let buckets: Vec<_> =
        stats.messages.as_ref().unwrap().buckets.iter().map(|bucket| (&*bucket.name, bucket.count)).collect();
    let expected = [
        ("0-1ms", 2),
        ("1-5ms", 2),
        ("5-10ms", 2),
        ("10-50ms", 2),
        ("50-100ms", 2),
        ("100-500ms", 2),
        ("500ms-1s", 2),
        ("1s-5s", 2),
        ("5s+", 2),
    ];
    assert_eq!(buckets, expected);
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.latency.minimum,
            stats.messages.as_ref().unwrap().totals.latency.maximum
        ),
        (Some(0), Some((1 << 62) - 1))
    );
    // A thousand values from 0 to 31 ns, each of which has its own cell: percentiles are the exact ranks.
    let (monitor, _) = support::monitor(Config::default());
    for number in 0..1_000u64 {
        monitor.record(&message("offer", number * 32 / 1_000));
    }
    let latency = monitor.snapshot().messages.unwrap().totals.latency;
    let rank = |rank: u64| Some((rank - 1) * 32 / 1_000);
    let expected = [Some(15), Some(0), Some(31), rank(500), rank(900), rank(950), rank(990), rank(999)];
    assert_eq!(all(&latency), (1_000, expected));
}

#[test]
fn m6_slow_messages_are_counted_and_listed_and_alike_ones_folded() {
    let config = Config::default().with_slow_message_threshold(Duration::from_millis(10)).unwrap();
    let (monitor, hand) = support::monitor(config.with_slow_messages(3).unwrap());
    let slow = |message_type: &'static str, wait: u64, processing_nanoseconds: u64| RecordedMessage {
        measured: Measured {
            failed: message_type == "bye",
            bytes: 9,
            queue_wait_nanoseconds: wait,
            processing_nanoseconds,
        },
        ..message(message_type, 0)
    };
    // Exactly the threshold is not slow. Queue wait and service time are added.
    monitor.record(&slow("offer", 4 * MILLISECOND, 6 * MILLISECOND));
    assert_eq!(monitor.snapshot().slow_messages.as_ref().unwrap().entries, []);
    hand.advance(Duration::from_secs(1));
    monitor.record(&slow("offer", 4 * MILLISECOND, 6 * MILLISECOND + 1));
    hand.advance(Duration::from_secs(1));
    monitor.record(&slow("offer", 1, 20 * MILLISECOND));
    hand.advance(Duration::from_secs(1));
    monitor.record(&slow("bye", 2, 11 * MILLISECOND));
    let stats = monitor.snapshot();
    let listed = &stats.slow_messages;
    assert_eq!(
        (
            listed.as_ref().unwrap().threshold_nanoseconds,
            listed.as_ref().unwrap().total,
            listed.as_ref().unwrap().unlisted
        ),
        (10 * MILLISECOND, 3, 0)
    );
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.slow,
            one(stats.types.as_ref().unwrap(), "offer").totals.slow,
            one(stats.protocols.as_ref().unwrap(), "p").totals.slow
        ),
        (3, 2, 3)
    );
    assert_eq!(one(stats.applications.as_ref().unwrap(), "app").totals.slow, 3);
    let [bye, offer] = &listed.as_ref().unwrap().entries[..] else { panic!("two entries") };
    assert_eq!((bye.message_type.as_str(), bye.count, bye.succeeded), ("bye", 1, false));
    assert_eq!((offer.message_type.as_str(), offer.count, offer.succeeded), ("offer", 2, true));
    assert_eq!((offer.first_milliseconds, offer.last_milliseconds), (1_001_000, 1_002_000));
    assert_eq!(
        (offer.client.as_str(), offer.protocol.as_str(), offer.application.as_str()),
        ("ann", "p", "app")
    );
    assert_eq!((offer.worker, offer.bytes), (None, 9));
    assert_eq!((offer.queue_wait_nanoseconds, offer.service_nanoseconds), (1, 20 * MILLISECOND));
    assert_eq!(offer.slowest_nanoseconds, 20 * MILLISECOND + 1);
    // The threshold is changed at run time; the list keeps the last three kinds.
    monitor.set("slow_message_threshold_ms", "1").unwrap();
    for message_type in ["a", "b", "c"] {
        monitor.record(&slow(message_type, 0, 2 * MILLISECOND));
    }
    let listed = monitor.snapshot().slow_messages;
    let types: Vec<_> =
        listed.as_ref().unwrap().entries.iter().map(|entry| entry.message_type.as_str()).collect();
    assert_eq!((types, listed.as_ref().unwrap().total), (vec!["c", "b", "a"], 6));
    // More at once than a thread's buffer holds: they are still counted.
    for _ in 0..200 {
        monitor.record(&slow("a", 0, 2 * MILLISECOND));
    }
    let listed = monitor.snapshot().slow_messages;
    assert_eq!(
        (
            listed.as_ref().unwrap().total,
            listed.as_ref().unwrap().unlisted,
            listed.as_ref().unwrap().entries[0].count
        ),
        (206, 139, 65)
    );
}

#[test]
fn m6_a_routed_slow_message_names_its_worker_and_sender() {
    let (clock, hand) = Clock::manual();
    let config = Config::default()
        .with_workers(2)
        .and_then(|config| config.with_slow_message_threshold(Duration::from_millis(5)));
    let (router, mut workers) = Builder::new(config.unwrap()).clock(clock.clone()).build().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "my-app", 1).unwrap();
    port.connect("ben", "peerjs", "my-app", 2).unwrap();
    let offer = br#"{"type":"OFFER","dst":"ben","payload":1}"#;
    port.submit(ann, offer, 0).unwrap();
    port.publish();
    hand.advance(Duration::from_millis(6));
    workers.iter_mut().for_each(|worker| {
        worker.cycle(clock.raw());
    });
    let stats = monitor.snapshot();
    let [entry] = &stats.slow_messages.as_ref().unwrap().entries[..] else { panic!("one entry") };
    assert_eq!(
        (entry.client.as_str(), entry.protocol.as_str(), entry.message_type.as_str()),
        ("ann", "peerjs", "OFFER")
    );
    assert_eq!(
        (entry.application.as_str(), entry.bytes, entry.succeeded),
        ("my-app", offer.len() as u64, true)
    );
    assert_eq!((entry.queue_wait_nanoseconds, entry.service_nanoseconds), (6 * MILLISECOND, 0));
    assert!(entry.worker.is_some_and(|worker| worker < 2));
    assert_eq!(one(stats.types.as_ref().unwrap(), "OFFER").totals.slow, 1);
    let ann = stats.clients.as_ref().unwrap().by_messages.iter().find(|client| client.name == "ann").unwrap();
    assert_eq!(
        (ann.recorded, ann.protocol.as_deref(), ann.maximum_nanoseconds),
        (false, Some("peerjs"), 6 * MILLISECOND)
    );
}

#[test]
fn m8_windows_slide_by_time() {
    let (monitor, hand) = support::monitor(Config::default());
    // One message each second for two minutes, from 1 ns to 120 ns. Every tenth fails, every fortieth is slow.
    monitor.set("slow_message_threshold_ms", "1").unwrap();
    for number in 1..=120u64 {
        hand.advance(Duration::from_secs(1));
        let mut message = message("offer", if number % 40 == 0 { 2 * MILLISECOND } else { number });
        message.measured.failed = number % 10 == 0;
        message.measured.bytes = 2;
        monitor.record(&message);
        monitor.tick();
    }
    let stats = monitor.snapshot();
    let minute = &stats.messages.as_ref().unwrap().windows.last_minute;
    assert_eq!((minute.latency.count, minute.errors, minute.slow, minute.bytes), (60, 6, 2, 120));
    assert_eq!((minute.error_rate, minute.slow_rate), (Some(0.1), Some(2.0 / 60.0)));
    assert_eq!((minute.start_milliseconds, minute.end_milliseconds), (1_060_000, 1_120_000));
    assert_eq!(minute.throughput_per_second, Some(1.0));
    // 61 to 119 without 80, and 2 ms twice.
    let sum = (61..120).sum::<u64>() - 80 + 4 * MILLISECOND;
    assert_eq!((minute.total_nanoseconds, minute.latency.average), (sum, Some(sum / 60)));
    assert_eq!(
        (minute.latency.minimum, minute.latency.maximum, minute.overflows),
        (Some(61), Some(2 * MILLISECOND), 0)
    );
    // Of 60 sorted values the 30th is 91, the 54th 115, the 57th 118; cells are 2 ns wide there.
    assert_eq!(
        (minute.latency.p50, minute.latency.p90, minute.latency.p95),
        (Some(91), Some(115), Some(119))
    );
    assert_eq!((minute.latency.p99, minute.latency.p999), (Some(2 * MILLISECOND), Some(2 * MILLISECOND)));
    let hour = &stats.messages.as_ref().unwrap().windows.last_hour;
    assert_eq!((hour.latency.count, hour.errors, hour.slow, hour.latency.minimum), (120, 12, 3, Some(1)));
    assert_eq!((hour.throughput_per_second, hour.start_milliseconds), (Some(1.0), 1_000_000));
    assert_eq!(stats.messages.as_ref().unwrap().windows.last_day.latency.count, 120);
    for series in [&stats.types, &stats.protocols, &stats.applications].map(|series| series.as_ref().unwrap())
    {
        let name = ["offer", "p", "app"]
            .iter()
            .find(|name| series.iter().any(|one| one.totals.name == **name))
            .unwrap();
        let windows = one(series, name).windows.as_ref().unwrap();
        assert_eq!((windows.last_minute.latency.count, windows.last_minute.errors), (60, 6));
        assert_eq!((windows.last_hour.latency.count, windows.last_day.latency.count), (120, 120));
    }
    // A minute of silence empties the minute and not the hour; an hour of silence empties the hour.
    hand.advance(Duration::from_secs(61));
    monitor.tick();
    let windows = monitor.snapshot().messages.unwrap().windows;
    assert_eq!(
        (windows.last_minute.latency.count, windows.last_minute.latency.p99, windows.last_hour.latency.count),
        (0, None, 120)
    );
    hand.advance(Duration::from_secs(3_660));
    monitor.tick();
    let windows = monitor.snapshot().messages.unwrap().windows;
    assert_eq!((windows.last_hour.latency.count, windows.last_day.latency.count), (0, 120));
    hand.advance(Duration::from_secs(25 * 3_600));
    monitor.tick();
    let stats = monitor.snapshot();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().windows.last_day.latency.count,
            stats.messages.as_ref().unwrap().totals.total
        ),
        (0, 120)
    );
}

#[test]
fn m8_series_past_the_budget_have_no_windows_and_are_counted() {
    let config =
        Config::default().with_max_windowed_series(4).and_then(|config| config.with_max_recorded_types(2));
    let (monitor, _) = support::monitor(config.unwrap());
    for message_type in ["a", "b", "c", "c"] {
        let mut message = message(message_type, 1);
        (message.protocol, message.application) = ("", "");
        monitor.record(&message);
    }
    let stats = monitor.snapshot();
    // Two of the windows belong to the totals. The `other` types, protocols and applications come first in their
    // lists.
    let windowed = [&stats.types, &stats.protocols, &stats.applications]
        .iter()
        .flat_map(|series| series.iter().flatten())
        .filter(|one| one.windows.is_some())
        .count();
    assert_eq!((windowed, stats.folded.windows), (2, Some(3)));
    assert_eq!(
        (stats.folded.types.unwrap(), one(stats.types.as_ref().unwrap(), "other").totals.total),
        (2, 2)
    );
    assert_eq!(
        (
            one(stats.protocols.as_ref().unwrap(), "other").totals.total,
            one(stats.applications.as_ref().unwrap(), "other").totals.total
        ),
        (4, 4)
    );
    assert_eq!(stats.messages.as_ref().unwrap().windows.last_minute.latency.count, 4);
}

#[test]
fn p4_history_by_series_and_of_numbers() {
    let (monitor, hand) = support::monitor(Config::default());
    assert!(monitor.watch("messages.total") && monitor.watch("messages.total"));
    for second in 0..130u64 {
        hand.advance(Duration::from_secs(1));
        monitor.record(&message("offer", second));
        if second % 2 == 0 {
            monitor.record(&message("bye", 3));
        }
        monitor.tick();
    }
    let names = monitor.history_names();
    for name in ["messages", "queue_wait", "types.p/offer", "types.p/bye", "protocols.p", "applications.app"]
    {
        assert!(names.iter().any(|known| known == name), "{name}");
        let history = monitor.history(name, Span::Minute).unwrap();
        assert!(history.name == name && history.slots.len() >= 60 && history.points.is_empty());
    }
    let offers = monitor.history("types.p/offer", Span::Hour).unwrap().slots;
    let counts: Vec<_> = offers.iter().map(|slot| slot.latency.count).collect();
    assert_eq!(counts.iter().sum::<u64>(), 130);
    let first = &offers[0];
    assert_eq!((first.end_milliseconds - first.start_milliseconds, first.latency.count), (60_000, 60));
    assert_eq!((first.errors, first.slow, first.bytes, first.latency.average), (0, 0, 0, Some(29)));
    assert_eq!(
        (first.latency.p50, first.latency.p95, first.latency.p99, first.latency.maximum),
        (Some(29), Some(56), Some(59), Some(59))
    );
    assert!(!first.is_open && offers.last().unwrap().is_open);
    let all: u64 =
        monitor.history("messages", Span::Day).unwrap().slots.iter().map(|slot| slot.latency.count).sum();
    assert_eq!(all, 195);
    // One look every five seconds. A figure's history is found by its path in the report.
    let totals = monitor.history("messages.total", Span::Minute).unwrap().points;
    assert_eq!((totals.len(), totals[0].samples), (13, 1));
    let last = totals.last().unwrap();
    assert_eq!((last.minimum, last.maximum, last.average, last.last), (195.0, 195.0, Some(195.0), 195.0));
    assert!(
        monitor.history("connections.active", Span::Day).unwrap().points.iter().all(|one| one.last == 0.0)
    );
    assert_eq!(
        (monitor.history("no such", Span::Minute), monitor.history("types.p/none", Span::Day)),
        (None, None)
    );
}

fn counted(stats: &MonitorStats) -> [u64; 6] {
    let messages = stats.messages.as_ref().unwrap();
    let types = stats.types.iter().flatten().map(|one| one.totals.total).sum();
    [
        messages.totals.total,
        messages.totals.latency.count,
        messages.totals.bytes_in,
        messages.totals.slow,
        types,
        messages.windows.last_hour.latency.count,
    ]
}

#[test]
fn p3_a_reset_starts_everything_anew() {
    let (monitor, hand) = support::monitor(Config::default());
    let ann = monitor.connect("ann", "app").unwrap();
    let mut long = message("offer", 2 * SECOND);
    long.measured.bytes = 5;
    monitor.record(&long);
    monitor.record_sent(ann, 9).unwrap();
    let mut short = message("offer", 7);
    short.measured.failed = true;
    monitor.record(&short);
    hand.advance(Duration::from_secs(1));
    let before = monitor.reset_and_show();
    assert_eq!(counted(&before), [2, 2, 5, 1, 2, 2]);
    assert_eq!(
        (before.resets, before.since_milliseconds, before.messages.as_ref().unwrap().totals.latency.minimum),
        (0, 1_000_000, Some(7))
    );
    let after = monitor.snapshot();
    assert_eq!(counted(&after), [0; 6]);
    assert_eq!(
        (after.resets, after.since_milliseconds, after.messages.as_ref().unwrap().totals.success_rate),
        (1, 1_001_000, None)
    );
    assert_eq!(
        (
            all(&after.messages.as_ref().unwrap().totals.latency),
            after.slow_messages.as_ref().unwrap().entries.len()
        ),
        ((0, [None; 8]), 0)
    );
    assert_eq!((after.connections.total, after.connections.active, after.connections.peak), (0, 1, 1));
    assert!(
        after.messages.as_ref().unwrap().buckets.iter().all(|bucket| bucket.count == 0)
            && after.messages.as_ref().unwrap().totals.failures.counted().is_empty()
    );
    assert!(
        after.clients.as_ref().unwrap().by_messages.is_empty()
            && after.clients.as_ref().unwrap().by_bytes_out.is_empty()
    );
    // The time of the last message stays: it shows how long there has been none.
    assert_eq!(one(after.types.as_ref().unwrap(), "offer").last_processed_milliseconds, Some(1_000_000));
    // After the reset only new messages count, extremes included.
    monitor.record(&message("offer", 9));
    monitor.record_sent(ann, 4).unwrap();
    let then = monitor.snapshot();
    assert_eq!(counted(&then), [1, 1, 0, 0, 1, 1]);
    assert_eq!(
        (
            then.messages.as_ref().unwrap().totals.latency.minimum,
            then.messages.as_ref().unwrap().totals.latency.maximum
        ),
        (Some(9), Some(9))
    );
    assert_eq!(
        (
            then.clients.as_ref().unwrap().by_messages[0].messages,
            then.clients.as_ref().unwrap().by_messages[0].bytes_out
        ),
        (1, 4)
    );
    assert_eq!(then.clients.as_ref().unwrap().by_messages[0].maximum_nanoseconds, 9);
}

#[test]
fn detail_is_switched_off_and_on_while_it_runs() {
    let (monitor, _) = support::monitor(Config::default());
    monitor.record(&message("offer", 1));
    monitor.set("detailed_stats", "off").unwrap();
    monitor.record(&message("offer", 1));
    monitor.record(&message("bye", 1));
    let stats = monitor.snapshot();
    assert_eq!((stats.messages.as_ref().unwrap().totals.total, stats.clients.is_none()), (3, true));
    assert!(
        one(stats.types.as_ref().unwrap(), "offer").windows.is_some()
            == one(stats.types.as_ref().unwrap(), "bye").windows.is_some()
    );
    monitor.set("detailed_stats", "on").unwrap();
    monitor.record(&message("bye", 1));
    let stats = monitor.snapshot();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.clients.as_ref().unwrap().by_messages[0].messages
        ),
        (4, 2)
    );
    assert!(one(stats.types.as_ref().unwrap(), "bye").windows.is_some());
    for (key, value, part) in [
        ("workers", "2", "while the monitor runs: monitor_interval_ms"),
        ("monitor_interval_ms", "1", "100 to 3600000"),
        ("high_error_rate_threshold", "1.5", "0 to 1"),
        ("no_such_key", "1", "monitor_interval_ms"),
    ] {
        let text = monitor.set(key, value).unwrap_err().to_string();
        assert!(text.contains(part), "{key}: {text}");
    }
    let (monitor, _) = support::monitor(Config::default().with_detailed_stats(false).unwrap());
    monitor.record(&message("offer", 1));
    let stats = monitor.snapshot();
    assert_eq!((stats.messages.as_ref().unwrap().totals.total, stats.clients.is_none()), (1, true));
    assert!(
        one(stats.types.as_ref().unwrap(), "offer").windows.is_none()
            && monitor.set("detailed_stats", "on").is_err()
    );
}
