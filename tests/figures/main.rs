//! Every figure of the monitor from a known input, to the exact number, with a manual clock: rows M1 to M10, C1 to
//! C6, P3 and P4. Figures are compared in their JSON form, so a field that is added without an expected value here
//! fails the test.
//!
//! | file | rows |
//! |---|---|
//! | `messages` | M1, M3, M4, M5, M7, M10 |
//! | `slow` | M6 |
//! | `windows` | M8, P4 |
//! | `clients`, `recorders` | M9, C6 |
//! | `losers` | M9: what clients lose, with a router |
//! | `connections` | C1 to C5 |
//! | `routed` | M2, M6 and M9 with a router |
//! | `reset`, `settings` | P3, and changes at run time |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod clients;
mod connections;
mod losers;
mod messages;
mod recorders;
mod reset;
mod routed;
mod settings;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod windows;

use corelane::clock::ManualClock;
use corelane::monitor::{Monitor, MonitorStats};
use corelane::record::{Measured, RecordedMessage};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
/// The time of day at which each test begins, in milliseconds.
const START: u64 = 1_000_000;

/// A monitor without a router, and its manual clock.
struct Bench {
    monitor: Monitor,
    hands: ManualClock,
}

impl Bench {
    fn new(set: &[(&str, &str)]) -> Self {
        let (monitor, hands) = support::monitor(support::config_of(set));
        Self { monitor, hands }
    }

    fn advance(&self, milliseconds: u64) {
        self.hands.advance(Duration::from_millis(milliseconds));
    }

    /// Advances second by second, with a tick after each, as the monitor's thread does.
    fn run(&self, seconds: u64) {
        for _ in 0..seconds {
            self.advance(1_000);
            self.monitor.tick();
        }
    }

    fn stats(&self) -> MonitorStats {
        self.monitor.snapshot()
    }
}

/// The measurements of a successful message.
fn took(nanoseconds: u64) -> Measured {
    Measured { processing: Duration::from_nanos(nanoseconds), ..Measured::default() }
}

/// A message of type OFFER and application app.
fn offer(client: &str, measured: Measured) -> RecordedMessage<'_> {
    RecordedMessage { client, message_type: "OFFER", protocol: "peerjs", application: "app", measured }
}

fn shown(figures: &impl Serialize) -> Value {
    serde_json::to_value(figures).unwrap()
}

/// Count and average; minimum, maximum, and the percentiles from P50 to P99.9.
fn latency((count, average): (u64, u64), [minimum, maximum, p50, p90, p95, p99, p999]: [u64; 7]) -> Value {
    json!({
        "count": count, "average": average, "minimum": minimum, "maximum": maximum,
        "p50": p50, "p90": p90, "p95": p95, "p99": p99, "p999": p999,
    })
}

/// Failures by reason: the given counts, and 0 for every other reason.
fn failures(counted: &[(&str, u64)]) -> Value {
    let reasons = corelane::error::Failed::ALL.iter().map(|reason| reason.label());
    let of = |reason| counted.iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| *count);
    reasons.map(|reason| (reason.to_owned(), json!(of(reason)))).collect::<serde_json::Map<_, _>>().into()
}

fn no_latency() -> Value {
    json!({
        "count": 0, "average": null, "minimum": null, "maximum": null,
        "p50": null, "p90": null, "p95": null, "p99": null, "p999": null,
    })
}

/// The counts of a window, without its values.
#[derive(Clone, Copy, Default)]
struct Counted {
    count: u64,
    errors: u64,
    slow: u64,
    bytes: u64,
    sum: u64,
    overflows: u64,
}

/// A window between two times in milliseconds after [`START`]. Its values are in the order of [`latency`].
fn window((from, until): (u64, u64), counted: Counted, values: [u64; 7]) -> Value {
    let Counted { count, errors, slow, bytes, sum, overflows } = counted;
    let seconds = (until - from) as f64 / 1e3;
    let rate = |part: u64| (count > 0).then(|| part as f64 / count as f64);
    let [minimum, maximum, p50, p90, p95, p99, p999] = values.map(|value| (count > 0).then_some(value));
    json!({
        "start_milliseconds": START + from, "end_milliseconds": START + until,
        "count": count, "errors": errors, "error_rate": rate(errors), "slow": slow, "slow_rate": rate(slow),
        "bytes": bytes, "total_nanoseconds": sum, "average": sum.checked_div(count),
        "minimum": minimum, "maximum": maximum,
        "p50": p50, "p90": p90, "p95": p95, "p99": p99, "p999": p999, "overflows": overflows,
        "throughput_per_second": (seconds > 0.0).then(|| count as f64 / seconds),
    })
}

fn no_window(period: (u64, u64)) -> Value {
    window(period, Counted::default(), [0; 7])
}

/// The same figures in each of the three windows.
fn all_windows(window: &Value) -> Value {
    json!({ "last_minute": window, "last_hour": window, "last_day": window })
}

/// Counts by named span, shortest first.
fn buckets(counts: [u64; 9]) -> Value {
    let names = ["0-1ms", "1-5ms", "5-10ms", "10-50ms", "50-100ms", "100-500ms", "500ms-1s", "1s-5s", "5s+"];
    names.iter().zip(counts).map(|(name, count)| json!({ "name": name, "count": count })).collect()
}
