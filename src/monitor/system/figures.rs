//! What a look at the system consists of: plain values, shown, exported and compared with thresholds. The probe fills
//! them. One rule for all: what could not be read is `None`, never 0 and never the value of an earlier look.

use serde::Serialize;

/// One look at the process, the machine, and what the caller added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SystemStats {
    /// Memory of the process, of the machine, and what limits it.
    pub memory: MemoryStats,
    /// Processor time of the process and of the machine.
    pub cpu: CpuStats,
    /// Threads, descriptors and age of the process.
    pub process: ProcessStats,
    /// What the host's language runtime last pushed; `None` where it pushes nothing.
    pub runtime: Option<RuntimeStats>,
    /// Queues and pools; `None` where the caller has none.
    pub load: Option<LoadStats>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MemoryStats {
    /// Memory of the process that is in RAM, pages shared with others included.
    pub resident_bytes: Option<u64>,
    /// Addresses that the process has mapped, used or not.
    pub virtual_bytes: Option<u64>,
    /// Given out by `malloc` and not freed. Only with glibc from 2.33 on, and only while its own `malloc` is in use. A
    /// garbage collected heap is not in it: see [`RuntimeStats::heap_bytes`].
    pub heap_bytes: Option<u64>,
    /// How long `malloc` took to tell, in nanoseconds. Meanwhile threads that wanted memory may have waited: it walks what
    /// is free, some milliseconds where that is 200,000 pieces. See [`SystemInputs::skip_heap`](super::SystemInputs).
    pub heap_look_nanoseconds: Option<u64>,
    /// RAM of the machine.
    pub system_total_bytes: Option<u64>,
    /// What could be taken of it without swapping.
    pub system_available_bytes: Option<u64>,
    /// The rest of it.
    pub system_used_bytes: Option<u64>,
    /// The smallest limit of the control groups that the process is in (a container's); `None` where there is none below
    /// the machine's RAM, or it cannot be seen from inside.
    pub limit_bytes: Option<u64>,
    /// What those control groups may still take. Files that the kernel caches for them count as taken.
    pub limit_free_bytes: Option<u64>,
    /// `resident_bytes` ÷ `high_memory_threshold_bytes`; above 1 the alert `memory` is raised.
    pub share_of_threshold: Option<f64>,
}

/// Processors. Shares are of the time since the look before, so the first look has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CpuStats {
    /// What the process has used of the time that it could have used, 0 to 1: 1 is all of `cores_allowed`.
    pub process_share: Option<f64>,
    /// Processor time of the process so far, in nanoseconds: all its threads, also those that have ended.
    pub process_nanoseconds: u64,
    /// Cores that the process may use: those that the looking thread may run on, or what a control group's quota allows
    /// where that is less, a fraction of a core included.
    pub cores_allowed: Option<f64>,
    /// Cores of the machine that are in use.
    pub cores: Option<u64>,
    /// What all processes have used of each of them, 0 to 1; what other virtual machines took of it counts as used. Since
    /// the last look that was at least 200 ms after the one before it.
    pub core_shares: Option<Vec<f64>>,
    /// The same of all together.
    pub system_share: Option<f64>,
    /// The machine's load averages.
    pub load_average: Option<LoadAverage>,
}

/// Threads that run or could run, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ProcessStats {
    /// Threads, the library's own included.
    pub threads: Option<u64>,
    /// Open descriptors: files, sockets, and whatever else has a number. Counted also where none is left, from Linux 6.2 on.
    pub open_descriptors: Option<u64>,
    /// How many it may have open; `None` where that is not limited.
    pub descriptor_limit: Option<u64>,
    /// When it was started: seconds of Unix time.
    pub started_seconds: Option<u64>,
    /// How long ago that was, in seconds.
    pub uptime_seconds: Option<u64>,
}

/// Figures of a garbage collected runtime, such as Go's. The host fills and pushes them, since only its runtime has them:
/// `RuntimeStats::default()`, then its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Goroutines.
    pub goroutines: u64,
    /// Collections that have ended.
    pub gc_count: u64,
    /// The last pause, in nanoseconds.
    pub gc_last_pause_nanoseconds: u64,
    /// The mean pause, in nanoseconds.
    pub gc_average_pause_nanoseconds: u64,
    /// All pauses so far, in nanoseconds.
    pub gc_total_pause_nanoseconds: u64,
    /// Share of the processor time that collecting took since the start, 0 to 1.
    pub gc_cpu_fraction: f64,
    /// The runtime's heap in use, in bytes.
    pub heap_bytes: u64,
    /// Its stacks, in bytes.
    pub stack_bytes: u64,
    /// When the host pushed these figures: milliseconds of Unix time. The monitor fills it.
    pub pushed_milliseconds: u64,
    /// How long ago that was: figures that are not pushed any more grow old. The monitor fills it too.
    pub age_milliseconds: u64,
}

/// Queues and pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoadStats {
    /// Messages that wait in queues.
    pub queue_messages: u64,
    /// Connections ÷ how many there may be, of the limit that refuses first; `None` where that is not limited. Limits are
    /// `max_clients` of a router's clients, `max_recorded_clients` of those that the host reports, and the host's own.
    pub connection_pool_use: Option<f64>,
    /// Share of the workers' time in which they were at a message, 0 to 1; `None` where there are none.
    pub worker_pool_use: Option<f64>,
}

impl LoadStats {
    /// `connection_limit` 0 stands for none.
    pub fn new(
        queue_messages: u64,
        connections: u64,
        connection_limit: u64,
        worker_pool_use: Option<f64>,
    ) -> Self {
        Self::of_pools(queue_messages, &[(connections, connection_limit)], worker_pool_use)
    }

    /// Of several limits, each with its connections.
    pub(crate) fn of_pools(queue_messages: u64, pools: &[(u64, u64)], worker_pool_use: Option<f64>) -> Self {
        let uses = pools.iter().filter_map(|(connections, limit)| share(*connections, *limit));
        Self { queue_messages, connection_pool_use: uses.reduce(f64::max), worker_pool_use }
    }
}

/// What the monitor itself costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CostStats {
    /// Processor time so far, in nanoseconds: of collecting, of looking at the system, the clients and the rules, and of
    /// showing and writing reports, this one not yet.
    pub cpu_nanoseconds: u64,
    /// Memory that it holds, in bytes.
    pub bytes: u64,
    /// How often it has collected.
    pub ticks: u64,
    /// How long collecting took the last time, in nanoseconds.
    pub collect_nanoseconds_last: u64,
    /// How long it took at most.
    pub collect_nanoseconds_maximum: u64,
}

/// `part` ÷ `whole`, where there is a whole.
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
