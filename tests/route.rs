//! Synchronous routing and its fallback: each message is handled once, by a worker or by the base route, and counted
//! there (requirements R4, R8, R10).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::error::{Failed, RouteError, SubmitError, TakenOver};
use corelane::router::{Builder, Event, Port, Routed, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

mod support;
use support::{Bench, config_of, settled, until};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);
const OFFER: &[u8] = br#"{"type":"OFFER","dst":"bob"}"#;

fn config(set: &[(&str, &str)]) -> Config {
    // Nothing expires in a queue because the machine is slow, except where `set` says so.
    let own = [("workers", "1"), ("pin", "off"), ("max_ports", "1"), ("max_queue_wait_ms", "600000")];
    config_of(&[&own[..], set].concat())
}

/// A router with a base route that counts its messages. The base route fails OFFERs to carol.
fn builder(config: Config) -> (Builder, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let builder = Builder::new(config).base_route(move |request| {
        counted.fetch_add(1, Relaxed);
        !request.message.windows(5).any(|window| window == b"carol")
    });
    (builder, count)
}

fn connect(port: &mut Port) -> (ClientId, ClientId) {
    (port.connect("alice", "peerjs", "", 1).unwrap(), port.connect("bob", "peerjs", "", 2).unwrap())
}

/// Cycles until the router has nothing to do.
fn settle(worker: &mut Worker, clock: &Clock) {
    while worker.cycle(clock.now()) > 0 {}
}

#[test]
fn a_worker_handles_it_and_the_caller_learns_what_became_of_it() {
    let (builder, base) = builder(config(&[("hold_ms", "60000")]));
    let router = builder.start().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    assert_eq!(port.route(alice, OFFER, LONG), Ok(Routed::Delivered));
    assert_eq!(port.route(alice, br#"{"type":"OFFER","dst":"dave"}"#, LONG), Ok(Routed::Held));
    assert_eq!(port.route(alice, b"[]", LONG), Ok(Routed::Failed(Failed::NotAnObject)));
    assert_eq!(port.route(alice, b"", LONG), Ok(Routed::Failed(Failed::Empty)));
    let stale = ClientId(alice.0 + (1 << 32));
    assert_eq!(port.route(stale, OFFER, LONG), Err(RouteError::Refused(SubmitError::StaleClient)));
    let results = port.route_batch(&[(alice, OFFER), (alice, b"x"), (stale, OFFER), (alice, OFFER)], LONG);
    assert_eq!(results[0], Ok(Routed::Delivered));
    assert_eq!(results[1], Ok(Routed::Failed(Failed::NotJson)));
    assert_eq!(results[2], Err(RouteError::Refused(SubmitError::StaleClient)));
    assert_eq!(results[3], Ok(Routed::Delivered));
    let mut delivered = 0;
    // A worker publishes its deliveries at the end of its round, after the results of calls.
    while delivered < 3 {
        port.wait(LONG);
        port.poll_each(100, |event| delivered += u64::from(matches!(event, Event::Message(_)))).unwrap();
    }
    assert_eq!((delivered, base.load(Relaxed)), (3, 0));
    let figures = router.accounting();
    assert_eq!(
        (figures.ok, figures.failed, figures.held, figures.refused, figures.in_flight),
        (3, 3, 1, 2, 1)
    );
}

/// A batch that is longer than the number of call slots waits for them in turn.
#[test]
fn a_batch_is_longer_than_max_calls() {
    let router = builder(config(&[("max_calls", "2")])).0.start().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    let results = port.route_batch(&[(alice, OFFER); 33], LONG);
    assert_eq!(results.len(), 33);
    assert!(results.iter().all(|result| *result == Ok(Routed::Delivered)));
    let figures = router.accounting();
    assert_eq!((figures.submitted, figures.ok), (33, 33));
}

/// The worker is not driven: the call times out before it is started, so the base route takes it over, once.
#[test]
fn the_fallback_takes_over_what_no_worker_starts() {
    let (clock, _) = Clock::manual();
    let (builder, base) = builder(config(&[]));
    let (router, mut workers) = builder.clock(clock.clone()).build().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    let taken = |success| Ok(Routed::TakenOver { reason: TakenOver::TimedOut, success });
    assert_eq!(port.route(alice, OFFER, SHORT), taken(true));
    assert_eq!(port.route(alice, br#"{"type":"OFFER","dst":"carol"}"#, SHORT), taken(false));
    assert_eq!(base.load(Relaxed), 2);
    settle(&mut workers[0], &clock);
    let mut events = 0;
    port.poll_each(100, |_| events += 1).unwrap();
    assert_eq!(events, 0, "handled twice");
    assert_eq!(settled(&router).submitted, 2);
    assert_eq!(router.accounting().takeovers.counted(), [("timed_out", 2)]);
}

#[test]
fn without_a_base_route_the_caller_is_told() {
    let Bench { router, mut workers, clock, .. } = Bench::of(config(&[]), |builder| builder);
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    assert_eq!(port.route(alice, OFFER, SHORT), Err(RouteError::TimedOut));
    settle(&mut workers[0], &clock);
    assert_eq!(settled(&router).submitted, 1);
    assert_eq!(router.accounting().expired, 1);
    // After a stop, records in the ring are refused as closed, and a later call gets that result.
    assert_eq!(port.route(alice, OFFER, SHORT), Err(RouteError::TimedOut));
    router.request_stop();
    settle(&mut workers[0], &clock);
    assert_eq!(port.route(alice, OFFER, SHORT), Err(RouteError::Refused(SubmitError::Closed)));
    while port.poll_each(10, |_| ()).is_ok() {}
    assert_eq!(settled(&router).submitted, 3);
}

/// A message that waited longer than max_queue_wait is not handled late; the base route takes it over.
#[test]
fn an_expired_message_is_taken_over() {
    let (clock, hands) = Clock::manual();
    let (builder, base) = builder(config(&[("max_queue_wait_ms", "10")]));
    let (router, mut workers) = builder.clock(clock.clone()).build().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    let routed = std::thread::scope(|scope| {
        let caller = scope.spawn(|| port.route(alice, OFFER, LONG));
        until(|| router.accounting().submitted == 1);
        hands.advance(Duration::from_millis(11));
        until(|| {
            workers[0].cycle(clock.now());
            caller.is_finished()
        });
        caller.join().unwrap()
    });
    assert_eq!(routed, Ok(Routed::TakenOver { reason: TakenOver::Expired, success: true }));
    assert_eq!(base.load(Relaxed), 1);
    assert_eq!(settled(&router).submitted, 1);
}

#[test]
fn a_full_ring_is_taken_over_refused_or_waited_for() {
    let small = [("ring_bytes", "8192"), ("max_message", "1000")];
    let fill = |port: &mut Port, alice| {
        let mut count = 0;
        while port.submit(alice, OFFER, 0).is_ok() {
            count += 1;
        }
        port.publish();
        count + 1
    };
    let (inline, base) = builder(config(&small));
    let (router, _workers) = inline.build().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    let submitted = fill(&mut port, alice);
    assert_eq!(
        port.route(alice, OFFER, SHORT),
        Ok(Routed::TakenOver { reason: TakenOver::RingFull, success: true })
    );
    assert_eq!((base.load(Relaxed), router.accounting().submitted), (1, submitted + 1));
    assert_eq!(router.accounting().refusals.counted(), [("ring_full", 1)]);

    let (builder, base) = builder(config(&[small[0], small[1], ("route_fallback", "refuse")]));
    let (router, _workers) = builder.build().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    fill(&mut port, alice);
    assert_eq!(port.route(alice, OFFER, LONG), Err(RouteError::Refused(SubmitError::RingFull)));
    assert_eq!(base.load(Relaxed), 0);
}

#[test]
fn with_concurrent_routing_off_everything_goes_to_the_base_route() {
    let off = config(&[("enable_concurrent_routing", "off")]);
    let error = Builder::new(off.clone()).build().unwrap_err().to_string();
    assert!(error.starts_with("enable_concurrent_routing = off") && error.contains("base_route"), "{error}");
    let inline = config(&[("route_fallback", "inline")]);
    assert!(Builder::new(inline).build().unwrap_err().to_string().contains("base_route"));
    let (builder, base) = builder(off);
    let router = builder.start().unwrap();
    let mut port = router.port().unwrap();
    let (alice, _) = connect(&mut port);
    assert_eq!(
        port.route(alice, OFFER, LONG),
        Ok(Routed::TakenOver { reason: TakenOver::Disabled, success: true })
    );
    port.submit(alice, OFFER, 0).unwrap();
    port.publish();
    assert_eq!(base.load(Relaxed), 2);
    assert_eq!(settled(&router).submitted, 2);
    assert_eq!(router.accounting().takeovers.counted(), [("disabled", 2)]);
}

/// Many threads on one shared port, with a stop: every call returns, and each message is handled once.
#[test]
fn many_callers_and_a_stop() {
    let (builder, base) =
        builder(config(&[("max_calls", "8"), ("credit_messages", "65535"), ("credit_bytes", "100000000")]));
    let mut router = builder.start().unwrap();
    let (shared, mut poller) = router.port().unwrap().share();
    let alice = shared.connect("alice", "peerjs", "", 1).unwrap();
    let bob = shared.connect("bob", "peerjs", "", 2).unwrap();
    let (mut delivered, mut taken_over, mut without_place) = (0, 0, 0);
    let mut polled = 0;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..12)
            .map(|_| {
                let shared = shared.clone();
                scope.spawn(move || {
                    let (mut delivered, mut taken_over, mut without_place) = (0, 0, 0);
                    for _ in 0..500 {
                        match shared.route(alice, OFFER, LONG) {
                            Ok(Routed::Delivered) => delivered += 1,
                            Ok(Routed::TakenOver { reason: TakenOver::Closed, success: true }) => {
                                taken_over += 1
                            }
                            Ok(Routed::TakenOver { reason: TakenOver::TooManyCalls, success: true }) => {
                                without_place += 1
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    (delivered, taken_over, without_place)
                })
            })
            .collect();
        let mut stopped = false;
        loop {
            let mut bytes = 0;
            let taken = poller.poll_each(100, |event| {
                if let Event::Message(message) = event {
                    bytes += message.payload.len();
                }
            });
            match taken {
                Ok(taken) => {
                    polled += taken as u64;
                    poller.acknowledge(bob, taken as u32, bytes as u32);
                }
                Err(_) => break,
            }
            if !stopped && polled > 1_000 {
                router.request_stop();
                stopped = true;
            }
            if callers.iter().all(|caller| caller.is_finished()) && !stopped {
                router.request_stop();
                stopped = true;
            }
        }
        for caller in callers {
            let (one, two, three) = caller.join().unwrap();
            delivered += one;
            taken_over += two;
            without_place += three;
        }
    });
    router.stop();
    assert_eq!(delivered + taken_over + without_place, 12 * 500);
    // What waits in a backlog when its worker stops is counted as given up.
    let figures = settled(&router);
    let given_up = figures.undelivered.get("stopped");
    assert_eq!((polled + given_up, base.load(Relaxed)), (delivered, taken_over + without_place));
    assert_eq!((figures.submitted, figures.undeliverable), (12 * 500, given_up));
}

#[test]
fn metrics_off_keeps_the_accounting() {
    for (metrics, recorded) in [("on", 1), ("off", 0)] {
        let router = Builder::new(config(&[("enable_metrics", metrics)])).start().unwrap();
        let mut port = router.port().unwrap();
        let (alice, _) = connect(&mut port);
        assert_eq!(port.route(alice, OFFER, LONG), Ok(Routed::Delivered));
        let stats = router.stats();
        assert_eq!((stats.accounting.ok, stats.messages.total), (1, 1));
        assert_eq!(stats.messages.latency.count, recorded);
        assert_eq!(stats.messages.bytes_in, recorded * OFFER.len() as u64);
    }
}
