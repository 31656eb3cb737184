//! Figures by port: they show which port is slow and what this costs.

use super::cell::Cell;
use super::figures::{PathStats, PortStats};
use super::histogram::Distribution;
use super::shard::PortShard;
use crate::error::{SubmitError, Unacknowledged, Undeliverable};
use crate::sync::{AcqRel, Acquire, AtomicU64};

/// The path between one worker and one port: what waits on it because the port is slow. The worker writes these cells at
/// most once per cycle, and only if a value has changed.
#[derive(Debug)]
pub(crate) struct PathShard {
    pub(crate) backlog_bytes: Cell,
    pub(crate) backlog_bytes_maximum: Cell,
    /// Deliveries that did not fit into the egress ring or the backlog.
    pub(crate) egress_full: Cell,
    /// Closing notices that wait on the separate list.
    pub(crate) closings: Cell,
    pub(crate) closings_maximum: Cell,
    /// If the port's number is a lane's.
    pub(crate) lane: LaneCells,
}

/// The counts of a lane that one worker keeps: what a port's two halves count otherwise. The worker writes them, and after it
/// has left the pair whoever settles the pair.
#[derive(Debug)]
pub(crate) struct LaneCells {
    /// Messages and sends that the worker has taken, and those that a settlement has counted.
    pub(crate) submitted: Cell,
    pub(crate) refused: [Cell; SubmitError::COUNT],
    /// Deliveries that the host has read from the egress ring, counted per recipient. Any thread that looks at the ring's
    /// head raises it.
    pub(crate) consumed: AtomicU64,
    pub(crate) undeliverable: [Cell; Undeliverable::COUNT],
    pub(crate) acknowledged: Cell,
    pub(crate) unacknowledged: [Cell; Unacknowledged::COUNT],
    pub(crate) bytes_out: Cell,
    /// Deliveries that the host has thrown away, because their client was closed by then.
    pub(crate) discarded: Cell,
    /// Largest number of messages that one client had outstanding when it acknowledged some.
    pub(crate) outstanding_messages_maximum: Cell,
    pub(crate) outstanding_bytes_maximum: Cell,
}

impl LaneCells {
    fn new() -> Self {
        Self {
            submitted: Cell::default(),
            refused: std::array::from_fn(|_| Cell::default()),
            consumed: AtomicU64::new(0),
            undeliverable: std::array::from_fn(|_| Cell::default()),
            acknowledged: Cell::default(),
            unacknowledged: std::array::from_fn(|_| Cell::default()),
            bytes_out: Cell::default(),
            discarded: Cell::default(),
            outstanding_messages_maximum: Cell::default(),
            outstanding_bytes_maximum: Cell::default(),
        }
    }

    /// Deliveries that the host has read, as far as anybody has looked.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Acquire) // Acquire: pairs with the Release in `see_consumed`.
    }

    /// Notes that the host has read this many. Returns the most that anybody has seen.
    pub(crate) fn see_consumed(&self, count: u64) -> u64 {
        self.consumed.fetch_max(count, AcqRel).max(count) // AcqRel: as in `consumed`.
    }
}

impl PathShard {
    pub(crate) fn new() -> Self {
        let cell = Cell::default;
        Self {
            backlog_bytes: cell(),
            backlog_bytes_maximum: cell(),
            egress_full: cell(),
            closings: cell(),
            closings_maximum: cell(),
            lane: LaneCells::new(),
        }
    }
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
    paths: impl Iterator<Item = (&'a PathShard, PathDepth)> + Clone,
) -> PortStats {
    let (submit, poll) = (&shard.submit, &shard.poll);
    let all = |cells: &[Cell]| cells.iter().map(Cell::get).sum::<u64>();
    let lanes = || paths.clone().map(|(path, _)| &path.lane);
    let of_lanes = |read: fn(&LaneCells) -> u64| lanes().map(read).sum::<u64>();
    let most = |read: fn(&LaneCells) -> u64| lanes().map(read).max().unwrap_or(0);
    PortStats {
        submitted: submit.submitted.get() + of_lanes(|lane| lane.submitted.get()),
        refused: all(&submit.refused) + lanes().map(|lane| all(&lane.refused)).sum::<u64>(),
        consumed: poll.consumed.get() + of_lanes(LaneCells::consumed),
        undeliverable: all(&poll.undeliverable) + lanes().map(|lane| all(&lane.undeliverable)).sum::<u64>(),
        acknowledged: poll.acknowledged.get() + of_lanes(|lane| lane.acknowledged.get()),
        unacknowledged: all(&poll.unacknowledged)
            + lanes().map(|lane| all(&lane.unacknowledged)).sum::<u64>(),
        bytes_out: poll.bytes_out.get() + of_lanes(|lane| lane.bytes_out.get()),
        discarded: of_lanes(|lane| lane.discarded.get()),
        polls: poll.polls.get(),
        outstanding_messages_maximum: poll
            .outstanding_messages_maximum
            .get()
            .max(most(|lane| lane.outstanding_messages_maximum.get())),
        outstanding_bytes_maximum: poll
            .outstanding_bytes_maximum
            .get()
            .max(most(|lane| lane.outstanding_bytes_maximum.get())),
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
