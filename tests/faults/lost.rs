//! A worker that ends without a stop is settled: nothing stays in flight, and its port reports the end. Row R9;
//! invariants I4, I9.

use super::harness::{Bench, CLOSED, HEARTBEAT, closings, got, offer, poll, poll_to_the_end, until, within};
use corelane::error::ConnectError;
use corelane::router::{Port, Routed, Worker};
use std::panic::resume_unwind;
use std::time::Duration;

fn is_dropped(worker: Worker) {
    drop(worker);
}

fn is_unwound(worker: Worker) {
    let thread = std::thread::spawn(move || {
        let _worker = worker;
        resume_unwind(Box::new("something in its loop"));
    });
    assert!(thread.join().is_err());
}

fn is_settled(goes: fn(Worker)) {
    let mut bench = Bench::new(&[("workers", "1")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    let eve = port.connect("eve", "peerjs", "", 2).unwrap();
    assert_eq!(bench.turn(&mut port), []);
    port.submit(ann, &offer("bob"), 1).unwrap();
    assert_eq!(bench.turn(&mut port), []);
    assert_eq!(bench.router.accounting().held, 1);
    port.submit(ann, HEARTBEAT, 2).unwrap();
    port.disconnect(eve).unwrap();
    port.submit(ann, HEARTBEAT, 3).unwrap();
    goes(bench.workers.remove(0));
    let mut events = poll(&mut port);
    let figures = bench.router.accounting();
    assert_eq!((figures.in_flight, figures.held), (0, 0), "{figures:?}");
    assert_eq!(
        bench.failed("worker_lost"),
        2,
        "the message that it held, and the message that it had not taken"
    );
    assert_eq!(figures.refusals.counted(), [("closed", 1)], "the message that was not published");
    assert_eq!(port.submit(ann, HEARTBEAT, 4), Err(CLOSED));
    assert_eq!(port.connect("new", "peerjs", "", 3), Err(ConnectError::Closed));
    events.extend(poll_to_the_end(&mut port));
    assert!(port.is_over());
    assert_eq!((closings(&events, 2), events.len()), (1, 1), "{events:?}");
    bench.assert_quiet(4, 1);
    drop(port);
    assert_eq!(bench.router.stop_within(Duration::ZERO), Ok(()));
}

/// `drop_plain`. I4, I9: a worker that is dropped before it has stopped.
#[test]
fn a_worker_that_is_dropped_is_settled() {
    is_settled(is_dropped);
}

/// `drop_plain`. I4, I9: a worker whose thread unwinds.
#[test]
fn a_worker_whose_thread_unwinds_is_settled() {
    is_settled(is_unwound);
}

/// R9: the workers with threads are lost, and a local worker still runs. No client of another port can go to it, so a
/// connect that would accept a client whose every message is refused is refused itself.
#[test]
fn a_local_worker_alone_takes_no_clients_of_other_ports() {
    for balance in ["hash", "least_loaded", "round_robin"] {
        let set = [("workers", "3"), ("local_workers", "1"), ("balance", balance)];
        let mut bench = Bench::new(&set);
        let (mut port, mut local) = (bench.port(), bench.router.local_port().unwrap());
        let ann = port.connect("ann", "peerjs", "", 1).unwrap();
        bench.turn(&mut port);
        bench.workers.remove(0);
        assert!(port.connect("bob", "peerjs", "", 2).is_ok(), "{balance}: the other worker takes it");
        bench.workers.remove(0);
        assert_eq!(port.submit(ann, HEARTBEAT, 1), Err(CLOSED), "{balance}");
        assert_eq!(port.connect("eve", "peerjs", "", 3), Err(ConnectError::Closed), "{balance}");
        let near = local.connect("eve", "peerjs", "", 3).unwrap();
        local.submit(near, HEARTBEAT, 1).unwrap();
        local.cycle().unwrap();
        assert_eq!(bench.router.stats().messages.succeeded, 1, "{balance}");
    }
}

/// R9: a worker that is dropped after its stop has nothing left to lose.
#[test]
fn a_worker_that_is_dropped_after_its_stop_changes_nothing() {
    let mut bench = Bench::new(&[("workers", "1")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.submit(ann, &offer("bob"), 1).unwrap();
    bench.turn(&mut port);
    bench.router.request_stop();
    bench.cycle();
    let before = bench.router.accounting();
    bench.workers.clear();
    assert_eq!(bench.router.accounting(), before);
    assert_eq!(poll_to_the_end(&mut port), []);
    assert_eq!((bench.failed("stopped"), bench.failed("worker_lost")), (1, 0));
    bench.assert_quiet(1, 0);
}

/// R9, I4, I5: what a lost worker had already written to its egress rings is still delivered, in order; the rest is
/// counted.
#[test]
fn what_a_lost_worker_had_delivered_can_still_be_polled() {
    let mut bench = Bench::new(&[("workers", "1"), ("ring_bytes", "4096"), ("backlog_bytes", "4096")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.connect("bob", "peerjs", "", 2).unwrap();
    for number in 0..40 {
        port.submit(ann, &offer("bob"), number).unwrap();
        port.publish();
        bench.cycle();
    }
    bench.workers.clear();
    let events = poll_to_the_end(&mut port);
    let numbers = got(&events, 2);
    assert!(numbers.len() >= 16, "{numbers:?}");
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    bench.assert_quiet(40, events.len());
}

/// R8: a caller that waits for a lost worker returns at once.
#[test]
fn a_call_to_a_lost_worker_ends() {
    let mut bench = Bench::new(&[("workers", "1")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    bench.turn(&mut port);
    let waits = move |port: &mut Port| port.route(ann, HEARTBEAT, Duration::from_secs(3_600));
    let caller = std::thread::spawn(move || {
        within(move || {
            let routed = waits(&mut port);
            (routed, port)
        })
    });
    until(|| bench.router.accounting().submitted == 1);
    bench.workers.clear();
    let (routed, mut port) = caller.join().unwrap().unwrap();
    match routed {
        Ok(Routed::Failed(reason)) => assert_eq!(reason.label(), "worker_lost"),
        other => assert_eq!(other, Err(CLOSED.into())),
    }
    poll_to_the_end(&mut port);
    let figures = bench.router.accounting();
    assert_eq!(bench.failed("worker_lost") + figures.refusals.get("closed"), 1, "{figures:?}");
    bench.assert_quiet(1, 0);
}
