//! Each routing figure from a known input, to the exact number, with a manual clock. Rows R3, R7.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::metrics::{RoutingStats, Stats, WorkerStats};
use corelane::monitor::Monitor;
use corelane::router::{Builder, Event, SendOptions};
use std::time::Duration;

mod support;
use support::{Hand as Bench, config_of, until};

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;

impl Bench {
    fn new(set: &[(&str, &str)]) -> Self {
        let mut bench = Self::of(config_of(set), "peerjs", |builder| builder);
        bench.cycle(); // The connects of ann and ben.
        bench
    }

    fn one_worker() -> Self {
        Self::new(&[("workers", "1")])
    }

    fn submit(&mut self, message: &[u8]) {
        self.port.submit(self.ann, message, 0).unwrap();
    }

    fn advance(&self, nanoseconds: u64) {
        self.hands.advance(Duration::from_nanos(nanoseconds));
    }

    fn stats(&self) -> Stats {
        self.router.stats()
    }

    fn worker(&self) -> WorkerStats {
        self.stats().workers.remove(0)
    }

    fn routing(&self) -> RoutingStats {
        self.stats().routing
    }
}

#[test]
fn routed_failed_expired_and_the_average_of_waiting_and_handling() {
    let mut bench = Bench::one_worker();
    assert_eq!(bench.routing().average_nanoseconds, None);
    bench.submit(OFFER);
    bench.advance(300);
    bench.submit(b"{");
    bench.port.publish();
    bench.advance(100);
    bench.cycle();
    // Queue waits of 400 and 100. The service time is zero because the clock stood still.
    let routing = bench.routing();
    assert_eq!((routing.routed, routing.failed, routing.expired), (1, 1, 0));
    assert_eq!(routing.average_nanoseconds, Some(250));
    let worker = bench.worker();
    assert_eq!((worker.received, worker.ended, worker.failed), (2, 2, 1));
    assert_eq!(worker.average_nanoseconds, Some(250));
    // Exactly as long as `max_queue_wait_ms` is not too long.
    for (waited, expired) in [(5_000_000_000, 0), (5_000_000_001, 1)] {
        bench.submit(OFFER);
        bench.port.publish();
        bench.advance(waited);
        bench.cycle();
        assert_eq!((bench.routing().expired, bench.worker().expired), (expired, expired));
    }
}

#[test]
fn a_slow_send_is_listed_with_its_recipient_and_its_type() {
    let mut bench = Bench::one_worker();
    let monitor = Monitor::of(&bench.router.source());
    let offer = bench.port.message_type("peerjs", "OFFER").unwrap();
    bench.port.send(bench.ben, b"{}", SendOptions::default().message_type(offer)).unwrap();
    bench.port.publish();
    bench.advance(1_000_000_001); // One nanosecond above slow_message_threshold_ms.
    bench.cycle();
    monitor.tick();
    let entries = monitor.snapshot().slow_messages.unwrap().entries;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&*entry.client, &*entry.message_type, entry.count, entry.bytes), ("ben", "OFFER", 1, 2));
}

#[test]
fn queue_depth_now_and_its_true_maximum_in_messages_and_bytes() {
    let mut bench = Bench::one_worker();
    let bytes = 128; // 56 bytes of header and 28 of payload, rounded up to a multiple of 64.
    for _ in 0..5 {
        bench.submit(OFFER);
    }
    assert_eq!(bench.worker().queue_messages, 0, "not published");
    bench.port.publish();
    let before = bench.worker();
    assert_eq!((before.queue_messages, before.queue_bytes), (5, 5 * bytes));
    assert_eq!((bench.routing().queue_messages, bench.routing().queue_bytes), (5, 5 * bytes));
    assert_eq!((bench.routing().workers_active, bench.routing().workers_idle), (1, 0));
    let path = bench.stats().ports[0].workers[0].clone();
    assert_eq!((path.ingress_messages, path.ingress_bytes, path.egress_messages), (5, 5 * bytes, 0));
    bench.cycle();
    let after = bench.worker();
    assert_eq!((after.queue_messages, after.queue_bytes), (0, 0));
    assert_eq!((after.queue_messages_maximum, after.queue_bytes_maximum), (5, 5 * bytes));
    assert_eq!((bench.routing().workers_active, bench.routing().workers_idle), (0, 1));
    assert_eq!(bench.stats().ports[0].workers[0].egress_messages, 5);
    bench.submit(OFFER);
    bench.port.publish();
    bench.cycle();
    assert_eq!(bench.worker().queue_messages_maximum, 5, "the maximum stays");
}

#[test]
fn the_depth_is_that_of_all_rings_of_a_worker_together() {
    let mut bench = Bench::one_worker();
    let mut other = bench.router.port().unwrap();
    let eve = other.connect("eve", "peerjs", "", 3).unwrap();
    bench.cycle();
    for _ in 0..3 {
        bench.submit(OFFER);
        other.submit(eve, OFFER, 0).unwrap();
    }
    bench.port.publish();
    other.publish();
    assert_eq!(bench.worker().queue_messages, 6);
    bench.cycle();
    assert_eq!((bench.worker().queue_messages_maximum, bench.worker().queue_bytes_maximum), (6, 6 * 128));
    drop(other);
    assert_eq!(bench.worker().queue_messages, 0, "the rings of a released port do not count as a queue");
}

#[test]
fn concurrency_counts_what_waits_and_what_is_held() {
    let mut bench = Bench::one_worker();
    bench.submit(br#"{"type":"OFFER","dst":"nobody"}"#);
    bench.submit(br#"{"type":"OFFER","dst":"nobody"}"#);
    bench.port.publish();
    bench.cycle();
    assert_eq!((bench.routing().concurrency, bench.worker().held), (2, 2));
    for _ in 0..3 {
        bench.submit(OFFER);
    }
    bench.port.publish();
    assert_eq!(bench.routing().concurrency, 5);
    assert_eq!(bench.routing().concurrency_maximum_of_a_worker, 2, "as of the last cycle");
    bench.cycle();
    assert_eq!(bench.routing().concurrency, 2);
    assert_eq!(bench.routing().concurrency_maximum_of_a_worker, 5);
    assert_eq!(bench.worker().in_flight_maximum, 5);
}

#[test]
fn full_batches_and_cycles() {
    let mut bench = Bench::new(&[("workers", "1"), ("batch", "2")]);
    let before = bench.worker();
    for _ in 0..5 {
        bench.submit(OFFER);
    }
    bench.port.publish();
    for _ in 0..4 {
        bench.cycle();
    }
    let after = bench.worker();
    assert_eq!(after.full_batches - before.full_batches, 2);
    assert_eq!(after.cycles - before.cycles, 3);
}

#[test]
fn idle_time_utilisation_and_throughput_between_two_snapshots() {
    let mut bench = Bench::one_worker();
    let start = bench.stats();
    assert_eq!(bench.worker().idle_nanoseconds, 0);
    bench.advance(400_000_000);
    bench.cycle(); // The cycle found nothing, so all of the time was idle.
    assert_eq!(bench.worker().idle_nanoseconds, 400_000_000);
    for _ in 0..3 {
        bench.submit(OFFER);
    }
    bench.submit(b"{");
    bench.port.publish();
    // If a cycle is given an earlier time than the end of its messages, the worker was busy in between.
    let began = bench.clock.now();
    bench.advance(100_000_000);
    bench.workers[0].cycle(began);
    let middle = bench.stats();
    assert_eq!(middle.workers[0].busy_nanoseconds - start.workers[0].busy_nanoseconds, 100_000_000);
    assert_eq!(middle.workers[0].idle_nanoseconds, 400_000_000);
    let rates = middle.since(&start);
    assert_eq!(rates.nanoseconds, 500_000_000);
    assert_eq!((rates.messages_per_second, rates.failures_per_second), (8.0, 2.0));
    assert_eq!((rates.utilisation, rates.worker_utilisation), (0.2, vec![0.2]));
    assert_eq!(middle.since(&middle).messages_per_second, 0.0);
    bench.advance(500_000_000);
    bench.cycle();
    let end = bench.stats();
    assert_eq!(end.workers[0].idle_nanoseconds, 900_000_000);
    let rates = end.since(&middle);
    assert_eq!((rates.messages_per_second, rates.utilisation), (0.0, 0.0));
}

#[test]
fn utilisation_is_the_mean_of_the_workers() {
    let mut bench = Bench::new(&[("workers", "2")]);
    let start = bench.stats();
    assert_eq!(start.routing.workers_idle, 2);
    bench.submit(OFFER);
    bench.port.publish();
    let began = bench.clock.now();
    bench.advance(1_000);
    for worker in &mut bench.workers {
        worker.cycle(began);
    }
    bench.advance(1_000);
    let rates = bench.stats().since(&start);
    let mut each = rates.worker_utilisation.clone();
    each.sort_by(f64::total_cmp);
    assert_eq!((each, rates.utilisation), (vec![0.0, 0.5], 0.25));
}

#[test]
fn a_workers_sleeps_are_counted() {
    let config = config_of(&[("workers", "1"), ("idle", "park")]);
    let router = Builder::new(config).start().unwrap();
    until(|| router.stats().workers[0].parks > 0);
}

#[test]
fn backlog_and_closings_of_each_path() {
    let mut bench = Bench::new(&[
        ("workers", "1"),
        ("max_message", "64"),
        ("ring_bytes", "8192"),
        ("backlog_bytes", "8192"),
        ("credit_messages", "1000"),
    ]);
    // A delivery takes 128 bytes: sixty-four fill the ring, sixty-four more the backlog, the rest is given up.
    for count in 1..=140_u64 {
        bench.submit(OFFER);
        bench.port.publish();
        bench.cycle();
        let path = &bench.stats().ports[0].workers[0];
        let backlogged = count.clamp(64, 128) - 64;
        assert_eq!((path.egress_messages, path.egress_bytes), (count.min(64), 128 * count.min(64)));
        assert_eq!((path.backlog_bytes, path.backlog_bytes_maximum), (128 * backlogged, 128 * backlogged));
        assert_eq!(path.egress_full, count.saturating_sub(128));
    }
    let ann = bench.ann;
    bench.port.disconnect(ann).unwrap();
    bench.cycle();
    let path = bench.stats().ports[0].workers[0].clone();
    assert_eq!((path.closings, path.closings_maximum), (1, 1));
    let mut closed = 0;
    for _ in 0..4 {
        bench
            .port
            .poll_each(usize::MAX, |event| closed += u64::from(matches!(event, Event::Closed { .. })))
            .unwrap();
        bench.cycle();
    }
    let stats = bench.stats();
    let path = &stats.ports[0].workers[0];
    assert_eq!((closed, path.closings, path.closings_maximum, path.backlog_bytes), (1, 0, 1, 0));
    let text = corelane::export::prometheus_of_router(&stats);
    support::assert_lines(
        &text,
        &[
            r#"corelane_path_backlog_bytes{port="0",worker="0"} 0"#,
            r#"corelane_path_backlog_peak_bytes{port="0",worker="0"} 8192"#,
            r#"corelane_path_egress_full_total{port="0",worker="0"} 12"#,
            r#"corelane_path_closings_peak{port="0",worker="0"} 1"#,
            r#"corelane_worker_messages_total{worker="0"} 140"#,
            r#"corelane_worker_queue_peak_messages{worker="0"} 2"#,
            "corelane_workers_active 0",
        ],
    );
    let json: serde_json::Value = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["ports"][0]["workers"][0]["egress_full"], 12);
    assert_eq!(json["routing"]["workers_idle"], 1);
}
