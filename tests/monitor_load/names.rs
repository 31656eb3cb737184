//! 100,000 distinct names of each kind: as many series as are allowed, exact totals, and no memory for the rest.

use crate::counting::live_bytes;
use crate::support;
use corelane::config::Config;
use corelane::error::RecordConnectError;
use corelane::monitor::{Monitor, SeriesFigures};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::Builder;
use std::time::Duration;

const NAMES: u64 = 100_000;
const TYPES: u64 = 64;
const APPLICATIONS: u64 = 32;
const PROTOCOLS: u64 = 16;
const CLIENTS: u64 = 1_024;

fn record(monitor: &Monitor, number: u64) {
    monitor.record(&RecordedMessage {
        client: &format!("client {number}"),
        message_type: &format!("type {number}"),
        protocol: &format!("protocol {number}"),
        application: &format!("application {number}"),
        measured: Measured {
            failed: number.is_multiple_of(10),
            reason: None,
            bytes: number,
            queue_wait: Duration::from_nanos(7),
            processing: Duration::from_nanos(number * 10_000),
        },
    });
}

fn config() -> Config {
    support::config(&[
        ("max_recorded_types", TYPES),
        ("max_applications", APPLICATIONS),
        ("max_recorded_clients", CLIENTS),
    ])
}

/// Messages, failures, bytes and time of all series together.
fn sums(series: &[SeriesFigures]) -> [u64; 4] {
    let each = series
        .iter()
        .map(|one| [one.totals.total, one.totals.failed, one.totals.bytes, one.total_nanoseconds]);
    each.fold([0; 4], |sum, one| std::array::from_fn(|place| sum[place] + one[place]))
}

/// Checks that `own` series have their own name and one message each, and that `other` has the rest.
fn folds(series: &[SeriesFigures], own: u64) {
    assert_eq!(series.len() as u64, own + 1);
    assert_eq!((series[0].totals.name.as_str(), series[0].totals.total), ("other", NAMES - own));
    assert_eq!(series[0].totals.latency.count, NAMES - own);
    assert!(series[1..].iter().all(|one| one.totals.total == 1), "{own}");
    let bytes = NAMES * (NAMES - 1) / 2;
    assert_eq!(sums(series), [NAMES, NAMES / 10, bytes, bytes * 10_000]);
}

#[test]
fn names_without_end_fold_into_other_and_take_nothing() {
    let start = live_bytes();
    let (monitor, hands) = support::monitor(config());
    let tick = || {
        hands.advance(Duration::from_secs(1));
        monitor.tick();
    };
    // More names than fit, with windows, alerts, slow messages and a snapshot.
    let first = NAMES / 10;
    for number in 0..first {
        record(&monitor, number);
    }
    tick();
    drop(monitor.snapshot());
    tick();
    let filled = live_bytes();
    for number in first..NAMES {
        record(&monitor, number);
        if number.is_multiple_of(10_000) {
            tick();
            drop(monitor.snapshot());
        }
    }
    tick();
    drop(monitor.snapshot());
    // Each history grows by ten samples; the ninety thousand names take no memory.
    let grown = live_bytes() - filled;
    assert!(grown < 100_000, "{grown} bytes more");
    // The memory is within the budget that the configuration states. Only the parts of the budget that belong to a
    // monitor are counted.
    let most = Builder::new(config()).budget().unwrap().metrics + monitor.bytes_at_most();
    let taken = (live_bytes() - start) as u64;
    assert!(taken <= most, "{taken} bytes, of at most {most}");

    let stats = monitor.snapshot();
    folds(stats.types.as_ref().unwrap(), TYPES);
    folds(stats.applications.as_ref().unwrap(), APPLICATIONS);
    folds(stats.protocols.as_ref().unwrap(), PROTOCOLS);
    let messages = stats.messages.as_ref().unwrap();
    let bytes = NAMES * (NAMES - 1) / 2;
    assert_eq!(
        (messages.totals.total, messages.totals.failed, messages.totals.bytes_in),
        (NAMES, NAMES / 10, bytes)
    );
    assert_eq!((messages.totals.latency.count, messages.totals.queue_wait.count), (NAMES, NAMES));
    assert_eq!(messages.windows.last_minute.latency.count, NAMES);
    let folded = stats.folded;
    assert_eq!(
        [folded.types, folded.protocols, Some(folded.applications), folded.clients],
        [TYPES, PROTOCOLS, APPLICATIONS, CLIENTS].map(|own| Some(NAMES - own))
    );
    assert_eq!(stats.clients.as_ref().unwrap().tracked, CLIENTS);
    // There are 64 windows, two of them for all messages. The other series have none.
    let series = [&stats.types, &stats.protocols, &stats.applications].map(|series| series.iter().flatten());
    let windowed = series.into_iter().flatten().filter(|one| one.windows.is_some()).count() as u64;
    assert_eq!(windowed, 64 - 2);
    let all = TYPES + PROTOCOLS + APPLICATIONS + 3;
    assert_eq!(folded.windows, Some(all - windowed));
    // The monitor's size in the report is at most its actual size, and of the same magnitude.
    assert!(stats.monitor.bytes <= taken, "{} of {taken}", stats.monitor.bytes);
    drop(stats);
    drop(monitor);
    assert!(live_bytes() - start < 10_000, "{} bytes are left behind", live_bytes() - start);
}

#[test]
fn connects_past_the_limit_are_refused_and_counted_by_application_all_the_same() {
    let monitor = Monitor::new(config()).unwrap();
    let mut refused = 0;
    for number in 0..NAMES {
        match monitor.connect(&format!("client {number}"), &format!("application {number}")) {
            Ok(_) => assert!(number < CLIENTS),
            Err(error) => {
                assert!(matches!(error, RecordConnectError::TooManyClients { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, NAMES - CLIENTS);
    let stats = monitor.snapshot();
    let connections = &stats.connections;
    assert_eq!((connections.total, connections.active, connections.peak), (CLIENTS, CLIENTS, CLIENTS));
    let applications = &connections.applications;
    assert_eq!(applications.len() as u64, APPLICATIONS + 1);
    assert_eq!((applications[0].name.as_str(), applications[0].active), ("other", CLIENTS - APPLICATIONS));
    assert!(applications[1..].iter().all(|one| one.active == 1));
    assert_eq!(stats.folded.applications, NAMES - APPLICATIONS);
}

#[test]
fn names_past_the_limit_are_recorded_without_allocating() {
    let monitor = Monitor::new(config()).unwrap();
    (0..NAMES / 10).for_each(|number| record(&monitor, number));
    let message = RecordedMessage {
        client: "nobody's",
        message_type: "unheard of",
        protocol: "unheard of",
        application: "unheard of",
        measured: Measured::default(),
    };
    monitor.record(&message);
    let before = crate::counting::allocations();
    (0..10_000).for_each(|_| monitor.record(&message));
    assert_eq!(crate::counting::allocations() - before, 0);
    let stats = monitor.snapshot();
    assert_eq!(stats.types.as_ref().unwrap()[0].totals.total, NAMES / 10 - TYPES + 10_001);
    assert_eq!(stats.folded.clients, Some(NAMES / 10 - CLIENTS + 10_001));
}
