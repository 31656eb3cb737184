//! Messages that are refused before they are accepted, how refusals are counted, and when a port may sleep after a
//! refusal. Rows R3, R10, R15, G2; invariants I6, I9.

use super::harness::{Bench, HEARTBEAT, config, full_queue, poll, within};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::config::Config;
use corelane::error::{SubmitError, TakenOver};
use corelane::router::{Port, Routed, SubmitOptions};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const FULL: SubmitError = SubmitError::RingFull;

/// `wait_counts`, `batch_wait`. G2: waiting is up to the host, so no key makes a submission wait.
#[test]
fn no_key_makes_a_submission_wait() {
    for (key, value) in [
        ("submit_full", "wait"),
        ("submit_full", "refuse"),
        ("submit_wait_ms", "50"),
        ("route_fallback", "wait"),
    ] {
        let refused = Config::default().set(key, value);
        assert!(refused.is_err(), "{key} = {value}");
    }
    config(&[("route_fallback", "refuse"), ("route_fallback", "auto")]);
}

/// `wait_counts`, `batch_wait`. I4, I9: one refused call counts as one submitted and one refused message.
#[test]
fn each_refused_call_counts_once() {
    let mut bench = Bench::new(&[("workers", "1"), ("queue_messages", "1")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    bench.turn(&mut port);
    port.submit(ann, HEARTBEAT, 0).unwrap();
    let counts = |bench: &Bench| {
        let figures = bench.router.accounting();
        assert_eq!(figures.refused, figures.refusals.get("ring_full"));
        (figures.submitted, figures.refused)
    };
    assert_eq!(port.submit(ann, HEARTBEAT, 0), Err(FULL));
    assert_eq!(counts(&bench), (2, 1));
    let given = port.submit_owned(ann, Box::new(HEARTBEAT), SubmitOptions::default());
    assert_eq!(given.unwrap_err().error, FULL);
    assert_eq!(counts(&bench), (3, 2));
    assert_eq!(port.send(ann, HEARTBEAT, 0), Err(FULL));
    assert_eq!(counts(&bench), (4, 3));
    assert_eq!(port.route(ann, HEARTBEAT, Duration::from_secs(60)), Err(FULL.into()));
    assert_eq!(counts(&bench), (5, 4));
    let both = port.route_batch(&[(ann, HEARTBEAT), (ann, HEARTBEAT)], Duration::from_secs(60));
    assert_eq!((both, counts(&bench)), (vec![Err(FULL.into()), Err(FULL.into())], (7, 6)));
    assert_eq!(bench.turn(&mut port), []);
    bench.assert_quiet(7, 0);
}

/// The messages that the base route got: sender and length.
type Given = Arc<Mutex<Vec<(ClientId, usize)>>>;

/// A router whose base route handles everything, and the list of messages that the base route got.
fn disabled(set: &[(&str, &str)]) -> (Bench, Given) {
    let given = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&given);
    let base = [("workers", "1"), ("enable_concurrent_routing", "off"), ("max_ports", "2")];
    let bench = Bench::built(&[&base[..], set].concat(), |builder| {
        builder.base_route(move |request| {
            seen.lock().unwrap().push((request.client, request.message.len()));
            true
        })
    });
    (bench, given)
}

/// `disabled_any`. R10, I9: without concurrent routing, every call checks each message in the same way as with it.
#[test]
fn the_base_route_sees_only_what_would_have_been_accepted() {
    let (mut bench, given) = disabled(&[("max_message", "1000"), ("client_rate", "1")]);
    let (mut port, mut other) = (bench.port(), bench.port());
    let [ann, ben, cleo] = ["ann", "ben", "cleo"].map(|name| port.connect(name, "peerjs", "", 1).unwrap());
    let refuses = |port: &mut Port, client: ClientId, message: &'static [u8], error: SubmitError| {
        assert_eq!(port.submit(client, message, 0), Err(error));
        assert_eq!(port.submit_with(client, message, SubmitOptions::default()), Err(error));
        let given = port.submit_owned(client, Box::new(message), SubmitOptions::default());
        assert_eq!(given.err().map(|returned| returned.error), Some(error));
        assert_eq!(port.route(client, message, Duration::from_secs(60)), Err(error.into()));
    };
    refuses(&mut port, ClientId(77), b"x", SubmitError::StaleClient);
    refuses(&mut other, ann, b"x", SubmitError::WrongPort);
    refuses(&mut port, ann, &[b'x'; 5_000], SubmitError::TooLarge);
    port.submit(ann, b"once", 0).unwrap();
    refuses(&mut port, ann, b"x", SubmitError::RateLimited);
    bench.advance(1_000);
    let taken = Routed::TakenOver { reason: TakenOver::Disabled, success: true };
    assert_eq!(port.route(ann, b"twice", Duration::from_secs(60)), Ok(taken));
    port.disconnect(ben).unwrap();
    refuses(&mut port, ben, b"x", SubmitError::StaleClient);
    bench.router.request_stop();
    bench.cycle();
    assert_eq!(port.submit(cleo, b"x", 0), Err(SubmitError::Closed));
    assert_eq!(*given.lock().unwrap(), [(ann, 4), (ann, 5)]);
    let figures = bench.router.accounting();
    assert_eq!((figures.submitted, figures.refused, figures.taken_over), (23, 21, 2), "{figures:?}");
    let expected =
        [("stale_client", 8), ("wrong_port", 4), ("too_large", 4), ("rate_limited", 4), ("closed", 1)];
    for (reason, times) in expected {
        assert_eq!(figures.refusals.get(reason), times, "{reason}");
    }
    assert_eq!((figures.takeovers.get("disabled"), figures.in_flight), (2, 0));
}

/// `disabled_any`. R9: a draining router accepts nothing new, with or without concurrent routing.
#[test]
fn the_base_route_sees_nothing_while_the_router_drains() {
    let (bench, given) = disabled(&[]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    bench.router.drain(Duration::ZERO).unwrap();
    assert_eq!(port.submit(ann, b"x", 0), Err(SubmitError::Draining));
    assert_eq!(*given.lock().unwrap(), []);
}

/// `bucket_future`. R15: a time stamp in the future costs one message's tokens and does not affect later messages.
#[test]
fn a_stamp_of_the_future_closes_no_bucket() {
    let mut bench = Bench::new(&[("workers", "1"), ("client_rate", "10"), ("client_burst", "2")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    let hour = 3_600_000_000_000;
    assert_eq!(port.submit_at(ann, HEARTBEAT, 0, Stamp(bench.clock.now().0 + hour)), Ok(()));
    for round in 0..50 {
        bench.advance(100);
        assert_eq!(port.submit(ann, HEARTBEAT, 0), Ok(()), "at the rate, in round {round}");
        bench.turn(&mut port);
    }
    // The bucket allows no further message.
    assert_eq!(port.submit(ann, HEARTBEAT, 0), Ok(()));
    assert_eq!(port.submit(ann, HEARTBEAT, 0), Err(SubmitError::RateLimited));
    bench.turn(&mut port);
    bench.assert_quiet(53, 0);
}

/// `arm_spins`. I6, R3: a port that was refused because of `queue_messages` may sleep until the worker takes
/// something.
#[test]
fn a_port_whose_queue_is_full_sleeps_until_something_is_taken() {
    let (mut bench, mut port, ann) = full_queue(true);
    for round in 0..100 {
        assert!(port.arm(), "the port must be able to sleep while nothing was taken, in round {round}");
        assert_eq!(poll(&mut port), []);
        assert_eq!(port.submit(ann, HEARTBEAT, 0), Err(FULL));
    }
    assert!(port.arm());
    bench.cycle();
    assert!(!port.arm(), "the port must not sleep while there is space");
    assert_eq!(port.submit(ann, HEARTBEAT, 0), Ok(()));
}

/// `arm_spins`. I6: the worker wakes that port when it takes something.
#[test]
fn a_port_that_sleeps_on_a_full_queue_is_woken() {
    let (mut bench, mut port, ann) = full_queue(true);
    let (tell, told) = std::sync::mpsc::channel();
    let woken = std::thread::spawn(move || {
        let came_back = within(move || {
            tell.send(()).unwrap();
            port.wait(Duration::from_secs(3_600));
            port
        });
        came_back.is_some_and(|mut port| port.submit(ann, HEARTBEAT, 0) == Ok(()))
    });
    told.recv().unwrap();
    // The port most likely sleeps by now. If it does not, it finds space when it arms.
    std::thread::sleep(Duration::from_millis(20));
    bench.cycle();
    assert!(woken.join().unwrap());
}
