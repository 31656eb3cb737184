//! Alerts end to end, rows A1 to A6: each shipped rule raised and resolved by a real cause, with one notification for each
//! transition and none inside the hysteresis band.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::{Clock, ManualClock};
use corelane::config::Config;
use corelane::error::Error;
use corelane::monitor::alert::{Alert, AlertState, Notification, Rule, Severity};
use corelane::monitor::{AlertPoll, Monitor};
use corelane::record::{Measured, Message};
use corelane::router::{Action, Builder, Port, ProtocolRules, Router, Worker};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Far more than anything here takes: only what would hang comes near it.
const LONG: Duration = Duration::from_secs(60);

/// A monitor whose time is moved by hand, with what it tells.
struct Bench {
    monitor: Monitor,
    hand: ManualClock,
    alerts: AlertPoll,
}

impl Bench {
    fn new(config: Config) -> Self {
        let (clock, hand) = Clock::manual();
        hand.advance(Duration::from_secs(1_000));
        Self::of(Monitor::with_clock(config, clock).unwrap(), hand)
    }

    fn of(monitor: Monitor, hand: ManualClock) -> Self {
        let alerts = monitor.alerts().unwrap();
        let bench = Self { monitor, hand, alerts };
        // The first look is at the start.
        assert_eq!(bench.told(), []);
        bench
    }

    /// What the next look, five seconds later, tells.
    fn look(&self) -> Vec<(String, Notification)> {
        self.hand.advance(Duration::from_secs(5));
        self.monitor.tick();
        self.told()
    }

    fn told(&self) -> Vec<(String, Notification)> {
        self.monitor.tick();
        std::iter::from_fn(|| self.alerts.next())
            .map(|alert| (alert.id, alert.notification.unwrap()))
            .collect()
    }

    /// Looks until something is told of one rule, at most twenty times: what causes one alert may well cause others.
    fn until_told_of(&self, name: &str) -> Vec<(String, Notification)> {
        let of_rule = |_| self.look().into_iter().filter(|(id, _)| id == name).collect::<Vec<_>>();
        (0..20).map(of_rule).find(|told| !told.is_empty()).unwrap_or_default()
    }

    /// Looks until something is told, at most ten times.
    fn until_told(&self) -> Vec<(String, Notification)> {
        (0..10).map(|_| self.look()).find(|told| !told.is_empty()).unwrap_or_default()
    }

    fn record(&self, message_type: &str, count: usize, measured: Measured) {
        for _ in 0..count {
            self.monitor.record(&Message { message_type, measured, ..Message::default() });
        }
    }
}

fn raised(name: &str) -> Vec<(String, Notification)> {
    vec![(name.to_owned(), Notification::Raised)]
}

fn resolved(name: &str) -> Vec<(String, Notification)> {
    vec![(name.to_owned(), Notification::Resolved)]
}

fn took(milliseconds: u64) -> Measured {
    Measured { processing_nanoseconds: milliseconds * 1_000_000, ..Measured::default() }
}

#[test]
fn connections_rise_and_fall_and_rest_in_the_band() {
    let bench = Bench::new(Config::default().with_high_connection_threshold(10).unwrap());
    let mut clients = Vec::new();
    let connect = |clients: &mut Vec<_>, count: usize| {
        while clients.len() < count {
            clients.push(bench.monitor.connect(&format!("client-{}", clients.len()), "app").unwrap());
        }
        while clients.len() > count {
            bench.monitor.disconnect(clients.pop().unwrap()).unwrap();
        }
    };
    connect(&mut clients, 10);
    assert_eq!(bench.look(), []);
    connect(&mut clients, 12);
    assert_eq!(bench.look(), raised("connections"));
    let stats = bench.monitor.snapshot().alerts;
    let Alert {
        id,
        name,
        severity,
        state,
        message,
        details,
        metric,
        label_set,
        threshold,
        current_value,
        ..
    } = &stats.current[0];
    assert_eq!(
        (id.as_str(), name.as_str(), metric.as_str()),
        ("connections", "connections", "connections.active")
    );
    assert_eq!((*severity, *state, label_set.as_str()), (Severity::Warning, AlertState::Firing, ""));
    assert_eq!((*threshold, *current_value), (10.0, 12.0));
    assert!(message.contains("12") && message.contains("10"), "{message}");
    assert!(!details.is_empty());
    let alert = &stats.current[0];
    assert_eq!((alert.since, alert.raised, alert.resolved), (1_010_000, Some(1_010_000), None));
    // Up and down between the threshold and nine tenths of it, and above: nothing is told.
    for count in [10, 9, 11, 10, 30, 9, 10] {
        connect(&mut clients, count);
        assert_eq!(bench.look(), [], "{count}");
    }
    connect(&mut clients, 8);
    assert_eq!(bench.look(), []);
    assert_eq!(bench.monitor.snapshot().alerts.current[0].state, AlertState::Recovering);
    // Back in between, it starts again to get well.
    connect(&mut clients, 11);
    assert_eq!(bench.look(), []);
    connect(&mut clients, 3);
    assert_eq!(bench.until_told(), resolved("connections"));
    let stats = bench.monitor.snapshot().alerts;
    assert_eq!((stats.current.len(), stats.raised, stats.resolved, stats.repeated), (0, 1, 1, 0));
    let past = &stats.history[0];
    assert_eq!((past.state, past.current_value), (AlertState::Resolved, 3.0));
    assert!(past.resolved > past.raised);
    let rule = stats.rules.iter().find(|rule| rule.name == "connections").unwrap();
    assert_eq!(
        (rule.trigger, rule.clear, rule.transitions.firing, rule.transitions.resolved),
        (10.0, 9.0, 1, 1)
    );
}

#[test]
fn error_rate_slow_messages_p99_and_queue_wait_of_the_last_minute() {
    let failed = Measured { failed: true, ..Measured::default() };
    let waited = Measured { queue_wait_nanoseconds: 900_000_000, ..Measured::default() };
    for (name, bad, config) in [
        ("error_rate", failed, Config::default()),
        (
            "slow_messages",
            took(20),
            Config::default().with_slow_message_threshold(Duration::from_millis(10)).unwrap(),
        ),
        ("p99", took(400), Config::default().with_high_p99_threshold(Duration::from_millis(300)).unwrap()),
        (
            "queue_wait",
            waited,
            Config::default().with_high_queue_wait_threshold(Duration::from_millis(500)).unwrap(),
        ),
    ] {
        let bench = Bench::new(config);
        // Too few to say anything.
        bench.record("offer", 10, bad);
        assert_eq!(bench.look(), [], "{name}");
        bench.record("offer", 100, bad);
        // Bad for two intervals before it is told.
        assert_eq!((bench.look(), bench.look()), (vec![], vec![]), "{name}");
        assert_eq!(bench.monitor.snapshot().alerts.pending[0].name, name);
        assert_eq!(bench.look(), raised(name));
        // A minute later the bad ones are gone; silence says nothing, good messages do.
        for _ in 0..14 {
            assert_eq!(bench.look(), [], "{name}");
        }
        bench.record("offer", 100, Measured::default());
        assert_eq!(bench.until_told(), resolved(name));
    }
}

#[test]
fn memory_that_is_really_taken_and_given_back() {
    let bench = Bench::new(Config::default());
    let resident = || bench.monitor.snapshot().system.unwrap().memory.resident_bytes.unwrap();
    let threshold = resident() + (192 << 20);
    bench.monitor.set("high_memory_threshold_bytes", &threshold.to_string()).unwrap();
    assert_eq!(bench.look(), []);
    let taken = vec![1u8; 512 << 20];
    assert_eq!(bench.look(), raised("memory"));
    let alert = bench.monitor.snapshot().alerts.current[0].clone();
    assert!(alert.current_value > alert.threshold && alert.threshold == threshold as f64);
    assert_eq!(bench.monitor.snapshot().system.unwrap().load.unwrap().queue_messages, 0);
    drop(taken);
    assert_eq!(bench.until_told(), resolved("memory"));
}

#[test]
fn cpu_that_is_really_used() {
    let bench = Bench::new(Config::default().with_high_cpu_threshold(0.01).unwrap());
    let told = (0..20).map(|_| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        bench.look()
    });
    assert_eq!(told.into_iter().find(|told| !told.is_empty()), Some(raised("cpu")));
    // Nothing is above all of it.
    bench.monitor.set("high_cpu_threshold", "1").unwrap();
    bench.monitor.set_threshold("cpu", 5.0, 5.0).unwrap();
    assert_eq!(bench.until_told(), resolved("cpu"));
}

/// A router with one worker, driven by hand, and a client on its port.
fn router(config: Config) -> (Bench, Router, Vec<Worker>, Port, Clock) {
    let (clock, hand) = Clock::manual();
    hand.advance(Duration::from_secs(1_000));
    let config = config.with_workers(1).unwrap();
    let (router, workers) = Builder::new(config).clock(clock.clone()).build().unwrap();
    let bench = Bench::of(Monitor::of(&router.source()), hand);
    let port = router.port().unwrap();
    (bench, router, workers, port, clock)
}

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;

#[test]
fn queue_depth_of_a_worker_that_does_not_come_to_it() {
    let config = Config::default()
        .with_high_queue_depth_threshold(20)
        .and_then(|config| config.with_max_queue_wait(LONG));
    let (bench, _router, mut workers, mut port, clock) = router(config.unwrap());
    let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
    port.connect("ben", "peerjs", "app", 2).unwrap();
    (0..30).for_each(|_| port.submit(ann, OFFER, 0).unwrap());
    port.publish();
    assert_eq!(bench.until_told(), raised("queue_depth"));
    workers[0].cycle(clock.raw());
    assert_eq!(bench.until_told_of("queue_depth"), resolved("queue_depth"));
}

#[test]
fn credit_and_egress_of_who_does_not_read() {
    let config = Config::default().with_credit_messages(2).unwrap();
    let (bench, _router, mut workers, mut port, clock) = router(config);
    let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
    port.connect("ben", "peerjs", "app", 2).unwrap();
    (0..3).for_each(|_| port.submit(ann, OFFER, 0).unwrap());
    port.publish();
    workers[0].cycle(clock.raw());
    assert_eq!(bench.look(), raised("credit_exhausted"));
    // A minute without another.
    assert_eq!(
        (0..20).map(|_| bench.look()).find(|told| !told.is_empty()),
        Some(resolved("credit_exhausted"))
    );

    let config = Config::default()
        .with_ring_bytes(4096)
        .and_then(|config| config.with_max_message(512))
        .and_then(|config| config.with_backlog_bytes(4096))
        .and_then(|config| config.with_balance(corelane::config::Balance::Hash));
    let (bench, _router, mut workers, mut port, clock) = router(config.unwrap());
    let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
    port.connect("ben", "peerjs", "app", 2).unwrap();
    for _ in 0..10 {
        (0..20).for_each(|_| port.submit(ann, OFFER, 0).unwrap());
        port.publish();
        workers[0].cycle(clock.raw());
    }
    assert_eq!(bench.look(), raised("egress_full"));
    assert_eq!(bench.until_told_of("egress_full"), resolved("egress_full"));
}

#[test]
fn a_worker_inside_a_handler_that_does_not_return() {
    let config = Config::default()
        .with_workers(1)
        .and_then(|config| config.with_processing_timeout(Duration::from_millis(5)))
        .and_then(|config| config.with_monitor_interval(Duration::from_millis(100)));
    let (inside, is_inside) = channel();
    let (leave, may_leave) = channel::<()>();
    let may_leave = std::sync::Mutex::new(may_leave);
    let rules = ProtocolRules::generic().message_type("stuck", Action::Handler { hold: false });
    let router = Builder::new(config.unwrap())
        .protocol(rules)
        .handler("generic", "stuck", move |_| {
            inside.send(()).unwrap();
            // Until the test lets go.
            let _ = may_leave.lock().unwrap().recv();
            Ok(())
        })
        .start()
        .unwrap();
    let monitor = Monitor::of(&router.source());
    let (tell, told) = channel();
    monitor
        .on_alert(move |alert| tell.send((alert.id.clone(), alert.severity, alert.notification)).unwrap())
        .unwrap();
    monitor.start().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "app", 1).unwrap();
    port.submit(ann, br#"{"type":"stuck"}"#, 0).unwrap();
    port.publish();
    is_inside.recv_timeout(LONG).unwrap();
    let stalled = |what| ("worker_stalled".to_owned(), Severity::Critical, Some(what));
    assert_eq!(told.recv_timeout(LONG).unwrap(), stalled(Notification::Raised));
    assert_eq!(monitor.snapshot().routing.unwrap().workers_stalled, 1);
    drop(leave);
    assert_eq!(told.recv_timeout(LONG).unwrap(), stalled(Notification::Resolved));
    monitor.stop(LONG);
    assert_eq!(told.try_recv().ok(), None);
}

#[test]
fn rules_of_the_hosts_own_by_type_and_thresholds_that_change() {
    let bench = Bench::new(Config::default());
    let metric = "types.*.windows.last_minute.p99";
    bench
        .monitor
        .add_rule(Rule::above("slow_type", metric, 5e6).clear(4e6).severity(Severity::Critical))
        .unwrap();
    assert_eq!(
        bench.monitor.add_rule(Rule::above("slow_type", metric, 1.0)),
        Err(Error::RuleExists("slow_type".to_owned()))
    );
    assert!(matches!(
        bench.monitor.add_rule(Rule::above("bad", metric, 1.0).clear(2.0)),
        Err(Error::Rule { .. })
    ));
    assert_eq!(bench.monitor.remove_rule("none"), Err(Error::UnknownRule("none".to_owned())));
    bench.record("offer", 5, took(6));
    bench.record("bye", 5, took(1));
    assert_eq!(bench.look(), raised("slow_type/offer"));
    // The threshold comes down to where the other one is, too.
    bench.monitor.set_threshold("slow_type", 900_000.0, 800_000.0).unwrap();
    assert_eq!(bench.look(), raised("slow_type/bye"));
    let labels: Vec<_> =
        bench.monitor.snapshot().alerts.current.iter().map(|alert| alert.label_set.clone()).collect();
    assert_eq!(labels, ["offer", "bye"]);
    bench.monitor.remove_rule("slow_type").unwrap();
    let mut over = bench.look();
    over.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(over, [resolved("slow_type/bye"), resolved("slow_type/offer")].concat());
    // A shipped one may go as well.
    bench.monitor.remove_rule("connections").unwrap();
    bench.monitor.set("high_connection_threshold", "1").unwrap();
    for number in 0..5 {
        bench.monitor.connect(&format!("client-{number}"), "").unwrap();
    }
    assert_eq!(bench.look(), []);
}

#[test]
fn a_callback_that_blocks_or_panics_keeps_nobody_else_waiting() {
    let bench = Bench::new(Config::default().with_high_connection_threshold(1).unwrap());
    let (entered, is_inside) = channel();
    let (leave, may_leave) = channel::<()>();
    let may_leave = std::sync::Mutex::new(may_leave);
    let blocks = bench.monitor.on_alert(move |_| {
        entered.send(()).unwrap();
        let _ = may_leave.lock().unwrap().recv();
    });
    bench.monitor.on_alert(|_| panic!("on purpose")).unwrap();
    let (tell, told) = channel();
    bench.monitor.on_alert(move |alert| tell.send(alert.notification).unwrap()).unwrap();
    let clients: Vec<_> =
        (0..3).map(|number| bench.monitor.connect(&format!("client-{number}"), "").unwrap()).collect();
    assert_eq!(bench.look(), raised("connections"));
    is_inside.recv_timeout(LONG).unwrap();
    clients.into_iter().for_each(|client| bench.monitor.disconnect(client).unwrap());
    assert_eq!(bench.until_told(), resolved("connections"));
    assert_eq!(told.recv_timeout(LONG).unwrap(), Some(Notification::Raised));
    assert_eq!(told.recv_timeout(LONG).unwrap(), Some(Notification::Resolved));
    assert_eq!(told.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    let start = Instant::now();
    while bench.monitor.snapshot().alerts.callback_panics < 2 && start.elapsed() < LONG {
        std::thread::yield_now();
    }
    assert_eq!(bench.monitor.snapshot().alerts.callback_panics, 2);
    assert!(!bench.monitor.remove_alert_callback(blocks.as_ref().map(|id| *id).unwrap(), Duration::ZERO));
    drop(leave);
    assert!(bench.monitor.remove_alert_callback(blocks.unwrap(), LONG));
    // A poll says by its descriptor that there is something.
    assert!(bench.alerts.descriptor() >= 0 && !bench.alerts.wait(Some(Duration::ZERO)));
}
