//! Ownership of names.

use crate::machine::{Machine, wait_for};
use crate::server::Server;
use corelane::cluster::{ClaimError, LostReason};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(10);

#[test]
fn a_name_belongs_to_one_machine() {
    let Some(nats) = Server::start("owner") else { return };
    let (mut a, b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    assert_eq!(b.cluster.claim_blocking("ann", "other", WAIT).unwrap_err(), ClaimError::Taken);
    a.disconnect("ann");
    wait_for("ann is free", || a.cluster.status().names_owned == 0);
    b.cluster.claim_blocking("ann", "other", WAIT).unwrap();
}
