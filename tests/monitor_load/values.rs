//! 0, 1, 2^36 and the largest number, in every place where a host passes a number; for a duration, the largest
//! allowed one.

use corelane::clock::Clock;
use corelane::config::Config;
use corelane::monitor::{Format, Monitor};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::{Builder, Event};
use std::time::Duration;

const VALUES: [u64; 4] = [0, 1, 1 << 36, u64::MAX];

/// Longer durations are refused.
const LONGEST: u64 = (1 << 62) - 1;

/// The value as bytes and, up to the limit, as both durations.
fn measured(value: u64) -> Measured {
    let time = value.min(LONGEST);
    Measured {
        failed: false,
        reason: None,
        bytes: value,
        queue_wait: Duration::from_nanos(time),
        processing: Duration::from_nanos(time),
    }
}

fn message(value: u64) -> RecordedMessage<'static> {
    RecordedMessage {
        client: "ann",
        message_type: "type",
        protocol: "test",
        application: "app",
        measured: measured(value),
    }
}

#[test]
fn each_value_is_counted_and_none_harms_the_others() {
    let monitor = Monitor::new(Config::default()).unwrap();
    let mut recorder = monitor.recorder();
    let labels = recorder.labels("test", "type", "app");
    // Through the shared cells of two threads and through a recorder's own cells. Each sum exceeds 64 bits.
    for value in VALUES {
        monitor.record(&message(value));
        std::thread::scope(|scope| scope.spawn(|| monitor.record(&message(value))).join().unwrap());
        recorder.record(labels, recorder.client("ann"), measured(value));
    }
    for round in 0..2 {
        monitor.tick();
        let stats = monitor.snapshot();
        let messages = stats.messages.as_ref().unwrap();
        assert_eq!(
            (messages.totals.total, messages.totals.succeeded, messages.totals.slow),
            (12, 12, 6),
            "{round}"
        );
        for latency in [
            &messages.totals.latency,
            &messages.totals.queue_wait,
            &stats.types.as_ref().unwrap()[1].totals.latency,
        ] {
            assert_eq!((latency.count, latency.minimum, latency.maximum), (12, Some(0), Some(LONGEST)));
            // Cells are exact for small numbers. Beyond the last cell the percentile is the largest value.
            assert_eq!((latency.p50, latency.p99), (Some(1), Some(LONGEST)));
        }
        let buckets: Vec<_> = messages.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(buckets, [6, 0, 0, 0, 0, 0, 0, 0, 6]);
        let minute = &messages.windows.last_minute;
        assert_eq!((minute.latency.count, minute.overflows, minute.latency.maximum), (12, 6, Some(LONGEST)));
        assert_eq!((minute.latency.minimum, minute.latency.p50, minute.slow), (Some(0), Some(1), 6));
        let ann = &stats.clients.as_ref().unwrap().by_messages[0];
        assert_eq!((&*ann.name, ann.messages, ann.maximum_nanoseconds), ("ann", 12, 2 * LONGEST));
        let slowest =
            stats.slow_messages.as_ref().unwrap().entries.iter().map(|entry| entry.slowest_nanoseconds).max();
        assert_eq!((stats.slow_messages.as_ref().unwrap().total, slowest), (6, Some(2 * LONGEST)));
        for format in [Format::Json, Format::Text] {
            assert!(monitor.report(format).contains("type"));
        }
    }
    // A reset clears them like all other figures.
    monitor.reset();
    monitor.record(&message(1));
    let messages = monitor.snapshot().messages.unwrap();
    assert_eq!(
        (messages.totals.total, messages.totals.latency.maximum, messages.totals.latency.average),
        (1, Some(1), Some(1))
    );
    assert_eq!(
        (messages.totals.bytes_in, messages.totals.slow, messages.windows.last_hour.overflows),
        (1, 0, 0)
    );
    assert_eq!(messages.totals.latency.distribution.sum(), 1);
}

/// Once from each of four threads and once by a recorder: each sum fits into 64 bits, and the total does not.
#[test]
fn the_largest_number_once_from_each_thread() {
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.start().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut recorder = monitor.recorder();
                monitor.record(&message(u64::MAX));
                let labels = recorder.labels("test", "type", "app");
                recorder.record(labels, recorder.client("ann"), measured(u64::MAX));
            });
        }
    });
    monitor.tick();
    let messages = monitor.snapshot().messages.unwrap();
    assert_eq!((messages.totals.total, messages.totals.slow, messages.totals.latency.count), (8, 8, 8));
    assert_eq!(
        (messages.totals.latency.minimum, messages.totals.latency.p50),
        (Some(LONGEST), Some(LONGEST))
    );
    // Messages after the reset count as usual.
    monitor.reset();
    monitor.record(&message(10));
    let messages = monitor.snapshot().messages.unwrap();
    assert_eq!(
        (messages.totals.total, messages.totals.bytes_in, messages.totals.latency.average),
        (1, 10, Some(10))
    );
    monitor.stop(crate::support::PATIENCE);
}

#[test]
fn the_largest_number_of_bytes_written() {
    let monitor = Monitor::new(Config::default()).unwrap();
    let ann = monitor.connect("ann", "app").unwrap();
    for value in VALUES {
        monitor.record_sent(ann, value).unwrap();
        monitor.record_sent(ann, value).unwrap();
    }
    let stats = monitor.snapshot();
    assert_eq!(stats.clients.as_ref().unwrap().by_bytes_out[0].name, "ann");
    monitor.reset();
    monitor.record_sent(ann, u64::MAX).unwrap();
    monitor.reset();
    monitor.record_sent(ann, 7).unwrap();
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.bytes_out, 7);
}

/// Bytes of the same type in the cells of several threads, in addition to those of a router.
#[test]
fn the_largest_number_of_bytes_beside_a_router() {
    let clock = Clock::new();
    let (router, mut workers) = Builder::new(Config::default()).clock(clock.clone()).build().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
    port.submit(ann, br#"{"type":"OFFER","dst":"ann"}"#, 0).unwrap();
    port.publish();
    while workers.iter_mut().map(|worker| worker.cycle(clock.now())).sum::<usize>() > 0 {}
    let mut written = 0;
    port.poll_each(64, |event| {
        if let Event::Message(message) = event {
            written = message.payload.len() as u64;
        }
    })
    .unwrap();
    let host = monitor.connect("host", "app").unwrap();
    monitor.record_sent(host, u64::MAX).unwrap();
    for _ in 0..2 {
        let mut recorder = monitor.recorder();
        monitor.record(&message(u64::MAX));
        let labels = recorder.labels("test", "type", "app");
        recorder.record(labels, None, measured(u64::MAX));
    }
    assert!(written > 0 && router.stats().recorded.types[1].succeeded == 4);
    // Messages after the reset count as usual.
    monitor.reset();
    monitor.record_sent(host, 7).unwrap();
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.bytes_out, 7);
}
