//! What happens when NATS or a machine fails.

use crate::machine::{Machine, wait_for};
use crate::server::Server;
use corelane::cluster::ClaimError;
use std::time::Duration;

#[test]
fn a_cluster_starts_without_nats_and_joins_later() {
    let Some(mut nats) = Server::start("away") else { return };
    nats.kill();
    let mut a = Machine::new(&nats.url(), "a");
    let refused = a.cluster.claim_blocking("ann", "token", Duration::from_secs(5)).unwrap_err();
    assert_eq!(refused, ClaimError::Unavailable);
    assert!(a.cluster.status().alerts.contains(&"cluster_unavailable"));
    nats.run();
    a.join(0);
    a.connect("ann");
    wait_for("the alert ends", || a.cluster.status().alerts.is_empty());
}
