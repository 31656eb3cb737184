//! How much memory a configuration can come to, by part, stated before anything is taken.

use super::{Config, Key};
use crate::call::Calls;
use crate::clients::{Bucket, Clients};
use crate::error::Error;
use crate::metrics::{LabelTable, PathShard, PortShard, WorkerShard};
use crate::ring::Memory;
use std::fmt;

/// Upper bounds in bytes. With `touch_memory` all of it is resident once every port is open, but for rooms, payloads and
/// the host's own metrics, which are taken as they come; without, rings, backlogs, held messages and reported series too
/// are taken from the system page by page as they are used. What a reader of figures takes while it reads is the reader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Rings between every worker and every port.
    pub rings: u64,
    /// Backlogs, used only where a port falls behind.
    pub backlogs: u64,
    /// Client slots, names, and the lists of free and leaving clients.
    pub clients: u64,
    /// Held messages.
    pub holds: u64,
    /// Counters, histograms and labels.
    pub metrics: u64,
    /// The host's own metrics, taken as their series come.
    pub custom_metrics: u64,
    /// Payloads outside rings, taken as they come.
    pub payloads: u64,
    /// Rooms, their members, and the lists that workers may still read.
    pub rooms: u64,
    /// What worker threads use of their stacks, and what the system keeps for a thread.
    pub threads: u64,
    /// The rest: pairs, ports, and what allocations are rounded up by.
    pub router: u64,
    /// Addresses reserved for the stacks of worker threads: no memory, and not in the total.
    pub stack_addresses: u64,
}

/// What the router's own structures take, which this module cannot name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Types, `other` included.
    pub(crate) types: usize,
    /// Protocols, `other` included.
    pub(crate) protocols: usize,
    /// What one worker's holds come to.
    pub(crate) holds: u64,
    /// What hosts report.
    pub(crate) recorded: u64,
    /// What the host's own metrics come to.
    pub(crate) customs: u64,
    /// What payloads outside rings come to.
    pub(crate) payloads: u64,
    /// What a worker and a port have for each other, beside rings and backlog.
    pub(crate) pair: u64,
    /// What a thread uses of its stack, with what the system keeps for it, and its stack's addresses.
    pub(crate) thread: (u64, u64),
}

/// What the allocator adds to a block, and rounds it up by, at most.
pub(crate) const ALLOCATION: u64 = 24;

/// What reservations that are whole pages are rounded up by, and other things of a few hundred bytes, for each worker and
/// port and once.
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
                // A frontier, on a pair of cache lines of its own, per worker and port.
                + 128 * pairs
                + labels
                + sizes.recorded,
            custom_metrics: sizes.customs,
            threads: workers * sizes.thread.0,
            router: pairs * sizes.pair
                + ports * Calls::bytes(config.count(Key::MaxCalls)) as u64
                + (workers + ports + 1) * ROUNDING,
            stack_addresses: workers * sizes.thread.1,
            rooms: config.room_limits().bytes(),
            payloads: sizes.payloads,
        }
    }

    /// All of it, without the addresses reserved for stacks.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|part| part.1).sum()
    }

    /// Each part of the total with its name, and the keys that make it smaller.
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

    /// Checks it against `memory_limit_bytes`.
    pub(crate) fn check(&self, config: &Config) -> Result<(), Error> {
        let limit = config.get(Key::MemoryLimit);
        if limit == 0 || self.total() <= limit {
            return Ok(());
        }
        let keys = self.parts().into_iter().max_by_key(|part| part.1).map_or("workers", |part| part.2);
        let allowed = format!(
            "at least {} bytes for this configuration, or lower {keys}; it needs {self}",
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
        write!(formatter, "; addresses of stacks {:.0} MiB", mebibytes(self.stack_addresses))
    }
}
