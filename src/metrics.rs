//! Counters that one thread writes and anyone reads: cells, histograms, shards, the labels that name them, and
//! the snapshot that merges them. Written by `router`, read by `monitor` and `export`.

#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
mod bucket;
mod cell;
mod figures;
mod histogram;
mod label;
mod path;
mod ports;
mod rank;
#[cfg(not(corelane_loom))]
mod recorder;
mod routing;
mod shard;
mod snapshot;

#[cfg(not(corelane_loom))]
pub(crate) use bucket::Layout;
pub use bucket::{OCTAVE_BOUNDS, OVERFLOW_NANOSECONDS, lower_bound, upper_bound};
pub(crate) use cell::{Cell, Writer};
pub use figures::{
    Accounting, Connections, GroupStats, LatencyStats, MessageStats, PlacementStats, RecordedStats,
    RecordedTypeStats, RoomStats, Stats, TypeStats, WorkerStats,
};

pub use histogram::Distribution;
#[cfg(test)]
pub(crate) use histogram::Histogram;
pub(crate) use label::{ApplicationId, Labels, OTHER, ProtocolId, TypeId};
pub(crate) use path::{Depth, PathDepth, PathShard};
pub use ports::{PathStats, PortStats};
#[cfg(not(corelane_loom))]
pub(crate) use rank::{cells_at, rank};
#[cfg(not(corelane_loom))]
pub(crate) use recorder::Recorder;
pub use routing::{Rates, RoutingStats};
#[cfg(not(corelane_loom))]
pub(crate) use shard::SubmitShard;
pub(crate) use shard::{Outcome, PollShard, PortShard, Timing, WorkerShard};
pub(crate) use snapshot::{Sources, account, collect, with_a_count};
