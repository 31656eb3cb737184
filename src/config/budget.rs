//! Upper bounds of the memory that a configuration needs, by part. They are known before any memory is taken.

use super::{Config, Key};
use crate::call::Calls;
use crate::clients::{Bucket, Clients, RecentNames};
use crate::error::ConfigError;
use crate::metrics::{LabelTable, PathShard, PortShard, WorkerShard};
use crate::ring::Memory;
use std::fmt;

/// Upper bounds in bytes.
///
/// With `touch_memory` on, everything is resident once every port is open, except rooms, payloads and the
/// host's own metrics, which are allocated as they come. With it off, rings, backlogs, held messages and
/// reported series also become resident page by page as they are used. Memory that a reader of figures
/// allocates while it reads is not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Rings between every worker and every port.
    pub rings: u64,
    /// Backlogs. Used only when a port falls behind.
    pub backlogs: u64,
    /// Client slots, names, and the lists of free and leaving clients.
    pub clients: u64,
    /// Held messages.
    pub holds: u64,
    /// Counters, histograms and labels.
    pub metrics: u64,
    /// The host's own metrics. Allocated when their series are first used.
    pub custom_metrics: u64,
    /// Out-of-line payloads. Allocated when they are needed.
    pub payloads: u64,
    /// Rooms, their members, and replaced member lists that workers may still read.
    pub rooms: u64,
    /// Stack memory that worker threads use, and what the operating system keeps for each thread.
    pub threads: u64,
    /// The rest: pairs, ports, and the allocator's rounding.
    pub router: u64,
    /// Address space reserved for the stacks of worker threads. Not memory, and not part of the total.
    pub stack_addresses: u64,
}

/// Sizes of the router's own structures, which this module cannot name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Number of types, including `other`.
    pub(crate) types: usize,
    /// Number of protocols, including `other`.
    pub(crate) protocols: usize,
    /// Bytes for the held messages of one worker.
    pub(crate) holds: u64,
    /// Bytes for reports of the host.
    pub(crate) recorded: u64,
    /// Bytes for the host's own metrics.
    pub(crate) customs: u64,
    /// Bytes for out-of-line payloads.
    pub(crate) payloads: u64,
    /// Bytes for one pair of worker and port, without rings and backlog.
    pub(crate) pair: u64,
    /// Bytes for one thread: stack memory plus what the operating system keeps, and the address space of the
    /// stack.
    pub(crate) thread: (u64, u64),
}

/// Largest number of bytes that the allocator adds to a block, rounding included.
pub(crate) const ALLOCATION: u64 = 24;

/// Bytes for rounding reservations up to whole pages and for other items of a few hundred bytes. Counted once
/// per worker, once per port, and once for the router.
const ROUNDING: u64 = 16 << 10;

impl Budget {
    pub(crate) fn new(config: &Config, sizes: Sizes) -> Self {
        let workers = config.workers() as u64;
        let ports = config.get(Key::MaxPorts);
        let pairs = workers * ports;
        let applications = config.count(Key::MaxApplications);
        let shard = WorkerShard::bytes(sizes.types, sizes.protocols, applications + 1);
        let labels = LabelTable::bytes(sizes.types + sizes.protocols + applications + 1);
        let buckets = (config.buckets() * size_of::<Bucket>()) as u64;
        Self {
            rings: pairs * 2 * Memory::mapped_bytes(config.get(Key::RingBytes)),
            backlogs: pairs * Memory::mapped_bytes(config.get(Key::BacklogBytes)),
            clients: Clients::bytes(config.client_limits()) + buckets,
            holds: workers * sizes.holds,
            metrics: workers * shard
                + ports * PortShard::bytes()
                + pairs * size_of::<PathShard>() as u64
                // One frontier per worker and port, on its own pair of cache lines.
                + 128 * pairs
                + labels
                + sizes.recorded,
            custom_metrics: sizes.customs,
            threads: workers * sizes.thread.0,
            router: pairs * sizes.pair
                + workers * RecentNames::BYTES as u64
                + ports * Calls::bytes(config.count(Key::MaxCalls)) as u64
                + (workers + ports + 1) * ROUNDING,
            stack_addresses: workers * sizes.thread.1,
            rooms: config.room_limits().bytes(),
            payloads: sizes.payloads,
        }
    }

    /// Sum of all parts, without the address space of stacks.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|part| part.1).sum()
    }

    /// Each part of the total with its name and the keys that reduce it.
    fn parts(&self) -> [(&'static str, u64, &'static str); 10] {
        [
            ("rings", self.rings, "ring_bytes, max_ports or workers"),
            ("backlogs", self.backlogs, "backlog_bytes, max_ports or workers"),
            ("clients", self.clients, "max_clients"),
            ("holds", self.holds, "hold_bytes, hold_messages or workers"),
            (
                "metrics",
                self.metrics,
                "max_recorded_types, max_recorders, max_recorded_clients, max_applications or workers",
            ),
            ("custom metrics", self.custom_metrics, "max_custom_series"),
            ("rooms", self.rooms, "max_rooms, max_room_members or room_retired_bytes"),
            ("payloads", self.payloads, "payload_bytes or payloads"),
            ("threads", self.threads, "workers"),
            ("router", self.router, "max_ports or workers"),
        ]
    }

    /// Checks the budget against `memory_limit_bytes`.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let limit = config.get(Key::MemoryLimit);
        if limit == 0 || self.total() <= limit {
            return Ok(());
        }
        let keys = self.parts().into_iter().max_by_key(|part| part.1).map_or("workers", |part| part.2);
        let allowed = format!(
            "at least {} bytes for this configuration, or lower {keys}; this configuration needs {self}",
            self.total()
        );
        Err(config.misfit(Key::MemoryLimit, allowed))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(formatter, "at most {:.1} MiB:", mebibytes(self.total()))?;
        for (place, (name, bytes, _)) in self.parts().into_iter().enumerate() {
            write!(formatter, "{} {name} {:.2}", if place == 0 { "" } else { "," }, mebibytes(bytes))?;
        }
        write!(formatter, "; address space of stacks {:.0} MiB", mebibytes(self.stack_addresses))
    }
}
