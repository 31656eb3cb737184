//! Ownership of names.

use crate::machine::{LONG, Machine, offer, wait_for};
use crate::server::Server;
use corelane::cluster::{ClaimError, LostReason};
use std::time::Duration;

const WAIT: Duration = LONG;

#[test]
fn a_name_belongs_to_one_machine() {
    let Some(nats) = Server::start("owner") else { return };
    let (mut a, b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    assert_eq!(b.cluster.claim_blocking("ann", "other", WAIT).unwrap_err(), ClaimError::Taken);
    a.disconnect("ann");
    wait_for("ann is free", || b.cluster.claim_blocking("ann", "other", WAIT).is_ok());
}

#[test]
fn the_same_token_takes_over_and_the_old_machine_closes_its_client() {
    let Some(nats) = Server::start("takeover") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    // For as long as the news of a move takes.
    let mut c = Machine::with(&nats.url(), "c", &[("hold_ms", "60000")], |_| {});
    [&a, &b, &c].iter().for_each(|machine| machine.join(2));
    a.connect("ann");
    c.connect("cat");
    wait_for("c knows ann", || c.cluster.status().names_known == 2);
    c.offer("cat", "ann", 1);
    c.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("cat", "ann", 1)]);
    b.connect("ann");
    let lost = a.lost.recv_timeout(WAIT).unwrap();
    assert_eq!((lost.name.as_str(), lost.reason), ("ann", LostReason::Replaced));
    assert_eq!(lost.claim, a.claims["ann"].1.id());
    a.disconnect("ann");
    c.offer("cat", "ann", 2);
    c.port.wait(Duration::from_millis(1));
    assert_eq!(b.get(1), [offer("cat", "ann", 2)]);
    // The old machine's release has not freed the name.
    assert_eq!(c.cluster.claim_blocking("ann", "other", WAIT).unwrap_err(), ClaimError::Taken);
}

#[test]
fn a_herd_is_told_to_come_again_and_gets_in() {
    let Some(nats) = Server::start("herd") else { return };
    let a = Machine::new(&nats.url(), "a");
    a.join(0);
    let (sender, answers) = std::sync::mpsc::channel();
    let (mut claims, mut busy) = (Vec::new(), 0);
    for number in 0..2000 {
        let sender = sender.clone();
        let name = format!("client {number}");
        claims
            .push(a.cluster.claim_then(&name, "token", move |answer| sender.send(answer).unwrap()).unwrap());
    }
    for _ in 0..2000 {
        match answers.recv_timeout(WAIT).unwrap() {
            Ok(()) => {}
            Err(ClaimError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(busy > 0 && busy <= 2000 - 256, "{busy}");
    wait_for("no claim is in flight", || a.cluster.status().claims_in_flight == 0);
    drop(claims);
    wait_for("all are given up", || {
        a.cluster.status().names_owned == 0 && a.cluster.status().names_known == 0
    });
}

#[test]
fn names_with_any_characters_are_kept_apart() {
    let Some(nats) = Server::start("characters") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    for name in ["*", ">", "a.b", "a b", "\u{e9}", &"x".repeat(64)] {
        a.connect(name);
        assert_eq!(b.cluster.claim_blocking(name, "other", WAIT).unwrap_err(), ClaimError::Taken, "{name}");
    }
    b.connect("ben");
    wait_for("b knows all", || b.cluster.status().names_known == 7);
    b.offer("ben", ">", 1);
    b.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("ben", ">", 1)]);
    assert_eq!(a.cluster.claim_blocking("", "token", WAIT).unwrap_err(), ClaimError::Name);
    assert_eq!(a.cluster.claim_blocking(&"x".repeat(65), "token", WAIT).unwrap_err(), ClaimError::Name);
}

#[test]
fn a_machine_that_drains_takes_no_claims_and_leaves_at_once() {
    let Some(nats) = Server::start("drain") else { return };
    let (mut a, b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    a.cluster.drain();
    assert_eq!(a.cluster.claim_blocking("eve", "token", WAIT).unwrap_err(), ClaimError::Draining);
    wait_for("b knows", || b.cluster.status().machines.iter().any(|one| one.machine == "a" && one.draining));
    a.disconnect("ann");
    wait_for("ann is free", || b.cluster.status().names_known == 0);
    a.cluster.stop();
    wait_for("b is alone", || b.cluster.status().links.is_empty());
    assert_eq!(a.cluster.status().state, "stopped");
}

#[test]
fn a_machine_that_joins_later_knows_at_once_what_is_there() {
    let Some(nats) = Server::start("later") else { return };
    let mut a = Machine::new(&nats.url(), "a");
    a.join(0);
    a.connect("ann");
    let started = std::time::Instant::now();
    let mut b = Machine::new(&nats.url(), "b");
    b.join(1);
    assert_eq!(b.cluster.status().names_known, 1);
    // Less than a lease lasts, and far more than a machine needs that is not slow.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    b.connect("ben");
    b.offer("ben", "ann", 1);
    b.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("ben", "ann", 1)]);
}
