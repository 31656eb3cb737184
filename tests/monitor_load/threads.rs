//! 64 threads that start, record in every way, and end: exact totals, however few recorders there are.

use corelane::config::Config;
use corelane::monitor::{Monitor, MonitorStats};
use corelane::record::{Measured, RecordedMessage};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::Duration;

const THREADS: u64 = 64;
/// The number of messages of each thread in each way.
const MESSAGES: u64 = 500;
const RECORDERS: usize = 8;
const MILLISECOND: u64 = 1_000_000;

/// The message with index `number` that a thread records.
fn nth(thread: u64, number: u64) -> (String, String, String, String, Measured) {
    let measured = Measured {
        failed: (thread + number).is_multiple_of(4),
        reason: None,
        bytes: 100 + number,
        queue_wait: Duration::from_nanos(number * 1_000),
        // From zero to 12 s, so that every named span has some.
        processing: Duration::from_nanos((number * number * 50) * (thread + 1) * 15),
    };
    let name = |kind: &str, count: u64| format!("{kind}{}", (thread + number) % count);
    (name("type", 5), name("protocol", 2), name("app", 3), name("client", 7), measured)
}

/// The expected figures of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    total: u64,
    failed: u64,
    slow: u64,
    bytes: u64,
    nanoseconds: u64,
    waited: u64,
    maximum: u64,
}

impl Sum {
    fn add(&mut self, measured: Measured) {
        let (waited, took) = (measured.queue_wait.as_nanos() as u64, measured.processing.as_nanos() as u64);
        let taken = waited + took;
        self.total += 1;
        self.failed += u64::from(measured.failed);
        self.slow += u64::from(taken > 1_000 * MILLISECOND);
        self.bytes += measured.bytes;
        self.nanoseconds += took;
        self.waited += waited;
        self.maximum = self.maximum.max(taken);
    }
}

/// The expected figures by type, protocol, application and client, and by named span.
#[derive(Debug, Default)]
struct Model {
    all: Sum,
    by_name: [BTreeMap<String, Sum>; 4],
    spans: [u64; 9],
}

impl Model {
    fn of(waves: u64) -> Self {
        let mut model = Self::default();
        // Each thread records each message in two ways.
        let messages = (0..THREADS).flat_map(|thread| (0..MESSAGES).map(move |number| nth(thread, number)));
        for (message_type, protocol, application, client, measured) in messages {
            for _ in 0..2 * waves {
                model.all.add(measured);
                let names = [&message_type, &protocol, &application, &client];
                for (sums, name) in model.by_name.iter_mut().zip(names) {
                    sums.entry(name.clone()).or_default().add(measured);
                }
                let above = [1, 5, 10, 50, 100, 500, 1_000, 5_000];
                let span =
                    above.iter().filter(|from| measured.processing >= Duration::from_millis(**from)).count();
                model.spans[span] += 1;
            }
        }
        model
    }

    /// Checks all figures. A client's figures may miss `missed` messages.
    fn check(&self, stats: &MonitorStats, missed: u64) {
        let Self { all, by_name: [types, protocols, applications, clients], spans } = self;
        let messages = stats.messages.as_ref().unwrap();
        assert_eq!(
            (messages.totals.total, messages.totals.failed, messages.totals.expired),
            (all.total, all.failed, 0)
        );
        assert_eq!((messages.totals.succeeded, messages.totals.slow), (all.total - all.failed, all.slow));
        assert_eq!((messages.totals.bytes_in, messages.totals.latency.count), (all.bytes, all.total));
        assert_eq!(messages.totals.latency.distribution.sum(), all.nanoseconds);
        assert_eq!(messages.totals.queue_wait.count, all.total);
        assert_eq!(messages.totals.queue_wait.distribution.sum(), all.waited);
        assert_eq!(messages.totals.failures.counted(), [("reported", all.failed)]);
        let buckets: Vec<_> = messages.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(buckets, spans);
        assert!(spans.iter().all(|count| *count > 0), "a span without messages: {spans:?}");
        let windows = &messages.windows;
        for window in [&windows.last_minute, &windows.last_hour, &windows.last_day] {
            assert_eq!((window.latency.count, window.errors, window.slow), (all.total, all.failed, all.slow));
            assert_eq!((window.bytes, window.total_nanoseconds), (all.bytes, all.nanoseconds));
        }
        for (shown, expected) in
            [(&stats.types, types), (&stats.protocols, protocols), (&stats.applications, applications)]
        {
            // The first series is `other`, into which nothing was folded.
            assert_eq!(
                (shown.as_ref().unwrap()[0].totals.name.as_str(), shown.as_ref().unwrap()[0].totals.total),
                ("other", 0)
            );
            let mut seen = BTreeMap::new();
            for series in &shown.as_ref().unwrap()[1..] {
                assert_eq!(series.totals.latency.count, series.totals.total);
                assert_eq!(series.total_nanoseconds, series.totals.latency.distribution.sum());
                let one: &mut Sum = seen.entry(series.totals.name.clone()).or_default();
                one.total += series.totals.total;
                one.failed += series.totals.failed;
                one.slow += series.totals.slow;
                one.bytes += series.totals.bytes;
                one.nanoseconds += series.total_nanoseconds;
            }
            let expected: BTreeMap<_, _> = expected
                .iter()
                .map(|(name, sum)| (name.clone(), Sum { waited: 0, maximum: 0, ..sum.clone() }))
                .collect();
            assert_eq!(seen, expected);
        }
        assert_eq!(stats.clients.as_ref().unwrap().tracked, clients.len() as u64);
        assert_eq!(stats.clients.as_ref().unwrap().by_messages.len(), clients.len());
        for client in &stats.clients.as_ref().unwrap().by_messages {
            let sum = &clients[&client.name];
            let figures = (client.messages, client.errors, client.bytes_in, client.average_nanoseconds);
            let expected =
                (sum.total, sum.failed, sum.bytes, Some((sum.nanoseconds + sum.waited) / sum.total));
            assert!(sum.total - missed <= client.messages && client.messages <= sum.total, "{client:?}");
            assert!(missed > 0 || figures == expected, "{client:?}, expected {expected:?}");
            assert_eq!(client.maximum_nanoseconds, sum.maximum);
        }
        assert_eq!(stats.slow_messages.as_ref().unwrap().total, all.slow);
        let listed: u64 = stats.slow_messages.as_ref().unwrap().entries.iter().map(|entry| entry.count).sum();
        assert!(listed > 0 && listed + stats.slow_messages.as_ref().unwrap().unlisted <= all.slow);
        let folded = stats.folded;
        let none =
            [folded.types, folded.protocols, Some(folded.applications), folded.clients, folded.windows];
        assert_eq!(none, [Some(0); 5]);
    }
}

/// All threads at once: each takes a recorder, and recording begins when all have one.
fn wave(monitor: &Monitor) {
    let ready = Barrier::new(THREADS as usize);
    let alone: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let ready = &ready;
                scope.spawn(move || {
                    let mut recorder = monitor.recorder();
                    ready.wait();
                    for number in 0..MESSAGES {
                        let (message_type, protocol, application, client, measured) = nth(thread, number);
                        monitor.record(&RecordedMessage {
                            client: &client,
                            message_type: &message_type,
                            protocol: &protocol,
                            application: &application,
                            measured,
                        });
                        let labels = recorder.labels(&protocol, &message_type, &application);
                        recorder.record(labels, recorder.client(&client), measured);
                    }
                    usize::from(recorder.is_alone())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(alone, RECORDERS);
}

#[test]
fn threads_that_come_and_go_lose_nothing() {
    let mut config = Config::default();
    config.monitor.max_recorders = RECORDERS as u32;
    let (monitor, _hands) = crate::support::monitor(config);
    for waves in 1..=3 {
        wave(&monitor);
        Model::of(waves).check(&monitor.snapshot(), 0);
    }
    // The recorders are free again, and only a reset removes what they recorded.
    assert!(monitor.recorder().is_alone());
    monitor.reset();
    assert_eq!(
        (
            monitor.snapshot().messages.as_ref().unwrap().totals.total,
            monitor.snapshot().messages.as_ref().unwrap().totals.latency.count
        ),
        (0, 0)
    );
    wave(&monitor);
    // Every thread that finds a client's figures older than the reset clears them. Messages that other threads count
    // there at that moment are missing from the client's figures, and only from those.
    Model::of(1).check(&monitor.snapshot(), 2 * THREADS);
}

#[test]
fn recorders_move_between_threads() {
    let monitor = Monitor::new("max_recorders=1".parse().unwrap()).unwrap();
    let labels = monitor.labels("", "ping", "");
    let mut recorder = monitor.recorder();
    for _ in 0..100 {
        assert!(recorder.is_alone() && !monitor.recorder().is_alone());
        recorder = std::thread::spawn(move || {
            recorder.record(
                labels,
                None,
                Measured { processing: Duration::from_nanos(5), ..Measured::default() },
            );
            recorder
        })
        .join()
        .unwrap();
    }
    drop(recorder);
    // The next recorder continues with the same cells.
    monitor.recorder().record(labels, None, Measured::default());
    let stats = monitor.snapshot();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().totals.latency.distribution.sum()
        ),
        (101, 500)
    );
    assert!(monitor.recorder().is_alone());
}
