//! Shipped rules over what a router does: queues, deliveries that are given up, clients that do not read, handlers
//! that block.

use crate::support;
use crate::watch::{INTERVAL, PATIENCE, Watch, brief, until};
use corelane::clients::ClientId;
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::monitor::Monitor;
use corelane::monitor::alert::{AlertState, Notification, Severity};
use corelane::router::{Builder, Port};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;

/// A router with one worker that the test drives, and its monitor.
struct Bench {
    watch: Watch,
    base: support::Bench,
    port: Port,
    ann: ClientId,
}

impl Bench {
    fn new(set: &[(&str, &str)]) -> Self {
        let config = support::config_of(&[&[("workers", "1")][..], set].concat());
        let base = support::Bench::of(config, |builder| builder);
        let watch = Watch::of(Monitor::of(&base.router.source()), base.hands.clone());
        let mut port = base.router.port().unwrap();
        let ann = port.connect("ann", "peerjs", "", 1).unwrap();
        port.connect("ben", "peerjs", "", 2).unwrap();
        let mut bench = Self { watch, base, port, ann };
        bench.cycle_until(0);
        bench.watch.quiet(1);
        bench
    }

    fn submit(&mut self, count: usize) {
        for _ in 0..count {
            self.port.submit(self.ann, OFFER, 0).unwrap();
        }
        self.port.publish();
    }

    /// Drives the worker until `waiting` records wait for it.
    fn cycle_until(&mut self, waiting: u64) {
        while self.base.router.stats().routing.queue_messages != waiting {
            self.base.cycle();
        }
    }

    /// Polls and acknowledges the deliveries.
    fn read(&mut self) -> usize {
        support::read(&mut self.port, usize::MAX, |_| ())
    }
}

/// Keys that let messages wait without a limit, because other rules concern their times.
const PATIENT: [(&str, &str); 3] = [
    ("max_queue_wait_ms", "3600000"),
    ("slow_message_threshold_ms", "3600000"),
    ("high_queue_wait_threshold_ms", "3600000"),
];

#[test]
fn queue_depth() {
    let set = [("high_queue_depth_threshold", "20"), ("batch", "1")];
    let mut bench = Bench::new(&[&PATIENT[..], &set].concat());
    bench.submit(20);
    bench.watch.quiet(4); // A value on the threshold is not above it.
    bench.submit(5);
    let raised = bench.watch.raises_at_the_third("queue_depth");
    assert_eq!((raised.current_value, raised.threshold), (25.0, 20.0));
    assert_eq!(raised.message, "The number of messages in all queues is 25, above the threshold of 20");
    // The hysteresis band: down to eighteen.
    for waiting in [20, 19, 18] {
        bench.cycle_until(waiting);
        bench.watch.quiet(2);
        assert_eq!(bench.watch.state("queue_depth"), AlertState::Firing);
    }
    bench.cycle_until(17);
    let resolved = bench.watch.resolves_at_the_third("queue_depth");
    assert_eq!(resolved.current_value, 17.0);
    // Above the threshold, but not for long enough: no notification.
    bench.submit(10);
    bench.watch.quiet(2);
    assert_eq!(bench.watch.state("queue_depth"), AlertState::Pending);
    bench.cycle_until(0);
    bench.watch.quiet(20);
    bench.watch.end();
}

#[test]
fn messages_that_wait_for_their_worker() {
    let mut bench = Bench::new(&[("slow_message_threshold_ms", "3600000")]);
    for number in 0..20 {
        bench.submit(1);
        bench.watch.hands.advance(Duration::from_secs(2));
        bench.cycle_until(0);
        // Twenty messages are enough for an alert. The value exceeded the threshold from the first message on.
        assert_eq!(bench.watch.tick(), [], "{number}");
    }
    // The twentieth message was recorded at a look.
    bench.watch.quiet(1);
    let raised = bench.watch.tells("queue_wait", Notification::Raised);
    assert!((2e9..2.07e9).contains(&raised.current_value), "{raised:?}");
    assert_eq!(raised.threshold, 1e9);
    let (_, told) = {
        let Bench { watch, base, port, ann, .. } = &mut bench;
        watch.until_told(|_| {
            for _ in 0..20 {
                port.submit(*ann, OFFER, 0).unwrap();
            }
            port.publish();
            base.cycle();
        })
    };
    assert_eq!(brief(&told), [("queue_wait", Notification::Resolved)]);
    assert_eq!(told[0].current_value, 0.0);
    bench.watch.end();
}

#[test]
fn egress_full() {
    // A delivery takes 128 bytes: sixty-four fill the ring, sixty-four more the backlog, the rest is given up. The
    // senders' messages fail, which concerns another rule.
    let mut bench = Bench::new(&[
        ("max_message", "64"),
        ("ring_bytes", "8192"),
        ("backlog_bytes", "8192"),
        ("high_error_rate_threshold", "1"),
    ]);
    for _ in 0..128 {
        bench.submit(1);
        bench.cycle_until(0);
    }
    bench.watch.quiet(3);
    for _ in 0..12 {
        bench.submit(1);
        bench.cycle_until(0);
    }
    let raised = bench.watch.tells("egress_full", Notification::Raised);
    assert_eq!((raised.current_value, raised.severity), (12.0, Severity::Critical));
    while bench.read() > 0 {
        bench.base.cycle();
    }
    // The failures count in the last minute until the minute has passed.
    bench.watch.quiet(11);
    let (_, told) = bench.watch.until_told(|_| ());
    assert_eq!(brief(&told), [("egress_full", Notification::Resolved)]);
    assert_eq!(told[0].current_value, 0.0);
    bench.watch.end();
}

#[test]
fn credit_exhausted() {
    // Policy 1: the message is refused.
    let mut bench = Bench::new(&[("credit_messages", "2"), ("credit_policy", "refuse")]);
    bench.submit(2);
    bench.cycle_until(0);
    bench.watch.quiet(2);
    bench.submit(3);
    bench.cycle_until(0);
    let raised = bench.watch.tells("credit_exhausted", Notification::Raised);
    assert_eq!((raised.current_value, raised.severity), (3.0, Severity::Info));
    assert_eq!(bench.read(), 2);
    // After the client has acknowledged, it can get messages again.
    bench.submit(2);
    bench.cycle_until(0);
    assert_eq!(bench.read(), 2);
    bench.watch.quiet(11);
    let (_, told) = bench.watch.until_told(|_| ());
    assert_eq!(brief(&told), [("credit_exhausted", Notification::Resolved)]);
    bench.watch.end();
}

#[test]
fn worker_stalled() {
    let ((open, gate), (enter, entered)) = (channel::<()>(), channel());
    let gate = Mutex::new((gate, enter));
    let (clock, hands) = Clock::manual();
    let mut config = Config::default();
    config.router.workers = Some(2);
    config.router.processing_timeout = Duration::from_millis(8);
    let mut router = Builder::new(config)
        .clock(clock)
        .handler("generic", "offer", move |_| {
            let gate = gate.lock().unwrap();
            gate.1.send(()).unwrap();
            gate.0.recv().unwrap();
            Ok(())
        })
        .start()
        .unwrap();
    let mut watch = Watch::of(Monitor::of(&router.source()), hands.clone());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let stalled = || router.stats().workers.iter().filter(|worker| worker.stalled).count();
    watch.quiet(1);
    port.submit(ann, br#"{"type":"offer","to":"ann"}"#, 0).unwrap();
    port.publish();
    entered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(watch.tick(), []);
    // The clock advances, and the router's own thread notices the stall.
    hands.advance(Duration::from_millis(9));
    until(|| stalled() == 1);
    let raised = watch.tells("worker_stalled", Notification::Raised);
    assert_eq!((raised.current_value, raised.severity), (1.0, Severity::Critical));
    assert_eq!(raised.metric, "routing.workers_stalled");
    watch.quiet(3);
    open.send(()).unwrap();
    until(|| stalled() == 0);
    let resolved = watch.tells("worker_stalled", Notification::Resolved);
    assert_eq!((resolved.current_value, resolved.since), (0.0, raised.since));
    hands.advance(INTERVAL);
    router.stop();
    watch.end();
}

/// A worker that ends without a stop never returns: one notification, and the alert does not end. (I9)
#[test]
fn worker_lost() {
    let (clock, hands) = Clock::manual();
    let mut config = Config::default();
    config.router.workers = Some(2);
    let (router, mut workers) = Builder::new(config).clock(clock).build().unwrap();
    let mut watch = Watch::of(Monitor::of(&router.source()), hands);
    watch.quiet(2);
    drop(workers.pop());
    let raised = watch.tells("worker_lost", Notification::Raised);
    assert_eq!((raised.current_value, raised.severity), (1.0, Severity::Critical));
    assert_eq!(raised.metric, "routing.workers_lost");
    watch.quiet(20);
}
