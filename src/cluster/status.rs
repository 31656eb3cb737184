//! The figures of a cluster, for the host's pages and for metrics.

use serde::Serialize;

/// How a machine stands in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// This machine's name.
    pub machine: String,
    /// This machine's incarnation, in hexadecimal. It changes after a fence.
    pub incarnation: String,
    /// `starting`, `joined`, `fenced`, `draining` or `stopped`.
    pub state: &'static str,
    /// Whether NATS is connected.
    pub connected: bool,
    /// Whether the directory is complete.
    pub synced: bool,
    /// `cluster_unavailable`: NATS or the bucket does not answer. `fenced`: this machine owns nothing.
    /// `machines_left_out`: there are more machines than this one can have links to.
    pub alerts: Vec<&'static str>,
    /// How often this machine has been fenced.
    pub fences: u64,
    /// For how long, in milliseconds, the present time included.
    pub fenced_ms: u64,
    /// Names that clients of this machine own or claim.
    pub names_owned: usize,
    /// All names of the cluster, as this machine knows them.
    pub names_known: usize,
    /// Names that had no room in the directory.
    pub names_left_out: u64,
    /// Machines that live and have no link from this one, because it has links to 255 others.
    pub machines_left_out: usize,
    /// Claims without an answer yet.
    pub claims_in_flight: usize,
    /// Revisions that the bucket has and this machine's directory has not.
    pub directory_lag: u64,
    /// Bytes from the cluster that were no frames, and frames of machines that do not live.
    pub frames_dropped: u64,
    /// The machines that live, this one included.
    pub machines: Vec<MachineStatus>,
    /// The links to the other ones.
    pub links: Vec<LinkStatus>,
}

/// A machine that lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
