//! Interface for `benches/`, not for hosts: one shard and its writer, created as a worker creates them.

use super::{ApplicationId, Outcome, ProtocolId, Timing, TypeId, WorkerShard, Writer};

/// Records messages into its own shard.
#[derive(Debug)]
pub struct BenchRecorder {
    shard: WorkerShard,
    writer: Writer,
}

impl BenchRecorder {
    /// A shard with the given number of series of each kind.
    pub fn new(types: usize, protocols: usize, applications: usize) -> Self {
        Self { shard: WorkerShard::new(types, protocols, applications), writer: Writer::new() }
    }

    /// Counts one delivered message, as a worker does. `labels` is `(type, protocol, application)`; times are
    /// in nanoseconds.
    #[inline]
    pub fn record(&mut self, labels: (u16, u16, u16), bytes: usize, queue_wait: u64, service: u64) {
        let labels = (TypeId(labels.0), ProtocolId(labels.1), ApplicationId(labels.2));
        let timing = Timing { queue_wait, service, held: None, ended: service };
        self.shard.record(&mut self.writer, labels, bytes, timing, Outcome::Ok);
    }

    /// Recorded totals: messages in all types, values in all histograms, and bytes.
    pub fn totals(&self) -> (u64, u64, u64) {
        let count = |histogram| super::Distribution::of(0, [histogram]).count();
        let types = &self.shard.types;
        let groups = self.shard.protocols.iter().chain(&self.shard.applications);
        let values = types.iter().map(|one| count(&one.service) + count(&one.queue_wait)).sum::<u64>()
            + groups.map(|one| count(&one.service)).sum::<u64>();
        (types.iter().map(|one| one.ok.get()).sum(), values, types.iter().map(|one| one.bytes.get()).sum())
    }
}
