//! Distributions as HdrHistogram interval logs: the crate's own reader finds what was recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::Clock;
use corelane::config::Config;
use corelane::monitor::{Monitor, Span};
use corelane::record::{Measured, RecordedMessage};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::time::Duration;

/// The intervals of a log: start and length in milliseconds, and the histogram.
fn read(log: &str) -> Vec<(u64, u64, Histogram<u64>)> {
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let bytes =
                base64::Engine::decode(&base64::prelude::BASE64_STANDARD, interval.encoded_histogram());
            let histogram = Deserializer::new().deserialize(&mut bytes.unwrap().as_slice()).unwrap();
            let milliseconds = |time: Duration| time.as_millis() as u64;
            intervals.push((
                milliseconds(interval.start_timestamp()),
                milliseconds(interval.duration()),
                histogram,
            ));
        }
    }
    intervals
}

fn record(monitor: &Monitor, nanoseconds: u64, queue_wait: Duration) {
    monitor.record(&RecordedMessage {
        message_type: "offer",
        protocol: "sip",
        measured: Measured {
            processing: Duration::from_nanos(nanoseconds),
            queue_wait,
            ..Measured::default()
        },
        ..RecordedMessage::default()
    });
}

#[test]
fn every_value_is_in_its_interval() {
    let (clock, manual) = Clock::manual();
    let monitor = Monitor::with_clock(Config::default(), clock).unwrap();
    monitor.tick();
    for second in 1..=5u64 {
        manual.advance(Duration::from_secs(1));
        for value in 0..1000 * second {
            record(&monitor, 1 + value * 7_919, Duration::ZERO);
        }
        monitor.tick();
    }
    let intervals = read(&monitor.interval_log("types.sip/offer", Some(Span::Minute)).unwrap());
    let counts: Vec<_> =
        intervals.iter().map(|(.., histogram)| histogram.len()).filter(|len| *len > 0).collect();
    assert_eq!(counts, [1000, 2000, 3000, 4000, 5000]);
    let history = monitor.history("types.sip/offer", Span::Minute).unwrap();
    assert_eq!(history.slots.len(), intervals.len());
    for ((start, length, histogram), slot) in intervals.iter().zip(&history.slots) {
        assert_eq!((*start, start + length), (slot.start_milliseconds, slot.end_milliseconds));
        assert_eq!(histogram.len(), slot.latency.count);
        // The log has three digits, so its values are at most a thousandth above ours.
        let close = |theirs: u64, ours: Option<u64>| {
            let ours = ours.unwrap_or(0);
            assert!(theirs >= ours && theirs - ours <= ours / 1000 + 1, "{theirs} {ours}");
        };
        if slot.latency.count > 0 {
            close(histogram.value_at_quantile(0.99), slot.latency.p99);
            close(histogram.max(), slot.latency.maximum);
        }
    }
}

#[test]
fn without_a_span_there_is_one_interval_since_the_reset() {
    let (clock, manual) = Clock::manual();
    let monitor = Monitor::with_clock(Config::default(), clock).unwrap();
    record(&monitor, 1, Duration::ZERO);
    monitor.reset();
    manual.advance(Duration::from_secs(1));
    record(&monitor, 1_000_000, Duration::from_nanos(2_000_000));
    record(&monitor, 90_000_000_000, Duration::ZERO);
    for (name, count) in [
        ("messages", 2),
        ("protocols.sip", 2),
        ("types.sip/offer", 2),
        ("queue_wait", 2),
        ("held", 0),
        ("write", 0),
    ] {
        let intervals = read(&monitor.interval_log(name, None).unwrap());
        assert_eq!(intervals.len(), 1, "{name}");
        assert_eq!(intervals[0].2.len(), count, "{name}");
    }
    // A value beyond the last cell is the largest value itself, not the end of the cell.
    let largest = read(&monitor.interval_log("messages", None).unwrap())[0].2.max();
    assert!((90_000_000_000..90_100_000_000).contains(&largest), "{largest}");
}

#[test]
fn a_name_that_is_no_series_has_no_log() {
    let monitor = Monitor::new(Config::default()).unwrap();
    for name in ["", "types.sip/offer", "connections.active", "messages\n", "types.sip/offer.queue_wait"] {
        assert_eq!(monitor.interval_log(name, None), None, "{name}");
        assert_eq!(monitor.interval_log(name, Some(Span::Day)), None, "{name}");
    }
    assert_eq!(monitor.interval_log("held", Some(Span::Minute)), None);
}

#[test]
fn a_hostile_name_stays_in_its_line() {
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.record(&RecordedMessage {
        message_type: "a\n\"0.0\",1,1,HIST",
        protocol: "p",
        ..RecordedMessage::default()
    });
    monitor.tick();
    let names = monitor.history_names();
    let name = names.iter().find(|name| name.starts_with("types.")).unwrap();
    let log = monitor.interval_log(name, None).unwrap();
    assert_eq!(read(&log).len(), 1);
}
