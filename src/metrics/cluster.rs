//! The figures of a router's part in a cluster. The cluster's thread sets them; reports, metrics and the host read them.

#[cfg(not(corelane_loom))]
use crate::sync::{Mutex, lock};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How a machine stands in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// This machine's name.
    pub machine: String,
    /// This machine's incarnation, in hexadecimal. It changes after a fence.
    pub incarnation: String,
    /// `starting`, `joined`, `fenced`, `draining` or `stopped`.
    pub state: Cow<'static, str>,
    /// Whether NATS is connected.
    pub connected: bool,
    /// Whether the directory is complete.
    pub synced: bool,
    /// NATS or its bucket does not answer, or refuses what this machine needs: no names can be claimed, or other machines cannot be
    /// reached. The monitor's rule `cluster_unavailable` is about it.
    pub unavailable: bool,
    /// This machine could not renew its lease: it owns no names. The monitor's rule `fenced` is about it.
    pub fenced: bool,
    /// What NATS did last not do or not permit, and what to change. Null if all is well.
    pub problem: Option<String>,
    /// How often this machine has been fenced.
    pub fences: u64,
    /// For how long, in milliseconds, the present time included.
    pub fenced_ms: u64,
    /// Names that clients of this machine own or claim.
    pub names_owned: usize,
    /// All names of the cluster, as this machine knows them.
    pub names_known: usize,
    /// Names that had no room in the directory. Such names are asked for when a message needs them.
    pub names_left_out: u64,
    /// Rooms with members on machines that had no place in the directory. Messages to such a room do not leave this machine. They
    /// get a place when other rooms end.
    pub rooms_left_out: u64,
    /// Names among `names_known` that had no room and were asked for. Not more than a sixteenth of the option `names`.
    pub names_asked: usize,
    /// Names that were asked for and have made room for others.
    pub names_evicted: u64,
    /// Names that were asked for at the leader of the bucket.
    pub asks: u64,
    /// Of these, those without an answer yet.
    pub asks_in_flight: usize,
    /// Those that were on another machine.
    pub asks_found: u64,
    /// Those that were on no other machine.
    pub asks_nowhere: u64,
    /// Those for which the leader gave no answer.
    pub asks_failed: u64,
    /// Machines that live and have no link from this one, because it has links to 255 others.
    pub machines_left_out: usize,
    /// Claims without an answer yet.
    pub claims_in_flight: usize,
    /// Revisions that the bucket had and this machine had not handled when it compared last, every 2 s.
    pub directory_lag: u64,
    /// Bytes from the cluster that were no frames, and frames of machines that do not live.
    pub frames_dropped: u64,
    /// The machines that live, this one included.
    pub machines: Vec<MachineStatus>,
    /// The links to the other ones.
    pub links: Vec<LinkStatus>,
}

/// A machine that lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MachineStatus {
    /// Its name.
    pub machine: String,
    /// Its incarnation, in hexadecimal.
    pub incarnation: String,
    /// It takes no clients any more.
    pub draining: bool,
}

/// The link to another machine, in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LinkStatus {
    /// The other machine's name.
    pub machine: String,
    /// Its incarnation, in hexadecimal.
    pub incarnation: String,
    /// Whether messages flow to it.
    pub up: bool,
    /// Messages to it without an acknowledgement.
    pub in_flight: usize,
    /// The time from a frame to its acknowledgement, measured last, in microseconds.
    pub round_trip_us: u64,
    /// Messages to it that were handed over.
    pub sent: u64,
    /// Of these, those that it acknowledged as delivered.
    pub delivered: u64,
    /// Those that came back because the recipient is not there.
    pub gone: u64,
    /// Those that got lost between the machines.
    pub lost: u64,
    /// Those that it rejected for another reason.
    pub rejected: u64,
    /// How often the link was lost, with all that was in flight.
    pub losses: u64,
    /// Messages of it that the router took.
    pub received: u64,
    /// Messages of it that did not arrive in order.
    pub receive_lost: u64,
    /// Frames of it that were dropped because they were late.
    pub stale: u64,
    /// Messages of it that were not delivered.
    pub receive_rejected: u64,
}

#[cfg(not(corelane_loom))]
impl ClusterStatus {
    /// The states that a machine can be in.
    pub(crate) const STATES: &[&str] = &["starting", "joined", "fenced", "draining", "stopped"];

    /// One link for each machine. While a machine's incarnation before has a lease, there are two; together they count what
    /// one does.
    pub(crate) fn links_by_machine(&self) -> Vec<LinkStatus> {
        let mut all: Vec<LinkStatus> = Vec::with_capacity(self.links.len());
        for link in &self.links {
            match all.iter_mut().find(|one| one.machine == link.machine) {
                Some(one) => {
                    let is_newer = link.up || !one.up;
                    one.add_counts(link);
                    one.in_flight += link.in_flight;
                    if is_newer {
                        one.round_trip_us = link.round_trip_us;
                    }
                    one.up |= link.up;
                }
                None => all.push(link.clone()),
            }
        }
        all
    }
}

#[cfg(not(corelane_loom))]
impl LinkStatus {
    /// Adds what another link to the same machine has counted.
    pub(crate) fn add_counts(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.gone += other.gone;
        self.lost += other.lost;
        self.rejected += other.rejected;
        self.losses += other.losses;
        self.received += other.received;
        self.receive_lost += other.receive_lost;
        self.stale += other.stale;
        self.receive_rejected += other.receive_rejected;
    }
}

/// Where the cluster's thread leaves its figures.
#[cfg(not(corelane_loom))]
#[derive(Debug, Default)]
pub(crate) struct ClusterFigures(Mutex<ClusterStatus>);

#[cfg(not(corelane_loom))]
impl ClusterFigures {
    /// The figures, as they were set last.
    pub(crate) fn get(&self) -> ClusterStatus {
        lock(&self.0).clone()
    }

    /// Changes the figures.
    #[cfg(feature = "nats")]
    pub(crate) fn change(&self, change: impl FnOnce(&mut ClusterStatus)) {
        change(&mut lock(&self.0));
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn two_incarnations_of_a_machine_are_one_series() {
        let link = |machine: &str, up, sent, in_flight, round_trip_us| LinkStatus {
            machine: machine.to_owned(),
            up,
            sent,
            in_flight,
            round_trip_us,
            ..LinkStatus::default()
        };
        let status = ClusterStatus {
            links: vec![link("b", true, 5, 2, 80), link("c", true, 1, 0, 7), link("b", false, 10, 1, 900)],
            ..ClusterStatus::default()
        };
        let all = status.links_by_machine();
        assert_eq!(all, [link("b", true, 15, 3, 80), link("c", true, 1, 0, 7)]);
    }
}
