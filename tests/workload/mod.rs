//! A workload that changes every figure of a report: a router with peers, rooms, handlers and stalls, messages that a
//! host records, alerts and reports. Returns the reports of many moments.

use corelane::clients::CreditPolicy;
use corelane::clock::{Clock, ManualClock};
use corelane::config::Config;
use corelane::error::Failed;
use corelane::metrics::Descriptor;
use corelane::monitor::alert::Rule;
use corelane::monitor::{Connection, Format, Health, Monitor, RuntimeStats, Target};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::{
    Action, Builder, ConnectOptions, Event, Port, ProtocolRules, Router, Watchdog, Worker,
};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The objects that a handler uses while it runs.
type Inside = Arc<Mutex<Option<(Monitor, Watchdog)>>>;

struct Bench {
    inside: Inside,
    monitor: Monitor,
    router: Router,
    workers: Vec<Worker>,
    clock: Clock,
    hand: ManualClock,
    reports: Arc<Mutex<Vec<Value>>>,
}

pub fn reports() -> Vec<Value> {
    let mut bench = Bench::new();
    bench.report();
    bench.relay();
    bench.hold_and_expire();
    bench.fail();
    bench.discard();
    bench.rooms();
    bench.handlers();
    bench.slow_readers();
    bench.record();
    bench.custom();
    bench.alerts();
    bench.listeners();
    bench.monitor.reset();
    bench.report();
    // The handlers own the monitor, and the monitor owns the router: break the cycle.
    *bench.inside.lock().unwrap() = None;
    std::mem::take(&mut *bench.reports.lock().unwrap())
}

impl Bench {
    fn new() -> Self {
        let (clock, hand) = Clock::manual();
        hand.advance(Duration::from_secs(1_000));
        let mut config = Config::default();
        config.router.workers = Some(2);
        config.router.ring_bytes = 4096;
        config.limits.max_message = 2_000;
        config.credit.messages = 24;
        config.router.backlog_bytes = 4096;
        config.router.batch = 2;
        config.limits.max_queue_wait = Duration::from_secs(20);
        config.monitor.slow_message_threshold = Duration::from_millis(1);
        config.monitor.max_applications = 2;
        config.rooms.max_rooms = 2;
        config.monitor.max_recorded_types = 1;
        config.monitor.max_recorded_clients = 2;
        config.monitor.max_windowed_series = 16;
        config.limits.max_concurrent_messages = Some(1_000);
        config.router.processing_timeout = Duration::from_millis(5);
        let rules = ProtocolRules::generic()
            .droppable("bye")
            .message_type("work", Action::Handler { hold: false })
            .message_type("crash", Action::Handler { hold: false });
        let inside = Inside::default();
        let (its, hands, its_clock) = (Arc::clone(&inside), hand.clone(), clock.clone());
        let reports = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reports);
        let (router, workers) = Builder::new(config)
            .clock(clock.clone())
            .name_keys([1, 2])
            .protocol(rules)
            .base_route(|_| true)
            .handler("generic", "work", move |_| {
                // The handler takes longer than allowed, and the monitor reports meanwhile.
                hands.advance(Duration::from_millis(20));
                if let Some((monitor, watchdog)) = &*its.lock().unwrap() {
                    watchdog.look(its_clock.now());
                    seen.lock().unwrap().push(serde_json::from_str(&monitor.report(Format::Json)).unwrap());
                }
                Err(Failed::HandlerFailed)
            })
            .handler("generic", "crash", |_| panic!("on purpose"))
            .build()
            .unwrap();
        let monitor = Monitor::of(&router.source());
        *inside.lock().unwrap() = Some((monitor.clone(), router.watchdog()));
        Self { inside, monitor, router, workers, clock, hand, reports }
    }

    fn report(&mut self) {
        self.hand.advance(Duration::from_millis(1_700));
        self.monitor.tick();
        let report = serde_json::from_str(&self.monitor.report(Format::Json)).unwrap();
        self.reports.lock().unwrap().push(report);
    }

    fn cycle(&mut self) {
        for _ in 0..20 {
            for worker in &mut self.workers {
                worker.cycle(self.clock.now());
            }
        }
        self.router.watchdog().look(self.clock.now());
    }

    fn send(&mut self, port: &mut Port, from: corelane::clients::ClientId, text: &str, count: usize) {
        for _ in 0..count {
            // Refusals are figures too.
            let _ = port.submit(from, text.as_bytes(), 7);
            port.publish();
        }
    }

    fn read(&mut self, port: &mut Port) {
        let mut written = Vec::new();
        port.poll_each(1_000, |event| {
            if let Event::Message(message) = event {
                written.push((message.client, 1, message.payload.len() as u32));
            }
        })
        .unwrap();
        self.hand.advance(Duration::from_micros(50));
        port.acknowledge_batch(written);
    }

    fn relay(&mut self) {
        // Longer than the largest cell.
        let measured = Measured { processing: Duration::from_nanos(100_000_000_000), ..Measured::default() };
        let long = RecordedMessage {
            protocol: "peerjs",
            application: "one",
            measured,
            ..RecordedMessage::default()
        };
        self.monitor.record(&long);
        self.report();
        let mut port = self.router.port().unwrap();
        let ann = port.connect("ann", "peerjs", "one", 1).unwrap();
        let ben = port.connect("ben", "peerjs", "two", 2).unwrap();
        let _ = port.connect("cat", "generic", "three", 3).unwrap();
        assert!(port.connect("ben", "peerjs", "two", 4).is_err());
        for round in 1..6 {
            self.send(&mut port, ann, r#"{"type":"OFFER","dst":"ben","payload":1}"#, round);
            self.send(&mut port, ben, r#"{"type":"ANSWER","dst":"ann","payload":"longer"}"#, 3 * round);
            self.hand.advance(Duration::from_secs(5));
            self.report();
            self.cycle();
            self.report();
            self.read(&mut port);
            self.cycle();
            self.report();
        }
        // No worker handles the call in time, so the base route takes it over.
        port.route(ann, br#"{"type":"OFFER","dst":"ben"}"#, Duration::from_millis(1)).unwrap();
        let beside = format!(r#"{{"type":"OFFER","dst":"ben","payload":"{}"}}"#, "x".repeat(1_500));
        self.send(&mut port, ann, &beside, 2);
        self.report();
        self.router.set_active_workers(1).unwrap();
        self.cycle();
        self.report();
        self.router.set_active_workers(2).unwrap();
        port.rebind(ben, 9).unwrap();
        port.disconnect(ann).unwrap();
        self.cycle();
        self.read(&mut port);
        self.report();
    }

    fn hold_and_expire(&mut self) {
        let mut port = self.router.port().unwrap();
        let dan = port.connect("dan", "peerjs", "one", 1).unwrap();
        self.send(&mut port, dan, r#"{"type":"OFFER","dst":"nobody"}"#, 3);
        self.cycle();
        self.report();
        self.hand.advance(Duration::from_secs(30));
        self.send(&mut port, dan, r#"{"type":"OFFER","dst":"dan"}"#, 1);
        self.hand.advance(Duration::from_secs(30));
        self.cycle();
        self.cycle();
        self.report();
        self.read(&mut port);
        self.report();
    }

    /// A host in another language reports that it has thrown a delivery away.
    fn discard(&mut self) {
        let mut host = self.router.lane_host().unwrap();
        host.push_raw(0, 7, 0, &1u64.to_ne_bytes()).unwrap();
        host.publish();
        self.cycle();
        self.report();
        drop(host);
        self.cycle();
    }

    fn fail(&mut self) {
        let mut port = self.router.port().unwrap();
        let eve = port.connect("eve", "generic", "two", 1).unwrap();
        for text in ["{", r#"{"type":"NO"}"#, "[]", r#"{"type":"bye","to":"gone"}"#] {
            self.send(&mut port, eve, text, 2);
        }
        assert!(port.submit(eve, &[b'x'; 3_000], 0).is_err());
        self.cycle();
        self.report();
        drop(port);
        self.cycle();
        self.report();
    }

    fn rooms(&mut self) {
        let mut port = self.router.port().unwrap();
        let names = ["fay", "gus", "hal"];
        let members: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(token, name)| port.connect(name, "generic", "one", token as u64).unwrap())
            .collect();
        for member in &members {
            port.join(*member, "lobby").unwrap();
        }
        self.send(&mut port, members[0], r#"{"type":"offer","room":"lobby"}"#, 2);
        self.cycle();
        self.report();
        self.read(&mut port);
        let room = port.join(members[0], "other").unwrap();
        assert!(port.join(members[0], "third").is_err());
        self.report();
        port.leave(members[0], room).unwrap();
        self.report();
    }

    fn handlers(&mut self) {
        let mut port = self.router.port().unwrap();
        let ida = port.connect("ida", "generic", "one", 1).unwrap();
        self.send(&mut port, ida, r#"{"type":"work"}"#, 2);
        self.send(&mut port, ida, r#"{"type":"crash"}"#, 1);
        self.cycle();
        self.cycle();
        self.report();
        port.send(ida, b"from the host", 0).unwrap();
        port.publish();
        self.cycle();
        self.report();
        self.read(&mut port);
    }

    /// A full ring, a full backlog, and a client without credit.
    fn slow_readers(&mut self) {
        let mut port = self.router.port().unwrap();
        let jon = port.connect("jon", "peerjs", "one", 1).unwrap();
        let kim = port.connect("kim", "peerjs", "one", 2).unwrap();
        for (name, policy) in
            [("lea", CreditPolicy::Refuse), ("max", CreditPolicy::Drop), ("ned", CreditPolicy::Disconnect)]
        {
            let options = ConnectOptions::new("generic", "one", 4).credit_policy(policy);
            port.connect_with(name, options).unwrap();
            let to = format!(r#"{{"type":"bye","to":"{name}"}}"#);
            let from = port.connect(&format!("to {name}"), "generic", "one", 5).unwrap();
            for _ in 0..15 {
                self.send(&mut port, from, &to, 2);
                self.cycle();
            }
            self.report();
            self.read(&mut port);
            self.cycle();
        }
        self.losing_sender(&mut port);
        self.hand.advance(Duration::from_secs(70));
        self.report();
        let long = format!(r#"{{"type":"OFFER","dst":"kim","payload":"{}"}}"#, "x".repeat(500));
        for _ in 0..40 {
            self.send(&mut port, jon, &long, 3);
            self.cycle();
        }
        self.report();
        port.disconnect(kim).unwrap();
        self.cycle();
        self.report();
        for _ in 0..20 {
            self.cycle();
            self.read(&mut port);
        }
        self.report();
    }

    /// A client that reads slowly, and sends messages that fail.
    fn losing_sender(&mut self, port: &mut Port) {
        let options = ConnectOptions::new("generic", "two", 6).credit_policy(CreditPolicy::Refuse);
        let pia = port.connect_with("pia", options).unwrap();
        let from = port.connect("to pia", "generic", "one", 5).unwrap();
        for _ in 0..15 {
            self.send(port, from, r#"{"type":"bye","to":"pia"}"#, 2);
            self.send(port, pia, "{", 1);
            self.hand.advance(Duration::from_millis(3));
            self.cycle();
        }
        self.report();
        self.read(port);
    }

    fn record(&mut self) {
        for (name, nanoseconds, failed) in
            [("a", 5, true), ("b", 3_000_000, false), ("c", 7_000_000_000, false)]
        {
            let measured = Measured {
                failed,
                reason: None,
                bytes: 9,
                queue_wait: Duration::from_nanos(2),
                processing: Duration::from_nanos(nanoseconds),
            };
            let message = RecordedMessage {
                client: name,
                message_type: name,
                protocol: name,
                application: name,
                measured,
            };
            (0..3).for_each(|_| self.monitor.record(&message));
            self.report();
        }
        let spans = [2, 7, 20, 70, 200, 700, 2_000, 6_000, 100_000];
        for milliseconds in spans {
            let measured =
                Measured { processing: Duration::from_millis(milliseconds), ..Measured::default() };
            self.monitor.record(&RecordedMessage { measured, ..RecordedMessage::default() });
        }
        // More slow messages at once than are kept.
        for _ in 0..100 {
            let measured = Measured { processing: Duration::from_nanos(5_000_000), ..Measured::default() };
            self.monitor.record(&RecordedMessage {
                message_type: "a",
                measured,
                ..RecordedMessage::default()
            });
        }
        let waited = Measured { queue_wait: Duration::from_nanos(100_000_000_000), ..Measured::default() };
        for number in 0..20 {
            let protocol = format!("protocol-{number}");
            self.monitor.record(&RecordedMessage {
                protocol: &protocol,
                measured: waited,
                ..RecordedMessage::default()
            });
        }
        self.monitor.set("slow_message_threshold_ms", "2").unwrap();
        let b = self.monitor.client("b").unwrap();
        self.monitor.record_sent(b, 5).unwrap();
        let a = self.monitor.client("a").unwrap();
        self.monitor.record_sent(a, 11).unwrap();
        self.monitor.mark(Connection::Recorded(a), Health::Unhealthy).unwrap();
        self.monitor.record_reconnect();
        let measured = Measured { queue_wait: Duration::from_nanos(1 << 62), ..Measured::default() };
        self.monitor.record(&RecordedMessage { measured, ..RecordedMessage::default() });
        self.monitor.connect("a", "one").unwrap();
        self.report();
        self.monitor.disconnect(a).unwrap();
        self.report();
        let mut runtime = RuntimeStats::default();
        for number in 1..4 {
            (runtime.goroutines, runtime.gc_count, runtime.heap_bytes) = (number, 2 * number, 3 * number);
            (runtime.gc_last_pause_nanoseconds, runtime.gc_average_pause_nanoseconds) =
                (4 * number, 5 * number);
            (runtime.gc_total_pause_nanoseconds, runtime.stack_bytes) = (6 * number, 7 * number);
            runtime.gc_cpu_fraction = 0.125 * number as f64;
            self.monitor.push_runtime(runtime).unwrap();
            self.hand.advance(Duration::from_secs(5));
            self.report();
        }
    }

    fn custom(&mut self) {
        let joins = Descriptor::new("joins_total", "Joins").labels(&["region"]).max_series(2);
        let joins = self.monitor.counter(&joins).unwrap();
        let sizes = Descriptor::new("size_bytes", "Sizes").unit("bytes");
        let sizes = self.monitor.histogram(&sizes).unwrap().with(&[]).unwrap();
        let fill = Descriptor::new("fill_ratio", "How full").unit("ratio");
        let fill = self.monitor.gauge(&fill).unwrap().with(&[]).unwrap();
        for (number, region) in ["eu", "us", "asia"].into_iter().enumerate() {
            joins.with(&[region]).unwrap().add(number as u64 + 1);
            fill.set([0.5, f64::NAN, 0.25][number]);
            sizes.record(1 << (20 - 3 * number));
            (0..2).for_each(|_| sizes.record(1 << (21 + 3 * number)));
            self.report();
        }
    }

    fn alerts(&mut self) {
        let metric = "types.*.total";
        let rules = [
            Rule::above("any", "uptime_nanoseconds", 1.0).repeat_interval(Duration::from_secs(1)),
            Rule::above("types", metric, 1.0).clear(0.5).pending_for(Duration::from_secs(6)),
            Rule::below("below", "connections.active", 1e9)
                .cooldown(Duration::from_secs(3_600))
                .keep_firing_for(Duration::from_secs(5)),
        ];
        rules.into_iter().for_each(|rule| self.monitor.add_rule(rule).unwrap());
        let look = |bench: &mut Self| {
            bench.hand.advance(Duration::from_secs(5));
            bench.report();
        };
        (0..4).for_each(|_| look(self));
        for trigger in [-1.0, 1e9, -1.0, 1e9, -1.0] {
            self.monitor.set_threshold("below", trigger, trigger).unwrap();
            look(self);
            look(self);
            look(self);
        }
        // Removing a rule ends its alerts.
        self.monitor.remove_rule("types").unwrap();
        look(self);
        // More label sets than a rule keeps alerts for.
        self.monitor.add_rule(Rule::above("wide", "types.*.latency.count", -1.0)).unwrap();
        look(self);
    }

    /// A callback that panics, a report that cannot be written, and a report that is never taken.
    fn listeners(&mut self) {
        self.monitor.on_alert(|_| panic!("on purpose")).unwrap();
        self.monitor.on_report(Format::Text, |_| panic!("on purpose")).unwrap();
        // Tests of one process run at the same time.
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("corelane-gone-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        self.monitor.report_to(Format::Json, Target::File(folder.join("report"))).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let (leave, may_leave) = std::sync::mpsc::channel::<()>();
        let may_leave = std::sync::Mutex::new(may_leave);
        self.monitor
            .on_report(Format::Html, move |_| {
                let _ = may_leave.lock().unwrap().recv();
            })
            .unwrap();
        self.monitor.set("report_interval_ms", "1000").unwrap();
        let _poll = self.monitor.alerts().unwrap();
        // The threads of the callbacks may get no processor for a while.
        let give_up = Instant::now() + Duration::from_secs(60);
        for round in 0.. {
            self.hand.advance(Duration::from_secs(5));
            self.monitor.tick();
            let stats = self.monitor.snapshot();
            let reports = &stats.reports;
            let counts =
                [reports.made, reports.dropped, reports.failed, reports.panics, stats.alerts.callback_panics];
            if round < 400 && round % 20 == 0 {
                self.report();
            }
            if counts.iter().all(|count| *count > 0) && stats.alerts.notifications_dropped > 0 {
                break;
            }
            assert!(Instant::now() < give_up, "the threads of the callbacks have not run");
        }
        drop(leave);
        self.report();
    }
}
