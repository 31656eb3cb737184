//! Local workers: port and worker on one thread, with one wake word, driven by the host's event loop. Each test names the
//! rules of `ARCHITECTURE.md` ("Local workers") that it checks; invariants I4, I5, I6.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::{Clock, ManualClock};
use corelane::config::{Balance, Config};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::{ConnectError, CycleError, DrainError, PortError, RouteError, StopError, SubmitError};
use corelane::router::{Action, Builder, Event, Port, ProtocolRules, Routed, Router, Worker};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

mod support;

const LONG: Duration = Duration::from_secs(60);

fn config(workers: u32, local: u32) -> Config {
    let mut config = Config::default();
    config.router.workers = Some(workers);
    config.router.local_workers = local;
    config.router.max_ports = 6;
    // Nothing expires in a queue because the machine is slow.
    config.limits.max_queue_wait = Duration::from_secs(600);
    config
}

/// The configuration after a change.
fn changed(mut config: Config, change: impl FnOnce(&mut Config)) -> Config {
    change(&mut config);
    config
}

/// A router whose clock and workers a test drives by hand.
struct Bench {
    router: Router,
    threaded: Vec<Worker>,
    clock: Clock,
    hands: ManualClock,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self::of(config, |builder| builder)
    }

    fn of(config: Config, build: impl FnOnce(Builder) -> Builder) -> Self {
        let (clock, hands) = Clock::manual();
        let (router, threaded) = build(Builder::new(config).clock(clock.clone())).build().unwrap();
        Self { router, threaded, clock, hands }
    }

    fn cycle_threaded(&mut self) {
        for worker in &mut self.threaded {
            worker.cycle(self.clock.now());
        }
    }

    fn settled(&self) {
        let figures = self.router.accounting();
        assert_eq!((figures.in_flight, figures.held, figures.queued), (0, 0, 0), "{figures:?}");
        assert_eq!(figures.accepted, figures.ok + figures.failed + figures.expired);
    }
}

/// How often the port's descriptor was signalled since it was last read.
fn signals(port: &Port) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", port.as_fd().as_raw_fd())).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("eventfd-count:")).unwrap();
    u64::from_str_radix(count.trim(), 16).unwrap()
}

fn connect(port: &mut Port, name: &str) -> ClientId {
    port.connect(name, "generic", "", 0).unwrap()
}

fn text(to: &str) -> Vec<u8> {
    format!(r#"{{"type":"offer","to":"{to}"}}"#).into_bytes()
}

/// A message of the protocol `peerjs` that waits for its recipient.
fn held(to: &str) -> Vec<u8> {
    format!(r#"{{"type":"OFFER","dst":"{to}"}}"#).into_bytes()
}

/// Polls, and acknowledges. Returns the correlations of the delivered messages.
fn poll(port: &mut Port) -> Vec<u64> {
    let (mut got, mut written) = (Vec::new(), Vec::new());
    let _ = port.poll_each(usize::MAX, |event| {
        if let Event::Message(message) = event {
            got.push(message.correlation);
            written.push((message.client, 1, message.payload.len() as u32));
        }
    });
    port.acknowledge_batch(written);
    got
}

/// Runs the loop until it would wait. Returns the correlations of what it has handed out.
fn turn(port: &mut Port) -> Vec<u64> {
    let mut got = Vec::new();
    for _ in 0..1_000 {
        let work = port.cycle().unwrap();
        let polled = poll(port);
        if work + polled.len() == 0 && port.arm() {
            return got;
        }
        got.extend(polled);
    }
    panic!("the loop never rests");
}

/// Rules 1 and 4: whatever is there for the worker or for the port keeps the loop awake, and whatever comes after the
/// arm signals the descriptor once.
#[test]
fn one_re_check_covers_everything() {
    type Cause = fn(&mut Bench, &mut Port, &mut Port);
    let causes: [(&str, Cause); 6] = [
        ("a record of another port", |_, other, _| {
            // A send goes to the recipient's own worker.
            other.send(ClientId(1 << 32), b"{}", 1).unwrap();
            other.publish();
        }),
        ("a delivery of another worker", |_, other, _| {
            let dora = connect(other, "dora");
            other.cycle().unwrap();
            other.submit(dora, &text("ann"), 2).unwrap();
            other.cycle().unwrap();
        }),
        ("a post of a connected name", |_, other, _| {
            connect(other, "cleo");
        }),
        ("an attached port", |bench, _, _| {
            drop(bench.router.port().unwrap());
        }),
        ("a stop", |bench, _, _| bench.router.request_stop()),
        ("a released port", |bench, other, _| {
            *other = bench.router.local_port().unwrap();
        }),
    ];
    for (name, cause) in causes {
        for armed in [true, false] {
            let mut bench = Bench::new(config(4, 3));
            let mut port = bench.router.local_port().unwrap();
            let mut other = bench.router.local_port().unwrap();
            assert_eq!(connect(&mut port, "ann"), ClientId(1 << 32));
            for _ in 0..3 {
                bench.cycle_threaded();
                bench.router.cycle_unowned();
                turn(&mut port);
                turn(&mut other);
            }
            other.awake(true);
            if armed {
                assert!(port.arm(), "{name}: nothing is there yet");
            }
            port.awake(true);
            if armed {
                assert!(port.arm());
                cause(&mut bench, &mut other, &mut port);
                assert!(signals(&port) > 0, "{name}: the loop must be woken");
            } else {
                cause(&mut bench, &mut other, &mut port);
                assert!(!port.arm(), "{name}: the loop must not wait");
            }
        }
    }
}

/// Rules 2 and 3: the loop pays for no signal and no read of its own. A signal of another thread is read when the poller
/// has reported it, and only then.
#[test]
fn a_loop_never_signals_itself() {
    let bench = Bench::new(config(2, 2));
    let (mut port, mut other) = (bench.router.local_port().unwrap(), bench.router.local_port().unwrap());
    let ann = connect(&mut port, "ann");
    connect(&mut port, "ben");
    turn(&mut other);
    turn(&mut port);
    port.awake(true);
    for number in 1..=100 {
        assert!(port.arm());
        port.awake(false); // A socket is readable.
        port.submit(ann, &text("ben"), number).unwrap();
        if number % 3 == 0 {
            port.publish();
        }
        assert_eq!(turn(&mut port), [number]);
    }
    assert_eq!(signals(&port), 0);

    port.arm();
    other.send(ann, b"{}", 7).unwrap();
    other.publish();
    other.send(ann, b"{}", 8).unwrap();
    other.publish();
    assert_eq!(signals(&port), 1, "one wake per batch of a sleeping loop");
    port.awake(false);
    assert_eq!(signals(&port), 1, "not reported, so not read");
    assert_eq!(turn(&mut port), [7, 8]);
    port.awake(true);
    assert_eq!(signals(&port), 0);
    assert!(turn(&mut port).is_empty());
    bench.settled();
}

/// Rule 4: what was submitted and not published does not wait for the next wake.
#[test]
fn an_arm_publishes() {
    let bench = Bench::new(config(1, 1));
    let mut port = bench.router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    turn(&mut port);
    port.submit(ann, &text("ann"), 1).unwrap();
    assert!(!port.arm());
    assert_eq!(signals(&port), 0);
    assert_eq!(turn(&mut port), [1]);
}

/// Rule 5: deliveries to the worker's own port pass the same ring and backlog as all others, so nothing overtakes.
#[test]
fn a_full_ring_to_the_own_port_keeps_the_order() {
    let mut config = config(1, 1);
    config.router.ring_bytes = 8192;
    config.limits.max_message = 1_000;
    let bench = Bench::new(config);
    let mut port = bench.router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    connect(&mut port, "ben");
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..6 {
        while port.submit(ann, &text("ben"), sent).is_ok() {
            sent += 1;
        }
        port.cycle().unwrap(); // The egress ring is smaller than what two full ingress rings deliver.
    }
    assert!(bench.router.stats().ports[0].workers.iter().any(|path| path.backlog_bytes > 0), "a backlog");
    assert!(port.next_due().unwrap().is_some_and(|due| due <= Duration::from_millis(10)));
    got.extend(turn(&mut port));
    assert_eq!(got, (0..sent).collect::<Vec<_>>());
    port.awake(false);
    assert_eq!(port.next_due().unwrap(), None);
    bench.settled();
}

/// The generic protocol under another name.
fn protocol() -> Protocol {
    let fields = Fields { message_type: Some("type"), recipient: Some("to"), ..Fields::default() };
    Protocol::new("blocking", &fields, Forward::All).unwrap()
}

/// A protocol with one type whose handler may block.
fn blocking() -> ProtocolRules {
    ProtocolRules::new(protocol())
        .message_type("work", Action::Relay { hold: false })
        .message_type("offer", Action::Relay { hold: false })
}

/// Rule 6: the worker is chosen per client. A client whose protocol has a handler that may block is placed on a worker
/// with a thread of its own, with all its messages, or is refused.
#[test]
fn handlers_that_may_block_stay_off_the_loop() {
    let build = |builder: Builder, short: bool| {
        let builder = builder.protocol(blocking());
        match short {
            true => builder.short_handler("blocking", "work", |request| request.relay().map(drop)),
            false => builder.handler("blocking", "work", |request| request.relay().map(drop)),
        }
    };
    for short in [false, true] {
        let mut bench = Bench::of(config(2, 1), |builder| build(builder, short));
        let mut port = bench.router.local_port().unwrap();
        let ann = port.connect("ann", "blocking", "", 0).unwrap();
        connect(&mut port, "ben");
        for (number, kind) in ["work", "offer", "work"].into_iter().enumerate() {
            let text = format!(r#"{{"type":"{kind}","to":"ben"}}"#);
            port.submit(ann, text.as_bytes(), number as u64).unwrap();
        }
        let here = turn(&mut port);
        port.awake(false);
        bench.cycle_threaded();
        let there = turn(&mut port);
        assert_eq!(if short { &here } else { &there }, &[0, 1, 2], "short: {short}");
        assert_eq!(here.len() + there.len(), 3);

        let bench = Bench::of(config(1, 1), |builder| build(builder, short));
        let mut port = bench.router.local_port().unwrap();
        let connected = port.connect("ann", "blocking", "", 0);
        match short {
            true => drop(connected.unwrap()),
            false => assert_eq!(connected, Err(ConnectError::MayBlock("blocking".to_owned()))),
        }
        connect(&mut port, "ann2");
    }
    // A task waits for its host, so it may block too.
    let tasks = ProtocolRules::new(protocol()).message_type("work", Action::Host { hold: false });
    let bench = Bench::of(config(1, 1), |builder| builder.protocol(tasks));
    let connected = bench.router.local_port().unwrap().connect("ann", "blocking", "", 0);
    assert_eq!(connected, Err(ConnectError::MayBlock("blocking".to_owned())));
}

/// Rule 7: only workers with threads of their own are chosen, in every mode. What would need one and has none is refused.
#[test]
fn placement_sees_only_workers_with_threads() {
    for balance in [Balance::RoundRobin, Balance::Hash, Balance::LeastLoaded] {
        let mut bench = Bench::new(changed(config(3, 2), |config| config.router.balance = balance));
        let mut local = bench.router.local_port().unwrap();
        let mut plain = bench.router.port().unwrap();
        let clients: Vec<_> = (0..20).map(|number| connect(&mut plain, &format!("p{number}"))).collect();
        let near: Vec<_> = (0..20).map(|number| connect(&mut local, &format!("l{number}"))).collect();
        for (number, client) in clients.iter().enumerate() {
            plain.submit(*client, &text("p0"), number as u64).unwrap();
        }
        plain.publish();
        for (number, client) in near.iter().enumerate() {
            local.submit(*client, &text("l0"), number as u64).unwrap();
        }
        bench.router.cycle_unowned();
        assert_eq!(turn(&mut local), (0..20).collect::<Vec<_>>(), "balance {balance:?}");
        assert!(poll(&mut plain).is_empty(), "no local worker has a plain port's message");
        bench.cycle_threaded();
        assert_eq!(poll(&mut plain).len(), 20);
        for client in near {
            local.disconnect(client).unwrap();
        }
        let mut closed = 0;
        for _ in 0..3 {
            local.cycle().unwrap();
            local
                .poll_each(usize::MAX, |event| closed += usize::from(matches!(event, Event::Closed { .. })))
                .unwrap();
        }
        assert_eq!(closed, 20, "balance {balance:?}");
        let wrong = bench.router.set_active_workers(2).unwrap_err().to_string();
        assert_eq!(wrong, "active_workers = 2 is not valid; allowed: 1 to 1 threads");
        bench.router.set_active_workers(1).unwrap();
    }
    let bench = Bench::new(config(1, 1));
    assert!(bench.router.port().unwrap_err().to_string().contains("Router::local_port"));
    let mut port = bench.router.local_port().unwrap();
    assert_eq!(bench.router.local_port().unwrap_err(), PortError::TooManyLocalPorts(1));
    assert!(bench.router.set_active_workers(1).is_err());
    assert_eq!(port.route(ClientId(1), b"{}", LONG), Err(RouteError::OwnThread));

    assert!(config(1, 2).validate().unwrap_err().to_string().starts_with("local_workers = 2"));
    let bench = Bench::new(config(2, 1));
    let mut plain = bench.router.port().unwrap();
    assert!(plain.cycle().unwrap_err().to_string().contains("Router::local_port"));
    assert!(plain.next_due().is_err());
    // Every pair has its rings, whatever the shape of the worker.
    assert_eq!(
        Builder::new(config(3, 0)).budget().unwrap().total(),
        Builder::new(config(3, 2)).budget().unwrap().total()
    );
}

/// Rule 8: a released local port ends nothing. The router drives the worker, and the next port gets it.
#[test]
fn a_released_worker_goes_on() {
    let router = Builder::new(changed(config(2, 1), |config| config.holds.time = Duration::from_millis(50)))
        .start()
        .unwrap();
    let mut plain = router.port().unwrap();
    let mut all = 0;
    for round in 0..20 {
        let mut local = router.local_port().unwrap();
        let ann = local.connect("ann", "peerjs", "", 0).unwrap();
        connect(&mut plain, &format!("r{round}"));
        for number in 0..5 {
            plain.send(ann, b"{}", number).unwrap();
            local.submit(ann, &held("nobody"), number).unwrap();
            all += 2;
        }
        if round % 2 == 0 {
            local.cycle().unwrap();
        }
        plain.publish();
        if round % 3 == 0 {
            local.arm();
        }
        drop(local);
    }
    let start = std::time::Instant::now();
    loop {
        let figures = router.accounting();
        if figures.in_flight + figures.held == 0 {
            assert_eq!(figures.accepted, all);
            break;
        }
        assert!(start.elapsed() < LONG, "{figures:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut local = router.local_port().unwrap();
    connect(&mut local, "ann");
    turn(&mut local);
    // On this thread, which drives the worker: its own worker ends at once.
    drop(router);
    assert_eq!(local.cycle(), Err(CycleError::Closed));
    while local.poll_each(64, |_| ()).is_ok() {}
    assert_eq!(local.connect("ben", "generic", "", 0), Err(ConnectError::Closed));
}

/// Rule 9: the loop stops its worker in order; held messages fail, and deliveries can still be polled.
#[test]
fn a_loop_stops_in_order() {
    let bench = Bench::new(config(1, 1));
    let mut port = bench.router.local_port().unwrap();
    let ann = port.connect("ann", "peerjs", "", 0).unwrap();
    turn(&mut port);
    assert_eq!(bench.router.stop_within(LONG), Err(StopError::OwnThread));
    assert_eq!(bench.router.drain(LONG), Err(DrainError::OwnThread));
    assert!(port.is_running());
    port.submit(ann, &held("ann"), 1).unwrap();
    port.submit(ann, &held("nobody"), 2).unwrap();
    port.publish();
    bench.router.request_stop();
    assert!(!port.arm());
    assert!(port.cycle().unwrap() > 0);
    assert_eq!(port.cycle(), Err(CycleError::Closed));
    assert_eq!(poll(&mut port), [1]);
    assert!(port.poll_each(1, |_| ()).is_err());
    assert_eq!(port.next_due().unwrap(), None);
    bench.router.stop_within(LONG).unwrap();
    let figures = bench.router.accounting();
    assert_eq!((figures.ok, figures.failed, figures.in_flight), (1, 1, 0));
}

/// Rule 9: a loop that does not come back is ended at the deadline of a stop; its later cycle says closed.
#[test]
fn a_stop_ends_the_worker_of_a_loop_that_does_not_come_back() {
    let router = Builder::new(config(2, 2)).start().unwrap();
    let (mut lost, mut busy) = (router.local_port().unwrap(), router.local_port().unwrap());
    let (stuck, over) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ann = connect(&mut lost, "ann");
            lost.cycle().unwrap();
            assert!(lost.submit(ann, &text("ann"), 1).is_ok());
            lost.publish();
            stuck.wait();
            over.wait();
            assert_eq!(lost.cycle(), Err(CycleError::Closed));
            assert!(!lost.arm(), "a delivery is there");
            assert_eq!(poll(&mut lost), [1]);
        });
        // This loop goes on, and stops its worker itself.
        scope.spawn(|| {
            while busy.cycle().is_ok() {
                let _ = busy.poll_each(64, |_| ());
                busy.wait(LONG);
            }
        });
        stuck.wait();
        let began = std::time::Instant::now();
        // The other loop may be late to stop. It is not given up, because it is inside no handler.
        support::stopped(&router, Duration::from_millis(50)).unwrap();
        router.stop_within(Duration::ZERO).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50), "the loop had its time");
        over.wait();
    });
    let figures = router.accounting();
    assert_eq!((figures.ok, figures.in_flight), (1, 0), "{figures:?}");
}

/// Rule 10: a loop's thread never waits for a worker. Other threads may call through a shared local port.
#[test]
fn routing_is_refused_on_the_loops_thread() {
    let router = Builder::new(config(2, 1)).start().unwrap();
    let mut plain = router.port().unwrap();
    let dora = connect(&mut plain, "dora");
    assert_eq!(plain.route(dora, &text("dora"), LONG), Ok(Routed::Delivered));
    let mut local = router.local_port().unwrap();
    let ann = connect(&mut local, "ann");
    local.cycle().unwrap();
    assert_eq!(plain.route(dora, &text("dora"), LONG), Err(RouteError::OwnThread));
    assert_eq!(local.route_batch(&[(ann, b"{}")], LONG), [Err(RouteError::OwnThread)]);
    let (shared, mut poller) = local.share();
    assert_eq!(shared.route(ann, &text("ann"), LONG), Err(RouteError::OwnThread));
    let caller = std::thread::spawn(move || shared.route(ann, &text("ann"), LONG));
    while !caller.is_finished() {
        poller.cycle().unwrap();
        poller.poll_each(64, |_| ()).unwrap();
        poller.wait(Duration::from_millis(20));
    }
    assert_eq!(caller.join().unwrap(), Ok(Routed::Delivered));
    drop(poller);
    assert_eq!(
        plain.route(dora, &text("dora"), LONG),
        Ok(Routed::Delivered),
        "no loop is on this thread now"
    );
}

/// Rule 11: the watchdog sees a loop that does not come back while records wait, and no other.
#[test]
fn the_watchdog_sees_a_loop_that_does_not_come_back() {
    let bench = Bench::new(changed(config(1, 1), |config| {
        config.router.processing_timeout = Duration::from_millis(10)
    }));
    let watchdog = bench.router.watchdog();
    let mut port = bench.router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    turn(&mut port);
    let look = |milliseconds| {
        bench.hands.advance(Duration::from_millis(milliseconds));
        watchdog.look(bench.clock.now())
    };
    assert_eq!(look(1_000), 0, "nothing waits");
    port.awake(false);
    port.submit(ann, &text("ann"), 1).unwrap();
    port.publish();
    assert_eq!((look(1_000), look(10), look(1), look(1)), (0, 0, 1, 1));
    assert!(bench.router.stats().workers[0].stalled);
    turn(&mut port);
    assert_eq!(look(100), 0);
    port.submit(ann, &text("ann"), 2).unwrap();
    port.publish();
    assert_eq!((look(0), look(5)), (0, 0));
    port.cycle().unwrap();
    port.submit(ann, &text("ann"), 3).unwrap();
    port.publish();
    assert_eq!((look(6), look(6)), (0, 0), "the loop goes on");
    assert_eq!(bench.router.stats().workers[0].stalls, 1);
}

/// Rule 12: the loop gets the time of the next due event, in whole milliseconds, and no other timer.
#[test]
fn the_next_due_event_is_the_expiry_of_a_hold() {
    let bench = Bench::new(changed(config(2, 1), |config| config.holds.time = Duration::from_millis(100)));
    let mut port = bench.router.local_port().unwrap();
    let ann = port.connect("ann", "peerjs", "", 0).unwrap();
    connect(&mut port, "ben");
    turn(&mut port);
    assert_eq!(port.next_due().unwrap(), None);
    port.submit(ann, &held("ben"), 1).unwrap();
    port.cycle().unwrap();
    assert_eq!(port.next_due().unwrap(), None, "no timer for a delivery that the port has not read yet");
    turn(&mut port);
    port.submit(ann, &held("nobody"), 2).unwrap();
    turn(&mut port);
    let due = port.next_due().unwrap().unwrap();
    assert!(due > Duration::from_millis(90) && due <= Duration::from_millis(110), "{due:?}");
    assert_eq!(due.subsec_nanos() % 1_000_000, 0);
    bench.hands.advance(Duration::from_micros(50_300));
    let later = port.next_due().unwrap().unwrap();
    assert!(later < due && later.subsec_nanos().is_multiple_of(1_000_000), "{later:?}");
    bench.hands.advance(later);
    let mut expired = 0;
    for _ in 0..2 {
        port.cycle().unwrap();
        port.poll_each(8, |event| expired += usize::from(matches!(event, Event::Expired { .. }))).unwrap();
    }
    assert_eq!((expired, port.next_due().unwrap()), (1, None));
}

/// Rule 13: with a shared submitting side the re-check sees what other threads submit, and their publication wakes.
#[test]
fn submitters_of_a_shared_local_port_wake_the_loop() {
    let bench = Bench::new(config(1, 1));
    let mut port = bench.router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    turn(&mut port);
    port.awake(true);
    let descriptor = port.as_fd().as_raw_fd();
    let (shared, mut poller) = port.share();
    let count = || {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("eventfd-count:")).unwrap();
        u64::from_str_radix(count.trim(), 16).unwrap()
    };
    assert!(poller.arm());
    shared.submit(ann, &text("ann"), 1).unwrap();
    assert_eq!(count(), 1);
    poller.awake(true);
    shared.submit(ann, &text("ann"), 2).unwrap();
    assert_eq!(count(), 0, "the loop is awake");
    assert!(!poller.arm());
    let mut got = Vec::new();
    poller.cycle().unwrap();
    let each = |event: Event<'_>| {
        if let Event::Message(message) = event {
            got.push(message.correlation)
        }
    };
    poller.poll_each(8, each).unwrap();
    assert_eq!(got, [1, 2]);
    assert_eq!((poller.arm(), poller.next_due().unwrap()), (true, None));
    shared.submit(ann, &text("ann"), 3).unwrap();
    assert_eq!(count(), 1, "the question did not disarm");
}

/// A handler that is marked as short runs on the loop's thread; it may submit through a shared port of this very loop.
#[test]
fn short_handlers_run_on_the_loops_thread() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&threads);
    let builder = Builder::new(config(1, 1)).short_handler("generic", "offer", move |request| {
        seen.lock().unwrap().push(std::thread::current().id());
        request.relay().map(drop)
    });
    let router = builder.start().unwrap();
    let mut port = router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    port.submit(ann, &text("ann"), 1).unwrap();
    assert_eq!(turn(&mut port), [1]);
    assert_eq!(*threads.lock().unwrap(), [std::thread::current().id()]);
}

/// Loops on threads of their own, threaded workers beside them, and clients that write to each other over all of them:
/// every message arrives, in its sender's order, and nobody sleeps on data.
#[test]
fn loops_and_threads_in_one_router() {
    const LOOPS: u32 = 3;
    const MESSAGES: u64 = 20_000;
    for threaded in [0, 1] {
        let mut config = config(LOOPS + threaded, LOOPS);
        config.router.ring_bytes = 16 << 10;
        config.limits.max_message = 1_000;
        let router = Builder::new(config).start().unwrap();
        let plain = (threaded > 0).then(|| router.port().unwrap());
        let ports = (0..LOOPS).map(|_| router.local_port().unwrap()).chain(plain);
        let all = u64::from(LOOPS + threaded);
        let (ready, done) = (Barrier::new(all as usize), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for (place, mut port) in ports.enumerate() {
                let (ready, done) = (&ready, &done);
                scope.spawn(move || {
                    let own = connect(&mut port, &format!("c{place}"));
                    ready.wait();
                    let (mut sent, mut got, mut last) = (0, 0, vec![0; all as usize]);
                    let mut finished = false;
                    while done.load(SeqCst) < all {
                        while sent < MESSAGES && sent < got + 200 {
                            let to = text(&format!("c{}", (place as u64 + sent) % all));
                            match port.submit(own, &to, sent + 1 + ((place as u64) << 32)) {
                                Ok(()) => sent += 1,
                                Err(SubmitError::RingFull) => break,
                                Err(other) => panic!("{other}"),
                            }
                        }
                        port.publish();
                        let work = port.cycle().unwrap_or(0);
                        let polled = poll(&mut port);
                        for number in &polled {
                            let (from, number) = ((number >> 32) as usize, number & 0xffff_ffff);
                            assert!(last[from] < number, "overtaken");
                            last[from] = number;
                        }
                        got += polled.len() as u64;
                        if !finished && sent == MESSAGES && got == MESSAGES {
                            finished = true;
                            done.fetch_add(1, SeqCst);
                        }
                        if work + polled.len() == 0 {
                            // Only the end, which the port does not see, is polled for.
                            port.wait(if finished { Duration::from_millis(1) } else { LONG });
                        }
                    }
                });
            }
        });
        let figures = router.accounting();
        assert_eq!((figures.ok, figures.in_flight), (all * MESSAGES, 0), "{figures:?}");
    }
}
