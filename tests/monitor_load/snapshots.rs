//! Snapshots while threads record as fast as they can: the figures of a snapshot are consistent, and no figure
//! decreases.

use crate::support::PATIENCE;
use corelane::config::Config;
use corelane::monitor::{Monitor, MonitorStats, SeriesFigures};
use corelane::record::{Measured, RecordedMessage};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const TYPES: [&str; 3] = ["offer", "answer", "candidate"];
const SNAPSHOTS: usize = 300;

fn measured(number: u64) -> Measured {
    Measured {
        failed: number.is_multiple_of(5),
        reason: None,
        bytes: 10,
        queue_wait: Duration::from_nanos(number % 1_000),
        // Some messages in every named span, and some slow ones.
        processing: Duration::from_nanos((number % 10_000) * 1_000_000),
    }
}

/// Records until it is stopped: two threads with recorders, two through the monitor. Returns the number of messages.
fn record(monitor: &Monitor, thread: u64, stop: &AtomicBool) -> u64 {
    let mut recorder = thread.is_multiple_of(2).then(|| monitor.recorder());
    let clients = ["ann", "ben"].map(|name| monitor.client(name));
    let mut number = 0;
    while !stop.load(Relaxed) {
        let place = number as usize;
        let message_type = TYPES[place % 3];
        match &mut recorder {
            Some(recorder) => {
                let labels = recorder.labels("test", message_type, "app");
                recorder.record(labels, clients[place % 2], measured(number));
            }
            None => monitor.record(&RecordedMessage {
                client: ["ann", "ben"][place % 2],
                message_type,
                protocol: "test",
                application: "app",
                measured: measured(number),
            }),
        }
        number += 1;
    }
    number
}

/// Four threads that [`record`].
fn four_threads<'scope>(
    scope: &'scope Scope<'scope, '_>,
    monitor: &'scope Monitor,
    stop: &'scope AtomicBool,
) -> Vec<ScopedJoinHandle<'scope, u64>> {
    (0..4).map(|thread| scope.spawn(move || record(monitor, thread, stop))).collect()
}

/// Stops the recording threads when it is dropped, also if an assertion of the test fails, because the scope joins
/// them.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Calls `each` for every number in the value, with its path.
fn numbers(value: &serde_json::Value, way: &str, each: &mut dyn FnMut(&str, u64)) {
    match value {
        serde_json::Value::Number(number) => number.as_u64().into_iter().for_each(|number| each(way, number)),
        serde_json::Value::Array(all) => all.iter().for_each(|one| numbers(one, way, each)),
        serde_json::Value::Object(all) => {
            all.iter().for_each(|(name, one)| numbers(one, &format!("{way}.{name}"), each));
        }
        _ => {}
    }
}

/// Checks the consistency of one snapshot.
fn holds(stats: &MonitorStats) {
    let messages = stats.messages.as_ref().unwrap();
    assert_eq!(
        messages.totals.succeeded + messages.totals.failed + messages.totals.expired,
        messages.totals.total
    );
    let failed: u64 = messages.totals.failures.iter().map(|(_, count)| count).sum();
    assert_eq!(failed, messages.totals.failed + messages.totals.expired);
    // The part of a message that is counted last is read first: it may be missing, and is never ahead.
    assert!(messages.totals.total <= messages.totals.latency.count);
    assert!(messages.totals.slow <= messages.totals.latency.count);
    for latency in [&messages.totals.latency, &messages.totals.queue_wait] {
        assert_eq!(latency.count, latency.distribution.count());
        let ranks = [latency.minimum, latency.p50, latency.p90, latency.p99, latency.maximum];
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
    let buckets: u64 = messages.buckets.iter().map(|bucket| bucket.count).sum();
    assert_eq!(buckets, messages.totals.latency.count);
    for windows in [&messages.windows, &messages.queue_wait_windows] {
        for window in [&windows.last_minute, &windows.last_hour, &windows.last_day] {
            assert!(
                window.latency.count <= messages.totals.latency.count.max(messages.totals.queue_wait.count)
            );
            assert!(
                window.errors <= window.latency.count && window.slow <= window.latency.count,
                "{window:?}"
            );
        }
        // No message is an hour old.
        assert_eq!(windows.last_hour.latency.count, windows.last_day.latency.count);
    }
    assert_eq!(messages.windows.last_hour.latency.count, messages.totals.latency.count);
    for series in [&stats.types, &stats.protocols, &stats.applications].map(|series| series.as_ref().unwrap())
    {
        assert!(series.iter().all(|one| one.totals.succeeded + one.totals.failed == one.totals.total));
        assert!(
            series.iter().all(|one| one.totals.total <= one.totals.latency.count
                && one.totals.slow <= one.totals.latency.count)
        );
        assert!(series.iter().all(|one| one.totals.latency.count == one.totals.latency.distribution.count()));
    }
    let sum = |figure: fn(&SeriesFigures) -> u64| -> u64 { stats.types.iter().flatten().map(figure).sum() };
    assert_eq!(sum(|one| one.totals.total), messages.totals.total);
    assert_eq!(sum(|one| one.totals.bytes), messages.totals.bytes_in);
    assert_eq!(sum(|one| one.totals.latency.count), messages.totals.latency.count);
    for client in &stats.clients.as_ref().unwrap().by_messages {
        assert!(client.errors <= client.messages, "{client:?}");
    }
    let listed: u64 = stats.slow_messages.as_ref().unwrap().entries.iter().map(|entry| entry.count).sum();
    assert!(
        listed <= stats.slow_messages.as_ref().unwrap().total,
        "every listed message has been counted: {listed}"
    );
    numbers(&serde_json::to_value(stats).unwrap(), "", &mut |way, number| {
        assert!(number < 1 << 63, "{way} is {number}");
    });
}

/// The figures that never decrease.
fn grown(stats: &MonitorStats) -> Vec<u64> {
    let messages = stats.messages.as_ref().unwrap();
    let all = [
        messages.totals.total,
        messages.totals.succeeded,
        messages.totals.failed,
        messages.totals.slow,
        messages.totals.bytes_in,
    ];
    let counts = [
        messages.totals.latency.count,
        messages.totals.queue_wait.count,
        stats.slow_messages.as_ref().unwrap().total,
    ];
    let named = messages.buckets.iter().skip(1).map(|bucket| bucket.count);
    let series = [&stats.types, &stats.protocols, &stats.applications];
    let series = series
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|one| [one.totals.total, one.totals.failed, one.totals.latency.count]);
    all.into_iter().chain(counts).chain(named).chain(series).collect()
}

#[test]
fn no_snapshot_contradicts_itself_or_the_one_before() {
    let monitor = Monitor::new(Config::default()).unwrap();
    for name in ["ann", "ben"] {
        monitor.connect(name, "app").unwrap();
    }
    // Create all series, so that no series appears between two snapshots.
    for message_type in TYPES {
        monitor.labels("test", message_type, "app");
    }
    let stop = AtomicBool::new(false);
    let recorded: u64 = std::thread::scope(|scope| {
        let threads = four_threads(scope, &monitor, &stop);
        let end = AtEnd(&stop);
        let mut before = grown(&monitor.snapshot());
        let (mut number, mut progress) = (0_usize, 0);
        // The threads may get no processor for a while.
        let give_up = Instant::now() + PATIENCE;
        while number < SNAPSHOTS || progress == 0 {
            let stats = monitor.snapshot();
            holds(&stats);
            let now = grown(&stats);
            assert_eq!(before.len(), now.len());
            assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{before:?}\n{now:?}");
            progress += usize::from(before < now);
            before = now;
            if number.is_multiple_of(10) {
                monitor.tick();
            }
            number += 1;
            assert!(progress > 0 || Instant::now() < give_up, "no message was recorded meanwhile");
        }
        drop(end);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let stats = monitor.snapshot();
    holds(&stats);
    let messages = stats.messages.as_ref().unwrap();
    assert_eq!(
        (messages.totals.total, messages.totals.latency.count, messages.totals.queue_wait.count),
        (recorded, recorded, recorded)
    );
    assert_eq!(messages.totals.bytes_in, recorded * 10);
    let clients: u64 = stats.clients.as_ref().unwrap().by_messages.iter().map(|client| client.messages).sum();
    assert_eq!(clients, recorded);
}
