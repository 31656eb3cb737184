//! Figures by port: which one is slow, and what that costs.

use super::figures::LatencyStats;
use super::histogram::Distribution;
use super::path::{PathDepth, PathShard};
use super::shard::PortShard;
use serde::Serialize;

/// One port; a place that ports take one after another, counted on.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PortStats {
    /// Messages given to it.
    pub submitted: u64,
    /// Of these, refused by it.
    pub refused: u64,
    /// Deliveries handed out.
    pub consumed: u64,
    /// Deliveries that it could not hand out: their client was closed, or the port was released.
    pub undeliverable: u64,
    /// Messages acknowledged as written.
    pub acknowledged: u64,
    /// Messages handed out that will never be acknowledged: their client was closed, or the port was released.
    pub unacknowledged: u64,
    /// Bytes acknowledged as written.
    pub bytes_out: u64,
    /// Calls of poll.
    pub polls: u64,
    /// The most messages that one client had been handed and had not acknowledged.
    pub outstanding_messages_maximum: u64,
    /// The most bytes, likewise.
    pub outstanding_bytes_maximum: u64,
    /// Nanoseconds from the poll that hands a delivery out to the acknowledgement that covers it. Of each client one
    /// delivery at a time is timed: the first that is handed out while none is.
    pub write: LatencyStats,
    /// Its way from and to each worker.
    pub workers: Vec<PathStats>,
}

/// The way between one port and one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PathStats {
    /// Records in the ring to the worker, the batch in hand included: messages, and the clients' connects and disconnects.
    pub ingress_messages: u64,
    /// Bytes of that ring in use.
    pub ingress_bytes: u64,
    /// Deliveries in the ring from the worker.
    pub egress_messages: u64,
    /// Bytes of that ring in use.
    pub egress_bytes: u64,
    /// Bytes in the backlog behind that ring.
    pub backlog_bytes: u64,
    /// The most bytes that were in the backlog.
    pub backlog_bytes_maximum: u64,
    /// Deliveries given up because ring and backlog were full.
    pub egress_full: u64,
    /// Closings that found both full and wait on a list of their own.
    pub closings: u64,
    /// The most that waited there.
    pub closings_maximum: u64,
}

impl PortStats {
    /// Whether anything has ever gone through the port.
    pub fn was_used(&self) -> bool {
        self.submitted > 0 || self.polls > 0
    }
}

/// A port's figures. `paths` are its ways, worker by worker.
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
