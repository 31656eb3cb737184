//! Closes, last events and calls of a worker that has ended. Invariants I4, I9; rows R8, R16.

use super::harness::{
    Bench, HEARTBEAT, SUM, Seen, connect_on, got, offer, poll, poll_to_the_end, seen, sums, until,
};
use corelane::error::RouteError;
use corelane::router::Event;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// If a lost worker could not deliver a close request, the port delivers it. Otherwise the client would get nothing
/// forever.
#[test]
fn a_close_is_not_lost_with_its_worker() {
    let mut bench = Bench::new(&[
        ("workers", "2"),
        ("balance", "hash"),
        ("ring_bytes", "4096"),
        ("backlog_bytes", "4096"),
        ("credit_messages", "10"),
        ("max_ports", "2"),
    ]);
    let (mut port, mut other) = (bench.port(), bench.port());
    let (sender, _) = connect_on(&mut bench, &mut other, 0);
    port.connect("victim", "peerjs", "", 7).unwrap();
    for number in 0..20 {
        port.connect(&format!("filler {number}"), "peerjs", "", 8).unwrap();
        bench.turn(&mut port);
    }
    let mut send = |bench: &mut Bench, to: &str| {
        other.submit(sender, &offer(to), 1).unwrap();
        other.publish();
        bench.cycle();
    };
    // The victim receives and does not acknowledge. Then messages to other clients fill the ring and the backlog.
    for _ in 0..10 {
        send(&mut bench, "victim");
        poll(&mut port);
    }
    for number in 0..200 {
        send(&mut bench, &format!("filler {}", number / 10));
    }
    send(&mut bench, "victim");
    assert_eq!(bench.router.stats().workers[0].credit_closes, 1);
    drop(bench.workers.remove(0));
    let events: Vec<_> = (0..20).flat_map(|_| bench.turn(&mut port)).collect();
    assert_eq!(events.iter().filter(|event| **event == Seen::Close(7)).count(), 1, "{events:?}");
}

/// A steady load from other workers does not delay the last events of a lost worker's clients.
#[test]
fn last_events_do_not_wait_behind_a_steady_load() {
    let mut bench = Bench::new(&[
        ("workers", "2"),
        ("balance", "hash"),
        ("credit_messages", "60000"),
        ("max_ports", "2"),
    ]);
    let (mut port, mut other) = (bench.port(), bench.port());
    let (eve, token) = connect_on(&mut bench, &mut port, 0);
    let (ann, _) = connect_on(&mut bench, &mut other, 1);
    port.connect("bob", "peerjs", "", 2).unwrap();
    for _ in 0..3 {
        bench.turn(&mut port);
    }
    drop(bench.workers.remove(0));
    port.disconnect(eve).unwrap();
    let mut closed = false;
    for _ in 0..10 {
        for _ in 0..8 {
            other.submit(ann, &offer("bob"), 0).unwrap();
        }
        other.publish();
        bench.cycle();
        port.poll_each(8, |event| closed |= seen(&event) == Seen::Closed(token)).unwrap();
    }
    assert!(closed);
}

/// A host may drop a worker after it has requested a stop: the worker does not count as lost.
#[test]
fn a_worker_that_is_dropped_during_a_stop_is_not_missed() {
    let mut bench = Bench::new(&[("workers", "1")]);
    let _port = bench.port();
    bench.router.request_stop();
    bench.workers.clear();
    assert!(!bench.router.stats().workers[0].lost);
}

/// A name whose post found the ring full gets its held messages, even from a worker that stops.
#[test]
fn a_stop_heeds_a_post_that_found_no_room() {
    for full in [false, true] {
        let mut bench = Bench::new(&[("workers", "1"), ("ring_bytes", "4096")]);
        let mut port = bench.port();
        let ann = port.connect("ann", "peerjs", "", 1).unwrap();
        port.submit(ann, &offer("bob"), 7).unwrap();
        bench.turn(&mut port);
        while full && port.submit(ann, HEARTBEAT, 0).is_ok() {}
        while full && port.send(ann, b"", 0).is_ok() {}
        port.connect("bob", "peerjs", "", 2).unwrap();
        port.publish();
        bench.router.request_stop();
        bench.cycle();
        assert_eq!(got(&poll_to_the_end(&mut port), 2), [7]);
    }
}

/// If a port is released while a caller waits, the base route takes over the call, and the call is counted.
#[test]
fn a_call_on_a_released_port_is_counted() {
    let mut bench = Bench::built(&[("workers", "1")], |builder| builder.base_route(|_| true));
    let (shared, poller) = bench.port().share();
    let ann = shared.connect("ann", "peerjs", "", 1).unwrap();
    bench.cycle();
    let caller = std::thread::spawn(move || shared.route(ann, HEARTBEAT, Duration::from_millis(300)));
    until(|| bench.router.accounting().submitted == 1);
    drop(poller);
    caller.join().unwrap().unwrap();
    for _ in 0..5 {
        bench.cycle();
    }
    let figures = bench.router.accounting();
    assert_eq!((figures.submitted, figures.taken_over, figures.in_flight), (1, 1, 0), "{figures:?}");
}

/// A base route that panics affects only its own message: the other calls of the batch return their call slots.
#[test]
fn a_base_route_that_panics_keeps_no_places() {
    let mut bench = Bench::built(&[("workers", "1"), ("max_calls", "4")], |builder| {
        builder.base_route(|_| panic!("on purpose"))
    });
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    bench.cycle();
    for _ in 0..4 {
        let batch = [(ann, HEARTBEAT); 4];
        let routed = catch_unwind(AssertUnwindSafe(|| port.route_batch(&batch, Duration::from_millis(1))));
        assert!(routed.is_err());
    }
    for _ in 0..5 {
        bench.cycle();
    }
    let figures = bench.router.accounting();
    assert_eq!((figures.takeovers.counted(), figures.in_flight), (vec![("timed_out", 16)], 0), "{figures:?}");
}

/// Code that views a task runs inside its worker and may not call.
#[test]
fn who_is_shown_a_task_may_not_route() {
    let mut bench = Bench::built(&[("workers", "1")], sums);
    let mut port = bench.port();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    port.submit(ann, SUM, 0).unwrap();
    port.publish();
    let now = bench.clock.now();
    let mut routed = None;
    bench.workers[0].take(now, 9, |_| {
        routed = Some(port.route(ann, br#"{"type":"ping"}"#, Duration::from_millis(500)));
    });
    assert_eq!(routed, Some(Err(RouteError::OwnThread)));
}

/// A poll reports the end only after the last event of each client. The disconnect is still in the ring.
#[test]
fn a_poll_is_not_over_before_the_last_event() {
    let mut bench = Bench::new(&[("workers", "1"), ("ring_bytes", "4096")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 0).unwrap();
    let ben = port.connect("ben", "peerjs", "", 1).unwrap();
    bench.turn(&mut port);
    while port.submit(ben, HEARTBEAT, 0).is_ok() {}
    while port.send(ann, b"", 0).is_ok() {}
    port.disconnect(ben).unwrap();
    bench.router.request_stop();
    bench.cycle();
    let mut closed = 0;
    while port.poll_each(1_000, |event| closed += usize::from(matches!(event, Event::Closed { .. }))).is_ok()
    {
    }
    assert_eq!((closed, port.is_over()), (1, true));
}
