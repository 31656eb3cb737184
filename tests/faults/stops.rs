//! After a stop the payload table is empty, and every client that disconnects gets a last event. Rows R9, R16;
//! invariants I3, I4.

use super::harness::{Bench, HEARTBEAT, ROUNDS, Seen, closings, offer, poll, poll_to_the_end, settled};
use corelane::clients::ClientId;
use corelane::error::{Closed, SubmitError};
use corelane::router::Port;

/// `stop_payloads`. I3: out-of-line payloads of messages that a stop gives up are freed with the stop, not with the
/// port.
#[test]
fn a_stop_frees_the_payloads_that_it_gives_up() {
    let set = [("workers", "1"), ("ring_bytes", "4096"), ("backlog_bytes", "4096"), ("payloads", "256")];
    let mut bench = Bench::new(&set);
    let mut port = bench.port();
    let ann = port.connect("ann", "peerjs", "", 1).unwrap();
    port.connect("bob", "peerjs", "", 2).unwrap();
    bench.turn(&mut port);
    let large = format!(r#"{{"type":"OFFER","dst":"bob","payload":"{}"}}"#, "x".repeat(3_000));
    for number in 0..100 {
        port.submit(ann, large.as_bytes(), number).unwrap();
        port.publish();
        bench.cycle();
    }
    bench.router.request_stop();
    bench.cycle();
    let events = poll_to_the_end(&mut port);
    let stats = bench.router.stats();
    assert_eq!((stats.payloads_waiting, stats.payload_bytes), (0, 0));
    bench.assert_quiet(100, events.len());
    drop(port);
}

/// Ann, ben and cleo on a port, with their indices as tokens.
fn three(set: &[(&str, &str)]) -> (Bench, Port, [ClientId; 3]) {
    let mut bench = Bench::new(set);
    let mut port = bench.port();
    let clients =
        [("ann", 0), ("ben", 1), ("cleo", 2)].map(|(name, token)| port.connect(name, "peerjs", "", token));
    let clients = clients.map(Result::unwrap);
    assert_eq!(bench.turn(&mut port), []);
    (bench, port, clients)
}

const SETS: [&[(&str, &str)]; 3] = [
    &[("workers", "1"), ("ring_bytes", "4096")],
    &[("workers", "2"), ("ring_bytes", "4096")],
    &[("workers", "2"), ("ring_bytes", "4096"), ("balance", "round_robin")],
];

/// Checks that each client in `tokens` has left once, that no other client has, and that nothing is in flight.
fn assert_left(bench: &Bench, events: &[Seen], tokens: &[u64]) {
    for token in 0..3 {
        let wanted = usize::from(tokens.contains(&token));
        assert_eq!(closings(events, token), wanted, "{token}: {events:?}");
    }
    assert_eq!(settled(&bench.router).consumed, events.len() as u64);
}

/// R16, R9: a client that disconnected before the stop, and whose last record its workers have not taken.
#[test]
fn who_left_before_a_stop_has_a_last_event() {
    for set in SETS {
        let (mut bench, mut port, clients) = three(set);
        port.disconnect(clients[0]).unwrap();
        port.disconnect(clients[2]).unwrap();
        bench.router.request_stop();
        bench.cycle();
        assert_left(&bench, &poll_to_the_end(&mut port), &[0, 2]);
    }
}

/// R16, R9: the same if there was no space for that record.
#[test]
fn who_left_behind_a_full_ring_before_a_stop_has_a_last_event() {
    for set in SETS {
        let (mut bench, mut port, clients) = three(set);
        let full = (0..ROUNDS).find_map(|_| port.submit(clients[1], HEARTBEAT, 0).err());
        assert_eq!(full, Some(SubmitError::RingFull));
        for client in clients {
            port.disconnect(client).unwrap();
        }
        bench.router.request_stop();
        bench.cycle();
        assert_left(&bench, &poll_to_the_end(&mut port), &[0, 1, 2]);
    }
}

/// R16, R9: a client that disconnects after its worker has stopped, whether or not all workers have stopped.
#[test]
fn who_leaves_during_a_stop_has_a_last_event() {
    for set in SETS {
        for first in 0..2 {
            let (mut bench, mut port, clients) = three(set);
            port.submit(clients[0], &offer("cleo"), 7).unwrap();
            port.publish();
            bench.cycle();
            bench.router.request_stop();
            bench.cycle_one(first % bench.workers.len());
            port.disconnect(clients[0]).unwrap();
            port.disconnect(clients[1]).unwrap();
            let mut events = poll(&mut port);
            bench.cycle();
            events.extend(poll_to_the_end(&mut port));
            assert!(events.contains(&Seen::Message(2, 7)));
            assert_left(&bench, &events, &[0, 1]);
        }
    }
}

/// R16, R9: a client that disconnects after the port reported the end: the next poll delivers its last event.
#[test]
fn who_leaves_after_the_end_has_a_last_event() {
    for set in SETS {
        let (mut bench, mut port, clients) = three(set);
        bench.router.request_stop();
        bench.cycle();
        assert_eq!(poll_to_the_end(&mut port), []);
        port.disconnect(clients[0]).unwrap();
        port.disconnect(clients[1]).unwrap();
        let events = poll_to_the_end(&mut port);
        assert_left(&bench, &events, &[0, 1]);
        assert_eq!(port.poll_each(9, |_| ()), Err(Closed));
    }
}
