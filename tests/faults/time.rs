//! The time that a host passes to a cycle does not affect decisions that the router's own clock makes. Row R3;
//! invariant I4.

use super::harness::{Bench, HEARTBEAT, Seen, offer, poll};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::router::Port;

/// One message is held for bob for a second. `now` is the time that the host passes to that cycle.
fn holding(now: u64) -> (Bench, Port, ClientId) {
    let mut bench = Bench::new(&[("workers", "1"), ("hold_ms", "1000")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.submit(ann, &offer("bob"), 7).unwrap();
    port.publish();
    bench.workers[0].cycle(Stamp(now));
    (bench, port, ann)
}

fn cycle_at(bench: &mut Bench, port: &mut Port, now: u64) -> Vec<Seen> {
    port.publish();
    let mut events = Vec::new();
    for _ in 0..3 {
        bench.workers[0].cycle(Stamp(now));
        events.extend(poll(port));
    }
    events
}

/// `now_zero`. R11: if the host always passes 0, held messages expire at their time and not earlier.
#[test]
fn a_host_that_passes_no_time_loses_nothing_early() {
    let (mut bench, mut port, ann) = holding(0);
    assert_eq!(cycle_at(&mut bench, &mut port, 0), []);
    bench.advance(990);
    port.submit(ann, HEARTBEAT, 8).unwrap();
    assert_eq!(cycle_at(&mut bench, &mut port, 0), []);
    assert_eq!(bench.router.accounting().held, 1);
    bench.advance(20);
    assert_eq!(cycle_at(&mut bench, &mut port, 0), [Seen::Expired(1, 7)]);
    bench.assert_quiet(2, 1);
}

/// `now_zero`. R11: a client that connects in time still gets the held messages.
#[test]
fn a_host_that_passes_no_time_delivers_what_is_held() {
    let (mut bench, mut port, _) = holding(0);
    bench.advance(990);
    port.connect("bob", "peerjs", "", 2).unwrap();
    assert_eq!(cycle_at(&mut bench, &mut port, 0), [Seen::Message(2, 7)]);
    bench.assert_quiet(1, 1);
}

/// `now_zero`. R3, R11: a time in the future does no harm, in that cycle or later.
#[test]
fn a_time_that_has_not_come_does_no_harm() {
    let (mut bench, mut port, ann) = holding(u64::MAX);
    port.submit(ann, HEARTBEAT, 8).unwrap();
    assert_eq!(cycle_at(&mut bench, &mut port, u64::MAX), []);
    let figures = bench.router.accounting();
    assert_eq!((figures.held, figures.ok, figures.expired), (1, 1, 0), "{figures:?}");
    // The host passes the correct time again.
    bench.advance(990);
    assert_eq!(bench.turn(&mut port), []);
    bench.advance(20);
    assert_eq!(bench.drain(&mut [&mut port]), [Seen::Expired(1, 7)]);
    let waited = bench.router.stats().messages.queue_wait.maximum.unwrap();
    assert!(waited <= 1_000_000_000, "a message waited for {waited} ns");
    bench.assert_quiet(2, 1);
}

/// `now_zero`. R3: a message that is held after a time in the future is held for the normal time.
#[test]
fn what_is_held_behind_a_time_that_has_not_come_expires() {
    let (mut bench, mut port, ann) = holding(u64::MAX);
    bench.advance(500);
    port.submit(ann, &offer("carol"), 8).unwrap();
    assert_eq!(bench.turn(&mut port), []);
    bench.advance(510);
    assert_eq!(bench.turn(&mut port), [Seen::Expired(1, 7)]);
    bench.advance(500);
    assert_eq!(bench.drain(&mut [&mut port]), [Seen::Expired(1, 8)]);
    bench.assert_quiet(2, 2);
}
