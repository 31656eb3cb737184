//! Names that have no room in a machine's directory.

use crate::machine::{Got, LONG, Machine, offer, wait_for};
use crate::server::Server;
use corelane::cluster::{ClaimError, ClusterStatus, LostReason};
use corelane::router::SubmitOptions;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Names of which a machine's directory has room for so many.
const ROOM: usize = 50;
const NAMES: usize = 500;

fn name(number: usize) -> String {
    format!("client {number}")
}

/// Two machines, the second with all the names. A message is held for so many milliseconds.
fn machines(nats: &Server, hold: &str) -> (Machine, Machine) {
    let small = |machine: &str| {
        Machine::with(&nats.url(), machine, &[("hold_ms", hold)], |options| options.names = ROOM)
    };
    let (mut a, mut b) = (small("a"), small("b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    for number in 0..NAMES {
        b.connect(&name(number));
    }
    wait_for("what has no room is counted", || {
        a.cluster.status().names_left_out >= (NAMES - ROOM) as u64 && a.cluster.status().directory_lag == 0
    });
    (a, b)
}

/// Everything that was asked for has one outcome, and the directory is as large as it may be.
fn check(machine: &Machine) -> ClusterStatus {
    let status = machine.cluster.status();
    let ended = status.asks_found + status.asks_nowhere + status.asks_failed;
    assert_eq!(status.asks, ended + status.asks_in_flight as u64, "{status:?}");
    assert!(status.names_asked <= ROOM.div_ceil(16), "{status:?}");
    assert!(status.names_known <= ROOM + status.names_asked, "{status:?}");
    status
}

/// A message whose type may not be held.
fn leave(machine: &mut Machine, from: &str, to: &str, number: u64) {
    let text = format!(r#"{{"type":"LEAVE","dst":"{to}","payload":{number}}}"#);
    let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
    machine.port.submit_with(machine.client(from), text.as_bytes(), options).unwrap();
    machine.port.wait(Duration::from_millis(1));
}

#[test]
fn ten_times_as_many_names_as_there_is_room_for_are_reached_in_order() {
    let Some(nats) = Server::start("asks") else { return };
    let (mut a, mut b) = machines(&nats, "60000");
    let (mut last, mut sent) = (HashMap::<String, u64>::new(), 0);
    for _ in 0..3 {
        for first in (0..NAMES).step_by(20) {
            // So few at once that all may be held until the answers come.
            for number in first..first + 20 {
                for _ in 0..3 {
                    sent += 1;
                    a.offer("ann", &name(number), sent);
                }
            }
            a.port.wait(Duration::from_millis(1));
            for got in b.get(60) {
                let number = got.number();
                let Got::Message(to, text) = got else { panic!("{got:?}") };
                assert!(last.insert(to.clone(), number).is_none_or(|last| last < number), "{to}: {text}");
            }
            check(&a);
        }
    }
    assert_eq!((last.len(), sent), (NAMES, 9 * NAMES as u64));
    // What may not be held waits for the answer.
    for number in 0..NAMES / 5 {
        leave(&mut a, "ann", &name(5 * number), number as u64);
        let got = b.get(1);
        assert!(matches!(&got[0], Got::Message(to, _) if *to == name(5 * number)), "{got:?}");
    }
    assert_eq!(a.events(), []);
    let status = check(&a);
    assert!(status.asks_found >= (NAMES - ROOM) as u64 && status.names_evicted > 0, "{status:?}");
    assert_eq!((status.asks_nowhere, status.asks_failed), (0, 0));
    a.settled();
    b.settled();

    // How long the first message to a name takes, and the next one. For docs/cluster.md.
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..NAMES {
        for time in &mut times {
            let begun = Instant::now();
            a.offer("ann", &name(number), 1);
            a.port.publish();
            while b.events().is_empty() {
                assert!(begun.elapsed() < LONG);
            }
            time.push(begun.elapsed());
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    println!("first message {:?}, next one {:?} (medians)", times[0][NAMES / 2], times[1][NAMES / 2]);
}

#[test]
fn names_without_room_are_claimed_taken_over_and_left() {
    let Some(nats) = Server::start("asks-claims") else { return };
    let (mut a, mut b) = machines(&nats, "10000");
    let last = name(NAMES - 1);
    assert_eq!(a.cluster.claim_blocking(&last, "other", LONG).unwrap_err(), ClaimError::Taken);
    a.offer("ann", &last, 1);
    a.port.wait(Duration::from_millis(1));
    assert_eq!(b.get(1), [offer("ann", &last, 1)]);
    // The same token takes it over, and b asks where it is now.
    a.connect(&last);
    let lost = b.lost.recv_timeout(LONG).unwrap();
    assert_eq!((lost.name.as_str(), lost.reason), (last.as_str(), LostReason::Replaced));
    b.disconnect(&last);
    b.offer("client 0", &last, 2);
    b.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("client 0", &last, 2)]);
    // Nobody has it any more. What waits for it goes out as soon as it is claimed again.
    a.disconnect(&last);
    wait_for("the name is free", || {
        leave(&mut b, "client 0", &last, 3);
        b.events().contains(&Got::Undelivered(3, "unknown_recipient"))
    });
    b.settled();
    b.offer("client 0", &last, 4);
    b.port.wait(Duration::from_millis(1));
    a.connect(&last);
    assert_eq!(a.get(1), [offer("client 0", &last, 4)]);
    b.offer("client 0", "nobody", 6);
    assert_eq!(b.get(1), [Got::Undelivered(6, "expired")]);
    assert!(check(&b).asks_nowhere > 0);
    check(&a);
    a.settled();
    b.settled();
}

#[test]
fn without_nats_nobody_waits_for_an_answer() {
    let Some(mut nats) = Server::start("asks-away") else { return };
    let (mut a, _b) = machines(&nats, "2000");
    nats.kill();
    wait_for("NATS is away", || !a.cluster.status().connected);
    leave(&mut a, "ann", &name(NAMES - 1), 1);
    assert_eq!(a.get(1), [Got::Undelivered(1, "link_down")]);
    a.offer("ann", &name(NAMES - 2), 2);
    assert_eq!(a.get(1), [Got::Undelivered(2, "expired")]);
    wait_for("it is counted", || a.cluster.status().asks_failed > 0);
    a.settled();
}
