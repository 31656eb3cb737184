//! Figures by port: they show which port is slow and what this costs.

use super::figures::LatencyStats;
use super::histogram::Distribution;
use super::path::{PathDepth, PathShard};
use super::shard::PortShard;
use serde::Serialize;

/// One port. Successive ports in the same place add to the same figures.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PortStats {
    /// Messages submitted to the port.
    pub submitted: u64,
    /// Submitted messages that the port refused.
    pub refused: u64,
    /// Deliveries handed out.
    pub consumed: u64,
    /// Deliveries that the port could not hand out, because their client was closed or the port was released.
    pub undeliverable: u64,
    /// Messages acknowledged as written.
    pub acknowledged: u64,
    /// Messages handed out that will never be acknowledged, because their client was closed or the port was
    /// released.
    pub unacknowledged: u64,
    /// Bytes acknowledged as written.
    pub bytes_out: u64,
    /// Calls of `poll`.
    pub polls: u64,
    /// Largest number of unacknowledged messages of one client.
    pub outstanding_messages_maximum: u64,
    /// Largest number of unacknowledged bytes of one client.
    pub outstanding_bytes_maximum: u64,
    /// Nanoseconds from the poll that hands a delivery out to the acknowledgement that covers it. One
    /// delivery per client is timed at a time: the first that is handed out while no other delivery of this
    /// client is timed.
    pub write: LatencyStats,
    /// The path between this port and each worker.
    pub workers: Vec<PathStats>,
}

/// The path between one port and one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PathStats {
    /// Records in the ingress ring, including the batch that the worker is processing: messages, and connects
    /// and disconnects of clients.
    pub ingress_messages: u64,
    /// Bytes of the ingress ring in use.
    pub ingress_bytes: u64,
    /// Deliveries in the egress ring.
    pub egress_messages: u64,
    /// Bytes of the egress ring in use.
    pub egress_bytes: u64,
    /// Bytes in the backlog of the egress ring.
    pub backlog_bytes: u64,
    /// Largest number of bytes in the backlog.
    pub backlog_bytes_maximum: u64,
    /// Deliveries given up because the egress ring and the backlog were full.
    pub egress_full: u64,
    /// Closing notices that wait on a separate list because the egress ring and the backlog are full.
    pub closings: u64,
    /// Largest number of closing notices on this list.
    pub closings_maximum: u64,
}

impl PortStats {
    /// Whether any message was submitted to the port or any poll was made.
    pub fn was_used(&self) -> bool {
        self.submitted > 0 || self.polls > 0
    }
}

/// The figures of a port. `paths` are its paths, in the order of the workers.
pub(super) fn port_stats<'a>(
    epoch: u64,
    shard: &PortShard,
    paths: impl Iterator<Item = (&'a PathShard, PathDepth)>,
) -> PortStats {
    let (submit, poll) = (&shard.submit, &shard.poll);
    PortStats {
        submitted: submit.submitted.get(),
        refused: submit.refused.iter().map(|cell| cell.get()).sum(),
        consumed: poll.consumed.get(),
        undeliverable: poll.undeliverable.iter().map(|cell| cell.get()).sum(),
        acknowledged: poll.acknowledged.get(),
        unacknowledged: poll.unacknowledged.iter().map(|cell| cell.get()).sum(),
        bytes_out: poll.bytes_out.get(),
        polls: poll.polls.get(),
        outstanding_messages_maximum: poll.outstanding_messages_maximum.get(),
        outstanding_bytes_maximum: poll.outstanding_bytes_maximum.get(),
        write: Distribution::of(epoch, [&poll.write_time]).into(),
        workers: paths
            .map(|(path, depth)| PathStats {
                ingress_messages: depth.ingress.records,
                ingress_bytes: depth.ingress.bytes,
                egress_messages: depth.egress.records,
                egress_bytes: depth.egress.bytes,
                backlog_bytes: path.backlog_bytes.get(),
                backlog_bytes_maximum: path.backlog_bytes_maximum.get(),
                egress_full: path.egress_full.get(),
                closings: path.closings.get(),
                closings_maximum: path.closings_maximum.get(),
            })
            .collect(),
    }
}
