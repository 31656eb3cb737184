//! How much memory a configuration can come to, by part, stated before anything is taken.

use super::{Config, Key};
use crate::clients::Clients;
#[cfg(not(corelane_loom))]
use crate::metrics::Recorder;
use crate::metrics::WorkerShard;
use crate::ring::HEADER_BYTES;
use std::fmt;

/// Upper bounds in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Rings, committed page by page as they are used.
    pub rings: u64,
    /// Backlogs, committed only where a port falls behind.
    pub backlogs: u64,
    /// Client slots and names.
    pub clients: u64,
    /// Held messages.
    pub holds: u64,
    /// Counters and histograms.
    pub metrics: u64,
}

impl Budget {
    pub(crate) fn new(config: &Config, types: usize, protocols: usize) -> Self {
        let workers = config.workers() as u64;
        let pairs = workers * config.get(Key::MaxPorts);
        let header = HEADER_BYTES as u64;
        let applications = config.count(Key::MaxApplications) + 1;
        let shard = WorkerShard::bytes(types, protocols, applications) as u64;
        #[cfg(not(corelane_loom))]
        let recorded = Recorder::bytes(config.count(Key::MaxRecordedTypes), applications) as u64;
        #[cfg(corelane_loom)]
        let recorded = 0;
        // A held message's own record and place in its queue come on top of its bytes.
        let held = config.get(Key::HoldBytes) + 192 * config.get(Key::HoldMessages);
        Self {
            rings: pairs * 2 * (config.get(Key::RingBytes) + header),
            backlogs: pairs * (config.get(Key::BacklogBytes) + header),
            clients: config.get(Key::MaxClients) * Clients::BYTES_EACH as u64,
            holds: workers * held,
            // A frontier, on a pair of cache lines of its own, per worker and port.
            metrics: workers * shard + recorded + 128 * pairs,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.rings + self.backlogs + self.clients + self.holds + self.metrics
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            formatter,
            "at most {:.1} MiB: rings {:.1}, backlogs {:.1}, clients {:.1}, holds {:.1}, metrics {:.1}",
            mebibytes(self.total()),
            mebibytes(self.rings),
            mebibytes(self.backlogs),
            mebibytes(self.clients),
            mebibytes(self.holds),
            mebibytes(self.metrics),
        )
    }
}
