//! Checks the monitor's windows and percentiles against an oracle that keeps every message and sorts: 64,000 figures
//! of windows as time advances, and 7,650 percentiles. Rows M5 and M8. The clock is manual and the messages are
//! random with a fixed seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::ManualClock;
use corelane::metrics::LatencyStats;
use corelane::monitor::{Monitor, WindowStats};
use corelane::record::{Measured, RecordedMessage};
use std::time::Duration;

mod support;
use support::random::Random;

/// The threshold above which a message is slow, in nanoseconds.
const SLOW: u64 = 50_000_000;

/// Small and large values with equal frequency, from 1 to almost 2^36.
fn nanoseconds(random: &mut Random) -> u64 {
    let bits = random.below(36);
    (1 << bits) + random.below(1 << bits)
}

/// One message as the oracle keeps it.
#[derive(Clone, Copy)]
struct Kept {
    /// The second at whose end the message was collected.
    second: u64,
    offer: bool,
    measured: Measured,
}

fn bench(retention_hours: &str) -> (Monitor, ManualClock) {
    support::monitor(support::config_of(&[
        ("slow_message_threshold_ms", "50"),
        ("stats_retention_hours", retention_hours),
        // Looks take time, and another test covers them.
        ("monitor_interval_ms", "3600000"),
        ("max_windowed_series", "8"),
        ("max_recorded_clients", "0"),
    ]))
}

fn sorted(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

/// The nearest-rank percentile: the smallest value that `per_mille` of a thousand values do not exceed.
fn ranked(sorted: &[u64], per_mille: usize) -> u64 {
    sorted[(sorted.len() * per_mille).div_ceil(1_000).max(1) - 1]
}

/// Whether a figure is at least the true value and at most one cell above it. A cell is 1 / `parts` of the value
/// wide.
fn is_near(figure: Option<u64>, value: u64, parts: u64) -> bool {
    figure.is_some_and(|figure| (value..=value + value / parts).contains(&figure))
}

/// Compares a window with the messages that belong to it. Returns the number of compared figures.
fn check_window(window: &WindowStats, kept: &[Kept], waits: bool, parts: u64) -> usize {
    let time = |one: &Kept| {
        let measured = one.measured;
        (if waits { measured.queue_wait } else { measured.processing }).as_nanos() as u64
    };
    let values = sorted(kept.iter().map(time));
    let count = kept.len() as u64;
    let of = |is: fn(&Kept) -> bool| kept.iter().filter(|one| is(one)).count() as u64;
    let errors = of(|one| one.measured.failed);
    let slow = of(|one| (one.measured.queue_wait + one.measured.processing).as_nanos() as u64 > SLOW);
    let bytes = kept.iter().map(|one| one.measured.bytes).sum::<u64>();
    assert_eq!(
        (window.latency.count, window.errors, window.slow, window.bytes),
        (count, errors, slow, bytes)
    );
    let sum = values.iter().sum::<u64>();
    assert_eq!((window.total_nanoseconds, window.latency.average), (sum, sum.checked_div(count)));
    let rate = |part: u64| (count > 0).then(|| part as f64 / count as f64);
    assert_eq!((window.error_rate, window.slow_rate), (rate(errors), rate(slow)));
    let percentiles = [
        (500, window.latency.p50),
        (900, window.latency.p90),
        (950, window.latency.p95),
        (990, window.latency.p99),
        (999, window.latency.p999),
        (1_000, window.latency.maximum),
    ];
    for (per_mille, figure) in percentiles {
        match values.is_empty() {
            true => assert_eq!(figure, None),
            false => {
                let value = ranked(&values, per_mille);
                assert!(is_near(figure, value, parts), "{per_mille}: {figure:?}, expected {value}");
            }
        }
    }
    match (window.latency.minimum, values.first()) {
        (Some(minimum), Some(least)) => assert!(minimum <= *least && is_near(Some(*least), minimum, parts)),
        (minimum, least) => assert_eq!((minimum, least), (None, None)),
    }
    15
}

#[test]
fn windows_are_what_was_recorded_in_them() {
    let (monitor, hands) = bench("1");
    let (mut random, mut kept, mut checks) = (Random(7), Vec::new(), 0);
    for second in 1..=7_200u64 {
        // Occasionally no message for some minutes, and occasionally a burst.
        let count = match second / 120 % 7 {
            3 => 0,
            5 => random.below(9),
            _ => random.below(3),
        };
        for _ in 0..count {
            let measured = Measured {
                failed: random.below(5) == 0,
                reason: None,
                bytes: random.below(1_000),
                queue_wait: Duration::from_nanos(nanoseconds(&mut random)),
                processing: Duration::from_nanos(nanoseconds(&mut random)),
            };
            let offer = random.below(2) == 0;
            let message_type = if offer { "OFFER" } else { "ANSWER" };
            monitor.record(&RecordedMessage {
                message_type,
                protocol: "p",
                measured,
                ..RecordedMessage::default()
            });
            kept.push(Kept { second, offer, measured });
        }
        hands.advance(Duration::from_secs(1));
        monitor.tick();
        if second % 14 != 0 {
            continue;
        }
        let stats = monitor.snapshot();
        let offers = stats.types.iter().flatten().find(|one| one.totals.name == "OFFER");
        // A slot leaves a window of `length` after the slot's end. Slots last a second, a minute or a quarter of an
        // hour.
        for (slot, length) in [(1, 60), (60, 3_600), (900, 3_600)] {
            let is_in = |one: &&Kept| one.second.div_ceil(slot) * slot + length > second;
            let all: Vec<_> = kept.iter().filter(is_in).copied().collect();
            let its: Vec<_> = all.iter().filter(|one| one.offer).copied().collect();
            let of = |windows: &corelane::monitor::Windowed| match (slot, length) {
                (1, _) => windows.last_minute.clone(),
                (60, _) => windows.last_hour.clone(),
                _ => windows.last_day.clone(),
            };
            let parts = if slot == 900 { 8 } else { 32 };
            checks += check_window(&of(&stats.messages.as_ref().unwrap().windows), &all, false, parts);
            checks +=
                check_window(&of(&stats.messages.as_ref().unwrap().queue_wait_windows), &all, true, parts);
            if let Some(windows) = offers.and_then(|offers| offers.windows.as_ref()) {
                checks += check_window(&of(windows), &its, false, parts);
            }
        }
    }
    assert!(checks > 64_000, "{checks}");
}

/// Compares a distribution with its values. Returns the number of compared percentiles.
fn check_percentiles(latency: &LatencyStats, values: &[u64]) -> usize {
    let count = values.len() as u64;
    let average = values.iter().sum::<u64>() / count;
    assert_eq!((latency.count, latency.average), (count, Some(average)));
    assert_eq!((latency.minimum, latency.maximum), (values.first().copied(), values.last().copied()));
    let all =
        [(500, latency.p50), (900, latency.p90), (950, latency.p95), (990, latency.p99), (999, latency.p999)];
    for (per_mille, figure) in all {
        let value = ranked(values, per_mille);
        assert!(
            is_near(figure, value, 32) && figure <= latency.maximum,
            "{per_mille}: {figure:?}, expected {value}"
        );
    }
    all.len()
}

#[test]
fn percentiles_are_the_sorted_ranks() {
    let (monitor, _) = bench("1");
    let (mut random, mut checks) = (Random(11), 0);
    for round in 0..765 {
        monitor.reset();
        let count = 1 + random.below(if round % 10 == 0 { 1_500 } else { 120 });
        let mut values = Vec::new();
        for _ in 0..count {
            // Some rounds have few distinct values, each many times.
            let value = if round % 3 == 0 { 1 << random.below(20) } else { nanoseconds(&mut random) };
            let measured = Measured {
                processing: Duration::from_nanos(value),
                queue_wait: Duration::from_nanos(value / 3),
                ..Measured::default()
            };
            monitor.record(&RecordedMessage {
                message_type: "OFFER",
                measured,
                ..RecordedMessage::default()
            });
            values.push(value);
        }
        let messages = monitor.snapshot().messages.unwrap();
        checks += check_percentiles(&messages.totals.latency, &sorted(values.iter().copied()));
        checks +=
            check_percentiles(&messages.totals.queue_wait, &sorted(values.iter().map(|value| value / 3)));
    }
    assert_eq!(checks, 7_650);
}
