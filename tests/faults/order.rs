//! Messages from one client to one recipient keep their order while workers stop. Row R2; invariant I5.

use super::harness::{Bench, CLOSED, HEARTBEAT, got, offer, poll, poll_to_the_end};

/// One worker stops while its deliveries are unread. Returns bob's messages, and whether message 2 was accepted.
fn across_a_stop(balance: &str, polls: usize) -> (Vec<u64>, bool) {
    let mut bench = Bench::new(&[("workers", "2"), ("balance", balance), ("max_ports", "1")]);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.connect("bob", "peerjs", "", 2).unwrap();
    port.publish();
    bench.cycle();
    for _ in 0..polls {
        assert_eq!(poll(&mut port), []);
    }
    // Message 1 is in its worker's egress ring.
    port.submit(ann, &offer("bob"), 1).unwrap();
    port.publish();
    bench.cycle();
    let ended = bench.router.stats().workers.iter().position(|worker| worker.ended == 1);
    let worker = ended.unwrap();
    // Adds load to the worker's last cycle.
    port.submit(ann, HEARTBEAT, 0).unwrap();
    port.publish();
    bench.cycle_one(worker);
    // This worker has stopped. The other has not yet seen the stop request.
    bench.router.request_stop();
    bench.cycle_one(worker);
    let second = port.submit(ann, &offer("bob"), 2);
    port.publish();
    bench.cycle_one(1 - worker);
    if let Err(error) = &second {
        assert_eq!(*error, CLOSED);
    }
    let events = poll_to_the_end(&mut port);
    bench.assert_quiet(3, events.len());
    (got(&events, 2), second.is_ok())
}

/// `order_stop`. I5: a message that a client sends after its worker has stopped is refused, or is delivered after
/// that worker's deliveries.
#[test]
fn nothing_overtakes_what_a_stopped_worker_delivered() {
    for balance in ["least_loaded", "hash"] {
        for polls in [1, 2] {
            let (numbers, accepted) = across_a_stop(balance, polls);
            let wanted: &[u64] = if accepted { &[1, 2] } else { &[1] };
            assert_eq!(numbers, wanted, "{balance}, after {polls} polls");
        }
    }
}
