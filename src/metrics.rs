//! Metrics of the router: cells, histograms, shards, the labels that name them, and the snapshot that merges
//! them. One thread writes each cell, and any thread reads it. `router` writes the figures; `monitor` and
//! `export` read them.

#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
mod bucket;
mod cell;
mod cluster;
mod control;
#[cfg(not(corelane_loom))]
mod custom;
mod failing;
mod figures;
mod histogram;
mod label;
#[cfg(not(corelane_loom))]
pub(crate) mod listed;
#[cfg(not(corelane_loom))]
mod number;
mod ports;
mod rank;
mod reasons;
mod routing;
mod shard;
mod slow;
mod snapshot;
mod spans;
mod timing;

#[cfg(all(test, not(corelane_loom)))]
pub(crate) use bucket::index;
#[cfg(not(corelane_loom))]
pub(crate) use bucket::{Bucketed, CELLS};
pub use bucket::{OCTAVE_BOUNDS, OVERFLOW_NANOSECONDS, lower_bound, upper_bound};
pub(crate) use cell::{Cell, Writer};
#[cfg(not(corelane_loom))]
pub(crate) use cell::{SHARED, shard_of_thread};
#[cfg(not(corelane_loom))]
pub(crate) use cluster::ClusterFigures;
pub use cluster::{ClusterStatus, LinkStatus, MachineStatus};
pub(crate) use control::{Controlled, Controls};
#[cfg(not(corelane_loom))]
pub(crate) use custom::Customs;
#[cfg(not(corelane_loom))]
pub use custom::{
    Counter, CounterFamily, CustomFamilyStats, CustomHistogram, CustomSeriesStats, CustomStats, Descriptor,
    Gauge, GaugeFamily, HistogramFamily, Kind,
};
#[cfg(not(corelane_loom))]
pub(crate) use failing::failing_clients;
pub(crate) use failing::{CELL_BITS, Failing, FailingCell};
pub use figures::{
    Accounting, Connections, ExporterStats, LatencyStats, MessageStats, PathStats, PlacementStats, PortStats,
    RecordedStats, RoomStats, RoutingStats, SeriesStats, Stats, WorkerStats,
};
#[cfg(all(feature = "schema", not(corelane_loom)))]
pub(crate) use number::Number;
#[cfg(not(corelane_loom))]
pub(crate) use number::{number, read_number};

pub use histogram::Distribution;
pub(crate) use histogram::Histogram;
#[cfg(not(corelane_loom))]
pub(crate) use histogram::IMPOSSIBLE;
pub(crate) use label::{ApplicationId, LabelTable, OTHER, ProtocolId, TypeId};
pub(crate) use ports::{Depth, LaneCells, PathDepth, PathShard};

#[cfg(not(corelane_loom))]
pub(crate) use rank::{cells_at, rank};
pub use reasons::ByReason;
pub use routing::Rates;
#[cfg(not(corelane_loom))]
pub(crate) use shard::{GroupSeries, TypeSeries};
pub(crate) use shard::{PollShard, PortShard, WorkerShard};
pub(crate) use slow::{SlowMessage, SlowRing};
pub(crate) use snapshot::{Sources, account, collect, group_stats, sum, type_stats};
pub use spans::SPAN_NAMES;
pub(crate) use spans::{NAMED, NAMED_FROM};
pub(crate) use timing::{Outcome, SeriesIds, Timing};
