//! Figures by port: they show which port is slow and what this costs.

use super::cell::Cell;
use super::figures::{PathStats, PortStats};
use super::histogram::Distribution;
use super::shard::PortShard;

/// The path from one worker to one port: what waits on it because the port is slow. The worker writes these cells at
/// most once per cycle, and only if a value has changed.
#[derive(Debug, Default)]
pub(crate) struct PathShard {
    pub(crate) backlog_bytes: Cell,
    pub(crate) backlog_bytes_maximum: Cell,
    /// Deliveries that did not fit into the egress ring or the backlog.
    pub(crate) egress_full: Cell,
    /// Closing notices that wait on the separate list.
    pub(crate) closings: Cell,
    pub(crate) closings_maximum: Cell,
}

/// Contents of a ring. Read from the ring's two shared cache lines; exact while neither end works.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Contents of both rings of a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathDepth {
    pub(crate) ingress: Depth,
    pub(crate) egress: Depth,
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
