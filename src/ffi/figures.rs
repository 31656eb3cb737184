//! Figures as plain structs: one snapshot of a monitor, and lists of its series, clients, slow messages and applications.

use super::borrow::{CStruct, List, OutStruct, chars};
use super::guard::{Failure, answer};
use super::handle::{CorelaneClient, CorelaneMonitor};
use super::monitors::{Figures, with_monitor};
use super::reason::CorelaneReason;
use super::status::CorelaneStatus;
use super::worker::CORELANE_NAME_BYTES;
use crate::error::Failed;
use crate::metrics::{ByReason, LatencyStats, SPAN_NAMES};
use crate::monitor::{
    ApplicationConnectionFigures, ClientFigures, MonitorStats, SeriesFigures, SlowEntry, WindowStats,
    Windowed,
};
use crate::sync::lock;
use std::ffi::c_char;

/// A figure that has no value: nothing was recorded, it could not be read, or it is not kept (`enable_metrics` or
/// `detailed_stats` is off; there is no router). A figure of type double is NAN instead.
pub const CORELANE_UNKNOWN: u64 = 0xffff_ffff_ffff_ffff;
/// Number of ranges of handling times: below 1, 5, 10, 50, 100, 500 ms, 1 s, 5 s, and above.
pub const CORELANE_RANGES: usize = 9;
/// Length of the array of failures, whose index is a CORELANE_REASON_ value.
pub const CORELANE_REASONS: usize = 64;

/// The kind of a list of series: by message type.
pub const CORELANE_SERIES_TYPES: u32 = 1;
/// By protocol.
pub const CORELANE_SERIES_PROTOCOLS: u32 = 2;
/// By application.
pub const CORELANE_SERIES_APPLICATIONS: u32 = 3;

/// As the kind of a client: the host has connected it with `corelane_monitor_connect`.
pub const CORELANE_CLIENT_RECORDED: u32 = 1;
/// The client belongs to a port of the monitor's router.
pub const CORELANE_CLIENT_ROUTED: u32 = 2;

/// The order of a list of clients: by messages sent.
pub const CORELANE_TOP_MESSAGES: u32 = 1;
/// By errors.
pub const CORELANE_TOP_ERRORS: u32 = 2;
/// By bytes sent.
pub const CORELANE_TOP_BYTES_IN: u32 = 3;
/// By bytes written to the client.
pub const CORELANE_TOP_BYTES_OUT: u32 = 4;
/// By mean time.
pub const CORELANE_TOP_AVERAGE: u32 = 5;
/// By the slowest single message.
pub const CORELANE_TOP_MAXIMUM: u32 = 6;
/// By unacknowledged bytes.
pub const CORELANE_TOP_OUTSTANDING: u32 = 7;
/// By the largest number of unacknowledged messages.
pub const CORELANE_TOP_OUTSTANDING_PEAK: u32 = 8;
/// By deliveries to the client that were given up.
pub const CORELANE_TOP_UNDELIVERED: u32 = 9;

const _: () = {
    assert!(CORELANE_RANGES == SPAN_NAMES.len());
    assert!(CORELANE_REASONS > Failed::COUNT + 8);
};

/// A distribution of times in nanoseconds. Percentiles are upper bounds, at most 3.13 % too high. CORELANE_UNKNOWN if
/// nothing was recorded. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneLatency {
    /// Number of values.
    pub count: u64,
    /// Mean, rounded down.
    pub average: u64,
    /// Smallest value.
    pub minimum: u64,
    /// Largest value.
    pub maximum: u64,
    /// 50th percentile.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
}

/// A series over a sliding window. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneWindow {
    /// Start of the figures, in milliseconds since 1970.
    pub start_ms: u64,
    /// End of the figures: the last collection.
    pub end_ms: u64,
    /// The times.
    pub latency: CorelaneLatency,
    /// Messages that failed or expired.
    pub errors: u64,
    /// Messages above the threshold for slow messages.
    pub slow: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of the times, in nanoseconds.
    pub total_ns: u64,
    /// Values above 68.7 s, whose percentiles are the maximum.
    pub overflows: u64,
    /// Messages per second.
    pub per_second: f64,
    /// Errors ÷ messages, at most 1.
    pub error_rate: f64,
    /// Slow ÷ messages, at most 1.
    pub slow_rate: f64,
}

/// All figures of a monitor at one moment, apart from its lists. They count from `since_ms`: the start, or the last reset.
/// Those of routing, alerts, the system and the monitor itself count from `started_ms`. Times of day are milliseconds since
/// 1970.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneStats {
    /// `sizeof(corelane_stats)`, set by the caller: CORELANE_STATS_INIT.
    pub size: u32,
    /// 1 if the monitor has a router, otherwise 0.
    pub has_router: u32,
    /// The snapshot's number, for the lists. Never 0.
    pub snapshot: u64,
    /// When the figures were read.
    pub time_ms: u64,
    /// Time since the monitor was created, in nanoseconds.
    pub uptime_ns: u64,
    /// When the figures began.
    pub since_ms: u64,
    /// When the figures that are never reset began.
    pub started_ms: u64,
    /// Number of resets so far.
    pub resets: u64,

    /// Messages that have ended: `succeeded` + `failed` + `expired`.
    pub messages: u64,
    /// Messages that succeeded.
    pub succeeded: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that waited too long.
    pub expired: u64,
    /// Messages that took longer than `slow_threshold_ns`.
    pub slow: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes written to clients.
    pub bytes_out: u64,
    /// `succeeded` ÷ `messages`.
    pub success_rate: f64,
    /// Failed messages by CORELANE_REASON_ value.
    pub failures: [u64; CORELANE_REASONS],
    /// Messages by handling time: below 1 ms, 1 to 5, 5 to 10, 10 to 50, 50 to 100, 100 to 500 ms, 500 ms to 1 s, 1 to 5 s, 5 s
    /// and above. Exact.
    pub ranges: [u64; CORELANE_RANGES],
    /// Handling times.
    pub service: CorelaneLatency,
    /// Times that messages waited in a queue.
    pub queue_wait: CorelaneLatency,
    /// Times that held messages were held. Only with a router.
    pub held: CorelaneLatency,
    /// Times from the poll that hands a delivery out to its acknowledgement. Only with a router.
    pub write: CorelaneLatency,
    /// Handling times of the last minute.
    pub minute: CorelaneWindow,
    /// Handling times of the last hour.
    pub hour: CorelaneWindow,
    /// Handling times of the last `stats_retention_hours`, 24 by default.
    pub day: CorelaneWindow,
    /// Queue waits of the last minute.
    pub queue_wait_minute: CorelaneWindow,
    /// Queue waits of the last hour.
    pub queue_wait_hour: CorelaneWindow,
    /// Queue waits of the last `stats_retention_hours`.
    pub queue_wait_day: CorelaneWindow,
    /// Number of clients that caused the last minute's errors.
    pub error_clients_minute: u64,
    /// A message that takes longer than this is slow.
    pub slow_threshold_ns: u64,
    /// Slow messages that are not in the list.
    pub slow_unlisted: u64,

    /// Lookups of types without figures of their own.
    pub folded_types: u64,
    /// Lookups of protocols without figures of their own.
    pub folded_protocols: u64,
    /// Lookups of applications without figures of their own.
    pub folded_applications: u64,
    /// Recorded messages whose client has no figures.
    pub folded_clients: u64,
    /// Series without windows.
    pub folded_windows: u64,
    /// Recorded messages with an impossible time, which are counted nowhere else.
    pub impossible: u64,

    /// Connects.
    pub connects: u64,
    /// Connections that are open at present.
    pub connections: u64,
    /// The most connections at once.
    pub connections_peak: u64,
    /// Mean duration of the connections that have ended, in milliseconds.
    pub connection_average_ms: u64,
    /// Connects in the last minute.
    pub connects_minute: u64,
    /// Disconnects in the last minute.
    pub disconnects_minute: u64,
    /// Connects under the name of a connected client, and attempts to reconnect that the host recorded.
    pub reconnects: u64,
    /// Connected clients that are healthy.
    pub healthy: u64,
    /// Connected clients that are silent for longer than `unhealthy_after_ms` or marked as unhealthy.
    pub unhealthy: u64,
    /// Clients that have figures.
    pub clients_tracked: u64,

    /// Memory of the process that is in RAM, in bytes. This and the following figures are of the last look at the system.
    pub resident_bytes: u64,
    /// Addresses that the process has mapped.
    pub virtual_bytes: u64,
    /// Memory allocated by `malloc` and not freed.
    pub heap_bytes: u64,
    /// RAM of the machine.
    pub machine_bytes: u64,
    /// RAM of the machine that is available without swapping.
    pub machine_available_bytes: u64,
    /// The memory limit of the process's control groups.
    pub memory_limit_bytes: u64,
    /// `resident_bytes` ÷ `high_memory_threshold_bytes`.
    pub memory_share: f64,
    /// Processor time of the process so far, in nanoseconds.
    pub cpu_ns: u64,
    /// Share of the available processor time that the process has used since the look before, from 0 to 1.
    pub cpu_share: f64,
    /// Share of all cores' time that all processes have used, from 0 to 1.
    pub machine_cpu_share: f64,
    /// Cores that the process may use; may be a fraction.
    pub cores_allowed: f64,
    /// Cores of the machine.
    pub cores: u64,
    /// The machine's load average over a minute.
    pub load_one: f64,
    /// Over five minutes.
    pub load_five: f64,
    /// Over fifteen minutes.
    pub load_fifteen: f64,
    /// Threads of the process.
    pub threads: u64,
    /// Open descriptors of the process.
    pub descriptors: u64,
    /// The most descriptors that the process may have open.
    pub descriptor_limit: u64,
    /// Time since the process was started, in seconds.
    pub process_uptime_s: u64,
    /// Messages that wait in queues.
    pub queue_messages: u64,
    /// Connections ÷ allowed connections, for the limit that refuses first.
    pub connection_pool_use: f64,
    /// Share of the workers' time that they spent on messages, from 0 to 1.
    pub worker_pool_use: f64,
    /// Age of the figures of `corelane_monitor_push_runtime`, in milliseconds.
    pub runtime_age_ms: u64,
    /// Goroutines, as pushed.
    pub goroutines: u64,
    /// Completed garbage collections, as pushed.
    pub gc_count: u64,
    /// Heap of the host's runtime, as pushed.
    pub runtime_heap_bytes: u64,

    /// Messages submitted to the router's ports. This and the following figures are of the router.
    pub submitted: u64,
    /// Submitted messages that were refused.
    pub refused: u64,
    /// Messages accepted and without an outcome, including held messages.
    pub in_flight: u64,
    /// Messages held for a name.
    pub held_messages: u64,
    /// Deliveries emitted, one per recipient.
    pub deliveries: u64,
    /// Deliveries handed out by polls.
    pub consumed: u64,
    /// Deliveries acknowledged as written.
    pub acknowledged: u64,
    /// Deliveries given up.
    pub undeliverable: u64,
    /// Deliveries in rings and backlogs.
    pub queued: u64,
    /// Messages with an outcome, per second, between the last two looks.
    pub messages_per_second: f64,
    /// Messages that failed or expired, per second, between the last two looks.
    pub failures_per_second: f64,
    /// Workers.
    pub workers: u64,
    /// Workers that have spent more than `processing_timeout_ms` on one message.
    pub workers_stalled: u64,
    /// Workers that ended without a stop.
    pub workers_lost: u64,

    /// Alerts that are raised.
    pub alerts: u64,
    /// Alerts that are pending.
    pub alerts_pending: u64,
    /// Alerts raised so far.
    pub alerts_raised: u64,
    /// Alerts resolved so far.
    pub alerts_resolved: u64,
    /// Notifications that a slow listener missed.
    pub notifications_dropped: u64,

    /// Periodic reports made.
    pub reports: u64,
    /// Reports that a listener missed.
    pub reports_dropped: u64,
    /// Reports that could not be written to their file.
    pub reports_failed: u64,

    /// Processor time of the monitor so far, in nanoseconds.
    pub monitor_cpu_ns: u64,
    /// Memory that the monitor holds, in bytes.
    pub monitor_bytes: u64,
    /// Collections so far.
    pub collections: u64,
    /// Duration of the last collection, in nanoseconds.
    pub collection_ns: u64,
    /// Duration of the longest collection, in nanoseconds.
    pub collection_maximum_ns: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneStats {
    const NAME: &'static str = "corelane_stats";
}

/// One message type, protocol or application. The first one of a list has the messages without figures of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSeriesStats {
    /// `sizeof(corelane_series_stats)`, set by the caller in the first one of an array: CORELANE_SERIES_STATS_INIT.
    pub size: u32,
    /// 1 if `minute`, `hour` and `day` are kept, otherwise 0: `detailed_stats`, `max_windowed_series`.
    pub has_windows: u32,
    /// The protocol of a type. Empty in other lists.
    pub protocol: [c_char; CORELANE_NAME_BYTES],
    /// Name of the type, protocol or application.
    pub name: [c_char; CORELANE_NAME_BYTES],
    /// Messages taken or recorded. Types only.
    pub received: u64,
    /// Messages that have ended.
    pub messages: u64,
    /// Messages that succeeded.
    pub succeeded: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that waited too long.
    pub expired: u64,
    /// Slow messages.
    pub slow: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of all handling times, in nanoseconds.
    pub total_ns: u64,
    /// When the last message was handled, in milliseconds since 1970.
    pub last_ms: u64,
    /// Handling times.
    pub service: CorelaneLatency,
    /// Queue waits. Types only.
    pub queue_wait: CorelaneLatency,
    /// Handling times of the last minute.
    pub minute: CorelaneWindow,
    /// Handling times of the last hour.
    pub hour: CorelaneWindow,
    /// Handling times of the last `stats_retention_hours`.
    pub day: CorelaneWindow,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneSeriesStats {
    const NAME: &'static str = "corelane_series_stats";
}

/// One client. The figures count from its connect or from the last reset, whichever is later.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneClientStats {
    /// `sizeof(corelane_client_stats)`, set by the caller in the first one of an array: CORELANE_CLIENT_STATS_INIT.
    pub size: u32,
    /// Where the client is connected: a CORELANE_CLIENT_ value.
    pub kind: u32,
    /// 1 if it is connected; 0 if it only had messages recorded.
    pub connected: u32,
    /// 1 unless it has been silent for longer than `unhealthy_after_ms` or is marked as unhealthy.
    pub healthy: u32,
    /// The client.
    pub client: CorelaneClient,
    /// Its name.
    pub name: [c_char; CORELANE_NAME_BYTES],
    /// Its application.
    pub application: [c_char; CORELANE_NAME_BYTES],
    /// Its protocol. Empty for a client that the host connected.
    pub protocol: [c_char; CORELANE_NAME_BYTES],
    /// Messages that it sent.
    pub messages: u64,
    /// Messages that failed or expired.
    pub errors: u64,
    /// Payload bytes that it sent.
    pub bytes_in: u64,
    /// Payload bytes written to it.
    pub bytes_out: u64,
    /// Mean time of its messages: queue wait, handling and hold together.
    pub average_ns: u64,
    /// The longest of these times.
    pub maximum_ns: u64,
    /// When its last message was handled, or when it connected, in milliseconds since 1970.
    pub last_ms: u64,
    /// Time since it connected, in milliseconds.
    pub connected_ms: u64,
    /// Time since its last activity, in milliseconds.
    pub idle_ms: u64,
    /// Messages for it that are not acknowledged as written.
    pub outstanding_messages: u64,
    /// Bytes of these messages.
    pub outstanding_bytes: u64,
    /// The most messages that were handed out and not acknowledged at once.
    pub outstanding_peak: u64,
    /// Deliveries to it that were given up.
    pub undelivered: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneClientStats {
    const NAME: &'static str = "corelane_client_stats";
}

/// Slow messages of one type, application and client.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneSlowMessage {
    /// `sizeof(corelane_slow_message)`, set by the caller in the first one of an array: CORELANE_SLOW_MESSAGE_INIT.
    pub size: u32,
    /// 1 if the last message succeeded, otherwise 0.
    pub succeeded: u32,
    /// Number of messages.
    pub count: u64,
    /// When the first message ended, in milliseconds since 1970.
    pub first_ms: u64,
    /// When the last message ended.
    pub last_ms: u64,
    /// The client that sent the messages. Empty for messages without a client.
    pub client: [c_char; CORELANE_NAME_BYTES],
    /// Protocol of the messages.
    pub protocol: [c_char; CORELANE_NAME_BYTES],
    /// Type of the messages.
    pub message_type: [c_char; CORELANE_NAME_BYTES],
    /// Application of the messages.
    pub application: [c_char; CORELANE_NAME_BYTES],
    /// The worker that handled the last message; CORELANE_UNKNOWN if the host handled it.
    pub worker: u64,
    /// Payload bytes of the last message.
    pub bytes: u64,
    /// Queue wait of the last message.
    pub queue_wait_ns: u64,
    /// Handling time of the last message.
    pub service_ns: u64,
    /// Time that the last message was held.
    pub held_ns: u64,
    /// The longest time of any of the messages: queue wait, handling and hold together.
    pub slowest_ns: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneSlowMessage {
    const NAME: &'static str = "corelane_slow_message";
}

/// One application's connections.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneApplicationStats {
    /// `sizeof(corelane_application_stats)`, set by the caller in the first one of an array:
    /// CORELANE_APPLICATION_STATS_INIT.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name.
    pub name: [c_char; CORELANE_NAME_BYTES],
    /// Number of connects.
    pub connects: u64,
    /// Connections that are open at present.
    pub connections: u64,
    /// When the last connect, disconnect or message happened, in milliseconds since 1970.
    pub last_ms: u64,
}

// SAFETY: numbers only, the size first.
unsafe impl CStruct for CorelaneApplicationStats {
    const NAME: &'static str = "corelane_application_stats";
}

pub(super) fn known(value: Option<u64>) -> u64 {
    value.unwrap_or(CORELANE_UNKNOWN)
}

fn share(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

fn latency(stats: Option<&LatencyStats>) -> CorelaneLatency {
    let of = |figure: fn(&LatencyStats) -> Option<u64>| known(stats.and_then(figure));
    CorelaneLatency {
        count: of(|one| Some(one.count)),
        average: of(|one| one.average),
        minimum: of(|one| one.minimum),
        maximum: of(|one| one.maximum),
        p50: of(|one| one.p50),
        p90: of(|one| one.p90),
        p95: of(|one| one.p95),
        p99: of(|one| one.p99),
        p999: of(|one| one.p999),
    }
}

fn window(stats: Option<&WindowStats>) -> CorelaneWindow {
    let of = |figure: fn(&WindowStats) -> u64| known(stats.map(figure));
    CorelaneWindow {
        start_ms: of(|one| one.start_milliseconds),
        end_ms: of(|one| one.end_milliseconds),
        latency: latency(stats.map(|one| &one.latency)),
        errors: of(|one| one.errors),
        slow: of(|one| one.slow),
        bytes: of(|one| one.bytes),
        total_ns: of(|one| one.total_nanoseconds),
        overflows: of(|one| one.overflows),
        per_second: share(stats.and_then(|one| one.throughput_per_second)),
        error_rate: share(stats.and_then(|one| one.error_rate)),
        slow_rate: share(stats.and_then(|one| one.slow_rate)),
    }
}

/// Minute, hour and day.
fn windows(all: Option<&Windowed>) -> [CorelaneWindow; 3] {
    [
        window(all.map(|all| &all.last_minute)),
        window(all.map(|all| &all.last_hour)),
        window(all.map(|all| &all.last_day)),
    ]
}

fn by_reason(failures: &ByReason) -> [u64; CORELANE_REASONS] {
    let mut counts = [0; CORELANE_REASONS];
    for reason in Failed::ALL {
        if let Some(count) = counts.get_mut(CorelaneReason::from(*reason) as usize) {
            *count = failures.get(reason.label());
        }
    }
    counts
}

/// A snapshot as C sees it.
pub(super) fn stats_of(latest: &Figures) -> CorelaneStats {
    // SAFETY: `CStruct` says that every field accepts zeros.
    let mut all: CorelaneStats = unsafe { std::mem::zeroed() };
    let Some(stats) = &latest.stats else { return all };
    all.snapshot = latest.number;
    all.time_ms = stats.time_milliseconds;
    all.uptime_ns = stats.uptime_nanoseconds;
    all.since_ms = stats.since_milliseconds;
    all.started_ms = stats.started_milliseconds;
    all.resets = stats.resets;
    put_messages(&mut all, stats);
    put_connections(&mut all, stats);
    put_system(&mut all, stats);
    put_routing(&mut all, stats);
    all.alerts = stats.alerts.current.len() as u64;
    all.alerts_pending = stats.alerts.pending.len() as u64;
    all.alerts_raised = stats.alerts.raised;
    all.alerts_resolved = stats.alerts.resolved;
    all.notifications_dropped = stats.alerts.notifications_dropped;
    all.reports = stats.reports.made;
    all.reports_dropped = stats.reports.dropped;
    all.reports_failed = stats.reports.failed;
    all.monitor_cpu_ns = stats.monitor.cpu_nanoseconds;
    all.monitor_bytes = stats.monitor.bytes;
    all.collections = stats.monitor.ticks;
    all.collection_ns = stats.monitor.collect_nanoseconds_last;
    all.collection_maximum_ns = stats.monitor.collect_nanoseconds_maximum;
    all
}

fn put_messages(all: &mut CorelaneStats, stats: &MonitorStats) {
    let messages = stats.messages.as_ref();
    let totals = messages.map(|messages| &messages.totals);
    all.messages = known(totals.map(|totals| totals.total));
    all.succeeded = known(totals.map(|totals| totals.succeeded));
    all.failed = known(totals.map(|totals| totals.failed));
    all.expired = known(totals.map(|totals| totals.expired));
    all.slow = known(totals.map(|totals| totals.slow));
    all.bytes_in = known(totals.map(|totals| totals.bytes_in));
    all.bytes_out = known(totals.map(|totals| totals.bytes_out));
    all.success_rate = share(totals.and_then(|totals| totals.success_rate));
    all.failures = totals.map_or([CORELANE_UNKNOWN; CORELANE_REASONS], |totals| by_reason(&totals.failures));
    all.ranges = [CORELANE_UNKNOWN; CORELANE_RANGES];
    let ranges = messages.into_iter().flat_map(|messages| &messages.buckets);
    all.ranges.iter_mut().zip(ranges).for_each(|(to, from)| *to = from.count);
    all.service = latency(totals.map(|totals| &totals.latency));
    all.queue_wait = latency(totals.map(|totals| &totals.queue_wait));
    all.held = latency(totals.map(|totals| &totals.held));
    all.write = latency(totals.map(|totals| &totals.write));
    [all.minute, all.hour, all.day] = windows(messages.map(|messages| &messages.windows));
    [all.queue_wait_minute, all.queue_wait_hour, all.queue_wait_day] =
        windows(messages.map(|messages| &messages.queue_wait_windows));
    all.error_clients_minute = known(messages.map(|messages| messages.error_clients_last_minute));
    let slow = stats.slow_messages.as_ref();
    all.slow_threshold_ns = known(slow.map(|slow| slow.threshold_nanoseconds));
    all.slow_unlisted = known(slow.map(|slow| slow.unlisted));
    all.folded_types = known(stats.folded.types);
    all.folded_protocols = known(stats.folded.protocols);
    all.folded_applications = stats.folded.applications;
    all.folded_clients = known(stats.folded.clients);
    all.folded_windows = known(stats.folded.windows);
    all.impossible = known(stats.folded.impossible);
}

fn put_connections(all: &mut CorelaneStats, stats: &MonitorStats) {
    let connections = &stats.connections;
    all.connects = connections.total;
    all.connections = connections.active;
    all.connections_peak = connections.peak;
    all.connection_average_ms = known(connections.average_duration_milliseconds);
    all.connects_minute = connections.connects_last_minute;
    all.disconnects_minute = connections.disconnects_last_minute;
    all.reconnects = connections.reconnect_attempts;
    all.healthy = known(connections.healthy);
    all.unhealthy = known(connections.unhealthy);
    all.clients_tracked = known(stats.clients.as_ref().map(|clients| clients.tracked));
}

fn put_system(all: &mut CorelaneStats, stats: &MonitorStats) {
    let system = stats.system.as_ref();
    let memory = system.map(|system| &system.memory);
    all.resident_bytes = known(memory.and_then(|memory| memory.resident_bytes));
    all.virtual_bytes = known(memory.and_then(|memory| memory.virtual_bytes));
    all.heap_bytes = known(memory.and_then(|memory| memory.heap_bytes));
    all.machine_bytes = known(memory.and_then(|memory| memory.system_total_bytes));
    all.machine_available_bytes = known(memory.and_then(|memory| memory.system_available_bytes));
    all.memory_limit_bytes = known(memory.and_then(|memory| memory.limit_bytes));
    all.memory_share = share(memory.and_then(|memory| memory.share_of_threshold));
    let cpu = system.map(|system| &system.cpu);
    all.cpu_ns = known(cpu.map(|cpu| cpu.process_nanoseconds));
    all.cpu_share = share(cpu.and_then(|cpu| cpu.process_share));
    all.machine_cpu_share = share(cpu.and_then(|cpu| cpu.system_share));
    all.cores_allowed = share(cpu.and_then(|cpu| cpu.cores_allowed));
    all.cores = known(cpu.and_then(|cpu| cpu.cores));
    let load = cpu.and_then(|cpu| cpu.load_average);
    all.load_one = share(load.map(|load| load.one));
    all.load_five = share(load.map(|load| load.five));
    all.load_fifteen = share(load.map(|load| load.fifteen));
    let process = system.map(|system| &system.process);
    all.threads = known(process.and_then(|process| process.threads));
    all.descriptors = known(process.and_then(|process| process.open_descriptors));
    all.descriptor_limit = known(process.and_then(|process| process.descriptor_limit));
    all.process_uptime_s = known(process.and_then(|process| process.uptime_seconds));
    let pools = system.and_then(|system| system.load);
    all.queue_messages = known(pools.map(|pools| pools.queue_messages));
    all.connection_pool_use = share(pools.and_then(|pools| pools.connection_pool_use));
    all.worker_pool_use = share(pools.and_then(|pools| pools.worker_pool_use));
    let runtime = system.and_then(|system| system.runtime);
    all.runtime_age_ms = known(runtime.map(|runtime| runtime.age_milliseconds));
    all.goroutines = known(runtime.map(|runtime| runtime.goroutines));
    all.gc_count = known(runtime.map(|runtime| runtime.gc_count));
    all.runtime_heap_bytes = known(runtime.map(|runtime| runtime.heap_bytes));
}

fn put_routing(all: &mut CorelaneStats, stats: &MonitorStats) {
    let routing = stats.routing.as_ref();
    all.has_router = u32::from(routing.is_some());
    let accounting = routing.map(|routing| &routing.accounting);
    all.submitted = known(accounting.map(|one| one.submitted));
    all.refused = known(accounting.map(|one| one.refused));
    all.in_flight = known(accounting.map(|one| one.in_flight));
    all.held_messages = known(accounting.map(|one| one.held));
    all.deliveries = known(accounting.map(|one| one.deliveries));
    all.consumed = known(accounting.map(|one| one.consumed));
    all.acknowledged = known(accounting.map(|one| one.acknowledged));
    all.undeliverable = known(accounting.map(|one| one.undeliverable));
    all.queued = known(accounting.map(|one| one.queued));
    all.messages_per_second = share(routing.map(|routing| routing.rates.messages_per_second));
    all.failures_per_second = share(routing.map(|routing| routing.rates.failures_per_second));
    all.workers = known(routing.map(|routing| routing.workers.len() as u64));
    all.workers_stalled = known(routing.map(|routing| routing.workers_stalled));
    all.workers_lost = known(routing.map(|routing| routing.workers_lost));
}

fn series_stats(one: &SeriesFigures) -> CorelaneSeriesStats {
    let totals = &one.totals;
    let [minute, hour, day] = windows(one.windows.as_ref());
    CorelaneSeriesStats {
        size: 0,
        has_windows: u32::from(one.windows.is_some()),
        protocol: chars(totals.protocol.as_deref().unwrap_or_default()),
        name: chars(&totals.name),
        received: known(totals.received),
        messages: totals.total,
        succeeded: totals.succeeded,
        failed: totals.failed,
        expired: totals.expired,
        slow: totals.slow,
        bytes: totals.bytes,
        total_ns: one.total_nanoseconds,
        last_ms: known(one.last_processed_milliseconds),
        service: latency(Some(&totals.latency)),
        queue_wait: latency(totals.queue_wait.as_ref()),
        minute,
        hour,
        day,
    }
}

/// A client as C sees it.
pub(super) fn client_stats(one: &ClientFigures) -> CorelaneClientStats {
    let recorded = one.recorded;
    CorelaneClientStats {
        size: 0,
        kind: if recorded { CORELANE_CLIENT_RECORDED } else { CORELANE_CLIENT_ROUTED },
        connected: u32::from(one.connected),
        healthy: u32::from(one.healthy),
        client: CorelaneClient { value: one.id },
        name: chars(&one.name),
        application: chars(&one.application),
        protocol: chars(one.protocol.as_deref().unwrap_or_default()),
        messages: one.messages,
        errors: one.errors,
        bytes_in: one.bytes_in,
        bytes_out: one.bytes_out,
        average_ns: known(one.average_nanoseconds),
        maximum_ns: one.maximum_nanoseconds,
        last_ms: one.last_activity_milliseconds,
        connected_ms: one.connected_for_milliseconds,
        idle_ms: one.idle_milliseconds,
        outstanding_messages: one.outstanding_messages,
        outstanding_bytes: one.outstanding_bytes,
        outstanding_peak: one.outstanding_peak,
        undelivered: one.undelivered,
    }
}

fn slow_message(one: &SlowEntry) -> CorelaneSlowMessage {
    CorelaneSlowMessage {
        size: 0,
        succeeded: u32::from(one.succeeded),
        count: one.count,
        first_ms: one.first_milliseconds,
        last_ms: one.last_milliseconds,
        client: chars(&one.client),
        protocol: chars(&one.protocol),
        message_type: chars(&one.message_type),
        application: chars(&one.application),
        worker: known(one.worker),
        bytes: one.bytes,
        queue_wait_ns: one.queue_wait_nanoseconds,
        service_ns: one.service_nanoseconds,
        held_ns: one.held_nanoseconds,
        slowest_ns: one.slowest_nanoseconds,
    }
}

fn application_stats(one: &ApplicationConnectionFigures) -> CorelaneApplicationStats {
    CorelaneApplicationStats {
        size: 0,
        reserved: 0,
        name: chars(&one.name),
        connects: one.total,
        connections: one.active,
        last_ms: known(one.last_activity_milliseconds),
    }
}

/// Collects, and writes the figures of this moment. The lists of this snapshot can be read until the next one.
///
/// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
/// (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_stats` points at a corelane_stats with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_snapshot(
    monitor: CorelaneMonitor,
    out_stats: *mut CorelaneStats,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let place = unsafe { OutStruct::new("out_stats", out_stats) }?;
        with_monitor(monitor, |entry| {
            let mut latest = lock(&entry.latest);
            latest.put(entry.monitor.snapshot());
            place.write(&stats_of(&latest));
            Ok(0)
        })
    })
}

/// Writes a list of a snapshot. Returns how many entries there are.
///
/// # Safety
/// `first` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
unsafe fn write_list<T: CStruct, F>(
    monitor: CorelaneMonitor,
    snapshot: u64,
    place: (&str, *mut T, usize),
    of: impl FnOnce(&MonitorStats) -> &[F],
    written: fn(&F) -> T,
) -> Result<i64, Failure> {
    let (name, first, capacity) = place;
    // SAFETY: the caller upholds the same contract.
    let places = unsafe { List::new(name, first, capacity) }?;
    with_monitor(monitor, |entry| {
        let latest = lock(&entry.latest);
        let Some(stats) = &latest.stats else {
            let text = "there is no snapshot: call corelane_monitor_snapshot first";
            return Err(Failure::new(CorelaneStatus::State, text));
        };
        if snapshot != 0 && snapshot != latest.number {
            let text = format!("snapshot {snapshot} has been replaced by {}: take another", latest.number);
            return Err(Failure::new(CorelaneStatus::Stale, text));
        }
        places.write(of(stats), written)
    })
}

/// Writes the message types, protocols or applications of the latest snapshot, and returns how many there are; `capacity` of
/// them are written. `kind` is a CORELANE_SERIES_ value. `snapshot` is the number in corelane_stats, so that all lists are of
/// one collection; 0 for whichever is the latest. None while `enable_metrics` is off.
///
/// Any thread. Does not block. CORELANE_STATE (no snapshot was taken), CORELANE_INVALID (`kind`, `size`), CORELANE_NULL,
/// CORELANE_STALE (monitor; or another snapshot has been taken since).
///
/// # Safety
/// `series` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_series_stats(
    monitor: CorelaneMonitor,
    snapshot: u64,
    kind: u32,
    series: *mut CorelaneSeriesStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        let of: fn(&MonitorStats) -> &Option<Vec<SeriesFigures>> = match kind {
            CORELANE_SERIES_TYPES => |stats| &stats.types,
            CORELANE_SERIES_PROTOCOLS => |stats| &stats.protocols,
            CORELANE_SERIES_APPLICATIONS => |stats| &stats.applications,
            _ => return Err(Failure::invalid(format!("kind is {kind}: use a CORELANE_SERIES_ value"))),
        };
        let place = ("series", series, capacity);
        // SAFETY: the caller upholds the same contract.
        unsafe {
            write_list(monitor, snapshot, place, |all| of(all).as_deref().unwrap_or_default(), series_stats)
        }
    })
}

/// Writes the clients with the largest figures of the latest snapshot, in descending order, and returns how many there are,
/// at most `top_clients`; `capacity` of them are written. `order` is a CORELANE_TOP_ value. Clients whose figure is 0 are left
/// out. None while `detailed_stats` is off.
///
/// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
///
/// # Safety
/// `clients` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_client_stats(
    monitor: CorelaneMonitor,
    snapshot: u64,
    order: u32,
    clients: *mut CorelaneClientStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        let of: fn(&crate::monitor::ClientsFigures) -> &[ClientFigures] = match order {
            CORELANE_TOP_MESSAGES => |all| &all.by_messages,
            CORELANE_TOP_ERRORS => |all| &all.by_errors,
            CORELANE_TOP_BYTES_IN => |all| &all.by_bytes_in,
            CORELANE_TOP_BYTES_OUT => |all| &all.by_bytes_out,
            CORELANE_TOP_AVERAGE => |all| &all.by_average,
            CORELANE_TOP_MAXIMUM => |all| &all.by_maximum,
            CORELANE_TOP_OUTSTANDING => |all| &all.by_outstanding,
            CORELANE_TOP_OUTSTANDING_PEAK => |all| &all.by_outstanding_peak,
            CORELANE_TOP_UNDELIVERED => |all| &all.by_undelivered,
            _ => return Err(Failure::invalid(format!("order is {order}: use a CORELANE_TOP_ value"))),
        };
        let place = ("clients", clients, capacity);
        // SAFETY: the caller upholds the same contract.
        unsafe {
            write_list(monitor, snapshot, place, |all| all.clients.as_ref().map_or(&[], of), client_stats)
        }
    })
}

/// Writes the slow messages of the latest snapshot, newest first, and returns how many entries there are, at most
/// `slow_messages`; `capacity` of them are written.
///
/// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
///
/// # Safety
/// `messages` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_slow_messages(
    monitor: CorelaneMonitor,
    snapshot: u64,
    messages: *mut CorelaneSlowMessage,
    capacity: usize,
) -> i32 {
    answer(|| {
        let place = ("messages", messages, capacity);
        let of: fn(&MonitorStats) -> &[SlowEntry] =
            |all| all.slow_messages.as_ref().map_or(&[], |slow| &slow.entries);
        // SAFETY: the caller upholds the same contract.
        unsafe { write_list(monitor, snapshot, place, of, slow_message) }
    })
}

/// Writes the connections by application of the latest snapshot, and returns how many applications there are; `capacity` of
/// them are written.
///
/// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
///
/// # Safety
/// `applications` points at `capacity` structs of the size in the first one; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_application_stats(
    monitor: CorelaneMonitor,
    snapshot: u64,
    applications: *mut CorelaneApplicationStats,
    capacity: usize,
) -> i32 {
    answer(|| {
        let place = ("applications", applications, capacity);
        let of: fn(&MonitorStats) -> &[ApplicationConnectionFigures] = |all| &all.connections.applications;
        // SAFETY: the caller upholds the same contract.
        unsafe { write_list(monitor, snapshot, place, of, application_stats) }
    })
}
