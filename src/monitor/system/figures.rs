//! The figures of one look at the system: plain values that are shown, exported and compared with thresholds. The
//! probe fills them. A value that could not be read is `None`, never 0 and never the value of an earlier look.

use serde::{Deserialize, Serialize};

/// One look at the process and the machine, with what the caller added.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SystemStats {
    /// Memory of the process and the machine, and its limits.
    pub memory: MemoryStats,
    /// Processor time of the process and of the machine.
    pub cpu: CpuStats,
    /// Threads, descriptors and age of the process.
    pub process: ProcessStats,
    /// The runtime figures that the host pushed last. `None` if the host pushes none.
    pub runtime: Option<RuntimeStats>,
    /// Load of queues and pools. `None` if the caller has none.
    pub load: Option<LoadStats>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MemoryStats {
    /// Memory of the process that is in RAM, including pages shared with other processes.
    pub resident_bytes: Option<u64>,
    /// Size of the addresses that the process has mapped, used or not.
    pub virtual_bytes: Option<u64>,
    /// Memory allocated by `malloc` and not freed. Only with glibc 2.33 or later, and only if its own `malloc` is in
    /// use. A garbage-collected heap is not included: see [`RuntimeStats::heap_bytes`].
    pub heap_bytes: Option<u64>,
    /// How long `malloc` took to compute `heap_bytes`, in nanoseconds. Threads that allocated meanwhile may have
    /// waited. `malloc` walks its free list, which takes some milliseconds for 200,000 free pieces. See
    /// [`SystemInputs::skip_heap`](super::SystemInputs).
    pub heap_look_nanoseconds: Option<u64>,
    /// RAM of the machine.
    pub system_total_bytes: Option<u64>,
    /// RAM that is available without swapping.
    pub system_available_bytes: Option<u64>,
    /// RAM that is not available: total minus available.
    pub system_used_bytes: Option<u64>,
    /// The smallest memory limit of the control groups that the process is in (of a container, for example). `None`
    /// if no limit is below the machine's RAM, or if the limit cannot be seen from inside.
    pub limit_bytes: Option<u64>,
    /// Memory that those control groups may still use. Files that the kernel caches for them count as used.
    pub limit_free_bytes: Option<u64>,
    /// `resident_bytes` ÷ `high_memory_threshold_bytes`. Above 1 the alert `memory` is raised.
    pub share_of_threshold: Option<f64>,
}

/// Processors. Shares refer to the time since the previous look, so the first look has none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CpuStats {
    /// Share of the available processor time that the process has used, from 0 to 1. 1 means all of `cores_allowed`.
    pub process_share: Option<f64>,
    /// Processor time of the process so far, in nanoseconds. Includes threads that have ended.
    pub process_nanoseconds: u64,
    /// Cores that the process may use: the cores that the probing thread may run on, or the quota of a control group
    /// if it is lower. May be a fraction.
    pub cores_allowed: Option<f64>,
    /// Cores of the machine that are online.
    pub cores: Option<u64>,
    /// Share of each core's time that all processes have used, from 0 to 1. Time taken by other virtual machines
    /// counts as used. Refers to the time since the last look that was at least 200 ms after its predecessor.
    pub core_shares: Option<Vec<f64>>,
    /// The same share for all cores together.
    pub system_share: Option<f64>,
    /// The machine's load averages.
    pub load_average: Option<LoadAverage>,
}

/// Average number of threads that run or could run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadAverage {
    /// Over about a minute.
    pub one: f64,
    /// Over about five minutes.
    pub five: f64,
    /// Over about fifteen minutes.
    pub fifteen: f64,
}

/// The process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ProcessStats {
    /// Threads, including the library's own.
    pub threads: Option<u64>,
    /// Open descriptors: files, sockets, and everything else that has a descriptor number. From Linux 6.2 on they can
    /// be counted even if no descriptor is left.
    pub open_descriptors: Option<u64>,
    /// The most descriptors that the process may have open. `None` if there is no limit.
    pub descriptor_limit: Option<u64>,
    /// When the process was started, in seconds since 1970.
    pub started_seconds: Option<u64>,
    /// Time since the process was started, in seconds.
    pub uptime_seconds: Option<u64>,
}

/// Figures of a garbage-collected runtime, such as Go's. Only the host's runtime knows them, so the host fills and
/// pushes them: it takes `RuntimeStats::default()` and sets the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Number of goroutines.
    pub goroutines: u64,
    /// Number of completed garbage collections.
    pub gc_count: u64,
    /// Duration of the last pause, in nanoseconds.
    pub gc_last_pause_nanoseconds: u64,
    /// Mean duration of a pause, in nanoseconds.
    pub gc_average_pause_nanoseconds: u64,
    /// Sum of all pauses so far, in nanoseconds.
    pub gc_total_pause_nanoseconds: u64,
    /// Share of the processor time since the start that garbage collection has taken, from 0 to 1.
    pub gc_cpu_fraction: f64,
    /// Heap memory in use, in bytes.
    pub heap_bytes: u64,
    /// Stack memory, in bytes.
    pub stack_bytes: u64,
    /// When the host pushed these figures, in milliseconds since 1970. Set by the monitor.
    pub pushed_milliseconds: u64,
    /// Age of these figures, in milliseconds. It grows if the host stops pushing. Set by the monitor.
    pub age_milliseconds: u64,
}

/// Load of queues and pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadStats {
    /// Messages that wait in queues.
    pub queue_messages: u64,
    /// Connections ÷ allowed connections, for the limit that refuses first. `None` if there is no limit. The limits
    /// are `max_clients` for a router's clients, `max_recorded_clients` for the clients that the host records, and
    /// the host's own limit.
    pub connection_pool_use: Option<f64>,
    /// Share of the workers' time that they spent on messages, from 0 to 1. `None` if there are no workers.
    pub worker_pool_use: Option<f64>,
}

impl LoadStats {
    /// Creates the figures for one limit. A `connection_limit` of 0 means no limit.
    pub fn new(
        queue_messages: u64,
        connections: u64,
        connection_limit: u64,
        worker_pool_use: Option<f64>,
    ) -> Self {
        Self::of_pools(queue_messages, &[(connections, connection_limit)], worker_pool_use)
    }

    /// Creates the figures for several pairs of connections and limit.
    pub(crate) fn of_pools(queue_messages: u64, pools: &[(u64, u64)], worker_pool_use: Option<f64>) -> Self {
        let uses = pools.iter().filter_map(|(connections, limit)| share(*connections, *limit));
        Self { queue_messages, connection_pool_use: uses.reduce(f64::max), worker_pool_use }
    }
}

/// Cost of the monitor itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CostStats {
    /// Processor time so far, in nanoseconds: for collecting, for looking at the system, the clients and the rules,
    /// and for building and writing reports. Does not include the present report.
    pub cpu_nanoseconds: u64,
    /// Memory that the monitor holds, in bytes.
    pub bytes: u64,
    /// Number of collections.
    pub ticks: u64,
    /// Duration of the last collection, in nanoseconds.
    pub collect_nanoseconds_last: u64,
    /// Duration of the longest collection, in nanoseconds.
    pub collect_nanoseconds_maximum: u64,
}

/// `part` ÷ `whole`. `None` if `whole` is 0.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_without_a_limit_has_no_use() {
        assert_eq!(LoadStats::new(7, 30, 120, Some(0.5)).connection_pool_use, Some(0.25));
        assert_eq!(LoadStats::new(7, 130, 120, None).connection_pool_use, Some(130.0 / 120.0));
        assert_eq!(LoadStats::new(7, 30, 0, None).connection_pool_use, None);
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn what_is_not_known_is_null_in_json() {
        let json: serde_json::Value = serde_json::to_value(SystemStats::default()).unwrap();
        assert!(json["cpu"]["process_share"].is_null() && json["memory"]["resident_bytes"].is_null());
        assert!(json["runtime"].is_null());
    }
}
